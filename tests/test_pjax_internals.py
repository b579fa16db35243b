"""JAX still has the functions and traces that `jaxlink.sampling` knows by name.

For each name there is the smallest program that needs it. It does what it should, and
no longer does if we look for another name. So if JAX renames something, the test of
that name fails.
"""

import jax
import jax.numpy as jnp
import pytensor.tensor as pt
import pytest
from jax import lax

import jaxlink
from jaxlink import pjax
from jaxlink.errors import MisplacedDrawError, UnseededDrawError
from jaxlink.sampling import in_loops, jax_internals

KEY = jax.random.key(0)
X = jnp.array(0.5)


def draw():
    return pjax.normal(0.0, 1.0)


def loop(x):
    return lax.scan(lambda c, _: (c * x + draw(), None), x, length=3)[0]


def outcome(program):
    """What a program raises, or None."""
    jax.clear_caches()
    try:
        program()
    except Exception as error:
        return type(error)
    return None


def hoisted():
    jax.grad(loop)(X)


def hoisted_in_a_checkpoint():
    """Without a Ref, only the names keep the draw in its loop, with a key a step."""
    with in_loops.anchoring(False):
        program = jax.make_jaxpr(jax.grad(jax.checkpoint(loop)))(X)
    assert "u32[3,4] = scan" in str(program)


def in_front_of_a_loop():
    """JAX may have moved the draw of the jitted function out of the loop."""
    jitted = jax.jit(lambda: draw())

    def program(x):
        y = jitted()
        # Refuses the Ref.
        taken = jax.vmap(lambda a: lax.cond(a > 0, draw, lambda: a))(jnp.ones(2))
        return lax.scan(lambda c, _: (c * y, None), x * taken.sum(), length=3)[0]

    jaxlink.seed(jax.grad(program))(KEY, X)


def decided_in_a_loop():
    """JAX remembers from the loop that the draw of the jitted function is unknown."""
    jitted = jax.jit(lambda: draw())
    straight = jax.custom_jvp(lambda x: x * jitted())
    straight.defjvp(lambda p, t: (p[0] * jitted(), t[0] * jitted()))

    def program(x):
        # Refuses the Ref.
        taken = jax.vmap(lambda a: lax.cond(a > 0, draw, lambda: a))(jnp.ones(2))
        y = lax.scan(lambda c, _: (c * x * jitted(), None), x, length=3)[0]
        return y * straight(x) * taken.sum()

    jaxlink.seed(jax.grad(program))(KEY, X)


def repeated_while():
    def reject(x):
        return x + lax.while_loop(lambda c: c < 0, lambda c: draw(), -1.0)

    program = jax.checkpoint(lambda x: jnp.sin(reject(x) * x))
    jaxlink.seed(jax.grad(program))(KEY, X)


def jacobian():
    jaxlink.seed(jax.jacfwd(lambda x: x * draw()))(KEY, jnp.ones(2))


def eager_call():
    rng = pt.random.shared_rng(seed=1)
    jaxlink.function([], rng.normal()[1], key=False)()


# name -> its program, and what that raises.
PROGRAMS = {
    "HOISTS": (hoisted, UnseededDrawError),
    "HOISTS_IN_CHECKPOINT": (hoisted_in_a_checkpoint, None),
    "DECIDES": (hoisted_in_a_checkpoint, None),
    "DECIDING": (hoisted_in_a_checkpoint, None),
    "REPEATS_WHILE": (repeated_while, MisplacedDrawError),
    "DIFFERENTIATED": (in_front_of_a_loop, MisplacedDrawError),
    "UNKNOWN_PRIMAL": (decided_in_a_loop, MisplacedDrawError),
    "JACOBIAN": (jacobian, None),
    "EAGER": (eager_call, None),
}


def test_every_name_is_here():
    constants = vars(jax_internals).items()
    names = {name for name, x in constants if name.isupper() and isinstance(x, str)}
    assert {name for name in names if not name.startswith("_")} == set(PROGRAMS)


# jax < 0.12 does not remember it.
NEEDED = [
    n for n in PROGRAMS if n != "UNKNOWN_PRIMAL" or jax.__version_info__ >= (0, 12)
]


@pytest.mark.parametrize("name", NEEDED)
def test_name(name, monkeypatch):
    program, wanted = PROGRAMS[name]
    known = getattr(jax_internals, name)
    assert outcome(program) == wanted, f"JAX seems to have renamed `{known}`"
    monkeypatch.setattr(jax_internals, name, "something else")
    assert outcome(program) != wanted, f"`{known}` is not needed any more"

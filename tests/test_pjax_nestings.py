"""Random nestings of what JAX has: `seed` commutes with `jit` and `grad` in them all.

A program is a base, wrapped again and again. All are functions of a scalar whose
derivatives need all of their draws. JAX drops a draw from a gradient that does not need
it, such as that of ``normal(x, 1)``, and later draws move to earlier positions.
"""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import PartitionSpec
from pjax_constructs import MESH, at, normal, standard, standard_of
from support import assert_same, unoptimized

import jaxlink
from jaxlink import pjax
from jaxlink.pjax import seed

KEY = jax.random.key(5)
X = jnp.array(0.8)
PAIR = jnp.array([0.3, 0.9])

PROFILE = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}

# name -> what makes the base, anew for each example: JAX remembers functions
BASES = {
    "product": lambda: lambda x: x**3 * standard(),
    "two draws": lambda: lambda x: jnp.sin(normal(x, x)) * standard(),
}


def custom_jvp(f):
    wrapped = jax.custom_jvp(lambda x: f(x))

    @wrapped.defjvp
    def _(primals, tangents):
        y = f(*primals)
        return y, 2.0 * tangents[0] * y

    return wrapped


def custom_vjp(f):
    def fwd(x):
        y = f(x)
        return y, (x, y)

    wrapped = jax.custom_vjp(lambda x: f(x))
    wrapped.defvjp(fwd, lambda saved, c: (c * jnp.cos(saved[0]) * saved[1],))
    return wrapped


def iterated(step):
    """Three steps of ``c -> sin(c) + step(c, x)`` or the like, in a scan."""
    return lambda x: lax.scan(lambda c, _: (step(c, x), None), x, length=3)[0]


# name -> what makes a function of a scalar of another
WRAPPERS = {
    "jit": jax.jit,
    "jit, called twice": lambda f: (lambda g: lambda x: g(x) + g(x))(jax.jit(f)),
    "checkpoint": jax.checkpoint,
    "scan": lambda f: iterated(lambda c, x: jnp.sin(c) * x + f(c)),
    "scan, same in each step": lambda f: iterated(lambda c, x: jnp.sin(c) * x + f(x)),
    "scan, constant": lambda f: iterated(lambda c, x: jnp.sin(c) * x * f(PAIR[0])),
    "fori_loop": lambda f: (
        lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * f(x), x)
    ),
    "map": lambda f: lambda x: lax.map(lambda a: f(a * x), PAIR).sum(),
    "cond": lambda f: (
        lambda x: lax.cond(x > 0, lambda: f(x), lambda: f(x) * standard())
    ),
    "vmap": lambda f: lambda x: jax.vmap(lambda a: f(a * x))(PAIR).sum(),
    "vmap, unmapped": lambda f: lambda x: jax.vmap(lambda a: f(x) * a)(PAIR).sum(),
    "cond in vmap": lambda f: (
        lambda x: jax.vmap(
            lambda a: lax.cond(a > 0.5, lambda: f(a * x), lambda: f(a * x) * standard())
        )(PAIR).sum()
    ),
    "custom_jvp": custom_jvp,
    "custom_vjp": custom_vjp,
    "grad": jax.grad,
    "another draw": lambda f: lambda x: f(x) * standard(),
    "rejection sampler": lambda f: (
        lambda x: f(x) * lax.while_loop(lambda c: c < 0.0, lambda c: standard(), -1.0)
    ),
}


def traced(fn, *args):
    """The program of a function, or None if it would move a draw."""
    try:
        jaxpr = jax.make_jaxpr(fn)(*args)
    except jaxlink.MisplacedDrawError:
        return None
    return lambda *args: jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *args)


def check(base, names):
    fn = BASES[base]()
    for name in names:
        fn = WRAPPERS[name](fn)
    programs = {
        "seed": traced(seed(fn), KEY, X),
        "seed jit": traced(seed(jax.jit(fn)), KEY, X),
        "grad seed": traced(jax.grad(seed(fn), 1), KEY, X),
        "seed grad": traced(seed(jax.grad(fn)), KEY, X),
    }
    known = {name: program for name, program in programs.items() if program}

    @unoptimized
    def values(key, x):
        return {name: program(key, x) for name, program in known.items()}

    got = values(KEY, X)
    # Without a gradient inside, nothing is moved.
    if "grad" not in names:
        assert {"seed", "seed jit", "grad seed"} <= set(got)
    assert ("seed" in got) == ("seed jit" in got)
    for first, second in ("seed", "seed jit"), ("grad seed", "seed grad"):
        if first in got and second in got:
            assert_same(got[first], got[second], rtol=1e-9, atol=1e-12)
    check_unseeded(fn)


def check_unseeded(fn):
    """That it is not compiled, or else no number that was drawn is in the program."""
    values = []
    for number in (1, 2):
        with pjax.set_seed(number):
            try:
                values.append(jax.jit(lambda x: fn(x))(X))
            except jaxlink.UnseededDrawError:
                values.append(None)
    assert values[0] == values[1]


# --- nestings that were, or are, hard -------------------------------------------------


MOVED = [
    ["rejection sampler", "custom_jvp", "scan"],
    ["jit", "custom_jvp", "custom_jvp", "fori_loop"],
    ["cond in vmap", "map", "custom_vjp", "scan, constant"],
]


@pytest.mark.parametrize("names", MOVED, ids=" > ".join)
def test_what_a_rule_would_move_is_an_error(names):
    fn = BASES["product"]()
    for name in names:
        fn = WRAPPERS[name](fn)
    with pytest.raises(jaxlink.MisplacedDrawError, match="test_pjax_nestings"):
        seed(jax.grad(fn))(KEY, X)
    assert jnp.isfinite(jax.grad(seed(fn), 1)(KEY, X))


SPECIAL = [
    ["custom_jvp", "checkpoint", "jit", "jit"],
    ["cond", "vmap, unmapped", "checkpoint"],
    ["cond", "checkpoint", "vmap, unmapped"],
]


@pytest.mark.parametrize("names", SPECIAL, ids=" > ".join)
def test_special_nestings(names):
    check("product", names)


def in_shards(f):
    def program(x):
        spec = PartitionSpec("i")
        shard = jax.shard_map(
            lambda a: f(a[0])[None], mesh=MESH, in_specs=spec, out_specs=spec
        )
        return shard(jnp.stack([x, x])).sum()

    return program


@pytest.mark.parametrize("rule", [custom_jvp, custom_vjp])
def test_rules_in_a_shard_map(rule):
    program = in_shards(rule(lambda x: x * standard()))
    stream = jax.random.fold_in(KEY, 0)
    shards = [jax.random.fold_in(stream, i) for i in range(2)]
    wanted = sum(X * standard_of(at(shard, 0)) for shard in shards)
    assert_same(jax.jit(seed(program))(KEY, X), wanted, rtol=1e-14)
    outside = jax.jit(jax.grad(seed(program), 1))(KEY, X)
    # By the rules, which draw what the function does.
    slope = wanted * (2.0 if rule is custom_jvp else jnp.cos(X))
    assert_same(outside, slope, rtol=1e-12)


# --- functions that draw, used twice --------------------------------------------------

# JAX remembers what it moved in a jitted function or a checkpoint. `seed` cannot ask
# it, so where there is no Ref, what may have been moved is an error.


def repeated(x):
    return lax.map(lambda a: a * standard(), PAIR * x).sum()


# name -> what makes a function that draws, anew for each example
SHARED = {
    "jit": lambda: jax.jit(lambda x: x * standard()),
    "checkpoint": lambda: jax.checkpoint(lambda x: jnp.sin(x * standard())),
    "jit of a checkpoint": lambda: jax.jit(jax.checkpoint(lambda x: x * standard())),
    "jit of a loop": lambda: jax.jit(repeated),
    "jit of custom_jvp": lambda: jax.jit(custom_jvp(lambda x: x * standard())),
    "custom_vjp of a jit": lambda: custom_vjp(jax.jit(lambda x: x * standard())),
    "custom_vjp of a loop": lambda: custom_vjp(repeated),
}


def in_a_rule(f):
    straight = jax.custom_jvp(lambda x: x * f(PAIR[0]))

    @straight.defjvp
    def _(primals, tangents):
        y = f(PAIR[0])
        return primals[0] * y, tangents[0] * y

    return straight


def in_a_loop(f):
    return iterated(lambda c, x: jnp.sin(c) * x * f(PAIR[0]))


def product(f, g):
    return lambda x: f(x) * g(x)


# name -> what calls it
USES = {
    "straight": lambda f: lambda x: x**2 * f(PAIR[0]),
    "rule": in_a_rule,
    "loop": in_a_loop,
    "loop, carry": lambda f: iterated(lambda c, x: jnp.sin(c) * x * f(c)),
    "checkpoint": lambda f: jax.checkpoint(lambda x: x**2 * jnp.sin(f(PAIR[0]) * x)),
    "checkpoint of a loop": lambda f: jax.checkpoint(in_a_loop(f)),
    "rule with a loop": lambda f: in_a_rule(lambda x: lax.map(f, x * PAIR).sum()),
    "loop of a rule": lambda f: in_a_loop(in_a_rule(f)),
    "rule and loop": lambda f: product(in_a_rule(f), in_a_loop(f)),
}


def beside_a_mapped_cond(f):
    def program(x):
        taken = jax.vmap(lambda a: lax.cond(a > 0.5, lambda: a * standard(), lambda: a))
        return f(x) * taken(PAIR).sum()

    return program


# name -> what refuses the Ref
REFUSING = {"shard_map": in_shards, "mapped cond": beside_a_mapped_cond}


def check_shared(shared, uses, refusing):
    f = SHARED[shared]()
    for use in uses:
        fn = REFUSING[refusing](USES[use](f))
        wanted = traced(jax.grad(seed(fn), 1), KEY, X)
        got = traced(seed(jax.grad(fn)), KEY, X)
        if got:
            assert_same(*(unoptimized(f)(KEY, X) for f in (got, wanted)), rtol=1e-9)


RIGHT_OR_REFUSED = [
    ("jit", ["rule", "loop"], "shard_map"),
    ("jit", ["loop", "rule"], "shard_map"),
    ("jit", ["loop of a rule"], "mapped cond"),
    ("checkpoint", ["straight", "loop of a rule"], "shard_map"),
]


@pytest.mark.parametrize(("shared", "uses", "refusing"), RIGHT_OR_REFUSED)
def test_a_function_that_draws_used_twice(shared, uses, refusing):
    check_shared(shared, uses, refusing)


@pytest.mark.slow
@settings(max_examples=60, **PROFILE)
@given(
    st.sampled_from(list(SHARED)),
    st.lists(st.sampled_from(list(USES)), min_size=1, max_size=3),
    st.sampled_from(list(REFUSING)),
)
def test_functions_that_draw_used_many_times(shared, uses, refusing):
    check_shared(shared, uses, refusing)


def test_what_only_looks_moved_is_right_without_a_gradient():
    """Parameters of a loop, drawn in a jitted function."""
    draws = jax.jit(lambda: standard())

    def program(x):
        y = draws()
        return lax.scan(lambda c, _: (jnp.sin(c) * y * standard(), None), x, length=3)[
            0
        ]

    for refusing in REFUSING.values():
        fn = refusing(program)
        with pytest.raises(jaxlink.MisplacedDrawError):
            seed(jax.grad(fn))(KEY, X)
        assert jnp.isfinite(seed(fn)(KEY, X))
        assert jnp.isfinite(jax.grad(seed(fn), 1)(KEY, X))


# --- random nestings -----------------------------------------------------------------


def nestings():
    names = st.lists(st.sampled_from(list(WRAPPERS)), min_size=1, max_size=4)
    allowed = names.filter(lambda n: n.count("grad") <= 1)
    return st.tuples(st.sampled_from(list(BASES)), allowed)


@given(nestings())
@settings(max_examples=15, **PROFILE)
@example(("product", ["custom_jvp", "scan", "checkpoint", "grad"]))
def test_nestings(nesting):
    check(*nesting)


@pytest.mark.slow
@given(nestings())
@settings(max_examples=150, **PROFILE)
def test_many_nestings(nesting):
    check(*nesting)

"""The law of keys (`jaxlink.sampling.keys`): which key each draw of a program gets."""

import linecache
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pjax_constructs
import pytensor.tensor as pt
import pytest
from compilation import compilations
from jax import lax
from jax.random import fold_in
from pjax_constructs import (
    CONSTRUCTS,
    at,
    lanes,
    noisy_gradient,
    normal,
    normal_of,
    standard,
    standard_of,
    steps,
    uniform,
    uniform_of,
)
from support import assert_same, unoptimized

import jaxlink
from jaxlink import pjax
from jaxlink.pjax import seed

KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, 2)
X = jnp.array(1.3)
# XLA rounds a product and a sum in one step or in two.
LAST_DIGITS = 1e-13


def test_position_p_draws_from_fold_in_of_fold_in_of_the_key_and_p_and_0():
    def program():
        return standard(), uniform(), normal(2.0, 3.0)

    z, u, x = seed(program)(KEY)
    assert z == jax.random.normal(fold_in(fold_in(KEY, 0), 0))
    assert u == jax.random.uniform(fold_in(fold_in(KEY, 1), 0))
    assert x == 2.0 + 3.0 * jax.random.normal(fold_in(fold_in(KEY, 2), 0))


def test_position_p_is_root_p_of_a_jaxlink_function():
    rvs = [
        pt.random.shared_rng(seed=1).normal(2.0, 3.0)[1],
        pt.random.shared_rng(seed=2).gamma(2.0, scale=0.5, size=(2,))[1],
        pt.random.shared_rng(seed=3).uniform(-1.0, 1.0)[1],
        pt.random.shared_rng(seed=4).poisson(7.0)[1],
    ]

    def program():
        return [
            pjax.normal(2.0, 3.0),
            pjax.gamma(2.0, 0.5, shape=(2,)),
            pjax.uniform(-1.0, 1.0),
            pjax.poisson(7.0),
        ]

    wanted = jaxlink.function([], rvs)(KEY)
    assert_same(jax.jit(seed(program))(KEY), wanted, rtol=LAST_DIGITS)


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_the_keys_of_a_construct(name):
    row = CONSTRUCTS[name]
    program, keyed, derive = row.program, row.keyed, row.derive

    def of_key(key):
        values = {
            "seed": seed(program)(key, X),
            "seed jit": seed(jax.jit(program))(key, X),
            "keyed": keyed(key, X),
        }
        if derive is None:
            return values, {}
        slopes = {
            "derive seed": derive(seed(program), 1)(key, X),
            "keyed": derive(keyed, 1)(key, X),
        }
        if row.derive_inside:
            slopes["seed derive"] = seed(derive(program))(key, X)
            inner = jax.checkpoint(program) if row.in_checkpoint else program
            slopes["seed jit derive jit"] = seed(jax.jit(derive(jax.jit(inner))))(
                key, X
            )
        return values, slopes

    # One program, for it is the number of programs that a test takes its time for.
    @unoptimized
    def of_keys(keys):
        return *lax.map(of_key, keys), jax.vmap(seed(program), (0, None))(keys, X)

    values, slopes, mapped = of_keys(KEYS)
    wanted = values["keyed"]
    assert_same(values, dict.fromkeys(values, wanted), rtol=LAST_DIGITS)
    assert_same(mapped, wanted, rtol=LAST_DIGITS)
    assert_same(seed(program)(KEYS[0], X), wanted[0], rtol=LAST_DIGITS)  # eagerly
    if slopes:
        assert_same(slopes, dict.fromkeys(slopes, slopes["keyed"]), rtol=1e-10)


def test_the_draws_are_those_of_the_reference_to_the_bit():
    """The table computes with its draws, and so rounds; this only draws."""

    @jax.jit
    def pair(positive):
        return lax.cond(positive, uniform, standard), standard()

    def program(x):
        def step(c, _):
            both = jax.vmap(pair, in_axes=None, axis_size=3)(c > 0)
            return c, (both, uniform())

        return lax.scan(step, x, length=2)[1]

    def keyed(key):
        def step(t):
            scope = at(key, 0, t)
            of_branch = lanes(at(at(scope, 0, 1), 0), 3)
            second = jax.vmap(standard_of)(lanes(at(scope, 1), 3))
            return (jax.vmap(uniform_of)(of_branch), second), uniform_of(at(scope, 2))

        return jax.tree.map(lambda *each: jnp.stack(each), *map(step, range(2)))

    assert_same(jax.jit(seed(program))(KEY, X), jax.jit(keyed)(KEY))


def test_a_mapped_cond_is_no_scope():
    """JAX evaluates both branches and selects, so both draw in the scope around."""
    mapped = jax.vmap(lambda x: lax.cond(x > 0, uniform, standard))

    def keyed(key, x):
        false, true = (lanes(at(key, position), 2) for position in range(2))
        return jnp.where(
            x > 0, jax.vmap(uniform_of)(true), jax.vmap(standard_of)(false)
        )

    x = jnp.array([1.0, -1.0])
    assert_same(jax.jit(seed(mapped))(KEY, x), jax.jit(keyed)(KEY, x))


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_without_a_key_is_an_error(name):
    with pytest.raises(jaxlink.UnseededDrawError, match="has no key") as error:
        jax.jit(CONSTRUCTS[name].program)(X)
    file = re.escape(pjax_constructs.__file__)
    found = re.search(rf"a draw of `(\w+)` .* at {file}:(\d+) ", str(error.value))
    assert found, error.value
    sampler, line = found.groups()
    assert sampler in linecache.getline(pjax_constructs.__file__, int(line))


NOT_IN_A_CHECKPOINT = [n for n, row in CONSTRUCTS.items() if not row.in_checkpoint]


@pytest.mark.parametrize("name", NOT_IN_A_CHECKPOINT)
def test_what_a_checkpoint_would_draw_again_is_an_error(name):
    slope = jax.grad(jax.checkpoint(CONSTRUCTS[name].program))
    with pytest.raises(
        jaxlink.MisplacedDrawError, match=r"`standard`, at .*checkpoint"
    ):
        seed(slope)(KEY, X)


def test_a_bwd_rule_draws_in_place_if_the_gradient_is_inside():
    """`seed` then sees no custom_vjp any more, only a draw like all others."""
    times = noisy_gradient()
    got = jax.jit(seed(jax.grad(lambda x: 2 * times(x) * standard())))(KEY, X)
    z, factor, noise = (standard_of(at(KEY, position)) for position in range(3))
    assert_same(got, 10.0 * (2 * factor) * z + noise, rtol=LAST_DIGITS)


# --- keys and transformations of a seeded function -----------------------------------


def walk(x):
    """Draws in a loop, in lanes, and again in a backward pass."""

    @jax.checkpoint
    def step(c, _):
        return jnp.sin(c * x) * jax.vmap(standard, axis_size=2)().sum(), None

    return lax.scan(step, x, length=3)[0] + standard()


def keyed_walk(key, x):
    def step(c, t):
        z = jax.vmap(standard_of)(lanes(at(at(key, 0, t), 0), 2))
        return jnp.sin(c * x) * z.sum(), None

    return lax.scan(step, x, steps(3))[0] + standard_of(at(key, 1))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_each_implementation(impl):
    @unoptimized
    def both(key):
        got = seed(walk)(key, X), seed(jax.grad(walk))(key, X)
        return got, (keyed_walk(key, X), jax.grad(keyed_walk, 1)(key, X))

    got, wanted = both(jax.random.key(1, impl=impl))
    assert_same(got, wanted, rtol=1e-10)


@pytest.mark.parametrize(("impl", "n_words"), [("threefry2x32", 2), ("rbg", 4)])
def test_raw_keys(impl, n_words):
    key = jax.random.key(1, impl=impl)
    raw = jax.random.key_data(key)
    assert raw.shape == (n_words,)
    program = jax.jit(seed(lambda: (standard(), jax.vmap(uniform, axis_size=3)())))
    assert_same(program(raw), program(key))
    assert_same(program(np.asarray(raw)), program(key))


def test_a_seeded_function_is_an_ordinary_jax_function():
    seeded = seed(walk)
    wanted = [keyed_walk(key, X) for key in KEYS]
    slopes = [jax.grad(keyed_walk, 1)(key, X) for key in KEYS]

    @jax.jit
    def transformed(keys, x):
        each = jax.vmap(seeded, (0, None))(keys, x)
        _, in_scan = lax.scan(lambda c, key: (c, seeded(key, x)), 0, keys)
        outer, inner = jax.vmap(jax.value_and_grad(seeded, 1), (0, None))(keys, x)
        along = jax.jvp(lambda x: seeded(keys[0], x), (x,), (1.0,))[1]
        return each, in_scan, outer, inner, along

    each, in_scan, outer, inner, along = transformed(KEYS, X)
    for got in each, in_scan, outer:
        assert_same(got, np.array(wanted), rtol=LAST_DIGITS)
    assert_same(inner, np.array(slopes), rtol=1e-10)
    assert_same(along, slopes[0], rtol=1e-10)


def test_a_seeded_function_can_be_exported():
    program = jax.jit(seed(walk))
    exported = jax.export.export(program)(KEY, X)
    assert_same(exported.call(KEYS[1], X), program(KEYS[1], X))


def test_arguments_and_results_are_trees():
    def program(scale, *, loc):
        return {"x": normal(loc["a"], scale[0]), "n": None}

    got = seed(program)(KEY, [2.0], loc={"a": jnp.ones(())})
    assert got["n"] is None
    assert_same(got["x"], normal_of(at(KEY, 0), jnp.ones(()), 2.0), rtol=LAST_DIGITS)
    assert seed(program).__name__ == "program"


def test_a_python_number_stays_one():
    """As for `jax.grad`: it may be a length, for example."""
    got = seed(lambda n: jnp.stack([standard() for _ in range(n)]))(KEY, 2)
    assert_same(got, jnp.stack([standard_of(at(KEY, position)) for position in (0, 1)]))


def test_a_second_call_compiles_nothing():
    seeded = jax.jit(seed(walk))
    seeded(KEY, X)
    arguments = KEYS[1], 2 * X
    with compilations() as made:
        seeded(*arguments)
    assert made == []


def test_a_jitted_function_that_is_called_twice_is_compiled_once():
    traced = []

    @jax.jit
    def inner(x):
        traced.append(x)
        return x * standard()

    seeded = jax.jit(seed(lambda x: inner(x) * inner(2 * x)))
    seeded(KEY, X)
    assert len(traced) == 1
    calls = jax.make_jaxpr(seeded)(KEY, X).jaxpr.eqns[0].params["jaxpr"].eqns
    first, second = (e for e in calls if e.params.get("name") == "inner")
    assert first.params["jaxpr"] is second.params["jaxpr"]

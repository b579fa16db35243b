"""Programs with visible draws: listed, recorded, replaced, conditioned and scored."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import scipy.stats as st
from models import MODELS

import jaxlink
from jaxlink import pjax
from jaxlink import pymc as jp
from jaxlink.errors import ArgumentError, UnsupportedConstructError

KEY = jax.random.key(7)


@pjax.sampler(logpdf=lambda x, a, b: -((x["u"] - a) ** 2) - jnp.sum((x["v"] - b) ** 2))
def pair(key, a, b):
    first, second = jax.random.split(key)
    draw = jax.random.normal(first) / np.sqrt(2)
    return {"u": a + draw, "v": b + jax.random.normal(second, (2,)) / np.sqrt(2)}


def model(x, n=3):
    """Draws in a row, a loop, a branch, lanes, and a jitted function called twice."""
    slope = pjax.normal(0.0, 2.0, name="slope")

    def step(level, _):
        level = pjax.normal(level / 2 + slope, 0.3, name="level")
        return level, level

    _, levels = jax.lax.scan(step, x, length=n)
    scale = pjax.halfnormal(0.0, 1.0)
    side = jax.lax.cond(
        x > 0,
        lambda: pjax.normal(1.0, 1.5, name="right"),
        lambda: pjax.gamma(2.0, 3.0, name="left"),
    )
    seen = jax.vmap(lambda level: pjax.normal(level, scale, name="seen"))(levels)
    wait = jax.jit(lambda: pjax.exponential(2.0))
    both = pair(slope, 1.0)
    return seen.sum() + side + wait() + wait() + both["u"] + both["v"].sum()


NAMES = ["slope", "level", "halfnormal", "left", "right", "seen"]
NAMES += ["exponential", "exponential_1", "pair"]


@pytest.fixture(scope="module")
def drawn():
    out, drawn = jaxlink.seed(pjax.record(model))(KEY, jnp.asarray(1.0))
    return out, drawn


def reference(draws, x=1.0):
    """The log density of the model's draws, by SciPy."""
    level = draws["level"]
    before = np.append(x, level[:-1]) / 2 + draws["slope"]
    parts = [
        st.norm(0, 2).logpdf(draws["slope"]),
        st.norm(before, 0.3).logpdf(level).sum(),
        st.halfnorm.logpdf(draws["halfnormal"]),
        st.norm(1, 1.5).logpdf(draws["right"]),
        st.norm(level, draws["halfnormal"]).logpdf(draws["seen"]).sum(),
        st.expon(scale=2).logpdf(draws["exponential"]),
        st.expon(scale=2).logpdf(draws["exponential_1"]),
        -((draws["pair"]["u"] - draws["slope"]) ** 2),
        -((draws["pair"]["v"] - 1) ** 2).sum(),
    ]
    return sum(parts)


def test_list():
    found = {draw.name: draw for draw in pjax.draws(model)(jnp.asarray(1.0))}
    assert sorted(found) == sorted(NAMES)
    shapes = {name: draw.shape for name, draw in found.items()}
    assert shapes["level"] == shapes["seen"] == (3,)
    assert shapes["pair"] == {"u": (), "v": (2,)}
    assert found["left"].sampler == "gamma"
    assert found["left"].dtype == np.float64
    assert found["left"].parameters == (2.0, 3.0)
    assert found["level"].parameters[1] == 0.3
    assert found["seen"].parameters[0].shape == (3,)
    assert "test_pjax_programs.py" in found["level"].where
    assert not any(draw.known for draw in found.values())


def test_list_needs_no_values():
    shape = jax.ShapeDtypeStruct((), jnp.float64)
    assert len(pjax.draws(model)(shape)) == len(NAMES)


def test_a_loop_of_unknown_length_is_listed():
    def program():
        return jax.lax.while_loop(
            lambda x: x < 3, lambda x: x + pjax.exponential(1.0, name="wait"), 0.0
        )

    [draw] = pjax.draws(program)()
    assert draw.shape == (None,)
    with pytest.raises(UnsupportedConstructError, match=r"`wait`.*unknown length"):
        pjax.replace(program, {"wait": 1.0})()
    with pytest.raises(UnsupportedConstructError, match="while"):
        jaxlink.seed(pjax.record(program))(KEY)


def test_record_changes_no_draw(drawn):
    out, draws = drawn
    assert sorted(draws) == sorted(NAMES)
    np.testing.assert_array_equal(out, jaxlink.seed(model)(KEY, jnp.asarray(1.0)))
    assert draws["left"] == 0  # not taken
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    np.testing.assert_array_equal(draws["slope"], 2 * jax.random.normal(key))


def test_replace(drawn):
    """With all draws replaced by what they were, the program needs no key."""
    out, draws = drawn
    again = pjax.replace(model, draws)
    np.testing.assert_allclose(jax.jit(again)(jnp.asarray(1.0)), out, rtol=1e-15)
    fewer = pjax.replace(pjax.replace(model, {"exponential": 2.0}), {"slope": 1.0})
    left = [draw.name for draw in pjax.draws(fewer)(jnp.asarray(1.0))]
    assert sorted(left) == sorted(set(NAMES) - {"exponential", "slope"})
    half = {name: draws[name] for name in ("level", "slope", "seen", "pair")}
    rest, more = jaxlink.seed(pjax.record(pjax.replace(model, half)))(KEY, jnp.ones(()))
    side = more["right"] + more["exponential"] + more["exponential_1"]
    given = draws["seen"].sum() + draws["pair"]["u"] + draws["pair"]["v"].sum()
    np.testing.assert_allclose(rest, side + given)


def test_log_density(drawn):
    _, draws = drawn
    density = pjax.log_density(model)
    wanted = reference(jax.device_get(draws))
    x = jnp.asarray(1.0)
    np.testing.assert_allclose(density(draws, x), wanted, rtol=1e-13)
    np.testing.assert_allclose(jax.jit(density)(draws, x), wanted, rtol=1e-13)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), draws)
    mapped = jax.vmap(density, (0, None))(two, x)
    np.testing.assert_allclose(mapped, [wanted, wanted], rtol=1e-13)


def test_gradient_of_a_log_density(drawn):
    _, draws = drawn
    slope = jax.grad(pjax.log_density(model))(draws, jnp.asarray(1.0))
    draws = jax.device_get(draws)
    for name in ("slope", "halfnormal", "right", "exponential"):
        step = 1e-6
        moved = [
            reference({**draws, name: draws[name] + sign * step}) for sign in (1, -1)
        ]
        wanted = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(slope[name], wanted, rtol=1e-6, err_msg=name)
    assert slope["left"] == 0
    by_x = jax.grad(pjax.log_density(model), argnums=1)(draws, jnp.asarray(1.0))
    first = draws["level"][0] - (0.5 + draws["slope"])
    np.testing.assert_allclose(by_x, first / 0.3**2 / 2, rtol=1e-12)


def test_condition(drawn):
    _, draws = drawn
    known = {name: draws[name] for name in ("seen", "level", "pair")}
    given = pjax.condition(model, known)
    x = jnp.asarray(1.0)
    kept = {draw.name for draw in pjax.draws(given)(x) if draw.known}
    assert kept == set(known)
    rest = {name: value for name, value in draws.items() if name not in known}
    wanted = reference(jax.device_get(draws))
    np.testing.assert_allclose(pjax.log_density(given)(rest, x), wanted, rtol=1e-13)
    # Known draws can be known again, as something else, and recorded.
    other = {**rest, "seen": draws["seen"] + 1}
    moved = reference(jax.device_get({**draws, "seen": draws["seen"] + 1}))
    np.testing.assert_allclose(pjax.log_density(given)(other, x), moved, rtol=1e-13)
    _, recorded = jaxlink.seed(pjax.record(given))(KEY, x)
    np.testing.assert_array_equal(recorded["seen"], draws["seen"])
    seeded = jaxlink.seed(given)
    np.testing.assert_allclose(jax.jit(seeded)(KEY, x), seeded(KEY, x), rtol=1e-14)


def test_a_known_value_counts_in_each_lane():
    def program(mean):
        y = pjax.condition(lambda: pjax.normal(mean, 1.0, name="y"), {"y": 0.5})()
        return jax.grad(lambda y: y**2)(y)

    means = jnp.array([0.0, 1.0, 3.0])
    lanes = jax.vmap(program)
    np.testing.assert_array_equal(jax.jit(lanes)(means), [1, 1, 1])
    wanted = st.norm(means, 1).logpdf(0.5).sum()
    np.testing.assert_allclose(pjax.log_density(lanes)({}, means), wanted)
    _, recorded = jaxlink.seed(pjax.record(lanes))(KEY, means)
    np.testing.assert_array_equal(recorded["y"], 0.5)


@pytest.mark.parametrize("in_axes", [0, 1, (0, None)])
def test_lanes(in_axes):
    """Each lane has the density of its own parameters."""
    x = jnp.arange(6.0).reshape(2, 3)
    if isinstance(in_axes, tuple):
        args, loc = (x, jnp.asarray(2.0)), x
        fn = jax.vmap(lambda a, b: pjax.normal(a, b), in_axes)
        scale = 2.0
    else:
        args, scale = (x,), 1.5
        loc = x if in_axes == 0 else x.T
        fn = jax.vmap(lambda a: pjax.normal(a, 1.5), in_axes)
    value = loc + 0.3
    got = pjax.log_density(fn)({"normal": value}, *args)
    np.testing.assert_allclose(got, st.norm(loc, scale).logpdf(value).sum())


@pytest.mark.parametrize("name", ["ordinal", "coal_mining", "local_level"])
def test_models(name):
    """The density of a model's program is that of the model."""
    built = MODELS[name].build()
    program = jp.prior(built, key=False)
    assert {d.name for d in pjax.draws(program)()} == {v.name for v in built.basic_RVs}
    draws = jp.prior(built)(KEY)
    observed = {rv.name: built.rvs_to_values[rv].data for rv in built.observed_RVs}
    free = {rv.name: draws[rv.name] for rv in built.free_RVs}
    got = pjax.log_density(pjax.condition(program, observed))(free)
    position = jp.unconstrain(built)(free)
    wanted = jp.logdensity(built, jacobian=False)(position)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_a_density_of_draws_in_32_and_64_bits():
    def program():
        return pjax.normal(0.0, 1.0, dtype="float32", name="x"), pjax.normal(name="y")

    got = pjax.log_density(program)({"x": np.float32(0.5), "y": 0.25})
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, st.norm.logpdf([0.5, 0.25]).sum(), rtol=1e-6)


def test_refusals(drawn):
    _, draws = drawn
    x = jnp.asarray(1.0)
    density = pjax.log_density(model)
    fewer = {n: x for n, x in draws.items() if n not in ("pair", "exponential_1")}
    with pytest.raises(ArgumentError, match=r"`pair`, `exponential_1` are missing"):
        density(fewer, x)
    with pytest.raises(ArgumentError, match=r"no draw named `slop`.*`slope`, `level`"):
        density({**draws, "slop": 1.0}, x)
    with pytest.raises(ArgumentError, match=r"`level`.*\(3,\).*\(2,\)"):
        pjax.replace(model, {"level": [1.0, 2.0]})(x)
    with pytest.raises(ArgumentError, match=r"`slope`.*float64.*complex128"):
        pjax.replace(model, {"slope": 1j})(x)

    unscored = pjax.sampler(lambda key: jax.random.normal(key), name="unscored")
    with pytest.raises(ArgumentError, match=r"`unscored` has none.*logpdf="):
        pjax.log_density(unscored)({"unscored": 1.0})
    vector = pjax.sampler(
        lambda key: jax.random.normal(key, (2,)), name="vector", logpdf=lambda x: x
    )
    with pytest.raises(ArgumentError, match=r"must be a scalar.*\(2,\)"):
        pjax.log_density(vector)({"vector": [1.0, 2.0]})
    with pytest.raises(ArgumentError, match=r"`x`.*PyMC has none.*`truncexpon`"):
        pjax.log_density(lambda: pjax.truncexpon(1.0, name="x"))({"x": 0.5})


def test_what_cannot_be_seen_through():
    @jax.custom_jvp
    def hidden(x):
        return x * pjax.normal(0.0, 1.0, name="hidden")

    hidden.defjvp(lambda primals, tangents: (hidden(*primals), tangents[0]))
    with pytest.raises(UnsupportedConstructError, match=r"custom_jvp.*test_pjax_prog"):
        pjax.replace(hidden, {"hidden": 1.0})(jnp.ones(()))

    def program(x):
        return x * pjax.normal(x, 1.0, name="draw")

    x = jnp.ones(())
    with pytest.raises(UnsupportedConstructError, match="differentiates its draw"):
        pjax.replace(jax.grad(program), {"draw": 1.0})(x)
    with pytest.raises(UnsupportedConstructError, match=r"jax\.checkpoint"):
        pjax.replace(jax.grad(jax.checkpoint(program)), {"draw": 1.0})(x)
    # The other way round is fine.
    assert jax.grad(pjax.replace(program, {"draw": 3.0}))(x) == 3


def test_a_gradient_in_the_program_is_recorded():
    def program(x):
        return jax.grad(lambda x: x * pjax.normal(x, 1.0, name="draw"))(x)

    slope, draws = jaxlink.seed(pjax.record(program))(KEY, jnp.asarray(2.0))
    np.testing.assert_allclose(slope, draws["draw"] + 2)


def test_conditioning_on_a_model_that_draws_a_dict():
    """A PyMC model in a program, some of whose variables are known."""
    with pm.Model() as small:
        mu = pm.Normal("mu", 0, 2)
        pm.Normal("y", mu, 0.5, shape=3)
    keyless = jp.prior(small, key=False)

    def program():
        draw = keyless()
        return pjax.poisson(jnp.exp(draw["mu"]), name="count"), draw["y"]

    given = pjax.condition(program, {"count": 4, "y": [0.1, 0.2, 0.3]})
    got = pjax.log_density(given)({"mu": 0.4})
    wanted = st.norm(0, 2).logpdf(0.4) + st.poisson(np.exp(0.4)).logpmf(4)
    wanted += st.norm(0.4, 0.5).logpdf([0.1, 0.2, 0.3]).sum()
    np.testing.assert_allclose(got, wanted, rtol=1e-12)

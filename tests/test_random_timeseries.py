"""PyMC's time series, and the keys of draws inside loops, branches and inner graphs.

That the series have the right distribution is in the table of ``tests/distributions``.
"""

from functools import cache

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions.harness import REJECT, mean_p_value, numpy_rng, p_value
from distributions.timeseries import (
    DT,
    STEPS,
    ar2_as_linear,
    ar2_with_constant,
    garch,
    garch_moments,
    gaussian_random_walk,
    geometric_brownian_moments,
    geometric_brownian_motion,
    linear_moments,
    walk_as_linear,
)
from jax.random import fold_in
from pytensor import ifelse
from pytensor.compile.builders import OpFromGraph
from scipy import stats
from support import quick

import jaxlink
from jaxlink.dispatch.random.registry import find_row
from jaxlink.numerics.random import continuous

KEY = jax.random.key(31)
DRAWS = 20_000


# --- values ---------------------------------------------------------------------------


@pytest.mark.slow
def test_first_values_of_every_kind():
    """What is left of a series without its recursion is normal, whatever starts it."""
    rho, sigma = np.array([0.4, 0.7, -0.5]), 1.5
    gammas = [pm.Gamma.dist(2.0, 3.0), pm.StudentT.dist(5.0)]
    cov = np.array([[1.0, 0.6], [0.6, 2.0]])
    first = {
        "scalar": pm.Gamma.dist(2.0, 3.0),
        "vector": pm.MvNormal.dist([1.0, -1.0], cov),
        "simplex": pm.Dirichlet.dist([2.0, 0.5]),
        "symbolic": pm.Mixture.dist([0.3, 0.7], gammas),
        "censored": pm.Censored.dist(pm.Normal.dist(), -1.0, 0.5),
        "constant": pm.DiracDelta.dist(2.5),
    }
    series = [
        pm.AR.dist(rho, sigma, init_dist=x, constant=True, steps=STEPS, size=(DRAWS,))
        for x in first.values()
    ]
    draws = dict(zip(first, quick(jaxlink.function([], series))(KEY), strict=True))
    for x in draws.values():
        assert x.shape == (DRAWS, 2 + STEPS)
        left = x[:, 2:] - rho[0] - rho[1] * x[:, 1:-1] - rho[2] * x[:, :-2]
        assert p_value(left.ravel(), stats.norm(0, sigma)) > REJECT
        np.testing.assert_array_less(np.abs(np.corrcoef(left.T) - np.eye(3)), 0.04)

    rng = numpy_rng()
    gamma = rng.gamma(2.0, 1 / 3.0, DRAWS)
    mixture = np.where(rng.uniform(size=DRAWS) < 0.3, gamma, rng.standard_t(5.0, DRAWS))
    normal = rng.multivariate_normal([1.0, -1.0], cov, DRAWS)
    for i in range(2):
        assert p_value(draws["scalar"][:, i], stats.gamma(2, scale=1 / 3)) > REJECT
        assert p_value(draws["symbolic"][:, i], mixture) > REJECT
    assert p_value(draws["vector"][:, :2], normal) > REJECT
    assert p_value(draws["simplex"][:, 0], stats.beta(2.0, 0.5)) > REJECT
    np.testing.assert_allclose(draws["simplex"][:, :2].sum(-1), 1, rtol=1e-12)
    assert draws["censored"][:, :2].min() == -1
    assert draws["censored"][:, :2].max() == 0.5
    assert (draws["constant"][:, :2] == 2.5).all()


def test_series_without_noise_are_their_recursions():
    """With a scale of zero, in a batch of two by three."""
    rows, columns = np.array([[0.5], [-0.8]]), np.array([1.0, 2.0, -3.0])
    zero = np.zeros(())
    x = [pt.matrix("x", shape=(2, 1)), pt.vector("y", shape=(3,)), pt.scalar("zero")]
    start = pm.DiracDelta.dist(x[1])
    rho = pt.stack([x[0], x[0] ** 2], -1)
    lagged = pt.broadcast_to(pt.stack([x[1], 2 * x[1]], -1), (2, 3, 2))
    series = [
        pm.GaussianRandomWalk.dist(
            x[0], x[2], init_dist=start, steps=STEPS, size=(2, 3)
        ),
        pm.AR.dist(
            rho, x[2][None, None], init_dist=pm.DiracDelta.dist(lagged), steps=STEPS,
            ar_order=2, size=(2, 3),
        ),
        pm.EulerMaruyama.dist(
            DT, lambda x, r, s: (r * x**2, s), (x[0], x[2]), init_dist=start,
            steps=STEPS, size=(2, 3),
        ),
    ]  # fmt: skip
    walk, auto, euler = quick(jaxlink.function(x, series))(KEY, rows, columns, zero)
    first = np.broadcast_to(columns, (2, 3))
    wanted = [[first], [first, 2 * first], [first]]
    for _ in range(STEPS):
        wanted[0].append(wanted[0][-1] + rows)
        wanted[1].append(rows * wanted[1][-1] + rows**2 * wanted[1][-2])
        wanted[2].append(wanted[2][-1] + DT * rows * wanted[2][-1] ** 2)
    for got, want in zip((walk, auto, euler), wanted, strict=True):
        np.testing.assert_allclose(got, np.stack(want, -1), rtol=1e-13)


SERIES = {
    "gaussian_random_walk": (gaussian_random_walk, (0.3, 0.5, 1.0, 2.0)),
    "ar2": (ar2_with_constant, ((0.5, 0.7, -0.4), 0.5, 1.0, 2.0)),
    "garch11": (garch, (0.5, 0.3, 0.2, 1.5)),
    "euler_maruyama": (geometric_brownian_motion, (0.5, 0.3, 1.0)),
}


@pytest.mark.slow
def test_the_number_of_steps_is_a_static_argument():
    steps = pt.lscalar("steps")
    x = pt.vector("x", shape=(2,))
    rho = pt.stack([x, x / 2], -1)
    series = [
        gaussian_random_walk(x, 1.0, 0.0, 1.0, steps=steps),
        garch(x, 0.2, 0.3, 1.0, steps=steps),
        geometric_brownian_motion(x, 0.2, 0.3, steps=steps),
        pm.AR.dist(rho, init_dist=pm.Normal.dist(), steps=steps, ar_order=2),
    ]
    fn = jaxlink.function([x, steps], series)
    assert fn.static_argnums == (2,)
    values = jnp.array([0.5, 0.2])
    for n in (1, 4):
        outs = fn(KEY, values, n)
        assert [out.shape for out in outs] == [(2, n + 1)] * 3 + [(2, n + 2)]
    # More steps change no earlier ones where each step draws with a key of its own.
    for longer, shorter in zip(
        fn(KEY, values, 4)[1:], fn(KEY, values, 1)[1:], strict=True
    ):
        np.testing.assert_allclose(longer[:, : shorter.shape[1]], shorter, rtol=1e-14)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(fn, (0, None, None))(keys, values, 4)
    grads = jax.grad(lambda v: sum(out.sum() for out in fn(KEY, v, 4)))(values)
    assert np.isfinite(grads).all()
    for i, key in enumerate(keys):
        for batch, single in zip(mapped, fn(key, values, 4), strict=True):
            np.testing.assert_allclose(batch[i], single, rtol=1e-13, atol=1e-15)


# --- slopes ---------------------------------------------------------------------------

# The mean of the square of the last value, from the moments of the table's references.
LAST_SQUARE = {
    "gaussian_random_walk": lambda *p: linear_moments(*walk_as_linear(*p)),
    "ar2": lambda *p: linear_moments(*ar2_as_linear(*p)),
    "garch11": garch_moments,
    "euler_maruyama": geometric_brownian_moments,
}


def last_square(name, point):
    mean, cov = LAST_SQUARE[name](*point)
    return mean[-1] ** 2 + cov[-1, -1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SERIES)
def test_slopes_of_series(name):
    build, point = SERIES[name]
    point = [np.asarray(p) for p in point]
    inputs = [pt.tensor(dtype="float64", shape=p.shape) for p in point]
    fn = jaxlink.function(inputs, build(*inputs, size=(DRAWS,)))
    # Every element of every parameter is a direction.
    steps = [
        [np.where(np.arange(p.size).reshape(p.shape) == i, 1.0, 0.0) * (p is q)
         for p in point]
        for q in point for i in range(q.size)
    ]  # fmt: skip

    def both(direction):
        return jax.jvp(lambda *args: fn(KEY, *args), tuple(point), tuple(direction))

    directions = [np.stack(d) for d in zip(*steps, strict=True)]
    draws, slopes = jax.jit(jax.vmap(both))(directions)
    h, noticed = 1e-5, []
    for x, slope, step in zip(draws, slopes, steps, strict=True):
        moved = [[p + s * d for p, d in zip(point, step, strict=True)] for s in (h, -h)]
        # A draw is a smooth function of the parameters.
        above, below = (np.asarray(fn(KEY, *m)) for m in moved)
        scale = np.abs(slope).max()
        np.testing.assert_allclose(
            slope, (above - below) / (2 * h), rtol=1e-5, atol=1e-7 * scale
        )
        wanted = (last_square(name, moved[0]) - last_square(name, moved[1])) / (2 * h)
        terms = np.asarray(2 * x[:, -1] * slope[:, -1])
        assert mean_p_value(terms, wanted) > REJECT
        noticed.append(mean_p_value(terms * 1.2, wanted) < REJECT)
    assert any(noticed)


# --- the law of keys ------------------------------------------------------------------


def key_of(root, count):
    return fold_in(fold_in(KEY, root), count)


def normals(root, counts, shape=()):
    """The standard normals that the law demands."""
    draws = [jax.random.normal(key_of(root, t), shape, jnp.float64) for t in counts]
    return np.stack(draws)


def generators(x, first, noise):
    """The generators of a series' first values and of its noise."""
    return [x.owner.inputs[first].owner.inputs[0], noise(x.owner.inputs)]


def test_keys_of_series():
    """Innovations are draws 0, 1, ... along a root. Parameters are such that a series
    is its innovations, to the bit."""
    standard = pm.Normal.dist(0.0, 1.0)
    size = (2,)
    white = pm.AR.dist(np.zeros(2), 1.0, init_dist=standard, steps=STEPS, size=size)
    last = lambda inputs: inputs[-1]  # noqa: E731
    vol = pm.GARCH11.dist(1.0, 0.0, 0.0, 1.0, steps=STEPS, size=size)
    euler = pm.EulerMaruyama.dist(
        1.0, lambda x, s: (-x, s), (1.0,), init_dist=standard, steps=STEPS, size=size
    )
    walk = pm.RandomWalk.dist(
        init_dist=pm.Poisson.dist(3.0),
        innovation_dist=pm.Poisson.dist(2.0),
        steps=STEPS,
        size=size,
    )
    rngs = [
        *generators(white, 2, last),
        *generators(vol, 4, last),
        *generators(euler, 0, last),
        *generators(walk, 0, lambda inputs: inputs[1].owner.inputs[0]),
    ]
    fn = jaxlink.function([], [white, vol, euler, walk], rngs=rngs)
    white, vol, euler, walk = fn(KEY)
    innovations = range(STEPS)
    np.testing.assert_array_equal(white[:, :2], normals(0, [0], (2, 2))[0])
    np.testing.assert_array_equal(white[:, 2:], normals(1, innovations, size).T)
    np.testing.assert_array_equal(vol[:, :1], normals(2, [0], size).T)
    np.testing.assert_array_equal(vol[:, 1:], normals(3, innovations, size).T)
    np.testing.assert_array_equal(euler[:, :1], normals(4, [0], size).T)
    np.testing.assert_array_equal(euler[:, 1:], normals(5, innovations, size).T)
    # A random walk draws all its steps at once, in the shape (steps, *size).
    steps = np.concatenate(
        [
            direct(ptr.poisson, 6, 0, 3.0, shape=(1, *size)),
            direct(ptr.poisson, 7, 0, 2.0, shape=(STEPS, *size)),
        ]
    )
    np.testing.assert_array_equal(walk, np.cumsum(steps, 0).T)


def test_series_follow_from_their_innovations():
    rho, sigma = np.array([0.5, 0.7, -0.4]), 1.5
    auto = pm.AR.dist(
        rho, sigma, init_dist=pm.Normal.dist(), constant=True, steps=STEPS
    )
    vol = pm.GARCH11.dist(0.5, 0.3, 0.2, 1.5, steps=STEPS)
    last = lambda inputs: inputs[-1]  # noqa: E731
    rngs = [*generators(auto, 2, last), *generators(vol, 4, last)]
    auto, vol = quick(jaxlink.function([], [auto, vol], rngs=rngs))(KEY)

    x = list(normals(0, [0], (2,))[0])
    for z in normals(1, range(STEPS)):
        x.append(rho[0] + rho[1] * x[-1] + rho[2] * x[-2] + sigma * z)
    np.testing.assert_allclose(auto, x, rtol=1e-13)
    s, y = 1.5, [1.5 * normals(2, [0])[0]]
    for z in normals(3, range(STEPS)):
        s = np.sqrt(0.5 + 0.3 * y[-1] ** 2 + 0.2 * s**2)
        y.append(s * z)
    np.testing.assert_allclose(vol, y, rtol=1e-13)


@cache
def sampler_of(rv, shape):
    dtype = jnp.dtype(rv.dtype if rv.dtype != "floatX" else "float64")
    draw = find_row(rv).draw
    return jax.jit(lambda key, *p: draw(key, shape, dtype, *p).astype(dtype))


def direct(rv, root, count, *parameters, shape=()):
    """The draw of a distribution's sampler with the key that the law demands."""
    given = [jnp.asarray(p, jnp.float64) for p in parameters]
    return np.asarray(sampler_of(rv, shape)(key_of(root, count), *given))


# Distributions that are made of several primitive draws.
COMPOUND = {
    "t": (ptr.t, (3.0, 0.0, 1.0)),
    "beta": (ptr.beta, (0.4, 2.5)),
    "negative_binomial": (ptr.negative_binomial, (1.7, 0.3)),
}
# How many draws a compound step makes along each of its two streams.
EACH = (2, 1)


def compound_step(*streams):
    """One draw of each, the distributions taking turns with the generators."""
    streams, out = list(streams), []
    for i, (rv, parameters) in enumerate(COMPOUND.values()):
        rng = streams[i % 2]
        # Constants of 64 bits, lest PyTensor take the narrowest dtype that holds them.
        given = [np.asarray(p)[()] for p in parameters]
        streams[i % 2], x = rv(*given, rng=rng, return_next_rng=True)
        out.append(x)
    return streams, out


def check_compound(draws, turns, root_of=(0, 1), first=(0, 0)):
    """The draws of ``turns`` compound steps, each along two streams."""
    counts = list(first)
    for turn in range(turns):
        for i, (rv, parameters) in enumerate(COMPOUND.values()):
            stream = i % 2
            want = direct(rv, root_of[stream], counts[stream], *parameters)
            counts[stream] += 1
            # Of floats XLA may round the last bit in another way.
            rtol = 1e-12 * (want.dtype.kind == "f")
            np.testing.assert_allclose(draws[i][turn], want, rtol, err_msg=rv.name)


@pytest.mark.slow
def test_keys_of_compound_draws_in_a_scan_of_several_generators():
    a, b = (pt.random.shared_rng(seed=i) for i in range(2))

    def step(*streams):
        streams, out = compound_step(*streams)
        return [*streams, *out]

    results = pytensor.scan(
        step, outputs_info=[a, b, *[None] * len(COMPOUND)], n_steps=3,
        return_updates=False,
    )  # fmt: skip
    draws = results[2:]
    _, after = results[0].normal()
    fn = jaxlink.function([], [*draws, after], rngs=[a, b])
    *draws, after = fn(KEY)
    check_compound(draws, 3)
    assert after == normals(0, [3 * EACH[0]])
    keys = jnp.stack([KEY, jax.random.key(1)])
    for one, batch in zip(draws, jax.vmap(fn)(keys), strict=False):
        np.testing.assert_allclose(batch[0], one, rtol=1e-14)


def test_keys_inside_a_scan_inside_an_inner_graph():
    a, b = (pt.random.shared_rng(seed=i) for i in range(2))
    r, s = pt.random.rng(), pt.random.rng()

    def step(*streams):
        streams, out = compound_step(*streams)
        return [*streams, *out]

    results = pytensor.scan(
        step, outputs_info=[r, s, *[None] * len(COMPOUND)], n_steps=2,
        return_updates=False,
    )  # fmt: skip
    op = OpFromGraph([r, s], results)
    a, before = a.normal()
    next_a, _, *draws = op(a, b)
    _, after = next_a.normal()
    fn = jaxlink.function([], [before, *draws, after], rngs=None)
    before, *draws, after = fn(KEY)
    roots = (0, 1) if before == normals(0, [0])[0] else (1, 0)
    assert before == normals(roots[0], [0])[0]
    check_compound(draws, 2, roots, (1, 0))
    assert after == normals(roots[0], [1 + 2 * EACH[0]])[0]


def test_keys_of_random_branches():
    a, b = (pt.random.shared_rng(seed=i) for i in range(2))
    which = pt.scalar("which")
    streams, out = compound_step(a, b)
    other, flipped = compound_step(b, a)
    results = ifelse(which, [*streams, *out], [*other[::-1], *flipped])
    next_a, draws = results[0], results[2:]
    _, after = next_a.normal()
    fn = jaxlink.function([which], [*draws, after], rngs=[a, b])
    for value, roots in ((1.0, (0, 1)), (0.0, (1, 0))):
        *draws, after = fn(KEY, value)
        check_compound([x[None] for x in draws], 1, roots)
        assert after == normals(0, [EACH[roots[0]]])[0]


def noisy_walk(n_steps=6):
    """A loop whose draws depend on its state, twice along one generator in a step."""

    def step(x, y, generator, scale):
        generator, first = generator.normal(0.5 * x, scale)
        generator, other = generator.laplace(x - y, 0.1, size=(2,))
        return first, other, generator

    start = pt.scalar("start")
    x, y, _ = pytensor.scan(
        step,
        outputs_info=[start, pt.zeros(2), pt.random.shared_rng(seed=1)],
        non_sequences=[pt.exp(start)],
        n_steps=n_steps,
        return_updates=False,
    )
    return jaxlink.function([start], [x, y])


def eqns(jaxpr, name):
    """The equations of a primitive, at any level."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == name:
            yield eqn
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from eqns(inner, name)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_standard_draws_are_made_ahead_of_a_loop(impl):
    fn, key = noisy_walk(), jax.random.key(3, impl=impl)
    jaxpr = fn.jaxpr(key, 0.5).jaxpr
    (loop,) = eqns(jaxpr, "scan")
    inside = list(eqns(loop.params["jaxpr"].jaxpr, "random_bits"))
    assert (inside == []) == (impl == "threefry2x32")

    x, y, root = 0.5, np.zeros(2), jax.random.fold_in(key, 0)
    got = fn(key, 0.5)
    for t in range(6):
        keys = [jax.random.fold_in(root, 2 * t + i) for i in range(2)]
        z = jax.random.normal(keys[0], (), float)
        last = x
        x = 0.5 * x + np.exp(0.5) * z
        np.testing.assert_allclose(got[0][t], x, rtol=1e-14)
        wanted = continuous.laplace(keys[1], (2,), np.dtype(float), last - y, 0.1)
        np.testing.assert_allclose(got[1][t], wanted, rtol=1e-14)
        y = got[1][t]
    slope = jax.grad(lambda start: fn(key, start)[0].sum())(0.5)
    h = 1e-6
    secant = (fn(key, 0.5 + h)[0].sum() - fn(key, 0.5 - h)[0].sum()) / (2 * h)
    np.testing.assert_allclose(slope, secant, rtol=1e-7)

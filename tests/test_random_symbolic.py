"""PyMC's symbolic distributions: what the table leaves out."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from distributions.harness import (
    DRAWS,
    KEY,
    REJECT,
    chi_square,
    mean_p_value,
    moments_p_value,
    p_value,
)
from distributions.symbolic import Cut, CutCounts, Folded, kumaraswamy
from pymc.distributions.distribution import create_partial_observed_rv
from scipy import special, stats
from support import quick

import jaxlink

# --- the weights of a mixture --------------------------------------------------------

WEIGHTS = [
    np.array([0.85, 0.15]),
    np.array([0.0, 1.0]),
    np.array([0.05, 0.4, 0.0, 0.25, 0.3]),
]


@pytest.mark.parametrize("w", WEIGHTS, ids=len)
def test_the_weights_of_a_mixture(w):
    """Components that do not overlap tell which one was chosen."""
    given, k = pt.vector("w"), len(w)
    places = [10 * i for i in range(k)]
    kinds = {
        "continuous": [pm.Uniform.dist(x - 1, x + 1) for x in places],
        "batch": pm.Uniform.dist(np.array(places) - 1, np.array(places) + 1),
        "discrete": [pm.DiscreteUniform.dist(x - 1, x + 1) for x in places],
    }
    outs = [pm.Mixture.dist(given, parts, size=DRAWS) for parts in kinds.values()]
    for draws in quick(jaxlink.function([given], outs))(KEY, w):
        chosen = np.rint(np.asarray(draws) / 10).astype(int)
        assert chi_square(chosen, w * DRAWS) > REJECT
        off = w * np.linspace(1, 1.05, k)
        assert k == 2 or chi_square(chosen, off / off.sum() * DRAWS) < REJECT


# --- vectors -------------------------------------------------------------------------

_W = np.array([0.2, 0.5, 0.3])
_MEANS = np.array([[0.0, 1.0], [5.0, -2.0], [1.0, 1.0]])
_COV = np.array([[2.0, 0.6], [0.6, 1.0]])
_ALPHAS = np.array([[1.0, 2.0, 3.0], [9.0, 1.0, 0.5], [3.0, 30.0, 3.0]])


def mixed_moments(w, means, covs):
    mean = w @ means
    spread = [np.outer(m - mean, m - mean) for m in means]
    return mean, sum(p * (c + s) for p, c, s in zip(w, covs, spread, strict=True))


def test_mixtures_of_vectors():
    w = pt.vector("w")
    listed = [pm.MvNormal.dist(m, _COV) for m in _MEANS]
    outs = [
        pm.Mixture.dist(w, listed, size=50_000),
        pm.Mixture.dist(w, pm.MvNormal.dist(_MEANS, _COV), size=50_000),
        pm.Mixture.dist(w, pm.Dirichlet.dist(_ALPHAS), size=50_000),
    ]
    first, second, third = quick(jaxlink.function([w], outs))(KEY, _W)
    wanted = mixed_moments(_W, _MEANS, [_COV] * 3)
    assert moments_p_value(first, *wanted) > REJECT
    assert moments_p_value(second, *wanted) > REJECT
    assert moments_p_value(first, wanted[0], wanted[1] * 1.05) < REJECT
    parts = [stats.dirichlet(a) for a in _ALPHAS]
    mean, cov = mixed_moments(
        _W, np.array([d.mean() for d in parts]), [d.cov() for d in parts]
    )
    assert moments_p_value(third, mean, cov) > REJECT
    np.testing.assert_allclose(third.sum(-1), 1, rtol=1e-12)


def test_a_mixture_of_vectors_is_chosen_whole():
    """All coordinates of a draw are of one component."""
    corners = np.array([[0.0, 0.0, 0.0], [50.0, 50.0, 50.0]])
    parts = [pm.MvNormal.dist(c, np.eye(3)) for c in corners]
    mixture = pm.Mixture.dist(np.array([0.3, 0.7]), parts, size=2000)
    draws = np.asarray(quick(jaxlink.function([], mixture))(KEY)) > 25
    assert (draws.all(-1) | ~draws.any(-1)).all()


# --- others --------------------------------------------------------------------------


def test_dirac_delta():
    c = pt.lvector("c")
    fn = jaxlink.function([c], pm.DiracDelta.dist(c, size=(2, 3)))
    draws = fn(np.array([4, -1, 7]))
    np.testing.assert_array_equal(draws, [[4, -1, 7]] * 2)
    assert draws.dtype == jnp.int64


def test_partially_observed():
    """Both parts are of one draw of the whole."""
    mask = np.array([True, False, True])
    mu = np.array([0.0, 10.0, 20.0])
    whole = pm.MvNormal.dist(mu, np.eye(3))
    (seen, _), (unseen, _), joined = create_partial_observed_rv(whole, mask)
    fn = jaxlink.function([], [seen, unseen, joined])
    known, free, both = fn(KEY)
    np.testing.assert_array_equal(both[mask], free)
    np.testing.assert_array_equal(both[~mask], known)
    draws = np.asarray(jax.vmap(lambda key: fn(key)[2])(jax.random.split(KEY, 20_000)))
    assert moments_p_value(draws, mu, np.eye(3)) > REJECT


def test_truncation_by_rejection_over_10_000_keys():
    mu = pt.scalar("mu")
    count = pm.Truncated.dist(pm.Poisson.dist(mu), lower=2, upper=5)
    skewed = pm.Truncated.dist(pm.SkewNormal.dist(3.0, mu=mu, sigma=1.0), lower=2.5)
    fn = jaxlink.function([mu], [count, skewed])
    keys = jax.random.split(KEY, 10_000)
    counts, reals = jax.vmap(fn, (0, None))(keys, 2.0)
    assert p_value(counts, CutCounts(stats.poisson(2.0), 2, 5)) > REJECT
    assert p_value(counts, CutCounts(stats.poisson(2.4), 2, 5)) < REJECT
    assert p_value(reals, Cut(stats.skewnorm(3, 2, 1), 2.5)) > REJECT
    for i in range(3):
        one = fn(keys[i], 2.0)
        assert one[0] == counts[i]
        np.testing.assert_allclose(one[1], reals[i], rtol=1e-12)


# --- tails ---------------------------------------------------------------------------

# About eight standard deviations out, to either side where there are two.
TAILS = {
    "exponential": (lambda: pm.Exponential.dist(2.0), stats.expon(scale=0.5), 20, None),
    "weibull": (lambda: pm.Weibull.dist(2.0, 1.5), stats.weibull_min(2, 0, 1.5), 9, 20),
    "pareto": (lambda: pm.Pareto.dist(8.0, 1.0), stats.pareto(8), 90, None),
    "laplace": (lambda: pm.Laplace.dist(1.0, 2.0), stats.laplace(1, 2), 60, None),
    "laplace_low": (
        lambda: pm.Laplace.dist(1.0, 2.0),
        stats.laplace(1, 2),
        None,
        -60,
    ),
    "logistic": (lambda: pm.Logistic.dist(1.0, 2.0), stats.logistic(1, 2), 70, 80),
    "logistic_low": (
        lambda: pm.Logistic.dist(1.0, 2.0),
        stats.logistic(1, 2),
        -80,
        -70,
    ),
    "gumbel": (lambda: pm.Gumbel.dist(1.0, 2.0), stats.gumbel_r(1, 2), 70, None),
    "gumbel_low": (lambda: pm.Gumbel.dist(1.0, 2.0), stats.gumbel_r(1, 2), None, -6),
    "half_normal": (lambda: pm.HalfNormal.dist(2.0), stats.halfnorm(0, 2), 16, None),
    "log_normal": (
        lambda: pm.LogNormal.dist(1.0, 0.5),
        stats.lognorm(0.5, scale=np.e),
        np.exp(5.0),
        None,
    ),
    "cauchy": (lambda: pm.Cauchy.dist(1.0, 2.0), stats.cauchy(1, 2), 1e9, None),
    "cauchy_low": (lambda: pm.Cauchy.dist(1.0, 2.0), stats.cauchy(1, 2), -1e9, -1e6),
    "half_cauchy": (lambda: pm.HalfCauchy.dist(2.0), stats.halfcauchy(0, 2), 1e9, None),
    "moyal": (lambda: pm.Moyal.dist(1.0, 2.0), stats.moyal(1, 2), 80, 90),
    "kumaraswamy": (
        lambda: pm.Kumaraswamy.dist(2.0, 9.0),
        kumaraswamy(2.0, 9.0),
        0.99,
        None,
    ),
    "geometric": (lambda: pm.Geometric.dist(0.3), stats.geom(0.3), 60, None),
}
# Those that take an iterative inverse of a special function.
SPECIAL_TAILS = {
    "gamma": (lambda: pm.Gamma.dist(3.0, 2.0), stats.gamma(3, scale=0.5), 20, None),
    "gamma_low": (lambda: pm.Gamma.dist(30.0, 2.0), stats.gamma(30, scale=0.5), 0, 2),
    "inverse_gamma": (
        lambda: pm.InverseGamma.dist(9.0, 2.0),
        stats.invgamma(9, scale=2),
        None,
        0.03,
    ),
    "beta": (lambda: pm.Beta.dist(2.0, 9.0), stats.beta(2, 9), 0.98, None),
    "student_t": (
        lambda: pm.StudentT.dist(9.0, mu=1.0, sigma=2.0),
        stats.t(9, 1, 2),
        150,
        None,
    ),
}
# scipy's geometric distribution has no isf with the digits of its tail.
MEMORYLESS = {"geometric"}


def in_tails(tails, n, dtype):
    with pytensor.config.change_flags(floatX=dtype), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMC's own, of how it derives a quantile
        outs = [
            pm.Truncated.dist(build(), lower=lower, upper=upper, size=n)
            for build, _, lower, upper in tails.values()
        ]
        outs = [out.astype(dtype) for out in outs]
        fn = jaxlink.function([], outs)
    return zip(tails.items(), fn(KEY), strict=True)


def assert_in_tails(tails, n, dtype):
    for (name, (_, base, lower, upper)), draws in in_tails(tails, n, dtype):
        x = np.asarray(draws)
        assert x.dtype == dtype, name
        assert np.isfinite(x).all(), name
        low, high = (
            np.asarray(end if bound is None else bound, dtype)
            for bound, end in ((lower, -np.inf), (upper, np.inf))
        )
        assert ((x >= low) & (x <= high)).all(), name
        few = x[:50_000].astype(np.float64)
        if name in MEMORYLESS:
            assert p_value((few - lower + 1).astype(int), base) > REJECT, name
        else:
            cut = Cut(base, float(low), float(high))
            assert p_value(few, cut) > REJECT, name
            near = high if lower is None else low
            assert p_value(near + 1.3 * (few - near), cut) < REJECT, name


@pytest.mark.parametrize(
    "dtype", [pytest.param("float64", marks=pytest.mark.slow), "float32"]
)
def test_truncation_far_out(dtype):
    assert_in_tails(TAILS, 1_000_000, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_truncation_far_out_by_special_functions(dtype):
    assert_in_tails(SPECIAL_TAILS, 4000, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_many_truncated_draws_by_special_functions(dtype):
    assert_in_tails(SPECIAL_TAILS, 1_000_000, dtype)


def test_pymc_itself_leaves_the_support_far_out():
    """Why jaxlink has samplers of its own: PyMC inverts F where it is 1."""
    far = pm.Truncated.dist(pm.Exponential.dist(1.0), lower=40.0)
    assert not np.isfinite(pm.draw(far, random_seed=1))


def test_impossible_bounds_give_nan():
    low, high = pt.vector("low"), pt.vector("high")
    outs = [
        pm.Truncated.dist(base, lower=low, upper=high)
        for base in (pm.Exponential.dist(1.0), pm.Beta.dist(2.0, 3.0))
    ]
    bounds = np.array([0.7, -2.0, 0.5]), np.array([0.5, -1.0, 0.5])
    for draws in quick(jaxlink.function([low, high], outs))(KEY, *bounds):
        assert np.isnan(draws[:2]).all()
        assert draws[2] == 0.5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_extreme_parameters(dtype):
    n = 1_000_000
    with pytensor.config.change_flags(floatX=dtype):
        outs = [
            pm.Kumaraswamy.dist(0.01, 0.02, size=n),
            pm.Kumaraswamy.dist(3.0, 1e5, size=n),
            pm.HalfStudentT.dist(0.5, 2.0, size=n),
            pm.AsymmetricLaplace.dist(50.0, 1.0, b=2.0, size=n),
            pm.DiscreteWeibull.dist(0.999, 0.7, size=n),
            pm.Weibull.dist(0.1, 1.0, size=n),
        ]
        small, large, half_t, skewed, counts, weibull = map(
            np.asarray, quick(jaxlink.function([], outs))(KEY)
        )
    for x in (small, large, half_t, skewed, counts, weibull):
        assert np.isfinite(x).all()
    assert ((small >= 0) & (small <= 1)).all()
    assert ((large > 0) & (large < 1)).all()
    assert p_value(large, kumaraswamy(3.0, 1e5)) > REJECT
    # Where the distribution has digits in this dtype.
    for at in (1e-30, 1e-10, 0.1, 0.9):
        wanted = kumaraswamy(0.01, 0.02).cdf(at)
        assert mean_p_value((small <= at).astype(float), wanted) > REJECT
    assert half_t.min() >= 0
    assert p_value(half_t, Folded(stats.t(0.5, scale=2))) > REJECT
    with np.errstate(over="ignore"):  # SciPy's, of the side it does not take
        assert p_value(skewed, stats.laplace_asymmetric(50, 1, 0.5)) > REJECT
    assert counts.min() == 0
    assert (weibull >= 0).all()


# --- gradients -----------------------------------------------------------------------


def forward_and_reverse(fn, *args):
    """Both derivatives of the mean of a function's draws, by its last arguments."""
    wrt = tuple(range(len(args)))
    yield lambda: jax.grad(lambda *a: fn(KEY, *a).mean(), wrt)(*args)
    yield lambda: jax.jvp(lambda *a: fn(KEY, *a), args, args)


def test_weights_have_no_derivative():
    w, mu = pt.vector("w"), pt.vector("mu")
    mixture = pm.NormalMixture.dist(w, mu, 1.0, size=1000)
    fn = jaxlink.function([w, mu], mixture)
    weights, means = jnp.array([0.3, 0.7]), jnp.array([0.0, 5.0])
    message = "`Mixture` has no derivative with respect to its weights"
    for differentiate in forward_and_reverse(fn, weights, means):
        with pytest.raises(jaxlink.ArgumentError, match=message):
            differentiate()
    # With respect to the components it has: the share of each.
    drawn = np.asarray(fn(KEY, weights, means)) > 2.5
    slope = jax.jit(jax.grad(lambda m: fn(KEY, weights, m).mean()))(means)
    np.testing.assert_allclose(slope.sum(), 1, rtol=1e-12)
    assert abs(slope[1] - drawn.mean()) < 0.03


def test_weights_inside_a_loop_have_no_derivative():
    w = pt.vector("w")

    def step(w):
        return pm.NormalMixture.dist(w, np.array([0.0, 5.0]), 1.0)

    looped = pytensor.map(step, [pt.stack([w, w])], return_updates=False)
    mixture = pm.NormalMixture.dist(w, np.array([0.0, 5.0]), 1.0)
    nested = pm.CustomDist.dist(
        w,
        dist=lambda w, size: pm.math.exp(
            pm.NormalMixture.dist(w, np.array([0.0, 5.0]), 1.0, size=size)
        ),
        signature="(n)->()",
        size=(3,),
    )
    for out in (mixture, nested.sum(), looped.sum()):
        fn = jaxlink.function([w], out)
        with pytest.raises(jaxlink.ArgumentError, match="to its weights"):
            jax.grad(lambda p, fn=fn: fn(KEY, p))(jnp.array([0.3, 0.7]))


def test_weights_that_are_not_differentiated():
    w, mu = pt.vector("w"), pt.scalar("mu")
    stopped = pytensor.gradient.disconnected_grad(w)
    parts = [pm.Normal.dist(mu, 1.0), pm.Normal.dist(-mu, 1.0)]
    for weights in (np.array([0.3, 0.7]), stopped):
        out = pm.Mixture.dist(weights, parts, size=1000)
        fn = jaxlink.function([w, mu], out, on_unused_input="ignore")
        given = jnp.array([0.3, 0.7])

        def mean(p, m, fn=fn):
            return fn(KEY, p, m).mean()

        by_w, by_mu = jax.grad(mean, (0, 1))(given, 2.0)
        np.testing.assert_array_equal(by_w, 0)
        assert abs(by_mu + 0.4) < 0.1


def test_rejection_has_no_derivative():
    mu, low = pt.scalar("mu"), pt.scalar("low")
    base = pm.SkewNormal.dist(3.0, mu=mu, sigma=1.0)
    cut = pm.Truncated.dist(base, lower=low, size=50)
    fn = jaxlink.function([mu, low], cut)
    message = "`TruncatedSkewNormal` has no derivative with respect to its parameters"
    for i in range(2):
        args = [jnp.asarray(1.0), jnp.asarray(0.5)]

        def of_one(key, x, i=i, args=args):
            return fn(key, *args[:i], x, *args[i + 1 :])

        for differentiate in forward_and_reverse(of_one, args[i]):
            with pytest.raises(jaxlink.ArgumentError, match=message):
                differentiate()


@pytest.mark.slow
def test_counts_have_a_zero_derivative():
    psi, mu = pt.scalar("psi"), pt.scalar("mu")
    outs = [
        pm.ZeroInflatedPoisson.dist(psi, mu, size=100),
        pm.HurdlePoisson.dist(psi, mu, size=100),
        pm.Truncated.dist(pm.Poisson.dist(mu), lower=1, size=100),
        pm.DiscreteWeibull.dist(psi, mu, size=100),
    ]
    total = sum(x.sum() for x in outs)
    fn = jaxlink.function([psi, mu], total * psi)
    value = fn(KEY, 0.4, 3.0)
    by_psi, by_mu = jax.grad(fn, (1, 2))(KEY, 0.4, 3.0)
    np.testing.assert_allclose(by_psi, value / 0.4)
    assert by_mu == 0


def test_guards_leave_no_trace_in_the_program():
    w = pt.vector("w")
    out = pm.NormalMixture.dist(w, np.array([0.0, 5.0]), 1.0)
    fn = jaxlink.function([w], out)
    text = fn.lower(KEY, jnp.array([0.3, 0.7])).as_text()
    assert "custom_jvp" not in text
    assert "call @guarded" not in text
    jaxpr = jax.make_jaxpr(fn)(KEY, jnp.array([0.3, 0.7]))
    assert str(jaxpr).count("custom_jvp_call") == 1


def test_slopes_of_what_has_an_atom():
    """The derivatives of E[X] and E[X**2], in closed form."""
    n = 200_000
    psi, a, b = 0.7, 3.0, 2.0

    def censored_moments(m, s, low, high):
        x, y = (low - m) / s, (high - m) / s
        mass = special.ndtr(y) - special.ndtr(x)
        f, g = stats.norm.pdf(x), stats.norm.pdf(y)
        first = m * mass + s * (f - g)
        second = (m * m + s * s) * mass + s * ((m + low) * f - (m + high) * g)
        below, above = special.ndtr(x), special.ndtr(-y)
        return np.array(
            [
                first + low * below + high * above,
                second + low**2 * below + high**2 * above,
            ]
        )

    p = pt.vector("p")
    rows = [
        (
            pm.HurdleGamma.dist(psi, p[0], p[1], size=n),
            [a, b],
            lambda a, b: psi * np.array([a / b, a * (a + 1) / b**2]),
        ),
        (
            pm.HurdleLogNormal.dist(psi, p[0], p[1], size=n),
            [0.5, 0.3],
            lambda m, s: psi * np.exp([m + s * s / 2, 2 * m + 2 * s * s]),
        ),
        (
            pm.Censored.dist(pm.Normal.dist(p[0], p[1]), p[2], p[3], size=n),
            [0.5, 1.2, -0.3, 1.5],
            censored_moments,
        ),
    ]
    for out, values, moments in rows:
        fn = jaxlink.function([p], out)
        for i in range(len(values)):
            along = jnp.zeros(len(values)).at[i].set(1.0)
            x, slope = map(
                np.asarray,
                jax.jvp(lambda v, fn=fn: fn(KEY, v), (jnp.array(values),), (along,)),
            )
            step = 1e-5
            up, down = (
                moments(*(v + s * (j == i) for j, v in enumerate(values)))
                for s in (step, -step)
            )
            first, second = (up - down) / (2 * step)
            assert mean_p_value(slope, first) > REJECT
            assert mean_p_value(2 * x * slope, second) > REJECT

"""Distributions over vectors and matrices, beyond what their table tests: derivatives
in closed form, edges of the parameters, and what has no batches in PyMC."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pymc.distributions.multivariate as pmm
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions.harness import (
    KEY,
    REJECT,
    chi_square,
    mean_p_value,
    moments_p_value,
    p_value,
)
from distributions.multivariate import COV, dirichlet_moments
from distributions.pymc_multivariate import (
    ADJACENCY,
    LOG_SCALE,
    autoregression_moments,
    lkj_cholesky_moments,
    lkj_draws,
    lkj_moments,
    wishart_moments,
)
from jax.experimental import checkify
from scipy import special, stats
from support import quick
from support import reference as in_pytensor

import jaxlink

METHODS = ("cholesky", "svd", "eigh")
DRAWS = 40_000


def drawn(rv, *params, size=DRAWS, key=KEY, **kwargs):
    """Draws of ``rv`` with constant parameters."""
    rng = pt.random.shared_rng(seed=0)
    _, x = rv(*params, size=size, rng=rng, return_next_rng=True, **kwargs)
    return np.asarray(quick(jaxlink.function([], x))(key))


# --- normal vectors: derivatives ------------------------------------------------------

# The second has one eigenvalue three times, the third one of them twice.
MEAN = np.array([[0.4, -0.3, 1.0], [0.0, 0.5, 0.2], [-1.0, 0.1, 0.3]])
SMOOTH = np.stack([COV, np.eye(3), np.eye(3) + np.outer([1, 2, 0], [1, 2, 0]) / 4])
W = np.array([0.7, -0.4, 0.9])
D_MEAN = np.array([1.0, 0.5, -2.0])
D_COV = np.array([[1.0, 0.3, -0.2], [0.3, -0.5, 0.4], [-0.2, 0.4, 0.7]])


def normal_function(method, size, mean_ndim=2, cov_ndim=3):
    mean = pt.tensor("mean", dtype="float64", shape=(None,) * mean_ndim)
    cov = pt.tensor("cov", dtype="float64", shape=(None,) * cov_ndim)
    rng = pt.random.shared_rng(seed=0)
    _, x = ptr.multivariate_normal(
        mean, cov, size=size, method=method, rng=rng, return_next_rng=True
    )
    return jaxlink.function([mean, cov], x)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_slopes_of_a_characteristic_function(method):
    """E cos(w.x) = exp(-w'Cw / 2) cos(w.m), and its derivatives, forwards, backwards
    and over a batch of keys."""
    fn = normal_function(method, (DRAWS, 3))

    def waves(key, mean, cov):
        return jnp.cos(fn(key, mean, cov) @ W)

    def along(t):
        return waves(KEY, MEAN + t * D_MEAN, SMOOTH + t * D_COV)

    values, slopes = jax.jvp(along, (0.0,), (1.0,))
    decay = np.exp(-np.einsum("i,kij,j->k", W, SMOOTH, W) / 2)
    phase, rate = MEAN @ W, W @ D_COV @ W / 2
    wanted = -decay * (np.cos(phase) * rate + np.sin(phase) * (W @ D_MEAN))
    for k in range(3):
        assert mean_p_value(np.asarray(values[:, k]), decay[k] * np.cos(phase[k])) > (
            REJECT
        )
        assert mean_p_value(np.asarray(slopes[:, k]), wanted[k]) > REJECT
        assert mean_p_value(np.asarray(slopes[:, k]), wanted[k] + 0.1) < REJECT

    few = normal_function(method, (50, 3))

    def cost(key, mean, cov):
        return jnp.cos(few(key, mean, cov) @ W).sum()

    gradient = jax.grad(cost, (1, 2))
    keys = jax.random.split(KEY, 2)
    batch = jax.vmap(gradient, (0, None, None))(keys, MEAN, SMOOTH)
    for i, key in enumerate(keys):
        forward = jax.jvp(
            lambda t, key=key: cost(key, MEAN + t * D_MEAN, SMOOTH + t * D_COV),
            (0.0,),
            (1.0,),
        )[1]
        d_mean, d_cov = batch[0][i], batch[1][i]
        backward = (d_mean * D_MEAN).sum() + (d_cov * D_COV).sum()
        np.testing.assert_allclose(backward, forward, rtol=1e-9)
        np.testing.assert_allclose(d_cov, np.swapaxes(d_cov, -1, -2), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_second_derivatives_at_equal_eigenvalues(method):
    """Along C + t D, E cos(w.x) has the second derivative (w'Dw / 2)**2 E cos(w.x)."""
    fn = normal_function(method, (2 * DRAWS,), 1, 2)

    def first(t):
        def values(t):
            return jnp.cos(fn(KEY, np.zeros(3), np.eye(3) + t * D_COV) @ W)

        return jax.jvp(values, (t,), (1.0,))[1]

    second = jax.jvp(first, (0.0,), (1.0,))[1]
    wanted = (W @ D_COV @ W / 2) ** 2 * np.exp(-W @ W / 2)
    assert mean_p_value(np.asarray(second), wanted) > REJECT


def test_the_draw_is_a_function_of_the_covariance():
    """Equal eigenvalues make no jump, and derivatives are those of differences."""
    svd, eigh = (normal_function(m, (20,), 1, 2) for m in ("svd", "eigh"))
    zero = np.zeros(3)
    for cov in SMOOTH:
        np.testing.assert_array_equal(svd(KEY, zero, cov), eigh(KEY, zero, cov))
        step = 1e-5
        moved = [eigh(KEY, zero, cov + s * step * D_COV) for s in (1, -1)]
        slope = jax.jvp(lambda c: eigh(KEY, zero, c), (jnp.asarray(cov),), (D_COV,))[1]
        difference = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["svd", "eigh"])
def test_slopes_of_a_singular_covariance(method):
    """Of v v', with respect to v: the rank stays. E cos(w.x) = exp(-(w.v)**2 / 2)."""
    fn = normal_function(method, (DRAWS,), 1, 2)
    v, d_v = np.array([1.0, 2.0, -1.0]), np.array([0.5, -1.0, 1.5])

    def waves(v):
        return jnp.cos(fn(KEY, np.zeros(3), jnp.outer(v, v)) @ W)

    values, slopes = jax.jvp(waves, (jnp.asarray(v),), (d_v,))
    value = np.exp(-((W @ v) ** 2) / 2)
    assert mean_p_value(np.asarray(values), value) > REJECT
    assert mean_p_value(np.asarray(slopes), -(W @ v) * (W @ d_v) * value) > REJECT
    backward = jax.grad(lambda v: waves(v).sum())(jnp.asarray(v)) @ d_v
    np.testing.assert_allclose(backward, slopes.sum(), rtol=1e-6)

    # Of no variance at all the draw is the mean.
    mean, none = np.array([1.0, 2.0, 3.0]), np.zeros((3, 3))
    np.testing.assert_array_equal(fn(KEY, mean, none), np.tile(mean, (DRAWS, 1)))
    d_mean, d_cov = jax.grad(lambda m, c: fn(KEY, m, c).sum(), (0, 1))(mean, none)
    np.testing.assert_array_equal(d_mean, np.full(3, DRAWS))
    np.testing.assert_array_equal(d_cov, none)


# --- normal vectors: edges ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("x64", [True, False])
def test_draws_of_a_singular_covariance(x64):
    v = np.array([1.0, 2.0, -1.0])
    with jax.enable_x64(x64):
        fn = normal_function("svd", (5000,), 1, 2)
        draws = np.asarray(fn(KEY, np.zeros(3), np.outer(v, v)))
    tolerance = 1e-6 if x64 else 0.02
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0], atol=tolerance)
    np.testing.assert_allclose(draws[:, 2], -draws[:, 0], atol=tolerance)
    assert p_value(draws[:, 0], stats.norm()) > REJECT


INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])


@pytest.mark.parametrize("method", METHODS)
def test_a_covariance_that_is_none(method):
    fn = normal_function(method, (2, 3), 1, 3)
    good, mean = np.array([[2.0, 1.0], [1.0, 3.0]]), np.ones(2)
    covs = np.stack([good, INDEFINITE, SINGULAR])
    draws = fn(KEY, mean, covs)
    assert np.isfinite(draws[:, 0]).all()
    assert np.isnan(draws[:, 1]).all()
    assert np.isnan(draws[:, 2]).all() == (method == "cholesky")
    # The rest of a gradient is not disturbed.
    grads = jax.grad(lambda c: fn(KEY, mean, c)[:, 0].sum())(covs)
    assert np.isfinite(grads[0]).all()

    message = "covariance of a draw of `multivariate_normal` is not positive"
    checked = checkify.checkify(fn)
    with pytest.raises(checkify.JaxRuntimeError, match=message):
        checked(KEY, mean, covs)[0].throw()
    checked(KEY, mean, np.stack([good] * 3))[0].throw()
    mapped = checkify.checkify(jax.vmap(fn.checked, (0, None, None)))
    with pytest.raises(checkify.JaxRuntimeError, match=message):
        mapped(jax.random.split(KEY, 2), mean, covs)[0].throw()


@pytest.mark.parametrize("method", METHODS)
def test_short_and_empty_vectors(method):
    fn = normal_function(method, None)
    one = fn(KEY, np.array([[3.0]] * 2), np.array([[[4.0]], [[0.25]]]))
    z = (one - 3) / np.array([[2.0], [0.5]])
    assert one.shape == (2, 1)
    assert (np.abs(z) < 6).all()
    assert fn(KEY, np.zeros((5, 0)), np.zeros((5, 0, 0))).shape == (5, 0)
    assert fn(KEY, np.zeros((0, 2)), np.zeros((0, 2, 2))).shape == (0, 2)
    slope = jax.jacfwd(lambda c: fn(KEY, np.array([[3.0]]), c))(np.full((1, 1, 1), 4.0))
    np.testing.assert_allclose(slope, ((one[:1] - 3) / 8)[..., None, None, None])


def test_small_and_large_variances_in_one_covariance():
    scales = np.array([1e-6, 1.0, 1e6])
    for method in METHODS:
        draws = drawn(ptr.multivariate_normal, np.zeros(3), np.diag(scales**2),
                      size=2000, method=method)  # fmt: skip
        for i, scale in enumerate(scales):
            assert p_value(draws[:, i], stats.norm(0, scale)) > REJECT


# --- Dirichlet ------------------------------------------------------------------------


def dirichlet_function(size):
    alpha = pt.vector("alpha")
    rng = pt.random.shared_rng(seed=0)
    _, x = ptr.dirichlet(alpha, size=size, rng=rng, return_next_rng=True)
    return jaxlink.function([alpha], x)


@pytest.mark.slow
def test_dirichlet_of_extreme_alphas():
    fn = dirichlet_function((200_000,))
    for alpha in (
        np.array([1e-3, 3e-3, 6e-3]),
        np.array([1e-5, 3e-5, 6e-5]),
        np.array([1e-3, 2.0, 1e3]),
        np.array([1e6, 2e6, 0.5e6]),
    ):
        draws = np.asarray(fn(KEY, alpha))
        assert (draws >= 0).all()
        np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-12)
        assert moments_p_value(draws, *dirichlet_moments(alpha)) > REJECT
        if alpha.sum() < 1e-3:
            # In a corner, but for a few draws, and there in proportion to alpha.
            corner = draws.max(-1) > 1 - 1e-9
            assert corner.mean() > 0.99
            corners = draws.argmax(-1)
            assert chi_square(corners, 2e5 * alpha / alpha.sum()) > REJECT
            assert chi_square(
                corners, 2e5 * (0.95 * alpha / alpha.sum() + 0.05 / 3)
            ) < (REJECT)


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_dirichlet_of_extreme_alphas_in_32_bits():
    with jax.enable_x64(False):
        fn = dirichlet_function((200_000,))
        for alpha in ([1e-3, 3e-3, 6e-3], [1e-5, 3e-5, 6e-5], [1e-3, 2, 1e3]):
            alpha = np.array(alpha, "float32")
            draws = np.asarray(fn(KEY, alpha))
            assert (draws >= 0).all()
            np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-6)
            assert moments_p_value(draws, *dirichlet_moments(alpha)) > REJECT
        slopes = jax.jacfwd(lambda a: fn(KEY, a).mean(0))(jnp.array([1e-5, 3e-5, 2]))
        assert np.isfinite(slopes).all()


def test_dirichlet_with_categories_that_are_never_drawn():
    """As in NumPy. Where that returns zeros, which do not add up to 1, this is nan."""
    fn = dirichlet_function((DRAWS,))
    alpha = np.array([0.0, 1.5, 4.0])
    draws = np.asarray(fn(KEY, alpha))
    assert (draws[:, 0] == 0).all()
    assert (np.random.default_rng(0).dirichlet(alpha, 50)[:, 0] == 0).all()
    assert p_value(draws[:, 1], stats.beta(1.5, 4.0)) > REJECT
    slopes = jax.jacfwd(lambda a: fn(KEY, a).mean(0))(alpha)
    assert np.isfinite(slopes).all()
    assert (fn(KEY, np.array([0.0, 2.0, 0.0])) == np.array([0.0, 1, 0])).all()
    for invalid in ([0.0, 0, 0], [-1.0, 1, 2], [np.nan, 1, 2], [np.inf, 1, 2]):
        assert np.isnan(fn(KEY, np.array(invalid))).all()


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [(0.4, 2.5), (6.0, 3.0), (0.02, 0.05)])
def test_slopes_of_two_dirichlet_shares(alpha):
    """The first of two is a beta draw with the implicit slope -(dF / d alpha) / f, so
    E[g'(x) dx / d alpha] is minus the integral of g' dF / d alpha."""
    alpha = np.array(alpha)
    fn = dirichlet_function((200_000,))
    edges = (np.arange(20_000) + 0.5) / 20_000
    # A grid that is fine at the ends: x = s(u), dx = s'(u) du.
    x, dx = edges**3 * (10 - 15 * edges + 6 * edges**2), 30 * (edges * (1 - edges)) ** 2
    step = 1e-5
    for i in range(2):
        direction = np.eye(2)[i]
        draws, slopes = jax.jvp(lambda a: fn(KEY, a)[:, 0], (alpha,), (direction,))
        above, below = (
            special.betainc(*(alpha + s * step * direction), x) for s in (1, -1)
        )
        slope_of_cdf = (above - below) / (2 * step)
        # The derivatives of x, x**2 and sin(5 x).
        for rate in (np.ones_like, lambda x: 2 * x, lambda x: 5 * np.cos(5 * x)):
            wanted = -(rate(x) * slope_of_cdf * dx).mean()
            got = rate(np.asarray(draws)) * np.asarray(slopes)
            assert mean_p_value(got, wanted) > REJECT
            assert mean_p_value(got, wanted * 1.3) < REJECT


# --- shares and counts ----------------------------------------------------------------


def test_sticks_of_extreme_alphas():
    alpha = pt.vector("alpha")
    fn = jaxlink.function(
        [alpha], pm.StickBreakingWeights.dist(alpha, K=3, size=(20_000, 5))
    )
    given = jnp.array([1e-5, 1e-3, 1e6, 0.0, -1.0])
    draws = np.asarray(fn(KEY, given))
    assert np.isnan(draws[:, 3:]).all()
    assert ((draws[:, :3] >= 0) & (draws[:, :3] <= 1)).all()
    np.testing.assert_allclose(draws[:, :3].sum(-1), 1, rtol=1e-12)
    # Of alpha E_1, with what is broken off first 1 - exp(-E_1), all digits are there.
    assert p_value(draws[:, 2, 0], stats.beta(1, 1e6)) > REJECT
    slopes = jax.jacfwd(lambda a: fn(KEY, a)[:, :3].mean(0))(given)
    assert np.isfinite(slopes[..., :3]).all()
    only = jaxlink.function([alpha], pm.StickBreakingWeights.dist(alpha, K=0))
    np.testing.assert_array_equal(only(KEY, jnp.array([2.0, 3.0])), np.ones((2, 1)))


def test_counts_of_one_category():
    n, p = pt.lvector("n"), pt.matrix("p")
    outs = [pm.Multinomial.dist(n, p), pm.DirichletMultinomial.dist(n, p + 1)]
    for draws in quick(jaxlink.function([n, p], outs))(
        KEY, np.array([0, 7]), np.ones((2, 1))
    ):
        np.testing.assert_array_equal(draws, [[0], [7]])


# --- conditional autoregressions ------------------------------------------------------


def test_draws_of_an_autoregression_have_its_density():
    """-2 log(f(x) / f(mu)) is a chi-square draw of as many degrees of freedom as there
    are nodes, with PyMC's own density. PyMC's draws are too narrow for it."""
    mu, alpha, tau = np.array([1.0, -2.0, 0.5, 3.0, 0.0]), 0.8, 2.5
    dist = pm.CAR.dist(mu, ADJACENCY, alpha, tau, size=(DRAWS,))
    ours = np.asarray(quick(jaxlink.function([], dist))(KEY))
    one = pm.CAR.dist(mu, ADJACENCY, alpha, tau)
    x, values = pt.vector("x"), pt.matrix("values")
    log_f = jaxlink.function([x], pm.logp(one, x))

    def distances(draws):
        return -2 * np.ravel(jax.vmap(log_f)(draws) - log_f(mu))

    assert p_value(distances(ours), stats.chi2(5)) > REJECT
    assert p_value(distances(mu + (ours - mu) * 1.05), stats.chi2(5)) < REJECT
    theirs = in_pytensor([values], [pm.CAR.dist(values, ADJACENCY, alpha, tau)],
                         [np.tile(mu, (2000, 1))])[0]  # fmt: skip
    assert p_value(distances(theirs), stats.chi2(5)) < REJECT
    cov = autoregression_moments(mu, alpha, tau)[1]
    assert moments_p_value(theirs, mu, cov) < REJECT
    assert moments_p_value(theirs, mu, cov @ cov) > REJECT


def test_autoregressions_that_are_none():
    w, alpha = pt.matrix("w"), pt.scalar("alpha")
    fn = jaxlink.function([w, alpha], pm.CAR.dist(np.zeros(3), w, alpha, 2.0))
    # A triangle allows alpha from -2, but the domain of alpha ends at -1.
    triangle = 1 - np.eye(3)
    checked = checkify.checkify(fn)
    for outside in (-1.0, -1.5, 1.0, 1.5, np.nan):
        assert np.isnan(fn(KEY, triangle, outside)).all()
        with pytest.raises(checkify.JaxRuntimeError, match="alpha is not between"):
            checked(KEY, triangle, outside)[0].throw()
    checked(KEY, triangle, -0.99)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match="not symmetric"):
        checked(KEY, np.triu(triangle), 0.5)[0].throw()


def test_intrinsic_autoregressions_have_no_draws():
    """Nor have they in PyMC."""
    dist = pm.ICAR.dist(W=(ADJACENCY > 0).astype(int))
    with pytest.raises(jaxlink.UnsupportedOpError, match="distribution `icar`"):
        jaxlink.function([], dist)
    with pytest.raises(NotImplementedError, match="Cannot sample from ICAR prior"):
        pmm.ICARRV.rng_fn(np.random.default_rng(0), None, ADJACENCY, 1.0, 0.001)


# --- correlation matrices -------------------------------------------------------------


def assert_lkj(factors, eta):
    """That L L' are LKJ draws: (r + 1) / 2 ~ beta(b, b), b = eta - 1 + n / 2, for each
    correlation r, and the determinants, products of independent beta draws."""
    n = factors.shape[-1]
    assert (factors == np.tril(factors)).all()
    assert (np.diagonal(factors, axis1=-2, axis2=-1) > 0).all()
    matrices = factors @ np.swapaxes(factors, -1, -2)
    np.testing.assert_allclose(np.diagonal(matrices, axis1=-2, axis2=-1), 1, rtol=1e-9)
    b = eta - 1 + n / 2
    for i, j in zip(*np.tril_indices(n, -1), strict=True):
        assert p_value((matrices[:, i, j] + 1) / 2, stats.beta(b, b)) > REJECT
    assert moments_p_value(factors, *lkj_moments(eta, n)) > REJECT
    log_det = 2 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(-1)
    later = np.repeat(np.arange(n - 1), np.arange(n - 1, 0, -1))
    b = eta + (n - 2 - later) / 2
    wanted = (special.digamma(b) - special.digamma(b + 0.5)).sum()
    assert mean_p_value(log_det, wanted) > REJECT
    assert mean_p_value(log_det, wanted * 1.1) < REJECT
    rng = np.random.default_rng(4)
    products = np.log(rng.beta(b, 0.5, (DRAWS, len(b)))).sum(-1)
    assert stats.ks_2samp(log_det, products, method="asymp").pvalue > REJECT


@pytest.mark.slow
@pytest.mark.parametrize(("n", "eta"), [(2, 0.7), (5, 2.5)])
def test_lkj_correlations(n, eta):
    dist = pm.LKJCorr.dist(n=n, eta=eta, size=(DRAWS,))
    assert_lkj(np.asarray(quick(jaxlink.function([], dist))(KEY)), eta)
    # The reference of the table, and PyMC's own draws.
    assert_lkj(lkj_draws(eta, n)[:DRAWS], eta)
    assert_lkj(pm.draw(dist, random_seed=6), eta)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "eta"), [(2, 0.7), (5, 2.5)])
def test_lkj_covariances(n, eta):
    log_sd = np.linspace(-1, 1, n)
    sd = pm.LogNormal.dist(log_sd, LOG_SCALE)
    dist = pm.LKJCholeskyCov.dist(eta, n, sd, compute_corr=False, size=(DRAWS,))
    packed = np.asarray(quick(jaxlink.function([], dist))(KEY))
    assert moments_p_value(packed, *lkj_cholesky_moments(eta, log_sd)) > REJECT
    factors = np.zeros((DRAWS, n, n))
    factors[(slice(None), *np.tril_indices(n))] = packed
    deviations = np.linalg.norm(factors, axis=-1)
    for i in range(n):
        marginal = stats.norm(log_sd[i], LOG_SCALE)
        assert p_value(np.log(deviations[:, i]), marginal) > REJECT
    assert_lkj(factors / deviations[..., None], eta)


@pytest.mark.slow
def test_lkj_covariances_with_their_correlations():
    eta = pt.scalar("eta")
    sd = pm.Exponential.dist([1.0, 0.5, 3.0])
    outs = pm.LKJCholeskyCov.dist(eta, 3, sd, compute_corr=True)
    fn = jaxlink.function([eta], outs)
    keys = jax.random.split(KEY, 20_000)
    chol, corr, stds = map(np.asarray, jax.vmap(fn, (0, None))(keys, 1.5))
    scaled = stds[:, :, None] * corr * stds[:, None, :]
    np.testing.assert_allclose(chol @ np.swapaxes(chol, 1, 2), scaled, atol=1e-12)
    for i, scale in enumerate((1.0, 2.0, 1 / 3)):
        assert p_value(stds[:, i], stats.expon(scale=scale)) > REJECT
    assert_lkj(np.linalg.cholesky(corr), 1.5)


# --- Wishart --------------------------------------------------------------------------


def test_wisharts_of_a_model():
    scale = COV[:2, :2]
    root = np.linalg.cholesky(scale)
    deprecated = pytest.warns(FutureWarning, match="WishartBartlett is deprecated")
    with pm.Model():
        with deprecated:
            whole = pm.WishartBartlett("whole", scale, 5)
        with deprecated:
            factor = pm.WishartBartlett("factor", root, 5, True, True)
    fn = jaxlink.function([], [whole, factor])
    draws, factors = map(np.asarray, jax.vmap(fn)(jax.random.split(KEY, 20_000)))
    assert (np.linalg.eigvalsh(draws) > 0).all()
    moments = wishart_moments(5, scale)
    for matrices in (draws, factors @ np.swapaxes(factors, 1, 2)):
        assert moments_p_value(matrices, *moments) > REJECT
        assert moments_p_value(matrices * 1.05, *moments) < REJECT

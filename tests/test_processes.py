"""Gaussian processes of PyMC: means and covariances of their draws, in closed form.

Kernels are computed by NumPy from their formulas. A process and its conditional at new
points are drawn together, so that both have a joint covariance to be compared.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from distributions.harness import REJECT, moments_p_value, p_value
from scipy import special, stats
from support import REFERENCE

import jaxlink

KEYS = jax.random.split(jax.random.key(77), 20_000)
JITTER = 1e-6

X = np.array([[-1.0], [0.2], [1.5]])
NEW = np.array([[0.8], [2.5]])
BOTH = np.vstack([X, NEW])
GRID = [np.array([[0.0], [1.0]]), np.array([[-0.5], [0.3], [1.4]])]
OFF_GRID = np.array([[0.5, 0.6], [2.0, -1.0]])
Y = np.array([0.5, -1.0, 2.0])
GRID_Y = np.array([0.5, -1.0, 2.0, 0.1, 0.3, -0.7])
NOISE = 0.4
NU = 12.0


def distances(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


def exp_quad(a, b, ls=1.0, eta=1.0):
    return eta**2 * np.exp(-((distances(a, b) / ls) ** 2) / 2)


def matern32(a, b, ls=1.0, eta=1.0):
    r = np.sqrt(3) * distances(a, b) / ls
    return eta**2 * (1 + r) * np.exp(-r)


def matern52(a, b, ls=1.0, eta=1.0):
    r = np.sqrt(5) * distances(a, b) / ls
    return eta**2 * (1 + r + r**2 / 3) * np.exp(-r)


def on_grid(k1, k2):
    """The product kernel at points of two columns."""
    return lambda a, b: k1(a[:, :1], b[:, :1]) * k2(a[:, 1:], b[:, 1:])


GRID_POINTS = np.stack(
    [a.ravel() for a in np.meshgrid(GRID[0], GRID[1], indexing="ij")], -1
)


def conditional(k, x, new, y, noise=0.0):
    """Mean and covariance at new points, given values at old ones."""
    old = k(x, x) + (noise**2 + JITTER) * np.eye(len(x))
    gain = np.linalg.solve(old, k(x, new)).T
    return gain @ y, k(new, new) - gain @ k(x, new)


def sparse_conditional(k, x, inducing, new, y, fitc):
    """Quiñonero-Candela and Rasmussen (2005), equations 20 and 24."""
    kuu = k(inducing, inducing) + JITTER * np.eye(len(inducing))
    kuf, kus = k(inducing, x), k(inducing, new)
    q = kuf.T @ np.linalg.solve(kuu, kuf)
    noise = np.full(len(x), NOISE**2)
    if fitc:
        noise = noise + np.diag(k(x, x) - q)
    sigma = np.linalg.inv(kuu + kuf / noise @ kuf.T)
    mean = kus.T @ sigma @ kuf @ (y / noise)
    explained = kus.T @ np.linalg.solve(kuu, kus)
    return mean, k(new, new) - explained + kus.T @ sigma @ kus


def check(draws, mean, cov):
    """Moments, and that a standard deviation wrong by 5 % is noticed."""
    draws = np.asarray(draws).reshape(len(draws), -1)
    assert moments_p_value(draws, mean, cov) > REJECT
    assert moments_p_value(draws, mean, cov * 1.05**2) < REJECT


def check_normal(draws, mean, cov):
    check(draws, mean, cov)
    flat = np.asarray(draws).reshape(len(draws), -1)
    for column, m, v in zip(flat.T, np.ravel(mean), np.diag(cov), strict=True):
        assert p_value(column, stats.norm(m, np.sqrt(v))) > REJECT


# --- processes with their exact covariance --------------------------------------------


def mean_of(x):
    return 0.5 + 2.0 * x[:, 0]


@pytest.fixture(scope="module")
def draws():
    cov = pm.gp.cov
    linear = pm.gp.mean.Linear(coeffs=np.array([2.0]), intercept=0.5)
    quad = 1.5**2 * cov.ExpQuad(1, ls=0.7)
    parts = [cov.ExpQuad(1, ls=0.7), 1.2**2 * cov.Matern52(1, ls=1.5)]
    with pm.Model() as model:
        latent = pm.gp.Latent(mean_func=linear, cov_func=quad)
        latent.prior("latent", X)
        latent.conditional("latent_new", NEW)
        whole = pm.gp.Latent(mean_func=linear, cov_func=1.5**2 * cov.Matern32(1, ls=2))
        whole.prior("whole", X, reparameterize=False)
        whole.conditional("whole_new", NEW)
        pm.gp.Latent(cov_func=quad).prior("several", X, n_outputs=2)

        student = pm.gp.TP(mean_func=linear, scale_func=quad, nu=NU)
        student.prior("student_rotated", X)
        student.prior("student", X, reparameterize=False)
        student.conditional("student_new", NEW)

        kron = pm.gp.LatentKron(cov_funcs=parts)
        kron.prior("kron", GRID)
        kron.conditional("kron_new", OFF_GRID)

        marginal = pm.gp.Marginal(mean_func=linear, cov_func=quad)
        marginal.marginal_likelihood("marginal", X, Y, NOISE)
        marginal.conditional("marginal_new", NEW)
        marginal.conditional("marginal_noisy", NEW, pred_noise=True)
        for approx in ("VFE", "FITC"):
            sparse = pm.gp.MarginalApprox(approx, cov_func=quad)
            sparse.marginal_likelihood(approx, X, X[:2] + 0.1, Y, NOISE)
            sparse.conditional(f"{approx}_new", NEW)
        marginal = pm.gp.MarginalKron(cov_funcs=parts)
        marginal.marginal_likelihood("marginal_kron", GRID, GRID_Y, NOISE)
        marginal.conditional("marginal_kron_new", OFF_GRID)
    names = [
        var.name
        for var in [*model.deterministics, *model.basic_RVs]
        if "rotated_" not in var.name
    ]
    with jax.enable_x64(True):
        fn = jaxlink.function([], {name: model[name] for name in names})
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(fn))(KEYS))


def quad(a, b):
    return exp_quad(a, b, 0.7, 1.5)


def noisy(k, x, noise=0.0):
    return k(x, x) + (noise**2 + JITTER) * np.eye(len(x))


def joint(draws, name):
    return np.hstack([draws[name], draws[f"{name}_new"]])


@pytest.mark.slow
def test_latent(draws):
    check_normal(joint(draws, "latent"), mean_of(BOTH), noisy(quad, BOTH))
    k = matern32(BOTH, BOTH, 2.0, 1.5)
    check_normal(joint(draws, "whole"), mean_of(BOTH), k)
    both = np.kron(np.eye(2), noisy(quad, X))
    assert draws["several"].shape == (len(KEYS), 2, 3)
    check_normal(draws["several"], np.zeros(6), both)


def test_student_t_process(draws):
    inflation = NU / (NU - 2)
    prior = inflation * noisy(quad, X)
    check(draws["student_rotated"], mean_of(X), prior)
    check(draws["student"], mean_of(X), prior)
    scale = np.sqrt(quad(X, X)[0, 0] + JITTER)
    centred = draws["student"] - mean_of(X)
    for column in centred.T:
        assert p_value(column / scale, stats.t(NU)) > REJECT
    # PyMC's conditional: its scale is (nu + beta - 2) / (nu + n - 2) times that of a
    # Gaussian process, where beta has the mean n nu / (nu - 2).
    n, nu = len(X), NU + len(X)
    _, cov = conditional(quad, X, NEW, np.zeros(n))
    gain = np.linalg.solve(noisy(quad, X), quad(X, NEW)).T
    of_noise = nu / (nu - 2) * (NU + n * inflation - 2) / (nu - 2) * cov
    check(draws["student_new"], mean_of(NEW), gain @ prior @ gain.T + of_noise)


def test_kronecker_process(draws):
    k = on_grid(lambda a, b: exp_quad(a, b, 0.7), lambda a, b: matern52(a, b, 1.5, 1.2))
    points = np.vstack([GRID_POINTS, OFF_GRID])
    check_normal(joint(draws, "kron"), np.zeros(8), k(points, points))
    check_normal(draws["marginal_kron"], np.zeros(6), noisy(k, GRID_POINTS, NOISE))
    mean, cov = conditional(k, GRID_POINTS, OFF_GRID, GRID_Y, NOISE)
    check_normal(draws["marginal_kron_new"], mean, cov)


def test_marginal(draws):
    check_normal(draws["marginal"], mean_of(X), noisy(quad, X, NOISE))
    mean, cov = conditional(quad, X, NEW, Y - mean_of(X), NOISE)
    check_normal(draws["marginal_new"], mean_of(NEW) + mean, cov)
    of_noise = NOISE**2 * np.eye(2)
    check_normal(draws["marginal_noisy"], mean_of(NEW) + mean, cov + of_noise)


def test_marginal_approximations(draws):
    for approx in ("VFE", "FITC"):
        moments = sparse_conditional(quad, X, X[:2] + 0.1, NEW, Y, approx == "FITC")
        check_normal(draws[f"{approx}_new"], *moments)


# --- Hilbert space approximations -----------------------------------------------------


def sines(x, m, length):
    """Eigenfunctions of the Laplacian on [-length, length], zero at the ends."""
    omega = np.pi * np.arange(1, m + 1) / (2 * length)
    return omega, np.sin(omega * (x[:, None] + length)) / np.sqrt(length)


def spectral_density(omega, ls, nu=np.inf):
    """Of a kernel in ``len(ls)`` dimensions, Rasmussen and Williams (2006), 4.15."""
    d, ls = len(ls), np.asarray(ls)
    squared = ((np.stack(omega, -1) * ls) ** 2).sum(-1)
    if nu == np.inf:
        return np.prod(np.sqrt(2 * np.pi) * ls) * np.exp(-squared / 2)
    scale = (2 * np.sqrt(np.pi)) ** d * special.gamma(nu + d / 2) * (2 * nu) ** nu
    power = (2 * nu + squared) ** -(nu + d / 2)
    return scale / special.gamma(nu) * np.prod(ls) * power


PLANE = np.array([[-1.0, 0.5], [0.0, 1.0], [1.0, -0.5]])


@pytest.fixture(scope="module")
def approximate():
    cov = pm.gp.cov
    with pm.Model() as model:
        kernels = {
            "exp_quad": cov.ExpQuad(1, ls=0.7),
            "matern32": cov.Matern32(1, ls=0.7),
            "matern52": cov.Matern52(1, ls=0.7),
        }
        for name, k in kernels.items():
            gp = pm.gp.HSGP(m=[8], L=[3.0], cov_func=1.5**2 * k)
            gp.prior(name, X)
            gp.conditional(f"{name}_new", NEW)
        with pytest.warns(DeprecationWarning, match="drop_first"):
            gp = pm.gp.HSGP(
                m=[8],
                c=2.0,
                drop_first=True,
                parametrization="centered",
                cov_func=kernels["exp_quad"],
            )
        gp.prior("without_first", X)
        plane = cov.ExpQuad(2, ls=[0.7, 1.5])
        pm.gp.HSGP(m=[4, 3], L=[2.0, 3.0], cov_func=plane).prior("plane", PLANE)
        periodic = pm.gp.HSGPPeriodic(
            m=6, scale=1.5, cov_func=cov.Periodic(1, period=2.5, ls=0.8)
        )
        periodic.prior("periodic", X)
        periodic.conditional("periodic_new", NEW)
    with jax.enable_x64(True):
        fn = jaxlink.function([], {v.name: v for v in model.deterministics})
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(fn))(KEYS))


CENTRE = (X.min() + X.max()) / 2


@pytest.mark.parametrize(
    ("name", "nu"), [("exp_quad", np.inf), ("matern32", 1.5), ("matern52", 2.5)]
)
def test_hilbert_space_approximation(approximate, name, nu):
    omega, basis = sines(BOTH[:, 0] - CENTRE, 8, 3.0)
    cov = 1.5**2 * basis * spectral_density([omega], [0.7], nu) @ basis.T
    check_normal(joint(approximate, name), np.zeros(5), cov)


def test_hilbert_space_without_its_first_function(approximate):
    omega, basis = sines(X[:, 0] - CENTRE, 8, 2.0 * np.abs(X - CENTRE).max())
    density = spectral_density([omega], [0.7])
    cov = basis[:, 1:] * density[1:] @ basis[:, 1:].T
    check_normal(approximate["without_first"], np.zeros(3), cov)


def test_hilbert_space_of_two_dimensions(approximate):
    centred = PLANE - (PLANE.max(0) + PLANE.min(0)) / 2
    omega1, basis1 = sines(centred[:, 0], 4, 2.0)
    omega2, basis2 = sines(centred[:, 1], 3, 3.0)
    basis = (basis1[:, :, None] * basis2[:, None]).reshape(3, 12)
    omega = [w.ravel() for w in np.meshgrid(omega1, omega2, indexing="ij")]
    cov = basis * spectral_density(omega, [0.7, 1.5]) @ basis.T
    check_normal(approximate["plane"], np.zeros(3), cov)


def test_periodic_approximation(approximate):
    # PyMC 6.4 multiplies by the coefficients themselves, not by their roots.
    j = np.arange(6)
    coefficients = np.where(j > 0, 2, 1) * special.ive(j, 1 / 0.8**2)
    phases = 2 * np.pi / 2.5 * (BOTH - BOTH.T)[..., None] * j
    cov = (1.5 * coefficients) ** 2 * np.cos(phases)
    check_normal(joint(approximate, "periodic"), np.zeros(5), cov.sum(-1))


# --- slopes ---------------------------------------------------------------------------


@pytest.mark.slow
def test_slopes_of_draws():
    """A draw at a fixed key is a smooth function of the hyperparameters."""
    ls, eta = pt.scalar("ls"), pt.scalar("eta")
    with pm.Model() as model:
        kernel = eta**2 * pm.gp.cov.Matern52(1, ls=ls)
        latent = pm.gp.Latent(cov_func=kernel)
        latent.prior("latent", X)
        latent.conditional("new", NEW[:1], method="cholesky")
        pm.gp.HSGP(m=[8], L=[3.0], cov_func=kernel).prior("hilbert", X)
    outs = [model[name] for name in ("latent", "new", "hilbert")]
    fn = jax.jit(jaxlink.function([ls, eta], outs))
    key, point, h = KEYS[3], (0.7, 1.5), 1e-5
    slopes = jax.jacrev(fn, (1, 2))(key, *point)
    for i in range(2):
        step = h * np.eye(2)[i]
        above, below = (fn(key, *(np.array(point) + s)) for s in (step, -step))
        for slope, a, b in zip(slopes, above, below, strict=True):
            want = (a - b) / (2 * h)
            np.testing.assert_allclose(slope[i], want, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_slopes_of_log_densities():
    with pm.Model() as model:
        ls, sigma = pm.Gamma("ls", 2, 1), pm.HalfNormal("sigma")
        kernel = pm.gp.cov.ExpQuad(1, ls=ls)
        latent = pm.gp.Latent(cov_func=kernel)
        f = latent.prior("f", X, reparameterize=False)
        pm.Normal("y", f, sigma, observed=Y)
        marginal = pm.gp.Marginal(cov_func=kernel)
        marginal.marginal_likelihood("z", X, Y, sigma)
        sparse = pm.gp.MarginalApprox("FITC", cov_func=kernel)
        sparse.marginal_likelihood("w", X, X[:2] + 0.1, Y, sigma)
        h = pm.gp.HSGP(m=[8], L=[3.0], cov_func=kernel).prior("h", X)
        pm.Normal("v", h, sigma, observed=Y)
    rng = np.random.default_rng(4)
    point = {
        name: rng.normal(size=np.shape(value))
        for name, value in model.initial_point().items()
    }
    inputs = model.value_vars
    fn = jaxlink.function(inputs, model.logp())
    values = [jnp.asarray(point[v.name]) for v in inputs]
    # Without rewrites: one of PyTensor's costs the approximate process eight digits.
    wanted = model.compile_logp(mode=REFERENCE)(point)
    np.testing.assert_allclose(fn(*values), wanted, rtol=1e-13)
    grads = jax.grad(fn, tuple(range(len(inputs))))(*values)
    flat = np.concatenate([np.ravel(g) for g in grads])
    wanted = model.compile_dlogp(mode=REFERENCE)(point)
    np.testing.assert_allclose(flat, wanted, rtol=1e-10)

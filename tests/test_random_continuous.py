"""Continuous samplers beside the table: derivatives draw by draw, edges and tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc.distributions.continuous as pmc
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions import CASES
from distributions.harness import KEY, REJECT, compiled, mean_p_value, of, p_value
from distributions.pymc_continuous import HEIGHTS, LATTICE, PiecewiseLinear, points_of
from scipy import special, stats
from support import quick

import jaxlink
from jaxlink.numerics.random.standard import tail_uniform

INF = np.inf


def sampled(rv, size=None, dtype="float64", lengths=None):
    """``rv`` as a function of a key and vectors of parameters, of which those of
    length 1 broadcast."""
    lengths = lengths or [None] * len(rv.ndims_params)
    inputs = [pt.tensor(dtype=dtype, shape=(1 if n == 1 else None,)) for n in lengths]
    x = of(rv, dtype=dtype)(*inputs, size=size)
    return jaxlink.function(inputs, x)


def draws_of(rv, *points, size=None, dtype="float64"):
    values = [np.atleast_1d(np.asarray(p, dtype)) for p in points]
    lengths = [len(value) for value in values]
    return np.asarray(sampled(rv, size, dtype, lengths)(KEY, *values))


# --- derivatives, draw by draw -------------------------------------------------------


def at_ranks_of(draws, reference):
    """The quantiles of another distribution at the ranks of draws.

    A rank in the upper half is measured from above, where it has its digits.
    """
    upper = draws > reference.median()
    rank = np.where(upper, reference.sf(draws), reference.cdf(draws))
    return lambda other: np.where(upper, other.isf(rank), other.ppf(rank))


# Samplers that are quantile functions, or whose derivative is made that of one.
QUANTILES = {
    "halfcauchy": (1,),
    "gumbel": (1,),
    "weibull": (0,),
    "pareto": (0,),
    "truncexpon": (0, 2),
    "triangular": (0, 1, 2),
    "wald": (0, 1),
    "pymc_truncated_normal": (0, 1),
    "pymc_truncated_normal_ends": (2, 3),
    "pymc_truncated_normal_tails": (0, 1),
}


@pytest.mark.parametrize(
    ("name", "wrt"),
    [
        (name, i)
        if i == wrt[0] and not name.startswith("pymc")
        else pytest.param(name, i, marks=pytest.mark.slow)
        for name, wrt in QUANTILES.items()
        for i in wrt
    ],
)
def test_slopes_follow_the_quantile(name, wrt):
    """The derivative of a draw is that of the quantile function at the draw's rank."""
    case = CASES[name]
    values = case.values
    fn = compiled(case, (40, len(values[0])))

    def draw(p):
        return fn(KEY, *values[:wrt], p, *values[wrt + 1 :])

    p = jnp.asarray(values[wrt])
    draws, slopes = jax.jvp(draw, (p,), (jnp.ones_like(p),))
    if wrt == 0:
        back = jax.grad(lambda p: draw(p).sum())(p)
        np.testing.assert_allclose(back, slopes.sum(0), rtol=1e-9)
    for j, here in enumerate(case.references(values)):
        step = 1e-5 * max(1, abs(values[wrt][j]))
        ends = [
            [q + side * step if i == wrt else q for i, q in enumerate(values)]
            for side in (1, -1)
        ]
        quantiles = at_ranks_of(np.asarray(draws[:, j]), here)
        above, below = (quantiles(case.references(end)[j]) for end in ends)
        wanted = (above - below) / (2 * step)
        np.testing.assert_allclose(slopes[:, j], wanted, rtol=2e-4, atol=2e-5)


WALD = np.array(
    [[1.0, 1e4], [2.0, 200.0], [1.0, 1.0], [30.0, 0.3], [1e4, 1.0], [1e-3, 10.0]]
)


def test_slopes_of_wald_for_all_ratios():
    """-(dF / d parameter) / f, for ratios of mean and scale from 1e-4 to 1e4."""
    mean, scale = WALD.T
    fn = sampled(ptr.wald, (200, len(WALD)))
    draws = np.asarray(fn(KEY, mean, scale))
    for i in range(2):
        ones = [np.zeros_like(mean), np.zeros_like(mean)]
        ones[i] = np.ones_like(mean)
        slopes = jax.jvp(lambda m, s: fn(KEY, m, s), (mean, scale), tuple(ones))[1]
        for j, point in enumerate(WALD):
            x, h = draws[:, j], 1e-4

            def rank(factor, point=point, x=x, i=i):
                m, s = [p * factor if i == k else p for k, p in enumerate(point)]
                d = stats.invgauss(m / s, scale=s)
                here = stats.invgauss(point[0] / point[1], scale=point[1])
                return np.where(x < here.median(), d.cdf(x), -d.sf(x))

            rise = 8 * (rank(1 + h) - rank(1 - h)) - rank(1 + 2 * h) + rank(1 - 2 * h)
            density = stats.invgauss(point[0] / point[1], scale=point[1]).pdf(x)
            wanted = -rise / (12 * h * point[i]) / density
            size = x / point[i]
            np.testing.assert_allclose(
                slopes[:, j] / size, wanted / size, rtol=1e-5, atol=1e-7
            )


def test_a_moved_wald_scales():
    """mean dx / d mean + scale dx / d scale = x, for the draw is homogeneous."""
    mean, scale = WALD.T
    fn = sampled(ptr.wald, (1000, len(WALD)))
    draws, slopes = jax.jvp(lambda m, s: fn(KEY, m, s), (mean, scale), (mean, scale))
    np.testing.assert_allclose(slopes, draws, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_slopes_in_32_bits_are_those_in_64():
    mean, scale = WALD.T
    kappa = np.array([0.0, 1e-3, 3.0, 150.0, 1e4, 1e6, 1e8])
    for rv, points in [(ptr.wald, (mean, scale)), (ptr.vonmises, (kappa * 0, kappa))]:
        with jax.enable_x64(False):
            fn = sampled(rv, (300, len(points[0])), "float32")
            values = [jnp.asarray(p, jnp.float32) for p in points]
            draws, vjp = jax.vjp(lambda *p, fn=fn: fn(KEY, *p), *values)
            slopes = vjp(jnp.ones_like(draws))
        for i, got in enumerate(slopes):
            wanted = reference_slopes(rv, np.asarray(draws, float), points)[i]
            size = np.abs(wanted).sum(0)
            error = (np.asarray(got, float) - wanted.sum(0)) / size
            np.testing.assert_allclose(error, 0, atol=2e-5)


def reference_slopes(rv, x, points):
    """-(dF / d parameter) / f at draws, in 64 bits."""
    if rv is ptr.wald:
        mean, scale = points
        q = np.sqrt(scale / x)
        p = q * x / mean
        # Phi(-b) / phi(b), and dF / d parameter as in the sampler's docstring.
        mills = np.exp(stats.norm.logsf(p + q) - stats.norm.logpdf(p + q))
        return 2 * p * mills * x / mean, (1 - 2 * p * mills) * x / scale
    _, kappa = points
    grid = np.linspace(0, 1, 4001)[:, None, None]
    t = grid * x
    # 1 - I1 / I0, by its series where the quotient would cancel.
    gap = 1 - special.i1e(kappa) / special.i0e(kappa)
    far = 1 / np.maximum(kappa, 1e4)
    gap = np.where(kappa < 1e4, gap, far / 2 + far**2 / 8 + far**3 / 8)
    rise = 2 * np.sin((x + t) / 2) * np.sin((x - t) / 2)
    heights = np.exp(kappa * rise) * (2 * np.sin(t / 2) ** 2 - gap)
    return np.ones_like(x), np.trapezoid(heights, dx=1 / 4000, axis=0) * x


def test_slope_of_von_mises():
    kappa = np.array([0.3, 4.0, 900.0])
    fn = sampled(ptr.vonmises, (40, 3))
    zero = np.zeros(3)
    draws, slopes = jax.jvp(lambda k: fn(KEY, zero, k), (kappa,), (np.ones(3),))
    step = 1e-4
    for j, k in enumerate(kappa):
        rise = stats.vonmises.cdf(draws[:, j], k * (1 + step))
        rise -= stats.vonmises.cdf(draws[:, j], k * (1 - step))
        wanted = -rise / (2 * step * k) / stats.vonmises.pdf(draws[:, j], k)
        np.testing.assert_allclose(slopes[:, j], wanted, rtol=1e-3, atol=1e-6)


def test_slopes_of_von_mises_on_the_circle():
    """E[cos(X - a)] = A(kappa) cos(mu - a), A = I1 / I0, A' = 1 - A / kappa - A**2."""
    mu, kappa = np.array([-2.0, 1.0, 3.0]), np.array([0.8, 3.0, 0.05])
    fn = sampled(ptr.vonmises, (30_000, 3))
    draws = np.asarray(fn(KEY, mu, kappa))
    ratio = special.i1e(kappa) / special.i0e(kappa)
    ones, zeros = np.ones(3), np.zeros(3)
    of_mu = jax.jvp(lambda *p: fn(KEY, *p), (mu, kappa), (ones, zeros))[1]
    of_kappa = jax.jvp(lambda *p: fn(KEY, *p), (mu, kappa), (zeros, ones))[1]
    np.testing.assert_array_equal(of_mu, 1)
    for a in (0.4, 2.0):
        wanted = (1 - ratio / kappa - ratio**2) * np.cos(mu - a)
        got = -np.sin(draws - a) * of_kappa
        for column, mean in zip(got.T, wanted, strict=True):
            assert mean_p_value(np.asarray(column), mean) > REJECT


def _truncated(mu, sigma, low, high):
    return stats.truncnorm((low - mu) / sigma, (high - mu) / sigma, mu, sigma)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rv", "points", "wrt", "reference"),
    [
        (ptr.wald, (1.5, 0.8), 0, lambda m, s: stats.invgauss(m / s, scale=s)),
        (ptr.vonmises, (0.0, 2.5), 1, lambda mu, kappa: stats.vonmises(kappa)),
        (
            pmc.truncated_normal,
            (0.4, 1.5, 1.0, 4.0),
            0,
            lambda m, s, low, high: stats.truncnorm(
                (low - m) / s, (high - m) / s, m, s
            ),
        ),
        (
            pmc.truncated_normal,
            (0.4, 1.5, 1.0, 4.0),
            2,
            lambda m, s, low, high: stats.truncnorm(
                (low - m) / s, (high - m) / s, m, s
            ),
        ),
    ],
)
def test_second_derivatives_follow_the_quantile(rv, points, wrt, reference):
    fn = sampled(rv, (20, 1))
    values = [jnp.array([p]) for p in points]

    def draw(p):
        return fn(KEY, *values[:wrt], p, *values[wrt + 1 :])

    def slope(p):
        return jax.jvp(draw, (p,), (jnp.ones(1),))[1]

    curvature = jax.jvp(slope, (values[wrt],), (jnp.ones(1),))[1][:, 0]
    quantiles = at_ranks_of(np.asarray(draw(values[wrt]))[:, 0], reference(*points))
    step = 2e-3
    at = [
        quantiles(reference(*points[:wrt], points[wrt] + s, *points[wrt + 1 :]))
        for s in (-step, 0, step)
    ]
    wanted = (at[0] - 2 * at[1] + at[2]) / step**2
    np.testing.assert_allclose(curvature, wanted, rtol=2e-4, atol=1e-4)


# --- Interpolated --------------------------------------------------------------------


def test_points_in_batches():
    """PyMC itself cannot draw these."""
    points = [pt.matrix() for _ in range(3)]
    fn = jaxlink.function(points, of(pmc.interpolated)(*points, size=(50_000, 3)))
    draws = np.asarray(fn(KEY, *points_of(LATTICE, HEIGHTS)))
    for column, x, heights in zip(draws.T, LATTICE, HEIGHTS, strict=True):
        assert p_value(column, PiecewiseLinear(x, heights)) > REJECT
    # One lattice for all densities.
    points[0] = pt.matrix(shape=(1, None))
    fn = jaxlink.function(points, of(pmc.interpolated)(*points, size=(50_000, 3)))
    draws = np.asarray(fn(KEY, LATTICE[:1], *points_of(LATTICE[:1], HEIGHTS)[1:]))
    for column, heights in zip(draws.T, HEIGHTS, strict=True):
        assert p_value(column, PiecewiseLinear(LATTICE[0], heights)) > REJECT


@pytest.mark.parametrize("moved", ["x", "heights"])
def test_slopes_of_interpolated(moved):
    """With respect to points of which the density and its integral are made."""
    x, heights = pt.vectors("x", "heights")
    mass = pt.diff(x) * (heights[1:] + heights[:-1]) / 2
    cdf = pt.concatenate([[0.0], pt.cumsum(mass)]) / mass.sum()
    draw = of(pmc.interpolated)(x, heights / mass.sum(), cdf, size=(300,))
    fn = jaxlink.function([x, heights], draw)
    point = {"x": LATTICE[0], "heights": np.array([0.1, 2.0, 2.0, 0.3, 1.0, 0.3])}
    along = {name: np.zeros(6) for name in point}
    along[moved] = np.array([0.3, -0.2, 0.1, 0.4, -0.1, 0.2])
    draws, slopes = jax.jvp(
        lambda *args: fn(KEY, *args), tuple(point.values()), tuple(along.values())
    )
    # -(dF / d parameter) / f.
    step = 1e-5
    ranks = [
        cdf_of(np.asarray(draws), *(point[n] + s * step * along[n] for n in point))
        for s in (1, -1)
    ]
    density = np.interp(draws, point["x"], point["heights"])
    density /= np.trapezoid(point["heights"], point["x"])
    wanted = (ranks[1] - ranks[0]) / (2 * step) / density
    np.testing.assert_allclose(slopes, wanted, rtol=1e-6, atol=1e-8)


def cdf_of(q, x, heights):
    """By the trapezoid rule, which is exact between points."""
    found = []
    for end in q:
        inside = np.append(x[x < end], end)
        found.append(np.trapezoid(np.interp(inside, x, heights), inside))
    return np.array(found) / np.trapezoid(heights, x)


# --- edges ---------------------------------------------------------------------------


DEGENERATE = [
    *(
        (rv, (1.5, 0.0), 1.5)
        for rv in (
            ptr.normal, ptr.halfnormal, ptr.cauchy, ptr.halfcauchy, ptr.gumbel,
            ptr.laplace, ptr.logistic, pmc.moyal,
        )
    ),
    (ptr.lognormal, (1.5, 0.0), np.exp(1.5)),
    (ptr.exponential, (0.0,), 0.0),
    (ptr.weibull, (0.0,), 0.0),
    (ptr.pareto, (2.0, 0.0), 0.0),
    (ptr.uniform, (0.3, 0.3), 0.3),
    (ptr.triangular, (0.3, 0.3, 0.3), 0.3),
    (ptr.truncexpon, (2.0, 1.5, 0.0), 1.5),
    (pmc.skewnormal, (1.5, 0.0, 3.0), 1.5),
    (pmc.skewstudentt, (2.0, 3.0, 1.5, 0.0), 1.5),
    (pmc.rice, (2.0, 0.0), 0.0),
    (pmc.truncated_normal, (1.5, 0.0, 1.0, 2.0), 1.5),
    (pmc.truncated_normal, (1.5, 0.0, 3.0, INF), 3.0),
    (pmc.truncated_normal, (1.5, 2.0, 1.25, 1.25), 1.25),
    (ptr.vonmises, (1.5, INF), 1.5),
]  # fmt: skip


def test_all_the_mass_at_a_point():
    outs = [of(rv)(*points, size=(20,)) for rv, points, _ in DEGENERATE]
    draws = quick(jaxlink.function([], outs))(KEY)
    for (rv, _, wanted), draw in zip(DEGENERATE, draws, strict=True):
        np.testing.assert_allclose(draw, wanted, rtol=1e-15, err_msg=rv.name)


INVALID = [
    (ptr.uniform, (2.0, 1.0)),
    (ptr.uniform, (0.0, INF)),
    *(
        (rv, (0.5, -1.0))
        for rv in (
            ptr.normal, ptr.halfnormal, ptr.lognormal, ptr.cauchy, ptr.halfcauchy,
            ptr.gumbel, ptr.laplace, ptr.logistic, ptr.vonmises, pmc.moyal,
        )
    ),
    (ptr.exponential, (-1.0,)),
    (ptr.weibull, (-1.0,)),
    (ptr.pareto, (0.0, 1.0)),
    (ptr.pareto, (-1.0, 1.0)),
    (ptr.pareto, (2.0, -1.0)),
    (ptr.truncexpon, (0.0, 0.0, 1.0)),
    (ptr.truncexpon, (-2.0, 0.0, 1.0)),
    (ptr.truncexpon, (2.0, 0.0, -1.0)),
    (ptr.triangular, (0.0, -0.1, 1.0)),
    (ptr.triangular, (0.0, 1.1, 1.0)),
    (ptr.wald, (0.0, 1.0)),
    (ptr.wald, (-1.0, 1.0)),
    (ptr.wald, (1.0, 0.0)),
    (ptr.wald, (1.0, -1.0)),
    (pmc.wald, (1.0, -1.0, 0.5)),
    (pmc.skewnormal, (0.0, -1.0, 2.0)),
    (pmc.skewstudentt, (2.0, 3.0, 0.0, -1.0)),
    (pmc.rice, (-1.0, 1.0)),
    (pmc.rice, (1.0, -1.0)),
    (pmc.truncated_normal, (0.0, 1.0, 2.0, 1.0)),
    (pmc.truncated_normal, (0.0, -1.0, -1.0, 1.0)),
    (pmc.truncated_normal, (0.0, 1.0, INF, INF)),
]  # fmt: skip


VALID = {
    ptr.truncexpon: (1.0, 0.0, 1.0),
    ptr.triangular: (0.0, 0.5, 1.0),
    pmc.wald: (1.0, 1.0, 0.5),
    pmc.skewnormal: (0.0, 1.0, 2.0),
    pmc.skewstudentt: (2.0, 3.0, 0.0, 1.0),
    pmc.truncated_normal: (0.0, 1.0, 1.0, 2.0),
}


@pytest.mark.slow
def test_where_pytensor_raises_the_draw_is_nan():
    """And where a parameter is nan, but not elsewhere in the batch."""
    invalid = {}
    for rv, points in INVALID:
        with pytest.raises((ValueError, OverflowError)):
            rv.rng_fn(np.random.default_rng(), *map(np.float64, points), (3,))
        invalid.setdefault(rv, []).append(points)
    for rv, points in invalid.items():
        good = VALID.get(rv, (0.5, 1.0)[: len(points[0])])
        for i in range(len(good)):
            points.append((*good[:i], np.nan, *good[i + 1 :]))
        points.append(good)
    outs = [
        of(rv)(*np.array(points).T, size=(3, len(points)))
        for rv, points in invalid.items()
    ]
    draws = quick(jaxlink.function([], outs))(KEY)
    for (rv, points), draw in zip(invalid.items(), draws, strict=True):
        for point, column in zip(points[:-1], draw[:, :-1].T, strict=True):
            assert np.isnan(column).all(), (rv.name, point)
        assert np.isfinite(draw[:, -1]).all(), rv.name


def test_triangular_with_its_mode_at_an_end():
    left, mode, right = np.array([[0.0, 0.0, 2.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0]]).T
    fn = sampled(ptr.triangular, (20_000, 3))
    draws = np.asarray(fn(KEY, left, mode, right))
    assert p_value(draws[:, 0], stats.triang(0, 0, 2)) > REJECT
    assert p_value(draws[:, 1], stats.triang(1, 0, 2)) > REJECT
    grads = jax.grad(lambda *p: fn(KEY, *p).sum(), (0, 1, 2))(left, mode, right)
    assert np.isfinite(grads).all()


def test_von_mises_of_no_concentration_is_uniform():
    draws = draws_of(ptr.vonmises, 2.0, 0.0, size=(50_000,))
    assert p_value(draws, stats.uniform(-np.pi, 2 * np.pi)) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_narrow_von_mises_is_normal(dtype):
    kappa = np.array([1e6, 1e8, 1e12])
    with jax.enable_x64(dtype == "float64"):
        draws = draws_of(ptr.vonmises, 0.0, kappa, size=(50_000, 3), dtype=dtype)
    for column, k in zip(draws.T, kappa, strict=True):
        assert p_value(column * np.sqrt(k), stats.norm()) > REJECT
        # Draws near zero keep their digits.
        assert len(np.unique(column)) > 49_000


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_von_mises_stays_on_its_circle():
    mu = np.array([np.pi, -np.pi, 3.0, 100.0])
    with jax.enable_x64(False):
        draws = draws_of(ptr.vonmises, mu, 50.0, size=(100_000, 4), dtype="float32")
    assert np.abs(draws.astype(np.float64)).max() <= np.pi
    for column, m in zip(draws.T, mu, strict=True):
        off = np.remainder(column.astype(np.float64) - m + np.pi, 2 * np.pi) - np.pi
        assert p_value(off, stats.vonmises(50.0)) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncation_far_out(dtype):
    """On both sides, bounded beyond or not."""
    start = np.array([5.0, 8.0, 30.0, 1e3, 1e6, 30.0, 30.0, 1e3], dtype)
    end = np.array([INF, INF, INF, INF, INF, 30.02, 31.0, 1001.0], dtype)
    bounds = np.append(start, -end), np.append(end, -start)
    with jax.enable_x64(dtype == "float64"):
        draws = draws_of(
            pmc.truncated_normal, 0.0, 1.0, *bounds, size=(20_000, 16), dtype=dtype
        )
    assert (draws >= bounds[0]).all()
    assert (draws <= bounds[1]).all()
    draws = np.abs(draws.astype(np.float64)).reshape(20_000, 2, 8)
    for j, (a, b) in enumerate(
        zip(start.astype(float), end.astype(float), strict=True)
    ):
        for column in draws[:, :, j].T:
            if a < 1e3:
                assert p_value(column, stats.truncnorm(a, b)) > REJECT
            elif dtype == "float64":
                # SciPy gives up, but the distance from the bound is exponential.
                distance = stats.truncexpon((b - a) * a)
                assert p_value((column - a) * a, distance) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_narrow_truncation(dtype):
    """The density is all but a line, from bounds of any size."""
    lower = np.array([1e-6, -3e-7, 1.0, -7.0])
    upper = np.array([2e-6, 1e-7, 1.01, -6.99])
    with jax.enable_x64(dtype == "float64"):
        draws = draws_of(
            pmc.truncated_normal, 0.0, 1.0, lower, upper, size=(20_000, 4), dtype=dtype
        )
    draws = draws.astype(np.float64)
    for column, low, high in zip(draws.T, lower, upper, strict=True):
        part = (column - low) / (high - low)
        # exp(-c (part - 1/2)) is the density over the interval.
        c = (high - low) * (high + low) / 2
        grid = np.linspace(0, 1, 2001)
        reference = PiecewiseLinear(grid, np.exp(-c * (grid - 0.5)))
        assert p_value(part, reference) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("cauchy", ("cdf", "sf")),
        ("laplace", ("cdf", "sf")),
        ("logistic", ("cdf", "sf")),
        ("gumbel", ("cdf", "sf")),
        ("weibull", ("cdf", "sf")),
        # Above their bounds, 32 bits have no digits.
        ("halfcauchy", ("sf",)),
        ("pareto", ("sf",)),
    ],
)
def test_tails_in_32_bits(name, sides):
    """The rarest draws are distributed rightly, and none is rarer than they can be."""
    n_draws = 1 << 22
    case = CASES[name]
    point = [np.float32(p[0]) for p in case.points]
    with jax.enable_x64(False):
        fn = compiled(case, (n_draws, 1))
        draws = np.asarray(fn(KEY, *(jnp.asarray([p]) for p in point)), np.float64)
    reference = case.reference(*map(float, point))
    for side in sides:
        rank = getattr(reference, side)(draws[:, 0])
        tail = rank[rank < 1e-4]
        assert stats.kstest(tail, stats.uniform(0, 1e-4).cdf).pvalue > REJECT
        assert abs(len(tail) - 1e-4 * n_draws) < 5.5 * np.sqrt(1e-4 * n_draws)
        assert tail.min() > 1e-7 / n_draws


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_uniform_draws_keep_their_bits():
    with jax.enable_x64(False):
        upper, tail = jax.jit(
            lambda key: tail_uniform(key, (1 << 20,), np.dtype("float32"))
        )(KEY)
    tail = np.asarray(tail, np.float64)
    assert tail.min() > 0
    assert tail.max() <= 0.5
    assert p_value(np.where(upper, 1 - tail, tail), stats.uniform()) > REJECT
    # Of JAX's uniform draws, of 23 bits, only 105 may lie there.
    small = tail[tail < 1 / 80_000]
    assert len(small) > 20
    assert len(np.unique(small)) == len(small)
    assert (small * 2.0**33 % 1024 != 0).any()

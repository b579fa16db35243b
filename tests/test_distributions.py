"""Every distribution of the table, against SciPy or NumPy's own sampler, never JAX."""

import distribution_page
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distributions import CASES, first_of_each_sampler
from distributions.harness import (
    COMPARISONS,
    KEY,
    KEYS,
    REJECT,
    compiled,
    inputs_of,
    mean_p_value,
    moment_slopes_p_value,
    moments_p_value,
    p_value,
)
from scipy import stats
from scipy.special import expit
from support import others_are_slow, quick
from support import reference as in_pytensor

import jaxlink

PAGE = distribution_page.lines_of_page()
# The default run takes the first case of each sampler, but only these of PyMC's.
OF_PYMC = (
    "pymc_mixture_of_a_list",
    "pymc_censored_normal",
    "pymc_truncated_exponential",
    "pymc_half_student_t",
    "pymc_gaussian_random_walk",
    "pymc_skew_normal",
    "pymc_truncated_normal",
    "pymc_polyagamma",
)
EVERYDAY = [
    name
    for name in first_of_each_sampler()
    if name in OF_PYMC or not name.startswith("pymc")
]
SLOPES = [name for name, case in CASES.items() if case.slopes]
EVERYDAY_SLOPES = [name for name in EVERYDAY if CASES[name].slopes]
NO_SLOPE = [(name, i) for name, case in CASES.items() for i in case.no_slope]


def test_the_false_alarm_rate_holds():
    points = sum(len(case.points[0]) for case in CASES.values())
    slopes = sum(len(c.points[0]) * len(c.slopes) for c in CASES.values())
    # Twice as many are left to the tests beside the table.
    assert 2 * (2 * points + 2 * slopes) < COMPARISONS
    for name, case in CASES.items():
        lengths = {len(p) for p in case.points}
        assert len(lengths) == 1, name
        assert lengths.pop() >= 3, name


@pytest.mark.parametrize("name", others_are_slow(CASES, EVERYDAY))
def test_draws_of_a_size(name):
    case = CASES[name]
    n_points = len(case.points[0])
    fn = compiled(case, (case.draws, n_points))
    draws = np.asarray(quick(fn)(KEY, *case.values))
    assert draws.shape[:2] == (case.draws, n_points)
    assert draws.dtype in (np.float64, np.int64)
    assert all(p > REJECT for p in case.p_values(draws, case.values))
    # The same comparison notices a parameter that is wrong by 5 %.
    assert any(p < REJECT for p in case.p_values(draws, case.wrong_values()))
    # What the page says of it.
    assert distribution_page.line(name, case, fn, case.draws) == PAGE.get(name)


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("name", others_are_slow(CASES, EVERYDAY))
def test_draws_mapped_over_keys_in_32_bits(name):
    case = CASES[name]
    in_axes = (0, *[None] * len(case.points))
    with jax.enable_x64(False):
        values = [jnp.asarray(p) for p in case.values]
        mapped = jax.vmap(compiled(case), in_axes)
        keys = jax.random.split(KEY, KEYS)
        assert not loops_over(KEYS, jax.make_jaxpr(mapped)(keys, *values).jaxpr)
        mapped = quick(mapped)
        draws = mapped(keys, *values)
        # A lane does not depend on the others, nor on how long they reject.
        others = jax.random.split(jax.random.fold_in(KEY, 1), KEYS)
        again = mapped(jnp.concatenate([keys[:100], others[100:]]), *values)
    assert draws.dtype in (np.float32, np.int32)
    np.testing.assert_array_equal(draws[:100], again[:100])
    exact = [np.asarray(v, p.dtype) for v, p in zip(values, case.values, strict=True)]
    assert all(p > REJECT for p in case.p_values(draws, exact))


def loops_over(length, jaxpr):
    """Whether a program visits the elements of a batch one by one."""
    for eqn in jaxpr.eqns:
        # On a CPU, JAX's own gamma sampler is a loop that only its lowering shows.
        if eqn.primitive.name in ("pure_callback", "random_gamma"):
            return True
        if eqn.primitive.name == "scan" and eqn.params["length"] >= length:
            return True
        for param in eqn.params.values():
            inner = getattr(param, "jaxpr", param)
            if hasattr(inner, "eqns") and loops_over(length, inner):
                return True
    return False


@pytest.mark.parametrize("name", others_are_slow(CASES, EVERYDAY))
def test_batches_are_pytensors(name):
    """Shapes and dtypes, for parameters that broadcast, with a size, and for none."""
    case = CASES[name]
    inputs = inputs_of(case)
    # A parameter goes along the rows, the others along the columns.
    rows, *columns = inputs
    batches = [
        case.build(rows[:, None] if case.batched else rows, *columns),
        case.build(*inputs, size=(2, 3)),
        case.build(*inputs, size=(0, 3)),
    ]
    values = [np.repeat(p[:1], 3, 0) if case.batched else p[0] for p in case.values]
    wanted = in_pytensor(inputs, batches, values)
    got = jax.eval_shape(jaxlink.function(inputs, batches), KEY, *values)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("name", others_are_slow(SLOPES, EVERYDAY_SLOPES))
def test_slopes(name):
    """d E[g(X)] / d parameter = E[g'(X) dX / d parameter], for a sigmoid g about the
    median and its square: bounded, so that all means exist, and smooth beyond the
    support, which may move."""
    case = CASES[name]
    n_draws = 50_000
    fn = compiled(case, (n_draws, len(case.points[0])))

    @quick
    def draws_and_slopes(key, *values):
        def draw(*moved):
            given = dict(zip(case.slopes, moved, strict=True))
            return fn(key, *(given.get(i, v) for i, v in enumerate(values)))

        points = [values[i] for i in case.slopes]
        draws, push = jax.linearize(draw, *points)
        still = [jnp.zeros_like(p) for p in points]
        moves = [
            [*still[:i], jnp.ones_like(p), *still[i + 1 :]]
            for i, p in enumerate(points)
        ]
        return draws, [push(*move) for move in moves]

    draws, slopes = jax.tree.map(np.asarray, draws_and_slopes(KEY, *case.values))
    for wrt, slope in zip(case.slopes, slopes, strict=True):
        step = 1e-4
        above, below = (
            [p + s if i == wrt else p for i, p in enumerate(case.values)]
            for s in (step, -step)
        )
        if case.moments is None:
            p_values = slopes_of_a_sigmoid(case, draws, slope, above, below, step)
        else:
            p_values = slopes_of_moments(case, draws, slope, above, below, step)
        assert all(p > REJECT for p in p_values), wrt


def slopes_of_moments(case, draws, slopes, above, below, step):
    ends = [
        [case.moments(*point) for point in zip(*end, strict=True)]
        for end in (above, below)
    ]
    for j, (high, low) in enumerate(zip(*ends, strict=True)):
        wanted = [(a - b) / (2 * step) for a, b in zip(high, low, strict=True)]
        mean = np.ravel(high[0] + low[0]) / 2
        yield moment_slopes_p_value(draws[:, j], slopes[:, j], mean, *wanted)


def slopes_of_a_sigmoid(case, draws, slopes, above, below, step):
    moved = [case.references(end) for end in (above, below)]
    ranks = (np.arange(4000) + 0.5) / 4000
    for j, here in enumerate(case.references(case.values)):
        low, median, high = here.ppf(np.array([0.25, 0.5, 0.75]))
        g = expit((draws[:, j] - median) / (high - low))
        g_slopes = g * (1 - g) / (high - low) * slopes[:, j]
        up, down = (expit((m[j].ppf(ranks) - median) / (high - low)) for m in moved)
        yield mean_p_value(g_slopes, (up - down).mean() / (2 * step))
        wanted = (up**2 - down**2).mean() / (2 * step)
        yield mean_p_value(2 * g * g_slopes, wanted)


@pytest.mark.parametrize(("name", "wrt"), NO_SLOPE)
def test_no_slope(name, wrt):
    case = CASES[name]
    fn = compiled(case)
    with pytest.raises(jaxlink.ArgumentError, match="has no derivative"):
        jax.grad(lambda *args: fn(KEY, *args).sum(), wrt)(*case.values)


# --- the test of the tests -----------------------------------------------------------


def test_faults_are_noticed():
    x = stats.norm(1, 2).rvs(200_000, random_state=5)
    assert p_value(x, stats.norm(1, 2)) > REJECT
    assert p_value(x, stats.norm(1, 2 * 1.05)) < REJECT
    k = stats.binom(20, 0.3).rvs(200_000, random_state=5)
    assert p_value(k, stats.binom(20, 0.3)) > REJECT
    assert p_value(k, stats.binom(20, 0.3 * 1.05)) < REJECT
    # A draw that is impossible is noticed, however rare.
    k[17] = 21
    assert p_value(k, stats.binom(20, 0.3)) == 0

    rng = np.random.default_rng(6)
    cov = np.array([[2.0, 0.9], [0.9, 1.0]])
    draws, more = (rng.multivariate_normal([0, 1], cov, 200_000) for _ in range(2))
    off = rng.multivariate_normal([0, 1], cov * [[1, 0.9], [0.9, 1]], 200_000)
    assert p_value(draws, more) > REJECT
    assert p_value(draws, off) < REJECT
    assert moments_p_value(draws, np.array([0, 1]), cov) > REJECT
    assert moments_p_value(draws, np.array([0, 1]), cov * [[1, 0.95], [0.95, 1]]) < (
        REJECT
    )


def test_loops_over_keys_are_noticed():
    keys = jax.random.split(KEY, 50)
    one_by_one = jax.make_jaxpr(lambda k: jax.lax.map(jax.random.normal, k))(keys)
    assert loops_over(50, one_by_one.jaxpr)
    at_once = jax.make_jaxpr(jax.vmap(jax.random.normal))(keys)
    assert not loops_over(50, at_once.jaxpr)
    hidden = jax.make_jaxpr(jax.vmap(lambda k: jax.random.gamma(k, 2.0)))(keys)
    assert loops_over(50, hidden.jaxpr)

"""Every distribution of the table, against SciPy or NumPy's own sampler, never JAX."""

from contextlib import ExitStack

import distribution_page
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distributions import CASES
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
from support import reference as in_pytensor

import jaxlink

PAGE = distribution_page.lines_of_page()
SLOPES = [(name, i) for name, case in CASES.items() for i in case.slopes]
NO_SLOPE = [(name, i) for name, case in CASES.items() for i in case.no_slope]


@pytest.fixture(autouse=True)
def _strict_and_64_bits():
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("strict"))
        yield


def test_the_false_alarm_rate_holds():
    points = sum(len(case.points[0]) for case in CASES.values())
    slopes = sum(len(CASES[name].points[0]) for name, _ in SLOPES)
    # Twice as many are left to the tests beside the table.
    assert 2 * (2 * points + 2 * slopes) < COMPARISONS
    for name, case in CASES.items():
        lengths = {len(p) for p in case.points}
        assert len(lengths) == 1, name
        assert lengths.pop() >= 3, name


@pytest.mark.parametrize("name", CASES)
def test_draws_of_a_size(name):
    case = CASES[name]
    n_points = len(case.points[0])
    fn = compiled(case, (case.draws, n_points))
    draws = np.asarray(fn(KEY, *case.values))
    assert draws.shape[:2] == (case.draws, n_points)
    assert draws.dtype in (np.float64, np.int64)
    assert min(case.p_values(draws, case.values)) > REJECT
    # The same comparison notices a parameter that is wrong by 5 %.
    assert min(case.p_values(draws, case.wrong_values())) < REJECT
    # What the page says of it.
    assert distribution_page.line(name, case, fn, case.draws) == PAGE.get(name)


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("name", CASES)
def test_draws_mapped_over_keys_in_32_bits(name):
    case = CASES[name]
    in_axes = (0, *[None] * len(case.points))
    with jax.enable_x64(False):
        values = [jnp.asarray(p) for p in case.values]
        fn = compiled(case)
        mapped = jax.vmap(fn, in_axes)
        keys = jax.random.split(KEY, KEYS)
        assert not loops_over(len(keys), jax.make_jaxpr(mapped)(keys, *values).jaxpr)
        draws = mapped(keys, *values)
        again = mapped(keys[:2], *values)
    assert draws.dtype in (np.float32, np.int32)
    # To rounding: XLA may vectorise a small batch in another way.
    np.testing.assert_allclose(draws[:2], again, rtol=1e-5, atol=1e-5)
    exact = [np.asarray(v, p.dtype) for v, p in zip(values, case.values, strict=True)]
    assert min(case.p_values(draws, exact)) > REJECT


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


@pytest.mark.parametrize("name", CASES)
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
    got = jaxlink.function(inputs, batches)(KEY, *values)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize(("name", "wrt"), SLOPES)
def test_slopes(name, wrt):
    """d E[g(X)] / d parameter = E[g'(X) dX / d parameter], for a sigmoid g about the
    median and its square: bounded, so that all means exist, and smooth beyond the
    support, which may move."""
    case = CASES[name]
    values = case.values
    n_draws = 50_000
    fn = compiled(case, (n_draws, len(case.points[0])))
    direction = jnp.ones_like(values[wrt])

    def draw(p):
        return fn(KEY, *values[:wrt], p, *values[wrt + 1 :])

    draws, slopes = jax.jvp(draw, (jnp.asarray(values[wrt]),), (direction,))
    draws, slopes = np.asarray(draws), np.asarray(slopes)
    step = 1e-4
    ends = [
        [p + s if i == wrt else p for i, p in enumerate(values)] for s in (step, -step)
    ]
    if case.moments is not None:
        above, below = (
            [case.moments(*point) for point in zip(*end, strict=True)] for end in ends
        )
        for j, (high, low) in enumerate(zip(above, below, strict=True)):
            wanted = [(a - b) / (2 * step) for a, b in zip(high, low, strict=True)]
            mean = np.ravel(high[0] + low[0]) / 2
            p = moment_slopes_p_value(draws[:, j], slopes[:, j], mean, *wanted)
            assert p > REJECT
        return
    moved = [case.references(end) for end in ends]
    ranks = (np.arange(4000) + 0.5) / 4000
    for j, here in enumerate(case.references(values)):
        low, median, high = here.ppf(np.array([0.25, 0.5, 0.75]))
        g = expit((draws[:, j] - median) / (high - low))
        g_slopes = g * (1 - g) / (high - low) * slopes[:, j]
        above, below = (expit((m[j].ppf(ranks) - median) / (high - low)) for m in moved)
        wanted = (above - below).mean() / (2 * step)
        assert mean_p_value(g_slopes, wanted) > REJECT
        wanted = (above**2 - below**2).mean() / (2 * step)
        assert mean_p_value(2 * g * g_slopes, wanted) > REJECT


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

"""Discrete draws at the edges of their parameters and of their dtypes.

That they have the right distribution elsewhere is tested in test_distributions.py.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pymc.distributions.discrete as pmd
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions.choices import orders_of_choice
from distributions.harness import KEY, REJECT, chi_square, p_value
from jax.experimental import checkify
from scipy import stats
from support import quick

import jaxlink
from jaxlink.numerics.random import discrete
from jaxlink.numerics.random.integers import double_width_product
from jaxlink.numerics.random.log_probabilities import deviance, log_factorial_ratio

DRAWS = 50_000
LARGEST = {"int32": 2**31 - 1, "int64": 2**63 - 1}


def rv(op, *params, size=None, **kwargs):
    rng = pt.random.shared_rng(seed=0)
    return op(*params, size=size, rng=rng, return_next_rng=True, **kwargs)[1]


def drawn(op, *params, size=DRAWS, key=KEY, **kwargs):
    """Draws with constant parameters."""
    return np.asarray(
        quick(jaxlink.function([], rv(op, *params, size=size, **kwargs)))(key)
    )


def all_drawn(variables):
    return [np.asarray(x) for x in quick(jaxlink.function([], list(variables)))(KEY)]


def error_of(variable):
    """The message of the check that fails."""
    fn = jaxlink.function([], [variable])
    error, _ = checkify.checkify(fn)(KEY)
    return error.get() or ""


# --- integers ------------------------------------------------------------------------

WIDE = [
    (-(2**63), 2**63 - 1),
    # JAX's own sampler draws the lower third of this twice as often as the rest.
    (-3 * 2**61, 3 * 2**61),
    (-(2**62) - 5, 2**62 + 2**61),
    (-7, 2**33 + 2**32),
    (2**62 + 1, 2**62 + 4),
    (-5, -4),
]


def assert_equally_likely(draws, low, high, n_cells=48):
    """In cells of the range, and in the last bits."""
    draws = draws.astype(object)
    assert draws.min() >= low
    assert draws.max() < high
    span = high - low
    n_cells = min(n_cells, span)
    ends = [i * span // n_cells for i in range(n_cells + 1)]
    expected = np.array([float(b - a) / span for a, b in itertools.pairwise(ends)])
    cells = np.array([((x - low + 1) * n_cells - 1) // span for x in draws], int)
    assert chi_square(cells, expected * len(draws)) > REJECT
    if span > 2**20:
        last = np.array([x % 16 for x in draws], int)
        assert chi_square(last, np.full(16, len(draws) / 16)) > REJECT


def test_integers_of_64_bits():
    low, high = (np.array(x) for x in zip(*WIDE, strict=True))
    draws = drawn(ptr.integers, low, high, size=(DRAWS, len(WIDE)))
    assert draws.dtype == np.int64
    for column, bounds in zip(draws.T, WIDE, strict=True):
        assert_equally_likely(column, *bounds)
    # All integers there are: the span has one digit more than a word.
    draws = drawn(pmd.discrete_uniform, low[0], high[0])
    assert_equally_likely(draws, -(2**63), 2**63)


def test_unsigned_integers_of_64_bits():
    high = np.array([2**64 - 1, 3 * 2**62, 200], "uint64")
    draws = drawn(ptr.integers, np.int8(0), high, size=(DRAWS, 3), dtype="uint64")
    assert draws.dtype == np.uint64
    for column, end in zip(draws.T, high, strict=True):
        assert_equally_likely(column, 0, int(end))


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_integers_while_x64_is_off():
    low, high = np.array([[-(2**31), -5, 0], [2**31 - 1, 3 * 2**29, 3]], "int32")
    with jax.enable_x64(False):
        draws = drawn(ptr.integers, low, high, size=(DRAWS, 3))
    assert draws.dtype == np.int32
    for column, bounds in zip(draws.T, zip(low, high, strict=True), strict=True):
        assert_equally_likely(column, *map(int, bounds))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("bool", 0, 2),
        ("int8", -128, 127),
        ("uint8", 3, 203),
        ("int16", -3, 300),
        ("uint32", 0, 2**32 - 1),
    ],
)
def test_integers_of_every_width(dtype, low, high):
    draws = drawn(ptr.integers, low, high, dtype=dtype)
    assert draws.dtype == dtype
    assert_equally_likely(draws.astype(np.int64), low, high, n_cells=400)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("x64", [False, True])
def test_double_width_products(dtype, x64):
    if dtype == "uint64" and not x64:
        return
    kind = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    x = rng.integers(0, kind.max, 2000, dtype, endpoint=True)
    y = rng.integers(0, kind.max, 2000, dtype, endpoint=True)
    x[:4], y[:4] = kind.max, (kind.max, 0, 1, 1 << (kind.bits // 2))
    with jax.enable_x64(x64):
        upper, lower = jax.jit(double_width_product)(x, y)
    wanted = x.astype(object) * y.astype(object)
    np.testing.assert_array_equal(
        np.asarray(upper), (wanted >> kind.bits).astype(dtype)
    )
    np.testing.assert_array_equal(np.asarray(lower), (wanted & kind.max).astype(dtype))


def test_integers_of_an_empty_range():
    """NumPy raises an error: so do the checks; without them, the draw is the bound."""
    np.testing.assert_array_equal(
        drawn(ptr.integers, np.array([4, 4]), np.array([4, -9]), size=None), [4, 4]
    )
    assert "low < high" in error_of(rv(ptr.integers, 4, 4))
    assert drawn(pmd.discrete_uniform, 3, 1, size=None) == 3
    assert "lower <= upper" in error_of(rv(pmd.discrete_uniform, 3, 1))
    assert not error_of(rv(pmd.discrete_uniform, 3, 3))


# --- large and small counts ----------------------------------------------------------


def test_binomials_of_many_trials():
    n, p = np.array([2**53, 10**12, 10**12]), np.array([0.5, 1e-12, 1 - 2.5e-11])
    draws = drawn(ptr.binomial, n, p, size=(DRAWS, 3))
    z = (draws[:, 0] - 2**52) / 2 ** (53 / 2 - 1)
    assert p_value(z, stats.norm()) > REJECT
    assert chi_square(draws[:, 0] % 2, np.full(2, DRAWS / 2)) > REJECT
    assert p_value(draws[:, 1], stats.poisson(1.0)) > REJECT
    assert p_value(10**12 - draws[:, 2], stats.poisson(1e12 * (1 - p[2]))) > REJECT


@pytest.mark.slow
def test_counts_of_float32_parameters_are_computed_in_64_bits():
    rate, p = np.float32(1e9), np.float32(1e-12)
    assert rv(ptr.poisson, rate).type.dtype == "int64"
    draws = [
        drawn(ptr.poisson, rate),
        drawn(ptr.geometric, p),
        drawn(ptr.negative_binomial, np.float32(2.5), p),
    ]
    for x in draws:
        assert chi_square(x % 64, np.full(64, DRAWS / 64)) > REJECT
    assert p_value(draws[0], stats.poisson(float(rate))) > REJECT
    assert p_value(draws[1] * float(p), stats.expon()) > REJECT


@pytest.mark.parametrize("rate", [1e12, 1e15])
def test_poisson_of_a_large_rate(rate):
    draws = drawn(ptr.poisson, rate)
    assert p_value((draws - rate) / np.sqrt(rate), stats.norm()) > REJECT
    assert chi_square(draws % 16, np.full(16, DRAWS / 16)) > REJECT


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_counts_that_do_not_fit_are_the_largest_integer(x64):
    large = 1e30 if x64 else 1e12
    with jax.enable_x64(x64):
        variables = [
            rv(ptr.poisson, large, size=5),
            rv(ptr.poisson, 1e38, size=5),
            rv(ptr.geometric, 1 / large, size=5),
            rv(ptr.negative_binomial, 50.0, 1 / large, size=5),
            rv(ptr.binomial, np.float64(large), 0.5, size=5),
            rv(ptr.binomial, np.float64(large), 1.0, size=5),
        ]
        draws = all_drawn(variables)
    for x in draws:
        assert (x == LARGEST["int64" if x64 else "int32"]).all()


def test_counts_in_narrow_dtypes():
    assert (drawn(ptr.poisson, 1e4, size=9, dtype="int8") == 127).all()
    assert (drawn(ptr.poisson, 1e4, size=9, dtype="uint8") == 255).all()
    draws = drawn(ptr.poisson, 30.0, dtype="int8")
    assert draws.dtype == np.int8
    assert p_value(draws, stats.poisson(30.0)) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_rare_events_in_32_bits():
    """Uniform draws of 23 bits would give a probability of 1e-7 to what has 1e-12."""
    p = np.array([1 - 3e-9, 3e-9], "float32")
    size = (10, 300_000)
    with jax.enable_x64(False):
        assert drawn(ptr.categorical, p, size=size).sum() <= 2
        variables = [
            rv(ptr.bernoulli, p[1], size=size),
            rv(ptr.poisson, np.float32(1e-12), size=size),
            rv(ptr.binomial, 3, np.float32(1e-12), size=size),
            rv(ptr.hypergeometric, 1, 2**30, 1, size=size),
        ]
        assert all(x.sum() <= 2 for x in all_drawn(variables))


@pytest.mark.slow
def test_betabinomials_and_negative_binomials_of_tiny_shapes():
    draws = drawn(ptr.betabinom, 9, np.array([1e-3, 0.02]), 2e-3, size=(DRAWS, 2))
    for column, a in zip(draws.T, (1e-3, 0.02), strict=True):
        assert p_value(column, stats.betabinom(9, a, 2e-3)) > REJECT
    # P(0) = p**n is about 1/2; the gamma draw underflows, the odds overflow.
    n, p = 1e-3, 1e-300
    none = drawn(ptr.negative_binomial, n, p) == 0
    assert chi_square(none.astype(int), DRAWS * np.array([1 - p**n, p**n])) > REJECT
    # p = 1 - 1e-14 is all but certain, and n makes up for it.
    draws = drawn(ptr.negative_binomial, 1e14, 1 - 1e-14)
    assert p_value(draws, stats.poisson(1e14 * (1 - (1 - 1e-14)))) > REJECT


def test_log_probabilities_do_not_cancel():
    """Of counts that follow each other, the ratio is rate / (k + 1)."""
    for rate in (12.5, 1e6, 1e15):
        k = np.floor(rate + np.sqrt(rate) * np.linspace(-3, 4, 15))
        at_k, after = (
            -deviance(x - rate, rate) - log_factorial_ratio(x) for x in (k, k + 1)
        )
        wanted = -np.log1p((k + 1 - rate) / rate)
        np.testing.assert_allclose(after - at_k, wanted, rtol=1e-7, atol=1e-11)
    k = np.arange(0.0, 30)
    got = -deviance(k - 12.5, 12.5) - log_factorial_ratio(k)
    np.testing.assert_allclose(got, stats.poisson.logpmf(k, 12.5), atol=1e-11)


# --- edges and invalid parameters ----------------------------------------------------


def test_edges():
    n, p = np.array([0, 0, 7, 7, 0]), np.array([0.0, 0.6, 0.0, 1.0, 1.0])
    good, bad, taken = np.array([[0, 5, 5, 5, 0], [5, 0, 5, 5, 0], [3, 3, 0, 10, 0]])
    corners = np.eye(3)[[0, 2, 1]]
    variables = [
        rv(ptr.binomial, n, p),
        rv(ptr.binomial, 2**53, np.array([0.0, 1.0])),
        rv(ptr.hypergeometric, good, bad, taken),
        rv(ptr.hypergeometric, 10**15, 10**15, np.array([0, 2 * 10**15])),
        rv(ptr.betabinom, np.array([0, 0]), 0.5, 2.0),
        rv(ptr.poisson, 0.0, size=2),
        rv(ptr.geometric, 1.0, size=2),
        rv(ptr.negative_binomial, 3.0, 1.0, size=2),
        rv(ptr.bernoulli, np.array([0.0, 1.0, 0.0])),
        rv(ptr.categorical, corners),
        rv(ptr.multinomial, np.array([5, 10**15, 0]), corners),
    ]
    wanted = [
        [0, 0, 0, 7, 0],
        [0, 2**53],
        [0, 3, 0, 5, 0],
        [0, 10**15],
        [0, 0],
        [0, 0],
        [1, 1],
        [0, 0],
        [0, 1, 0],
        [0, 2, 1],
        [[5, 0, 0], [0, 0, 10**15], [0, 0, 0]],
    ]
    for got, want in zip(all_drawn(variables), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


INVALID = {
    "bernoulli": (ptr.bernoulli, (1.5,)),
    "binomial": (ptr.binomial, (-1, 0.5)),
    "beta_binomial": (ptr.betabinom, (3, 0.0, 1.0)),
    "geometric": (ptr.geometric, (0.0,)),
    "negative_binomial": (ptr.negative_binomial, (2.0, 0.0)),
    "poisson": (ptr.poisson, (np.inf,)),
    "hypergeometric": (ptr.hypergeometric, (3, 4, 8)),
    "multinomial": (ptr.multinomial, (3, [0.0, 0.0])),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_parameters(name):
    """-1, and an error where checks are made, as PyTensor raises one."""
    op, params = INVALID[name]
    variable = rv(op, *params)
    assert (np.asarray(quick(jaxlink.function([], variable))(KEY)) == -1).all()
    assert f"`{name}`" in error_of(variable)


def test_nan_parameters_end():
    variables = [
        rv(ptr.poisson, np.nan),
        rv(ptr.binomial, 5, np.nan),
        rv(ptr.betabinom, 5, np.nan, 1.0),
        rv(ptr.geometric, np.nan),
        rv(ptr.negative_binomial, 1.0, np.nan),
        rv(ptr.multinomial, 5, [0.5, np.nan]),
    ]
    for x in all_drawn(variables):
        assert (x == -1).all()


def test_derivatives_are_zero():
    """In reverse mode too, through loops that JAX does not differentiate."""
    p, x = pt.scalar("p"), pt.vector("x")
    variables = [
        rv(ptr.bernoulli, p),
        rv(ptr.binomial, 900, p),
        rv(ptr.betabinom, 90, 3 * p, 4 * p),
        rv(ptr.geometric, p),
        rv(ptr.negative_binomial, 20 * p, p),
        rv(ptr.poisson, 100 * p),
        rv(ptr.hypergeometric, 1000 * p, 900, 600),
        rv(ptr.integers, -90 * p, 900),
        rv(ptr.categorical, x * p),
        rv(ptr.multinomial, 40, x * p)[0],
    ]
    weights = 1.0 + np.arange(len(variables))
    total = sum(w * v for w, v in zip(weights, variables, strict=True))
    fn = jaxlink.function([p, x], total + 7 * p)
    weight = np.array([1.0, 2.0, 1.0])
    of_p, of_x = jax.grad(fn, (1, 2))(KEY, 0.25, weight)
    assert of_p == 7
    np.testing.assert_array_equal(of_x, 0)


# --- categories ----------------------------------------------------------------------


def test_multinomial_outcomes():
    """All outcomes of three draws of three categories; weights need not sum to 1."""
    p = np.array([0.2, 0.5, 0.3])
    outcomes = [c for c in itertools.product(range(4), repeat=3) if sum(c) == 3]
    draws = drawn(ptr.multinomial, 3, np.stack([p, 7 * p]), size=(DRAWS, 2))
    expected = stats.multinomial(3, p).pmf(outcomes) * DRAWS
    for j in range(2):
        cells = (draws[:, j, None] == outcomes).all(-1).argmax(-1)
        assert chi_square(cells, expected) > REJECT
    wrong = stats.multinomial(3, [0.21, 0.49, 0.3]).pmf(outcomes) * DRAWS
    assert chi_square(cells, wrong) < REJECT


def test_multinomial_with_rounding_errors():
    """Probabilities that sum to a little more or less than 1: what is impossible does
    not happen, and all are counted."""
    p = np.concatenate([[0.0], np.full(10, 0.1) + 1e-17, [0.0, 0.0]])
    n = np.array([10**17, 3, 0])
    draws = drawn(ptr.multinomial, n, p, size=(200, 3))
    np.testing.assert_array_equal(draws.sum(-1), np.broadcast_to(n, (200, 3)))
    assert not draws[..., [0, -2, -1]].any()
    assert draws.min() >= 0
    z = (draws[:, 0, 1:11] - 1e16) / np.sqrt(1e17 * 0.09)
    assert p_value(z.ravel(), stats.norm()) > REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_multinomial_in_32_bits_counts_all():
    n = np.array([2**31 - 1, 2**24 + 1, 7], "int32")
    p = np.array([0.0, 0.3, 0.2, 0.5, 0.0], "float32")
    with jax.enable_x64(False):
        draws = drawn(ptr.multinomial, n, p, size=(300, 3))
    np.testing.assert_array_equal(draws.sum(-1, dtype=np.int64), [n] * 300)
    assert draws.min() >= 0
    assert not draws[..., [0, -1]].any()


def test_categorical_of_weights():
    p = np.array([0.0, 2.0, 6.0, 0.0])
    draws = drawn(ptr.categorical, p)
    assert chi_square(draws, np.array([0, 0.25, 0.75, 0]) * DRAWS) > REJECT


@pytest.mark.parametrize("shape", [(5,), (200,), (4, 5), (4, 200)])
def test_a_category_is_where_the_running_sum_exceeds_the_level(shape):
    rng = np.random.default_rng(1)
    p = 10.0 ** rng.uniform(-300, 3, shape) * (rng.random(shape) < 0.5)
    p[..., 1], p[..., 0], p[..., -1] = 3.0, 0.0, 0.0
    below_one = np.nextafter(1.0, 0.0)
    u = np.array([0.0, 5e-324, 0.3, 0.999, below_one])[:, None] * np.ones(4)
    found = np.asarray(discrete._inverted(jnp.asarray(u), jnp.asarray(p)))
    rows = np.broadcast_to(p, (4, shape[-1]))
    for column, (row, levels) in enumerate(zip(rows, u.T, strict=True)):
        drawn = found[:, column]
        assert (row[drawn] > 0).all()  # what has no probability is never drawn
        sums = np.cumsum(row)
        wanted = np.searchsorted(sums, levels[2:4] * sums[-1], side="right")
        np.testing.assert_array_equal(drawn[2:4], wanted)
        assert drawn[-1] == np.flatnonzero(np.diff(sums, prepend=0)).max()


# --- shuffles and choices ------------------------------------------------------------


def choose(a, size, p=None):
    return rv(ptr.choice, a, size=size, replace=False, p=p)


def assert_orders(draws, outcomes, probabilities):
    cells = (draws[:, None] == outcomes).all(-1).argmax(-1)
    assert (draws == outcomes[cells]).all()
    assert chi_square(cells, probabilities * len(draws)) > REJECT


@pytest.mark.parametrize("p", [None, (0.5, 0.0, 0.2, 0.3)])
def test_choice_without_replacement(p):
    """Every ordered outcome: each item is drawn among those left."""
    keys = jax.random.split(KEY, 20_000)
    weights = None if p is None else np.array(p)
    draws = np.asarray(jax.vmap(jaxlink.function([], choose(4, (2,), weights)))(keys))
    given = np.full(4, 0.25) if p is None else weights
    assert_orders(draws, *orders_of_choice(given, 2))


def test_choices_of_any_shape():
    rows = np.arange(10.0).reshape(5, 2)
    p = np.array([0.5, 0.0, 0.2, 0.3])
    variables = [
        choose(rows, (2, 2)),
        choose(5, (5,)),
        choose(5, (0,)),
        choose(5, ()),
        choose(4, (3,), p),
        choose(4, (0,), p),
        choose(4, (), p),
        choose(np.zeros((3, 0)), (2,)),
    ]
    of_rows, whole, none, one, most, none_p, one_p, empty = all_drawn(variables)
    assert of_rows.shape == (2, 2, 2)
    assert len(set(of_rows[..., 0].ravel())) == 4
    np.testing.assert_array_equal(of_rows[..., 1], of_rows[..., 0] + 1)
    assert sorted(whole) == list(range(5))
    assert none.shape == none_p.shape == (0,)
    assert one.shape == one_p.shape == ()
    assert one in range(5)
    assert one_p in (0, 2, 3)
    assert sorted(most) == [0, 2, 3]
    assert empty.shape == (2, 0)


def test_choice_of_more_than_are_possible():
    """NumPy raises an error: so do the checks; without them, items of probability zero
    follow in their order."""
    p = np.array([0.0, 0.4, 0.0, 0.6])
    fn = jax.vmap(jaxlink.function([], choose(4, (4,), p)))
    draws = np.asarray(fn(jax.random.split(KEY, 200)))
    assert {tuple(sorted(x)) for x in draws[:, :2]} == {(1, 3)}
    np.testing.assert_array_equal(draws[:, 2:], [[0, 2]] * 200)
    message = "at least one above zero"
    assert message in error_of(choose(4, (3,), p))
    assert not error_of(choose(4, (2,), p))
    with pytest.raises(ValueError, match="Cannot take a larger sample"):
        quick(jaxlink.function([], choose(4, (5,))))(KEY)


def test_choice_with_replacement():
    p, a = np.array([0.5, 0.0, 0.2, 0.3]), np.array([3, 1, 0, 2])
    draws = drawn(ptr.choice, a, p=p)
    assert chi_square(draws, p[[2, 1, 3, 0]] * DRAWS) > REJECT


def test_permutations():
    x = np.array([[1.5, 2.5, 3.5], [7.0, 8.0, 9.0]])
    op = ptr.PermutationRV(signature="(x)->(x)", dtype="float64")
    draws = drawn(op, x, size=(12_000, 2))
    for i in range(2):
        orders, probabilities = orders_of_choice(np.full(3, 1 / 3), 3)
        assert_orders(draws[:, i], x[i][orders], probabilities)
    variables = [
        rv(ptr.permutation, np.arange(12).reshape(6, 2)),
        rv(ptr.permutation, 9),
        rv(ptr.permutation, 0),
        rv(ptr.permutation, np.zeros((0, 3))),
    ]
    rows, of_range, none, empty = all_drawn(variables)
    assert sorted(map(tuple, rows)) == [(i, i + 1) for i in range(0, 12, 2)]
    assert sorted(of_range) == list(range(9))
    assert none.shape == (0,)
    assert empty.shape == (0, 3)


def test_a_choice_of_numbers_has_their_derivatives():
    a = pt.vector("a")
    fn = jaxlink.function([a], choose(a, (3,)))
    values = jnp.arange(5.0) * 10
    index = (fn(KEY, values) / 10).astype(int)
    np.testing.assert_array_equal(
        jax.jacrev(fn, 1)(KEY, values), jax.nn.one_hot(index, 5, dtype=np.float64)
    )

"""The rule of random variables: keys, sizes, batches and dtypes, and the table's rows.

That the draws have the right distribution is the matter of `test_distributions`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pymc.distributions.continuous as pmc
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions import CASES
from distributions.harness import REJECT, compiled, of
from pytensor.tensor.random.op import RandomVariable

import jaxlink
from jaxlink.dispatch.random.registry import sampler

KEY = jax.random.key(20)


def drawn(rv, *params, size, key=KEY, **kwargs):
    """Draws of ``rv`` with constant parameters."""
    rng = pt.random.shared_rng(seed=0)
    _, x = rv(*params, size=size, rng=rng, return_next_rng=True, **kwargs)
    return np.asarray(jaxlink.function([], x)(key))


# --- the rule -------------------------------------------------------------------------


def fold(root, count):
    return jax.random.fold_in(jax.random.fold_in(KEY, root), count)


def test_the_law_of_keys():
    """Draw t along root i uses fold_in(fold_in(key, i), t), to the bit."""
    loc, scale = pt.vector("loc"), pt.scalar("scale")
    first, second = (pt.random.shared_rng(seed=i) for i in range(2))
    next_first, a = first.normal(loc, scale, size=(4, 3))
    _, b = next_first.exponential(scale, size=(5,))
    _, c = second.normal(loc, scale, size=(4, 3))
    fn = jaxlink.function([loc, scale], [a, b, c])

    def expected(loc, scale):
        f = jnp.float64
        return (
            loc + scale * jax.random.normal(fold(0, 0), (4, 3), f),
            scale * jax.random.exponential(fold(0, 1), (5,), f),
            loc + scale * jax.random.normal(fold(1, 0), (4, 3), f),
        )

    args = (jnp.array([1.0, -2.0, 0.5]), jnp.array(0.7))
    for got, want in zip(fn(KEY, *args), expected(*args), strict=True):
        np.testing.assert_array_equal(got, want)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(fn, (0, None, None))(keys, *args)
    for i, key in enumerate(keys):
        for batch, one in zip(mapped, fn(key, *args), strict=True):
            np.testing.assert_allclose(batch[i], one, rtol=1e-15)


@pytest.mark.parametrize(
    ("rv", "params", "dtype"),
    [
        (ptr.normal, (0.0, 1.0), "float32"),
        (ptr.gamma, (2.0, None, 1.5), None),
        (ptr.bernoulli, (0.3,), "int8"),
        (ptr.poisson, (300.0,), "int32"),
        (ptr.integers, (0, 200), "uint8"),
        (ptr.categorical, ([0.2, 0.8],), "int16"),
        (ptr.BernoulliRV(dtype="bool"), (0.3,), "bool"),
    ],
)
def test_dtypes(rv, params, dtype):
    kwargs = {} if dtype is None else {"dtype": dtype}
    draws = drawn(rv, *params, size=(50,), **kwargs)
    assert draws.dtype == (dtype or "float64")
    assert draws.max() > draws.min()
    if dtype == "int32":
        assert draws.max() > 127


def test_batch_shapes_without_a_size():
    column, a, b = pt.col("column"), pt.matrix("a"), pt.vector("b")
    _, x = pt.random.shared_rng(seed=0).normal(column, b)
    fn = jaxlink.function([column, b], x)
    assert fn(KEY, np.zeros((4, 1)), np.ones(3)).shape == (4, 3)
    _, x = pt.random.shared_rng(seed=0).normal(a, b)
    fn = jaxlink.function([a, b], x)
    with pytest.raises(
        ValueError, match=r"`normal` have batch shapes \(4, 2\), \(1, 3\)"
    ):
        fn(KEY, np.zeros((4, 2)), np.ones(3))


def test_a_size_that_does_not_fit():
    loc = pt.vector("loc")
    _, x = pt.random.shared_rng(seed=0).normal(loc, size=(5, 2))
    fn = jaxlink.function([loc], x)
    assert fn(KEY, np.zeros(2)).shape == (5, 2)
    with pytest.raises(ValueError, match="does not declare that length as 1"):
        fn(KEY, np.zeros(1))
    with pytest.raises(ValueError, match=r"size=\(5, 2\).*`normal` does not fit"):
        fn(KEY, np.zeros(3))


def test_empty_sizes():
    p = np.array([0.2, 0.8])
    rows = [
        (ptr.normal, (0.0, 1.0), ()),
        (ptr._gamma, (2.0, 1.0), ()),
        (ptr.poisson, (30.0,), ()),
        (ptr.binomial, (90, 0.4), ()),
        (ptr.hypergeometric, (5, 6, 7), ()),
        (ptr.vonmises, (0.0, 3.0), ()),
        (ptr.integers, (0, 5), ()),
        (ptr.categorical, (p,), ()),
        (ptr.multinomial, (7, p), (2,)),
        (ptr.dirichlet, (p,), (2,)),
        (ptr.multivariate_normal, (p, np.eye(2)), (2,)),
        (ptr.permutation, (p,), (2,)),
    ]
    outs = [
        rv(*params, size=(3, 0), rng=pt.random.shared_rng(seed=0), return_next_rng=True)
        for rv, params, _ in rows
    ]
    draws = jaxlink.function([], [x for _, x in outs])(KEY)
    for draw, (_, _, core) in zip(draws, rows, strict=True):
        assert draw.shape == (3, 0, *core)


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_key_implementations(impl):
    key = jax.random.key(3, impl=impl)
    for name in ("normal", "gamma", "integers"):
        case = CASES[name]
        draws = compiled(case, (4000, len(case.points[0])))(key, *case.values)
        assert min(case.p_values(np.asarray(draws), case.values)) > REJECT


# --- the table ------------------------------------------------------------------------


class SquaredNormalRV(RandomVariable):
    name = "squared_normal"
    signature = "()->()"
    dtype = "floatX"


def test_a_row_of_ones_own():
    op = SquaredNormalRV()
    _, x = op(2.0, size=3, rng=pt.random.shared_rng(seed=0), return_next_rng=True)
    x.name = "energy"
    with pytest.raises(
        jaxlink.UnsupportedOpError, match=r"`squared_normal` \(`energy`\).*sampler\("
    ):
        jaxlink.function([], x)

    @sampler(SquaredNormalRV)
    def squared_normal(key, shape, dtype, scale):
        return (scale * jax.random.normal(key, shape, dtype)) ** 2

    class Derived(SquaredNormalRV):
        pass

    want = (2 * jax.random.normal(fold(0, 0), (3,))) ** 2
    for rv in (op, Derived()):
        np.testing.assert_allclose(drawn(rv, 2.0, size=3), want, rtol=1e-15)
    with pytest.raises(
        jaxlink.RuleError, match="SquaredNormalRV already has a sampler"
    ):
        sampler(SquaredNormalRV)(squared_normal)


def test_rows_are_named_once_by_class_or_by_name():
    with pytest.raises(jaxlink.RuleError, match="RiceRV already has a sampler"):
        sampler(pmc.RiceRV)(lambda: None)
    with pytest.raises(jaxlink.RuleError, match="RiceRV already has a sampler"):
        sampler("pymc.distributions.continuous.RiceRV")(lambda: None)
    with pytest.raises(jaxlink.RuleError, match="takes RandomVariable classes"):
        sampler(ptr.normal)
    with pytest.raises(jaxlink.RuleError, match="write @sampler"):
        sampler()


def test_improper_priors_say_so():
    flat, half = pmc.Flat.dist(name="flat"), pmc.HalfFlat.dist()
    with pytest.raises(jaxlink.UnsupportedOpError, match="improper") as caught:
        jaxlink.function([], [flat, half])
    assert len(caught.value.obstacles) == 2


def test_parameters_broadcast_where_their_types_say_so():
    """As elementwise Ops do, and PyTensor's default mode."""
    x, y, m = pt.vector("x"), pt.vector("y"), pt.matrix("m")
    one, three = np.ones(1), np.ones(3)
    for size in (None, (3,), (2, 3)):
        fn = jaxlink.function([x, y], of(ptr.normal)(x, y, size=size))
        assert fn(KEY, three, three).shape == (size or (3,))
        with pytest.raises(ValueError, match="would broadcast dim"):
            fn(KEY, one, three)
    row = jaxlink.function([m, y], of(ptr.normal)(m, y))
    assert row(KEY, np.ones((1, 3)), three).shape == (1, 3)
    with pytest.raises(ValueError, match="would broadcast dim"):
        row(KEY, np.ones((2, 1)), three)
    meant = pt.specify_broadcastable(x, 0)
    fn = jaxlink.function([x, y], of(ptr.normal)(meant, y))
    assert fn(KEY, one, three).shape == (3,)

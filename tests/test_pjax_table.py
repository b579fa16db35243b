"""The samplers of the table draw what compiled functions draw."""

import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
import scipy.stats as st

import jaxlink
from jaxlink import pjax
from jaxlink.errors import ArgumentError
from jaxlink.pjax.table import TABLE, TableSampler
from jaxlink.values.streams import as_stream

KEY = jax.random.key(11)
COV = np.array([[2.0, 0.3], [0.3, 0.5]])
ADJACENT = np.array([[0.0, 1.0], [1.0, 0.0]])

# For each distribution, its parameters: asymmetric, and one of them a vector.
ARGS = {
    "normal": ([0.5, -2.0], 3.0),
    "halfnormal": ([0.5, -2.0], 3.0),
    "lognormal": ([0.5, -2.0], 0.7),
    "cauchy": ([0.5, -2.0], 3.0),
    "halfcauchy": ([0.5, -2.0], 3.0),
    "gumbel": ([0.5, -2.0], 3.0),
    "laplace": ([0.5, -2.0], 3.0),
    "logistic": ([0.5, -2.0], 3.0),
    "uniform": ([0.5, -2.0], 3.0),
    "exponential": ([0.5, 2.0],),
    "truncexpon": ([0.5, 2.0], 1.0, 3.0),
    "pareto": ([0.5, 2.0], 3.0),
    "weibull": ([0.5, 2.0],),
    "triangular": ([-1.0, 0.0], 0.3, 2.0),
    "wald": ([0.5, 2.0], 3.0),
    "vonmises": ([0.5, -2.0], 3.0),
    "gamma": ([0.5, 2.0], 3.0),
    "invgamma": ([0.5, 2.0], 3.0),
    "gengamma": ([0.5, 2.0], 1.5, 0.7),
    "beta": ([0.5, 2.0], 3.0),
    "t": ([2.5, 20.0], 1.0, 3.0),
    "truncated_normal": ([0.5, -2.0], 3.0, -1.0, 4.0),
    "skewnormal": ([0.5, -2.0], 3.0, -2.0),
    "skewstudentt": ([2.5, 3.0], 4.0, 1.0, 2.0),
    "moyal": ([0.5, -2.0], 3.0),
    "rice": ([0.5, 2.0], 3.0),
    "interpolated": ([0.0, 1.0, 3.0], [0.2, 0.6, 0.1], [0.0, 0.4, 1.0]),
    "polyagamma": ([1.0, 2.5], 0.7),
    "bernoulli": ([0.1, 0.8],),
    "categorical": ([0.1, 0.7, 0.2],),
    "geometric": ([0.1, 0.8],),
    "binomial": ([5, 20], 0.3),
    "beta_binomial": ([5, 20], 0.5, 2.0),
    "poisson": ([0.5, 30.0],),
    "negative_binomial": ([2, 20], 0.3),
    "hypergeometric": ([5, 20], 7, 4),
    # A compiled function knows that its constants fit 32 bits.
    "integers": (np.array([-2, 3], "int32"), np.int32(9)),
    "discrete_uniform": (np.array([-2, 3], "int32"), np.int32(9)),
    "multivariate_normal": ([0.5, -2.0], COV),
    "dirichlet": ([0.5, 2.0, 1.0],),
    "multinomial": (10, [0.1, 0.7, 0.2]),
    "matrixnormal": (np.zeros((2, 2)), np.linalg.cholesky(COV), np.eye(2)),
    "car": ([0.5, -2.0], ADJACENT, 0.4, 2.0),
    "stick_breaking_weights": ([0.5, 2.0], 3),
}


def test_all_are_here():
    assert ARGS.keys() == TABLE.keys()
    assert set(TABLE) <= set(dir(pjax))
    with pytest.raises(AttributeError, match="nornal"):
        _ = pjax.nornal


@pytest.mark.parametrize("name", TABLE)
def test_draws_are_those_of_a_function(name):
    """Position 0 is root 0: PyTensor's variable, compiled, has the same key."""
    op = TABLE[name].op()
    arguments = list(ARGS[name])
    arguments += list(TABLE[name].parameters.values())[len(arguments) :]
    constants = [pt.as_tensor(np.asarray(x)) for x in arguments]
    rng = pt.random.shared_rng(seed=1)
    compiled = jaxlink.function([], op.make_node(rng, None, *constants).outputs[1])
    sampler = getattr(pjax, name)
    got = jax.jit(jaxlink.seed(lambda: sampler(*ARGS[name])))(KEY)
    wanted = jax.jit(lambda key: compiled(key))(KEY)
    assert got.dtype == wanted.dtype or name == "bernoulli"
    np.testing.assert_allclose(got, wanted, rtol=1e-13)
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    np.testing.assert_allclose(sampler.keyed(key, *ARGS[name]), wanted, rtol=1e-13)


def test_shapes_and_dtypes():
    draw = jaxlink.seed(
        lambda: (
            pjax.normal([1.0, 2.0], 1.0, shape=(3, 2)),
            pjax.dirichlet(jnp.ones(3), shape=4),
            pjax.normal(dtype="float32"),
            pjax.poisson(3.0, dtype=jnp.int32),
        )
    )
    first, second, third, fourth = draw(KEY)
    assert (first.shape, second.shape) == ((3, 2), (4, 3))
    assert (third.dtype, fourth.dtype) == (np.float32, np.int32)
    with pytest.raises(ArgumentError, match=r"\(3,\) of a draw of `normal`.*\(2,\)"):
        pjax.normal([1.0, 2.0], 1.0, shape=(3,))
    with pytest.raises(TypeError, match="rate"):
        pjax.gamma(2.0, rate=1.0)


def test_signatures():
    assert str(inspect.signature(pjax.truncated_normal)) == (
        "(mu, sigma, lower, upper, *, shape=None, dtype=None, name=None)"
    )
    assert repr(pjax.gamma) == "<sampler gamma>"
    assert "``alphas`` of rank 1" in pjax.dirichlet.__doc__


def test_gradients_are_those_of_the_samplers():
    def fn(alpha):
        return pjax.gamma(alpha, 2.0) ** 2

    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    wanted = jax.grad(lambda a: pjax.gamma.keyed(key, a, 2.0) ** 2)(1.5)
    for grad in (
        jax.grad(jaxlink.seed(fn), argnums=1)(KEY, 1.5),
        jaxlink.seed(jax.grad(fn))(KEY, 1.5),
    ):
        np.testing.assert_allclose(grad, wanted, rtol=1e-13)
    with pytest.raises(ArgumentError, match="polyagamma"):
        jax.grad(jaxlink.seed(lambda z: pjax.polyagamma(1.0, z)), argnums=1)(KEY, 0.5)


DENSITIES = {
    "normal": st.norm(0.5, 3.0),
    "gamma": st.gamma(2.0, scale=3.0),
    "beta": st.beta(0.5, 3.0),
    "t": st.t(2.5, 1.0, 3.0),
    "laplace": st.laplace(0.5, 3.0),
    "truncated_normal": st.truncnorm(-0.5, 7 / 6, 0.5, 3.0),
    "poisson": st.poisson(3.0),
    "binomial": st.binom(5, 0.3),
    "dirichlet": st.dirichlet([0.5, 2.0, 1.0]),
}
POINTS = {"dirichlet": [0.2, 0.5, 0.3], "poisson": 2, "binomial": 2}
AT = {
    "gamma": (2.0, 3.0),
    "truncated_normal": (0.5, 3.0, -1.0, 4.0),
    "dirichlet": ([0.5, 2.0, 1.0],),
    "poisson": (3.0,),
    "binomial": (5, 0.3),
    "beta": (0.5, 3.0),
    "t": (2.5, 1.0, 3.0),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_log_densities(name):
    frozen = DENSITIES[name]
    point = POINTS.get(name, 0.4)
    wanted = getattr(frozen, "logpmf" if name in ("poisson", "binomial") else "logpdf")(
        np.asarray(point)
    )
    args = AT.get(name, (0.5, 3.0))
    got = getattr(pjax, name).logpdf(point, *args)
    # PyMC's normal probabilities between two bounds have fewer digits.
    rtol = 1e-7 if name == "truncated_normal" else 1e-12
    np.testing.assert_allclose(got, wanted, rtol=rtol)


def test_log_densities_in_32_bits():
    with jax.enable_x64(False):
        got = pjax.normal.logpdf(jnp.float32(0.4), 0.5, 3.0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, st.norm(0.5, 3).logpdf(0.4), rtol=1e-6)


def test_without_pymc(monkeypatch):
    """The other samplers of the table need no PyMC to draw."""
    monkeypatch.setitem(sys.modules, "pymc", None)
    needs = r"jaxlink\.pjax\.moyal needs the package pymc.*pip install pymc"
    with pytest.raises(ImportError, match=needs):
        TableSampler("moyal", TABLE["moyal"])
    normal = TableSampler("normal", TABLE["normal"])
    assert normal.keyed(KEY, 0.0, 1.0).shape == ()
    needs = "density of a draw needs the package pymc"
    with pytest.raises(ImportError, match=needs):
        normal.logpdf(0.4, 0.5, 3.0)


def test_keys_of_the_wrong_kind():
    assert as_stream(KEY).key is KEY
    with pytest.raises(jaxlink.KeyArgumentError, match=r"jax\.random\.key"):
        jaxlink.seed(lambda: pjax.normal(0.0, 1.0))(3)

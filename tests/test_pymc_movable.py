"""No sampler moves what a gradient cannot move: PyMC's assignment of step methods, and
JAX's derivative, decide. `Tree` and `GrowTrees` stand for `pymc_bart.BART` and its
step method."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.step_methods import STEP_METHODS, Metropolis
from pymc.step_methods.compound import Competence
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

import jaxlink
from jaxlink.pymc.map.find_map import find_MAP
from jaxlink.pymc.mcmc.sample import sample
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.differentiability import check_gradient
from jaxlink.pymc.vi.fit import fit

QUIET = {"progressbar": False}
MODE = r'pm\.sample\(compile_kwargs={"mode": jaxlink\.MODE}\)'


class TreeRV(RandomVariable):
    name = "tree"
    signature = "()->()"
    dtype = "floatX"


class Tree(pm.Continuous):
    rv_op = TreeRV()

    @classmethod
    def dist(cls, mean, **kwargs):
        return super().dist([mean], **kwargs)

    def support_point(rv, size, mean):  # noqa: N805
        return pt.full(size, mean)

    def logp(value, mean):  # noqa: N805
        return pt.zeros_like(value)


class GrowTrees(Metropolis):
    @staticmethod
    def competence(var, has_grad):
        is_tree = isinstance(var.owner.op if var.owner else None, TreeRV)
        return Competence.IDEAL if is_tree else Competence.INCOMPATIBLE


@pytest.fixture
def trees(monkeypatch):
    monkeypatch.setattr(pm.sampling.mcmc, "STEP_METHODS", [*STEP_METHODS, GrowTrees])
    with pm.Model() as model:
        tree = Tree("tree", 0.5, shape=3)
        s = pm.HalfNormal("s")
        pm.Normal("y", tree, s, observed=[0.2, 1.0, 1.5])
    return model


def test_variables_with_another_step_method(trees):
    cannot = rf"cannot (move|approximate) `tree` \(PyMC uses GrowTrees\).*{MODE}"
    for run in (sample, fit):
        with pytest.raises(ValueError, match=cannot):
            run(model=trees, **QUIET)
    with trees:
        pm.Poisson("k", 3.0)
    both = r"the discrete variables `k` and `tree` \(PyMC uses GrowTrees\)"
    for run in (sample, fit):
        with pytest.raises(ValueError, match=rf"{both}\. Marginalize them.*{MODE}"):
            run(model=trees, **QUIET)


def test_a_mode_leaves_them_where_they_start(trees):
    with pytest.warns(UserWarning, match=r"`tree` \(PyMC uses GrowTrees\) stay at"):
        point = find_MAP(model=trees, **QUIET)
    np.testing.assert_array_equal(point["tree"], [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match=r"cannot optimize `tree` \(PyMC uses"):
        find_MAP(model=trees, vars=["s", "tree"], **QUIET)


def test_without_the_step_method_it_is_any_other_variable(trees, monkeypatch):
    monkeypatch.setattr(pm.sampling.mcmc, "STEP_METHODS", STEP_METHODS)
    assert fit(2, model=trees, **QUIET).mean.shape == (4,)


class HostSquareOp(Op):
    """An Op whose rule runs NumPy on the host, so nothing can differentiate it."""

    __props__ = ()

    def make_node(self, x):
        x = pt.as_tensor(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.square(inputs[0])


class SquareOp(HostSquareOp):
    """Has no pullback in PyTensor either, but JAX differentiates its rule."""


@jaxlink.rule(HostSquareOp)
def host_square(op, node):
    if isinstance(op, SquareOp):
        return jnp.square

    def call(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(np.square, shape, x, vmap_method="sequential")

    return call


def resolve_model(square):
    with pm.Model() as model:
        a = pm.Normal("a")
        b = pm.HalfNormal("b")
        pm.Normal("y", square(b), observed=0.0)
        pm.Normal("z", a, observed=0.0)
    return model


def test_log_density_without_a_gradient():
    model = resolve_model(HostSquareOp())
    message = rf"no gradient in `b_log__`\. JAX says: Pure callbacks.*use .*{MODE}"
    for run in (sample, fit):
        with pytest.raises(ValueError, match=message):
            run(model=model, **QUIET)
    with pytest.raises(ValueError, match=r'no gradient in `b_log__`.*use .*"Powell"'):
        find_MAP(model=model, **QUIET)
    assert set(find_MAP("Powell", model=model, **QUIET)) >= {"a", "b"}


def test_derivatives_are_those_of_jax():
    """PyTensor has none here, so `pymc.sample` would take slices."""
    approximation = fit(2, model=resolve_model(SquareOp()), **QUIET)
    assert approximation.mean.shape == (2,)


def test_errors_of_shapes_are_not_taken_for_missing_gradients():
    with pm.Model(coords={"day": range(3)}) as model:
        x = pm.Data("x", np.zeros(3), dims="day")
        pm.Normal("y", pm.Normal("mu", dims="day") + x, observed=np.zeros(3))
    density = logdensity(model).with_data(x=np.zeros(2), coords={"day": range(2)})
    with pytest.raises(jaxlink.ArgumentError, match=r"`mu` is of shape \(3,\)"):
        check_gradient(density, {"mu": jax.ShapeDtypeStruct((3,), float)})

"""Functions of a model as JAX functions: data that are traced or sharded, checks, what
a function shows of itself, and what it says about wrong arguments."""

import pickle
import pydoc
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from jax.experimental import checkify
from scipy import stats

import jaxlink
from jaxlink import pymc as jp

KEY = jax.random.key(7)
AT = {"b": jnp.array(0.7), "s_log__": jnp.array(-0.2), "c": jnp.array([0.1, 0.2, 0.3])}


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"i": [0, 1, 2]}) as model:
        x = pm.Data("x[0]", [1.0, 2.0, 3.0], dims="i")
        k = pm.Data("k", [1, 2, 3], dims="i")
        b, s = pm.Normal("b"), pm.HalfNormal("s")
        c = pm.Normal("c", dims="i")
        pm.Normal("y", b * x * k + c, s, observed=[0.1, 0.2, 0.3], dims="i")
    return model


@pytest.fixture(scope="module")
def density(model):
    return jp.logdensity(model)


def wanted(x, k=(1, 2, 3)):
    b, s, c = 0.7, np.exp(-0.2), np.array([0.1, 0.2, 0.3])
    prior = stats.norm.logpdf(b) + stats.norm.logpdf(c).sum()
    y = stats.norm(b * np.asarray(x) * np.asarray(k) + c, s)
    scale = stats.halfnorm.logpdf(s) + np.log(s)
    return prior + scale + y.logpdf([0.1, 0.2, 0.3]).sum()


# --- data ----------------------------------------------------------------------------


def test_many_data_sets(density):
    xs = np.array([[0.5, 1.5, -1.0], [1.0, 0.0, 2.0]])
    got = jax.vmap(lambda x: density.with_data({"x[0]": x})(AT))(xs)
    np.testing.assert_allclose(got, [wanted(x) for x in xs], rtol=1e-7)
    ks = jnp.array([[1, 2, 3], [3, 2, 1]])  # wider than the data of the model
    got = jax.jit(jax.vmap(lambda k: density.with_data(k=k)(AT)))(ks)
    np.testing.assert_allclose(got, [wanted([1, 2, 3], k) for k in ks], rtol=1e-7)


def test_slopes_of_data(density):
    def at(x):
        return density.with_data({"x[0]": x})(AT)

    x, h = np.array([0.5, 1.5, -1.0]), 1e-6
    gradient = jax.grad(at)(x)
    differences = [(at(x + h * e) - at(x - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6)


def test_data_stay_where_they_are(density):
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.NamedSharding(mesh, jax.P("i"))
    x = jax.device_put(np.arange(4.0), spread)
    longer = density.with_data({"x[0]": x}, k=[1, 1, 1, 1], coords={"i": range(4)})
    assert longer.data["x[0]"].sharding == spread
    assert longer.data["x[0]"] is not x  # a donated function keeps its user's data


@pytest.mark.parametrize(
    "value",
    [
        [2, 3, 4],
        (2, 3, 4),
        np.array([2, 3, 4]),
        np.array([2, 3, 4], np.uint8),
        jnp.array([2, 3, 4]),
        [jnp.array(2), 3, 4],
        pd.Series([2, 3, 4], index=list("abc")),
        xr.DataArray([2, 3, 4], dims="i"),
        [True, False, True],
    ],
)
def test_data_convert_as_set_data_does(model, density, value):
    for name in ("x[0]", "k"):
        new = density.with_data({name: value}).data[name]
        assert new.dtype == model[name].dtype
        np.testing.assert_array_equal(new, np.asarray(value))


def test_a_labelled_array_goes_along_its_dimensions():
    with pm.Model(coords={"i": [0, 1], "j": [0, 1, 2]}) as model:
        x = pm.Data("x", np.zeros((2, 3)), dims=("i", "j"))
        pm.Deterministic("twice", 2 * x)
    new = xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("j", "i"))
    f = jp.constrain(model).with_data(x=new)
    np.testing.assert_array_equal(f({})["twice"], 2 * new.values.T)
    frame = pd.DataFrame(np.ones((2, 3)))
    np.testing.assert_array_equal(f.with_data(x=frame)({})["twice"], 2)


def test_data_that_do_not_convert(density):
    with pytest.raises(jaxlink.ArgumentError, match=r"`k` .*converted without loss"):
        density.with_data(k=[1.0, 2.0, 3.0])
    with pytest.raises(jaxlink.ArgumentError, match="does not fit int32"):
        density.with_data(k=[1, 2, 2**40])
    with pytest.raises(jaxlink.ArgumentError, match=r"data `x_0_` .*rank 2"):
        jp.logdensity(_without_dims()).with_data({"x[0]": np.ones((3, 1))})
    with pytest.raises(ValueError, match=r"`x\[0\]` has masked entries"):
        density.with_data({"x[0]": np.ma.masked_less([1.0, 2.0, 3.0], 2)})
    with pytest.raises(ValueError, match="from 3 to 2: pass coords"):
        jax.jit(lambda x: density.with_data({"x[0]": x})(AT))(np.ones(2))


def _without_dims():
    with pm.Model() as model:
        pm.Potential("p", pm.Data("x[0]", [1.0]).sum())
    return model


def test_data_that_fix_a_shape_cannot_be_traced():
    n = pytensor.shared(3, name="n")
    fn = jaxlink.function([], pt.zeros(n))
    with pytest.raises(jaxlink.StaticArgumentError, match=r"`n` of fn.*outside the"):
        jax.jit(lambda n: fn.with_data(n=n)())(4)


# --- checks --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unsafe():
    with pm.Model() as model:
        pm.Normal("x", 0.0, pm.Normal("sigma"), observed=[0.5, 0.1])
    return jp.logdensity(model)


POINTS = {"sigma": jnp.array([1.0, -1.0])}


@pytest.mark.parametrize(
    "through",
    [
        jax.vmap,
        lambda f: jax.grad(lambda p: jax.vmap(f)(p).sum()),
        lambda f: jax.vmap(jax.grad(f)),
        lambda f: jax.vmap(jax.value_and_grad(f)),
        lambda f: jax.jit(jax.vmap(f.checked)),
    ],
)
def test_checks_are_made_through_transformations(unsafe, through):
    error, _ = checkify.checkify(through(unsafe))(POINTS)
    assert "sigma > 0" in error.get()
    positive = {"sigma": jnp.array([1.0, 2.0])}
    assert checkify.checkify(through(unsafe))(positive)[0].get() is None


def test_no_checks_without_checkify(unsafe):
    """And nothing of how they are found: they would slow a program down."""
    for f in (jax.vmap(unsafe), jax.jit(jax.vmap(jax.grad(unsafe)))):
        jaxpr = jax.make_jaxpr(f)(POINTS)
        assert not re.search("check|unwrap", str(jaxpr))
        assert not jaxpr.effects
    assert jax.vmap(unsafe)(POINTS)[1] == -np.inf


# --- a function shows itself ---------------------------------------------------------


def test_look_inside(density):
    jaxpr = density.jaxpr(AT)
    assert [v.aval.shape for v in jaxpr.jaxpr.outvars] == [()]
    compiled = density.lower(AT).compile()
    assert compiled.cost_analysis() is not None
    with pytest.raises(jaxlink.ArgumentError, match="lacks `c`"):
        density.jaxpr({"b": 1.0, "s_log__": 1.0})
    again = pickle.loads(pickle.dumps(density.checked))
    np.testing.assert_allclose(again.fn(*(AT[n] for n in again.names)), density(AT))


def test_leaves_are_shown(density):
    title = "ModelFunction logdensity(position) -> array"
    assert repr(density) == f"{title} with k: int32[3], x[0]: float64[3]"
    shown = eqx.tree_pformat(density)
    assert shown == f"{title} with (k=i32[3], x[0]=f64[3])"
    slopes = jax.grad(lambda f: f(AT), allow_int=True)(density)
    assert "x[0]: float64[3]" in repr(slopes)
    assert set(density.data) == {"i", "k", "x[0]"}
    np.testing.assert_allclose(
        slopes.data["x[0]"],
        jax.grad(lambda x: density.with_data({"x[0]": x})(AT))(density.data["x[0]"]),
    )
    floats, rest = eqx.partition(density, eqx.is_inexact_array)
    assert "k: None" in repr(floats)
    assert eqx.combine(floats, rest)(AT) == density(AT)
    assert "x[0]=f64[3]" in eqx.tree_pformat(density.fn)


def test_help_tells_the_arguments(model, density):
    text = pydoc.render_doc(density, renderer=pydoc.plaintext)
    for line in ("position: a dict", "s_log__: float64[]", "k: int32[3], along `i`"):
        assert line in text
    predict = pydoc.render_doc(jp.posterior_predictive(model))
    assert "key: PRNG key" in predict
    assert "draw: a dict" in predict
    x = pt.vector("x")
    text = pydoc.render_doc(jaxlink.function([x], x.sum(), name="total"))
    assert "x: float64[?]" in text
    assert "total(x: float64[?]) -> float64[]" in text
    # The classes keep theirs.
    assert "A function of a PyMC model" in pydoc.render_doc(jp.ModelFunction)
    assert "A PyTensor graph" in pydoc.render_doc(jaxlink.JAXFunction)


def test_repr_of_vectors(model):
    shown = "Ravel(b: float64[], s_log__: float64[], c: float64[3]) of size 5"
    assert repr(jp.ravel(model)) == shown


# --- wrong arguments -----------------------------------------------------------------


def test_names_of_the_other_space(model, density):
    draw = {"b": 0.7, "s": 0.8, "c": np.ones(3)}
    with pytest.raises(jaxlink.ArgumentError, match=r"`s_log__` and not `s`.*unconst"):
        density(draw)
    with pytest.raises(jaxlink.ArgumentError, match=r"`s` and not `s_log__`.*constra"):
        jp.posterior_predictive(model)(KEY, AT)
    with pytest.raises(ValueError, match=r"`s_log__` and not `s`.*unconstrain"):
        jp.ravel(model).ravel(draw)
    density(jp.unconstrain(model)(draw))


def test_misspelt_names(density):
    misspelt = {"B": 1.0, "s_lgo__": 1.0, "c": np.ones(3)}
    with pytest.raises(jaxlink.ArgumentError, match="`s_log__` for `s_lgo__`"):
        density(misspelt)
    with pytest.raises(ValueError, match=r"`cc` \(did you mean `c`"):
        density({**AT, "cc": 1.0})


def test_wrong_lengths_are_no_numbers():
    n = pytensor.shared(2, name="n")
    with pm.Model(coords={"i": [0, 1, 2], "j": [0, 1]}) as model:
        pm.Normal("dims", dims="i")
        pm.HalfNormal("sized", size=n)
        pm.Dirichlet("simplex", np.ones(3), dims="i")
        pm.ZeroSumNormal("zero", dims="i")
        pm.Normal("ordered", dims="i", transform=pm.distributions.transforms.ordered)
        pm.Dirichlet("rows", np.ones(2), dims=("i", "j"))
    start = jp.initial_position(model)(KEY)
    density = jp.logdensity(model)
    reference = model.compile_logp()(start)
    np.testing.assert_allclose(density(start), reference)
    np.testing.assert_allclose(jax.jit(jax.grad(density))(start)["dims"], 0.0)
    for name, entry in start.items():
        for wrong in (entry[:1], jnp.concatenate([entry, entry])):
            with pytest.raises(jaxlink.ArgumentError, match=f"`{name}`"):
                density({**start, name: wrong})
    with pytest.raises(jaxlink.ArgumentError, match=r"3 entries .*dimension 0 \(`i`"):
        density({**start, "dims": jnp.ones(2)})
    draw = jp.constrain(model)(start)
    with pytest.raises(jaxlink.ArgumentError, match="`sized`"):
        jp.unconstrain(model)({**draw, "sized": jnp.ones(3)})
    longer = density.with_data(coords={"i": range(4)})
    with pytest.raises(jaxlink.ArgumentError, match="needs 4 entries"):
        longer(start)


def test_lengths_that_are_drawn_are_not_checked():
    with pm.Model() as model:
        n = pm.Poisson("n", 3.0)
        pm.Normal("x", size=n)
    at = {"n": 2, "x": jnp.ones(2)}
    np.testing.assert_allclose(
        jp.logdensity(model)(at), model.compile_logp()({"n": 2, "x": np.ones(2)})
    )


def test_values_of_other_libraries(density):
    for value in (pd.Series([1.0, 2.0, 3.0]), xr.DataArray([1.0, 2.0, 3.0])):
        with pytest.raises(jaxlink.ArgumentError, match=r"`c` .*to_numpy\(\)"):
            density({**AT, "c": value})


def test_an_empty_model_has_a_density():
    density = jp.logdensity(pm.Model())
    assert density({}).dtype == np.float64
    assert jax.grad(density)({}) == {}

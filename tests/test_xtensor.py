"""xtensor: each Op with named dimensions means in JAX what it means in xarray."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytensor.xtensor as px
import pytest
import xarray
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.scan.basic import scan
from pytensor.xtensor.random.type import rng_to_xrng
from pytensor.xtensor.shape import stack, unstack
from support import REFERENCE, compared

import jaxlink

X = xarray.DataArray(
    np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]]), dims=("city", "year")
)
Y = xarray.DataArray(np.array([2.0, -1.0, 0.5]), dims=("year",))

# Methods that xtensor and xarray share.
SHARED = {
    "add": lambda x, y: x + y,
    "mul-other-order": lambda x, y: y * x,
    "compare": lambda x, y: x > y,
    "sum": lambda x, y: x.sum("year"),
    "sum-all": lambda x, y: x.sum(),
    "mean": lambda x, y: x.mean("city"),
    "std": lambda x, y: x.std("year"),
    "max": lambda x, y: (x * y).max("city"),
    "any": lambda x, y: (x > 1).any("year"),
    "cumsum": lambda x, y: x.cumsum("year"),
    "cumprod": lambda x, y: x.cumprod("city"),
    "dot": lambda x, y: x.dot(y),
    "dot-outer": lambda x, y: x.dot(x.rename(city="town"), dim="year"),
    "transpose": lambda x, y: x.transpose("year", "city"),
    "expand-squeeze": lambda x, y: x.expand_dims("new").squeeze("new") + y,
    "expand": lambda x, y: x.expand_dims(new=2),
    "rename": lambda x, y: x.rename(city="town") * 2,
    "index-scalar": lambda x, y: x.isel(city=1),
    "index-slice": lambda x, y: x.isel(year=slice(None, None, -2)),
    "index-both": lambda x, y: x[1, :2],
    "broadcast": lambda x, y: y.broadcast_like(x),
    "diff": lambda x, y: x.diff("year"),
    "where": lambda x, y: x.where(x > y, y),
    "astype": lambda x, y: (x * y).astype("int32"),
    "clip": lambda x, y: x.clip(-1, 1),
}


@pytest.fixture(scope="module")
def variables():
    return pt.matrix("x", shape=(2, None)), pt.vector("y")


def named(variables):
    x, y = variables
    return px.as_xtensor(x, dims=("city", "year")), px.as_xtensor(y, dims=("year",))


@pytest.mark.parametrize("name", SHARED)
def test_what_xarray_has_too(variables, name):
    out = SHARED[name](*named(variables))
    expected = SHARED[name](X, Y)
    expected = expected.transpose(*out.dims)
    _compare(variables, out, expected.values)


def _compare(variables, out, expected):
    fn = jaxlink.function(list(variables), out, on_unused_input="ignore")
    gradients = out.type.dtype == "float64"
    compared([out, *fn.fgraph.outputs], gradients)
    args = [jnp.asarray(X.values), jnp.asarray(Y.values)]
    value = fn(*args)
    assert value.dtype == out.type.dtype == expected.dtype
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    batch = jax.vmap(fn)(*(jnp.stack([a, a]) for a in args))
    np.testing.assert_allclose(batch[1], expected, rtol=1e-12, atol=1e-14)
    if gradients:
        weights = 1.0 + np.arange(expected.size).reshape(expected.shape)
        # xtensor Ops have neither values nor gradients before they are lowered.
        cost = (rewrite_graph(out.values, include=("lower_xtensor",)) * weights).sum()
        wanted = pytensor.function(
            list(variables),
            pytensor.grad(cost, list(variables), disconnected_inputs="ignore"),
            mode=REFERENCE,
            on_unused_input="ignore",
        )(X.values, Y.values)
        got = jax.grad(lambda *a: (fn(*a) * weights).sum(), (0, 1))(*args)
        for gradient, reference in zip(got, wanted, strict=True):
            np.testing.assert_allclose(gradient, reference, rtol=1e-10, atol=1e-14)


def test_concat(variables):
    x, _ = named(variables)
    out = px.concat([x, 2 * x], dim="year")
    _compare(variables, out, xarray.concat([X, 2 * X], dim="year").values)


def test_stack_and_unstack(variables):
    x, _ = named(variables)
    stacked = stack(x, both=("city", "year"))
    _compare(variables, stacked, X.values.ravel())
    _compare(
        variables,
        unstack(stacked * 2, both={"a": 3, "b": 2}),
        2 * X.values.reshape(3, 2),
    )


def test_pointwise_indexing_and_update(variables):
    x, y = named(variables)
    cities = px.as_xtensor(np.array([0, 1, 1]), dims=("pair",))
    years = px.as_xtensor(np.array([2, 0, 0]), dims=("pair",))
    chosen = x.isel(city=cities, year=years)
    _compare(variables, chosen, X.values[[0, 1, 1], [2, 0, 0]])
    updated = x[{"city": 0}].set(y)
    expected = X.values.copy()
    expected[0] = Y.values
    _compare(variables, updated, expected)
    increased = x[{"city": cities, "year": years}].inc(1.0)
    expected = X.values.copy()
    np.add.at(expected, ([0, 1, 1], [2, 0, 0]), 1.0)
    _compare(variables, increased, expected)


def test_an_op_of_arrays_over_named_dimensions(variables):
    x, _ = named(variables)
    gram = x.dot(x.rename(city="town"), dim="year")
    out = px.linalg.cholesky(
        gram + px.as_xtensor(np.eye(2), dims=("city", "town")), dims=("city", "town")
    )
    matrix = X.values @ X.values.T + np.eye(2)
    _compare(variables, out, np.linalg.cholesky(matrix))


def test_in_a_scan(variables):
    _, y = named(variables)
    states = scan(
        lambda year, s: (px.as_xtensor(s, dims=("city",)) + year * 2).values,
        sequences=[y.values],
        outputs_info=[pt.zeros(2)],
        return_updates=False,
    )
    expected = 2 * np.cumsum(Y.values)[:, None] * np.ones(2)
    fn = jaxlink.function([variables[1]], states)
    np.testing.assert_allclose(fn(Y.values), expected)


def test_random_variables_have_named_dimensions():
    rng = rng_to_xrng(pt.random.shared_rng(seed=1))
    p = px.xtensor("p", dims=("city", "kind"))
    _, draws = rng.multinomial(100, p, core_dims=("kind",), extra_dims={"draw": 3})
    fn = jaxlink.function([p], draws)
    values = jnp.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    out = fn(jax.random.key(1), values)
    compared([draws, *fn.fgraph.outputs])
    assert draws.dims == ("draw", "city", "kind")
    assert out.shape == (3, 2, 3)
    np.testing.assert_array_equal(out.sum(-1), 100)
    np.testing.assert_array_equal(out[:, 1], np.broadcast_to([100, 0, 0], (3, 3)))

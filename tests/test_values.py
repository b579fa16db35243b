"""Arguments and results that are no plain arrays: lists, xtensors, sparse matrices."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytensor.xtensor as px
import pytest
import scipy.sparse
import xarray
from jax.experimental import checkify
from jax.experimental.sparse import BCOO, BCSR
from pytensor.compile.ops import deep_copy_op
from pytensor.sparse.type import SparseTensorType
from pytensor.tensor.type_other import SliceType
from pytensor.typed_list import TypedListType, make_list
from support import compared

import jaxlink

A, B = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0])
MATRIX = scipy.sparse.csr_matrix(np.array([[0, 1.5, 0], [2.5, 0, -1]]))

# --- lists ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elements():
    return TypedListType(pt.dvector)("elements")


def test_lists_come_in_and_go_out(elements):
    x = pt.vector("x")
    fn = jaxlink.function(
        [elements, x],
        {
            "appended": elements.append(x),
            "extended": elements.extend(make_list([x, 2 * x])),
            "inserted": elements.insert(-1, x),
            "reversed": elements.reverse(),
            "tail": elements[1:],
            "last": elements[-1],
            "length": elements.length(),
            "filled": pt.zeros(elements.length() + 1),
        },
    )
    assert "(elements: list of float64[?], x: float64[?]) -> {appended: list" in str(fn)
    out = fn([A, B], 2 * A)
    wanted = {
        "appended": [A, B, 2 * A],
        "extended": [A, B, 2 * A, 4 * A],
        "inserted": [A, 2 * A, B],
        "reversed": [B, A],
        "tail": [B],
        "last": B,
        "length": jnp.asarray(2),
        "filled": jnp.zeros(3),
    }
    assert jax.tree.structure(out) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, out, wanted)
    jitted = jax.jit(fn)([A, B], 2 * A)
    jax.tree.map(np.testing.assert_array_equal, jitted, wanted)
    compared(fn.fgraph.outputs)


def test_lists_are_differentiated_and_mapped_over(elements):
    fn = jaxlink.function([elements], (elements[0] * elements[1][:2]).sum())
    grads = jax.grad(fn)([A, B])
    jax.tree.map(np.testing.assert_array_equal, grads, [B[:2], jnp.r_[A, 0]])
    batch = jax.vmap(fn)([jnp.stack([A, 2 * A]), jnp.stack([B, B])])
    np.testing.assert_array_equal(batch, [11.0, 22.0])
    x = pt.vector("x")
    changed = elements.append(x).reverse().insert(1, 2 * x).extend(make_list([3 * x]))
    weighted = sum((i + 1) * changed[i].sum() for i in range(5))
    of_x = jaxlink.function([elements, x], weighted)
    compared([weighted], gradients=True)
    # B, A and x come back as x, 2x, B, A, 3x.
    np.testing.assert_array_equal(jax.grad(of_x, 1)([A, B], A), [20.0, 20.0])
    grads = jax.grad(of_x)([A, B], A)
    jax.tree.map(np.testing.assert_array_equal, grads, [4 + 0 * A, 3 + 0 * B])


def test_elements_are_found_by_value(elements):
    x, i = pt.vector("x"), pt.lscalar("i")
    outs = [elements.count(x), elements.ind(x), elements[i]]
    fn = jaxlink.function([elements, x, i], outs)
    count, where, chosen = fn([A, 2 * A, A, 2 * A], 2 * A, 2)
    assert (count, where) == (2, 1)
    assert (count.dtype, where.dtype) == ("int64", "int64")
    compared(outs)
    np.testing.assert_array_equal(chosen, A)
    # Elements of another shape are not equal, and not to be chosen by a traced index.
    assert jaxlink.function([elements, x], elements.count(x))([B, A], A) == 1
    with pytest.raises(
        jaxlink.UnsupportedOpError, match="must then have the same shape"
    ):
        fn([A, B], A, 0)


def test_copies_of_lists_are_lists(elements):
    fn = jaxlink.function([elements], [deep_copy_op(elements)])
    [out] = fn([np.array([1.0, 2.0]), np.array([3.0])])
    assert [x.tolist() for x in out] == [[1, 2], [3]]


def test_known_lists_are_left_to_pytensor():
    known = make_list([pt.constant([1.0]), pt.constant([2.0]), pt.constant([1.0])])
    shorter = known.remove(pt.constant([1.0]))
    out = jaxlink.function([], [shorter, shorter.length()])()
    np.testing.assert_array_equal(jnp.stack(out[0]), [[2.0], [1.0]])
    compared([shorter])
    assert out[1] == 2


def test_an_element_cannot_be_removed_by_a_traced_value(elements):
    x = pt.vector("x")
    with pytest.raises(jaxlink.DynamicShapeError, match="Remove"):
        jaxlink.function([elements, x], elements.remove(x))


def test_nested_lists():
    nested = TypedListType(pt.dvector, depth=1)("nested")
    fn = jaxlink.function([nested], nested[1].append(nested[0][0]))
    out = fn([[A], [B]])
    jax.tree.map(np.testing.assert_array_equal, out, [B, A])


SPARSE = SparseTensorType("csr", "float64")
ZERO_STORED = scipy.sparse.csr_matrix(([0.0, 1.5], [0, 1], [0, 2, 2]), shape=(2, 3))
NAN = jnp.array([jnp.nan, 1.0])
# Of what a list may hold: a type, values of one shape, a value of another shape.
HELD = {
    "lists": (TypedListType(pt.dvector), [[A, B], [2 * A, B], [A, 2 * B]], [A]),
    "nothing": (TypedListType(pt.dvector), [[], [], []], [A]),
    "matrices": (SPARSE, [MATRIX, ZERO_STORED, -MATRIX], MATRIX.T.tocsr()),
    "nan": (pt.dvector, [A, NAN, 2 * A], B),
}


def _plain(value):
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value.todense() if hasattr(value, "todense") else value


def _on_the_host(value):
    return np.asarray(value) if isinstance(value, jax.Array) else value


@pytest.mark.parametrize("mode", [None, jaxlink.MODE], ids=["function", "MODE"])
@pytest.mark.parametrize("held", HELD)
def test_elements_that_are_no_arrays(held, mode):
    type_, values, other = HELD[held]
    elements, x, i = TypedListType(type_)("elements"), type_("x"), pt.lscalar("i")
    outs = [elements[i], elements.reverse(), make_list([x, x]), elements.append(x)]
    outs += [elements.count(x), elements.ind(x), elements[1:].extend(elements)]
    if mode is None:
        fn = jaxlink.function([elements, x, i], outs)
        compared(outs)
    else:
        fn = pytensor.function([elements, x, i], outs, mode=mode)
        values = jax.tree.map(_on_the_host, values)
    equal = 3 if held == "nothing" else 1
    wanted = [values[1], values[::-1], [values[1]] * 2, [*values, values[1]]]
    wanted += [equal, 0 if held == "nothing" else 1, values[1:] + values]
    got = fn(values, values[1], np.int64(-2))
    jax.tree.map(np.testing.assert_array_equal, *map(_plain, (list(got), wanted)))
    if held != "nothing":
        count = jaxlink.function([elements, x], elements.count(x))
        assert count([*values, other], other) == 1


def test_chosen_elements_are_differentiated():
    elements, i = TypedListType(SPARSE)("elements"), pt.lscalar("i")
    fn = jaxlink.function([elements, i], ps.sp_sum(elements[i]) * 2)
    matrices = [BCOO.from_scipy_sparse(x) for x in (MATRIX, ZERO_STORED)]

    def total(data, i):
        pairs = zip(data, matrices, strict=True)
        return fn([BCOO((d, x.indices), shape=x.shape) for d, x in pairs], i)

    gradient = jax.jit(jax.grad(total))([x.data for x in matrices], 1)
    np.testing.assert_array_equal(gradient[0], np.zeros(3))
    np.testing.assert_array_equal(gradient[1], [2, 2])
    error, _ = checkify.checkify(fn)(matrices, 2)
    assert "list index out of range" in error.get()
    assert np.isnan(fn(matrices, 2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (A, r"`elements` of fn\(\) must be a list of float64\[\?\] but is a"),
        ([A, "b"], r"`elements`\[1\]|`elements` of fn\(\)\[1\] must be an array"),
        ([A, jnp.zeros((2, 2))], r"\[1\] must be float64\[\?\] but is float64\[2, 2\]"),
    ],
)
def test_other_values_than_lists_are_errors(elements, value, message):
    fn = jaxlink.function([elements], elements[0], name="fn")
    with pytest.raises(jaxlink.ArgumentError, match=message):
        fn(value)


# --- xtensors ------------------------------------------------------------------------


def test_xtensors_are_arrays():
    x = px.xtensor("x", dims=("city", "year"), shape=(None, 3))
    y = px.xtensor("y", dims=("year",))
    z = (x * y).sum("year") + x.mean()
    fn = jaxlink.function([x, y], z, name="fn")
    assert repr(fn) == (
        "JAXFunction fn(x: float64[city=?, year=3], y: float64[year=?]) -> "
        "float64[city=?]"
    )
    values = np.arange(6.0).reshape(2, 3), np.array([1.0, -1, 2])
    wanted = (values[0] * values[1]).sum(1) + values[0].mean()
    np.testing.assert_allclose(fn(*values), wanted)
    grad = jax.grad(lambda x: fn(x, values[1]).sum())(jnp.asarray(values[0]))
    np.testing.assert_allclose(grad, np.broadcast_to(values[1] + 1 / 3, (2, 3)))


def test_an_xtensors_random_generator_is_a_root():
    rng = px.random.shared_rng(np.random.default_rng(1))
    x = px.xtensor("x", dims=("city",))
    next_rng, first = rng.normal(x, 0.1, extra_dims={"draw": 2})
    _, second = next_rng.normal(x, 0.1, extra_dims={"draw": 2})
    fn = jaxlink.function([x], [first, second])
    key, mean = jax.random.key(3), jnp.array([5.0, -5.0, 0.0])
    for t, (draw, variable) in enumerate(
        zip(fn(key, mean), (first, second), strict=True)
    ):
        law = jax.random.fold_in(jax.random.fold_in(key, 0), t)
        noise = jax.random.normal(law, (2, 3), "float64")
        assert variable.dims == ("draw", "city")
        np.testing.assert_allclose(draw, mean + 0.1 * noise, rtol=1e-14)
    compared([first, second, *fn.fgraph.outputs])


def test_a_labelled_array_is_taken_in_the_right_order():
    table = xarray.DataArray(np.arange(6.0).reshape(3, 2), dims=("year", "city"))
    shared = px.type.xtensor_shared(table.values.T, name="S", dims=("city", "year"))
    x = px.xtensor("x", dims=("city", "year"))
    fn = jaxlink.function([x], x.isel(city=0) + shared.isel(city=0), name="fn")
    for value in (table, table.values.T):
        np.testing.assert_array_equal(fn(value), 2 * table.values[:, 0])
        np.testing.assert_array_equal(
            fn.with_data(S=-value)(value), 0 * table.values[:, 0]
        )
    with pytest.raises(jaxlink.ArgumentError, match=r"city=\?, year=\?\] but has dim"):
        fn(table.rename(city="town"))


# --- sparse matrices -----------------------------------------------------------------


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_sparse_matrices_come_in_and_go_out(format):
    x = ps.SparseTensorType(format, "float64", name="x")("x")
    v = pt.vector("v")
    fn = jaxlink.function([x, v], [x, ps.structured_dot(x, v[:, None])], name="fn")
    assert repr(fn) == (
        f"JAXFunction fn(x: {format} float64[?, ?], v: float64[?]) -> "
        f"(x: {format} float64[?, ?], out1: float64[?, 1])"
    )
    dense, v_value = MATRIX.toarray(), jnp.array([1.0, 2.0, 3.0])
    unsorted = BCOO.from_scipy_sparse(MATRIX)
    unsorted = BCOO((unsorted.data[::-1], unsorted.indices[::-1]), shape=(2, 3))
    for matrix in (unsorted, BCSR.from_scipy_sparse(MATRIX), MATRIX, MATRIX.tocsc()):
        same, product = fn(matrix, v_value)
        assert isinstance(same, BCOO)
        np.testing.assert_array_equal(same.todense(), dense)
        np.testing.assert_allclose(product[:, 0], dense @ np.asarray(v_value))


def test_sparse_data_are_captured_and_replaced():
    x = ps.shared(MATRIX, name="X")
    v = pt.vector("v")
    fn = jaxlink.function([v], ps.structured_dot(x, v[:, None])[:, 0])
    v_value = jnp.array([1.0, 2.0, 3.0])
    dense = MATRIX.toarray()
    np.testing.assert_allclose(fn(v_value), dense @ np.asarray(v_value))
    doubled = fn.with_data(X=2 * MATRIX)
    np.testing.assert_allclose(doubled(v_value), 2 * dense @ np.asarray(v_value))
    again = pickle.loads(pickle.dumps(doubled))
    np.testing.assert_allclose(again(v_value), doubled(v_value))
    assert isinstance(fn.data["X"], BCOO)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (jnp.zeros((2, 3)), r"must be a jax.experimental.sparse.BCOO or BCSR \(csr"),
        (BCOO.fromdense(jnp.zeros((2, 3)), n_batch=1), "one sparse matrix, but has 1"),
        (BCOO.fromdense(jnp.ones((2, 3), complex)), "cannot be converted without loss"),
    ],
)
def test_other_values_than_sparse_matrices_are_errors(value, message):
    x = ps.csr_matrix("x", dtype="float64")
    fn = jaxlink.function([x], ps.dense_from_sparse(x))
    with pytest.raises(jaxlink.ArgumentError, match=message):
        fn(value)


def test_what_is_no_data_is_refused():
    bounds = SliceType()("bounds")
    with pytest.raises(jaxlink.UnsupportedOpError, match="which JAX does not have"):
        jaxlink.function([bounds], bounds)

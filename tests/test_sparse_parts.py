"""Parts of sparse matrices, matrices made of arrays, and where patterns vary."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from jax.experimental import checkify
from jax.experimental import sparse as jsp
from pytensor import ifelse
from pytensor.compile.builders import OpFromGraph
from pytensor.sparse.linalg import block_diag
from sparse_support import (
    REGULAR,
    check_by_differences,
    check_sparse,
    check_value,
    evaluate,
    to_jax,
)
from support import compared, others_are_slow
from test_sparse import (
    BINARY,
    D34,
    D43,
    FORMATS,
    MIXED,
    SQUARE,
    UNARY,
    V3,
    V4,
    A,
    B,
    dense,
    matrices,
)

import jaxlink
from jaxlink.dispatch.control import LazyIfElse

# Where what differs between the formats has tests of its own.
BOTH = ["csr", pytest.param("csc", marks=pytest.mark.slow)]

# Rows, blocks and elements. (PyTensor has no gradient of blocks and single elements.)
PARTS = {
    "rows": lambda x: x[[2, 0, -2]],
    "elements": lambda x: x[[0, 2, 0], [2, 1, -1]],
    "block": lambda x: x[1:, ::2],
    "reversed": lambda x: x[::-1, 1:3],
    "no_rows": lambda x: x[0:0],
    "element": lambda x: x[0, 2],
    "element_from_the_end": lambda x: x[-1, -1],
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", PARTS)
def test_part(name, format):
    inputs, values = matrices(format, A)
    grad = name in ("rows", "elements")
    vmap = grad and format == "csr"
    check_sparse(inputs, PARTS[name](*inputs), values, grad=grad, vmap=vmap)


@pytest.mark.parametrize("format", BOTH)
def test_traced_index(format):
    (x,), (a,) = matrices(format, A)
    i, j = pt.lvector("i"), pt.lvector("j")
    at = np.array([2, 0, 0, -1])
    rows = ps.get_item_list(x, i)
    check_sparse([x, i], rows, [a, at], grad=False, vmap=False)
    check_sparse([x, i], rows, [a, at[:2]], vmap=False)
    elements = ps.get_item_2lists(x, i, j)
    check_sparse([x, i, j], elements, [a, at, np.array([1, 2, 0, 3])])
    k = pt.iscalar("k")
    check_sparse([x, k], x[k, 2], [a, np.array(-1, "int32")], grad=False)


def test_index_out_of_bounds():
    (x,), (a,) = matrices("csr", A)
    with pytest.raises(IndexError, match="index 3 is out of bounds for length 3"):
        jaxlink.function([x], x[[0, 3]])(to_jax(a))
    i = pt.lvector("i")
    outputs = [ps.get_item_list(x, i), ps.get_item_2lists(x, i, i)]
    fn = jaxlink.function([x, i], outputs)
    rows, elements = fn(to_jax(a), jnp.array([0, 3]))
    np.testing.assert_array_equal(rows.todense(), [A[0], 0 * A[0]])
    np.testing.assert_array_equal(elements, [1.5, np.nan])
    error, _ = checkify.checkify(fn)(to_jax(a), jnp.array([0, 3]))
    assert "out of bounds for length 3" in error.get()


def test_row_with_many_entries():
    """More than the matrix has columns, all at one place."""
    i = pt.lvector("i")
    fn = jaxlink.function([x, i], ps.get_item_list(x, i))
    matrix = jsp.BCOO((jnp.arange(3.0), jnp.zeros((3, 2), int)), shape=(2, 1))
    np.testing.assert_array_equal(fn(matrix, jnp.array([1, 0])).todense(), [[0], [3]])


def test_repeated_rows():
    """Each counts in the gradient; PyTensor's own keeps the last one alone."""
    (x,), (a,) = matrices("csr", A)
    fn = jaxlink.function([x], ps.sp_sum(x[[0, 0, 2]]))
    np.testing.assert_array_equal(jsp.grad(fn)(to_jax(a)).data, [2, 2, 1, 1, 1])


x, y, z, v = ps.csr_matrix("x"), pt.matrix("y"), pt.matrix("z"), pt.vector("v")
a = pt.scalar("a")
S = sp.csr_matrix(A)

# More Ops: inputs, an output, values.
MORE = {
    "diag": ([x], ps.diag(x), [sp.csr_matrix(SQUARE)]),
    "square_diagonal": ([v], ps.square_diagonal(v), [V3]),
    "add_data": ([x], ps.add_s_s_data(x, ps.sqr(x)), [S]),
    "csm": ([v], ps.CSR(v, S.indices, S.indptr, S.shape), [S.data]),
    "csm_by_column": ([v], ps.CSC(v, S.indices, S.indptr, (4, 3)), [S.data]),
    "csm_too_long": ([v], ps.CSR(v, [0, 3, 1, 2], [0, 2, 2, 3], (3, 4)), [V4]),
    "remove_zero": (
        [v],
        ps.remove0(ps.CSR(v, S.indices, S.indptr, S.shape)),
        [S.data * [1, 0, 1, 1, 1]],
    ),
    "clean": (
        [v],
        ps.clean(ps.CSR(v, S.indices[::-1], S.indptr, S.shape)),
        [S.data * [1, 0, 1, 1, 1]],
    ),
    "constant": ([y], ps.structured_dot(ps.as_sparse(S), y), [D43]),
    "constant_sum": ([y], ps.as_sparse(S) + ps.csr_from_dense(y), [B]),
    "shared": ([y], ps.dot(ps.shared(S.tocsc(), name="X"), y), [D43]),
    "dense_diag": ([y], ps.diag(ps.csc_from_dense(y)), [SQUARE]),
}
MORE_WITHOUT_GRADIENT = {
    "usmm": ([a, x, y, z], ps.usmm(a, x, y, z), [np.array(2.5), S, D43, SQUARE]),
    "usmm_sparse": (
        [x, z],
        ps.usmm(pt.constant(2.5), x, x, z),
        [sp.csr_matrix(SQUARE), SQUARE],
    ),
    "sampling_dot": ([y, z, x], ps.sampling_dot(y, z, x), [D34[:, :2], D43[:, :2], S]),
    "from_list": (
        [y, z],
        ps.construct_sparse_from_list(z, y, np.array([2, 0, 2])),
        [D34, np.ones((4, 4))],
    ),
    "block_diag": ([y, z], block_diag(ps.csr_from_dense(y), z), [A, B]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*MORE, *MORE_WITHOUT_GRADIENT])
def test_more(name):
    inputs, output, values = (MORE | MORE_WITHOUT_GRADIENT)[name]
    check_sparse(inputs, output, values, grad=name in MORE, vmap=name in MORE)


BY_DIFFERENCES = MORE_WITHOUT_GRADIENT | {
    name: ([x], PARTS[name](x), [S]) for name in ("block", "element")
}


@pytest.mark.parametrize("name", BY_DIFFERENCES)
def test_gradient_by_differences(name):
    check_by_differences(*BY_DIFFERENCES[name])


# The sparsity of a dense matrix is not known before the call. Both kinds of gradient
# are PyTensor's also where it is 0.
def _from_dense(name):
    make = ps.csc_from_dense if name.startswith("csc") else ps.csr_from_dense
    return make(y)


FROM_DENSE = {
    "itself": lambda x: (x, []),
    "csc_itself": lambda x: (x, []),
    "clean": lambda x: (ps.clean(x), []),
    "csc_sorted": lambda x: (ps.ensure_sorted_indices(x), []),
    "exp": lambda x: (ps.math.structured_exp(x), []),
    "csc_exp": lambda x: (ps.math.structured_exp(x), []),
    "dot": lambda x: (ps.dot(x, z), [D43]),
    "structured_dot": lambda x: (ps.structured_dot(x, z), [D43]),
    "true_dot": lambda x: (ps.true_dot(x, ps.csr_from_dense(z)), [D43 * (D43 > 0)]),
    "sum": lambda x: (ps.sp_sum(x, axis=0), []),
    "sum_structured": lambda x: (ps.sp_sum(x, axis=1, sparse_grad=True), []),
    "add": lambda x: (x + ps.csr_from_dense(z), [B]),
    "add_dense": lambda x: (x + z, [B]),
    "multiply_vector": lambda x: (x * v, [V4]),
    "col_scale": lambda x: (ps.col_scale(x, v), [V4]),
    "hstack": lambda x: (ps.hstack([x, x]), []),
    "rows": lambda x: (x[[2, 0]], []),
    "elements": lambda x: (x[[2, 0], [1, 1]], []),
}


OFTEN = (
    *("itself", "clean", "csc_sorted", "csc_exp", "dot", "true_dot", "sum", "add"),
    "multiply_vector",
)


@pytest.mark.parametrize("name", others_are_slow(FROM_DENSE, OFTEN))
def test_from_dense(name):
    output, values = FROM_DENSE[name](_from_dense(name))
    inputs = [y, *([v] if values and values[0].ndim == 1 else [z] * len(values))]
    check_sparse(inputs, output, [A, *values], vmap=name in ("exp", "dot"))


def _values(inputs, outputs, values):
    """Compare the values of many outputs, in one program."""
    # SciPy adds up duplicates in place as it goes: values of its own for each output.
    wanted = [evaluate(inputs, out, [x.copy() for x in values]) for out in outputs]
    fn = jaxlink.function(inputs, outputs)
    compared([*outputs, *fn.fgraph.outputs])
    got = fn(*map(to_jax, values))
    for output, value, expected in zip(outputs, got, wanted, strict=True):
        check_value(output, value, expected)


@pytest.mark.parametrize("format", BOTH)
def test_duplicates_and_explicit_zeros(format):
    data, indices = np.array([1.0, 2, -2, 0, 5, 4]), np.array([2, 2, 0, 0, 1, 1])
    indptr = np.array([0, 2, 5, 6] if format == "csr" else [0, 2, 2, 5, 6])
    a = getattr(sp, f"{format}_matrix")((data, indices, indptr), shape=(3, 4))
    (x, y), (_, b) = matrices(format, A, B)
    w, v = dense("w", D34), dense("v", V4)
    outputs = [build(x) for build in UNARY.values()]
    outputs += [build(x, y) for build in BINARY.values()]
    outputs += [MIXED[n][2](x, w) for n in ("add", "multiply", "eq")]
    outputs += [MIXED[n][2](x, v) for n in ("multiply_vector", "add_vector", "dot")]
    outputs += [build(x) for build in (lambda x: x[[2, 0, 0]], *PARTS.values())]
    in_order = ps.ensure_sorted_indices(x)
    outputs += [ps.csm_data(in_order), ps.csm_indices(in_order)]
    _values([x, y, w, v], outputs, [a, b, D34, V4])


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0)])
def test_nothing_stored(shape):
    (x, y), values = matrices("csr", np.zeros(shape), np.zeros(shape))
    w, u = dense("w", D34), dense("u", D43)
    outputs = [build(x) for build in UNARY.values()]
    outputs += [build(x, y) for build in BINARY.values()]
    outputs += [x * w, x + w, ps.dot(x, u), ps.true_dot(x, u), ps.csr_from_dense(w)]
    outputs += [ps.dot(x, y.T), ps.true_dot(x, y.T), x[0:1, ::-1]]
    extra = [np.zeros(shape), np.ones((shape[1], 2))]
    _values([x, y, w, u], outputs, [*values, *extra])


def test_not_finite():
    """What is not stored stays 0, whatever it meets."""
    a = np.array([[np.inf, 0, np.nan, -np.inf], [0, 0, 1, 0], [1e308, -1e308, 2, 0]])
    b = np.array([[0, np.inf, 1, -np.inf], [np.nan, 0, 0, 2], [1e308, -1e308, 2, 1]])
    (x, y), values = matrices("csr", a, b)
    w, u = dense("w", b), dense("u", b.T)
    outputs = [build(x, y) for name, build in BINARY.items() if name != "hstack_csc"]
    for left in (x, ps.csr_from_dense(w)):
        outputs += [left * w, left + w, left * np.inf, ps.dot(left, u)]
        outputs += [ps.true_dot(left, u), ps.col_scale(left, w[0]), ps.lt(left, w)]
    outputs += [ps.dot(x, y.T), ps.true_dot(x, y.T)]
    _values([x, y, w, u], outputs, [*values, b, b.T])


@pytest.mark.parametrize("diagonal", [(np.inf, 1.0), (1.0, 1.0)])
def test_infinite_factors(diagonal):
    """They do not meet what is not stored, on either side."""
    a, b = np.diag(diagonal), np.array([[0, 2.0], [np.inf, 1]])
    (x, y), values = matrices("csr", a, b)
    w, u = dense("w", a), dense("u", b)
    outputs = []
    for left in (x, ps.csr_from_dense(w)):
        outputs += [ps.dot(left, u), ps.dot(left, y), ps.true_dot(left, y)]
        outputs.append(ps.dot(left, ps.csr_from_dense(u)))
    _values([x, y, w, u], outputs, [*values, a, b])


def test_gradient_graphs():
    """PyTensor's own gradients, with CSMGrad, StructuredDotGrad and the like."""
    (x, y), values = matrices("csr", SQUARE, SQUARE - 1)
    w, u = dense("w", SQUARE), dense("u", V3)
    by_column = ps.csc_from_dense(w)
    outs = [
        ps.structured_dot(x, w),
        ps.structured_dot(by_column, w),
        ps.dense_from_sparse(ps.true_dot(x, y)),
        ps.dense_from_sparse(ps.math.structured_exp(x * u)),
        REGULAR(ps.row_scale(x, u) + y),
        x[[2, 0, 2]].toarray(),
        x[[2, 0, 2], [2, 1, 2]],
    ]
    cost = sum((out * np.cos(np.arange(3.0))).sum() for out in outs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grads = pytensor.grad(cost, [x, y, w, u])
    _values([x, y, w, u], grads, [*values, SQUARE, V3])


def test_gradient_as_a_matrix():
    (x,), (a,) = matrices("csr", A)
    fn = jaxlink.function([x, y], ps.dot(x, y).sum())
    gradient = jsp.grad(fn)(to_jax(a), jnp.asarray(D43))
    wanted = (A != 0) * D43.sum(1)
    np.testing.assert_allclose(gradient.todense(), wanted)


def test_batch_of_matrices():
    fn = jaxlink.function([x], ps.sqr(x))
    batch = jsp.BCOO.fromdense(jnp.stack([A, B]), n_batch=1)
    np.testing.assert_allclose(jax.vmap(fn)(batch).todense(), np.stack([A, B]) ** 2)


def test_any_order_of_entries():
    matrix = to_jax(S)
    turned = jsp.BCOO((matrix.data[::-1], matrix.indices[::-1]), shape=matrix.shape)
    data, indptr = jaxlink.function([x], [ps.csm_data(x), ps.csm_indptr(x)])(turned)
    np.testing.assert_array_equal(data, [-2, 1.5, -1, 0.25, 3])
    np.testing.assert_array_equal(indptr, S.indptr)


def test_entries_out_of_bounds():
    """JAX drops them, whatever they hold and wherever they are."""
    indices = jnp.array([[0, 0], [4, 1], [1, 7], [4, 6], [3, 4]])
    matrix = jsp.BCOO((jnp.full(5, 2.0), indices), shape=A.shape)
    outputs = [REGULAR(x), ps.sp_sum(x), ps.dot(x, y).sum(), ps.csm_indptr(x)[-1]]
    dense, *sums = jaxlink.function([x, y], outputs)(matrix, jnp.ones((4, 3)))
    np.testing.assert_array_equal(dense, matrix.todense())
    np.testing.assert_array_equal(sums, [2, 6, 1])


def test_both_kinds_of_gradient_in_one_graph():
    sparse = ps.csr_from_dense(y)
    outs = [ps.sp_sum(sparse, sparse_grad=kind) for kind in (True, False)]
    outs += [ps.dense_from_sparse(sparse).sum(), REGULAR(sparse).sum()]
    got = jax.jacobian(jaxlink.function([y], outs))(jnp.asarray(A))
    for gradient, structured in zip(got, (True, False, True, False), strict=True):
        np.testing.assert_array_equal(gradient, A != 0 if structured else 0 * A + 1)


@pytest.mark.parametrize("format", FORMATS)
def test_scipy_argument(format):
    """A plain call and a trace take it, and see the same matrix as in a BCOO."""
    (matrix,), (value,) = matrices(format, A)
    fn = jaxlink.function([matrix, y], ps.dot(matrix, y))
    np.testing.assert_allclose(fn(value, D43), A @ D43)
    inside = jax.jit(lambda y: fn(value, y).sum())
    np.testing.assert_allclose(jax.grad(inside)(D43), np.tile(A.sum(0)[:, None], 3))


def test_precision_off():
    """With x64 off, 64-bit matrices become 32-bit ones."""
    outputs = [x + x, ps.dot(x, y), ps.true_dot(x, x.T), ps.sp_sum(x, axis=0)]
    outputs += [x[[2, 0]], ps.csm_indices(x), ps.csr_from_dense(y), ps.eq(x, x)]
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
        fn = jaxlink.function([x, y], outputs)
        got = fn(S, D43)
        gradient = jax.grad(lambda y: fn(S, y)[1].sum())(np.float32(D43))
    wanted = [2 * A, A @ D43, A @ A.T, A.sum(0), A[[2, 0]], S.indices, D43]
    for output, value, expected in zip(outputs, got, [*wanted, A == A], strict=True):
        dtype = output.type.dtype
        assert value.dtype == {"float64": "float32"}.get(dtype, dtype)
        dense = value.todense() if isinstance(value, jsp.BCOO) else value
        np.testing.assert_allclose(dense, expected, rtol=1e-6)
    assert gradient.dtype == "float32"
    np.testing.assert_allclose(gradient, np.tile(A.sum(0)[:, None], 3))


def _lazy_if_else(condition, then, other, inputs):
    branches = [OpFromGraph(inputs, [branch]) for branch in (then, other)]
    return LazyIfElse(*branches, [then.type])(condition, *inputs)


def _if_else(condition, then, other, inputs):
    return ifelse(condition, then, other)


@pytest.mark.parametrize("choose", [_if_else, *[_lazy_if_else] * bool(LazyIfElse)])
def test_branches(choose):
    """They may store unlike numbers of elements, with duplicates or without."""
    (x, y), (value, _) = matrices("csr", A, A)
    twice = sp.csr_matrix(([1.0, 2, -1], [2, 2, 0], [0, 2, 3, 3]), shape=A.shape)
    values = value, twice
    condition = pt.bscalar("condition")
    chosen_matrix = choose(condition, x + y, y, [x, y])
    out = ps.math.structured_add_s_v(chosen_matrix, pt.constant(V4))
    for chosen in np.array([0, 1], "int8"):
        _values([condition, x, y], [out], [chosen, *values])
        check_by_differences([condition, x, y], out, [chosen, *values])
    shapes = choose(condition, x[[0, 1]], y, [x, y])
    with pytest.raises(jaxlink.ArgumentError, match=r"\(2, 4\) and \(3, 4\)"):
        jaxlink.function([condition, x, y], shapes)(1, *map(to_jax, values))


def test_errors():
    fn = jaxlink.function([x, y], ps.dot(x, y))
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 4\) do not fit"):
        fn(to_jax(S), jnp.asarray(A))
    with pytest.raises(ValueError, match="must be the same"):
        jaxlink.function([x, y], x + y)(to_jax(S), jnp.asarray(D43))
    integers = ps.csc_matrix("i", dtype="int64")
    with pytest.raises(jaxlink.UnsupportedOpError, match="Cast the matrix first"):
        jaxlink.function([integers, v], ps.col_scale(integers, v))
    n = pt.scalar("n")
    matrix = ps.CSR(v, S.indices, S.indptr, pt.stack([n.astype("int32"), 4]))
    with pytest.raises(jaxlink.DynamicShapeError):
        jaxlink.function([v, n], matrix)

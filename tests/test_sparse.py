"""Every Op of sparse matrices: its values and gradients are PyTensor's."""

import numpy as np
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.sparse.linalg import block_diag
from sparse_support import REGULAR, check_sparse

FORMATS = ["csr", "csc"]
A = np.array([[1.5, 0, -2, 0], [0, 0, 0, 0], [0, 3, 0.25, -1]])
B = np.array([[-1.5, 4, 0, 0], [0, 2, 0, 1], [0, 0, 0.25, 5]])
SQUARE = np.array([[2.0, 0, 1], [0, 0, -3], [4, 0, 5]])
V3, V4 = np.array([2.0, -1, 0.5]), np.array([2.0, -1, 0, 0.5])
D43 = np.arange(12.0).reshape(4, 3) - 4.5
D34 = np.cos(np.arange(12.0)).reshape(3, 4)


def matrices(format, *arrays):
    """Sparse inputs with their values."""
    make = getattr(ps, f"{format}_matrix")
    inputs = [make(name, dtype=a.dtype) for name, a in zip("xyz", arrays, strict=False)]
    return inputs, [getattr(sp, f"{format}_matrix")(a) for a in arrays]


def dense(name, value):
    value = np.asarray(value)
    return pt.tensor(name, dtype=value.dtype, shape=(None,) * value.ndim)


# One sparse matrix like A -> something.
UNARY = {
    "transpose": lambda x: x.T,
    "neg": lambda x: -x,
    "cast": lambda x: x.astype("float32"),
    "to_integer": lambda x: x.astype("int8"),
    "dense": lambda x: ps.dense_from_sparse(x),
    "dense_regular": lambda x: REGULAR(x),
    "sum": lambda x: ps.sp_sum(x),
    "sum_rows": lambda x: ps.sp_sum(x, axis=1),
    "sum_columns": lambda x: ps.sp_sum(x, axis=0),
    "sum_structured": lambda x: ps.sp_sum(x, axis=0, sparse_grad=True),
    "remove0": lambda x: ps.remove0(x),
    "sorted": lambda x: ps.ensure_sorted_indices(x),
    "clean": lambda x: ps.clean(x),
    "exp": lambda x: ps.math.structured_exp(x),
    "pow": lambda x: ps.math.structured_pow(x, 2.0),
    "sign": lambda x: ps.math.sign(x),
    "ones_like": lambda x: ps.sp_ones_like(x),
    "zeros_like": lambda x: ps.sp_zeros_like(x),
    "data": lambda x: ps.csm_data(x),
    "indices": lambda x: ps.csm_indices(x),
    "indptr": lambda x: ps.csm_indptr(x),
    "shape": lambda x: ps.csm_shape(x),
    "dense_shape": lambda x: x.shape,
    "size": lambda x: x.size,
    "stack_itself": lambda x: ps.vstack([x, x], format="csr"),
    "add_itself": lambda x: x + x,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    inputs, values = matrices("csr", A)
    vmap = name in ("exp", "sum_rows", "sorted")
    check_sparse(inputs, UNARY[name](*inputs), values, vmap=vmap)


@pytest.mark.parametrize("name", ["transpose", "exp", "sorted", "sum_structured"])
def test_unary_by_column(name):
    inputs, values = matrices("csc", A)
    check_sparse(inputs, UNARY[name](*inputs), values, vmap=False)


# Two sparse matrices of a shape.
BINARY = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "hstack": lambda x, y: ps.hstack([x, y], format="csr"),
    "hstack_csc": lambda x, y: ps.hstack([x, y], format="csc", dtype="float32"),
    "vstack": lambda x, y: ps.vstack([x, y], format="csc"),
    "block_diag": lambda x, y: block_diag(x, y, format="csr"),
    "eq": ps.eq, "neq": ps.neq, "lt": ps.lt, "gt": ps.gt, "le": ps.le, "ge": ps.ge,
}  # fmt: skip
BY_COLUMN = [
    ("le", "csc"),
    *(
        pytest.param(n, "csc", marks=pytest.mark.slow)
        for n in ("add", "multiply", "gt")
    ),
]
NO_GRADIENT = {"eq", "neq", "lt", "gt", "le", "ge", "block_diag"}


@pytest.mark.parametrize(("name", "format"), [(n, "csr") for n in BINARY] + BY_COLUMN)
def test_binary(name, format):
    inputs, values = matrices(format, A, B)
    grad = name not in NO_GRADIENT
    out = BINARY[name](*inputs)
    check_sparse(inputs, out, values, grad=grad, vmap=format == "csr" and grad)


# Two square matrices. (PyTensor has no gradient of the first with respect to `y.T`.)
PRODUCTS = {
    "dot": ps.dot,
    "true_dot": ps.true_dot,
    "structured_dot": ps.structured_dot,
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_product(name, format):
    inputs, values = matrices(format, SQUARE, SQUARE - 1)
    out = PRODUCTS[name](*inputs)
    check_sparse(inputs, out, values, vmap=format == "csr")


# One sparse matrix and a dense operand.
MIXED = {
    "add": (A, D34, lambda x, y: x + y),
    "multiply": (A, D34, lambda x, y: x * y),
    "multiply_scalar": (A, np.array(-2.5), lambda x, y: x * y),
    "multiply_vector": (A, V4, lambda x, y: x * y),
    "add_vector": (A, V4, ps.math.structured_add_s_v),
    "col_scale": (A, V4, ps.col_scale),
    "row_scale": (A, V3, ps.row_scale),
    "dot": (A, D43, lambda x, y: ps.dot(x, y)),
    "dot_from_left": (A, D43, lambda x, y: ps.dot(y, x)),
    "dot_vector": (A, V4, lambda x, y: ps.dot(x, y)),
    "dot_vector_from_left": (A, V3, lambda x, y: ps.dot(y, x)),
    "structured_dot": (A, D43, ps.structured_dot),
    "structured_dot_from_left": (A, D43, lambda x, y: ps.structured_dot(y, x)),
    "true_dot": (A, D43, ps.true_dot),
    "eq": (A, A * [1, 0, 1, 2], ps.eq),
    "neq": (A, A * [1, 0, 1, 2], ps.neq),
    "lt": (A, A * [1, 0, 1, 2], ps.lt),
    "gt": (A, A * [1, 0, 1, 2], ps.gt),
    "le": (A, A * [1, 0, 1, 2], ps.le),
    "ge": (A, A * [1, 0, 1, 2], ps.ge),
    "block_diag": (A, D43 * (D43 > 0), lambda x, y: block_diag(x, y, x)),
}
MIXED_BY_COLUMN = [
    ("structured_dot", "csc"),
    *(
        pytest.param(name, "csc", marks=pytest.mark.slow)
        for name in ("multiply", "col_scale", "row_scale", "dot")
    ),
]


@pytest.mark.parametrize(
    ("name", "format"), [(n, "csr") for n in MIXED] + MIXED_BY_COLUMN
)
def test_with_dense(name, format):
    matrix, value, build = MIXED[name]
    (x,), (a,) = matrices(format, matrix)
    y = dense("y", value)
    grad = name not in NO_GRADIENT
    if name == "add_vector":
        # PyTensor's other gradient counts elements to which nothing is added.
        grad = "structured"
    vmap = format == "csr" and name in ("dot", "true_dot", "multiply", "add_vector")
    check_sparse([x, y], build(x, y), [a, value], grad=grad, vmap=vmap)

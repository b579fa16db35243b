"""Sparse matrices, and typed lists."""

import aesara
import aesara.tensor as at
import numpy as np
import scipy.sparse
from aesara import sparse
from aesara import typed_list as lists

from aesara_graphs import M, V, graph, register_all

A = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, -3.0], [0.0, 0.5, 0.0]])
D = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4], [1.0, 2.0, 3.0]])

csc, csr = sparse.csc_from_dense, sparse.csr_from_dense
dense = sparse.dense_from_sparse
PARTS = ([0, 1, 0], [0, 1, 2, 3], [2, 3])  # indices, index pointers, shape
ROWS = np.array([0, 2])

SPARSE = {
    "dense": (lambda x: dense(csr(x)), A),
    "csm": (lambda x: dense(sparse.CSC(x, *PARTS)), V[:3]),
    "csm_csr": (lambda x: dense(sparse.CSR(x, [0, 1, 2], [0, 1, 3], [2, 3])), V[:3]),
    "cast": (lambda x: dense(sparse.cast(csc(x), "float32")), A),
    "add": (lambda x, y: [dense(csc(x) + csc(y)), csc(x) + y], A, D),
    "sub": (lambda x, y: [dense(csr(x) - csr(y)), csr(x) - y], A, D),
    "mul": (lambda x, y: [
        dense(csr(x) * csr(y)), dense(csr(x) * y),
        dense(sparse.mul_s_v(csr(x), y[0]))], A, D),
    "add_s_s_data": (lambda x: dense(sparse.add_s_s_data(csc(x), 2.0 * csc(x))), A),
    "structured_add": (
        lambda x, y: dense(sparse.structured_add_s_v(csr(x), y)), A, V[:3]),
    "neg": (lambda x: dense(-csc(x)), A),
    "transpose": (lambda x: dense(csc(x).T), A),
    "sum": (lambda x: [
        sparse.sp_sum(csc(x)), sparse.sp_sum(csc(x), axis=0),
        sparse.sp_sum(csc(x), axis=1)], A),
    "diag": (lambda x: [sparse.diag(csc(x)), dense(sparse.square_diagonal(x[0]))], D),
    "scale": (lambda x, s: [
        dense(sparse.col_scale(csc(x), s)), dense(sparse.row_scale(csc(x), s))],
        A, V[:3]),
    "ensure_sorted": (lambda x: dense(sparse.ensure_sorted_indices(csc(x))), A),
    "remove0": (lambda x: dense(sparse.remove0(csc(x))), A),
    "hstack": (lambda x, y: dense(sparse.hstack([csc(x), csc(y)])), A, D),
    "vstack": (lambda x, y: dense(sparse.vstack([csr(x), csr(y)])), A, D),
    "index": (lambda x: [dense(csc(x)[0:2, 1:3]), csc(x)[1, 2]], A),
    "index_slice": (lambda x: dense(csr(x)[1:3]), A),
    "index_list": (lambda x: [
        dense(sparse.get_item_list(csr(x), ROWS)),
        sparse.get_item_2lists(csr(x), np.array([0, 1]), np.array([1, 2]))], A),
    "dot": (lambda x, y: [
        sparse.dot(csc(x), y), sparse.dot(y, csc(x)),
        dense(sparse.dot(csc(x), csc(y)))], A, D),
    "structured_dot": (lambda x, y: sparse.structured_dot(csr(x), y), A, D),
    "true_dot": (lambda x, y: dense(sparse.true_dot(csc(x), csc(y))), A, D),
    "sampling_dot": (lambda x, y: dense(sparse.sampling_dot(y, y, csr(x))), A, D),
    "usmm": (lambda x, y: sparse.usmm(at.constant(np.float64(2)), csc(x), y, y), A, D),
    "structured": (lambda x: dense(sparse.structured_sigmoid(csc(x))), A),
    "construct": (
        lambda x: dense(sparse.construct_sparse_from_list(x, x[:2] * 2, ROWS)), A),
    "grad_structured_dot": (
        lambda x, y: aesara.grad(sparse.structured_dot(csc(x), y).sum(), [x, y]), A, D),
    "grad_structured_dot_csr": (
        lambda x, y: aesara.grad(sparse.structured_dot(csr(x), y).sum(), [x, y]), A, D),
    "grad_dot": (
        lambda x, y: aesara.grad((sparse.dot(csr(x), y) ** 2).sum(), [x, y]), A, D),
    "grad_sum": (
        lambda x: aesara.grad((sparse.sp_sum(csc(x), axis=0) ** 2).sum(), x), A),
    "grad_csm": (
        lambda x: aesara.grad((dense(sparse.CSC(x, *PARTS)) ** 2).sum(), x), V[:3]),
    "grad_index": (lambda x: aesara.grad(
        sparse.sp_sum(sparse.get_item_list(csr(x), ROWS)), x), A),
    "grad_index_lists": (lambda x: aesara.grad(
        sparse.get_item_2lists(csr(x), ROWS, ROWS).sum(), x), A),
}  # fmt: skip


def compared(name):
    fn = getattr(sparse, name)
    return lambda x, y: [dense(fn(csc(x), csc(y))), fn(csc(x), y)]


for name in ("eq", "neq", "lt", "gt", "le", "ge"):
    SPARSE[name] = (compared(name), A, D)
register_all(SPARSE, "sparse_")


@graph
def sparse_variables():
    """Sparse inputs, constants and shared variables of both formats."""
    x, y = sparse.csr_matrix("x"), sparse.csc_matrix("y", dtype="float32")
    shared = aesara.shared(scipy.sparse.csr_matrix(A), name="shared")
    constant = sparse.as_sparse_variable(scipy.sparse.csr_matrix(D))
    values = [scipy.sparse.csr_matrix(A), scipy.sparse.csc_matrix(A.astype("f4"))]
    outputs = [dense(x + shared), dense(x + constant), dense(y)]
    return list(zip([x, y], values)), [*outputs, *sparse.csm_properties(x)]


@graph
def sparse_compiled():
    """What Aesara makes of products: Ops of the parts of a sparse matrix."""
    x, y = sparse.csc_matrix("x"), at.matrix("y")
    z = sparse.structured_dot(x, y) + sparse.structured_dot(y, x.T).T
    fn = aesara.function([x, y], [z, x + y])
    values = [scipy.sparse.csc_matrix(A), D]
    return list(zip(fn.maker.fgraph.inputs, values)), fn.maker.fgraph.outputs, fn


LISTS = {
    "get": (lambda x, y: lists.make_list([x, y])[1], M, M + 1),
    "append": (lambda x, y: lists.append(lists.make_list([x]), y)[1], M, M + 1),
    "length": (lambda x, y: lists.length(lists.make_list([x, y])), M, M + 1),
    "extend": (
        lambda x, y: lists.extend(lists.make_list([x]), lists.make_list([y, x]))[1],
        M,
        M + 1,
    ),
    "insert": (
        lambda x, y: lists.insert(lists.make_list([x]), np.int64(0), y)[0],
        M,
        M + 1,
    ),
    "reverse": (lambda x, y: lists.reverse(lists.make_list([x, y]))[0], M, M + 1),
    "count": (
        lambda x, y: [
            lists.count(lists.make_list([x, y]), x),
            lists.index_(lists.make_list([x, y]), y),
        ],
        M,
        M + 1,
    ),
}
register_all(LISTS, "list_")

import sys, numpy as np, scipy.sparse
import aesara, aesara.tensor as at, aesara.sparse as sparse
import __main__
from __main__ import graph, register, of, GRAPHS, M,V,S,B,POSITIVE

A = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, -3.0], [0.0, 0.5, 0.0]])
D = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4], [1.0, 2.0, 3.0]])

def csc(x): return sparse.csc_from_dense(x)
def csr(x): return sparse.csr_from_dense(x)
SP = {
  "dense": (lambda x: [sparse.dense_from_sparse(csc(x)), sparse.dense_from_sparse(csr(x))], A),
  "csm": (lambda x: [sparse.dense_from_sparse(sparse.CSC(x, [0,1,0],[0,1,2,3],[2,3])), sparse.dense_from_sparse(sparse.CSR(x, [0,1,2],[0,1,3],[2,3]))], V[:3]),
  "cast": (lambda x: sparse.dense_from_sparse(sparse.cast(csc(x), "float32")), A),
  "add": (lambda x, y: [sparse.dense_from_sparse(csc(x)+csc(y)), csc(x)+y], A, D),
  "sub": (lambda x, y: [sparse.dense_from_sparse(csr(x)-csr(y)), csr(x)-y], A, D),
  "mul": (lambda x, y: [sparse.dense_from_sparse(csc(x)*csc(y)), sparse.dense_from_sparse(csc(x)*y), sparse.dense_from_sparse(sparse.mul_s_v(csr(x), y[0]))], A, D),
  "add_s_s_data": (lambda x: sparse.dense_from_sparse(sparse.add_s_s_data(csc(x), 2.0*csc(x))), A),
  "structured_add": (lambda x, y: sparse.dense_from_sparse(sparse.structured_add_s_v(csr(x), y)), A, V[:3]),
  "neg": (lambda x: sparse.dense_from_sparse(-csc(x)), A),
  "transpose": (lambda x: sparse.dense_from_sparse(csc(x).T), A),
  "sum": (lambda x: [sparse.sp_sum(csc(x)), sparse.sp_sum(csc(x), axis=0), sparse.sp_sum(csr(x), axis=1)], A),
  "diag": (lambda x: [sparse.diag(csc(x)), sparse.dense_from_sparse(sparse.square_diagonal(x[0]))], D),
  "scale": (lambda x, s: [sparse.dense_from_sparse(sparse.col_scale(csc(x), s)), sparse.dense_from_sparse(sparse.row_scale(csc(x), s))], A, V[:3]),
  "ensure_sorted": (lambda x: sparse.dense_from_sparse(sparse.ensure_sorted_indices(csc(x))), A),
  "remove0": (lambda x: sparse.dense_from_sparse(sparse.remove0(csc(x))), A),
  "stack": (lambda x, y: [sparse.dense_from_sparse(sparse.hstack([csc(x), csc(y)])), sparse.dense_from_sparse(sparse.vstack([csr(x), csr(y)]))], A, D),
  "index": (lambda x: [sparse.dense_from_sparse(csc(x)[0:2, 1:3]), csc(x)[1, 2]], A),
  "index_slice": (lambda x: sparse.dense_from_sparse(csr(x)[1:3]), A),
  "index_list": (lambda x: [sparse.dense_from_sparse(sparse.get_item_list(csr(x), np.array([0, 2]))), sparse.get_item_2lists(csr(x), np.array([0, 1]), np.array([1, 2]))], A),
  "dot": (lambda x, y: [sparse.dot(csc(x), y), sparse.dot(y, csc(x)), sparse.dense_from_sparse(sparse.dot(csc(x), csc(y)))], A, D),
  "structured_dot": (lambda x, y: [sparse.structured_dot(csc(x), y), sparse.structured_dot(csr(x), y)], A, D),
  "true_dot": (lambda x, y: sparse.dense_from_sparse(sparse.true_dot(csc(x), csc(y))), A, D),
  "sampling_dot": (lambda x, y: sparse.dense_from_sparse(sparse.sampling_dot(y, y, csr(x))), A, D),
  "usmm": (lambda x, y: sparse.usmm(at.constant(np.float64(2.0)), csc(x), y, y), A, D),
  "grad_structured_dot": (lambda x, y: aesara.grad(sparse.structured_dot(csc(x), y).sum(), [x, y]), A, D),
  "grad_dot": (lambda x, y: aesara.grad((sparse.dot(csr(x), y)**2).sum(), [x, y]), A, D),
  "grad_sum": (lambda x: aesara.grad((sparse.sp_sum(csc(x), axis=0)**2).sum(), x), A),
  "grad_csm": (lambda x: aesara.grad((sparse.dense_from_sparse(sparse.CSC(x, [0,1,0],[0,1,2,3],[2,3]))**2).sum(), x), V[:3]),
  "grad_index": (lambda x: aesara.grad(sparse.sp_sum(sparse.get_item_list(csr(x), np.array([0, 2]))), x), A),
  "structured": (lambda x: [sparse.dense_from_sparse(sparse.structured_sigmoid(csc(x))), sparse.dense_from_sparse(sparse.structured_exp(csr(x)))], A),
  "construct": (lambda x: sparse.dense_from_sparse(sparse.construct_sparse_from_list(x, x[:2]*2, np.array([0, 2]))), A),
}
for c in ("eq","neq","lt","gt","le","ge"):
    SP[c]=(lambda x,y,c=c: [sparse.dense_from_sparse(getattr(sparse,c)(csc(x),csc(y))), getattr(sparse,c)(csc(x),y)], A, D)
for k,(fn,*v) in SP.items(): register("sparse_"+k, fn, *v)

@graph
def sparse_inputs():
    x = sparse.csr_matrix("x"); y=sparse.csc_matrix("y", dtype="float32")
    s = aesara.shared(scipy.sparse.csr_matrix(A), name="s")
    return [(x, scipy.sparse.csr_matrix(A)), (y, scipy.sparse.csc_matrix(A.astype("f4")))], [sparse.dense_from_sparse(x+s), *sparse.csm_properties(x), sparse.dense_from_sparse(y), sparse.dense_from_sparse(x+sparse.as_sparse_variable(scipy.sparse.csr_matrix(D)))]

import aesara.typed_list as tl
TL={
 "get": (lambda x,y: tl.make_list([x,y])[1], M, M+1),
 "append": (lambda x,y: [tl.append(tl.make_list([x]),y)[1], tl.length(tl.append(tl.make_list([x]),y))], M, M+1),
 "extend": (lambda x,y: tl.extend(tl.make_list([x]),tl.make_list([y,x]))[1], M, M+1),
 "insert": (lambda x,y: tl.insert(tl.make_list([x]),np.int64(0),y)[0], M, M+1),
 "reverse": (lambda x,y: tl.reverse(tl.make_list([x,y]))[0], M, M+1),
 "count": (lambda x,y: [tl.count(tl.make_list([x,y]),x), tl.index_(tl.make_list([x,y]),y)], M, M+1),
}
for k,(fn,*v) in TL.items(): register("list_"+k, fn, *v)

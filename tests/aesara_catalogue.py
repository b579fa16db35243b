"""Graphs of every family of Ops in Aesara 2.9, with the values that it computes.

    python aesara_catalogue.py FOLDER [NAME ...]

runs next to Aesara, with `aesara_export.py` on the path. It writes ``NAME.aesara``, and
``NAME.npz`` with the arguments (``in0``, ...) and the results (``out0``, ...). With
``--classes`` it prints the names of all classes of Ops instead.
"""

import os
import sys
import warnings
from functools import partial
from pathlib import Path

os.environ.setdefault("AESARA_FLAGS", "cxx=")
warnings.simplefilter("ignore")

import aesara
import aesara.scalar as aes
import aesara.sparse as sparse
import aesara.tensor as at
import numpy as np
import scipy.sparse
from aesara.compile.builders import OpFromGraph
from aesara.ifelse import ifelse
from aesara.tensor import fft, nlinalg, slinalg
from aesara.tensor.elemwise import CAReduce, Elemwise
from aesara.tensor.shape import Shape_i, specify_broadcastable, unbroadcast



GRAPHS = {}
V = np.array([-2.3, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 2.7])
UNIT = np.array([-0.99, -0.5, -0.1, 0.0, 0.3, 0.9])
POSITIVE = np.array([0.1, 0.5, 1.0, 2.0, 7.5])
M = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])
INTS = np.array([-7, -2, -1, 0, 1, 3, 8])
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
B = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.2]])


def graph(fn):
    """Register a graph: ``fn`` returns the arguments by variable, and the outputs."""
    GRAPHS[fn.__name__] = fn
    return fn


def of(fn, *values, dtypes=None):
    """The graph of a function of tensors with such values."""
    values = [np.asarray(value) for value in values]
    inputs = [
        at.TensorType(str(v.dtype), shape=(None,) * v.ndim)("x%d" % i)
        for i, v in enumerate(values)
    ]
    outputs = fn(*inputs)
    return list(zip(inputs, values)), outputs


def register(name, fn, *values):
    assert name not in GRAPHS, name
    GRAPHS[name] = partial(of, fn, *values)


# --- elementwise --------------------------------------------------------------------------

UNARY = {
    "exp": V, "exp2": V, "expm1": V, "log": POSITIVE, "log2": POSITIVE,
    "log10": POSITIVE, "log1p": POSITIVE, "sqrt": POSITIVE, "sqr": V, "sin": V,
    "cos": V, "tan": V, "sinh": V, "cosh": V, "tanh": V, "arcsin": UNIT, "arccos": UNIT,
    "arctan": V, "arcsinh": V, "arccosh": POSITIVE + 1, "arctanh": UNIT, "ceil": V,
    "floor": V, "trunc": V, "sgn": V, "neg": V, "abs": V, "reciprocal": POSITIVE,
    "erf": V, "erfc": V, "erfcx": V, "erfinv": UNIT, "erfcinv": POSITIVE[:3],
    "gamma": POSITIVE, "gammaln": POSITIVE, "psi": POSITIVE, "tri_gamma": POSITIVE,
    "j0": V, "j1": V, "i0": V, "i1": V, "sigmoid": V, "softplus": V,
    "log1mexp": -POSITIVE, "deg2rad": V, "rad2deg": V, "isnan": V, "isinf": V,
    "round_half_to_even": V, "round_half_away_from_zero": V,
}  # fmt: skip
for name, values in UNARY.items():
    register("unary_" + name, getattr(at, name), values)
for name in ("exp", "sqrt", "sgn", "abs", "tanh", "gammaln", "sqr", "floor", "sigmoid"):
    register("float32_" + name, getattr(at, name), POSITIVE.astype("float32"))
for name in ("exp", "sqr", "sqrt", "neg", "abs", "sgn", "floor", "reciprocal", "cos"):
    register("int8_" + name, getattr(at, name), np.abs(INTS).astype("int8") + 1)
register("bitwise_invert", at.invert, INTS)
register("bool_invert", at.invert, INTS > 0)

BINARY = {
    "add": (V, V[::-1]), "sub": (V, V[::-1]), "mul": (V, V[::-1]), "lt": (V, V[::-1]),
    "true_div": (V, POSITIVE[:1]), "int_div": (V, POSITIVE[1:2]), "gt": (V, V[::-1]),
    "mod": (V, POSITIVE[1:2]), "pow": (POSITIVE, POSITIVE[::-1]), "le": (V, V[::-1]),
    "maximum": (V, V[::-1]), "minimum": (V, V[::-1]), "ge": (V, V[::-1]),
    "eq": (V, V[::-1]), "neq": (V, V[::-1]), "arctan2": (V, V[::-1]),
    "gammainc": (POSITIVE, POSITIVE[::-1]), "gammaincc": (POSITIVE, POSITIVE[::-1]),
    "gammau": (POSITIVE, POSITIVE[::-1]), "gammal": (POSITIVE, POSITIVE[::-1]),
    "jv": (POSITIVE, POSITIVE[::-1]), "iv": (POSITIVE, POSITIVE[::-1]),
    "chi2sf": (POSITIVE, POSITIVE[::-1]), "owens_t": (V, V[::-1]),
    "logaddexp": (V, V[::-1]), "second": (V, V[::-1]),
}  # fmt: skip
for name, values in BINARY.items():
    broadcastable = [v if len(v) > 1 else v[0] for v in values]
    register("binary_" + name, getattr(at, name, getattr(at, "fill")), *broadcastable)
for name in ("add", "mul", "true_div", "int_div", "mod", "pow", "maximum", "bitwise_xor"):
    op = getattr(at, name)
    register("int8_int16_" + name, op, INTS.astype("int8"), np.array(3, "int16"))
for name in ("add", "true_div", "pow", "maximum"):
    op = getattr(at, name)
    register("int8_float32_" + name, op, np.abs(INTS).astype("int8"), V[:7].astype("f4"))
register("bool_and", at.and_, INTS > 0, INTS < 3)
register("bool_or", at.or_, INTS > 0, INTS < 3)
register("bool_xor", at.xor, INTS > 0, INTS < 3)
register("uint8_sub", at.sub, np.array([1, 2], "uint8"), np.array([2, 1], "uint8"))
register("clip", at.clip, V, -1.0, 0.7)
register("clip_mixed", at.clip, INTS.astype("int8"), -1.5, 3)
register("switch", at.switch, V > 0, V, 2.0 * V)
register("switch_mixed", at.switch, V > 0, np.float32(1), INTS[0])
register("betainc", at.betainc, POSITIVE, POSITIVE[::-1], 0.3)
register("hyp2f1", at.hyp2f1, 1.2, 0.7, 2.1, UNIT)
for dtype in ("int8", "int64", "float32", "bool", "uint16", "complex64"):
    register("cast_" + dtype, lambda x, d=dtype: at.cast(x, d), V)


def _complex(x, y):
    z = at.complex(x, y)
    return [z, at.real(z), at.imag(z), at.conj(z), at.angle(z), abs(z), z * z, at.exp(z)]


register("complex", _complex, V, V[::-1])
register("complex_polar", lambda r, a: at.complex_from_polar(r, a), POSITIVE, POSITIVE)


@graph
def in_range():
    op = Elemwise(aes.InRange(True, False))
    return of(lambda x: op(x, np.float64(-1.0), np.float64(0.5)), V)


@graph
def xlogx():
    from aesara.tensor.xlogx import xlogx, xlogy0

    return of(lambda x, y: [xlogx(x), xlogy0(x, y)], np.abs(V), np.abs(V[::-1]))


@graph
def sigmoids():
    from aesara.tensor.nnet import hard_sigmoid, softsign, ultra_fast_sigmoid

    return of(lambda x: [ultra_fast_sigmoid(x), softsign(x), hard_sigmoid(x)], 2 * V)


@graph
def scalar_graph():
    """Ops of scalars, without `Elemwise`."""

    def fn(x):
        a, b = at.scalar_from_tensor(x[1]), at.scalar_from_tensor(x[2])
        return at.tensor_from_scalar(aes.exp(a) * aes.switch(aes.lt(a, b), a, b))

    return of(fn, V)


@graph
def composite():
    x, y = aes.float64("x"), aes.float64("y")
    op = Elemwise(aes.Composite([x, y], [aes.exp(x) * y, aes.sqr(y) - x]))
    return of(lambda a, b: op(a, b), V, V[::-1])


@graph
def composite_of_composite():
    x, y = aes.float64("x"), aes.float64("y")
    inner = aes.Composite([x, y], [x * y + aes.tanh(x)])
    op = Elemwise(aes.Composite([x, y], [inner(x, y), aes.identity(y)]))
    return of(lambda a, b: op(a, b), V, V[::-1])


@graph
def composite_identity():
    """A result that is an operand, and one that is a constant."""
    x, y = aes.float64("x"), aes.float32("y")
    op = Elemwise(aes.Composite([x, y], [aes.identity(y), aes.identity(x)]))
    return of(lambda a, b: op(a, b), M, np.float32(2))


def _gradient(fn):
    return lambda *xs: aesara.grad(fn(*xs).sum(), list(xs))


GRADIENTS = {
    "gammainc": (at.gammainc, POSITIVE, POSITIVE[::-1]),
    "gammaincc": (at.gammaincc, POSITIVE, POSITIVE[::-1]),
    "betainc": (at.betainc, POSITIVE, POSITIVE[::-1], 0.2 + 0.1 * UNIT[1:]),
    "hyp2f1": (at.hyp2f1, POSITIVE, POSITIVE[::-1], POSITIVE + 1, 0.5 * UNIT[1:]),
    "softmax": (lambda x: at.special.softmax(x, axis=-1)[:, 0] ** 2, M),
    "log_softmax": (lambda x: at.special.log_softmax(x, axis=0)[0], M),
    "max": (lambda x: x.max(axis=1), M),
    "prod": (lambda x: x.prod(axis=1), M),
    "prod_zero": (lambda x: x.prod(axis=1), np.array([[0.0, 2.0], [0.0, 0.0]])),
    "sort": (lambda x: at.sort(x, axis=1)[:, 0] ** 2, M),
    "index": (lambda x: x[:, 1:] ** 2, M),
    "take": (lambda x: x[:, [0, 0, 2]] ** 2, M),
    "det": (nlinalg.det, S),
    "inverse": (lambda x: nlinalg.matrix_inverse(x)[0], S),
    "cholesky": (lambda x: slinalg.cholesky(x)[1], S),
    "eigh": (lambda x: nlinalg.eigh(x)[0][0] + nlinalg.eigh(x)[1][0, 0] ** 2, S),
    "eigvalsh": (lambda x: slinalg.eigvalsh(x, at.eye(3))[0], S),
    "expm": (lambda x: slinalg.expm(x)[0, 1], S / 4),
    "solve": (lambda a, b: slinalg.solve(a, b)[0], S, B),
    "solve_triangular": (lambda a, b: slinalg.solve_triangular(a, b, lower=True), S, B),
    "pinv": (lambda x: nlinalg.pinv(x)[0], B),
    "clip": (lambda x: at.clip(x, -1, 1), V),
    "where": (lambda x: at.switch(x > 0, x**2, -x), V),
    "logsumexp": (lambda x: at.logsumexp(x, axis=1), M),
    "cumsum": (lambda x: at.cumsum(x, axis=1)[:, 2] ** 2, M),
    "dot": (lambda x, y: at.dot(x, y), M, B),
    "rfft": (lambda x: fft.rfft(x)[0] ** 2, M),
}
for name, (fn, *values) in GRADIENTS.items():
    register("grad_" + name, _gradient(fn), *values)


# --- shapes and constructors ----------------------------------------------------------------

SHAPES = {
    "shape": (lambda x: [x.shape, x.shape[0], x.size, x.ndim + x.sum()], M),
    "shape_i": (lambda x: Shape_i(1)(x), M),
    "specify_shape": (lambda x: at.specify_shape(x, (2, None)) + 1, M),
    "reshape": (lambda x: [x.reshape((3, 2)), x.reshape((-1,)), x.flatten()], M),
    "reshape_symbolic": (lambda x: x.reshape((x.shape[1], -1)), M),
    "dimshuffle": (lambda x: [x.T, x.dimshuffle("x", 1, "x", 0)], M),
    "unbroadcast": (lambda x: unbroadcast(x[None], 0) * 2, M),
    "specify_broadcastable": (lambda x: specify_broadcastable(x, 0)[0], M[:1]),
    "broadcast_to": (lambda x: at.broadcast_to(x, (4, 2, 3)), M),
    "broadcast_arrays": (lambda x, y: at.broadcast_arrays(x, y[:, None]), M, V[:2]),
    "alloc": (lambda x: at.alloc(x[0], 2, x.shape[0], 3), M),
    "alloc_empty": (lambda x: at.set_subtensor(at.empty(x.shape)[:], x), M),
    "alloc_diag": (lambda x: [at.diag(x), at.basic.AllocDiag(1, 0, 1)(x)], V),
    "extract_diag": (lambda x: [at.diagonal(x), at.diagonal(x, 1), at.diag(x)], M),
    "arange": (lambda n: at.arange(2, 11, 3) + 0 * n, np.array(1)),
    "arange_float": (lambda n: at.arange(0.5, 2.0, 0.25) * n, np.array(1.5)),
    "eye": (lambda n: at.eye(3, 4, 1) * n, np.array(2.0)),
    "tri": (lambda x: [at.tri(3, 4, 1) * x[0, 0], at.tril(x), at.triu(x, 1)], M),
    "join": (lambda x, y: [at.join(0, x, y), at.concatenate([x, y], axis=1)], M, 2 * M),
    "join_mixed": (lambda x, y: at.join(0, x, y), V, INTS.astype("int8")),
    "stack": (lambda x, y: [at.stack([x, y], 1), at.stack([x[0, 0], y[1, 1]])], M, 2 * M),
    "split": (lambda x: at.split(x, [1, 2], 2, axis=1), M),
    "make_vector": (lambda x: at.basic.MakeVector("float64")(x[0, 0], x[1, 1]), M),
    "nonzero": (lambda x: x[at.nonzero(x > 0)].sum(), M),
    "nonzero_values": (lambda x: at.nonzero_values(x).sum() + x, V),
    "tile": (lambda x: at.tile(x, (2, 2)), M),
    "roll": (lambda x: at.roll(x, 1, axis=1), M),
    "swapaxes": (lambda x: at.swapaxes(x, 0, 1), M),
    "flip": (lambda x: x[::-1, ::-1], M),
    "repeat": (lambda x: [at.repeat(x, 2, axis=0), at.repeat(x, 3)], M),
    "repeat_vector": (lambda x, r: at.repeat(x, r, axis=1), M, np.array([1, 0, 2])),
    "choose": (lambda i, x: at.choose(i, x), np.array([0, 1, 1]), M),
    "choose_clip": (lambda i, x: at.choose(i, x, mode="clip"), np.array([0, 3, 1]), M),
    "permute_rows": (at.permute_row_elements, M, np.array([2, 0, 1])),
    "inverse_permutation": (at.inverse_permutation, np.array([2, 0, 1])),
    "default": (lambda x: at.basic.default(x, x + 1), V),
    "cumulative": (lambda x: [at.cumsum(x), at.cumprod(x, 1), at.cumsum(x, 0)], M),
    "diff": (lambda x: at.diff(x, n=2), M),
    "bincount": (lambda i: at.bincount(i, minlength=7), np.array([0, 2, 2, 5])),
    "bincount_weights": (lambda i, w: at.bincount(i, w), np.array([0, 2, 2]), V[:3]),
    "bartlett": (lambda n: at.bartlett(n), np.array(6)),
    "fill_diagonal": (at.fill_diagonal, M, 9.0),
    "fill_diagonal_offset": (
        lambda x, v: at.fill_diagonal_offset(x, v, np.int64(1)), S, 9.0,
    ),
    "searchsorted": (lambda a, v: [
        at.searchsorted(a, v), at.searchsorted(a, v, side="right")], V, POSITIVE),
    "searchsorted_sorter": (lambda a, v: at.searchsorted(
        a, v, sorter=at.argsort(a)), V[::-1], POSITIVE),
    "unique": (lambda x: at.unique(
        x, return_index=True, return_inverse=True, return_counts=True),
        np.array([[3, 1], [1, 2]])),
    "unique_axis": (lambda x: at.unique(x, axis=0), np.array([[3, 1], [1, 2], [3, 1]])),
    "unravel_index": (lambda i: at.unravel_index(i, (3, 4)), np.array([0, 5, 11])),
    "ravel_multi_index": (lambda i, j: at.ravel_multi_index(
        (i, j), (3, 4), mode="wrap"), np.array([0, 4, 2]), np.array([1, 2, 3])),
    "cpu_contiguous": (lambda x: at.extra_ops.cpu_contiguous(x.T), M),
    "to_one_hot": (lambda i: at.extra_ops.to_one_hot(i, 4), np.array([0, 2])),
    "compress": (lambda x: at.compress([True, False, True], x, axis=1), M),
    "linspace": (lambda n: at.extra_ops.linspace(0, 1, 5) * n, np.array(2.0)),
    "mgrid": (lambda x, y: at.mgrid[0:2, 0:3][0] * x[0] + y[0], V[:2], V[:3]),
    "triangle_indices": (lambda x: x[at.tril_indices(3)], S),
    "expand_dims": (lambda x: at.expand_dims(x, 1), M),
    "outer": (at.outer, V, V),
    "trace": (lambda x: at.nlinalg.trace(x), S),
}  # fmt: skip
for name, (fn, *values) in SHAPES.items():
    register(name, fn, *values)


# --- reductions -----------------------------------------------------------------------------

for name in ("sum", "prod", "max", "min", "mean", "var", "std"):
    reduce = getattr(at, name)
    register(
        "reduce_" + name, lambda x, r=reduce: [r(x), r(x, axis=0), r(x, axis=1)], M
    )
for name in ("all", "any"):
    reduce = getattr(at, name)
    register("reduce_" + name, lambda x, r=reduce: [r(x), r(x, axis=0)], M > 0)
for name in ("sum", "prod", "max", "mean"):
    reduce = getattr(at, name)
    register("reduce_int8_" + name, lambda x, r=reduce: r(x), INTS.astype("int8")[:3])
    register("reduce_f4_" + name, lambda x, r=reduce: r(x, axis=0), M.astype("float32"))
    register("reduce_bool_" + name, lambda x, r=reduce: r(x), INTS > 0)
register("sum_dtype", lambda x: at.sum(x, dtype="float32", acc_dtype="float64"), M)
register("sum_keepdims", lambda x: at.sum(x, axis=1, keepdims=True), M)
register("sum_axes", lambda x: at.sum(x, axis=(0, 2)), np.arange(12.0).reshape(2, 3, 2))
register("sum_empty", lambda x: [at.sum(x), at.prod(x)], np.zeros((0, 3)))
register("argmax", lambda x: [at.argmax(x), at.argmax(x, axis=1), at.argmin(x, 0)], M)
register("max_and_argmax", lambda x: at.max_and_argmax(x, axis=1), M)
register("max_and_argmax_all", lambda x: at.max_and_argmax(x), M)
register("max_ints", lambda x: [at.max(x), at.min(x)], INTS.astype("uint8"))
register("logsumexp", lambda x: at.logsumexp(x, axis=1), M)
register("bitwise_reduce", lambda x: [
    CAReduce(aes.or_, axis=0)(x), CAReduce(aes.xor, axis=None)(x)], INTS)
register("max_scalar_op", lambda x: CAReduce(aes.scalar_maximum, axis=(0,))(x), M)
register("prod_without_zeros", lambda x: at.math.ProdWithoutZeros(axis=(1,))(x),
         np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 0.0]]))
register("mean_op", lambda x: at.math.Mean(axis=0)(x), M)
register("ptp", lambda x: at.ptp(x, axis=0), M)
register("dot", lambda x, y: [
    at.dot(x, y), at.dot(x[0], y), at.dot(x, y[:, 0]), at.dot(x[0], y[:, 0])], M, B)
register("dot_mixed", at.dot, M.astype("float32"), B)
register("dot_ints", at.dot, np.array([[1, 2]], "int8"), np.array([[3], [4]], "int8"))
register("tensordot", lambda x, y: at.tensordot(x, y, [[1], [0]]), M, B)
register("batched_dot", at.batched_dot, np.stack([M, 2 * M]), np.stack([B, B + 1]))
register("matmul", at.matmul, np.stack([M, 2 * M]), B)
register("softmax", lambda x: [
    at.special.softmax(x, axis=None), at.special.softmax(x, axis=0),
    at.special.log_softmax(x, axis=-1)], M)


# --- indexing and sorting -------------------------------------------------------------------

I = np.array([1, 0, 1])
INDEXING = {
    "index": (lambda x: [x[1], x[:, 1], x[0, 2], x[-1, ::-1], x[:, :2], x[1:, -2:]], M),
    "index_symbolic": (lambda x, i: [x[i], x[:i], x[:, i:], x[i, i]], M, np.array(1)),
    "index_newaxis": (lambda x: x[:, None, 1:], M),
    "take": (lambda x, i: [x[i], x[:, i], at.take(x, i, axis=1)], M, I),
    "take_mode": (lambda x, i: at.take(x, i, axis=1, mode="clip"), M, I + 5),
    "advanced": (lambda x, i: [x[i, i], x[i, 1:], x[i[:, None], i]], M, I),
    "advanced_newaxis": (lambda x, i: x[i, None], M, I),
    "advanced_slice": (lambda x, i: x[i, i[0] :, i], np.arange(27.0).reshape(3, 3, 3), I),
    "mask": (lambda x: [x[x > 0].sum(), at.exp(x[(x > 0).any(axis=1)]).sum()], M),
    "set": (lambda x, y: [
        at.set_subtensor(x[0], y), at.set_subtensor(x[:, 1:], y[1:]),
        at.set_subtensor(x[1, 2], y[0])], M, V[:3]),
    "inc": (lambda x, y: [
        at.inc_subtensor(x[0], y), at.inc_subtensor(x[::-1], y),
        at.inc_subtensor(x[:], y)], M, V[:3]),
    "set_take": (lambda x, i: at.set_subtensor(x[i], 5.0), M, np.array([1])),
    "inc_take": (lambda x, i: at.inc_subtensor(x[i], 5.0), M, I),
    "inc_take_axis": (lambda x, i: at.inc_subtensor(x[:, i], 5.0), M, I),
    "set_advanced": (lambda x, i, y: at.set_subtensor(x[i, i + 1], y), M, I[:2], V[:2]),
    "inc_advanced": (lambda x, i, y: at.inc_subtensor(x[i, i], y), M, I, V[:3]),
    "inc_ignore_duplicates": (lambda x, i: at.subtensor.AdvancedIncSubtensor(
        ignore_duplicates=True)(x, np.float64(5.0), i), M, I),
    "set_mask": (lambda x: at.set_subtensor(x[x > 0], 0.0), M),
    "inc_mask": (lambda x: at.inc_subtensor(x[x > 0], 1.0), M),
    "set_mixed": (lambda x, y: at.set_subtensor(x[0], y), M, np.float32(3)),
    "sort": (lambda x: [at.sort(x), at.sort(x, axis=0), at.sort(x, axis=None)], M),
    "argsort": (lambda x: [at.argsort(x), at.argsort(x, 0), at.argsort(x, None)], M),
    "topk": (lambda x: [
        at.sort(at.topk(x, 2, sorted=False)), at.argtopk(x, 1, axis=0, sorted=False),
        at.sort(at.topk(x, -2, sorted=False))], M),
}  # fmt: skip
for name, (fn, *values) in INDEXING.items():
    register(("indexing_" if name in ("take", "set") else "") + name, fn, *values)


# --- linear algebra -------------------------------------------------------------------------

L = np.linalg.cholesky(S)
LINALG = {
    "det": (nlinalg.det, S),
    "inverse": (nlinalg.matrix_inverse, S),
    "pinv": (nlinalg.pinv, B),
    "eigh": (lambda x: [nlinalg.eigh(x)[0], abs(nlinalg.eigh(x, "U")[1])], S),
    "eig": (lambda x: at.sort(nlinalg.eig(x)[0]), S),
    "svd": (lambda x: [nlinalg.svd(x)[1], nlinalg.svd(x, compute_uv=False)], B),
    "qr": (lambda x: [abs(v) for v in nlinalg.qr(x)], B),
    "qr_complete": (lambda x: [abs(nlinalg.qr(x, "complete")[1])], B),
    "qr_r": (lambda x: abs(nlinalg.qr(x, "r")), B),
    "lstsq": (lambda x, y: nlinalg.lstsq(x, y, np.float64(-1.0))[0], B, S[:, :1]),
    "tensorinv": (lambda x: nlinalg.tensorinv(x, 1), S),
    "tensorsolve": (lambda a, b: nlinalg.tensorsolve(a, b), np.eye(6).reshape(2, 3, 2, 3) + 1, M),
    "matrix_power": (lambda x: nlinalg.matrix_power(x, 3), S),
    "norm": (lambda x: [nlinalg.norm(x, "fro"), nlinalg.norm(x, 1)], S),
    "cholesky": (lambda x: [slinalg.cholesky(x), slinalg.Cholesky(lower=False)(x)], S),
    "cholesky_nan": (lambda x: slinalg.Cholesky(on_error="nan")(x), -S),
    "solve": (lambda a, b: [slinalg.solve(a, b), slinalg.solve(a, b[:, 0])], S, B),
    "solve_sym": (lambda a, b: slinalg.solve(a, b, assume_a="sym", lower=True), S, B),
    "solve_pos": (lambda a, b: slinalg.solve(a, b, assume_a="pos"), S, B),
    "solve_triangular": (lambda a, b: [
        slinalg.solve_triangular(a, b, lower=True),
        slinalg.solve_triangular(a, b, lower=True, trans=1),
        slinalg.solve_triangular(a, b[:, 0], lower=False, unit_diagonal=True)], S, B),
    "cholesky_solve": (lambda a, b: slinalg.cho_solve((a, True), b), L, B),
    "eigvalsh": (lambda a: slinalg.eigvalsh(a, at.eye(3)), S),
    "expm": (slinalg.expm, S / 4),
    "kron": (slinalg.kron, M, B),
    "lyapunov_continuous": (slinalg.solve_continuous_lyapunov, S, np.eye(3)),
    "lyapunov_discrete": (lambda a, q: slinalg.solve_discrete_lyapunov(
        a, q, method="bilinear"), S / 8, np.eye(3)),
    "lyapunov_direct": (lambda a, q: slinalg.solve_discrete_lyapunov(a, q), S / 8, S),
    "gemm": (lambda z, x, y: at.blas.gemm_no_inplace(
        z, np.float64(0.5), x, y, np.float64(2.0)), np.eye(2), M, B),
    "gemv": (lambda y, a, x: at.blas.gemv_no_inplace(
        y, np.float64(0.5), a, x, np.float64(2.0)), V[:2], M, V[:3]),
    "ger": (lambda a, x, y: at.blas.ger(a, np.float64(0.5), x, y), M, V[:2], V[:3]),
    "dot22": (lambda x, y: [
        at.blas._dot22(x, y), at.blas._dot22scalar(x, y, at.constant(np.float64(2.0)))], M, B),
    "rfft": (lambda x: [fft.rfft(x), fft.irfft(fft.rfft(x))], np.stack([V, V])),
    "rfft_norm": (lambda x: fft.rfft(x, norm="ortho"), np.stack([V, V])),
    "convolve": (lambda x, y: [
        at.math.Convolve("full")(x, y), at.math.Convolve("valid")(x, y)], V, V[:3]),
    "float32_solve": (slinalg.solve, S.astype("float32"), B.astype("float32")),
    "float32_cholesky": (slinalg.cholesky, S.astype("float32")),
}  # fmt: skip
for name, (fn, *values) in LINALG.items():
    register("linalg_" + name, fn, *values)


@graph
def fourier():
    from aesara.tensor.fourier import fft

    return of(lambda x: [at.real(fft(x, 8, 0)), at.imag(fft(x, 8, 0))], V)


# --- control --------------------------------------------------------------------------------


@graph
def scan_map():
    return of(lambda x: aesara.scan(lambda a: at.exp(a) + 1, [x])[0], M)


@graph
def scan_cumulative():
    return of(
        lambda x: aesara.scan(lambda a, s: s + a**2, [x], [at.zeros(3)])[0], M
    )


@graph
def scan_taps():
    def fn(x):
        start = dict(initial=at.as_tensor(np.array([0.5, 1.0])), taps=[-2, -1])
        step = lambda a, b, c, k: [k * a + b - c, a + b]
        return aesara.scan(step, [x], [start, None], [at.as_tensor(np.float64(0.3))])[0]

    return of(fn, V)


@graph
def scan_sequence_taps():
    step = lambda before, now: now - before
    return of(lambda x: aesara.scan(step, [dict(input=x, taps=[-1, 0])])[0], V)


@graph
def scan_last():
    return of(lambda x: aesara.scan(lambda s, k: s * k, None, [x], [x], 5)[0][-1], V)


@graph
def scan_while():
    from aesara.scan.utils import until

    def fn(x):
        step = lambda s, k: (s * k, until(s > 100))
        return aesara.scan(step, None, [np.float64(1.0)], [x], 50)[0][-1]

    return of(fn, np.float64(2.5))


@graph
def scan_backwards():
    step = lambda a, s: a + 0.5 * s
    start = np.float64(0.0)
    return of(lambda x: aesara.scan(step, [x], [start], go_backwards=True)[0], V)


@graph
def scan_gradient():
    def fn(x, k):
        step = lambda a, s, k: at.tanh(s * k + a)
        states = aesara.scan(step, [x], [np.float64(0.1)], [k])[0]
        return aesara.grad(states.sum(), [x, k])

    return of(fn, V, np.float64(0.7))


@graph
def scan_gradient_taps():
    def fn(x):
        start = dict(initial=x[:2], taps=[-2, -1])
        states = aesara.scan(lambda a, b: a * b + 0.1, None, [start], n_steps=4)[0]
        return aesara.grad(states[-1], x)

    return of(fn, V)


@graph
def scan_nested():
    inner = lambda row: aesara.scan(lambda a, s: a + 2 * s, [row], [np.float64(0.0)])[0]
    return of(lambda x: aesara.scan(inner, [x])[0], M)


@graph
def scan_symbolic_length():
    return of(
        lambda n: aesara.scan(lambda s: 2 * s, None, [np.float64(1.0)], n_steps=n)[0][-1],
        np.array(6),
    )


@graph
def scan_reduce():
    return of(lambda x: aesara.reduce(lambda a, s: a + s, x, np.float64(0.0))[0], V)


@graph
def ifelse_one():
    return of(lambda c, x: ifelse(c > 0, x, 2 * x), np.array(1.0), V)


@graph
def ifelse_two():
    fn = lambda c, x: ifelse(c > 0, [x, x + 1], [2 * x, x - 1])
    return of(fn, np.array(-1.0), V)


@graph
def op_from_graph():
    x, y = at.vector("x"), at.scalar("y")
    op = OpFromGraph([x, y], [at.exp(x) * y, x.sum() + y], name="mine")
    return of(lambda a, b: op(a, b), V, np.float64(2.0))


@graph
def op_from_graph_shared():
    x = at.vector("x")
    k = aesara.shared(3.0, name="k")
    op = OpFromGraph([x], [x * k])
    return of(lambda a: op(op(a)), V)


@graph
def op_from_graph_gradient():
    x = at.vector("x")
    op = OpFromGraph([x], [at.sqr(x) * x])
    return of(lambda a: aesara.grad(op(a).sum(), a), V)


@graph
def asserts():
    from aesara.raise_op import Assert, CheckAndRaise

    return of(
        lambda x: Assert("positive")(x, x.sum() > 0)
        + CheckAndRaise(ValueError, "small")(x, x.max() < 99),
        POSITIVE,
    )


@graph
def gradient_overrides():
    from aesara.gradient import (
        consider_constant,
        disconnected_grad,
        grad_clip,
        grad_scale,
        zero_grad,
    )

    return of(
        lambda x: zero_grad(x) + disconnected_grad(x) * grad_clip(x, -1, 1)
        + grad_scale(x, 0.5) * consider_constant(x),
        V,
    )


@graph
def print_op():
    return of(lambda x: aesara.printing.Print("x", attrs=("shape",))(x) + 1, V)


@graph
def deep_copy():
    from aesara.compile.ops import deep_copy_op, view_op

    return of(lambda x: deep_copy_op(view_op(x)) + 1, V)


@graph
def shared_variables():
    """Shared values of several dtypes, and constants."""
    matrix = aesara.shared(M, name="matrix")
    count = aesara.shared(np.int32(3), name="count")
    single = aesara.shared(np.ones((1, 3), "float32"), shape=(1, 3), name="single")
    return of(lambda x: matrix * count + single + x + np.arange(3, dtype="int16"), M)


@graph
def broadcast_patterns():
    row, col = at.row("row"), at.col("col")
    return [(row, M[:1]), (col, M[:, :1])], [row + col, (row * col).sum(0)]


@graph
def cut_inputs():
    """An input in the middle of the graph."""
    x = at.vector("x")
    y = at.exp(x)
    y.name = "y"
    return [(y, V), (x, V)], y + x


@graph
def compiled():
    """What Aesara makes of a graph: fused, in place, BLAS."""
    x, y = at.matrix("x"), at.matrix("y")
    z = at.dot(x, y) * 2 + at.exp(x[:, :2]).sum() + at.log1p(at.exp(x[:, :2]))
    fn = aesara.function([x, y], [z], mode="FAST_RUN")
    fgraph = fn.maker.fgraph
    return list(zip(fgraph.inputs, [M, B])), fgraph.outputs, fn


# --- neural networks ------------------------------------------------------------------------


@graph
def softmax_with_bias():
    from aesara.tensor.nnet.basic import softmax_with_bias

    return of(softmax_with_bias, M, V[:3])


@graph
def crossentropy():
    from aesara.tensor.nnet import basic

    def fn(x, b, y):
        nll, probabilities, argmax = basic.crossentropy_softmax_argmax_1hot_with_bias(
            x, b, y
        )
        hot = basic.crossentropy_categorical_1hot(probabilities, y)
        gradients = aesara.grad(nll.sum() + hot.sum(), [x, b])
        return [nll, probabilities, argmax, hot, *gradients]

    return of(fn, M, V[:3], np.array([2, 0]))


@graph
def prepend():
    from aesara.tensor.nnet.basic import (
        Prepend_scalar_constant_to_each_row,
        Prepend_scalar_to_each_row,
    )

    return of(
        lambda x, v: [
            Prepend_scalar_to_each_row()(v, x),
            Prepend_scalar_constant_to_each_row(2.0)(x),
        ],
        M,
        np.float64(3.0),
    )


@graph
def batch_normalization():
    from aesara.tensor.nnet.batchnorm import (
        batch_normalization,
        batch_normalization_test,
        batch_normalization_train,
    )

    def fn(x, gamma, beta):
        trained = batch_normalization_train(x, gamma, beta)
        gradients = aesara.grad((trained[0] ** 2).sum(), [x, gamma, beta])
        tested = batch_normalization_test(x, gamma, beta, beta, gamma)
        plain = batch_normalization(x, gamma, beta, beta, gamma)
        return [*trained, *gradients, tested, plain]

    return of(fn, np.vstack([M, 2 * M + 1]), POSITIVE[None, :3], V[None, :3])


if __name__ == "__main__":
    from aesara_catalogue_more import main

    main(sys.argv[1:])

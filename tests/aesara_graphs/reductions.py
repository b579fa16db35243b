"""Reductions and products."""

import aesara.scalar as aes
import aesara.tensor as at
import numpy as np
from aesara.tensor.elemwise import CAReduce

from aesara_graphs import INTS, B, M, named, register

for name in ("sum", "prod", "max", "min", "mean", "var", "std"):
    reduce = named(name)
    register(
        "reduce_" + name, lambda x, r=reduce: [r(x), r(x, axis=0), r(x, axis=1)], M
    )
for name in ("all", "any"):
    reduce = named(name)
    register("reduce_" + name, lambda x, r=reduce: [r(x), r(x, axis=0)], M > 0)
for name in ("sum", "prod", "max", "mean"):
    reduce = named(name)
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
register(
    "bitwise_reduce",
    lambda x: [CAReduce(aes.or_, axis=0)(x), CAReduce(aes.xor, axis=None)(x)],
    INTS,
)
register("max_scalar_op", lambda x: CAReduce(aes.scalar_maximum, axis=(0,))(x), M)
register(
    "prod_without_zeros",
    lambda x: at.math.ProdWithoutZeros(axis=(1,))(x),
    np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 0.0]]),
)
register("mean_op", lambda x: at.math.Mean(axis=0)(x), M)
register(
    "extremum_ops",
    lambda x: [at.math.Max((1,))(x), at.math.Min((0,))(x), at.math.Argmax((1,))(x)],
    M,
)
register("ptp", lambda x: at.ptp(x, axis=0), M)
register(
    "dot",
    lambda x, y: [
        at.dot(x, y),
        at.dot(x[0], y),
        at.dot(x, y[:, 0]),
        at.dot(x[0], y[:, 0]),
    ],
    M,
    B,
)
register("dot_mixed", at.dot, M.astype("float32"), B)
register("dot_ints", at.dot, np.array([[1, 2]], "int8"), np.array([[3], [4]], "int8"))
register("tensordot", lambda x, y: at.tensordot(x, y, [[1], [0]]), M, B)
register("batched_dot", at.batched_dot, np.stack([M, 2 * M]), np.stack([B, B + 1]))
register("matmul", at.matmul, np.stack([M, 2 * M]), B)
register(
    "softmax",
    lambda x: [
        at.special.softmax(x, axis=None),
        at.special.softmax(x, axis=0),
        at.special.log_softmax(x, axis=-1),
    ],
    M,
)

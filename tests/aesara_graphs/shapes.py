"""Shapes, constructors and joins."""

import aesara.tensor as at
import numpy as np
from aesara.tensor.shape import Shape_i, specify_broadcastable, unbroadcast

from aesara_graphs import INTS, POSITIVE, M, S, V, register_all

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
    "stack": (lambda x, y: at.stack([x, y], 1), M, 2 * M),
    "stack_scalars": (lambda x: at.stack([x[0, 0], x[1, 1]]), M),
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
register_all(SHAPES)

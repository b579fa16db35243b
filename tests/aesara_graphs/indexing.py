"""Indexing and sorting."""

import aesara.tensor as at
import numpy as np

from aesara_graphs import I, M, S, V, register_all

INDEXING = {
    "index": (lambda x: [x[1], x[:, 1], x[0, 2], x[-1, ::-1], x[:, :2], x[1:, -2:]], M),
    "index_symbolic": (lambda x, i: [x[i], x[:i], x[:, i:], x[i, i]], M, np.array(1)),
    "index_newaxis": (lambda x: x[:, None, 1:], M),
    "take": (lambda x, i: [x[i], x[:, i], at.take(x, i, axis=1)], M, I),
    "take_op": (lambda x, i: at.subtensor.AdvancedSubtensor1()(x, i), M, I),
    "take_mode": (lambda x, i: at.take(x, i, axis=1, mode="clip"), M, I + 5),
    "advanced": (lambda x, i: [x[i, i], x[i, 1:], x[i[:, None], i]], M, I),
    "advanced_newaxis": (lambda x, i: x[i, None], M, I),
    "advanced_slice": (lambda x, i: x[i, i[0] :, i], np.stack([S, 2 * S]), I),
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
register_all(INDEXING, "indexing_")

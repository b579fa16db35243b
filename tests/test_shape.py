"""Reading, checking and changing shapes; making arrays of them; joining arrays."""

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from jax import export
from pytensor.tensor.basic import PermuteRowElements, Split
from support import check

import jaxlink

X = np.arange(24.0).reshape(2, 3, 4)


def test_shape_is_an_array():
    x = pt.tensor3("x")
    outputs = [x.shape, x.shape[1], x.size, pt.cast(x.shape[0], "float64") * x]
    check([x], outputs, [X])


def test_reshape_by_shapes():
    x = pt.tensor3("x")
    outputs = [
        x.reshape((-1, x.shape[-1])),
        x.reshape((x.shape[1], x.shape[0] * 2, -1)),
        x.flatten(),
        x.flatten(2),
        x.ravel(),
        pt.reshape(x, x.shape[::-1]),
    ]
    check([x], outputs, [X])
    check([x], outputs[2:], [np.ones((2, 0, 4))])


def test_reshape_by_an_integer_input():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = check([x, n], x.reshape((n, -1)), [np.arange(6.0), 3])
    assert fn.static_argnums == (1,)


def test_dimshuffle():
    x = pt.tensor("x", shape=(None, 1, None))
    outputs = [
        x.dimshuffle(2, 0),
        x.dimshuffle("x", 2, "x", 0, 1),
        x.transpose(2, 1, 0),
        x.squeeze(1),
        pt.expand_dims(x, (0, 3)),
        pt.moveaxis(x, 0, -1),
        pt.swapaxes(x, 0, 2),
    ]
    check([x], outputs, [np.arange(6.0).reshape(2, 1, 3)])


def test_join_and_split_dims():
    x = pt.tensor3("x")
    outputs = [
        pt.join_dims(x, start_axis=0, n_axes=2),
        pt.join_dims(x, start_axis=1, n_axes=0),
        pt.split_dims(x, axis=2, shape=(2, 2)),
        pt.split_dims(x, axis=1, shape=(x.shape[1], 1)),
    ]
    check([x], outputs, [X])


def test_specify_shape():
    x = pt.matrix("x")
    check([x], pt.specify_shape(x, (2, None)) * 2, [X[:, 0]])
    fn = jaxlink.function([x], pt.specify_shape(x, (3, None)))
    with pytest.raises(
        AssertionError, match=r"has shape \(2, 4\), expected \(3, None\)"
    ):
        fn(X[:, 0])


# --- creation ------------------------------------------------------------------------


def test_alloc():
    x, v, s = pt.matrix("x"), pt.vector("v"), pt.scalar("s", dtype="int8")
    outputs = [
        pt.zeros(x.shape),
        pt.ones((x.shape[0], 2), dtype="int8"),
        pt.full((2, 3), s),
        pt.alloc(v, 3, x.shape[1]),
        pt.empty((0, 2)),
        pt.ones_like(x),
    ]
    check([x, v, s], outputs, [X[:, 0], np.arange(4.0), 3])


def test_alloc_of_an_unmarked_length_is_an_error():
    v = pt.vector("v")
    fn = jaxlink.function([v], pt.alloc(v, 2, 3))
    with pytest.raises(ValueError, match="would broadcast v"):
        fn(np.ones(1))


def test_ranges():
    x = pt.vector("x")
    n = x.shape[0]
    outputs = [
        pt.arange(n),
        pt.arange(2, n * 2, 3),
        pt.arange(n, 0, -2),
        pt.arange(5, 2),
        pt.arange(n, dtype="int8"),
        pt.arange(0.5, 3),
        pt.arange(0, n, dtype="float32"),
        x[pt.arange(n)[::-1]],
        pt.arange(n)[n - 2 :],
        pt.linspace(0, 1, n),
    ]
    check([x], outputs, [np.arange(5.0)])


def test_large_ranges_are_made_by_the_program():
    x = pt.vector("x")
    fn = jaxlink.function([x], pt.arange(x.shape[0]) + x)
    assert "iota" in str(jax.make_jaxpr(fn)(np.ones(1000)))


def test_eye_and_diagonals():
    x, v = pt.matrix("x"), pt.vector("v")
    n = x.shape[0]
    outputs = [
        pt.eye(n, n + 1, k=1),
        pt.eye(3, dtype="int8", k=-1),
        pt.diag(v),
        pt.diag(x),
        pt.diagonal(x, offset=-1),
        pt.tril(x),
        pt.triu(x, 1),
        pt.trace(x),
        pt.fill_diagonal(x, 7.0),
        pt.fill_diagonal_offset(x, 7.0, 1),
    ]
    check([x, v], outputs, [X[0], np.arange(3.0)], grad=False)
    check([x, v], outputs[2:8], [X[0], np.arange(3.0)])


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (5, 2)])
def test_filled_diagonals(shape):
    x, s = pt.matrix("x"), pt.scalar("s")
    i, k = pt.lscalar("i"), pt.vector("k", dtype="int8")
    outputs = [pt.fill_diagonal(x, s), pt.fill_diagonal_offset(x, s, i)]
    outputs += [pt.fill_diagonal_offset(x, s, k[j]) for j in range(3)]
    n, m = shape
    values = [np.cos(np.arange(n * m)).reshape(shape), 7.5, 1, [0, -1, 1 - n]]
    check([x, s, i, k], outputs, values)


def test_filled_diagonals_of_more_dimensions():
    x = pt.tensor3("x", dtype="int8")
    check([x], pt.fill_diagonal(x, 7), [np.zeros((3, 3, 3))])
    fn = jaxlink.function([x], pt.fill_diagonal(x, 7))
    with pytest.raises(ValueError, match="must have the same length"):
        fn(np.zeros((3, 3, 2), "int8"))


def test_vectors_of_scalars():
    a, n = pt.scalar("a"), pt.iscalar("n")
    outputs = [pt.stack([a, a + 1]), pt.as_tensor([a, n, 3]), pt.as_tensor([n, 1])]
    check([a, n], outputs, [2.5, 3])


# --- joining -------------------------------------------------------------------------


def test_join():
    x, n = pt.matrix("x"), pt.imatrix("n")
    outputs = [
        pt.join(0, x, n),
        pt.concatenate([n, n], axis=1),
        pt.stack([x, n], axis=1),
        pt.join(1, x, pt.zeros((x.shape[0], 1)), x),
        pt.tile(x, (2, 2)),
    ]
    check([x, n], outputs, [X[0], X[1]])


def test_join_of_what_is_empty_or_of_another_dtype():
    x, n = pt.matrix("x", dtype="float32"), pt.matrix("n", dtype="uint8")
    b = pt.matrix("b", dtype="bool")
    outputs = [
        pt.concatenate([x, n]),
        pt.concatenate([n, b]),
        pt.concatenate([x[:0], x, n[:0]], axis=0),
        pt.stack([n[0], b[0], n[1]], axis=-1),
        pt.stack([x, x], axis=1),
        pt.concatenate([x, pt.zeros((2, 2))], axis=1),
    ]
    check([x, n, b], outputs, [X[0, :2], [[1, 2, 3, 255]] * 2, [[1, 0, 1, 0]]])


@pytest.mark.parametrize(
    "mode", ["constant", "edge", "linear_ramp", "mean", "reflect", "symmetric", "wrap"]
)
def test_pad(mode):
    x = pt.matrix("x")
    keywords = {"constant": {"constant_values": 1.5}, "linear_ramp": {"end_values": 2}}
    width = pt.stack([pt.stack([x.shape[0] - 2, 1]), pt.constant([2, 1])])
    out = pt.pad(x, width, mode=mode, **keywords.get(mode, {}))
    check([x], out, [X[0]], vmap=False)


def test_split():
    x = pt.matrix("x")
    parts = Split(3, axis=1)(x, pt.stack([1, 0, x.shape[1] - 1]))
    check([x], parts, [X[0]])
    fn = jaxlink.function([x], Split(2, axis=1)(x, [1, 1]))
    with pytest.raises(ValueError, match=r"\(1, 1\) sum to 2, but x has length 4"):
        fn(X[0])


def test_repeat():
    x = pt.matrix("x")
    outputs = [
        pt.repeat(x, 2),
        pt.repeat(x, 3, axis=1),
        pt.repeat(x, [1, 0, 2], axis=0),
    ]
    check([x], outputs, [X[0]])


def test_repeat_counts():
    x, counts = pt.matrix("x"), pt.vector("counts", dtype="uint8")
    outputs = [pt.repeat(x, counts, axis=1), pt.repeat(x[:, 0], counts[:3])]
    outputs += [pt.repeat(x, counts[:1], axis=-1), pt.repeat(x, [0], axis=0)]
    fn = check([x, counts], outputs, [X[0], [2, 0, 1, 3]])
    assert fn.static_argnums == (1,)


def test_unique_and_nonzero_of_what_is_known():
    n = pt.matrix("n", dtype="int16")
    outputs = []
    for axis in (None, 0, 1):
        outputs += pt.unique(
            n, return_index=True, return_inverse=True, return_counts=True, axis=axis
        )
    outputs += [*pt.nonzero(n), pt.flatnonzero(n), pt.nonzero(n, return_matrix=True)]
    fn = check([n], outputs, [[[3, 1, 0, 1], [0, 1, 3, 1], [3, 1, 0, 1]]])
    assert fn.static_argnums == (0,)
    x = pt.tensor3("x")
    check([x], [pt.unique(x.shape), *pt.nonzero(x.shape)], [X])


def test_broadcasting_to_a_shape():
    v, x = pt.vector("v"), pt.matrix("x")
    outputs = [pt.broadcast_to(v, x.shape), *pt.broadcast_arrays(v, x)]
    check([v, x], outputs, [np.arange(4.0), X[0]])


# --- sorting -------------------------------------------------------------------------


def test_sort():
    x, n = pt.matrix("x"), pt.matrix("n", dtype="int8")
    values = [[3.0, -1, 2, 7], [np.inf, 5, -np.inf, 0.5], [4, -7, 1, 2.5]]
    ties = [[3, 1, 3, 1], [0, 0, 0, 0], [-1, 5, -1, 5]]
    outputs = [pt.sort(x), pt.sort(x, axis=0), pt.sort(x, axis=None), pt.sort(n)]
    outputs += [pt.argsort(x, axis=0), pt.argsort(n, axis=1, kind="stable")]
    check([x, n], outputs, [values, ties])


def test_sort_puts_nan_last():
    x = pt.vector("x")
    values = [3, np.nan, 1, -np.inf, np.nan, np.inf]
    check([x], [pt.sort(x), pt.argsort(x, kind="stable")], [values], grad=False)
    check([x], [pt.sort(x), pt.argsort(x)], [[]])


def test_searchsorted():
    x, v = pt.vector("x"), pt.matrix("v", dtype="int64")
    outputs = [pt.searchsorted(x, v), pt.searchsorted(x, v, side="right")]
    outputs.append(pt.searchsorted(x[::-1], v, sorter=np.array([3, 2, 1, 0])))
    check([x, v], outputs, [[1.0, 2, 2, 5], [[0, 1, 2], [3, 5, 6]]])


def test_permutation_of_rows():
    x, order = pt.matrix("x"), pt.lmatrix("order")
    outputs = [PermuteRowElements(inverse)(x, order) for inverse in (False, True)]
    values = [X[0], [[3, 1, 0, 2], [0, 1, 2, 3], [1, 2, 3, 0]]]
    check([x, order], outputs, values, grad=False)


A, K = pt.matrix("A"), pt.tensor("K", shape=(None, 2))


def _normal(size=None, mu=0.0):
    return pt.random.shared_rng(seed=0).normal(mu, 1.0, size=size)[1]


def _normals(mean, cov):
    return pt.random.shared_rng(seed=0).multivariate_normal(mean, cov)[1]


def _totals(rows):
    """The running totals of rows."""
    start = pt.zeros(rows.shape[1:])

    def step(row, total):
        return total + row

    return pytensor.scan(step, [rows], [start], return_updates=False)


def _walk(n_steps):
    """A random walk, whose loop has no sequence."""

    def step(x, rng):
        rng, move = rng.normal(x, 1.0)
        return move, rng

    start = [pt.zeros(()), pt.random.shared_rng(seed=1)]
    return pytensor.scan(
        step, outputs_info=start, n_steps=n_steps, return_updates=False
    )[0]


# Sizes that are symbols: read, computed with, drawn with, and as plain numbers.
SYMBOLIC = {
    "mean": (A, A.mean(0)),
    "length": (A, A.shape[0] * 2 - A.shape[1]),
    "shape": (A, A.shape + 1),
    "reshape": (A, A.reshape((A.shape[0] * A.shape[1],))),
    "flat": (A, A.ravel() + A.T.ravel().sum()),
    "made": (A, pt.zeros((A.shape[1], 3, A.size // A.shape[1]))),
    "counted": (A, pt.arange(A.shape[1]) * A),
    "counted from": (A, pt.arange(2, A.shape[0] + 3, 2)),
    "eye": (A, pt.eye(A.shape[0], A.shape[1])),
    "scan": (A, _totals(A)[-1] + _totals(A[:, :1]).sum()),
    "walk": (A, _walk(A.shape[0])),
    "chosen": (A, pt.random.shared_rng(seed=0).choice(A[:, 0], size=5)[1]),
    "mvnormal": (A, _normals(A[:, 0], pt.eye(A.shape[0]))),
    "normal": (A, _normal(mu=A)),
    "of a shape": (A, _normal(A.shape)),
    "of a size": (A, _normal((A.size, 2))),
    "gamma": (A, pt.random.shared_rng(seed=0).gamma(A, scale=A)[1]),
    "categorical": (K, pt.random.shared_rng(seed=0).categorical(K)[1]),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbolic_sizes(name):
    x, out = SYMBOLIC[name]
    fn = jaxlink.function([x], out)
    n, m = export.symbolic_shape("n, m")
    key, value = jax.random.key(3), np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    args = (key, value) if len(fn.__signature__.parameters) == 2 else (value,)
    last = jax.ShapeDtypeStruct((n, 2 if x is K else m), value.dtype)
    kinds = [jax.ShapeDtypeStruct(arg.shape, arg.dtype) for arg in args[:-1]]
    exported = export.export(jax.jit(lambda *args: fn(*args)))(*kinds, last)
    np.testing.assert_allclose(exported.call(*args), fn(*args), rtol=1e-14)


def test_symbolic_sizes_that_must_be_numbers():
    fn = jaxlink.function([A], pt.random.shared_rng(seed=0).permutation(A)[1])
    spec = jax.ShapeDtypeStruct(export.symbolic_shape("n, m"), np.float64)
    with pytest.raises(NotImplementedError, match="shape polymorphism") as caught:
        export.export(jax.jit(lambda x: fn(jax.random.key(0), x)))(spec)
    assert "while jaxlink traced `permutation_rv" in caught.value.__notes__[0]

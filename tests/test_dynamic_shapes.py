"""The table of dynamic shapes: each works, or is refused when the graph is compiled."""

import warnings

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.tensor.basic import Split
from pytensor.tensor.extra_ops import to_one_hot
from support import check, reference

import jaxlink

X = np.arange(6.0)
ROWS = np.arange(12.0).reshape(4, 3)

# --- sizes ---------------------------------------------------------------------------


def _inputs():
    return {
        "x": pt.vector("x"),
        "rows": pt.matrix("rows"),
        "n": pt.lscalar("n"),
        "k": pt.scalar("k", dtype="int8"),
        "u": pt.scalar("u", dtype="uint16"),
        "v": pt.ivector("v"),
    }


VALUES = {"x": X, "rows": ROWS, "n": 3, "k": 2, "u": 4, "v": [2, 3]}

# Where a size may come from, with the inputs that it makes static.
SIZES = {
    "an input": (lambda i: i["n"], ["n"]),
    "an int8": (lambda i: i["k"], ["k"]),
    "a uint16": (lambda i: i["u"], ["u"]),
    "an element": (lambda i: i["v"][1], ["v"]),
    "a shape": (lambda i: i["x"].shape[0], []),
    "arithmetic on a shape": (lambda i: i["x"].shape[0] // 2 + i["rows"].size % 5, []),
    "arithmetic on both": (
        lambda i: pt.maximum(i["n"] * 2 - i["rows"].shape[1], i["k"]),
        ["n", "k"],
    ),
    "a reduction": (lambda i: pt.prod(i["v"]) - pt.max(i["rows"].shape), ["v"]),
}

MAKERS = {
    "arange": lambda x, m: pt.arange(m) + pt.arange(1, m + 1),
    "zeros": lambda x, m: pt.zeros((m, 2), dtype="int16"),
    "ones": lambda x, m: pt.ones(m),
    "full": lambda x, m: pt.full((2, m), x[0]),
    "empty": lambda x, m: pt.empty((m,)).shape,
    "eye": lambda x, m: pt.eye(m, m + 1, k=1),
    "tri": lambda x, m: pt.tri(m, m),
    "identity": lambda x, m: pt.identity_like(pt.zeros((m, m))),
    "linspace": lambda x, m: pt.linspace(0, x[1], m),
    "tile": lambda x, m: pt.tile(x, (2, m)),
    "repeat": lambda x, m: pt.repeat(x, m),
    "repeats": lambda x, m: pt.repeat(x[:2], pt.stack([m, 1])),
    "pad": lambda x, m: pt.pad(x, (m, 1)),
    "pad by the edge": lambda x, m: pt.pad(x, (1, m), mode="edge"),
    "broadcast_to": lambda x, m: pt.broadcast_to(x, (m, x.shape[0])),
    "alloc": lambda x, m: pt.alloc(x, m, x.shape[0]),
    "bincount": lambda x, m: pt.bincount(pt.constant([1, 0, 1]), minlength=m),
    "slice": lambda x, m: x[:m],
    "slices": lambda x, m: x[1 : m - 1] * x[x.shape[0] - m :][1 : m - 1],
    "step": lambda x, m: x[::m],
    "reshape": lambda x, m: pt.zeros((m, x.shape[0])).reshape((-1, m)),
    "indices": lambda x, m: x[pt.arange(m)],
    "roll": lambda x, m: pt.roll(x, m),
    "diag": lambda x, m: pt.diag(pt.ones(m)),
    "meshgrid": lambda x, m: pt.stack(pt.mgrid[0:m, 0:2]),
    "tril indices": lambda x, m: pt.stack(pt.tril_indices(m)),
    "specified": lambda x, m: pt.specify_shape(x[:m], (m,)),
    "value and shape": lambda x, m: pt.zeros(m) + m * x[0],
    "a batch of sums": lambda x, m: pt.stack([x, x])[:, :m].sum(axis=1) / m,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    inputs = _inputs()
    size, static = SIZES[name]
    outputs = [make(inputs["x"], size(inputs)) for make in MAKERS.values()]
    used = ["x", *static] + (["rows"] if "shape" in name or "both" in name else [])
    used = [k for k in VALUES if k in used or (k == "rows" and name == "a reduction")]
    used = [k for k in used if not (k == "rows" and name == "a shape")]
    variables = [inputs[key] for key in used]
    values = [VALUES[key] for key in used]
    fn = check(variables, outputs, values, vmap=False, grad=[inputs["x"]])
    assert [used[i] for i in fn.static_argnums] == static


def test_another_size_is_another_program():
    n = pt.lscalar("n")
    fn = jaxlink.function([n], pt.arange(n))
    assert [len(fn(m)) for m in (0, 3, 5)] == [0, 3, 5]
    assert jax.vmap(fn, in_axes=None, axis_size=2)(4).shape == (2, 4)
    with pytest.raises(jaxlink.StaticArgumentError, match="`n`"):
        jax.jit(fn)(3)


def test_vectors_as_shapes():
    x, to = pt.vector("x"), pt.vector("to", dtype="int16", shape=(2,))
    outputs = [x.reshape(to), pt.zeros(to), pt.reshape(x, to[::-1], ndim=2)]
    outputs += [pt.broadcast_to(x[0], to), pt.alloc(0.5, *to), x.reshape((to[0], -1))]
    fn = check([x, to], outputs, [X, [3, 2]])
    assert fn.static_argnums == (1,)


def test_slices():
    x, rows, n = pt.vector("x"), pt.matrix("rows"), pt.lscalar("n")
    half = [x[: x.shape[0] // 2], x[1 : x.shape[0] - 1], rows[-(x.shape[0] // 3) :]]
    assert check([x, rows], half, [X, ROWS]).static_argnums == ()
    fn = check([x, n], x[n : n + 2], [X, 3])
    assert fn.static_argnums == ()
    fn = check([x, n], [x[n : n + 2], x[:n]], [X, 3])
    assert fn.static_argnums == (1,)


def test_splits():
    x, sizes, n = pt.vector("x"), pt.lvector("sizes"), pt.lscalar("n")
    parts = Split(3, axis=0)(x, sizes)
    assert check([x, sizes], parts, [X, [1, 0, 5]]).static_argnums == (1,)
    parts = Split(2, axis=0)(x, pt.stack([n, x.shape[0] - n]))
    fn = check([x, n], parts, [X, 2])
    assert fn.static_argnums == (1,)
    with pytest.raises(ValueError, match="split sizes"):
        fn(X, 7)
    fn = jaxlink.function([x, sizes], Split(3, axis=0)(x, sizes))
    for wrong, message in [([1, 2], r"\(1, 2\)"), ([1, 2, 2], "sum to 5")]:
        with pytest.raises(ValueError, match=message):
            fn(X, np.array(wrong))


def test_reshapes_that_do_not_fit():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = jaxlink.function([x, n], x.reshape((n, -1)))
    with pytest.raises(ValueError, match=r"cannot reshape `x` of shape \(6,\) to \(4,"):
        fn(X, 4)
    assert jaxlink.function([x, n], x.reshape((n, 0)))(X[:0], 4).shape == (4, 0)


def test_specified_shapes():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = check([x, n], pt.specify_shape(x, n) * 2, [X, 6])
    assert fn.static_argnums == (1,)
    with pytest.raises(AssertionError, match=r"has shape \(6,\), expected \(5,\)"):
        fn(X, 5)


def test_sizes_of_draws():
    x, n, to = pt.vector("x"), pt.lscalar("n"), pt.ivector("to")
    rng = pt.random.shared_rng(seed=1)
    sizes = {
        (3,): (n,),
        (6,): (x.shape[0],),
        (2, 6): (n - 1, x.shape[0]),
        (2, 1): (pt.prod(to), 1),
    }
    draws = []
    for size in sizes.values():
        rng, draw = rng.normal(size=size)
        draws.append(draw)
    fn = jaxlink.function([x, n, to], draws)
    assert fn.static_argnums == (2, 3)
    shapes = [out.shape for out in fn(jax.random.key(0), X, 3, [1, 2])]
    assert shapes == list(sizes)


def test_sizes_in_shared_variables():
    n = pytensor.shared(3, name="n")
    dims = pytensor.shared(np.array([2, 3]), name="dims")
    fn = jaxlink.function(
        [], [pt.arange(n) * n, pt.ones((dims[0], dims[1])), pt.zeros((n, 1))]
    )
    assert [out.shape for out in fn()] == [(3,), (2, 3), (3, 1)]
    new = fn.with_data(n=4, dims=[1, 5])
    assert [out.shape for out in new()] == [(4,), (1, 5), (4, 1)]
    np.testing.assert_array_equal(new()[0], 4 * np.arange(4))
    assert fn()[0].shape == (3,)


@pytest.mark.parametrize("as_weights", [True, False])
def test_bincount(as_weights):
    i, w = pt.vector("i", dtype="int32"), pt.vector("w")
    out = pt.bincount(i, weights=w if as_weights else None, minlength=3)
    fn = jaxlink.function([i, w], out, on_unused_input="ignore")
    assert fn.static_argnums == (0,)
    for values in ([0, 1, 1], [5, 0, 2, 2]):
        weights = np.arange(1.0, len(values) + 1)
        values = np.array(values, "int32")
        (wanted,) = reference([i, w], [out], [values, weights])
        np.testing.assert_array_equal(fn(values, weights), wanted)


# --- what depends on values, but need not be known -----------------------------------


def test_sorted_search():
    x, v, i = pt.vector("x"), pt.vector("v"), pt.vector("i", dtype="uint8")
    outputs = [
        pt.searchsorted(x, v),
        pt.searchsorted(x, i, side="right"),
        to_one_hot(i, 4, dtype="int8"),
    ]
    fn = check([x, v, i], outputs, [X, [-1.0, 2, 2.5, 9], [3, 0, 1]])
    assert fn.static_argnums == ()


def test_values_that_are_only_counted():
    x, s = pt.vector("x"), pt.scalar("s")
    n = pt.cast(s, "int64")
    outputs = [
        x[x > s].shape[0],
        pt.nonzero(x > s)[0].size,
        pt.unique(pt.floor(x / s)).shape[0],
        x[:n].shape[0],
        x[n:].mean(),
        pt.zeros((x > s).sum()).sum(),
    ]
    fn = check([x, s], outputs, [X, 2.0], grad=False)
    assert fn.static_argnums == ()


# --- refused when compiling ----------------------------------------------------------

_DRAW = r"is a draw of poisson"
_FLOAT = r"`s`, which is an input of type float64\[\]"


def _draw():
    return pt.random.shared_rng(seed=1).poisson(3.0, size=())[1]


MAKERS_REFUSED = [k for k in MAKERS if k not in ("bincount", "step", "roll")]


@pytest.mark.parametrize("source", ["draw", "float", "float shared", "float data"])
def test_sizes_that_change_from_call_to_call(source):
    x, s = pt.vector("x"), pt.scalar("s")
    shared = pytensor.shared(3.0, name="s")
    size, inputs, reason = {
        "draw": (_draw(), [x], _DRAW),
        "float": (pt.cast(s, "int64"), [x, s], _FLOAT),
        "float shared": (
            shared.astype("int64"),
            [x],
            "`s`, which is a shared variable",
        ),
        "float data": (
            pt.argmax(x),
            [x],
            r"`x`, which is an input of type float64\[\?",
        ),
    }[source]
    outputs = [MAKERS[name](x, size) for name in MAKERS_REFUSED]
    for name, out in zip(MAKERS_REFUSED, outputs, strict=True):
        if name in ("empty", "a batch of sums"):
            continue  # what is left of these needs no shape
        with pytest.raises(jaxlink.DynamicShapeError, match=reason):
            jaxlink.function(inputs, out, on_unused_input="ignore")
    with pytest.raises(jaxlink.DynamicShapeError, match=reason):
        jaxlink.function(inputs, outputs, on_unused_input="ignore")


REFUSED = {
    "nonzero": (lambda x, s: pt.nonzero(x)[0], "Nonzero"),
    "flatnonzero": (lambda x, s: pt.flatnonzero(x > s), "Nonzero"),
    "unique": (lambda x, s: pt.unique(x), "Unique"),
    "unique rows": (lambda x, s: pt.unique(pt.outer(x, x), axis=0), "Unique"),
    "mask": (lambda x, s: x[x > s] * 2, "AdvancedSubtensor"),
    "repeats": (lambda x, s: pt.repeat(x, pt.cast(x, "int64")), "Repeat"),
    "bincount": (lambda x, s: pt.bincount(pt.cast(x, "int64")), "Alloc"),
    "split": (
        lambda x, s: Split(2, axis=0)(x, pt.stack([s, 6 - s]).astype("int64")),
        "Split",
    ),
    "step": (lambda x, s: x[:: pt.cast(s, "int64")], "Subtensor"),
    "window": (lambda x, s: x[pt.cast(s, "int64") : 2 * pt.cast(s, "int64")], "Sub"),
    "size of a draw": (
        lambda x, s: pt.random.shared_rng(seed=1).normal(size=(_draw(),))[1],
        "normal",
    ),
    "steps of a loop": (
        lambda x, s: pytensor.scan(
            lambda a: a * 2,
            outputs_info=[s],
            n_steps=pt.cast(s, "int64"),
            return_updates=False,
        ),
        "Loop|Scan|Alloc",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    x, s = pt.vector("x"), pt.scalar("s")
    build, op = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = build(x, s)
    with pytest.raises(jaxlink.DynamicShapeError, match=op) as raised:
        jaxlink.function([x, s], out, on_unused_input="ignore")
    assert "needs its operand" in str(raised.value)
    assert "before the function runs" in str(raised.value)

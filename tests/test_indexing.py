"""Reading and writing parts of arrays."""

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from pytensor.tensor.subtensor import AdvancedIncSubtensor, IncSubtensor
from support import check

import jaxlink

X = np.arange(60.0).reshape(3, 4, 5)
MASK = np.arange(12).reshape(3, 4) % 3 == 0


def test_basic():
    x = pt.tensor3("x")
    outputs = [
        x[1],
        x[-1, 2],
        x[:, 1:3],
        x[::-1, :, ::2],
        x[..., -2:],
        x[2:1],
        x[:, None, 1],
        x[1, 2, 3],
        x[: x.shape[0] // 2 + 1, x.shape[1] - 1],
        x[5:, :100],
    ]
    check([x], outputs, [X])


def test_traced_integers():
    x, i, j = pt.tensor3("x"), pt.lscalar("i"), pt.scalar("j", dtype="int8")
    outputs = [x[i], x[i, :, j], x[:, j], x[1, i, 1:], x[i, j, ::-1], x[i, j, i]]
    for values in ([2, -1], [0, 3], [-3, 0]):
        check([x, i, j], outputs, [X, *values])


def test_slices_by_an_integer_input():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = check([x, n], [x[:n], x[n::2]], [np.arange(7.0), 3])
    assert fn.static_argnums == (1,)


def test_integer_arrays():
    x = pt.tensor3("x")
    i, j = pt.lvector("i"), pt.vector("j", dtype="uint8")
    k = pt.lmatrix("k")
    outputs = [
        x[i],
        x[:, j],
        x[..., i],
        x[i, j],
        x[i, :, j],
        x[:, i, j],
        x[k],
        x[k, 1, i],
        x[1, :, i],
        x[:, [0, 2], 1:3],
        pt.take(x, k, axis=1),
    ]
    check([x, i, j, k], outputs, [X, [0, -1], [2, 1], [[0, 1], [2, -3]]])


def test_small_index_types_reach_the_end_of_long_arrays():
    x, i = pt.vector("x"), pt.vector("i", dtype="int8")
    check(
        [x, i], [x[i], pt.inc_subtensor(x[i], 1)], [np.arange(300.0), [-1, 127, -128]]
    )


def test_index_dtypes():
    x = pt.matrix("x")
    kinds = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    inputs, outputs = [x], []
    for kind in kinds:
        i, j = pt.vector(f"i_{kind}", dtype=kind), pt.scalar(f"j_{kind}", dtype=kind)
        inputs += [i, j]
        outputs += [x[i], x[i, j], x[j, i], pt.set_subtensor(x[i], x[j])]
        if not kind.startswith("u"):
            outputs += [x[-j], x[:, -i]]
    values = [X[0], *([[2, 1, 3], 1] * len(kinds))]
    check(inputs, outputs, values, vmap=False, grad=False)


# Every way to mix: i, j are integer arrays, k a matrix of them, n a scalar, b and c
# masks of one and two dimensions that are known.
B, C = pt.constant([True, False, True]), pt.constant(MASK)
MIXED = {
    "i slice j": lambda x, i, j, k, n: x[i, 1:, j],
    "slice i newaxis": lambda x, i, j, k, n: x[:, i, None, ::2],
    "newaxis i slice j": lambda x, i, j, k, n: x[None, i, ::-1, j],
    "k slice i": lambda x, i, j, k, n: x[k, 1:3, i],
    "n slice i": lambda x, i, j, k, n: x[n, :, i],
    "i n slice": lambda x, i, j, k, n: x[i, n, :-1],
    "slice n i": lambda x, i, j, k, n: x[:-1, n, i],
    "column and row": lambda x, i, j, k, n: x[i[:, None], j[None, :]],
    "ellipsis": lambda x, i, j, k, n: x[..., i, j],
    "mask": lambda x, i, j, k, n: x[B],
    "mask slice j": lambda x, i, j, k, n: x[B, 1:, j],
    "slice mask": lambda x, i, j, k, n: x[:, C[0], n],
    "matrix mask i": lambda x, i, j, k, n: x[C, j[:1]],
    "negative steps": lambda x, i, j, k, n: x[::-1, 3:0:-2, -1:-4:-1],
    "empty": lambda x, i, j, k, n: x[i[:0], :, j[:0]],
    "empty slices": lambda x, i, j, k, n: x[2:1, i, 5:],
}


@pytest.mark.parametrize("write", [None, pt.set_subtensor, pt.inc_subtensor])
def test_mixed_indices(write):
    x, i, j = pt.tensor3("x"), pt.ivector("i"), pt.vector("j", dtype="int8")
    k, n = pt.lmatrix("k"), pt.scalar("n", dtype="uint8")
    parts = [build(x, i, j, k, n) for build in MIXED.values()]
    if write is not None:
        # A value that tells the elements apart, where none is written twice.
        twice = ("k slice i",)
        parts = [
            write(part, pt.cos(pt.arange(part.size)).reshape(part.shape))
            for name, part in zip(MIXED, parts, strict=True)
            if "newaxis" not in name and name not in twice
        ]
    parts.append(k * n)
    values = [X, [2, 0], [1, -1], [[0, 1], [-1, 2]], 2]
    check([x, i, j, k, n], parts, values, vmap=False, grad=write is None)


def test_ignored_duplicates():
    x, v, i, n = pt.vector("x"), pt.vector("v"), pt.lvector("i"), pt.ivector("n")
    once = pt.inc_subtensor(x[i], v, ignore_duplicates=True)
    whole = pt.inc_subtensor(n[i], 3, ignore_duplicates=True)
    # Of places that are given twice, NumPy keeps the last value; JAX keeps one of them.
    values = [np.zeros(5), [4.0, 4, 2, 4], [0, 0, -2, 0], [1, 2, 3, 4, 5]]
    check([x, v, i, n], [once, whole], values, grad=False)


def test_increments_of_bool():
    b, i = pt.vector("b", dtype="bool"), pt.lvector("i")
    outputs = [pt.inc_subtensor(b[i], b[:2]), pt.inc_subtensor(b[1:], b[:2])]
    check([b, i], outputs, [[True, False, False], [2, 2]])


def test_empty_index():
    x, i = pt.matrix("x"), pt.lvector("i")
    check([x, i], [x[i], x[:, i], pt.set_subtensor(x[i], 2.0)], [X[0], []])


def test_static_masks():
    x = pt.tensor3("x")
    mask = pt.constant(MASK)
    outputs = [
        x[mask],
        x[:, mask[0]],
        x[mask[:, 0], :, 1],
        x[pt.arange(x.shape[0]) > 0],
        pt.set_subtensor(x[mask], 3.0),
        pt.inc_subtensor(x[mask], x[mask] * 2),
    ]
    check([x], outputs, [X])


def test_traced_mask_of_a_write():
    x, v = pt.tensor3("x"), pt.vector("v")
    mask = pt.matrix("mask", dtype="bool")
    outputs = [
        pt.set_subtensor(x[mask], 3.0),
        pt.set_subtensor(x[mask], v),
        pt.inc_subtensor(x[mask], v[None]),
        pt.inc_subtensor(x[x > 7], 1.0),
    ]
    check([x, v, mask], outputs, [X, np.arange(5.0), MASK])


def test_traced_mask_of_a_read_is_an_error():
    x = pt.vector("x")
    with pytest.raises(jaxlink.DynamicShapeError):
        jaxlink.function([x], x[x > 0])


@pytest.mark.parametrize("write", [pt.set_subtensor, pt.inc_subtensor])
def test_basic_writes(write):
    x, v, i = pt.tensor3("x"), pt.vector("v"), pt.lscalar("i")
    outputs = [
        write(x[1], 2.0),
        write(x[:, 1:3], v),
        write(x[i], v),
        write(x[i, :, 0], v[:4]),
        write(x[::-1, -1], v),
        write(x[:, i, 1:2], 5),
        write(x[0, 0, 0], v[0]),
    ]
    check([x, v, i], outputs, [X, np.arange(5.0) + 0.5, -2])


@pytest.mark.parametrize("write", [pt.set_subtensor, pt.inc_subtensor])
def test_advanced_writes(write):
    x, v = pt.tensor3("x"), pt.vector("v")
    i, j = pt.lvector("i"), pt.vector("j", dtype="int8")
    outputs = [
        write(x[i], 2.0),
        write(x[i], v),
        write(x[i, j], v),
        write(x[:, j, 1], v[:2]),
        write(x[i, :, j], v[1]),
        write(x[:, [1, 2], 2:], 1.5),
    ]
    check([x, v, i, j], outputs, [X, np.arange(5.0) + 0.5, [0, -1], [2, 1]])


def test_values_may_have_leading_ones():
    x, v = pt.matrix("x"), pt.vector("v")
    write = IncSubtensor((0,), set_instead_of_inc=True)
    check([x, v], write(x, v[None], 1), [X[0], np.arange(5.0)], grad=False)


def test_increments_add_up():
    x, v, i = pt.vector("x"), pt.vector("v"), pt.lvector("i")
    values = [np.zeros(3), [1.0, 2, 4, 8], [0, 2, 2, -1]]
    check([x, v, i], pt.inc_subtensor(x[i], v), values)
    once = AdvancedIncSubtensor((0,), ignore_duplicates=True)(x, v, i)
    check([x, v, i], once, [np.zeros(5), [1.0, 2, 4, 8], [0, 2, 1, -1]])


def test_writes_keep_the_dtype():
    n, v = pt.vector("n", dtype="int8"), pt.scalar("v", dtype="int8")
    b = pt.vector("b", dtype="bool")
    outputs = [pt.set_subtensor(n[1], v), pt.inc_subtensor(n[[0, 0]], v)]
    outputs.append(pt.set_subtensor(b[:2], pt.constant(True)))
    check([n, v, b], outputs, [[1, 2, 3], 7, [False, False, False]])


# --- out of bounds -------------------------------------------------------------------


def test_known_indices_out_of_bounds_raise():
    x = pt.vector("x")
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0"):
        jaxlink.function([x], x[5])(np.ones(3))
    with pytest.raises(IndexError, match="index -4 is out of bounds"):
        jaxlink.function([x], x[[0, -4]])(np.ones(3))
    with pytest.raises(IndexError, match=r"mask of shape \(2,\) does not fit"):
        jaxlink.function([x], x[pt.constant([True, False])])(np.ones(3))


def test_known_indices_out_of_bounds_of_the_type_raise_when_compiling():
    x = pt.tensor("x", shape=(3, None))
    i = pt.constant(np.array([0, 3]))
    wrong = [x[i], pt.set_subtensor(x[i, 0], 1.0), x[:, 0][i], x[i.astype("uint8")]]
    for out in wrong:
        with pytest.raises(jaxlink.OutOfBoundsError, match="index 3 is out of bounds"):
            jaxlink.function([x], out)
    with pytest.raises(IndexError, match="2 things keep"):
        jaxlink.function([x], wrong[:2])
    jaxlink.function([x], [x[:, i], x[i - 1]])


OUT_OF_BOUNDS = {
    "scalar": lambda x, i: x[i, 0],
    "vector": lambda x, i: x[pt.stack([0, i])],
    "two": lambda x, i: x[pt.stack([0, 1]), pt.stack([0, i])],
    "set": lambda x, i: pt.set_subtensor(x[i], 7.0),
    "inc": lambda x, i: pt.inc_subtensor(x[:, pt.stack([0, i])], 1.0),
    "inc once": lambda x, i: pt.inc_subtensor(
        x[pt.stack([0, i])], 1.0, ignore_duplicates=True
    ),
    "window": lambda x, i: x[i - 1 : i + 1],
    "set window": lambda x, i: pt.set_subtensor(x[i - 1 : i + 1], 7.0),
    "unravel": lambda x, i: pt.unravel_index(i * 3, (3, 3))[0],
    "ravel": lambda x, i: pt.ravel_multi_index((i, 0), (3, 3)),
    "choose": lambda x, i: pt.choose(i, x),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_traced_indices_out_of_bounds_raise_under_checkify(name):
    x, i = pt.matrix("x"), pt.lscalar("i")
    out = OUT_OF_BOUNDS[name](x, i)
    fn = jaxlink.function([x, i], out, on_unused_input="ignore")
    assert fn.static_argnums == ()
    value = np.arange(9.0).reshape(3, 3)
    checked = checkify.checkify(jax.jit(fn.checked))
    checked(value, 2)[0].throw()
    error, plain = checked(value, 3)
    with pytest.raises(checkify.JaxRuntimeError, match=r"out of bounds"):
        error.throw()
    # What the plain function returns: nothing written, nan or the least integer read.
    np.testing.assert_array_equal(plain, fn(value, 3))
    if "set" in name:
        np.testing.assert_array_equal(plain, value)
    elif not name.startswith("inc"):
        least = np.iinfo("int64").min
        bad = np.isnan(plain) if plain.dtype == float else np.asarray(plain) == least
        assert bad.any()
    assert not fn.jaxpr(value, 3).effects


def test_traced_indices_out_of_bounds():
    x, n, i = pt.vector("x"), pt.lvector("n"), pt.lscalar("i")
    fn = jaxlink.function(
        [x, n, i], [x[i], n[i], pt.set_subtensor(x[i], 7), pt.inc_subtensor(x[[i]], 7)]
    )
    read, whole, put, added = jax.jit(fn)(np.ones(3), np.ones(3, int), 5)
    assert np.isnan(read)
    assert whole == np.iinfo("int64").min
    assert (put == 1).all()
    assert (added == 1).all()


# --- windows -------------------------------------------------------------------------

# Slices of a known length at a place that is not known.
WINDOWS = {
    "n : n + 2": lambda x, n: x[n : n + 2],
    "n - 1 : n + 2": lambda x, n: x[n - 1 : n + 2],
    "2n + 1 : 2(n + 1)": lambda x, n: x[2 * n - 1 : 2 * (n + 1)],
    "step": lambda x, n: x[n : n + 4 : 2],
    "uneven step": lambda x, n: x[n - 1 : n + 4 : 3],
    "both axes": lambda x, n: x[n : n + 2, 1 - n : 3 - n],
    "and an integer": lambda x, n: x[n : n + 2, n],
    "and an array": lambda x, n: x[n : n + 2, pt.stack([n + 1, 0, n])],
    "and a slice": lambda x, n: x[n : n + 2, ::-2],
    "from the end": lambda x, n: x[n - 4 : n - 2],
}


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16"])
def test_windows(dtype):
    x, n = pt.matrix("x"), pt.scalar("n", dtype=dtype)
    builds = [
        build
        for name, build in WINDOWS.items()
        if dtype != "uint16" or not ("end" in name or "axes" in name)
    ]
    parts = [build(x, n) for build in builds]
    outputs = parts + [(part**2).mean() for part in parts[:3]]
    outputs += [pt.set_subtensor(part, -part) for part in parts]
    outputs += [pt.inc_subtensor(part, 1.5) for part in parts]
    grad = dtype == "int64"
    fn = check(
        [x, n], outputs, [np.arange(24.0).reshape(6, 4), 1], vmap=False, grad=grad
    )
    assert fn.static_argnums == ()


def test_windows_over_a_batch_and_in_a_loop():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = check([x, n], x[n : n + 3], [np.arange(7.0), 4])
    places = np.arange(5)
    (batch,) = jax.vmap(fn, in_axes=(None, 0))(np.arange(7.0), places)
    np.testing.assert_array_equal(batch, places[:, None] + np.arange(3.0))
    sums = pytensor.scan(
        lambda i, x: x[i : i + 3].sum(),
        sequences=[pt.arange(x.shape[0] - 2)],
        non_sequences=[x],
        return_updates=False,
    )
    check([x], sums, [np.arange(7.0)])


def test_windows_whose_length_is_not_known_need_their_bounds():
    x, n, m = pt.vector("x"), pt.lscalar("n"), pt.lscalar("m")
    for part, static in [(x[n:m], (1, 2)), (x[n : n * m], (1, 2)), (x[n:-2], (1,))]:
        fn = jaxlink.function([x, n, m], [part, m])
        assert fn.static_argnums == static
    s = pt.scalar("s")
    with pytest.raises(jaxlink.DynamicShapeError, match="`s`"):
        jaxlink.function([x, s], x[: pt.cast(s, "int64")])


def test_windows_that_do_not_fit():
    x, n = pt.vector("x"), pt.lscalar("n")
    fn = jaxlink.function([x, n], x[n : n + 4])
    with pytest.raises(IndexError, match=r"slice of 4 elements .* which has length 3"):
        fn(np.ones(3), 0)
    # NumPy would cut these short, or give nothing.
    for n_value in (-1, 3, -6):
        assert np.isnan(fn(np.ones(5), n_value)).all()
    n = pt.scalar("n", dtype="int8")  # where n + 2 is -127
    assert np.isnan(jaxlink.function([x, n], x[n : n + 2])(np.ones(200), 127)).all()


# --- coordinates ---------------------------------------------------------------------


def test_flat_indices():
    i, r, c = pt.lvector("i"), pt.lvector("r"), pt.lvector("c")
    outputs = [
        *pt.unravel_index(i, (3, 4)),
        *pt.unravel_index(i, (3, 4), order="F"),
        pt.ravel_multi_index((r, c), (3, 4)),
        pt.ravel_multi_index((r, c), (3, 4), order="F"),
        pt.ravel_multi_index((r, c * 3), (3, 4), mode="wrap"),
        pt.ravel_multi_index((r, c * 3), (3, 4), mode="clip"),
    ]
    check([i, r, c], outputs, [[0, 5, 11], [0, 2, 1], [3, 0, 2]])


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_choose(mode):
    x, i, n = pt.tensor3("x"), pt.lmatrix("i"), pt.imatrix("n")
    places = np.array([[0, 2, 1, 1, 0]] * 4)
    if mode != "raise":
        places[0] = [-1, 3, -4, 7, 2]
    outputs = [pt.choose(i, x, mode=mode), pt.choose(i[0], n, mode=mode)]
    check([x, i, n], outputs, [X, places, X[0][:3]], grad=False)
    # A mask chooses between two.
    check([i, x], pt.choose(i > 1, x[:2], mode=mode), [places, X], grad=False)


def test_flat_indices_of_traced_shapes():
    i, dims = pt.lvector("i"), pt.vector("dims", dtype="int32", shape=(2,))
    outputs = [*pt.unravel_index(i, dims), pt.ravel_multi_index((i % 3, i % 4), dims)]
    fn = check([i, dims], outputs, [[0, 5, 11], [3, 4]])
    assert fn.static_argnums == ()

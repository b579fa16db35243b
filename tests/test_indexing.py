"""Reading and writing parts of arrays."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
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

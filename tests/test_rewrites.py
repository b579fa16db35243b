"""PyTensor's rewrites: which are left out, and what the others are needed for."""

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode, optdb

import jaxlink
from jaxlink import MODE
from jaxlink.rewrites.pytensor_rewrites import STABILIZING, WITHOUT_ERRORS

DEFAULT = Mode("py", "fast_run")  # PyTensor's default rewrites


def tagged(database, tag):
    """The names of all rewrites with ``tag`` in a database and those inside it."""
    found = set()
    wanted = database.__db__.get(tag, ())
    for rewrites in database.__db__.values():
        for rewrite in rewrites:
            if rewrite in wanted:
                found.add(rewrite.name)
            if hasattr(rewrite, "__db__"):
                found |= tagged(rewrite, tag)
    return found


def test_all_rewrites_that_may_lose_an_error_are_known():
    assert tagged(optdb, "shape_unsafe") == {*STABILIZING, *WITHOUT_ERRORS}


POINTS = np.array([-200.0, -37.0, -30.0, -5.3, -1.0, 0.5, 1.0, 5.3, 27.0, 37.0, 200.0])

# Where the derivative by the chain rule, as written, is 0 / 0, 0 * inf or inf / inf.
STABILIZED = {
    "log(erfc(x))": lambda x: pt.log(pt.erfc(x)),
    "log(erfc(-x))": lambda x: pt.log(pt.erfc(-x)),
    "log(sigmoid(x))": lambda x: pt.log(pt.sigmoid(x)),
    "log(1 - sigmoid(x))": lambda x: pt.log(1 - pt.sigmoid(x)),
    "log1p(-sigmoid(x))": lambda x: pt.log1p(-pt.sigmoid(x)),
    "log(odds)": lambda x: pt.log(pt.sigmoid(x) / (1 - pt.sigmoid(x))),
    "log(1 + exp(x))": lambda x: pt.log(1 + pt.exp(4 * x)),
    "1 / (1 + exp(-x))": lambda x: 1 / (1 + pt.exp(-4 * x)),
    "log(exp(x) * exp(x))": lambda x: pt.log(pt.exp(4 * x) * pt.exp(x)),
    "exp(x) / exp(x)": lambda x: pt.exp(4 * x) / pt.exp(4 * x) + x,
    "log(sum(exp))": lambda x: pt.log(pt.exp(pt.stack([4 * x, 2 * x])).sum(axis=0)),
    "log(softmax)": lambda x: pt.log(pt.special.softmax(pt.stack([4 * x, -x]), axis=0)),
    "0 * log(x)": lambda x: 0 * pt.log(x) + x,
    "log(det(triangular))": lambda x: pt.log(pt.linalg.det(pt.diag(pt.exp(x + 40)))),
}


def test_gradients_of_pytensor_are_as_stable_under_mode():
    # An input each: some rewrites act only on what nobody else reads.
    inputs = [pt.vector(name) for name in STABILIZED]
    values = [
        build(x).sum() for x, build in zip(inputs, STABILIZED.values(), strict=True)
    ]
    outs = pytensor.grad(pt.add(*values), inputs)
    expected = pytensor.function(inputs, outs, mode=DEFAULT)(*[POINTS] * len(inputs))
    found = pytensor.function(inputs, outs, mode=MODE)(*[POINTS] * len(inputs))
    for name, value, wanted in zip(STABILIZED, found, expected, strict=True):
        assert np.isfinite(wanted).any(), name
        finite = np.isfinite(wanted)
        np.testing.assert_allclose(
            value[finite], wanted[finite], rtol=1e-9, atol=1e-300, err_msg=name
        )


def test_logarithm_of_a_product_that_underflows():
    x, y = pt.vector("x"), pt.vector("y")
    product = pt.log(x / 3 * pt.exp(-(x**2)) / (pt.exp(y) * y))
    both = jaxlink.function(
        [x, y], [product, pt.log(1 / pt.exp(y)), pt.log(-pt.exp(y))]
    )
    at = np.array([1.5, 60.0, 0.0, -1.0]), np.array([0.5, 800.0, 2.0, 2.0])
    value, alone, negative = both(*at)
    with np.errstate(all="ignore"):
        wanted = np.log(at[0] / 3 / at[1]) - at[0] ** 2 - at[1]
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_array_equal(alone, -at[1])
    assert np.isnan(negative).all()
    slopes = jax.grad(lambda x: both(x, at[1])[0][:2].sum())(at[0])
    np.testing.assert_allclose(slopes[:2], 1 / at[0][:2] - 2 * at[0][:2], rtol=1e-12)

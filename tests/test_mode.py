"""A function under MODE does what the same function does in PyTensor."""

import copy
import pickle

import jax
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.sparse as psp
import pytensor.tensor as pt
import pytest
import scipy.sparse
from pytensor import In
from pytensor.compile.mode import predefined_linkers, predefined_modes
from pytensor.conditional.op import ifelse
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.raise_op import Assert, CheckAndRaise
from pytensor.tensor import linalg as ptl
from pytensor.typed_list import TypedListType, append, length
from support import REFERENCE, assert_same

import jaxlink
from jaxlink.mode.linker import MODE

x, y = pt.vector("x"), pt.vector("y")
s, i, n = pt.scalar("s"), pt.lscalar("i"), pt.lscalar("n")
XS = np.array([1.0, 2.0, 3.0])


def under_both(run):
    """What ``run(mode)`` returns under MODE, compared with PyTensor's own mode."""
    expected, got = run(REFERENCE), run(MODE)
    assert_alike(got, expected)
    return got


def assert_alike(got, expected):
    """Equal but for rounding, and of the same Python types."""
    assert jax.tree.map(type, got) == jax.tree.map(type, expected)
    assert_same(got, expected, rtol=1e-12)


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "int64", "float32", "float64", "complex128"]
)
def test_values_are_of_their_types(dtype):
    vector, scalar = pt.vector("vector", dtype=dtype), pt.scalar("scalar", dtype=dtype)
    both = vector & scalar if dtype == "bool" else vector * scalar
    args = np.array([0, 1, 3]).astype(dtype), np.ones((), dtype)

    def run(mode):
        return pytensor.function([vector, scalar], [both, scalar], mode=mode)(*args)

    for value in under_both(run):
        assert value.flags.owndata
        assert value.flags.writeable


def test_one_output_several_or_none():
    under_both(lambda mode: pytensor.function([x], x + 1, mode=mode)(XS))
    under_both(lambda mode: pytensor.function([x], [x + 1], mode=mode)(XS))
    under_both(lambda mode: pytensor.function([], [], mode=mode)())
    under_both(lambda mode: pytensor.function([], pt.constant(3.0), mode=mode)())


def test_values_of_scalar_type():
    a = ps.float64("a")
    under_both(lambda mode: pytensor.function([a], [a * a, a], mode=mode)(1.5))


def test_empty_arrays():
    under_both(lambda mode: pytensor.function([x], [x * 2, x.sum()], mode=mode)([]))


def test_outputs_belong_to_nobody_else():
    f = pytensor.function([x], [x, x, x[::-1]], mode=MODE)
    given = XS.copy()
    first, second, third = f(given)
    first[:] = 7
    np.testing.assert_array_equal(given, XS)
    np.testing.assert_array_equal(second, XS)
    np.testing.assert_array_equal(third, XS[::-1])


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_sparse_matrices(format):
    a = psp.matrix(format, "a", "float64")
    value = scipy.sparse.random(4, 3, 0.5, format=format, rng=1)

    def run(mode):
        shared = pytensor.shared(value, name="shared")
        outs = [a * 2.0, a + shared, psp.dot(a.T, a), a]
        f = pytensor.function([a], outs, updates={shared: shared * 3.0}, mode=mode)
        return f(value), f(value)

    assert under_both(run)[0][0].format == format


def test_typed_lists():
    items = TypedListType(pt.dvector)("items")

    def run(mode):
        f = pytensor.function([items, x], [append(items, x), length(items)], mode=mode)
        return f([XS, XS[:2]], XS[:1])

    under_both(run)


def test_64_bits_whatever_jax_does_by_default():
    shared = pytensor.shared(np.array([2**40]), name="shared")
    with jax.enable_x64(False):
        updates = {shared: shared + 1}
        f = pytensor.function([x], [x.sum(), shared + 1], updates=updates, mode=MODE)
        total, count = f([1.0, 1e-12])
        assert not jax.config.jax_enable_x64
    assert total == 1.0 + 1e-12
    assert count == shared.get_value() == 2**40 + 1


# --- inputs --------------------------------------------------------------------------


def test_inputs_are_cast():
    single = pt.fvector("single")
    under_both(lambda mode: pytensor.function([single], single * 2, mode=mode)([1, 2]))

    def run(mode):
        f = pytensor.function([single], single, mode=mode, allow_input_downcast=True)
        return f(np.array([1.0, 0.1]))

    under_both(run)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((np.ones((2, 2)), XS), {}),
        ((XS,), {}),
        ((XS, XS, XS), {}),
        ((XS, XS), {"x": XS}),
        ((XS,), {"z": XS}),
        (("three", XS), {}),
        ((XS, XS + 1j), {}),
    ],
)
def test_wrong_inputs(args, kwargs):
    errors = []
    for mode in (REFERENCE, MODE):
        f = pytensor.function([x, y], x + y, mode=mode)
        with pytest.raises((TypeError, ValueError)) as error:
            f(*args, **kwargs)
        errors.append(error)
    assert errors[0].type is errors[1].type
    assert str(errors[0].value) == str(errors[1].value)


def test_inputs_by_name():
    f = pytensor.function([x, y], x - y, mode=MODE)
    np.testing.assert_array_equal(f(y=XS, x=2 * XS), XS)


def test_trusted_and_mutable_inputs():
    def run(mode):
        outs = [x + 1, pt.inc_subtensor(x[0], y[0])]
        f = pytensor.function([In(x, mutable=True), y], outs, mode=mode)
        f.trust_input = True
        return f(XS.copy(), XS), f(XS[:2].copy(), XS)

    under_both(run)


def test_trusted_inputs_of_other_types():
    f = pytensor.function([s, x], s * x, mode=MODE, trust_input=True)
    np.testing.assert_array_equal(f(2.0, XS.astype("float32")), 2 * XS)
    with pytest.raises(jaxlink.ArgumentError, match=r"argument `x` of .* rank 2"):
        f(2.0, np.ones((2, 2)))


def test_an_input_with_a_default_and_an_update():
    def run(mode):
        state = pytensor.shared(10.0, name="state")
        default = In(s, value=state, update=s + x[0], implicit=False)
        f = pytensor.function([x, default], s * x, mode=mode)
        return f(XS), f(XS), f(XS, 5.0), f(XS), state.get_value()

    assert under_both(run)[-1] == 7.0


# --- shared variables ----------------------------------------------------------------


def test_shared_variables_are_read_at_every_call():
    def run(mode):
        data = pytensor.shared(XS, name="data")
        f = pytensor.function([], [data.sum(), data * 2], mode=mode)
        results = [f()]
        data.set_value(np.arange(5.0))
        results.append(f())
        data.get_value(borrow=True)[0] = 9.0
        results.append(f())
        return results

    assert under_both(run)[-1][0] == 19.0


def test_updates_over_several_calls():
    def run(mode):
        a, b = pytensor.shared(1.0, name="a"), pytensor.shared(XS, name="b")
        count = pytensor.shared(np.int8(0), name="count")
        # Each is computed from what the others were before the call.
        updates = {a: a + b.sum(), b: b[::-1] * a, count: count + 1}
        f = pytensor.function([], [a, b, count], updates=updates, mode=mode)
        results = [f() for _ in range(3)]
        return results, [var.get_value(borrow=True) for var in (a, b, count)]

    for value in under_both(run)[1]:
        assert value.flags.writeable


def test_updates_that_swap_and_that_change_shapes():
    def run(mode):
        a, b = pytensor.shared(XS, name="a"), pytensor.shared(XS[:2], name="b")
        updates = {a: b, b: pt.concatenate([a, b])}
        f = pytensor.function([], None, updates=updates, mode=mode)
        f(), f()
        return a.get_value(), b.get_value()

    under_both(run)


def test_default_updates_and_givens():
    def run(mode):
        a = pytensor.shared(1.0, name="a")
        with pytest.warns(DeprecationWarning, match="default_update"):
            a.default_update = a * 2
        f = pytensor.function([y], x + a, givens={x: y * 10}, mode=mode)
        return f(XS), f(XS), a.get_value()

    under_both(run)


def test_shapes_that_inputs_and_shared_variables_fix():
    def run(mode):
        length = pytensor.shared(2, name="length")
        outs = [pt.zeros(n) + length, pt.arange(length) * n, x[:length]]
        updates = {length: length + 1}
        f = pytensor.function([n, x], outs, updates=updates, mode=mode)
        results = [f(3, XS), f(1, XS), f(3, XS)]
        length.set_value(0)
        return [*results, f(2, XS)]

    under_both(run)


# --- copies --------------------------------------------------------------------------


@pytest.mark.parametrize("share_memory", [True, False])
def test_copies(share_memory):
    def run(mode):
        state, other = pytensor.shared(2.0), pytensor.shared(0.5)
        f = pytensor.function([x], state * x, updates={state: state * state}, mode=mode)
        same = f.copy(share_memory=share_memory)
        swapped = f.copy(share_memory=share_memory, swap={state: other})
        still = f.copy(share_memory=share_memory, delete_updates=True)
        results = [g(XS) for g in (f, same, swapped, still, swapped, f, still)]
        return results, state.get_value(), other.get_value()

    under_both(run)


@pytest.mark.parametrize(
    "duplicate", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy, copy.copy]
)
def test_functions_pickle_and_copy(duplicate):
    def run(mode):
        state = pytensor.shared(1.0, name="state")
        checked = Assert("positive")(x, x.sum() > 0)
        updates = {state: state + 1}
        f = pytensor.function([x], state * checked, updates=updates, mode=mode)
        f(XS)
        g = duplicate(f)
        return g(XS), g(XS), f(XS), state.get_value()

    under_both(run)


# --- checks --------------------------------------------------------------------------


class FunnyError(ArithmeticError):
    pass


# Output, an input that is right, one that is not, and what PyTensor raises.
CHECKS = {
    "assert": (Assert("negative")(x, pt.all(x > 0)).sum(), XS, -XS, AssertionError),
    "own": (CheckAndRaise(FunnyError, "a: b")(x, x.sum() > 0), XS, -XS, FunnyError),
    "named": (
        CheckAndRaise(np.linalg.LinAlgError, "no root")(x, x.sum() > 0),
        *(XS, -XS, np.linalg.LinAlgError),
    ),
    "index": (x[x[0].astype("int64")], XS, 7 * XS, IndexError),
    "loop": (
        pytensor.scan(
            lambda v: Assert("large")(v, v < 9), sequences=x, return_updates=False
        ),
        *(XS, 7 * XS, AssertionError),
    ),
    "inverse": (
        ptl.inv(pt.outer(x, x) + x[0] * pt.eye(3)),
        *(XS, 0 * XS, np.linalg.LinAlgError),
    ),
    "cholesky": (
        ptl.cholesky(x[0] * (pt.eye(3) + pt.outer(x, x))),
        *(XS, -XS, None),
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_checks(name):
    out, right, wrong, error = CHECKS[name]
    functions = [pytensor.function([x], out, mode=mode) for mode in (REFERENCE, MODE)]
    reference, f = functions
    for _ in range(2):
        assert_alike(f(right), reference(right))
        if error is None:
            assert_alike(f(wrong), reference(wrong))
            continue
        texts = []
        for function in functions:
            with pytest.raises(error) as raised:
                function(wrong)
            assert raised.type is error
            texts.append(str(raised.value).splitlines()[0])
        if name in ("assert", "own", "named", "loop"):
            assert texts[0] == texts[1]


def test_checks_in_the_branch_that_is_not_taken():
    out = ifelse(x[0] > 0, x, Assert("unlikely")(x, x.sum() > 0))
    f = pytensor.function([x], out, mode=MODE)
    illegal_there = np.array([1.0, -5.0, 0.0])
    assert_alike(f(illegal_there), illegal_there)
    with pytest.raises(AssertionError, match="unlikely"):
        f(-XS)


def test_wrong_parameters_of_a_draw():
    rng = pt.random.rng("rng")
    f = pytensor.function([rng, s], rng.poisson(s)[1], mode=MODE)
    with pytest.raises(ValueError, match="the rate of `poisson` is negative"):
        f(np.random.default_rng(1), -1.0)


def test_checks_that_only_some_shapes_need():
    f = pytensor.function([x, n], x[:n].max() + x[n], mode=MODE)
    assert f(XS, 2) == 5.0
    with pytest.raises(IndexError):
        f(XS, 3)


# --- what cannot be ------------------------------------------------------------------


class Nameless(Op):
    def make_node(self, value):
        return Apply(self, [value], [value.type()])

    def infer_shape(self, node, shapes):
        return shapes

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] + 1


def test_what_cannot_be_compiled():
    match = r"no rule for the Op .*Nameless"
    with pytest.raises(jaxlink.UnsupportedOpError, match=match) as error:
        pytensor.function([x], Nameless()(x), mode=MODE)
    assert 'link_kwargs={"host_callback": True}' in error.value.__notes__[0]
    with pytest.raises(jaxlink.DynamicShapeError, match="depends on `x`"):
        pytensor.function([x], pt.zeros(x[0].astype("int64")), mode=MODE)


def test_an_op_that_is_called_in_python():
    mode = MODE.clone(link_kwargs={"host_callback": True})
    f = pytensor.function([x], Nameless()(x) * 2, mode=mode)
    np.testing.assert_array_equal(f(XS), 2 * (XS + 1))
    np.testing.assert_array_equal(f.copy()(XS), 2 * (XS + 1))


def test_shapes_that_do_not_fit():
    f = pytensor.function([x, y], x + y, mode=MODE)
    with pytest.raises(ValueError, match="do not broadcast together"):
        f(XS, XS[:2])
    np.testing.assert_array_equal(f(XS, XS), 2 * XS)


# --- the mode ------------------------------------------------------------------------


def test_nothing_is_registered():
    assert MODE not in predefined_modes.values()
    assert MODE.linker not in predefined_linkers.values()


def test_modes_made_of_it():
    out = Assert("never")(pt.log(pt.exp(x)), x.sum() > 100)
    mode = MODE.including("local_remove_all_assert")
    np.testing.assert_allclose(pytensor.function([x], out, mode=mode)(XS), XS)
    rng = pt.random.shared_rng(np.random.default_rng(1))
    next_rng, draw = rng.normal(x)
    draws = []
    for mode in (MODE, MODE.including("fast_run"), pickle.loads(pickle.dumps(MODE))):
        rng.set_value(np.random.default_rng(1))
        f = pytensor.function([x], [draw, x * 1], updates={rng: next_rng}, mode=mode)
        draws.append((f(XS)[0], f(XS)[0]))
    np.testing.assert_allclose(draws[1], draws[0], rtol=1e-14)
    np.testing.assert_array_equal(draws[2], draws[0])


def test_it_can_be_pytensors_default():
    with pytensor.config.change_flags(mode=MODE):
        f = pytensor.function([x], x + 1)
    assert f.maker.mode is MODE
    np.testing.assert_array_equal(f(XS), XS + 1)


def test_profiles():
    profile = pytensor.compile.ProfileStats(atexit_print=False)
    f = pytensor.function([x], x + 1, mode=MODE, profile=profile)
    f(XS)
    assert profile.fct_callcount == 1

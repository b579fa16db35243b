"""Under MODE a shape may depend on how far a loop came, or on a branch."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.conditional.op import ifelse
from pytensor.raise_op import Assert
from pytensor.scan.utils import until

import jaxlink
from jaxlink import MODE

REFERENCE = Mode("py", "fast_run")
a, c, n = pt.scalar("a"), pt.lscalar("c"), pt.lscalar("n")
v, w = pt.vector("v"), pt.vector("w")
ONE = pt.ones(())


def scan(step, **kwargs):
    return pytensor.scan(step, **kwargs, return_updates=False)


def growth(x, a):
    return x * a + 1, until(x > 50)


xs = scan(growth, outputs_info=ONE, non_sequences=a, n_steps=20)
squares, halves = scan(
    lambda x, a: ((x * a, x / 2), until(x > 9)),
    outputs_info=[ONE, None],
    non_sequences=a,
    n_steps=n,
)
partial_sums = scan(
    lambda u, x: (x + u, until(x > 2)), sequences=v, outputs_info=pt.zeros(())
)
RAGGED = np.array([1.0, 1.0, 2.0, 3.0])

# Inputs, outputs, and values for which the loop ends early, at its bound, and at once.
LOOPS = {
    "gradient of the end": ([a], pytensor.grad(xs[-1], a), [(2.0,), (1.01,), (60.0,)]),
    "steps": ([a], [xs, xs[::-2], xs.sum()], [(2.0,), (1.01,), (60.0,)]),
    "gradient of a sum": ([a], pytensor.grad((xs**2).sum(), a), [(2.0,), (1.01,)]),
    "what is no state": (
        [a, n],
        [halves, pytensor.grad(squares.sum() + halves.max(), a)],
        [(2.0, 9), (2.0, 3)],
    ),
    "sequence": (
        [v],
        [partial_sums, pytensor.grad(partial_sums[-1], v)],
        [(RAGGED,), (np.ones(2),)],
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_steps_of_loops_that_stop(name):
    inputs, outs, points = LOOPS[name]
    outs = outs if isinstance(outs, list) else [outs]
    f = pytensor.function(inputs, outs, mode=MODE)
    reference = pytensor.function(inputs, outs, mode=REFERENCE)
    for point in (*points, points[0]):
        for value, expected in zip(f(*point), reference(*point), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            assert value.shape == expected.shape


def test_draws_in_a_loop_that_stops():
    """They are those of the same loop if its end alone is read."""
    rng = pt.random.shared_rng(seed=3)

    def step(x, rng):
        next_rng, z = rng.normal()
        return (x + abs(z), next_rng), until(x > 3)

    walk, end = scan(step, outputs_info=[pt.zeros(()), rng], n_steps=50)
    f = pytensor.function([], walk, updates={rng: end}, mode=MODE)
    last = pytensor.function([], walk[-1], mode=MODE)
    first = last()
    whole = f()
    assert whole[-1] == first
    assert (np.diff(whole) > 0).all()
    assert f()[-1] != first


@pytest.mark.parametrize("condition", [c, a > 1, pt.eq(v.sum(), 2)])
def test_branches_of_different_shapes(condition):
    inputs = [c, a, v, w]
    out = ifelse(condition, v, w) * 2
    given = {"on_unused_input": "ignore"}
    f = pytensor.function(inputs, out, mode=MODE, **given)
    reference = pytensor.function(inputs, out, mode=REFERENCE, **given)
    for flag, x in [(1, np.ones(2)), (0, np.ones(3)), (2, np.ones(2))]:
        args = flag, 2.0 * flag, x, np.zeros(5)
        np.testing.assert_array_equal(f(*args), reference(*args))


def test_the_branch_that_is_not_taken_is_not_run():
    out = ifelse(c, v, Assert("never")(xs, a < 0))
    f = pytensor.function([a, c, v], out, mode=MODE)
    assert f(2.0, 1, np.ones(2)).shape == (2,)
    with pytest.raises(AssertionError, match="never"):
        f(2.0, 0, np.ones(2))


def test_types_of_different_shapes_make_a_condition_static():
    two, three = pt.tensor("two", shape=(2,)), pt.tensor("three", shape=(3,))
    fn = jaxlink.function([c, two, three], ifelse(c, two, three))
    assert fn.static_argnums == (0,)
    assert fn(1, np.ones(2), np.zeros(3)).tolist() == [1, 1]
    assert fn(0, np.ones(2), np.zeros(3)).tolist() == [0, 0, 0]
    might = jaxlink.function([c, v, w], ifelse(c, v, w))
    assert might.static_argnums == ()
    with pytest.raises(jaxlink.ArgumentError, match="condition is then static"):
        might(1, np.ones(2), np.ones(3))

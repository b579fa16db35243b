"""Loops whose number of steps depends on values, under ``checkify`` and ``vmap``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.linalg
from jax.experimental import checkify
from pytensor.raise_op import Assert
from pytensor.scan.utils import until
from pytensor.tensor import linalg as ptl

import jaxlink
from jaxlink.numerics.loops import while_loop

s, t = pt.scalar("s"), pt.tensor3("t")
VALUES = jnp.array([0.5, 2.0, 3.5])


def checked_batch(fn, *args):
    error, out = checkify.checkify(jax.vmap(fn))(*args)
    error.throw()
    return out


def halvings(x, least):
    """How often ``x`` can be halved until it is below ``least``."""
    return while_loop(
        lambda state: state["x"] > least,
        lambda state: {"x": state["x"] / 2, "n": state["n"] + 1},
        {"x": x, "n": 0},
    )["n"]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_lanes_of_a_sealed_loop(wrap):
    x, least = jnp.array([1.0, 9.0, 100.0]), jnp.array([2.0, 3.0])
    expected = [[0, 3, 6], [0, 2, 6]]
    assert halvings(9.0, 3.0) == 2
    by_x = jax.vmap(halvings, (0, None))
    assert wrap(by_x)(x, 2.0).tolist() == expected[0]
    both = jax.vmap(by_x, (None, 0))
    assert wrap(both)(x, least).tolist() == expected
    error, out = checkify.checkify(wrap(both))(x, least)
    error.throw()
    assert out.tolist() == expected


# One of each loop of a sampler: rejection, words in a range, steps along a mass
# function.


def rng():
    return pt.random.shared_rng(seed=1)


DRAWS = {
    "gamma": rng().gamma(s, scale=1.0),
    "poisson": rng().poisson(s),
    "integers": rng().integers(0, 1 + pt.floor(s).astype("int64")),
    "hypergeometric": rng().hypergeometric(5 + pt.floor(s).astype("int64"), 5, 3),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws(name):
    fn = jaxlink.function([s], DRAWS[name][1])
    keys = jax.random.split(jax.random.key(0), len(VALUES))
    drawn = checked_batch(fn.checked, keys, VALUES)
    np.testing.assert_allclose(drawn, jax.vmap(fn)(keys, VALUES), rtol=1e-12)


def test_checks_beside_a_sealed_loop():
    fn = jaxlink.function([s], DRAWS["poisson"][1])
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(checkify.JaxRuntimeError, match="the rate of `poisson`"):
        checked_batch(fn.checked, keys, jnp.array([1.0, -1.0]))


def test_scans_that_stop():
    """Each lane stops by itself, and only the checks of its own steps count."""

    def step(x, s):
        return Assert("below ten")(x * s, x < 10), until(x > 4)

    xs = pytensor.scan(
        step, outputs_info=pt.ones(()), non_sequences=s, n_steps=9, return_updates=False
    )
    fn = jaxlink.function([s], xs[-1])
    values = jnp.array([1.1, 2.0, 3.0])
    assert checked_batch(fn.checked, values).tolist() == [fn(v) for v in values]
    jax.grad(lambda v: jax.vmap(fn)(v).sum())(values)
    with pytest.raises(checkify.JaxRuntimeError, match="below ten"):
        checked_batch(
            jaxlink.function([s], xs[-1] + Assert("below ten")(s, s < 3)).checked,
            values,
        )


def test_batches_under_mode():
    matrices = np.random.default_rng(0).normal(size=(2, 3, 3))
    outs = [*ptl.schur(t), ptl.solve_continuous_lyapunov(t, t)]
    *form, solution = pytensor.function([t], outs, mode=jaxlink.MODE)(matrices)
    for matrix, *found, x in zip(matrices, *form, solution, strict=True):
        for value, wanted in zip(found, scipy.linalg.schur(matrix), strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(matrix @ x + x @ matrix.T, matrix, atol=1e-9)

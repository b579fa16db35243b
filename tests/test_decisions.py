"""A decision is made once: ties that are exact in mathematics and not in rounding.

XLA computes a comparison anew, and rounds differently, in each fusion that reads it.
Without optimization it does not, so that is the reference of a full one.
"""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from support import DEFAULT, unoptimized

import jaxlink

LOG_SCALES = np.linspace(-1, 1, 41)
POINTS = np.linspace(0, 5, 8)[:, None]
INDUCING = POINTS[::3]


def by_pymc(h):
    """PyMC clips squared distances at zero."""
    kernel = pm.gp.cov.ExpQuad(1, ls=pt.exp(h))
    return explained(
        kernel(pt.as_tensor(INDUCING)),
        kernel(pt.as_tensor(INDUCING), pt.as_tensor(POINTS)),
    )


def explained(inner, outer):
    """The variance that inducing points explain: its terms nearly cancel."""
    root = pt.linalg.cholesky(inner + 1e-6 * pt.eye(len(INDUCING)))
    return (pt.linalg.solve_triangular(root, outer, lower=True) ** 2).sum()


# What keeps a squared distance from being negative.
GUARDS = {
    "clip": lambda d: pt.clip(d, 0, np.inf),
    "maximum": lambda d: pt.maximum(d, 0),
    "minimum": lambda d: -pt.minimum(-d, 0),
    "switch": lambda d: pt.switch(d > 0, d, 0),
    "switch to a constant": lambda d: pt.switch(d < 1e-14, 1e-14, d),
    "abs": pt.abs,
    "sign": lambda d: d * pt.sign(d),
    "comparison": lambda d: d * (d > 0),
    "max": lambda d: pt.stack([d, pt.zeros_like(d)]).max(0),
    "min": lambda d: -pt.stack([-d, pt.zeros_like(d)]).min(0),
    "sort": lambda d: pt.sort(pt.stack([d, pt.zeros_like(d)]), axis=0)[1],
    "argmax": lambda d: pt.take_along_axis(
        pt.stack([d, pt.zeros_like(d)]),
        pt.argmax(pt.stack([d, pt.zeros_like(d)]), axis=0)[None],
        axis=0,
    )[0],
    "set": lambda d: pt.set_subtensor(d[d < 0], 0.0),
}


def guarded(guard, h):
    """Squared distances of equal points, by expansion."""

    def covariance(x, y):
        x, y = x / pt.exp(h), y / pt.exp(h)
        squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
        return pt.exp(-0.5 * guard(squares))

    inducing, points = pt.as_tensor(INDUCING), pt.as_tensor(POINTS)
    return explained(covariance(inducing, inducing), covariance(inducing, points))


X = np.random.default_rng(0).normal(size=(6, 5))
# Of a vector: values that are equal, but for rounding, decide.
TIES = {
    "x - x": lambda x: pt.sqrt(pt.abs((x * 1.1 + x * 2.3) - x * 3.4) + 1e-12).sum(),
    "sums in other orders": lambda x: (
        pt.exp(1e3 * pt.maximum((x[0] + x[1]) + x[2] - (x[2] + x[1] + x[0]), 0))
        + (x**2).sum()
    ),
    "max of equal sums": lambda x: (lambda s: (pt.exp(s - s.max()) ** 3).sum())(
        pt.stack([x[0] * 1.1 + x[1] * 2.3, (x[0] * 2.2 + x[1] * 4.6) / 2, x[2]])
    ),
    "sort of equal sums": lambda x: (
        lambda s: (pt.exp(pt.sort(s)) * pt.arange(3)).sum() - s[pt.argsort(s)][1]
    )(pt.stack([x[0] * 1.1 + x[1] * 2.3, (x[0] * 2.2 + x[1] * 4.6) / 2, x[2]])),
    "search among equal sums": lambda x: (
        lambda s: (
            pt.exp(s[pt.searchsorted(s, x[0] * 1.1 + x[1] * 2.3) % 3]).sum()
            * pt.sin(s).sum()
        )
    )(pt.sort(pt.stack([(x[0] * 2.2 + x[1] * 4.6) / 2, x[2], x[3]]))),
}


def assert_decided_once(build, x, points):
    output = build(x)
    fn = jaxlink.function([x], output)
    optimized = jax.jit(jax.grad(fn))
    plain = unoptimized(jax.grad(fn))
    wanted = np.array([plain(p) for p in points])
    got = np.array([optimized(p) for p in points])
    atol = 1e-3 * (1 + np.abs(wanted).max())
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=atol)
    np.testing.assert_allclose(jax.grad(fn)(points[0]), wanted[0], 1e-3, atol)
    return output, wanted, atol


def test_inducing_points_among_the_data():
    assert_decided_once(by_pymc, pt.dscalar("h"), LOG_SCALES)


@pytest.mark.slow
def test_inducing_points_under_the_mode():
    """Here PyTensor differentiates."""
    h = pt.dscalar("h")
    output, wanted, atol = assert_decided_once(by_pymc, h, LOG_SCALES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradient = pytensor.grad(output, h)
        ours = pytensor.function([h], gradient, mode=jaxlink.MODE)
        pytensors = pytensor.function([h], gradient, mode=DEFAULT)
    in_mode = np.array([ours(v) for v in LOG_SCALES])
    np.testing.assert_allclose(in_mode, wanted, rtol=1e-3, atol=atol)
    by_pytensor = np.array([pytensors(v) for v in LOG_SCALES])
    np.testing.assert_allclose(by_pytensor, wanted, rtol=1e-3, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("name", GUARDS)
def test_guards(name):
    build = partial(guarded, GUARDS[name])
    assert_decided_once(build, pt.dscalar("h"), LOG_SCALES)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIES)
def test_ties(name):
    x = pt.dvector("x")
    assert_decided_once(TIES[name], x, list(jnp.asarray(X)))

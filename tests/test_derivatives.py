"""A zero stays zero in differentiation, and a decision is made once: the mechanism.

tests/test_gradient_sweep.py and tests/test_decisions.py sweep over Ops, distributions
and ties; here is each rule by which zeros spread, in all modes and orders.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pymc as pm
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from pytensor.compile.builders import OpFromGraph
from pytensor.conditional.op import ifelse
from pytensor.graph.fg import FunctionGraph
from pytensor.raise_op import Assert
from pytensor.tensor.elemwise import Elemwise

import jaxlink
from jaxlink.ops.decide import Decide
from jaxlink.ops.gradients import MaskedGradient
from jaxlink.rewrites.derivatives import settle_derivatives

X = np.array([-1.0, 0.0, 4.0])


def in_scan(x):
    def step(x, total):
        return total + pt.switch(x > 0, pt.sqrt(x), x)

    start = pt.constant(0.0, dtype=x.dtype)
    return pytensor.scan(step, x, start, return_updates=False)[-1]


def in_scan_by_state(x):
    def step(x, total):
        return total + pt.switch(total > 0, pt.log(x), 2 * x)

    start = pt.constant(-10.0, dtype=x.dtype)
    return pytensor.scan(step, x, start, return_updates=False)[-1]


def in_graph(x):
    (y,) = (pt.vector("y"),)
    return OpFromGraph([y], [pt.switch(y > 0, pt.sqrt(y), y)])(x)


def batch(x):
    """Matrices of which only that of x[2] can be factorized."""
    return x[:, None, None] * pt.eye(2)


def written_by_mask(x):
    kept = x > 0
    return pt.set_subtensor(x[kept], pt.log(x)[kept])


# Each with its gradient at X, which ends where a branch is cut off.
CASES = {
    "switch": (lambda x: pt.switch(x > 0, pt.sqrt(x), x), [1, 1, 0.25]),
    "nested switch": (
        lambda x: pt.switch(x > 0, pt.switch(x > 5, pt.log(x - 5), 1 / x), x),
        [1, 1, -1 / 16],
    ),
    "product": (
        lambda x: pt.switch(x > 0, x * (x / 0.0), 3 * x)[:2],
        [3, 3, 0],
    ),
    "scalar condition": (
        lambda x: pt.switch(x[0] > 0, pt.log(x).sum(), x.sum()),
        [1, 1, 1],
    ),
    "checked operand": (
        lambda x: pt.switch(x > 0, Assert("no")(pt.log(x), x[2] > 0), x),
        [1, 1, 0.25],
    ),
    "repeated operand": (
        lambda x: pt.switch(x > 0, pt.alloc(pt.log(x), 2, 3), x)[0],
        [1, 1, 0.25],
    ),
    "broadcast operand": (
        lambda x: pt.switch(x > 0, pt.log(x[1]) + pt.exp(x / x[1]), x)[:2],
        [1, 1, 0],
    ),
    "maximum": (lambda x: pt.maximum(pt.log(x[1:]), -5), [0, 0, 0.25]),
    "minimum": (lambda x: pt.minimum(5, 1 / pt.abs(x)), [1, 0, -1 / 16]),
    "clip": (lambda x: pt.clip(pt.exp(300 * x), 0.5, 2.0), [0, 300, 0]),
    "max": (lambda x: pt.log(x[1:]).max(), [0, 0, 0.25]),
    "min": (lambda x: (-pt.log(x[1:])).min(), [0, 0, -0.25]),
    "max along an axis": (
        lambda x: pt.stack([pt.log(x[1:]), x[1:] - 9]).max(axis=0),
        [0, 1, 0.25],
    ),
    "product with a condition": (
        lambda x: (x[1:] > 0) * pt.sqrt(x[1:]),
        [0, 0, 0.25],
    ),
    "part": (lambda x: (2 * pt.log(x))[2:], [0, 0, 0.5]),
    "parts by index": (lambda x: (2 * pt.log(x))[np.array([2, 2])], [0, 0, 1]),
    "write": (lambda x: pt.set_subtensor(pt.log(x)[:2], x[:2]), [1, 1, 0.25]),
    "write by index": (
        lambda x: pt.set_subtensor(pt.log(x)[np.array([0, 1])], 0.0),
        [0, 0, 0.25],
    ),
    "write by mask": (written_by_mask, [1, 1, 0.25]),
    "selection": (lambda x: pt.log(x)[x > 0].sum(), [0, 0, 0.25]),
    "join": (
        lambda x: pt.switch(
            pt.concatenate([x, x]) > 0, pt.concatenate([pt.log(x), 2 * x]), 1.0
        ),
        [0, 0, 2.25],
    ),
    "stack of scalars": (
        lambda x: pt.switch(x > 0, pt.stack([pt.log(x[i]) for i in range(3)]), x),
        [1, 1, 0.25],
    ),
    "reshape": (
        lambda x: pt.switch(
            pt.outer(x, x) > 9, pt.log(pt.outer(x, x)).reshape((9,)).reshape((3, 3)), 0
        ),
        [0, 0, 0.5],
    ),
    "transpose": (
        lambda x: pt.switch(x[:, None] > 0, pt.log(pt.tile(x, (2, 1))).T, x[:, None]),
        [2, 2, 0.5],
    ),
    "sum of rows": (
        lambda x: pt.switch(x > 0, pt.log(pt.stack([x, x], 1)).sum(1), x),
        [1, 1, 0.5],
    ),
    "logsumexp": (
        lambda x: pt.switch(x > 0, pt.logsumexp(pt.log(pt.stack([x, x], 1)), 1), x),
        [1, 1, 0.25],
    ),
    "softmax": (
        lambda x: pt.switch(
            x > 0, pt.special.softmax(pt.log(pt.stack([x, 4 - 0 * x], 1)), 1)[:, 0], x
        ),
        [1, 1, 1 / 16],
    ),
    "batched linear algebra": (
        lambda x: pt.switch(x > 0, pt.linalg.cholesky(batch(x))[:, 0, 0], x),
        [1, 1, 0.25],
    ),
    "diagonals": (
        lambda x: pt.switch(
            x > 0, pt.log(pt.diagonal(batch(x), axis1=1, axis2=2)).sum(1), x
        ),
        [1, 1, 0.5],
    ),
    "ifelse": (
        lambda x: ifelse(x[0] > 0, pt.log(x).sum(), x.sum()),
        [1, 1, 1],
    ),
    "Scan": (in_scan, [1, 1, 0.25]),
    "Scan, by its state": (in_scan_by_state, [2, 2, 2]),
    "OpFromGraph": (in_graph, [1, 1, 0.25]),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float64") for name in CASES),
        *((name, "float32") for name in ("switch", "clip", "max", "Scan")),
    ],
)
def test_zero_stays_zero(name, dtype):
    make, wanted = CASES[name]
    x = pt.vector("x", dtype=dtype, shape=(3,))
    out = make(x).sum()
    fn = jaxlink.function([x], out)

    @jax.jit
    def derivatives(x):
        return {
            "grad": jax.grad(fn)(x),
            "jacfwd": jax.jacfwd(fn)(x),
            "vmap of grad": jax.vmap(jax.grad(fn))(jnp.stack([x, x]))[0],
            "grad of vmap": jax.grad(lambda x: jax.vmap(fn)(x).sum())(x[None])[0],
            "hessians": [
                jax.jacfwd(jax.jacrev(fn))(x),
                jax.jacrev(jax.jacfwd(fn))(x),
                jax.jacrev(jax.jacrev(fn))(x),
                jax.jacfwd(jax.jacfwd(fn))(x),
            ],
        }

    found = derivatives(X.astype(dtype))
    first, *others = found.pop("hessians")
    rtol = 1e-12 if dtype == "float64" else 1e-5
    for how, value in found.items():
        np.testing.assert_allclose(value, wanted, rtol=rtol, err_msg=how)
    assert np.isfinite(first).all()
    for other in others:
        np.testing.assert_allclose(other, first, rtol=rtol, atol=rtol)


def test_draw_in_a_branch_that_is_not_taken():
    mu = pt.scalar("mu")
    draw = pt.random.shared_rng(seed=0).normal(mu, 0.1)[1]
    # The only reader of the draw: with several, each is masked on its own.
    fn = jaxlink.function([mu], pt.switch(mu > 0, pt.sqrt(draw), 3 * mu))
    assert float(jax.grad(fn, argnums=1)(jax.random.key(0), -5.0)) == 3


def test_graph_is_masked_where_a_branch_ends():
    x = pt.vector("x")
    fgraph = FunctionGraph([x], [pt.switch(x > 0, pt.log(pt.sqrt(x)), x)], clone=False)
    settle_derivatives(fgraph)
    ((mask, root),) = [
        (node, client)
        for node in fgraph.apply_nodes
        if isinstance(node.op, MaskedGradient)
        for client, _ in fgraph.clients[node.outputs[0]]
    ]
    # One mask does for both functions, and stands where the branch begins.
    assert mask.inputs[0] is x
    assert isinstance(root.op.scalar_op, ps.Sqrt)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: pt.exp(x) * pt.log(x),  # nothing is chosen
        lambda x: pt.switch(x > 0, x / np.arange(1.0, 4), -x),  # slopes are finite
        lambda x: pt.maximum(x, 0) + pt.clip(x, 1, 2),
        lambda x: pt.switch(x > 0, pt.constant(np.log(2.0)), x),
        lambda x: pt.switch(pt.gt(pt.arange(3), 1), pt.arange(3.0), 1 / pt.arange(3.0)),
    ],
)
def test_graph_stays(make):
    x = pt.vector("x", shape=(3,))
    fgraph = FunctionGraph([x], [make(x)], clone=False)
    (output,) = fgraph.outputs
    settle_derivatives(fgraph)
    assert fgraph.outputs == [output]
    assert not any(
        isinstance(n.op, MaskedGradient | Decide) for n in fgraph.apply_nodes
    )


def decisions(make):
    x, y = pt.vectors("x", "y")
    fgraph = FunctionGraph([x, y], [make(x, y)], clone=False)
    settle_derivatives(fgraph)
    return [node for node in fgraph.apply_nodes if isinstance(node.op, Decide)]


def test_decisions_that_are_read_once_wait_for_a_derivative():
    (decide,) = decisions(lambda x, y: pt.switch(x * y > 1, x, y))
    assert len(decide.inputs) == 3


def test_decisions_that_are_read_twice_are_made_once():
    def make(x, y):
        chosen = pt.switch(x * y > 1, x, y)
        return pt.exp(chosen).sum() + chosen.max()

    (decide,) = decisions(make)
    assert len(decide.inputs) == 1


def test_sign_that_is_read_twice_is_computed_once():
    def make(x, y):
        sign = pt.sign(x * y - 1)
        return sign * x + sign.sum()

    (decide,) = decisions(make)
    assert isinstance(decide.inputs[0].owner.op, Elemwise)


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: pt.switch(x[1:] > y[:-1], x[1:], y[1:]),  # of the inputs alone
        lambda x, y: pt.switch(pt.arange(3) > 1, x, y),
        lambda x, y: (x * y > 1).sum(),  # nothing is chosen
    ],
)
def test_no_decision(make):
    assert decisions(make) == []


def test_forward_program_has_no_barrier():
    x, y = pt.vectors("x", "y")
    fn = jaxlink.function([x, y], pt.switch(x * y > 1, pt.clip(x + y, 0, 1), y).sum())
    args = np.ones(3), np.ones(3)
    assert "optimization_barrier" not in str(jax.make_jaxpr(fn)(*args))
    assert "optimization_barrier" in str(jax.make_jaxpr(jax.grad(fn))(*args))


@pytest.mark.parametrize(
    ("dist", "value", "slope"),
    [
        (pm.HalfNormal.dist(2.0), 0.0, -np.sqrt(2 / np.pi) / 2),
        (pm.Exponential.dist(3.0), 0.0, -3.0),
        (pm.Uniform.dist(1.0, 3.0), 1.0, -0.5),
        (pm.Pareto.dist(3.0, 2.0), 2.0, -1.5),
        (pm.Weibull.dist(1.0, 2.0), 0.0, -0.5),
    ],
    ids=lambda value: getattr(getattr(value, "owner", None), "op", None) and "dist",
)
def test_complement_at_the_lower_end(dist, value, slope):
    """d/dx log(1 - F(x)) = -f(x) / (1 - F(x)), and F is zero there."""
    x = pt.scalar("x")
    fn = jaxlink.function([x], pm.logccdf(dist, x))
    np.testing.assert_allclose(jax.grad(fn)(value), slope, rtol=1e-6)
    np.testing.assert_allclose(fn(value), 0, atol=1e-12)


def test_complement_keeps_illegal_probabilities_undefined():
    p = pt.vector("p")
    out = [pt.log1mexp(pt.log(p)), pt.log1mexp(pt.log1mexp(p))]
    points = np.array([-0.5, 0.0, 0.25, 1.0, 1.5])
    wanted = pytensor.function([p], out, mode="FAST_COMPILE")(points)
    for got, known in zip(jaxlink.function([p], out)(points), wanted, strict=True):
        np.testing.assert_allclose(got, known, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_log_erfc(dtype):
    """d log(erfc(x)) = -2 exp(-x^2) / (sqrt(pi) erfc(x)), at 50 digits."""
    x = pt.vector("x", dtype=dtype)
    points = np.array([-200, -26.7, -9, -1, 0, 0.4, 0.6, 5, 10.3, 14, 26.7, 200], dtype)
    fn = jaxlink.function([x], pt.log(pt.erfc(x)))
    first = jax.vmap(jax.grad(lambda x: fn(x[None])[0]))(points)
    second = jax.vmap(jax.hessian(lambda x: fn(x[None])[0]))(points)
    with mpmath.workdps(50):
        exact = [mpmath.mpf(float(p)) for p in points]
        wanted = [
            [
                float(mpmath.diff(lambda t: mpmath.log(mpmath.erfc(t)), p, n))
                for p in exact
            ]
            for n in range(3)
        ]
    rtol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(fn(points), wanted[0], rtol=rtol, atol=1e-37)
    np.testing.assert_allclose(first, wanted[1], rtol=rtol, atol=1e-37)
    np.testing.assert_allclose(second, wanted[2], rtol=1e3 * rtol, atol=1e3 * rtol)

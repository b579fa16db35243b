"""Random small graphs mean in JAX what they mean in PyTensor.

A graph is built step by step: each step applies a row of `STEPS` to variables that are
there already. Rows that PyTensor refuses (a dtype, a shape) are skipped.
"""

import warnings
from contextlib import suppress

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytensor.gradient import NullTypeGradError
from support import compare, reference

import jaxlink

# --- the steps -----------------------------------------------------------------------

UNARY = {
    "exp": lambda x: pt.exp(pt.clip(x, -5, 5)),
    "tanh": pt.tanh,
    "abs": pt.abs,
    "sqr": pt.sqr,
    "neg": lambda x: -x,
    "sigmoid": pt.sigmoid,
    # Of small integers PyTensor's Python computes it in half precision.
    "softplus": lambda x: pt.softplus(x.astype(np.result_type(x.type.dtype, "f4"))),
    "log1p abs": lambda x: pt.log1p(pt.abs(x)),
    "arctan": pt.arctan,
    "erf": pt.erf,
    "gammaln": lambda x: pt.gammaln(pt.abs(x) + 1),
    "sign": pt.sign,
    "floor": pt.floor,
    "isnan": pt.isnan,
    "to int8": lambda x: pt.clip(x, -100, 100).astype("int8"),
    "to int64": lambda x: pt.clip(x, -100, 100).astype("int64"),
    "to float32": lambda x: x.astype("float32"),
    "to float64": lambda x: x.astype("float64"),
    "to bool": lambda x: x.astype("bool"),
    "sum": pt.sum,
    "sum 0": lambda x: pt.sum(x, axis=0),
    "prod -1": lambda x: pt.prod(pt.clip(x, -2, 2), axis=-1),
    "max -1": lambda x: pt.max(x, axis=-1),
    "min 0": lambda x: pt.min(x, axis=0),
    "mean": lambda x: pt.mean(x, axis=0, keepdims=True),
    "any": lambda x: pt.any(x, axis=0),
    "all": pt.all,
    "argmax": lambda x: pt.argmax(x, axis=-1),
    "cumsum": lambda x: pt.cumsum(x.astype("float64"), axis=-1),
    "sort": lambda x: pt.sort(x, axis=-1),
    "transpose": lambda x: x.T,
    "flatten": pt.flatten,
    "reshape": lambda x: x.reshape((-1, 1)),
    "expand": lambda x: x[None],
    "first": lambda x: x[0],
    "last": lambda x: x[..., -1],
    "reversed": lambda x: x[::-1],
    "tail": lambda x: x[1:],
    "every other": lambda x: x[..., ::2],
    "gather": lambda x: x[np.array([0, -1, 0])],
    "shape": lambda x: x.shape[0] * pt.ones_like(x),
    "zeros_like": pt.zeros_like,
    "set first": lambda x: x[0].set(1),
    "inc last": lambda x: x[-1].inc(2),
    "diff": pt.diff,
    "repeat": lambda x: pt.repeat(x, 2, axis=0),
    "softmax": lambda x: pt.special.softmax(x, axis=-1),
    "logsumexp": lambda x: pt.logsumexp(x, axis=-1),
    "squeeze": lambda x: pt.squeeze(x, axis=0),
    "eye": lambda x: x + pt.eye(2),
    "arange": lambda x: x + pt.arange(x.shape[-1]),
}
BINARY = {
    "add": pt.add,
    "sub": pt.sub,
    "mul": pt.mul,
    "div": lambda x, y: x / (1 + pt.abs(y)),
    "floor div": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "pow": lambda x, y: pt.abs(x) ** pt.clip(pt.abs(y), 0, 3),
    "maximum": pt.maximum,
    "minimum": pt.minimum,
    "less": pt.lt,
    "equal": pt.eq,
    "and": pt.and_,
    "xor": pt.xor,
    "arctan2": pt.arctan2,
    "switch": lambda x, y: pt.switch(x > 0, x, y),
    "outer": lambda x, y: x[..., None] * y,
    "dot": pt.dot,
    "stack": lambda x, y: pt.stack([x, y]),
    "join": lambda x, y: pt.join(0, x, y),
    "hstack": lambda x, y: pt.join(-1, x, y),
    "logaddexp": pt.logaddexp,
    "mask": lambda x, y: pt.switch(pt.isnan(y), 0, x),
}
DTYPES = ["bool", "int8", "int64", "uint8", "float32", "float64"]
# Lengths 0 and 1 are where things go wrong; the rest broadcasts often.
SHAPES = [(2,), (2, 2), (1, 2), (2, 1), (3, 2), (), (1,), (0, 2)]


@st.composite
def inputs(draw):
    """A variable and its value."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.sampled_from(SHAPES))
    known = draw(st.booleans())
    var = pt.tensor(
        "x", dtype=dtype, shape=[n if known or n == 1 else None for n in shape]
    )
    size = int(np.prod(shape))
    numbers = st.integers(0, 4) if dtype[0] in "bu" else st.integers(-4, 4)
    if dtype.startswith("float"):
        numbers = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 1.7, 4.0])
    values = draw(st.lists(numbers, min_size=size, max_size=size))
    return var, np.array(values, dtype).reshape(shape)


@st.composite
def graphs(draw):
    """Inputs and outputs that PyTensor can compute, with their values."""
    leaves = [draw(inputs()) for _ in range(2)]
    variables, values = [list(column) for column in zip(*leaves, strict=True)]
    known = dict(leaves)
    pool, outputs = list(variables), []
    for _ in range(draw(st.integers(3, 8))):
        name = draw(st.sampled_from([*UNARY, *BINARY]))
        step = UNARY.get(name) or BINARY[name]
        arity = 1 if name in UNARY else 2
        # Later variables more often, so that graphs are deep.
        args = [draw(st.sampled_from(pool + outputs * 2)) for _ in range(arity)]
        new = computed(step, args, variables, values, known)
        if new is not None:
            pool.append(new)
            outputs.append(new)
    return variables, values, outputs, [known[out] for out in outputs]


def computed(step, args, variables, values, known):
    """The new variable, if PyTensor can compute it; its value goes to ``known``."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        out = step(*args)
        used = [(v, value) for v, value in zip(variables, values, strict=True)]
        (value,) = reference([v for v, _ in used], [out], [value for _, value in used])
        if value.dtype == out.type.dtype and value.size < 200 and bounded(value):
            known[out] = value
            return out
    return None


def bounded(value):
    """No number whose rounding would differ or that would overflow in a next step."""
    return bool(np.all(np.isfinite(value))) and bool(np.all(np.abs(1.0 * value) < 1e6))


# --- the property --------------------------------------------------------------------


def agree(graph):
    variables, values, outputs, expected = graph
    if not outputs:
        return
    fn = jaxlink.function(variables, outputs, on_unused_input="ignore")
    tolerances = 1e-7, 1e-4, 1e-6
    args = [jnp.asarray(value) for value in values]
    compare("call", outputs, fn(*args), expected, tolerances)
    static = set(fn.static_argnums)
    axes = tuple(None if i in static else 0 for i in range(len(args)))
    if any(axis == 0 for axis in axes):
        stacked = [
            values[i] if axis is None else jnp.stack([args[i]] * 2)
            for i, axis in enumerate(axes)
        ]
        batch = jax.vmap(fn, in_axes=axes)(*stacked)
        lanes = [out[1] for out in batch]
        compare("vmap", outputs, lanes, expected, tolerances)
    _check_gradients(graph, fn)


def _check_gradients(graph, fn):
    variables, values, outputs, _ = graph
    wrt = [
        i
        for i, var in enumerate(variables)
        if var.type.dtype.startswith("float") and i not in fn.static_argnums
    ]
    floats = [k for k, out in enumerate(outputs) if out.type.dtype.startswith("float")]
    if not wrt or not floats:
        return
    cost = sum(pt.sum(outputs[k].astype("float64")) for k in floats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chosen = [variables[i] for i in wrt]
            grads = pytensor.grad(cost, chosen, disconnected_inputs="ignore")
            wanted = reference(variables, grads, values)
        except (NotImplementedError, NullTypeGradError):  # PyTensor has no gradient
            return

    def total(*args):
        outs = fn(*args)
        return sum(outs[k].sum().astype("float64") for k in floats)

    got = jax.grad(total, tuple(wrt))(*map(jnp.asarray, values))
    for g, w in zip(got, wanted, strict=True):
        known = np.isfinite(w)
        np.testing.assert_allclose(np.asarray(g)[known], w[known], rtol=1e-3, atol=1e-3)


PROFILE = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@given(graphs())
@settings(max_examples=40, **PROFILE)
def test_random_graphs(graph):
    agree(graph)


@pytest.mark.slow
@given(graphs())
@settings(max_examples=2000, **PROFILE)
def test_many_random_graphs(graph):
    agree(graph)

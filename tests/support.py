"""One helper for every test: a graph means in JAX what it means in PyTensor."""

import warnings
from collections.abc import Sequence
from typing import Any

import catalogue
import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors
from pytensor.scalar import math as psm
from pytensor.tensor.math import mul_without_zeros

import jaxlink

REFERENCE = Mode(linker="py", optimizer=None)

# Where floats go wrong: poles, branches, the ends of exp, signed zeros.
FINITE = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3.7, -3.7, 1e-5, -1e-5, 30, -30, 820, -820]
)
GRID = np.array([*FINITE, np.inf, -np.inf, np.nan])
# Names of the Ops whose values, and whose gradients, the tests of this process compared
# with PyTensor (see conftest.py).
COMPARED: dict[str, set[str]] = {"values": set(), "gradients": set()}

INTEGERS = np.array([0, 1, -1, 2, -2, 3, 7, -7, 100, 127, -128])

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)

# An instance of each class of scalar Op.
SCALAR_OPS = {
    type(op): op
    for module in (ps, psm)
    for op in vars(module).values()
    if isinstance(op, ps.ScalarOp)
}
SCALAR_OPS[type(mul_without_zeros)] = mul_without_zeros


def grid(dtype: str) -> np.ndarray:
    """Where numbers of ``dtype`` go wrong. No subnormals: XLA takes them as zero."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([False, True])
    if kind in "iu":
        info = np.iinfo(dtype)
        ends = {int(info.max), int(info.min), int(info.max) // 2}
        values = {v for v in (*INTEGERS.tolist(), *ends) if info.min <= v <= info.max}
        return np.array(sorted(values), dtype)
    if kind == "c":
        parts = [0, 1, -1, 0.5, -2, 3.7, 30]
        return np.array([complex(a, b) for a in parts for b in parts], dtype)
    # Halves and what is next to them, and where every float is a whole number.
    single = dtype == "float32"
    below_half = np.nextafter(np.dtype(dtype).type(0.5), np.dtype(dtype).type(0))
    more = [1.5, 2.5, -2.5, below_half, 1e4, -1e4, 2.0 ** (23 if single else 52) + 1]
    tiny = [1e-30, -1e-30] if single else [1e-300, -1e-300]
    return np.array([*GRID, *more, *tiny], dtype)


def check(
    inputs: Sequence[Variable],
    outputs: Variable | Sequence[Variable],
    values: Sequence[Any],
    *,
    grad: bool | Sequence[Variable] = True,
    vmap: bool = True,
    rtol: float = 1e-9,
    rtol32: float = 5e-6,
    atol: float = 1e-290,
    grad_rtol: float | None = None,
    grad_atol: float | None = None,
) -> jaxlink.JAXFunction:
    """Compare a graph's values, gradient and batches in JAX with PyTensor's.

    Arguments:
        values: one for each input. They are converted to the dtypes of the inputs.
        grad: compare gradients of the float outputs: with respect to all float inputs,
            or to those given. Where PyTensor's gradient is nan, any is accepted.
        vmap: compare ``jax.vmap`` over two copies of all arguments that are not static.
        rtol, atol: of values.
        rtol32: of values in ``float32``.
        grad_rtol, grad_atol: of gradients, by default those of values.
    """
    several = isinstance(outputs, list | tuple)
    outs = list(outputs) if several else [outputs]
    args = [
        np.asarray(v, var.type.dtype) for var, v in zip(inputs, values, strict=True)
    ]
    expected = reference(inputs, outs, args)

    tolerances = rtol, rtol32, atol

    fn = jaxlink.function(inputs, outs)
    compared([*outs, *fn.fgraph.outputs])
    static = set(fn.static_argnums)
    dynamic = [i for i in range(len(args)) if i not in static]

    def call(*dynamic_args: Any) -> Any:
        full = list(args)
        for i, arg in zip(dynamic, dynamic_args, strict=True):
            full[i] = arg
        return fn(*full)

    jax_args = [jnp.asarray(args[i]) for i in dynamic]
    compare("call", outs, call(*jax_args), expected, tolerances)
    compare("jit", outs, jax.jit(call)(*jax_args), expected, tolerances)
    if vmap and dynamic:
        batch = jax.vmap(call)(*(jnp.stack([x, x]) for x in jax_args))
        for lane in (0, 1):
            lanes = [out[lane] for out in batch]
            compare(f"vmap lane {lane}", outs, lanes, expected, tolerances)
    if grad is not False:
        wrt = inputs if grad is True else grad
        positions = [
            k
            for k, i in enumerate(dynamic)
            if inputs[i] in wrt and inputs[i].type.dtype in ("float32", "float64")
        ]
        if positions:
            pairs = zip(outs, fn.fgraph.outputs, strict=True)
            floats = [pair for pair in pairs if pair[0].type.dtype.startswith("float")]
            compared([var for pair in floats for var in pair], gradients=True)
        _check_grad(
            inputs,
            outs,
            args,
            expected,
            call,
            jax_args,
            positions,
            [inputs[dynamic[k]] for k in positions],
            (
                rtol if grad_rtol is None else grad_rtol,
                rtol32,
                atol if grad_atol is None else grad_atol,
            ),
        )
    return fn


def compared(outputs: Sequence[Variable], gradients: bool = False) -> None:
    """Take down that the Ops of a graph, inner graphs included, were compared."""
    names = set(map(catalogue.name_of, _op_types(outputs)))
    COMPARED["values"] |= names
    if gradients:
        COMPARED["gradients"] |= names


def _op_types(outputs: Sequence[Variable]) -> set[type]:
    found: set[type] = set()
    for var in ancestors(outputs):
        if var.owner is not None:
            found |= _with_inner(var.owner.op)
    return found


def _with_inner(op: Any) -> set[type]:
    inner = [getattr(op, name, None) for name in ("scalar_op", "core_op")]
    found = {type(op)}.union(*(_with_inner(i) for i in inner if i is not None))
    if isinstance(op, HasInnerGraph):
        return found | _op_types(op.fgraph.outputs)
    for branch in (getattr(op, "true_branch", None), getattr(op, "false_branch", None)):
        if branch is not None:
            found |= _op_types(branch.fgraph.outputs)
    return found


def reference(
    inputs: Sequence[Variable], outputs: Sequence[Variable], values: Sequence[Any]
) -> list[np.ndarray]:
    """PyTensor's own values, computed by NumPy without any rewrite."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fn = pytensor.function(
            list(inputs), list(outputs), mode=REFERENCE, on_unused_input="ignore"
        )
        return [np.asarray(value) for value in fn(*values)]


def compare(
    how: str,
    outputs: Sequence[Variable],
    got: Sequence[Any],
    expected: Sequence[np.ndarray],
    tolerances: tuple[float, float, float],
) -> None:
    assert len(got) == len(expected)
    for var, value, wanted in zip(outputs, got, expected, strict=True):
        where = f"{how}: {var} of {var.owner.op if var.owner else 'an input'}"
        assert isinstance(value, jax.Array), where
        assert not value.weak_type, where
        assert value.dtype == var.type.dtype, where
        assert value.shape == wanted.shape, where
        _assert_close(value, wanted, tolerances, where)


def _assert_close(
    value: Any,
    wanted: np.ndarray,
    tolerances: tuple[float, float, float],
    where: str,
) -> None:
    rtol, rtol32, atol = tolerances
    if wanted.dtype in (np.float32, np.complex64):
        rtol, atol = max(rtol, rtol32), max(atol, 1e-37)
    exact = wanted.dtype.kind in "biu"
    np.testing.assert_allclose(
        np.asarray(value),
        wanted,
        rtol=0 if exact else rtol,
        atol=0 if exact else atol,
        err_msg=where,
    )


def _check_grad(
    inputs: Sequence[Variable],
    outs: Sequence[Variable],
    args: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    call: Any,
    jax_args: Sequence[Any],
    positions: Sequence[int],
    wrt: Sequence[Variable],
    tolerances: tuple[float, float, float],
) -> None:
    floats = [i for i, var in enumerate(outs) if var.type.dtype.startswith("float")]
    if not floats or not wrt:
        return
    # Weights that tell the elements apart, so that a permuted gradient is noticed.
    weights = {
        i: (1 + np.cos(np.arange(expected[i].size)) / 2)
        .reshape(expected[i].shape)
        .astype(expected[i].dtype)
        for i in floats
    }
    cost = sum(pt.sum((outs[i] * weights[i]).astype("float64")) for i in floats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grads = pytensor.grad(cost, wrt, disconnected_inputs="ignore")
    wanted = reference(inputs, grads, args)

    def jax_cost(*dynamic_args: Any) -> Any:
        values = call(*dynamic_args)
        return sum((values[i] * weights[i]).sum().astype("float64") for i in floats)

    got = jax.jit(jax.grad(jax_cost, argnums=tuple(positions)))(*jax_args)
    for var, value, reference_value in zip(wrt, got, wanted, strict=True):
        assert value.dtype == var.type.dtype
        known = ~np.isnan(reference_value)
        value = np.asarray(value)
        assert value.shape == reference_value.shape
        _assert_close(
            value[known],
            reference_value[known].astype(value.dtype),
            tolerances,
            f"gradient with respect to {var} of {outs}",
        )

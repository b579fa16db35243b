"""What many tests share: `check`, that a graph means in JAX what it means in PyTensor;
`assert_same`, for results of any structure; and what keeps the default run short."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import catalogue
import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors
from pytensor.link.numba import NumbaLinker
from pytensor.scalar import math as psm
from pytensor.tensor.math import mul_without_zeros

import jaxlink
from jaxlink.values.streams import is_typed_key

# PyTensor's own values, Op by Op.
REFERENCE = Mode(linker="py", optimizer=None)
# What a user gets: PyTensor's default rewriting. Its default linker, Numba, takes
# seconds to compile what Python runs at once; fusion and work in place change no value.
DEFAULT = Mode(linker="py", optimizer="fast_run").excluding(
    "fusion", "inplace", *NumbaLinker.incompatible_rewrites
)

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


# Compiling is most of what a test costs. `unoptimized` compiles in a third of the time,
# but large arrays then take three times as long, and cost more than that saves: `quick`
# is for those, and compiles in two thirds of the time.
unoptimized = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})


def others_are_slow(names: Iterable[str], by_default: Iterable[str]) -> list[object]:
    """The names as parameters of a test; all but those of the default run are slow."""
    names, by_default = list(names), set(by_default)
    assert by_default <= set(names), by_default - set(names)
    return [
        name if name in by_default else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def assert_same(got: Any, wanted: Any, rtol: float = 0, atol: float = 0) -> None:
    """That arrays have the same dtype, shape and values; to the bit by default.

    Arguments:
        got, wanted: arrays, keys, sparse matrices, None, or mappings and sequences of
            these. A list may stand for a tuple, and an array of NumPy's for one of
            JAX's.
        rtol, atol: how far values may differ.
    """
    if isinstance(wanted, Mapping):
        assert set(got) == set(wanted)
        for name in wanted:
            assert_same(got[name], wanted[name], rtol, atol)
    elif isinstance(wanted, list | tuple):
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b, rtol, atol)
    elif wanted is None:
        assert got is None
    elif scipy.sparse.issparse(wanted):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        assert (got != wanted).nnz == 0
    elif is_typed_key(wanted):
        assert got.dtype == wanted.dtype
        data = jax.random.key_data(got), jax.random.key_data(wanted)
        np.testing.assert_array_equal(*data, strict=True)
    elif rtol or atol:
        np.testing.assert_allclose(got, wanted, rtol, atol, strict=True)
    else:
        np.testing.assert_array_equal(got, wanted, strict=True)


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
            or to those given (see `assert_gradient`).
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

    wrt = inputs if grad is True else grad or ()
    positions = [
        k
        for k, i in enumerate(dynamic)
        if inputs[i] in wrt and inputs[i].type.dtype in ("float32", "float64")
    ]
    floats = [i for i, var in enumerate(outs) if var.type.dtype.startswith("float")]
    if positions:
        pairs = [(outs[i], fn.fgraph.outputs[i]) for i in floats]
        compared([var for pair in pairs for var in pair], gradients=True)
    cost = Cost(outs, expected, floats) if positions and floats else None

    # One program, for it is the number of programs that a test takes its time for.
    @jax.jit
    def transformed(*jax_args: Any) -> dict[str, Any]:
        results = {"jit": call(*jax_args)}
        if vmap and dynamic:
            results["vmap"] = jax.vmap(call)(*(jnp.stack([x, x]) for x in jax_args))
        if cost is not None:
            gradient = jax.grad(lambda *xs: cost.in_jax(call(*xs)), tuple(positions))
            results["grad"] = gradient(*jax_args)
        return results

    results = transformed(*jax_args)
    compare("jit", outs, results["jit"], expected, tolerances)
    if "vmap" in results:
        for lane in (0, 1):
            lanes = [out[lane] for out in results["vmap"]]
            compare(f"vmap lane {lane}", outs, lanes, expected, tolerances)
    if cost is not None:
        variables = [inputs[dynamic[k]] for k in positions]
        grad_tolerances = (
            rtol if grad_rtol is None else grad_rtol,
            rtol32,
            atol if grad_atol is None else grad_atol,
        )
        wanted = gradients_in_pytensor(inputs, cost.in_pytensor(), args, variables)
        for var, value, known in zip(variables, results["grad"], wanted, strict=True):
            where = f"gradient with respect to {var} of {outs}"
            assert value.dtype == var.type.dtype, where
            assert value.shape == known.shape, where
            which = list(inputs).index(var)
            differences = partial(cost.differences, inputs, args, which)
            assert_gradient(
                np.asarray(value), known, differences, grad_tolerances, where
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
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    values: Sequence[Any],
    mode: Mode = REFERENCE,
) -> list[np.ndarray]:
    """PyTensor's own values, computed by NumPy, by default without any rewrite."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fn = _in_python(inputs, outputs, mode)
        return [np.asarray(value) for value in fn(*values)]


def _in_python(
    inputs: Sequence[Variable], outputs: Sequence[Variable], mode: Mode = REFERENCE
) -> Any:
    return pytensor.function(
        list(inputs), list(outputs), mode=mode, on_unused_input="ignore"
    )


def gradients_in_pytensor(
    inputs: Sequence[Variable],
    cost: Variable,
    values: Sequence[Any],
    wrt: Sequence[Variable],
) -> list[np.ndarray]:
    """What ``pytensor.grad`` gives a user, in PyTensor's default rewriting.

    To rewrite takes most of the time of a small test, so it is done only if an element
    is not finite without: what it adds is finite gradients.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grads = pytensor.grad(cost, wrt, disconnected_inputs="ignore")
    plain = reference(inputs, grads, values)
    if all(np.isfinite(g).all() for g in plain):
        return plain
    rewritten = reference(inputs, grads, values, DEFAULT)
    return [
        np.where(np.isfinite(p), p, r) for p, r in zip(plain, rewritten, strict=True)
    ]


def assert_gradient(
    value: np.ndarray,
    wanted: np.ndarray,
    differences: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    tolerances: tuple[float, float, float],
    where: str,
) -> None:
    """That a gradient is PyTensor's or, where that is not finite, the true one.

    Difference quotients tell the true one, if those from both sides agree. If they do
    not, mathematics has none: an infinite one must be PyTensor's, and any is accepted
    instead of nan. In 32 bits differences tell nothing.

    Arguments:
        differences: of the numbers of some elements, their quotients from the left and
            from the right.
    """
    doubtful = np.asarray(~np.isfinite(wanted))
    if doubtful.any() and value.dtype == np.float64:
        left, right = differences(np.flatnonzero(doubtful))
        with np.errstate(all="ignore"):
            smooth = np.isclose(left, right, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(
            value[doubtful][smooth], right[smooth], 1e-3, 1e-5, err_msg=where
        )
        doubtful[doubtful] = smooth
    else:
        doubtful[...] = False
    known = ~np.isnan(wanted) & ~doubtful
    _assert_close(value[known], wanted[known].astype(value.dtype), tolerances, where)


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


class Cost:
    """A weighted sum of the float outputs of a graph, as something to differentiate.

    Its weights tell the elements apart, so that a permuted gradient is noticed.
    """

    def __init__(
        self,
        outs: Sequence[Variable],
        expected: Sequence[np.ndarray],
        floats: Sequence[int],
    ):
        self.outs = outs
        self.weights = {
            i: (1 + np.cos(np.arange(expected[i].size)) / 2)
            .reshape(expected[i].shape)
            .astype(expected[i].dtype)
            for i in floats
        }

    def in_jax(self, values: Sequence[Any]) -> Any:
        weighted = ((values[i] * w).sum() for i, w in self.weights.items())
        return sum(x.astype("float64") for x in weighted)

    def in_pytensor(self) -> Variable:
        return sum(
            pt.sum((self.outs[i] * w).astype("float64"))
            for i, w in self.weights.items()
        )

    def differences(
        self,
        inputs: Sequence[Variable],
        values: Sequence[np.ndarray],
        which: int,
        elements: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Difference quotients from the left and the right, at elements of an input.

        Outputs that stay the same count as zero, infinite ones and nan too. Where an
        output has no value at the element itself, there is no quotient.
        """
        fn = _in_python(inputs, [self.outs[i] for i in self.weights])

        def quotient(element: int, step: float) -> float:
            moved = np.array(values[which])
            moved.flat[element] += step
            try:
                there = fn(*values[:which], moved, *values[which + 1 :])
            except (AssertionError, ValueError):  # no longer a legal parameter
                return np.nan
            total = 0.0
            for a, b, w in zip(here, there, self.weights.values(), strict=True):
                if a.shape == moved.shape and not np.isfinite(a.flat[element]):
                    return np.nan
                same = (a == b) | (np.isnan(a) & np.isnan(b))
                total += float((np.where(same, 0, b - a) * w).sum())
            return total / (moved.flat[element] - values[which].flat[element])

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            here = fn(*values)
            steps = 1e-6 * np.maximum(np.abs(values[which].flat[elements]), 1e-2)
            left, right = (
                np.array(
                    [
                        quotient(e, sign * s)
                        for e, s in zip(elements, steps, strict=True)
                    ]
                )
                for sign in (-1, 1)
            )
        return left, right

"""Host callbacks: a JAX program calls an Op that PyTensor computes in Python.

`jax.pure_callback` sends the operands to the host, where ``Op.perform`` runs. The shape
of each output must be known before the call, from its type or from ``Op.infer_shape``.
The gradient is PyTensor's own pullback, whose Ops may be host callbacks in turn. Bits
of the draw's key seed the random generator on the host.
"""

from typing import Any

import jax
import numpy as np
from pytensor.graph.basic import Constant
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.tensor.basic import AllocEmpty
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.op_from_graph import with_pullback
from jaxlink.dispatch.random.registry import no_derivative
from jaxlink.dispatch.random.rule import no_sampler, python_draws
from jaxlink.dispatch.registry import Function, Linked
from jaxlink.errors import ArgumentError, CompileError, UnsupportedOpError
from jaxlink.numerics.derivatives import undifferentiable
from jaxlink.values.evaluate import evaluate
from jaxlink.values.static import canonical, is_static, to_jax
from jaxlink.values.streams import Stream
from jaxlink.values.types import kind_of


def host_callback(op: Any, node: Any, link: Any) -> Linked:
    """The rule for any Op that has none, if the user allows host callbacks."""
    shapes, static = _output_shapes(node, link)
    forward = Linked(_call_host(node, shapes), static)
    if isinstance(op, RandomVariable):
        return Linked(_without_derivative(op, node, forward.run), static)
    if any(kind_of(var.type) == "generator" for var in node.inputs):
        return Linked(_without_gradient(op, forward.run, "it is random"), static)
    try:
        return with_pullback(op, node, forward, link)
    except (NotImplementedError, CompileError) as error:
        # There is no pullback, or it cannot be linked. That matters only to users who
        # differentiate.
        return Linked(_without_gradient(op, forward.run, str(error)), static)


def can_run_in_python(node: Any, link: Any) -> bool:
    """Whether `host_callback` supports ``node``."""
    try:
        _output_shapes(node, link)
    except CompileError:
        return False
    return True


def _is_none(var: Any) -> bool:
    """Whether an operand is the constant ``None``, as the size of a draw may be."""
    return isinstance(var, Constant) and var.data is None


def _output_shapes(node: Any, link: Any) -> tuple[Function, tuple[int, ...]]:
    """The shapes of the array outputs as a function of the operands, and the indices of
    the operands whose values those shapes depend on.

    Linking an uninitialised array of each shape finds out which operands are required.

    Raises:
        UnsupportedOpError: if this node cannot be a host callback.
    """
    if isinstance(node.op, RandomVariable) and not python_draws(node.op):
        raise no_sampler(node.op, node)
    sent = [var for var in node.inputs if not _is_none(var)]
    kinds = [kind_of(var.type) for var in [*sent, *node.outputs]]
    if not {"array", "generator"}.issuperset(kinds) or kinds.count("generator") > 2:
        raise UnsupportedOpError(
            f"`{node.op}` cannot be a host callback: its operands and outputs must be "
            f"arrays (and at most one random generator), but they are {kinds}."
        )
    inputs = [var.type() for var in node.inputs]
    given = [
        var if _is_none(var) else new
        for var, new in zip(node.inputs, inputs, strict=True)
    ]
    outputs = node.clone_with_new_inputs(given, strict=False).outputs
    arrays = [out for out in outputs if kind_of(out.type) == "array"]
    shapes = FunctionGraph(inputs, [out.shape for out in arrays], clone=False)
    known = rewrite_graph(shapes, include=("canonicalize", "ShapeOpt"), clone=False)
    if any(applied.op == node.op for applied in known.toposort()):
        raise UnsupportedOpError(
            f"`{node.op}` cannot be a host callback, because the shapes of its outputs "
            "are not known before it runs. Declare them in the output types, or give "
            "the Op an `infer_shape`."
        )
    empty = [
        AllocEmpty(out.type.dtype)(*(shape[i] for i in range(out.type.ndim)))
        for shape, out in zip(known.outputs, arrays, strict=True)
    ]
    linked = link(FunctionGraph(inputs, empty, clone=False))
    return lambda *operands: tuple(x.shape for x in linked(*operands)), linked.static


def _call_host(node: Any, shapes: Function) -> Function:
    kinds = [kind_of(out.type) for out in node.outputs]
    arrays = [i for i, kind in enumerate(kinds) if kind == "array"]
    dtypes = [canonical(node.outputs[i].type.dtype) for i in arrays]

    def run(*operands: Any) -> tuple[Any, ...]:
        results = [
            jax.ShapeDtypeStruct(shape, dtype)
            for shape, dtype in zip(shapes(*operands), dtypes, strict=True)
        ]
        streams = [v for v in operands if isinstance(v, Stream)]
        bits = [jax.random.bits(s.draw_key(), (4,), "uint32") for s in streams]
        known = {i: v for i, v in enumerate(operands) if is_static(v)}
        sent = {
            i: to_jax(v)
            for i, v in enumerate(operands)
            if i not in known and not isinstance(v, Stream)
        }

        def perform(bits: Any, sent: dict[int, Any]) -> list[Any]:
            given = known | sent
            values = [
                given[i] if i in given else _generator(*bits)
                for i in range(len(node.inputs))
            ]
            outs = evaluate(node, values)
            for i, result in zip(arrays, results, strict=True):
                if outs[i].shape != result.shape:
                    raise ArgumentError(
                        f"`{node.op}` computed an output of shape {outs[i].shape}, but "
                        f"its `infer_shape` or output type says {result.shape}."
                    )
            return [to_jax(outs[i], f"an output of `{node.op}`") for i in arrays]

        computed = iter(
            jax.pure_callback(perform, results, bits, sent, vmap_method="sequential")
        )
        used = iter(stream.next() for stream in streams)
        return tuple(next(computed if kind == "array" else used) for kind in kinds)

    return run


def _generator(bits: Any) -> np.random.Generator:
    return np.random.default_rng([int(word) for word in bits])


def _without_derivative(op: RandomVariable, node: Any, run: Function) -> Function:
    """``run``, where differentiating a float draw raises, and other draws have zero."""
    if node.outputs[1].type.dtype.startswith("float"):
        return undifferentiable(run, ArgumentError, no_derivative(op.name))
    return lambda *operands: run(*map(_stopped, operands))


def _stopped(value: Any) -> Any:
    return jax.lax.stop_gradient(value) if isinstance(value, jax.Array) else value


def _without_gradient(op: Any, run: Function, reason: str) -> Function:
    return undifferentiable(
        run,
        ArgumentError,
        f"`{op}` runs in Python and has no gradient: {reason}. Give the Op a "
        "`pullback`, or do not differentiate with respect to anything that it depends "
        "on.",
    )

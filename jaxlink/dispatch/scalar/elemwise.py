"""`Elemwise`, and scalar Ops that contain a graph of scalar Ops."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise

from jaxlink.dispatch.registry import Function, rule
from jaxlink.dispatch.scalar.rules import scalar_rule
from jaxlink.numerics.arithmetic import cast
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import as_literal, canonical, to_jax
from jaxlink.values.types import name_of


@rule(Elemwise)
def elemwise(op: Elemwise, node: Any) -> Function:
    run = scalar_rule(op.scalar_op, op.make_scalar_node(*node.inputs))
    one = len(node.outputs) == 1

    def apply(*args: Any) -> Any:
        check_broadcast(node, [x.shape for x in args])
        try:
            shape = jnp.broadcast_shapes(*(x.shape for x in args))
        except ValueError:
            sizes = [
                f"{_operand(var)} of shape {x.shape}"
                for var, x in zip(node.inputs, args, strict=True)
                if x.size != 1
            ]
            raise ValueError(
                f"{' and '.join(sizes)} do not broadcast together in {node.op}."
            ) from None
        args = tuple(map(as_literal, args))
        outs = (run(*args),) if one else run(*args)
        outs = tuple(
            out if out.shape == shape else jnp.broadcast_to(out, shape) for out in outs
        )
        return outs[0] if one else outs

    return apply


def _operand(var: Variable) -> str:
    """The name of an operand, for an error. A cast has that of what it casts, because
    it is often of data, which users know by name."""
    while not var.name and isinstance(_scalar_op(var), ps.Cast):
        var = var.owner.inputs[0]
    return name_of(var)


def _scalar_op(var: Variable) -> Any:
    return getattr(getattr(var.owner, "op", None), "scalar_op", None)


def check_broadcast(
    node: Any,
    shapes: Sequence[tuple[int, ...]],
    operands: Sequence[Any] | None = None,
    size: tuple[int, ...] = (),
) -> None:
    """Raise if a dimension is broadcast whose length the type does not declare as 1.

    PyTensor raises too, because its gradients would have the wrong shape. ``shapes``
    belong to ``operands`` (by default, the inputs of ``node``), or to their batches,
    whose axes come first. ``size`` is a shape to which they are broadcast.
    """
    operands = node.inputs if operands is None else operands
    for dim in range(1, max(map(len, [*shapes, size]), default=0) + 1):
        lengths = [shape[-dim] for shape in [*shapes, size] if len(shape) >= dim]
        if len(set(lengths)) == 1:
            continue
        for var, shape in zip(operands, shapes, strict=False):
            axis = len(shape) - dim
            if axis < 0 or shape[axis] != 1 or var.type.broadcastable[axis]:
                continue
            raise ValueError(
                f"{node.op} would broadcast dimension {axis} of {_operand(var)} from "
                f"length 1 to {max(set(lengths) - {1})}, but its type {var.type} does "
                "not declare that length as 1. If you want to broadcast it, use "
                "pt.specify_broadcastable."
            )


def scalar_graph(fgraph: AbstractFunctionGraph) -> Callable[..., tuple[Any, ...]]:
    """A graph of scalar Ops as a function of arrays that broadcast."""
    steps = [(node, scalar_rule(node.op, node)) for node in fgraph.toposort()]

    def run(*args: Any) -> tuple[Any, ...]:
        env = dict(zip(fgraph.inputs, args, strict=True))

        def value_of(var: Any) -> Any:
            return to_jax(var.data) if isinstance(var, Constant) else env[var]

        for node, step in steps:
            outs = step(*map(value_of, node.inputs))
            outs = outs if isinstance(outs, tuple) else (outs,)
            env.update(zip(node.outputs, outs, strict=True))
        return tuple(value_of(var) for var in fgraph.outputs)

    return run


@rule(ps.Composite)
def composite(op: ps.Composite, node: Any) -> Function:
    run = scalar_graph(op.fgraph)
    return run if len(op.outputs) > 1 else lambda *args: run(*args)[0]


@rule(ScalarLoop)
def scalar_loop(op: ScalarLoop, node: Any) -> Function:
    """A while loop. If its greatest length is known, a scan gives its derivative.

    JAX cannot differentiate a while loop in reverse, because it does not know how many
    states to keep. A scan over the greatest number of steps, whose state stays fixed
    once the loop is done, has the same derivative.
    """
    inner = scalar_graph(op.fgraph)
    dtypes = [var.type.dtype for var in node.outputs]
    n_carry = len(dtypes) - op.is_while

    def start(args: Sequence[Any]) -> Any:
        carry = tuple(map(cast, args[:n_carry], dtypes))
        until = (jnp.asarray(False),) if op.is_while else ()
        return jnp.zeros((), canonical("int64")), (*carry, *until)

    def unfinished(state: Any, n_steps: Any) -> Any:
        i, carry = state
        return (i < n_steps) & ~carry[-1] if op.is_while else i < n_steps

    def step(state: Any, args: Sequence[Any]) -> Any:
        i, carry = state
        return i + 1, inner(*carry[:n_carry], *args[n_carry:])

    def by_while(n_steps: Any, *args: Any) -> Any:
        return lax.while_loop(
            lambda state: unfinished(state, n_steps),
            lambda state: step(state, args),
            start(args),
        )[1]

    def by_scan(bound: int, n_steps: Any, *args: Any) -> Any:
        def masked(state: Any, _: None) -> Any:
            active = unfinished(state, n_steps)
            new = step(state, args)
            return jax.tree.map(partial(jnp.where, active), new, state), None

        return lax.scan(masked, start(args), length=bound)[0][1]

    def run(n_steps: Any, *args: Any) -> Any:
        if not op.is_while:
            check(jnp.all(n_steps >= 0), f"{op} has a negative number of steps.")
        one_element: Function = by_while
        if isinstance(n_steps, np.ndarray | np.generic):
            one_element = jax.custom_jvp(by_while)
            scanned = partial(by_scan, max(int(np.max(n_steps, initial=0)), 0))
            one_element.defjvp(lambda primals, t: jax.jvp(scanned, primals, t))
        n_steps = jnp.asarray(n_steps, canonical("int64"))
        outs = jnp.vectorize(one_element)(n_steps, *args)
        return outs if len(outs) > 1 else outs[0]

    return run

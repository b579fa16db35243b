"""`Elemwise`, and scalar Ops that hold a graph of scalar Ops."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytensor.scalar as ps
from jax import lax
from pytensor.graph.basic import Constant
from pytensor.graph.fg import AbstractFunctionGraph, FrozenFunctionGraph
from pytensor.scalar.loop import ScalarLoop
from pytensor.scalar.math import BetaInc
from pytensor.tensor.elemwise import Elemwise

from jaxlink.dispatch.registry import rule
from jaxlink.dispatch.scalar import cast, scalar_rule
from jaxlink.static import as_literal, canonical, to_jax

__all__ = ["check_broadcast"]


@rule(Elemwise)
def elemwise(op: Elemwise, node: Any) -> Callable[..., Any]:
    run = scalar_rule(op.scalar_op, op.make_scalar_node(*node.inputs))
    one = len(node.outputs) == 1

    def apply(*args: Any) -> Any:
        check_broadcast(node, [x.shape for x in args])
        shape = jnp.broadcast_shapes(*(x.shape for x in args))
        args = tuple(map(as_literal, args))
        outs = (run(*args),) if one else run(*args)
        outs = tuple(
            out if out.shape == shape else jnp.broadcast_to(out, shape) for out in outs
        )
        return outs[0] if one else outs

    return apply


def check_broadcast(node: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise if a dimension is broadcast that is not 1 in its variable's type.

    PyTensor refuses it too: its gradients would have the wrong shape.
    """
    flags = [var.type.broadcastable for var in node.inputs]
    for dim, lengths in enumerate(zip(*shapes, strict=False)):
        if len(set(lengths)) == 1:
            continue
        for var, flag, length in zip(node.inputs, flags, lengths, strict=True):
            if length == 1 and not flag[dim]:
                raise ValueError(
                    f"{node.op} would broadcast dimension {dim} of {var}, which is 1 "
                    f"beside {max(lengths)}, but its type {var.type} does not say 1. "
                    "If it is meant, use pt.specify_broadcastable."
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
def composite(op: ps.Composite, node: Any) -> Callable[..., Any]:
    run = scalar_graph(op.fgraph)
    return run if len(op.outputs) > 1 else lambda *args: run(*args)[0]


@rule(ScalarLoop)
def scalar_loop(op: ScalarLoop, node: Any) -> Callable[..., Any]:
    inner = scalar_graph(op.fgraph)
    dtypes = [var.type.dtype for var in node.outputs]
    n_carry = len(dtypes) - op.is_while

    def one_element(n_steps: Any, *args: Any) -> Any:
        constants = args[n_carry:]
        carry = tuple(map(cast, args[:n_carry], dtypes))
        if op.is_while:
            carry = (*carry, jnp.asarray(False))

        def go_on(state: Any) -> Any:
            i, carry = state
            return (i < n_steps) & ~carry[-1] if op.is_while else i < n_steps

        def step(state: Any) -> Any:
            i, carry = state
            return i + 1, inner(*carry[:n_carry], *constants)

        start = (jnp.zeros((), jnp.asarray(n_steps).dtype), carry)
        outs = lax.while_loop(go_on, step, start)[1]
        return outs if len(outs) > 1 else outs[0]

    return jnp.vectorize(one_element)


@rule(BetaInc)
def betainc(op: BetaInc, node: Any) -> Callable[..., Any]:
    """JAX has no derivative with respect to the parameters: take PyTensor's."""
    dtype = node.outputs[0].type.dtype
    inputs = [ps.get_scalar_type(dtype)() for _ in range(3)]
    one = ps.constant(1, dtype=dtype)
    grads = op.pullback(inputs, op.make_node(*inputs).outputs, [one])
    partials = [scalar_graph(FrozenFunctionGraph.from_io(inputs, [g])) for g in grads]

    def value(a: Any, b: Any, x: Any) -> Any:
        return jax.scipy.special.betainc(a, b, x)

    @jax.custom_jvp
    def fn(a: Any, b: Any, x: Any) -> Any:
        return value(a, b, x)

    def fn_jvp(primals: Any, tangents: Any) -> Any:
        out = value(*primals)
        tangent = jnp.zeros_like(out)
        for partial, t in zip(partials, tangents, strict=True):
            if not isinstance(t, jax.custom_derivatives.SymbolicZero):
                tangent += t * cast(partial(*primals)[0], dtype)
        return out, tangent

    fn.defjvp(fn_jvp, symbolic_zeros=True)

    def run(*args: Any) -> Any:
        floats = [jnp.asarray(x, canonical(dtype)) for x in args]
        return fn(*jnp.broadcast_arrays(*floats))

    return run

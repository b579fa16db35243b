"""Inner graphs, conditions, checks, and Ops that only change a gradient."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import DeepCopyOp, TypeCastingOp, ViewOp
from pytensor.gradient import (
    DisconnectedGrad,
    DisconnectedType,
    GradClip,
    GradScale,
    UndefinedGrad,
    ZeroGrad,
    disconnected_type,
)
from pytensor.graph.basic import Constant
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.null_type import NullType
from pytensor.raise_op import CheckAndRaise

from jaxlink.checks import check
from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import ArgumentError, CompileError
from jaxlink.random_state import Stream
from jaxlink.sparse_arrays import in_common_form
from jaxlink.static import dtype_of, is_static, to_dynamic

try:
    from pytensor.conditional.op import IfElse, LazyIfElse
except ModuleNotFoundError:  # before PyTensor 3.3.5, which has no lazy one either
    from pytensor.ifelse import IfElse

    LazyIfElse = None

Run = Callable[..., Any]


# --- Ops that are the identity -------------------------------------------------------


# TypeCastingOp: views, assumptions about a matrix, xtensors and their generators.
@rule(TypeCastingOp, DeepCopyOp)
def identity(op: Any, node: Any) -> Run:
    del op, node
    return lambda x: x


class ScaledGradient(ViewOp):
    """`GradScale`, but those of different ``multiplier`` are different Ops: PyTensor's
    own compare equal, so merging would lose one of them."""

    __props__ = ("multiplier",)

    def __init__(self, multiplier: Any):
        self.multiplier = multiplier


class ClippedGradient(ViewOp):
    """`GradClip`, but two of different bounds are different Ops (see above)."""

    __props__ = ("clip_lower_bound", "clip_upper_bound")

    def __init__(self, clip_lower_bound: Any, clip_upper_bound: Any):
        self.clip_lower_bound = clip_lower_bound
        self.clip_upper_bound = clip_upper_bound


@rule(ZeroGrad, DisconnectedGrad)
def no_gradient(op: Any, node: Any) -> Run:
    del op, node
    return jax.lax.stop_gradient


@rule(GradScale, ScaledGradient)
def scaled_gradient(op: Any, node: Any) -> Run:
    del node

    @jax.custom_jvp
    def scale(x: Any) -> Any:
        return x

    @scale.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return x, t * jnp.asarray(op.multiplier, t.dtype)

    return lambda x: scale(jnp.asarray(x))


@rule(GradClip, ClippedGradient)
def clipped_gradient(op: Any, node: Any) -> Run:
    del node

    @jax.custom_vjp
    def clip(x: Any) -> Any:
        return x

    def backward(_: None, g: Any) -> Any:
        low = jnp.asarray(op.clip_lower_bound, g.dtype)
        return (jnp.clip(g, low, jnp.asarray(op.clip_upper_bound, g.dtype)),)

    clip.defvjp(lambda x: (x, None), backward)
    return lambda x: clip(jnp.asarray(x))


@rule(UndefinedGrad)
def undefined_gradient(op: Any, node: Any) -> Run:
    del op
    name = node.inputs[0].name or node.inputs[0]

    @jax.custom_jvp
    def undefined(x: Any) -> Any:
        return x

    @undefined.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        del primals, tangents
        raise ArgumentError(
            f"the gradient through `{name}` is undefined (grad_undefined). Do not "
            "differentiate with respect to what it depends on."
        )

    return lambda x: undefined(jnp.asarray(x))


# --- checks --------------------------------------------------------------------------


@rule(CheckAndRaise)
def check_and_raise(op: Any, node: Any) -> Run:
    message = f"{op.exc_type.__name__}: {op.msg}"
    if any(isinstance(c, Constant) and not c.data for c in node.inputs[1:]):
        raise CompileError(f"a check in the graph always fails: {message}")

    def run(value: Any, *conditions: Any) -> Any:
        for condition in conditions:
            if not is_static(condition):
                check(jnp.all(condition), message)
            elif not np.all(condition):
                raise op.exc_type(op.msg)
        return value

    return run


# --- conditions ----------------------------------------------------------------------


@rule(IfElse, inner=True)
def if_else(op: Any, node: Any, link: Any) -> Run:
    """Both branches are operands, so they are computed already; XLA drops the rest."""
    del link
    n = op.n_outs

    def select(condition: Any, *branches: Any) -> tuple[Any, ...]:
        if is_static(condition):
            return branches[:n] if condition else branches[n:]
        then, other = _arrays(branches[:n]), _arrays(branches[n:])
        _check_same_shapes(node, then, other)
        chosen: tuple[Any, ...] = jax.lax.cond(
            jnp.asarray(condition).astype(bool),
            lambda t, _: t,
            lambda _, o: o,
            _in_common_form(then, then, other),
            _in_common_form(other, then, other),
        )
        return chosen

    return select


def lazy_if_else(op: Any, node: Any, link: Any) -> Linked:
    """Each branch is a graph of its own: only the one chosen is computed."""
    branches = [link(op.true_branch.fgraph), link(op.false_branch.fgraph)]
    static = {i + 1 for branch in branches for i in branch.static}
    wished = {i + 1 for branch in branches for i in branch.wished}

    def select(condition: Any, *operands: Any) -> tuple[Any, ...]:
        if is_static(condition):
            return tuple(branches[0 if condition else 1](*operands))
        dynamic = [i for i, value in enumerate(operands) if not is_static(value)]

        def branch_function(
            branch: Any, *forms: Sequence[Any]
        ) -> Callable[..., tuple[Any, ...]]:
            def run(*values: Any) -> tuple[Any, ...]:
                given = dict(zip(dynamic, values, strict=True))
                outs = branch(*(given.get(i, v) for i, v in enumerate(operands)))
                return _in_common_form(_arrays(outs), *forms)

            return run

        values = [operands[i] for i in dynamic]
        forms = [
            jax.eval_shape(branch_function(branch), *values) for branch in branches
        ]
        _check_same_shapes(node, *forms)
        chosen: tuple[Any, ...] = jax.lax.cond(
            jnp.asarray(condition).astype(bool),
            *(branch_function(branch, *forms) for branch in branches),
            *values,
        )
        return chosen

    return Linked(select, tuple(sorted(static)), tuple(sorted(wished)))


if LazyIfElse is not None:
    rule(LazyIfElse, inner=True)(lazy_if_else)


def _arrays(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(to_dynamic, values))


def _in_common_form(values: Sequence[Any], *forms: Sequence[Any]) -> tuple[Any, ...]:
    """``values`` in what both branches can give: sparse matrices may differ in room."""
    return tuple(
        in_common_form(value, both) if both and isinstance(value, BCOO) else value
        for value, *both in zip(values, *forms, strict=True)
    )


def _check_same_shapes(node: Any, then: Sequence[Any], other: Sequence[Any]) -> None:
    for out, a, b in zip(node.outputs, then, other, strict=True):
        if not isinstance(a, Stream) and a.shape != b.shape:
            raise ArgumentError(
                f"the branches of ifelse give `{out.name or out}` the shapes {a.shape} "
                f"and {b.shape}, and in JAX both must have one shape. Bring them to "
                "one, for example by padding."
            )


# --- inner graphs --------------------------------------------------------------------


@rule(OpFromGraph, inner=True)
def op_from_graph(op: Any, node: Any, link: Any) -> Linked:
    inner = link(op.fgraph)
    if op.pullback_overrides is None:
        return Linked(inner, inner.static, inner.wished)
    return with_pullback(op, node, Linked(inner, inner.static, inner.wished), link)


_in_pullback: ContextVar[bool] = ContextVar("_in_pullback", default=False)


def with_pullback(op: Any, node: Any, forward: Linked, link: Any) -> Linked:
    """``forward``, which computes ``op``, differentiated by the pullback of ``op``."""
    inputs = [var.type() for var in node.inputs]
    outputs = [var.type() for var in node.outputs]
    smooth = [dtype_of(out.type).startswith(("f", "c")) for out in outputs]
    cotangents = [
        out.type() if is_smooth else disconnected_type()
        for out, is_smooth in zip(outputs, smooth, strict=True)
    ]
    given = [g for g, is_smooth in zip(cotangents, smooth, strict=True) if is_smooth]

    @cache
    def linked_pullback() -> tuple[list[Any], Any]:
        gradients = op.pullback(inputs, outputs, cotangents)
        connected = [
            g for g in gradients if not isinstance(g.type, DisconnectedType | NullType)
        ]
        token = _in_pullback.set(True)
        try:
            fgraph = FunctionGraph([*inputs, *outputs, *given], connected, clone=False)
            return gradients, link(fgraph)
        finally:
            _in_pullback.reset(token)

    # A pullback may hold the Op again (that of the Sylvester equation does), so the
    # pullback of what is in a pullback waits until someone differentiates twice.
    wanted = () if _in_pullback.get() else linked_pullback()[1].static
    static = {*forward.static, *(i for i in wanted if i < len(inputs))}

    def run(*operands: Any) -> tuple[Any, ...]:
        dynamic = [i for i, value in enumerate(operands) if not is_static(value)]

        def full(values: Sequence[Any]) -> list[Any]:
            given = dict(zip(dynamic, values, strict=True))
            return [given.get(i, value) for i, value in enumerate(operands)]

        @jax.custom_vjp
        def call(*values: Any) -> tuple[Any, ...]:
            return _arrays(forward.run(*full(values)))

        def call_and_save(*values: Any) -> tuple[tuple[Any, ...], Any]:
            outs = call(*values)
            return outs, (values, outs)

        def backward(residuals: Any, cts: Any) -> tuple[Any, ...]:
            gradients, pullback = linked_pullback()
            values, outs = residuals
            kept = [ct for ct, is_smooth in zip(cts, smooth, strict=True) if is_smooth]
            computed = iter(pullback(*full(values), *outs, *kept))
            cotangents = [_cotangent(g, computed) for g in gradients]
            return tuple(
                ct(value)
                for ct, value in zip(
                    (cotangents[i] for i in dynamic), values, strict=True
                )
            )

        call.defvjp(call_and_save, backward)
        return call(*(operands[i] for i in dynamic))

    return Linked(run, tuple(sorted(static)), forward.wished)


def _cotangent(gradient: Any, computed: Any) -> Callable[[Any], Any]:
    """What to hand back for an operand, given its value: ``None`` is JAX's zero, and an
    undefined gradient is nan, so that it cannot pass for a number."""
    if isinstance(gradient.type, DisconnectedType):
        return lambda value: None
    if isinstance(gradient.type, NullType):
        return lambda value: (
            None
            if isinstance(value, Stream) or not jnp.issubdtype(value.dtype, jnp.inexact)
            else jnp.full_like(value, jnp.nan)
        )
    g = next(computed)
    return lambda value: (
        jnp.asarray(g, value.dtype)
        if jnp.issubdtype(value.dtype, jnp.inexact)
        else None
    )

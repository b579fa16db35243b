"""Conditions, checks, and Ops that return their operand unchanged."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.compile.ops import DeepCopyOp, TypeCastingOp
from pytensor.graph.basic import Constant
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.extra_ops import CpuContiguous

from jaxlink.dispatch.registry import Function, Linked, rule
from jaxlink.errors import BranchShapeError, CompileError
from jaxlink.numerics.derivatives import with_masked_gradient
from jaxlink.ops.required import Required
from jaxlink.values.bcoo import in_common_form, is_bcoo
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import is_static, to_dynamic
from jaxlink.values.streams import Stream

try:
    from pytensor.conditional.op import IfElse, LazyIfElse
except ModuleNotFoundError:  # PyTensor before 3.3.5, which has no LazyIfElse
    from pytensor.ifelse import IfElse

    LazyIfElse = None

__all__ = ["IfElse"]


# --- views ---------------------------------------------------------------------------


# TypeCastingOp: views, assumptions about a matrix, xtensors and their generators.
@rule(TypeCastingOp, DeepCopyOp, CpuContiguous, Required)
def identity(op: Any, node: Any) -> Function:
    # In a tuple, because x may be a list, which the linker would take for the outputs.
    return lambda x: (x,)


# --- checks --------------------------------------------------------------------------


@rule(CheckAndRaise, inner=True)
def check_and_raise(op: Any, node: Any, link: Any) -> Function:
    message = f"{op.exc_type.__name__}: {op.msg}"
    known = [c.data for c in node.inputs[1:] if isinstance(c, Constant)]
    always = not all(map(np.all, known))
    if always and not link.checks_fail_at_call:
        raise CompileError(f"a check in the graph always fails: {message}")

    def run(value: Any, *conditions: Any) -> Any:
        if always:  # this may be a branch that is not taken
            check(jnp.asarray(False), message)
            return value
        for condition in conditions:
            if not is_static(condition):
                check(jnp.all(condition), message)
            elif not np.all(condition):
                raise op.exc_type(op.msg)
        return value

    return run


# --- conditions ----------------------------------------------------------------------


def _differ(then: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether the types of two branches show that their shapes differ.

    The condition is then required to be static. It is not static if the shapes merely
    might differ, because a static condition cannot be mapped.
    """
    return any(
        None not in lengths and len(set(lengths)) > 1
        for pair in zip(then, other, strict=True)
        for lengths in zip(*(getattr(x.type, "shape", ()) for x in pair), strict=True)
    )


def _static_condition(op: Any, node: Any) -> tuple[int, ...]:
    n, branches = op.n_outs, node.inputs[1:]
    return (0,) if _differ(branches[:n], branches[n:]) else ()


def _static_lazy_condition(op: Any, node: Any) -> tuple[int, ...]:
    branches = op.true_branch.fgraph.outputs, op.false_branch.fgraph.outputs
    return (0,) if _differ(*branches) else ()


@rule(IfElse, inner=True, static=_static_condition)
def if_else(op: Any, node: Any, link: Any) -> Function:
    """Both branches are operands, so both are computed. XLA may drop unused work."""
    n = op.n_outs

    def select(condition: Any, *branches: Any) -> tuple[Any, ...]:
        if is_static(condition):
            return branches[:n] if condition else branches[n:]
        then, other = _arrays(branches[:n]), _arrays(branches[n:])
        _check_same_shapes(node, then, other)
        return jax.lax.cond(
            jnp.asarray(condition).astype(bool),
            lambda t, _: t,
            lambda _, o: o,
            _in_common_form(then, then, other),
            _in_common_form(other, then, other),
        )

    return select


def lazy_if_else(op: Any, node: Any, link: Any) -> Linked:
    """Each branch is an inner graph. Only the chosen branch is computed."""
    branches = [link.link(op.true_branch.fgraph), link.link(op.false_branch.fgraph)]
    static = {i + 1 for branch in branches for i in branch.static}
    preferred = {i + 1 for branch in branches for i in branch.preferred_static}

    def select(condition: Any, *operands: Any) -> tuple[Any, ...]:
        if is_static(condition):
            return tuple(branches[0 if condition else 1](*operands))
        dynamic = [i for i, value in enumerate(operands) if not is_static(value)]
        values = [operands[i] for i in dynamic]

        def run(branch: Any, *values: Any) -> tuple[Any, ...]:
            given = dict(zip(dynamic, values, strict=True))
            return _arrays(branch(*(given.get(i, v) for i, v in enumerate(operands))))

        forms = [jax.eval_shape(partial(run, branch), *values) for branch in branches]
        _check_same_shapes(node, *forms)

        # Under vmap both branches run, so each masks its gradient where it is not
        # taken.
        def shielded(branch: Any, taken: Any, *values: Any) -> tuple[Any, ...]:
            masked = (with_masked_gradient(value, taken) for value in values)
            return _in_common_form(run(branch, *masked), *forms)

        chosen = jnp.asarray(condition).astype(bool)
        then, other = (
            partial(shielded, branch, taken)
            for branch, taken in zip(branches, (chosen, ~chosen), strict=True)
        )
        return jax.lax.cond(chosen, then, other, *values)

    return Linked(select, tuple(sorted(static)), tuple(sorted(preferred)))


if LazyIfElse is not None:
    rule(LazyIfElse, inner=True, static=_static_lazy_condition)(lazy_if_else)


def _arrays(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(to_dynamic, values))


def _in_common_form(values: Sequence[Any], *forms: Sequence[Any]) -> tuple[Any, ...]:
    """``values`` in a form that both branches can return.

    Sparse matrices may have room for different numbers of entries.
    """
    return tuple(
        in_common_form(value, both) if is_bcoo(value) else value
        for value, *both in zip(values, *forms, strict=True)
    )


def _check_same_shapes(node: Any, then: Sequence[Any], other: Sequence[Any]) -> None:
    for out, a, b in zip(node.outputs, then, other, strict=True):
        if not isinstance(a, Stream) and a.shape != b.shape:
            raise BranchShapeError(
                f"the branches of ifelse give `{out.name or out}` shapes {a.shape} "
                f"and {b.shape}, but in JAX both branches must have the same shape. "
                "Pad them to one shape, or declare both shapes in their types: the "
                "condition is then static."
            )

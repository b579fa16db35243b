"""One node of a linked graph: from its operands' values to its outputs' values."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.basic import AbstractApply, Variable

from jaxlink.dispatch.registry import Rule
from jaxlink.errors import DynamicShapeError, RuleError
from jaxlink.ops.required import without_reason
from jaxlink.values.bcoo import is_bcoo
from jaxlink.values.evaluate import compute_sizes, evaluate
from jaxlink.values.static import canonical, is_static, to_jax
from jaxlink.values.symbolic_sizes import is_symbolic
from jaxlink.values.types import describe, kind_of, name_of

__all__ = ["Step", "describe_node", "dynamic_shape", "made_at"]


@dataclass
class Step:
    """A node, with stage two of its rule."""

    node: AbstractApply
    rule: Rule
    run: Callable[..., Any]
    static: tuple[int, ...]
    preferred: tuple[int, ...] = ()
    is_required: bool = False

    def __call__(self, operands: Sequence[Any]) -> Sequence[Any]:
        known = all(map(is_static, operands))
        if self.rule.inner:
            if known and self.is_required:
                return _at_compile_time(lambda: self._outputs(self.run(*operands)))
            return self._outputs(self.run(*operands))
        by_jax = self.rule.known is True or (self.rule.lazy and not self.is_required)
        if known and not by_jax:
            if not any(map(is_symbolic, operands)):
                return evaluate(self.node, operands)
            if (sizes := compute_sizes(self.node, operands)) is not None:
                return sizes
        return self._outputs(self.run(*map(self._operand, count(), operands)))

    def _operand(self, i: int, value: Any) -> Any:
        if i in self.static:
            return self._static_operand(i, value)
        if self.rule.symbols and is_symbolic(value):
            return value
        return to_jax(value, f"the operand {name_of(self.node.inputs[i])}")

    def _static_operand(self, i: int, value: Any) -> Any:
        if is_static(value):
            return value
        raise dynamic_shape(self.node, i, self.node.inputs[i], "is traced by JAX")

    def _outputs(self, outs: Any) -> Sequence[Any]:
        if not isinstance(outs, tuple | list):
            outs = (outs,)
        if len(outs) != len(self.node.outputs):
            raise RuleError(
                f"the rule of {self.node.op} returned {len(outs)} values for "
                f"{len(self.node.outputs)} outputs."
            )
        pairs = zip(outs, self.node.outputs, strict=True)
        return [self._conform(value, var) for value, var in pairs]

    def _conform(self, value: Any, var: Variable) -> Any:
        """``value``, after checking that it has its variable's dtype and rank."""
        type_ = var.type
        kind = kind_of(type_)
        if is_static(value) or kind not in ("array", "sparse"):
            return value
        dtype = canonical(type_.dtype)
        is_array = is_bcoo(value) if kind == "sparse" else isinstance(value, jax.Array)
        if not is_array or value.dtype != dtype or value.ndim != type_.ndim:
            raise RuleError(
                f"the rule of {self.node.op} returned {value!r}, but its output is "
                f"{describe(type_)} (here {dtype})."
            )
        # A weak type would leak into the promotion of everything downstream.
        weak = kind == "array" and value.weak_type
        return jnp.asarray(value, dtype) if weak else value


def _at_compile_time(run: Callable[[], Sequence[Any]]) -> list[Any]:
    """The outputs of ``run`` as static values; JAX computes them while it traces."""
    with jax.ensure_compile_time_eval():
        outs = run()
    return [np.asarray(out) if isinstance(out, jax.Array) else out for out in outs]


def dynamic_shape(
    node: AbstractApply, operand: int, var: Variable, reason: str
) -> DynamicShapeError:
    read, way_out = without_reason(node.inputs[operand])
    which = f"{name_of(var)}, which {reason}"
    source = f"{name_of(var)} {reason}" if var is read else f"it depends on {which}"
    way_out = way_out or (
        "Either fix the size (a constant, a shape, an integer input), or allocate an "
        "upper bound and mask it."
    )
    return DynamicShapeError(
        f"{describe_node(node)} needs its operand {operand}, "
        f"{name_of(read)}, before the function runs, but {source}. "
        f"A JAX array cannot change its shape between calls. {way_out}"
    )


def describe_node(node: AbstractApply) -> str:
    named = [out.name for out in node.outputs if out.name]
    return f"`{node.op}`" + (f" (which computes `{named[0]}`)" if named else "")


def made_at(node: AbstractApply) -> str:
    """The line of user code that made ``node``, if PyTensor recorded it."""
    libraries = [sys.modules.get(name) for name in ("pytensor", "pymc", "jaxlink")]
    inside = tuple(os.path.dirname(lib.__file__ or "") for lib in libraries if lib)
    for frames in getattr(node.outputs[0].tag, "trace", None) or ():
        own = takewhile(lambda frame: not frame[0].startswith(inside), frames)
        for file, line, *_ in list(own)[-1:]:
            return f", made at {file}:{line}"
    return ""

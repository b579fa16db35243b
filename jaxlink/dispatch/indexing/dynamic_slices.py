"""Slices with traced bounds but a known length, such as ``x[n : n + 2]``.

The graph shows the length if start and stop are sums of the same terms, apart from
constants. JAX can read and write such a window (``lax.dynamic_slice``) if it lies
within the array, which we assume: see `jaxlink.dispatch.indexing.subtensor`.
"""

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.basic import ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.subtensor import AdvancedIncSubtensor, IncSubtensor

from jaxlink.ops.required import Required
from jaxlink.values.static import canonical
from jaxlink.values.types import dtype_of

# These show the value of their operand, in another shape or dtype.
_VIEWS = DimShuffle | Required | ScalarFromTensor | TensorFromScalar | ps.Cast

Terms = Counter[Variable | None]  # the key None holds the constant


def _terms(var: Variable) -> Terms:
    """``var`` as a sum of terms with integer factors."""
    if isinstance(var, Constant):
        return Counter({None: int(np.asarray(var.data).item())})
    owner = var.owner
    if owner is None:
        return Counter({var: 1})
    op = owner.op.scalar_op if isinstance(owner.op, Elemwise) else owner.op
    if isinstance(op, _VIEWS):
        (operand,) = owner.inputs
        return _terms(operand) if _is_integer(operand) else Counter({var: 1})
    if not _is_integer(var) or not all(map(_is_integer, owner.inputs)):
        return Counter({var: 1})
    if isinstance(op, ps.Add):
        return reduce(_plus, map(_terms, owner.inputs), Counter())
    if isinstance(op, ps.Sub):
        return _plus(_terms(owner.inputs[0]), _terms(owner.inputs[1]), -1)
    if isinstance(op, ps.Neg):
        return _plus(Counter(), _terms(owner.inputs[0]), -1)
    if isinstance(op, ps.Mul):
        factor, rest = 1, []
        for terms in map(_terms, owner.inputs):
            if set(terms) <= {None}:
                factor *= terms[None]
            else:
                rest.append(terms)
        if not rest:
            return Counter({None: factor})
        if len(rest) == 1:
            return _plus(Counter(), rest[0], factor)
    return Counter({var: 1})


def _is_integer(var: Variable) -> bool:
    is_scalar = getattr(var.type, "ndim", 0) == 0
    return is_scalar and dtype_of(var.type).startswith(("int", "uint"))


def _plus(x: Terms, y: Terms, factor: int = 1) -> Terms:
    total = Counter(x)
    for term, times in y.items():
        total[term] += factor * times
    return Counter({term: times for term, times in total.items() if times})


@dataclass(frozen=True)
class Window:
    """``start : start + extent : step``, where only ``start`` is traced."""

    extent: int
    step: int

    @property
    def length(self) -> int:
        return -(-self.extent // self.step)

    @property
    def span(self) -> int:
        """The number of elements from the first to the last, gaps included."""
        return (self.length - 1) * self.step + 1

    def place(self, start: Any, stop: Any, n: int) -> tuple[Any, Any]:
        """Where the window begins, and whether it lies within ``n`` elements."""
        start, stop = (jnp.asarray(i).astype(canonical("int64")) for i in (start, stop))
        both_from_the_end = (start < 0) & (stop < 0)
        start_at = jnp.where(both_from_the_end, start + n, start)
        inside = (start_at >= 0) & (start_at + self.span <= n)
        # A small integer type may have wrapped around where PyTensor adds the length.
        return start_at, inside & (stop - start == self.extent)

    def read(self, x: Any, axis: int, start: Any) -> Any:
        part = lax.dynamic_slice_in_dim(x, start, self.span, axis)
        return lax.slice_in_dim(part, 0, self.span, self.step, axis)


def first_index(op: Any) -> int:
    """The position of the first index among the operands of a read or a write."""
    return 2 if isinstance(op, IncSubtensor | AdvancedIncSubtensor) else 1


def known_lengths(node: Any) -> dict[int, Window]:
    """The windows that ``node`` reads or writes, by the position of their slices.

    A slice whose bounds are all constants is not a window.
    """
    bounds = node.inputs[first_index(node.op) :]
    if any(getattr(v.type, "ndim", 0) > 1 and v.type.dtype == "bool" for v in bounds):
        return {}  # a mask over several dimensions shifts the dimensions after it
    windows = {}
    for i, entry in enumerate(node.op.idx_list):
        if not isinstance(entry, slice) or entry.start is None or entry.stop is None:
            continue
        start, stop = bounds[entry.start], bounds[entry.stop]
        step = None if entry.step is None else bounds[entry.step]
        if isinstance(start, Constant) and isinstance(stop, Constant):
            continue
        if step is not None and not isinstance(step, Constant):
            continue
        extent = _plus(_terms(stop), _terms(start), -1)
        by = 1 if step is None else int(step.data)
        if set(extent) == {None} and extent[None] > 0 and by > 0:
            windows[i] = Window(extent[None], by)
    return windows

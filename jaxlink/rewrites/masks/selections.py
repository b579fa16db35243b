"""A selection as its full array with masks, and the walk over the graph.

`rewrites.masks` starts the walk.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import io_toposort
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.shape import Shape, Shape_i

from jaxlink.ops.fill_unselected import FillUnselected
from jaxlink.values.types import dtype_of, name_of, nearest


class Declined(Exception):  # noqa: N818 (an answer, not an error)
    """A rule cannot handle a selection. The message says why."""


@dataclass(frozen=True)
class Mask:
    """The selected elements of an axis: ``flags``, a bool vector. Two masks with the
    same ``key`` select the same number of elements, in the same order."""

    key: tuple[Any, ...]
    flags: Variable = field(compare=False)


@dataclass(frozen=True)
class Masked:
    """A selection: the ``full`` array and the mask of each selected axis."""

    full: Variable
    axes: dict[int, Mask]
    reads: frozenset[Any] = frozenset()

    @property
    def ndim(self) -> int:
        return self.full.type.ndim


type Value = Variable | Masked
type MaskRule = Callable[[Walk, Any, Sequence[Value]], Sequence[Value]]
type Source = Callable[[Walk, Any, Sequence[Value]], MaskRule | None]

# The rules for Ops on selections. A rule gets the walk, the node and its operands in
# the new graph, and returns the outputs. It raises `Declined` with a reason that
# completes the sentence "the selection cannot be masked, because ...".
RULES: dict[type, MaskRule] = {}
# Ops where a selection may begin: each function returns the rule, or None.
SOURCES: dict[type, Source] = {}


def mask_rule(*op_types: type) -> Callable[[MaskRule], MaskRule]:
    """Register the decorated function in `RULES`."""

    def register(rule: MaskRule) -> MaskRule:
        RULES.update(dict.fromkeys(op_types, rule))
        return rule

    return register


def source(*op_types: type) -> Callable[[Source], Source]:
    """Register the decorated function in `SOURCES`."""

    def register(find: Source) -> Source:
        SOURCES.update(dict.fromkeys(op_types, find))
        return find

    return register


def any_masked(values: Sequence[Value]) -> bool:
    return any(isinstance(value, Masked) for value in values)


def none_if_plain(values: Sequence[Value]) -> None:
    if any_masked(values):
        raise Declined("it is declined")


def plain(value: Value) -> Variable:
    return value.full if isinstance(value, Masked) else value


def axes_of(value: Value) -> dict[int, Mask]:
    return value.axes if isinstance(value, Masked) else {}


def spread(mask: Mask, axis: int, ndim: int) -> Variable:
    """``mask`` as an array with ``ndim`` dimensions, of length 1 except ``axis``."""
    return mask.flags.dimshuffle([0 if i == axis else "x" for i in range(ndim)])


def neutralized(value: Masked, axes: Iterable[int], neutral: Any) -> Variable:
    """The full array with ``neutral`` where the masks of ``axes`` are false."""
    x = value.full
    neutral = pt.constant(np.asarray(neutral).astype(x.type.dtype))
    for axis in axes:
        x = pt.switch(spread(value.axes[axis], axis, value.ndim), x, neutral)
    return x


def refilled(x: Variable, axes: dict[int, Mask]) -> Masked:
    """``x`` with harmless values where its masks are false."""
    for axis, mask in axes.items():
        x = FillUnselected(axis)(x, mask.flags)
    return Masked(x, axes)


def aligned(values: Sequence[Value]) -> dict[int, Mask]:
    """The masks after broadcasting ``values``."""
    ndim = max(plain(value).type.ndim for value in values)
    axes: dict[int, Mask] = {}
    for value in values:
        shift = ndim - plain(value).type.ndim
        for axis, mask in axes_of(value).items():
            axes.setdefault(axis + shift, mask)
    for value in values:
        require_fit(value, axes, ndim)
    return axes


def require_fit(value: Value, axes: dict[int, Mask], ndim: int) -> None:
    """Decline unless ``value`` broadcasts to ``ndim`` dimensions with the masks
    ``axes``."""
    var, own = plain(value), axes_of(value)
    shift = ndim - var.type.ndim
    if any(axes.get(axis + shift) != mask for axis, mask in own.items()):
        raise Declined(f"{name_of(var)} is selected by another mask")
    free = {axis - shift for axis in axes if axis >= shift} - own.keys()
    if not all(var.type.broadcastable[axis] for axis in free):
        raise Declined(f"{name_of(var)} is not selected by the same mask")


class Walk:
    """One pass over the graph, with each variable's value in the new graph."""

    def __init__(
        self,
        fgraph: FunctionGraph,
        declined: dict[Any, str],
        inlined: dict[Any, Sequence[Variable]],
        varying: Iterable[Variable] = (),
    ):
        self.fgraph = fgraph
        self.inlined = inlined
        self.already_declined = frozenset(declined)
        self.declined = dict(declined)
        self.env: dict[Variable, Value] = {}
        self.absorbed = False
        self._masks: dict[Any, Mask] = {}
        self._binding_time: dict[Variable, int] = dict.fromkeys(varying, 2)

    def outputs(self) -> list[Variable]:
        for node in self.fgraph.toposort():
            self.env.update(zip(node.outputs, self.step(node), strict=True))
        outs = []
        for var in self.fgraph.outputs:
            value = self.value(var)
            if isinstance(value, Masked):
                self.decline([value], "it is an output of the function")
                value = var
            outs.append(value)
        return outs

    def value(self, var: Variable) -> Value:
        return self.env.get(var, var)

    def decline(self, values: Iterable[Value], why: str) -> None:
        for value in values:
            if isinstance(value, Masked):
                for read in value.reads:
                    self.declined.setdefault(read, why)

    def step(self, node: Any) -> Sequence[Value]:
        """The outputs of ``node`` in the new graph."""
        values = [self.value(var) for var in node.inputs]
        try:
            rule = self._rule(node, values)
            if rule is not None:
                return [
                    self._finish(out, old, node, values)
                    for out, old in zip(
                        rule(self, node, values), node.outputs, strict=True
                    )
                ]
        except Declined as why:
            self.decline(values, str(why))
            if not any_masked(values):
                self.declined.setdefault(node, str(why))
        if all(new is old for new, old in zip(values, node.inputs, strict=True)):
            return node.outputs
        # The masked values were declined, so this is not the last pass.
        given = [
            old if isinstance(new, Masked) else new
            for new, old in zip(values, node.inputs, strict=True)
        ]
        new = node.clone_with_new_inputs(given)
        new.tag.__dict__.update(node.tag.__dict__)
        for out, old in zip(new.outputs, node.outputs, strict=True):
            out.name = old.name
        return new.outputs

    def _rule(self, node: Any, values: Sequence[Value]) -> MaskRule | None:
        """The rule for ``node`` if it begins or continues a selection, or ``None``."""
        find = SOURCES.get(nearest(type(node.op), SOURCES))
        if find is not None:
            return find(self, node, values)
        if not any_masked(values):
            return None
        rule = RULES.get(nearest(type(node.op), RULES))
        if rule is None:
            raise Declined(f"`{node.op}` needs it as it is")
        return rule

    def _finish(self, out: Value, old: Variable, node: Any, values: Any) -> Value:
        """``out`` with the reads that it depends on, or as a variable if not masked."""
        self.absorbed = True
        if isinstance(out, Masked) and out.axes:
            reads = [v.reads for v in values if isinstance(v, Masked)]
            own = () if reads else (node,)
            out.full.name = old.name or out.full.name
            return Masked(out.full, out.axes, frozenset(own).union(*reads))
        var = out.full if isinstance(out, Masked) else out
        var = old.type.filter_variable(var, allow_convert=True)
        if var.owner is not None:
            var.name = old.name or var.name
        return var

    def inline(self, node: Any) -> list[Value]:
        """The outputs of an OpFromGraph, from a walk through its inner graph."""
        if node not in self.inlined:
            self.inlined[node] = inline_ofg_node(node)
        outs = self.inlined[node]
        for inner in io_toposort(node.inputs, outs):
            self.env.update(zip(inner.outputs, self.step(inner), strict=True))
        return [self.value(out) for out in outs]

    # --- masks -----------------------------------------------------------------------

    def mask(self, key: tuple[Any, ...], flags: Any, of: Any = None) -> Mask:
        """The mask with ``key``. ``flags`` builds its vector when the key is new, or
        new for ``of``, a dimension of an array."""
        if (key, of) not in self._masks:
            self._masks[key, of] = Mask(key, flags())
        return self._masks[key, of]

    def mask_of(self, var: Variable) -> Mask | None:
        """The mask for an index ``var`` (for an array of numbers, its `Nonzero`), or
        ``None`` if ``var`` is known before the call."""
        value = self.value(var)
        if isinstance(value, Masked):
            if value.ndim != 1:
                raise Declined("its mask is itself a selection with several dimensions")
            (outer,) = value.axes.values()
            inner = _as_flags(value.full)
            return self.mask((outer.key, var), lambda: outer.flags & inner)
        if self.binding_time(var) == 0:
            return None
        return self.mask((var,), lambda: _as_flags(value))

    def binding_time(self, var: Variable) -> int:
        """When a value is known: 0 if before every call, 1 if before the call once
        integer inputs are static, 2 if only in the call (it depends on floats or
        draws)."""
        todo = [var]
        while todo:
            var = todo[-1]
            if var in self._binding_time:
                todo.pop()
                continue
            if (owner := var.owner) is None:
                self._binding_time[var] = _binding_time_of_root(var)
            elif isinstance(owner.op, Shape | Shape_i):
                self._binding_time[var] = 0
            elif missing := [v for v in owner.inputs if v not in self._binding_time]:
                todo += missing
            else:
                self._binding_time[var] = max(
                    (self._binding_time[v] for v in owner.inputs), default=0
                )
        return self._binding_time[var]


def _binding_time_of_root(var: Variable) -> int:
    if isinstance(var, Constant):
        return 0
    if isinstance(var.type, RandomType):
        return 2
    return 1 if dtype_of(var.type).startswith(("int", "uint", "bool")) else 2


def _as_flags(var: Variable) -> Variable:
    """All elements as a bool vector."""
    var = var if var.type.dtype == "bool" else pt.neq(var, 0)
    return var if var.type.ndim == 1 else pt.join_dims(var)

"""Checks of the lengths of the entries of a position or a draw, while JAX traces.

A log density sums over its terms, so an entry that is too long or too short would give
a wrong number without an error. If a length is not in the variable's type, it comes
from the variable's dimensions or its size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import ancestors, toposort
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import ArgumentError
from jaxlink.values.static import is_static

__all__ = ["check_lengths"]

# dimension -> its length, and its name if it has one
Lengths = dict[int, tuple[Variable, str | None]]


class CheckedLengths(Op):
    """Return the first input, if it has the lengths that the other inputs give.

    Arguments:
        function, name: the function and the variable, for the error.
        axes: the dimensions with a known length.
        dims: the names of these dimensions.
    """

    __props__ = ("function", "name", "axes", "dims")

    def __init__(
        self,
        function: str,
        name: str,
        axes: tuple[int, ...],
        dims: tuple[str | None, ...],
    ):
        self.function = function
        self.name = name
        self.axes = axes
        self.dims = dims

    def make_node(self, value: Variable, *lengths: Variable) -> Apply:
        return Apply(self, [value, *lengths], [value.type()])

    def perform(self, node: Apply, inputs: Sequence[Any], outputs: Any) -> None:
        value, *lengths = inputs
        self.check(value, lengths)
        outputs[0][0] = value

    def check(self, value: Any, lengths: Sequence[Any]) -> None:
        """Raise unless ``value`` has the ``lengths`` that are known."""
        for axis, dim, length in zip(self.axes, self.dims, lengths, strict=True):
            if is_static(length) and value.shape[axis] != length:
                of = f" (`{dim}`)" if dim else ""
                raise ArgumentError(
                    f"`{self.name}` is of shape {value.shape}, but {self.function}() "
                    f"needs {int(length)} entries along its dimension {axis}{of}."
                )


@rule(CheckedLengths, inner=True)
def checked_lengths(op: CheckedLengths, node: Apply, link: Any) -> Linked:
    del link  # ``inner`` passes static operands unchanged

    def run(value: Any, *lengths: Any) -> Any:
        op.check(value, lengths)
        return value

    return Linked(run, preferred=tuple(range(1, len(node.inputs))))


def check_lengths(
    model: pm.Model,
    function: str,
    inputs: Mapping[str, Variable],
    outputs: Sequence[Variable],
) -> list[Variable]:
    """``outputs`` of a graph over a model, with checks of the lengths of its inputs.

    Arguments:
        model: the model.
        function: the name of the function, for the error.
        inputs: value variables and random variables by name.
        outputs: the outputs of the graph.
    """
    checked: dict[Variable, Variable] = {}
    for name, var in inputs.items():
        if lengths := _lengths(model, var):
            dims = tuple(dim for _, dim in lengths.values())
            op = CheckedLengths(function, name, tuple(lengths), dims)
            checked[var] = op(var, *(length for length, _ in lengths.values()))
    return _replace(outputs, checked, [*inputs.values()])


def _lengths(model: pm.Model, var: Variable) -> Lengths:
    """The lengths that are known before the call, but not from the variable's type."""
    shape = getattr(var.type, "shape", ())
    rv = model.values_to_rvs.get(var, var)
    wanted = {i for i, n in enumerate(shape) if n is None}
    if not wanted or rv not in model.basic_RVs or rv.type.ndim != len(shape):
        return {}
    own = {
        i: (length, dim)
        for i, (length, dim) in _own_lengths(model, rv).items()
        if i in wanted and not _is_random(length)
    }
    transform = None if rv is var else model.rvs_to_transforms[rv]
    if transform is None or transform.ndim_supp == 0:
        return own
    more = _offsets(transform, rv)
    return {i: (pt.add(n, more[i]), dim) for i, (n, dim) in own.items() if i in more}


def _own_lengths(model: pm.Model, rv: Variable) -> Lengths:
    """The lengths of a random variable, from its dimensions or from its size."""
    dims = model.named_vars_to_dims.get(rv.name)
    if dims:
        known = model.dim_lengths
        return {i: (known[dim], dim) for i, dim in enumerate(dims) if dim in known}
    if isinstance(rv.owner.op, RandomVariable):
        size = rv.owner.op.size_param(rv.owner)
        if not isinstance(size, Constant) and hasattr(size.type, "ndim"):
            n_batch = rv.type.ndim - rv.owner.op.ndim_supp
            return {i: (size[i], None) for i in range(n_batch)}
    return {}


def _is_random(length: Variable) -> bool:
    return any(isinstance(var.type, RandomType) for var in ancestors([length]))


def _offsets(transform: Any, rv: Variable) -> dict[int, int]:
    """How much longer a transform makes each dimension. A dimension is left out if that
    depends on its length."""
    offsets = []
    for n in (7, 9):
        probe = rv.type.clone(shape=(n,) * rv.type.ndim)()
        shape = transform.forward(probe, *rv.owner.inputs).type.shape
        if len(shape) != rv.type.ndim:
            return {}
        offsets.append([None if length is None else length - n for length in shape])
    return {
        i: low
        for i, (low, high) in enumerate(zip(*offsets, strict=True))
        if low is not None and low == high
    }


def _replace(
    outputs: Sequence[Variable],
    memo: dict[Variable, Variable],
    inputs: Sequence[Variable],
) -> list[Variable]:
    """``outputs`` with some inputs replaced. Nodes that do not depend on these stay the
    same nodes, because random generators may be among them."""
    for node in toposort(outputs, blockers=inputs):
        if any(var in memo for var in node.inputs):
            new = node.clone_with_new_inputs([memo.get(v, v) for v in node.inputs])
            # An input may be one of several outputs of a node.
            memo = dict(zip(node.outputs, new.outputs, strict=True)) | memo
    return [memo.get(out, out) for out in outputs]

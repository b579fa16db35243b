"""Every Scan becomes a `Loop`, which keeps only the part of its outputs that is read.

PyTensor's Scan returns the initial values and all steps of a state in one buffer. Its
length depends on the number of steps. The graph nearly always reads either all steps
(``buffer[1:]``) or rows at the end (``buffer[1:][-1]``). So:

* An output keeps only its last rows if only these are read, at known indices.
* An output drops its initial values if only steps are read.
* The initial values replace the operand that is a buffer with room for all steps.
* If every output keeps only last rows, the loop can end on a condition, or after a
  number of steps that the graph computes.
* If a loop ends on a condition and more is read, it keeps all steps that it could make.

The rewrite declines an output if neither ``pytensor.scan`` nor its gradient made its
buffer. The Loop then works on that buffer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan
from pytensor.tensor.basic import Alloc, AllocEmpty, ScalarFromTensor
from pytensor.tensor.rewriting.basic import broadcasted_by
from pytensor.tensor.shape import Shape_i
from pytensor.tensor.subtensor import IncSubtensor, Subtensor, indices_from_subtensor

from jaxlink.ops.loop import Keep, Loop, unknown_length
from jaxlink.ops.required import Required, without_reason
from jaxlink.rewrites.inner_graphs import rewrite_inner_graphs


@dataclass(frozen=True)
class Read:
    """How one node reads an output of a Scan.

    Arguments:
        node: the node, which is replaced.
        kind: one row; the last rows; the steps without initial values; the length; the
            length of another dimension.
        number: the row or the number of rows, counted from the end; or the dimension.
        of_steps: whether the initial values were cut off first.
        rest: the index into the other dimensions.
        more: a second index into them, applied after ``rest``.
    """

    node: Any
    kind: Literal["row", "tail", "steps", "length", "dim"]
    number: int = 0
    of_steps: bool = False
    rest: tuple[Any, ...] = ()
    more: tuple[Any, ...] = ()

    @property
    def rows(self) -> int:
        """The number of last rows to keep."""
        return self.number if self.kind in ("row", "tail") else int(self.kind == "dim")

    def least(self, depth: int, as_while: bool) -> int:
        """The number of steps needed before the rows exist."""
        if self.kind != "row" and not (self.kind == "tail" and as_while):
            return 0
        return self.number - (0 if self.of_steps else depth)

    def depends_on_n_steps(self, depth: int) -> bool:
        """Whether the number of rows depends on ``n_steps``, in a loop without a
        condition."""
        return self.kind == "tail" and self.number > (0 if self.of_steps else depth)


def mask_while_scans(fgraph: FunctionGraph) -> None:
    """Replace the Scans in ``fgraph`` that stop on a condition. Reads of all their
    steps become slices, ``buffer[:n]``, which `jaxlink.rewrites.masks` absorbs."""
    for node in fgraph.toposort():
        if isinstance(node.op, Scan) and node.op.info.as_while:
            _replace(fgraph, node)


def trim_scans(fgraph: FunctionGraph) -> None:
    """Replace all Scans in ``fgraph`` and in its inner graphs."""
    for node in fgraph.toposort():
        if isinstance(node.op, Scan):
            _replace(fgraph, node)
    rewrite_inner_graphs(fgraph, lambda op, inner: trim_scans(inner), "trim_scans")


def _replace(fgraph: FunctionGraph, node: Any) -> None:
    op, info = node.op, node.op.info
    n_steps = node.inputs[0]
    taps = (*info.mit_sot_in_slices, *info.sit_sot_in_slices)
    depths = [-min(some) for some in taps] + [0] * info.n_nit_sot
    # Operands: n_steps, sequences, mit-mots, states, untraced, nit-sots, non-sequences.
    first_state = 1 + info.n_seqs + info.n_mit_mot
    first_nit_sot = first_state + len(taps) + info.n_untraced_sit_sot
    places = [first_state + i for i in range(len(taps))]
    places += [first_nit_sot + i for i in range(info.n_nit_sot)]
    outs = node.outputs[info.n_mit_mot :]

    inputs = list(node.inputs)
    for i in range(1, 1 + info.n_seqs):
        inputs[i] = _without_cut(inputs[i], n_steps)
    keep: list[Keep] = []
    reads: list[tuple[int, Read]] = []
    for i, (out, depth, place) in enumerate(zip(outs, depths, places, strict=False)):
        initial = _initial(inputs[place], depth, n_steps)
        these = list(_reads(fgraph, out, depth, n_steps, info.as_while))
        keep.append("buffer" if initial is None else _kept(these, depth))
        if keep[-1] != "buffer":
            inputs[place] = initial
            if keep[-1] != "all" or info.as_while:
                reads += [(i, read) for read in these if read is not None]

    least = max((read.least(depths[i], info.as_while) for i, read in reads), default=0)
    exact = any(
        read.depends_on_n_steps(depths[i]) for i, read in reads if not info.as_while
    )
    loop = Loop(op, keep, least, exact)
    new = loop(*inputs, return_list=True)
    made = new.pop() if info.as_while else n_steps
    if info.as_while:
        # One variable per depth, so that different outputs have the same mask.
        required = Required(unknown_length(op))
        ends = {
            depth: required(pt.scalar_from_tensor(made + depth))
            for depth in {0, *depths}
        }
        for i, kind in enumerate(keep):
            if kind in ("steps", "all"):
                number = info.n_mit_mot + i
                depth = depths[i] if kind == "all" else 0
                for j, read in reads:
                    if j == i:
                        value = _value_of_padded(read, new[number], ends, depth)
                        _swap(fgraph, read.node.outputs[0], value)
                new[number] = new[number][: ends[depth]]
        reads = [(i, read) for i, read in reads if isinstance(keep[i], int)]
    for i, read in reads:
        depth = 0 if read.of_steps else depths[i]
        if info.as_while or keep[i] == "steps":  # all kept rows are steps
            read = replace(read, of_steps=False)
        value = _value(read, new[info.n_mit_mot + i], made, depth)
        _swap(fgraph, read.node.outputs[0], value)
    for old, out in zip(node.outputs, new, strict=False):
        _swap(fgraph, old, out)


def _swap(fgraph: FunctionGraph, old: Variable, new: Variable) -> None:
    fgraph.replace(old, new, import_missing=True, reason="trim_scans")


# --- operands ------------------------------------------------------------------------


def _number(var: Any) -> int | None:
    return int(var.data) if isinstance(var, Constant) else None


def _same(var: Variable, other: Variable) -> bool:
    var, _ = without_reason(var)
    if var.owner and isinstance(var.owner.op, ScalarFromTensor):
        var = var.owner.inputs[0]
    number = _number(var)
    return var is other or (number is not None and number == _number(other))


def _without_cut(sequence: Variable, n_steps: Variable) -> Variable:
    """xs[:n_steps] -> xs. The loop takes only the elements that it needs, and the slice
    would require ``n_steps`` before the call."""
    node = sequence.owner
    if node and isinstance(node.op, Subtensor) and len(node.op.idx_list) == 1:
        (index,) = indices_from_subtensor(node.inputs[1:], node.op.idx_list)
        if (
            isinstance(index, slice)
            and index.start is None
            and index.step is None
            and index.stop is not None
            and _same(index.stop, n_steps)
        ):
            return node.inputs[0]
    return sequence


def _initial(buffer: Any, depth: int, n_steps: Variable) -> Variable | None:
    """The initial values in ``buffer``, or ``None`` if it must stay a buffer."""
    if depth == 0:  # the operand of a nit-sot is a length
        return pt.constant(0, dtype="int64") if _same(buffer, n_steps) else None
    node, length, steps = buffer.owner, buffer.type.shape[0], _number(n_steps)
    if steps is not None and length is not None and length != steps + depth:
        return None
    # pytensor.scan: empty(n_steps + depth)[:depth].set(initial)
    if (
        node
        and isinstance(node.op, IncSubtensor)
        and node.op.set_instead_of_inc
        and node.op.idx_list == (slice(None, 0),)
        and node.inputs[0].owner
        and isinstance(node.inputs[0].owner.op, AllocEmpty)
        and _number(node.inputs[2]) in (depth, None)  # None: the length of initial
    ):
        empty, initial = node.inputs[:2]
        if (
            initial.type.ndim == empty.type.ndim
            and not broadcasted_by(initial[0], empty[0])
            and (depth == 1 or not initial.type.broadcastable[0])
        ):
            return initial
        return pt.alloc(initial, depth, *empty.owner.inputs[1:])
    # Its gradient: zeros(n_steps + depth)
    if node and isinstance(node.op, Alloc):
        value, _, *others = node.inputs
        if value.type.ndim < buffer.type.ndim or value.type.broadcastable[0]:
            return pt.alloc(value, depth, *others)
    return buffer[:depth] if steps is not None and length is not None else None


# --- outputs -------------------------------------------------------------------------


def _reads(
    fgraph: FunctionGraph,
    out: Variable,
    depth: int,
    n_steps: Variable,
    as_while: bool,
    of_steps: bool = False,
) -> Iterator[Read | None]:
    """How each reader reads ``out``; ``None`` for a reader that needs all of it."""
    of_steps = of_steps or depth == 0
    steps = None if as_while else _number(n_steps)
    length = None if steps is None else steps + depth

    def from_end(i: int | None) -> int | None:
        """The index ``i`` counted from the end; ``None`` if that is unknown."""
        if i is not None and i >= 0:
            i = None if length is None else i - length
        return None if i is None or i >= 0 else -i

    for node, place in fgraph.clients[out]:
        op = node.op
        if isinstance(op, Shape_i):
            yield Read(node, "dim" if op.i else "length", op.i, of_steps)
            continue
        if not isinstance(op, Subtensor) or place != 0:
            yield None
            continue
        index, *rest = indices_from_subtensor(node.inputs[1:], op.idx_list)
        if not isinstance(index, slice):
            row = from_end(_number(index))
            yield Read(node, "row", row, of_steps, tuple(rest)) if row else None
            continue
        start, stop = _number(index.start), _number(index.stop)
        to_end = index.stop is None or (stop is not None and stop == length)
        if start is None or index.step is not None or not to_end:
            yield None
        elif start == depth > 0:
            cut = node.outputs[0]
            inner = list(_reads(fgraph, cut, 0, n_steps, as_while, True))
            if rest:
                inner = [r and replace(r, rest=tuple(rest), more=r.rest) for r in inner]
            if any(r is None or (rest and r.kind == "dim") for r in inner):
                yield Read(node, "steps", 0, True, tuple(rest))
            else:
                yield from inner
        elif (rows := from_end(start)) is None:
            yield None
        else:
            fixed = rows <= (1 if of_steps else depth) or not as_while
            yield Read(node, "tail", rows, of_steps, tuple(rest)) if fixed else None


def _kept(reads: Sequence[Read | None], depth: int) -> Keep:
    if all(read and read.kind != "steps" for read in reads):
        return max((read.rows for read in reads if read), default=0)
    only_steps = all(read.of_steps if read else depth == 0 for read in reads)
    return "steps" if only_steps else "all"


def _value_of_padded(
    read: Read, rows: Any, ends: dict[int, Variable], depth: int
) -> Variable:
    """The value of ``read`` for a loop that stops. ``rows`` holds ``depth`` initial
    values and all steps that the loop could make.

    Arguments:
        ends: the index after the last row that was made, by the number of initial
            values.
    """
    if read.kind == "length":
        return pt.tensor_from_scalar(ends[0 if read.of_steps else depth])
    if read.kind == "dim":
        return Shape_i(read.number)(rows)
    if read.kind == "steps":
        value = (rows[depth:] if depth else rows)[: ends[0]]
        return value[(slice(None), *read.rest)] if read.rest else value
    first: Any = pt.maximum(pt.tensor_from_scalar(ends[depth]) - read.number, 0)
    if read.kind == "tail":
        first = first + pt.arange(read.number)
    value = rows[first]
    kept = () if read.kind == "row" else (slice(None),)
    if read.rest:
        value = value[(*kept, *read.rest)]
    return value[(*kept, *read.more)] if read.more else value


def _value(read: Read, rows: Any, n_steps: Variable, depth: int) -> Variable:
    """The value of ``read``, from the rows that the loop keeps."""
    if read.kind == "length":
        return n_steps + depth
    if read.kind == "dim":
        return Shape_i(read.number)(rows)
    if read.kind == "steps" and not read.rest:
        return rows
    index: Any = slice(None) if read.kind == "steps" else -read.number
    if read.kind == "tail" and read.of_steps:
        # If there are fewer steps, the kept rows start with initial values.
        index = slice(Shape_i(0)(rows) - pt.minimum(read.number, n_steps), None)
    elif read.kind == "tail":
        index = slice(-read.number, None)
    value = rows[(index, *read.rest)]
    if read.more:
        all_rows = () if read.kind == "row" else (slice(None),)
        value = value[(*all_rows, *read.more)]
    return value

"""Inner graphs: the only module that knows which Ops have them.

A Scan, a `Loop` and an OpFromGraph have one, a lazy IfElse has two, and a Blockwise has
those of the Op that it repeats. Inner graphs are frozen, so changing one makes a new
Op.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pytensor.compile.builders import OpFromGraph
from pytensor.graph.fg import AbstractFunctionGraph, FunctionGraph
from pytensor.graph.op import HasInnerGraph
from pytensor.scan.op import Scan
from pytensor.tensor.blockwise import Blockwise

from jaxlink.ops.loop import Loop

__all__ = ["all_nodes", "inner_graphs", "map_inner_graphs", "rewrite_inner_graphs"]


def inner_graphs(op: Any) -> list[AbstractFunctionGraph]:
    """The inner graphs of ``op``, of any kind."""
    parts = _parts(op) or ([op] if isinstance(op, HasInnerGraph) else [])
    return [part.fgraph for part in parts]


def all_nodes(fgraph: AbstractFunctionGraph) -> Iterator[Any]:
    """The nodes of a graph and of all its inner graphs."""
    for node in fgraph.apply_nodes:
        yield node
        for inner in inner_graphs(node.op):
            yield from all_nodes(inner)


def map_inner_graphs(op: Any, rewrite: Callable[[FunctionGraph], None]) -> Any:
    """``op`` with each inner graph rewritten; ``op`` itself if nothing changes."""
    parts = _parts(op)
    new = [_rewritten(part, rewrite) for part in parts]
    if all(a is b for a, b in zip(parts, new, strict=True)):
        return op
    if isinstance(op, Loop):
        return Loop(new[0], op.keep, op.least, op.exact)
    if isinstance(op, Blockwise):
        return type(op)(
            new[0] if parts[0] is op.core_op else map_inner_graphs(op.core_op, rewrite),
            signature=op.signature,
            name=op.name,
            gufunc_spec=op.gufunc_spec,
            destroy_map=op.destroy_map,
        )
    if hasattr(op, "true_branch"):
        return type(op)(*new, op.output_types)
    return new[0]


def rewrite_inner_graphs(
    fgraph: FunctionGraph, rewrite: Callable[[Any, FunctionGraph], None], reason: str
) -> None:
    """Rewrite the inner graphs of all Ops in ``fgraph``.

    Arguments:
        rewrite: called with an Op and one of its inner graphs, which it changes in
            place.
    """
    for node in fgraph.toposort():
        op = node.op
        new = map_inner_graphs(op, partial(rewrite, op))
        if new is not op:
            outputs = new.make_node(*node.inputs).outputs
            fgraph.replace_all(zip(node.outputs, outputs, strict=True), reason=reason)


def _parts(op: Any) -> list[Any]:
    """The Scans and OpFromGraphs that an Op consists of."""
    if isinstance(op, Scan | OpFromGraph):
        return [op]
    if isinstance(op, Loop):
        return [op.scan]
    if isinstance(op, Blockwise):
        return _parts(op.core_op)
    if hasattr(op, "true_branch"):  # LazyIfElse, since PyTensor 3.3.5
        return [op.true_branch, op.false_branch]
    return []


def _rewritten(part: Any, rewrite: Callable[[FunctionGraph], None]) -> Any:
    inner = part.fgraph.unfreeze()
    rewrite(inner)
    frozen = inner.freeze()
    return part if frozen == part.fgraph else part.clone_with_inner_graph(frozen)

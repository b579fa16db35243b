"""Every random generator in the graph becomes a stream of one key.

A *root* is a generator where a chain of draws starts: a shared variable
(``RandomStream``, ``pt.random.shared_rng``, PyMC's own), a constant, or the result of
``default_rng(seed)`` in the graph. Its state or seed does not matter, because the draws
follow from the key. This rewrite adds one input, the key, at the front, and one node,
``RootStreams(key)``, whose output *i* replaces root *i*. Nothing else changes: the
random variables keep their chain of ``next_rng``, and their index in that chain is *t*
in the law (see `jaxlink.values.streams`). A generator that is an input of the function
is not a root.
"""

from collections.abc import Sequence
from typing import Any

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import DefaultGeneratorMakerOp, RandomVariable
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type_other import NoneTypeT

from jaxlink.dispatch.random.standard_draws import draws_along
from jaxlink.errors import UnsupportedOpError
from jaxlink.ops.stacked import StackedDraws
from jaxlink.ops.streams import PRNGKeyType, RootStreams


def rng_roots(
    outputs: Sequence[Variable], inputs: Sequence[Variable]
) -> list[Variable]:
    """The roots, in the order of their numbers.

    A walk from the first output to the last numbers them as it meets them, so adding an
    output at the end changes no number. (The walk pops from the end of its list, hence
    ``reversed``.)

    Raises:
        UnsupportedOpError: a seed is a variable.
    """
    roots = []
    for var in ancestors(list(reversed(outputs)), inputs):
        if not isinstance(var.type, RandomType) or var in inputs:
            continue
        if var.owner is None:
            roots.append(var)
        elif isinstance(var.owner.op, DefaultGeneratorMakerOp):
            if not isinstance(var.owner.inputs[0], Constant):
                raise UnsupportedOpError(
                    "pt.random.default_rng is seeded by a variable, but in JAX a seed "
                    "becomes a key outside the graph. Make pt.random.rng() an input "
                    "instead, and pass jax.random.key(seed)."
                )
            roots.append(var)
    return roots


def collapse_to_key(fgraph: FunctionGraph, roots: Sequence[Variable]) -> None:
    """Replace the inputs ``roots`` with streams of a key, the new first input."""
    key = PRNGKeyType()("key")
    streams = RootStreams([root.type for root in roots])(key, return_list=True)
    fgraph.add_input(key)
    fgraph.inputs.insert(0, fgraph.inputs.pop())
    present = [
        (root, stream)
        for root, stream in zip(roots, streams, strict=True)
        if root in fgraph.clients
    ]
    fgraph.replace_all(present, import_missing=True, reason="collapse_to_key")
    for root, _ in present:
        fgraph.remove_input(fgraph.inputs.index(root), reason="collapse_to_key")


def count_draws(fgraph: FunctionGraph) -> None:
    """Tell `RootStreams` which draws the graph makes along each root outside loops and
    branches, so that their keys, and their standard draws, can be made together."""
    for node in fgraph.toposort():
        if not isinstance(node.op, RootStreams):
            continue
        draws = [_longest_chain(fgraph, out) for out in node.outputs]
        sizes: list[Variable] = []
        along = [draws_along(fgraph, out) for out in node.outputs]
        standard = None
        if sum(one is not None for some in along for one in some) > 1:
            standard = [
                tuple(_standard_draw(one, sizes) for one in some) for some in along
            ]
        op = RootStreams(node.op.types, draws, standard)
        counted = op(*node.inputs, *sizes, return_list=True)
        fgraph.replace_all(
            zip(node.outputs, counted, strict=True), reason="count_draws"
        )


def _standard_draw(node: Apply | None, sizes: list[Variable]) -> Any:
    """The entry of a draw in `RootStreams`. ``sizes`` receives its size, if that says
    its shape and does not depend on other draws."""
    if node is None:
        return None
    size, out = node.inputs[1], node.outputs[1].type
    if None not in out.shape:
        return node.op, out.dtype, out.shape
    if isinstance(size.type, NoneTypeT) or _is_random(size):
        return None
    sizes.append(size)
    return node.op, out.dtype, len(sizes)


def _is_random(var: Variable) -> bool:
    return any(isinstance(one.type, RandomType) for one in ancestors([var]))


def _longest_chain(fgraph: FunctionGraph, rng: Variable) -> int:
    frontier, length = [rng], -1
    while frontier:
        length += 1
        frontier = [
            client.outputs[i]
            for var in frontier
            for client, i in fgraph.clients[var]
            if isinstance(client.op, RandomVariable | StackedDraws)
        ]
    return length

"""Isomorphic parts of a graph are stacked: many small nodes become few larger ones.

A Python loop over groups makes the same nodes again and again, on other variables. Each
costs PyTensor and XLA time to compile, and the program time to run. So nodes that do
the same in the same place are joined, level by level:

    a0 = exp(x0), a1 = exp(x1), ...   ->   a = exp(stack(x0, x1, ...))

and whoever needs a part takes it out of the stack. This runs before PyTensor's own
rewrites, which then see one node instead of many.

Two nodes do the same in the same place if they are of the same Op, their operands have
the same types and come from nodes that do the same, and they have the same height (the
longest way from the inputs). So neither depends on the other.

Values are the same, except that a sum over many parts is rounded in another order. The
draws are the same to the bit, because each keeps its key. Derivatives are the same: see
`jaxlink.rewrites.stacking.groups`.
"""

from pytensor.graph.fg import FunctionGraph

from jaxlink.rewrites.stacking.groups import find_groups
from jaxlink.rewrites.stacking.stacks import Stacks

__all__ = ["stack_isomorphic"]


def stack_isomorphic(fgraph: FunctionGraph) -> None:
    """Stack the isomorphic parts of ``fgraph``."""
    groups, same = find_groups(fgraph)
    if not groups:
        return
    stacks = Stacks(same)
    for nodes in groups:
        stacks.add(nodes)
    replaced = stacks.join_sums(fgraph)
    gone = {node for nodes in groups for node in nodes}
    gone.update(out.owner for out in replaced)
    gone.update(var.owner for var, first in same.items() if first.owner in gone)
    stacked = [*stacks.places, *stacks.streams]
    stacked += [var for var, first in same.items() if first.owner in gone]
    for var in stacked:
        clients = fgraph.clients.get(var, ())
        if any(client not in gone for client, _ in clients):
            replaced[var] = stacks.part(same.get(var, var))
    # From the outputs down, so that what is replaced goes at once.
    fgraph.replace_all(
        list(reversed(replaced.items())),
        import_missing=True,
        reason="stack_isomorphic",
    )

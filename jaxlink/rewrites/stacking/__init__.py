"""Stack the isomorphic parts of a graph: many small nodes become a few larger ones.

A Python loop over groups makes the same nodes again and again, on other variables. Each
node takes PyTensor and XLA time to compile, and the program time to run. So isomorphic
nodes are joined, level by level:

    a0 = exp(x0), a1 = exp(x1), ...   ->   a = exp(stack(x0, x1, ...))

A node that needs a part takes it out of the stack. This runs before PyTensor's own
rewrites, which then see one node instead of many.

Two nodes are isomorphic if they have the same Op, their operands have the same types
and come from isomorphic nodes, and they have the same height (the longest path from the
inputs). So neither depends on the other.

Values stay the same, except that a sum over many parts is rounded in another order. The
draws are the same to the bit, because each keeps its key. Derivatives stay the same:
see `jaxlink.rewrites.stacking.groups`.
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
    # From the outputs down, so that replaced nodes leave the graph at once.
    fgraph.replace_all(
        list(reversed(replaced.items())),
        import_missing=True,
        reason="stack_isomorphic",
    )

"""From a graph to a function of values: one rule per node, in topological order."""

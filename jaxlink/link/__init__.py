"""From a graph to a function of values: one rule a node, in topological order."""

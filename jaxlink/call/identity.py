"""The identity of a graph: equal for graphs that compile to the same program.

Two graphs are equal if they have the same Ops, types, names and constants in the same
places. What a program takes as arguments (inputs, shared variables, random generators)
counts by type and name, not by value. Names count because errors quote them.
"""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

import jax
import numpy as np
from pytensor import config
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import io_toposort
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.random.registry import find_row
from jaxlink.dispatch.registry import find_rule
from jaxlink.rewrites.differential_equations import is_differential_equation, lowered
from jaxlink.rewrites.inner_graphs import all_nodes, inner_graphs

__all__ = ["graph_identity", "value_identity"]

# In bytes. Larger constants count by a digest, so that an identity stays small.
LARGE = 1024


class _UncacheableError(Exception):
    """A part of the graph has no identity that outlives it."""


def graph_identity(
    inputs: Sequence[Variable], outputs: Sequence[Variable]
) -> Hashable | None:
    """The identity of the graph from ``inputs`` to ``outputs``.

    Returns:
        A hashable value, or ``None`` if the graph must not be cached: it has an Op
        around a Python closure, which may hold anything.
    """
    numbers: dict[Variable, int] = {}
    constants: list[Hashable] = []

    def number(var: Variable) -> int:
        if isinstance(var, Constant) and var not in numbers:
            constants.append(_constant(var))
        return numbers.setdefault(var, len(numbers))

    def described(variables: Sequence[Variable]) -> tuple[Hashable, ...]:
        return tuple((number(var), var.type, var.name) for var in variables)

    try:
        leaves = described(inputs)
        nodes, rules = [], set[Hashable]()
        for node in io_toposort(inputs, outputs):
            rules.update(_rules(node))
            operands = tuple(map(number, node.inputs))
            nodes.append((_content_of(node), operands, described(node.outputs)))
        ends = tuple(map(number, outputs))
        parts = leaves, tuple(nodes), ends, tuple(constants), frozenset(rules)
        identity = (*parts, config.floatX)
        hash(identity)
    except (_UncacheableError, TypeError):  # TypeError: a part is not hashable
        return None
    return identity


def value_identity(value: Any) -> Hashable | None:
    """The identity of options: nested dicts and lists of arrays and hashable values.

    Returns:
        A hashable value, or ``None`` if there is none that may outlive ``value``.
    """
    try:
        identity = _of_value(value)
        hash(identity)
    except (_UncacheableError, TypeError):
        return None
    return identity


def _of_value(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((name, _of_value(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(_of_value, value))
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _content(np.asarray(value))
    if _is_closure(value):
        raise _UncacheableError
    return type(value), value


def _content_of(node: Apply) -> Any:
    """The Op of a node, or what tells more than the Op.

    PyMC's differential equations compare by their Python function, which may read what
    changes, and hold the model that they are in. Their graphs do neither.
    """
    if not is_differential_equation(node.op):
        return node.op
    op = lowered(node, sensitivities=True)
    if op is None:
        raise _UncacheableError
    return op


def _rules(node: Apply) -> Iterator[Hashable]:
    """What the Ops of a node mean now: rules may be registered at any time."""
    outer = _content_of(node)
    inner = [n.op for graph in inner_graphs(outer) for n in all_nodes(graph)]
    if any(map(is_differential_equation, inner)):
        raise _UncacheableError
    for op in (outer, *inner):
        rule = find_rule(op)
        held = [getattr(op, name, None) for name in getattr(op, "__props__", ())]
        if any(map(_is_closure, held)):
            raise _UncacheableError
        row = find_row(op) if isinstance(op, RandomVariable) else None
        yield type(op), rule, row


def _is_closure(value: Any) -> bool:
    return isinstance(value, FunctionType) and bool(value.__closure__)


def _constant(var: Constant) -> Hashable:
    value = var.data
    if isinstance(value, np.ndarray | np.generic):
        content: Hashable = _content(np.asarray(value))
    elif hasattr(value, "indptr"):
        parts = (value.data, value.indices, value.indptr)
        content = (value.shape, *map(_content, parts))
    else:
        content = var.signature()
    return type(var), var.type, var.name, content


def _content(array: np.ndarray) -> Hashable:
    """What tells arrays apart to the bit."""
    if array.dtype.hasobject:
        raise _UncacheableError
    if array.nbytes <= LARGE:
        content = array.tobytes()
    else:
        whole = np.ascontiguousarray(array)
        content = hashlib.blake2b(whole, digest_size=32).digest()
    return array.dtype.str, array.shape, content

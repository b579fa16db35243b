"""Find the nodes to stack: those that are isomorphic."""

import sys
from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytensor.scalar as ps
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.basic import (
    Alloc,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.random.basic import (
    CauchyRV,
    ExponentialRV,
    GumbelRV,
    HalfCauchyRV,
    HalfNormalRV,
    LaplaceRV,
    LogisticRV,
    NormalRV,
    UniformRV,
)
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.type import DenseTensorType

from jaxlink.dispatch.random.registry import find_row

__all__ = [
    "FEWEST",
    "find_groups",
    "known_size",
    "operands_of",
    "shared_operands",
    "stacked_check_of",
    "value_of",
]

# Fewer nodes than this stay as they are, so ordinary models are not touched.
FEWEST = 8
# Draws that are one operation away from a draw without parameters.
_AFFINE = (
    *(CauchyRV, ExponentialRV, GumbelRV, HalfCauchyRV, HalfNormalRV, LaplaceRV),
    *(LogisticRV, NormalRV, UniformRV),
)
# In elements. Larger arrays gain nothing from being copied into a stack.
LARGEST = 4096
# Draws cost XLA much more than other nodes. Without draws, stacks must be this deep.
DEPTH = 4


def find_groups(
    fgraph: FunctionGraph,
) -> tuple[list[list[Any]], dict[Variable, Variable]]:
    """Groups of isomorphic nodes, from the inputs upwards; and variables that are the
    same as an earlier one, because their nodes apply the same Op to the same operands.
    """
    colors: dict[Variable, Hashable] = {}
    numbers: dict[Hashable, int] = {}
    heights: dict[Variable, int] = defaultdict(int)
    found: dict[tuple[int, int], list[Any]] = defaultdict(list)
    made: dict[Hashable, Any] = {}
    same: dict[Variable, Variable] = {}

    # Computed from constants alone: PyTensor folds these later.
    folded: set[Variable] = set()

    def color_of(op: Any, var: Variable) -> Hashable:
        if isinstance(var, Constant) or var in folded:
            return _kind_of_constant(op, var)
        return colors.get(var, var.type)

    for node in fgraph.toposort():
        height = 1 + max((heights[var] for var in node.inputs), default=0)
        heights.update(dict.fromkeys(node.outputs, height))
        shared = shared_operands(node)
        if shared is None:
            continue
        inputs = [value_of(same.get(var, var)) for var in node.inputs]
        first = made.setdefault((node.op, *inputs), node)
        if first is not node:
            same.update(zip(node.outputs, first.outputs, strict=True))
            continue
        if all(isinstance(var, Constant) or var in folded for var in node.inputs):
            folded.update(node.outputs)
            continue
        operands = [
            inputs[i] if i in shared else color_of(node.op, same.get(var, var))
            for i, var in enumerate(operands_of(node))
        ]
        if (size := known_size(node)) is not None:
            operands[1] = size
        types = tuple(out.type for out in node.outputs)
        key = node.op, tuple(operands), types, height
        number = numbers.setdefault(key, len(numbers))
        for i, out in enumerate(node.outputs):
            colors[out] = number, i
        found[height, number].append(node)
    groups = [found[key] for key in sorted(found) if len(found[key]) >= FEWEST]
    active = _active(fgraph)
    kept = [
        nodes
        for family in _families(groups, same)
        if _is_worth_it(family) and _is_safe(fgraph, family, same, active)
        for nodes in family
    ]
    return [nodes for nodes in groups if any(nodes is other for other in kept)], same


def _families(groups: list[list[Any]], same: dict[Variable, Variable]) -> list[Any]:
    """The groups, as lists of groups that use one another."""
    families: dict[int, list[int]] = {}
    of_node: dict[Any, int] = {}
    for i, nodes in enumerate(groups):
        used = {
            id(families[of_node[owner]]): families[of_node[owner]]
            for node in nodes
            for var in node.inputs
            if (owner := same.get(var, var).owner) in of_node
        }
        family = [*(j for other in used.values() for j in other), i]
        families.update(dict.fromkeys(family, family))
        of_node.update(dict.fromkeys(nodes, i))
    found = {id(family): family for family in families.values()}
    return [[groups[i] for i in sorted(family)] for family in found.values()]


def _is_worth_it(family: list[list[Any]]) -> bool:
    draws = any(isinstance(nodes[0].op, RandomVariable) for nodes in family)
    return draws or len(family) >= DEPTH


def _is_safe(
    fgraph: FunctionGraph,
    family: list[list[Any]],
    same: dict[Variable, Variable],
    active: set[Variable],
) -> bool:
    """Whether derivatives of a stack are those of its parts.

    If one part has an infinite slope, and the cotangent that reaches it is zero, the
    product is nan. Without a stack no cotangent would reach it. So differentiated nodes
    are stacked only if all parts end in the same sum, and so have the same cotangent.
    """
    nodes = {node: i for i, group in enumerate(family) for node in group}
    outs = [out for node in nodes for out in node.outputs]
    doubles = [var for var, first in same.items() if first.owner in nodes]
    differentiated = [out for out in [*outs, *doubles] if same.get(out, out) in active]
    if not differentiated:
        return True
    if sum(same.get(out, out) in active for out in fgraph.outputs) > 1:
        return False
    inside = {*nodes, *(var.owner for var in doubles)}
    return all(
        client in inside or _sums_many(client, nodes, same)
        for out in differentiated
        for client, _ in fgraph.clients.get(out, ())
    )


def _sums_many(
    node: Any, nodes: dict[Any, int], same: dict[Variable, Variable]
) -> bool:
    """Whether ``node`` adds up many parts of one stack, so that `join_sums` applies.

    Arguments:
        nodes: the nodes that are stacked, each with the number of its stack.
    """
    if not isinstance(getattr(node.op, "scalar_op", None), ps.Add):
        return False
    owners = [same.get(var, var).owner for var in node.inputs]
    counts = Counter(nodes[owner] for owner in owners if owner in nodes)
    return max(counts.values(), default=0) >= FEWEST


def _active(fgraph: FunctionGraph) -> set[Variable]:
    """The floats that depend on a float that the function takes."""
    active = {var for var in fgraph.inputs if _is_float(var)}
    for node in fgraph.toposort():
        if any(var in active for var in node.inputs):
            active.update(filter(_is_float, node.outputs))
    return active


def _is_float(var: Variable) -> bool:
    return str(getattr(var.type, "dtype", "")).startswith(("float", "complex"))


def shared_operands(node: Any) -> set[int] | None:
    """The operands that must be the same in a stack; ``None`` if ``node`` cannot be in
    one."""
    op = node.op
    if isinstance(op, RandomVariable):
        row = find_row(op)
        if row is None:
            return None
        static = {i + 2 for i in row.static_parameters(op)}
        fits = all(map(_is_small, [*node.inputs[2:], node.outputs[1]]))
        return {1, *static} if fits else None
    kinds = (Alloc, CAReduce, DimShuffle, Elemwise, ScalarFromTensor, TensorFromScalar)
    if not (
        isinstance(op, kinds)
        or (isinstance(op, MakeVector) and len(node.inputs) == 1)
        or stacked_check_of(node) is not None
    ):
        return None
    out = node.outputs[0]
    # Integers may fix shapes, which must be known before the call.
    if len(node.outputs) > 1 or out.type.dtype.startswith(("int", "uint")):
        return None
    return set() if all(map(_is_small, [*operands_of(node), out])) else None


def known_size(node: Any) -> tuple[int, ...] | None:
    """The size of a draw, if it is given as a variable and its type says what it is."""
    op = node.op
    if not isinstance(op, RandomVariable) or isinstance(node.inputs[1], Constant):
        return None
    shape = node.outputs[1].type.shape
    return tuple(shape[: len(shape) - op.ndim_supp])


def operands_of(node: Any) -> list[Variable]:
    """The operands that matter: the lengths of an Alloc follow from its type."""
    return node.inputs[:1] if isinstance(node.op, Alloc) else node.inputs


def stacked_check_of(node: Any) -> Any:
    """PyMC's check of parameters for a whole stack; ``None`` for any other node."""
    if "pymc" not in sys.modules:
        return None
    from jaxlink.dispatch.pymc.parameter_checks import stacked_check

    return stacked_check(node)


def _is_small(var: Variable) -> bool:
    if isinstance(var.type, ScalarType):
        return True
    if not isinstance(var.type, DenseTensorType) or None in var.type.shape:
        return False
    return bool(np.prod(var.type.shape) <= LARGEST) and not hasattr(var.type, "dims")


def _kind_of_constant(op: Any, var: Variable) -> Hashable:
    """Equal for constants that may be in one stack. Their types may differ, because
    PyTensor gives a Python number the narrowest type that holds it."""
    shape = getattr(var.type, "shape", ())
    if isinstance(op, _AFFINE):
        return shape
    if isinstance(op, RandomVariable):
        # XLA folds constants, and rounds differently when it does.
        return value_of(var)
    return np.dtype(var.type.dtype).kind, shape


def value_of(var: Variable) -> Hashable:
    """Equal for two shared operands if they are the same."""
    if isinstance(var, Constant):
        return var.type, var.signature()
    return var

"""Lower PyMC's symbolic distributions, before they are inlined.

Their graphs are enough for JAX, with two exceptions:

* An input may have no derivative, although the graph is differentiable: the weights of
  a mixture choose a component, and a rejection sampler stops at the first accepted
  draw. Such an input goes through an Op that raises an error when differentiated.
* A formula may fail in a tail. That distribution becomes one random variable with its
  own sampler (see `jaxlink.dispatch.pymc.table`).

Importing this module imports PyMC.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.mixture import _BaseMixtureRV
from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan
from pytensor.tensor.random.type import RandomType

from jaxlink.dispatch.pymc.table import SYMBOLIC, TRUNCATED
from jaxlink.ops.distributions import SymbolicDraw, WithoutDerivative
from jaxlink.rewrites.inner_graphs import map_inner_graphs
from jaxlink.values.types import nearest


def lower_distributions(fgraph: FunctionGraph) -> None:
    """Lower the symbolic distributions in ``fgraph`` and in its inner graphs."""
    for node in fgraph.toposort():
        new = _lowered(node)
        if new is not None:
            fgraph.replace_all(
                zip(node.outputs, new, strict=True), reason="lower_distributions"
            )


def _lowered(node: Any) -> Sequence[Variable] | None:
    """The outputs that replace those of ``node``, or ``None`` if it stays."""
    if _is_named(node.op):
        return _as_one_named_draw(node)
    base = nearest(type(node.op), SYMBOLIC)
    if base is not None:
        return _as_one_draw(node, base)
    is_truncated = isinstance(node.op, TruncatedRV)
    if is_truncated:
        base = nearest(type(node.op.base_rv_op), TRUNCATED)
        if base is not None:
            return _as_one_draw(node, base, truncated=True)
    op = map_inner_graphs(node.op, lower_distributions)
    inputs = list(node.inputs)
    if isinstance(op, _BaseMixtureRV):
        _guard(node, inputs, slice(1, 2), "its weights")
    elif is_truncated:
        lower, upper = inputs[-2:]
        loops = any(isinstance(inner.op, Scan) for inner in op.fgraph.apply_nodes)
        if loops:
            _guard(node, inputs, slice(None), "its parameters and bounds")
        draw, *rngs = op.make_node(*inputs).outputs
        if loops:
            # The loop gives up after some steps, with a draw out of bounds.
            found = (draw >= lower) & (draw <= upper)
        else:
            found = pt.le(lower, upper)
            # Rounding must not move a draw out of bounds.
            draw = pt.clip(draw, lower, upper).astype(draw.type.dtype)
        dtype = draw.type.dtype
        none = np.asarray(np.nan if dtype.startswith("float") else -1, dtype)
        return [pt.switch(found, draw, none), *rngs]
    if op is node.op and inputs == node.inputs:
        return None
    return op.make_node(*inputs).outputs


def _as_one_draw(node: Any, base: Any, truncated: bool = False) -> list[Variable]:
    rng, size, *parameters = node.inputs
    types = [out.type for out in node.outputs]
    (dtype,) = (t.dtype for t in types if not isinstance(t, RandomType))
    op = SymbolicDraw(_name(node.op), base, truncated, len(parameters), dtype)
    next_rng, draw = op.make_node(rng, size, *parameters).outputs
    return [next_rng if isinstance(t, RandomType) else draw for t in types]


def _as_one_named_draw(node: Any) -> list[Variable] | None:
    named, inner = node.op, node.op.core_op
    base = nearest(type(inner), SYMBOLIC)
    if base is None:
        return None
    dtype = node.outputs[1].type.dtype
    draw = SymbolicDraw(_name(inner), base, False, len(inner.ndims_params), dtype)
    op = type(named)(draw, named.core_dims, named.extra_dims, named.name)
    return op.make_node(*node.inputs).outputs


def _guard(node: Any, inputs: list[Variable], which: slice, of: str) -> None:
    """Make differentiation with respect to some inputs raise an error.

    Discrete draws need no guard: their derivative is zero, which is right.
    """
    dtypes = {getattr(out.type, "dtype", "") for out in node.outputs}
    if not any(dtype.startswith("float") for dtype in dtypes):
        return
    guard = WithoutDerivative(_name(node.op), of)
    for i, var in list(enumerate(inputs))[which]:
        dtype = getattr(var.type, "dtype", "")
        if dtype.startswith("float") and not isinstance(var, Constant):
            inputs[i] = guard(var)


def _is_named(op: Any) -> bool:
    """Whether ``op`` wraps a distribution to give it named dimensions.

    Importing PyTensor's xtensor package changes its registries, so we do not.
    """
    xtensor = sys.modules.get("pytensor.xtensor.vectorization")
    return xtensor is not None and isinstance(op, xtensor.XRV)


def _name(op: Any) -> str:
    """PyMC's name for the distribution."""
    return op._print_name[0]

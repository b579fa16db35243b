"""Ops around a graph, or about its gradient: loops, branches, checks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.conditional import ifelse
from pytensor.gradient import (
    DisconnectedGrad,
    GradClip,
    GradScale,
    UndefinedGrad,
    ZeroGrad,
)
from pytensor.graph.basic import Variable
from pytensor.printing import Print
from pytensor.raise_op import Assert, CheckAndRaise
from pytensor.scan.op import Scan, ScanInfo

from jaxlink.aesara.archive import damaged
from jaxlink.aesara.parts import Node, Rows, same

__all__ = ["ROWS"]


def _identity(node: Node) -> Variable:
    return node.inputs[0]


def _scan(node: Node) -> Sequence[Variable]:
    """The layout of operands is Aesara's still. One kind of output has a new name."""
    inner = node.op.subgraph
    fields = dict(node.op["info"])
    fields["n_untraced_sit_sot"] = fields.pop("n_shared_outs")
    fields.pop("strict", None)
    info = ScanInfo(**fields)
    counts = (info.n_seqs, info.n_nit_sot, info.n_untraced_sit_sot, info.n_non_seqs)
    if min(counts) < 0 or (info.n_inner_inputs, info.n_inner_outputs) != (
        len(inner.inputs),
        len(inner.outputs),
    ):
        raise damaged("a scan has other operands than it says")
    op = Scan(
        inner.inputs,
        inner.outputs,
        info,
        truncate_gradient=node.op["truncate_gradient"],
        name=node.op["name"],
    )
    return op.make_node(*node.inputs).outputs


def _if_else(node: Node) -> Sequence[Variable]:
    condition, *branches = node.inputs
    n = node.op["n_outs"]
    outputs: Any = ifelse(condition, branches[:n], branches[n:])
    return outputs


def _op_from_graph(node: Node) -> Sequence[Variable]:
    inner = node.op.subgraph
    name = node.op.props.get("name")
    op = OpFromGraph(
        inner.inputs,
        # Aesara adds what its shared variables could be updated to.
        inner.outputs[: len(node.types)],
        name=name if type(name) is str else None,
    )
    return op.make_node(*node.inputs).outputs


def _check(node: Node) -> Variable:
    """A check raises what Aesara's does, if that is one of Python's own exceptions."""
    kind, message = node.op.props.get("exc_type"), str(node.op["msg"])
    if node.op.name == "raise_op.Assert":
        return Assert(message)(*node.inputs)
    known = kind if isinstance(kind, type) else ValueError
    return CheckAndRaise(known, message)(*node.inputs)


def _parameter_check(node: Node) -> Variable:
    """AePPL's check of parameters: -inf, as PyMC's densities are."""
    x, *conditions = node.inputs
    checked = CheckAndRaise(ValueError, str(node.op["msg"]))(x, *conditions)
    return pt.switch(pt.all(conditions), checked, -np.inf)


def _print(node: Node) -> Variable:
    attrs = node.op["attrs"]
    plain = all(type(attr) is str for attr in attrs)
    return Print(node.op["message"], tuple(attrs) if plain else ("__str__",))(
        *node.inputs
    )


def _grad_clip(node: Node) -> Variable:
    bounds = (node.op["clip_lower_bound"], node.op["clip_upper_bound"])
    return GradClip(*bounds)(*node.inputs)


ROWS: Rows = {
    "scan.Scan": _scan,
    "ifelse.IfElse": _if_else,
    "compile.OpFromGraph": _op_from_graph,
    "compile.DeepCopyOp": _identity,
    "compile.ViewOp": _identity,
    "compile.OutputGuard": _identity,
    "compile.UpdatePlaceholder": _identity,
    "raise_op.Assert": _check,
    "raise_op.CheckAndRaise": _check,
    "aeppl.CheckParameterValue": _parameter_check,
    "aeppl.DiracDelta": _identity,
    "printing.Print": _print,
    "gradient.ConsiderConstant": same(ZeroGrad),
    "gradient.ZeroGrad": same(ZeroGrad),
    "gradient.DisconnectedGrad": same(DisconnectedGrad),
    "gradient.UndefinedGrad": same(UndefinedGrad),
    "gradient.GradClip": _grad_clip,
    "gradient.GradScale": same(GradScale, "multiplier"),
}

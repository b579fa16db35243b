"""PyMC's parameter check for stacked graphs. Importing this module imports PyMC."""

from typing import Any

from pymc.logprob.utils import CheckParameterValue
from pytensor.graph.basic import Apply


class StackedCheck(CheckParameterValue):
    """The checks of a stack. A condition is a scalar, or a vector whose element *i* is
    about element *i* of the value."""

    __props__ = CheckParameterValue.__props__

    def make_node(self, value: Any, *conditions: Any) -> Apply:
        return Apply(self, [value, *conditions], [value.type()])

    def do_constant_folding(self, fgraph: Any, node: Any) -> bool:
        del fgraph, node
        return False


def stacked_check(node: Any) -> StackedCheck | None:
    """The check of ``node`` for a whole stack, if there is one: a check that -inf can
    replace, of a float."""
    op = node.op
    if type(op) is not CheckParameterValue or not op.can_be_replaced_by_ninf:
        return None
    if not node.outputs[0].type.dtype.startswith("float"):
        return None
    return StackedCheck(op.msg, op.can_be_replaced_by_ninf)

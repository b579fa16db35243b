"""`Decide`: one decision chooses a value and its cotangent."""

from typing import Any

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op


class Decide(Op):
    """The first operand, computed once. If there are other operands, it must be
    computed once only when one of them is differentiated."""

    __props__ = ()

    def make_node(self, decision: Any, *differentiated: Any) -> Apply:
        return Apply(self, [decision, *differentiated], [decision.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0]

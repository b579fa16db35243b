"""`KnownRange`: indices whose values are arguments, but whose range is known."""

from typing import Any

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op


class KnownRange(Op):
    """Its operand, an array of integers from ``low`` to ``high``. A rewrite inserts it
    when it turns a constant index into an input, so that bounds can still be checked
    before the call."""

    __props__ = ("low", "high")
    view_map = {0: [0]}  # noqa: RUF012 (PyTensor's form)

    def __init__(self, low: int, high: int):
        self.low, self.high = low, high

    def make_node(self, index: Any) -> Apply:
        return Apply(self, [index], [index.type(name=index.name)])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0]

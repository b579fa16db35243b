"""`Required`: an operand that must be known before the call, and the reason."""

from typing import Any

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op


class Required(Op):
    """Its operand, with the reason why the reader needs the value before the call. A
    rewrite inserts it, and the error for an unknown value quotes it."""

    __props__ = ("reason",)
    view_map = {0: [0]}  # noqa: RUF012 (PyTensor's form)

    def __init__(self, reason: str):
        self.reason = reason

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type(name=x.name)])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0]


def without_reason(var: Variable) -> tuple[Variable, str | None]:
    """``var`` without `Required`, and the reason that one of them gave, if any."""
    reason = None
    while var.owner is not None and isinstance(var.owner.op, Required):
        reason = reason or var.owner.op.reason
        var = var.owner.inputs[0]
    return var, reason

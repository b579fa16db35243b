"""`Loop`: a Scan that keeps only the part of its states that is read."""

from collections.abc import Sequence
from typing import Any, Literal

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.scan.op import Scan
from pytensor.tensor.type import lscalar

# The part of a traced output that is kept: PyTensor's whole buffer; initial values and
# all steps; the steps alone; or this many rows at the end of initial values and steps.
Keep = Literal["buffer", "all", "steps"] | int


class Loop(Op):
    """A Scan that keeps only the part of its outputs that is read.

    It has the operands of ``scan``, except that a state is passed as its initial values
    unless ``keep`` is ``"buffer"``. Its last output is the number of steps made.

    Arguments:
        scan: the Scan, with its inner graph already rewritten.
        keep: the part kept of each mit-sot, sit-sot and nit-sot.
        least: the number of steps needed before every row that is read exists.
        exact: whether the number of rows read depends on the number of steps.
    """

    __props__ = ("exact", "keep", "least", "scan")

    def __init__(self, scan: Scan, keep: Sequence[Keep], least: int, exact: bool):
        self.scan, self.keep, self.least = scan, tuple(keep), least
        self.exact = exact

    def make_node(self, *inputs: Variable) -> Apply:
        outputs = [type_() for type_ in self.scan.output_types]
        return Apply(self, list(inputs), [*outputs, lscalar()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("Loop runs only in JAX")

    def __str__(self) -> str:
        kind = "While" if self.scan.info.as_while else "Loop"
        return f"{kind}{{{self.scan.name}, keep={list(self.keep)}}}"


def unknown_length(scan: Scan) -> str:
    """The error text for reading all steps of a Scan that stops on a condition."""
    return (
        f"`{scan}` stops on a condition (until), so its number of steps is known only "
        "after the loop. (PyTensor's own gradient reads all of them: use jax.grad "
        "instead.) Reduce the steps (out.sum()), read single ones at the end "
        "(out[-1], out[-2]), run a fixed number of steps and keep the state "
        "(pt.switch) once the condition holds, or compile with "
        "pytensor.function(..., mode=jaxlink.MODE), which counts the steps first."
    )

"""`Loop`: a Scan that keeps no more of its states than is read."""

from collections.abc import Sequence
from typing import Any, Literal

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.scan.op import Scan
from pytensor.tensor.type import lscalar

# What a traced output is: all of its buffer as PyTensor leaves it, initial values and
# all steps, the steps alone, or so many rows at the end of initial values and steps.
Keep = Literal["buffer", "all", "steps"] | int


class Loop(Op):
    """A Scan that keeps what is read of it.

    It has the operands of ``scan``, but those states that ``keep`` does not want as a
    buffer come as their initial values alone. Its last output is the number of steps
    that were made.

    Arguments:
        scan: the Scan, whose inner graph is rewritten already.
        keep: what is kept of each mit-sot, sit-sot and nit-sot.
        least: how many steps must be made for what is read to exist.
        exact: the number of rows that is read depends on the number of steps.
    """

    __props__ = ("exact", "keep", "least", "scan")

    def __init__(self, scan: Scan, keep: Sequence[Keep], least: int, exact: bool):
        self.scan, self.keep, self.least = scan, tuple(keep), least
        self.exact = exact

    def make_node(self, *inputs: Variable) -> Apply:
        outputs = [type_() for type_ in self.scan.output_types]
        return Apply(self, list(inputs), [*outputs, lscalar()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("Loop has a meaning in JAX only")

    def __str__(self) -> str:
        kind = "While" if self.scan.info.as_while else "Loop"
        return f"{kind}{{{self.scan.name}, keep={list(self.keep)}}}"


def unknown_length(scan: Scan) -> str:
    """What to do where all steps of a Scan are wanted that stops on a condition."""
    return (
        f"`{scan}` stops on a condition (until), and how many steps it makes is known "
        "only after the loop. (PyTensor's own gradient reads all of them: use "
        "jax.grad.) Reduce the steps (out.sum()), read single ones at the end "
        "(out[-1], out[-2]), run a fixed number of steps and keep the state "
        "(pt.switch) once the condition holds, or compile with "
        "pytensor.function(..., mode=jaxlink.MODE), which counts the steps first."
    )

"""Where an array attains its extremum, for the derivative."""

from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.elemwise import CAReduce

from jaxlink.values.evaluate import evaluate


class Attained(Op):
    """Where an operand attains the extremum that ``reduction`` computes."""

    __props__ = ("reduction",)

    def __init__(self, reduction: CAReduce):
        self.reduction = reduction

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [x], [x.type.clone(dtype="bool")()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        (x,) = inputs
        (out,) = evaluate(self.reduction.make_node(*node.inputs), [x])
        axis = self.reduction.axis
        over = tuple(range(x.ndim)) if axis is None else axis
        output_storage[0][0] = np.asarray(x == np.expand_dims(out, over))


class ReadAttained(Op):
    """The first operand's maximum or minimum. The second, an `Attained`, chooses its
    derivative."""

    __props__ = ("reduction",)

    def __init__(self, reduction: CAReduce):
        self.reduction = reduction

    def make_node(self, x: Any, attained: Any) -> Apply:
        return Apply(self, [x, attained], [self.reduction(x).type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        reduction = self.reduction.make_node(node.inputs[0])
        (output_storage[0][0],) = evaluate(reduction, inputs[:1])

"""Ops of stacked graphs (see `jaxlink.rewrites.stacking`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import random_generator_type
from pytensor.tensor.type import TensorType


def _stacked_type(part: Any, count: int) -> TensorType:
    return TensorType(part.dtype, (count, *part.shape))


class Stack(Op):
    """Tensors of one type, along a new first axis."""

    __props__ = ()

    def make_node(self, *parts: Variable) -> Apply:
        return Apply(self, list(parts), [_stacked_type(parts[0].type, len(parts))()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = np.stack(inputs)


class Whole(ViewOp):
    """A stack that is computed before parts are taken out of it. Otherwise XLA would
    compile a program for each part."""


class Part(Op):
    """The element of a stack with this index."""

    __props__ = ("index",)

    def __init__(self, index: int):
        self.index = index

    def make_node(self, stack: Any) -> Apply:
        out = TensorType(stack.type.dtype, stack.type.shape[1:])()
        return Apply(self, [stack], [out])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = np.asarray(inputs[0][self.index])


class StackedDraws(Op):
    """Draws of one random variable along several random generators.

    The inputs are the generators, the size, and the parameters. The outputs are the
    next generators, and the draws along a new first axis. ``mapped[i]`` says whether
    parameter *i* has such an axis too.
    """

    __props__ = ("core_op", "count", "mapped", "size_type", "core_types", "out_type")

    def __init__(self, core: Any, count: int, mapped: Sequence[bool]):
        self.core_op: RandomVariable = core.op
        self.count, self.mapped = count, tuple(mapped)
        _, size, *parameters = core.inputs
        self.size_type = size.type
        self.core_types = tuple(var.type for var in parameters)
        self.out_type = core.outputs[1].type

    def make_node(self, *inputs: Variable) -> Apply:
        streams = [var.type() for var in inputs[: self.count]]
        draws = _stacked_type(self.out_type, self.count)()
        return Apply(self, list(inputs), [*streams, draws])

    def core_node(self) -> Apply:
        """The node of one draw."""
        parameters = [type_() for type_ in self.core_types]
        rng = random_generator_type()
        outs = [random_generator_type(), self.out_type()]
        return Apply(self.core_op, [rng, self.size_type(), *parameters], outs)

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("StackedDraws runs only in JAX")

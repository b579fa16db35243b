"""Streams of keys in a graph: where they start, and how far they have moved."""

from collections.abc import Iterable, Sequence
from typing import Any

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.type import Type
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType


class PRNGKeyType(Type):
    """The type of the function's key in the rewritten graph: one JAX PRNG key."""

    def filter(
        self, data: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> Any:
        del data, strict, allow_downcast
        raise TypeError("a PRNG key has a value only in JAX, not in PyTensor")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "PRNG key"


class RootStreams(Op):
    """The random generators of a function, from its key. Output *i* is root *i*.

    ``draws[i]`` is the number of draws along root *i* that the graph fixes; their keys
    are computed in one batch. ``standard[i]`` has an entry for each of the first of
    them: ``None``, or the Op, the dtype and the shape of a draw whose standard draw can
    be made with the others. The shape may be the index of an operand that holds it.
    ``types[i]`` is the generator's PyTensor type. The operands are the key, and shapes.
    """

    __props__ = ("draws", "standard", "types")

    def __init__(
        self,
        types: Sequence[RandomType],
        draws: Sequence[int] | None = None,
        standard: Sequence[tuple[Any, ...]] | None = None,
    ):
        self.types = tuple(types)
        self.draws = tuple(draws or (0,) * len(self.types))
        self.standard = tuple(standard or ((),) * len(self.types))

    def make_node(self, *inputs: Variable) -> Apply:
        return Apply(self, list(inputs), [type_() for type_ in self.types])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("RootStreams runs only in JAX")

    def __str__(self) -> str:
        return f"RootStreams{{draws={self.draws}}}"


class Streams(Op):
    """The streams that start at the raw keys in a matrix, one key per row."""

    __props__ = ("types",)

    def __init__(self, types: Iterable[RandomType]):
        self.types = tuple(types)

    def make_node(self, *inputs: Variable) -> Apply:
        return Apply(self, list(inputs), [type_() for type_ in self.types])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("Streams runs only in JAX")


class StreamStates(Op):
    """The state of streams, one row each: the two words of the key, and the number of
    draws made."""

    __props__ = ()

    def make_node(self, *streams: Variable) -> Apply:
        return Apply(self, list(streams), [TensorType("uint32", (len(streams), 3))()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("StreamStates runs only in JAX")

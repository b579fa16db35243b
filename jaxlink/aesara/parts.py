"""The parts of an archive, and the conversion of one node.

A part is an Op or a graph, and refers only to parts before it. So reading is a loop,
and a file cannot hold a cycle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.type import Type

from jaxlink.aesara.archive import damaged
from jaxlink.aesara.values import Unreadable

__all__ = ["Conversion", "Node", "OldOp", "Rows", "Subgraph", "area_name", "same"]


def area_name(qualified: str) -> str:
    """``tensor.Sum`` for ``aesara.tensor.math.Sum``: modules moved between versions."""
    package, *modules, name = qualified.split(".")
    if package not in ("aesara", "aeppl") or not modules:
        return qualified
    if modules[:2] == ["tensor", "random"]:
        return f"random.{name}"
    return f"{modules[0] if package == 'aesara' else package}.{name}"


@dataclass(frozen=True, eq=False)
class Subgraph:
    """The graph inside an Op, rebuilt."""

    inputs: list[Variable]
    outputs: list[Variable]


@dataclass(frozen=True, eq=False)
class OldOp:
    """One of Aesara's Ops.

    Attributes:
        name: its class, with the area that it is from: ``tensor.Sum``.
        bases: the same names of the classes that it derives from.
        props: what distinguishes it from others of its class, by name.
        graph: the graph inside it, if it has one.
    """

    name: str
    bases: tuple[str, ...]
    props: Mapping[str, Any]
    graph: Subgraph | None

    def __getitem__(self, name: str) -> Any:
        value = self.props.get(name, Unreadable("missing"))
        if isinstance(value, Unreadable):
            raise damaged(f"`{self.name}` has no `{name}`")
        return value

    @property
    def subgraph(self) -> Subgraph:
        if self.graph is None:
            raise damaged(f"`{self.name}` has no inner graph")
        return self.graph


@dataclass(frozen=True, eq=False)
class Node:
    """One node, whose inputs are PyTensor's variables already.

    Attributes:
        op: its Op.
        inputs: what it is applied to.
        types: the types of the outputs that Aesara gave it.
    """

    op: OldOp
    inputs: list[Any]
    types: list[Type]


# The outputs of a node in PyTensor.
Conversion = Callable[[Node], Variable | Sequence[Variable]]
Rows = dict[str, Conversion]


def same(op_class: Callable[..., Any], *props: str, **fixed: Any) -> Conversion:
    """The conversion to an Op with the same inputs, and with properties ``props``."""

    def convert(node: Node) -> Sequence[Variable]:
        values = {name: node.op[name] for name in props}
        return op_class(**values, **fixed).make_node(*node.inputs).outputs

    return convert

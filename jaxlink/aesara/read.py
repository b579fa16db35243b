"""`from_aesara`: a graph of Aesara's as a graph of PyTensor's."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.type import Type
from pytensor.tensor.type import TensorType

from jaxlink.aesara.archive import Archive, damaged, open_archive
from jaxlink.aesara.conversions import find_conversion, why_unsupported
from jaxlink.aesara.parts import Conversion, Node, OldOp, Subgraph, area_name
from jaxlink.aesara.values import read_type, read_value
from jaxlink.errors import AesaraError

__all__ = ["from_aesara"]

# Parts within parts: no graph that anybody wrote has as many.
_DEEPEST = 50


def from_aesara(path: str | PathLike[str]) -> tuple[list[Variable], Any]:
    """Read a graph that ``jaxlink/aesara_export.py`` wrote next to Aesara.

    Arguments:
        path: the file.

    Returns:
        The inputs, and the outputs as they were exported: a variable, a list, a tuple
        or a dict of variables. They are PyTensor's, with Aesara's names, dtypes and
        broadcast patterns. Shared variables have the values that they had, and the
        default updates.

    Raises:
        AesaraError: the file is no such archive, is damaged, or is too new. Or its
            graph has Ops without a conversion: the message lists all of them.

    Example:
        >>> import jaxlink
        >>> inputs, logp = jaxlink.from_aesara("tests/data/aesara/horseshoe.aesara")
        >>> log_density = jaxlink.function(inputs, logp)
    """
    archive = open_archive(path)
    try:
        return _Reader(archive).read()
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        if isinstance(error, AesaraError):
            raise
        raise damaged(f"{type(error).__name__}: {error}") from error


class _Reader:
    """Rebuilds the parts of an archive in their order."""

    def __init__(self, archive: Archive):
        self._archive = archive
        self._parts: list[OldOp | Subgraph] = []
        self._depths: list[int] = []
        self._deepest = 0  # of the parts that the present one refers to

    def read(self) -> tuple[list[Variable], Any]:
        """The inputs and outputs of the last part, which is the whole graph."""
        records = self._archive.document["parts"]
        _refuse_unsupported(records)
        graph, names = None, []
        for record in records:
            self._deepest = 0
            if record["part"] == "op":
                graph = None
                self._parts.append(self._old_op(record))
            else:
                graph, names = self._graph(record), record["names"]
                self._parts.append(graph)
            self._depths.append(self._deepest + 1)
        if graph is None:
            raise damaged("it has no graph")
        return graph.inputs, self._packed(graph.outputs, names)

    def _packed(self, outputs: list[Variable], names: Any) -> Any:
        kind = self._archive.document["outputs"]
        if kind == "dict":
            return dict(zip(map(str, names), outputs, strict=True))
        if kind == "variable":
            (output,) = outputs
            return output
        return tuple(outputs) if kind == "tuple" else outputs

    # --- what parts and values refer to -----------------------------------------------

    def array(self, number: Any) -> np.ndarray:
        """An array by its number."""
        return self._archive.array(number)

    def op(self, number: Any) -> OldOp:
        """An Op by its number."""
        return self._part(number, OldOp)

    def _part[T: OldOp | Subgraph](self, number: Any, kind: type[T]) -> T:
        if type(number) is not int or not 0 <= number < len(self._parts):
            raise damaged(f"part {len(self._parts)} refers to part {number!r}")
        part = self._parts[number]
        if not isinstance(part, kind):
            raise damaged(f"part {number} is not what part {len(self._parts)} needs")
        self._deepest = max(self._deepest, self._depths[number])
        if self._deepest > _DEEPEST:
            raise damaged(f"its graphs are nested more than {_DEEPEST} deep")
        return part

    # --- Ops and graphs ---------------------------------------------------------------

    def _old_op(self, record: Mapping[str, Any]) -> OldOp:
        inner = record.get("graph")
        return OldOp(
            name=area_name(record["classes"][0]),
            bases=tuple(area_name(name) for name in record["classes"][1:]),
            props={k: read_value(self, v) for k, v in record["props"].items()},
            graph=None if inner is None else self._part(inner, Subgraph),
        )

    def _graph(self, record: Mapping[str, Any]) -> Subgraph:
        variables: dict[int, Variable] = {}
        inputs = [self._leaf(leaf) for leaf in record["inputs"]]
        for leaf in [*inputs, *map(self._leaf, record["leaves"])]:
            variables[len(variables)] = leaf
        for node in record["nodes"]:
            self._compute(node, variables)
        with warnings.catch_warnings():
            # PyTensor deprecates them, and functions still follow them.
            warnings.filterwarnings("ignore", "Setting default_update is deprecated")
            for shared, update in record["updates"]:
                variables[shared].default_update = variables[update]
        outputs = [variables[number] for number in record["outputs"]]
        return Subgraph(inputs, outputs)

    def _leaf(self, record: Mapping[str, Any]) -> Variable:
        type_, name = read_type(record["type"]), _name(record["name"])
        if "shared" in record:
            return _shared(type_, read_value(self, record["shared"]), name)
        if "constant" in record:
            return _constant(type_, read_value(self, record["constant"]), name)
        return type_(name)

    def _compute(
        self, record: Mapping[str, Any], variables: dict[int, Variable]
    ) -> None:
        """Rebuild a node, and add its outputs to ``variables``."""
        op = self.op(record["op"])
        conversion = find_conversion((op.name, *op.bases))
        assert conversion is not None, op.name  # the others are refused
        inputs = [variables[number] for number in record["inputs"]]
        types = [read_type(type_) for _, type_, _ in record["outputs"]]
        outputs = _converted(conversion, Node(op, inputs, types))
        for (number, _, name), output in zip(record["outputs"], outputs, strict=True):
            if number in variables:
                continue  # the graph is cut here
            variables[number] = output
            if output.name is None and output not in inputs:
                output.name = _name(name)


def _refuse_unsupported(records: Sequence[Mapping[str, Any]]) -> None:
    """Name all Ops that have no conversion, before anything is built."""
    reasons = {}
    for record in records:
        if record["part"] == "op":
            classes = list(map(str, record["classes"]))
            names = list(map(area_name, classes))
            if find_conversion(names) is None:
                reasons[classes[0]] = why_unsupported(names[0])
    if reasons:
        lines = "".join(f"\n- {name}: {why}" for name, why in reasons.items())
        raise AesaraError(
            f"jaxlink cannot convert {len(reasons)} of this graph's Ops to PyTensor:"
            f"{lines}",
            list(reasons),
        )


def _name(record: Any) -> str | None:
    return None if record is None else str(record)


def _converted(conversion: Conversion, node: Node) -> list[Variable]:
    """The node in PyTensor, with the dtypes and broadcast patterns of Aesara."""
    try:
        made = conversion(node)
    except AesaraError:
        raise
    except Exception as error:
        operands = ", ".join(str(variable.type) for variable in node.inputs)
        raise AesaraError(
            f"PyTensor refuses `{node.op.name}` of ({operands}): {error}"
        ) from error
    outputs = [made] if isinstance(made, Variable) else list(made)
    return [
        _as_type(output, type_, node.op)
        for output, type_ in zip(outputs, node.types, strict=True)
    ]


def _as_type(output: Variable, type_: Type, op: OldOp) -> Variable:
    if not isinstance(type_, TensorType):
        return output
    if not isinstance(output.type, TensorType) or output.type.ndim != type_.ndim:
        raise AesaraError(f"`{op.name}` has the type {output.type}, and had {type_}.")
    if output.type.dtype != type_.dtype:
        output = pt.cast(output, type_.dtype)
    shape = output.type.shape
    lost = [a == 1 and b is None for a, b in zip(type_.shape, shape, strict=True)]
    if any(lost):
        output = pt.specify_shape(output, [1 if one else None for one in lost])
    return output


def _constant(type_: Type, value: Any, name: str | None) -> Variable:
    return type_.make_constant(value, name=name)


def _shared(type_: Type, value: Any, name: str | None) -> Variable:
    if type(type_) is TensorType:
        return pytensor.shared(value, name=name, shape=type_.shape)
    return pytensor.shared(value, name=name)

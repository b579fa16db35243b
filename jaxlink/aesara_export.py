"""Write an Aesara graph to a file that `jaxlink.from_aesara` reads.

Aesara needs NumPy 1 and Python 3.11 or older, jaxlink needs NumPy 2 and Python 3.12:
no environment holds both. This file needs neither jaxlink nor anything but Aesara
(2.8 or 2.9), so copy it next to your Aesara code and run it there, in Python 3.8 to
3.11::

    from aesara_export import export

    export("model.aesara", [x, y], {"logp": logp})

or, for a function without arguments that returns ``(inputs, outputs)``::

    python aesara_export.py my_models.py:horseshoe model.aesara

The file is a zip archive of one JSON document and ``.npy`` arrays, none of them
compressed. Nothing in it is a pickle.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import io
import json
import math
import os
import platform
import sys
import zipfile
from typing import Any

import numpy as np

__all__ = ["export"]

# Raised when a reader of older archives could not read the new ones.
FORMAT = 1
# What Aesara leaves out of an Op's ``__props__``, and what says nothing about values.
MORE_PROPS = {
    "Cast": ("o_type",),
    "DenseFromSparse": ("sparse_grad",),
    "GradClip": ("clip_lower_bound", "clip_upper_bound"),
    "GradScale": ("multiplier",),
    "InRange": ("openlow", "openhi"),
    "OpFromGraph": ("name",),
    "Prod": ("no_zeros_in_input",),
    "Prepend_scalar_constant_to_each_row": ("val",),
    "Scan": ("info", "truncate_gradient", "name"),
    "SparseFromDense": ("format",),
    "SpSum": ("structured",),
    "TrueDot": ("grad_preserves_dense",),
}
NO_PROPS = ("inplace_pattern", "inplace", "input_broadcastable", "global_fn")
# Of all archives: they do not say when they were written.
DATE = (1980, 1, 1, 0, 0, 0)


def export(path: Any, inputs: Any, outputs: Any) -> None:
    """Write the graph from ``inputs`` to ``outputs`` to the file ``path``.

    Constants and the values of shared variables are written too, and so are the
    updates that shared variables have by default, such as those of a `RandomStream`.

    Args:
        path: the file.
        inputs: a list of variables. The graph is cut at these.
        outputs: a variable, a list of them, or a dict of them by name.

    Raises:
        TypeError: ``inputs`` or ``outputs`` are something else.
        ValueError: the outputs depend on variables that are no inputs, or on a value
            that cannot be written.
    """
    inputs = list(inputs)
    kind, names, listed = _read_outputs(outputs)
    for variable in [*inputs, *listed]:
        if not hasattr(variable, "owner") or not hasattr(variable, "type"):
            raise TypeError(f"{variable!r} is not an Aesara variable.")
    writer = _Writer()
    writer.graph(inputs, listed, names=names, outer=True)
    document = {
        "format": FORMAT,
        "versions": _versions(),
        "outputs": kind,
        "parts": writer.parts,
    }
    content = _packed(document, writer.arrays)
    with open(path, "wb") as file:
        file.write(content)


def _read_outputs(outputs: Any) -> tuple[str, Any, list[Any]]:
    if isinstance(outputs, dict):
        return "dict", [str(name) for name in outputs], list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        return type(outputs).__name__, None, list(outputs)
    return "variable", None, [outputs]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("aesara", "aeppl", "scipy"):
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = str(getattr(module, "__version__", "unknown"))
    return versions


def _packed(document: Any, arrays: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # NaN and infinity are written as texts: they are not JSON.
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        archive.writestr(zipfile.ZipInfo("graph.json", DATE), text.encode())
        for i, array in enumerate(arrays):
            member, name = io.BytesIO(), "arrays/%d.npy" % i
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name, DATE), member.getvalue())
    return file.getvalue()


class _Writer:
    """Collects the parts of an archive.

    A part is an Op or a graph. It refers only to parts before it, by their numbers, so
    the parts cannot form a cycle.
    """

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.arrays: list[np.ndarray] = []
        self._array_numbers: dict[Any, int] = {}
        self._op_numbers: dict[int, int] = {}
        self._op_texts: dict[str, int] = {}

    # --- graphs -----------------------------------------------------------------------

    def graph(
        self,
        inputs: list[Any],
        outputs: list[Any],
        names: Any = None,
        outer: bool = False,
    ) -> int:
        """Write a graph, and return its number.

        Its variables are numbered: inputs first, then constants and shared variables,
        then the outputs of each node, in the order in which they can be computed.
        """
        if len(set(map(id, inputs))) < len(inputs):
            raise ValueError("an input is listed twice.")
        leaves, nodes, updates = _sorted(inputs, outputs)
        free = [
            v for v in leaves if not hasattr(v, "data") and not hasattr(v, "get_value")
        ]
        if free or (not outer and any(hasattr(v, "get_value") for v in leaves)):
            raise ValueError(
                "the outputs depend on variables that are not among the inputs: "
                "%s. Add them to the inputs." % ", ".join(map(str, free or leaves))
            )
        numbers = {id(v): i for i, v in enumerate([*inputs, *leaves])}
        records = []
        for node in nodes:
            for variable in node.outputs:
                # An output that is an input of the graph is cut off.
                numbers.setdefault(id(variable), len(numbers))
            records.append(
                {
                    "op": self.op(node.op),
                    "inputs": [numbers[id(v)] for v in node.inputs],
                    "outputs": [
                        [numbers[id(v)], self.type(v.type), v.name]
                        for v in node.outputs
                    ],
                }
            )
        part = {
            "part": "graph",
            "inputs": [{"type": self.type(v.type), "name": v.name} for v in inputs],
            "leaves": [self._leaf(v) for v in leaves],
            "nodes": records,
            "outputs": [numbers[id(v)] for v in outputs],
            "names": names or [v.name for v in outputs],
            "updates": [[numbers[id(a)], numbers[id(b)]] for a, b in updates],
        }
        self.parts.append(part)
        return len(self.parts) - 1

    def _leaf(self, variable: Any) -> dict[str, Any]:
        record = {"type": self.type(variable.type), "name": variable.name}
        if hasattr(variable, "get_value"):
            return {**record, "shared": self.value(variable.get_value(borrow=True))}
        return {**record, "constant": self.data(variable)}

    # --- Ops --------------------------------------------------------------------------

    def op(self, op: Any) -> int:
        """Write an Op, and return its number."""
        if id(op) not in self._op_numbers:
            part: dict[str, Any] = {
                "part": "op",
                "classes": [
                    _name(c) for c in type(op).__mro__ if hasattr(c, "make_node")
                ],
                "props": self._props(op),
            }
            fgraph = getattr(op, "fgraph", None)
            if fgraph is not None:
                part["graph"] = self.graph(list(fgraph.inputs), list(fgraph.outputs))
            # Equal Ops are written once.
            text = json.dumps(part)
            if text not in self._op_texts:
                self.parts.append(part)
                self._op_texts[text] = len(self.parts) - 1
            self._op_numbers[id(op)] = self._op_texts[text]
        return self._op_numbers[id(op)]

    def _props(self, op: Any) -> dict[str, Any]:
        """What distinguishes an Op from others of its class."""
        class_ = type(op)
        names = [*(getattr(class_, "__props__", None) or ())]
        for base in class_.__mro__:
            names += MORE_PROPS.get(base.__name__, ())
        values = {name: getattr(op, name, None) for name in names}
        return {k: self.value(v) for k, v in values.items() if k not in NO_PROPS}

    # --- types ------------------------------------------------------------------------

    def type(self, type_: Any) -> dict[str, Any]:
        """A variable's type. Its kind is the class's name in the newest Aesara."""
        kind = {"Scalar": "ScalarType"}.get(type(type_).__name__, type(type_).__name__)
        record: dict[str, Any] = {"kind": kind}
        if hasattr(type_, "dtype"):
            record["dtype"] = str(type_.dtype)
        if kind in ("TensorType", "SparseTensorType"):
            record["shape"] = _static_shape(type_)
        if kind == "SparseTensorType":
            record["format"] = type_.format
        if kind == "TypedListType":
            record["item"] = self.type(type_.ttype)
        return record

    # --- values -----------------------------------------------------------------------

    def value(self, value: Any) -> Any:
        """A value in JSON's types: plain data, an array, an Op, a type or a generator.

        What cannot be written becomes ``{"other": its class}``, which the reader only
        refuses where it needs it.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, np.integer, np.bool_)):
            return value.item() if isinstance(value, np.generic) else int(value)
        if isinstance(value, float) and not isinstance(value, np.generic):
            return value if math.isfinite(value) else {"float": repr(value)}
        if hasattr(value, "owner") and hasattr(value, "data"):
            return self.data(value)
        for kinds, write in self._writers():
            if isinstance(value, kinds):
                return write(value)
        if hasattr(value, "indptr"):
            return {"sparse": self._sparse(value)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self.value(fields)
        if hasattr(value, "make_node"):
            return {"op": self.op(value)}
        if isinstance(value, type) or hasattr(value, "__qualname__"):
            return {"class": _name(value)}
        if hasattr(value, "filter") and hasattr(value, "is_super"):
            return {"type": self.type(value)}
        return {"other": _name(type(value))}

    def data(self, constant: Any) -> Any:
        """The value of a constant, with its dtype."""
        if isinstance(constant.data, np.generic):
            return {"array": self.array(constant.data)}
        return self.value(constant.data)

    def _writers(self) -> list[Any]:
        def every(values: Any) -> list[Any]:
            return [self.value(v) for v in values]

        return [
            (tuple, lambda v: {"tuple": every(v)}),
            (list, lambda v: {"list": every(v)}),
            (dict, lambda v: {"dict": [every(item) for item in v.items()]}),
            (slice, lambda v: {"slice": every((v.start, v.stop, v.step))}),
            (np.dtype, lambda v: v.name),
            ((np.ndarray, np.generic), lambda v: {"array": self.array(v)}),
            (np.random.Generator, lambda v: self._generator(v.bit_generator.state)),
            (
                np.random.RandomState,
                lambda v: self._generator(v.get_state(legacy=False)),
            ),
        ]

    def array(self, value: Any) -> int:
        """Write an array, and return its number. Equal arrays are written once."""
        array = np.asarray(value, order="C")
        if array.dtype.hasobject:
            raise ValueError("an array of Python objects cannot be written: %r" % array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._array_numbers:
            self._array_numbers[key] = len(self.arrays)
            self.arrays.append(array)
        return self._array_numbers[key]

    def _sparse(self, matrix: Any) -> dict[str, Any]:
        return {
            "format": matrix.format,
            "shape": [int(n) for n in matrix.shape],
            "data": self.array(matrix.data),
            "indices": self.array(matrix.indices),
            "indptr": self.array(matrix.indptr),
        }

    def _generator(self, state: Any) -> dict[str, Any]:
        return {"generator": self.value(state)}


def _sorted(inputs: list[Any], outputs: list[Any]) -> Any:
    """The leaves and nodes between ``inputs`` and ``outputs``, in the order in which
    they can be computed, and the default updates of the shared variables."""
    cut = set(map(id, inputs))
    done: set[int] = set()
    leaves: list[Any] = []
    nodes: list[Any] = []
    updates: list[Any] = []
    # A variable or node, and whether what it needs was visited.
    stack = [(v, False) for v in reversed(outputs)]
    while stack:
        item, ready = stack.pop()
        if id(item) in done or id(item) in cut:
            continue
        needs = item.inputs if hasattr(item, "op") else [item.owner]
        needs = [need for need in needs if need is not None]
        if needs and not ready:
            stack.append((item, True))
            stack.extend((need, False) for need in reversed(needs))
            continue
        done.add(id(item))
        if hasattr(item, "op"):
            nodes.append(item)
        elif item.owner is None:
            leaves.append(item)
            update = getattr(item, "default_update", None)
            if update is not None:
                updates.append((item, update))
                stack.insert(0, (update, False))
    return leaves, nodes, updates


def _name(value: Any) -> str:
    return "%s.%s" % (value.__module__, value.__qualname__)


def _static_shape(type_: Any) -> list[Any]:
    """The lengths that the type fixes. Older types only say where they are 1."""
    shape = getattr(type_, "shape", None)
    if shape is None:
        shape = [1 if one else None for one in type_.broadcastable]
    return [None if n is None else int(n) for n in shape]


# --- command line ---------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write an Aesara graph to a file that jaxlink.from_aesara reads."
    )
    parser.add_argument(
        "graph",
        help="module:name or file.py:name of a pair (inputs, outputs), or of a "
        "function without arguments that returns it",
    )
    parser.add_argument("path", help="the file to write, such as model.aesara")
    arguments = parser.parse_args()
    where, colon, name = arguments.graph.rpartition(":")
    if not colon:
        parser.error("graph must be module:name or file.py:name")
    found = getattr(_module(where), name)
    inputs, outputs = found() if callable(found) else found
    export(arguments.path, inputs, outputs)


def _module(where: str) -> Any:
    folder, file = os.path.split(where)
    # In place of this file's folder: jaxlink's has another package named aesara.
    sys.path[0] = os.path.abspath(folder)
    return importlib.import_module(file[:-3] if file.endswith(".py") else file)


if __name__ == "__main__":
    main()

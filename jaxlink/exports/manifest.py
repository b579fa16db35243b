"""What an exported function is: its manifest, and the archive that holds all of it.

The archive is a zip file: ``manifest.json``, the program as ``jax.export`` serializes
it, and the plain bytes of each array of data. Nothing in it is executed on reading, and
nothing is unpickled.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlink.errors import ExportError
from jaxlink.exports.trees import Leaf, Tree, from_json, leaves, to_json

__all__ = ["FORMAT", "Manifest", "pack", "unpack"]

# Raised when a reader of older archives could not read the new ones.
FORMAT = 1
_MANIFEST, _PROGRAM = "manifest.json", "program.bin"
# Of all archives: they do not say when they were written.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Manifest:
    """What an exported function takes, returns and needs.

    Attributes:
        name: the function's name.
        arguments: its arguments by name, in order.
        returns: what it returns.
        data: the data that it captured, by name.
        included: the shapes of the data whose values are in the archive.
        fixed: arguments that fixed a shape, with the values that they had.
        batch: the size of the axis over which it is mapped, if it is.
        platforms: where it runs.
        vjp_order: how often it can be differentiated.
        x64: whether it was exported with ``jax_enable_x64``.
        key_law: how its draws follow from its key.
        versions: of jaxlink, JAX and PyTensor.
    """

    name: str
    arguments: Mapping[str, Tree]
    returns: Tree
    data: Mapping[str, Leaf]
    included: Mapping[str, tuple[int, ...]]
    fixed: Mapping[str, Any]
    batch: int | str | None
    platforms: tuple[str, ...]
    vjp_order: int
    x64: bool
    key_law: str
    versions: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = [f"{name}: {_shown(tree)}" for name, tree in self.arguments.items()]
        lines = [f"{self.name}({', '.join(arguments)}) -> {_shown(self.returns)}"]
        for name, leaf in self.data.items():
            included = "" if name in self.included else ", to be passed to with_data"
            lines.append(f"  data {name}: {leaf}{included}")
        lines += [f"  fixed {name}: {value}" for name, value in self.fixed.items()]
        if self.batch is not None:
            lines.append(f"  mapped over: {self.batch}")
        lines += [
            f"  platforms: {', '.join(self.platforms)}",
            f"  derivatives: up to order {self.vjp_order}, in reverse mode",
            f"  64 bits (jax_enable_x64): {'on' if self.x64 else 'off'}",
        ]
        if self.key_law:
            lines.append(f"  keys: {self.key_law}")
        versions = [f"{name} {version}" for name, version in self.versions.items()]
        return "\n".join([*lines, f"  written by: {', '.join(versions)}"])

    @property
    def leaves(self) -> list[Leaf]:
        """What the program takes, in order: the data, and then the arguments."""
        return [*self.data.values(), *leaves(list(self.arguments.values()))]

    @property
    def needs_x64(self) -> bool:
        """Whether a value on the way in or out has 64 bits."""
        every = [*self.leaves, *leaves(self.returns)]
        wide = ("float64", "int64", "uint64", "complex128")
        return any(leaf.dtype in wide for leaf in every)

    def to_json(self) -> dict[str, Any]:
        """The manifest in JSON's types."""
        return {
            "format": FORMAT,
            "name": self.name,
            "arguments": [[k, to_json(tree)] for k, tree in self.arguments.items()],
            "returns": to_json(self.returns),
            "data": [[name, to_json(leaf)] for name, leaf in self.data.items()],
            "included": {name: list(s) for name, s in self.included.items()},
            "fixed": dict(self.fixed),
            "batch": self.batch,
            "platforms": list(self.platforms),
            "vjp_order": self.vjp_order,
            "x64": self.x64,
            "key_law": self.key_law,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Manifest":
        """The manifest that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it wrote no such data.
        """
        return cls(
            name=str(data["name"]),
            arguments={str(k): from_json(tree) for k, tree in data["arguments"]},
            returns=from_json(data["returns"]),
            data={str(name): from_json(leaf) for name, leaf in data["data"]},
            included={
                str(name): tuple(map(int, shape))
                for name, shape in data["included"].items()
            },
            fixed=dict(data["fixed"]),
            batch=data["batch"],
            platforms=tuple(map(str, data["platforms"])),
            vjp_order=int(data["vjp_order"]),
            x64=bool(data["x64"]),
            key_law=str(data["key_law"]),
            versions=dict(data["versions"]),
        )


def _shown(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{k}: {_shown(part)}' for k, part in tree.items())}}}"
    if isinstance(tree, tuple | list):
        inside = ", ".join(map(_shown, tree))
        return f"({inside})" if isinstance(tree, tuple) else f"[{inside}]"
    return str(tree)


def pack(manifest: Manifest, program: bytes, values: Mapping[str, np.ndarray]) -> bytes:
    """An archive of all of it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, content: bytes) -> None:
            info = zipfile.ZipInfo(name, _DATE)
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)

        write(_MANIFEST, json.dumps(manifest.to_json(), indent=1).encode())
        write(_PROGRAM, program)
        for name in manifest.included:
            write(_member(manifest, name), np.ascontiguousarray(values[name]).tobytes())
    return file.getvalue()


def unpack(content: bytes) -> tuple[Manifest, bytes, dict[str, np.ndarray]]:
    """The manifest, the program and the included data of an archive.

    Raises:
        ExportError: it is no such archive, is damaged, or is too new.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise ExportError(
            f"these {len(content)} bytes are not a function that jaxlink.export wrote, "
            f"or their end is missing: {error}."
        ) from error
    with archive:
        data = _manifest(archive)
        try:
            manifest = Manifest.from_json(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged("its manifest is not complete") from error
        values = {
            name: _array(archive, manifest, name, shape)
            for name, shape in manifest.included.items()
        }
        return manifest, _read(archive, _PROGRAM), values


def _manifest(archive: zipfile.ZipFile) -> Any:
    content = _read(archive, _MANIFEST)
    try:
        data = json.loads(content)
        number = data["format"]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise _damaged("its manifest cannot be read") from error
    if not isinstance(number, int) or number > FORMAT:
        raise ExportError(
            f"this function has the format {number}, and this version of jaxlink reads "
            f"formats up to {FORMAT}: upgrade jaxlink."
        )
    return data


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise _damaged(f"it has no {name}") from error
    # Damaged bytes break decompression, the headers or the checksum.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _damaged(f"{name} is broken ({error})") from error


def _array(
    archive: zipfile.ZipFile, manifest: Manifest, name: str, shape: tuple[int, ...]
) -> np.ndarray:
    if name not in manifest.data:
        raise _damaged(f"it has no data `{name}`")
    content = _read(archive, _member(manifest, name))
    try:
        dtype = jnp.dtype(manifest.data[name].dtype)
        return np.frombuffer(content, dtype).reshape(shape)
    except (TypeError, ValueError) as error:
        raise _damaged(f"the data `{name}` do not have their shape") from error


def _member(manifest: Manifest, name: str) -> str:
    return f"data/{list(manifest.data).index(name)}.bin"


def _damaged(how: str) -> ExportError:
    return ExportError(f"this exported function is damaged: {how}.")

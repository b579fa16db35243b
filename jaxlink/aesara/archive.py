"""The archive that `jaxlink.aesara_export` writes: one JSON document, and arrays.

Nothing in it is executed, unpickled or unpacked to the disk. Its members are not
compressed, so they cannot grow: what is read is never larger than the file.
"""

import io
import json
import re
import zipfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxlink.errors import AesaraError

__all__ = ["Archive", "damaged", "open_archive"]

# The newest format that this version reads.
FORMAT = 1
_GRAPH = "graph.json"
_ARRAY = re.compile(r"arrays/(\d{1,9})\.npy")
_KINDS = "biufc"


@dataclass(frozen=True)
class Archive:
    """What a file holds: the document, and its arrays by number."""

    document: dict[str, Any]
    arrays: dict[int, np.ndarray]

    def array(self, number: Any) -> np.ndarray:
        """An array by its number."""
        if not isinstance(number, int) or number not in self.arrays:
            raise damaged(f"it has no array {number!r}")
        return self.arrays[number]


def damaged(how: str) -> AesaraError:
    """The error for an archive that no exporter wrote so."""
    return AesaraError(f"this file of an Aesara graph is damaged: {how}.")


def open_archive(path: str | PathLike[str]) -> Archive:
    """Read a file.

    Raises:
        AesaraError: it is no such archive, is damaged, or is too new.
        OSError: it cannot be read at all.
    """
    content = Path(path).read_bytes()
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    # Damaged bytes break the directory in as many ways as zipfile reads it.
    except (
        zipfile.BadZipFile,
        ValueError,
        OverflowError,
        NotImplementedError,
    ) as error:
        raise AesaraError(
            f"{path} is not a file that jaxlink/aesara_export.py wrote, or its end is "
            f"missing: {error}."
        ) from error
    with archive:
        members = _members(archive, len(content))
        arrays = {}
        for name in members:
            matched = _ARRAY.fullmatch(name)
            if matched:
                arrays[int(matched[1])] = _array(name, _read(archive, name))
        return Archive(_document(_read(archive, _GRAPH)), arrays)


def _members(archive: zipfile.ZipFile, size: int) -> list[str]:
    """The names of the members, which are none but ours, each stored once."""
    infos = archive.infolist()
    names = [info.filename for info in infos]
    for name in names:
        if name != _GRAPH and not _ARRAY.fullmatch(name):
            raise damaged(f"it has a member {name!r}, which no exporter writes")
    if len(set(names)) < len(names):
        raise damaged("a member is there twice")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise damaged("a member is compressed, which no exporter does")
    if sum(info.file_size for info in infos) > size:
        raise damaged("its members claim to be larger than the file")
    return names


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise damaged(f"it has no {name}") from error
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,  # a member that claims to be encrypted
        ValueError,
        OSError,
    ) as error:
        raise damaged(f"{name} is broken ({error})") from error


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
        number = document["format"]
    except RecursionError as error:
        raise damaged(f"{_GRAPH} is nested too deeply") from error
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise damaged(f"{_GRAPH} cannot be read") from error
    if not isinstance(number, int) or number > FORMAT:
        raise AesaraError(
            f"this Aesara graph has the format {number}, and this version of jaxlink "
            f"reads formats up to {FORMAT}: upgrade jaxlink."
        )
    return document


def _array(name: str, content: bytes) -> np.ndarray:
    """An array. NumPy's reader would allocate the shape before it sees the values."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"its .npy version is {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran or dtype.kind not in _KINDS or min(shape, default=0) < 0:
            raise ValueError(f"its shape is {shape}, its dtype {dtype}")
        array = np.frombuffer(content[file.tell() :], dtype).reshape(shape)
        return array.astype(dtype.newbyteorder("="))
    except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError) as error:
        raise damaged(f"{name} is not an array of its shape ({error})") from error

"""Keep compiled programs on disk, so that a new process starts at once.

Nothing is kept on disk by default. One line turns it on::

    jaxlink.cache.enable()

and so does the environment variable ``JAXLINK_CACHE``, which is read when jaxlink is
imported: ``1`` for the default folder, or the path of another one. Set it where all
processes see it: in a shell's profile, in the environment of a Jupyter kernel, in a CI
job (which saves and restores the folder), in the script that starts a worker. Processes
may share a folder.

XLA's programs are kept, by JAX's persistent compilation cache, and so those of all JAX
code in the process. What `jaxlink.pymc` runs over samples and steps is also kept as
executables: a new process rewrites the graph of a model, but traces and lowers nothing.
Within one process, jaxlink finds the programs of equal graphs anyway: see
`jaxlink.clear_cache`.

A program on disk is machine code: whoever can write to the folder can run code as you.
So the folder is made readable and writable for its owner only, and a folder that others
can write to is refused.
"""

import hashlib
import os
import platform
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock
from jax.experimental.compilation_cache import compilation_cache

__all__ = ["clear", "directory", "disable", "enable"]

# What JAX calls its files: it writes the last of these only after an entry is complete.
_LOCK, _ENTRY, _COMPLETE = ".lockfile", "-cache", "-atime"

# Folders of other versions go after this time without use, in seconds.
_UNUSED = 90 * 24 * 3600

_before: dict[str, Any] = {}


def enable(
    folder: str | os.PathLike[str] | None = None, *, max_bytes: int = 4 * 2**30
) -> Path:
    """Keep compiled programs in a folder, and take them from there.

    Arguments:
        folder: where to; it is created if necessary. Default: ``jaxlink`` in the user's
            cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on
            macOS, ``%LOCALAPPDATA%`` on Windows).
        max_bytes: the largest size of XLA's programs for this version of JAX, and of
            the executables; what was not used for longest is deleted.

    Returns:
        The folder of this version of JAX on this kind of machine, inside ``folder``.

    Raises:
        PermissionError: others can write to the folder, or it belongs to someone else.
        ValueError: ``max_bytes`` is not positive.

    Example:
        >>> import jaxlink, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = jaxlink.cache.enable(folder)
        ...     jaxlink.cache.disable()
    """
    if max_bytes <= 0:
        raise ValueError(f"max_bytes must be positive, not {max_bytes!r}.")
    root = _user_folder() if folder is None else Path(folder).expanduser().absolute()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(root)
    place = root / _version()
    place.mkdir(mode=0o700, exist_ok=True)
    _check_private(place)
    os.utime(place)
    _delete_unused(root)
    _delete_incomplete(place)
    settings = {
        "jax_compilation_cache_dir": str(place),
        "jax_compilation_cache_max_size": max_bytes,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    if not _before:
        _before.update({name: getattr(jax.config, name) for name in settings})
    _update(settings)
    return place


def enable_from_environment() -> None:
    """Do what ``JAXLINK_CACHE`` says: importing jaxlink calls this."""
    value = os.environ["JAXLINK_CACHE"]
    enable(None if value == "1" else value)


def disable() -> None:
    """Stop keeping programs on disk: JAX's settings are what they were before. The
    folder stays."""
    _update(_before)
    _before.clear()


def directory() -> Path | None:
    """The folder in use, or ``None``."""
    return Path(jax.config.jax_compilation_cache_dir) if _before else None


def clear(folder: str | os.PathLike[str] | None = None) -> None:
    """Delete all programs in a folder, those of other versions too.

    Arguments:
        folder: the folder as it was given to `enable`; default: the default one.
    """
    root = _user_folder() if folder is None else Path(folder).expanduser()
    for place in _version_folders(root):
        shutil.rmtree(place)
    if directory() is not None:
        compilation_cache.reset_cache()


def _update(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    # JAX decides once whether it has a cache, at its first compilation.
    compilation_cache.reset_cache()


def _user_folder() -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "jaxlink"


def _version() -> str:
    """A name that differs where a program might not run: machines that share a home may
    have different processors."""
    parts = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith("flags")})
    machine = hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
    return f"jax-{jax.__version__}-{machine}"


def _version_folders(root: Path) -> list[Path]:
    return [path for path in root.glob("jax-*") if path.is_dir()]


def _check_private(folder: Path) -> None:
    """Raise unless only the user can write to the folder."""
    if not hasattr(os, "getuid"):
        return  # Windows: the profile's own rights apply
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(
            f"the cache folder {folder} must belong to you, and only you may write to "
            "it, because programs are loaded from there: run "
            f"`chmod go-w {folder}`, or choose another folder."
        )


def _delete_unused(root: Path) -> None:
    for place in _version_folders(root):
        with suppress(OSError):  # another process was faster
            if time.time() - place.stat().st_mtime > _UNUSED:
                shutil.rmtree(place)


def _delete_incomplete(place: Path) -> None:
    """Delete what a process that was killed left half written."""
    with FileLock(place / _LOCK):
        for entry in place.glob(f"*{_ENTRY}"):
            if not entry.with_name(
                entry.name.removesuffix(_ENTRY) + _COMPLETE
            ).exists():
                entry.unlink(missing_ok=True)

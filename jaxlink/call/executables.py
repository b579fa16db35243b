"""Executables on disk: a new process loads them, and neither traces nor lowers.

`jaxlink.cache` says where, and that only the user can write there. JAX's own cache,
which it also turns on, needs the lowered program to find what is compiled.
"""

import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize

import jaxlink.cache
from jaxlink.call.cache import PROGRAMS
from jaxlink.call.digest import digest
from jaxlink.call.program_around import expose_constants, program_around

# What reading a file may raise that another program has not written for us.
_UNUSABLE = (
    *(AttributeError, EOFError, ImportError, IndexError, TypeError, ValueError),
    *(pickle.UnpicklingError, jax.errors.JaxRuntimeError),
)

# XLA serializes only what it has compiled itself: an executable that JAX's own cache
# loaded would lack its code.
_LOADED_BY_JAX: set[str] = set()

__all__ = ["compile_at", "run_at", "shapes_of", "value_at"]


def compile_at(
    program: Any, what: Any, args: Any, options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """The executable of a program at ``args``: from disk, or compiled now.

    Arguments:
        program: a jitted function.
        what: tells apart programs at arguments of the same kind; ``None`` if nothing
            does.
        args: its arguments, among them functions of jaxlink.
        options: the options with which ``program`` is compiled.

    Returns:
        A function of arguments like ``args``.
    """
    name = None if what is None else _name((what, dict(options or {})), args)
    if name is None:
        return _compile(program, args)
    structure = jax.tree.structure((args, {}))

    def make() -> Any:
        found = _load(name, lambda held: _load_executable(held, structure))
        if found is not None:
            return found
        with _hits() as hits:
            made = _compile(program, args)
        if hits:
            _LOADED_BY_JAX.add(name.stem)
        if name.stem not in _LOADED_BY_JAX:
            _save(name, lambda: _serialized(made))
        return made

    # The structure holds functions, which may have been linked again.
    return PROGRAMS.get_or_make((name, structure), make)


def run_at(program: Any, what: Any, *args: Any) -> Any:
    """What a jitted function returns. If executables are kept, this one is too.

    Arguments:
        program, what: as for `compile_at`.
        args: its arguments.
    """
    if _name((what, {}), args) is None:
        return program(*args)
    return compile_at(program, what, args)(*args)


def _compile(program: Any, args: Any) -> Any:
    return program.lower(*args).compile()


@contextmanager
def _hits() -> Iterator[list[str]]:
    """A list that receives an entry for each program that JAX's own cache gives."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _serialized(executable: Any) -> tuple[Any, Any]:
    payload, _, returns = serialize(executable)
    return payload, returns


def value_at(what: Any, args: Any, make: Callable[[], Any]) -> Any:
    """A value that tracing a program gives: from disk, or made now.

    Arguments:
        what, args: as for `compile_at`.
        make: traces the program. Its result must be plain data: numbers, strings,
            shapes and containers of these.
    """
    name = _name(what, args)
    if name is None:
        return make()
    found = _load(name, lambda held: (held,))
    if found is not None:
        return found[0]
    value = make()
    _save(name, lambda: value)
    return value


def shapes_of(fn: Any, *args: Any) -> Any:
    """What `jax.eval_shape` returns for a function that is a pytree, found at once if a
    function of equal code was traced for such arguments before."""
    fn = expose_constants(fn)
    made = program_around(
        (fn, args),
        "shapes",
        lambda: value_at("shapes", (fn, args), lambda: jax.eval_shape(fn, *args)),
    )
    return jax.tree.map(lambda shape: shape, made)  # a copy, which may be changed


def _name(what: Any, args: Any) -> Path | None:
    """The file for a program at ``args``, if it can be kept on disk."""
    place = jaxlink.cache.directory()
    if place is None or jax.device_count() > 1:
        return None
    leaves, structure = jax.tree.flatten(args, is_leaf=_is_function)
    types = [one if _is_function(one) else jax.typeof(one) for one in leaves]
    name = digest(what, structure, types)
    return None if name is None else place / "programs" / f"{name}.pickle"


def _is_function(x: Any) -> bool:
    return hasattr(x, "parts_of_digest")


def _load_executable(held: tuple[Any, Any], takes: Any) -> Any:
    payload, returns = held
    device = jax.devices()[:1]
    return deserialize_and_load(payload, takes, returns, execution_devices=device)


def _load(path: Path, use: Callable[[Any], Any]) -> Any:
    """What ``use`` makes of a file's content; ``None`` if there is no such file, or it
    cannot be used here."""
    try:
        with path.open("rb") as file:
            held = pickle.load(file)
        os.utime(path)
        return use(held)
    except OSError:  # usually there is no such file
        return None
    except _UNUSABLE:
        path.unlink(missing_ok=True)  # torn, or of a machine that runs other code
        return None


def _save(path: Path, make: Callable[[], Any]) -> None:
    """Write a file at once, so that no process ever reads a part of it."""
    try:
        content = pickle.dumps(make())
    except (*_UNUSABLE, NotImplementedError, pickle.PicklingError):
        return  # JAX cannot serialize this one, such as a program with callbacks
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
        _bound(path.parent)
    except OSError as error:  # such as a full disk, which must not end a run
        warnings.warn(
            f"jaxlink.cache could not keep an executable: {error}", stacklevel=2
        )


def _bound(folder: Path) -> None:
    """Delete what was not used for longest, until the rest fits."""
    kept = 0
    with suppress(FileNotFoundError):  # another process was faster
        entries = [(one.stat(), one) for one in folder.iterdir()]
        for status, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            kept += status.st_size
            if kept > jax.config.jax_compilation_cache_max_size:
                entry.unlink(missing_ok=True)

"""`load`: an exported function, for JAX alone."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import (
    ArgumentError,
    ExportError,
    KeyArgumentError,
    PrecisionError,
)
from jaxlink.exports.manifest import Manifest, unpack
from jaxlink.exports.trees import Leaf, flatten, from_words
from jaxlink.optional import load as load_package
from jaxlink.values.streams import is_typed_key

__all__ = ["LoadedFunction", "load"]


@dataclass(frozen=True, eq=False)
class _Program:
    """A deserialized program. It hashes by identity."""

    manifest: Manifest
    content: bytes
    jitted: Any


class LoadedFunction:
    """A function that `jaxlink.export` wrote, as a JAX function.

    Use it under `jax.jit`, and under `jax.grad` as often as it was exported for. It
    cannot be mapped by `jax.vmap`. It is a pytree whose leaves are its data.

    Attributes:
        manifest: what it takes, returns and needs. ``print(fn.manifest)`` shows it.
        data: its data by name; those that were not included, and not set, are missing.
    """

    def __init__(self, program: _Program, data: Mapping[str, Any]):
        self._program = program
        self.data = dict(data)

    @property
    def manifest(self) -> Manifest:
        return self._program.manifest

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the results.

        Arguments:
            args, kwargs: the arguments, as ``repr(fn)`` shows them.

        Returns:
            JAX arrays, in the containers that the function returned.

        Raises:
            ArgumentError: an argument is missing, or its shape or dtype does not fit;
                or data are missing.
            ExportError: it is mapped by `jax.vmap`.
            KeyArgumentError: the key is no key of the right implementation.
            PrecisionError: it needs ``jax_enable_x64``.
        """
        manifest = self.manifest
        if manifest.needs_x64 and not jax.config.jax_enable_x64:
            raise PrecisionError(
                f"{manifest.name}() was exported with 64 bits: call "
                'jax.config.update("jax_enable_x64", True) first.'
            )
        flat = list(_converted(manifest.name, self._given(args, kwargs)))
        try:
            out = self._program.jitted(*flat)
        except NotImplementedError as error:
            if "atching rule" not in str(error):
                raise
            raise ExportError(
                f"an exported function such as {manifest.name}() cannot be mapped by "
                "jax.vmap: export the mapped function, by jaxlink.export(..., "
                "batch=...), or use jax.lax.map."
            ) from error
        return from_words(manifest.returns, out)

    def _given(self, args: Any, kwargs: Any) -> Iterator[tuple[str, Leaf, Any]]:
        """The name, type and value of all that the program takes, in order."""
        manifest = self.manifest
        try:
            bound = self.__signature__.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ArgumentError(f"{self}: {error}.") from error
        if missing := [name for name in manifest.data if name not in self.data]:
            raise ArgumentError(
                f"{manifest.name}() was exported without its data: call "
                f"fn.with_data({', '.join(f'{name}=...' for name in missing)}) first."
            )
        for name, leaf in manifest.data.items():
            yield f"the data `{name}`", leaf, self.data[name]
        for name, tree in manifest.arguments.items():
            yield from flatten(tree, bound[name], f"the argument `{name}`")

    def with_data(
        self, data: Mapping[str, Any] | None = None, /, **named: Any
    ) -> "LoadedFunction":
        """The same function with other data.

        Arguments:
            data, named: new values by name. Their sizes may differ where the function
                was exported with free ones.

        Raises:
            ArgumentError: the function has no such data, or they do not fit.

        Returns:
            A new `LoadedFunction`.
        """
        manifest, new = self.manifest, {**(data or {}), **named}
        for name in new:
            if name not in manifest.data:
                have = ", ".join(f"`{n}`" for n in manifest.data) or "none"
                raise ArgumentError(
                    f"{manifest.name}() has no data `{name}`; it has: {have}."
                )
        given = ((f"the data `{n}`", manifest.data[n], x) for n, x in new.items())
        converted = dict(zip(new, _converted(manifest.name, given), strict=True))
        return LoadedFunction(self._program, self.data | converted)

    @property
    def __name__(self) -> str:
        return self.manifest.name

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = self.manifest.arguments
        return inspect.Signature([inspect.Parameter(name, kind) for name in names])

    def __repr__(self) -> str:
        return f"LoadedFunction {self}"

    def __str__(self) -> str:
        return str(self.manifest).partition("\n")[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (self._program.content, self.data)


def load(source: bytes | str | PathLike[str]) -> LoadedFunction:
    """Read a function that `jaxlink.export` wrote. It needs neither PyTensor nor PyMC.

    Nothing is unpickled, and no Python code comes from the bytes.

    Arguments:
        source: the bytes, or the path of a file that holds them.

    Returns:
        The function.

    Raises:
        ExportError: the bytes are not such a function, are damaged, or are too new or
            too old for this version of JAX or jaxlink.
        ImportError: flatbuffers is not installed, which `jax.export` needs.

    Example:
        >>> import jax, jaxlink
        >>> def half(x):
        ...     return {"half": x / 2}
        >>> content = jaxlink.export(half, "float32[n]")
        >>> jaxlink.load(content)
        LoadedFunction half(x: float32[n]) -> {half: float32[n]}
    """
    load_package("flatbuffers", "jaxlink.load")
    if isinstance(source, str | PathLike):
        source = Path(source).read_bytes()
    content = bytes(source)
    manifest, serialized, data = unpack(content)
    exported = _deserialized(serialized, manifest)
    types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in exported.in_avals]
    if [str(x.dtype) for x in types] != [
        leaf.program_dtype for leaf in manifest.leaves
    ]:
        raise ExportError("the manifest and the program are not of one function.")

    def run(*flat: Any) -> Any:
        return exported.call(*flat)

    run.__name__ = run.__qualname__ = manifest.name
    program = _Program(manifest, content, jax.jit(run))
    return LoadedFunction(program, data)


def _deserialized(serialized: bytes, manifest: Manifest) -> jax.export.Exported:
    try:
        return jax.export.deserialize(bytearray(serialized))
    except Exception as error:  # JAX lists none, and flatbuffers raise several
        written = manifest.versions.get("jax", "an unknown version")
        raise ExportError(
            f"JAX {jax.__version__} cannot read this program, which JAX {written} "
            f"wrote: {error}"
        ) from error


def _load_again(content: bytes, data: Mapping[str, Any]) -> LoadedFunction:
    return LoadedFunction(load(content)._program, data)


def _converted(
    function: str, given: Iterator[tuple[str, Leaf, Any]]
) -> Iterator[jax.Array]:
    """Values as the program takes them.

    Raises:
        ArgumentError: one does not fit.
    """
    known: dict[str, tuple[Any, str]] = {}
    for name, leaf, value in given:
        what = f"{name} of {function}()"
        x = _words(what, leaf, value) if leaf.is_key else _array(what, leaf, value)
        shape = jnp.shape(x)[: -1 if leaf.is_key else None]
        _check_shape(what, leaf, shape, known)
        yield x


def _words(what: str, leaf: Leaf, value: Any) -> jax.Array:
    """The words of keys, typed or raw."""
    if is_typed_key(value):
        impl = str(jax.random.key_impl(value))
        if impl != leaf.dtype:
            raise KeyArgumentError(
                f"{what} must be a key of the implementation {leaf.dtype}, not {impl}: "
                f"jax.random.key(0, impl={leaf.dtype!r})."
            )
        return jax.random.key_data(value)
    if getattr(value, "dtype", None) != np.uint32:
        raise KeyArgumentError(
            f"{what} must be a JAX PRNG key, such as jax.random.key(0, "
            f"impl={leaf.dtype!r}), but is a {type(value).__name__}."
        )
    try:
        return jax.random.key_data(jax.random.wrap_key_data(value, impl=leaf.dtype))
    except (TypeError, ValueError) as error:
        raise KeyArgumentError(
            f"{what} must be a key of the implementation {leaf.dtype}: {error}"
        ) from error


def _array(what: str, leaf: Leaf, value: Any) -> jax.Array:
    """An array in the program's dtype. Integers become floats, and floats other floats.
    Integers become narrower ones if it is known that they fit."""
    dtype = jnp.dtype(leaf.dtype)
    try:
        if not hasattr(value, "dtype"):
            value = np.asarray(value) if isinstance(value, list | tuple) else value
        old = jax.typeof(value)
        as_scalar = old.weak_type or not hasattr(value, "dtype")
        kinds = "biufc"
        fits = kinds.index(old.dtype.kind) <= kinds.index(dtype.kind)
        if old.dtype.kind in "iu" and dtype.kind in "iu" and not as_scalar:
            fits = np.can_cast(old.dtype, dtype) or _are_within(value, dtype)
        if fits:
            return jnp.asarray(value, dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise ArgumentError(f"{what} must be {leaf}, but is {value!r}.") from error
    raise ArgumentError(f"{what} must be {leaf}, but is {old.str_short()}.")


def _are_within(values: Any, dtype: Any) -> bool:
    if isinstance(values, jax.core.Tracer):
        return False
    limits = np.iinfo(dtype)
    return bool(((limits.min <= values) & (values <= limits.max)).all())


def _check_shape(
    what: str,
    leaf: Leaf,
    shape: tuple[Any, ...],
    known: dict[str, tuple[Any, str]],
) -> None:
    """Raise unless a shape fits. The program checks expressions of sizes itself."""
    if len(shape) != len(leaf.shape):
        raise ArgumentError(f"{what} must be {leaf}, but has the shape {shape}.")
    for wanted, size in zip(leaf.shape, shape, strict=True):
        if isinstance(wanted, int):
            if wanted != size:
                raise ArgumentError(
                    f"{what} must be {leaf}, but has the shape {shape}."
                )
        elif wanted.isidentifier():
            first, where = known.setdefault(wanted, (size, what))
            if first != size:
                raise ArgumentError(
                    f"{what} must be {leaf}, but `{wanted}` is {size} there, and "
                    f"{first} in {where}."
                )


def _flatten(fn: LoadedFunction) -> tuple[tuple[Any, ...], Any]:
    return tuple(fn.data.values()), (fn._program, tuple(fn.data))


def _unflatten(rest: Any, leaves: Any) -> LoadedFunction:
    program, names = rest
    return LoadedFunction(program, dict(zip(names, leaves, strict=True)))


jax.tree_util.register_pytree_node(LoadedFunction, _flatten, _unflatten)

"""`export`: a function as bytes."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxlink.call.jax_function import JAXFunction
from jaxlink.errors import ExportError
from jaxlink.exports.arguments import Arguments, Axes
from jaxlink.exports.captured import Captured
from jaxlink.exports.manifest import Manifest, pack
from jaxlink.exports.shapes import Sizes
from jaxlink.exports.trees import Tree, describe, leaves, to_words
from jaxlink.optional import load

__all__ = ["export"]

_PLATFORMS = {"cpu", "cuda", "rocm", "tpu"}
_KEY_LAW = "draw t along root i of the graph uses fold_in(fold_in(key, i), t)"


def export(
    fn: Callable[..., Any],
    *shapes: Any,
    batch: int | str | None = None,
    in_axes: Axes = 0,
    data: Mapping[str, str] | None = None,
    include_data: bool = True,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    vjp_order: int = 1,
) -> bytes:
    """Write a function as bytes that run with JAX alone: see `jaxlink.load`.

    The bytes hold the program in the portable form of `jax.export`, which is compiled
    where it is loaded. It cannot be mapped by `jax.vmap` there: export the mapped
    function, with ``batch``.

    Arguments:
        fn: a compiled function, a function of a model, or any other JAX function.
        shapes: one for each argument of ``fn``: an array, a ``jax.ShapeDtypeStruct`` or
            a text such as ``"float64[n, 3]"``, or these in dicts, lists and tuples.
            Sizes that are names are free, and those of one name are equal. For an
            argument that fixes a shape, the value, which then stays as it is. For a
            key, any key: its implementation counts.
        batch: export the function mapped over a new first axis, of this size, or free
            with this name.
        in_axes: which arguments have that axis: 0 or ``None``, for all or for each.
        data: the shapes of captured data that shall be free, by name, such as
            ``{"x": "float64[n]"}``.
        include_data: whether the bytes hold the values of captured data. If not, pass
            them to `LoadedFunction.with_data`.
        platforms: where the program shall run: ``"cpu"``, ``"cuda"``, ``"rocm"``,
            ``"tpu"``.
        vjp_order: how often it can be differentiated, in reverse mode.

    Returns:
        The bytes.

    Raises:
        ExportError: a shape cannot be read, or the program cannot be exported: it calls
            Python, has no form for one of the platforms, or has no derivative.
        ImportError: flatbuffers is not installed, which `jax.export` needs.

    Example:
        >>> import jax, jaxlink, pytensor.tensor as pt
        >>> x = pt.vector("x", dtype="float32")
        >>> fn = jaxlink.function([x], (x**2).sum(), name="sum_of_squares")
        >>> content = jaxlink.export(fn, "float32[n]")
        >>> jaxlink.load(content)([1.0, 2.0, 3.0]).item()
        14.0
    """
    load("flatbuffers", "jaxlink.export")
    if not platforms or not set(platforms) <= _PLATFORMS:
        known = ", ".join(sorted(_PLATFORMS))
        raise ExportError(f"platforms must be some of {known}, not {platforms!r}.")
    resized = dict(data or {})
    texts = [x for x in jax.tree.leaves(shapes) if isinstance(x, str)]
    texts += [*resized.values(), *([batch] if isinstance(batch, str) else [])]
    sizes = Sizes(texts)
    captured = Captured.of(fn)
    data_types = captured.types(resized, sizes)
    arguments = Arguments.of(fn, shapes, sizes, batch, in_axes)
    returns: list[Tree] = []

    def program(*flat: Any) -> list[Any]:
        own = captured.with_values(flat[: len(data_types)], resized)
        out = arguments.apply(own, flat[len(data_types) :])
        out = jax.tree.map(_as_array, out)
        returns.append(describe(out, "the result"))
        return to_words(out)

    program.__name__ = program.__qualname__ = name = _name(fn)
    flat = [*data_types.values(), *arguments.flat]
    content = _serialized(program, flat, tuple(platforms), vjp_order)
    values = captured.values if include_data else {}
    takes = arguments.trees
    is_ours = isinstance(getattr(fn, "fn", fn), JAXFunction)
    is_random = any(leaf.is_key for leaf in leaves(list(takes.values())))
    manifest = Manifest(
        name=name,
        arguments=takes,
        returns=returns[0],
        data={n: describe(x, f"the data `{n}`") for n, x in data_types.items()},
        included={n: tuple(x.shape) for n, x in values.items()},
        fixed={n: np.asarray(x).tolist() for n, x in arguments.fixed.items()},
        batch=batch,
        platforms=tuple(platforms),
        vjp_order=vjp_order,
        x64=bool(jax.config.jax_enable_x64),
        key_law=_KEY_LAW if is_ours and is_random else "",
        versions={p: version(p) for p in ("jaxlink", "jax", "pytensor")},
    )
    return pack(manifest, content, {n: np.asarray(x) for n, x in values.items()})


def _serialized(
    program: Callable[..., Any],
    flat: Sequence[Any],
    platforms: tuple[str, ...],
    vjp_order: int,
) -> bytes:
    """The program in JAX's portable form."""
    jitted = jax.jit(program)
    jitted.trace(*flat)  # errors of the function itself pass unchanged
    what = f"{program.__name__}() cannot be exported"
    try:
        exported = jax.export.export(jitted, platforms=platforms)(*flat)
    except (NotImplementedError, ValueError) as error:
        named = ", ".join(platforms)
        raise ExportError(
            f"{what} for {named}: {error}\nA program that calls Python has no portable "
            "form. If a platform lacks an operation, leave that platform out of "
            "`platforms`."
        ) from error
    try:
        return bytes(exported.serialize(vjp_order=vjp_order))
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ExportError(
            f"{what} with vjp_order={vjp_order}: {error}\nWithout derivatives, pass "
            "vjp_order=0."
        ) from error


def _as_array(x: Any) -> Any:
    return jnp.asarray(x) if isinstance(x, bool | int | float | complex) else x


def _name(fn: Callable[..., Any]) -> str:
    name = str(getattr(fn, "__name__", type(fn).__name__))
    return name if name.isidentifier() else "function"

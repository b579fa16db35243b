"""Reprs and docstrings of compiled functions: arguments and captured data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["OwnDoc", "leaves_doc", "sections", "type_of", "with_data"]


class OwnDoc:
    """A ``__doc__`` that differs between a class and its instances, so that
    ``help(fn)`` describes ``fn``."""

    def __init__(self, of_class: str | None, of_instance: Callable[[Any], str]):
        self._of_class, self._of_instance = of_class, of_instance

    def __get__(self, instance: Any, owner: type) -> str | None:
        return self._of_class if instance is None else self._of_instance(instance)


def sections(title: str, parts: Mapping[str, Sequence[str]]) -> str:
    """A docstring: a title line, then every section that is not empty."""
    text = [
        "\n".join([f"{name}:", *(f"    {line}" for line in lines)])
        for name, lines in parts.items()
        if lines
    ]
    return "\n\n".join([title, *text])


def with_data(data: Mapping[str, Any]) -> str:
    """The end of a repr: the captured data, or the leaves in their place."""
    named = ", ".join(f"{name}: {type_of(leaf)}" for name, leaf in data.items())
    return f" with {named}" if named else ""


def type_of(leaf: Any) -> str:
    """An array as ``float64[3]``, any other leaf as its repr."""
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if shape is None or dtype is None:
        return repr(leaf)
    return f"{dtype}[{', '.join(map(str, shape))}]"


def leaves_doc(title: str, data: Mapping[str, Any], kwargs: Any) -> Any:
    """The result of ``__pdoc__`` for a pytree of captured data. wadler_lindig, and so
    ``eqx.tree_pformat``, calls that method."""
    import wadler_lindig as wl  # installed, because it is the caller

    leaves = wl.named_objs(data.items(), **kwargs)
    begin, end = wl.TextDoc(f"{title} with ("), wl.TextDoc(")")
    if not leaves:
        return wl.TextDoc(title)
    return wl.bracketed(begin, leaves, wl.comma, end, kwargs["indent"])

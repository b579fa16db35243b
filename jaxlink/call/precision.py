"""The warning that 64-bit types become 32-bit ones: once for each call of the user's.

One call may compile several graphs, which have names and variables of their own that no
user ever wrote. So the outermost call that says so gives the name, and what a variable
is called there.
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import jax
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph

from jaxlink.errors import PrecisionWarning
from jaxlink.values.types import dtype_of

__all__ = ["compiling_for", "naming", "warn_of_64_bit"]

_WIDE = ("float64", "complex128", "int64", "uint64")


@dataclass
class _Call:
    """A call of the user's, and whether it was warned."""

    name: str
    warned: bool = False


_call: ContextVar[_Call | None] = ContextVar("_call", default=None)
_names: ContextVar[Mapping[str, str] | None] = ContextVar("_names", default=None)


@contextmanager
def compiling_for(name: str) -> Iterator[None]:
    """All that is compiled inside is for one call of the user's, to the function
    ``name``, unless this is inside of such a call already."""
    if _call.get() is not None:
        yield
        return
    token = _call.set(_Call(name))
    try:
        yield
    finally:
        _call.reset(token)


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Variables that the user knows, by the names that they have in graphs."""
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def warn_of_64_bit(
    fgraph: FunctionGraph, labels: Sequence[str | None], known: Collection[Variable]
) -> None:
    """Say what is about to lose precision, unless this call was warned already.

    Integers inside the graph are shapes and indices nearly always, so only those that
    come in or go out count, but for inputs that are known before the call.

    Arguments:
        fgraph: the graph, whose outputs are called ``labels``.
        known: inputs that stay as they are.
    """
    call = _call.get()
    if jax.config.jax_enable_x64 or call is None or call.warned:
        return
    ends = [(var.name, var) for var in fgraph.inputs if var not in known]
    ends += zip(labels, fgraph.outputs, strict=True)
    wide = [name for name, var in ends if dtype_of(var.type) in _WIDE]
    inside = [var.name for var in fgraph.variables if dtype_of(var.type) in _WIDE[:2]]
    if not wide and not inside:
        return
    call.warned = True
    named = _named(wide) or _named(inside)
    shown = ", ".join(f"`{name}`" for name in named[:3]) or "unnamed variables"
    more = ", ..." if len(named) > 3 else ""
    warnings.warn(
        f"jax_enable_x64 is off, so 64-bit variables of {call.name}() become 32-bit: "
        f"{shown}{more}. Either call "
        'jax.config.update("jax_enable_x64", True) first, or build the graph in 32 '
        'bits (pytensor.config.floatX = "float32").',
        PrecisionWarning,
        skip_file_prefixes=(str(Path(__file__).parents[1]),),
    )


def _named(names: Iterable[str | None]) -> list[str]:
    """What the user calls variables of these names."""
    # Names that begin like this are PyMC's own, such as `__logp`.
    found = sorted({name for name in names if name and not name.startswith("__")})
    known = _names.get()
    if known is not None:
        found = [known[name] for name in found if name in known]
    return list(dict.fromkeys(found))

"""Warn once per user call that 64-bit variables become 32-bit.

One user call may compile several graphs, with names and variables that the user never
wrote. So the warning names the outermost call, and uses the names that variables have
there.
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

__all__ = ["compiling_for", "naming", "warn_about_64_bit"]

_WIDE = ("float64", "complex128", "int64", "uint64")


@dataclass
class _Call:
    """A user's call, and whether it has warned."""

    name: str
    warned: bool = False


_call: ContextVar[_Call | None] = ContextVar("_call", default=None)
_names: ContextVar[Mapping[str, str] | None] = ContextVar("_names", default=None)


@contextmanager
def compiling_for(name: str) -> Iterator[None]:
    """Everything compiled inside belongs to one user call of the function ``name``,
    unless an outer call is already active."""
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
    """``names`` maps names in graphs to the names that the user knows."""
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def warn_about_64_bit(
    fgraph: FunctionGraph, labels: Sequence[str | None], known: Collection[Variable]
) -> None:
    """Warn about the variables that lose precision, unless this call already has.

    Integers inside a graph are nearly always shapes and indices. So integers count only
    if they are inputs or outputs.

    Arguments:
        fgraph: the graph.
        labels: the names of its outputs.
        known: inputs that are no arguments or data of the user's, or that keep 64 bits
            because their values are known before the call.
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
    first = ", ".join(f"`{name}`" for name in named[:3]) or "unnamed variables"
    more = ", ..." if len(named) > 3 else ""
    warnings.warn(
        f"jax_enable_x64 is off, so 64-bit variables of {call.name}() become 32-bit: "
        f"{first}{more}. Either call "
        'jax.config.update("jax_enable_x64", True) first, or build the graph in 32 '
        'bits (pytensor.config.floatX = "float32").',
        PrecisionWarning,
        skip_file_prefixes=(str(Path(__file__).parents[1]),),
    )


def _named(names: Iterable[str | None]) -> list[str]:
    """The user's names for variables of these names."""
    # PyMC's own names, such as `__logp`, begin with underscores.
    found = sorted({name for name in names if name and not name.startswith("__")})
    known = _names.get()
    if known is not None:
        found = [known[name] for name in found if name in known]
    return list(dict.fromkeys(found))

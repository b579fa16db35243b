"""Checks in the graph: free in a plain call, raised under ``checkify``.

`checkify.debug_check` costs nothing in a compiled program, but it is an effect, and a
jitted function with an effect is called through Python, which costs more than a small
function itself. So a program leaves its checks out, and has a twin, ``checked``, that
makes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import checkify
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

__all__ = [
    "Checks",
    "check",
    "making",
    "under_checkify",
]


@dataclass
class Checks:
    """Which checks a program makes, and whether it left out any of these.

    Arguments:
        enabled: whether it makes checks at all.
        silent: whether they count that PyTensor does not make either: of what is nan
            there without an error, such as a failed Cholesky factorization.
    """

    enabled: bool
    silent: bool = True
    left_out: bool = False


_current: ContextVar[Checks] = ContextVar("_current")


@contextmanager
def making(checks: Checks) -> Iterator[None]:
    """Trace with ``checks``."""
    token = _current.set(checks)
    try:
        yield
    finally:
        _current.reset(token)


def check(condition: Any, message: str, *, silent: bool = False) -> None:
    """Check a traced scalar: ``message`` is raised where it is false.

    A condition that costs something to compute may be a function that does so: it is
    called only if the check is made.

    Arguments:
        message: what failed, after the name of the exception that PyTensor raises, if
            that is not a ValueError: ``"IndexError: ..."``.
        silent: whether PyTensor gives nan and raises nothing.
    """
    checks = _current.get(None)
    if checks is None:
        return  # in a pullback: JAX traces it after the program, which has its checks
    if silent and not checks.silent:
        return
    if checks.enabled:
        condition = condition() if callable(condition) else condition
        checkify.debug_check(condition, message.replace("{", "{{").replace("}", "}}"))
    else:
        checks.left_out = True


def under_checkify(out: Any, operands: Any) -> bool:
    """Whether ``checkify`` traces a call, directly or through ``vmap`` and ``grad``.

    It calls a function with arrays where ``jit`` calls it with tracers, so the result
    is traced though no operand is. Tracers of ``vmap`` and ``grad`` only wrap arrays,
    and are taken off to see what is inside.
    """

    def traced(tree: Any) -> bool:
        return any(map(_is_traced, jax.tree.leaves(tree)))

    return traced(out) and not traced(operands)


class _UnwrappedError(Exception):
    """What is inside of all wrappers: another tracer or not."""

    def __init__(self, is_tracer: bool):
        self.is_tracer = is_tracer


def _unwrap(value: Any) -> Any:
    if isinstance(value, jax.core.Tracer):
        # One of the rules below calls this again with what the tracer wraps.
        _UNWRAP.bind(value)
    raise _UnwrappedError(False)


def _innermost(aval: Any) -> Any:
    del aval
    raise _UnwrappedError(True)


# No program ever holds it: each of its rules ends with an exception.
_UNWRAP = Primitive("jaxlink_unwrap")
_UNWRAP.def_impl(_unwrap)
_UNWRAP.def_abstract_eval(_innermost)
batching.primitive_batchers[_UNWRAP] = lambda values, _: _unwrap(*values)
ad.primitive_jvps[_UNWRAP] = lambda primals, _: _unwrap(*primals)


def _is_traced(value: Any) -> bool:
    if not isinstance(value, jax.core.Tracer):
        return False
    try:
        _unwrap(value)
    except _UnwrappedError as found:
        return found.is_tracer
    except NotImplementedError:
        return True  # it belongs to a transformation that knows no foreign primitive
    raise AssertionError("unwrapping always ends with an exception")

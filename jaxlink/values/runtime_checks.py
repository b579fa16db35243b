"""Checks in the graph: free in a plain call, raised under ``checkify``.

`checkify.debug_check` costs nothing in a compiled program, but it is an effect. JAX
calls a jitted function with an effect through Python, which can cost more than the
function. So a program omits its checks, and its twin, ``checked``, makes them.
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


@dataclass
class Checks:
    """Which checks a program makes.

    Arguments:
        enabled: whether it makes checks at all.
        silent: whether they include the checks that PyTensor does not make, because
            it returns nan without an error, as for a failed Cholesky factorization.
        left_out: whether the program omitted any check; set while it is traced.
    """

    enabled: bool
    silent: bool = True
    left_out: bool = False


_current: ContextVar[Checks] = ContextVar("_current")


@contextmanager
def using_checks(checks: Checks) -> Iterator[None]:
    """Trace with ``checks`` inside this context."""
    token = _current.set(checks)
    try:
        yield
    finally:
        _current.reset(token)


def check(condition: Any, message: str, *, silent: bool = False) -> None:
    """Raise ``message`` under ``checkify`` if a traced scalar is false.

    Arguments:
        condition: a bool scalar, or a function that computes it. The function is
            called only if the check is made.
        message: what failed. Unless PyTensor raises a ValueError, it begins with the
            exception's name: ``"IndexError: ..."``.
        silent: whether PyTensor returns nan here, without an error.
    """
    checks = _current.get(None)
    if checks is None:
        return  # in a pullback, which JAX traces after the program with its checks
    if silent and not checks.silent:
        return
    if checks.enabled:
        condition = condition() if callable(condition) else condition
        checkify.debug_check(condition, message.replace("{", "{{").replace("}", "}}"))
    else:
        checks.left_out = True


def under_checkify(out: Any, operands: Any) -> bool:
    """Whether ``checkify`` traces this call, directly or around ``vmap`` and ``grad``.

    ``checkify`` calls a function with arrays, where ``jit`` calls it with tracers. So
    under ``checkify`` the result is traced, but no operand is. Tracers of ``vmap`` and
    ``grad`` only wrap other values, so those are unwrapped first.
    """

    def traced(tree: Any) -> bool:
        return any(map(_is_traced, jax.tree.leaves(tree)))

    return traced(out) and not traced(operands)


class _UnwrappedError(Exception):
    """Whether the innermost value, inside all wrappers, is a tracer."""

    def __init__(self, is_tracer: bool):
        self.is_tracer = is_tracer


def _unwrap(value: Any) -> Any:
    if isinstance(value, jax.core.Tracer):
        # One of the rules below calls this again with the wrapped value.
        _UNWRAP.bind(value)
    raise _UnwrappedError(False)


def _innermost(aval: Any) -> Any:
    del aval
    raise _UnwrappedError(True)


# It never enters a program, because each of its rules raises.
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
        return True  # a transformation that does not accept unknown primitives
    raise AssertionError("unwrapping always raises")

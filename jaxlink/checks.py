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

from jax.experimental import checkify

__all__ = ["Checks", "check", "failing_at_call", "making", "may_fail_when_linked"]


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
_failing_at_call: ContextVar[bool] = ContextVar("_failing_at_call", default=False)


@contextmanager
def making(checks: Checks) -> Iterator[None]:
    """Trace with ``checks``."""
    token = _current.set(checks)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def failing_at_call() -> Iterator[None]:
    """Link with checks that are known to fail: calls raise what these find."""
    token = _failing_at_call.set(True)
    try:
        yield
    finally:
        _failing_at_call.reset(token)


def may_fail_when_linked() -> bool:
    """Whether a check that is known to fail is an error of compiling."""
    return not _failing_at_call.get()


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

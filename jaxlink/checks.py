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

__all__ = ["Checks", "check", "making"]


@dataclass
class Checks:
    """Whether a program makes its checks, and whether it left out any."""

    enabled: bool
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


def check(condition: Any, message: str) -> None:
    """Check a traced scalar: ``message`` is raised where it is false.

    A condition that costs something to compute may be a function that does so: it is
    called only if the check is made.
    """
    checks = _current.get(None)
    if checks is None:
        return  # in a pullback: JAX traces it after the program, which has its checks
    if checks.enabled:
        condition = condition() if callable(condition) else condition
        checkify.debug_check(condition, message.replace("{", "{{").replace("}", "}}"))
    else:
        checks.left_out = True

"""All that jaxlink knows about JAX's own code: names of functions, of two traces and
of what was differentiated, and an error text.

JAX has no public way to say that a draw must not be moved or repeated, nor to ask what
a transformation is about to do. So we look for these functions on the Python stack.
They are never imported. ``tests/test_pjax_internals.py`` has the smallest program that
needs each name, and fails with the name if JAX renames the function.

What public API would make them unnecessary: an effect that keeps an equation in its
place under partial evaluation, an axis of ``vmap`` that can be told from the columns of
a Jacobian, and a way to ask whether a transformation is running.
"""

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
from jax.extend.core import take_current_trace

__all__ = [
    "is_deciding",
    "is_differentiated",
    "is_eager",
    "is_hoisting",
    "is_jacobian",
    "is_repeating_while",
    "is_unknown_primal",
    "users_line",
]

# Moves what does not change from step to step out of a scan that is differentiated.
HOISTS = "_scan_known_hoisting"
# The same, for a scan in a checkpoint; it calls partial_eval_jaxpr_nounits to decide.
HOISTS_IN_CHECKPOINT = "_scan_partial_eval_custom"
DECIDES = "partial_eval_jaxpr_nounits"
DECIDING = "JaxprTrace"
# Runs a while loop in a checkpoint again.
REPEATS_WHILE = "_while_partial_eval_custom"
# Of the error if what the function itself returns was left to its derivative.
UNKNOWN_PRIMAL = "failed to produce known values"
# In the name of an equation that a gradient made: its source's stack of names.
DIFFERENTIATED = "jvp("
# Maps a jvp over the columns of a Jacobian: jax.jacfwd, and so jax.hessian.
JACOBIAN = "jacfun"

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_JAX = os.path.dirname(jax.__file__) + os.sep
_JAXLIB = _JAX.replace(f"{os.sep}jax{os.sep}", f"{os.sep}jaxlib{os.sep}")
# Evaluates at once: no transformation is running.
EAGER = "EvalTrace"
# Between the rule of a draw and the vmap that maps it, if nothing else is in between.
_FRAMES_TO_JACOBIAN = 6


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def users_line() -> str:
    """The line that draws, as ``file:line (function)``: the first that is neither JAX's
    nor ours. (JAX's own record of the line is empty when it traces a custom rule
    late.)"""
    for frame in _frames():
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, _JAX, _JAXLIB, "<frozen")):
            return f"{file}:{frame.f_lineno} ({frame.f_code.co_qualname})"
    return "an unknown line"


def is_eager() -> bool:
    """Whether no transformation is running."""
    with take_current_trace() as trace:
        return type(trace).__name__ == EAGER


def is_deciding() -> bool:
    """Whether the trace that is running decides what JAX moves."""
    with take_current_trace() as trace:
        return type(trace).__name__ == DECIDING


def is_hoisting() -> bool:
    """Whether JAX is moving what does not change from step to step out of a scan."""
    for frame in _frames():
        name, caller = frame.f_code.co_name, frame.f_back
        caller_name = caller.f_code.co_name if caller is not None else ""
        if name == HOISTS or (name, caller_name) == (DECIDES, HOISTS_IN_CHECKPOINT):
            return True
    return False


def is_repeating_while() -> bool:
    """Whether JAX is about to run a while loop again, in the backward pass."""
    return any(frame.f_code.co_name == REPEATS_WHILE for frame in _frames())


def is_unknown_primal(error: Exception) -> bool:
    """Whether JAX found that a draw must stay in a loop where there is no loop."""
    return UNKNOWN_PRIMAL in str(error)


def is_differentiated(eqn: Any) -> bool:
    """Whether a gradient made an equation."""
    return DIFFERENTIATED in str(eqn.source_info.name_stack)


def is_jacobian(axis_data: Any) -> bool:
    """Whether the lanes of ``axis_data`` are the columns of a Jacobian. They are all of
    one draw: `jax.jacfwd` demands that the primal output is the same in all of them."""
    knows_axis = [
        frame
        for frame in _frames()
        if any(value is axis_data for value in frame.f_locals.values())
    ]
    frame: FrameType | None = knows_axis[-1] if knows_axis else None
    for _ in range(_FRAMES_TO_JACOBIAN):
        if frame is None:
            return False
        if frame.f_code.co_name == JACOBIAN:
            return True
        frame = frame.f_back
    return False

"""The context of a call: its model, and the function that the user called."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import pymc as pm

from jaxlink.call.precision import compiling_for

__all__ = ["one_call", "resolve_model"]


def one_call[F: Callable[..., Any]](function: F) -> F:
    """Wrap a function that compiles several graphs in one call by the user, so that a
    warning about all of them comes once and names the function."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with compiling_for(function.__name__):
            return function(*args, **kwargs)

    return cast(F, call)


def resolve_model(model: pm.Model | None) -> pm.Model:
    """``model``, or the one on the context stack.

    Raises:
        TypeError: there is none, or ``model`` is not a model.
    """
    if model is None:
        model = pm.Model.get_context(error_if_none=False)
        if model is None:
            raise TypeError(
                "there is no model on the context stack. Call this inside "
                "`with model:`, or pass model=."
            )
    if not hasattr(model, "basic_RVs"):
        raise TypeError(f"model must be a pm.Model, not {type(model).__name__}.")
    return model

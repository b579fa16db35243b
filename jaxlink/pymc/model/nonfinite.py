"""Where a log density or its gradient is not finite, for errors."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pymc as pm

from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.shared.arguments import quoted

__all__ = ["format_position", "is_usable", "nonfinite_terms", "why_unusable"]


def is_usable(logp: Any, gradient: Mapping[str, Any]) -> bool:
    """Whether the log density and all entries of its gradient are finite."""
    return bool(np.isfinite(logp)) and not _nonfinite(gradient)


def why_unusable(
    model: pm.Model,
    position: Mapping[str, Any],
    logp: Any,
    gradient: Mapping[str, Any],
    *,
    jacobian: bool,
) -> str:
    """The reason why a position is not usable, as a clause.

    Arguments:
        model: the model.
        position: as `logdensity` takes it.
        logp, gradient: the log density there and its gradient. They are not random.
        jacobian: whether the log density includes Jacobians.
    """
    if np.isfinite(logp):
        return (
            f"the log density is {logp:.4g}, but its derivative with respect to "
            f"{quoted(_nonfinite(gradient))} is not finite"
        )
    terms = nonfinite_terms(model, position, jax.random.key(0), jacobian=jacobian)
    return f"among the terms of the log density, {'; '.join(terms)}"


def nonfinite_terms(
    model: pm.Model, position: Mapping[str, Any], key: jax.Array, *, jacobian: bool
) -> list[str]:
    """The terms that are not finite at a position, each with its value.

    Arguments:
        model: the model.
        position: as in `logdensity`.
        key: for a log density that is random.
        jacobian: whether to include Jacobians.
    """
    # The caller has compiled the density, so it has allowed any Ops that run in Python.
    density = logdensity(model, jacobian=jacobian, sum=False, host_callback=True)
    terms = density(key, position) if density.takes_key else density(position)
    found = []
    for name, term in jax.device_get(terms).items():
        term = np.asarray(term)
        wrong = ~np.isfinite(term)
        if wrong.any():
            values = ", ".join(f"{x:.4g}" for x in np.unique(term[wrong])[:3])
            of = f" in {wrong.sum()} of {wrong.size} entries" if wrong.size > 1 else ""
            found.append(f"`{name}` is {values}{of}")
    return found


def format_position(position: Mapping[str, Any]) -> str:
    """A short form of a position."""
    parts = [
        f"{name}: {np.array2string(np.asarray(entry), precision=4, threshold=6)}"
        for name, entry in position.items()
    ]
    return "{" + ", ".join(parts) + "}"


def _nonfinite(position: Mapping[str, Any]) -> list[str]:
    return [name for name, x in position.items() if not np.isfinite(x).all()]

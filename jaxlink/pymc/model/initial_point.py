"""Initial positions, by PyMC's strategies."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pymc as pm
from pymc.initial_point import convert_str_to_rv_dict, make_initial_point_expression
from pytensor.graph.basic import Variable

from jaxlink.pymc.model.function import ModelFunction, compile_model
from jaxlink.pymc.shared.arguments import check_names
from jaxlink.pymc.shared.context import resolve_model

__all__ = ["initial_position"]


def initial_position(
    model: pm.Model | None = None,
    *,
    initvals: Mapping[Any, Any] | None = None,
    jitter: bool = False,
    strategy: Literal["support_point", "prior"] = "support_point",
    host_callback: bool = False,
) -> ModelFunction:
    """An initial position, by PyMC's strategies for initial values.

    Arguments:
        model: default: the model on the context stack.
        initvals: initial values that override the model's: a dict by variable or name
            (of a random variable, for values in its own space, or of a value variable),
            with arrays or strategies as values.
        jitter: whether to add a draw from U(-1, 1) to each entry, in unconstrained
            space. Discrete variables get no jitter.
        strategy: the strategy for variables without an initial value: the support point
            of the distribution or a draw from the prior.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a PRNG key that returns a position, as in `logdensity`.
        Without jitter or a strategy that draws, every key gives the same position: for
        chains that start apart, pass ``jitter=True``.

    Raises:
        TypeError: there is no model, or ``initvals`` is not a dict.
        ValueError: a name of ``initvals`` or the strategy is unknown.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Example:
        >>> import jax, jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     p = pm.Beta("p", 2, 2)
        ...     start = jaxlink.pymc.initial_position(initvals={"p": 0.5})
        >>> start(jax.random.key(0))
        {'p_logodds__': Array(0., dtype=float64)}
    """
    model = resolve_model(model)
    strategies = ("support_point", "prior")
    if not isinstance(initvals, Mapping | None):
        kind = type(initvals).__name__
        raise TypeError(f"initvals must be a dict by variable or name, not a {kind}.")
    # PyTensor cannot convert xarray's arrays.
    overrides = {
        name: np.asarray(value) if hasattr(value, "__array__") else value
        for name, value in (initvals or {}).items()
    }
    names = [key.name if isinstance(key, Variable) else key for key in overrides]
    values = [var.name for var in model.value_vars]
    allowed = list(dict.fromkeys([*(rv.name for rv in model.free_RVs), *values]))
    check_names(names, allowed, "free random variable or value variable")
    chosen = [value for value in overrides.values() if isinstance(value, str)]
    check_names([strategy, *chosen], strategies, "strategy for initial values")
    starts = make_initial_point_expression(
        free_rvs=model.free_RVs,
        rvs_to_transforms=model.rvs_to_transforms,
        initval_strategies={
            **model.rvs_to_initial_values,
            **convert_str_to_rv_dict(model, overrides),
        },
        jitter_rvs={model.values_to_rvs[v] for v in model.continuous_value_vars}
        if jitter
        else set(),
        default_strategy=strategy,
        return_transformed=True,
    )
    return compile_model(
        model,
        {},
        dict(zip(values, starts, strict=True)),
        name="initial_position",
        takes_key=True,
        host_callback=host_callback,
    )

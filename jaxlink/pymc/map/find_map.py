"""find_MAP: the mode of a posterior, as PyMC spells it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable
from rich.theme import Theme
from scipy import optimize
from xarray import DataTree

from jaxlink.pymc.map.objective import Objective
from jaxlink.pymc.map.result_tree import inverse_hessian, optimum_tree
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.nonfinite import shown, unsound_terms
from jaxlink.pymc.model.transforms import constrain
from jaxlink.pymc.model.without_gradient import Unmovable, unmovable
from jaxlink.pymc.shared.arguments import HERE, check_names, listed
from jaxlink.pymc.shared.context import model_of
from jaxlink.pymc.shared.progress import progress_bar
from jaxlink.pymc.shared.pymc_arguments import idata_options, refuse
from jaxlink.pymc.shared.seeds import RandomSeed, key_of

__all__ = ["find_MAP"]

# What each method wants besides the value.
_METHODS = {
    **dict.fromkeys(["Nelder-Mead", "Powell", "COBYLA", "COBYQA"], "nothing"),
    **dict.fromkeys(["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP"], "gradient"),
    **dict.fromkeys(["Newton-CG", "trust-ncg", "trust-krylov"], "product"),
    **dict.fromkeys(["trust-constr"], "product"),
    **dict.fromkeys(["dogleg", "trust-exact"], "hessian"),
    "basinhopping": "gradient",
}
# What PyMC calls otherwise by now.
_OLD_NAMES = {
    "start": "initvals",
    "seed": "random_seed",
    "maxeval": "maxiter",
    "return_raw": "return_inferencedata, for a tree with a group optimizer_result",
}

Point = dict[str, np.ndarray]


def find_MAP(  # noqa: N802
    method: str = "L-BFGS-B",
    *,
    vars: Sequence[Any] | None = None,
    use_grad: None = None,
    use_hess: None = None,
    use_hessp: None = None,
    initvals: Mapping[Any, Any] | None = None,
    jitter: bool | None = None,
    jitter_max_retries: int = 10,
    key: Any = None,
    random_seed: RandomSeed = None,
    progressbar: bool = True,
    progressbar_theme: Theme | str | None = None,
    compute_hessian: bool = False,
    return_inferencedata: bool = False,
    idata_kwargs: Mapping[str, Any] | None = None,
    include_transformed: bool | None = None,
    model: pm.Model | None = None,
    backend: None = None,
    compile_kwargs: None = None,
    tol: float | None = None,
    host_callback: bool = False,
    **options: Any,
) -> Point | DataTree:
    """The mode of a model's posterior, found by `scipy.optimize` with JAX's gradients.

    It is the mode of the density of the variables themselves: without the Jacobians of
    the transforms, though it is searched in unconstrained space. A mode may be far from
    where most of the posterior is, so it is no place to start NUTS from.

    Arguments:
        method: of `scipy.optimize.minimize`, or "basinhopping".
        vars: names of the free random variables to optimize, or they themselves; the
            others stay at their initial values. Default: all continuous ones. Discrete
            ones are rounded, by the method "Powell".
        use_grad, use_hess, use_hessp, backend, compile_kwargs: PyMC's; they are
            refused, with what to use instead.
        initvals: where to start, as `initial_position` takes it.
        jitter: whether a draw from U(-1, 1) is added to each entry of the start of what
            is optimized, in unconstrained space.
        jitter_max_retries: how often a start with jitter is drawn again if the density
            is not finite there.
        key: a PRNG key, for ``jitter`` and "basinhopping".
        random_seed: instead of a key; default: a fresh one.
        progressbar: whether to show a progress bar.
        progressbar_theme: a theme of rich for it.
        compute_hessian: whether the tree that is returned has the inverse of the
            Hessian of the negative log density at the mode, over the unconstrained
            space, as ``fit.covariance_matrix``.
        return_inferencedata: whether to return a DataTree instead of a dict.
        idata_kwargs: ``coords`` and ``dims`` to add to those of the model, and
            ``include_transformed``.
        include_transformed: whether values of transformed variables, such as
            ``sigma_log__``, are returned; default: in a dict, but not in a DataTree.
        model: default: the model on the context stack.
        tol: when to stop, as the method understands it. Default: the method's own, but
            1e-6 for "L-BFGS-B" in 32 bits.
        host_callback: as `jaxlink.function` takes it.
        options: further options of the method, such as ``maxiter``.

    Returns:
        A dict of NumPy arrays by name, deterministics included. Or a DataTree as PyMC
        has it: the mode as a single draw of a posterior, the data, ``fit`` with
        ``mean_vector``, and ``optimizer_result``. After Ctrl-C it is the best point so
        far.

    Raises:
        TypeError: there is no model; both a key and a random_seed; an unknown option.
        ValueError: the log density or its gradient is not finite at the start, with the
            terms or variables that are not; JAX cannot differentiate the density; the
            model has no such variables, or nothing to optimize; the model is random
            (`pm.Minibatch`); an unknown method.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu", 0, 2)
        ...     y = pm.Normal("y", mu, 1, observed=[1.0, 2.0, 3.0])
        ...     mode = jaxlink.pymc.find_MAP(progressbar=False)
        >>> mode["mu"].round(3)
        np.float64(1.846)
    """
    refuse(
        "find_MAP",
        use_grad=use_grad,
        use_hess=use_hess,
        use_hessp=use_hessp,
        backend=backend,
        compile_kwargs=compile_kwargs,
    )
    if isinstance(method, Mapping):
        raise TypeError(
            f"method must be a name such as 'L-BFGS-B', not a {type(method).__name__}: "
            "pass a start as initvals=."
        )
    for old, new in _OLD_NAMES.items():
        if old in options:
            raise TypeError(f"find_MAP has no argument {old}: use {new}.")
    methods = {name.lower(): name for name in _METHODS}
    method = methods.get(str(method).lower(), method)
    check_names([method], list(_METHODS), "method of find_MAP")
    if compute_hessian and not return_inferencedata:
        raise ValueError("compute_hessian=True goes with return_inferencedata=True.")
    transformed, further = idata_options("find_MAP", idata_kwargs)
    if include_transformed is None:
        include_transformed = not return_inferencedata
        if transformed is not None:
            include_transformed = transformed
    model = model_of(model)
    names = _names(model, vars)
    discrete = [v.name for v in model.discrete_value_vars if v.name in names]
    if discrete and compute_hessian:
        raise ValueError(
            f"there is no Hessian in the discrete variables {listed(discrete)}: leave "
            "them out of vars."
        )
    if discrete and _METHODS[method] != "nothing":
        _warn(
            f"the discrete variables {listed(discrete)} have no gradients: the method "
            f"is 'Powell', not {method!r}."
        )
        method = "Powell"
    key = key_of(key, random_seed)
    draw = _starts(model, names, initvals, bool(jitter), host_callback)

    shown = bool(progressbar), None, "step", "Maximizing"
    with progress_bar(*shown, theme=progressbar_theme) as bar:
        objective = Objective(model, draw(key, 0), names, bar, host_callback)
        if not objective.start.size:
            raise ValueError(
                f"there is nothing to optimize: {listed(names)} are empty."
            )
        _begin(model, objective, draw, jitter_max_retries if jitter else 0, key, method)
        try:
            result = _minimize(objective, method, key, tol, options)
        except KeyboardInterrupt:
            result = optimize.OptimizeResult(
                x=objective.best,
                fun=objective.best_value,
                success=False,
                message="interrupted: this is the best point so far.",
            )
        hessian = objective.hessian(result.x) if compute_hessian else None
    if not result.get("success", True):
        _warn(f"the optimizer did not converge: {result.get('message', '')}")

    position = objective.position(result.x)
    fn = constrain(
        model, include_transformed=include_transformed, host_callback=host_callback
    )
    found = fn(key, position) if fn.takes_key else fn(position)
    values = {name: np.asarray(x) for name, x in found.items()}
    if not return_inferencedata:
        return values
    covariance = None
    if hessian is not None:
        covariance = inverse_hessian(hessian, objective.precision)
    mode = {name: np.asarray(position[name]) for name in names}
    return optimum_tree(model, values, mode, covariance, result, method, **further)


def _names(model: pm.Model, vars: Sequence[Any] | None) -> list[str]:
    """The value variables to optimize, in the model's order."""
    values = {rv.name: model.rvs_to_values[rv] for rv in model.free_RVs}
    fixed = unmovable(model)
    assigned = {values[name].name for name in fixed.assigned}
    if vars is None:
        chosen = {var.name for var in model.continuous_value_vars} - assigned
        if any(fixed) and chosen:
            _warn(
                f"{fixed} stay at their initial values. Say in vars= which variables "
                "to optimize."
            )
    else:
        given = [vars] if isinstance(vars, str | Variable) else list(vars)
        asked = [var.name if isinstance(var, Variable) else var for var in given]
        own = {value.name: value for value in values.values()}
        check_names(asked, list(values | own), "free random variable of the model")
        chosen = {values[name].name if name in values else name for name in asked}
        if chosen & assigned:
            raise ValueError(
                f"find_MAP cannot optimize {Unmovable([], fixed.assigned)}: the log "
                "density does not tell its step method's values apart. Leave it out of "
                "vars."
            )
    names = [var.name for var in model.value_vars if var.name in chosen]
    if not names:
        what = "continuous free random variables" if vars is None else "vars"
        raise ValueError(f"there is nothing to optimize: no {what}.")
    return names


def _starts(
    model: pm.Model,
    names: list[str],
    initvals: Mapping[Any, Any] | None,
    jitter: bool,
    host_callback: bool,
) -> Callable[[jax.Array, int], Point]:
    """From a key and a number of an attempt to a position."""
    make = partial(
        initial_position, model, initvals=initvals, host_callback=host_callback
    )
    start = make()
    if jitter:
        jittered = make(jitter=True)
        continuous = {var.name for var in model.continuous_value_vars}

    def draw(key: jax.Array, attempt: int) -> Point:
        key = jax.random.fold_in(key, attempt)
        position = start(key)
        if jitter:
            moved = jittered(key)
            position |= {name: moved[name] for name in names if name in continuous}
        return {name: np.asarray(x) for name, x in position.items()}

    return draw


def _begin(
    model: pm.Model,
    objective: Objective,
    draw: Callable[[jax.Array, int], Point],
    retries: int,
    key: jax.Array,
    method: str,
) -> None:
    """Find a start at which the density and its gradient are finite."""
    for attempt in range(retries + 1):
        if attempt:
            objective.begin(draw(key, attempt))
        if _METHODS[method] == "nothing":
            value, gradient = objective.value(objective.start), np.zeros(0)
        else:
            try:
                value, gradient = objective.value_and_gradient(objective.start)
            except (NotImplementedError, TypeError, ValueError):
                objective.check_gradient()
                raise
        if np.isfinite(value) and np.isfinite(gradient).all():
            return
    start = objective.position(objective.start)
    if np.isfinite(value):
        wrong = objective.names_of(~np.isfinite(gradient))
        reason = f"the derivative in {listed(wrong)} is not finite"
    else:
        found = unsound_terms(model, start, key, jacobian=False)
        reason = f"of the terms of the log density, {'; '.join(found)}"
    raise ValueError(
        f"cannot start at {shown(start)}: {reason}. Check the priors and the data, or "
        "give initvals."
    )


def _minimize(
    objective: Objective,
    method: str,
    key: jax.Array,
    tol: float | None,
    options: dict[str, Any],
) -> optimize.OptimizeResult:
    options = dict(options)
    inner = dict(options.pop("minimizer_kwargs", {})) if "basin" in method else {}
    local = inner.pop("method", "L-BFGS-B") if "basin" in method else method
    wants = _METHODS[local]
    if tol is None and local == "L-BFGS-B" and objective.precision > 1e-10:
        tol = 1e-6  # its own is finer than what a density of 32 bits can tell
    kwargs: dict[str, Any] = {"method": local, "tol": tol, **inner}
    kwargs["jac"] = None if wants == "nothing" else True
    if wants == "product":
        kwargs["hessp"] = objective.hessian_product
    elif wants == "hessian":
        kwargs["hess"] = objective.hessian
    fun = objective.value if wants == "nothing" else objective.value_and_gradient
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Unknown solver options")
        try:
            if method == "basinhopping":
                seed = np.asarray(jax.random.key_data(key)).ravel()
                options.setdefault("rng", np.random.default_rng(seed))
                return optimize.basinhopping(
                    fun, objective.start, minimizer_kwargs=kwargs, **options
                )
            return optimize.minimize(fun, objective.start, options=options, **kwargs)
        except optimize.OptimizeWarning as warning:
            raise TypeError(f"{method} does not know all options: {warning}") from None


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, skip_file_prefixes=HERE)

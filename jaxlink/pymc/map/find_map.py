"""`find_MAP`: the mode of a posterior, by `scipy.optimize` with JAX's derivatives.

Under `jaxlink.MODE`, PyMC's own function would differentiate in PyTensor. It would know
neither JAX's keys nor which terms of a density are not finite. So we call SciPy here,
and PyMC only makes the tree.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pymc as pm
from pymc.blocking import DictToArrayBijection
from pymc.util import get_default_varnames
from pytensor.graph.basic import Variable
from rich.theme import Theme
from scipy import optimize
from xarray import DataTree

from jaxlink.pymc.map.objective import Objective
from jaxlink.pymc.model.differentiability import (
    WithoutGradient,
    check_gradient,
    variables_without_gradient,
)
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.nonfinite import format_position, is_usable, why_unusable
from jaxlink.pymc.model.transforms import constrain
from jaxlink.pymc.shared.arguments import HERE, check_names, quoted
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import add_version
from jaxlink.pymc.shared.progress import progress_bar
from jaxlink.pymc.shared.pymc_arguments import idata_options, refuse
from jaxlink.pymc.shared.seeds import RandomSeed, resolve_key

__all__ = ["find_MAP"]

# What each method takes besides the value, by SciPy's names: nothing, the gradient, or
# the gradient and one of the others.
_METHODS = {
    **dict.fromkeys(["Nelder-Mead", "Powell", "COBYLA", "COBYQA"], None),
    **dict.fromkeys(["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "basinhopping"], "jac"),
    **dict.fromkeys(["Newton-CG", "trust-ncg", "trust-krylov"], "hessp"),
    **dict.fromkeys(["trust-constr"], "hessp"),
    **dict.fromkeys(["dogleg", "trust-exact"], "hess"),
}
_OLD_NAMES = ("start", "seed", "maxeval", "return_raw")

_warn = partial(warnings.warn, category=UserWarning, skip_file_prefixes=HERE)


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
) -> dict[str, np.ndarray] | DataTree:
    """Find the mode of a posterior by `scipy.optimize` with JAX's gradients.

    It is the mode of the density of the variables themselves, without the Jacobians of
    the transforms, although the search runs in unconstrained space. A mode may be far
    from the bulk of the posterior, so do not start NUTS from it.

    Arguments:
        method: a method of `scipy.optimize.minimize`, or "basinhopping".
        vars: the free random variables to optimize, or their names; the others keep
            their initial values. Default: all continuous ones. For discrete ones the
            method is "Powell", which rounds them.
        use_grad, use_hess, use_hessp, backend, compile_kwargs: for PyMC's own backends;
            refused, with a hint about what to use instead.
        initvals: initial values, as in `initial_position`.
        jitter: whether to add a draw from U(-1, 1), in unconstrained space, to each
            entry that is optimized.
        jitter_max_retries: how often to draw another jitter if the density is not
            finite.
        key, random_seed: a PRNG key or a seed, for jitter and "basinhopping"; default:
            a fresh key.
        progressbar, progressbar_theme: whether to show a bar, and a rich theme for it.
        compute_hessian: whether the tree has ``fit.covariance_matrix``, the inverse
            Hessian of the negative log density at the mode, in unconstrained space.
        return_inferencedata: whether to return a DataTree instead of a dict.
        idata_kwargs: ``coords`` and ``dims`` to add to those of the model, and
            ``include_transformed``.
        include_transformed: whether values of transformed variables, such as
            ``sigma_log__``, are returned; default: in a dict, but not in a DataTree.
        model: default: the model on the context stack.
        tol: the method's tolerance for stopping. Default: the method's own, but 1e-6
            for "L-BFGS-B" in 32 bits.
        host_callback: see `jaxlink.function`.
        options: further options of the method, such as ``maxiter``.

    Returns:
        A dict of NumPy arrays by name, deterministics included. Or PyMC's DataTree: the
        mode as a single draw of a posterior, the data, ``fit`` with ``mean_vector``,
        and ``optimizer_result``. After Ctrl-C it is the best point so far.

    Raises:
        TypeError: there is no model, both ``key`` and ``random_seed`` are given, or an
            option is unknown.
        ValueError: the log density or its gradient is not finite at the start (the
            error names the terms or variables); JAX cannot differentiate the density;
            the model lacks a variable of ``vars``, or there is nothing to optimize; the
            model is random (`pm.Minibatch`); or the method is unknown.

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
        **{name: True for name in _OLD_NAMES if name in options},
    )
    if isinstance(method, Mapping):
        raise TypeError("method must be a name: pass a start as initvals=.")
    if compute_hessian and not return_inferencedata:
        raise ValueError("compute_hessian=True needs return_inferencedata=True.")
    transformed, further = idata_options("find_MAP", idata_kwargs)
    if include_transformed is None:
        include_transformed = transformed
    if include_transformed is None:
        include_transformed = not return_inferencedata
    local: dict[str, Any] = {"method": method, "tol": tol}
    if hops := _spelled(method) == "basinhopping":
        local |= {"method": "L-BFGS-B", **options.pop("minimizer_kwargs", {})}
    local["method"] = _spelled(local["method"])
    model = resolve_model(model)
    names = _names(model, vars)
    discrete = [v.name for v in model.discrete_value_vars if v.name in names]
    if discrete and compute_hessian:
        raise ValueError(
            f"there is no Hessian in the discrete variables {quoted(discrete)}: leave "
            "them out of vars."
        )
    if discrete and _METHODS[local["method"]]:
        _warn(
            f"the discrete variables {quoted(discrete)} have no gradients: the method "
            f"is 'Powell', not {local['method']!r}."
        )
        local["method"] = "Powell"
    key = resolve_key(key, random_seed)
    given = {"initvals": initvals, "host_callback": host_callback}
    initial = _partly_jittered(model, names, bool(jitter), given)

    shows = bool(progressbar), None, "step", "Maximizing"
    with progress_bar(*shows, theme=progressbar_theme) as bar:
        first = initial(jax.random.fold_in(key, 0))
        objective = Objective(model, first, names, bar, host_callback)
        if with_gradient := _METHODS[local["method"]] is not None:
            instead = 'a method such as "Powell".'
            check_gradient(objective.log_density, objective.flat.shapes, instead)
        retries = jitter_max_retries if jitter else 0
        _find_initial_position(model, objective, initial, key, retries, with_gradient)
        try:
            result = _minimize(objective, local, key if hops else None, options)
        except KeyboardInterrupt:
            best = {"x": objective.best, "fun": objective.best_value, "success": False}
            message = "interrupted: this is the best point so far."
            result = optimize.OptimizeResult(best, message=message)
        if not result.get("success", True):
            _warn(f"the optimizer did not converge: {result.get('message', '')}")
        covariance = _covariance(objective, result.x) if compute_hessian else None

    position = objective.position(result.x)
    fn = constrain(model, include_transformed=True, host_callback=host_callback)
    found = fn(key, position) if fn.takes_key else fn(position)
    values = {name: np.asarray(x) for name, x in found.items()}
    if not return_inferencedata:
        kept = get_default_varnames(values, include_transformed)
        return {name: values[name] for name in kept}
    # The function that makes PyMC's tree has no public name.
    from pymc.tuning.starting import _map_to_inference_data, _MAPFit

    mode = DictToArrayBijection.map({name: position[name] for name in names})
    method = "basinhopping" if hops else local["method"]
    made = result, mode, covariance, method
    fit = _MAPFit(model, position, values, lambda *_: values.values(), *made)
    further["include_transformed"] = include_transformed
    return add_version(_map_to_inference_data(fit, further))


def _spelled(method: str) -> str:
    """SciPy's spelling of a method."""
    spelled = {name.lower(): name for name in _METHODS}.get(str(method).lower(), method)
    check_names([spelled], list(_METHODS), "method of find_MAP")
    return spelled


def _names(model: pm.Model, vars: Sequence[Any] | None) -> list[str]:
    """The value variables to optimize, in the model's order."""
    values = {rv.name: model.rvs_to_values[rv].name for rv in model.free_RVs}
    fixed = variables_without_gradient(model)
    assigned = {values[name] for name in fixed.assigned}
    if vars is None:
        chosen = {var.name for var in model.continuous_value_vars} - assigned
        if any(fixed) and chosen:
            _warn(
                f"{fixed} stay at their initial values. Pass the variables to optimize "
                "as vars=."
            )
    else:
        given = [vars] if isinstance(vars, str | Variable) else vars
        asked = [getattr(var, "name", var) for var in given]
        allowed = dict.fromkeys([*values, *values.values()])
        check_names(asked, allowed, "free random variable of the model")
        chosen = {values.get(name, name) for name in asked}
        if chosen & assigned:
            raise ValueError(
                f"find_MAP cannot optimize {WithoutGradient([], fixed.assigned)}: the "
                "log density does not tell its step method's values apart. Leave it "
                "out of vars."
            )
    if not chosen:
        what = "continuous free random variables" if vars is None else "vars"
        raise ValueError(f"there is nothing to optimize: no {what}.")
    return [var.name for var in model.value_vars if var.name in chosen]


def _partly_jittered(
    model: pm.Model, names: list[str], jitter: bool, given: dict[str, Any]
) -> Callable[[jax.Array], dict[str, Any]]:
    """Like `initial_position`, but only these value variables get jitter."""
    plain = initial_position(model, **given)
    if not jitter:
        return plain
    jittered = initial_position(model, jitter=True, **given)

    def position(key: jax.Array) -> dict[str, Any]:
        moved = jittered(key)
        return {**plain(key), **{name: moved[name] for name in names}}

    return position


def _find_initial_position(
    model: pm.Model,
    objective: Objective,
    initial: Callable[[jax.Array], dict[str, Any]],
    key: jax.Array,
    retries: int,
    with_gradient: bool,
) -> None:
    """Let the objective start where the density, and its gradient, are finite."""
    for attempt in range(retries + 1):
        objective.restart(initial(jax.random.fold_in(key, attempt)))
        start, gradient = objective.best, {}
        if with_gradient:
            value, slope = objective.value_and_gradient(start)
            gradient = objective.flat.unravel(slope)
        else:
            value = objective.value(start)
        if is_usable(value, gradient):
            return
    position = objective.position(start)
    reason = why_unusable(model, position, -value, gradient, jacobian=False)
    raise ValueError(
        f"cannot start at {format_position(position)}: {reason}. Check the priors and "
        "the data, or give initvals."
    )


def _minimize(
    objective: Objective,
    local: dict[str, Any],
    hopping_key: jax.Array | None,
    options: dict[str, Any],
) -> optimize.OptimizeResult:
    """Minimize by the local method, or by basin hopping around it if there is a key."""
    method, start = local["method"], objective.best
    fun: Callable[..., Any] = objective.value
    if further := _METHODS[method]:
        fun, local["jac"] = objective.value_and_gradient, True
        if further != "jac":
            local[further] = getattr(objective, further)
    if method == "L-BFGS-B" and local["tol"] is None and objective.precision > 1e-10:
        local["tol"] = 1e-6  # its default is finer than 32 bits can resolve
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Unknown solver options")
        try:
            if hopping_key is None:
                return optimize.minimize(fun, start, options=options, **local)
            seed = np.asarray(jax.random.key_data(hopping_key)).ravel()
            options.setdefault("rng", np.random.default_rng(seed))
            return optimize.basinhopping(fun, start, minimizer_kwargs=local, **options)
        except optimize.OptimizeWarning as warning:
            raise TypeError(f"{method} does not know all options: {warning}") from None


def _covariance(objective: Objective, x: np.ndarray) -> np.ndarray:
    """The inverse Hessian. Eigenvalues below the rounding error are raised to it. (PyMC
    assumes the rounding error of PyTensor's floats, not of JAX's.)"""
    hessian = objective.hess(x)
    eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    least = np.abs(eigenvalues).max() * len(eigenvalues) * objective.precision
    least = max(least, np.finfo(float).tiny)
    if eigenvalues.min() < -least:
        _warn(
            "the Hessian is not positive definite (its smallest eigenvalue is "
            f"{eigenvalues.min():.3g}), so this may be a saddle point. The covariance "
            "uses clipped eigenvalues."
        )
    return (vectors / np.maximum(eigenvalues, least)) @ vectors.T

"""`fit`: variational inference with the signature of `pymc.fit`."""

import inspect
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
import pymc as pm
from rich.theme import Theme

from jaxlink.optional import load
from jaxlink.pymc.model.differentiability import variables_without_gradient
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.transforms import Ravel, ravel
from jaxlink.pymc.shared.arguments import HERE, check_count, check_names
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.progress import progress_bar
from jaxlink.pymc.shared.pymc_arguments import refuse, refuse_unknown
from jaxlink.pymc.shared.seeds import RandomSeed, resolve_key
from jaxlink.pymc.vi.advi import Parameters
from jaxlink.pymc.vi.approximation import Approximation
from jaxlink.pymc.vi.run import ADVIRun

if TYPE_CHECKING:
    from optax import GradientTransformation

__all__ = ["fit"]

# (approximation so far, losses so far, number of steps so far)
Callback = Callable[[Approximation, np.ndarray, int], Any]

# Further arguments of `pymc.fit`; `pymc_arguments` says how to replace them.
REFUSED = (
    "compile_kwargs",
    "fn_kwargs",
    "more_obj_params",
    "more_replacements",
    "more_tf_params",
    "more_updates",
    "obj_optimizer",
    "test_optimizer",
    "tf_n_mc",
    "total_grad_norm_constraint",
)

# Initial learning rates of the default optimizer, and the initial scale.
_MEAN_RATE, _FULL_RATE, _SIGMA = 0.05, 0.02, 0.1


def fit(
    n: int = 10_000,
    method: Literal["advi", "fullrank_advi"] = "advi",
    model: pm.Model | None = None,
    random_seed: RandomSeed = None,
    start: Mapping[Any, Any] | None = None,
    start_sigma: Mapping[str, Any] | None = None,
    inf_kwargs: Mapping[str, Any] | None = None,
    *,
    key: Any = None,
    optimizer: "GradientTransformation | None" = None,
    mc_samples: int | None = None,
    obj_n_mc: int | None = None,
    callbacks: Sequence[Callback] | None = (),
    chunk: int | None = None,
    progressbar: bool = True,
    progressbar_theme: Theme | str | None = None,
    score: bool = True,
    backend: None = None,
    include_transformed: Literal[False] = False,
    host_callback: bool = False,
    **kwargs: Any,
) -> Approximation:
    """Approximate a model's posterior by a normal distribution (ADVI).

    The normal distribution is defined over the unconstrained space. Stochastic
    gradients maximize its evidence lower bound, the ELBO (see `jaxlink.pymc.vi.advi`).
    A model with `pm.Minibatch` gets a new minibatch at each step. Step *i* uses the key
    ``fold_in(fold_in(key, 1), i)``, so the same key gives the same result, to the bit,
    for any ``chunk``.

    Arguments:
        n: the number of steps.
        method: "advi" for independent entries (mean field), "fullrank_advi" for all
            correlations.
        model: default: the model on the context stack.
        random_seed: a seed, as in PyMC; default: a fresh key.
        start: the initial mean, like the ``initvals`` of `initial_position`.
        start_sigma: the initial standard deviations in unconstrained space, by value
            variable or free random variable; default: 0.1.
        inf_kwargs: ``random_seed``, ``start`` and ``start_sigma`` in a dict.
        key: a PRNG key instead of a seed.
        optimizer: an Optax optimizer. Default: Adam, whose learning rate falls along a
            cosine from 0.05 (mean field) or 0.02 (full rank) to 0 at step ``n``.
        mc_samples: the number of draws that estimate the ELBO and its gradient at each
            step, in pairs of opposite sign; default: 2.
        obj_n_mc: PyMC's name for ``mc_samples``.
        callbacks: called with the approximation so far, the losses and the number of
            steps, after every ``chunk`` steps. StopIteration ends the optimization.
        chunk: the number of steps between two checks of callbacks, progress and Ctrl-C.
            Default: 100 with callbacks, otherwise as many as take about 0.2 s.
        progressbar: whether to show a progress bar.
        progressbar_theme: a rich theme for it.
        score: ignored; the losses of all steps are always kept.
        backend, include_transformed, kwargs: for PyMC's own backends; refused, with a
            hint about what to use instead.
        host_callback: see `jaxlink.function`.

    Returns:
        an `Approximation`; after Ctrl-C, the one so far.

    Raises:
        TypeError: there is no model, both ``key`` and ``random_seed`` are given, or an
            argument is unknown or refused.
        ValueError: the model has no free variables, discrete ones, or some that have
            another step method in PyMC; the loss is not finite at the start (the error
            names the terms of the log density that are not); a name is unknown or a
            number out of range.
        ImportError: Optax is not installed.
        FloatingPointError: the optimization met NaN; the error names the variables and
            the terms.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu", 0, 2)
        ...     y = pm.Normal("y", mu, 1, observed=[1.0, 2.0, 3.0])
        ...     approx = jaxlink.pymc.fit(5_000, random_seed=1, progressbar=False)
        >>> approx.sample(200, random_seed=2)["posterior"]["mu"].shape
        (1, 200)
    """
    refuse("fit", backend=backend, include_transformed=include_transformed or None)
    refuse("fit", **{name: kwargs[name] for name in kwargs if name in REFUSED})
    allowed = [*inspect.signature(fit).parameters, *REFUSED]
    refuse_unknown("fit", [name for name in kwargs if name not in REFUSED], allowed)
    given = {"random_seed": random_seed, "start": start, "start_sigma": start_sigma}
    random_seed, start, start_sigma = _starting(inf_kwargs, given)
    n = check_count(n, "n", 1)
    if n >= 2**31:
        raise ValueError(f"n must be less than 2**31, but is {n}.")
    if mc_samples is not None and obj_n_mc is not None:
        raise TypeError("give either mc_samples or obj_n_mc, not both.")
    samples = next((x for x in (mc_samples, obj_n_mc) if x is not None), 2)
    samples = check_count(samples, "mc_samples", 1)
    callbacks = callbacks or ()
    if chunk is None:
        chunk = 100 if callbacks else None
    else:
        chunk = check_count(chunk, "chunk", 1)
    is_full = _is_full(method)
    model = resolve_model(model)
    _check_variables(model)
    key = resolve_key(key, random_seed)
    if optimizer is None:
        optax = load("optax", "fit without an optimizer of your own")
        rate = _FULL_RATE if is_full else _MEAN_RATE
        optimizer = optax.adam(optax.cosine_decay_schedule(rate, n))
        identity: Hashable = "adam", rate, n
    elif not hasattr(optimizer, "update"):
        raise TypeError(
            "optimizer must be an optax.GradientTransformation, such as "
            f"optax.adam(0.01), not {type(optimizer).__name__}."
        )
    else:
        identity = optimizer

    flat = ravel(model, host_callback=host_callback)
    if not flat.size:
        raise ValueError("all free random variables of the model are empty.")
    begin = initial_position(model, initvals=start, host_callback=host_callback)
    first = begin(jax.random.fold_in(key, 0))
    mean = flat.ravel(first)
    sigma = _start_sigma(model, flat, start_sigma)
    parameters = Parameters.at(mean, sigma.astype(mean.dtype), is_full)
    run = ADVIRun(
        model,
        flat,
        jax.random.fold_in(key, 1),
        parameters,
        optimizer,
        identity,
        samples,
        n,
        host_callback,
    )
    try:
        shown = bool(progressbar), n, "step", "Fitting"
        with progress_bar(*shown, theme=progressbar_theme) as bar:
            while run.done < n:
                bar(run.advance(chunk), f"Average loss = {run.average_loss:,.5g}")
                if chunk is not None and (run.done % chunk == 0 or run.done == n):
                    for callback in callbacks:
                        callback(run.approximation, run.losses, run.done)
    except StopIteration:
        pass
    except KeyboardInterrupt:
        if not run.done:
            raise
        warnings.warn(
            f"interrupted after {run.done:,} of {n:,} steps: this is the approximation "
            "so far.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    return run.approximation


def _start_sigma(
    model: pm.Model, flat: Ravel, given: Mapping[str, Any] | None
) -> jax.Array:
    """The initial standard deviations, as a vector."""
    sigmas = {
        name: np.full(entry.shape, _SIGMA, np.dtype(entry.dtype))
        for name, entry in flat.shapes.items()
    }
    names = {rv.name: model.rvs_to_values[rv].name for rv in model.free_RVs}
    allowed = list(dict.fromkeys([*names, *sigmas]))
    check_names(given or {}, allowed, "free random variable or value variable")
    for name, value in (given or {}).items():
        own = sigmas[names.get(name, name)]
        try:
            own[...] = value
        except ValueError as error:
            raise ValueError(
                f"start_sigma gives `{name}` the shape {np.shape(value)}, but it must "
                f"be {own.shape}."
            ) from error
        if not (np.isfinite(own).all() and (own > 0).all()):
            raise ValueError(f"start_sigma of `{name}` must be positive, not {value}.")
    return flat.ravel(sigmas)


def _starting(
    inf_kwargs: Mapping[str, Any] | None, given: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The initial values, from the arguments and from PyMC's ``inf_kwargs``."""
    of_dict = dict(inf_kwargs or {})
    check_names(of_dict, given, "entry of inf_kwargs")
    for name in of_dict:
        if given[name] is not None:
            raise TypeError(f"{name} is given twice: to fit(), and in inf_kwargs.")
    return tuple(of_dict.get(name, value) for name, value in given.items())


def _is_full(method: Any) -> bool:
    """Whether a method is "fullrank_advi"."""
    name = str(method).lower()
    if not isinstance(method, str) or name in ("svgd", "asvgd"):
        raise ValueError(
            f'there is no method {method!r} here: use "advi" or "fullrank_advi", or '
            "run PyMC's own on jaxlink: pm.fit(method=..., "
            'compile_kwargs={"mode": jaxlink.MODE}).'
        )
    check_names([name], ["advi", "fullrank_advi"], "method of fit")
    return name == "fullrank_advi"


def _check_variables(model: pm.Model) -> None:
    if not model.free_RVs:
        raise ValueError("the model has no free random variables to approximate.")
    if any(found := variables_without_gradient(model)):
        raise ValueError(
            f"a normal distribution cannot approximate {found}. {found.advice}"
        )

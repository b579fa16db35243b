"""fit: variational inference as PyMC spells it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
import pymc as pm

from jaxlink.pymc.advi import Parameters
from jaxlink.pymc.advi_run import ADVIRun
from jaxlink.pymc.approximation import Approximation
from jaxlink.pymc.context import (
    HERE,
    RandomSeed,
    check_names,
    key_of,
    load,
    model_of,
)
from jaxlink.pymc.initial import initial_position
from jaxlink.pymc.movable import unmovable
from jaxlink.pymc.progress import progress_bar
from jaxlink.pymc.transforms import Ravel, ravel

if TYPE_CHECKING:
    from optax import GradientTransformation

__all__ = ["fit"]

# (approximation so far, losses so far, number of steps so far)
Callback = Callable[[Approximation, np.ndarray, int], Any]

# What the default optimizer and the scale start with.
_MEAN_RATE, _FULL_RATE, _SIGMA = 0.05, 0.02, 0.1


def fit(
    n: int = 10_000,
    method: Literal["advi", "fullrank_advi"] = "advi",
    *,
    model: pm.Model | None = None,
    key: Any = None,
    random_seed: RandomSeed = None,
    start: Mapping[Any, Any] | None = None,
    start_sigma: Mapping[str, Any] | None = None,
    optimizer: "GradientTransformation | None" = None,
    mc_samples: int = 2,
    callbacks: Sequence[Callback] = (),
    chunk: int | None = None,
    progressbar: bool = True,
    host_callback: bool = False,
) -> Approximation:
    """Approximate a model's posterior by a normal distribution (ADVI).

    The normal distribution is one over the unconstrained space; it maximizes the
    evidence lower bound (ELBO), by stochastic gradients (`jaxlink.pymc.advi` says how).
    A model with `pm.Minibatch` gets a new minibatch at each step. Step *i* uses the key
    ``fold_in(fold_in(key, 1), i)``, and the same key gives the same result, to the bit,
    whatever ``chunk`` is.

    Arguments:
        n: the number of steps.
        method: "advi" for a normal distribution of independent entries (mean field),
            "fullrank_advi" for one with all correlations.
        model: default: the model on the context stack.
        key: a PRNG key.
        random_seed: instead of a key; default: a fresh one.
        start: where the mean starts, as `initial_position` takes ``initvals``.
        start_sigma: the standard deviations, in unconstrained space, to start from, by
            value variable or free random variable; default: 0.1.
        optimizer: from Optax. Default: Adam, whose learning rate falls along a cosine
            from 0.05 (mean field) or 0.02 (full rank) to 0 at step ``n``.
        mc_samples: how many draws the ELBO and its gradient are estimated from at each
            step. They come in pairs of opposite signs.
        callbacks: called with the approximation so far, the losses and the number of
            steps, whenever ``chunk`` steps were made. One that raises StopIteration
            ends the optimization.
        chunk: how many steps are made between two looks at callbacks, progress and
            Ctrl-C. Default: 100 with callbacks, else what takes about 0.2 s.
        progressbar: whether to show a progress bar.
        host_callback: as `jaxlink.function` takes it.

    Returns:
        an `Approximation`. After Ctrl-C, that of the steps so far.

    Raises:
        TypeError: there is no model; both a key and a random_seed; or as the types say.
        ValueError: the model has no free variables or discrete ones; the loss is not
            finite at the start, with the terms of the log density that are not; an
            unknown name or a number out of range.
        ImportError: Optax is not installed.
        ImportError: Optax is not installed.
        FloatingPointError: the optimization came upon NaN, with the variables and the
            terms in which it did.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu", 0, 2)
        ...     y = pm.Normal("y", mu, 1, observed=[1.0, 2.0, 3.0])
        ...     approx = jaxlink.pymc.fit(5_000, random_seed=1, progressbar=False)
        >>> approx.sample(200, random_seed=2)["posterior"]["mu"].shape
        (1, 200)
    """
    for name, value, least in (("n", n, 0), ("mc_samples", mc_samples, 1)):
        _check_number(name, value, least)
    if chunk is None:
        chunk = 100 if callbacks else None
    else:
        _check_number("chunk", chunk, 1)
    check_names([str(method).lower()], ["advi", "fullrank_advi"], "method of fit")
    is_full = str(method).lower() == "fullrank_advi"
    model = model_of(model)
    _check_variables(model)
    key = key_of(key, random_seed)
    if optimizer is None:
        optax = load("optax", "fit without an optimizer of your own")
        rate = _FULL_RATE if is_full else _MEAN_RATE
        optimizer = optax.adam(optax.cosine_decay_schedule(rate, max(n, 1)))
    elif not hasattr(optimizer, "update"):
        raise TypeError(
            "optimizer must be an optax.GradientTransformation, such as "
            f"optax.adam(0.01), not {type(optimizer).__name__}."
        )

    flat = ravel(model, host_callback=host_callback)
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
        mc_samples,
        n,
        host_callback,
    )
    try:
        with progress_bar(progressbar, n, "step", "Fitting") as bar:
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
    """The standard deviations to start from, as a vector."""
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


def _check_number(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but is {value}.")


def _check_variables(model: pm.Model) -> None:
    if not model.free_RVs:
        raise ValueError("the model has no free random variables to approximate.")
    if any(found := unmovable(model)):
        raise ValueError(
            f"a normal distribution cannot approximate {found}. {found.advice}"
        )

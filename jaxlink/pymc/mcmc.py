"""`sample`: draws from the posterior of a model, by NUTS."""

import logging
import operator
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from jax.sharding import Mesh, Sharding
from pymc.exceptions import SamplingError
from pymc.stats.convergence import log_warnings, run_convergence_checks
from xarray import DataTree

from jaxlink.pymc.chains import STARTING, STEPPING, Chains, chain_keys
from jaxlink.pymc.chunks import check_batch_size, mesh_of
from jaxlink.pymc.context import (
    HERE,
    RandomSeed,
    check_names,
    key_of,
    load,
    model_of,
)
from jaxlink.pymc.data import check_observed
from jaxlink.pymc.density import logdensity
from jaxlink.pymc.functions import ModelFunction
from jaxlink.pymc.lanes import lanes_of
from jaxlink.pymc.mcmc_progress import MCMCProgress, ProgressBar
from jaxlink.pymc.mcmc_trace import Trace, posterior_tree
from jaxlink.pymc.memory import budget
from jaxlink.pymc.movable import check_gradient, unmovable
from jaxlink.pymc.nutpie import NutpieChains
from jaxlink.pymc.nuts import KERNELS, Shapes
from jaxlink.pymc.start import InitVals, Starts, start_chains
from jaxlink.pymc.transforms import Ravel, constrain

__all__ = ["sample"]

# What is sampled, and for how long, is said where PyMC says it.
_log = logging.getLogger("pymc.sampling.mcmc")


def sample(
    draws: int = 1000,
    *,
    tune: int = 1000,
    chains: int = 4,
    model: pm.Model | None = None,
    key: Any = None,
    random_seed: RandomSeed = None,
    var_names: Sequence[str] | None = None,
    nuts_sampler: Literal["blackjax", "numpyro", "nutpie"] = "blackjax",
    target_accept: float | None = None,
    initvals: InitVals | None = None,
    jitter: bool = True,
    jitter_max_retries: int = 10,
    nuts: Mapping[str, Any] | None = None,
    nuts_sampler_kwargs: Mapping[str, Any] | None = None,
    keep_untransformed: bool = False,
    discard_tuned_samples: bool = True,
    batch_size: int | None = None,
    progressbar: ProgressBar = True,
    chain_method: Literal["parallel", "vectorized"] | None = None,
    sharding: Sharding | None = None,
    compute_convergence_checks: bool = True,
    idata_kwargs: Mapping[str, Any] | None = None,
    host_callback: bool = False,
) -> DataTree:
    """Draw from the posterior of a model, whose free variables are all continuous.

    Chain *i* has the key ``fold_in(key, i)``, and step *t* folds in *t*. So the same
    key gives the same draws for any ``batch_size``, number of chains and number of
    devices: to the bit with ``chain_method="parallel"``. Chains that are vectorized
    round differently if there are more or fewer on a device, and chains that differ by
    a rounding part ways after some time.

    Draws move to the host a few steps at a time. Ctrl-C between these ends the run and
    returns the draws made so far, with a warning.

    Arguments:
        draws: the number of draws of each chain.
        tune: the number of steps before, in which the step size and the mass matrix
            adapt.
        chains: the number of chains.
        model: default: the model on the context stack.
        key: a PRNG key; default: a fresh one.
        random_seed: instead of a key, as in PyMC.
        var_names: the free variables and deterministics to keep; default: all.
        nuts_sampler: whose NUTS draws. BlackJAX and NumPyro run in JAX altogether;
            nutpie calls JAX for the log density, adapts in fewer steps, and keeps all
            positions in memory.
        target_accept: the acceptance rate that the step size is adapted to, in (0, 1);
            default: 0.8.
        initvals: values to start from, as `initial_position` takes them, or a list of
            these, one for each chain.
        jitter: whether a draw from U(-1, 1) is added to each entry of the start.
        jitter_max_retries: how often a chain draws another start if the log density or
            its gradient is not finite there.
        nuts: options of the sampler: ``max_treedepth``, and what `blackjax.nuts` and
            its warm-up (``is_mass_matrix_diagonal``, ``initial_step_size``,
            ``divergence_threshold``, ...), `numpyro.infer.NUTS` (``dense_mass``, ...)
            or `nutpie.sample` take.
        nuts_sampler_kwargs: an older name of ``nuts``.
        keep_untransformed: whether the posterior has the values of transformed
            variables too, such as ``sigma_log__``.
        discard_tuned_samples: whether to drop the steps of the warm-up; if not, they
            are in groups of their own.
        batch_size: how many draws, of all chains together, the device holds at most;
            default: what fits a budget of memory.
        progressbar: whether to show progress, or how: ``"split"``, ``"combined"``,
            ``"split+stats"`` (the default) or ``"combined+stats"``.
        chain_method: ``"parallel"`` runs each chain in a thread, so that chains use all
            cores of a CPU and none waits for the others; ``"vectorized"`` steps all in
            one program by ``jax.vmap``, which fills an accelerator. Default: by the
            device. nutpie's are parallel.
        sharding: over whose devices the chains are spread; default: all on JAX's
            default device.
        compute_convergence_checks: whether PyMC's checks are made at the end, which
            warn through its logger.
        idata_kwargs: ``coords`` and ``dims`` to add to those of the model.
        host_callback: as `jaxlink.function` takes it.

    Returns:
        a ``DataTree`` as PyMC makes it, with the groups ``posterior``,
        ``sample_stats``, ``observed_data``, and ``constant_data`` if there is any.

    Raises:
        TypeError: there is no model, or an argument is of the wrong type.
        ValueError: an argument is out of range, a name is unknown, a free variable is
            discrete, or the log density is random (`pm.Minibatch`).
        pymc.exceptions.SamplingError: there is nothing to sample, or no start at which
            the log density is finite; the terms that are not are named.
        ImportError: the sampler's package is not installed.
        UnsupportedOpError, DynamicShapeError: as `jaxlink.function` raises.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu")
        ...     y = pm.Normal("y", mu, 1, observed=[0.5, -1.0])
        ...     idata = jaxlink.pymc.sample(
        ...         100, tune=100, chains=2, random_seed=0, progressbar=False,
        ...         compute_convergence_checks=False,
        ...     )
        >>> dict(idata.posterior.sizes)
        {'chain': 2, 'draw': 100}
    """
    model = model_of(model)
    draws = _count(draws, "draws", 1)
    tune = _count(tune, "tune", 0)
    chains = _count(chains, "chains", 1)
    retries = _count(jitter_max_retries, "jitter_max_retries", 0)
    check_names([nuts_sampler], [*KERNELS, "nutpie"], "nuts_sampler")
    options, target = _options(nuts, nuts_sampler_kwargs, target_accept)
    further = _further(idata_kwargs)
    check_batch_size(batch_size)
    mesh = mesh_of(sharding)
    if chain_method is not None:
        check_names([chain_method], ("parallel", "vectorized"), "chain_method")
    if nuts_sampler == "nutpie" and (mesh is not None or chain_method == "vectorized"):
        raise ValueError(
            "nutpie runs chains in threads on one device: leave out sharding and "
            'chain_method, or use nuts_sampler="blackjax".'
        )
    library = load(nuts_sampler, f'nuts_sampler="{nuts_sampler}"')
    run_key = key_of(key, random_seed)
    _check_variables(model)
    check_observed(model)
    values = _values(model, var_names, keep_untransformed, host_callback)
    progress = MCMCProgress(progressbar, chains, draws, tune)
    starts = Starts(model, chains, initvals, jitter, host_callback)
    density = _log_density(model, starts, host_callback)
    _log.info(f"NUTS[{nuts_sampler}]: {model.free_RVs}")
    if draws < 100:
        _log.warning(
            f"Only {draws} samples per chain. Reliable r-hat and ESS diagnostics "
            "require longer chains for accurate estimate."
        )

    kept = jax.eval_shape(values, starts.shapes)
    skip = tune if discard_tuned_samples else 0
    sampler: Chains | NutpieChains
    if nuts_sampler == "nutpie":
        sampler = NutpieChains(
            density,
            values,
            Ravel(starts.shapes),
            chain_keys(run_key, chains, STEPPING),
            tune=tune,
            draws=draws,
            skip=skip,
            target_accept=target,
            options=options,
        )
    else:
        vectorized = None if chain_method is None else chain_method == "vectorized"
        sampler = Chains(
            KERNELS[nuts_sampler](tune, target, options),
            density,
            values,
            starts.shapes,
            run_key,
            lanes_of(chains, mesh, vectorized),
            steps=tune + draws,
            skip=skip,
            capacity=_capacity(batch_size, kept, chains, tune + draws, mesh),
        )
    keys = chain_keys(run_key, chains, STARTING)
    states = start_chains(model, starts, keys, retries * jitter, sampler.begin)
    trace = Trace(kept, chains=chains, steps=tune + draws, skip=skip)
    began = time.perf_counter()
    interrupt = None
    try:
        with progress:
            for piece in sampler.pieces(states, progress.update):
                trace.add(*piece)
    except KeyboardInterrupt as error:
        interrupt = error
    took = time.perf_counter() - began

    warmup, drawn = trace.parts(tune)
    done = drawn[1]["lp"].shape[1]
    if interrupt is not None:
        if not done:
            raise interrupt
        warnings.warn(
            f"sampling was interrupted: each chain has {done} of {draws} draws.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    _log.info(
        f"Sampling {chains} chain{'s' * (chains > 1)} for {tune:_d} tune and {done:_d} "
        f"draw iterations ({tune * chains:_d} + {done * chains:_d} draws total) took "
        f"{took:.0f} seconds."
    )
    groups = {"": drawn} if discard_tuned_samples else {"warmup_": warmup, "": drawn}
    attrs = {"sampling_time": took, "tuning_steps": tune}
    names = values.outputs or ()
    tree = posterior_tree(model, groups, names, library, attrs, **further)
    if compute_convergence_checks and any(rv.name in names for rv in model.free_RVs):
        log_warnings(run_convergence_checks(tree, model))
    return tree


def _count(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but is {value}.")
    return operator.index(value)


def _options(
    nuts: Mapping[str, Any] | None,
    nuts_sampler_kwargs: Mapping[str, Any] | None,
    target_accept: float | None,
) -> tuple[dict[str, Any], float]:
    """The sampler's own options, and the acceptance rate to aim at."""
    if nuts is not None and nuts_sampler_kwargs is not None:
        raise TypeError("give either nuts or nuts_sampler_kwargs, not both.")
    options = dict(nuts or nuts_sampler_kwargs or {})
    if target_accept is not None and "target_accept" in options:
        raise TypeError("target_accept is given twice: to sample(), and in nuts.")
    target = options.pop(
        "target_accept", 0.8 if target_accept is None else target_accept
    )
    if not 0 < target < 1:
        raise ValueError(f"target_accept must be in (0, 1), but is {target}.")
    return options, target


def _further(idata_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(idata_kwargs or {})
    for name in ("log_likelihood", "log_prior"):
        if given.pop(name, False):
            raise ValueError(
                f"sample() does not compute the {name}: call "
                f"jaxlink.pymc.compute_{name}(idata) with what it returns."
            )
    check_names(given, ("coords", "dims"), "entry of idata_kwargs")
    return {name: given.get(name) or {} for name in ("coords", "dims")}


def _check_variables(model: pm.Model) -> None:
    """Raise unless NUTS can move all free variables."""
    if not model.free_RVs:
        raise SamplingError("the model has no free variables, so nothing to sample.")
    if any(found := unmovable(model)):
        raise ValueError(
            f"NUTS needs gradients, so it cannot move {found}. {found.advice}"
        )


def _log_density(model: pm.Model, starts: Starts, host_callback: bool) -> ModelFunction:
    if not any(entry.size for entry in starts.shapes.values()):
        raise SamplingError("all free variables of the model are empty.")
    density = logdensity(model, host_callback=host_callback)
    if density.takes_key:
        raise ValueError(
            "the log density is random, as that of a model with pm.Minibatch is, so "
            "NUTS cannot sample from it. Use jaxlink.pymc.fit, or all of the data."
        )
    check_gradient(density, starts.shapes)
    return density


def _values(
    model: pm.Model,
    var_names: Sequence[str] | None,
    keep_untransformed: bool,
    host_callback: bool,
) -> ModelFunction:
    if isinstance(var_names, str):
        raise TypeError(f'var_names must be a list of names, such as ["{var_names}"].')
    if var_names is not None:
        names = [var.name for var in model.unobserved_value_vars]
        check_names(var_names, names, "free random variable or deterministic")
        var_names = [name for name in names if name in var_names]
    return constrain(
        model,
        var_names,
        include_transformed=keep_untransformed,
        host_callback=host_callback,
    )


def _capacity(
    batch_size: int | None,
    kept: Shapes,
    chains: int,
    steps: int,
    mesh: Mesh | None,
) -> int:
    """How many steps of all chains the device holds."""
    if batch_size is None:
        devices = jnp.zeros(()).devices() if mesh is None else set(mesh.devices.flat)
        each = sum(value.size * value.dtype.itemsize for value in kept.values())
        # What is being computed, and what is being copied, and the statistics.
        fits = len(devices) * budget(next(iter(devices)).platform)
        batch_size = fits // (2 * (each + 64))
    return max(1, min(batch_size // chains, steps))

"""`sample`: draws from the posterior of a model, by NUTS."""

import inspect
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pymc as pm
from jax.sharding import Sharding
from pymc.backends.base import MultiTrace
from pymc.stats.convergence import log_warnings, run_convergence_checks
from rich.theme import Theme
from xarray import DataTree

from jaxlink.call.executables import shapes_of
from jaxlink.optional import load
from jaxlink.pymc.mcmc.chains import (
    INITIAL_POSITION,
    STEPPING,
    Chains,
    Rows,
    chain_keys,
)
from jaxlink.pymc.mcmc.draws import Draws
from jaxlink.pymc.mcmc.initial_positions import (
    InitialPositions,
    InitVals,
    find_initial_states,
)
from jaxlink.pymc.mcmc.kernels import KERNELS, make_kernel
from jaxlink.pymc.mcmc.multitrace import Callback, Recorder
from jaxlink.pymc.mcmc.nutpie import NutpieChains
from jaxlink.pymc.mcmc.options import read_settings
from jaxlink.pymc.mcmc.placement import (
    of_this_process,
    placements,
    steps_per_call,
)
from jaxlink.pymc.mcmc.progress import MCMCProgress, ProgressBar
from jaxlink.pymc.mcmc.target import check_variables, target_density
from jaxlink.pymc.model.data import check_observed
from jaxlink.pymc.model.transforms import Ravel, constrain
from jaxlink.pymc.shared.arguments import (
    HERE,
    check_batch_size,
    check_count,
    check_names,
    device_mesh,
)
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import (
    add_version,
    posterior_names,
    posterior_tree,
)
from jaxlink.pymc.shared.processes import gather
from jaxlink.pymc.shared.pymc_arguments import idata_options, refuse, silence_loggers
from jaxlink.pymc.shared.seeds import RandomSeed, resolve_key

__all__ = ["sample"]

# We log where PyMC logs.
_log = logging.getLogger("pymc.sampling.mcmc")


def sample(
    draws: int = 1000,
    *,
    tune: int | None = None,
    chains: int | None = None,
    cores: int | None = None,
    model: pm.Model | None = None,
    key: Any = None,
    random_seed: RandomSeed = None,
    var_names: Sequence[str] | None = None,
    nuts_sampler: Literal["blackjax", "numpyro", "nutpie", "pymc"] | None = None,
    target_accept: float | None = None,
    initvals: InitVals | None = None,
    init: str = "auto",
    n_init: int = 200_000,
    jitter: bool | None = None,
    jitter_max_retries: int = 10,
    nuts: Mapping[str, Any] | None = None,
    nuts_sampler_kwargs: Mapping[str, Any] | None = None,
    keep_untransformed: bool = False,
    discard_tuned_samples: bool = True,
    batch_size: int | None = None,
    progressbar: ProgressBar = True,
    progressbar_theme: Theme | str | None = None,
    quiet: bool = False,
    callback: Callback | None = None,
    chain_method: Literal["parallel", "vectorized"] | None = None,
    sharding: Sharding | None = None,
    compute_convergence_checks: bool = True,
    return_inferencedata: bool = True,
    idata_kwargs: Mapping[str, Any] | None = None,
    step: None = None,
    trace: None = None,
    keep_warning_stat: Literal[False] = False,
    mp_ctx: None = None,
    blas_cores: Literal["auto"] | None = "auto",
    backend: None = None,
    compile_kwargs: None = None,
    host_callback: bool = False,
    **kwargs: Any,
) -> DataTree | MultiTrace:
    """Draw from the posterior of a model, whose free variables are all continuous.

    Chain *i* has the key ``fold_in(key, i)``, and step *t* folds in *t*. So the same
    key gives the same draws for any ``batch_size``, number of chains and number of
    devices: to the bit with ``chain_method="parallel"``. With vectorized chains, the
    number of chains on a device changes rounding, so trajectories eventually diverge.

    Draws move to the host a few steps at a time. Ctrl-C ends the run and returns the
    draws made so far, with a warning.

    Arguments:
        draws: the number of draws in each chain.
        tune: the number of warm-up steps, in which the step size and the mass matrix
            adapt; default: 1000.
        chains: the number of chains; default: 4, or ``cores`` if given, but at least 2.
        cores: the number of chains that run at the same time, each in a thread;
            default: the number of CPU cores. Vectorized chains all run together.
        model: default: the model on the context stack.
        key: a PRNG key; default: a fresh one.
        random_seed: instead of a key, as in PyMC.
        var_names: the free variables and deterministics to keep; default: all.
        nuts_sampler: the library whose NUTS draws. BlackJAX (the default, also for
            "pymc") and NumPyro run entirely in JAX. nutpie calls JAX for the log
            density, adapts in fewer steps, and keeps all positions in memory.
        target_accept: the target acceptance rate of the step size, in (0, 1); default:
            0.8.
        initvals: initial values, as in `initial_position`, or a list with one
            entry for each chain.
        init: ``jitter`` and the mass matrix in PyMC's terms: "auto" and
            "jitter+adapt_diag" (diagonal), "jitter+adapt_full" (dense), or "adapt_diag"
            and "adapt_full" without jitter.
        n_init: ignored; in PyMC it concerns an ``init`` by ADVI.
        jitter: whether to add a draw from U(-1, 1) to each entry of the initial
            position; default: as ``init`` says.
        jitter_max_retries: how often a chain draws another initial position if the log
            density or its gradient is not finite.
        nuts: options of the sampler: ``max_treedepth``, and what `blackjax.nuts` and
            its warm-up (``is_mass_matrix_diagonal``, ``initial_step_size``,
            ``divergence_threshold``, ...), `numpyro.infer.NUTS` (``dense_mass``, ...)
            or `nutpie.sample` take.
        nuts_sampler_kwargs: the former name of ``nuts``.
        keep_untransformed: whether the posterior also has the values of transformed
            variables, such as ``sigma_log__``.
        discard_tuned_samples: whether to drop the warm-up steps; otherwise they are in
            separate groups.
        batch_size: the largest number of draws, of all chains together, that the device
            holds; default: what fits a memory budget.
        progressbar: whether to show progress, or how: ``"split"``, ``"combined"``,
            ``"split+stats"`` (the default) or ``"combined+stats"``.
        progressbar_theme: a rich theme for it.
        quiet: shows no progress and logs nothing.
        callback: called as ``callback(trace=, draw=)`` for each step of each chain, as
            in PyMC, but only after a few steps of all chains. If it raises
            KeyboardInterrupt, sampling ends.
        chain_method: ``"parallel"`` runs each chain in a thread, so chains use all CPU
            cores and none waits for the others. ``"vectorized"`` steps all chains in
            one program by ``jax.vmap``, which fills an accelerator. Default: depends on
            the device. nutpie's chains are always parallel.
        sharding: the devices over which the chains are spread; default: JAX's default
            device. If they belong to several processes (``jax.distributed``), all of
            these call `sample`, each runs its own chains, and all get all draws.
        compute_convergence_checks: whether to make PyMC's checks at the end, which warn
            through its logger.
        return_inferencedata: True returns a DataTree, False PyMC's MultiTrace.
        idata_kwargs: ``coords`` and ``dims`` to add to those of the model, and
            ``include_transformed``, PyMC's name for ``keep_untransformed``.
        step, trace, keep_warning_stat, mp_ctx, blas_cores, backend, compile_kwargs: for
            PyMC's own samplers; refused, with a hint about what to use instead.
        host_callback: see `jaxlink.function`.
        kwargs: options of the sampler, as in ``nuts``.

    Returns:
        a ``DataTree`` as PyMC makes it, with the groups ``posterior``,
        ``sample_stats``, ``observed_data``, and ``constant_data`` if there is any.

    Raises:
        TypeError: there is no model, or an argument is unknown, refused or of the wrong
            type.
        ValueError: an argument is out of range, a name is unknown, a free variable is
            discrete or has another step method in PyMC, or the log density is random
            (`pm.Minibatch`) or has no gradient.
        MemoryError: the draws do not fit in the memory of this machine.
        pymc.exceptions.SamplingError: there is nothing to sample, or no initial
            position has a finite log density; the error names the terms that are not.
        ImportError: the sampler's package is not installed.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

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
    refuse(
        "sample",
        step=step,
        trace=trace,
        keep_warning_stat=keep_warning_stat or None,
        mp_ctx=mp_ctx,
        blas_cores=None if blas_cores == "auto" else blas_cores,
        backend=backend,
        compile_kwargs=compile_kwargs,
    )
    model = resolve_model(model)
    draws = check_count(draws, "draws", 1)
    tune = check_count(1000 if tune is None else tune, "tune", 0)
    if tune + draws >= 2**31:
        raise ValueError(f"a chain makes fewer than 2**31 steps, not {tune + draws:,}.")
    cores = None if cores is None else check_count(cores, "cores", 1)
    if chains is None:
        chains = 4 if cores is None else max(2, cores)
    chains = check_count(chains, "chains", 1)
    check_count(n_init, "n_init", 0)
    retries = check_count(jitter_max_retries, "jitter_max_retries", 0)
    if nuts_sampler in (None, "pymc"):
        nuts_sampler = "blackjax"
    check_names([nuts_sampler], [*KERNELS, "nutpie"], "nuts_sampler")
    settings = read_settings(
        nuts_sampler,
        init=init,
        jitter=jitter,
        target_accept=target_accept,
        nuts=nuts,
        nuts_sampler_kwargs=nuts_sampler_kwargs,
        further=kwargs,
        arguments=inspect.signature(sample).parameters,
    )
    transformed, further = idata_options("sample", idata_kwargs)
    check_batch_size(batch_size)
    mesh = device_mesh(sharding)
    if chain_method is not None:
        check_names([chain_method], ("parallel", "vectorized"), "chain_method")
    if nuts_sampler == "nutpie" and (mesh is not None or chain_method == "vectorized"):
        raise ValueError(
            "nutpie runs chains in threads on one device: leave out sharding and "
            'chain_method, or use nuts_sampler="blackjax".'
        )
    library = load(nuts_sampler, f'nuts_sampler="{nuts_sampler}"')
    run_key = resolve_key(key, random_seed, mesh)
    check_variables(model)
    check_observed(model)
    names = posterior_names(
        model, var_names, transformed=bool(keep_untransformed or transformed)
    )
    # PyMC's own trace has the values of transformed variables too, and its callbacks
    # get all values.
    records = callback is not None or not return_inferencedata
    values = constrain(
        model,
        None if records else names,
        include_transformed=records,
        host_callback=host_callback,
    )
    vectorized = None if chain_method is None else chain_method == "vectorized"
    own, own_mesh = of_this_process(chains, mesh, vectorized)
    if records and len(own) < chains:
        raise ValueError(
            "with a sharding over several processes, none of them has all steps for a "
            "callback or PyMC's MultiTrace: leave out callback, and "
            "return_inferencedata=False."
        )
    shown = False if quiet else progressbar
    progress = MCMCProgress(shown, len(own), draws, tune, theme=progressbar_theme)
    initial = InitialPositions(
        model, chains, initvals, settings.jitter, host_callback, own
    )
    density = target_density(model, initial.shapes, host_callback)
    shapes = shapes_of(values, initial.shapes)
    kept = {name: shapes[name] for name in names}
    skip = tune if discard_tuned_samples else 0
    counts = {"chains": chains, "tune": tune, "draws": draws}
    drawn = Draws(kept, skip=skip, **{**counts, "chains": len(own)})
    keys = {
        what: each[own.start : own.stop]
        for what, each in chain_keys(run_key, chains).items()
    }
    places = placements(len(own), own_mesh, vectorized)
    sampler: Chains | NutpieChains
    if nuts_sampler == "nutpie":
        sampler = NutpieChains(
            density,
            values,
            Ravel(initial.shapes),
            keys[STEPPING],
            tune=tune,
            draws=draws,
            skip=0 if records else skip,
            cores=cores,
            target_accept=settings.target_accept,
            options=settings.options,
        )
    else:
        sampler = Chains(
            make_kernel(nuts_sampler, tune, settings.target_accept, settings.options),
            density,
            values,
            initial.shapes,
            keys,
            places,
            steps=tune + draws,
            skip=0 if records else skip,
            capacity=steps_per_call(batch_size, shapes, len(own), own_mesh),
            cores=cores,
        )
    recorder = None
    if records:
        of_trace = names if var_names is not None else list(shapes)
        recorder = Recorder(model, shapes, of_trace, callback=callback, **counts)

    with silence_loggers(quiet):
        _log.info(f"NUTS[{nuts_sampler}]: {model.free_RVs}")
        if draws < 100:
            _log.warning(
                f"Only {draws} samples per chain. Reliable r-hat and ESS diagnostics "
                "require longer chains for accurate estimate."
            )
        retries *= settings.jitter
        states = find_initial_states(
            model, initial, keys[INITIAL_POSITION], retries, sampler.init_states
        )
        began = time.perf_counter()
        with progress.display:
            _draw(sampler.pieces(states, progress.update), drawn, recorder, draws)
        took = time.perf_counter() - began
        warmup, main = (
            (gather(values), gather(stats)) if len(own) < chains else (values, stats)
            for values, stats in drawn.parts()
        )
        done = main[1]["lp"].shape[1]
        _log.info(
            f"Sampling {chains} chain{'s' * (chains > 1)} for {tune:_d} tune and "
            f"{done:_d} draw iterations ({tune * chains:_d} + {done * chains:_d} draws "
            f"total) took {took:.0f} seconds."
        )
        groups = {"": main} if discard_tuned_samples else {"warmup_": warmup, "": main}
        attrs = {"sampling_time": took, "tuning_steps": tune}
        tree = posterior_tree(model, groups, names, library, attrs, **further)
        run = settings.recorded | {
            "function": "sample",
            "nuts_sampler": nuts_sampler,
            **counts,
            "retries": retries,
            "initvals": initvals is not None,
            "vectorized": places[0].along is not None,
            "devices": 1 if mesh is None else mesh.size,
        }
        add_version(tree, run_key, run)
        if compute_convergence_checks and {rv.name for rv in model.free_RVs} & {*names}:
            log_warnings(run_convergence_checks(tree, model))
    if return_inferencedata or recorder is None:
        return tree
    return recorder.multitrace(discard_tuned=discard_tuned_samples, took=took)


def _draw(
    pieces: Iterator[Rows], drawn: Draws, recorder: Recorder | None, draws: int
) -> None:
    """Make all draws, or as many as are done before Ctrl-C."""
    try:
        for values, stats in pieces:
            drawn.add(values, stats)
            if recorder is not None:
                recorder.add(values, stats)
    except KeyboardInterrupt:
        if not drawn.draws:
            raise
        warnings.warn(
            f"sampling was interrupted: each chain has {drawn.draws} of {draws} draws.",
            UserWarning,
            skip_file_prefixes=HERE,
        )

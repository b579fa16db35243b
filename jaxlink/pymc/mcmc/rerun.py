"""One draw of a chain of `sample`, computed again from the chain's start."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import pymc as pm

from jaxlink.call.executables import shapes_of
from jaxlink.pymc.mcmc.chains import INITIAL_POSITION, Chains, chain_keys
from jaxlink.pymc.mcmc.initial_positions import InitialPositions, find_initial_states
from jaxlink.pymc.mcmc.kernels import make_kernel
from jaxlink.pymc.mcmc.placement import placements, steps_per_call
from jaxlink.pymc.mcmc.progress import MCMCProgress
from jaxlink.pymc.mcmc.target import target_density
from jaxlink.pymc.model.transforms import constrain

__all__ = ["rerun_chain", "why_not"]


def why_not(run: Mapping[str, Any]) -> str | None:
    """The reason why a run of `sample` cannot be made again, if there is one."""
    if run["nuts_sampler"] == "nutpie":
        return "nutpie drew it"
    if run["initvals"]:
        return "it had initvals, which the tree does not record"
    if run["nuts"] is None:
        return "it had options of the sampler that are not plain numbers and names"
    if run["vectorized"] and run["devices"] > 1:
        return "its chains were in one program over several devices"
    return None


def rerun_chain(
    model: pm.Model,
    key: jax.Array,
    run: Mapping[str, Any],
    chain: int,
    step: int,
    *,
    progressbar: bool,
    host_callback: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Step a chain from its start to one of its steps.

    Arguments:
        model: the model.
        key: the key of the run.
        run: what the tree says about it.
        chain: the number of the chain.
        step: the number of the step, from the start of the warm-up.

    Returns:
        the values there, of variables in both spaces, and the statistics.
    """
    # A chain in a thread depends on no other. In one program, all of them count.
    together = run["vectorized"]
    chains, place = (run["chains"], chain) if together else (1, 0)
    keys = chain_keys(key, run["chains"])
    if not together:
        keys = {what: each[chain : chain + 1] for what, each in keys.items()}
    initial = InitialPositions(model, chains, None, run["jitter"], host_callback)
    values = constrain(model, include_transformed=True, host_callback=host_callback)
    tune = min(run["tune"], step)
    sampler = Chains(
        make_kernel(
            run["nuts_sampler"], run["tune"], run["target_accept"], run["nuts"]
        ),
        target_density(model, initial.shapes, host_callback),
        values,
        initial.shapes,
        keys,
        placements(chains, None, together),
        steps=step + 1,
        skip=tune,
        capacity=steps_per_call(None, shapes_of(values, initial.shapes), chains, None),
    )
    states = find_initial_states(
        model, initial, keys[INITIAL_POSITION], run["retries"], sampler.init_states
    )
    progress = MCMCProgress(progressbar, chains, step + 1 - tune, tune)
    with progress.display:
        pieces = deque(sampler.pieces(states, progress.update), maxlen=1)
    drawn, statistics = pieces.pop()
    return (
        {name: x[place, -1] for name, x in drawn.items()},
        {name: x[place, -1] for name, x in statistics.items()},
    )

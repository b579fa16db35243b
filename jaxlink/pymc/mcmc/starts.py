"""Where the chains of a sampler start, and what is said if they cannot."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pymc as pm
from pymc.exceptions import SamplingError

from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.nonfinite import is_usable, shown, why_unusable

__all__ = ["InitVals", "Starts", "start_chains"]

InitVals = Mapping[Any, Any] | Sequence[Mapping[Any, Any] | None]

Position = dict[str, np.ndarray]


class Starts:
    """Initial positions of the chains of a model.

    Arguments:
        model: the model.
        chains: how many.
        initvals: as `initial_position` takes them, or one such a chain.
        jitter: whether to jitter.
        host_callback: as `jaxlink.function` takes it.

    Raises:
        ValueError: not one set of initial values a chain, or values of a wrong shape.
    """

    def __init__(
        self,
        model: pm.Model,
        chains: int,
        initvals: InitVals | None,
        jitter: bool,
        host_callback: bool = False,
    ):
        of_chains: list[Mapping[Any, Any] | None]
        if initvals is None or isinstance(initvals, Mapping):
            of_chains = [initvals] * chains
        else:
            of_chains = list(initvals)
        if len(of_chains) != chains:
            raise ValueError(
                f"initvals must be a dict, or a list of one for each of the {chains} "
                f"chains, not a list of {len(of_chains)}."
            )
        self._make = partial(
            initial_position, model, jitter=jitter, host_callback=host_callback
        )
        default = self._make()
        key = jax.random.key(0)
        self.shapes: dict[str, Any] = dict(jax.eval_shape(default, key))
        # Chains that share their values share the compiled function.
        made: dict[int, ModelFunction] = {}
        for given in of_chains:
            if given and id(given) not in made:
                made[id(given)] = self._start(given)
        self._starts = [made.get(id(given), default) for given in of_chains]

    def _start(self, initvals: Mapping[Any, Any]) -> ModelFunction:
        try:
            start = self._make(initvals=initvals)
        except TypeError as error:
            raise ValueError(f"initvals do not fit the model: {error}") from error
        entries = jax.eval_shape(start, jax.random.key(0))
        for name, entry in self.shapes.items():
            if entries[name].shape != entry.shape:
                raise ValueError(
                    f"initvals do not fit the model: they give `{name}` the shape "
                    f"{entries[name].shape}, but it has {entry.shape}."
                )
        return start

    def draw(self, chain: int, key: jax.Array) -> Position:
        """A position for a chain to start from."""
        return jax.device_get(self._starts[chain](key))


def start_chains(
    model: pm.Model,
    starts: Starts,
    keys: jax.Array,
    retries: int,
    evaluate: Callable[[Position], tuple[Any, Any, Any]],
) -> Any:
    """Start all chains where the log density and its gradient are finite.

    A chain whose start is of no use draws another one, up to ``retries`` times. The
    *n*-th one uses the key ``fold_in(keys[chain], n)``.

    Arguments:
        model: the model, for the error.
        starts: where to start.
        keys: a key for each chain.
        retries: how often a chain may try again.
        evaluate: from positions of all chains, stacked, to whatever the caller wants,
            the log densities and the gradients.

    Returns:
        the first of what ``evaluate`` returned for the positions that are of use.

    Raises:
        SamplingError: a chain found no start; the terms of the log density that are not
            finite are named.
    """
    chains = len(keys)
    positions: list[Position] = [{}] * chains
    unusable = list(range(chains))
    for attempt in range(retries + 1):
        for chain in unusable:
            key = jax.random.fold_in(keys[chain], attempt)
            positions[chain] = starts.draw(chain, key)
        stacked = {
            name: np.stack([position[name] for position in positions])
            for name in starts.shapes
        }
        started, logps, gradients = evaluate(stacked)
        logps, gradients = jax.device_get((logps, gradients))
        of_chains = [
            {name: entry[chain] for name, entry in gradients.items()}
            for chain in range(chains)
        ]
        unusable = [
            chain
            for chain in range(chains)
            if not is_usable(logps[chain], of_chains[chain])
        ]
        if not unusable:
            return started
    chain = unusable[0]
    position, gradient = positions[chain], of_chains[chain]
    reason = why_unusable(model, position, logps[chain], gradient, jacobian=True)
    tries = f" (and at {retries} others before)" if retries else ""
    raise SamplingError(
        f"cannot start chain {chain} at {shown(position)}{tries}: {reason}. Nothing "
        "was sampled. Check the priors and the data, or give initvals."
    )

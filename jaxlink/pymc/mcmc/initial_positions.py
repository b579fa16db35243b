"""The initial positions of chains, and the error if none is usable."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pymc as pm
from pymc.exceptions import SamplingError

from jaxlink.call.executables import run_at, shapes_of
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.nonfinite import format_position, is_usable, why_unusable

__all__ = ["InitVals", "InitialPositions", "find_initial_states"]

InitVals = Mapping[Any, Any] | Sequence[Mapping[Any, Any] | None]

Position = dict[str, np.ndarray]


class InitialPositions:
    """Draws the initial positions of the chains of a model.

    Arguments:
        model: the model.
        chains: the number of chains.
        initvals: as in `initial_position`, or a list with one for each chain.
        jitter: whether to add jitter.
        host_callback: see `jaxlink.function`.
        own: the chains that this process runs; default: all. These are counted from 0.

    Raises:
        ValueError: there is not one set of initial values for each chain, or a value
            has the wrong shape.
    """

    def __init__(
        self,
        model: pm.Model,
        chains: int,
        initvals: InitVals | None,
        jitter: bool,
        host_callback: bool = False,
        own: range | None = None,
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
        if own is not None:
            of_chains = of_chains[own.start : own.stop]
        self._make = partial(
            initial_position, model, jitter=jitter, host_callback=host_callback
        )
        default = self._make()
        key = jax.random.key(0)
        self.shapes: dict[str, Any] = shapes_of(default, key)
        # Chains with the same initial values share the compiled function.
        made: dict[int, ModelFunction] = {}
        for given in of_chains:
            if given and id(given) not in made:
                made[id(given)] = self._with_initvals(given)
        self._of_chains = [made.get(id(given), default) for given in of_chains]

    def _with_initvals(self, initvals: Mapping[Any, Any]) -> ModelFunction:
        try:
            position = self._make(initvals=initvals)
        except TypeError as error:
            raise ValueError(f"initvals do not fit the model: {error}") from error
        entries = shapes_of(position, jax.random.key(0))
        for name, entry in self.shapes.items():
            if entries[name].shape != entry.shape:
                raise ValueError(
                    f"initvals do not fit the model: they give `{name}` the shape "
                    f"{entries[name].shape}, but it has {entry.shape}."
                )
        return position

    def position(self, chain: int, keys: jax.Array, attempt: int) -> Position:
        """An initial position of a chain. Each attempt has a key of its own."""
        args = expose_constants(self._of_chains[chain]), keys, chain, attempt
        draw = program_around(args[:1], "initial position", lambda: jax.jit(_draw))
        return jax.device_get(run_at(draw, "initial position", *args))


def _draw(start: Any, keys: jax.Array, chain: Any, attempt: Any) -> dict[str, Any]:
    position: dict[str, Any] = start(jax.random.fold_in(keys[chain], attempt))
    return position


def find_initial_states(
    model: pm.Model,
    initial: InitialPositions,
    keys: jax.Array,
    retries: int,
    init_states: Callable[[Position], tuple[Any, Any, Any]],
) -> Any:
    """The states of all chains, where the log density and its gradient are finite.

    A chain whose initial position is not usable draws another one, up to ``retries``
    times. The *n*-th one uses the key ``fold_in(keys[chain], n)``.

    Arguments:
        model: the model, for the error.
        initial: draws the positions.
        keys: a key for each chain.
        retries: how often a chain may try again.
        init_states: maps the stacked positions of all chains to the states, the log
            densities and the gradients.

    Returns:
        the states at the positions that are usable.

    Raises:
        SamplingError: a chain found no usable position; the error names the terms or
            variables that are not finite.
    """
    chains = len(keys)
    positions: list[Position] = [{}] * chains
    unusable = list(range(chains))
    for attempt in range(retries + 1):
        for chain in unusable:
            positions[chain] = initial.position(chain, keys, attempt)
        stacked = {
            name: np.stack([position[name] for position in positions])
            for name in initial.shapes
        }
        states, logps, gradients = init_states(stacked)
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
            return states
    chain = unusable[0]
    position, gradient = positions[chain], of_chains[chain]
    reason = why_unusable(model, position, logps[chain], gradient, jacobian=True)
    tries = f" (and at {retries} others before)" if retries else ""
    raise SamplingError(
        f"cannot start chain {chain} at {format_position(position)}{tries}: {reason}. "
        "Nothing was sampled. Check the priors and the data, or give initvals."
    )

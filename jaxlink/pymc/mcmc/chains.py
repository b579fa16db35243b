"""Chains of a kernel, stepped a few steps at a time.

One compiled program makes any number of steps up to its capacity. Between its calls the
host takes the draws, shows the progress, and can be interrupted.

The keys: chain *i* has ``fold_in(key, i)``, folded once more with the purpose of a draw
(`INITIAL_POSITION`, `STEPPING`, `TUNING`), and step *t* folds in *t*. So a draw
depends only on its chain and its step.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.call.executables import compile_at, run_at
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.pymc.mcmc.kernels import EvaluatedPosition, Kernel, Shapes
from jaxlink.pymc.mcmc.placement import Placement
from jaxlink.pymc.model.transforms import Ravel

__all__ = ["INITIAL_POSITION", "STEPPING", "Chains", "Rows", "Update", "chain_keys"]

# What the keys of a chain are for.
INITIAL_POSITION, STEPPING, TUNING = range(3)

# The target length of a call, in seconds. Ctrl-C and the progress bar wait this long.
CALL = 0.25

# from one form of a position to another
Form = Callable[[Any], Any]
Rows = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
# The signature of `MCMCProgress.update`.
Update = Callable[[int, Any, Mapping[str, Any]], None]


def chain_keys(key: jax.Array, chains: int) -> dict[int, jax.Array]:
    """The keys of all chains by purpose, each of shape ``(chains,)``."""
    return run_at(_chain_keys, ("keys of chains", chains), key, jnp.arange(chains))


@jax.jit
def _chain_keys(key: jax.Array, numbers: jax.Array) -> dict[int, jax.Array]:
    fold_in = jax.vmap(jax.random.fold_in, (0, None))
    own = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    purposes = INITIAL_POSITION, STEPPING, TUNING
    return {purpose: fold_in(own, purpose) for purpose in purposes}


class Chains:
    """Chains of one kernel.

    Runs of equal kernels and functions share their programs.

    Arguments:
        kernel: the kernel that steps one chain.
        log_density: a callable pytree, from a position to its log density.
        values: a callable pytree, from a position to the values to keep.
        shapes: the shapes of the entries of a position.
        keys: the keys of the chains, as `chain_keys` returns them.
        placements: where the chains run.
        steps: the number of steps of each chain.
        skip: the number of initial steps that are not kept.
        capacity: the largest number of steps of one call.
        cores: the number of placements that run at the same time; default: the number
            of CPU cores.
    """

    def __init__(
        self,
        kernel: Kernel,
        log_density: Any,
        values: Any,
        shapes: Shapes,
        keys: Mapping[int, jax.Array],
        placements: Sequence[Placement],
        *,
        steps: int,
        skip: int,
        capacity: int,
        cores: int | None = None,
    ):
        self._placements, self._steps, self._capacity = placements, steps, capacity
        self._threads = min(len(placements), cores or os.cpu_count() or 1)
        self._kernel, self._shapes, self._skip = kernel, shapes, skip
        self._made: dict[Any, Any] = {}
        self._keys = [
            (placement.take(keys[TUNING]), placement.take(keys[STEPPING]))
            for placement in placements
        ]
        both = expose_constants((log_density, values))
        fns = {
            placement.whole: jax.device_put(both, placement.whole)
            for placement in placements
        }
        self._fns = [fns[placement.whole] for placement in placements]

    def init_states(self, positions: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The states of chains at their initial positions (one per row), and the log
        densities and gradients there."""

        def init(number: int) -> tuple[Any, Any]:
            placement, (key, _) = self._placements[number], self._keys[number]
            args = self._fns[number][0], placement.take(positions), key
            program = self._program(placement, "init", (False, True, True), args)
            state, *there = program(*args)
            return state, placement.give(there)

        # In the caller's thread, because a new thread may have other JAX settings.
        states, there = zip(*map(init, range(len(self._placements))), strict=True)
        logps, gradients = jax.tree.map(lambda *parts: np.concatenate(parts), *there)
        return list(states), logps, gradients

    def pieces(self, states: Any, update: Update) -> Iterator[Rows]:
        """Make all steps, a few at a time: about as many as take `CALL` seconds.

        Arguments:
            states: as `init_states` returns them.
            update: called with the progress.

        Yields:
            values and statistics of the next steps, arrays of shape
            ``(chains, steps, ...)`` on the host.
        """
        mapped = (False, False, True, True, False, False)
        programs = []
        for number, placement in enumerate(self._placements):
            args = self._arguments(number, states[number], 0, 0)
            programs.append(self._program(placement, "advance", mapped, args))

        def advance(number: int, state: Any, first: int, count: int) -> tuple[Any, Any]:
            args = self._arguments(number, state, first, count)
            state, rows = programs[number](*args)
            rows = self._placements[number].give(rows)
            return state, jax.tree.map(lambda x: x[:, :count], rows)

        for chain in range(self._placements[-1].chains.stop):
            update(chain, (), {})
        with ThreadPoolExecutor(self._threads) as pool:

            def together(states: Any, first: int, count: int) -> tuple[Any, Rows]:
                running = [
                    pool.submit(advance, number, state, first, count)
                    for number, state in enumerate(states)
                ]
                states, rows = zip(*(each.result() for each in running), strict=True)
                return states, jax.tree.map(lambda *xs: np.concatenate(xs), *rows)

            began = perf_counter()
            states, _ = together(states, 0, 0)
            overhead = perf_counter() - began
            done, count = 0, 1
            while done < self._steps:
                began = perf_counter()
                states, (values, stats) = together(states, done, count)
                yield values, stats
                done += count
                for chain, diverging in enumerate(stats["diverging"]):
                    last = {name: stat[chain, -1] for name, stat in stats.items()}
                    update(chain, diverging, last)
                # The fixed cost of a call must not be most of its time.
                fits = (CALL + 4 * overhead) / max(perf_counter() - began, 1e-6)
                count = max(1, int(count * min(2, fits)))
                count = min(count, self._capacity, self._steps - done)

    def _arguments(self, number: int, state: Any, first: int, count: int) -> Any:
        steps = np.int32(first), np.int32(count)
        place = self._placements[number].whole
        return (
            *self._fns[number],
            state,
            self._keys[number][1],
            *jax.device_put(steps, place),
        )

    def _program(
        self, placement: Placement, what: str, own: Sequence[bool], args: Any
    ) -> Any:
        """The program of ``_init_state`` or ``_advance`` for these arguments, compiled
        once for all placements on the same devices."""
        kernel, shapes = self._kernel, self._shapes

        def make() -> Any:
            if what == "init":
                return placement.mapped(partial(_init_state, kernel, shapes), own)
            limits = self._skip, self._capacity
            return placement.mapped(partial(_advance, kernel, shapes, *limits), own)

        program_id = what, placement.whole
        content = (
            *("chains", what, kernel.identity, tuple(shapes.items())),
            *(self._skip, self._capacity, placement.along is None),
        )
        outlives = kernel.identity is not None
        if program_id not in self._made:
            identity = *content, placement.whole, placement.along
            self._made[program_id] = (
                program_around(args, identity, make) if outlives else make()
            )
        # Equal arguments reuse the executable.
        kept = content if outlives else None
        return compile_at(self._made[program_id], kept, args)


def _init_state(
    kernel: Kernel,
    shapes: Shapes,
    log_density: Any,
    position: Any,
    key: jax.Array,
) -> tuple[Any, jax.Array, Any]:
    moved, named = _forms(kernel, shapes)
    density, start = _density(log_density, named), moved(position)
    logp, gradient = jax.value_and_grad(density)(start)
    state = kernel.init(density, EvaluatedPosition(start, logp, gradient), key)
    return state, logp, named(gradient)


def _advance(
    kernel: Kernel,
    shapes: Shapes,
    skip: int,
    capacity: int,
    log_density: Any,
    values: Any,
    state: Any,
    key: jax.Array,
    first: jax.Array,
    count: jax.Array,
) -> tuple[Any, Any]:
    """Make ``count`` steps of one chain, from step ``first`` on. The results have
    length ``capacity``, and are filled up to ``count``."""
    _, named = _forms(kernel, shapes)
    density = _density(log_density, named)
    kept = jax.eval_shape(values, shapes)

    @jax.jit  # so that it is traced only once
    def step(t: jax.Array, state: Any) -> tuple[Any, Any]:
        key_of_step = jax.random.fold_in(key, t)
        state, position, stats = kernel.step(density, state, key_of_step, t)
        drawn = jax.lax.cond(
            t >= skip,
            lambda: values(named(position)),
            lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), kept),
        )
        return state, (drawn, stats)

    def fill(i: jax.Array, carry: Any) -> Any:
        state, rows = carry
        state, row = step(first + i, state)
        return state, jax.tree.map(lambda all, one: all.at[i].set(one), rows, row)

    _, row = jax.eval_shape(step, first, state)
    rows = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), row)
    out: tuple[Any, Any] = jax.lax.fori_loop(np.int32(0), count, fill, (state, rows))
    return out


def _forms(kernel: Kernel, shapes: Shapes) -> tuple[Form, Form]:
    """From a position to what the kernel moves, in JAX's default float type, and back.

    It is one vector: a kernel has many copies of a position, and XLA would compile each
    for each variable. Options that name variables need them.
    """
    if not kernel.by_name:
        flat = Ravel(dict(sorted(shapes.items())))
        return lambda position: flat.ravel(position).astype(float), flat.unravel

    def moved(position: Any) -> Any:
        return {name: x.astype(float) for name, x in position.items()}

    def named(moved: Any) -> Any:
        return {name: moved[name].astype(x.dtype) for name, x in shapes.items()}

    return moved, named


def _density(log_density: Any, named: Form) -> Callable[[Any], jax.Array]:
    """The density of what the kernel moves, in JAX's default float type."""
    return lambda moved: log_density(named(moved)).astype(float)

"""Draws: as PyTensor graphs, and handwritten with `jax.random`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr

import jaxlink
from benchmarks.harness import Workload

DRAWS, KEYS = 100_000, 10_000
WEIGHTS = (0.5, 0.2, 0.0, 0.3)

# A RandomVariable, its parameter values, and the same sampler written by hand.
SAMPLERS: dict[str, tuple[Any, tuple[Any, ...], Callable[..., Any]]] = {
    "normal": (
        ptr.normal,
        (1.0, 2.0),
        lambda key, shape, loc, scale: loc + scale * jax.random.normal(key, shape),
    ),
    "gamma": (
        ptr._gamma,
        (2.5, 2.0),
        lambda key, shape, a, scale: scale * jax.random.gamma(key, a, shape),
    ),
    "beta": (
        ptr.beta,
        (0.5, 2.0),
        lambda key, shape, a, b: jax.random.beta(key, a, b, shape),
    ),
    "t": (
        ptr.t,
        (4.0, 1.0, 2.0),
        lambda key, shape, df, loc, scale: loc + scale * jax.random.t(key, df, shape),
    ),
    "categorical": (
        ptr.categorical,
        (WEIGHTS,),
        lambda key, shape, p: jax.random.categorical(key, jnp.log(p), shape=shape),
    ),
    "integers": (
        ptr.integers,
        (-5, 1000),
        lambda key, shape, low, high: jax.random.randint(key, shape, low, high),
    ),
    "poisson": (
        ptr.poisson,
        (30.0,),
        lambda key, shape, rate: jax.random.poisson(key, rate, shape),
    ),
    "binomial": (
        ptr.binomial,
        (100, 0.3),
        lambda key, shape, n, p: jax.random.binomial(key, n, p, shape),
    ),
    "dirichlet": (
        ptr.dirichlet,
        ((0.5, 2.0, 4.0),),
        lambda key, shape, a: jax.random.dirichlet(key, a, shape),
    ),
    "multinomial": (
        ptr.multinomial,
        (100, WEIGHTS),
        lambda key, shape, n, p: jax.random.multinomial(
            key,
            jnp.broadcast_to(jnp.asarray(n, p.dtype), shape),
            jnp.broadcast_to(p, (*shape, len(WEIGHTS))),
        ),
    ),
}


def _workload(name: str, mapped: bool) -> Workload:
    rv, values, by_hand = SAMPLERS[name]
    shape = () if mapped else (DRAWS,)
    args = tuple(map(jnp.asarray, values))
    inputs = [pt.tensor(dtype=str(arg.dtype), shape=arg.shape) for arg in args]
    _, draw = rv(
        *inputs, size=shape, rng=pt.random.shared_rng(seed=0), return_next_rng=True
    )
    key = jax.random.key(0)
    keys = jax.random.split(key, KEYS) if mapped else key

    def over_keys(fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.vmap(fn, (0, *(None for _ in args))) if mapped else fn

    return Workload(
        f"{name}, {f'{KEYS:,} keys' if mapped else f'{DRAWS:,} draws'}",
        lambda: over_keys(jaxlink.function(inputs, draw)),
        lambda: over_keys(lambda key, *args: by_hand(key, shape, *args)),
        (keys, *args),
    )


WORKLOADS = [
    partial(_workload, name, mapped) for name in SAMPLERS for mapped in (False, True)
]

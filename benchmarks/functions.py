"""Densities and draws of the example models: by jaxlink, by hand, by others."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import pymc as pm
from jax.scipy.stats import norm

import jaxlink.pymc
from benchmarks import numpyro_models
from benchmarks.harness import forget, medians
from benchmarks.models import (
    EXAMPLES,
    Example,
    autoregression_at_once,
    half_normal,
    loop,
)

__all__ = [
    "EXAMPLES",
    "Sides",
    "compare",
    "density",
    "draw",
    "first_result",
    "loop_density",
    "loop_draw",
]


@dataclass(frozen=True)
class Sides:
    """One function, made in several ways.

    Attributes:
        name: what is computed.
        make: by side, what makes the function. The first side is jaxlink.
        args: what it is called with.
    """

    name: str
    make: dict[str, Callable[[], Callable[..., Any]]]
    args: tuple[Any, ...]


def density(example: Example) -> Sides:
    """The log density and its gradient, from a model that was built."""
    model = example.build()
    start = jaxlink.pymc.initial_position(model, jitter=True)
    position = jax.device_get(start(jax.random.key(1)))

    def in_pytensor() -> Callable[..., Any]:
        both = model.logp_dlogp_function(mode="JAX", ravel_inputs=True)
        both.set_extra_values({})
        in_order = {var.name: position[var.name] for var in model.continuous_value_vars}
        vector = pm.blocking.DictToArrayBijection.map(in_order)
        return lambda _: both(vector)

    make: dict[str, Callable[[], Callable[..., Any]]] = {
        "jaxlink": lambda: jax.jit(jax.value_and_grad(jaxlink.pymc.logdensity(model))),
        "by hand": lambda: jax.jit(jax.value_and_grad(example.density)),
        "PyTensor's JAX mode": in_pytensor,
    }
    if example.name in numpyro_models.MODELS:
        make["NumPyro"] = lambda: jax.jit(
            jax.value_and_grad(numpyro_models.density(example.name))
        )
    return Sides(example.name, make, (position,))


def draw(example: Example) -> Sides:
    """One prior draw of all variables, from a model that was built."""
    model = example.build()
    make: dict[str, Callable[[], Callable[..., Any]]] = {
        "jaxlink": lambda: jax.jit(jaxlink.pymc.prior(model)),
        "by hand": lambda: jax.jit(example.draw),
    }
    if example.name in numpyro_models.MODELS:
        make["NumPyro"] = lambda: jax.jit(numpyro_models.draw(example.name))
    if example.name == "AR(1)":
        make["an associative scan"] = lambda: jax.jit(autoregression_at_once)
    return Sides(example.name, make, (jax.random.key(1),))


def loop_draw(size: int) -> Sides:
    """One draw of scalar variables that a Python loop made."""
    model, each = loop(size), size // 3

    def by_hand(key: Any) -> dict[str, Any]:
        keys = jax.random.split(key, size)
        out = {}
        for i in range(each):
            out[f"mu_{i}"] = mu = jax.random.normal(keys[3 * i])
            out[f"tau_{i}"] = tau = jnp.abs(jax.random.normal(keys[3 * i + 1]))
            out[f"y_{i}"] = mu + tau * jax.random.normal(keys[3 * i + 2])
        return out

    def results_only(key: Any) -> dict[str, Any]:
        """One array of draws, handed out as scalars."""
        drawn = jax.random.normal(key, (size,))
        return {var.name: drawn[i] for i, var in enumerate(model.basic_RVs)}

    return Sides(
        f"{size} scalars, draw",
        {
            "jaxlink": lambda: jax.jit(jaxlink.pymc.prior(model)),
            "by hand": lambda: jax.jit(by_hand),
            "handing out": lambda: jax.jit(results_only),
        },
        (jax.random.key(1),),
    )


def loop_density(size: int) -> Sides:
    """The log density and gradient of scalar variables that a Python loop made."""
    model, each = loop(size), size // 3
    position = model.initial_point()

    def by_hand(position: dict[str, Any]) -> Any:
        total: Any = 0.0
        for i in range(each):
            mu, log_tau = position[f"mu_{i}"], position[f"tau_{i}_log__"]
            tau = jnp.exp(log_tau)
            total += norm.logpdf(mu) + half_normal(tau, 1.0) + log_tau
            total += norm.logpdf(i / size, mu, tau)
        return total

    def arguments_only(position: dict[str, Any]) -> Any:
        """The sum of the squares of all scalars, and its slopes."""
        together = jnp.stack(list(position.values()))
        slopes = 2 * together
        return (together**2).sum(), {n: slopes[i] for i, n in enumerate(position)}

    return Sides(
        f"{size} scalars, density",
        {
            "jaxlink": lambda: jax.jit(
                jax.value_and_grad(jaxlink.pymc.logdensity(model))
            ),
            "by hand": lambda: jax.jit(jax.value_and_grad(by_hand)),
            "handing out": lambda: jax.jit(arguments_only),
        },
        (position,),
    )


def first_result(work: Sides, compiles: int, side: str = "jaxlink") -> float:
    """Median seconds from the model to the first result."""
    times = []
    for _ in range(compiles):
        forget()
        start = time.perf_counter()
        jax.block_until_ready(work.make[side]()(*work.args))
        times.append(time.perf_counter() - start)
    return median(times)


def compare(work: Sides, compiles: int, runs: int) -> dict[str, tuple[float, float]]:
    """jaxlink's time over that of each other side: to the first result, and one call.

    The first result includes everything from the model on: rewriting, linking, tracing
    and compiling.
    """
    first: dict[str, list[float]] = {side: [] for side in work.make}
    made = {}
    for _ in range(compiles):
        for side, make in work.make.items():
            forget()
            start = time.perf_counter()
            made[side] = make()
            jax.block_until_ready(made[side](*work.args))
            first[side].append(time.perf_counter() - start)
    args = jax.device_put(work.args)
    runs_of = medians([lambda f=f: f(*args) for f in made.values()], runs)
    mine = median(first["jaxlink"]), runs_of[0]
    return {
        side: (mine[0] / median(first[side]), mine[1] / run)
        for side, run in zip(made, runs_of, strict=True)
        if side != "jaxlink"
    }

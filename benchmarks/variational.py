"""How close variational fits come, by `jaxlink.pymc.fit` and by BlackJAX:
`uv run python -m benchmarks.variational`.

Both make the same number of steps with the same optimizer, start and number of draws.
The ELBO gap of a fit is how far its ELBO is below the best one of its family. The
posterior of the regression is normal, so there it is exact. For the eight schools it is
estimated, and the best ELBO is that of the best fit.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import pymc as pm  # noqa: E402
from blackjax.vi import fullrank_vi, meanfield_vi  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxlink.pymc  # noqa: E402
from benchmarks.nuts import eight_schools  # noqa: E402

# The learning rates and the start of `jaxlink.pymc.fit`.
RATES = {"advi": 0.05, "fullrank_advi": 0.02}
SIGMA = 0.1

# (mean, scale), where the scale is a vector of standard deviations or a Cholesky factor
Normal = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class Problem:
    """A model, its log density as a function of vectors, and the vector to start from.
    ``posterior`` is given where it is normal."""

    model: pm.Model
    log_p: Callable[[jax.Array], jax.Array]
    start: jax.Array
    posterior: Normal | None = None


def problem(model: pm.Model, posterior: Normal | None = None) -> Problem:
    flat = jaxlink.pymc.ravel(model)
    density = jaxlink.pymc.logdensity(model)
    start = flat.ravel(jaxlink.pymc.initial_position(model)(jax.random.key(0)))
    return Problem(model, lambda z: density(flat.unravel(z)), start, posterior)


def regression(rows: int = 60, columns: int = 10) -> Problem:
    """A linear regression with known noise. Its coefficients are correlated, with
    standard deviations from 0.012 to 1.3."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)) + 2 * rng.normal(size=(rows, 1))
    x *= 10 ** np.linspace(-1, 1, columns)
    y = x @ rng.normal(size=columns) + rng.normal(size=rows)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 3, shape=columns)
        pm.Normal("y", x @ b, 1, observed=y)
    covariance = np.linalg.inv(x.T @ x + np.eye(columns) / 9)
    return problem(
        model,
        (jnp.asarray(covariance @ x.T @ y), jnp.linalg.cholesky(covariance)),
    )


PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "regression": regression,
    "eight schools": lambda: problem(eight_schools()),
}


def optimizer(method: str, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(RATES[method], steps))


def by_jaxlink(method: str, given: Problem, steps: int, seed: int) -> Normal:
    fitted = jaxlink.pymc.fit(
        steps,
        method,
        given.model,
        seed,
        optimizer=optimizer(method, steps),
        progressbar=False,
    )
    return fitted.mean, fitted.scale


def by_blackjax(
    method: str, given: Problem, steps: int, seed: int, *, stl: bool = True
) -> Normal:
    rule, size = optimizer(method, steps), given.start.size
    if method == "advi":
        algorithm, extent, state = meanfield_vi, size, meanfield_vi.MFVIState
    else:
        algorithm, extent = fullrank_vi, size * (size + 1) // 2
        state = fullrank_vi.FRVIState
    # Logarithms of the standard deviations, then the zeros below the diagonal.
    spread = jnp.zeros(extent).at[:size].set(jnp.log(SIGMA))
    first = state(given.start, spread, rule.init((given.start, spread)))

    @jax.jit
    def run(first: Any, key: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            return algorithm.step(
                key, state, given.log_p, rule, num_samples=2, stl_estimator=stl
            )

        return jax.lax.scan(step, first, jax.random.split(key, steps))[0]

    last = run(first, jax.random.key(seed))
    if method == "advi":
        return last.mu, jnp.exp(last.rho)
    below = jnp.zeros((size, size)).at[jnp.tril_indices(size, -1)]
    return last.mu, below.set(last.chol_params[size:]) + jnp.diag(
        jnp.exp(last.chol_params[:size])
    )


WAYS = {
    "jaxlink": by_jaxlink,
    "BlackJAX": by_blackjax,
    "BlackJAX, no STL": partial(by_blackjax, stl=False),
}


def matrix(scale: jax.Array) -> jax.Array:
    return jnp.diag(scale) if scale.ndim == 1 else scale


def std(scale: jax.Array) -> jax.Array:
    return jnp.linalg.norm(matrix(scale), axis=1)


def divergence(q: Normal, p: Normal) -> jax.Array:
    """KL(q || p) of normal distributions."""
    (mean, scale), (other, wide) = q, p
    solve = partial(jax.scipy.linalg.solve_triangular, wide, lower=True)
    parts = jnp.sum(solve(matrix(scale)) ** 2) + jnp.sum(solve(other - mean) ** 2)
    logs = [jnp.log(jnp.diag(matrix(x))).sum() for x in (wide, scale)]
    return parts / 2 - mean.size / 2 + logs[0] - logs[1]


def elbo(q: Normal, log_p: Callable[[jax.Array], jax.Array], draws: int) -> jax.Array:
    mean, scale = q
    e = jax.random.normal(jax.random.key(99), (draws, mean.size))
    logs = jnp.log(jnp.diag(matrix(scale))).sum()
    entropy = logs + mean.size * (1 + np.log(2 * np.pi)) / 2
    return jax.vmap(log_p)(mean + e @ matrix(scale).T).mean() + entropy


def optimum(posterior: Normal, method: str) -> Normal:
    """The normal distribution of the family that is closest to the posterior."""
    if method == "fullrank_advi":
        return posterior
    mean, factor = posterior
    precision = jnp.linalg.inv(factor @ factor.T)
    return mean, 1 / jnp.sqrt(jnp.diag(precision))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--draws", type=int, default=20_000, help="for an ELBO")
    options = parser.parse_args()
    warnings.simplefilter("ignore")

    console = Console()
    for name, make in PROBLEMS.items():
        given = make()
        value = jax.jit(partial(elbo, log_p=given.log_p, draws=options.draws))
        for method in RATES:
            fits, seconds = {}, {}
            for way, fit in WAYS.items():
                start = time.perf_counter()
                fits[way] = [
                    jax.block_until_ready(fit(method, given, options.steps, seed))
                    for seed in range(options.keys)
                ]
                seconds[way] = (time.perf_counter() - start) / options.keys
            columns = ["ELBO gap, median", "largest", "seconds a fit"]
            if given.posterior is None:
                elbos = {way: [value(q) for q in qs] for way, qs in fits.items()}
                # nan where a fit diverged.
                top = np.nanmax([x for each in elbos.values() for x in each])
                gaps = {way: top - np.array(each) for way, each in elbos.items()}
            else:
                best = optimum(given.posterior, method)
                least = divergence(best, given.posterior)
                gaps = {
                    way: np.array([divergence(q, given.posterior) - least for q in qs])
                    for way, qs in fits.items()
                }
                columns[2:2] = ["mean off, in sds", "sd off, relative"]
            table = Table("way", *columns)
            table.title = f"{name}, {method}: {options.steps:,} steps"
            for way, qs in fits.items():
                row = [np.median(gaps[way]), np.max(gaps[way])]
                if given.posterior is not None:
                    sd = std(best[1])
                    row.append(max(jnp.max(abs(m - best[0]) / sd) for m, _ in qs))
                    row.append(max(jnp.max(abs(std(s) / sd - 1)) for _, s in qs))
                table.add_row(way, *(f"{x:.3g}" for x in [*row, seconds[way]]))
            console.print(table)


if __name__ == "__main__":
    main()

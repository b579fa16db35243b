"""Five models, each in PyMC and written by hand in JAX: density and prior draws.

The handwritten density takes a position as `jaxlink.pymc.logdensity` does, Jacobians
included, and gives the same number. The handwritten draw takes a key and gives draws of
the same distributions, by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from jax import random
from jax.scipy.stats import norm

Position = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One model, made in two ways.

    Attributes:
        name: what the tables call it.
        build: builds the PyMC model.
        density: from a position to the joint log density.
        draw: from a key to a prior draw of all variables.
    """

    name: str
    build: Callable[[], pm.Model]
    density: Callable[[Position], Any]
    draw: Callable[[Any], dict[str, Any]]


def half_normal(x: Any, scale: float) -> Any:
    return norm.logpdf(x, 0.0, scale) + jnp.log(2.0)


def half_cauchy(x: Any, scale: float = 1.0) -> Any:
    return jnp.log(2 / (jnp.pi * scale)) - jnp.log1p((x / scale) ** 2)


# --- horseshoe -----------------------------------------------------------------------


def horseshoe(rows: int = 1000, columns: int = 50) -> Example:
    """A sparse regression: one product of a matrix and a vector."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.normal(size=rows)
    X_device, y_device = jnp.asarray(X), jnp.asarray(y)

    def build() -> pm.Model:
        with pm.Model() as model:
            data = pm.Data("X", X)
            tau = pm.HalfCauchy("tau", 1)
            lam = pm.HalfCauchy("lam", 1, shape=columns)
            z = pm.Normal("z", shape=columns)
            sigma = pm.HalfNormal("sigma", 1)
            beta = pm.Deterministic("beta", tau * lam * z)
            pm.Normal("y", data @ beta, sigma, observed=y)
        return model

    def density(position: Position) -> Any:
        log_tau, log_lam = position["tau_log__"], position["lam_log__"]
        log_sigma, z = position["sigma_log__"], position["z"]
        tau, lam, sigma = jnp.exp(log_tau), jnp.exp(log_lam), jnp.exp(log_sigma)
        return (
            (half_cauchy(tau) + log_tau)
            + (half_cauchy(lam) + log_lam).sum()
            + norm.logpdf(z).sum()
            + (half_normal(sigma, 1.0) + log_sigma)
            + norm.logpdf(y_device, X_device @ (tau * lam * z), sigma).sum()
        )

    def draw(key: Any) -> dict[str, Any]:
        keys = random.split(key, 5)
        tau = jnp.abs(random.cauchy(keys[0]))
        lam = jnp.abs(random.cauchy(keys[1], (columns,)))
        z = random.normal(keys[2], (columns,))
        sigma = jnp.abs(random.normal(keys[3]))
        beta = tau * lam * z
        y = X_device @ beta + sigma * random.normal(keys[4], (rows,))
        return {"tau": tau, "lam": lam, "z": z, "sigma": sigma, "beta": beta, "y": y}

    return Example("horseshoe", build, density, draw)


# --- varying slopes ------------------------------------------------------------------


def slopes(groups: int = 20, rows: int = 400) -> Example:
    """A hierarchical regression: small arrays, and one index."""
    rng = np.random.default_rng(1)
    group = rng.integers(groups, size=rows)
    x = rng.normal(size=rows)
    y = 0.5 + rng.normal(1, 0.3, groups)[group] * x + rng.normal(0, 0.5, rows)
    x_device, y_device, g = jnp.asarray(x), jnp.asarray(y), jnp.asarray(group)

    def build() -> pm.Model:
        with pm.Model(coords={"group": range(groups)}) as model:
            mu = pm.Normal("mu", 0, 2, shape=2)
            tau = pm.HalfNormal("tau", 1, shape=2)
            a = pm.Normal("a", dims="group")
            b = pm.Normal("b", dims="group")
            sigma = pm.HalfNormal("sigma", 1)
            intercept, slope = mu[0] + tau[0] * a, mu[1] + tau[1] * b
            pm.Normal("y", intercept[group] + slope[group] * x, sigma, observed=y)
        return model

    def mean(mu: Any, tau: Any, a: Any, b: Any) -> Any:
        return (mu[0] + tau[0] * a)[g] + (mu[1] + tau[1] * b)[g] * x_device

    def density(position: Position) -> Any:
        mu, a, b = position["mu"], position["a"], position["b"]
        log_tau, log_sigma = position["tau_log__"], position["sigma_log__"]
        tau, sigma = jnp.exp(log_tau), jnp.exp(log_sigma)
        return (
            norm.logpdf(mu, 0.0, 2.0).sum()
            + (half_normal(tau, 1.0) + log_tau).sum()
            + norm.logpdf(a).sum()
            + norm.logpdf(b).sum()
            + (half_normal(sigma, 1.0) + log_sigma)
            + norm.logpdf(y_device, mean(mu, tau, a, b), sigma).sum()
        )

    def draw(key: Any, keys_of: Any = random.split) -> dict[str, Any]:
        keys = keys_of(key, 6)
        mu = 2.0 * random.normal(keys[0], (2,))
        tau = jnp.abs(random.normal(keys[1], (2,)))
        a, b = random.normal(keys[2], (groups,)), random.normal(keys[3], (groups,))
        sigma = jnp.abs(random.normal(keys[4]))
        y = mean(mu, tau, a, b) + sigma * random.normal(keys[5], (rows,))
        return {"mu": mu, "tau": tau, "a": a, "b": b, "sigma": sigma, "y": y}

    return Example("slopes", build, density, draw)


# --- Gaussian process ----------------------------------------------------------------


def gaussian_process(n: int = 200) -> Example:
    """A Gaussian process with a Normal likelihood: one Cholesky factorization."""
    x = np.linspace(0, 10, n)
    y = np.sin(x) + np.random.default_rng(2).normal(0, 0.1, n)
    squares, y_device = jnp.asarray((x[:, None] - x[None, :]) ** 2), jnp.asarray(y)

    def build() -> pm.Model:
        with pm.Model() as model:
            length = pm.LogNormal("length", 0, 1)
            scale = pm.HalfNormal("scale", 1)
            sigma = pm.HalfNormal("sigma", 1)
            distances = (x[:, None] - x[None, :]) ** 2
            cov = scale**2 * pm.math.exp(-0.5 * distances / length**2)
            cov = cov + (sigma**2 + 1e-6) * np.eye(n)
            pm.MvNormal("y", np.zeros(n), cov=cov, observed=y)
        return model

    def covariance(length: Any, scale: Any, sigma: Any) -> Any:
        cov = scale**2 * jnp.exp(-0.5 * squares / length**2)
        return cov + (sigma**2 + 1e-6) * jnp.eye(n)

    def density(position: Position) -> Any:
        logs = [position[f"{name}_log__"] for name in ("length", "scale", "sigma")]
        length, scale, sigma = map(jnp.exp, logs)
        factor = jnp.linalg.cholesky(covariance(length, scale, sigma))
        white = jax.scipy.linalg.solve_triangular(factor, y_device, lower=True)
        return (
            norm.logpdf(logs[0])
            + (half_normal(scale, 1.0) + logs[1])
            + (half_normal(sigma, 1.0) + logs[2])
            - 0.5 * (white**2).sum()
            - jnp.log(jnp.diagonal(factor)).sum()
            - 0.5 * n * jnp.log(2 * jnp.pi)
        )

    def draw(key: Any) -> dict[str, Any]:
        keys = random.split(key, 4)
        length = jnp.exp(random.normal(keys[0]))
        scale = jnp.abs(random.normal(keys[1]))
        sigma = jnp.abs(random.normal(keys[2]))
        factor = jnp.linalg.cholesky(covariance(length, scale, sigma))
        y = factor @ random.normal(keys[3], (n,))
        return {"length": length, "scale": scale, "sigma": sigma, "y": y}

    return Example("GP", build, density, draw)


# --- series --------------------------------------------------------------------------


def autoregression(steps: int = 1000) -> Example:
    """AR(1): a Scan for draws, none for the density."""
    y = np.random.default_rng(3).normal(size=steps).cumsum() / 10
    y_device = jnp.asarray(y)

    def build() -> pm.Model:
        with pm.Model() as model:
            rho = pm.Normal("rho", 0, 0.5)
            sigma = pm.HalfNormal("sigma", 1)
            start = pm.Normal.dist(0, 1)
            # AR takes a vector of coefficients.
            pm.AR("y", rho[None], sigma, init_dist=start, observed=y)
        return model

    def density(position: Position) -> Any:
        rho, log_sigma = position["rho"], position["sigma_log__"]
        sigma = jnp.exp(log_sigma)
        return (
            norm.logpdf(rho, 0.0, 0.5)
            + (half_normal(sigma, 1.0) + log_sigma)
            + norm.logpdf(y_device[0])
            + norm.logpdf(y_device[1:], rho * y_device[:-1], sigma).sum()
        )

    def draw(key: Any) -> dict[str, Any]:
        keys = random.split(key, 4)
        rho = 0.5 * random.normal(keys[0])
        sigma = jnp.abs(random.normal(keys[1]))
        start = random.normal(keys[2])

        def step(last: Any, e: Any) -> Any:
            new = rho * last + sigma * e
            return new, new

        _, series = jax.lax.scan(step, start, random.normal(keys[3], (steps - 1,)))
        return {"rho": rho, "sigma": sigma, "y": jnp.append(start, series)}

    return Example("AR(1)", build, density, draw)


def autoregression_at_once(key: Any, steps: int = 1000) -> dict[str, Any]:
    """The draw of `autoregression` without a loop: the steps, which are affine in the
    series, are composed by `jax.lax.associative_scan`."""
    keys = random.split(key, 4)
    rho = 0.5 * random.normal(keys[0])
    sigma = jnp.abs(random.normal(keys[1]))
    start = random.normal(keys[2])
    shocks = sigma * random.normal(keys[3], (steps - 1,))

    def compose(first: Any, then: Any) -> Any:
        return first[0] * then[0], then[0] * first[1] + then[1]

    slopes, sums = jax.lax.associative_scan(compose, (jnp.full(steps - 1, rho), shocks))
    return {"rho": rho, "sigma": sigma, "y": jnp.append(start, slopes * start + sums)}


def garch(steps: int = 1000) -> Example:
    """GARCH(1, 1): a Scan for the density."""
    y = np.random.default_rng(4).normal(size=steps)
    y_device = jnp.asarray(y)

    def build() -> pm.Model:
        with pm.Model() as model:
            omega = pm.HalfNormal("omega", 1)
            alpha = pm.Uniform("alpha", 0, 1)
            beta = pm.Uniform("beta", 0, 1)
            pm.GARCH11("y", omega, alpha, beta, 1.0, observed=y)
        return model

    def density(position: Position) -> Any:
        log_omega = position["omega_log__"]
        logits = position["alpha_interval__"], position["beta_interval__"]
        omega, (alpha, beta) = jnp.exp(log_omega), map(jax.nn.sigmoid, logits)

        def step(scale: Any, last: Any) -> Any:
            new = jnp.sqrt(omega + alpha * last**2 + beta * scale**2)
            return new, new

        _, scales = jax.lax.scan(step, jnp.ones(()), y_device[:-1])
        jacobian = sum(
            -jax.nn.softplus(logit) - jax.nn.softplus(-logit) for logit in logits
        )
        return (
            (half_normal(omega, 1.0) + log_omega)
            + jacobian
            + norm.logpdf(y_device, 0.0, jnp.append(1.0, scales)).sum()
        )

    def draw(key: Any) -> dict[str, Any]:
        keys = random.split(key, 4)
        omega = jnp.abs(random.normal(keys[0]))
        alpha, beta = random.uniform(keys[1]), random.uniform(keys[2])
        e = random.normal(keys[3], (steps,))

        def step(carry: Any, e: Any) -> Any:
            last, scale = carry
            scale = jnp.sqrt(omega + alpha * last**2 + beta * scale**2)
            return (scale * e, scale), scale * e

        _, series = jax.lax.scan(step, (e[0], jnp.ones(())), e[1:])
        y = jnp.append(e[0], series)
        return {"omega": omega, "alpha": alpha, "beta": beta, "y": y}

    return Example("GARCH", build, density, draw)


EXAMPLES = (horseshoe, slopes, gaussian_process, autoregression, garch)


# --- for whole calls -----------------------------------------------------------------


def counts() -> pm.Model:
    """Draws that are rejected: Gamma, Poisson and binomial numbers."""
    rng = np.random.default_rng(5)
    with pm.Model(coords={"site": range(20)}) as model:
        rate = pm.Gamma("rate", 2, 1, dims="site")
        p = pm.Beta("p", 2, 2)
        n = pm.Poisson("n", 10 * rate, dims="site")
        pm.Binomial("seen", n, p, observed=rng.integers(5, size=20), dims="site")
    return model


def eight_schools() -> pm.Model:
    """Eight schools, non-centred: a very cheap log density."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        z = pm.Normal("z", shape=8)
        effects = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
        errors = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
        pm.Normal("y", mu + tau * z, errors, observed=effects)
    return model


def two_poissons() -> pm.Model:
    """Small, with draws that are rejected."""
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1, shape=2)
        pm.Poisson("y", rate, observed=[3, 5])
    return model


def loop(size: int) -> pm.Model:
    """Scalar variables made by a Python loop, a third of each kind."""
    with pm.Model() as model:
        for i in range(size // 3):
            mu = pm.Normal(f"mu_{i}", 0, 1)
            tau = pm.HalfNormal(f"tau_{i}", 1)
            pm.Normal(f"y_{i}", mu, tau, observed=i / size)
    return model


def scalars() -> pm.Model:
    """A hundred scalar variables to sample, and fifty that are observed."""
    return loop(150)

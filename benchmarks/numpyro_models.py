"""The models of `benchmarks.models` that NumPyro's users would write, as they would."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, Predictive
from numpyro.infer.util import log_likelihood, potential_energy

__all__ = ["MODELS", "call", "density", "draw"]

Model = Callable[..., None]


def horseshoe(rows: int = 1000, columns: int = 50) -> tuple[Model, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.normal(size=rows)

    def model(y: Any = None) -> None:
        tau = numpyro.sample("tau", dist.HalfCauchy(1.0))
        lam = numpyro.sample("lam", dist.HalfCauchy(jnp.ones(columns)).to_event(1))
        z = numpyro.sample("z", dist.Normal(jnp.zeros(columns), 1.0).to_event(1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        beta = numpyro.deterministic("beta", tau * lam * z)
        numpyro.sample("y", dist.Normal(X @ beta, sigma), obs=y)

    return model, y


def slopes(groups: int = 20, rows: int = 400) -> tuple[Model, Any]:
    rng = np.random.default_rng(1)
    group = rng.integers(groups, size=rows)
    x = rng.normal(size=rows)
    y = 0.5 + rng.normal(1, 0.3, groups)[group] * x + rng.normal(0, 0.5, rows)

    def model(y: Any = None) -> None:
        mu = numpyro.sample("mu", dist.Normal(jnp.zeros(2), 2.0).to_event(1))
        tau = numpyro.sample("tau", dist.HalfNormal(jnp.ones(2)).to_event(1))
        a = numpyro.sample("a", dist.Normal(jnp.zeros(groups), 1.0).to_event(1))
        b = numpyro.sample("b", dist.Normal(jnp.zeros(groups), 1.0).to_event(1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        intercept, slope = mu[0] + tau[0] * a, mu[1] + tau[1] * b
        mean = intercept[group] + slope[group] * x
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)

    return model, y


def gaussian_process(n: int = 200) -> tuple[Model, Any]:
    x = np.linspace(0, 10, n)
    y = np.sin(x) + np.random.default_rng(2).normal(0, 0.1, n)
    squares = (x[:, None] - x[None, :]) ** 2

    def model(y: Any = None) -> None:
        length = numpyro.sample("length", dist.LogNormal(0.0, 1.0))
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        cov = scale**2 * jnp.exp(-0.5 * squares / length**2)
        cov = cov + (sigma**2 + 1e-6) * jnp.eye(n)
        like = dist.MultivariateNormal(jnp.zeros(n), covariance_matrix=cov)
        numpyro.sample("y", like, obs=y)

    return model, y


def counts() -> tuple[Model, Any]:
    seen = np.random.default_rng(5).integers(5, size=20)

    def model(y: Any = None) -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0 * jnp.ones(20), 1.0).to_event(1))
        p = numpyro.sample("p", dist.Beta(2.0, 2.0))
        n = numpyro.sample("n", dist.Poisson(10 * rate).to_event(1))
        numpyro.sample("seen", dist.Binomial(n, p), obs=y)

    return model, seen


def two_poissons() -> tuple[Model, Any]:
    def model(y: Any = None) -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0 * jnp.ones(2), 1.0).to_event(1))
        numpyro.sample("y", dist.Poisson(rate), obs=y)

    return model, np.array([3, 5])


def eight_schools() -> tuple[Model, Any]:
    effects = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    errors = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def model(y: Any = None) -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        z = numpyro.sample("z", dist.Normal(jnp.zeros(8), 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(mu + tau * z, errors), obs=y)

    return model, effects


MODELS: dict[str, Callable[[], tuple[Model, Any]]] = {
    "horseshoe": horseshoe,
    "slopes": slopes,
    "GP": gaussian_process,
    "counts": counts,
    "two_poissons": two_poissons,
    "eight_schools": eight_schools,
}


def density(name: str) -> Callable[[Any], Any]:
    """The log density with Jacobians, of unconstrained values by the names that PyMC
    gives them: ``tau_log__`` is ``tau``."""
    model, y = MODELS[name]()

    def log_density(position: dict[str, Any]) -> Any:
        named = {key.removesuffix("_log__"): x for key, x in position.items()}
        return -potential_energy(model, (y,), {}, named)

    return log_density


def draw(name: str) -> Callable[[Any], dict[str, Any]]:
    """One prior draw of all variables."""
    model, _ = MODELS[name]()

    def sample(key: Any) -> dict[str, Any]:
        sites = handlers.trace(handlers.seed(model, key)).get_trace()
        return {name: site["value"] for name, site in sites.items()}

    return sample


def call(name: str, what: str, draws: int, trace: Any) -> Callable[[], Any]:
    """A whole call, as `benchmarks.calls` times it. ``trace`` are posterior draws."""
    model, y = MODELS[name]()
    key = jax.random.key(1)

    def on_host(tree: Any) -> Any:
        return jax.tree.map(np.asarray, tree)

    def sample() -> Any:
        limits = {"num_warmup": draws, "num_samples": draws, "num_chains": 4}
        sampler = MCMC(NUTS(model), **limits, progress_bar=False)
        sampler.run(key, y)
        return on_host(sampler.get_samples(group_by_chain=True))

    posterior = {} if trace is None else trace
    return {
        "prior": lambda: on_host(
            Predictive(model, num_samples=draws, parallel=True)(key)
        ),
        "posterior": lambda: on_host(Predictive(model, posterior, parallel=True)(key)),
        "likelihood": lambda: on_host(
            log_likelihood(model, posterior, y, parallel=True)
        ),
        "sample": sample,
    }[what]

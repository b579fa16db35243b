"""The horseshoe regression: as a PyTensor graph, and handwritten in JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.logprob import conditional_logp
from sklearn.datasets import load_breast_cancer

import jaxlink
from benchmarks.harness import Workload

DRAWS = 10_000

raw = load_breast_cancer()
X = (raw.data - raw.data.mean(0)) / raw.data.std(0)
y = raw.target
N_COEFFICIENTS = X.shape[1]


NAMES = ("tau", "lam", "beta", "intercept", "outcome")


def variables() -> dict[str, Any]:
    tau = pm.HalfCauchy.dist(1.0)
    lam = pm.HalfCauchy.dist(1.0, shape=N_COEFFICIENTS)
    beta = pm.Normal.dist(0.0, tau * lam)
    intercept = pm.Normal.dist(0.0, 5.0)
    logit = intercept + pytensor.shared(X, name="X") @ beta
    outcome = pm.Bernoulli.dist(logit_p=logit)
    return dict(zip(NAMES, (tau, lam, beta, intercept, outcome), strict=True))


def prior() -> Workload:
    graph = variables()

    def by_hand(key: Any) -> dict[str, Any]:
        keys = jax.random.split(key, 5)
        tau = jnp.abs(jax.random.cauchy(keys[0]))
        lam = jnp.abs(jax.random.cauchy(keys[1], (N_COEFFICIENTS,)))
        beta = tau * lam * jax.random.normal(keys[2], (N_COEFFICIENTS,))
        intercept = 5.0 * jax.random.normal(keys[3])
        p = jax.nn.sigmoid(intercept + X_device @ beta)
        outcome = jax.random.bernoulli(keys[4], p).astype(jnp.int64)
        return dict(zip(NAMES, (tau, lam, beta, intercept, outcome), strict=True))

    X_device = jnp.asarray(X)
    return Workload(
        f"prior, {DRAWS} draws",
        lambda: jax.vmap(jaxlink.function([], graph)),
        lambda: jax.vmap(by_hand),
        (jax.random.split(jax.random.key(0), DRAWS),),
    )


def log_density() -> Workload:
    graph = variables()
    values = {rv: rv.type(name=name) for name, rv in graph.items()}
    observed = graph.pop("outcome")
    values[observed] = pytensor.shared(y, name="y")
    terms = conditional_logp(values)
    logp = pt.add(*(term.sum() for term in terms.values()))
    inputs = [values[rv] for rv in graph.values()]
    X_device, y_device = jnp.asarray(X), jnp.asarray(y)

    def half_cauchy(x: Any) -> Any:
        density = jnp.log(2 / jnp.pi) - jnp.log1p(x**2)
        return jnp.where(x >= 0, density, -jnp.inf)

    def normal(x: Any, scale: Any) -> Any:
        return -0.5 * (x / scale) ** 2 - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(scale)

    def by_hand(tau: Any, lam: Any, beta: Any, intercept: Any) -> Any:
        logit = intercept + X_device @ beta
        likelihood = jnp.where(
            y_device, -jax.nn.softplus(-logit), -jax.nn.softplus(logit)
        )
        return (
            half_cauchy(tau)
            + half_cauchy(lam).sum()
            + normal(beta, tau * lam).sum()
            + normal(intercept, 5.0)
            + likelihood.sum()
        )

    rng = np.random.default_rng(0)
    args = (
        0.3,
        np.abs(rng.standard_cauchy(N_COEFFICIENTS)),
        rng.normal(size=N_COEFFICIENTS),
        0.5,
    )
    argnums = tuple(range(4))
    return Workload(
        "log density and gradient",
        lambda: jax.value_and_grad(jaxlink.function(inputs, logp), argnums),
        lambda: jax.value_and_grad(by_hand, argnums),
        args,
    )

"""Draws on all devices of this process, which its flags say: what the test of devices
runs in processes of its own."""

import pickle
import sys

import jax
import numpy as np
import pymc as pm
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxlink
from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(5)
QUIET = {"progressbar": False}


def build_model():
    with pm.Model() as model:
        mu = pm.Normal("mu", shape=2)
        tau = pm.HalfNormal("tau")
        pm.Gamma("g", 2 + tau, 1.0)
        pm.Normal("y", mu, tau, observed=[0.1, 0.2])
    return model


def arrays(dataset):
    return {name: value.to_numpy() for name, value in dataset.data_vars.items()}


def draws(model, sharding):
    """By all functions that take a sharding. 13 draws are no multiple of 8."""
    how = {"model": model, "key": KEY, "sharding": sharding}
    prior = jp.sample_prior_predictive(13, **how, **QUIET)
    posterior = jp.sample(
        8, tune=8, chains=4, **how, quiet=True, compute_convergence_checks=False
    )
    y = jp.sample_posterior_predictive(posterior, **how, **QUIET)
    likelihood = jp.compute_log_likelihood(
        posterior, model=model, sharding=sharding, extend_inferencedata=False, **QUIET
    )
    return {
        "prior": arrays(prior["prior"]),
        "posterior": arrays(posterior["posterior"]),
        "posterior predictive": arrays(y["posterior_predictive"]),
        "log likelihood": arrays(likelihood),
    }


def main(path):
    model, results = build_model(), {}
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((len(jax.devices()),), ("d",), axis_types=(kind,))
        sharding = NamedSharding(mesh, PartitionSpec("d"))
        results[kind.name] = draws(model, sharding)
    for n in (3, 13):
        chains = jaxlink.run_chains(jp.prior(model), KEY, n, method="sharded")
        results[n] = jax.tree.map(np.asarray, chains)
    with open(path, "wb") as file:
        pickle.dump((len(jax.devices()), results), file)


if __name__ == "__main__":
    main(sys.argv[1])

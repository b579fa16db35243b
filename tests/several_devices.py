"""Draws on all devices of one process, or of several: what the test of devices runs in
processes of its own."""

import pickle
import sys
from pathlib import Path

import jax
import numpy as np
import pymc as pm
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxlink
from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

QUIET = {"progressbar": False}


def key():
    # A key is a computation, which comes after `jax.distributed.initialize`.
    return jax.random.key(5)


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
    how = {"model": model, "key": key(), "sharding": sharding}
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


def stored(model, sharding, path):
    """Draws in one Zarr store."""
    how = {"model": model, "key": key(), "sharding": sharding, "store": path}
    tree = jp.sample_prior_predictive(13, **how, **QUIET)
    try:
        jp.sample_prior_predictive(13, **how, **QUIET)
    except FileExistsError:
        return arrays(tree["prior"].load())


def mapped(model, mesh):
    """Keys made where they are used, in a program over all devices."""
    along = NamedSharding(mesh, PartitionSpec("d"))
    make = jax.jit(lambda key: jax.random.split(key, 16), out_shardings=along)
    draws = jax.jit(jax.vmap(jp.prior(model)), out_shardings=along)(make(key()))
    return jax.tree.map(
        lambda x: np.asarray(multihost_utils.process_allgather(x, tiled=True)), draws
    )


def gradients(model, kind):
    """Gradients at a position on all devices, in the ways that the docs name."""
    mesh = jax.make_mesh((len(jax.devices()),), ("d",), axis_types=(kind,))
    density, position = jp.logdensity(model), dict(jp.initial_position(model)(key()))
    everywhere = jax.device_put(position, NamedSharding(mesh, PartitionSpec()))
    with jax.set_mesh(mesh):
        within = jax.grad(density)(everywhere)
    return jax.tree.map(np.asarray, [within, jax.jit(jax.grad(density))(everywhere)])


def refused(model, sharding):
    """The errors of what one process cannot have alone."""
    messages = []
    for how in ({"return_inferencedata": False}, {"chains": 1}):
        try:
            jp.sample(5, tune=5, model=model, sharding=sharding, quiet=True, **how)
        except ValueError as error:
            messages.append(str(error))
    return messages


def main(path, *distributed):
    if distributed:
        rank, address = distributed
        jax.distributed.initialize(address, 2, int(rank))
    model, results = build_model(), {}
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((len(jax.devices()),), ("d",), axis_types=(kind,))
        sharding = NamedSharding(mesh, PartitionSpec("d"))
        results[kind.name] = draws(model, sharding)
        results[kind.name]["stored"] = stored(
            model,
            sharding,
            Path(path).parent / f"{kind.name}-{len(jax.devices())}.zarr",
        )
    if not distributed:
        kinds = AxisType.Auto, AxisType.Explicit
        results["gradients"] = [gradients(model, kind) for kind in kinds]
    results["mapped"] = mapped(model, mesh)
    for n in (3, 13):
        chains = jaxlink.run_chains(
            jp.prior(model), key(), n, method="sharded", devices=jax.devices()
        )
        results[n] = jax.tree.map(
            lambda x: np.asarray(multihost_utils.process_allgather(x, tiled=True)),
            chains,
        )
    of_all = jp.sample_prior_predictive(3, model=model, sharding=sharding, **QUIET)
    report = {
        "devices": len(jax.devices()),
        "results": results,
        "unseeded": of_all["prior"]["mu"].to_numpy(),
        "its key": of_all["prior"].attrs["jaxlink_key"],
        "refused": refused(model, sharding) if distributed else [],
    }
    Path(path).write_bytes(pickle.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

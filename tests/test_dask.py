"""Chains in the workers of Dask, one of which dies."""

import os

import chains_walks
import jax
import numpy as np
import pymc as pm
import pytest
from distributed import Client, LocalCluster

import jaxlink
from jaxlink import pymc as jp

KEY = jax.random.key(3, impl="threefry2x32")


@pytest.fixture(scope="module")
def client():
    # Without a web page, which would need a port.
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        # The default of the workers is another implementation than that of the caller.
        client.run(chains_walks.default_to_rbg)
        yield client


@pytest.fixture(params=["client", "executor"])
def workers(client, request):
    return client if request.param == "client" else client.get_executor()


def walk(key):
    return jax.random.normal(key, (3,)).cumsum()


@pytest.mark.slow
def test_chains_are_those_that_are_made_here(workers):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Poisson("y", pm.math.exp(mu), shape=3)
    for fn in (jp.prior(model), walk):
        here = jaxlink.run_chains(fn, KEY, 4, method="map")
        there = jaxlink.run_chains(fn, KEY, 4, method=workers)
        assert jax.tree.all(jax.tree.map(np.array_equal, here, there))


@pytest.mark.slow
def test_a_chain_that_fails_is_named(workers):
    keys = [jax.random.fold_in(KEY, i) for i in range(4)]
    first = [jax.random.normal(key, (4,))[0] for key in keys]
    fn = chains_walks.fail_below(np.median(first))
    with pytest.raises(jaxlink.ChainError, match="no step to") as caught:
        jaxlink.run_chains(fn, KEY, 4, method=workers)
    assert len(caught.value.chains) == len(caught.value.kept) == 2


@pytest.mark.slow
def test_a_chain_whose_worker_dies_runs_again(workers, tmp_path):
    def die_once(x):
        try:
            (tmp_path / "died").mkdir()
        except FileExistsError:
            return np.asarray(x)
        os._exit(1)

    fn = chains_walks.on_host(die_once)
    drawn = jaxlink.run_chains(fn, KEY, 4, method=workers)
    assert (tmp_path / "died").exists()
    alive = jaxlink.run_chains(fn, KEY, 4, method="map")
    np.testing.assert_array_equal(drawn, alive)

"""Runs over the devices of several processes, as on several machines."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest

CODE = """
    import json, sys
    import jax, numpy as np
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
    import pymc as pm
    from jaxlink import pymc as jp
    with pm.Model() as model:
        mu = pm.Normal("mu")
        y = pm.Normal("y", mu, 1.0, observed=np.zeros(3))
    mesh = jax.make_mesh((jax.device_count(),), ("samples",))
    everywhere = jax.NamedSharding(mesh, jax.P("samples"))
    assert len({d.process_index for d in everywhere.device_set}) == 2
    quiet = {"model": model, "progressbar": False, "batch_size": 4}
    def drawn(**options):
        tree = jp.sample_prior_predictive(11, **quiet, **options)
        return tree.prior_predictive["y"].values.tolist()
    seeded = drawn(random_seed=1, sharding=everywhere)
    alone = drawn(random_seed=1)
    unseeded = drawn(sharding=everywhere)
    trace = jp.sample_prior_predictive(11, random_seed=1, **quiet)
    posterior = jp.sample_posterior_predictive(
        trace.prior, random_seed=2, sharding=everywhere, **quiet
    )
    try:
        drawn(sharding=everywhere, store="unused.zarr")
    except ValueError as error:
        refused = str(error)
    shape = posterior.posterior_predictive["y"].shape
    print(json.dumps([seeded, alone, unseeded, shape, refused]))
"""


@pytest.mark.slow
def test_prior_predictive_draws():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    # One device each, on which no other test depends.
    clean = {k: v for k, v in os.environ.items() if not k.startswith("XLA_")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CODE), str(rank), address],
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, ends, strict=True):
        assert process.returncode == 0, errors
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in ends)
    assert first == second  # every process has all draws
    seeded, alone, unseeded, shape, refused = first
    assert seeded == alone
    assert unseeded != seeded
    assert shape == [1, 11, 3]
    assert "over several processes" in refused

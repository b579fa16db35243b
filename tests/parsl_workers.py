"""Chains in real workers of Parsl: what the test of them runs in a process of its own.

Parsl starts before JAX, because it forks.
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from parsl import Config, HighThroughputExecutor
from parsl.concurrent import ParslPoolExecutor
from parsl.providers import LocalProvider

EXAMPLES = Path(__file__).parents[1] / "examples"


def pool(folder, retries):
    # The default of the workers is another implementation than that of the caller.
    settings = "export JAX_DEFAULT_PRNG_IMPL=rbg JAX_PLATFORMS=cpu"
    executor = HighThroughputExecutor(
        max_workers_per_node=2,
        address="127.0.0.1",
        encrypted=False,
        provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init=settings),
    )
    config = Config(
        executors=[executor], retries=retries, run_dir=str(folder / "parsl")
    )
    return ParslPoolExecutor(config=config)


def slow(folder, seconds):
    """A chain that says in which process it runs, and takes its time."""

    def chain(key):
        import jax
        import numpy as np

        def wait(x):
            (folder / f"pid-{os.getpid()}").touch()
            time.sleep(seconds)
            return np.asarray(x)

        x = jax.random.normal(key)
        return jax.pure_callback(wait, jax.ShapeDtypeStruct((), x.dtype), x)

    return chain


def kill_one(folder):
    while not (found := list(folder.glob("pid-*"))):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(int(found[0].name.removeprefix("pid-")), signal.SIGKILL)


def killed_run(fn, folder, workers, **how):
    import jax

    import jaxlink

    for path in folder.glob("pid-*"):
        path.unlink()
    killer = Thread(target=kill_one, args=[folder])
    killer.start()
    try:
        return jaxlink.run_chains(fn, jax.random.key(4), 6, method=workers, **how)
    finally:
        killer.join()


def by_hand():
    import jax

    keys = [jax.random.fold_in(jax.random.key(4), i) for i in range(6)]
    return [jax.random.normal(key) for key in keys]


def same(folder, workers):
    import jax
    import numpy as np
    import pymc as pm

    import jaxlink
    from jaxlink import pymc as jp

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Poisson("y", pm.math.exp(mu), shape=3)
    for fn in (jp.prior(model), lambda key: jax.random.normal(key, (3,)).cumsum()):
        for impl in ("threefry2x32", "unsafe_rbg"):
            key = jax.random.key(3, impl=impl)
            here = jaxlink.run_chains(fn, key, 4, method="map")
            there = jaxlink.run_chains(fn, key, 4, method=workers)
            assert jax.tree.all(jax.tree.map(np.array_equal, here, there)), impl
    drawn = killed_run(slow(folder, 0.4), folder, workers)
    np.testing.assert_array_equal(drawn, by_hand())


def lost(folder, workers):
    """Without retries: the chain is named, the others are kept."""
    import jax
    import numpy as np

    import jaxlink

    fn, kept = slow(folder, 0.4), folder / "kept"
    with pytest.raises(jaxlink.ChainError, match="WorkerLost") as caught:
        killed_run(fn, folder, workers, kept=kept)
    failed = caught.value.chains
    assert failed
    written = {path: path.stat().st_mtime_ns for path in kept.glob("chain-*.npz")}
    assert len(written) == 6 - len(failed)
    drawn = jaxlink.run_chains(fn, jax.random.key(4), 6, method=workers, kept=kept)
    np.testing.assert_array_equal(drawn, by_hand())
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    # What a worker cannot import.
    sys.path.insert(0, str(folder))
    (folder / "only_here.py").write_text("def chain(key):\n    return key\n")
    import only_here

    with pytest.raises(jaxlink.ChainError, match="only_here") as caught:
        jaxlink.run_chains(only_here.chain, jax.random.key(0), 2, method=workers)
    assert caught.value.chains == [0, 1]

    def needs_a_package(key):
        import only_here

        return only_here.chain(key)

    with pytest.raises(jaxlink.ChainError, match="No module named 'only_here'"):
        jaxlink.run_chains(needs_a_package, jax.random.key(0), 2, method=workers)


def flows(folder, workers):
    """The fits of an example are those that are made here."""
    sys.path.insert(0, str(EXAMPLES))
    # As if it was run, so that what it defines travels by value.
    example = SimpleNamespace(**runpy.run_path(str(EXAMPLES / "flow_vi.py")))
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flowjax.bijections import Affine

    import jaxlink

    density = example.density_of(example.build_model())
    fit = example.fit_of(density, Affine(jnp.array([3.0, -1.0, 1.0])), steps=50)
    key = jax.random.key(5, impl="threefry2x32")
    here, elbo = jaxlink.run_chains(fit, key, 3)
    there, elbo_there = jaxlink.run_chains(fit, key, 3, method=workers)
    kinds = {x.dtype.kind for x in here}
    assert {"i", "f"} <= kinds  # permutations of entries, and weights
    for x, y in zip(here, there, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8 if x.dtype.kind == "f" else 0)
    np.testing.assert_allclose(elbo, elbo_there, rtol=1e-8)
    assert len(set(elbo[:, -1].tolist())) == 3


def main(what, folder):
    folder = Path(folder)
    with pool(folder, retries=1 if what == "same" else 0) as workers:
        {"same": same, "lost": lost, "flows": flows}[what](folder, workers)
    print("all is well")


if __name__ == "__main__":
    main(*sys.argv[1:])

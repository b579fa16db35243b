"""Programs on disk: a new process compiles nothing that another one has compiled."""

import json
import os
import stat
import subprocess
import sys

import jax
import pytest

import jaxlink.cache

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)

# Draws of a model, a density and a function, and what was found on disk.
USER = """
import json
import warnings

import jax

warnings.simplefilter("error")
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))

import jaxlink
import jaxlink.pymc
import pymc as pm
import pytensor.tensor as pt

with pm.Model():
    mu = pm.Normal("mu", [0.0, 1.0, 2.0])
    n = pm.Poisson("n", pm.math.exp(mu), observed=[0, 1, 2])
    idata = jaxlink.pymc.sample_prior_predictive(
        3, random_seed=1, progressbar=False
    )
    density = jaxlink.pymc.logdensity()
slope = jax.grad(density)({"mu": jax.numpy.arange(3.0)})["mu"]
x = pt.vector("x")
norm = jaxlink.function([x], pt.linalg.norm(x))(jax.numpy.array([3.0, 4.0]))
print(json.dumps({
    "hits": events.count("/jax/compilation_cache/cache_hits"),
    "misses": events.count("/jax/compilation_cache/cache_misses"),
    "folder": str(jaxlink.cache.directory()),
    "results": [idata["prior"]["mu"].values.tolist(), slope.tolist(), norm.item()],
}))
"""


def start(folder):
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env |= {"JAX_ENABLE_X64": "1", "JAXLINK_CACHE": str(folder)}
    code = [sys.executable, "-c", USER]
    return subprocess.Popen(code, env=env, stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_a_new_process_compiles_nothing(tmp_path):
    folder = tmp_path / "programs"
    # Two at the same time, neither of which may disturb the other.
    both = [start(folder), start(folder)]
    first, other = [finish(process) for process in both]
    assert first["misses"] + other["misses"] > 3
    (place,) = folder.iterdir()
    assert first["folder"] == str(place)
    # What a process that was killed has left.
    entries = sorted(place.glob("*-cache"))
    torn = max(entries, key=lambda entry: entry.stat().st_size)
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name.removesuffix("-cache") + "-atime").unlink()
    repaired = finish(start(folder))
    assert repaired["misses"] == 1
    last = finish(start(folder))
    assert last["misses"] == 0
    assert last["hits"] == repaired["hits"] + 1
    assert first["results"] == other["results"]
    assert first["results"] == repaired["results"] == last["results"]


@pytest.fixture
def restored():
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    yield before
    jaxlink.cache.disable()
    assert {name: getattr(jax.config, name) for name in SETTINGS} == before


def test_enable_and_disable(tmp_path, restored):
    assert jaxlink.cache.directory() is None
    place = jaxlink.cache.enable(tmp_path / "a" / "b", max_bytes=10**6)
    assert jaxlink.cache.directory() == place
    assert jax.config.jax_compilation_cache_dir == str(place)
    assert jax.config.jax_compilation_cache_max_size == 10**6
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert jaxlink.cache.enable(tmp_path / "c") != place
    jaxlink.cache.disable()
    assert jax.config.jax_compilation_cache_dir == restored[SETTINGS[0]]
    jaxlink.cache.disable()  # does no harm


def test_the_size_is_bounded(tmp_path, restored):
    place = jaxlink.cache.enable(tmp_path, max_bytes=12_000)
    for n in range(1, 6):
        jax.jit(lambda x, n=n: (x + n).sum() * x)(jax.numpy.ones(n)).block_until_ready()
    sizes = [entry.stat().st_size for entry in place.glob("*-cache")]
    assert 0 < sum(sizes) <= 12_000


def test_clear(tmp_path, restored):
    place = jaxlink.cache.enable(tmp_path)
    old = tmp_path / "jax-0.1-abc"
    old.mkdir()
    keep = tmp_path / "of-someone-else"
    keep.mkdir()
    jaxlink.cache.clear(tmp_path)
    assert not place.exists()
    assert not old.exists()
    assert keep.exists()
    jax.jit(lambda x: x * 3 + 1)(2.0)  # the folder comes again
    assert list(place.glob("*-cache"))


def test_old_versions_go(tmp_path, restored):
    old, new = tmp_path / "jax-0.1-abc", tmp_path / "jax-0.2-abc"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    jaxlink.cache.enable(tmp_path)
    assert not old.exists()
    assert new.exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights of POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_of_others_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod go-w"):
        jaxlink.cache.enable(tmp_path)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="max_bytes must be positive, not 0"):
        jaxlink.cache.enable("unused", max_bytes=0)

"""Executables on disk, and the digests by which another process finds them."""

import json
import math
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from compilation import compilations
from pytensor import wrap_jax
from pytensor.compile.builders import OpFromGraph
from pytensor.conditional.op import ifelse
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

import jaxlink
import jaxlink.pymc as jlpm
from jaxlink.call.digest import digest
from jaxlink.call.executables import compile_at, value_at
from jaxlink.errors import OutOfBoundsError


@pytest.fixture(autouse=True)
def fresh_cache():
    jaxlink.clear_cache()
    yield
    jaxlink.clear_cache()


def loop(factor):
    x = pt.vector("x")
    step = lambda v, y: y * factor + v  # noqa: E731
    return jaxlink.function(
        [x], pytensor.scan(step, [x], [pt.zeros(())], return_updates=False)
    )


def draw(**parameters):
    rng = pt.random.shared_rng(seed=1)
    return jaxlink.function([], rng.gamma(2.0, scale=1.0, **parameters)[1])


def indexed(places):
    x = pt.vector("x")
    return jaxlink.function([x], x[np.array(places)])


def chosen(flag):
    x = pt.vector("x")
    return jaxlink.function([x], ifelse(x.sum() > 0, x, flag * x))


FUNCTIONS = {
    "sum": lambda: jaxlink.function([(x := pt.vector("x"))], x.sum()),
    "in 32 bits": lambda: jaxlink.function([(x := pt.fvector("x"))], x.sum()),
    "softmax": lambda: jaxlink.function([(x := pt.vector("x"))], pt.special.softmax(x)),
    "loop": lambda: loop(0.5),
    "other loop": lambda: loop(0.25),
    "draw": lambda: draw(size=3),
    "larger draw": lambda: draw(size=4),
    "indexed": lambda: indexed([0, 2, 1]),
    "indexed further": lambda: indexed([0, 3, 1]),
    "chosen": lambda: chosen(2.0),
    "checked": lambda: indexed([0, 2, 1]).checked,
    "a tuple": lambda: jaxlink.function([(x := pt.vector("x"))], [x.sum()]),
}
VALUES = [
    *(None, True, 1, 1.0, 0.0, -0.0, math.nan, 1j, "1", b"1", ("1",), ["1"], {"1"}),
    *((1, (2,)), ((1,), 2), {"a": 1, "b": 2}, {"b": 2, "a": 1}, slice(1), slice(1, 2)),
    *(np.arange(3), np.arange(3.0), np.arange(3)[:, None], np.int32(1), np.dtype("i4")),
    *(partial(sorted, reverse=True), partial(sorted), sorted, int, "int"),
    *(jax.ShapeDtypeStruct((2,), "i4"), jax.ShapeDtypeStruct((2, 1), "i4")),
]


def test_digests_tell_apart():
    found = {name: digest(make()) for name, make in FUNCTIONS.items()}
    assert None not in found.values()
    assert len(set(found.values())) == len(found)
    jaxlink.clear_cache()
    assert {name: digest(make()) for name, make in FUNCTIONS.items()} == found
    of_values = [digest(value) for value in VALUES]
    assert None not in of_values
    assert len(set(of_values)) == len(VALUES)
    assert digest({"a", "b", "c"}) == digest({"c", "b", "a"})


def test_values_of_constants_do_not_count():
    assert digest(indexed([0, 2, 1])) == digest(indexed([2, 1, 0]))


def test_settings_of_jax_count():
    before = digest(1)
    with jax.default_matmul_precision("highest"):
        assert digest(1) != before
    assert digest(1) == before


def test_flags_of_xla_count(monkeypatch):
    before = digest(1)
    flags = os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_cpu_enable_fast_math=true")
    assert digest(1) not in (before, None)


class Doubled(Op):
    __props__ = ()
    itypes = otypes = (pt.dvector,)

    def perform(self, node, inputs, output_storage):
        raise NotImplementedError


def of_an_own_op():
    jaxlink.rule(Doubled)(lambda op, node: lambda x: x + x)
    x = pt.dvector("x")
    return jaxlink.function([x], Apply(Doubled(), [x], [pt.dvector()]).outputs[0])


def of_an_override():
    x = pt.vector("x")
    twice = lambda inputs, outputs, g: [2 * g[0] * pt.ones_like(inputs[0])]  # noqa: E731
    op = OpFromGraph([x], [x.sum()], pullback=twice)
    return jaxlink.function([x], op(x))


WITHOUT_CONTENT = {
    "rule of the user": of_an_own_op,
    "gradient of the user": of_an_override,
    "closure": lambda: jaxlink.function(
        [(x := pt.vector("x", shape=(3,)))], wrap_jax(lambda x: x * len(VALUES))(x)
    ),
    "Python at run time": lambda: jaxlink.function(
        [(x := pt.vector("x"))], x.sum(), host_callback=True
    ),
    "lambda": lambda: lambda x: x,
    "function of a test": lambda: indexed,
    "object": object,
    "array of objects": lambda: np.array([object()]),
}


@pytest.mark.parametrize("name", WITHOUT_CONTENT)
def test_what_another_process_cannot_compare_has_no_digest(name):
    assert digest(WITHOUT_CONTENT[name]()) is None


def test_bounds_are_checked_although_indices_are_arguments():
    x, data = np.arange(3.0), pytensor.shared(np.arange(3.0), name="data")
    fn = indexed([0, -3, 1])
    assert fn(x).tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(OutOfBoundsError, match="index -3 is out of bounds"):
        fn(x[:2])
    with pytest.raises(OutOfBoundsError, match="index 3 is out of bounds"):
        jaxlink.function([], data[np.array([0, 3])])()
    start = pt.vector("x", shape=(3,))
    with pytest.raises(OutOfBoundsError, match="index 3 is out of bounds"):
        jaxlink.function([start], pt.inc_subtensor(start[np.array([0, 3])], 1.0))


# --- on disk ---


@pytest.fixture
def place(tmp_path, monkeypatch):
    # Only a process with one device keeps executables.
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    yield jaxlink.cache.enable(tmp_path)
    jaxlink.cache.disable()


def mapped(fn, key, x):
    return {"draw": fn(key) + x, "key": key}


def run_mapped():
    """Compile and run a program, and how often JAX traced or lowered it."""
    args = draw(size=3), jax.random.key(2), jnp.arange(3.0)
    with compilations() as made:
        out = compile_at(jax.jit(mapped), "mapped", args)(*args)
    return out, [event for event, name in made if name and "mapped" in name]


def test_an_executable_is_found_again(place):
    first, made = run_mapped()
    assert len(made) == 3
    jaxlink.clear_cache()
    second, made = run_mapped()
    assert made == []
    np.testing.assert_array_equal(second["draw"], first["draw"])
    assert second["key"].dtype == first["key"].dtype
    (file,) = (place / "programs").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(file.read_bytes()[:1000])  # torn
    jaxlink.clear_cache()
    third, made = run_mapped()
    assert len(made) > 0
    jaxlink.clear_cache()
    fourth, _ = run_mapped()
    for again in (third, fourth):
        np.testing.assert_array_equal(again["draw"], first["draw"])


def test_a_value_is_found_again(place):
    shapes = {"x": jax.ShapeDtypeStruct((2,), "f8")}
    assert value_at("shapes", (), lambda: shapes) == shapes
    assert value_at("shapes", (), lambda: pytest.fail("made again")) == shapes
    assert value_at("others", (), lambda: None) is None


def test_executables_are_bounded(place):
    for number in range(5):
        value_at(number, (), lambda: "x" * 100_000)
    assert len(list((place / "programs").iterdir())) == 5
    jaxlink.cache.enable(place.parent, max_bytes=250_000)
    value_at("last", (), lambda: "x" * 100_000)
    assert len(list((place / "programs").iterdir())) == 2
    assert value_at("last", (), lambda: pytest.fail("made again")) == "x" * 100_000


def test_a_full_disk_ends_no_run(place, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="could not keep an executable: No space"):
        assert value_at("full", (), lambda: 3) == 3


def test_what_cannot_be_serialized_runs(place):
    def callback(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), "f8"), x)

    out = compile_at(jax.jit(callback), "callback", (1.0,))(1.0)
    np.testing.assert_allclose(out, np.sin(1.0))


USER = """
import json
import jax
import numpy as np
import pymc as pm
import jaxlink.pymc as jp

lowered = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, fun_name="", **details:
        lowered.append(fun_name) if "mlir" in event else None
)
with pm.Model(coords={"group": range(3)}) as model:
    mu = pm.Normal("mu", dims="group")
    n = pm.Gamma("n", 2, 1, dims="group")
    group = np.array([0, 2, 1, 1])
    pm.Poisson("y", n[group] * pm.math.exp(mu[group]), observed=[0, 1, 2, 5])
    quiet = {"random_seed": 1, "progressbar": False}
    prior = jp.sample_prior_predictive(3, **quiet)
    limits = {"tune": 5, "draws": 5, "chains": 2}
    trace = jp.sample(**limits, compute_convergence_checks=False, **quiet)
    fit = jp.fit(5, **quiet)
    best = jp.find_MAP(**quiet)
results = [prior["prior"]["n"], trace["posterior"]["mu"], fit.mean, best["mu"]]
names = "_at_one _chain_keys _draw _init_state _advance advance loss".split()
found = sorted({f"jit({name})" for name in names} & set(lowered))
print(json.dumps([found, [np.asarray(x).sum().item() for x in results]]))
"""


def test_a_new_process_lowers_no_program(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    env |= {"JAX_ENABLE_X64": "1", "JAXLINK_CACHE": str(tmp_path / "programs")}

    def run():
        command = [sys.executable, "-W", "ignore", "-c", USER]
        out = subprocess.run(command, env=env, capture_output=True, check=True)
        return json.loads(out.stdout.splitlines()[-1])

    first, results = run()
    assert len(first) == 7
    assert run() == [[], results]
    # JAX's own cache still has what a killed process left half written here.
    for file in tmp_path.glob("programs/*/programs/*"):
        file.write_bytes(file.read_bytes()[:100])
    assert [run()[1], run()[1]] == [results, results]


def test_a_model_function_has_a_digest():
    with pm.Model():
        mu = pm.Normal("mu", shape=2)
        pm.StudentT("y", 3, mu=mu, sigma=1, observed=[0.5, 2.0])
        pm.Categorical("k", [0.2, 0.3, 0.5])
        assert digest(jlpm.logdensity()) is not None
        assert digest(jlpm.prior()) is not None

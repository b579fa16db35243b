"""`run_chains`: the same chains, however they are run; whatever fails is named, and
what is finished is kept."""

import dataclasses
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
import weakref
from collections import OrderedDict, namedtuple
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import chains_walks
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from chains_walks import fail_below, walk
from support import assert_same

import jaxlink
from jaxlink import pymc as jp
from jaxlink import run_chains
from jaxlink.errors import ArgumentError, ChainError, KeyArgumentError

KEY = jax.random.key(11)
N = 3


def chains_by_hand(fn, key, *args, n=N):
    outs = [fn(jax.random.fold_in(key, i), *args) for i in range(n)]
    return jax.tree.map(lambda *xs: jnp.stack(xs), *outs)


@pytest.fixture(scope="module")
def executors():
    spawn = multiprocessing.get_context("spawn")
    with (
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(1, spawn, chains_walks.default_to_rbg) as processes,
    ):
        yield {"threads": threads, "processes": processes}


def graph():
    mu = pt.vector("mu")
    rng, x = pt.random.shared_rng(seed=1).normal(mu, 0.1)
    return jaxlink.function([mu], [x, rng.gamma(2.0, scale=1.5)[1]])


def prior():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Poisson("y", pm.math.exp(mu), shape=3)
    return jp.prior(model)


class Scaled(eqx.Module):
    scale: jax.Array
    name: str = eqx.field(static=True, default="scaled")

    def __call__(self, key, x):
        return self.scale * x + jax.random.normal(key, (2,))


CASES = {
    "a function": lambda: (walk, (0.5,)),
    "a graph": lambda: (graph(), (np.array([0.5, -1.0]),)),
    "a model": lambda: (prior(), ()),
    "a module": lambda: (Scaled(jnp.array([2.0, 3.0])), (np.float64(0.5),)),
    "a keyed argument": lambda: (
        lambda key, data: jax.random.uniform(key) + jax.random.normal(data["key"]),
        ({"key": jax.random.key(8, impl="rbg")},),
    ),
}
METHODS = ["vmap", "map", "sharded", "threads", "processes"]


@pytest.mark.parametrize("name", CASES)
def test_all_methods_have_the_same_chains(name, executors):
    fn, args = CASES[name]()
    wanted = chains_by_hand(fn, KEY, *args)
    for method in METHODS:
        got = run_chains(fn, KEY, N, *args, method=executors.get(method, method))
        assert_same(got, wanted, rtol=1e-13)


def test_more_chains_go_on_where_fewer_end():
    few, many = (run_chains(walk, KEY, n, 1.0, method="sharded") for n in (1, 5))
    assert_same(few, jax.tree.map(lambda x: x[:1], many), rtol=0)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_implementation(impl, executors):
    typed = jax.random.key(5, impl=impl)
    raw = jax.random.key_data(typed)
    # The chains of a vmap of rbg keys differ from those of a loop: JAX says so.
    wanted = run_chains(walk, typed, N, 0.5, method="map")
    assert str(jax.random.key_impl(wanted["k"])) == impl
    with jax.default_prng_impl("unsafe_rbg"):
        for key in (typed, jaxlink.as_key(raw, impl)):
            processes = executors["processes"]
            got = run_chains(walk, key, N, 0.5, method=processes)
            assert_same(got, wanted, rtol=1e-13)


def test_arguments_with_an_axis_of_chains(executors):
    starts = np.array([[1.0, 20.0], [2.0, 30.0], [3.0, 40.0]])

    def fn(key, position, scale):
        return walk(key, scale, position["x"])["walk"]

    for method in METHODS:
        how = {"method": executors.get(method, method), "in_axes": ({"x": 0}, None)}
        got = run_chains(fn, KEY, N, {"x": starts[:, 1]}, 0.5, **how)
        for i in range(N):
            key = jax.random.fold_in(KEY, i)
            assert_same(got[i], fn(key, {"x": starts[i, 1]}, 0.5), rtol=1e-13)
    got = run_chains(lambda key, x: x, KEY, 2, starts, in_axes=1)
    assert_same(got, starts.T, rtol=0)
    with pytest.raises(ArgumentError, match=r"3 entries along .* num_chains is 4"):
        run_chains(lambda key, x: x, KEY, 4, starts, in_axes=0)
    with pytest.raises(ArgumentError, match="in_axes has an entry for each of the 1"):
        run_chains(lambda key, x: x, KEY, 4, starts, in_axes=(0, 0))


def test_none_is_an_argument(executors):
    def fn(key, scale, x):
        return x * (1.0 if scale is None else scale)

    for method in METHODS:
        how = {"method": executors.get(method, method), "in_axes": (None, 0)}
        assert_same(run_chains(fn, KEY, N, None, np.arange(3.0), **how), np.arange(3.0))


def test_workers_have_the_caller_s_precision(executors):
    with jax.enable_x64(False):
        for method in METHODS:
            how = {"method": executors.get(method, method)}
            got = run_chains(walk, KEY, N, 0.5, **how)["walk"]
            assert got.dtype == np.float32
            first = walk(jax.random.fold_in(KEY, 0), 0.5)["walk"]
            assert_same(got[0], first, rtol=1e-5)


# --- what is returned ----------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    x: jax.Array
    kind: str = dataclasses.field(metadata={"static": True}, default="state")


@jax.tree_util.register_pytree_node_class
class Labelled:
    def __init__(self, x, label):
        self.x, self.label = x, label

    def tree_flatten(self):
        return (self.x,), self.label

    @classmethod
    def tree_unflatten(cls, label, children):
        return cls(*children, label)


MLP = eqx.nn.MLP(2, 2, 2, 1, key=KEY)
OBJECTS = np.array([1, "a", None], dtype=object)

# An output, and the paths that must be named.
AWKWARD = [
    ("x", ["output"]),
    (b"x", ["output"]),
    (walk, ["output"]),
    (jnp, ["output"]),
    (object(), ["output"]),
    (OBJECTS, ["output"]),
    (np.array(["a", "b"]), ["output"]),
    (np.array("2026", np.datetime64), ["output"]),
    ({"a": 1.0, "b": "x"}, ["output['b']"]),
    (({"m": MLP},), ["output[0]['m'].activation", "output[0]['m'].in_size"]),
    ((1.0, [2.0, (3.0, jax.jit(walk))]), ["output[1][1][1]"]),
    (Pair(1.0, "x"), ["output.second"]),
    ({"p": Pair(None, {"q": lambda: 0})}, ["output['p'].second['q']"]),
    (OrderedDict(b=1.0, a=slice(3)), ["output['a']"]),
    (State(jnp.ones(2)), ["output.kind"]),
    (State(7, 7), ["output.kind"]),  # one object, as data and as a static field
    ([State(OBJECTS, None)], ["output[0].x"]),
    ([Labelled(jnp.ones(2), "label")], ["output[0]"]),
    ({"s": {1, 2}, "r": range(3)}, ["output['s']", "output['r']"]),
    (jax.tree_util.Partial(walk, 1.0), ["output"]),
    ({"fn": graph()}, ["output['fn']"]),
    (types.SimpleNamespace(x=1.0), ["output"]),
    ({"d": jnp.float32, "n": 1.0}, ["output['d']"]),
]


@pytest.mark.parametrize(("out", "paths"), AWKWARD)
def test_what_is_no_data_is_named_before_anything_runs(out, paths):
    ran = []

    def fn(key):
        jax.debug.callback(lambda: ran.append(1))
        return {"data": jax.random.normal(key), "rest": out}

    for method in ("vmap", "map", "sharded"):
        with pytest.raises(ArgumentError) as error:
            run_chains(fn, KEY, N, method=method)
        for path in paths:
            assert f"\n  output['rest']{path.removeprefix('output')}: " in str(
                error.value
            )
        assert "output['data']" not in str(error.value)
    assert not ran


ARRAYS = {
    "none": None,
    "pair": Pair(np.float32(1), jnp.ones(2, jnp.bfloat16)),
    "numbers": (1, 2.5, True, 1j),
    "empty": [{}, (), np.zeros((0, 3))],
}


def test_data_in_any_containers_is_right(tmp_path):
    for how in ({}, {"method": "map"}, {"kept": tmp_path}, {"kept": tmp_path}):
        got = run_chains(lambda key: {**ARRAYS, "key": key}, KEY, 2, **how)
        assert got["none"] is None
        assert got["pair"].second.dtype == jnp.bfloat16
        assert [x.shape for x in got["numbers"]] == [(2,)] * 4
        assert got["empty"][2].shape == (2, 0, 3)
        assert got["key"][1] == jax.random.fold_in(KEY, 1)


def test_the_rest_comes_back_by_request(executors):
    def fn(key, name):
        out = Scaled(jax.random.normal(key))
        rest = {"name": name, "fn": walk, "size": 3}
        return {"module": out, "x": jnp.zeros(2), **rest}

    for method in METHODS:
        how = {"method": executors.get(method, method), "static": True}
        got = run_chains(fn, KEY, N, "walk", **how)
        # A number of Python is a setting here, such as the shape of a flow.
        assert (got["name"], got["fn"], got["size"]) == ("walk", walk, 3)
        assert (got["module"].name, got["x"].shape) == ("scaled", (N, 2))
        assert got["module"].scale.shape == (N,)


def test_functions_that_hold_traced_arrays_are_named():
    def fn(key):
        x = jax.random.normal(key)
        return {"x": x, "shift": lambda y: x + y, "twice": lambda y: 2 * y}

    with pytest.raises(ArgumentError, match=r"made, .*:\n  output\['shift'\]\nReturn"):
        run_chains(fn, KEY, N, static=True)


@pytest.mark.parametrize(
    "use", [float, int, bool, np.asarray, lambda x: x if x > 0 else -x]
)
def test_a_value_that_is_needed_while_tracing(use):
    def steps(key):
        return use(jax.random.normal(key))

    for method in ("vmap", "map"):
        with pytest.raises(ArgumentError, match="`steps` needs the value of an array"):
            run_chains(steps, KEY, N, method=method)


@pytest.mark.parametrize("method", ["vmap", "map", "sharded"])
def test_it_is_traced_once(method):
    traced = []

    def fn(key):
        traced.append(key)
        return jax.random.normal(key)

    for seed in (1, 2):
        run_chains(fn, jax.random.key(seed), N, method=method)
    assert len(traced) == 1


def test_a_worker_traces_once(executors, tmp_path):
    def fn(key):
        with (tmp_path / "traces").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return jax.random.normal(key)

    run_chains(fn, KEY, 4, method=executors["processes"])
    traces = (tmp_path / "traces").read_text().split()
    # Once here, to check what it returns, and once in the only worker.
    assert (len(traces), len(set(traces))) == (2, 2)
    assert str(os.getpid()) in traces


@pytest.mark.parametrize("method", ["vmap", "map", "sharded"])
def test_a_function_is_not_kept_alive(method):
    def fn(key):
        return jax.random.normal(key)

    run_chains(fn, KEY, N, method=method)
    alive = weakref.ref(fn)
    del fn
    gc.collect()
    assert alive() is None


# --- what fails ----------------------------------------------------------------------

BOUND = -0.5
FIRST = [
    float(jax.random.normal(jax.random.fold_in(KEY, i), (4,))[0]) for i in range(6)
]
FAILS = [i for i, x in enumerate(FIRST) if x < BOUND]


def without_failing(key):
    return jax.random.normal(key, (4,)).cumsum()


@pytest.mark.parametrize("method", ["map", "threads", "processes"])
def test_a_chain_that_raises_is_named_and_the_others_are_kept(method, executors):
    assert 0 < len(FAILS) < 6
    how = {"method": executors.get(method, method)}
    with pytest.raises(ChainError) as caught:
        run_chains(fail_below(BOUND), KEY, 6, **how)
    error = caught.value
    assert error.chains == FAILS
    assert len(error.kept) == 6 - len(FAILS)
    lines = [line for line in str(error).splitlines() if "  chain" in line]
    assert len(lines) == len(FAILS)
    for i, line in zip(FAILS, lines, strict=True):
        assert line.startswith(f"  chain {i}: ")
        assert "no step to -" in line
    # A function that does not fail computes what is missing, and no more.
    ran = []

    def watched(key):
        jax.debug.callback(lambda: ran.append(1))
        return without_failing(key)

    got = run_chains(watched, KEY, 6, kept=error.kept, method="map")
    jax.effects_barrier()
    assert len(ran) == len(FAILS)
    assert_same(got, chains_by_hand(without_failing, KEY, n=6), rtol=1e-14)


def test_a_worker_that_dies_is_named(tmp_path):
    fn, spawn = chains_walks.die_below(BOUND), multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn) as workers,
        pytest.raises(ChainError, match="BrokenProcessPool") as caught,
    ):
        run_chains(fn, KEY, 6, method=workers, kept=tmp_path)
    assert FAILS[0] in caught.value.chains
    finished = [i for i in range(6) if i not in caught.value.chains]
    names = {f"chain-{i}.npz" for i in finished}
    assert {path.name for path in tmp_path.iterdir()} == names
    got = run_chains(without_failing, KEY, 6, kept=caught.value.kept)
    assert_same(got, chains_by_hand(without_failing, KEY, n=6), rtol=1e-14)


def test_what_cannot_travel(executors, monkeypatch):
    lock = threading.Lock()
    with pytest.raises(ArgumentError, match="cannot travel to another process"):
        run_chains(lambda key: (key, lock)[0], KEY, 2, method=executors["processes"])
    monkeypatch.setattr("jaxlink.chains.workers.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="install cloudpickle, which also takes l"):
        run_chains(lambda key: key, KEY, 2, method=executors["processes"])


# --- what is kept --------------------------------------------------------------------


def test_finished_chains_are_told(executors):
    for method in METHODS:
        told, kept = [], {}
        how = {"method": executors.get(method, method), "on_finished": told.append}
        run_chains(walk, KEY, 1, 1.0, kept=kept)
        run_chains(walk, KEY, N, 1.0, kept=kept, **how)
        assert (told[0], sorted(told)) == (0, list(range(N)))
        run_chains(walk, KEY, N, 1.0, **how)
        assert sorted(told) == sorted([*range(N)] * 2)


def test_chains_of_another_run_are_not_taken(tmp_path):
    run_chains(walk, KEY, 2, 1.0, kept=tmp_path)
    other = jax.random.key(12)
    with pytest.raises(ArgumentError, match="Keep this run in another directory"):
        run_chains(walk, other, 2, 1.0, kept=tmp_path)
    with pytest.raises(ArgumentError, match=r"has the arrays .*'walk'.* but the"):
        run_chains(lambda key: {"k": key, "step": jnp.ones(5)}, KEY, 2, kept=tmp_path)
    with pytest.raises(ArgumentError, match="kept by another function"):
        run_chains(lambda key: {"k": key, "walk": jnp.ones(4)}, KEY, 2, kept=tmp_path)
    (tmp_path / "chain-1.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ArgumentError, match=r"chain-1.npz cannot be read"):
        run_chains(walk, KEY, 2, 1.0, kept=tmp_path)
    (tmp_path / "chain-1.npz").unlink()
    got = run_chains(walk, KEY, 2, 1.0, kept=tmp_path)
    assert_same(got, run_chains(walk, KEY, 2, 1.0), rtol=1e-14)
    # A dict has them by their keys.
    kept = {}
    for key in (KEY, other):
        run_chains(walk, key, 2, 1.0, kept=kept)
    assert len(kept) == 4
    assert {jaxlink.key_from_str(text).shape for text in kept} == {()}
    with pytest.raises(ArgumentError, match="not of the structure"):
        run_chains(without_failing, KEY, 2, kept=kept)


@pytest.mark.slow
def test_a_run_that_is_killed_ten_times(tmp_path):
    """No chain is lost, none is computed twice."""
    rng, command = random.Random(1), [sys.executable, chains_walks.__file__]
    written, kills = {}, 0
    while kills < 10:
        child = subprocess.Popen(
            [*command, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.6))
        child.send_signal(signal.SIGKILL)
        rest, kills = child.communicate()[0], kills + 1
        now = {
            path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in Path(tmp_path).glob("chain-*.npz")
        }
        assert written.items() <= now.items()
        written = now
        if "finished" in rest:
            break
    assert written
    got = run_chains(without_failing, jax.random.key(3), 20, kept=tmp_path)
    wanted = chains_by_hand(without_failing, jax.random.key(3), n=20)
    assert_same(got, wanted, rtol=1e-14)


# --- wrong arguments, and keys -------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_chains": 0}, "at least 1"),
        ({"num_chains": 2.0}, "must be an integer"),
        ({"num_chains": True}, "must be an integer"),
        ({"method": "pmap"}, "'vmap', 'map', 'sharded', or an executor"),
        ({"devices": jax.devices()}, "only"),
        ({"kept": 3}, "must be a dict, or the path"),
        ({"key": 0}, "PRNG key"),
        ({"key": jax.random.split(KEY)}, "batch of keys"),
    ],
)
def test_wrong_arguments(change, message):
    how = {"key": KEY, "num_chains": 2, **change}
    with pytest.raises((ArgumentError, KeyArgumentError), match=message):
        run_chains(without_failing, how.pop("key"), how.pop("num_chains"), **how)


def test_in_a_function_that_is_traced():
    with pytest.raises(ArgumentError, match=r"jax.vmap\(fn\)\(keys\)"):
        jax.jit(lambda key: run_chains(without_failing, key, 2))(KEY)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_as_text(impl):
    key = jax.random.key(-7, impl=impl)
    text = jaxlink.key_to_str(key)
    assert text.startswith(f"{impl}:")
    with jax.default_prng_impl("unsafe_rbg"):
        assert jaxlink.key_from_str(text) == key
        assert jaxlink.as_key(key) is key
        assert jaxlink.as_key(jax.random.key_data(key), impl) == key


@pytest.mark.parametrize(
    "text", ["", "threefry2x32", "threefry2x32:0", "md5:00-00", "rbg:x-y-z-1", "rbg:-1"]
)
def test_what_is_no_key_as_text(text):
    with pytest.raises(KeyArgumentError):
        jaxlink.key_from_str(text)


def test_keys_that_are_none():
    with pytest.raises(KeyArgumentError, match="is of the implementation"):
        jaxlink.as_key(KEY, "rbg")
    with pytest.raises(KeyArgumentError, match="2 words are not a key"):
        jaxlink.as_key(jax.random.PRNGKey(0), "rbg")
    with pytest.raises(KeyArgumentError, match="traced key has no value"):
        jax.jit(jaxlink.key_to_str)(KEY)


# --- gradients of functions that hand keys on -----------------------------------------


def step(scale, key):
    key, own = jax.random.split(key)
    return {"x": scale * jax.random.normal(own, (2,)), "n": jnp.arange(2), "key": key}


@pytest.mark.parametrize("as_given", [lambda key: key, jax.random.key_data])
def test_cotangents_where_none_exist(as_given):
    key = as_given(KEY)
    out, vjp = jax.vjp(step, 2.0, key)
    zeros = jaxlink.zero_cotangents(out)
    assert zeros["x"].dtype == out["x"].dtype
    assert {zeros[name].dtype for name in ("n", "key")} == {jax.dtypes.float0}
    assert [zeros[name].shape for name in out] == [out[name].shape for name in out]
    slope, of_key = vjp({**zeros, "x": jnp.array([0.0, 3.0])})
    assert_same(slope, 3.0 * out["x"][1] / 2.0, rtol=1e-14)
    assert of_key.dtype == jax.dtypes.float0
    tangents = 1.0, jaxlink.zero_cotangents(key)
    _, moved = jax.jvp(step, (2.0, key), tangents)
    assert_same(moved["x"], out["x"] / 2.0, rtol=1e-14)


@pytest.mark.parametrize("of_key", [lambda key: None, jaxlink.zero_cotangents])
def test_a_bwd_rule_of_a_function_of_a_key(of_key):
    fn = jax.custom_vjp(lambda scale, key: step(scale, key)["x"].sum())

    def fwd(scale, key):
        return fn(scale, key), key

    fn.defvjp(fwd, lambda key, c: (7.0 * c, of_key(key)))

    def walk_on(scale):
        def body(carry, _):
            x, key = carry
            key, own = jax.random.split(key)
            return (x + fn(scale, own), key), None

        return jax.lax.scan(body, (0.0, KEY), length=3)[0][0]

    assert jax.grad(walk_on)(2.0) == 21.0

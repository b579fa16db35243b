"""Programs outlive the call: equal graphs share one, and different graphs never do."""

import gc
import logging
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from compilation import compilations
from pytensor import wrap_jax
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.raise_op import Assert

import jaxlink
import jaxlink.pymc as jlpm
from jaxlink.call.cache import PROGRAMS, Cache
from jaxlink.call.identity import graph_identity
from jaxlink.call.program_around import expose_constants


@pytest.fixture(autouse=True)
def fresh_cache():
    jaxlink.clear_cache()
    yield
    jaxlink.clear_cache()


class TestCache:
    def test_the_oldest_entries_go(self):
        cache = Cache(max_entries=2)
        for key in "abc":
            cache.put(key, key.upper())
        assert [cache.get(key) for key in "abc"] == [None, "B", "C"]
        cache.get("b")
        cache.put("d", "D")
        assert [cache.get(key) for key in "bcd"] == ["B", None, "D"]

    def test_sizes_are_bounded(self):
        cache = Cache(max_entries=10, max_bytes=100)
        cache.put("a", 1, 60)
        cache.put("b", 2, 60)
        assert (cache.get("a"), cache.get("b")) == (None, 2)
        cache.put("c", 3, 101)
        assert (len(cache), cache.get("c")) == (0, None)

    def test_the_first_value_stays(self):
        cache = Cache(max_entries=2)
        assert cache.put("a", 1) == 1
        assert cache.put("a", 2) == 1
        assert cache.get_or_make("a", lambda: 3) == 1
        cache.drop("a")
        cache.drop("unknown")
        assert cache.get("a") is None


def regression(shift=1.0, *, names=("x", "mu"), dtype="float64", data=(0.0, 2.0)):
    """A random graph with an input, shared data and a loop."""
    x = pt.vector(names[0], dtype=dtype)
    scale = pytensor.shared(np.array(data), name="scale")
    start = pt.zeros((), dtype)
    walk = pytensor.scan(lambda xi, y: y * 0.5 + xi, [x], [start], return_updates=False)
    mu = (walk + shift).sum() * scale
    mu.name = names[1]
    rng = pt.random.shared_rng(seed=3)
    return [x], [mu, rng.normal(mu, 0.1)[1]]


def test_equal_graphs_share_one_program():
    key, x = jax.random.key(0), np.array([1.0, 2.0, -0.5])
    first = jaxlink.function(*regression())
    expected = first(key, x)
    with compilations() as made:
        second = jaxlink.function(*regression())
        found = second(key, x)
    assert made == []
    assert second is not first
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_shared_variables_keep_their_own_values():
    x = np.array([1.0, 2.0, -0.5])
    first = jaxlink.function(*regression())
    first(jax.random.key(0), x)
    with compilations() as made:
        second = jaxlink.function(*regression(data=(3.0, -1.0)))
        mu, _ = second(jax.random.key(0), x)
    assert made == []
    inputs, (out, _) = regression(data=(3.0, -1.0))
    np.testing.assert_allclose(mu, out.eval({inputs[0]: x}))
    assert first.data["scale"].tolist() == [0.0, 2.0]


DIFFERENT = {
    "constant": regression(1.5),
    "sign of zero": regression(-0.0),
    "zero": regression(0.0),
    "nan": regression(np.nan),
    "dtype": regression(dtype="float32"),
    "name of an input": regression(names=("y", "mu")),
    "name inside": regression(names=("x", "nu")),
    "length of data": regression(data=(1.0, 2.0, 3.0)),
}
SAME = {"other data": regression(data=(5.0, 7.0)), "again": regression()}


def identity(graph):
    inputs, outputs = graph
    leaves = {*inputs}
    variables = pytensor.graph.traversal.graph_inputs(outputs)
    shared = [v for v in variables if v not in leaves and hasattr(v, "get_value")]
    return graph_identity([*inputs, *shared], outputs)


def test_identity_of_a_graph():
    of_all = {name: identity(graph) for name, graph in DIFFERENT.items()}
    of_all["reference"] = identity(regression())
    # The length of a shared vector is no part of its type: it is an argument's shape.
    assert of_all.pop("length of data") == of_all["reference"]
    assert len(set(of_all.values())) == len(of_all)
    assert None not in of_all.values()
    for graph in SAME.values():
        assert identity(graph) == of_all["reference"]


@pytest.mark.parametrize("size", [3, 5000])
def test_constants_that_are_computed_with_share_a_program(size):
    values = np.arange(size) / size

    def fn_of(values):
        x, table = pt.scalar("x"), pt.constant(values)
        walk = pytensor.scan(
            lambda v, y: y + v, [table], [pt.zeros(())], return_updates=False
        )
        return jaxlink.function([x], {"sum": pt.exp(x * table).sum(), "walk": walk})

    first, same, other = fn_of(values), fn_of(values.copy()), fn_of(values[::-1] * 2)
    assert first._program is same._program is other._program
    for fn, factor in ((first, 1), (same, 1), (other, 2)):
        found = fn(2.0)
        np.testing.assert_allclose(found["sum"], np.exp(2 * factor * values).sum())
        np.testing.assert_allclose(found["walk"][-1], factor * values.sum())


@pytest.mark.parametrize(
    "of",
    [
        lambda x, values: x[pt.constant(values)],
        lambda x, values: pt.repeat(x, pt.constant(values)),
        lambda x, values: x[: pt.constant(values).sum()],
        lambda x, values: pt.arange(10)[pt.constant(values) + 1] + x.sum(),
    ],
    ids=["index", "repeats", "bound", "computed index"],
)
def test_constants_that_index_or_shape_keep_their_meaning(of):
    x = np.array([0.5, 2.0, -1.0])
    for values in (np.array([0, 2, 1]), np.array([1, 1, 2])):
        variable = pt.vector("x")
        out = of(variable, values)
        found = jaxlink.function([variable], out)(x)
        np.testing.assert_array_equal(found, out.eval({variable: x}))


def test_small_constants_are_no_leaves():
    x, weights = pt.vector("x"), pytensor.shared(np.array([1.0, 2.0]), name="weights")
    fns = [
        jaxlink.function([x], (weights * pt.constant(c) * x).sum())
        for c in ([3.0, 5.0], [7.0, 11.0])
    ]
    ones = np.ones(2)
    assert [fn(ones).item() for fn in fns] == [13.0, 29.0]
    assert [list(fn.data) for fn in fns] == [["weights"], ["weights"]]
    assert "data" not in str(fns[0])
    grads = [jax.grad(lambda fn: fn(ones))(fn) for fn in fns]
    assert [g.data["weights"].tolist() for g in grads] == [[3.0, 5.0], [7.0, 11.0]]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, fns[1])
    through_jit = jax.jit(lambda fn: (fn(ones), fn))(fns[1])
    assert (doubled(ones).item(), through_jit[0].item()) == (58.0, 29.0)
    assert through_jit[1](ones).item() == 29.0
    for other in (
        pickle.loads(pickle.dumps(fns[1])),
        fns[1].checked,
        fns[1].with_data(weights=[1.0, 2.0]),
    ):
        assert other(ones).item() == 29.0
    # A program around a function takes them as arguments.
    exposed = expose_constants(fns)
    assert [len(jax.tree.leaves(fn)) for fn in fns + exposed] == [1, 1, 2, 2]
    with compilations() as made:
        run = jax.jit(lambda fn: fn(ones))
        assert [run(fn).item() for fn in exposed] == [13.0, 29.0]
    assert len([event for event, _ in made if "backend" in event]) == 1


def test_constants_of_a_function_that_was_donated_are_captured_again():
    def build():
        x = pt.scalar("x")
        return jaxlink.function([x], (x * pt.constant(np.arange(2000.0))).sum())

    wanted = build()(2.0)
    fn = build()
    for leaf in jax.tree.leaves(fn):
        leaf.delete()  # as donation does, where the device supports it
    np.testing.assert_array_equal(build()(2.0), wanted)
    assert len(PROGRAMS) == 2  # the graph as written, and as rewritten


def test_what_a_function_is_called_and_returns_matters():
    x = pt.vector("x")
    y = x + 1
    fns = [
        jaxlink.function([x], y),
        jaxlink.function([x], [y]),
        jaxlink.function([x], {"y": y}),
        jaxlink.function([x], y, name="f"),
        jaxlink.function([x], y, host_callback=True),
    ]
    with jax.enable_x64(False):
        with pytest.warns(jaxlink.PrecisionWarning):
            fns.append(jaxlink.function([x], y))
        # A function from the cache warns too.
        with pytest.warns(jaxlink.PrecisionWarning):
            jaxlink.function([x], y)
    assert len({fn._program for fn in fns}) == len(fns)
    assert fns[3].__name__ == "f"
    assert [type(fn(np.zeros(1))) for fn in fns[1:3]] == [tuple, dict]


def test_shape_fixing_data_select_the_program():
    def fn_of(n):
        length = pytensor.shared(n, name="n")
        return jaxlink.function([], pt.ones(length) * 2)

    fns = [fn_of(n) for n in (2, 3, 2)]
    assert [fn().shape for fn in fns] == [(2,), (3,), (2,)]
    assert fns[0]._program is fns[2]._program
    assert fns[0]._program is not fns[1]._program


class Shifted(Op):
    __props__ = ()
    itypes = otypes = (pt.dscalar,)

    def perform(self, node, inputs, outputs):
        raise NotImplementedError


class SubOfShifted(Shifted):
    pass


def test_a_rule_that_is_registered_later_is_seen():
    x = pt.scalar("x")
    node = Apply(SubOfShifted(), [x], [pt.scalar()])
    jaxlink.rule(Shifted)(lambda op, node: lambda x: x + 1)
    assert jaxlink.function([x], node.outputs[0])(1.0) == 2.0
    jaxlink.rule(SubOfShifted)(lambda op, node: lambda x: x + 2)
    assert jaxlink.function([x], node.outputs[0])(1.0) == 3.0


def test_ops_around_closures_are_not_kept():
    big = np.arange(3.0)

    @wrap_jax
    def shifted(x):
        return x + big

    x = pt.vector("x", shape=(3,))
    fn = jaxlink.function([x], shifted(x))
    assert fn(np.ones(3)).tolist() == [1.0, 2.0, 3.0]
    assert len(PROGRAMS) == 0


def test_nothing_of_the_user_is_kept():
    data = np.arange(5000.0)  # large enough to be captured as an argument
    shared = pytensor.shared(data, name="shared")
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu + shared.sum(), 1, observed=data)
        density = jlpm.logdensity()
    density({"mu": 0.0})
    held = [weakref.ref(thing) for thing in (data, shared, model, density.fn)]
    assert len(PROGRAMS) > 0
    del data, shared, model, density, mu
    gc.collect()  # the model
    gc.collect()  # what was kept with it
    assert [thing() for thing in held] == [None] * len(held)
    assert len(PROGRAMS) > 0


def test_rebuilt_models_share_their_programs():
    def build(values):
        with pm.Model(coords={"city": ["Rome", "Oslo"]}) as model:
            x = pm.Data("x", values)
            mu = pm.Normal("mu", dims="city")
            tau = pm.HalfNormal("tau")
            pm.Poisson("y", pm.math.exp(mu.sum() + x), observed=[1, 4, 0])
            pm.Gamma("z", tau, 1)
        return model

    first, second = build([0.1, 0.2, 0.3]), build([0.5, 0.6, 0.7])
    position = jlpm.initial_position(first)(jax.random.key(0))
    jlpm.logdensity(first)(position)
    jlpm.prior(first)(jax.random.key(0))
    with compilations() as made:
        density = jlpm.logdensity(second)(position)
        jlpm.prior(second)(jax.random.key(1))
    assert made == []
    np.testing.assert_allclose(density, second.compile_logp()(position))


def test_unpickled_functions_share_one_program():
    inputs, (mu, _) = regression()
    fn = jaxlink.function(inputs, mu)
    copies = [pickle.loads(pickle.dumps(fn)) for _ in range(2)]
    assert copies[0]._program is copies[1]._program
    x = np.array([1.0, 2.0, -0.5])
    np.testing.assert_array_equal(copies[0](x), fn(x))
    assert copies[0].checked._program is copies[1].checked._program


def test_many_threads_may_compile():
    key, x = jax.random.key(0), np.array([1.0, 2.0, -0.5])
    graphs = [regression() for _ in range(8)]
    limit = pytensor.config.traceback__limit
    assert limit > 0
    with ThreadPoolExecutor(8) as pool:
        fns = list(pool.map(lambda graph: jaxlink.function(*graph), graphs))
        results = list(pool.map(lambda fn: fn(key, x), fns))
    assert len({fn._program for fn in fns}) == 1
    assert pytensor.config.traceback__limit == limit
    for result in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, result, results[0])


def test_clear_cache():
    graph = regression()
    first = jaxlink.function(*graph)
    jaxlink.clear_cache()
    assert len(PROGRAMS) == 0
    second = jaxlink.function(*graph)
    assert first._program is not second._program
    args = jax.random.key(0), np.zeros(2)
    jax.tree.map(np.testing.assert_array_equal, first(*args), second(*args))


def test_a_function_compiled_inside_a_transformation_holds_no_tracers():
    weights = np.arange(2000.0)

    def build():
        x = pt.scalar("x")
        return jaxlink.function([x], (x * pt.constant(weights)).sum())

    traced = jax.jit(lambda x: build()(x))(2.0)
    np.testing.assert_allclose([traced, build()(2.0)], 2 * weights.sum())


def test_functions_under_mode_share_their_programs():
    def run():
        x = pt.vector("x")
        positive = Assert("x > 0, please")(x, pt.all(x > 0))
        f = pytensor.function([x], pt.log(positive), mode=jaxlink.MODE)
        with pytest.raises(AssertionError, match="please"):
            f([-1.0, 1.0])
        return f([1.0, np.e])

    expected = run()
    with compilations() as made:
        np.testing.assert_array_equal(run(), expected)
    assert made == []


# --- runs over samples, and samplers ---


def groups(shift=0.0):
    """A model with draws that are rejected, data and observed values."""
    with pm.Model(coords={"group": range(3)}) as model:
        x = pm.Data("x", np.array([0.1, 0.7, -0.3]) + shift)
        mu = pm.Normal("mu", dims="group")
        rate = pm.Gamma("rate", 2.0, 1.0)
        mean = pm.Deterministic("mean", pm.math.exp(0.2 * mu + x))
        seen = np.roll([1, 4, 0], round(2 * shift))
        pm.Poisson("y", rate * mean, observed=seen)
        pm.Bernoulli("z", logit_p=mu, observed=seen % 2)
    return model


def quiet(run, *args, **kwargs):
    logging.getLogger("pymc").setLevel(logging.ERROR)
    return run(*args, progressbar=False, **kwargs)


def posterior():
    rng = np.random.default_rng(0)
    values = {
        "mu": (("chain", "draw", "group"), rng.normal(size=(2, 5, 3))),
        "rate": (("chain", "draw"), rng.gamma(2.0, size=(2, 5))),
    }
    return xr.DataTree.from_dict({"posterior": xr.Dataset(values, {"group": range(3)})})


RUNS = {
    "prior": lambda model: quiet(
        jlpm.sample_prior_predictive, 20, model, random_seed=1
    ),
    "posterior predictive": lambda model: quiet(
        jlpm.sample_posterior_predictive, posterior(), model, random_seed=1
    ),
    "log likelihood": lambda model: quiet(
        jlpm.compute_log_likelihood, posterior(), model=model
    ),
    "log prior": lambda model: quiet(jlpm.compute_log_prior, posterior(), model=model),
    "deterministics": lambda model: quiet(
        jlpm.compute_deterministics, posterior(), model=model
    ),
}

SAMPLERS = {
    sampler: partial(
        quiet, jlpm.sample, 10, tune=10, chains=2, random_seed=1, nuts_sampler=sampler
    )
    for sampler in ("blackjax", "numpyro", "nutpie")
} | {
    "vectorized": partial(
        *(quiet, jlpm.sample, 10),
        **{"tune": 10, "chains": 2, "random_seed": 1, "chain_method": "vectorized"},
    ),
    "fit": partial(quiet, jlpm.fit, 50, random_seed=1),
    "fit to a minibatch": partial(quiet, jlpm.fit, 50, random_seed=1),
    "find_MAP": partial(quiet, jlpm.find_MAP),
    "find_MAP, Newton": partial(quiet, jlpm.find_MAP, "trust-ncg"),
}


def hierarchy(shift=0.0, *, minibatch=False):
    data = np.array([0.1, 0.7, -0.3, 2.0]) + shift
    with pm.Model() as model:
        x = pm.Data("x", data)
        if minibatch:
            x = pm.Minibatch(x, batch_size=2)
        mu = pm.Normal("mu", shape=3)
        sigma = pm.HalfNormal("sigma")
        of_all = {"total_size": 4} if minibatch else {}
        pm.Normal("y", mu.sum(), sigma, observed=x, **of_all)
        pm.StudentT("z", 3.0, mu=mu, sigma=sigma, observed=data[:3])
    return model


def numbers(result):
    """The numbers of a result of any kind, by name."""
    if isinstance(result, xr.DataTree):
        return {
            f"{path}/{name}": values.to_numpy()
            for path in ("posterior", "sample_stats")
            for name, values in result[path].items()
        }
    if isinstance(result, dict):
        return result
    return {"mean": result.mean, "scale": result.scale}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore:Chain .* with|.*sampling.*:UserWarning")
def test_a_second_search_compiles_nothing(name):
    def run(shift=0.0):
        model = hierarchy(shift, minibatch="minibatch" in name)
        return numbers(SAMPLERS[name](model=model))

    first = run()
    with compilations() as made:
        second, other = run(), run(0.5)
    assert made == []
    assert first.keys() == second.keys() == other.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(second[key], value, err_msg=key)
    assert not all(np.array_equal(other[key], first[key]) for key in first)


@pytest.mark.parametrize("name", RUNS)
def test_a_second_run_compiles_nothing(name):
    first = RUNS[name](groups())
    with compilations() as made:
        second = RUNS[name](groups())
        other = RUNS[name](groups(0.5))
    assert made == []
    assert_same_results(second, first)
    jaxlink.clear_cache()
    assert_same_results(other, RUNS[name](groups(0.5)))


def assert_same_results(tree, other):
    if isinstance(tree, xr.DataTree):
        tree, other = tree.to_dict(), other.to_dict()
        assert tree.keys() == other.keys()
    else:
        tree, other = {"": tree}, {"": other}
    for group in tree:
        xr.testing.assert_equal(tree[group], other[group])


def test_one_program_serves_any_seed_and_number_of_draws():
    def run(draws, seed=1):
        tree = quiet(jlpm.sample_prior_predictive, draws, groups(), random_seed=seed)
        return tree["prior"].to_dataset()

    first = run(20)
    with compilations() as made:
        fewer, more, another = run(7), run(90), run(20, seed=2)
    assert made == []
    xr.testing.assert_equal(fewer, first.isel(draw=slice(7)))
    xr.testing.assert_equal(more.isel(draw=slice(20)), first)
    assert not np.array_equal(another["mu"], first["mu"])
    # Chunks that are far too small are not used.
    with compilations() as made:
        run(2000)
    assert made != []


def test_runs_keep_no_model():
    models = [groups(), hierarchy()]
    kept = [run(models[0]) for run in RUNS.values()]
    kept += [
        numbers(run(model=models[1]))
        for name, run in SAMPLERS.items()
        if "minibatch" not in name
    ]
    held = [weakref.ref(model) for model in models]
    del models
    gc.collect()
    assert [model() for model in held] == [None, None]
    assert len(kept) > len(RUNS)

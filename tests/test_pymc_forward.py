"""Predictive sampling and pointwise functions of PyMC models: the trees that PyMC
returns, which draws are in them, on disk as in memory, and what is said of mistakes."""

import logging
import signal
import warnings
from contextlib import contextmanager

import jax
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytest
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from pymc.backends import NDArray
from pymc.backends.base import MultiTrace
from pymc.exceptions import ImplicitFreezeWarning, ImputationWarning

import jaxlink
from benchmarks import predictive
from jaxlink import ArgumentError
from jaxlink.pymc.batched import memory
from jaxlink.pymc.batched import runner as runs
from jaxlink.pymc.model.predictive import posterior_predictive, prior
from jaxlink.pymc.predict.compute import (
    compute_deterministics,
    compute_log_likelihood,
    compute_log_prior,
)
from jaxlink.pymc.predict.forward import (
    sample_posterior_predictive,
    sample_prior_predictive,
)
from jaxlink.pymc.shared.datatree import predictive_tree, prior_tree

KEY = jax.random.key(11)
QUIET = {"progressbar": False}


def wide_model():
    """A bit of all that a result can hold."""
    coords = {"city": ["Rome", "Oslo", "Bonn"], "year": [2001, 2002]}
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", [0.5, 1.0, 2.0], dims="city")
        pm.Data("unit", 3)
        mu = pm.Normal("mu", dims=("year", "city"))
        pm.HalfNormal("sigma")
        raw = pm.Normal("raw[0]", shape=2)
        rate = pm.Deterministic("rate", mu * x + raw[0], dims=("year", "city"))
        pm.Deterministic("scaled", raw * model["unit"])
        shift = pm.DiscreteUniform("shift", 0, 5)
        pm.Normal("y", rate + shift, model["sigma"], observed=np.ones((2, 3)))
        pm.Bernoulli("flag", 0.5, observed=[1, 0], dims="year")
        with pm.Model("part"):
            pm.Normal("z", mu.sum(), 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImputationWarning)
            pm.Normal("gap", raw, 1.0, observed=[0.5, np.nan])
    return model


@pytest.fixture(scope="module")
def model():
    return wide_model()


@pytest.fixture(scope="module")
def from_prior(model):
    return sample_prior_predictive(12, model, key=KEY, **QUIET)


@pytest.fixture(scope="module")
def trace(model, from_prior):
    """Three chains of four draws of the free variables and deterministics."""
    draws = from_prior["prior"].to_dataset()
    parts = [draws.isel(draw=slice(4 * i, 4 * i + 4)) for i in range(3)]
    parts = [
        part.assign_coords(chain=[i], draw=range(4)) for i, part in enumerate(parts)
    ]
    posterior = xr.concat(parts, "chain").drop_vars("gap")
    data = {name: from_prior[name] for name in ("constant_data", "observed_data")}
    return xr.DataTree.from_dict({"posterior": posterior, **data})


def assert_same_structure(ours, theirs, *, ordered=True):
    """All but the numbers and the order of variables: groups, names, dimensions,
    coordinates, dtypes, attributes."""
    assert list(ours.children) == list(theirs.children)
    for name, group in theirs.children.items():
        mine, group = ours[name].to_dataset(), group.to_dataset()
        assert_same_datasets(mine, group, ordered=ordered)


def assert_same_datasets(mine, group, *, ordered=True):
    names, expected = list(mine.data_vars), list(group.data_vars)
    assert (names == expected) if ordered else (sorted(names) == sorted(expected))
    assert dict(mine.sizes) == dict(group.sizes)
    for name, variable in group.variables.items():
        assert mine[name].dims == variable.dims, name
        assert mine[name].dtype == variable.dtype, name
    assert sorted(mine.coords) == sorted(group.coords)
    for name in group.coords:
        assert mine[name].identical(group[name]), name
    attributes = dict(mine.attrs)
    assert attributes.pop("jaxlink_version") == jaxlink.__version__
    assert list(attributes) == list(group.attrs)
    for name in set(group.attrs) - {"created_at"}:
        assert attributes[name] == group.attrs[name], name


def without_attributes(tree):
    return tree.map_over_datasets(lambda dataset: dataset.drop_attrs())


def assert_identical(tree, other):
    """To the bit, but for times in attributes."""
    xr.testing.assert_identical(without_attributes(tree), without_attributes(other))


# The trees that PyMC returns


def test_prior(model, from_prior):
    ours = from_prior
    theirs = pm.sample_prior_predictive(12, model, random_seed=1)
    # PyMC orders the variables of these groups by their hashes.
    assert_same_structure(ours, theirs, ordered=False)
    names = [var.name for var in [*model.basic_RVs, *model.deterministics]]
    for group in ("prior", "prior_predictive"):
        drawn = list(ours[group].data_vars)
        assert drawn == [name for name in names if name in drawn]


def test_prior_of_some_variables(model):
    names = ["flag", "shift", "scaled"]
    ours = sample_prior_predictive(3, model, names, key=KEY, **QUIET)
    theirs = pm.sample_prior_predictive(3, model, names, random_seed=1)
    assert_same_structure(ours, theirs, ordered=False)
    assert list(ours["prior"].data_vars) == ["shift", "scaled"]
    arrays = sample_prior_predictive(
        3, model, names, key=KEY, return_inferencedata=False, **QUIET
    )
    assert list(arrays) == names
    np.testing.assert_array_equal(arrays["flag"], ours["prior_predictive"]["flag"][0])


def test_prior_takes_conversion_arguments(model):
    options = {"coords": {"axis": ["a", "b"]}, "dims": {"raw[0]": ["axis"]}}
    ours = sample_prior_predictive(
        3, model, ["raw[0]"], key=KEY, idata_kwargs=options, **QUIET
    )
    theirs = pm.sample_prior_predictive(
        3, model, ["raw[0]"], random_seed=1, idata_kwargs=options
    )
    assert_same_structure(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"var_names": ["mu", "y", "rate"]},  # two of them are copied
        {"var_names": "scaled"},
        {"sample_vars": ["shift", "y"]},
        {"var_names": ["y"], "sample_vars": "part::z", "freeze_vars": ["mu"]},
        {"predictions": True, "var_names": ["flag"]},
        {
            "var_names": ["gap_observed"],
            "idata_kwargs": {"dims": {"gap_observed": ["seen"]}},
        },
    ],
    ids=str,
)
def test_posterior_predictive(model, trace, options):
    theirs = pm.sample_posterior_predictive(
        trace, model, random_seed=1, **options, **QUIET
    )
    ours = sample_posterior_predictive(trace, model, key=KEY, **options, **QUIET)
    assert_same_structure(ours, theirs)
    group = "predictions" if "predictions" in options else "posterior_predictive"
    for name in {"mu", "rate", "scaled"} & set(ours[group]):
        np.testing.assert_array_equal(ours[group][name], trace["posterior"][name])
        assert not np.shares_memory(ours[group][name], trace["posterior"][name])


def test_other_sample_dimensions(model, trace):
    flat = trace["posterior"].to_dataset().stack(sample=("chain", "draw"))
    again = trace["posterior"].to_dataset().expand_dims(pred_id=2)
    for posterior, dims in [
        (flat.reset_index("sample", drop=True), ["sample"]),
        (flat, ["sample"]),
        (again, ["chain", "draw", "pred_id"]),
        (trace["posterior"].to_dataset(), ["draw", "chain"]),
    ]:
        options = {"var_names": ["flag", "mu"], "sample_dims": dims, **QUIET}
        ours = sample_posterior_predictive(posterior, model, key=KEY, **options)
        theirs = pm.sample_posterior_predictive(posterior, model, **options)
        assert_same_structure(ours, theirs)


def test_new_data_and_coords(trace):
    with wide_model():
        pm.set_data({"x": [1.0, 2.0, 3.0]}, coords={"city": ["Pisa", "Bari", "Como"]})
        options = {"var_names": ["rate", "scaled"], "predictions": True, **QUIET}
        with pytest.warns(ImplicitFreezeWarning):
            ours = sample_posterior_predictive(trace, key=KEY, **options)
        with pytest.warns(ImplicitFreezeWarning):
            theirs = pm.sample_posterior_predictive(trace, **options)
    assert_same_structure(ours, theirs)
    assert "predictions_constant_data" in ours.children
    for name in options["var_names"]:
        np.testing.assert_allclose(
            ours["predictions"][name], theirs["predictions"][name], rtol=1e-14
        )


@pytest.mark.parametrize("predictions", [False, True])
def test_extend(model, trace, predictions):
    mine, other = trace.copy(), trace.copy()
    options = {"extend_inferencedata": True, "predictions": predictions, **QUIET}
    options["var_names"] = ["flag"]
    ours = sample_posterior_predictive(mine, model, key=KEY, **options)
    assert ours is mine
    theirs = pm.sample_posterior_predictive(other, model, **options)
    assert list(ours.children) == list(theirs.children)
    with pytest.warns(UserWarning, match="are replaced"):
        sample_posterior_predictive(mine, model, key=KEY, **options)


def test_no_variables(model, trace):
    options = {"var_names": [], "key": KEY, **QUIET}
    assert not sample_posterior_predictive(trace, model, **options).children
    own = sample_posterior_predictive(
        trace, model, extend_inferencedata=True, **options
    )
    assert own is trace
    assert (
        sample_posterior_predictive(trace, model, return_inferencedata=False, **options)
        == {}
    )


def test_dims_model():
    with pm.Model(coords={"city": ["Rome", "Oslo"]}) as model:
        mu = pmd.Normal("mu", dims="city")
        twice = pmd.Deterministic("twice", mu * 2)
        seen = pmd.Data("seen", [0.0, 1.0], dims="city")
        pmd.Normal("y", twice, 1.0, observed=seen)
    ours = sample_prior_predictive(3, model, key=KEY, **QUIET)
    theirs = pm.sample_prior_predictive(3, model, random_seed=1)
    assert_same_structure(ours, theirs, ordered=False)
    posterior = theirs["prior"].to_dataset()
    options = {"var_names": ["y", "twice"], **QUIET}
    ours = sample_posterior_predictive(posterior, model, key=KEY, **options)
    theirs = pm.sample_posterior_predictive(posterior, model, **options)
    assert_same_structure(ours, theirs)


def test_other_forms_of_a_trace(model, trace):
    """Points and a MultiTrace give the draws of the DataTree with the same values."""
    posterior = trace["posterior"].to_dataset()
    options = {"key": KEY, "var_names": ["y", "mu"], **QUIET}
    expected = sample_posterior_predictive(trace, model, **options)
    expected = expected["posterior_predictive"].to_dataset()
    for same in (posterior, trace["posterior"]):
        ours = sample_posterior_predictive(same, model, **options)
        xr.testing.assert_equal(ours["posterior_predictive"].to_dataset(), expected)

    names = [rv.name for rv in model.free_RVs]
    first = posterior.isel(chain=[0])
    points = [
        {name: first[name].values[0, i] for name in names} | {"sigma_log__": 0.0}
        for i in range(4)
    ]
    # Points do not say what the coordinates were.
    with pytest.warns(ImplicitFreezeWarning, match="city"):
        ours = sample_posterior_predictive(points, model, **options)
    with pytest.warns(ImplicitFreezeWarning, match="city"):
        theirs = pm.sample_posterior_predictive(
            points, model, var_names=["y", "mu"], **QUIET
        )
    assert_same_structure(ours, theirs)
    xr.testing.assert_equal(
        ours["posterior_predictive"].to_dataset(), expected.isel(chain=[0])
    )

    with pm.Model() as small:
        a = pm.HalfNormal("a")
        pm.Normal("y", a, 1.0, observed=[1.0, 2.0])
    straces = []
    for chain in range(2):
        straces.append(NDArray(model=small))
        straces[-1].setup(draws=3, chain=chain)
        for i in range(3):
            straces[-1].record({"a_log__": np.log(1.0 + i + chain)}, in_warmup=False)
        straces[-1].close()
    multitrace = MultiTrace(straces)
    ours = sample_posterior_predictive(multitrace, small, key=KEY, **QUIET)
    theirs = pm.sample_posterior_predictive(multitrace, small, **QUIET)
    assert_same_structure(ours, theirs)
    values = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    dataset = xr.Dataset({"a": (("chain", "draw"), values)})
    same = sample_posterior_predictive(dataset, small, key=KEY, **QUIET)
    np.testing.assert_allclose(
        ours["posterior_predictive"]["y"], same["posterior_predictive"]["y"], 1e-14
    )


# Which draws


def test_key_of_each_draw(model, trace):
    """The draw at chain c and draw d has the key fold_in(fold_in(key, c), d)."""
    names = ["flag", "part::z"]
    anew = ["part::z"]
    ours = sample_posterior_predictive(
        trace, model, var_names=names, sample_vars=anew, key=KEY, **QUIET
    )
    fn = jax.jit(posterior_predictive(model, names, sample_vars=anew))
    posterior = trace["posterior"]
    for c, d in [(0, 0), (2, 3)]:
        key = jax.random.fold_in(jax.random.fold_in(KEY, c), d)
        draw = {rv.name: posterior[rv.name].values[c, d] for rv in model.free_RVs}
        for name, value in fn(key, draw).items():
            np.testing.assert_allclose(
                ours["posterior_predictive"][name][c, d], value, rtol=1e-14
            )
    drawn = sample_prior_predictive(3, model, ["flag"], key=KEY, **QUIET)
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 2)
    np.testing.assert_array_equal(
        drawn["prior_predictive"]["flag"][0, 2],
        jax.jit(prior(model, ["flag"]))(key)["flag"],
    )


@pytest.fixture(scope="module")
def drawn(model, trace):
    options = {"var_names": ["y", "flag", "mu"], **QUIET}
    return sample_posterior_predictive(trace, model, key=KEY, **options)


@pytest.mark.parametrize("batch_size", [1, 3, 12])
def test_same_draws_for_any_batch_size(model, trace, drawn, batch_size):
    options = {"var_names": ["y", "flag", "mu"], "batch_size": batch_size, **QUIET}
    assert_identical(
        sample_posterior_predictive(trace, model, key=KEY, **options), drawn
    )


def test_same_draws_on_two_devices(model, trace, drawn):
    mesh = Mesh(np.array(jax.devices()), ("draws",))
    sharding = NamedSharding(mesh, PartitionSpec("draws"))
    options = {"var_names": ["y", "flag", "mu"], "sharding": sharding, **QUIET}
    assert_identical(
        sample_posterior_predictive(trace, model, key=KEY, **options), drawn
    )


def test_draws_stay_with_their_sample(model, trace, drawn):
    options = {"var_names": ["y", "flag", "mu"], "key": KEY, **QUIET}
    for index in ({"chain": [2, 0, 1]}, {"draw": [0, 2, 3]}):
        part = trace["posterior"].to_dataset().isel(index)
        ours = sample_posterior_predictive(part, model, **options)
        xr.testing.assert_equal(
            ours["posterior_predictive"].to_dataset(),
            drawn["posterior_predictive"].to_dataset().isel(index),
        )


def test_what_is_asked_for_changes_no_prior_draw(model, from_prior):
    names = ["mu", "flag"]
    fewer = sample_prior_predictive(5, model, names, key=KEY, batch_size=2, **QUIET)
    for group, name in [("prior", "mu"), ("prior_predictive", "flag")]:
        xr.testing.assert_equal(fewer[group][name], from_prior[group][name][:, :5])


def test_seeds(model):
    def draw(**seed):
        arrays = sample_prior_predictive(
            2, model, ["sigma"], return_inferencedata=False, **seed, **QUIET
        )
        return arrays["sigma"].tolist()

    assert draw(random_seed=3) == draw(key=jax.random.key(3)) != draw(random_seed=4)
    assert draw() != draw()


# On disk


def test_store_holds_the_same(model, trace, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "BLOCK_BYTES", 700)  # two draws of three chains
    options = {"var_names": ["y", "flag", "mu"], "key": KEY, **QUIET}
    path = tmp_path / "pp.zarr"
    ours = sample_posterior_predictive(
        trace, model, store=path, batch_size=5, **options
    )
    assert_same_structure(ours, drawn_like(drawn))
    assert not ours["posterior_predictive"]["y"].variable._in_memory
    assert ours["posterior_predictive"]["y"].encoding["chunks"] == (3, 2, 2, 3)
    assert_identical(ours.load(), drawn)
    assert_identical(xr.open_datatree(path, engine="zarr", consolidated=False), ours)
    with pytest.raises(FileExistsError, match='store_mode="w"'):
        sample_posterior_predictive(trace, model, store=path, **options)
    shorter = trace.isel(draw=slice(2))
    again = sample_posterior_predictive(
        shorter, model, store=str(path), store_mode="w", **options
    )
    assert_identical(again.load(), drawn.isel(draw=slice(2)))


def drawn_like(tree):
    """A tree without the mark of jaxlink, as PyMC's."""
    tree = tree.copy()
    for group in tree.children.values():
        del group.attrs["jaxlink_version"]
    return tree


def test_store_of_prior_and_extended_trace(model, trace, from_prior, tmp_path):
    options = {"key": KEY, **QUIET}
    names = ["mu", "flag"]
    ours = sample_prior_predictive(5, model, names, store=tmp_path / "a", **options)
    for group, name in [("prior", "mu"), ("prior_predictive", "flag")]:
        assert not ours[group][name].variable._in_memory
        xr.testing.assert_equal(ours[group][name], from_prior[group][name][:, :5])
    mine = trace.copy()
    ours = sample_posterior_predictive(
        mine,
        model,
        var_names=["flag"],
        store=tmp_path / "b",
        extend_inferencedata=True,
        **options,
    )
    assert ours is mine
    assert not mine["posterior_predictive"]["flag"].variable._in_memory
    # What is on disk is a trace too, read as it is needed.
    trace.to_zarr(tmp_path / "c", consolidated=False)
    lazy = xr.open_datatree(tmp_path / "c", engine="zarr", consolidated=False)
    options |= {"var_names": ["gap_observed", "mu"]}
    first = sample_posterior_predictive(lazy, model, batch_size=2, **options)
    second = sample_posterior_predictive(trace, model, **options)
    assert_identical(first, second)


def test_memory_limit(model, tmp_path):
    options = {"var_names": ["mu"], "key": KEY, "memory_limit": 1000, **QUIET}
    with pytest.raises(
        MemoryError, match=r"takes 4.69 KiB \(4,800 bytes\).*store=PATH"
    ):
        sample_prior_predictive(100, model, **options)
    ours = sample_prior_predictive(100, model, store=tmp_path / "a", **options)
    assert ours["prior"].sizes["draw"] == 100
    assert sample_prior_predictive(20, model, **options)["prior"].sizes["draw"] == 20


def test_results_are_not_copied(model):
    arrays = {"flag": np.zeros((2, 3, 2)), "mu": np.zeros((2, 3, 2, 3))}
    coords = {"chain": np.arange(2), "draw": np.arange(3)}
    for predictions, group in [(False, "posterior_predictive"), (True, "predictions")]:
        tree = predictive_tree(arrays, coords, model, {}, predictions=predictions)
        for name, array in arrays.items():
            assert np.shares_memory(tree[group][name].values, array)
    one = {name: array[:1] for name, array in arrays.items()}
    tree = prior_tree(one, {"chain": [0], "draw": np.arange(3)}, model, {})
    assert np.shares_memory(tree["prior"]["mu"].values, arrays["mu"])
    assert np.shares_memory(tree["prior_predictive"]["flag"].values, arrays["flag"])


@pytest.mark.slow
def test_memory_of_4000_draws_of_1000_observations():
    size, grown = predictive.memory(draws=1000, on_disk=False)
    assert size == 4000 * 1000 * 8
    assert grown < 2 * (size + memory.budget("cpu"))


def test_store_without_zarr(model, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ImportError, match="pip install zarr"):
        sample_prior_predictive(3, model, ["mu"], key=KEY, store=tmp_path / "a")


# Ctrl-C, the progress bar and the log


@pytest.fixture
def interrupt(monkeypatch):
    """Ctrl-C comes when a number of chunks are done."""

    def after(chunks):
        @contextmanager
        def bar(show, total, unit, description):
            del show, total, unit, description
            left = [chunks]

            def advance(count, standing):
                del standing
                left[0] -= count > 0
                if not left[0]:
                    signal.raise_signal(signal.SIGINT)

            yield advance

        monkeypatch.setattr(runs, "progress_bar", bar)

    return after


def test_interrupted(model, trace, drawn, interrupt, tmp_path):
    interrupt(3)
    options = {"var_names": ["y", "flag", "mu"], "key": KEY, "batch_size": 3}
    with pytest.warns(UserWarning, match="3 of 4 along `draw` were finished") as record:
        ours = sample_posterior_predictive(trace, model, **options)
    assert record[0].filename == __file__
    assert_identical(ours, drawn.isel(draw=slice(3)))
    with pytest.warns(UserWarning, match="3 of 4"):
        ours = sample_posterior_predictive(
            trace, model, store=tmp_path / "a", **options
        )
    assert_identical(ours.load(), drawn.isel(draw=slice(3)))
    with pytest.warns(UserWarning, match="3 of 4"):
        arrays = sample_posterior_predictive(
            trace, model, return_inferencedata=False, **options
        )
    assert {name: x.shape[:2] for name, x in arrays.items()} == dict.fromkeys(
        ["y", "flag", "mu"], (3, 3)
    )


def test_interrupted_with_nothing_to_return(model, trace, interrupt):
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        sample_posterior_predictive(
            trace, model, var_names=["flag"], key=KEY, batch_size=2
        )
    with pytest.raises(KeyboardInterrupt):
        sample_prior_predictive(9, model, ["flag"], key=KEY, batch_size=4)


def test_progress_bar(model, trace, capsys):
    options = {"var_names": ["flag"], "key": KEY}
    sample_posterior_predictive(trace, model, **options, progressbar=False)
    assert capsys.readouterr() == ("", "")
    sample_posterior_predictive(trace, model, **options)
    out, err = capsys.readouterr()
    assert out == ""
    for text in ("Sampling ...", "12/12", "draws/s", "0:00:00"):
        assert text in err


def test_log_says_what_is_sampled(model, trace, caplog):
    options = {"key": KEY, **QUIET}
    with caplog.at_level(logging.INFO, "pymc"):
        sample_posterior_predictive(
            trace, model, var_names=["flag", "gap_observed"], **options
        )
        sample_posterior_predictive(trace, model, var_names=["mu"], **options)
        sample_prior_predictive(2, model, ["rate"], **options)
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("pymc.sampling.forward", "Sampling: [flag, gap_observed]"),
        ("pymc.sampling.forward", "Sampling: []"),
        ("pymc.sampling.forward", "Sampling: [mu, raw[0]]"),
    ]


def test_potentials_are_ignored():
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Potential("soft", -(a**2))
        pm.Normal("y", a, 1.0, observed=0.0)
    with pytest.warns(UserWarning, match="soft"):
        sample_prior_predictive(2, model, key=KEY, **QUIET)
    with pytest.warns(UserWarning, match="soft"):
        sample_posterior_predictive([{"a": 0.0}], model, key=KEY, **QUIET)


# Pointwise


@pytest.mark.parametrize(
    ("ours", "theirs", "group", "names"),
    [
        (compute_log_likelihood, pm.compute_log_likelihood, "log_likelihood", None),
        (compute_log_likelihood, pm.compute_log_likelihood, "log_likelihood", ["y"]),
        (compute_log_prior, pm.stats.compute_log_prior, "log_prior", None),
        (compute_log_prior, pm.stats.compute_log_prior, "log_prior", ["mu", "sigma"]),
    ],
)
def test_log_densities(model, trace, ours, theirs, group, names):
    options = {"var_names": names, "model": model, **QUIET}
    expected = theirs(trace, extend_inferencedata=False, **options)
    result = ours(trace, extend_inferencedata=False, **options)
    assert_same_datasets(result, expected)
    for name in expected:
        np.testing.assert_allclose(result[name], expected[name], rtol=1e-9)
    mine = trace.copy()
    assert ours(mine, batch_size=5, **options) is mine
    assert mine[group].to_dataset().drop_attrs().identical(result.drop_attrs())


def test_deterministics(model, trace):
    # PyMC draws the masked observations of `gap` here.
    names = ["scaled", "rate"]
    options = {"var_names": names, "model": model, **QUIET}
    expected = pm.compute_deterministics(trace, **options)
    result = compute_deterministics(trace, **options)
    assert_same_datasets(result, expected)
    xr.testing.assert_allclose(result, expected, rtol=1e-13)
    everything = compute_deterministics(trace, model=model, **QUIET)
    assert list(everything.data_vars) == [var.name for var in model.deterministics]
    assert np.all(everything["gap"][..., 0] == 0.5)
    mine = trace.copy()
    del mine["posterior"]["scaled"]
    assert compute_deterministics(mine, extend_dataset=True, **options) is mine
    xr.testing.assert_equal(mine["posterior"]["scaled"], trace["posterior"]["scaled"])
    as_prior = xr.DataTree.from_dict({"prior": trace["posterior"].to_dataset()})
    for group in (None, "prior"):
        again = compute_deterministics(as_prior, group=group, **options)
        xr.testing.assert_equal(again, result)


def test_single_point(model, trace):
    point = trace["posterior"].to_dataset().isel(chain=1, draw=2)
    options = {"model": model, "sample_dims": (), **QUIET}
    expected = pm.compute_deterministics(point, var_names=["rate"], **options)
    result = compute_deterministics(point, var_names=["rate"], **options)
    assert_same_datasets(result, expected)
    xr.testing.assert_allclose(result, expected, rtol=1e-13)
    with pytest.raises(ValueError, match="sample_dims along which it can grow"):
        compute_deterministics(point, store="somewhere", **options)


def test_pointwise_on_disk_and_two_devices(model, trace, tmp_path):
    options = {"model": model, "var_names": ["y"], "extend_inferencedata": False}
    expected = compute_log_likelihood(trace, **options, **QUIET)
    mesh = Mesh(np.array(jax.devices()), ("draws",))
    sharding = NamedSharding(mesh, PartitionSpec("draws"))
    result = compute_log_likelihood(
        trace, store=tmp_path / "a", sharding=sharding, **options, **QUIET
    )
    assert not result["y"].variable._in_memory
    xr.testing.assert_equal(result, expected)


# What is wrong


def bad_trace(trace, **changes):
    posterior = trace["posterior"].to_dataset()
    return posterior.drop_vars(list(changes)).assign(changes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"var_names": ["flog"]}, ValueError, "`flog` .*mean `flag`"),
        ({"sample_vars": ["sigmo"]}, ValueError, "`sigmo` .*mean `sigma`"),
        ({"var_names": ["y"], "freeze_vars": ["ratee"]}, ValueError, "mean `rate`"),
        ({"var_names": ["y"], "freeze_vars": ["y"]}, ValueError, "freeze_vars has `y`"),
        ({"sample_dims": ["sample"]}, ValueError, "no dimension `sample`"),
        ({"sample_dims": []}, ValueError, "must be a list"),
        ({"batch_size": 0}, ValueError, "at least 1"),
        ({"batch_size": 1.5}, TypeError, "must be an int"),
        ({"sharding": "cpu"}, TypeError, "jax.sharding.Sharding"),
        ({"random_seed": 1}, TypeError, "not both"),
        ({"memory_limit": 0}, ValueError, "number of bytes"),
        ({"store": "a", "return_inferencedata": False}, ValueError, "with a store"),
        ({"store": "a", "store_mode": "r"}, ValueError, "store_mode must be"),
    ],
)
def test_wrong_arguments(model, trace, options, error, message):
    with pytest.raises(error, match=message):
        sample_posterior_predictive(trace, model, key=KEY, **options, **QUIET)


def test_wrong_traces(model, trace):
    def draw(trace, names=("y",), **options):
        options |= {"var_names": list(names), "key": KEY, **QUIET}
        return sample_posterior_predictive(trace, model, **options)

    posterior = trace["posterior"].to_dataset()
    with pytest.raises(ValueError, match="the trace is empty"):
        draw(trace.isel(draw=slice(0)))
    with pytest.raises(ValueError, match="the trace is empty"):
        draw([])
    with pytest.raises(TypeError, match=r"list of points: \[trace\]"):
        draw({"mu": 0.0})
    with pytest.raises(TypeError, match="not int"):
        draw(3)
    with pytest.raises(ValueError, match=r"has no posterior\. Its groups are `prior`"):
        draw(xr.DataTree.from_dict({"prior": posterior}))
    with pytest.raises(ValueError, match="points of the trace differ"):
        draw([{"mu": 0.0}, {"sigma": 0.0}])
    wrong = bad_trace(trace, **{"raw[0]": (("chain", "draw", "i"), np.ones((3, 4, 5)))})
    with pytest.raises(ValueError, match=r"`raw\[0\]` .* shape \(5,\).*but \(2,\)"):
        draw(wrong, ["gap_observed"])
    wrong = bad_trace(trace, sigma=(("chain", "draw", "i"), np.ones((3, 4, 5))))
    with pytest.raises(ValueError, match=r"`sigma` .* but \(\) in the model"):
        draw(wrong)
    wrong = bad_trace(trace, sigma=("chain", np.ones(3)))
    with pytest.raises(
        ValueError, match="`sigma` of the trace has no dimension `draw`"
    ):
        draw(wrong)
    with pytest.raises(TypeError, match="adds groups to a DataTree"):
        draw(posterior, extend_inferencedata=True)


def test_lengths_that_do_not_go_together(trace):
    with wide_model() as model:
        pm.set_data({"x": [1.0, 2.0]}, coords={"city": ["Rome", "Oslo"]})
    with (
        pytest.warns(ImplicitFreezeWarning),
        pytest.raises(ArgumentError, match=r"`mu` is of shape .* needs 2 .*`city`"),
    ):
        sample_posterior_predictive(trace, model, var_names=["rate"], key=KEY, **QUIET)


def test_pointwise_mistakes(model, trace):
    options = {"model": model, **QUIET}
    few = xr.DataTree.from_dict(
        {"posterior": trace["posterior"].to_dataset().drop_vars(["mu", "sigma"])}
    )
    with pytest.raises(ValueError, match="lacks `mu`, `sigma`"):
        compute_log_likelihood(few, **options)
    with pytest.raises(ValueError, match="with a posterior"):
        compute_log_likelihood(trace["posterior"], **options)
    with pytest.raises(ValueError, match=r"`shfit` .*mean `shift`"):
        compute_log_prior(trace, var_names=["shfit"], **options)
    with pytest.raises(ValueError, match=r"`rte` .*mean `rate`"):
        compute_deterministics(trace, var_names=["rte"], **options)
    with pytest.raises(ValueError, match="group of the DataTree is called `postrior`"):
        compute_deterministics(trace, group="postrior", **options)
    with pytest.raises(ValueError, match="not with a group"):
        compute_deterministics(trace["posterior"], group="posterior", **options)
    with pytest.raises(ValueError, match="neither a posterior nor a prior"):
        compute_deterministics(xr.DataTree.from_dict({"x": xr.Dataset()}), **options)
    with pm.Model() as random:
        batch = pm.Minibatch(np.arange(10.0), batch_size=2)
        pm.Normal("y", pm.Normal("mu"), 1.0, observed=batch, total_size=10)
    with pytest.raises(ValueError, match="build the model with the data themselves"):
        compute_log_likelihood(trace, model=random, **QUIET)


def test_no_model_and_no_draws(model):
    for sample in (
        lambda: sample_prior_predictive(3),
        lambda: sample_posterior_predictive([{"a": 0.0}]),
        lambda: compute_log_likelihood(xr.DataTree()),
        lambda: compute_deterministics(xr.Dataset()),
    ):
        with pytest.raises(TypeError, match="no model on the context stack"):
            sample()
    with pytest.raises(ValueError, match="draws must be at least 1, but is 0"):
        sample_prior_predictive(0, model)
    with pytest.raises(TypeError, match="draws must be an int"):
        sample_prior_predictive(2.5, model)
    with pytest.raises(ValueError, match=r"`rte` .*mean `rate`"):
        sample_prior_predictive(3, model, ["rte"])

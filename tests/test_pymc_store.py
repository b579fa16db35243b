"""Predictive sampling of PyMC models: on disk as in memory, how much memory it takes,
what is left after Ctrl-C, and what is shown on the way."""

import logging
import signal
from contextlib import contextmanager

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from pymc_support import (
    KEY,
    QUIET,
    assert_identical,
    assert_same_structure,
    drawn_for_wide_model,
    prior_of_wide_model,
    shared_wide_model,
    trace_of_wide_model,
)

from benchmarks import predictive
from jaxlink.call import memory
from jaxlink.pymc.batched import runner as runs
from jaxlink.pymc.predict.forward import (
    sample_posterior_predictive,
    sample_prior_predictive,
)
from jaxlink.pymc.shared.datatree import predictive_tree, prior_tree


@pytest.fixture(scope="module")
def model():
    return shared_wide_model()


@pytest.fixture(scope="module")
def from_prior():
    return prior_of_wide_model()


@pytest.fixture(scope="module")
def trace():
    return trace_of_wide_model()


@pytest.fixture(scope="module")
def drawn():
    return drawn_for_wide_model()


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
    """A tree without the marks of jaxlink, as PyMC's."""
    tree = tree.copy()
    for group in tree.children.values():
        for mark in ("jaxlink_version", "jaxlink_key", "jaxlink_run"):
            group.attrs.pop(mark, None)
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
        def bar(show, total, unit, description, theme):
            del show, total, unit, description, theme
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

"""Pointwise functions of PyMC models: the datasets that PyMC returns."""

import jax
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from pymc_support import (
    QUIET,
    assert_same_datasets,
    shared_wide_model,
    trace_of_wide_model,
)

from jaxlink.pymc.predict.compute import (
    compute_deterministics,
    compute_log_likelihood,
    compute_log_prior,
)


@pytest.fixture(scope="module")
def model():
    return shared_wide_model()


@pytest.fixture(scope="module")
def trace():
    return trace_of_wide_model()


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
    xr.testing.assert_allclose(
        mine["posterior"]["scaled"], trace["posterior"]["scaled"], rtol=1e-14
    )
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
    with pytest.raises(ValueError, match="not a single group"):
        compute_deterministics(trace["posterior"], group="posterior", **options)
    with pytest.raises(ValueError, match="neither a posterior nor a prior"):
        compute_deterministics(xr.DataTree.from_dict({"x": xr.Dataset()}), **options)
    with pm.Model() as random:
        batch = pm.Minibatch(np.arange(10.0), batch_size=2)
        pm.Normal("y", pm.Normal("mu"), 1.0, observed=batch, total_size=10)
    with pytest.raises(ValueError, match="build the model with all of the data"):
        compute_log_likelihood(trace, model=random, **QUIET)

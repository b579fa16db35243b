"""A run records its key: from a saved tree, it can be made again."""

import jax
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from support import assert_same

import jaxlink
from jaxlink import pymc as jp

QUIET = {"progressbar": False}


@pytest.fixture(scope="module")
def model():
    with pm.Model() as model:
        x = pm.Data("x", np.arange(3.0))
        mu = pm.Normal("mu")
        sigma = pm.HalfNormal("sigma")
        pm.Normal("y", mu * x, sigma, observed=[0.1, 1.2, 1.9])
    return model


def chains(model, **how):
    return jp.sample(
        10,
        tune=10,
        chains=2,
        model=model,
        quiet=True,
        compute_convergence_checks=False,
        **how,
    )


POSTERIOR = xr.Dataset(
    {n: (("chain", "draw"), np.ones((1, 4))) for n in ("mu", "sigma")}
)

RUNS = {
    "posterior": chains,
    "sample_stats": chains,
    "prior": lambda model, **how: jp.sample_prior_predictive(5, model=model, **how),
    "prior_predictive": lambda model, **how: jp.sample_prior_predictive(
        5, model=model, **how
    ),
    "posterior_predictive": lambda model, **how: jp.sample_posterior_predictive(
        POSTERIOR, model=model, **QUIET, **how
    ),
    "predictions": lambda model, **how: jp.sample_posterior_predictive(
        POSTERIOR, model=model, predictions=True, **QUIET, **how
    ),
}


@pytest.mark.parametrize("group", RUNS)
@pytest.mark.parametrize(
    "start", [{"random_seed": None}, {"key": jax.random.key(3, impl="rbg")}]
)
def test_a_run_again_from_its_tree_on_disk(group, start, model, tmp_path):
    run = RUNS[group]
    first = run(model, **start)
    first.to_zarr(tmp_path / "run.zarr", consolidated=False)
    with xr.open_datatree(
        tmp_path / "run.zarr", engine="zarr", consolidated=False
    ) as saved:
        text = saved[group].attrs["jaxlink_key"]
    again = run(model, key=jaxlink.key_from_str(text))
    for name, value in first[group].data_vars.items():
        if value.dtype.kind == "f":
            assert_same(again[group][name].values, value.values, rtol=0)
    data = [name for name in first.children if name.endswith("_data")]
    assert data
    assert not any("jaxlink_key" in first[name].attrs for name in data)


def test_an_approximation_records_the_key_of_its_draws(model):
    fitted = jp.fit(50, model=model, random_seed=1, progressbar=False)
    first = fitted.sample(5)
    key = jaxlink.key_from_str(first["posterior"].attrs["jaxlink_key"])
    again = fitted.sample(5, key=key)
    assert_same(again["posterior"]["mu"].values, first["posterior"]["mu"].values)

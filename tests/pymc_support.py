"""Models, traces and comparisons that several tests of PyMC models share."""

import warnings
from functools import cache

import jax
import numpy as np
import pymc as pm
import xarray as xr
from pymc.exceptions import ImputationWarning

import jaxlink
from jaxlink.pymc.predict.forward import (
    sample_posterior_predictive,
    sample_prior_predictive,
)

KEY = jax.random.key(11)
QUIET = {"progressbar": False}


@cache
def mixed_model():
    """A bit of everything: coordinates, data, transforms, a potential, names that are
    no identifiers, a discrete variable, a deterministic of an observed variable."""
    with pm.Model(coords={"g": ["a", "b", "c"], "one": [1]}) as model:
        X = pm.Data("X", [0.5, -1.0, 2.0], dims="g")
        mu = pm.Normal("mu", 1.0, 2.0)
        sigma = pm.HalfNormal("sigma[0]", 1.5, dims="g")
        p = pm.Beta("p", 2.0, 5.0)
        w = pm.Dirichlet("w", [1.0, 2.0, 3.0])
        n = pm.Poisson("n", 3.0 + p)
        with pm.Model(name="sub"):
            z = pm.Gamma("z", 2.0, 4.0, dims="one")
        line = pm.Deterministic("line", mu + X * z[0], dims="g")
        y = pm.Normal("y", line, sigma, observed=[0.1, -0.2, 3.0], dims="g")
        k = pm.Binomial("k", 10, p, observed=[3, 4])
        pm.Deterministic("residual", y - mu, dims="g")
        pm.Potential("pull", -((mu - w[0] - n) ** 2))
        assert k.ndim == 1
    return model


@cache
def mixed_position():
    """Somewhere asymmetric in `mixed_model`."""
    model = mixed_model()
    rng = np.random.default_rng(3)
    start = model.initial_point()
    return {
        name: value + 2
        if value.dtype.kind == "i"
        else value + rng.normal(size=value.shape)
        for name, value in start.items()
    }


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


@cache
def shared_wide_model():
    """One that no test changes."""
    return wide_model()


@cache
def prior_of_wide_model():
    return sample_prior_predictive(12, shared_wide_model(), key=KEY, **QUIET)


@cache
def trace_of_wide_model():
    """Three chains of four draws of the free variables and deterministics."""
    drawn = prior_of_wide_model()
    draws = drawn["prior"].to_dataset()
    parts = [draws.isel(draw=slice(4 * i, 4 * i + 4)) for i in range(3)]
    parts = [
        part.assign_coords(chain=[i], draw=range(4)) for i, part in enumerate(parts)
    ]
    posterior = xr.concat(parts, "chain").drop_vars("gap")
    data = {name: drawn[name] for name in ("constant_data", "observed_data")}
    return xr.DataTree.from_dict({"posterior": posterior, **data})


@cache
def drawn_for_wide_model():
    options = {"var_names": ["y", "flag", "mu"], **QUIET}
    return sample_posterior_predictive(
        trace_of_wide_model(), shared_wide_model(), key=KEY, **options
    )


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
    for name in ("jaxlink_key", "jaxlink_run"):  # tests/test_pymc_replay.py reads them
        attributes.pop(name, None)
    assert list(attributes) == list(group.attrs)
    for name in set(group.attrs) - {"created_at"}:
        assert attributes[name] == group.attrs[name], name


def without_attributes(tree):
    return tree.map_over_datasets(lambda dataset: dataset.drop_attrs())


def assert_identical(tree, other):
    """To the bit, but for times in attributes."""
    xr.testing.assert_identical(without_attributes(tree), without_attributes(other))

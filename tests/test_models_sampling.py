"""Short runs of `jaxlink.pymc.sample` recover what PyMC's own sampler gives.

PyMC samples in Numba here: in Python it takes minutes.
"""

import warnings

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from models import MODELS
from scipy import stats

import jaxlink.pymc as jlpm

# The probability that a test fails though both sample the same posterior.
FALSE_ALARM = 1e-4
QUANTILES = (0.1, 0.5, 0.9)
SLOW = pytest.mark.slow


def scalars(idata):
    """Every entry of every variable that is not the same number throughout."""
    columns = {
        f"{name}[{i}]": (("chain", "draw"), column)
        for name, x in idata.posterior.items()
        for i, column in enumerate(
            np.moveaxis(x.values.reshape(*x.shape[:2], -1), 2, 0)
        )
        if np.ptp(column) > 1e-9
    }
    return xr.Dataset(columns)


def p_values(ours, theirs):
    """That the shares of draws below some quantiles agree, by entry and quantile.

    The standard error of a share is that of a mean of dependent draws, by their
    effective number.
    """
    ours, theirs = scalars(ours), scalars(theirs)
    assert set(ours) == set(theirs)
    for name in ours:
        pooled = np.concatenate(
            [ours[name].values.ravel(), theirs[name].values.ravel()]
        )
        for q in QUANTILES:
            below = [
                (x[name] < np.quantile(pooled, q)).astype(float) for x in (ours, theirs)
            ]
            z = float(below[0].mean() - below[1].mean()) / np.hypot(
                *map(error_of_mean, below)
            )
            yield f"{name} at {q}", 2 * stats.norm.sf(abs(z))


def error_of_mean(x):
    return float(x.std()) / np.sqrt(float(az.ess(x, method="mean")))


def pymcs_posterior(name, draws):
    with warnings.catch_warnings():
        # Numba's account of what it could not make faster.
        warnings.simplefilter("ignore")
        return pm.sample(
            draws,
            tune=1000,
            chains=2,
            cores=1,
            model=MODELS[name].build(),
            random_seed=14,
            nuts_sampler="pymc",
            progressbar=False,
            compute_convergence_checks=False,
            compile_kwargs={"mode": "NUMBA"},
        )


@pytest.mark.parametrize(
    ("name", "draws"),
    [
        ("eight_schools", 1000),
        pytest.param("varying_slopes", 2000, marks=SLOW),
        pytest.param("ordered_mixture", 2000, marks=SLOW),
        pytest.param("ordinal", 2000, marks=SLOW),
        pytest.param("local_level", 2000, marks=SLOW),
    ],
)
def test_posterior(name, draws):
    theirs = pymcs_posterior(name, draws)
    ours = jlpm.sample(
        draws,
        tune=1000,
        chains=4,
        model=MODELS[name].build(),
        random_seed=15,
        progressbar=False,
        compute_convergence_checks=False,
    )
    assert ours.posterior.sizes["draw"] == draws
    found = dict(p_values(ours, theirs))
    low = {where: p for where, p in found.items() if not p > FALSE_ALARM / len(found)}
    assert not low

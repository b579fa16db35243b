"""Series: a local level and an autoregression by Scan, and stochastic volatility."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from models.entry import Entry

# Volume of the Nile at Aswan, 1871-1890, in 10^8 cubic metres.
NILE = np.array(
    [
        *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140),
        *(995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140),
    ]
)


def local_level() -> pm.Model:
    """A level that walks, written by its innovations; in units of 100."""
    with pm.Model(coords={"year": np.arange(1871, 1891)}) as model:
        sigma_level = pm.HalfNormal("sigma_level", 0.5)
        sigma = pm.HalfNormal("sigma", 2)
        start = pm.Normal("start", 10, 2)
        innovations = pm.Normal("innovations", dims="year")
        level = pytensor.scan(
            lambda e, last, scale: last + scale * e,
            sequences=[innovations],
            outputs_info=[start],
            non_sequences=[sigma_level],
            return_updates=False,
        )
        pm.Deterministic("level", level, dims="year")
        pm.Normal("volume", level, sigma, observed=NILE / 100, dims="year")
    return model


def autoregression() -> pm.Model:
    """PyMC derives the density of a series from the Scan that draws it."""

    def series(start, rho, scale, size):
        del size

        def step(last, rng, rho, scale):
            return pm.Normal.dist(rho * last, scale, rng=rng, return_next_rng=True)[
                ::-1
            ]

        values, _ = pytensor.scan(
            step,
            outputs_info=[start, pt.random.shared_rng(seed=0)],
            non_sequences=[rho, scale],
            n_steps=19,
            return_updates=False,
        )
        return values

    y = (NILE - NILE.mean()) / 100
    with pm.Model(coords={"year": np.arange(1872, 1891)}) as model:
        rho = pm.Uniform("rho", -1, 1)
        scale = pm.HalfNormal("scale", 2)
        pm.CustomDist(
            "y", pt.constant(y[0]), rho, scale, dist=series, observed=y[1:], dims="year"
        )
    return model


def stochastic_volatility() -> pm.Model:
    rng = np.random.default_rng(3)
    returns = 0.5 * np.exp(rng.normal(0, 0.2, 30).cumsum()) * rng.standard_t(8, 30)
    with pm.Model(coords={"day": range(30)}) as model:
        step = pm.Exponential("step", 10)
        log_scale = pm.GaussianRandomWalk(
            "log_scale", sigma=step, init_dist=pm.Normal.dist(0, 1), dims="day"
        )
        nu = pm.Exponential("nu", 0.1)
        scale = pm.Deterministic("scale", pm.math.exp(log_scale), dims="day")
        pm.StudentT("returns", 2 + nu, mu=0, sigma=scale, observed=returns, dims="day")
    return model


MODELS = {
    "local_level": Entry(local_level),
    "autoregression": Entry(autoregression),
    "stochastic_volatility": Entry(stochastic_volatility),
}

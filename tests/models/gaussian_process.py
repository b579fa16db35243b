"""Gaussian processes: marginal, latent, and in a Hilbert space."""

import numpy as np
import pymc as pm

from models.entry import Entry

X = np.linspace(0, 4, 12)[:, None]
X_NEW = np.array([[0.5], [2.2], [5.0]])
Y = np.sin(2 * X[:, 0]) + np.random.default_rng(2).normal(0, 0.2, 12)
COUNTS = np.array([2, 3, 5, 4, 8, 5, 3, 2, 0, 1, 1, 4])


def covariance() -> pm.gp.cov.Covariance:
    length = pm.InverseGamma("length", 5, 5)
    amplitude = pm.HalfNormal("amplitude", 1)
    return amplitude**2 * pm.gp.cov.Matern52(1, ls=length)


def marginal() -> pm.Model:
    with pm.Model() as model:
        gp = pm.gp.Marginal(cov_func=covariance())
        sigma = pm.HalfNormal("sigma", 0.5)
        gp.marginal_likelihood("y", X=X, y=Y, sigma=sigma)
        model.gp = gp
    return model


def latent() -> pm.Model:
    with pm.Model() as model:
        gp = pm.gp.Latent(mean_func=pm.gp.mean.Constant(1.0), cov_func=covariance())
        f = gp.prior("f", X=X)
        pm.Poisson("y", pm.math.exp(f), observed=COUNTS)
        model.gp = gp
    return model


def conditional(model: pm.Model) -> dict[str, list[str]]:
    with model:
        model.gp.conditional("f_new", X_NEW)
    return {"var_names": ["f_new"]}


def hilbert_space() -> pm.Model:
    with pm.Model(coords={"x": X[:, 0]}) as model:
        points = pm.Data("points", X, dims=("x", "axis"))
        gp = pm.gp.HSGP(m=[8], c=2.0, cov_func=covariance())
        # The new points lie beyond the old ones: the box is set for both.
        gp.X_center = np.array([2.5])
        f = gp.prior("f", X=points, dims="x")
        sigma = pm.HalfNormal("sigma", 0.5)
        pm.Normal("y", f, sigma, observed=Y, dims="x")
    return model


def more_points(model: pm.Model) -> dict[str, list[str]]:
    with model:
        pm.set_data({"points": X_NEW}, coords={"x": X_NEW[:, 0]})
    return {"var_names": ["f", "y"]}


MODELS = {
    "gp_marginal": Entry(marginal, conditional),
    "gp_latent": Entry(latent, conditional),
    "hsgp": Entry(hilbert_space, more_points),
}

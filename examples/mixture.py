"""Mixture: how many irises can be told apart by petal length alone?

The data are the petals of 150 flowers of three species (Anderson, 1935). The model, a
mixture of three normal distributions, does not see the species. Its means are ordered,
so that groups cannot swap labels between draws. With new data, `log_likelihood` is the
log density of a new flower, for each posterior draw.

    uv run examples/mixture.py
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREEN, ORANGE, band, parse, print_summary, print_table, save
from sklearn.datasets import load_iris
from xarray import DataArray, DataTree

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

IRIS = load_iris()
PETALS = IRIS.data[:, 2]  # cm
GRID = np.linspace(0.5, 7.5, 300)
ORDERED = pm.distributions.transforms.ordered


def build_model() -> pm.Model:
    coords = {"group": IRIS.target_names, "flower": range(150)}
    with pm.Model(coords=coords) as model:
        petals = pm.Data("petals", PETALS, dims="flower")
        w = pm.Dirichlet("w", np.full(3, 4.0), dims="group")
        # Without informative means, two groups may share one species.
        centre = np.array([1.5, 4.0, 6.0])
        mu = pm.Normal(
            "mu", centre, 0.5, transform=ORDERED, initval=centre, dims="group"
        )
        sigma = pm.Gamma("sigma", 4, 10, dims="group")
        pm.NormalMixture("length", w, mu, sigma, observed=petals, dims="flower")
    return model


def densities(model: pm.Model, idata: DataTree) -> np.ndarray:
    """The density of a petal length on the grid, for each draw."""
    log_density = jp.log_likelihood(model).with_data(
        petals=GRID, coords={"flower": range(len(GRID))}
    )
    unconstrain = jp.unconstrain(model)

    @jax.jit
    @jax.vmap
    @jax.vmap
    def density(draw):
        return jnp.exp(log_density(unconstrain(draw))["length"])

    posterior = idata["posterior"]
    return density({name: posterior[name].values for name in ("w", "mu", "sigma")})


def parts(idata: DataTree, x: np.ndarray) -> np.ndarray:
    """Each group's density times its weight, of shape (groups, x)."""
    mean = idata["posterior"].mean(("chain", "draw"))
    w, mu, sigma = (mean[name].values[:, None] for name in ("w", "mu", "sigma"))
    return np.asarray(w * jax.scipy.stats.norm.pdf(x, mu, sigma))


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model() as model:
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    print_summary("Petal lengths (cm)", idata, ["w", "mu", "sigma"])
    group = parts(idata, PETALS).argmax(0)
    counts = [
        [str(sum(group[IRIS.target == s] == g)) for g in range(3)] for s in range(3)
    ]
    rows = [(name, *row) for name, row in zip(IRIS.target_names, counts, strict=True)]
    print_table("Species (rows) by group", ["", "1", "2", "3"], rows)

    figure, ax = plt.subplots(figsize=(9, 4.5))
    bins = np.arange(0.9, 7.2, 0.2)
    species = [PETALS[IRIS.target == s] for s in range(3)]
    weights = [np.full(50, 1 / (150 * 0.2))] * 3
    colours = [GREEN, ORANGE, BLUE]
    labels = list(IRIS.target_names)
    ax.hist(
        species,
        bins,
        weights=weights,
        stacked=True,
        color=colours,
        label=labels,
        alpha=0.5,
    )
    for curve, colour in zip(parts(idata, GRID), colours, strict=True):
        ax.plot(GRID, curve, color=colour, lw=1.5, ls="--")
    curves = DataArray(densities(model, idata), dims=("chain", "draw", "x"))
    band(ax, GRID, curves, "black", "mixture")
    share = np.mean(group == IRIS.target)
    ax.set_title(f"The groups match the unseen species for {share:.0%} of flowers")
    ax.set_xlabel("petal length (cm)")
    ax.set_ylabel("density (1/cm)")
    ax.legend(title="species (bars)")
    save(figure, options, "mixture")


if __name__ == "__main__":
    main()

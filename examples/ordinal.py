"""Ordered grades: which of four cheeses tastes best?

52 tasters gave each of four cheeses a grade from 1 (strong dislike) to 9 (excellent)
(McCullagh and Nelder, 1989). Grades have an order but no distances. The model cuts a
latent liking into grades at ordered cutpoints, and estimates the cutpoints too. The
figure checks the model: it compares predicted grades with observed ones.

    uv run examples/ordinal.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import count_bars, parse, print_summary, save

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

COUNTS = {  # for the grades 1 to 9
    "A": [0, 0, 1, 7, 8, 8, 19, 8, 1],
    "B": [6, 9, 12, 11, 7, 6, 1, 0, 0],
    "C": [1, 1, 6, 8, 23, 7, 5, 1, 0],
    "D": [0, 0, 0, 1, 3, 7, 14, 16, 11],
}
GRADES = np.array([np.repeat(np.arange(9), counts) for counts in COUNTS.values()])


def build_model() -> pm.Model:
    coords = {"cheese": list(COUNTS), "taster": range(52), "cut": range(1, 9)}
    with pm.Model(coords=coords) as model:
        liking = pm.ZeroSumNormal("liking", 3, dims="cheese")
        cuts = pm.Normal(
            "cuts",
            0,
            4,
            transform=pm.distributions.transforms.ordered,
            initval=np.linspace(-3, 3, 8),
            dims="cut",
        )
        dims = ("cheese", "taster")
        pm.OrderedLogistic(
            "grade", liking[:, None], cuts, observed=GRADES, compute_p=False, dims=dims
        )
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
        jp.sample_posterior_predictive(
            idata, random_seed=options.seed, extend_inferencedata=True
        )
    print_summary("Liking (log odds of a better grade)", idata, ["liking"])
    liking = idata["posterior"]["liking"]
    odds = np.exp(liking.sel(cheese="D") - liking.sel(cheese="A"))
    low, high = odds.quantile([0.055, 0.945]).values

    figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), sharey=True)
    draws = idata["posterior_predictive"]["grade"]
    for ax, cheese, given in zip(axes, COUNTS, GRADES, strict=True):
        count_bars(ax, range(9), given, draws.sel(cheese=cheese))
        ax.set_title(f"Cheese {cheese}")
        ax.set_xticks(range(9), range(1, 10))
        ax.set_xlabel("grade")
    axes[0].set_ylabel("tasters")
    axes[1].legend()
    figure.suptitle(
        f"The odds of a better grade are {low:.0f} to {high:.0f} times as high for D "
        "as for A, the second best"
    )
    save(figure, options, "ordinal")


if __name__ == "__main__":
    main()

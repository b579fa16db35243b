"""Counts with too many zeros: how many houses did the cholera pass by?

The data are cholera cases in 223 households of an Indian village (McKendrick, 1926).
168 households had none: some were lucky, others were never exposed. A zero-inflated
Poisson distribution can separate the two; a plain Poisson distribution cannot. ArviZ
compares the two models with the result of `compute_log_likelihood`.

    uv run examples/counts.py
"""

from collections.abc import Sequence

import arviz as az
import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import count_bars, parse, print_summary, print_table, save

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

CASES = np.repeat(np.arange(5), [168, 32, 16, 6, 1])


def build_model(is_inflated: bool) -> pm.Model:
    with pm.Model(coords={"household": range(223)}) as model:
        rate = pm.Exponential("rate", 1)
        if is_inflated:
            exposed = pm.Beta("exposed", 1, 1)
            pm.ZeroInflatedPoisson(
                "cases", exposed, rate, observed=CASES, dims="household"
            )
        else:
            pm.Poisson("cases", rate, observed=CASES, dims="household")
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    results = {}
    for name in ("Poisson", "zero-inflated"):
        with build_model(name == "zero-inflated"):
            idata = jp.sample(
                options.draws,
                tune=options.tune,
                chains=options.chains,
                random_seed=options.seed,
            )
            jp.sample_posterior_predictive(
                idata, random_seed=options.seed, extend_inferencedata=True
            )
            jp.compute_log_likelihood(idata)
        results[name] = idata
    print_summary("Cholera, zero-inflated", idata, ["rate", "exposed"])
    compared = az.compare(results, round_to="none")[["elpd", "elpd_diff", "dse"]]
    rows = [
        (name, *row) for name, row in zip(compared.index, compared.values, strict=True)
    ]
    print_table("Cross-validation", ["model", "elpd", "difference", "its error"], rows)

    unexposed = 223 * (1 - idata["posterior"]["exposed"])
    low, high = unexposed.quantile([0.055, 0.945]).values
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for ax, (name, result) in zip(axes, results.items(), strict=True):
        draws = result["posterior_predictive"]["cases"]
        count_bars(ax, range(7), CASES, draws)
        ax.set_title(f"{name.capitalize()} model")
        ax.set_xlabel("cases in a household")
        ax.set_yscale("symlog", linthresh=1)
        ax.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    axes[0].set_ylabel("households (logarithmic above 1)")
    axes[1].legend()
    figure.suptitle(f"{low:.0f} to {high:.0f} of 223 households were never exposed")
    save(figure, options, "counts")


if __name__ == "__main__":
    main()

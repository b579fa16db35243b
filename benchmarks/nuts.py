"""How long `jaxlink.pymc.sample` takes: `uv run python -m benchmarks.nuts`.

Each run is a separate call, compilation included, as for a user. PyMC's own interface
to NumPyro is measured too (its interface to BlackJAX does not run with BlackJAX 1.7).
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import pymc as pm  # noqa: E402
from arviz_stats import ess  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxlink.pymc  # noqa: E402
from benchmarks.models import eight_schools  # noqa: E402

QUIET = {"progressbar": False, "compute_convergence_checks": False, "random_seed": 1}


def logistic_regression(rows: int = 5000, columns: int = 20) -> pm.Model:
    """A logistic regression: two matrix products per gradient."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    y = rng.random(rows) < 1 / (1 + np.exp(-x @ rng.normal(size=columns)))
    with pm.Model() as model:
        beta = pm.Normal("beta", shape=columns)
        pm.Bernoulli("y", logit_p=x @ beta, observed=y)
    return model


def by_jaxlink(sampler: str, method: str | None) -> Callable[..., Any]:
    def run(model: pm.Model, draws: int, chains: int) -> Any:
        return jaxlink.pymc.sample(
            draws,
            tune=draws,
            chains=chains,
            model=model,
            nuts_sampler=sampler,
            chain_method=method,
            **QUIET,
        )

    return run


def by_pymc(model: pm.Model, draws: int, chains: int) -> Any:
    return pm.sample(
        draws,
        tune=draws,
        chains=chains,
        model=model,
        nuts_sampler="numpyro",
        nuts={"chain_method": "vectorized"},
        **QUIET,
    )


WAYS = {
    "BlackJAX, parallel": by_jaxlink("blackjax", "parallel"),
    "BlackJAX, vectorized": by_jaxlink("blackjax", "vectorized"),
    "NumPyro, parallel": by_jaxlink("numpyro", "parallel"),
    "NumPyro, vectorized": by_jaxlink("numpyro", "vectorized"),
    "NumPyro by PyMC, vectorized": by_pymc,
    "nutpie": by_jaxlink("nutpie", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000, help="draws per chain")
    parser.add_argument("--chains", type=int, nargs="+", default=[4])
    options = parser.parse_args()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    console = Console()
    for make in (eight_schools, logistic_regression):
        for chains in options.chains:
            table = Table("sampler", "seconds", "seconds, 1 draw", "smallest ESS")
            table.title = f"{make.__name__}: {chains} chains of {options.draws:,} draws"
            for name, run in WAYS.items():
                times = []
                for draws in (1, options.draws):
                    start = time.perf_counter()
                    tree = run(make(), draws, chains)
                    times.append(time.perf_counter() - start)
                sizes = ess(tree["posterior"]).data_vars.values()
                smallest = min(float(size.min()) for size in sizes)
                row = f"{times[1]:.1f}", f"{times[0]:.1f}", f"{smallest:,.0f}"
                table.add_row(name, *row)
            console.print(table)


if __name__ == "__main__":
    main()

"""Chains and a sweep over models in the workers of Parsl.

Three answers to how alike the eight schools are: all have one effect, each has its own,
or something in between. Each model runs its chains as tasks of Parsl. The functions,
the models in them and the keys travel to the workers; the draws come back, and are
those that `jax.vmap` would have made here. Finished chains are kept in a folder, so the
same command goes on after an interruption.

    uv run examples/parsl_chains.py

On a cluster, replace `on_this_machine` by `on_slurm`.
"""

import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl import Config, HighThroughputExecutor
from parsl.concurrent import ParslPoolExecutor
from parsl.providers import LocalProvider, SlurmProvider

# What a worker runs before it starts: a model fits on one core.
SETTINGS = "export JAX_PLATFORMS=cpu"
WORKERS = "processes that Parsl starts"


def on_this_machine(run_dir: Path, workers: int) -> Config:
    """Workers on this machine. A task whose worker dies is run once more."""
    executor = HighThroughputExecutor(
        max_workers_per_node=workers,
        address="127.0.0.1",
        encrypted=False,
        provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init=SETTINGS),
    )
    return Config(executors=[executor], retries=1, run_dir=str(run_dir))


def pool(options: Namespace) -> ParslPoolExecutor:
    """An executor of Parsl. It must start before JAX computes, which starts threads."""
    # Parsl forks only to start other programs, and JAX warns of every fork.
    warnings.filterwarnings("ignore", r"os.fork\(\) was called", RuntimeWarning)
    config = on_this_machine(options.out / "parsl", options.workers)
    return ParslPoolExecutor(config=config)


def on_slurm(run_dir: Path) -> Config:
    """The same on two nodes of a cluster, not run here. The environment with jaxlink is
    activated on each node, and the folder of finished chains is one that all see."""
    executor = HighThroughputExecutor(
        max_workers_per_node=32,
        provider=SlurmProvider(
            partition="compute",
            nodes_per_block=2,
            init_blocks=1,
            max_blocks=1,
            walltime="01:00:00",
            worker_init=f"source .venv/bin/activate; {SETTINGS}",
        ),
    )
    return Config(executors=[executor], retries=1, run_dir=str(run_dir))


def build_model(kind: str) -> Any:
    import pymc as pm
    from eight_schools import EFFECTS, ERRORS, SCHOOLS

    with pm.Model(coords={"school": SCHOOLS}) as model:
        mu = pm.Normal("mu", 0, 10)
        if kind == "alike":
            theta = pm.Deterministic("theta", mu + 0 * ERRORS, dims="school")
        else:
            tau = pm.HalfCauchy("tau", 5) if kind == "in between" else 1000.0
            z = pm.Normal("z", 0, 1, dims="school")
            theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("effect", theta, ERRORS, observed=EFFECTS, dims="school")
    return model


def chain_of(model: Any, tune: int, draws: int) -> Any:
    """One chain of BlackJAX's NUTS, as a function of a key."""
    import blackjax
    import jax

    from jaxlink import pymc as jp

    density, start = jp.logdensity(model), jp.initial_position(model)

    def chain(key: jax.Array) -> Any:
        first, warm, rest = jax.random.split(key, 3)
        adaptation = blackjax.window_adaptation(blackjax.nuts, density)
        (state, parameters), _ = adaptation.run(warm, start(first), tune)
        kernel = blackjax.nuts(density, **parameters)

        def step(state: Any, key: jax.Array) -> Any:
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(rest, draws))[1]

    return chain


def main(argv: Sequence[str] | None = None) -> None:
    from common import parse

    options = parse(__doc__, argv, {"workers": (2, WORKERS)})
    with pool(options) as workers:
        compare(options, workers)


def compare(options: Any, workers: Any) -> None:
    import arviz as az
    import jax
    import matplotlib.pyplot as plt
    from common import BLUE, GREEN, ORANGE, print_table, save
    from rich.progress import Progress

    import jaxlink
    from jaxlink import pymc as jp

    jax.config.update("jax_enable_x64", True)
    key, trees = jax.random.key(options.seed), {}
    with Progress(transient=True) as progress:
        for number, kind in enumerate(("alike", "in between", "unrelated")):
            model = build_model(kind)
            task = progress.add_task(kind, total=options.chains)
            chain = chain_of(model, options.tune, options.draws)
            kept = options.out / "chains" / f"{kind}-{options.draws}-{options.tune}"
            positions, diverging = jaxlink.run_chains(
                chain,
                jax.random.fold_in(key, number),
                options.chains,
                method=workers,
                kept=kept,
                on_finished=lambda _, task=task: progress.advance(task),
            )
            trees[kind] = jp.to_datatree(
                positions,
                model,
                sample_stats={"diverging": diverging},
                log_likelihood=True,
                progressbar=False,
            )

    rows = []
    for kind, tree in trees.items():
        theta = tree["posterior"]["theta"]
        first, last = (theta.sel(school=s).mean().item() for s in "AC")
        diverged = int(tree["sample_stats"]["diverging"].sum())
        rows.append((kind, az.loo(tree).elpd, first, last, diverged))
    columns = ("the schools are", "elpd (LOO)", "school A", "school C", "diverged")
    print_table("Three models, in workers", columns, rows)

    figure, axes = plt.subplots(figsize=(8, 3.5))
    for shift, (kind, tree), colour in zip(
        (-0.2, 0.0, 0.2), trees.items(), (GREEN, BLUE, ORANGE), strict=True
    ):
        theta = tree["posterior"]["theta"]
        low, middle, high = theta.quantile([0.05, 0.5, 0.95], dim=("chain", "draw"))
        place = [i + shift for i in range(theta.sizes["school"])]
        axes.vlines(place, low, high, color=colour, linewidth=2, label=kind)
        axes.plot(place, middle, "o", color=colour)
    axes.set_xticks(range(8), theta["school"].values)
    axes.set_ylim(-40, 60)
    axes.set(xlabel="school", ylabel="effect (points)")
    axes.legend(ncols=3, loc="lower center")
    figure.suptitle("The effects of coaching, under three models")
    save(figure, options, "parsl_chains")


if __name__ == "__main__":
    main()

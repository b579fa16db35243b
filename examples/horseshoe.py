"""Sparse logistic regression with a horseshoe prior: a whole Bayesian workflow in JAX.

Which of 30 measurements of cell nuclei distinguish malignant from benign tumours? The
model is a graph of PyTensor variables, without a `pm.Model`. `jaxlink.function` turns
it into a prior sampler, a log density and a posterior predictive sampler: three plain
JAX functions, ready for `jax.vmap`, `jax.grad` and BlackJAX.

    uv run examples/horseshoe.py          # prints two tables, writes out/horseshoe.png
    uv run examples/horseshoe.py --prior stream --seed 3 --draws 1000 --out elsewhere
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.logprob import conditional_logp
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import jaxlink

jax.config.update("jax_enable_x64", True)

Variable = pt.TensorVariable
Arrays = dict[str, Any]

PRIOR_DRAWS = 1000
CHUNK = 50  # draws between updates of the progress bar

# With this scale of tau, about 5 of 30 coefficients matter: 5 / (30 - 5) * 2 / sqrt(n).
# See Piironen and Vehtari (2017); a binary outcome counts as a standard deviation of 2.
GLOBAL_SCALE = 0.02

# --- data -----------------------------------------------------------------------------


class Data(NamedTuple):
    names: np.ndarray
    X: np.ndarray
    y: np.ndarray  # 1: malignant
    X_test: np.ndarray
    y_test: np.ndarray


def load_data() -> Data:
    """The breast cancer data, standardised, with a quarter held out."""
    raw = load_breast_cancer()
    X, X_test, y, y_test = train_test_split(
        raw.data, 1 - raw.target, test_size=0.25, stratify=raw.target, random_state=0
    )
    scale = StandardScaler().fit(X).transform
    return Data(raw.feature_names, scale(X), y, scale(X_test), y_test)


# --- the model: a graph ---------------------------------------------------------------


class Model(NamedTuple):
    tau: Variable
    lam: Variable
    beta: Variable
    intercept: Variable
    probability: Variable
    outcome: Variable
    observed: Variable


def pymc_prior(size: int) -> tuple[Variable, ...]:
    tau = pm.HalfCauchy.dist(GLOBAL_SCALE)
    lam = pm.HalfCauchy.dist(1, shape=size)
    beta = pm.Normal.dist(0, tau * lam)
    intercept = pm.Normal.dist(0, 2)
    return tau, lam, beta, intercept


def stream_prior(size: int) -> tuple[Variable, ...]:
    """The same prior in PyTensor. It has no seed: draws use the function's key."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RandomStream is deprecated", FutureWarning)
        stream = pt.random.RandomStream()
    tau = pt.abs(stream.cauchy(0, GLOBAL_SCALE))
    lam = pt.abs(stream.cauchy(0, 1, size=size))
    beta = stream.normal(0, tau * lam)
    intercept = stream.normal(0, 2)
    return tau, lam, beta, intercept


PRIORS = {"pymc": pymc_prior, "stream": stream_prior}


def build_model(data: Data, prior: str = "pymc") -> Model:
    X = pytensor.shared(data.X, name="X")
    y = pytensor.shared(data.y, name="y")
    tau, lam, beta, intercept = PRIORS[prior](data.X.shape[1])
    probability = pt.sigmoid(intercept + X @ beta)
    outcome = pm.Bernoulli.dist(probability)
    return Model(tau, lam, beta, intercept, probability, outcome, y)


def unconstrain(
    model: Model,
) -> tuple[list[Variable], dict[Variable, Variable], Variable]:
    """Coordinates for NUTS, the model's variables in terms of them, log |Jacobian|.

    If the data say nothing about a coefficient, it is as wide as its prior, tau * lam,
    and z = beta / (tau * lam) is a standard normal (the non-centred form). If the data
    determine a coefficient, its width stays at about 1 however large lam gets. Then it
    is a needle in z, and transitions diverge. Hence z = beta / width, where the width
    is tau * lam while that is small and 1 when it is large. Only the coordinates
    change, not the model.
    """
    log_tau, intercept = pt.scalars("log_tau", "intercept")
    log_lam, z = pt.vectors("log_lam", "z")
    log_width = -pt.softplus(-2 * (log_tau + log_lam)) / 2  # of s: s / sqrt(1 + s**2)
    values = {
        model.tau: pt.exp(log_tau),
        model.lam: pt.exp(log_lam),
        model.beta: z * pt.exp(log_width),
        model.intercept: intercept,
    }
    log_jacobian = log_tau + log_lam.sum() + log_width.sum()
    return [log_tau, log_lam, z, intercept], values, log_jacobian


def joint_log_density(model: Model, values: dict[Variable, Variable]) -> Variable:
    terms = conditional_logp({**values, model.outcome: model.observed})
    return pt.add(*(term.sum() for term in terms.values()))


# --- three JAX functions --------------------------------------------------------------


class Workflow(NamedTuple):
    prior: jaxlink.JAXFunction
    log_density: jaxlink.JAXFunction
    predict: jaxlink.JAXFunction


def compile_workflow(model: Model) -> Workflow:
    inputs, values, log_jacobian = unconstrain(model)
    log_density = joint_log_density(model, values) + log_jacobian
    wanted = ("tau", "lam", "beta", "probability", "outcome")
    draws = {name: getattr(model, name) for name in wanted}
    return Workflow(
        jaxlink.function([], draws, name="prior"),
        jaxlink.function(inputs, log_density, name="log_density"),
        # With the parameters given, only the outcome is random.
        jaxlink.function(inputs, draws, givens=values, name="predict"),
    )


# --- inference ------------------------------------------------------------------------


def initial_positions(key: jax.Array, chains: int, size: int) -> Arrays:
    shapes = {"log_tau": (), "log_lam": (size,), "z": (size,), "intercept": ()}
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.normal(key, (chains, *shape)) / 2
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def adapt(
    keys: jax.Array, density: Callable, start: Arrays, steps: int, progress: Progress
) -> tuple[Any, Arrays]:
    """Run window adaptation for all chains; return their states and parameters."""
    task = progress.add_task("NUTS: adapt ", total=steps)

    def advance(*unused):
        del unused
        jax.debug.callback(lambda: progress.advance(task))

    warmup = blackjax.window_adaptation(
        blackjax.nuts,
        density,
        target_acceptance_rate=0.9,
        adaptation_info_fn=advance,
    )
    run = jax.vmap(lambda key, position: warmup.run(key, position, steps)[0])
    states, parameters = jax.block_until_ready(jax.jit(run)(keys, start))
    jax.effects_barrier()  # let the progress bar catch up
    return states, parameters


def sample(
    keys: jax.Array,
    density: Callable,
    states: Any,
    parameters: Arrays,
    draws: int,
    progress: Progress,
) -> tuple[Arrays, jax.Array]:
    """Positions and divergences, of shape (chains, draws, ...), computed in chunks."""
    task = progress.add_task("NUTS: sample", total=draws)

    def run_chain(key, first, state, parameters):
        nuts = blackjax.nuts(density, **parameters)

        def step(state, draw):
            state, info = nuts.step(jax.random.fold_in(key, draw), state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(step, state, first + jnp.arange(CHUNK))

    run_chunk = jax.jit(jax.vmap(run_chain, in_axes=(0, None, 0, 0)))
    chunks = []
    for first in range(0, draws, CHUNK):
        states, chunk = run_chunk(keys, first, states, parameters)
        chunks.append(jax.block_until_ready(chunk))
        progress.update(task, completed=min(first + CHUNK, draws))
    return jax.tree.map(lambda *xs: jnp.concatenate(xs, axis=1)[:, :draws], *chunks)


def infer(
    key: jax.Array, workflow: Workflow, size: int, options: Any, console: Console
) -> tuple[Arrays, jax.Array]:
    """Adapt and sample under a progress bar."""

    def density(position):
        return workflow.log_density(**position)

    start_key, adapt_key, sample_key = jax.random.split(key, 3)
    start = initial_positions(start_key, options.chains, size)
    keys = jax.random.split(adapt_key, options.chains)
    label = TextColumn("{task.description}")
    columns = label, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        states, parameters = adapt(keys, density, start, options.warmup, progress)
        keys = jax.random.split(sample_key, options.chains)
        return sample(keys, density, states, parameters, options.draws, progress)


# --- results --------------------------------------------------------------------------


def print_coefficients(
    names: np.ndarray, positions: Arrays, divergent: Any, beta: Any, console: Console
) -> None:
    samples = jax.tree.map(np.asarray, {**positions, "beta": beta})
    rhat = {name: az.rhat(draws) for name, draws in samples.items()}
    ess = {name: az.ess(draws) for name, draws in samples.items()}
    beta = samples["beta"].reshape(-1, len(names))
    low, median, high = np.quantile(beta, [0.05, 0.5, 0.95], axis=0)
    table = Table(title="The strongest coefficients")
    table.add_column("measurement")
    for column in ("mean", "sd", "90 % interval", "P(> 0)", "R-hat", "ESS"):
        table.add_column(column, justify="right")
    for j in np.argsort(-np.abs(median))[:8]:
        table.add_row(
            names[j],
            f"{beta[:, j].mean():.2f}",
            f"{beta[:, j].std():.2f}",
            f"{low[j]:.2f} to {high[j]:.2f}",
            f"{(beta[:, j] > 0).mean():.3f}",
            f"{rhat['beta'][j]:.3f}",
            f"{ess['beta'][j]:.0f}",
        )
    console.print(table)
    worst_rhat = max(np.max(values) for values in rhat.values())
    worst_ess = min(np.min(values) for values in ess.values())
    console.print(
        f"Over all variables, R-hat is at most {worst_rhat:.3f} and the ESS at least "
        f"{worst_ess:.0f}.\n{divergent.sum()} of {divergent.size} draws diverged."
    )


def print_accuracy(data: Data, probability: np.ndarray, console: Console) -> None:
    ridge = LogisticRegression().fit(data.X, data.y)
    predicted = {
        "horseshoe": probability.mean((0, 1)),
        "ridge (scikit-learn)": ridge.predict_proba(data.X_test)[:, 1],
        "base rate": np.full(len(data.y_test), data.y.mean()),
    }
    table = Table("model", title=f"{len(data.y_test)} held-out patients")
    table.add_column("accuracy", justify="right")
    table.add_column("log loss", justify="right")
    for name, p in predicted.items():
        accuracy = np.mean((p > 0.5) == data.y_test)
        table.add_row(name, f"{accuracy:.3f}", f"{log_loss(data.y_test, p):.3f}")
    console.print(table)


# Colours that colour-blind readers can tell apart.
BLUE, SKY, ORANGE, GREY = "#0072B2", "#56B4E9", "#D55E00", "#9A9A9A"


def draw_coefficients(ax: plt.Axes, names: np.ndarray, beta: np.ndarray) -> None:
    q05, q25, q50, q75, q95 = np.quantile(beta, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    order = np.argsort(np.abs(q50))
    colours = np.where(q05 * q95 > 0, BLUE, np.where(q25 * q75 > 0, SKY, GREY))[order]
    rows = np.arange(len(order))
    ax.axvline(0, color="black", lw=0.8, zorder=0)
    ax.hlines(rows, q05[order], q95[order], colors=colours, lw=1.2)
    ax.hlines(rows, q25[order], q75[order], colors=colours, lw=4)
    ax.scatter(q50[order], rows, s=24, c="white", edgecolors=colours, lw=1.5, zorder=3)
    ax.set_yticks(rows, names[order], fontsize=8.5)
    ax.set_ylim(-0.8, len(order) - 0.2)
    ax.set_xlabel("coefficient: log odds per standard deviation")
    ax.set_title("Most coefficients shrink to zero, a few do not")
    legend = {BLUE: "90 % excludes 0", SKY: "50 % excludes 0", GREY: "neither"}
    for colour, text in legend.items():
        ax.plot([], [], color=colour, lw=4, label=text)
    ax.legend(loc="lower right", frameon=False, title="median, 50 % and 90 % interval")


def draw_counts(ax: plt.Axes, prior: Any, posterior: Any, y: np.ndarray) -> None:
    bins = np.arange(-0.5, len(y) + 3, 3)
    draws = ((prior, ORANGE, "prior"), (posterior, BLUE, "posterior"))
    for outcome, colour, name in draws:
        counts = np.asarray(outcome).sum(-1)
        label = f"{name} predictive"
        ax.hist(counts, bins, density=True, color=colour, alpha=0.6, label=label)
    ax.axvline(y.sum(), color="black", ls="--", lw=1.2, label="observed")
    ax.set_xlim(-1, len(y) + 1)
    ax.set_xlabel(f"malignant tumours among {len(y)} held-out patients")
    ax.set_ylabel("density")
    ax.set_title("The data replace a vague prior")
    ax.legend(frameon=False)


def draw_patients(ax: plt.Axes, probability: np.ndarray, y: np.ndarray) -> None:
    mean = probability.mean(0)
    low, high = np.quantile(probability, [0.05, 0.95], axis=0)
    rank = mean.argsort().argsort()
    kinds = ((y == 0, BLUE, "o", "benign"), (y == 1, ORANGE, "^", "malignant"))
    for rows, colour, marker, name in kinds:
        ax.vlines(rank[rows], low[rows], high[rows], color=colour, alpha=0.35, lw=1.5)
        ax.plot(rank[rows], mean[rows], marker, color=colour, ms=4, label=name)
    ax.axhline(0.5, color="black", ls=":", lw=1)
    ax.set_xlabel("held-out patients, by predicted risk")
    ax.set_ylabel("P(malignant), 90 % interval")
    ax.set_title(f"{100 * np.mean((mean > 0.5) == y):.1f} % are classified correctly")
    ax.legend(frameon=False, loc="upper left", title="diagnosis")


def draw_figure(data: Data, prior: Arrays, posterior: Arrays, path: Path) -> None:
    # Concatenate the draws of all chains.
    posterior = {k: np.concatenate(np.asarray(v)) for k, v in posterior.items()}
    style = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9.5}
    with plt.rc_context(style):
        fig, axes = plt.subplot_mosaic(
            [["coefficients", "counts"], ["coefficients", "patients"]],
            figsize=(11.5, 7),
            width_ratios=[1.15, 1],
            layout="constrained",
        )
        draw_coefficients(axes["coefficients"], data.names, posterior["beta"])
        outcomes = prior["outcome"], posterior["outcome"]
        draw_counts(axes["counts"], *outcomes, data.y_test)
        draw_patients(axes["patients"], posterior["probability"], data.y_test)
        fig.savefig(path, dpi=160)
        plt.close(fig)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3000, help="of each chain")
    parser.add_argument("--warmup", type=int, default=1000, help="of each chain")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="output folder")
    parser.add_argument("--prior", choices=PRIORS, default="pymc")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    plt.switch_backend("agg")
    console = Console()
    data = load_data()
    workflow = compile_workflow(build_model(data, options.prior))
    prior_key, nuts_key, predict_key = jax.random.split(jax.random.key(options.seed), 3)

    # The graph captured the training data. Its functions take other data too.
    draw_prior = workflow.prior.with_data(X=data.X_test)
    predict = workflow.predict.with_data(X=data.X_test)

    prior = jax.vmap(draw_prior)(jax.random.split(prior_key, PRIOR_DRAWS))
    positions, divergent = infer(nuts_key, workflow, data.X.shape[1], options, console)
    keys = jax.random.split(predict_key, (options.chains, options.draws))
    posterior = jax.vmap(jax.vmap(predict))(keys, **positions)

    print_coefficients(data.names, positions, divergent, posterior["beta"], console)
    print_accuracy(data, posterior["probability"], console)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "horseshoe.png"
    draw_figure(data, prior, posterior, path)
    console.print(f"The figure is in {path}.")


if __name__ == "__main__":
    main()

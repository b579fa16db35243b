"""Many data sets, one program: can a fit be trusted, and which model predicts better?

The data are 71 studies of rats: how many rats had a tumour, of how many (Tarone, 1982).
Simulation-based calibration (Talts et al., 2018) draws parameters from the prior and
data from the parameters, fits the data, and ranks the true values among the draws. If
the fit is right, ranks are uniform. All of this is one function of a key, which
`jaxlink.map_draws` calls for 200 keys in one program. The same program with a wrong
prior shows what a fault looks like. A loop of `pm.sample` shows what it saves.

Cross-validation leaves out a tenth of the studies in turn. A mask says which, so one
program fits all folds: a function of a mask under `jax.vmap`.

    uv run examples/calibration.py
"""

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREEN, GREY, ORANGE, SKY, number, parse, print_table, save
from own_sampler import nuts
from scipy.stats import binom
from xarray import Dataset

import jaxlink
from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

TUMOURS = np.array(
    [
        *(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2),
        *(2, 2, 2, 2, 2, 2, 2, 1, 5, 2, 5, 3, 2, 7, 7, 3, 3, 2, 9, 10, 4, 4, 4, 4),
        *(4, 4, 4, 10, 4, 4, 4, 5, 11, 12, 5, 5, 6, 5, 6, 6, 6, 6, 16, 15, 15, 9, 4),
    ]
)
RATS = np.array(
    [
        *(20, 20, 20, 20, 20, 20, 20, 19, 19, 19, 19, 18, 18, 17, 20, 20, 20, 20),
        *(19, 19, 18, 18, 25, 24, 23, 20, 20, 20, 20, 20, 20, 10, 49, 19, 46, 27),
        *(17, 49, 47, 20, 20, 13, 48, 50, 20, 20, 20, 20, 20, 20, 20, 48, 19, 19),
        *(19, 22, 46, 49, 20, 20, 23, 19, 22, 20, 20, 20, 52, 46, 47, 24, 14),
    ]
)
STUDIES = len(RATS)
WRONG_SCALE = 0.3  # of the prior of tau, instead of 1
THIN = 4  # so that the draws among which a value is ranked are almost independent
BINS, FOLDS = 20, 10
# What is ranked. The log likelihood depends on data and parameters, and so finds faults
# that no parameter shows (Modrák et al., 2023).
VALUES = ("mu", "tau", "first rate", "last rate", "log likelihood")

# All chains of a chunk wait for the longest trajectory among them. That pays on a
# device that computes many numbers in the time of one.
CHUNK = 1 if jax.default_backend() == "cpu" else 100
OPTIONS = {
    "datasets": (200, "to fit for the calibration"),
    "chunk": (CHUNK, "data sets that are fitted at the same time"),
    "compared": (4, "data sets that pm.sample fits too"),
}


def build_model(is_hierarchical: bool = True) -> pm.Model:
    """Each study has a rate of its own, or all have the same."""
    with pm.Model(coords={"study": range(STUDIES)}) as model:
        counts = pm.Data("counts", TUMOURS, dims="study")
        logit = pm.Normal("mu", -2, 1)
        if is_hierarchical:
            tau = pm.HalfNormal("tau", pm.Data("scale", 1.0))
            logit += tau * pm.Normal("z", dims="study")
        rate = pm.Deterministic("rate", pm.math.sigmoid(logit))
        pm.Binomial("tumours", RATS, rate, observed=counts, dims="study")
    return model


# --- Calibration: many data sets, one function of a key ------------------------------


def ranking(model: pm.Model, tune: int, draws: int) -> Callable:
    """A function that draws a data set, fits it, and ranks the true values.

    Returns:
        ``(key, density) -> (ranks, counts)``: the rank of each true value among the
        draws, scaled to be uniform between 0 and 1 if the fit is right, and the data.
    """
    prior, start = jp.prior(model), jp.initial_position(model, jitter=True)
    constrain, unconstrain = jp.constrain(model), jp.unconstrain(model)
    log_likelihood = jp.log_likelihood(model)

    def rank(key: jax.Array, density: jp.ModelFunction) -> tuple[dict, jax.Array]:
        keys = jax.random.split(key, 4)
        truth = prior(keys[0])
        counts = truth.pop("tumours")

        def values(position: dict[str, jax.Array]) -> dict[str, jax.Array]:
            draw = constrain(position)
            terms = log_likelihood.with_data(counts=counts)(position)["tumours"]
            ends = draw["rate"][0], draw["rate"][-1]
            each = draw["mu"], draw["tau"], *ends, terms.sum()
            return dict(zip(VALUES, each, strict=True))

        fitted = density.with_data(counts=counts)
        positions = nuts(keys[1], fitted, start(keys[2]), tune, draws)
        kept = jax.tree.map(lambda x: x[THIN - 1 :: THIN], positions)
        drawn, true = jax.vmap(values)(kept), values(unconstrain(truth))
        within = jax.random.uniform(keys[3])  # a rank is an integer
        ranks = {
            name: ((x < true[name]).sum() + within) / (len(x) + 1)
            for name, x in drawn.items()
        }
        return ranks, counts

    return rank


class Calibration(NamedTuple):
    """Ranks by name, of a right and a wrong fit, and seconds: of the program, and of
    each run of PyMC."""

    right: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    ours: float
    theirs: list[float]


def calibrate(options: argparse.Namespace) -> Calibration:
    model = build_model()
    rank, density = ranking(model, options.tune, options.draws), jp.logdensity(model)

    @jax.jit
    def program(keys: jax.Array, density: jp.ModelFunction) -> Any:
        return jaxlink.map_draws(rank, keys, density, batch_size=options.chunk)

    keys = jax.random.split(jax.random.key(options.seed), options.datasets)
    # pm.sample gets its turn after each block.
    blocks = np.array_split(np.arange(options.datasets), max(options.compared, 1))
    right, ours, theirs = [], 0.0, []
    for block in blocks:
        began = time.perf_counter()
        ranks, counts = jax.block_until_ready(program(keys[block], density))
        ours += time.perf_counter() - began
        right.append(ranks)
        if options.compared:
            theirs.append(seconds_of_pymc(np.asarray(counts[0]), options))
    other = density.with_data(scale=WRONG_SCALE)  # nothing is compiled again
    wrong = [program(keys[block], other)[0] for block in blocks]
    return Calibration(joined(right), joined(wrong), ours, theirs)


def joined(parts: Sequence[dict[str, jax.Array]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in VALUES}


def seconds_of_pymc(counts: np.ndarray, options: argparse.Namespace) -> float:
    """The time of PyMC's own sampler for one data set, with the same chain lengths."""
    with build_model():
        pm.set_data({"counts": counts})
        began = time.perf_counter()
        pm.sample(
            options.draws,
            tune=options.tune,
            chains=1,
            cores=1,
            random_seed=options.seed,
            progressbar=False,
            compute_convergence_checks=False,
        )
        return time.perf_counter() - began


def p_values(ranks: dict[str, np.ndarray]) -> dict[str, float]:
    """ArviZ's test of uniformity: its p values, by name."""
    data = Dataset({name: ("data set", x) for name, x in ranks.items()})
    tested, *_ = data.azstats.uniformity_test(dim="data set")
    return {name: float(tested[name]) for name in ranks}


def shown(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else "< 0.01"


def print_calibration(result: Calibration, options: argparse.Namespace) -> None:
    fits = {"right": result.right, "wrong prior": result.wrong}
    rows = [
        (fit, name, f"{x.mean():.2f}", f"{x.std():.2f}", shown(p_values(ranks)[name]))
        for fit, ranks in fits.items()
        for name, x in ranks.items()
    ]
    columns = ["fit", "value", "mean (0.50)", "sd (0.29)", "p of uniformity"]
    print_table(f"Ranks of true values, {options.datasets} data sets", columns, rows)
    if result.theirs:
        ratio = np.median(result.theirs) / (result.ours / options.datasets)
        print(
            f"Of {options.datasets} data sets, pm.sample fitted {len(result.theirs)}, "
            f"in turns with the program, and took {number(ratio)} times as long for "
            "each (median). Both times include compilation."
        )


def draw_calibration(result: Calibration, options: argparse.Namespace) -> None:
    """Histograms of the ranks. If the fit is right, all bars of a panel end in the band
    with a probability of at least 95 %."""
    outside = 0.05 / BINS / 2
    low, high = binom.ppf([outside, 1 - outside], options.datasets, 1 / BINS)
    figure, axes = plt.subplots(
        2, len(VALUES), figsize=(13, 5), sharex=True, sharey="row"
    )
    fits = ("right fit", result.right, BLUE), ("wrong prior", result.wrong, ORANGE)
    for row, (label, ranks, colour) in zip(axes, fits, strict=True):
        row[0].set_ylabel(f"{label}: data sets")
        for ax, (name, p) in zip(row, p_values(ranks).items(), strict=True):
            ax.axhspan(low, high, color=GREY, alpha=0.3, lw=0)
            ax.axhline(options.datasets / BINS, color=GREY, lw=1)
            ax.hist(ranks[name], np.linspace(0, 1, BINS + 1), color=colour, alpha=0.8)
            ax.set_title(name)
            ax.text(0.03, 0.97, f"p: {shown(p)}", transform=ax.transAxes, va="top")
    for ax in axes[1]:
        ax.set_xlabel("rank (scaled)")
    figure.suptitle("Ranks are uniform if the fit is right")
    save(figure, options, "calibration")


# --- Cross-validation: one data set, many masks --------------------------------------


class Validation(NamedTuple):
    """The log predictive density of each study, in two ways, with diagnostics."""

    held_out: np.ndarray  # by folds
    loo: np.ndarray  # by Pareto-smoothed importance sampling
    pareto_k: np.ndarray
    rhat: float  # the worst of all folds


def masked_fit(model: pm.Model, tune: int, draws: int) -> Callable:
    """A function that fits a model to the studies that a mask selects.

    Returns:
        ``(key, mask) -> (positions, terms)``: the draws, and the log likelihood of all
        studies at each.
    """
    log_prior = jp.logdensity(model, [rv.name for rv in model.free_RVs])
    log_likelihood = jp.log_likelihood(model)
    start = jp.initial_position(model, jitter=True)

    def fit(key: jax.Array, mask: jax.Array) -> tuple[dict, jax.Array]:
        def density(position: dict[str, jax.Array]) -> jax.Array:
            terms = log_likelihood(position)["tumours"]
            return log_prior(position) + jnp.where(mask, terms, 0.0).sum()

        first, rest = jax.random.split(key)
        positions = nuts(rest, density, start(first), tune, draws)
        return positions, jax.vmap(log_likelihood)(positions)["tumours"]

    return fit


def validate(
    model: pm.Model, fold_of: np.ndarray, options: argparse.Namespace
) -> Validation:
    """Fit a model to all studies, and to those outside each fold, in one program."""
    fit = masked_fit(model, options.tune, options.draws)
    masks = np.stack([np.ones(STUDIES, bool)] + [fold_of != i for i in range(FOLDS)])
    keys = jax.random.split(jax.random.key(options.seed), (FOLDS + 1, options.chains))
    chains = jax.vmap(fit, (0, None))
    positions, terms = jax.jit(jax.vmap(chains))(keys, masks)

    averaged = jax.nn.logsumexp(terms, axis=(1, 2)) - np.log(terms[0, :, :, 0].size)
    everything = jax.tree.map(lambda x: x[0], positions)
    tree = jp.to_datatree(everything, model, log_likelihood=True, progressbar=False)
    with warnings.catch_warnings():  # of a large Pareto k, which the table counts
        warnings.filterwarnings("ignore", "Estimated shape parameter", UserWarning)
        loo = az.loo(tree, pointwise=True)
    return Validation(
        np.asarray(averaged)[1 + fold_of, np.arange(STUDIES)],
        loo.elpd_i.values,
        loo.pareto_k.values,
        max(float(az.rhat(np.asarray(mu))) for mu in positions["mu"]),
    )


def with_error(terms: np.ndarray) -> str:
    """A sum over studies, and its standard error."""
    return f"{terms.sum():.1f} ± {np.sqrt(len(terms)) * terms.std(ddof=1):.1f}"


def print_validation(pooled: Validation, own: Validation, fold_of: np.ndarray) -> None:
    parts = [(f"fold {i + 1}", fold_of == i) for i in range(FOLDS)]
    parts.append(("all folds", fold_of >= 0))
    rows = []
    for name, part in parts:
        a, b = pooled.held_out[part], own.held_out[part]
        rows.append((name, f"{part.sum()}", *map(with_error, (a, b, b - a))))
    a, b = pooled.loo, own.loo
    rows.append(("LOO (PSIS)", f"{STUDIES}", *map(with_error, (a, b, b - a))))
    columns = ["", "studies", "one rate", "own rates", "difference"]
    print_table(f"Expected log predictive density, {FOLDS} folds", columns, rows)
    bad, rhat = int((own.pareto_k > 0.7).sum()), max(pooled.rhat, own.rhat)
    print(
        f"LOO cannot be trusted for {bad} of {STUDIES} studies with own rates (Pareto "
        f"k > 0.7). R-hat of mu is at most {rhat:.3f} in all fits."
    )


def draw_validation(
    pooled: Validation,
    own: Validation,
    fold_of: np.ndarray,
    options: argparse.Namespace,
) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    for shift, (label, fit, colour) in zip(
        (-0.12, 0.12),
        (("one rate", pooled, GREEN), ("own rates", own, BLUE)),
        strict=True,
    ):
        parts = [fit.held_out[fold_of == i] for i in range(FOLDS)]
        sums = [part.sum() for part in parts]
        errors = [np.sqrt(len(part)) * part.std(ddof=1) for part in parts]
        axes[0].errorbar(
            np.arange(1, FOLDS + 1) + shift,
            sums,
            errors,
            fmt="o",
            color=colour,
            label=label,
        )
    axes[0].set_xticks(range(1, FOLDS + 1))
    axes[0].set(xlabel="fold", ylabel="log predictive density ± standard error")
    axes[0].set_title("Each fold, predicted from the others")
    axes[0].legend()
    bad = own.pareto_k > 0.7
    for part, colour, label in ((~bad, SKY, "k ≤ 0.7"), (bad, ORANGE, "k > 0.7")):
        axes[1].plot(own.loo[part], own.held_out[part], "o", color=colour, label=label)
    lowest = min(own.loo.min(), own.held_out.min())
    axes[1].plot([lowest, 0], [lowest, 0], color=GREY, lw=1)
    axes[1].set(xlabel="by LOO (PSIS)", ylabel="by folds")
    axes[1].set_title("Log predictive density of each study, own rates")
    axes[1].legend(title="Pareto k")
    save(figure, options, "calibration_folds")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, OPTIONS, draws=400, tune=300)
    logging.getLogger("pymc").setLevel(logging.ERROR)
    result = calibrate(options)
    print_calibration(result, options)
    draw_calibration(result, options)

    fold_of = np.random.default_rng(options.seed).permutation(STUDIES) % FOLDS
    pooled, own = (
        validate(build_model(is_hierarchical), fold_of, options)
        for is_hierarchical in (False, True)
    )
    print_validation(pooled, own, fold_of)
    draw_validation(pooled, own, fold_of, options)


if __name__ == "__main__":
    main()

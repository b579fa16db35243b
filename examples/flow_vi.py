"""Normalizing flows: how much oxygen will polluted water use in the end?

Bacteria used up oxygen in a sample of stream water for seven days (Marske, 1967; Bates
and Watts, 1988). Six observations hardly tell a fast use of little from a slow use of
much, so the posterior is a long, curved ridge, which no normal distribution follows.
FlowJAX fits flows to the model's log density: several from different keys, in one
program or in the workers of Parsl. They are compared with each other, with the normal
distributions of ADVI, and with NUTS. R-hat hardly notices a flow that is worse than the
others; its ELBO and its importance weights do.

    uv run examples/flow_vi.py
    uv run examples/flow_vi.py --workers 2    # each fit as a task of Parsl
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pymc as pm
from common import BLUE, GREY, ORANGE, band, parse, print_summary, print_table, save
from flowjax.bijections import AbstractBijection, Affine, TriangularAffine
from flowjax.distributions import AbstractDistribution, StandardNormal, Transformed
from flowjax.flows import masked_autoregressive_flow
from flowjax.train.losses import ElboLoss
from paramax import NonTrainable, non_trainable
from parsl_chains import WORKERS, pool
from scipy.stats import gaussian_kde
from xarray import DataTree

import jaxlink
from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

DAYS = np.array([1, 2, 3, 4, 5, 7])
DEMAND = np.array([8.3, 10.3, 19.0, 16.0, 15.6, 19.8])  # mg/l of oxygen
SHOWN = np.arange(21)  # days
NAMES = ["ultimate", "rate", "sigma"]
ADVI = {"mean field": "advi", "full rank": "fullrank_advi"}
SAMPLES = 32  # of a flow at each step, to estimate the ELBO
DRAWS = 4000  # of each fit at the end

Density = Callable[[jax.Array], jax.Array]  # takes a vector


def build_model() -> pm.Model:
    with pm.Model(coords={"day": SHOWN, "observed_day": DAYS}) as model:
        ultimate = pm.LogNormal("ultimate", np.log(20), 0.5)  # mg/l
        rate = pm.LogNormal("rate", np.log(0.3), 0.7)  # per day
        sigma = pm.HalfNormal("sigma", 5)
        used = 1 - pm.math.exp(-rate * DAYS)
        pm.Normal(
            "demand", ultimate * used, sigma, observed=DEMAND, dims="observed_day"
        )
        shown = 1 - pm.math.exp(-rate * SHOWN)
        pm.Deterministic("curve", ultimate * shown, dims="day")
    return model


def density_of(model: pm.Model) -> Density:
    """The log density of flat vectors."""
    log_p, flat = jp.logdensity(model), jp.ravel(model)
    return lambda x: log_p(flat.unravel(x))


# --- flows ----------------------------------------------------------------------------


def normal(approximation: jp.Approximation) -> Transformed:
    """The normal distribution of ADVI, as FlowJAX has it."""
    mean, scale = approximation.mean, approximation.scale
    affine = (Affine if scale.ndim == 1 else TriangularAffine)(mean, scale)
    return Transformed(StandardNormal(mean.shape), affine)


def build_flow(key: jax.Array, affine: AbstractBijection) -> Transformed:
    """A flow that bends a normal distribution in the units of an affine map."""
    bent = masked_autoregressive_flow(
        key,
        base_dist=StandardNormal(affine.shape),
        flow_layers=4,
        nn_width=32,
        nn_activation=jnp.tanh,
        invert=False,  # draws are computed in one pass, densities entry by entry
    )
    return Transformed(bent, non_trainable(affine))


def arrays_of(flow: AbstractDistribution) -> list[jax.Array]:
    """What a chain can return: a flow also has functions, names and numbers."""
    return jax.tree.leaves(eqx.filter(flow, eqx.is_array))


def with_arrays(flow: Transformed, arrays: list[jax.Array]) -> Transformed:
    """A flow with the arrays of another, or of several along a new first axis."""
    own, rest = eqx.partition(flow, eqx.is_array)
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(own), arrays), rest)


def fit_of(density: Density, affine: AbstractBijection, steps: int) -> Callable:
    """A fit as a function of a key: the arrays of the flow, and the ELBO of each step.

    It is one chain of `jaxlink.run_chains`.
    """
    loss = ElboLoss(density, SAMPLES, stick_the_landing=True)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))

    def fit(key: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        first, rest = jax.random.split(key)
        # What is trained: neither integers nor the affine map.
        trained, fixed = eqx.partition(
            build_flow(first, affine),
            eqx.is_inexact_array,
            is_leaf=lambda x: isinstance(x, NonTrainable),
        )

        def step(state, key):
            trained, memory = state
            value, slope = eqx.filter_value_and_grad(loss)(trained, fixed, key)
            updates, memory = optimizer.update(slope, memory)
            return (eqx.apply_updates(trained, updates), memory), -value

        keys = jax.random.split(rest, steps)
        (trained, _), elbo = jax.lax.scan(
            step, (trained, optimizer.init(trained)), keys
        )
        return arrays_of(eqx.combine(trained, fixed)), elbo

    return fit


def draw_tree(
    model: pm.Model, flow: AbstractDistribution, keys: jax.Array, axis: int | None
) -> DataTree:
    """Draws of a distribution of positions, with their log importance ratios.

    Arguments:
        keys: of the chains.
        axis: the axis of chains of the flow's arrays; None: all chains have one flow.
    """
    density = density_of(model)

    def draw(flow: AbstractDistribution, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        positions, log_q = flow.sample_and_log_prob(key, (DRAWS,))
        return positions, jax.vmap(density)(positions) - log_q

    in_axes = (None if axis is None else eqx.if_array(axis), 0)
    draw_all = eqx.filter_jit(eqx.filter_vmap(draw, in_axes=in_axes))
    positions, log_ratio = draw_all(flow, keys)
    statistics = {"log_ratio": log_ratio}
    return jp.to_datatree(positions, model, sample_stats=statistics, progressbar=False)


# --- what is shown --------------------------------------------------------------------


def elbos(tree: DataTree) -> np.ndarray:
    """Of each chain, from its own draws."""
    return tree["sample_stats"]["log_ratio"].mean("draw").values


def efficiency(tree: DataTree) -> np.ndarray:
    """Of each chain: the share of its draws that is left when importance weights make
    them draws of the posterior."""
    log_ratio = tree["sample_stats"]["log_ratio"]
    weights = np.exp(log_ratio - log_ratio.max("draw"))
    return (weights.mean("draw") ** 2 / (weights**2).mean("draw")).values


def k_hat(tree: DataTree) -> np.ndarray:
    """Of each chain: the shape of the tail of its weights, reliable below 0.7."""
    # ArviZ takes logs of inverse weights, which likelihoods are in cross-validation.
    inverse = -tree["sample_stats"]["log_ratio"]
    return inverse.azstats.psislw(dim="draw")[1].values


def print_fits(tree: DataTree) -> None:
    error = tree["sample_stats"]["log_ratio"].std("draw").values / np.sqrt(DRAWS)
    numbers = zip(elbos(tree), error, efficiency(tree), k_hat(tree), strict=True)
    rows = [
        (f"fit {i}", f"{elbo:.3f}", f"{own_error:.3f}", f"{share:.1%}", f"{k:.2f}")
        for i, (elbo, own_error, share, k) in enumerate(numbers)
    ]
    columns = ["", "ELBO", "s.e.", "efficiency", "k-hat"]
    print_table("Flows from different keys", columns, rows)
    print(f"The ELBOs lie within {np.ptp(elbos(tree)):.3f} nats of each other.")
    print_summary("Draws of the flows, each a chain", tree, NAMES)


def print_comparison(trees: dict[str, DataTree]) -> None:
    rows = []
    for name, tree in trees.items():
        posterior, row = tree["posterior"], [name]
        for variable in NAMES:
            row += [posterior[variable].mean().item(), posterior[variable].std().item()]
        is_exact = "log_ratio" not in tree["sample_stats"]
        rows.append((*row, "" if is_exact else f"{efficiency(tree).mean():.1%}"))
    columns = [column for name in NAMES for column in (name, "sd")]
    title = "Means and standard deviations"
    print_table(title, ["", *columns, "efficiency"], rows)


def draw_elbos(ax: plt.Axes, elbo: np.ndarray, trees: dict[str, DataTree]) -> None:
    width = max(elbo.shape[1] // 40, 1)  # of a running mean
    steps = np.arange(width, elbo.shape[1] + 1)
    for i, trace in enumerate(elbo):
        smooth = np.convolve(trace, np.full(width, 1 / width), "valid")
        ax.plot(steps, smooth, color=BLUE, lw=1, label="flows" if i == 0 else None)
    levels = {name: elbos(trees[name]).mean() for name in ADVI}
    for (name, level), style in zip(levels.items(), (":", "--"), strict=True):
        ax.axhline(level, color=ORANGE, ls=style, label=name)
    low, high = min(levels.values()), elbo[:, -width:].mean()
    ax.set_ylim(low - 0.5 * abs(high - low), high + 0.2 * abs(high - low))
    ax.set_xlabel("step of the fit")
    ax.set_ylabel("ELBO (nats)")
    ax.set_title("Fits differ less than families do")
    ax.legend(loc="lower right")


def draw_ridge(ax: plt.Axes, trees: dict[str, DataTree]) -> None:
    """Points of NUTS, and the regions that hold 50 % and 89 % of the other draws."""
    sides = np.log([8, 80]), np.log([0.04, 2.5])
    grid = np.meshgrid(*(np.linspace(*side, 80) for side in sides))
    for name, colour in (("NUTS", GREY), ("mean field", ORANGE), ("flows", BLUE)):
        posterior = trees[name]["posterior"]
        pair = np.stack([np.ravel(posterior[x]) for x in ("ultimate", "rate")])
        if name == "NUTS":
            ax.plot(*pair, ".", color=colour, ms=2, alpha=0.5, label=name)
            continue
        pair = np.log(pair[:, :: max(pair.shape[1] // 1000, 1)])
        kernel = gaussian_kde(pair)
        levels = np.quantile(kernel(pair), [0.11, 0.5])
        density = kernel(np.stack([np.ravel(x) for x in grid])).reshape(grid[0].shape)
        ax.contour(*np.exp(grid), density, levels=levels, colors=colour)
        ax.plot([], [], color=colour, label=f"{name} (50, 89 %)")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks([10, 20, 40, 80], ["10", "20", "40", "80"])
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
    ax.minorticks_off()
    ax.set_xlabel("oxygen used in the end (mg/l)")
    ax.set_ylabel("rate (1/day)")
    ax.set_title("The flows follow the ridge")
    ax.legend(loc="upper right")


def draw_curves(ax: plt.Axes, trees: dict[str, DataTree]) -> None:
    for name, colour in (("flows", BLUE), ("mean field", ORANGE)):
        band(ax, SHOWN, trees[name]["posterior"]["curve"], colour, name)
    levels = trees["NUTS"]["posterior"]["curve"].quantile(
        [0.055, 0.945], ("chain", "draw")
    )
    for level, label in zip(levels.values, ("NUTS (89 % band)", None), strict=True):
        ax.plot(SHOWN, level, color="black", ls="--", lw=1, label=label)
    ax.plot(DAYS, DEMAND, "o", color="black", label="observed")
    ax.set_xlabel("day")
    ax.set_ylabel("oxygen used (mg/l)")
    ax.set_title("ADVI is too sure of the end")
    ax.legend(loc="lower right")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, {"workers": (0, WORKERS)})
    # Parsl starts first: nothing above computes with JAX.
    with pool(options) if options.workers else nullcontext("vmap") as method:
        compare(options, method)


def compare(options: Any, method: Any) -> None:
    model = build_model()
    steps = options.tune + options.draws  # of each fit
    drawing, fitting, *advi = jax.random.split(jax.random.key(options.seed), 4)
    keys = jax.random.split(drawing, options.chains)
    normals, trees = {}, {}
    for (name, kind), key in zip(ADVI.items(), advi, strict=True):
        approximation = jp.fit(5 * steps, kind, model, key=key, progressbar=False)
        normals[name] = normal(approximation)
        trees[name] = draw_tree(model, normals[name], keys, None)

    # The flows start from the normal distribution with all correlations.
    affine = normals["full rank"].bijection
    fit = fit_of(density_of(model), affine, steps)
    arrays, elbo = jaxlink.run_chains(fit, fitting, options.chains, method=method)
    flows = with_arrays(build_flow(fitting, affine), arrays)
    trees["flows"] = draw_tree(model, flows, keys, 0)
    best = int(elbos(trees["flows"]).argmax())
    trees["best flow"] = trees["flows"].isel(chain=[best])
    trees["NUTS"] = jp.sample(
        options.draws,
        tune=options.tune,
        chains=options.chains,
        model=model,
        random_seed=options.seed,
        target_accept=0.95,
    )
    print_fits(trees["flows"])
    print_summary("NUTS", trees["NUTS"], NAMES)
    print_comparison(trees)

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5))
    draw_elbos(axes[0], np.asarray(elbo), trees)
    draw_ridge(axes[1], trees)
    draw_curves(axes[2], trees)
    save(figure, options, "flow_vi")


if __name__ == "__main__":
    main()

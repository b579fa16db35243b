"""Shared code of the examples: options, tables, bands and figures."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from xarray import DataArray, DataTree

# Colours that colour-blind readers can tell apart.
BLUE, SKY, ORANGE, GREEN, GREY = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#9A9A9A"

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.titlesize": "large",
    "figure.titleweight": "bold",
    "font.size": 10,
    "legend.frameon": False,
}


def parse(
    doc: str,
    argv: Sequence[str] | None,
    more: Mapping[str, tuple[int, str]] = MappingProxyType({}),
    **defaults: int,
) -> argparse.Namespace:
    """Parse an example's options, and set up plotting without a screen.

    Arguments:
        doc: the example's docstring.
        argv: the arguments; ``None`` takes them from the command line.
        more: options of this example alone: their defaults and what they mean.
        defaults: other defaults for the numeric options.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="of each chain")
    parser.add_argument("--tune", type=int, default=1000, help="of each chain")
    parser.add_argument("--chains", type=int, default=4)
    for name, (default, meaning) in more.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=meaning)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="output folder")
    parser.set_defaults(**defaults)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    plt.rcParams.update(STYLE)
    return options


def print_table(title: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
    """Print a table with names in its first column and numbers in the others."""
    table = Table(columns[0], title=title)
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        cells = (cell if isinstance(cell, str) else number(cell) for cell in row)
        table.add_row(*cells)
    Console().print(table)


def number(value: float) -> str:
    """Three significant digits, or all digits before the decimal point."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_summary(title: str, idata: DataTree, var_names: Sequence[str]) -> None:
    """Print ArviZ's summary of some variables, and the number of divergences."""
    summary = az.summary(idata, var_names=list(var_names), round_to="none")
    columns = ["mean", "sd", "eti89_lb", "eti89_ub", "ess_bulk", "r_hat"]
    rows = [
        (escape(name), *row[:5], f"{row[5]:.3f}" if np.isfinite(row[5]) else "-")
        for name, row in zip(summary.index, summary[columns].to_numpy(), strict=True)
    ]
    print_table(title, ["", "mean", "sd", "5.5 %", "94.5 %", "ESS", "R-hat"], rows)
    statistics = idata.children.get("sample_stats", {})
    if "diverging" in statistics:
        diverging = statistics["diverging"]
        print(f"{int(diverging.sum())} of {diverging.size} draws diverged.")


def band(ax: Any, x: Any, draws: DataArray, colour: str, label: str) -> None:
    """Draw the median of a curve and its 89 % band."""
    low, middle, high = np.asarray(
        draws.quantile([0.055, 0.5, 0.945], ("chain", "draw"))
    )
    ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
    ax.plot(x, middle, color=colour, lw=2, label=f"{label} (89 % band)")


def count_bars(ax: Any, values: Any, observed: Any, draws: DataArray) -> None:
    """Draw how often each value was observed (bars) and predicted (points).

    Arguments:
        ax: where to draw.
        values: the integer values to count.
        observed: the observations.
        draws: predicted observations, along the last dimension.
    """
    counts = [(np.asarray(draws) == value).sum(-1) for value in values]
    low, middle, high = np.quantile(counts, [0.055, 0.5, 0.945], axis=(1, 2))
    seen = [np.sum(observed == value) for value in values]
    ax.bar(values, seen, color=SKY, alpha=0.6, label="observed")
    ax.vlines(values, low, high, color="black", lw=1.5)
    ax.plot(values, middle, "o", color="black", ms=4, label="predicted (89 % interval)")


def save(figure: plt.Figure, options: argparse.Namespace, name: str) -> None:
    """Save a figure, and print its path."""
    path = options.out / f"{name}.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"The figure is in {path}.")

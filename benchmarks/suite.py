"""All figures at once: `uv run python -m benchmarks.suite`.

Every figure is a ratio: jaxlink's median time over that of a reference, which took
turns with it on the same machine. `--save FOLDER` writes them as JSON and Markdown,
with a figure; `--only calls nuts ...` measures a part; `--quick` takes fewer rounds.
On a GPU nothing has to be changed: JAX picks the device.
"""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import pymc as pm  # noqa: E402
import pytensor  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxlink.pymc  # noqa: E402
from benchmarks import calls, functions  # noqa: E402
from benchmarks.harness import medians  # noqa: E402

DRAWS = 10_000


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        group, what: what was measured.
        over: the reference.
        ratio: jaxlink's time (or memory) over that of the reference.
        bound: what we aim at, if anything.
    """

    group: str
    what: str
    over: str
    ratio: float
    bound: float | None = None


def measure_calls(quick: bool) -> list[Row]:
    """Whole calls against PyMC's: the first, the second, one of a rebuilt model."""
    rounds = 1 if quick else 3
    big = [("prior", model) for model in ("horseshoe", "slopes", "AR(1)", "counts")]
    big += [("posterior", "slopes"), ("likelihood", "slopes"), ("posterior", "counts")]
    small = [("prior", "slopes"), ("prior", "two_poissons"), ("posterior", "counts")]
    small += [("likelihood", "slopes")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for draws, cases in ((DRAWS, big), (500, small)):
            for what, model in cases:
                named = f"{what}, {model}, {draws:,} draws"
                for filled in (False, True):
                    place = Path(folder) / f"{draws}-{filled}"
                    times = calls.compare_calls(
                        *(model, what, place),
                        draws=draws,
                        rounds=rounds,
                        filled=filled,
                    )
                    ours, theirs = times["jaxlink"], times["PyMC"]

                    def row(name: str, key: str, bound: float | None) -> Row:
                        ratio = ours[key] / theirs[key]  # noqa: B023
                        return Row("calls", f"{named}: {name}", "PyMC", ratio, bound)  # noqa: B023

                    if filled:
                        rows.append(row("first call, caches filled", "first", 1.0))
                    else:
                        again = 0.3 if draws == DRAWS else 1.0
                        rows += [
                            row("first call, caches empty", "first", 0.6),
                            row("second call", "second", again),
                            row("rebuilt model", "rebuilt", again),
                        ]
    return rows


def measure_nuts(quick: bool) -> list[Row]:
    """`sample` against PyMC's own and nutpie: 4 chains of 500 + 500 steps."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in ("slopes", "eight_schools"):
            times = calls.compare_calls(
                *(model, "sample", Path(folder)),
                draws=500,
                rounds=1 if quick else 3,
                filled=False,
                sides=("jaxlink", "PyMC", "nutpie"),
            )
            ours = times["jaxlink"]
            rows += [
                Row(
                    *("NUTS", f"{model}: {key} call", side),
                    *(ours[key] / times[side][key], bound),
                )
                for side in ("PyMC", "nutpie")
                for key, bound in (("first", 1.0), ("second", 1.0))
            ]
    return rows


def measure_density(quick: bool) -> list[Row]:
    """Log density and gradient: from the model to the first result, and one call."""
    rows = []
    for make in functions.EXAMPLES:
        work = functions.density(make())
        rows += _against(work, "density", quick, compile_bound=1.2, run_bound=1.05)
    return rows


def measure_draw(quick: bool) -> list[Row]:
    """One prior draw: from the model to the first draw, and one call."""
    rows = []
    for make in functions.EXAMPLES:
        work = functions.draw(make())
        rows += _against(work, "one draw", quick, compile_bound=1.2, run_bound=1.05)
    return rows


def _against(
    work: functions.Sides,
    group: str,
    quick: bool,
    compile_bound: float,
    run_bound: float,
) -> list[Row]:
    found = functions.compare(
        work, compiles=2 if quick else 7, runs=50 if quick else 300
    )
    rows = []
    for side, (first, run) in found.items():
        rows.append(
            Row(group, f"{work.name}: first result", side, first, compile_bound)
        )
        rows.append(Row(group, f"{work.name}: one call", side, run, run_bound))
    return rows


def measure_loops(quick: bool) -> list[Row]:
    """Scalar variables made by a Python loop, against the same written by hand."""
    sizes = (30, 99) if quick else (30, 99, 300)
    rows = []
    for size in sizes:
        for work in (functions.loop_draw(size), functions.loop_density(size)):
            first, run = functions.compare(work, compiles=1, runs=50)["by hand"]
            bounds = (0.05, 0.1) if "draw" in work.name else (0.3, 0.5)
            rows.append(
                Row("loop", f"{work.name}: first result", "by hand", first, bounds[0])
            )
            rows.append(
                Row("loop", f"{work.name}: one call", "by hand", run, bounds[1])
            )
    return rows


def measure_guard() -> list[Row]:
    """What must not get slower, with bounds that noise does not reach."""
    examples = {e.name: e for e in (make() for make in functions.EXAMPLES)}
    model = examples["slopes"].build()
    quiet = {"draws": 500, "model": model, "random_seed": 1}
    again, pymc = medians(
        [
            lambda: jaxlink.pymc.sample_prior_predictive(progressbar=False, **quiet),
            lambda: pm.sample_prior_predictive(**quiet),
        ],
        rounds=5,
    )
    rows = [Row("guard", "prior, slopes: second call", "PyMC", again / pymc, 1.0)]
    works = {
        "density": (functions.density(examples["slopes"]), 4.0, 2.0),
        "draw": (functions.draw(examples["AR(1)"]), 4.0, 2.0),
        "loop": (functions.loop_draw(99), 0.8, 2.5),
    }
    for name, (work, *bounds) in works.items():
        found = functions.compare(work, compiles=3, runs=200)["by hand"]
        for what, ratio, bound in zip(
            ("first", "one call"), found, bounds, strict=True
        ):
            rows.append(
                Row("guard", f"{name}, {work.name}: {what}", "by hand", ratio, bound)
            )
    return rows


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "calls": measure_calls,
    "nuts": measure_nuts,
    "density": measure_density,
    "draw": measure_draw,
    "loops": measure_loops,
}


def machine() -> dict[str, str]:
    """What was measured where."""
    versions = {m.__name__: m.__version__ for m in (jax, jaxlink, pm, pytensor)}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **versions,
    }


def as_table(rows: list[Row]) -> Table:
    table = Table("", "what", "over", "ratio", "aim")
    table.title = "jaxlink / reference (medians, taking turns)"
    for row in rows:
        missed = row.bound is not None and row.ratio > row.bound
        aim = "" if row.bound is None else f"{row.bound:.2f}"
        ratio = f"[red]{row.ratio:.2f}[/]" if missed else f"{row.ratio:.2f}"
        table.add_row(row.group, row.what, row.over, ratio, aim)
    return table


def as_markdown(rows: list[Row], command: str) -> str:
    where = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [f"`{command}` ({where})", "", "| | what | over | ratio | aim |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        aim = "" if row.bound is None else f"{row.bound:.2f}"
        lines.append(
            f"| {row.group} | {row.what} | {row.over} | {row.ratio:.2f} | {aim} |"
        )
    return "\n".join(lines) + "\n"


def figure(rows: list[Row], path: Path) -> None:
    """All ratios on one logarithmic axis; 1 is as fast as the reference."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(8, 0.22 * len(rows) + 1), layout="constrained")
    ax = fig.subplots()
    places = range(len(rows))
    ax.plot([row.ratio for row in rows], places, "o", ms=4, label="measured")
    aims = [(row.bound, i) for i, row in enumerate(rows) if row.bound is not None]
    ax.plot(*zip(*aims, strict=True), "|", color="C3", ms=8, label="aim")
    ax.axvline(1, color="0.6", lw=0.8)
    ax.set(xscale="log", xlabel="jaxlink / reference", ylim=(len(rows), -1))
    labels = [f"{row.group}: {row.what} / {row.over}" for row in rows]
    ax.set_yticks(places, labels, fontsize=6)
    ax.legend(fontsize=6)
    fig.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--guard", action="store_true", help="only the figures that CI compares"
    )
    parser.add_argument("--save", type=Path, help="a folder for the results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pymc").setLevel(logging.ERROR)
    console, rows = Console(), list[Row]()
    if options.guard:
        rows = measure_guard()
        console.print(as_table(rows))
        sys.exit(any(row.bound is not None and row.ratio > row.bound for row in rows))
    for name in options.only:
        found = PARTS[name](options.quick)
        console.print(as_table(found))
        rows += found
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
        command = f"python -m benchmarks.suite --only {' '.join(options.only)}"
        command += " --quick" * options.quick
        (options.save / "suite.md").write_text(as_markdown(rows, command))
        saved = {**machine(), "rows": [asdict(row) for row in rows]}
        (options.save / "suite.json").write_text(json.dumps(saved, indent=1))
        figure(rows, options.save / "suite.svg")


if __name__ == "__main__":
    main()

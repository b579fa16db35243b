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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import pymc as pm  # noqa: E402
import pytensor  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxlink.pymc  # noqa: E402
from benchmarks import (  # noqa: E402
    breakdown,
    calls,
    functions,
    models,
    numpyro_models,
)
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


def measure_calls(quick: bool, models: Sequence[str] = calls.MODELS) -> list[Row]:
    """Whole calls against PyMC's: the first, the second, one of a rebuilt model."""
    rounds = 1 if quick else 3
    big = [("prior", model) for model in ("horseshoe", "slopes", "AR(1)", "counts")]
    big += [("posterior", "slopes"), ("likelihood", "slopes"), ("posterior", "counts")]
    small = [("prior", "slopes"), ("prior", "two_poissons"), ("posterior", "counts")]
    small += [("likelihood", "slopes")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for draws, cases in ((DRAWS, big), (500, small)):
            for what, model in (case for case in cases if case[1] in models):
                named = f"{what}, {model}, {draws:,} draws"
                sides = ["jaxlink", "PyMC"]
                if model in numpyro_models.MODELS:
                    sides.append("NumPyro")
                for filled in (False, True):
                    times = calls.compare_calls(
                        *(model, what, Path(folder) / f"{draws}-{filled}"),
                        draws=draws,
                        rounds=rounds,
                        filled=filled,
                        sides=tuple(sides),
                    )
                    rows += [
                        Row(
                            *("calls", f"{named}: {name}", side),
                            *(times["jaxlink"][key] / times[side][key], bound),
                        )
                        for side in sides[1:]
                        for name, key, bound in _aims(side, draws, filled)
                    ]
    return rows


def _aims(side: str, draws: int, filled: bool) -> list[tuple[str, str, float]]:
    """What a row is called, the time that it compares, and what we aim at."""
    if filled:
        return [("first call, caches filled", "first", 1.0)]
    if side != "PyMC":  # its second call finds JAX's programs only in some cases
        return [("first call, caches empty", "first", 1.0)]
    again = 0.3 if draws == DRAWS else 1.0
    return [
        ("first call, caches empty", "first", 0.6),
        ("second call", "second", again),
        ("rebuilt model", "rebuilt", again),
    ]


def measure_nuts(quick: bool) -> list[Row]:
    """`sample` against PyMC's own and nutpie: 4 chains of 500 + 500 steps."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in ("slopes", "eight_schools", "scalars"):
            sides = ["jaxlink", "PyMC", "nutpie"]
            sides += ["NumPyro"] * (model in numpyro_models.MODELS)
            for filled in (False, True):
                times = calls.compare_calls(
                    *(model, "sample", Path(folder) / str(filled)),
                    draws=500,
                    rounds=1 if quick else 3,
                    filled=filled,
                    sides=tuple(sides),
                )
                ours = times["jaxlink"]
                names = {"first": "first call, caches filled"}
                if not filled:
                    names = {"first": "first call", "second": "second call"}
                rows += [
                    Row(
                        *("NUTS", f"{model}: {name}", side),
                        *(ours[key] / times[side][key], 1.0),
                    )
                    for side in sides[1:]
                    for key, name in names.items()
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
            bounds = (0.05, 0.1) if "draw" in work.name else (0.3, 0.5)
            found = functions.compare(work, compiles=1, runs=50)
            for side, ratios in found.items():
                for what, ratio, bound in zip(
                    ("first result", "one call"), ratios, bounds, strict=True
                ):
                    aim = bound if side == "by hand" else None
                    rows.append(Row("loop", f"{work.name}: {what}", side, ratio, aim))
    return rows


def measure_growth(quick: bool) -> list[Row]:
    """How times grow: with the number of scalar variables, of steps and of draws."""
    rows = []
    small, large = (30, 300) if quick else (99, 999)
    for name, make in (
        ("draw", functions.loop_draw),
        ("density", functions.loop_density),
    ):
        few, many = (functions.first_result(make(size), 1) for size in (small, large))
        what, over = f"{large} variables, {name}: first result", f"{small} variables"
        rows.append(Row("growth", what, over, many / few, 15.0))

    small, large = (100, 1_000) if quick else (100, 10_000)
    for name, work in (
        ("AR(1), draw", lambda steps: functions.draw(models.autoregression(steps))),
        ("GARCH, density", lambda steps: functions.density(models.garch(steps))),
    ):
        works = [work(steps) for steps in (small, large)]
        first = [functions.first_result(one, 3) for one in works]
        programs = [one.make["jaxlink"]() for one in works]
        runs = medians(
            [lambda f=f, w=w: f(*w.args) for f, w in zip(programs, works, strict=True)],
            rounds=50,
        )
        for what, (few, many) in (("first result", first), ("one call", runs)):
            named = f"{large:,} steps, {name}: {what}"
            rows.append(Row("growth", named, f"{small} steps", many / few))

    small, large = (1_000, 10_000) if quick else (1_000, 100_000)
    model = models.slopes().build()
    few, many = medians(
        [
            lambda draws=draws: jaxlink.pymc.sample_prior_predictive(
                draws, model, random_seed=1, progressbar=False
            )
            for draws in (small, large)
        ],
        rounds=3,
    )
    what = f"{large:,} draws, slopes, prior: second call"
    rows.append(Row("growth", what, f"{small:,} draws", many / few, large / small))
    return rows


def measure_memory(quick: bool) -> list[Row]:
    """Many draws in chunks, against `jax.vmap` over the function by hand."""
    draws = DRAWS // 10 if quick else DRAWS
    work = functions.draw(functions.EXAMPLES[2]())
    keys = jax.random.split(jax.random.key(1), draws)
    mine, by_hand = work.make["jaxlink"](), work.make["by hand"]()
    programs = [
        jax.jit(fn).lower(keys).compile()
        for fn in (lambda k: jaxlink.map_draws(mine, k), jax.vmap(by_hand))
    ]
    sizes = []
    for program in programs:
        memory = program.memory_analysis()
        sizes.append(memory.temp_size_in_bytes + memory.output_size_in_bytes)
    times = medians([lambda p=p: p(keys) for p in programs], rounds=1 if quick else 3)
    name = f"GP prior, {draws:,} draws"
    over = "jax.vmap by hand"
    return [
        Row("many draws", f"{name}: time", over, times[0] / times[1], 0.35),
        Row("many draws", f"{name}: peak memory", over, sizes[0] / sizes[1], 0.1),
    ]


def measure_stages(quick: bool) -> list[Row]:
    """The stages to the first result of a density, as shares of all stages by hand."""
    rows = []
    for make in functions.EXAMPLES:
        work = functions.density(make())
        found = breakdown.breakdown(work, rounds=2 if quick else 7)
        whole = sum(found["by hand"].values())
        for stage in breakdown.STAGES:
            parts = {side: times[stage] / whole for side, times in found.items()}
            bound = 0.1 if stage == "own rewrites" else None
            what = f"{work.name}: {stage} (by hand {parts['by hand']:.2f})"
            rows.append(Row("stages", what, "by hand", parts["jaxlink"], bound))
        slowest = breakdown.slowest_passes(work, 3)
        listed = ", ".join(f"{name} {share:.0%}" for name, share in slowest)
        print(f"PyTensor's rewrites of {work.name}: {listed}")
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
        "matrix": (functions.draw(examples["GP"]), 4.0, 0.5),
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
    "growth": measure_growth,
    "memory": measure_memory,
    "stages": measure_stages,
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
    every = list(calls.MODELS)
    parser.add_argument(
        "--models", nargs="+", choices=every, default=every, help="of whole calls"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pymc").setLevel(logging.ERROR)
    console, rows = Console(), list[Row]()
    if options.guard:
        rows = measure_guard()
        console.print(as_table(rows))
        sys.exit(any(row.bound is not None and row.ratio > row.bound for row in rows))
    parts = {**PARTS, "calls": partial(measure_calls, models=options.models)}
    for name in options.only:
        found = parts[name](options.quick)
        console.print(as_table(found))
        rows += found
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
        command = f"python -m benchmarks.suite --only {' '.join(options.only)}"
        command += " --quick" * options.quick
        if options.models != every:
            command += f" --models {' '.join(options.models)}"
        (options.save / "suite.md").write_text(as_markdown(rows, command))
        saved = {**machine(), "rows": [asdict(row) for row in rows]}
        (options.save / "suite.json").write_text(json.dumps(saved, indent=1))
        figure(rows, options.save / "suite.svg")


if __name__ == "__main__":
    main()

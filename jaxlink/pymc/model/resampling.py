"""PyMC's rules for what is resampled, given draws of some of a model's variables.

A variable is *volatile* if it is to be resampled, is a random variable that is not
given, is data that changed since the draws were made, or depends on a volatile
variable. A random variable that is given and not to be resampled is *frozen*: it keeps
its value whatever happens to its parents, and so do deterministics that the user
freezes. Variables that are given and not volatile are read; the rest is computed.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pymc.exceptions import ImplicitFreezeWarning
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, general_toposort
from pytensor.tensor.random.type import RandomType

from jaxlink.pymc.shared.arguments import HERE, quoted

__all__ = ["changed_data", "plan_resampling"]


def plan_resampling(
    model: pm.Model,
    outputs: Sequence[Variable],
    given: Collection[str],
    sample: Collection[str],
    freeze: Collection[str],
    changed: Collection[Variable],
) -> tuple[list[Variable], tuple[str, ...]]:
    """Decide which variables are read from the draw, and which are resampled.

    Arguments:
        model: the model.
        outputs: variables to return.
        given: names of the variables in a draw.
        sample: names of variables to resample or recompute, even if they are given.
        freeze: names of variables to read, whatever happens to their parents.
        changed: data that changed since the draws were made.

    Returns:
        the variables to read, and the names of the random variables to draw.

    Raises:
        ValueError: a variable to freeze is not given, or is also to be resampled.
    """
    randoms = set(model.basic_RVs)
    known = [*model.free_RVs, *model.deterministics]
    in_draw = {var for var in known if var.name in given}
    if missing := [name for name in freeze if model[name] not in in_draw]:
        raise ValueError(
            f"freeze_vars has {quoted(missing)}, which is not among the given values "
            f"({quoted(given)})."
        )
    if both := [name for name in freeze if name in sample]:
        raise ValueError(f"{quoted(both)} is in both sample_vars and freeze_vars.")
    explicit = {*sample, *freeze}
    implicit = {var for var in in_draw & randoms if var.name not in explicit}
    frozen = implicit | {model[name] for name in freeze}
    resampled = {model[name] for name in sample} | (randoms - in_draw)
    sources = resampled | set(changed)
    volatile = _descendants([*outputs, *implicit], sources, frozen)
    _warn_about_frozen(implicit, volatile & resampled, volatile & set(changed))
    readable = in_draw - volatile
    reads = [var for var in ancestors(outputs, blockers=readable) if var in readable]
    drawn = tuple(sorted(rv.name for rv in randoms & volatile))
    return sorted(reads, key=known.index), drawn


def _descendants(
    graph: Sequence[Variable],
    sources: Collection[Variable],
    frozen: Collection[Variable],
) -> set[Variable]:
    """The sources and what depends on them, except through frozen variables."""

    def parents(var: Variable) -> Sequence[Variable]:
        return var.owner.inputs if var.owner else ()

    volatile: set[Variable] = set()
    for var in general_toposort(graph, deps=parents):
        is_volatile = var in sources or any(p in volatile for p in parents(var))
        if is_volatile and var not in frozen:
            volatile.add(var)
    return volatile


def _warn_about_frozen(
    implicit: set[Variable], resampled: set[Variable], changed: set[Variable]
) -> None:
    """Warn about random variables that are frozen although a parent is volatile."""
    reasons = []
    for rv in sorted(implicit, key=lambda rv: rv.name):
        above = set(ancestors([rv])) - {rv}
        why = []
        if names := sorted(str(var.name) for var in above & changed):
            why.append(f"{quoted(names)} changed")
        if names := sorted(str(var.name) for var in above & resampled):
            why.append(f"{quoted(names)} is resampled")
        if why:
            reasons.append(f"`{rv.name}` ({', '.join(why)})")
    if reasons:
        warnings.warn(
            f"{'; '.join(reasons)} still keeps its given values. List it in "
            "sample_vars to resample it, or in freeze_vars to keep its values without "
            "this warning.",
            ImplicitFreezeWarning,
            skip_file_prefixes=HERE,
        )


def changed_data(
    model: pm.Model,
    outputs: Sequence[Variable],
    data: Mapping[str, Any],
    coords: Mapping[str, Sequence[Any]],
) -> list[Variable]:
    """The data that may have changed since the draws were made: data and lengths of the
    model with another value, or with no known value then, and other shared variables,
    which no trace records.

    Arguments:
        model: the model, with its current data.
        outputs: a graph over the model.
        data: values of its data by name, at the time of the draws.
        coords: coordinates of its dimensions, at the time of the draws.
    """
    lengths = {
        dim: length
        for dim, length in model.dim_lengths.items()
        if isinstance(length, SharedVariable)
    }
    known = {*model.data_vars, *lengths.values()}
    return [
        *(var for var in model.data_vars if not _has_value(var, data)),
        *(n for dim, n in lengths.items() if not _has_coords(model, dim, coords)),
        *(
            var
            for var in ancestors(outputs)
            if isinstance(var, SharedVariable)
            and not isinstance(var.type, RandomType)
            and var not in known
        ),
    ]


def _has_value(var: Variable, data: Mapping[str, Any]) -> bool:
    """Whether the value of a variable is the one in ``data``. An expression counts as
    unchanged: what it depends on decides."""
    if var.name not in data:
        return not isinstance(var, SharedVariable)
    if isinstance(var, Constant):
        now = var.data
    elif isinstance(var, SharedVariable):
        now = var.get_value(borrow=True)
    else:
        return True
    return bool(var.type.values_eq_approx(var.type.filter(data[var.name]), now))


def _has_coords(model: pm.Model, dim: str, coords: Mapping[str, Sequence[Any]]) -> bool:
    if dim not in coords:
        return False
    before, now = coords[dim], model.coords.get(dim)
    if now is None:
        return len(before) == int(model.dim_lengths[dim].get_value())
    return len(before) == len(now) and bool(np.all(np.asarray(now) == before))

"""PyMC's rules for what is resampled, given draws of some of a model's variables.

A variable is *volatile* if it is to be resampled, is a random variable that is not
given, is data that changed since the draws were made, or depends on a volatile
variable. A random variable that is given and not to be resampled is *frozen*: it keeps
its value whatever happens to its parents, and so do deterministics that the user
freezes. Variables that are given and not volatile are read; the rest is computed.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from pymc.exceptions import ImplicitFreezeWarning
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, general_toposort
from pytensor.tensor.random.type import RandomType

from jaxlink.pymc.shared.arguments import HERE, quoted

__all__ = ["Plan", "changed_data", "plan", "unnamed_shared"]


@dataclass(frozen=True)
class Plan:
    """Which variables are read from the draw, and which are resampled."""

    outputs: tuple[Variable, ...]
    reads: tuple[Variable, ...]
    resampled: tuple[str, ...]


def plan(
    model: pm.Model,
    outputs: Sequence[Variable],
    given: Collection[str],
    sample: Collection[str],
    freeze: Collection[str],
    changed: Collection[Variable],
) -> Plan:
    """Decide which variables are read and which are computed.

    Arguments:
        model: the model.
        outputs: variables to return.
        given: names of the variables in a draw.
        sample: names of variables to resample or recompute, even if they are given.
        freeze: names of variables to read, whatever happens to their parents.
        changed: data that changed since the draws were made.

    Raises:
        ValueError: a variable to freeze is not given, or is also to be resampled.
    """
    randoms = set(model.basic_RVs)
    known = [*model.free_RVs, *model.deterministics]
    in_draw = {var for var in known if var.name in given}
    missing = [name for name in freeze if model[name] not in in_draw]
    if missing:
        raise ValueError(
            f"freeze_vars has {quoted(missing)}, which is not among the given values "
            f"({quoted(given)})."
        )
    both = [name for name in freeze if name in sample]
    if both:
        raise ValueError(f"{quoted(both)} is in both sample_vars and freeze_vars.")
    implicit = {
        var
        for var in in_draw & randoms
        if var.name not in sample and var.name not in freeze
    }
    frozen = implicit | {model[name] for name in freeze}
    resampled = {model[name] for name in sample} | {
        rv for rv in randoms if rv not in in_draw
    }
    volatile = _closure([*outputs, *implicit], resampled | set(changed), frozen)
    _warn_of_implicit(implicit, volatile & resampled, volatile & set(changed))
    readable = {var for var in in_draw if var not in volatile}
    reads = [var for var in ancestors(outputs, blockers=readable) if var in readable]
    return Plan(
        tuple(outputs),
        tuple(sorted(reads, key=known.index)),
        tuple(sorted(rv.name for rv in randoms & volatile)),
    )


def _closure(
    graph: Sequence[Variable],
    sources: Collection[Variable],
    frozen: Collection[Variable],
) -> set[Variable]:
    def parents(var: Variable) -> Sequence[Variable]:
        return var.owner.inputs if var.owner else ()

    volatile: set[Variable] = set()
    for var in general_toposort(graph, deps=parents):
        is_volatile = var in sources or any(p in volatile for p in parents(var))
        if is_volatile and var not in frozen:
            volatile.add(var)
    return volatile


def _warn_of_implicit(
    implicit: Collection[Variable],
    resampled: Collection[Variable],
    changed: Collection[Variable],
) -> None:
    """Warn about random variables that keep their values although a parent does not."""
    reasons = []
    for rv in sorted(implicit, key=lambda rv: rv.name):
        above = set(ancestors([rv])) - {rv}
        why = []
        if names := sorted(str(var.name) for var in above & set(changed)):
            why.append(f"{quoted(names)} changed")
        if names := sorted(str(var.name) for var in above & set(resampled)):
            why.append(f"{quoted(names)} is resampled")
        if why:
            reasons.append(f"`{rv.name}` ({', '.join(why)})")
    if reasons:
        warnings.warn(
            f"{'; '.join(reasons)} keeps its given values nevertheless. List it in "
            "sample_vars to resample it, or in freeze_vars to keep its values without "
            "this warning.",
            ImplicitFreezeWarning,
            skip_file_prefixes=HERE,
        )


def changed_data(
    model: pm.Model, data: Mapping[str, Any], coords: Mapping[str, Sequence[Any]]
) -> list[Variable]:
    """The data and lengths of a model that have changed, or may have.

    Arguments:
        model: the model, with its data as they are now.
        data: values of its data by name, as they were.
        coords: coordinates of its dimensions, as they were.
    """
    changed = []
    for var in model.data_vars:
        if var.name in data:
            if not _is_equal(var, data[var.name]):
                changed.append(var)
        elif isinstance(var, SharedVariable):
            changed.append(var)
    for dim, length in model.dim_lengths.items():
        if isinstance(length, SharedVariable) and not _is_same(model, dim, coords):
            changed.append(length)
    return changed


def unnamed_shared(model: pm.Model, outputs: Sequence[Variable]) -> list[Variable]:
    """Shared variables of a graph that are not data of the model. A trace does not
    record their values."""
    known = {*model.data_vars, *model.dim_lengths.values()}
    return [
        var
        for var in ancestors(outputs)
        if isinstance(var, SharedVariable)
        and not isinstance(var.type, RandomType)
        and var not in known
    ]


def _is_equal(var: Variable, before: Any) -> bool:
    if isinstance(var, Constant):
        now = var.data
    elif isinstance(var, SharedVariable):
        now = var.get_value(borrow=True)
    else:
        return True  # an expression: the variables it depends on decide
    same: bool = var.type.values_eq_approx(var.type.filter(before), now)
    return same


def _is_same(model: pm.Model, dim: str, coords: Mapping[str, Sequence[Any]]) -> bool:
    if dim not in coords:
        return False
    before, now = coords[dim], model.coords.get(dim)
    if now is None:
        return len(before) == int(model.dim_lengths[dim].get_value())
    return len(before) == len(now) and bool(np.all(np.asarray(now) == before))

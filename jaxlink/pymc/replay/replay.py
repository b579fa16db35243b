"""`replay`: one draw of a run, computed again."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pymc as pm
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant
from xarray import Dataset, DataTree

from jaxlink.pymc.mcmc.rerun import rerun_chain, why_not
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.transforms import constrain, unconstrain
from jaxlink.pymc.predict.redraw import redraw
from jaxlink.pymc.replay.intermediates import intermediates
from jaxlink.pymc.shared.arguments import HERE, quoted
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import KEY, RUN
from jaxlink.values.keys import key_from_str

__all__ = ["Replay", "replay"]

# In the order in which `replay` looks for one.
_GROUPS = (
    *("posterior", "posterior_predictive", "predictions"),
    *("prior_predictive", "prior", "warmup_posterior"),
)


@dataclass(frozen=True)
class Replay:
    """One draw of a run, computed again.

    Attributes:
        values: the draw: the values of the model's variables by name.
        position: the free variables in unconstrained space, as `logdensity` takes them;
            empty if the draw does not have them all.
        intermediates: everything that the model computes from the draw, in order:
            deterministics, potentials, and each step on the way to these and to the
            parameters of random variables. Each has its name or its expression.
        log_density: the terms of the log density at ``position``, by variable.
        statistics: the sampler's statistics of the step, if its chain was run again.
        fn, args: the function that computes the draw, and its arguments, to be called
            under ``jax.debug_nans(True)`` or ``jax.disable_jit()``. The arguments of a
            predictive draw are its key, and the values that it was given.
        same: whether all values are those in the tree, bit for bit.
    """

    values: dict[str, np.ndarray]
    position: dict[str, np.ndarray]
    intermediates: dict[str, np.ndarray]
    log_density: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    fn: Callable[..., Any] = field(repr=False)
    args: tuple[Any, ...] = field(repr=False)
    same: bool

    @property
    def nonfinite(self) -> list[str]:
        """The names of steps, values and terms that are not finite. Steps come first,
        in order, so it began at the first name."""
        found = [
            name
            for values in (self.intermediates, self.values, self.log_density)
            for name, x in values.items()
            if not np.isfinite(x).all()
        ]
        return list(dict.fromkeys(found))


def replay(
    idata: DataTree,
    model: pm.Model | None = None,
    *,
    chain: int = 0,
    draw: int = 0,
    group: str | None = None,
    rerun: bool = True,
    progressbar: bool = False,
    host_callback: bool = False,
) -> Replay:
    """Compute one draw of a run again, with everything on the way to it.

    The tree says how it was drawn: its key, and what else counts. It may come from a
    file of another process. A draw of the prior or of a predictive distribution is
    computed alone. A draw of `sample` depends on all steps before it, so its chain is
    run again up to there.

    Arguments:
        idata: what `sample`, `sample_prior_predictive` or `sample_posterior_predictive`
            returned; for draws of the latter, with the posterior that they were given.
        model: the model that it was drawn from; default: the one on the context stack.
        chain, draw: the labels of the draw.
        group: the group of the draw; default: the posterior, or else a predictive one.
        rerun: if False, a draw of a posterior is taken from the tree instead: at once,
            and from any sampler. Its position is then right to rounding.
        progressbar: whether to show the progress of a chain.
        host_callback: see `jaxlink.function`.

    Returns:
        The draw.

    Raises:
        TypeError: there is no model.
        ValueError: the tree has no such group or draw, does not say how it was drawn,
            or lacks the posterior; or a chain cannot be run again.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Warns:
        UserWarning: the values differ from those in the tree: the model or its data
            have changed, or other versions or another device computed them.

    Example:
        >>> import jaxlink.pymc as jp, pymc as pm
        >>> with pm.Model() as model:
        ...     x = pm.Normal("x")
        ...     root = pm.Deterministic("root", pm.math.sqrt(x - 1))
        ...     idata = jp.sample_prior_predictive(10, random_seed=1, progressbar=False)
        >>> again = jp.replay(idata, model, draw=3)
        >>> again.same
        True
        >>> list(again.intermediates)
        ['(x - 1)', 'Sqrt((x - 1))', 'root']
    """
    model = resolve_model(model)
    name = _group(idata, group)
    recorded = idata[name].to_dataset()
    labels = {"chain": chain, "draw": draw}
    saved = _at(recorded, labels, name)
    statistics: dict[str, Any] = {}
    if not name.endswith("posterior"):
        key, run = _read(recorded, name)
        drawn = redraw(model, key, run, idata, labels, host_callback=host_callback)
        values, known = drawn.values, drawn.known | drawn.values
        position = _position(model, known, host_callback)
        fn, args = drawn.fn, drawn.args
    elif rerun:
        key, run = _read(recorded, name)
        values, statistics = _rerun(
            model, key, run, name, labels, progressbar, host_callback
        )
        position = {var.name: values[var.name] for var in model.value_vars}
        known = _observed(model) | values
        fn, args = constrain(model, host_callback=host_callback), (position,)
    else:
        values, known = saved, _observed(model) | saved
        position = _position(model, known, host_callback)
        fn, args = constrain(model, host_callback=host_callback), (position,)
    return Replay(
        values={n: np.asarray(values[n]) for n in values if n in model.named_vars},
        position={n: np.asarray(x) for n, x in position.items()},
        intermediates=intermediates(model, known, host_callback),
        log_density=_terms(model, position, host_callback),
        statistics=statistics,
        fn=fn,
        args=args,
        same=_is_same(values, saved, name),
    )


def _position(
    model: pm.Model, known: Mapping[str, Any], host_callback: bool
) -> dict[str, Any]:
    """The position of a draw; empty if free variables are missing."""
    names = [rv.name for rv in model.free_RVs]
    if not known.keys() >= set(names):
        return {}
    free = {name: known[name] for name in names}
    return dict(unconstrain(model, host_callback=host_callback)(free))


def _group(idata: DataTree, group: str | None) -> str:
    """The group of the draw."""
    children = getattr(idata, "children", {})
    groups = [name for name in children if {"chain", "draw"} <= {*idata[name].sizes}]
    name = group or next((name for name in _GROUPS if name in groups), None)
    if name is None or name not in groups or name not in _GROUPS:
        asked = "group of draws" if group is None else f"group `{group}` of draws"
        raise ValueError(
            f"the tree has no {asked}. It has {quoted(children)}, and draws are in "
            f"{quoted(_GROUPS)}."
        )
    return name


def _at(dataset: Dataset, labels: Mapping[str, int], name: str) -> dict[str, Any]:
    """The values at a draw."""
    try:
        one = dataset.sel(labels)
    except KeyError as error:
        raise ValueError(
            f"the group `{name}` has no draw {labels['draw']} of chain "
            f"{labels['chain']}."
        ) from error
    return {
        str(n): x.to_numpy()
        for n, x in one.data_vars.items()
        if set(labels) <= set(dataset[n].dims)
    }


def _read(dataset: Dataset, name: str) -> tuple[jax.Array, dict[str, Any]]:
    """The key of the run that drew a group, and what else it says."""
    if missing := [attr for attr in (KEY, RUN) if attr not in dataset.attrs]:
        raise ValueError(
            f"the group `{name}` does not say how it was drawn: it has no attribute "
            f"{quoted(missing)}. Draws of jaxlink.pymc have it; those of a posterior "
            "from elsewhere can be looked at with rerun=False."
        )
    return key_from_str(dataset.attrs[KEY]), json.loads(dataset.attrs[RUN])


def _rerun(
    model: pm.Model,
    key: jax.Array,
    run: Mapping[str, Any],
    name: str,
    labels: Mapping[str, int],
    progressbar: bool,
    host_callback: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    if reason := why_not(run):
        raise ValueError(
            f"this posterior cannot be drawn again, because {reason}. With "
            "rerun=False, the draw is taken from the tree."
        )
    first = 0 if name.startswith("warmup") else run["tune"]
    return rerun_chain(
        model,
        key,
        run,
        labels["chain"],
        first + labels["draw"],
        progressbar=progressbar,
        host_callback=host_callback,
    )


def _observed(model: pm.Model) -> dict[str, Any]:
    """The observed values that are plain data."""
    values = {rv.name: model.rvs_to_values[rv] for rv in model.observed_RVs}
    return {
        name: var.data if isinstance(var, Constant) else var.get_value()
        for name, var in values.items()
        if isinstance(var, Constant | SharedVariable)
    }


def _is_same(values: Mapping[str, Any], saved: Mapping[str, Any], name: str) -> bool:
    """Whether the values are those in the tree, bit for bit. If not, it warns."""
    differ = [
        n
        for n, x in saved.items()
        if n in values
        and not np.array_equal(values[n], x, equal_nan=x.dtype.kind == "f")
    ]
    if differ:
        warnings.warn(
            f"the replayed draw of {quoted(differ)} is not that of the group `{name}`: "
            "the model or its data have changed, or other versions, another precision "
            "or another device computed it.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    return not differ


def _terms(
    model: pm.Model, position: Mapping[str, Any], host_callback: bool
) -> dict[str, np.ndarray]:
    if not position:
        return {}
    density = logdensity(model, sum=False, host_callback=host_callback)
    if density.takes_key:  # minibatches
        return {}
    return {name: np.asarray(x) for name, x in density(position).items()}

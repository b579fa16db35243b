"""What a program with visible draws makes possible: list them, record them, give them
values, and compute their joint log density."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from jaxlink.errors import ArgumentError
from jaxlink.pjax.density import log_density_of
from jaxlink.pjax.visible import (
    Found,
    Report,
    Slot,
    Visible,
    checked_value,
    found_draws,
    slots_of,
)
from jaxlink.sampling.seed import trace
from jaxlink.sampling.site import Site

__all__ = ["Draw", "condition", "draws", "log_density", "record", "replace"]

Program = Callable[..., Any]


@dataclass(frozen=True)
class Draw:
    """A draw of a program, as `draws` lists it.

    Attributes:
        name: the draw's own name, or else its sampler's; numbered if it is not unique.
        sampler: the name of what it is drawn from.
        shape, dtype: of the draw. Loops and lanes of ``vmap`` are leading axes; None
            stands for a loop of unknown length. Of a draw that is a pytree, these are
            those of its leaves.
        parameters: the shapes and dtypes of the sampler's parameters, or their values
            where these are known.
        where: the line that draws.
        known: whether its value was given by `condition`.
    """

    name: str
    sampler: str
    shape: Any
    dtype: Any
    parameters: tuple[Any, ...]
    where: str
    known: bool


def draws(fn: Program) -> Callable[..., tuple[Draw, ...]]:
    """List the draws of a program, without drawing.

    Arguments:
        fn: a function that draws without a key.

    Returns:
        A function of ``fn``'s arguments (or of their `jax.ShapeDtypeStruct`) that
        returns a tuple of `Draw`, in the order of the program.

    Example:
        >>> from jaxlink import pjax
        >>> def model(x):
        ...     slope = pjax.normal(0.0, 2.0, name="slope")
        ...     return pjax.normal(slope * x, 1.0, shape=(3,), name="y")
        >>> [(draw.name, draw.sampler, draw.shape) for draw in pjax.draws(model)(2.0)]
        [('slope', 'normal', ()), ('y', 'normal', (3,))]
    """

    @wraps(fn)
    def listed(*args: Any, **kwargs: Any) -> tuple[Draw, ...]:
        jaxpr = trace(fn, args, kwargs)[0]
        return tuple(map(_listed, found_draws(jaxpr)))

    return listed


def _listed(found: Found) -> Draw:
    shapes, dtypes = found.shapes, [var.aval.dtype for var in found.outs]
    structure = found.structure
    return Draw(
        found.name,
        found.site.sampler,
        jax.tree.unflatten(structure, shapes),
        jax.tree.unflatten(structure, dtypes),
        tuple(found.shown_parameters),
        found.site.where,
        found.known,
    )


def record(fn: Program) -> Program:
    """The program that also returns its draws.

    Arguments:
        fn: a function that draws without a key.

    Returns:
        A program, still without a key: ``jaxlink.seed(record(fn))(key, ...)`` returns
        what ``fn`` does, and a dict of its draws by name. Draws in a loop are stacked;
        those in a branch that was not taken are zeros.

    Example:
        >>> import jax, jaxlink
        >>> from jaxlink import pjax
        >>> model = lambda: 2 * pjax.normal(0.0, 1.0, name="x")
        >>> out, drawn = jaxlink.seed(pjax.record(model))(jax.random.key(0))
        >>> bool(out == 2 * drawn["x"])
        True
    """

    @wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        out, reports = _evaluate(fn, args, kwargs, {}, report=_record)
        return out, {each.name: each.value for each in _recorded(reports)}

    return recorded


def replace(fn: Program, values: Mapping[str, Any]) -> Program:
    """The program in which draws are replaced by values: an intervention.

    Arguments:
        fn: a function that draws without a key.
        values: by the draws' names, arrays of their shapes (see `draws`).

    Returns:
        A program without these draws. The others keep their names, but the positions
        that give them their keys may change.

    Raises:
        ArgumentError: when it is called, if a name or a shape is not that of a draw.

    Example:
        >>> import jax, jaxlink
        >>> from jaxlink import pjax
        >>> def model():
        ...     x = pjax.normal(0.0, 1.0, name="x")
        ...     return pjax.normal(10 * x, 0.01, name="y")
        >>> y = jaxlink.seed(pjax.replace(model, {"x": 3.0}))(jax.random.key(0))
        >>> y.round().item()
        30.0
    """
    return _with_values(fn, values, keep=False)


def condition(fn: Program, values: Mapping[str, Any]) -> Program:
    """The program in which draws are known to have had these values.

    As in `replace`, the program goes on with the values, but their density still counts
    in `log_density`: an observation.

    Arguments:
        fn: a function that draws without a key.
        values: by the draws' names, arrays of their shapes (see `draws`).

    Returns:
        A program without these draws.

    Raises:
        ArgumentError: when it is called, if a name or a shape is not that of a draw.

    Example:
        >>> from jaxlink import pjax
        >>> model = lambda: pjax.normal(pjax.normal(0.0, 1.0, name="x"), 1.0, name="y")
        >>> posterior = pjax.log_density(pjax.condition(model, {"y": 0.5}))
        >>> posterior({"x": 0.5}).round(3).item()
        -1.963
    """
    return _with_values(fn, values, keep=True)


def _with_values(fn: Program, values: Mapping[str, Any], keep: bool) -> Program:
    values = dict(values)

    @wraps(fn)
    def given(*args: Any, **kwargs: Any) -> Any:
        return _evaluate(fn, args, kwargs, values, keep=keep)[0]

    return given


def log_density(fn: Program) -> Callable[..., jax.Array]:
    """The joint log density of a program's draws.

    It is the density of the draws as they are made: constrained, and without the
    Jacobian of a transform. It can be differentiated with respect to the draws and the
    arguments. The density of a distribution of the table is PyMC's, which must be
    installed; that of a sampler of your own is its ``logpdf``.

    Arguments:
        fn: a function that draws without a key.

    Returns:
        A function ``(draws, *args, **kwargs)`` that returns a scalar. ``draws`` is a
        dict of the values of all draws, by name, except those known by `condition`. Of
        a branch, only the draws of the branch that is taken count.

    Raises:
        ArgumentError: when it is called, if a value is missing, or is that of no draw,
            or has the wrong shape, or a sampler has no log density.

    Example:
        >>> from jaxlink import pjax
        >>> model = lambda: pjax.normal(0.0, 1.0, shape=(2,), name="x")
        >>> pjax.log_density(model)({"x": [0.0, 1.0]}).round(3).item()
        -2.338
    """

    @wraps(fn)
    def density(draws: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> jax.Array:
        _, reports = _evaluate(
            fn, args, kwargs, dict(draws), report=log_density_of, needs_all=True
        )
        widest = jnp.result_type(float)
        total = [jnp.sum(x, dtype=widest) for x in jax.tree.leaves(reports)]
        return sum(total, start=jnp.zeros((), widest))

    return density


def _evaluate(
    fn: Program,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    values: Mapping[str, Any],
    *,
    report: Report | None = None,
    keep: bool = False,
    needs_all: bool = False,
) -> tuple[Any, Any]:
    """Evaluate a program, given the values of some of its draws, or of all if it
    ``needs_all``.

    Returns: what it returns, and the reports.
    """
    jaxpr, with_ref, flat, tree = trace(fn, args, kwargs)
    found = {each.name: each for each in found_draws(jaxpr)}
    unknown = [name for name in values if name not in found]
    if unknown:
        have = ", ".join(f"`{name}`" for name in found) or "none"
        raise ArgumentError(
            f"the program has no draw named {', '.join(f'`{n}`' for n in unknown)}. "
            f"Its draws are: {have}."
        )
    missing = [n for n, each in found.items() if n not in values and not each.known]
    if missing and needs_all:
        raise ArgumentError(
            "the log density needs the values of all draws, but those of "
            f"{', '.join(f'`{name}`' for name in missing)} are missing."
        )
    leaves = {name: checked_value(found[name], x) for name, x in values.items()}
    slots = slots_of(jaxpr, iter(found), leaves)
    outs, reports = Visible(with_ref, report, keep).run(jaxpr, slots, flat)
    return jax.tree.unflatten(tree, outs), reports


def _record(
    name: str, site: Site, parameters: Sequence[Any], value: Sequence[Any]
) -> Slot:
    """A report of the value."""
    structure = site.recipe.structure(site.of_lane(parameters))
    return Slot(name, jax.tree.unflatten(structure, value[: structure.num_leaves]))


def _recorded(reports: Any) -> list[Slot]:
    return jax.tree.leaves(reports, is_leaf=lambda x: isinstance(x, Slot))

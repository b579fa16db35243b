"""The log density of a draw: its sampler's own, or PyMC's for a distribution of the
table."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt

from jaxlink.compile import function
from jaxlink.errors import ArgumentError
from jaxlink.optional import load
from jaxlink.sampling.sampler import DrawFunction
from jaxlink.sampling.site import Site
from jaxlink.values.static import StaticValue

__all__ = ["log_density_of", "logpdf_of_random_variable"]


def log_density_of(
    name: str, site: Site, parameters: Sequence[Any], value: Sequence[Any]
) -> Any:
    """The log density of a draw, summed over its lanes and elements.

    Raises:
        ArgumentError: the sampler of the draw, called ``name``, has no log density.
    """
    recipe = site.recipe
    logpdf = recipe.sampler.logpdf
    if logpdf is None and recipe.sampler.origin is not None:
        logpdf = logpdf_of_random_variable(name, recipe.sampler)
    if logpdf is None:
        raise ArgumentError(
            f"the draw `{name}`, at {site.where}, has no log density, because the "
            f"sampler `{site.sampler}` has none. Write it: "
            "jaxlink.pjax.sampler(fn, logpdf=...)."
        )
    structure = recipe.structure(site.of_lane(parameters))

    def of_lane(value: Any, *parameters: Any) -> Any:
        draw = jax.tree.unflatten(structure, value)
        args = jax.tree.unflatten(recipe.tree, parameters)
        density = logpdf(draw, *args, **dict(recipe.static))
        if np.shape(density):
            raise ArgumentError(
                f"the log density of the sampler `{site.sampler}` must be a scalar, "
                f"but has the shape {np.shape(density)}."
            )
        return density

    return site.over_lanes(of_lane)(list(value), *parameters).sum()


def logpdf_of_random_variable(name: str, sampler: DrawFunction) -> Callable[..., Any]:
    """The log density of a random variable's draw, by PyMC."""
    op = sampler.origin

    def logpdf(
        draw: Any, *dynamic: Any, shape: Any, dtype: Any, static: Any
    ) -> jax.Array:
        del dtype
        operands = [jax.typeof(x) for x in (draw, *dynamic)]
        types = tuple((x.shape, str(x.dtype)) for x in operands)
        asked = "logpdf", types, shape, static
        known = sampler.traced
        if asked not in known:
            known[asked] = _compiled(name, op, types, shape, static)
        return known[asked](draw, *dynamic)

    return logpdf


def _compiled(
    name: str,
    op: Any,
    types: Sequence[tuple[tuple[int, ...], str]],
    shape: tuple[int, ...] | None,
    static: Sequence[tuple[int, StaticValue]],
) -> Callable[..., jax.Array]:
    """PyMC's log density of a random variable, for operands of these types."""
    pm = load("pymc", "the log density of a draw")
    value, *dynamic = [pt.tensor(shape=s, dtype=dtype) for s, dtype in types]
    parameters: list[Any] = list(dynamic)
    for i, x in static:
        parameters.insert(i, pt.constant(x.value))
    rng = pytensor.shared(np.random.default_rng(0))
    rv = op.make_node(rng, shape, *parameters).outputs[1]
    # PyMC's constants have the widest floats that JAX now has.
    widest = "float64" if jax.config.jax_enable_x64 else "float32"
    with pytensor.config.change_flags(floatX=widest, warn_float64="ignore"):
        try:
            density = pt.cast(pm.logp(rv, value, warn_rvs=False).sum(), widest)
        except NotImplementedError as error:
            raise ArgumentError(
                f"the draw `{name}` has no log density: PyMC has none for the "
                f"distribution `{op.name}`."
            ) from error
        return function(
            [value, *dynamic], density, name="logpdf", on_unused_input="ignore"
        )

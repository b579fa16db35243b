"""Derivatives of a draw, through the sampler's own derivative.

The primitive draws the linearised sampler, ``(draw, *residuals) = sample(parameters)``.
The tangents are then ordinary JAX, of the residuals: no key is needed twice, the draw
stays known under partial evaluation, and reverse mode is plain transposition. A
linearised sampler is a sampler, so derivatives of any order follow.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.extend.core import primal_dtype_to_tangent_dtype
from jax.interpreters import ad
from jax.interpreters import partial_eval as pe

from jaxlink.errors import ArgumentError
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.site import Site


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, site: Site
) -> tuple[list[Any], list[Any]]:
    ref, words, parameters = site.split(primals)
    _, _, tangents = site.split(tangents)
    mask = [type(t) is not ad.Zero for t in tangents]
    avals = site.of_lane(parameters)
    drawn = site.recipe.shapes(avals)
    smooth = [jnp.issubdtype(x.dtype, jnp.inexact) for x in drawn]
    if not any(mask) or not any(smooth):
        outs = sample_p.bind(*primals, site=site)
        return outs, list(map(_zero, outs))
    after = replace(site, recipe=site.recipe.differentiated(mask))
    every = sample_p.bind(*ref, *words, *parameters, site=after)
    outs, residuals = every[: len(drawn)], every[len(drawn) :]
    saved = [residuals.pop()] if site.key == "saves" else []

    def linear(residuals: Any, *tangents: Any) -> Any:
        return after.recipe.tangents(avals, residuals, tangents)

    kept = tuple(m for m, keep in zip(site.mapped, mask, strict=True) if keep)
    active = [t for t, keep in zip(tangents, mask, strict=True) if keep]
    out_tangents = replace(site, mapped=kept).over_lanes(linear)(residuals, *active)
    triples = zip(outs, out_tangents, smooth, strict=True)
    out_tangents = [t if keep else _zero(y) for y, t, keep in triples]
    return [*outs, *saved], [*out_tangents, *map(_zero, saved)]


def _zero(y: Any) -> ad.Zero:
    dtype = primal_dtype_to_tangent_dtype(y.dtype)
    return ad.Zero(jax.core.ShapedArray(y.shape, dtype))


ad.primitive_jvps[sample_p] = _jvp


def _transpose(cotangents: Any, *operands: Any, site: Site) -> NoReturn:
    del cotangents, operands
    raise ArgumentError(
        f"a draw of `{site.sampler}`, at {site.where}, is not a linear function of its "
        "parameters, so it cannot be transposed. Differentiate the function instead "
        "(jax.grad, jax.vjp)."
    )


ad.primitive_transposes[sample_p] = _transpose


def _dce(used: list[bool], *rest: Any) -> tuple[list[bool], Any]:
    """A draw keeps its position also if nobody uses it. (XLA removes what it drew.)"""
    eqn = rest[-1]  # JAX 0.12 also says which operands are live
    keeps = any(used) or eqn.params["site"].key in ("fresh", "saves")
    return [keeps] * len(eqn.invars), eqn if keeps else None


pe.dce_rules[sample_p] = _dce

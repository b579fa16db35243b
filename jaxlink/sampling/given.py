"""`given_p`: a draw whose value is known, but whose density still counts.

It returns the value. Its operands are those of the draw, and then the value.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from jaxlink.sampling.site import Site

__all__ = ["given_p", "site_of_draw", "split_given"]

given_p = Primitive("given")
given_p.multiple_results = True


def split_given(site: Site, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The draw's parameters, and its value."""
    n = site.recipe.tree.num_leaves
    return list(operands[:n]), list(operands[n:])


def site_of_draw(site: Site) -> Site:
    """The site of the draw itself, without its value."""
    return replace(site, mapped=tuple(split_given(site, site.mapped)[0]))


@given_p.def_impl
def _value(*operands: Any, site: Site) -> list[Any]:
    return split_given(site, operands)[1]


given_p.def_abstract_eval(_value)
mlir.register_lowering(given_p, mlir.lower_fun(_value, multiple_results=True))


def _batch(
    axis_data: Any, operands: Sequence[Any], dims: Sequence[Any], *, site: Site
) -> tuple[list[Any], list[Any]]:
    moved = [
        x if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(operands, dims, strict=True)
    ]
    mapped = [d is not None for d in dims]
    outs = given_p.bind(*moved, site=site.with_lane(axis_data.size, mapped))
    _, of_value = split_given(site, mapped)
    return outs, [0 if m else None for m in of_value]


batching.fancy_primitive_batchers[given_p] = _batch


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, site: Site
) -> tuple[list[Any], list[Any]]:
    outs = given_p.bind(*primals, site=site)
    return outs, split_given(site, tangents)[1]


ad.primitive_jvps[given_p] = _jvp


def _dce(used: list[bool], *rest: Any) -> tuple[list[bool], Any]:
    """Its density counts, also if nobody uses its value."""
    del used
    return [True] * len(rest[-1].invars), rest[-1]


pe.dce_rules[given_p] = _dce

"""Refusing programs in which JAX may have moved a draw out of its loop.

Differentiating a scan, JAX evaluates what does not change from step to step once. A
draw with a Ref stays (`jaxlink.sampling.in_loops`). Without one, a draw that JAX looks
at stays too (`jaxlink.sampling.primitive`), but JAX does not look into everything that
contains draws: not into a loop in a function with its own derivative, nor into a jitted
function, about which it remembers what it decided elsewhere.

What was moved stands in front of the loop, which takes it as a constant. That is also
how a program looks that draws the parameters of a loop in a jitted function. The two
cannot be told apart, so both are refused, if anything is differentiated.
"""

from collections.abc import Sequence
from typing import Any

from jax.extend.core import Literal
from jax.extend.core import primitives as prims

from jaxlink.sampling.primitive import moved
from jaxlink.sampling.programs import (
    differentiates,
    jaxprs_in_params,
    unanchored_draws,
)

__all__ = ["refuse_moves"]


def refuse_moves(jaxpr: Any) -> None:
    """Raise `MisplacedDrawError` if a draw may not be where the user wrote it."""
    if unanchored_draws(jaxpr) and differentiates(jaxpr):
        _follow(jaxpr, [None] * len(jaxpr.invars))


def _follow(jaxpr: Any, args: Sequence[Any]) -> None:
    """Follow what was drawn in a container of draws to the loops that use it.

    Arguments:
        args: for each argument, a site that it depends on, or None.
    """
    drawn = {var: site for var, site in zip(jaxpr.invars, args, strict=True) if site}

    def read(var: Any) -> Any:
        return None if isinstance(var, Literal) else drawn.get(var)

    for eqn in jaxpr.eqns:
        sites = list(map(read, eqn.invars))
        if eqn.primitive is prims.scan_p:
            n_consts = len(list(next(iter(eqn.params["ft_in"].unpack()))))
            for site in filter(None, sites[:n_consts]):
                raise moved(site)
        source = next(filter(None, sites), None)
        for inner in jaxprs_in_params(eqn.params):
            # All operands, or those of a branch, or some of those of a while loop.
            n = len(inner.invars)
            same = n == len(eqn.invars) or eqn.primitive is prims.cond_p
            _follow(inner, sites[len(sites) - n :] if same else [source] * n)
            source = source or next(iter(unanchored_draws(inner).values()), None)
        if source:
            drawn.update(dict.fromkeys(eqn.outvars, source))

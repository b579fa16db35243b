"""A draw in `jax.checkpoint`: the backward pass draws the same again.

The forward pass also returns the draw's key ("saves"), and the backward pass draws from
it ("reuses"), so 16 bytes are kept in place of the draw.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.extend.core import Var
from jax.interpreters import partial_eval as pe

from jaxlink.sampling import jax_internals
from jaxlink.sampling.keys import WORDS
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.site import Site


def _in_checkpoint(
    saveable: Callable[..., Any],
    unknown: Sequence[bool],
    available: Sequence[bool],
    eqn: Any,
) -> tuple[Any, Any, list[bool], list[bool], list[Any]]:
    site: Site = eqn.params["site"]
    n, pairs = len(eqn.outvars), zip(eqn.invars, available, strict=True)
    needed = [v for v, is_here in pairs if not is_here and isinstance(v, Var)]
    if any(unknown) or jax_internals.is_hoisting():
        return None, eqn, [True] * n, [True] * n, needed
    if jax_internals.is_repeating_while():
        # JAX runs such a loop again, and keeps nothing of it. `seed` refuses it.
        return eqn, eqn, [False] * n, [True] * n, []
    saves = saveable(sample_p, *(v.aval for v in eqn.invars), **eqn.params) is True
    in_shard_map = bool(eqn.outvars[0].aval.manual_axis_type.varying)
    # A stream's key is made of operands, so it is the same when it is made again.
    if site.key == "stream":
        return eqn, eqn, [False] * n, [True] * n, needed
    if saves or in_shard_map or site.key != "fresh":
        return eqn, None, [False] * n, [False] * n, []
    ref, _, parameters = site.split(eqn.invars)
    shape = *site.lanes, WORDS
    words = Var(jax.core.ShapedArray(shape, np.dtype(np.uint32)))
    before = eqn.replace(
        outvars=[*eqn.outvars, words], params={"site": replace(site, key="saves")}
    )
    after = eqn.replace(
        invars=[*ref, words, *parameters], params={"site": replace(site, key="reuses")}
    )
    return before, after, [False] * n, [True] * n, [words, *needed]


pe.partial_eval_jaxpr_custom_rules[sample_p] = _in_checkpoint

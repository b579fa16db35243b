"""Loops without checks, in a form that ``checkify`` accepts under ``vmap``.

``checkify`` rewrites the body of every loop. It rejects a ``while_loop`` under
``vmap``, because the loop then has a condition for each lane. If a loop makes no
checks, ``checkify`` need not look inside: `sealed` hides the loop in one operation,
however often it is mapped.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import custom_vmap
from jax.extend.core import jaxpr_as_fun

__all__ = ["sealed", "while_loop"]


def sealed(fn: Callable[..., Any], *operands: Any) -> Any:
    """``fn(*operands)`` as a single operation that ``checkify`` does not look into.

    Arguments:
        fn: must make no checks, close over no traced values, and not be differentiated.
        operands: its arguments.
    """

    @custom_vmap
    def call(*operands: Any) -> Any:
        return fn(*operands)

    @call.def_vmap
    def _(axis_size: int, in_batched: Any, *operands: Any) -> Any:
        axes = jax.tree.map(lambda batched: 0 if batched else None, tuple(in_batched))
        out = sealed(jax.vmap(fn, axes, axis_size=axis_size), *operands)
        return out, jax.tree.map(lambda _: True, out)

    return call(*operands)


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], start: Any) -> Any:
    """`jax.lax.while_loop`, `sealed`. ``cond`` and ``body`` must make no checks."""
    leaves, form = jax.tree.flatten(start)

    def loop(*leaves: Any) -> Any:
        end = jax.lax.while_loop(cond, body, jax.tree.unflatten(form, leaves))
        return jax.tree.leaves(end)

    # cond and body may close over traced values.
    jaxpr = jax.make_jaxpr(loop)(*leaves)

    def run(closed_over: Any, *leaves: Any) -> Any:
        return jaxpr_as_fun(jaxpr.replace(consts=closed_over))(*leaves)

    return jax.tree.unflatten(form, sealed(run, jaxpr.consts, *leaves))

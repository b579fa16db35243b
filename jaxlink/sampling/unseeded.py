"""The key of a function that was compiled without one.

A compiled graph draws along streams of a key. Without a key, it gets an array of an own
key type, which nothing can draw from. `roots_p` makes the roots of its streams, and
takes as many positions of the program as there are roots, so that root i is what it is
with a key. `seed` puts real keys in their place; all that folds numbers into them stays
as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from jaxlink.errors import UnseededDrawError
from jaxlink.sampling import in_loops, jax_internals
from jaxlink.sampling.primitive import UIDS, DrawingPrimitive

__all__ = ["is_unseeded", "roots_p", "unseeded_key", "unseeded_roots"]

_NAME = "jaxlink_unseeded"


def is_unseeded(value: Any) -> bool:
    """Whether a value consists of keys that stand for none."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return False
    return dtype == _dtype()


@dataclass(frozen=True)
class Roots:
    """The roots of the streams of a compiled function.

    Attributes:
        n: how many there are.
        where: the user's line.
        uid: the call's number, as in `jaxlink.sampling.site.Site`.
    """

    n: int
    where: str
    uid: int
    sampler = "a function compiled with key=False"


@cache
def _dtype() -> Any:
    return jax.eval_shape(unseeded_key).dtype


def unseeded_key() -> jax.Array:
    """A key that stands for none."""
    return jax.random.wrap_key_data(jnp.zeros(1, np.uint32), impl=_impl())


def unseeded_roots(n: int) -> tuple[jax.Array, jax.Array]:
    """The roots of the streams of a function without a key, and the keys of the first
    draws along them. (These in one batch make a smaller program.)"""
    where = jax_internals.users_line()
    # JAX evaluates at once what has no operand.
    ref = in_loops.anchor() or [np.uint32(0)]
    site = Roots(n, where, next(UIDS))
    roots, first = roots_p.bind(*ref, site=site)
    return roots, first


@cache
def _impl() -> Any:
    def fold_in(key: jax.Array, data: int) -> jax.Array:
        del data
        return key

    def refuse(*args: Any) -> NoReturn:
        raise UnseededDrawError(
            "a draw has no key, in a function that was compiled with key=False. Write "
            "jaxlink.seed(fn)(key, ...), and compile that."
        )

    return define_prng_impl(
        key_shape=(1,),
        seed=refuse,
        split=refuse,
        random_bits=refuse,
        fold_in=fold_in,
        name=_NAME,
        tag="unseeded",
    )


roots_p = DrawingPrimitive("unseeded_roots")


@roots_p.def_abstract_eval
def _abstract_eval(*operands: Any, site: Roots) -> list[Any]:
    del operands
    return [jax.core.ShapedArray((site.n,), _dtype())] * 2


@roots_p.def_impl
def _eager(*operands: Any, site: Roots) -> list[Any]:
    del operands
    return [jnp.broadcast_to(unseeded_key(), (site.n,))] * 2


mlir.register_lowering(roots_p, mlir.lower_fun(_eager, multiple_results=True))


def _batch(
    axis_data: Any, operands: Sequence[Any], dims: Sequence[Any], *, site: Roots
) -> tuple[list[Any], list[Any]]:
    # The lanes belong to the draws.
    del axis_data, dims
    return roots_p.bind(*operands, site=site), [None, None]


batching.fancy_primitive_batchers[roots_p] = _batch


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, site: Roots
) -> tuple[list[Any], list[Any]]:
    del tangents
    outs = roots_p.bind(*primals, site=site)
    aval = jax.core.ShapedArray((site.n,), jax.dtypes.float0)
    return outs, [ad.Zero(aval)] * 2


ad.primitive_jvps[roots_p] = _jvp


def _in_checkpoint(
    saveable: Any, unknown: Sequence[bool], available: Sequence[bool], eqn: Any
) -> Any:
    """The keys are saved: made again, they would be those of other positions."""
    del saveable, available
    if any(unknown) or jax_internals.is_hoisting():
        return None, eqn, [True] * 2, [True] * 2, list(eqn.invars)
    if jax_internals.is_repeating_while():
        return eqn, eqn, [False] * 2, [True] * 2, []
    return eqn, None, [False] * 2, [False] * 2, []


pe.partial_eval_jaxpr_custom_rules[roots_p] = _in_checkpoint

"""Samplers of counts of categories, of shuffles and of choices."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.dispatch.random.binomial import binomial_counts
from jaxlink.dispatch.random.counting import counts_of, require
from jaxlink.dispatch.random.discrete import gumbel_mode, probabilities
from jaxlink.dispatch.random.rows import sampler
from jaxlink.static import canonical

Shape = tuple[int, ...]


@sampler(ptr.MultinomialRV, cast=False, how="binomial draws, category by category")
def multinomial(key: Array, shape: Shape, dtype: Any, n: Any, p: Any) -> Array:
    """Of what earlier categories left, each takes a binomial count.

    Its probability is relative to those of the categories from it on, so the last one
    that is possible takes all, and what the probabilities sum to does not matter.
    """
    integer = canonical(np.int64)
    n = jax.lax.stop_gradient(jnp.asarray(n))
    n = jnp.where(jnp.isfinite(n), n, jnp.full_like(n, -1))  # no integer is nan
    n = jnp.broadcast_to(n.astype(integer), shape)
    p = probabilities(p)
    valid = (n >= 0) & (p >= 0).all(-1) & (p > 0).any(-1) & (p < jnp.inf).all(-1)
    require(
        valid & (abs(p.sum(-1) - 1) < np.sqrt(np.finfo(p.dtype).eps)),
        "`multinomial` takes an n that is not negative, and probabilities that are "
        "not negative and sum to 1.",
    )
    p = jnp.broadcast_to(p.astype(canonical(np.float64)), (*shape, p.shape[-1]))
    p = jnp.moveaxis(jnp.where(valid[..., None], p, 1), -1, 0)
    _, later = jax.lax.scan(lambda s, x: (s + x, s), p[0] * 0, p, reverse=True)

    def take(left: Array, category: tuple[Array, ...]) -> tuple[Array, Array]:
        key, p, later = category
        all_ = jnp.maximum(p + later, np.finfo(p.dtype).tiny)
        trials = left.astype(p.dtype)
        count = binomial_counts(key, shape, trials, p / all_, later / all_)
        # The number of trials may have been rounded, as a float.
        count = jnp.where(later > 0, jnp.minimum(count, left), left)
        return left - count, count

    keys = jax.random.split(key, len(p))
    _, counts = jax.lax.scan(take, jnp.where(valid, n, 0), (keys, p, later))
    return counts_of(jnp.moveaxis(counts, 0, -1), valid[..., None], dtype)


@sampler(
    ptr.PermutationRV,
    how="order of random sort keys",
    cast=False,
    reads_op=True,
    static=lambda op: (0,) if op.ndims_params[0] == 0 else (),
)
def permutation(op: ptr.PermutationRV) -> Callable[..., Array]:
    of_range = op.ndims_params[0] == 0

    def draw(key: Array, shape: Shape, dtype: Any, x: Any) -> Array:
        del dtype
        core_ndim = op.ndims_params[0]
        if of_range:
            x, core_ndim = _range(x), 1
        return _one_by_one(jax.random.permutation, key, shape, [(x, core_ndim)])

    return draw


def _choice_static(op: ptr.ChoiceWithoutReplacement) -> tuple[int, ...]:
    """The shape of the choice; and the population, if it is given by its size."""
    last = len(op.ndims_params) - 1
    return (0, last) if op.ndims_params[0] == 0 else (last,)


@sampler(
    ptr.ChoiceWithoutReplacement,
    how="order of random sort keys, of Gumbel draws if weighted (Gumbel top-k)",
    cast=False,
    reads_op=True,
    static=_choice_static,
)
def choice_without_replacement(
    op: ptr.ChoiceWithoutReplacement,
) -> Callable[..., Array]:
    of_range = op.ndims_params[0] == 0

    def draw(key: Array, shape: Shape, dtype: Any, a: Any, *rest: Any) -> Array:
        del dtype
        *p, core_shape = rest
        # PyTensor takes a batch of core shapes, which must all be alike.
        core_shape = core_shape[(0,) * (core_shape.ndim - 1)]
        chosen = tuple(int(n) for n in core_shape)
        a_ndim = 1 if of_range else op.ndims_params[0]
        p = [probabilities(weights) for weights in p]
        for weights in p:
            require(
                _enough(weights, math.prod(chosen)),
                "`choice` without replacement needs as many probabilities above zero "
                "as it takes items, that sum to 1.",
            )

        def choose(key: Array, a: Array, *p: Array) -> Array:
            if p:
                # Gumbel top-k: the order in which balls leave an urn of weights p. Once
                # all others are taken, balls of weight 0 follow in their order.
                mode = gumbel_mode(p[0].dtype)
                index = jax.random.choice(
                    key, a.shape[0], chosen, replace=False, p=p[0], mode=mode
                )
            else:
                index = jax.random.choice(key, a.shape[0], chosen, replace=False)
            return jnp.take(a, index, axis=0)

        operands = [(_range(a) if of_range else a, a_ndim)]
        return _one_by_one(choose, key, shape, operands + [(w, 1) for w in p])

    return draw


def _enough(p: Array, taken: int) -> Array:
    """Whether probabilities are such, and as many are above zero as items taken."""
    total_is_one = abs(p.sum(-1) - 1) < np.sqrt(np.finfo(p.dtype).eps)
    return total_is_one & (p >= 0).all(-1) & ((p > 0).sum(-1) >= taken)


def _range(length: np.ndarray) -> Array:
    return jnp.arange(int(np.ravel(length)[0]))


def _one_by_one(
    draw: Callable[..., Array],
    key: Array,
    shape: Shape,
    operands: list[tuple[Any, int]],
) -> Array:
    """``draw(key, *operands)`` for each point of the batch, with a key for each.

    Each operand comes with the number of its core dimensions.
    """
    cores = [jnp.shape(x)[jnp.ndim(x) - ndim :] for x, ndim in operands]
    batched = [
        jnp.broadcast_to(x, (*shape, *core))
        for (x, _), core in zip(operands, cores, strict=True)
    ]
    keys = jax.random.split(key, shape) if shape else key
    for _ in shape:
        draw = jax.vmap(draw)
    return draw(keys, *batched)

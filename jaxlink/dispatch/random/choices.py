"""Samplers that read their Op: shuffles, choices, normal vectors, symbolic draws."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.dispatch.random.registry import symbolic_sampler
from jaxlink.numerics.linalg.matrices import computed_once
from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import require
from jaxlink.numerics.random.discrete import gumbel_mode, probabilities
from jaxlink.numerics.random.multivariate import symmetric_root
from jaxlink.ops.distributions import SymbolicDraw
from jaxlink.values.runtime_checks import check


def permutation_static(op: ptr.PermutationRV) -> tuple[int, ...]:
    """The required parameters: the length, if a range is shuffled."""
    return (0,) if op.ndims_params[0] == 0 else ()


def permutation(op: ptr.PermutationRV) -> Callable[..., Array]:
    of_range = op.ndims_params[0] == 0

    def draw(key: Array, shape: Shape, dtype: Any, x: Any) -> Array:
        del dtype
        operand = (_range(x), 1) if of_range else (x, op.ndims_params[0])
        return _one_by_one(jax.random.permutation, key, shape, [operand])

    return draw


def choice_static(op: ptr.ChoiceWithoutReplacement) -> tuple[int, ...]:
    """The required parameters: the choice's shape, and the population's size if that
    is how it is given."""
    last = len(op.ndims_params) - 1
    return (0, last) if op.ndims_params[0] == 0 else (last,)


def choice_without_replacement(
    op: ptr.ChoiceWithoutReplacement,
) -> Callable[..., Array]:
    of_range = op.ndims_params[0] == 0

    def draw(key: Array, shape: Shape, dtype: Any, a: Any, *rest: Any) -> Array:
        del dtype
        *p, core_shape = rest
        # PyTensor accepts a batch of core shapes, which must all be the same.
        core_shape = core_shape[(0,) * (core_shape.ndim - 1)]
        chosen = tuple(int(n) for n in core_shape)
        p = [probabilities(weights) for weights in p]
        for weights in p:
            require(
                _enough(weights, math.prod(chosen)),
                "`choice` without replacement needs probabilities that sum to 1, and "
                "at least one above zero for each item it takes.",
            )

        def choose(key: Array, a: Array, *p: Array) -> Array:
            # With weights, Gumbel top-k: the order in which balls of weights p leave an
            # urn. Balls of weight 0 come last, in their original order.
            weights = p[0] if p else None
            mode = None if weights is None else gumbel_mode(weights.dtype)
            index = jax.random.choice(
                key, a.shape[0], chosen, replace=False, p=weights, mode=mode
            )
            return jnp.take(a, index, axis=0)

        operand = (_range(a), 1) if of_range else (a, op.ndims_params[0])
        return _one_by_one(choose, key, shape, [operand, *((w, 1) for w in p)])

    return draw


def _enough(p: Array, taken: int) -> Array:
    """Whether ``p`` are probabilities, at least ``taken`` of them above zero."""
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
    """``draw(key, *operands)`` for each element of a batch of ``shape``, each with its
    own key. ``operands`` are pairs of an operand and its number of core dimensions."""
    cores = [jnp.shape(x)[jnp.ndim(x) - ndim :] for x, ndim in operands]
    batched = [
        jnp.broadcast_to(x, (*shape, *core))
        for (x, _), core in zip(operands, cores, strict=True)
    ]
    keys = jax.random.split(key, shape) if shape else key
    for _ in shape:
        draw = jax.vmap(draw)
    return draw(keys, *batched)


def multivariate_normal(op: ptr.MvNormalRV) -> Callable[..., Array]:
    # "svd" and "eigh" both allow a singular covariance. We treat them alike.
    factor, wanted = symmetric_root, "positive semidefinite"
    if op.method == "cholesky":
        factor, wanted = jnp.linalg.cholesky, "positive definite"
    message = f"LinAlgError: the covariance of a draw of `{op.name}` is not {wanted}."

    def draw(key: Array, shape: Shape, dtype: Any, mean: Array, cov: Array) -> Array:
        root = factor(computed_once(cov))
        check(lambda: ~jnp.isnan(root).any(), message)
        z = jax.random.normal(key, (*shape, mean.shape[-1]), dtype)
        return mean + jnp.einsum("...ij,...j->...i", root, z)

    return draw


def symbolic_draw(op: SymbolicDraw) -> Callable[..., Array]:
    return symbolic_sampler(op.base, op.truncated)

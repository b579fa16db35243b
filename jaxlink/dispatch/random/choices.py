"""Samplers of counts of categories, of shuffles and of choices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.dispatch.random.discrete import gumbel_mode
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]


@sampler(ptr.MultinomialRV)
def multinomial(key: Array, shape: Shape, dtype: Any, n: Array, p: Array) -> Array:
    # Broadcast here: JAX 0.11 and 0.12 disagree on what ``shape`` means to multinomial.
    del dtype
    n, p = jnp.broadcast_to(n, shape), jnp.broadcast_to(p, (*shape, p.shape[-1]))
    return jax.random.multinomial(key, n, p, dtype=p.dtype)


@sampler(
    ptr.PermutationRV,
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


@sampler(ptr.ChoiceWithoutReplacement, cast=False, reads_op=True, static=_choice_static)
def choice_without_replacement(
    op: ptr.ChoiceWithoutReplacement,
) -> Callable[..., Array]:
    of_range = op.ndims_params[0] == 0

    def draw(key: Array, shape: Shape, dtype: Any, a: Any, *rest: Any) -> Array:
        del dtype
        *p, core_shape = rest
        # PyTensor takes a batch of core shapes, which must all be alike.
        length = core_shape.shape[-1]
        chosen = tuple(int(n) for n in core_shape.reshape(-1, length)[0])
        a_ndim = 1 if of_range else op.ndims_params[0]

        def choose(key: Array, a: Array, *p: Array) -> Array:
            if p:
                # Gumbel top-k: the order in which balls leave an urn of weights p.
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

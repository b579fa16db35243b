"""`map_draws`: a function of a key over many keys, in chunks that fit memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from jaxlink.call.memory import budget, bytes_per_sample
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.errors import ArgumentError

__all__ = ["map_draws"]


def map_draws(
    fn: Callable[..., Any], keys: Any, *args: Any, batch_size: int | None = None
) -> Any:
    """Call a function once for each key, a chunk of keys at a time.

    The result is that of ``jax.vmap(lambda key: fn(key, *args))(keys)``. That computes
    all draws at once, so intermediate values of all draws are in memory together, and
    leave the processor's cache. Here a chunk of draws is mapped at a time, in a loop of
    one program. It is a JAX function of ``keys`` and ``args``, and works under
    ``jit``, ``vmap`` and ``grad``.

    Arguments:
        fn: a function of a key and ``args``, such as `jaxlink.JAXFunction` or a
            function of a model.
        keys: PRNG keys along the first axis, as `jax.random.split` returns them.
        args: the same for all draws.
        batch_size: how many draws are computed at a time; default: what an estimate of
            their memory allows (8 MiB on a CPU, where small chunks stay in the cache,
            and 256 MiB on other devices).

    Returns:
        what ``fn`` returns, each array with one more axis in front, of draws.

    Raises:
        ArgumentError: ``keys`` has no first axis, or ``batch_size`` is less than 1.

    Example:
        >>> import jax, jaxlink, pytensor.tensor as pt
        >>> mu = pt.scalar("mu")
        >>> _, x = pt.random.shared_rng(seed=1).normal(mu, 0.1, size=(2,))
        >>> draw = jaxlink.function([mu], x)
        >>> keys = jax.random.split(jax.random.key(0), 10_000)
        >>> draws = jaxlink.map_draws(draw, keys, 3.0)
        >>> draws.shape, draws.mean().round(2).item()
        ((10000, 2), 3.0)
    """
    if jax.numpy.ndim(keys) < 1:
        raise ArgumentError(
            "keys must have an axis of draws, as jax.random.split(key, number) has, "
            "but it is a single key."
        )
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, not {batch_size}.")
    leaves = jax.tree.leaves(fn)
    if len(leaves) == 1 and leaves[0] is fn:  # a plain function
        return _map(batch_size, fn, keys, args)
    operands = expose_constants(fn), keys, args
    program = program_around(
        operands, ("map_draws", batch_size), lambda: jax.jit(partial(_map, batch_size))
    )
    return program(*operands)


def _map(batch_size: int | None, fn: Any, keys: Any, args: Any) -> Any:
    def one(key: Any) -> Any:
        return fn(key, *args)

    if batch_size is None:
        key = jax.ShapeDtypeStruct(keys.shape[1:], keys.dtype)
        each = bytes_per_sample(jax.make_jaxpr(one)(key).jaxpr, [True])
        fits = budget(jax.default_backend()) // each
        batch_size = max(1, min(fits, len(keys)))
    return jax.lax.map(one, keys, batch_size=batch_size)

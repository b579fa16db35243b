"""PRNG keys as users hand them over, and as text."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import KeyArgumentError
from jaxlink.values.streams import as_stream, is_typed_key

__all__ = ["as_key", "key_from_str", "key_to_str", "zero_cotangents"]


def as_key(key: Any, impl: str | None = None) -> jax.Array:
    """Make one typed key of a typed or raw one, whatever implementation is the default.

    Arguments:
        key: a scalar typed key (`jax.random.key`) of any implementation, or a raw one
            (`jax.random.PRNGKey`): ``uint32`` words, 2 for threefry2x32, 4 for rbg.
        impl: the implementation of a raw key. Its words do not say which it is: 4 are
            taken for rbg, and may be ``"unsafe_rbg"``.

    Returns:
        The typed key, a scalar.

    Raises:
        KeyArgumentError: ``key`` is neither, or is a batch of keys, or is not of
            ``impl``.

    Example:
        >>> import jax, jaxlink
        >>> jaxlink.as_key(jax.random.PRNGKey(0)) == jax.random.key(0)
        Array(True, dtype=bool)
    """
    typed = as_stream(key).key
    if impl is None or str(jax.random.key_impl(typed)) == impl:
        return typed
    if is_typed_key(key):
        raise KeyArgumentError(
            f"the key is of the implementation {jax.random.key_impl(key)}, not {impl}. "
            "A typed key knows its own: leave `impl` out."
        )
    return _wrap(key, impl)


def key_to_str(key: Any) -> str:
    """Write a key as text, from which `key_from_str` makes the same key.

    Arguments:
        key: one key, as for `as_key`.

    Returns:
        The implementation's name, and the key's words as hexadecimal digits.

    Raises:
        KeyArgumentError: ``key`` is not a key, or is traced.

    Example:
        >>> import jax, jaxlink
        >>> jaxlink.key_to_str(jax.random.key(7, impl="threefry2x32"))
        'threefry2x32:00000000-00000007'
    """
    typed = as_key(key)
    if isinstance(typed, jax.core.Tracer):
        raise KeyArgumentError(
            "a traced key has no value yet, so it cannot be written as text. Write it "
            "before the function that is traced (jit, vmap, grad, ...) is called."
        )
    words = np.asarray(jax.random.key_data(typed))
    return f"{jax.random.key_impl(typed)}:{'-'.join(f'{w:08x}' for w in words)}"


def key_from_str(text: str) -> jax.Array:
    """Read a key that `key_to_str` wrote.

    Arguments:
        text: such as ``"threefry2x32:00000000-00000007"``.

    Returns:
        The typed key, a scalar.

    Raises:
        KeyArgumentError: ``text`` is not such a text.

    Example:
        >>> import jax, jaxlink
        >>> key = jax.random.key(7, impl="rbg")
        >>> jaxlink.key_from_str(jaxlink.key_to_str(key)) == key
        Array(True, dtype=bool)
    """
    impl, _, digits = text.partition(":")
    try:
        words = [int(word, 16) for word in digits.split("-")]
        data = np.array(words, np.uint32)
    except (ValueError, OverflowError) as error:
        raise KeyArgumentError(
            f"{text!r} is not a key as text. jaxlink.key_to_str(key) writes one, such "
            "as 'threefry2x32:00000000-00000007'."
        ) from error
    return _wrap(data, impl)


def zero_cotangents(tree: Any) -> Any:
    """Zeros for the function that `jax.vjp` returns, also where no derivative exists.

    The cotangent of a key or an integer is of JAX's dtype ``float0``, which `jax.numpy`
    cannot make.

    Arguments:
        tree: what the function returned: arrays and keys in any containers.

    Returns:
        The same containers: zeros of the dtype of each array of floats, and of
        ``float0`` for all else.

    Example:
        >>> import jax, jaxlink
        >>> def draw(key, scale):
        ...     key, own = jax.random.split(key)
        ...     return {"x": scale * jax.random.normal(own), "key": key}
        >>> out, vjp = jax.vjp(lambda scale: draw(jax.random.key(0), scale), 2.0)
        >>> (slope,) = vjp({**jaxlink.zero_cotangents(out), "x": 1.0})
        >>> bool(abs(slope - out["x"] / 2) < 1e-6)
        True
    """

    def zeros(x: Any) -> Any:
        shape, dtype = np.shape(x), jax.typeof(x).dtype
        if jnp.issubdtype(dtype, np.inexact):
            return jnp.zeros(shape, dtype)
        return np.zeros(shape, jax.dtypes.float0)

    return jax.tree.map(zeros, tree)


def _wrap(words: Any, impl: str) -> jax.Array:
    try:
        key = jax.random.wrap_key_data(words, impl=impl)
    except (TypeError, ValueError) as error:
        raise KeyArgumentError(
            f"{np.shape(words)[-1]} words are not a key of the implementation "
            f"{impl!r}: {error}"
        ) from error
    return key

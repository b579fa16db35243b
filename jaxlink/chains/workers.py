"""Computing chains in the workers of an executor."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax

from jaxlink.chains.host import HostKeys, from_host, to_host
from jaxlink.chains.program import Chain, name_of
from jaxlink.errors import ArgumentError

__all__ = ["Call", "Outcome", "in_executor"]

# A function, its arguments after the key, their ``in_axes``, and `Chain.static`.
Call = tuple[Any, tuple[Any, ...], Any, bool]
# The number of a chain, and its arrays or what it raised.
Outcome = tuple[int, list[Any] | BaseException]


def in_executor(executor: Any, call: Call, keys: dict[int, Any]) -> Iterator[Outcome]:
    """Compute chains, each as a task of an executor.

    Arguments:
        executor: has ``submit(fn, *args)``, as those of `concurrent.futures`.
        keys: the key of each chain, by its number.

    Returns: what became of each chain, as soon as it is known.
    """
    submit = _submit(executor, call)
    futures = {submit(chain, key): chain for chain, key in keys.items()}
    try:
        for future in _as_finished(futures):
            outcome: list[Any] | BaseException
            try:
                outcome = [from_host(x) for x in future.result()]
            except (Exception, CancelledError) as error:
                outcome = error
            yield futures[future], outcome
    finally:
        for future in futures:
            if not future.done():
                with suppress(NotImplementedError):  # Parsl cannot cancel
                    future.cancel()


def _submit(executor: Any, call: Call) -> Callable[[int, Any], Any]:
    # Another thread or process may have other settings.
    x64 = bool(jax.config.jax_enable_x64)
    if isinstance(executor, ThreadPoolExecutor):
        chain, arrays = Chain.of(*call)

        def submit(i: int, key: Any) -> Any:
            return executor.submit(_compute, chain, arrays, i, key, x64)
    else:
        fn, args, axes, static = call
        payload = _dumps(fn, (fn, jax.tree.map(_travelling, args), axes, static))

        def submit(i: int, key: Any) -> Any:
            return executor.submit(_in_worker, payload, i, to_host(key), x64)

    return submit


def _compute(
    chain: Chain, arrays: Sequence[Any], i: int, key: Any, x64: bool
) -> list[Any]:
    with jax.enable_x64(x64):
        out = chain.alone(arrays)(key, *chain.part(arrays, i))
        return jax.tree.leaves(jax.block_until_ready(out))


def _in_worker(payload: bytes, i: int, key: HostKeys, x64: bool) -> list[Any]:
    """Compute chain ``i`` in another process."""
    chain, arrays = _received(payload, x64)
    return [to_host(x) for x in _compute(chain, arrays, i, from_host(key), x64)]


@lru_cache(maxsize=8)
def _received(payload: bytes, x64: bool) -> tuple[Chain, list[Any]]:
    """One for all chains of a worker, so that it compiles once."""

    def is_keys(x: Any) -> bool:
        return isinstance(x, HostKeys)

    with jax.enable_x64(x64):
        fn, args, axes, static = pickle.loads(payload)
        args = jax.tree.map(from_host, args, is_leaf=is_keys)
        return Chain.of(fn, args, axes, static)


def _travelling(x: Any) -> Any:
    return to_host(x) if isinstance(x, jax.Array) else x


def _dumps(fn: Any, call: Any) -> bytes:
    # It also takes lambdas, closures and what a script itself defines.
    name = "cloudpickle" if find_spec("cloudpickle") else "pickle"
    try:
        return import_module(name).dumps(call)
    except Exception as error:
        raise ArgumentError(
            f"`{name_of(fn)}` or its arguments cannot travel to another process "
            f"({type(error).__name__}: {error}). Define the function in a module, or "
            "install cloudpickle, which also takes lambdas and closures."
        ) from error


def _as_finished(futures: Iterable[Any]) -> Iterator[Any]:
    futures = list(futures)
    if all(isinstance(future, Future) for future in futures):
        return as_completed(futures)
    return iter(futures)

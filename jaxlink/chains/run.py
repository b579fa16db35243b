"""`run_chains`: a function of a key over chains."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.chains.kept import Kept, kept_in
from jaxlink.chains.outputs import unwrapped
from jaxlink.chains.program import Chain, name_of, on_devices
from jaxlink.chains.workers import Call, Outcome, in_executor
from jaxlink.errors import ArgumentError, ChainError
from jaxlink.values.keys import as_key

__all__ = ["run_chains"]

_METHODS = ("vmap", "map", "sharded")


def run_chains(
    fn: Callable[..., Any],
    key: Any,
    num_chains: int,
    *args: Any,
    method: Any = "vmap",
    in_axes: Any = None,
    static: bool = False,
    kept: dict[str, Any] | str | PathLike[str] | None = None,
    devices: Sequence[Any] | None = None,
    on_finished: Callable[[int], Any] | None = None,
) -> Any:
    """Run a function of a key once for each of several chains.

    Chain *i* has the key ``jax.random.fold_in(key, i)``, so it does not depend on how
    many chains there are, nor on how they are run: with keys of threefry2x32, all
    methods have the same random bits, and the same numbers to rounding. (rbg draws
    other numbers under `jax.vmap` than one by one.)

    Arguments:
        fn: ``fn(key, *args)``, which returns arrays in any containers: a compiled
            function, a function of a model, or any other JAX function.
        key: one PRNG key, typed or raw, of any implementation (`jaxlink.as_key`).
        num_chains: how many chains.
        args: the other arguments of ``fn``.
        method: how the chains are run.

            - ``"vmap"``: in one program, all at once.
            - ``"map"``: one after the other, by one program.
            - ``"sharded"``: in one program, a share of the chains on each device.
            - an executor: each chain is a task of ``executor.submit``
              (`concurrent.futures`). Workers in other processes must have been
              spawned, not forked.
        in_axes: which arguments have an axis of chains, as `jax.vmap`'s, without the
            key: by default none has one.
        static: whether ``fn`` may also return what is no data (names, functions,
            modules with static fields). All that is not an array then comes back as it
            is, once for all chains; it may not hold arrays of the chain, as a closure.
        kept: where finished chains are kept: a directory, or a dict. Chains that are
            there are not computed again. So the same call completes a run that was
            interrupted.
        devices: the devices of ``method="sharded"``; default: all of this process.
        on_finished: called with the number of each chain that finished, or was already
            there: for a progress bar.

    Returns:
        What ``fn`` returns, each array with one more axis in front, of chains.

    Raises:
        ArgumentError: ``fn`` returns what is no data, or needs the value of a traced
            array, before any chain is run; or an argument is wrong.
        ChainError: some chains failed. It has their numbers, and what finished.
        KeyArgumentError: ``key`` is not a PRNG key.

    Example:
        >>> import jax, jaxlink
        >>> def walk(key, scale):
        ...     return scale * jax.random.normal(key, (100,)).cumsum()
        >>> walks = jaxlink.run_chains(walk, jax.random.key(0), 4, 0.1)
        >>> walks.shape
        (4, 100)
    """
    key = as_key(key)
    if isinstance(key, jax.core.Tracer):
        raise ArgumentError(
            "run_chains was called in a function that is traced (jit, vmap, ...). It "
            "starts programs. In a function, write jax.vmap(fn)(keys)."
        )
    if isinstance(num_chains, bool) or not isinstance(num_chains, int | np.integer):
        raise ArgumentError(f"num_chains must be an integer, not {num_chains!r}.")
    if num_chains < 1:
        raise ArgumentError(f"num_chains must be at least 1, not {num_chains}.")
    if not (method in _METHODS or hasattr(method, "submit")):
        raise ArgumentError(
            f"method must be one of {', '.join(map(repr, _METHODS))}, or an executor "
            f"(with a method `submit`), not {method!r}."
        )
    if devices is not None and method != "sharded":
        raise ArgumentError('`devices` is an option of method="sharded" only.')
    call: Call = fn, args, in_axes, static
    chain, arrays = Chain.of(*call)
    for x, mapped in zip(arrays, chain.mapped, strict=True):
        if mapped and len(x) != num_chains:
            raise ArgumentError(
                f"an argument has {len(x)} entries along its axis of chains (in_axes), "
                f"but num_chains is {num_chains}."
            )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_chains))

    def tell(finished: Iterable[int]) -> None:
        if on_finished is not None:
            for i in finished:
                on_finished(i)

    if method in ("vmap", "sharded") and kept is None:
        out = jax.block_until_ready(_together(chain, arrays, keys, devices, method))
        tell(range(num_chains))
        return unwrapped(out)
    like = jax.eval_shape(chain.alone(arrays), key, *chain.part(arrays, 0))
    place = kept_in({} if kept is None else kept, like)
    found: dict[int, Any] = {i: place.get(i, keys[i]) for i in range(num_chains)}
    missing = [i for i, leaves in found.items() if leaves is None]
    tell(i for i in found if i not in missing)
    how = method, devices
    for i, outcome in _each(call, chain, arrays, keys, missing, *how):
        found[i] = outcome
        if not isinstance(outcome, BaseException):
            place.put(i, keys[i], outcome)
            tell([i])
    failed = {i: x for i, x in found.items() if isinstance(x, BaseException)}
    if failed:
        raise _error(fn, failed, found, place) from next(iter(failed.values()))
    stacked = [jnp.stack(each) for each in zip(*found.values(), strict=True)]
    return unwrapped(jax.tree.unflatten(jax.tree.structure(like), stacked))


def _together(
    chain: Chain, arrays: Sequence[Any], keys: Any, devices: Any, method: str
) -> Any:
    """The stacked outputs of chains, in one program."""
    if method == "vmap":
        return chain.together(arrays)(keys, *arrays)
    n = len(keys)
    mesh, each = on_devices(devices, n)
    # Each device gets the same number of chains. The last ones are then computed again.
    rows = np.minimum(np.arange(each * mesh.size), n - 1)
    out = chain.sharded(arrays, mesh)(keys[rows], *chain.part(arrays, rows))
    return jax.tree.map(lambda x: x[:n], out)


def _each(
    call: Call,
    chain: Chain,
    arrays: Sequence[Any],
    keys: Any,
    chains: list[int],
    method: Any,
    devices: Any,
) -> Iterator[Outcome]:
    """What becomes of each chain."""
    if not chains:
        return
    if method == "map":
        alone = chain.alone(arrays)
        for i in chains:
            try:
                out = alone(keys[i], *chain.part(arrays, i))
                yield i, jax.tree.leaves(jax.block_until_ready(out))
            except Exception as error:
                yield i, error
    elif method in _METHODS:
        rows = np.array(chains)
        own = chain.part(arrays, rows)
        out = _together(chain, own, keys[rows], devices, method)
        leaves = jax.tree.leaves(out)
        for row, i in enumerate(chains):
            yield i, [x[row] for x in leaves]
    else:
        yield from in_executor(method, call, {i: keys[i] for i in chains})


def _error(
    fn: Any, failed: dict[int, Any], found: dict[int, Any], place: Kept
) -> ChainError:
    lines = "".join(f"\n  chain {i}: {_said(error)}" for i, error in failed.items())
    finished = [i for i in found if i not in failed]
    others = f"Chains {', '.join(map(str, finished))} finished" if finished else ""
    return ChainError(
        f"{len(failed)} of {len(found)} chains of `{name_of(fn)}` failed:{lines}\n"
        f"{others and others + ', and are kept. '}The same call with `kept=error.kept` "
        "computes only what is missing.",
        list(failed),
        place.place,
    )


def _said(error: BaseException) -> str:
    """One line of an error. JAX puts the traceback of a callback into its message, of
    which the last line says what happened."""
    lines = str(error).strip().splitlines() or [""]
    message = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
    return f"{type(error).__name__}: {message}"

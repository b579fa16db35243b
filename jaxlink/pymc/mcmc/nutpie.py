"""nutpie's NUTS on a log density in JAX.

nutpie runs chains in threads, which call the density and its gradient. Each chain is a
separate run with its own seed and a given initial position, so it depends on nothing
but its number.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from jaxlink.call.executables import compile_at
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.optional import load
from jaxlink.pymc.mcmc.chains import Rows, Update
from jaxlink.pymc.model.transforms import Ravel

__all__ = ["NutpieChains"]

# nutpie's names of the statistics -> those of the ArviZ schema.
_STATS = {
    "diverging": "diverging",
    "step_size": "step_size",
    "mean_tree_accept": "acceptance_rate",
    "energy": "energy",
    "logp": "lp",
    "depth": "tree_depth",
    "n_steps": "n_steps",
    "maxdepth_reached": "reached_max_treedepth",
}

# The time between two checks of the progress and the chains, in seconds.
_POLL = 0.1


class NutpieChains:
    """Chains of nutpie.

    Arguments:
        log_density: a callable pytree, from a position to its log density.
        values: maps a position to the values to keep.
        ravel: maps a position to a vector and back.
        keys: a key for each chain.
        tune, draws: the numbers of steps of a chain.
        skip: the number of initial steps that are not kept.
        cores: the number of chains that run at the same time; default: all.
        target_accept: the target acceptance rate.
        options: further arguments of `nutpie.sample`.

    Raises:
        ImportError: nutpie is not installed.
    """

    def __init__(
        self,
        log_density: Any,
        values: Any,
        ravel: Ravel,
        keys: jax.Array,
        *,
        tune: int,
        draws: int,
        skip: int,
        cores: int | None,
        target_accept: float,
        options: Mapping[str, Any],
    ):
        self._nutpie = load("nutpie", 'nuts_sampler="nutpie"')
        self._ravel, self._keys = ravel, keys
        # nutpie needs a warm-up. If there is none, it makes one step, which we drop.
        self._dropped = max(1 - tune, 0)
        self._skip = skip
        self._cores = len(keys) if cores is None else cores
        self._steps = {"tune": tune + self._dropped, "draws": draws}
        self._options = {"target_accept": target_accept, **options}
        if "max_treedepth" in self._options:
            self._options["maxdepth"] = self._options.pop("max_treedepth")
        values, log_density = expose_constants((values, log_density))
        self._kept, what = values, ("nutpie", tuple(ravel.shapes.items()))
        self._values = program_around(
            values,
            what,
            lambda: jax.jit(lambda vector, values: values(ravel.unravel(vector))),
        )

        # The captured data go in as plain arrays, and results come back through NumPy:
        # with pytrees a call costs four times as much.
        leaves, structure = jax.tree.flatten(log_density)

        def density(vector: jax.Array, *leaves: Any) -> jax.Array:
            fn = jax.tree.unflatten(structure, leaves)
            return fn(ravel.unravel(vector)).astype(float)

        self._dtype = dtype = jax.dtypes.canonicalize_dtype(float)
        vector = jax.ShapeDtypeStruct((ravel.size,), dtype)
        jitted = program_around(
            log_density, what, lambda: jax.jit(jax.value_and_grad(density))
        )
        # Compiled here, because nutpie's threads may have other JAX settings.
        compiled = compile_at(jitted, (what, log_density), (vector, *leaves))

        def evaluate(vector: Any) -> tuple[np.ndarray, np.ndarray]:
            logp, gradient = compiled(np.asarray(vector, dtype), *leaves)
            return np.asarray(logp), np.asarray(gradient, np.float64)

        self._evaluate = evaluate

    def init_states(self, positions: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The states of chains at their initial positions (one per row), and the log
        densities and gradients there. A state is the position as a vector."""
        vectors = np.asarray(jax.vmap(self._ravel.ravel)(positions))
        logps, gradients = zip(*map(self._evaluate, vectors), strict=True)
        return (
            vectors,
            np.array(logps),
            jax.vmap(self._ravel.unravel)(np.array(gradients)),
        )

    def pieces(self, vectors: Any, update: Update) -> Iterator[Rows]:
        """Run all chains to the end, or until Ctrl-C.

        Arguments:
            vectors: the initial positions, as `init_states` gives them.
            update: called with the progress.

        Yields:
            values and statistics of one step of all chains at a time, arrays of shape
            ``(chains, 1, ...)``, for the steps that every chain made.

        Raises:
            KeyboardInterrupt: after the last yield, if the run was interrupted.
        """
        bits = jax.vmap(lambda key: jax.random.bits(key, (2,), np.uint32))(self._keys)
        seen: dict[int, Any] = {}
        shown: dict[int, Any] = {}
        runs: dict[int, Any] = {}
        finished: dict[int, Any] = {}
        interrupt = None
        try:
            while len(finished) < len(vectors):
                while len(runs) < min(len(vectors), len(finished) + self._cores):
                    chain = len(runs)
                    high, low = bits[chain]
                    seed = int(high) << 32 | int(low)
                    runs[chain] = self._launch(vectors[chain], seed, chain, seen)
                    update(chain, (), {})
                for chain in runs.keys() - finished.keys():
                    with suppress(TimeoutError):
                        finished[chain] = runs[chain].wait(timeout=_POLL)
                    _show(seen, shown, update)
        except KeyboardInterrupt as error:
            interrupt = error
            for chain in runs.keys() - finished.keys():
                finished[chain] = runs[chain].abort()
        finally:
            for chain in runs.keys() - finished.keys():
                runs[chain].cancel()
        if len(finished) == len(vectors):
            yield from self._rows([finished[chain] for chain in sorted(finished)])
        if interrupt is not None:
            raise interrupt

    def _launch(self, vector: Any, seed: int, chain: int, seen: dict[int, Any]) -> Any:
        from nutpie.compiled_pyfunc import from_pyfunc

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            logp, gradient = self._evaluate(x)
            return float(logp), gradient

        model = from_pyfunc(
            len(vector),
            lambda: evaluate,
            lambda *_: lambda x: {"position": np.array(x, np.float64)},
            [np.dtype(np.float64)],
            [vector.shape],
            ["position"],
            make_initial_point_fn=lambda _: np.asarray(vector, np.float64),
        )
        return self._nutpie.sample(
            model,
            chains=1,
            cores=1,
            seed=seed,
            blocking=False,
            progress_bar=False,
            progress_callback=lambda news: seen.update({chain: news[0]}),
            progress_rate=int(1000 * _POLL),
            **self._steps,
            **self._options,
        )

    def _rows(self, results: list[Any]) -> Iterator[Rows]:
        def of_all(group: str, name: str) -> np.ndarray:
            chains = [
                np.concatenate([tree[f"warmup_{group}"][name][0], tree[group][name][0]])
                for tree in results
            ]
            steps = min(map(len, chains))
            return np.stack([chain[self._dropped : steps] for chain in chains])

        stats = {ours: of_all("sample_stats", name) for name, ours in _STATS.items()}
        vectors = of_all("posterior", "position").astype(self._dtype)
        for step in range(vectors.shape[1]):
            row = {name: stat[:, step, None] for name, stat in stats.items()}
            if step < self._skip:
                yield {}, row
                continue
            values = [
                jax.device_get(self._values(vector, self._kept))
                for vector in vectors[:, step]
            ]
            yield jax.tree.map(lambda *xs: np.stack(xs)[:, None], *values), row


def _show(seen: dict[int, Any], shown: dict[int, Any], update: Update) -> None:
    """Report new steps."""
    for chain, now in list(seen.items()):
        before = shown.get(chain)
        shown[chain] = now
        steps, divergences = now.finished_draws, now.divergences
        if before is not None:
            steps -= before.finished_draws
            divergences -= before.divergences
        # nutpie reports how many steps diverged, not which.
        diverging = np.arange(steps) >= steps - divergences
        stats = {"step_size": now.step_size, "n_steps": now.latest_num_steps}
        update(chain, diverging, stats)

"""`seed`: a program that draws without a key, as a function of a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np

from jaxlink.errors import MisplacedDrawError, UnseededDrawError
from jaxlink.sampling.control_flow import shard_map, while_loop
from jaxlink.sampling.custom_rules import custom_jvp, custom_vjp
from jaxlink.sampling.given import split_given
from jaxlink.sampling.in_loops import anchoring
from jaxlink.sampling.interpret import Interpreter
from jaxlink.sampling.jax_internals import is_unknown_primal
from jaxlink.sampling.keys import (
    Count,
    Streams,
    first_of_each,
    fold_in_each,
    from_words,
    streams,
    to_words,
)
from jaxlink.sampling.moves import refuse_moves
from jaxlink.sampling.programs import (
    INNER,
    POSITIONS,
    draws_with_own_key,
    jaxprs_in_params,
)
from jaxlink.sampling.site import Site
from jaxlink.sampling.source import seeding
from jaxlink.values.keys import as_key

__all__ = ["seed", "trace"]

Reports = list[Any]

_ARRAYS = jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic


# Shared by all calls of `seed`, so that a jitted function compiles once.
_JITTED: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Seeding(Interpreter):
    """Feeds keys to draws, by the law of `jaxlink.sampling.keys`."""

    impl: str
    with_ref: bool
    in_rule: bool = False
    seen: dict[int, Any] = field(default_factory=dict)
    positions = POSITIONS
    jitted = _JITTED

    @property
    def identity(self) -> Any:
        return self.impl, self.with_ref, self.in_rule

    def enter(self, feed: Any, n: Count) -> Streams:
        return streams(feed, n) if any(n) else Streams()

    def only(self, feeds: Streams) -> Any:
        return None if feeds.draws is None else feeds.draws[0]

    def steps(self, feed: Any, length: int) -> Any:
        return None if feed is None else fold_in_each(feed, length)

    def branch(self, feed: Any, b: int) -> Any:
        return None if feed is None else jax.random.fold_in(feed, b)

    def draw(
        self, site: Site, feeds: Streams, operands: Sequence[Any]
    ) -> tuple[list[Any], Reports]:
        _, words, parameters = site.split(operands)
        if site.key == "reuses":
            return site.draw(from_words(words[0], self.impl), parameters), []
        if site.key == "stream":
            return site.draw(words[0], parameters), []
        self.seen[site.uid] = site
        key = jax.random.fold_in(feeds.draws[0], 0)
        saved = [to_words(key, site.lanes)] if site.key == "saves" else []
        return [*site.draw(key, parameters), *saved], []

    def given(
        self, site: Site, feeds: Streams, operands: Sequence[Any]
    ) -> tuple[list[Any], Reports]:
        del feeds
        return split_given(site, operands)[1], []

    def roots(self, n: int, feeds: Streams) -> tuple[jax.Array, jax.Array]:
        return feeds.draws, first_of_each(feeds.draws)

    def process(
        self, eqn: Any, feeds: Any, operands: list[Any]
    ) -> tuple[list[Any], Reports]:
        done = super().process(eqn, feeds, operands)
        for jaxpr in jaxprs_in_params(eqn.params):
            self.seen.update(draws_with_own_key(jaxpr))
        return done

    def checkpoint(self, eqn: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        if eqn.params["differentiated"]:
            inside = draws_with_own_key(eqn.params[INNER[eqn.primitive.name]])
            again = [inside[uid] for uid in inside if uid in self.seen]
            if again:
                raise MisplacedDrawError(
                    f"a draw of `{again[0].sampler}`, at {again[0].where}, is in a "
                    "part of a jax.checkpoint that JAX runs again for the gradient, in "
                    "a way that does not keep its key (a while loop, or a function "
                    "with its own derivative that is not itself differentiated). "
                    "Differentiate the seeded function instead: "
                    "jax.grad(jaxlink.seed(fn), argnums=1)(key, ...)."
                )
        return super().checkpoint(eqn, call)

    def other(
        self, eqn: Any, feeds: Streams, operands: list[Any]
    ) -> tuple[list[Any], Reports]:
        name = eqn.primitive.name
        if name == "while":
            return while_loop(self, eqn, self.only(feeds), operands), []
        if name == "shard_map":
            return shard_map(self, eqn, self.only(feeds), operands), []
        if name == "custom_jvp_call":
            return custom_jvp(self, self._rules, eqn, feeds, operands), []
        if name == "custom_vjp_call":
            return custom_vjp(self, self._rules, eqn, feeds, operands), []
        raise self.unsupported(eqn)

    def _rules(self) -> "Seeding":
        return replace(self, seen={}, in_rule=True)


def seed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a function that draws without a key into a function of a key.

    Each draw gets its own key, by its position in the program. A position takes
    ``fold_in(fold_in(key, position), 0)``; a loop folds in its step, a branch its
    index, a lane of ``vmap`` its index. So the result is an ordinary JAX function: the
    same key gives the same draws, with and without ``jit``, and it works under ``vmap``
    over keys, ``grad``, ``scan``, ``shard_map`` and `jax.export`. Draws may be anywhere
    in ``fn``, also in loops, branches, jitted functions, and functions with derivatives
    of their own.

    ``fn`` is traced at each call, as by `jax.grad`, and arguments that are not arrays
    are passed as they are. ``jax.jit(seed(fn))`` traces and compiles it once.

    Arguments:
        fn: a JAX function that draws from samplers of `jaxlink.pjax`, or calls a
            function that was compiled with ``key=False``.

    Returns:
        A function ``(key, *args, **kwargs)`` that returns what ``fn`` does. The key is
        one typed key of any implementation (`jax.random.key`), or one raw key of 2
        (threefry2x32) or 4 (rbg) words.

    Raises:
        KeyArgumentError: the key is missing or is not a PRNG key.
        MisplacedDrawError: ``fn`` differentiates a loop that draws, or may draw, once
            for all steps, or a `jax.checkpoint` that would draw other numbers in the
            backward pass. Differentiate the seeded function instead.
        UnsupportedConstructError: a draw is inside a primitive that cannot be rebuilt.

    Example:
        >>> import jax, jaxlink
        >>> from jaxlink import pjax
        >>> def walk(n_steps):
        ...     def step(x, _):
        ...         x = pjax.normal(x, 1.0)
        ...         return x, x
        ...     return jax.lax.scan(step, 0.0, length=n_steps)[1]
        >>> steps = jaxlink.seed(lambda: walk(3))(jax.random.key(0))
        >>> steps.shape
        (3,)
    """

    # A function that was compiled with key=False has a twin that takes a key.
    if getattr(fn, "is_keyless", False):
        return fn.with_key()  # type: ignore[attr-defined]

    @wraps(fn)
    def seeded(key: Any, *args: Any, **kwargs: Any) -> Any:
        key = as_key(key)
        impl = str(jax.random.key_impl(key))
        jaxpr, with_ref, flat, tree = trace(fn, args, kwargs)
        with seeding():
            outs, _ = Seeding(impl, with_ref).in_scope(jaxpr, key, flat)
        return jax.tree.unflatten(tree, outs)

    return seeded


def trace(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, bool, list[Any], Any]:
    """Trace a function that draws. Arguments that are not arrays are passed as they
    are, as by `jax.grad`: a Python number may be the length of a loop.

    Returns: its jaxpr, whether draws got a Ref, the arrays in the arguments,
    and the structure of what it returns.
    """
    leaves, tree = jax.tree.flatten((args, kwargs))
    is_array = [isinstance(leaf, _ARRAYS) for leaf in leaves]
    flat = [leaf for leaf, traced in zip(leaves, is_array, strict=True) if traced]
    structures = []

    def flat_fn(*flat: Any) -> list[Any]:
        given = iter(flat)
        pairs = zip(leaves, is_array, strict=True)
        whole = [next(given) if traced else leaf for leaf, traced in pairs]
        args, kwargs = jax.tree.unflatten(tree, whole)
        out, structure = jax.tree.flatten(fn(*args, **kwargs))
        structures.append(structure)
        return out

    with_ref = True
    while True:
        try:
            with anchoring(with_ref):
                jaxpr = jax.make_jaxpr(flat_fn)(*flat)
                POSITIONS.of_program(jaxpr)  # traces the rules of custom derivatives
            refuse_moves(jaxpr)
            return jaxpr, with_ref, flat, structures[-1]
        except UnseededDrawError:
            raise
        except Exception as error:
            if is_unknown_primal(error):
                raise MisplacedDrawError(
                    f"JAX cannot differentiate this program: {error} It may be that a "
                    "jitted function that draws is called in a loop and elsewhere, and "
                    "JAX remembers from the loop that its draws must stay. Then "
                    "differentiate the seeded function instead: "
                    "jax.grad(jaxlink.seed(fn), argnums=1)(key, ...)."
                ) from error
            # JAX has no class of its own for a Ref where it takes none.
            if not with_ref or "Ref" not in str(error):
                raise
            with_ref = False

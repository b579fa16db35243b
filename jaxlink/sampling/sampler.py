"""A sampler, and what one lane of a program draws from it."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxlink.errors import ArgumentError

__all__ = ["DrawFunction", "Recipe"]

# Shapes do not depend on the implementation of the key.
KEY = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))


@dataclass(frozen=True, eq=False)
class DrawFunction:
    """A keyed function, ``fn(key, *parameters, **static) -> draw``, with a name.

    The parameters and the draw are pytrees of arrays. What was learnt by tracing the
    function is kept with it, so it lives no longer.

    Attributes:
        name: what a printed program and errors call it.
        fn: the function.
        logpdf: its log density, ``logpdf(draw, *parameters, **static)``, or None.
        origin: the PyTensor random variable that it draws, if it draws one.
    """

    name: str
    fn: Callable[..., Any]
    logpdf: Callable[..., Any] | None = None
    origin: Any = None
    traced: dict[Any, Any] = field(default_factory=dict, repr=False)

    def recipe(
        self, parameters: tuple[Any, ...], static: Mapping[str, Hashable]
    ) -> tuple["Recipe", list[jax.Array]]:
        """What to draw, and its parameters as operands."""
        leaves, tree = jax.tree.flatten(parameters)
        names = tuple(sorted(static.items()))
        try:
            hash(names)
        except TypeError:
            raise ArgumentError(
                f"the keyword arguments of the sampler `{self.name}` are static, so "
                f"they must be hashable, but they are {dict(static)}. Pass arrays as "
                "positional arguments, and shapes as tuples."
            ) from None
        return Recipe(self, tree, names), list(map(jnp.asarray, leaves))


@dataclass(frozen=True)
class Recipe:
    """What one lane draws: a function of a key and of parameters.

    Attributes:
        sampler: what it draws from.
        tree: the structure of the parameters.
        static: the keyword arguments.
        jvps: for each time that it was differentiated, with respect to which of the
            parameters. It then also returns residuals: what the linear function of the
            tangents needs.
    """

    sampler: DrawFunction
    tree: Any
    static: tuple[tuple[str, Hashable], ...]
    jvps: tuple[tuple[bool, ...], ...] = ()

    def __call__(self, key: jax.Array, *parameters: Any) -> tuple[Any, ...]:
        if not self.jvps:
            return tuple(map(jnp.asarray, jax.tree.leaves(self._draw(key, parameters))))
        # Traced as a whole: of a parameter that is known, JAX would keep no residuals.
        jaxpr = jax.make_jaxpr(self._with_residuals)(key, *parameters)
        outs = jax.core.eval_jaxpr(jaxpr, jaxpr.consts, key, *parameters)
        return tuple(outs)

    def _with_residuals(self, key: Any, *parameters: Any) -> list[Any]:
        outs, linear = self._linearize(key, parameters)
        return [*outs, *jax.tree.leaves(linear)]

    def _draw(self, key: jax.Array, parameters: Sequence[Any]) -> Any:
        args = jax.tree.unflatten(self.tree, parameters)
        return self.sampler.fn(key, *args, **dict(self.static))

    def differentiated(self, mask: Sequence[bool]) -> "Recipe":
        """With the residuals of its derivative by the parameters in ``mask``."""
        return replace(self, jvps=(*self.jvps, tuple(mask)))

    def _linearize(self, key: Any, parameters: Sequence[Any]) -> Any:
        before, mask = replace(self, jvps=self.jvps[:-1]), self.jvps[-1]

        def of(*active: Any) -> Any:
            given = iter(active)
            mixed = zip(parameters, mask, strict=True)
            return before(key, *(next(given) if m else x for x, m in mixed))

        active = [x for x, m in zip(parameters, mask, strict=True) if m]
        return jax.linearize(of, *active)

    def tangents(
        self, avals: Sequence[Any], residuals: Sequence[Any], tangents: Sequence[Any]
    ) -> list[Any]:
        """The tangents of the outputs before the last differentiation."""
        trees = []

        def trace(key: Any, *parameters: Any) -> list[Any]:
            linear = self._linearize(key, parameters)[1]
            trees.append(jax.tree.structure(linear))
            return jax.tree.leaves(linear)

        shapes = jax.eval_shape(trace, KEY, *avals)
        active = [x for x, m in zip(avals, self.jvps[-1], strict=True) if m]

        def linear(residuals: Any, *tangents: Any) -> Any:
            return jax.tree.unflatten(trees[0], residuals)(*tangents)

        # Traced from shapes, it takes residuals that only look like those of a trace.
        jaxpr = jax.make_jaxpr(linear)(shapes, *active)
        return jax.core.eval_jaxpr(jaxpr, jaxpr.consts, *residuals, *tangents)

    def shapes(self, avals: Sequence[Any]) -> tuple[Any, ...]:
        """The outputs' abstract values, given those of the parameters."""
        return self._traced(avals)[0]

    def structure(self, avals: Sequence[Any]) -> Any:
        """The pytree of a draw, without residuals."""
        return replace(self, jvps=())._traced(avals)[1]

    def _traced(self, avals: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        x64 = jax.config.jax_enable_x64
        asked = self, tuple(avals), x64
        known = self.sampler.traced
        if asked not in known:
            tree = None
            if not self.jvps:
                drawn = jax.eval_shape(lambda key, *p: self._draw(key, p), KEY, *avals)
                tree = jax.tree.structure(drawn)
            jaxpr = jax.make_jaxpr(lambda key, *p: list(self(key, *p)))(KEY, *avals)
            self._refuse_closure(jaxpr.consts)
            known[asked] = tuple(jaxpr.out_avals), tree
        return known[asked]

    def _refuse_closure(self, consts: Sequence[Any]) -> None:
        if any(isinstance(const, jax.core.Tracer) for const in consts):
            raise ArgumentError(
                f"the sampler `{self.sampler.name}` uses a traced value of the code "
                "around it. Pass the value as a parameter of the sampler."
            )

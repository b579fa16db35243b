"""A sample site: a draw of a program, in as many lanes as ``vmap`` gave it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.sampling.keys import fold_in_each, own_in_each
from jaxlink.sampling.sampler import Recipe

__all__ = ["Site"]

LaneKeys = Literal["common", "own", "shared"]


@dataclass(frozen=True)
class Site:
    """A draw of a program.

    Attributes:
        recipe: what one lane draws.
        name: the user's name for the draw, or None.
        where: the user's line.
        uid: the call's number. Copies that JAX makes of the draw have the same.
        lanes: how many lanes ``vmap`` gave it, outermost first.
        keys: for each of these, how its lanes get their keys. "common": from one key,
            by their index. "own": each from a key of its own, by its index; the key has
            the axis. "shared": all have the one key, because the draw is made again,
            and was made once.
        mapped: for each parameter, which of the lanes' axes it has, in front.
        anchored: whether the first operand is not a parameter, but the Ref of
            `jaxlink.sampling.in_loops`, or stands in for it.
        key: where the key comes from: "fresh" (`seed` gives it), "stream" (it is an
            operand), or "reuses" (its words are an operand). With "saves" it is fresh,
            and its words are also an output.
    """

    recipe: Recipe
    name: str | None
    where: str
    uid: int
    mapped: tuple[tuple[bool, ...], ...]
    lanes: tuple[int, ...] = ()
    keys: tuple[LaneKeys, ...] = ()
    anchored: bool = False
    key: Literal["fresh", "saves", "reuses", "stream"] = "fresh"

    def __repr__(self) -> str:
        named = "" if self.name is None else f" {self.name}"
        lanes = f" lanes={self.lanes}" if self.lanes else ""
        how = "" if self.key in ("fresh", "stream") else f" {self.key} its key"
        return self.sampler + "'" * len(self.recipe.jvps) + named + lanes + how

    @property
    def sampler(self) -> str:
        return self.recipe.sampler.name

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """The Ref, the key or its words, and the parameters, among the operands."""
        i = int(self.anchored)
        j = i + int(self.key in ("reuses", "stream"))
        return list(operands[:i]), list(operands[i:j]), list(operands[j:])

    def with_lane(
        self, size: int, mapped: Sequence[bool], keys: LaneKeys = "common"
    ) -> "Site":
        """With a new outermost axis of lanes; ``mapped``: which parameters have it."""
        pairs = zip(mapped, self.mapped, strict=True)
        masks = tuple((new, *old) for new, old in pairs)
        return replace(
            self,
            lanes=(size, *self.lanes),
            keys=(keys, *self.keys),
            mapped=masks,
        )

    def of_lane(self, parameters: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
        """What a lane sees of each parameter."""
        return [
            jax.ShapeDtypeStruct(
                np.shape(x)[sum(axes) :], x.dtype, weak_type=_weak_type(x)
            )
            for x, axes in zip(parameters, self.mapped, strict=True)
        ]

    def over_lanes(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn(things of a lane, *parameters)``, mapped over all lanes."""
        for level in reversed(range(len(self.lanes))):
            axes = (0, *(0 if mask[level] else None for mask in self.mapped))
            fn = jax.vmap(fn, in_axes=axes, axis_size=self.lanes[level])
        return fn

    def draw(self, key: jax.Array, parameters: Sequence[Any]) -> list[Any]:
        """Draw from a key. Lane i folds in i, the outermost lane first."""

        def of_lanes(key: Any, level: int) -> Any:
            if level == len(self.lanes):
                return key
            n, how = self.lanes[level], self.keys[level]
            if how == "own":
                each = own_in_each(key)
            elif how == "common":
                each = fold_in_each(key, n)
            else:
                each = jnp.broadcast_to(key, (n, *key.shape))
            return jax.vmap(lambda key: of_lanes(key, level + 1))(each)

        return list(self.over_lanes(self.recipe)(of_lanes(key, 0), *parameters))

    def jitted_draw(self, key: jax.Array, parameters: Sequence[Any]) -> list[Any]:
        """`draw`, compiled once for all sites that draw the same."""
        # Made eagerly, all lanes of a draw have one key.
        common: tuple[LaneKeys, ...] = tuple("common" for _ in self.lanes)
        keys = self.keys if self.key == "reuses" else common
        alike = replace(self, where="", uid=0, name=None, key="fresh", keys=keys)
        known = self.recipe.sampler.traced
        if alike not in known:
            known[alike] = jax.jit(lambda key, *p: alike.draw(key, p))
        return known[alike](key, *parameters)


def _weak_type(x: Any) -> bool:
    return bool(getattr(getattr(x, "aval", x), "weak_type", False))

"""`Support`: where a cotangent may be nonzero."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

__all__ = ["EVERYWHERE", "Support", "both", "either"]


class Support:
    """A bool array that broadcasts against a cotangent. The cotangent is exactly zero
    where it is false. The array is built only if a mask uses it.

    A scalar support fits arrays of any rank.

    Arguments:
        build: computes the array.
        broadcastable: which of its dimensions have length 1.
    """

    def __init__(self, build: Callable[[], Variable], broadcastable: Sequence[bool]):
        self._build = build
        self.broadcastable = tuple(broadcastable)
        self._array: Variable | None = None

    @classmethod
    def of(cls, condition: Variable) -> "Support":
        flags = condition.type.broadcastable
        if flags and all(flags):
            return cls(lambda: _truth(condition).reshape(()), ())
        return cls(lambda: _truth(condition), flags)

    @property
    def is_built(self) -> bool:
        return self._array is not None

    @property
    def is_scalar(self) -> bool:
        return not self.broadcastable

    def array(self, ndim: int) -> Variable:
        """The array, expanded to ``ndim`` dimensions if it is a scalar."""
        if self._array is None:
            self._array = self._build()
        array = self._array
        if self.is_scalar and ndim:
            return array.dimshuffle(["x"] * ndim)
        return array

    def any(self, axes: Iterable[int] | None = None) -> "Support":
        """The support reduced by ``any`` over ``axes``, by default to a scalar."""
        if self.is_scalar:
            return self
        ndim = len(self.broadcastable)
        if axes is None:
            return Support(lambda: pt.any(self.array(ndim)), ())
        axes = [i for i in axes if not self.broadcastable[i]]
        if not axes:
            return self
        flags = [flag or i in axes for i, flag in enumerate(self.broadcastable)]
        if all(flags):
            return self.any()
        return self.map(lambda mask: pt.any(mask, axis=axes, keepdims=True), flags)

    def __invert__(self) -> "Support":
        return self.map(pt.invert, self.broadcastable)

    def map(
        self, fn: Callable[[Variable], Variable], broadcastable: Sequence[bool]
    ) -> "Support":
        """The support with the array ``fn(array)``."""
        ndim = len(self.broadcastable)
        return Support(lambda: fn(self.array(ndim)), broadcastable)


# The support of a cotangent that may be nonzero everywhere.
EVERYWHERE = None


def both(*supports: Support | None) -> Support | None:
    """The intersection of ``supports``."""
    given = [s for s in supports if s is not None]
    return reduce(partial(_combined, pt.and_), given) if given else EVERYWHERE


def either(supports: Sequence[Support | None]) -> Support | None:
    """The union of ``supports``."""
    if None in supports:
        return EVERYWHERE
    given = [s for s in dict.fromkeys(supports) if s is not None]
    return reduce(partial(_combined, pt.or_), given)


def _combined(fn: Callable[..., Variable], a: Support, b: Support) -> Support:
    if a is b:
        return a
    flags = a.broadcastable or b.broadcastable
    if not (a.is_scalar or b.is_scalar):
        pairs = zip(a.broadcastable, b.broadcastable, strict=True)
        flags = tuple(x and y for x, y in pairs)
    ndim = len(flags)
    return Support(lambda: fn(a.array(ndim), b.array(ndim)), flags)


def _truth(condition: Variable) -> Variable:
    return condition if condition.type.dtype == "bool" else pt.neq(condition, 0)

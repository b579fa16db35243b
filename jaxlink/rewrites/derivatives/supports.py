"""`Support`: where a cotangent may be other than zero."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

__all__ = ["EVERYWHERE", "Support", "both", "either"]


class Support:
    """A boolean array that broadcasts against a cotangent, which is exactly zero where
    it is false. It is built only if something is masked by it.

    A support without dimensions is for arrays of any number of dimensions.

    Arguments:
        build: computes the array.
        broadcastable: which of its dimensions are 1.
    """

    def __init__(self, build: Callable[[], Variable], broadcastable: Sequence[bool]):
        self._build = build
        self.broadcastable = tuple(broadcastable)
        self._array: Variable | None = None

    @classmethod
    def of(cls, condition: Variable) -> "Support":
        flags = condition.type.broadcastable
        if not flags:
            return cls(lambda: _truth(condition), ())
        if all(flags):
            return cls(lambda: _truth(condition).reshape(()), ())
        return cls(lambda: _truth(condition), flags)

    @property
    def is_built(self) -> bool:
        return self._array is not None

    @property
    def is_scalar(self) -> bool:
        return not self.broadcastable

    def array(self, ndim: int) -> Variable:
        """The array, with ``ndim`` dimensions."""
        if self._array is None:
            self._array = self._build()
        array = self._array
        if self.is_scalar and ndim:
            return array.dimshuffle(["x"] * ndim)
        return array

    def any(self, axes: Iterable[int] | None = None) -> "Support":
        """Where it holds anywhere along ``axes``; without them, anywhere at all."""
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
        """The support of another array, by what is done to this one."""
        ndim = len(self.broadcastable)
        return Support(lambda: fn(self.array(ndim)), broadcastable)


# The support of a cotangent that may be other than zero everywhere.
EVERYWHERE = None


def both(*supports: Support | None) -> Support | None:
    """Where all hold."""
    given = [s for s in supports if s is not None]
    return reduce(partial(_combined, pt.and_), given) if given else EVERYWHERE


def either(supports: Sequence[Support | None]) -> Support | None:
    """Where any holds."""
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

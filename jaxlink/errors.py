"""Every exception of jaxlink. Each message says what failed, where, and what to do."""

from collections.abc import Sequence

__all__ = [
    "ArgumentError",
    "CompileError",
    "DynamicShapeError",
    "JaxlinkError",
    "KeyArgumentError",
    "MissingInputError",
    "OutOfBoundsError",
    "PrecisionError",
    "PrecisionWarning",
    "RuleError",
    "StaticArgumentError",
    "UnsupportedOpError",
]


class JaxlinkError(Exception):
    """Base class of all errors that jaxlink raises on purpose."""


class CompileError(JaxlinkError):
    """The graph cannot become a JAX function; ``obstacles`` lists every reason."""

    obstacles: tuple["CompileError", ...]

    def __init__(self, message: str, obstacles: Sequence["CompileError"] = ()):
        super().__init__(message)
        self.obstacles = tuple(obstacles) or (self,)


class MissingInputError(CompileError, ValueError):
    """The outputs depend on variables that are not among the inputs."""


class UnsupportedOpError(CompileError, NotImplementedError):
    """An Op has no rule, or its rule does not cover the way in which it is used."""


class DynamicShapeError(CompileError, TypeError):
    """A shape (or another value that JAX needs before the call) is not known then."""


class OutOfBoundsError(CompileError, IndexError):
    """An index that is known lies outside of the array that it indexes."""


class _MixedError(UnsupportedOpError, DynamicShapeError):
    """Obstacles of both kinds, so that ``except`` on either kind catches it."""


class RuleError(JaxlinkError, ValueError):
    """A rule is registered twice, or returns what its Op does not promise."""


class ArgumentError(JaxlinkError, TypeError):
    """A compiled function was called with arguments that do not fit its inputs."""


class BranchShapeError(ArgumentError):
    """The branches of an ``ifelse`` turned out to have different shapes."""


class KeyArgumentError(ArgumentError):
    """The PRNG key is missing, or something else stands in its place."""


class StaticArgumentError(ArgumentError):
    """An argument that fixes a shape was traced, so its value is not known."""


class PrecisionError(JaxlinkError, OverflowError):
    """A 64-bit value cannot be represented while ``jax_enable_x64`` is off."""


class PrecisionWarning(UserWarning):
    """64-bit types of the graph become 32-bit because ``jax_enable_x64`` is off."""


def raise_all(obstacles: Sequence[CompileError]) -> None:
    """Raise one error for all ``obstacles``; return if there are none."""
    if not obstacles:
        return
    if len(obstacles) == 1:
        raise obstacles[0]
    kinds = {type(obstacle) for obstacle in obstacles}
    kind = kinds.pop() if len(kinds) == 1 else _MixedError
    lines = "\n".join(f"{i}. {o}" for i, o in enumerate(obstacles, start=1))
    raise kind(
        f"{len(obstacles)} things keep this graph from becoming a JAX function:\n"
        f"{lines}",
        obstacles,
    )

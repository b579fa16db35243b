"""Every jaxlink exception. Each message says what failed, where, and what to do."""

from collections.abc import Sequence

__all__ = [
    "AesaraError",
    "ArgumentError",
    "ChainError",
    "CompileError",
    "DynamicShapeError",
    "ExportError",
    "JaxlinkError",
    "KeyArgumentError",
    "MisplacedDrawError",
    "MissingInputError",
    "OutOfBoundsError",
    "PrecisionError",
    "PrecisionWarning",
    "RuleError",
    "StaticArgumentError",
    "UnseededDrawError",
    "UnsupportedConstructError",
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
    """The outputs depend on variables that are not inputs."""


class UnsupportedOpError(CompileError, NotImplementedError):
    """An Op has no rule, or its rule does not cover this use of it."""


class DynamicShapeError(CompileError, TypeError):
    """A shape, or another value that JAX needs before the call, is unknown then."""


class OutOfBoundsError(CompileError, IndexError):
    """An index known at compile time is out of bounds."""


class _MixedError(UnsupportedOpError, DynamicShapeError):
    """Obstacles of both kinds; ``except`` on either kind catches it."""


class RuleError(JaxlinkError, ValueError):
    """A rule is registered twice, or its results do not match its Op's outputs."""


class ArgumentError(JaxlinkError, TypeError):
    """A compiled function got arguments that do not fit its inputs."""


class BranchShapeError(ArgumentError):
    """The branches of an ``ifelse`` have different shapes."""


class KeyArgumentError(ArgumentError):
    """The PRNG key is missing, or another value is in its place."""


class ChainError(JaxlinkError, RuntimeError):
    """Some chains failed, and the others finished.

    Attributes:
        chains: the numbers of the chains that failed.
        kept: the chains that finished. ``run_chains(..., kept=error.kept)`` computes
            only those that failed.
    """

    def __init__(self, message: str, chains: list[int], kept: object):
        super().__init__(message)
        self.chains, self.kept = chains, kept

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.chains, self.kept)


class ExportError(JaxlinkError, ValueError):
    """A function cannot be exported, or bytes are not an exported function."""


class AesaraError(JaxlinkError, ValueError):
    """A file is not an Aesara graph, or its graph cannot be rebuilt in PyTensor.

    Attributes:
        unsupported: the Ops that have no conversion, if that is why.
    """

    def __init__(self, message: str, unsupported: Sequence[str] = ()):
        super().__init__(message)
        self.unsupported = tuple(unsupported)


class UnseededDrawError(JaxlinkError, TypeError):
    """A draw has no key, where a key would be baked into a compiled program."""


class MisplacedDrawError(UnseededDrawError):
    """For a gradient, JAX moves a draw out of its loop, or may, or makes it again."""


class UnsupportedConstructError(JaxlinkError, NotImplementedError):
    """A draw is in a place where it cannot be given a key, or a value."""


class StaticArgumentError(ArgumentError):
    """An argument that fixes a shape was traced, so its value is unknown."""


class PrecisionError(JaxlinkError, OverflowError):
    """A value needs 64 bits, but ``jax_enable_x64`` is off."""


class PrecisionWarning(UserWarning):
    """64-bit variables become 32-bit because ``jax_enable_x64`` is off."""


def raise_all(obstacles: Sequence[CompileError]) -> None:
    """Raise one error that lists all ``obstacles``, if there are any."""
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

"""The table of samplers: how JAX draws a RandomVariable.

A row is a function ``(key, shape, dtype, *parameters) -> draw``. It is given one key,
the batch shape to which all parameters broadcast, the dtype of the output (after JAX's
``jax_enable_x64``) and the parameters. What it returns is cast to ``dtype``. Streams
and sizes are not its business: `jaxlink.dispatch.random.rule` sees to them.

The rows are in `jaxlink.dispatch.random.table` and `jaxlink.dispatch.pymc.table`; the
algorithms are in `jaxlink.numerics.random`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.registry import load_optional_rules
from jaxlink.errors import RuleError
from jaxlink.values.types import nearest

__all__ = [
    "IMPROPER",
    "Row",
    "find_row",
    "no_derivative",
    "reason_against",
    "refuse_draws",
    "register",
    "register_symbolic",
    "row_of",
    "sampler",
    "symbolic_sampler",
]

F = TypeVar("F", bound=Callable[..., Any])
RVType = type[RandomVariable] | str


@dataclass(frozen=True)
class Row:
    """A sampler, with what the rule has to know beside it."""

    draw: Callable[..., Any]
    static: tuple[int, ...] | Callable[[Any], tuple[int, ...]] = ()
    cast: bool = True
    reads_op: bool = False
    differentiable: bool = True
    how: str = ""

    def static_parameters(self, op: RandomVariable) -> tuple[int, ...]:
        return self.static(op) if callable(self.static) else self.static


IMPROPER = "it is improper, so it has no draws; give it a proper prior"

_ROWS: dict[RVType, Row] = {}
_WITHOUT_SAMPLER: dict[type, str] = {}
_SYMBOLIC: dict[tuple[type, bool], Callable[..., Any]] = {}


def register(rows: Mapping[type[RandomVariable], Row]) -> None:
    """Add the rows of a table."""
    for rv_type, row in rows.items():
        _ROWS[rv_type] = row


def register_symbolic(
    samplers: Mapping[type, Callable[..., Any]], *, truncated: bool
) -> None:
    """Add the samplers of symbolic distributions, or of what these truncate."""
    for base, draw in samplers.items():
        _SYMBOLIC[base, truncated] = draw


def symbolic_sampler(base: type, truncated: bool) -> Callable[..., Any]:
    """The sampler of a `jaxlink.ops.distributions.SymbolicDraw`."""
    load_optional_rules(base)
    return _SYMBOLIC[base, truncated]


def refuse_draws(reasons: Mapping[type[RandomVariable], str]) -> None:
    """Say of classes that cannot have a sampler why not."""
    _WITHOUT_SAMPLER.update(reasons)


def reason_against(op: RandomVariable) -> str | None:
    """Why ``op`` cannot have a sampler."""
    load_optional_rules(type(op))
    return _WITHOUT_SAMPLER.get(nearest(type(op), _WITHOUT_SAMPLER))


def sampler(
    *rv_types: RVType,
    static: tuple[int, ...] | Callable[[Any], tuple[int, ...]] = (),
    cast: bool = True,
    reads_op: bool = False,
    differentiable: bool = True,
    how: str = "",
) -> Callable[[F], F]:
    """Register the decorated function as the sampler of ``rv_types``.

    Arguments:
        rv_types: RandomVariable classes; subclasses inherit the sampler. A class of a
            package that need not be installed is given by its dotted name.
        static: indices of the parameters that fix the draw's shape and so must be known
            before the call, or a function of the Op that returns them.
        cast: parameters that are not static are cast to a floating dtype: that of the
            draw, or for draws that are not floating the widest (float64, or float32
            while x64 is off). Otherwise they come as they are.
        reads_op: the decorated function takes the Op and returns the sampler.
        differentiable: JAX's derivative of a floating draw with respect to the
            parameters is that of the distribution (a reparameterised one). If not, as
            for a plain rejection sampler, who differentiates a draw gets an error.
            Draws that are not floating have a zero derivative anyway.
        how: how it draws, in a few words, for docs/distributions.md.

    Raises:
        RuleError: one of the classes has a sampler already.

    Example:
        >>> import jax
        >>> import jaxlink
        >>> from pytensor.tensor.random.op import RandomVariable
        >>> class SquaredNormalRV(RandomVariable):
        ...     name = "squared_normal"
        ...     signature = "()->()"
        ...     dtype = "floatX"
        >>> @jaxlink.sampler(SquaredNormalRV)
        ... def squared_normal(key, shape, dtype, scale):
        ...     return (scale * jax.random.normal(key, shape, dtype)) ** 2
    """
    for rv_type in rv_types:
        if not isinstance(rv_type, str) and not (
            isinstance(rv_type, type) and issubclass(rv_type, RandomVariable)
        ):
            raise RuleError(
                f"sampler() takes RandomVariable classes or their names, not {rv_type}."
            )
    if not rv_types:
        raise RuleError("sampler() takes classes: write @sampler(MyRV).")

    def register(draw: F) -> F:
        for rv_type in rv_types:
            taken = _own_row(rv_type)
            if taken is not None:
                raise RuleError(
                    f"{_dotted(rv_type)} has a sampler already: "
                    f"{taken.draw.__module__}.{taken.draw.__qualname__}. Derive a "
                    "class of your own from the RandomVariable and register that."
                )
            _ROWS[rv_type] = Row(draw, static, cast, reads_op, differentiable, how)
        return draw

    return register


def no_derivative(name: str, of: str = "its parameters") -> str:
    """What to say to who differentiates a draw with respect to ``of``."""
    return (
        f"a draw of the distribution `{name}` has no derivative with respect to {of}: "
        "its sampler is not a reparameterisation. Stop the gradient "
        "(pytensor.gradient.disconnected_grad), or differentiate the log density "
        "instead (a score-function estimator)."
    )


def find_row(op: RandomVariable) -> Row | None:
    """The row of ``op``."""
    return row_of(type(op))


def row_of(rv_type: type) -> Row | None:
    """The row of the nearest class of ``rv_type``."""
    load_optional_rules(rv_type)
    rows = map(_own_row, rv_type.__mro__)
    return next((row for row in rows if row is not None), None)


def _own_row(rv_type: Any) -> Row | None:
    return _ROWS.get(rv_type) or _ROWS.get(_dotted(rv_type))


def _dotted(rv_type: Any) -> str:
    if isinstance(rv_type, str):
        return rv_type
    return f"{rv_type.__module__}.{rv_type.__qualname__}"

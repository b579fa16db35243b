"""The registry of samplers, which say how JAX draws each RandomVariable.

A sampler is a function ``(key, shape, dtype, *parameters) -> draw``. It receives one
key, the batch shape to which all parameters broadcast, the dtype of the output (after
JAX's ``jax_enable_x64``) and the parameters. Its result is cast to ``dtype``. It never
sees streams or sizes: `jaxlink.dispatch.random.rule` handles them.

The rows are in `jaxlink.dispatch.random.table` and `jaxlink.dispatch.pymc.table`. The
algorithms are in `jaxlink.numerics.random`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.registry import Function, load_optional_rules
from jaxlink.errors import RuleError
from jaxlink.values.types import dotted, nearest

F = TypeVar("F", bound=Function)
RVType = type[RandomVariable] | str


@dataclass(frozen=True)
class Row:
    """A sampler, and what the rule needs to know about it. See `sampler`."""

    draw: Function
    how: str = ""
    static: tuple[int, ...] | Callable[[Any], tuple[int, ...]] = ()
    cast: bool = True
    reads_op: bool = False
    differentiable: bool = True
    symbols: bool = False

    def static_parameters(self, op: RandomVariable) -> tuple[int, ...]:
        return self.static(op) if callable(self.static) else self.static


IMPROPER = "it is improper, so it cannot be sampled from; give it a proper prior"

_ROWS: dict[RVType, Row] = {}
_WITHOUT_SAMPLER: dict[type, str] = {}
_SYMBOLIC: dict[tuple[type, bool], Function] = {}


def register(rows: Mapping[type[RandomVariable], Row]) -> None:
    """Add the rows of a table."""
    for rv_type, row in rows.items():
        _refuse_second(rv_type)
        _ROWS[rv_type] = row


def register_symbolic(samplers: Mapping[type, Function], *, truncated: bool) -> None:
    """Add the samplers of symbolic distributions, or of what these truncate."""
    for base, draw in samplers.items():
        _SYMBOLIC[base, truncated] = draw


def symbolic_sampler(base: type, truncated: bool) -> Function:
    """The sampler of a `jaxlink.ops.distributions.SymbolicDraw`."""
    load_optional_rules(base)
    return _SYMBOLIC[base, truncated]


def refuse_draws(reasons: Mapping[type[RandomVariable], str]) -> None:
    """Give the reason why each of these classes cannot have a sampler."""
    _WITHOUT_SAMPLER.update(reasons)


def reason_against(op: RandomVariable) -> str | None:
    """Why ``op`` cannot have a sampler, or None."""
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
    """Register the decorated function as the sampler for ``rv_types``.

    A sampler is called as ``draw(key, shape, dtype, *parameters)``. ``key`` is a single
    JAX key. ``shape`` is the batch shape, to which all parameters broadcast. The result
    is cast to ``dtype``.

    Arguments:
        rv_types: RandomVariable classes. Subclasses inherit the sampler. Give a class
            of an optional package by its dotted name.
        static: indices of the parameters that are required before the call, because
            the draw's shape depends on them, or a function of the Op that returns them.
        cast: if True, parameters that are not static are cast to a float dtype: the
            draw's dtype if that is a float, or else the widest (float64, or float32
            while x64 is off). If False, the sampler gets them unchanged.
        reads_op: if True, the decorated function takes the Op and returns the sampler.
        differentiable: True if JAX's derivative of a float draw with respect to the
            parameters is that of the distribution (a reparameterisation). If False, as
            for a plain rejection sampler, differentiating a draw raises an error.
            Integer and boolean draws always have a zero derivative.
        how: how the sampler works, in a few words, for docs/distributions.md.

    Returns:
        The decorator, which returns the function unchanged.

    Raises:
        RuleError: if ``rv_types`` is empty or contains something other than a
            RandomVariable class or a name, or if one of the classes already has a
            sampler.

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
        is_class = isinstance(rv_type, type) and issubclass(rv_type, RandomVariable)
        if not (is_class or isinstance(rv_type, str)):
            raise RuleError(
                f"sampler() takes RandomVariable classes or their names, not {rv_type}."
            )
    if not rv_types:
        raise RuleError("sampler() takes classes: write @sampler(MyRV).")

    def register(draw: F) -> F:
        for rv_type in rv_types:
            if not isinstance(rv_type, str):
                load_optional_rules(rv_type)  # our own row, if there is one
            _refuse_second(rv_type)
            _ROWS[rv_type] = Row(draw, how, static, cast, reads_op, differentiable)
        return draw

    return register


def _refuse_second(rv_type: RVType) -> None:
    """Raise if a class has a row already, by itself or by its dotted name."""
    taken = _own_row(rv_type)
    if taken is not None:
        raise RuleError(
            f"{_name(rv_type)} already has a sampler, {dotted(taken.draw)}. Subclass "
            "the RandomVariable and register a sampler for the subclass."
        )


def no_derivative(name: str, of: str = "its parameters") -> str:
    """The error message for differentiating a draw with respect to ``of``."""
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
    """The row of ``rv_type`` or its nearest base class."""
    load_optional_rules(rv_type)
    rows = map(_own_row, rv_type.__mro__)
    return next((row for row in rows if row is not None), None)


def _own_row(rv_type: Any) -> Row | None:
    if isinstance(rv_type, str):
        return {_name(known): row for known, row in _ROWS.items()}.get(rv_type)
    return _ROWS.get(rv_type) or _ROWS.get(dotted(rv_type))


def _name(rv_type: RVType) -> str:
    return rv_type if isinstance(rv_type, str) else dotted(rv_type)

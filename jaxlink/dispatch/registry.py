"""The registry of rules, which say what each Op means in JAX.

A rule has two stages. Stage one reads the Op and its node once, while linking, and
returns stage two: a function from the operands' values to the outputs' values.

Stage two receives, for each operand:

* if the operand is *static* (declared with ``static=``): the value that PyTensor itself
  would use, a NumPy array or scalar, ``None`` or a slice. Linking fails if the value is
  not known.
* if it is a random generator: a `jaxlink.values.streams.Stream`.
* otherwise: a JAX array, or a NumPy array of the dtype that JAX would use.

It returns one value, or a tuple if the Op has several outputs. Each value must have
exactly the dtype of the node's output variable (after JAX's ``jax_enable_x64``); the
linker checks this.
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op

from jaxlink.errors import RuleError
from jaxlink.values.static import canonical
from jaxlink.values.types import dotted, nearest

# Stage two of a rule, or any other function of values.
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
StaticOperands = tuple[int, ...] | Callable[[Any, Any], Iterable[int]]


@dataclass(frozen=True)
class Rule:
    """Stage one of a rule, and what the linker needs to know about it."""

    build: Callable[..., Any]
    static: StaticOperands = ()
    known: bool | tuple[int, ...] = False
    lazy: bool = False
    inner: bool = False
    symbols: bool = False

    def known_outputs(self, node: Apply) -> set[Variable]:
        if isinstance(self.known, bool):
            return set(node.outputs) if self.known else set()
        return {node.outputs[i] for i in self.known}

    def static_operands(self, op: Op, node: Apply) -> tuple[int, ...]:
        if callable(self.static):
            return tuple(self.static(op, node))
        return tuple(i for i in self.static if i < len(node.inputs))


@dataclass(frozen=True)
class Linked:
    """Stage two, with the static operands that stage one found in an inner graph.

    Arguments:
        run: stage two.
        static: indices of the operands that are required to be static.
        preferred: indices of the operands that are made static when possible, never
            required.
    """

    run: Function
    static: tuple[int, ...] = ()
    preferred: tuple[int, ...] = ()


_RULES: dict[type[Op], Rule] = {}

# Importing these packages adds to PyTensor's registries. So the module of their rules
# is imported only when a graph contains one of their classes.
OPTIONAL = {
    "pymc": "jaxlink.dispatch.pymc",
    "pytensor.sparse": "jaxlink.dispatch.sparse",
    "pytensor.typed_list": "jaxlink.dispatch.typed_list",
}


def rule(
    *op_types: type[Op],
    static: StaticOperands = (),
    known: bool | tuple[int, ...] = False,
    lazy: bool = False,
    inner: bool = False,
    symbols: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as the rule for ``op_types`` and subclasses.

    The function is called once per node, while linking, as ``build(op, node)``. It
    returns a function from the operands' values to the outputs' values.

    Arguments:
        op_types: PyTensor Op classes.
        static: indices of the operands whose values are required before the call, or a
            function of ``(op, node)`` that returns them.
        known: True if all outputs are known before the call, because they depend only
            on the operands' shapes (as ``Shape`` does), or the indices of the outputs
            that are.
        lazy: if True, JAX computes the Op even when all operands are known, unless its
            value is required before the call. For Ops that build large arrays.
        inner: True if the Op holds an inner graph. The decorated function then takes a
            third argument, ``link``, which turns an inner graph into a function of
            values, and may return a `Linked`. The function it returns is always called,
            even if all operands are known. Known operands arrive as NumPy values, and
            those it returns unchanged stay known.
        symbols: True if the function takes the symbolic sizes of ``jax.export`` as they
            are, in object arrays. Otherwise they arrive as JAX arrays of integers.

    Returns:
        The decorator, which returns the function unchanged.

    Raises:
        RuleError: if ``op_types`` is empty or contains something other than a class, or
            if one of the classes already has a rule.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxlink
        >>> from pytensor.graph.op import Op
        >>> class Softclip(Op):
        ...     pass
        >>> @jaxlink.rule(Softclip)
        ... def softclip(op, node):
        ...     return lambda x: jnp.tanh(x)
    """
    if not op_types or not all(isinstance(t, type) for t in op_types):
        raise RuleError("rule() takes Op classes: write @jaxlink.rule(MyOp).")

    def register(build: F) -> F:
        for op_type in op_types:
            if op_type in _RULES:
                raise RuleError(
                    f"{dotted(op_type)} already has a rule, "
                    f"{dotted(_RULES[op_type].build)}. Subclass the Op and register a "
                    "rule for the subclass."
                )
            _RULES[op_type] = Rule(build, static, known, lazy, inner, symbols)
        return build

    return register


def find_rule(op: Op) -> Rule | None:
    """The rule of ``op``'s nearest class, or else a third party's conversion."""
    own = rule_of(type(op))
    convert = None if own is not None else foreign_conversion(op)
    return own if convert is None else Rule(convert)


def rule_of(op_type: type[Op]) -> Rule | None:
    """The rule registered for a class of Ops or its nearest base class."""
    load_optional_rules(op_type)
    return _RULES.get(nearest(op_type, _RULES))


def load_optional_rules(op_type: type) -> None:
    """Import the rules of the optional packages that define a class or its bases."""
    for base in op_type.__mro__:
        names = base.__module__.split(".")
        for package in (names[0], ".".join(names[:2])):
            if package in OPTIONAL:
                importlib.import_module(OPTIONAL[package])


def foreign_conversion(op: Op) -> Callable[[Op, Apply], Any] | None:
    """A conversion for ``op`` that a third party registered with ``jax_funcify``.

    Registering a conversion imports PyTensor's module. So if that module is not loaded,
    there is no conversion, and we avoid importing it: it sets ``jax_enable_x64``.
    PyTensor's own conversions are not used.
    """
    module = sys.modules.get("pytensor.link.jax.dispatch.basic")
    if module is None:
        return None
    convert = module.jax_funcify.dispatch(type(op))
    if convert.__module__.split(".")[0] == "pytensor":
        return None

    def build(op: Op, node: Apply) -> Function:
        with _jax_config_kept():
            run = convert(op, node=node)

        def cast_outputs(*operands: Any) -> Any:
            values = run(*operands)
            several = isinstance(values, tuple | list)
            pairs = zip(values if several else [values], node.outputs, strict=True)
            cast = tuple(_cast(value, out.type) for value, out in pairs)
            return cast if several else cast[0]

        return cast_outputs

    return build


def _cast(value: Any, type_: Any) -> Any:
    dtype = getattr(type_, "dtype", None)
    return value if dtype is None else jax.numpy.asarray(value, canonical(dtype))


@contextmanager
def _jax_config_kept() -> Iterator[None]:
    """Restore ``jax_enable_x64`` if a conversion, or a module it imports, sets it."""
    x64 = jax.config.jax_enable_x64
    try:
        yield
    finally:
        if jax.config.jax_enable_x64 != x64:
            jax.config.update("jax_enable_x64", x64)

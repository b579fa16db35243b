"""Program: the code of a compiled graph, as ``jax.jit`` has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph

from jaxlink.call.serialize import pack, unpack
from jaxlink.call.signature import Data, Signature
from jaxlink.errors import PrecisionError
from jaxlink.link.linker import GraphFunction, link
from jaxlink.values.runtime_checks import Checks, making
from jaxlink.values.static import StaticValue, to_dynamic
from jaxlink.values.streams import Stream
from jaxlink.values.types import describe, dtype_of

__all__ = ["Outputs", "Program"]


@dataclass(frozen=True)
class Outputs:
    """The form in which the outputs come back, with their names (keys of a dict)."""

    form: Literal["one", "tuple", "dict"]
    labels: tuple[str, ...]

    def pack(self, values: Sequence[Any]) -> Any:
        if self.form == "one":
            return values[0]
        if self.form == "dict":
            return dict(zip(self.labels, values, strict=True))
        return tuple(values)


@dataclass(frozen=True, eq=False)
class Program:
    """The code of a compiled graph.

    The graph's inputs are the arguments, in the order of ``signature``, then the
    captured data, in the order of ``data``. ``static_data`` holds the values of the
    captured data on which shapes depend; other values make another program.
    """

    signature: Signature
    fgraph: FunctionGraph
    outputs: Outputs
    data: tuple[Data, ...]
    static_data: tuple[StaticValue, ...]
    x64: bool
    host_callback: bool
    graph_function: GraphFunction
    checks: Checks = field(default_factory=lambda: Checks(enabled=False))
    variants: dict[Any, "Program"] = field(default_factory=dict)
    jitted: Any = field(init=False)

    def __post_init__(self) -> None:
        self.variants[self._variant_key(self.static_data, self.checks)] = self

        def run(data: Sequence[Any], *args: Any) -> Any:
            return self.run(data, *args)

        run.__name__ = run.__qualname__ = self.signature.name
        static = tuple(i + 1 for i in self.signature.static)
        object.__setattr__(self, "jitted", jax.jit(run, static_argnums=static))

    def run(self, data: Sequence[Any], *args: Any) -> Any:
        """Trace the graph."""
        name = self.signature.name
        if jax.config.jax_enable_x64 and not self.x64 and self._holds_64_bit_data():
            raise PrecisionError(
                f"{name}() was compiled while jax_enable_x64 was off, so its data lost "
                "their 64-bit precision. Compile it again with x64 on."
            )
        operands = self.signature.bind(args)
        dynamic, static = iter(data), iter(self.static_data)
        captured = [
            next(static).value if spec.static else spec.bind(name, next(dynamic))
            for spec in self.data
        ]
        with making(self.checks):
            values = self.graph_function(*operands, *captured)
        pairs = zip(values, self.fgraph.outputs, strict=True)
        return self.outputs.pack([_as_output(value, var) for value, var in pairs])

    def _holds_64_bit_data(self) -> bool:
        wide = ("float64", "int64", "uint64", "complex128")
        return any(dtype_of(spec.type) in wide for spec in self.data if not spec.static)

    @property
    def named_data(self) -> list[tuple[str, Data]]:
        """The captured data, each with its variable's name, or with its label if it has
        none or shares it."""
        names = [spec.name for spec in self.data]
        return [
            (
                spec.name if spec.name and names.count(spec.name) == 1 else spec.label,
                spec,
            )
            for spec in self.data
        ]

    def with_static_data(self, values: tuple[StaticValue, ...]) -> "Program":
        """The program whose shapes follow from ``values``."""
        return self._variant(values, self.checks)

    def with_checks(self, checks: Checks) -> "Program":
        """The program that makes these checks."""
        return self._variant(self.static_data, checks)

    def _variant(
        self, static_data: tuple[StaticValue, ...], checks: Checks
    ) -> "Program":
        key = self._variant_key(static_data, checks)
        if key not in self.variants:
            replace(self, static_data=static_data, checks=Checks(*key[1:]))
        return self.variants[key]

    @staticmethod
    def _variant_key(static_data: tuple[StaticValue, ...], checks: Checks) -> Any:
        return static_data, checks.enabled, checks.silent

    def __str__(self) -> str:
        outs = [describe(var.type) for var in self.fgraph.outputs]
        if self.outputs.form == "one":
            returns = outs[0]
        else:
            pairs = zip(self.outputs.labels, outs, strict=True)
            returns = ", ".join(f"{label}: {out}" for label, out in pairs)
            opening, closing = "{}" if self.outputs.form == "dict" else "()"
            returns = f"{opening}{returns}{closing}"
        return f"{self.signature} -> {returns}"

    def __reduce__(self) -> tuple[Any, ...]:
        spec = (self.outputs, self.data, self.static_data, self.x64, self.host_callback)
        return _relink, (self.signature, pack(self.fgraph), *spec, self.checks)


def _relink(
    signature: Signature,
    packed: Any,
    outputs: Outputs,
    data: tuple[Data, ...],
    static_data: tuple[StaticValue, ...],
    x64: bool,
    host_callback: bool,
    checks: Checks,
) -> Program:
    fgraph = unpack(packed)
    linked = link(fgraph, host_callback=host_callback)
    spec = (outputs, data, static_data, x64, host_callback)
    return Program(signature, fgraph, *spec, linked, checks)


def _as_output(value: Any, var: Variable) -> Any:
    """JAX data, whatever the value of an output was while tracing."""
    if isinstance(value, Stream):
        return value.fresh_key()
    return to_dynamic(value, f"the output `{var}`")

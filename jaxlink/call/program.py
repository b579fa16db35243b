"""Program: a compiled graph's code, as ``jax.jit`` holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph

from jaxlink.call.cache import PROGRAMS, Cache
from jaxlink.call.identity import graph_identity
from jaxlink.call.serialize import pack, unpack
from jaxlink.call.signature import Data, Signature
from jaxlink.errors import PrecisionError
from jaxlink.link.linker import GraphFunction, Linker
from jaxlink.values.runtime_checks import Checks, using_checks
from jaxlink.values.static import StaticValue, to_dynamic
from jaxlink.values.streams import Stream
from jaxlink.values.types import describe, dtype_of

__all__ = ["Code", "Outputs", "Program"]

# For how many values of the shape-fixing data a graph keeps its programs.
PROGRAMS_OF_CODE = 32


@dataclass(frozen=True)
class Outputs:
    """Whether outputs are returned as an array, a tuple or a dict, and their names."""

    form: Literal["one", "tuple", "dict"]
    labels: tuple[str, ...]

    def pack(self, values: Sequence[Any]) -> Any:
        if self.form == "one":
            return values[0]
        if self.form == "dict":
            return dict(zip(self.labels, values, strict=True))
        return tuple(values)


class Code:
    """A linked graph, with its signature, outputs and captured data.

    The graph's inputs are the arguments, in the order of ``signature``, then the
    captured data, in the order of ``data``. Its programs are cached: one for each value
    of the shape-fixing data and each choice of checks.

    ``outlives`` says whether a cache may keep it longer than its functions live.
    """

    def __init__(
        self,
        signature: Signature,
        fgraph: FunctionGraph,
        outputs: Outputs,
        data: tuple[Data, ...],
        linker: Linker,
        linked: GraphFunction,
        *,
        outlives: bool,
        x64: bool | None = None,
    ):
        self.signature = signature
        self.fgraph = fgraph
        self.outputs = outputs
        self.data = data
        self.linker = linker
        self.linked = linked
        self.outlives = outlives
        self.x64 = bool(jax.config.jax_enable_x64) if x64 is None else x64
        self._programs = Cache(PROGRAMS_OF_CODE)

    def program(
        self,
        static_data: tuple[StaticValue, ...],
        *,
        enabled: bool = False,
        silent: bool = True,
    ) -> "Program":
        """The program for these values of the shape-fixing data, with these checks (see
        `Checks`)."""

        def make() -> Program:
            return Program(self, static_data, Checks(enabled, silent))

        return self._programs.get_or_make((static_data, enabled, silent), make)

    def parts_of_digest(self) -> tuple[Any, ...]:
        """What `jaxlink.call.digest` tells code apart by."""
        linker = self.linker
        return (
            self.fgraph,
            self.outputs,
            [(p.kind, p.label, p.type) for p in self.signature.parameters],
            [(spec.static, spec.small, spec.type) for spec in self.data],
            # Python code has no content.
            (linker.checks_fail_at_call, linker.in_pullback, linker.host_callback),
            self.x64,
            None if self.outlives else object(),
        )

    @property
    def holds_64_bit_data(self) -> bool:
        wide = ("float64", "int64", "uint64", "complex128")
        return any(dtype_of(spec.type) in wide for spec in self.data if not spec.static)

    def __reduce__(self) -> tuple[Any, ...]:
        packed = pack(self.fgraph)
        spec = (self.signature, packed, self.outputs, self.data, self.linker, self.x64)
        return _link_again, spec


class Program:
    """Code, with values for the captured data that fix shapes."""

    def __init__(
        self,
        code: Code,
        static_data: tuple[StaticValue, ...],
        checks: Checks,
    ):
        self.code = code
        self.static_data = static_data
        self.checks = checks
        self.signature, self.fgraph = code.signature, code.fgraph
        self.outputs, self.data = code.outputs, code.data

        def run(data: Sequence[Any], *args: Any) -> Any:
            return self.run(data, *args)

        run.__name__ = run.__qualname__ = self.signature.name
        static = tuple(i + 1 for i in self.signature.static)
        self.jitted: Any = jax.jit(run, static_argnums=static)

    def run(self, data: Sequence[Any], *args: Any) -> Any:
        """Run the linked graph, while JAX traces."""
        name, code = self.signature.name, self.code
        if jax.config.jax_enable_x64 and not code.x64 and code.holds_64_bit_data:
            raise PrecisionError(
                f"{name}() was compiled while jax_enable_x64 was off, so its data lost "
                "64-bit precision. Compile it again with x64 on."
            )
        operands = self.signature.bind(args)
        dynamic, static = iter(data), iter(self.static_data)
        captured = [
            next(static).value if spec.static else spec.bind(name, next(dynamic))
            for spec in self.data
        ]
        with using_checks(self.checks):
            values = code.linked(*operands, *captured)
        pairs = zip(values, self.fgraph.outputs, strict=True)
        return self.outputs.pack([_as_output(value, var) for value, var in pairs])

    @property
    def n_leaves(self) -> int:
        """The number of captured data that are leaves of a function."""
        return sum(not (spec.static or spec.small) for spec in self.data)

    @property
    def named_data(self) -> list[tuple[str, Data]]:
        """The captured data by their variables' names, or by label where a name is
        missing or not unique."""
        names = [spec.name for spec in self.data]
        return [
            (
                spec.name if spec.name and names.count(spec.name) == 1 else spec.label,
                spec,
            )
            for spec in self.data
        ]

    def with_static_data(self, values: tuple[StaticValue, ...]) -> "Program":
        """The program for other ``values`` of the shape-fixing data."""
        return self.code.program(values, **self._which_checks)

    def with_checks(self, checks: Checks) -> "Program":
        """The program with these checks."""
        which = {"enabled": checks.enabled, "silent": checks.silent}
        return self.code.program(self.static_data, **which)

    @property
    def _which_checks(self) -> dict[str, bool]:
        return {"enabled": self.checks.enabled, "silent": self.checks.silent}

    @property
    def returns(self) -> str:
        """What it returns, for people."""
        outs = [describe(var.type) for var in self.fgraph.outputs]
        if self.outputs.form == "one":
            return outs[0]
        pairs = zip(self.outputs.labels, outs, strict=True)
        returns = ", ".join(f"{label}: {out}" for label, out in pairs)
        opening, closing = "{}" if self.outputs.form == "dict" else "()"
        return f"{opening}{returns}{closing}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _program_again, (self.code, self.static_data, self._which_checks)


def _link_again(
    signature: Signature,
    packed: Any,
    outputs: Outputs,
    data: tuple[Data, ...],
    linker: Linker,
    x64: bool,
) -> Code:
    fgraph = unpack(packed)

    graph = graph_identity(fgraph.inputs, fgraph.outputs)
    outlives = graph is not None and not linker.host_callback

    def link() -> Code:
        linked = linker.link(fgraph)
        parts = signature, fgraph, outputs, data, linker, linked
        return Code(*parts, outlives=outlives, x64=x64)

    if not outlives:
        return link()
    identity = "unpickled", graph, signature, outputs, data, linker, x64
    return PROGRAMS.get_or_make(identity, link)


def _program_again(
    code: Code, static_data: tuple[StaticValue, ...], which_checks: dict[str, bool]
) -> Program:
    return code.program(static_data, **which_checks)


def _as_output(value: Any, var: Variable) -> Any:
    """An output's value as JAX data."""
    if isinstance(value, Stream):
        return value.fresh_key()
    return to_dynamic(value, f"the output `{var}`")

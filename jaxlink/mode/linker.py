"""MODE: full PyTensor functions that run on jaxlink.

``pytensor.function(..., mode=jaxlink.MODE)`` takes and returns NumPy arrays, and works
like any PyTensor function: it casts inputs, updates shared variables and can be copied.
Checks in the graph raise their exceptions, which they do not in a plain call of a
`JAXFunction`. NumPy generators become streams of keys (see `jaxlink.mode.numpy_rng`).
A graph that cannot become a JAX function raises `jaxlink.CompileError` or a subclass.
To run Ops without a rule in Python, use
``jaxlink.MODE.clone(link_kwargs={"host_callback": True})``.

PyTensor compiles a function in two steps. A *mode* rewrites the graph, and its *linker*
turns the graph into a callable between cells. A cell is a list of one element: the
callable reads inputs and shared variables from cells, and PyTensor updates the cells.
Our linker compiles the graph as `jaxlink.function` does, and converts between NumPy and
JAX at the boundary.

Example:
    >>> import jaxlink, pytensor, pytensor.tensor as pt
    >>> x = pt.vector("x")
    >>> calls = pytensor.shared(0, name="calls")
    >>> f = pytensor.function(
    ...     [x], x.sum(), updates={calls: calls + 1}, mode=jaxlink.MODE
    ... )
    >>> f([1.0, 2.0]).item(), calls.get_value().item()
    (3.0, 1)
"""

import builtins
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from pytensor.compile.mode import Mode
from pytensor.compile.ops import DeepCopyOp, ViewOp
from pytensor.compile.rewriting import rewrite_inner_graph
from pytensor.configdefaults import config
from pytensor.graph.basic import Variable, clone_get_equiv
from pytensor.graph.fg import AbstractFunctionGraph, FunctionGraph
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.rewriting.basic import graph_rewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.graph.traversal import ancestors
from pytensor.link.basic import Container, Linker
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.type import TensorType

from jaxlink.call.cache import PROGRAMS
from jaxlink.call.graph_spec import read_graph_spec
from jaxlink.call.jax_function import JAXFunction
from jaxlink.call.program import Program
from jaxlink.compile import compile_graph
from jaxlink.errors import BranchShapeError, DynamicShapeError, UnsupportedOpError
from jaxlink.link.linker import Linker as GraphLinker
from jaxlink.mode.numpy_rng import CallGenerators, generator_reader, is_generator, roots
from jaxlink.mode.staging import Staged, needs_stages
from jaxlink.ops.streams import Streams, StreamStates
from jaxlink.rewrites import rewrite_inner
from jaxlink.rewrites.inner_graphs import all_nodes
from jaxlink.rewrites.pytensor_rewrites import NOT_FOR_XLA
from jaxlink.values.bcoo import decode
from jaxlink.values.runtime_checks import Checks
from jaxlink.values.types import element_type, kind_of

# --- values at the boundary ----------------------------------------------------------


def _to_numpy(type_: Any) -> Callable[[Any], Any]:
    """A function that copies a JAX result into a value of a PyTensor type."""
    kind = kind_of(type_)
    if kind == "list":
        element = _to_numpy(type_.ttype)
        return lambda values: [element(value) for value in values]
    if kind == "sparse":
        scipy_class = type_.format_cls[type_.format]

        def to_scipy(matrix: Any) -> Any:
            entries = decode(matrix)
            kept = np.asarray(entries.stored)
            data, rows, columns = (
                np.asarray(part)[kept]
                for part in (entries.data, entries.rows, entries.columns)
            )
            return scipy_class((data, (rows, columns)), shape=entries.shape)

        return to_scipy
    if isinstance(type_, ScalarType):
        return lambda value: np.asarray(value)[()]
    return np.array


# --- checks --------------------------------------------------------------------------


def _exceptions(fgraph: AbstractFunctionGraph) -> dict[str, type[Exception]]:
    """The exceptions that a graph's checks raise, by name."""
    cores = (getattr(node.op, "core_op", node.op) for node in all_nodes(fgraph))
    return {
        core.exc_type.__name__: core.exc_type
        for core in cores
        if isinstance(core, CheckAndRaise)
    }


class _Checking:
    """A `JAXFunction` that raises if a check in its graph fails, as PyTensor does.

    Tracing the graph shows whether it has checks.
    """

    def __init__(self, fn: JAXFunction, exceptions: dict[str, type[Exception]]):
        # Checks that PyTensor does not make (it returns nan) would hide later ones.
        made = Checks(enabled=False, silent=False)
        self.program = program = fn._program.with_checks(made)
        self.data = fn._data
        self.exceptions = exceptions
        self.traced = False
        # PyTensor has already checked and cast the values, so only values that JAX does
        # not take need preparing.
        self.prepared = any(
            p.kind == "static" or kind_of(element_type(p.type)) == "sparse"
            for p in program.signature.parameters
        )
        with_checks = program.with_checks(replace(made, enabled=True))
        identity = "checkify", with_checks
        self.checked = PROGRAMS.get_or_make(identity, lambda: _checked(with_checks))

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        program, data = self.program, self.data
        if self.prepared:
            args = tuple(program.signature.prepare(args))
        if not self.traced:
            program.jitted.trace(data, *args)
            self.traced = True
        if not program.checks.left_out:
            outs: tuple[Any, ...] = program.jitted(data, *args)
            if not program.checks.left_out:
                return outs
        failed, error, outs = self.checked(data, *args)
        if failed:
            self._raise(error.get().removesuffix(" (`check` failed)"))
        return outs

    def _raise(self, message: str) -> None:
        """Raise the exception that PyTensor would raise."""
        name, _, text = message.partition(": ")
        known = {**vars(builtins), "LinAlgError": np.linalg.LinAlgError}
        found = (known | self.exceptions).get(name)
        if isinstance(found, type) and issubclass(found, Exception):
            raise found(text)
        raise ValueError(message)


def _checked(program: Program) -> Any:
    """A jitted function that returns whether a check failed, which one, and the
    outputs."""

    def checked(data: Any, *args: Any) -> tuple[Any, Any, Any]:
        # Static arguments cannot be operands of checkify.
        error, outs = checkify.checkify(lambda: program.run(data, *args))()
        leaves = jax.tree.leaves(error)
        flags = [leaf for leaf in leaves if leaf.dtype == bool]
        failed = jnp.any(jnp.stack(flags)) if flags else jnp.asarray(False)
        return failed, error, outs

    static = tuple(i + 1 for i in program.signature.static)
    return jax.jit(checked, static_argnums=static)


# --- linking -------------------------------------------------------------------------


class _Call:
    """The callable of a PyTensor function: reads its cells, returns all outputs."""

    def __init__(
        self, fgraph: FunctionGraph, cells: list[list[Any]], host_callback: bool
    ):
        of_input = dict(zip(fgraph.inputs, cells, strict=True))
        generators = roots(fgraph)
        self.readers = [generator_reader(var, fgraph, of_input) for var in generators]
        read = set(ancestors(fgraph.outputs))
        inputs = [v for v in fgraph.inputs if v in read and not is_generator(v)]
        self.cells = [of_input[var] for var in inputs]
        self.moved = [i for i, v in enumerate(fgraph.outputs) if is_generator(v)]
        values = [v for v in fgraph.outputs if not is_generator(v)]
        self.to_numpy = [_to_numpy(var.type) for var in values]
        exceptions = _exceptions(fgraph)

        def build(outputs: Sequence[Variable], inputs: Sequence[Variable]) -> _Checking:
            fn = _as_jax_function(
                fgraph.name, outputs, inputs, generators, host_callback
            )
            return _Checking(fn, exceptions)

        self.staged = partial(Staged, fgraph.outputs, inputs, build)
        self.run: _Checking | Staged
        try:
            self.run = build(fgraph.outputs, inputs)
        except DynamicShapeError:
            if not needs_stages(fgraph.outputs):
                raise
            self.run = self.staged()

    def __call__(self) -> list[Any]:
        args = [cell[0] for cell in self.cells]
        if self.readers:
            generators = CallGenerators([read() for read in self.readers])
            args.insert(0, generators.keys)
        # PyTensor's types decide what has 64 bits, whatever JAX's default.
        with jax.enable_x64(True):
            try:
                values = self.run(*args)
            except BranchShapeError:
                if isinstance(self.run, Staged):
                    raise
                self.run = self.staged()
                values = self.run(*args)
            pairs = zip(self.to_numpy, values, strict=False)
            outs = [to_numpy(value) for to_numpy, value in pairs]
        if self.moved:
            moved = generators.at(np.asarray(values[-1]))
            for i, generator in zip(self.moved, moved, strict=True):
                outs.insert(i, generator)
        return outs


def _as_jax_function(
    name: str | None,
    outputs: Sequence[Variable],
    inputs: Sequence[Variable],
    generators: Sequence[Variable],
    host_callback: bool,
) -> JAXFunction:
    """``outputs`` as a function of the keys of ``generators``, if any, and ``inputs``.

    It returns the outputs except generators, then the `StreamStates` of those, if any.
    """
    memo = {var: var.type(name=var.name) for var in inputs}
    arguments = list(memo.values())
    if generators:
        keys = TensorType("uint32", (len(generators), 2))("keys")
        streams = Streams(var.type for var in generators)(keys, return_list=True)
        memo |= zip(generators, streams, strict=True)
        arguments.insert(0, keys)
    originals = [_uncopied(out) for out in outputs]
    clone_get_equiv(list(memo), originals, False, False, memo=memo)
    outs = [memo[out] for out in originals]
    moved = [out for out in outs if is_generator(out)]
    values = [out for out in outs if not is_generator(out)]
    if moved:
        values.append(StreamStates()(*moved))
    try:
        with jax.enable_x64(True):
            # Another stage may read an input that this one does not.
            spec = read_graph_spec(arguments, values, on_unused_input="ignore")
            linker = GraphLinker(rewrite_inner, host_callback, checks_fail_at_call=True)
            return compile_graph(spec, name, linker)
    except UnsupportedOpError as error:
        if "host_callback=True" in str(error):
            error.add_note(
                "Under jaxlink.MODE, host_callback=True is "
                'mode=jaxlink.MODE.clone(link_kwargs={"host_callback": True}).'
            )
        raise


def _uncopied(out: Variable) -> Variable:
    """``out`` without PyTensor's copies, because our outputs are copies anyway."""
    while out.owner is not None and isinstance(out.owner.op, DeepCopyOp | ViewOp):
        (out,) = out.owner.inputs
    return out


class JaxlinkLinker(Linker):
    """Links a PyTensor graph as `jaxlink.function` does.

    Arguments:
        allow_gc: whether a function forgets its inputs after a call.
        host_callback: whether Ops without a rule in jaxlink run in Python.
    """

    # jaxlink rewrites the graph itself.
    required_rewrites = ()
    incompatible_rewrites = (*NOT_FOR_XLA, "compile_inner_graph")

    def __init__(self, *, allow_gc: bool | None = None, host_callback: bool = False):
        super().__init__(allow_gc=config.allow_gc if allow_gc is None else allow_gc)
        self.host_callback = host_callback
        self.fgraph: FunctionGraph | None = None

    def clone(
        self, allow_gc: bool | None = None, host_callback: bool | None = None
    ) -> "JaxlinkLinker":
        new = super().clone(allow_gc)
        if host_callback is not None:
            new.host_callback = host_callback
        return new

    def accept(
        self, fgraph: FunctionGraph, no_recycling: Any = None, profile: Any = None
    ) -> "JaxlinkLinker":
        """A linker like this one, for ``fgraph``."""
        del no_recycling, profile  # no output shares a reused buffer
        accepted = self.clone()
        accepted.fgraph = fgraph
        return accepted

    def make_thunk(
        self,
        input_storage: list[list[Any]] | None = None,
        output_storage: list[list[Any]] | None = None,
        storage_map: dict[Variable, list[Any]] | None = None,
        **kwargs: Any,
    ) -> tuple[_Call, list[Container], list[Container]]:
        """The callable for the graph, with its input and output cells."""
        del storage_map, kwargs  # no intermediate value is stored
        fgraph = self.fgraph
        assert fgraph is not None, "accept() must come first"
        cells = input_storage or [[None] for _ in fgraph.inputs]
        call: Any = _Call(fgraph, cells, self.host_callback)
        outs = output_storage or [[None] for _ in fgraph.outputs]
        call.allow_gc = self.allow_gc
        call.storage_map = dict(zip(fgraph.inputs, cells, strict=True))
        pairs = zip(fgraph.outputs, outs, strict=True)
        return (
            call,
            [Container(*pair) for pair in call.storage_map.items()],
            [Container(*pair, readonly=True) for pair in pairs],
        )


# --- the mode ------------------------------------------------------------------------


def _rewrite_inner_checks(fgraph: FunctionGraph) -> None:
    """Rewrite inner graphs with checks like the outer graph. So rewrites of checks, by
    PyMC for its parameters or by a user for asserts, also reach loops."""

    def holds_checks(op: Any) -> bool:
        inner = isinstance(op, HasInnerGraph) and hasattr(op, "clone_with_inner_graph")
        return inner and bool(_exceptions(op.fgraph))

    def rewrite(linker: Any, op: Any, node: Any, inner: Any, *, mode: Mode) -> None:
        del linker, op, node
        mode.optimizer.rewrite(inner)

    rewrite_inner_graph(fgraph, holds_checks, rewrite)


MODE = Mode(
    JaxlinkLinker(),
    # Empty, but PyMC adds the canonicalizations of its checks here.
    RewriteDatabaseQuery(
        include=["canonicalize_db"],
        extra_rewrites=[(graph_rewriter(_rewrite_inner_checks), 1.1)],
    ),
)

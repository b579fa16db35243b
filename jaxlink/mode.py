"""MODE: PyTensor functions, with all that they do, on jaxlink.

PyTensor compiles a function in two steps. A *mode* rewrites the graph, and its *linker*
turns the graph into a callable between cells: lists of one element, from which a call
reads its inputs and shared variables, and whose contents PyTensor itself updates. Ours
hands the graph to `jaxlink.function` and translates at the border: NumPy there, JAX
here.

The one thing to translate that is no array is a random generator. A NumPy generator
stands for a JAX stream of keys (see `jaxlink.random_state`): its next two words are the
stream's key, and after *t* draws along the stream it has moved on by *t* keys.
"""

import builtins
import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from pytensor.compile.mode import Mode
from pytensor.compile.rewriting import rewrite_inner_graph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.configdefaults import config
from pytensor.graph.basic import Apply, Constant, Variable, clone_get_equiv
from pytensor.graph.fg import AbstractFunctionGraph, FunctionGraph
from pytensor.graph.op import HasInnerGraph, Op
from pytensor.graph.rewriting.basic import graph_rewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.graph.traversal import ancestors
from pytensor.link.basic import Container, Linker
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.random.op import DefaultGeneratorMakerOp
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType

from jaxlink.compile import function
from jaxlink.dispatch.registry import rule
from jaxlink.function import JAXFunction
from jaxlink.random_state import Stream
from jaxlink.sparse_arrays import decode
from jaxlink.static import kind_of

__all__ = ["MODE"]

Generator = np.random.Generator


# --- generators in the graph ---------------------------------------------------------


class _Streams(Op):
    """The streams that start at the keys in the rows of a matrix."""

    __props__ = ("types",)

    def __init__(self, types: Iterable[RandomType]):
        self.types = tuple(types)

    def make_node(self, keys: Variable) -> Apply:
        return Apply(self, [keys], [type_() for type_ in self.types])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError(f"{self} has a meaning in JAX only")


class _Positions(Op):
    """Where streams are: a row of the key's two words and the number of draws each."""

    __props__ = ()

    def make_node(self, *streams: Variable) -> Apply:
        return Apply(self, streams, [TensorType("uint32", (len(streams), 3))()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError(f"{self} has a meaning in JAX only")


@rule(_Streams)
def _streams(op: _Streams, node: Any) -> Callable[[jax.Array], tuple[Stream, ...]]:
    def run(words: jax.Array) -> tuple[Stream, ...]:
        keys = jax.random.wrap_key_data(words, impl="threefry2x32")
        # Most generators draw once. One program for all is smaller than one for each.
        first = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
        pairs = zip(keys, first, strict=True)
        return tuple(Stream(key, draws=(draw,)) for key, draw in pairs)

    return run


@rule(_Positions)
def _positions(op: _Positions, node: Any) -> Callable[..., jax.Array]:
    def row(stream: Stream) -> jax.Array:
        count = jnp.asarray(stream.count, "uint32")
        return jnp.append(jax.random.key_data(stream.key), count)

    return lambda *streams: jnp.stack([row(stream) for stream in streams])


def _is_generator(var: Variable) -> bool:
    return isinstance(var.type, RandomType)


def _roots(fgraph: FunctionGraph) -> list[Variable]:
    """Where streams start: generators that come in, that are constants, and those that
    ``default_rng`` makes of a constant."""

    def starts(var: Variable) -> bool:
        if var.owner is None:
            return True
        made = isinstance(var.owner.op, DefaultGeneratorMakerOp)
        return made and isinstance(var.owner.inputs[0], Constant)

    found = ancestors(fgraph.outputs)
    return [var for var in found if _is_generator(var) and starts(var)]


# --- generators at the border --------------------------------------------------------


def _copy(generator: Generator) -> Generator:
    # As copy.deepcopy does, which takes eight times as long.
    old = generator.bit_generator
    new = type(old)(copy.copy(old.seed_seq))
    new.state = old.state
    return np.random.Generator(new)


def _words(generator: Generator, n_keys: int = 1) -> np.ndarray:
    return generator.integers(0, 0xFFFFFFFF, 2 * n_keys, np.uint32, endpoint=True)


def _taker(
    var: Variable, fgraph: FunctionGraph, cells: dict[Variable, list[Any]]
) -> Callable[[], Generator]:
    """How a call gets the generator of a root, to work on.

    A shared generator that the function updates is taken itself, as PyTensor does: its
    variable alone holds it. Any other one is left as it is.
    """
    if var in cells:
        cell = cells[var]
        updated = [fgraph.inputs[i] for i in fgraph.update_mapping.values()]
        if isinstance(var, SharedVariable) and var in updated:
            return lambda: cell[0]
        return lambda: _copy(cell[0])
    if isinstance(var, Constant):
        return lambda: _copy(var.data)
    node = var.owner

    def make() -> Generator:
        made: list[Any] = [None]
        node.op.perform(node, [node.inputs[0].data], [made])
        return made[0]

    return make


class _Taken:
    """The generators of one call: their keys, and what has become of them after it."""

    def __init__(self, generators: Sequence[Generator]):
        self.generators = generators
        self.states = [generator.bit_generator.state for generator in generators]
        self.keys = np.empty((len(generators), 2), np.uint32)
        for row, generator in zip(self.keys, generators, strict=True):
            row[:] = _words(generator)

    def at(self, positions: np.ndarray) -> list[Generator]:
        """Generators at the ``positions`` of streams, each an object of its own."""
        roots = {tuple(key): i for i, key in enumerate(self.keys.tolist())}
        moved: list[Generator] = []
        used: set[int] = set()
        for first, second, count in positions.tolist():
            root = roots[first, second]
            generator = self.generators[root]
            again = id(generator) in used
            if again:
                generator = _copy(generator)
            if again or count != 1:  # else it has moved on by the key that it gave
                generator.bit_generator.state = self.states[root]
                for start in range(0, count, _AT_ONCE):
                    _words(generator, min(_AT_ONCE, count - start))
            used.add(id(generator))
            moved.append(generator)
        return moved


# Keys, to go past in one step: few enough for the memory, many enough for the speed.
_AT_ONCE = 1 << 20


# --- values at the border ------------------------------------------------------------


def _to_numpy(type_: Any) -> Callable[[Any], Any]:
    """How a value that JAX returns becomes one of a PyTensor type, that is its own."""
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
    """The exceptions that the checks of a graph raise, by name."""
    found = {}
    for node in fgraph.apply_nodes:
        core = getattr(node.op, "core_op", node.op)
        if isinstance(core, CheckAndRaise):
            found[core.exc_type.__name__] = core.exc_type
        elif isinstance(core, HasInnerGraph):
            found |= _exceptions(core.fgraph)
    return found


class _Checking:
    """A `JAXFunction` that raises what a check of its graph finds, as PyTensor does.

    Whether there is such a check is known when JAX has traced the graph.
    """

    def __init__(self, fn: JAXFunction, exceptions: dict[str, type[Exception]]):
        self.program = program = fn._program
        self.data = fn._data
        self.exceptions = exceptions
        self.traced = False
        # PyTensor has seen to it that the values are of their types. So what is left to
        # prepare is what JAX does not take.
        self.prepared = any(
            p.kind == "static" or kind_of(p.type) == "sparse"
            for p in program.signature.parameters
        )
        with_checks = program.checked()

        def checked(data: Any, *args: Any) -> tuple[Any, Any, Any]:
            # A static argument is no operand of checkify's.
            error, outs = checkify.checkify(lambda: with_checks.run(data, *args))()
            leaves = jax.tree.leaves(error)
            flags = [leaf for leaf in leaves if leaf.dtype == bool]
            failed = jnp.any(jnp.stack(flags)) if flags else jnp.asarray(False)
            return failed, error, outs

        static = tuple(i + 1 for i in program.signature.static)
        self.checked = jax.jit(checked, static_argnums=static)

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
            self._raise(error.get())
        return outs

    def _raise(self, message: str) -> NoReturn:
        message = message.removesuffix(" (`check` failed)")
        name, colon, text = message.partition(": ")
        found = self.exceptions.get(name) or getattr(builtins, name, None)
        if colon and isinstance(found, type) and issubclass(found, Exception):
            raise found(text)
        raise ValueError(message)


# --- linking -------------------------------------------------------------------------


class _Call:
    """What a PyTensor function runs: reads its cells and returns all outputs."""

    def __init__(
        self, fgraph: FunctionGraph, cells: list[list[Any]], host_callback: bool
    ):
        of_input = dict(zip(fgraph.inputs, cells, strict=True))
        roots = _roots(fgraph)
        self.takers = [_taker(var, fgraph, of_input) for var in roots]
        read = set(ancestors(fgraph.outputs))
        inputs = [v for v in fgraph.inputs if v in read and not _is_generator(v)]
        self.cells = [of_input[var] for var in inputs]
        self.moved = [i for i, v in enumerate(fgraph.outputs) if _is_generator(v)]
        self.to_numpy = [
            _to_numpy(var.type) for var in fgraph.outputs if not _is_generator(var)
        ]
        fn = _as_jax_function(fgraph, inputs, roots, host_callback)
        self.run = _Checking(fn, _exceptions(fgraph))

    def __call__(self) -> list[Any]:
        args = [cell[0] for cell in self.cells]
        if self.takers:
            taken = _Taken([take() for take in self.takers])
            args.insert(0, taken.keys)
        # PyTensor's types say what is 64 bits wide, whatever JAX does by default.
        with jax.enable_x64(True):
            values = self.run(*args)
            pairs = zip(self.to_numpy, values, strict=False)
            outs = [to_numpy(value) for to_numpy, value in pairs]
        if self.moved:
            generators = taken.at(np.asarray(values[-1]))
            for i, generator in zip(self.moved, generators, strict=True):
                outs.insert(i, generator)
        return outs


def _as_jax_function(
    fgraph: FunctionGraph,
    inputs: Sequence[Variable],
    roots: Sequence[Variable],
    host_callback: bool,
) -> JAXFunction:
    """``fgraph`` as a function of the roots' keys, if any, and of ``inputs``. It returns
    the outputs but for generators, and then the positions of these, if any."""
    memo = {var: var.type(name=var.name) for var in inputs}
    arguments = list(memo.values())
    if roots:
        keys = TensorType("uint32", (len(roots), 2))("keys")
        streams = _Streams(var.type for var in roots)(keys, return_list=True)
        memo |= zip(roots, streams, strict=True)
        arguments.insert(0, keys)
    clone_get_equiv(list(memo), fgraph.outputs, False, False, memo=memo)
    outs = [memo[out] for out in fgraph.outputs]
    moved = [out for out in outs if _is_generator(out)]
    values = [out for out in outs if not _is_generator(out)]
    if moved:
        values.append(_Positions()(*moved))
    with jax.enable_x64(True):
        return function(
            arguments, values, name=fgraph.name, host_callback=host_callback
        )


class JaxlinkLinker(Linker):
    """Links a PyTensor graph with `jaxlink.function`.

    Arguments:
        allow_gc: whether a function forgets its inputs after a call.
        host_callback: whether an Op that has no rule in jaxlink is called in Python.
    """

    # jaxlink rewrites the graph itself.
    required_rewrites = ()
    incompatible_rewrites = (
        "BlasOpt",
        "compile_inner_graph",
        "cxx_only",
        "fusion",
        "inplace",
        "scan_reduce_trace_prealloc",
    )

    def __init__(self, *, allow_gc: bool | None = None, host_callback: bool = False):
        super().__init__(allow_gc=config.allow_gc if allow_gc is None else allow_gc)
        self.host_callback = host_callback
        self.fgraph: FunctionGraph | None = None

    def clone(
        self, allow_gc: bool | None = None, host_callback: bool | None = None
    ) -> "JaxlinkLinker":
        return JaxlinkLinker(
            allow_gc=self.allow_gc if allow_gc is None else allow_gc,
            host_callback=self.host_callback
            if host_callback is None
            else host_callback,
        )

    def accept(
        self, fgraph: FunctionGraph, no_recycling: Any = None, profile: Any = None
    ) -> "JaxlinkLinker":
        """A linker like this one, for ``fgraph``."""
        del no_recycling, profile  # no output lives in a buffer that is used again
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
        """The callable for the graph, and its input and output cells."""
        del kwargs
        assert self.fgraph is not None
        fgraph = self.fgraph
        cells = input_storage or [[None] for _ in fgraph.inputs]
        call: Any = _Call(fgraph, cells, self.host_callback)
        outs = output_storage or [[None] for _ in fgraph.outputs]
        call.allow_gc = self.allow_gc
        call.storage_map = dict(zip(fgraph.inputs, cells, strict=True))
        return (
            call,
            [Container(*pair) for pair in zip(fgraph.inputs, cells, strict=True)],
            [
                Container(*pair, readonly=True)
                for pair in zip(fgraph.outputs, outs, strict=True)
            ],
        )


# --- the mode ------------------------------------------------------------------------


def _rewrite_inner_checks(fgraph: FunctionGraph) -> None:
    """Rewrite inner graphs that hold checks as the outer one: what PyMC does about its
    checks of parameters, or a user about asserts, goes for loops too."""

    def holds_checks(op: Any) -> bool:
        inner = isinstance(op, HasInnerGraph) and hasattr(op, "clone_with_inner_graph")
        return inner and bool(_exceptions(op.fgraph))

    def rewrite(linker: Any, op: Any, node: Any, inner: Any, *, mode: Mode) -> None:
        del linker, op, node
        mode.optimizer.rewrite(inner)

    rewrite_inner_graph(fgraph, holds_checks, rewrite)


MODE = Mode(
    JaxlinkLinker(),
    # An empty choice of canonicalizations, to which PyMC adds those of its checks.
    RewriteDatabaseQuery(
        include=["canonicalize_db"],
        extra_rewrites=[(graph_rewriter(_rewrite_inner_checks), 1.1)],
    ),
)

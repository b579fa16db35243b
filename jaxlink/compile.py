"""`function`: graph -> rewrites -> link -> JAXFunction. Start reading here."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Literal

import jax
from pytensor import config
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable, clone_get_equiv
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.random.type import RandomType

from jaxlink import dispatch as dispatch  # registers all rules
from jaxlink.call.cache import PROGRAMS
from jaxlink.call.graph_spec import (
    Givens,
    GraphSpec,
    read_graph_spec,
    refuse_generators,
    refuse_updates,
)
from jaxlink.call.identity import graph_identity
from jaxlink.call.jax_function import JAXFunction
from jaxlink.call.precision import compiling_for, warn_about_64_bit
from jaxlink.call.program import Code
from jaxlink.call.signature import Data, Labels, Parameter, Signature, identifier
from jaxlink.link.linker import Linker
from jaxlink.ops.streams import PRNGKeyType
from jaxlink.rewrites import rewrite, rewrite_inner
from jaxlink.rewrites.capture_constants import is_large
from jaxlink.rewrites.random_key import collapse_to_key
from jaxlink.values.types import describe, kind_of

__all__ = ["compile_graph", "function"]

# PyTensor's settings are those of the process.
_ONE_AT_A_TIME = RLock()


def function(
    inputs: Sequence[Variable],
    outputs: Variable | Sequence[Variable] | Mapping[str, Variable],
    *,
    givens: Givens | None = None,
    rngs: Sequence[Variable] | None = None,
    name: str | None = None,
    key: bool = True,
    on_unused_input: Literal["raise", "warn", "ignore"] = "raise",
    host_callback: bool = False,
    stack: bool = True,
    updates: None = None,
) -> JAXFunction:
    """Compile a PyTensor graph to a JAX function.

    The function takes the inputs, after one PRNG key if the graph is random. It returns
    JAX arrays, mutates nothing, and works under every JAX transformation.

    The *t*-th draw along the *i*-th random generator uses the key
    ``fold_in(fold_in(key, i), t)``. A walk from the first output to the last numbers
    the generators as it meets them.

    Arguments:
        inputs: variables of the graph, in the order of the function's arguments. Each
            argument has the rank and the fixed dimensions of its variable, and a dtype
            that converts to the variable's without loss. An integer input that fixes a
            shape becomes a static argument. A random generator (``pt.random.rng()``)
            becomes one more key argument.
        outputs: a variable (the function returns an array), a list or tuple of
            variables (it returns a tuple), or a dict from strings to variables (it
            returns a dict, whose keys JAX sorts). Each array has the shape and dtype
            of its variable. A random generator is returned as a fresh key.
        givens: variables to replace in the graph, each by a variable or a value.
        rngs: the random generators, numbered by their position in this list. The list
            must contain every generator of the graph; any other generator just takes
            up a number.
        name: the function's ``__name__``. The default is the first output's name.
        key: if False, the function takes no key, and its draws are those of a program
            in the style of `jaxlink.pjax`. ``jaxlink.seed`` of it is the function that
            takes a key, bit for bit. Called outside of any program, it draws anew each
            time.
        on_unused_input: what to do if no output depends on an input.
        host_callback: run Ops without a rule in Python, through `jax.pure_callback`.
            This is slow, but works under ``jit``, ``vmap`` and, if the Op has a
            gradient in PyTensor, ``grad``. By default, such an Op is an error.
        stack: compute isomorphic parts of the graph at once: eight or more small nodes
            that do the same to different variables, as a Python loop makes them. The
            function compiles and runs faster, and sums over the parts may be rounded in
            another order. Draws do not change.
        updates: must be ``None``. Pass the state as an input and return it as an
            output instead.

    Returns:
        A `JAXFunction`.

    Raises:
        MissingInputError: the outputs depend on a variable that is not an input.
        UnsupportedOpError: an Op of the graph has no rule, or its rule does not cover
            this use.
        DynamicShapeError: a shape depends on a value that is unknown before the call.
        CompileError: base class of these; ``obstacles`` lists every problem found.
        PrecisionError: x64 is off, and a captured integer does not fit 32 bits.
        TypeError: an argument has the wrong type, an input is a constant, or
            ``updates`` is given.
        ValueError: an input is repeated, unused or also in ``givens``, or ``rngs``
            repeats a generator or lacks one.

    Warns:
        PrecisionWarning: x64 is off, so 64-bit variables become 32-bit.

    Example:
        >>> import jax, jaxlink
        >>> import pytensor.tensor as pt
        >>> mu = pt.vector("mu")
        >>> rng = pt.random.shared_rng(seed=1)
        >>> _, x = rng.normal(mu, 0.1, size=(2, mu.shape[0]))
        >>> draw = jaxlink.function([mu], x, name="draw")
        >>> draw
        JAXFunction draw(key: PRNG key, mu: float64[?]) -> float64[2, ?]
        >>> keys = jax.random.split(jax.random.key(0), 10)
        >>> jax.vmap(draw, in_axes=(0, None))(keys, jax.numpy.zeros(3)).shape
        (10, 2, 3)
    """
    refuse_updates(updates)
    if not isinstance(name, str | None):
        raise TypeError(f"name must be a string, not {type(name).__name__}.")
    if not isinstance(host_callback, bool):
        raise TypeError(f"host_callback must be True or False, not {host_callback!r}.")
    if not isinstance(stack, bool):
        raise TypeError(f"stack must be True or False, not {stack!r}.")
    if not isinstance(key, bool):
        raise TypeError(
            f"key must be True or False, not {key!r}. The key itself is the first "
            "argument of the function that is returned."
        )
    spec = read_graph_spec(inputs, outputs, givens, rngs, on_unused_input)
    if not key:
        refuse_generators(spec)
    compiled = compile_graph(spec, name, Linker(rewrite_inner, host_callback), stack)
    return compiled if key or not spec.roots else compiled.with_key(False)


def compile_graph(
    spec: GraphSpec, name: str | None, linker: Linker, stack: bool = True
) -> JAXFunction:
    """Rewrite and link a graph, or find the code of an equal graph.

    Equal graphs share their code, and so what JAX compiled. Each function has the
    values of its own shared variables.
    """
    names = [out.name for out in spec.outputs]
    fn_name = identifier(name or next(iter(names), None) or "fn")
    identity = _identity(spec, fn_name, linker, stack)
    outlives = identity is not None
    compiled = PROGRAMS.get(identity) if outlives else None
    if compiled is not None and compiled.is_donated:
        PROGRAMS.drop(identity)
        compiled = None
    if compiled is None:
        # Nobody needs to know where rewrites make their nodes.
        with _ONE_AT_A_TIME, config.change_flags(traceback__limit=0):
            compiled = _compile(spec, fn_name, linker, stack, outlives)
        if outlives:
            compiled = PROGRAMS.put(identity, compiled, compiled.nbytes)
    code = compiled.code

    values = [var.get_value(borrow=True) for var in spec.shared]
    captured = [
        each.fix(fn_name, value) if each.static else each.capture(fn_name, value)
        for each, value in zip(code.data, values, strict=False)
    ]
    captured += compiled.constants
    pairs = list(zip(code.data, captured, strict=True))
    fixed = tuple(value for each, value in pairs if each.static)
    dynamic = tuple(value for each, value in pairs if not each.static)

    shown = spec.form.labels if spec.form.form == "dict" else names
    with compiling_for(fn_name if name else "jaxlink.function"):
        static = code.linked.required.keys() | code.linked.preferred
        ends = code.fgraph.inputs[-len(code.data) :] if code.data else []
        small = {v for v, of in zip(ends, code.data, strict=True) if of.small}
        warn_about_64_bit(code.fgraph, shown, static | small)
    return JAXFunction(code.program(fixed), dynamic)


@dataclass(frozen=True)
class _Compiled:
    """The code of a graph, and the values of the constants that it captured."""

    code: Code
    constants: tuple[Any, ...]

    @property
    def _arrays(self) -> list[jax.Array]:
        return [x for x in self.constants if isinstance(x, jax.Array)]

    @property
    def nbytes(self) -> int:
        """The size of the constants."""
        return sum(x.size * x.dtype.itemsize for x in self._arrays)

    @property
    def is_donated(self) -> bool:
        """Whether a user has donated a function, and so its constants, to a program."""
        return any(x.is_deleted() for x in self._arrays)


def _identity(
    spec: GraphSpec, fn_name: str, linker: Linker, stack: bool
) -> Hashable | None:
    """What equal functions have in common, or ``None`` if this one must not be kept:
    Ops that run in Python may hold anything."""
    if linker.host_callback:
        return None
    leaves = [*spec.inputs, *spec.shared, *spec.roots]
    graph = graph_identity(leaves, spec.outputs)
    if graph is None:
        return None
    return graph, _apart_from_graph(spec, fn_name, linker), stack


def _apart_from_graph(spec: GraphSpec, fn_name: str, linker: Linker) -> Hashable:
    """What tells functions of equal graphs apart."""
    counts = len(spec.inputs), len(spec.shared), len(spec.roots)
    x64 = bool(jax.config.jax_enable_x64)
    return counts, spec.form, fn_name, linker, x64


def _compile(
    spec: GraphSpec, fn_name: str, linker: Linker, stack: bool, outlives: bool
) -> _Compiled:
    """Rewrite and link a graph, or find the code of a graph that is equal once it is
    rewritten: most constant arrays are inputs then, so their values do not count."""
    fgraph, memo = _clone(spec)
    if spec.roots:
        collapse_to_key(fgraph, [memo[root] for root in spec.roots])
    n_inputs = len(fgraph.inputs)
    values = rewrite(fgraph, stack)

    def link() -> Code:
        return _link(spec, memo, fgraph, n_inputs, fn_name, linker, outlives)

    rewritten = graph_identity(fgraph.inputs, fgraph.outputs) if outlives else None
    if rewritten is None:
        code = link()
    else:
        identity = rewritten, _apart_from_graph(spec, fn_name, linker)
        code = PROGRAMS.get_or_make(identity, link)
    constants = code.data[len(spec.shared) :]
    with jax.ensure_compile_time_eval():  # also if a transformation is running
        captured = [
            each.fix(fn_name, value) if each.static else each.capture(fn_name, value)
            for each, value in zip(constants, values, strict=True)
        ]
    return _Compiled(code, tuple(captured))


def _link(
    spec: GraphSpec,
    memo: Mapping[Any, Any],
    fgraph: FunctionGraph,
    n_inputs: int,
    fn_name: str,
    linker: Linker,
    outlives: bool,
) -> Code:
    """Link a graph that is rewritten. Its inputs from ``n_inputs`` on are constants."""
    sources = {memo[var]: var for var in [*spec.inputs, *spec.shared]}
    linked = linker.link(
        fgraph,
        lambda var: _why_not_static(sources[var]) if var in sources else None,
    )
    static = linked.required.keys() | linked.preferred

    labels = Labels()
    signature = Signature(fn_name, tuple(_parameters(spec, memo, static, labels)))
    data = [
        Data(var.name, labels.unique(var.name, "data"), var.type, memo[var] in static)
        for var in spec.shared
    ]
    constants = [
        Data(
            None,
            labels.unique(var.name, "data"),
            var.type,
            static=var in static,
            small=not is_large(var.type.shape),
        )
        for var in fgraph.inputs[n_inputs:]
    ]
    everything = tuple(data + constants)
    parts = signature, fgraph, spec.form, everything, linker, linked
    return Code(*parts, outlives=outlives)


def _clone(spec: GraphSpec) -> tuple[FunctionGraph, dict[Any, Any]]:
    """A copy of the graph that we may rewrite, and a map from the user's variables to
    their copies. Inputs, shared variables and roots become plain variables."""
    leaves = [*spec.inputs, *spec.shared, *spec.roots]
    memo: dict[Any, Any] = {var: var.type(name=var.name) for var in leaves}
    clone_get_equiv(leaves, spec.outputs, False, False, memo=memo)
    outs = [memo[out] for out in spec.outputs]
    return FunctionGraph([memo[var] for var in leaves], outs, clone=False), memo


def _parameters(
    spec: GraphSpec,
    memo: Mapping[Variable, Variable],
    static: Collection[Variable],
    labels: Labels,
) -> list[Parameter]:
    """The parameters of the function: the key, if it takes one, and the inputs."""

    def kind_of_input(var: Variable) -> Literal["rng", "static", "array"]:
        if isinstance(var.type, RandomType):
            return "rng"
        return "static" if memo[var] in static else "array"

    parameters = [
        Parameter(
            var.name, labels.unique(var.name, "arg"), var.type, kind_of_input(var)
        )
        for var in spec.inputs
    ]
    if spec.roots:
        # Labelled last: an input named "key" keeps its name.
        label = labels.unique("key")
        parameters.insert(0, Parameter(label, label, PRNGKeyType(), "key"))
    return parameters


def _why_not_static(var: Variable) -> str | None:
    is_dense = kind_of(var.type) == "array"
    if is_dense and var.type.dtype.startswith(("int", "uint", "bool")):
        return None
    kind = "a shared variable" if isinstance(var, SharedVariable) else "an input"
    return f"is {kind} of type {describe(var.type)}"

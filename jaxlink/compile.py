"""`function`: graph -> rewrites -> link -> JAXFunction. Start reading here."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable, clone_get_equiv
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.random.type import RandomType

from jaxlink import dispatch as dispatch  # registers all rules
from jaxlink.call.graph_spec import (
    Givens,
    GraphSpec,
    read_graph_spec,
    refuse_updates,
)
from jaxlink.call.jax_function import JAXFunction
from jaxlink.call.precision import compiling_for, warn_of_64_bit
from jaxlink.call.program import Code, Program
from jaxlink.call.signature import Data, Labels, Parameter, Signature, identifier
from jaxlink.link.linker import Linker
from jaxlink.ops.streams import PRNGKeyType
from jaxlink.rewrites import rewrite, settle
from jaxlink.rewrites.random_key import collapse_to_key
from jaxlink.values.types import describe, kind_of

__all__ = ["compile_graph", "function"]


def function(
    inputs: Sequence[Variable],
    outputs: Variable | Sequence[Variable] | Mapping[str, Variable],
    *,
    givens: Givens | None = None,
    rngs: Sequence[Variable] | None = None,
    name: str | None = None,
    on_unused_input: Literal["raise", "warn", "ignore"] = "raise",
    host_callback: bool = False,
    updates: None = None,
) -> JAXFunction:
    """Compile a PyTensor graph to a JAX function.

    The function takes one PRNG key first if the graph is random, then the inputs. It
    returns JAX arrays only, updates nothing, and goes into any JAX transformation. The
    *t*-th draw along the *i*-th random generator uses the key
    ``fold_in(fold_in(key, i), t)``; generators are numbered in the order in which a
    walk from the first output to the last meets them.

    Arguments:
        inputs: the arguments, in order: any variables of the graph. A random generator
            among them (``pt.random.rng()``) is one more key, at its place. An integer
            input on which a shape depends becomes a static argument.
        outputs: one variable, for a function that returns an array; a list or tuple,
            for one that returns a tuple; a dict with string keys, for one that returns
            a dict (whose keys JAX sorts). A random generator comes back as a fresh key.
        givens: variables to replace in the graph, each with a variable or a value.
        rngs: the random generators in the order of their numbers, to fix these by hand.
            All of the graph's must be there; others just take up a number.
        name: the function's ``__name__``; default: the name of the first output.
        on_unused_input: what to do about an input that no output depends on.
        host_callback: whether an Op without a rule runs in Python, on the host, called
            from the JAX program (`jax.pure_callback`). Slow, but it works under
            ``jit``, ``vmap`` and, if PyTensor has a gradient for the Op, ``grad``. Else
            such an Op is an error.
        updates: refused. Write the state as an input and as an output.

    Returns:
        A `JAXFunction`.

    Raises:
        MissingInputError: the outputs depend on variables that are not inputs.
        UnsupportedOpError: an Op of the graph has no rule.
        DynamicShapeError: a shape depends on what is not known before the call.
        CompileError: base class of these; ``obstacles`` lists all that was found.
        TypeError, ValueError: the arguments of this call are wrong.

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
    spec = read_graph_spec(inputs, outputs, givens, rngs, on_unused_input)
    return compile_graph(spec, name, Linker(settle, host_callback))


def compile_graph(spec: GraphSpec, name: str | None, linker: Linker) -> JAXFunction:
    """Rewrite and link a graph."""
    fgraph, memo = _clone(spec)
    if spec.roots:
        collapse_to_key(fgraph, [memo[root] for root in spec.roots])
    n_inputs = len(fgraph.inputs)
    rewrite(fgraph)
    constants = fgraph.inputs[n_inputs:]

    sources = {memo[var]: var for var in [*spec.inputs, *spec.shared]}
    linked = linker.link(
        fgraph,
        lambda var: _why_not_static(sources[var]) if var in sources else None,
    )
    static = linked.required.keys() | linked.preferred

    names = [out.name for out in spec.outputs]
    fn_name = identifier(name or next(iter(names), None) or "fn")
    labels = Labels()
    parameters = _parameters(spec, memo, static, labels)
    captured = [
        (memo[var], var.name, var.get_value(borrow=True)) for var in spec.shared
    ]
    captured += [(var, None, var.get_value(borrow=True)) for var in constants]
    data = [
        Data(name, labels.unique(var.name, "data"), var.type, var in static)
        for var, name, _ in captured
    ]
    fixed, dynamic = [], []
    for each, (*_, value) in zip(data, captured, strict=True):
        if each.static:
            fixed.append(each.fix(fn_name, value))
        else:
            dynamic.append(each.capture(fn_name, value))

    if spec.form.form == "dict":
        names = list(spec.form.labels)
    with compiling_for(fn_name if name else "jaxlink.function"):
        warn_of_64_bit(fgraph, names, static)
    signature = Signature(fn_name, tuple(parameters))
    code = Code(signature, fgraph, spec.form, tuple(data), linker, linked)
    return JAXFunction(Program(code, tuple(fixed)), tuple(dynamic))


def _clone(spec: GraphSpec) -> tuple[FunctionGraph, dict[Any, Any]]:
    """A graph of our own to rewrite, rooted at plain variables, and what stands in it
    for each variable of the user's."""
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
    """The arguments of the function: the key, if there is one, and the inputs."""

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
        # Named after the inputs, so that it gives way to one that is called "key".
        label = labels.unique("key")
        parameters.insert(0, Parameter(label, label, PRNGKeyType(), "key"))
    return parameters


def _why_not_static(var: Variable) -> str | None:
    is_dense = kind_of(var.type) == "array"
    if is_dense and var.type.dtype.startswith(("int", "uint", "bool")):
        return None
    kind = "a shared variable" if isinstance(var, SharedVariable) else "an input"
    return f"is {kind} of type {describe(var.type)}"

"""`function`: graph -> rewrites -> link -> JAXFunction. Start reading here."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import jax
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable, clone_get_equiv
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType

from jaxlink import dispatch as dispatch  # registers all rules
from jaxlink.arguments import Data, Parameter, Signature
from jaxlink.errors import (
    MissingInputError,
    PrecisionWarning,
    UnsupportedOpError,
)
from jaxlink.function import JAXFunction, Outputs, Program
from jaxlink.linker import link
from jaxlink.rewrites import prepare, rng_roots
from jaxlink.static import describe, name_of

__all__ = ["function"]

Givens = Mapping[Variable, Any] | Iterable[tuple[Variable, Any]]


def function(
    inputs: Sequence[Variable],
    outputs: Variable | Sequence[Variable] | Mapping[str, Variable],
    *,
    givens: Givens | None = None,
    rngs: Sequence[Variable] | None = None,
    name: str | None = None,
    on_unused_input: Literal["raise", "warn", "ignore"] = "raise",
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
            a dict. A random generator comes back as a fresh key.
        givens: variables to replace in the graph, each with a variable or a value.
        rngs: the random generators in the order of their numbers, to fix these by hand.
            All of the graph's must be there; others just take up a number.
        name: the function's ``__name__``; default: the name of the first output.
        on_unused_input: what to do about an input that no output depends on.
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
    _refuse_updates(updates)
    inputs = _as_inputs(inputs)
    spec, outs = _as_outputs(outputs)
    outs = _apply_givens(outs, inputs, givens)
    _check_unused(inputs, outs, on_unused_input)

    roots = _numbered_roots(rng_roots(outs, inputs), rngs)
    shared = _shared_data(outs, inputs)
    fgraph, memo = _clone(outs, [*inputs, *shared, *roots])
    constants = prepare(fgraph, [memo[root] for root in roots])

    captured = [(memo[var], var) for var in shared] + constants
    own = [memo[var] for var in inputs]
    function_name = _identifier(name or (outs[0].name if outs else None) or "fn")
    own_reasons = {var: _why_not_static(var) for var in own}
    own_reasons |= {memo[var]: _why_not_static(var) for var in shared}
    linked = link(fgraph, own_reasons.get)

    labels = _Labels()
    key = fgraph.inputs[: 1 if roots else 0]
    # The key gives way to an input of the same name.
    own_labels = [labels.unique(var.name, "arg") for var in inputs]
    key_label = labels.unique("key")
    parameters = [Parameter(key_label, key_label, var.type, "key") for var in key]
    parameters += [
        Parameter(var.name, label, var.type, _kind(var, linked.demands))
        for var, label in zip(own, own_labels, strict=True)
    ]
    data = [
        Data(
            source.name if isinstance(source, SharedVariable) else None,
            labels.unique(source.name, "data"),
            var.type,
            var in linked.demands,
        )
        for var, source in captured
    ]
    signature = Signature(function_name, tuple(parameters))
    values = [_value(source) for _, source in captured]
    static_data = tuple(
        spec.fix(function_name, value)
        for spec, value in zip(data, values, strict=True)
        if spec.static
    )
    leaves = tuple(
        spec.capture(function_name, value)
        for spec, value in zip(data, values, strict=True)
        if not spec.static
    )
    x64 = bool(jax.config.jax_enable_x64)
    if not x64:
        _warn_of_64_bit(function_name, fgraph)
    program = Program(signature, fgraph, spec, tuple(data), static_data, x64, linked)
    return JAXFunction(program, leaves)


def _refuse_updates(updates: Any) -> None:
    if updates is None:
        return
    pairs = updates.items() if isinstance(updates, Mapping) else updates
    names = [var.name or "state" for var, _ in pairs] or ["state"]
    state, new = names[0], f"new_{names[0]}"
    raise TypeError(
        "jaxlink.function takes no `updates`, because a JAX function changes nothing. "
        "Write the state as an input and its new value as an output, and carry it "
        "yourself:\n"
        f"    step = jaxlink.function([{state}, ...], [{new}, ...])\n"
        f"    {state}, ... = step({state}, ...)\n"
        "(Random generators need no updates: pass another key.)"
    )


def _as_inputs(inputs: Any) -> list[Variable]:
    if isinstance(inputs, Variable) or not isinstance(inputs, Sequence):
        raise TypeError(
            f"inputs must be a list of variables, not {type(inputs).__name__}: write "
            "jaxlink.function([x], ...)."
        )
    for i, var in enumerate(inputs):
        if not isinstance(var, Variable):
            raise TypeError(
                f"input {i} must be a PyTensor variable, not {type(var).__name__} "
                f"({var!r})."
            )
        if isinstance(var, Constant):
            raise TypeError(f"input {i} is the constant {var}, which is no argument.")
        _check_type(f"input {i}", var)
    repeated = {name_of(var) for i, var in enumerate(inputs) if var in inputs[:i]}
    if repeated:
        raise ValueError(f"inputs holds {', '.join(repeated)} more than once.")
    return list(inputs)


def _as_outputs(outputs: Any) -> tuple[Outputs, list[Variable]]:
    form: Literal["one", "tuple", "dict"] = "tuple"
    if isinstance(outputs, Variable):
        form, named = "one", {"out": outputs}
    elif isinstance(outputs, Mapping):
        form, named = "dict", dict(outputs)
        if not all(isinstance(label, str) for label in named):
            raise TypeError("the keys of a dict of outputs must be strings.")
    elif isinstance(outputs, Sequence) and not isinstance(outputs, str):
        named = {f"output {i}": var for i, var in enumerate(outputs)}
    else:
        raise TypeError(
            "outputs must be a variable, a list or tuple of variables, or a dict of "
            f"them, not {type(outputs).__name__}."
        )
    for label, var in named.items():
        if not isinstance(var, Variable):
            raise TypeError(
                f"{label} must be a PyTensor variable, not {type(var).__name__} "
                f"({var!r})."
            )
        _check_type(label, var)
    labels = [
        label if form == "dict" else var.name or label.replace("output ", "out")
        for label, var in named.items()
    ]
    return Outputs(form, tuple(labels)), list(named.values())


def _check_type(label: str, var: Variable) -> None:
    if not isinstance(var.type, TensorType | ScalarType | RandomType):
        raise UnsupportedOpError(
            f"{label}, {name_of(var)}, is of type {var.type}, which is no JAX data. "
            "A compiled function takes and returns tensors, scalars and random "
            "generators."
        )


def _apply_givens(
    outs: list[Variable], inputs: list[Variable], givens: Givens | None
) -> list[Variable]:
    pairs = dict(givens or {})
    if not pairs:
        return outs
    replacements = {}
    for var, new in pairs.items():
        if not isinstance(var, Variable):
            raise TypeError(f"givens replaces variables, not {var!r}.")
        if var in inputs:
            raise ValueError(f"{name_of(var)} is an input and replaced by givens too.")
        if not isinstance(new, Variable):
            new = var.type.constant_type(var.type, var.type.filter(new))
        replacements[var] = var.type.filter_variable(new)
    memo = clone_get_equiv(
        [*replacements, *inputs], outs, False, False, memo=dict(replacements)
    )
    return [memo[out] for out in outs]


def _check_unused(inputs: list[Variable], outs: list[Variable], action: str) -> None:
    if action not in ("raise", "warn", "ignore"):
        raise ValueError(
            f'on_unused_input must be "raise", "warn" or "ignore", not {action!r}.'
        )
    used = set(ancestors(outs, inputs))
    unused = ", ".join(name_of(var) for var in inputs if var not in used)
    if not unused or action == "ignore":
        return
    message = (
        f"no output depends on {unused}. Remove it from the inputs, or pass "
        'on_unused_input="ignore".'
    )
    if action == "raise":
        raise ValueError(message)
    warnings.warn(message, UserWarning, stacklevel=3)


def _numbered_roots(
    found: list[Variable], rngs: Sequence[Variable] | None
) -> list[Variable]:
    if rngs is None:
        return found
    for var in rngs:
        if not isinstance(var, Variable) or not isinstance(var.type, RandomType):
            raise TypeError(f"rngs lists random generators, and {var!r} is none.")
    if len(set(rngs)) < len(rngs):
        raise ValueError("rngs holds a random generator more than once.")
    missing = ", ".join(name_of(var) for var in found if var not in rngs)
    if missing:
        raise ValueError(
            f"rngs must list every random generator of the graph, but lacks {missing}."
        )
    return list(rngs) if found else []


def _shared_data(outs: list[Variable], inputs: list[Variable]) -> list[Variable]:
    """The shared variables that are data, in the order of the walk from the outputs.

    Raises:
        MissingInputError: the walk meets variables that have no value.
    """
    shared, missing = [], []
    for var in graph_inputs(list(reversed(outs)), inputs):
        if var in inputs or isinstance(var.type, RandomType):
            if var not in inputs and not isinstance(var, SharedVariable | Constant):
                missing.append(var)
        elif isinstance(var, SharedVariable):
            _check_type("the shared variable", var)
            shared.append(var)
        elif not isinstance(var, Constant):
            missing.append(var)
    if missing:
        names = ", ".join(f"{name_of(v)} ({describe(v.type)})" for v in missing)
        raise MissingInputError(
            f"the outputs depend on {names}, not among the inputs and without a value. "
            "Add to `inputs` what is missing, or replace it by `givens`."
        )
    return shared


def _clone(
    outs: list[Variable], leaves: list[Variable]
) -> tuple[FunctionGraph, dict[Any, Any]]:
    """A graph of its own to rewrite, rooted at plain copies of ``leaves``."""
    memo: dict[Any, Any] = {var: var.type(name=var.name) for var in leaves}
    clone_get_equiv(leaves, outs, False, False, memo=memo)
    fgraph = FunctionGraph(
        [memo[var] for var in leaves], [memo[out] for out in outs], clone=False
    )
    return fgraph, memo


def _value(source: Variable) -> Any:
    if isinstance(source, Constant):
        return source.data
    return source.get_value(borrow=True)


def _why_not_static(var: Variable) -> str | None:
    dtype = getattr(var.type, "dtype", "")
    if dtype.startswith(("int", "uint", "bool")):
        return None
    kind = "a shared variable" if isinstance(var, SharedVariable) else "an input"
    return f"is {kind} of type {describe(var.type)}"


def _kind(var: Variable, demanded: Any) -> Literal["rng", "static", "array"]:
    if isinstance(var.type, RandomType):
        return "rng"
    return "static" if var in demanded else "array"


class _Labels:
    """Unique identifiers for variables, whose names are anything or nothing."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def unique(self, name: str | None, default: str = "arg") -> str:
        base, separator = (_identifier(name), "_") if name else (default, "")
        label = base if name else f"{base}0"
        number = count(1)
        while label in self.taken:
            label = f"{base}{separator}{next(number)}"
        self.taken.add(label)
        return label


def _identifier(name: str) -> str:
    cleaned = re.sub(r"\W", "_", name)
    return cleaned if cleaned.isidentifier() else f"_{cleaned}"


def _warn_of_64_bit(name: str, fgraph: FunctionGraph) -> None:
    """Say once what is about to lose precision.

    Integers inside the graph are shapes and indices nearly always, so only those that
    come in or go out count.
    """
    ends = {*fgraph.inputs, *fgraph.outputs}
    wide = [
        var
        for var in fgraph.variables
        if getattr(var.type, "dtype", None) in ("float64", "complex128")
        or (var in ends and getattr(var.type, "dtype", None) in ("int64", "uint64"))
    ]
    if not wide:
        return
    named = sorted({f"`{v.name}`" for v in wide if v.name}) or ["unnamed variables"]
    more = ", ..." if len(named) > 3 else ""
    warnings.warn(
        f"jax_enable_x64 is off, so 64-bit variables of {name}() become 32-bit: "
        f"{', '.join(named[:3])}{more}. Either call "
        'jax.config.update("jax_enable_x64", True) first, or build the graph in 32 '
        'bits (pytensor.config.floatX = "float32").',
        PrecisionWarning,
        stacklevel=3,
    )

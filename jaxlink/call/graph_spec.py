"""The arguments of `jaxlink.function`, checked before anything is built."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable, clone_get_equiv
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.random.type import RandomType

from jaxlink.call.program import Outputs
from jaxlink.errors import MissingInputError, UnsupportedOpError
from jaxlink.rewrites.random_key import rng_roots
from jaxlink.values.types import describe, kind_of, name_of

__all__ = ["Givens", "GraphSpec", "read_graph_spec"]

Givens = Mapping[Variable, Any] | Iterable[tuple[Variable, Any]]


@dataclass(frozen=True)
class GraphSpec:
    """A graph to compile.

    Attributes:
        inputs, outputs: its variables.
        form: whether the outputs are returned as an array, a tuple or a dict.
        roots: the random generators that become streams of the key, by number.
        shared: the shared variables that hold data.
    """

    inputs: list[Variable]
    outputs: list[Variable]
    form: Outputs
    roots: list[Variable]
    shared: list[Variable]


def read_graph_spec(
    inputs: Any,
    outputs: Any,
    givens: Givens | None = None,
    rngs: Sequence[Variable] | None = None,
    on_unused_input: str = "raise",
) -> GraphSpec:
    """Check the arguments of `jaxlink.function`, which documents what this raises."""
    variables = _as_inputs(inputs)
    form, outs = _as_outputs(outputs)
    outs = _apply_givens(outs, variables, givens)
    _check_unused(variables, outs, on_unused_input)
    roots = _numbered_roots(rng_roots(outs, variables), rngs)
    return GraphSpec(variables, outs, form, roots, _shared_data(outs, variables))


def refuse_updates(updates: Any) -> None:
    """Raise a TypeError unless ``updates`` is ``None``."""
    if updates is None:
        return
    pairs = updates.items() if isinstance(updates, Mapping) else updates
    names = [var.name or "state" for var, _ in pairs] or ["state"]
    state, new = names[0], f"new_{names[0]}"
    raise TypeError(
        "jaxlink.function takes no `updates`, because a JAX function mutates nothing. "
        "Make the state an input and its new value an output, and carry it yourself:\n"
        f"    step = jaxlink.function([{state}, ...], [{new}, ...])\n"
        f"    {state}, ... = step({state}, ...)\n"
        "(Random generators need no updates: pass a new key.)"
    )


def refuse_generators(spec: GraphSpec) -> None:
    """Raise if a function without a key would return one."""
    returned = [var for var in spec.outputs if isinstance(var.type, RandomType)]
    if spec.roots and returned:
        names = ", ".join(map(name_of, returned))
        raise UnsupportedOpError(
            f"{names} is a random generator, and a function that is compiled with "
            "key=False has no key to return for it. Leave it out of the outputs, or "
            "compile with key=True."
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
            raise TypeError(
                f"input {i} is the constant {var}, which is not an argument."
            )
        _check_type(f"input {i}", var)
    repeated = {name_of(var) for i, var in enumerate(inputs) if var in inputs[:i]}
    if repeated:
        raise ValueError(f"inputs contains {', '.join(repeated)} more than once.")
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
    element = var.type
    while kind_of(element) == "list":
        element = element.ttype
    if kind_of(element) == "other":
        raise UnsupportedOpError(
            f"{label}, {name_of(var)}, has type {var.type}, which JAX does not have. "
            "A compiled function takes and returns tensors (dense, sparse or with "
            "named dimensions), scalars, lists of these, and random generators."
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
            raise ValueError(
                f"{name_of(var)} is an input, so givens cannot replace it."
            )
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
    warnings.warn(message, UserWarning, stacklevel=4)


def _numbered_roots(
    found: list[Variable], rngs: Sequence[Variable] | None
) -> list[Variable]:
    if rngs is None:
        return found
    for var in rngs:
        if not isinstance(var, Variable) or not isinstance(var.type, RandomType):
            raise TypeError(f"rngs must list random generators, not {var!r}.")
    if len(set(rngs)) < len(rngs):
        raise ValueError("rngs contains a random generator more than once.")
    missing = ", ".join(name_of(var) for var in found if var not in rngs)
    if missing:
        raise ValueError(
            f"rngs must list every random generator in the graph; {missing} is missing."
        )
    return list(rngs) if found else []


def _shared_data(outs: list[Variable], inputs: list[Variable]) -> list[Variable]:
    """The shared variables that hold data, in the order of a walk from the outputs.

    Raises:
        MissingInputError: the outputs depend on variables that have no value.
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
            f"the outputs depend on {names}, neither an input nor a shared variable. "
            "Add what is missing to `inputs`, or replace it with `givens`."
        )
    return shared

"""Turn a graph into a function of values: one rule a node, in topological order.

Linking has three parts. Stage one of each node's rule runs first and yields a function
of values. Then the demands for static operands are followed backwards through the
graph; what they reach must be a constant, a shape or an input that can be static.
Obstacles of both parts are collected, and raised together. The third part, walking the
steps with values, happens whenever JAX traces the function.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph
from pytensor.tensor.random.type import RandomType

from jaxlink.dispatch.callback import host_callback as host_callback_rule
from jaxlink.dispatch.registry import Linked, Rule, find_rule
from jaxlink.errors import (
    CompileError,
    DynamicShapeError,
    JaxlinkError,
    RuleError,
    UnsupportedOpError,
    raise_all,
)
from jaxlink.static import (
    canonical,
    describe,
    evaluate,
    is_static,
    kind_of,
    name_of,
    to_jax,
)


@dataclass
class Step:
    """One node with stage two of its rule."""

    node: AbstractApply
    rule: Rule
    run: Callable[..., Any]
    static: tuple[int, ...]
    wished: tuple[int, ...] = ()
    demanded: bool = False

    def __call__(self, operands: Sequence[Any]) -> Sequence[Any]:
        known = all(map(is_static, operands))
        if self.rule.inner:
            if known and self.demanded:
                return _now(lambda: self._outputs(self.run(*operands)))
            return self._outputs(self.run(*operands))
        by_jax = self.rule.known is True or (self.rule.lazy and not self.demanded)
        if known and not by_jax:
            return evaluate(self.node, operands)
        inputs = self.node.inputs
        return self._outputs(
            self.run(
                *(
                    self._static_operand(i, value)
                    if i in self.static
                    else to_jax(value, f"the operand {name_of(inputs[i])}")
                    for i, value in enumerate(operands)
                )
            )
        )

    def _static_operand(self, i: int, value: Any) -> Any:
        if is_static(value):
            return value
        raise _dynamic(self.node, i, self.node.inputs[i], "is traced by JAX")

    def _outputs(self, outs: Any) -> Sequence[Any]:
        if not isinstance(outs, tuple | list):
            outs = (outs,)
        if len(outs) != len(self.node.outputs):
            raise RuleError(
                f"the rule of {self.node.op} returned {len(outs)} values for "
                f"{len(self.node.outputs)} outputs."
            )
        pairs = zip(outs, self.node.outputs, strict=True)
        return [self._conform(value, var) for value, var in pairs]

    def _conform(self, value: Any, var: Variable) -> Any:
        """``value``, once it is seen to be of its variable's dtype and rank."""
        type_ = var.type
        kind = kind_of(type_)
        if is_static(value) or kind not in ("array", "sparse"):
            return value
        dtype = canonical(type_.dtype)
        is_array = isinstance(value, jax.Array if kind == "array" else BCOO)
        if not is_array or value.dtype != dtype or value.ndim != type_.ndim:
            raise RuleError(
                f"the rule of {self.node.op} returned {value!r}, but its output is "
                f"{describe(type_)} (here {dtype})."
            )
        # A weak type would leak into the promotion of all that follows.
        weak = kind == "array" and value.weak_type
        return jnp.asarray(value, dtype) if weak else value


def _now(run: Callable[[], Sequence[Any]]) -> list[Any]:
    """The outputs of ``run``, computed by JAX while it traces, as static values."""
    with jax.ensure_compile_time_eval():
        outs = run()
    return [np.asarray(out) if isinstance(out, jax.Array) else out for out in outs]


@dataclass
class GraphFunction:
    """A graph as a function of its inputs' values.

    ``static`` holds the indices of the inputs that must be static, ``wished`` those of
    the inputs that are better static, but need not be.
    """

    inputs: Sequence[Variable]
    outputs: Sequence[Variable]
    steps: list[Step]
    static: tuple[int, ...] = ()
    wished: tuple[int, ...] = ()
    demands: dict[Variable, tuple[AbstractApply, int]] = field(default_factory=dict)
    wishes: set[Variable] = field(default_factory=set)

    def __call__(self, *values: Any) -> list[Any]:
        env: dict[Variable, Any] = dict(zip(self.inputs, values, strict=True))

        def value_of(var: Variable) -> Any:
            return var.data if isinstance(var, Constant) else env[var]

        for step in self.steps:
            node = step.node
            try:
                outs = step([value_of(var) for var in node.inputs])
            except JaxlinkError:
                raise
            except Exception as error:
                error.add_note(f"while jaxlink traced {_describe_node(node)}")
                raise
            env.update(zip(node.outputs, outs, strict=True))
        return [value_of(var) for var in self.outputs]


def link(
    fgraph: AbstractFunctionGraph,
    why_not_static: Callable[[Variable], str | None] = lambda var: None,
    varying: Collection[int] = (),
    *,
    host_callback: bool = False,
) -> GraphFunction:
    """Link ``fgraph``.

    Arguments:
        fgraph: the rewritten graph, or an inner graph of one of its Ops.
        why_not_static: the reason why an input cannot be static, or ``None`` if it can.
        varying: inputs that are different each time, so that no wish reaches them.
        host_callback: whether an Op that has no rule is called in Python.

    Raises:
        UnsupportedOpError, DynamicShapeError: the graph cannot become a JAX function;
            one error lists all obstacles.
    """
    obstacles: list[CompileError] = []
    steps = list(_steps(fgraph, obstacles, host_callback))
    function = GraphFunction(list(fgraph.inputs), list(fgraph.outputs), steps)
    function.demands = _demands(function, obstacles, why_not_static)
    function.wishes = _wishes(function, why_not_static, varying)
    raise_all(obstacles)
    function.static = tuple(
        i for i, var in enumerate(function.inputs) if var in function.demands
    )
    function.wished = tuple(
        i for i, var in enumerate(function.inputs) if var in function.wishes
    )
    return function


def _steps(
    fgraph: AbstractFunctionGraph,
    obstacles: list[CompileError],
    host_callback: bool,
) -> Iterable[Step]:
    inner_link = partial(link, host_callback=host_callback)
    known: set[Variable] = set()
    unruled: dict[type, list[AbstractApply]] = {}
    for node in fgraph.toposort():
        rule = find_rule(node.op)
        if rule is not None:
            known.update(rule.known_outputs(node))
        if _all_known(node, known):
            known.update(node.outputs)
        try:
            if rule is not None:
                yield _step(node, rule, inner_link)
            elif known.issuperset(node.outputs):
                yield _step(node, _BY_PYTENSOR, inner_link)
            elif host_callback:
                yield _step(node, _BY_HOST, inner_link)
            else:
                unruled.setdefault(type(node.op), []).append(node)
        except CompileError as error:
            refused = all(isinstance(o, UnsupportedOpError) for o in error.obstacles)
            if not (host_callback and rule is not None and refused):
                obstacles.extend(error.obstacles)
                continue
            try:
                yield _step(node, _BY_HOST, inner_link)
            except CompileError as second_error:
                obstacles.extend([*error.obstacles, *second_error.obstacles])
    for op_type, nodes in unruled.items():
        where = ", ".join(_describe_node(node) for node in nodes[:3])
        more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
        obstacles.append(
            UnsupportedOpError(
                f"jaxlink has no rule for the Op {op_type.__module__}."
                f"{op_type.__qualname__}, used by {where}{more}. Write one with "
                f"@jaxlink.rule({op_type.__name__}), rewrite the graph without it, or "
                "pass host_callback=True to jaxlink.function to run it in Python."
            )
        )


def _step(node: AbstractApply, rule: Rule, inner_link: Callable[..., Any]) -> Step:
    args = (node.op, node, inner_link) if rule.inner else (node.op, node)
    built: Linked | Callable[..., Any] = rule.build(*args)
    static = rule.static_operands(node.op, node)
    if isinstance(built, Linked):
        operands = tuple({*static, *built.static})
        return Step(node, rule, built.run, operands, built.wished)
    return Step(node, rule, built, static)


def _all_known(node: AbstractApply, known: set[Variable]) -> bool:
    """Whether all operands are constants or shapes, or computed from such."""
    return all(
        (isinstance(var, Constant) and kind_of(var.type) != "generator") or var in known
        for var in node.inputs
    )


def _left_to_pytensor(op: Any, node: Any) -> Callable[..., Any]:
    def run(*operands: Any) -> Any:
        raise AssertionError(f"the operands of {op} are known: PyTensor evaluates it")

    return run


_BY_PYTENSOR = Rule(_left_to_pytensor)
_BY_HOST = Rule(host_callback_rule, inner=True)


def _demands(
    function: GraphFunction,
    obstacles: list[CompileError],
    why_not_static: Callable[[Variable], str | None],
) -> dict[Variable, tuple[AbstractApply, int]]:
    """All variables whose value is needed before the call, each with who needs it.

    A demand goes from an output of a node to all its operands, and ends at a shape, a
    constant or an input. At anything else it is an obstacle.
    """
    inputs = set(function.inputs)
    demands: dict[Variable, tuple[AbstractApply, int]] = {}
    refused: set[tuple[Variable, AbstractApply, int]] = set()

    def demand(var: Variable, by: tuple[AbstractApply, int]) -> None:
        if isinstance(var, Constant) or var in demands:
            return
        reason = None
        if var in inputs:
            reason = why_not_static(var)
        elif any(isinstance(i.type, RandomType) for i in var.owner.inputs):
            reason = f"is a draw of {getattr(var.owner.op, 'name', var.owner.op)}"
        if reason is None:
            demands[var] = by
        elif (var, *by) not in refused:
            refused.add((var, *by))
            obstacles.append(_dynamic(*by, var, reason))

    for step in reversed(function.steps):
        node = step.node
        unknown = set(node.outputs) - step.rule.known_outputs(node)
        by = next((demands[out] for out in unknown if out in demands), None)
        if by is not None:
            step.demanded = True
            for var in node.inputs:
                demand(var, by)
        for i in step.static:
            demand(node.inputs[i], (node, i))
    return demands


def _wishes(
    function: GraphFunction,
    why_not_static: Callable[[Variable], str | None],
    varying: Collection[int],
) -> set[Variable]:
    """All variables that some node is better off to know before the call, of those that
    can be known then."""
    inputs = {var: i for i, var in enumerate(function.inputs)}
    known_outputs = {
        out for step in function.steps for out in step.rule.known_outputs(step.node)
    }

    def can_be_known(var: Variable) -> bool:
        pending, seen = [var], {var}
        while pending:
            var = pending.pop()
            if var in inputs:
                if inputs[var] in varying or why_not_static(var) is not None:
                    return False
            elif not isinstance(var, Constant) and var not in known_outputs:
                new = set(var.owner.inputs) - seen
                if any(isinstance(i.type, RandomType) for i in new):
                    return False
                seen |= new
                pending.extend(new)
        return True

    wishes: set[Variable] = set()
    for step in reversed(function.steps):
        unknown = set(step.node.outputs) - known_outputs
        if not wishes.isdisjoint(unknown):
            step.demanded = True
            wishes.update(step.node.inputs)
        wishes.update(
            step.node.inputs[i]
            for i in step.wished
            if can_be_known(step.node.inputs[i])
        )
    return wishes


def _dynamic(
    node: AbstractApply, operand: int, var: Variable, reason: str
) -> DynamicShapeError:
    direct = var is node.inputs[operand]
    which = f"{name_of(var)}, which {reason}"
    source = f"{name_of(var)} {reason}" if direct else f"it depends on {which}"
    way_out = getattr(node.tag, "needed_because", None) or (
        "Either fix the size (a constant, a shape, an integer input), or allocate an "
        "upper bound and mask it."
    )
    return DynamicShapeError(
        f"{_describe_node(node)} needs its operand {operand}, "
        f"{name_of(node.inputs[operand])}, before the function runs, but {source}. "
        f"A JAX array cannot change its shape between calls. {way_out}"
    )


def _describe_node(node: AbstractApply) -> str:
    named = [out.name for out in node.outputs if out.name]
    return f"`{node.op}`" + (f" (which computes `{named[0]}`)" if named else "")

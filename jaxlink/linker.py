"""Turn a graph into a function of values: one rule a node, in topological order.

Linking has three parts. Stage one of each node's rule runs first and yields a function
of values. Then the demands for static operands are followed backwards through the
graph; what they reach must be a constant, a shape or an input that can be static.
Obstacles of both parts are collected, and raised together. The third part, walking the
steps with values, happens whenever JAX traces the function.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import TensorType

from jaxlink.dispatch.registry import Linked, Rule, find_rule
from jaxlink.errors import (
    CompileError,
    DynamicShapeError,
    JaxlinkError,
    RuleError,
    UnsupportedOpError,
    raise_all,
)
from jaxlink.static import canonical, describe, evaluate, is_static, name_of, to_jax


@dataclass
class Step:
    """One node with stage two of its rule."""

    node: AbstractApply
    rule: Rule
    run: Callable[..., Any]
    static: tuple[int, ...]
    demanded: bool = False

    def __call__(self, operands: Sequence[Any]) -> Sequence[Any]:
        known = all(map(is_static, operands))
        if self.rule.inner:
            if known and self.demanded:
                return _now(lambda: self._outputs(self.run(*operands)))
            return self._outputs(self.run(*operands))
        by_pytensor = not self.rule.known and (self.demanded or not self.rule.lazy)
        if known and by_pytensor:
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
        if is_static(value) or not isinstance(type_, TensorType | ScalarType):
            return value
        dtype = canonical(type_.dtype)
        is_array = isinstance(value, jax.Array)
        if not is_array or value.dtype != dtype or value.ndim != type_.ndim:
            raise RuleError(
                f"the rule of {self.node.op} returned {value!r}, but its output is "
                f"{describe(type_)} (here {dtype})."
            )
        # A weak type would leak into the promotion of all that follows.
        return jnp.asarray(value, dtype) if value.weak_type else value


def _now(run: Callable[[], Sequence[Any]]) -> list[Any]:
    """The outputs of ``run``, computed by JAX while it traces, as static values."""
    with jax.ensure_compile_time_eval():
        outs = run()
    return [np.asarray(out) if isinstance(out, jax.Array) else out for out in outs]


@dataclass
class GraphFunction:
    """A graph as a function of its inputs' values.

    ``static`` holds the indices of the inputs that must be static.
    """

    inputs: Sequence[Variable]
    outputs: Sequence[Variable]
    steps: list[Step]
    static: tuple[int, ...] = ()
    demands: dict[Variable, tuple[AbstractApply, int]] = field(default_factory=dict)

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
) -> GraphFunction:
    """Link ``fgraph``.

    Arguments:
        fgraph: the rewritten graph, or an inner graph of one of its Ops.
        why_not_static: the reason why an input cannot be static, or ``None`` if it can.

    Raises:
        UnsupportedOpError, DynamicShapeError: the graph cannot become a JAX function;
            one error lists all obstacles.
    """
    obstacles: list[CompileError] = []
    steps = list(_steps(fgraph, obstacles))
    function = GraphFunction(list(fgraph.inputs), list(fgraph.outputs), steps)
    function.demands = _demands(function, obstacles, why_not_static)
    raise_all(obstacles)
    function.static = tuple(
        i for i, var in enumerate(function.inputs) if var in function.demands
    )
    return function


def _steps(
    fgraph: AbstractFunctionGraph, obstacles: list[CompileError]
) -> Iterable[Step]:
    unruled: dict[type, list[AbstractApply]] = {}
    for node in fgraph.toposort():
        rule = find_rule(node.op)
        if rule is None:
            unruled.setdefault(type(node.op), []).append(node)
            continue
        try:
            args = (node.op, node, link) if rule.inner else (node.op, node)
            built: Linked | Callable[..., Any] = rule.build(*args)
        except CompileError as error:
            obstacles.extend(error.obstacles)
            continue
        static = rule.static_operands(node.op, node)
        if isinstance(built, Linked):
            yield Step(node, rule, built.run, tuple({*static, *built.static}))
        else:
            yield Step(node, rule, built, static)
    for op_type, nodes in unruled.items():
        where = ", ".join(_describe_node(node) for node in nodes[:3])
        more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
        obstacles.append(
            UnsupportedOpError(
                f"jaxlink has no rule for the Op {op_type.__module__}."
                f"{op_type.__qualname__}, used by {where}{more}. Write one with "
                f"@jaxlink.rule({op_type.__name__}), or rewrite the graph without it."
            )
        )


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
        by = next((demands[out] for out in node.outputs if out in demands), None)
        if by is not None and not step.rule.known:
            step.demanded = True
            for var in node.inputs:
                demand(var, by)
        for i in step.static:
            demand(node.inputs[i], (node, i))
    return demands


def _dynamic(
    node: AbstractApply, operand: int, var: Variable, reason: str
) -> DynamicShapeError:
    direct = var is node.inputs[operand]
    which = f"{name_of(var)}, which {reason}"
    source = f"{name_of(var)} {reason}" if direct else f"it depends on {which}"
    return DynamicShapeError(
        f"{_describe_node(node)} needs its operand {operand}, "
        f"{name_of(node.inputs[operand])}, before the function runs, but {source}. "
        "A JAX array cannot change its shape between calls. Either fix the size (a "
        "constant, a shape, an integer input), or allocate an upper bound and mask it."
    )


def _describe_node(node: AbstractApply) -> str:
    named = [out.name for out in node.outputs if out.name]
    return f"`{node.op}`" + (f" (which computes `{named[0]}`)" if named else "")

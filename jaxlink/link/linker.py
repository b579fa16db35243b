"""Turn a graph into a function of values: one rule per node, in topological order.

First, stage one of each node's rule runs and returns a function of values. Then the
linker follows the operands that must be static backwards through the graph, to
constants, shapes or inputs that can be static. It collects the obstacles of both parts
and raises them together. The last part, walking the steps with values, runs whenever
JAX traces the function.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph, FunctionGraph

from jaxlink.dispatch.host_callback import can_run_in_python, host_callback
from jaxlink.dispatch.registry import Linked, Rule, find_rule
from jaxlink.errors import (
    CompileError,
    JaxlinkError,
    UnsupportedOpError,
    raise_all,
)
from jaxlink.link.static_operands import follow_preferred, follow_required
from jaxlink.link.step import Step, describe_node, made_at
from jaxlink.values.types import kind_of

__all__ = ["GraphFunction", "Linker"]

Why = Callable[[Variable], str | None]


@dataclass(frozen=True)
class GraphFunction:
    """A graph as a function of its inputs' values.

    Attributes:
        inputs, outputs, steps: the graph.
        required: the variables that must be static, each with the node and the operand
            number that require it.
        preferred: the variables that some node prefers static, and that can be.
    """

    inputs: Sequence[Variable]
    outputs: Sequence[Variable]
    steps: Sequence[Step]
    required: dict[Variable, tuple[AbstractApply, int]]
    preferred: set[Variable]

    @property
    def static(self) -> tuple[int, ...]:
        """The indices of the inputs that must be static."""
        return tuple(i for i, var in enumerate(self.inputs) if var in self.required)

    @property
    def preferred_static(self) -> tuple[int, ...]:
        """The indices of the inputs that are preferred static."""
        return tuple(i for i, var in enumerate(self.inputs) if var in self.preferred)

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
                error.add_note(f"while jaxlink traced {describe_node(node)}")
                raise
            env.update(zip(node.outputs, outs, strict=True))
        return [value_of(var) for var in self.outputs]


@dataclass(frozen=True)
class Linker:
    """Links graphs. A rule for an Op with an inner graph gets one, as ``link``.

    Attributes:
        rewrite: rewrites a graph that a rule made, before it is linked.
        host_callback: whether an Op without a rule runs in Python.
        checks_fail_at_call: whether a check that is known to fail raises when the
            function is called, not when it is compiled.
        in_pullback: whether the graph is an Op's own pullback.
    """

    rewrite: Callable[[FunctionGraph], None]
    host_callback: bool = False
    checks_fail_at_call: bool = False
    in_pullback: bool = False

    def __call__(self, fgraph: AbstractFunctionGraph) -> GraphFunction:
        """Rewrite and link a graph that a rule made, or the inner graph of an Op that
        `jaxlink.rewrites.inner_graphs` does not know."""
        own = fgraph.unfreeze() if hasattr(fgraph, "unfreeze") else fgraph
        self.rewrite(own)
        return self.link(own)

    def of_pullback(self) -> "Linker":
        """A linker for an Op's pullback."""
        return replace(self, in_pullback=True)

    def link(
        self,
        fgraph: AbstractFunctionGraph,
        why_not_static: Why = lambda var: None,
        varying: Collection[int] = (),
    ) -> GraphFunction:
        """Link ``fgraph``, which is already rewritten.

        Arguments:
            why_not_static: returns the reason why an input cannot be static, or
                ``None`` if it can.
            varying: indices of inputs that change from call to call, and so are never
                preferred static.

        Raises:
            UnsupportedOpError, DynamicShapeError: the graph cannot become a JAX
                function. One error lists all obstacles.
        """
        obstacles: list[CompileError] = []
        inputs = list(fgraph.inputs)
        steps = list(self._steps(fgraph, obstacles))
        required = follow_required(inputs, steps, obstacles, why_not_static)
        preferred = follow_preferred(inputs, steps, why_not_static, varying)
        raise_all(obstacles)
        return GraphFunction(inputs, list(fgraph.outputs), steps, required, preferred)

    def _steps(
        self, fgraph: AbstractFunctionGraph, obstacles: list[CompileError]
    ) -> Iterable[Step]:
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
                    yield self._step(node, rule)
                elif known.issuperset(node.outputs):
                    yield self._step(node, _BY_PYTENSOR)
                elif self.host_callback:
                    yield self._step(node, _BY_HOST)
                else:
                    unruled.setdefault(type(node.op), []).append(node)
            except CompileError as error:
                refused = all(
                    isinstance(o, UnsupportedOpError) for o in error.obstacles
                )
                if not (self.host_callback and rule is not None and refused):
                    obstacles.extend(error.obstacles)
                    continue
                try:
                    yield self._step(node, _BY_HOST)
                except CompileError as second_error:
                    reasons = [*error.obstacles, *second_error.obstacles]
                    obstacles.extend({str(o): o for o in reasons}.values())
        for op_type, nodes in unruled.items():
            obstacles.append(self._without_rule(op_type, nodes))

    def _step(self, node: AbstractApply, rule: Rule) -> Step:
        args = (node.op, node, self) if rule.inner else (node.op, node)
        built: Linked | Callable[..., Any] = rule.build(*args)
        static = rule.static_operands(node.op, node)
        if isinstance(built, Linked):
            operands = tuple({*static, *built.static})
            return Step(node, rule, built.run, operands, built.preferred)
        return Step(node, rule, built, static)

    def _without_rule(
        self, op_type: type, nodes: Sequence[AbstractApply]
    ) -> UnsupportedOpError:
        where = ", ".join(describe_node(node) + made_at(node) for node in nodes[:3])
        more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
        hosted = all(can_run_in_python(node, self) for node in nodes)
        in_python = ", or pass host_callback=True to run it in Python" * hosted
        return UnsupportedOpError(
            f"jaxlink has no rule for the Op {op_type.__module__}."
            f"{op_type.__qualname__}, used by {where}{more}. Write one with "
            f"@jaxlink.rule({op_type.__name__}), or rewrite the graph without it"
            f"{in_python}."
        )


def _all_known(node: AbstractApply, known: set[Variable]) -> bool:
    """Whether all operands are constants, shapes or computed from these."""
    return all(
        (isinstance(var, Constant) and kind_of(var.type) != "generator") or var in known
        for var in node.inputs
    )


def _left_to_pytensor(op: Any, node: Any) -> Callable[..., Any]:
    def run(*operands: Any) -> Any:
        raise AssertionError(f"PyTensor evaluates {op}, because its operands are known")

    return run


# All operands are required, because a lazy rule would leave its node to JAX.
_BY_PYTENSOR = Rule(_left_to_pytensor, static=lambda op, node: range(len(node.inputs)))
_BY_HOST = Rule(host_callback, inner=True)

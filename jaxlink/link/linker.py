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

from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph

from jaxlink.dispatch.host_callback import can_run_in_python
from jaxlink.dispatch.host_callback import host_callback as host_callback_rule
from jaxlink.dispatch.registry import Linked, Rule, find_rule
from jaxlink.errors import (
    CompileError,
    JaxlinkError,
    UnsupportedOpError,
    raise_all,
)
from jaxlink.link.static_operands import follow_demands, follow_wishes
from jaxlink.link.step import Step, describe_node, made_at
from jaxlink.rewrites.derivatives import settle_derivatives
from jaxlink.rewrites.masks import with_masks
from jaxlink.values.types import kind_of


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
                error.add_note(f"while jaxlink traced {describe_node(node)}")
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
    fgraph = settle_derivatives(with_masks(fgraph, varying))
    steps = list(_steps(fgraph, obstacles, host_callback))
    function = GraphFunction(list(fgraph.inputs), list(fgraph.outputs), steps)
    function.demands = follow_demands(function.inputs, steps, obstacles, why_not_static)
    function.wishes = follow_wishes(function.inputs, steps, why_not_static, varying)
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
                reasons = [*error.obstacles, *second_error.obstacles]
                obstacles.extend({str(o): o for o in reasons}.values())
    for op_type, nodes in unruled.items():
        where = ", ".join(describe_node(node) + made_at(node) for node in nodes[:3])
        more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
        hosted = all(can_run_in_python(node, inner_link) for node in nodes)
        in_python = ", or pass host_callback=True to run it in Python" * hosted
        obstacles.append(
            UnsupportedOpError(
                f"jaxlink has no rule for the Op {op_type.__module__}."
                f"{op_type.__qualname__}, used by {where}{more}. Write one with "
                f"@jaxlink.rule({op_type.__name__}), or rewrite the graph without it"
                f"{in_python}."
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


# Its operands are demanded: rules that are lazy would leave theirs to JAX.
_BY_PYTENSOR = Rule(_left_to_pytensor, static=lambda op, node: range(len(node.inputs)))
_BY_HOST = Rule(host_callback_rule, inner=True)

"""Minima and roots of inner graphs, differentiated by the implicit function theorem.

F(x, p) stands for the equations, or the objective's gradient. The solution x(p) of
F(x, p) = 0 has dx/dp = -(dF/dx)^-1 dF/dp, whichever solver finds it. So
`jax.lax.custom_root` differentiates F at the solution, in forward and reverse mode, and
never the solver. As in PyTensor, the start and the bracket have no gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.optimize import MinimizeOp, MinimizeScalarOp, RootOp, RootScalarOp

from jaxlink.dispatch.optimize import solvers
from jaxlink.dispatch.optimize.options import (
    MINIMIZE,
    MINIMIZE_SCALAR,
    ROOT,
    ROOT_SCALAR,
    read_settings,
    solver_name,
)
from jaxlink.dispatch.optimize.solvers import Array, Problem, Result
from jaxlink.dispatch.registry import Function, Linked, rule
from jaxlink.errors import DynamicShapeError, UnsupportedOpError
from jaxlink.values.static import canonical, is_static, to_jax


@rule(MinimizeOp, inner=True)
def minimize(op: MinimizeOp, node: Any, link: Any) -> Linked:
    name = solver_name(op, MINIMIZE, "bfgs")
    understood = ("maxcor",) if name == "LBFGS" else ()
    return _optimum(op, node, link, name, solvers.minimize, understood, vector=True)


@rule(RootOp, inner=True)
def root(op: RootOp, node: Any, link: Any) -> Linked:
    name = solver_name(op, ROOT, "hybr")
    return _optimum(op, node, link, name, solvers.root, equations=True, vector=True)


@rule(RootScalarOp, inner=True)
def root_scalar(op: RootScalarOp, node: Any, link: Any) -> Linked:
    bracketed = "bracket" in _given(op)
    name = solver_name(op, ROOT_SCALAR, "brentq" if bracketed else "newton")
    if name == "Bisection" and not bracketed:
        raise UnsupportedOpError(
            f"`{op}` needs an interval: root_scalar(..., bracket=(low, high))."
        )

    def solve(problem: Problem, x0: Array) -> Result:
        if name == "Bisection":
            return solvers.root_between(problem, *problem.bounds["bracket"])
        if "x1" in problem.bounds:
            x0 = problem.bounds["x1"]
        elif op.method == "secant":
            # SciPy's second point, where there is a slope even if the first has none.
            x0 = x0 * (1 + 1e-4) + jnp.where(x0 >= 0, 1e-4, -1e-4)
        return solvers.root(problem, x0)

    return _optimum(op, node, link, name, solve, ("bracket", "x1"), equations=True)


@rule(MinimizeScalarOp, inner=True)
def minimize_scalar(op: MinimizeScalarOp, node: Any, link: Any) -> Linked:
    has_bounds = "bounds" in _given(op)
    name = solver_name(op, MINIMIZE_SCALAR, "bounded" if has_bounds else "brent")
    bounded = op.method.lower() == "bounded" if op.method else has_bounds
    if bounded != has_bounds:
        raise UnsupportedOpError(
            f'`{op}` needs bounds=(low, high) with method="bounded", and takes no '
            "bounds with any other method."
        )

    def solve(problem: Problem, x0: Array) -> Result:
        if bounded:
            return solvers.minimize_between(problem, *problem.bounds["bounds"])
        points = problem.bounds.get("bracket", jnp.arange(2).astype(x0.dtype))
        return solvers.minimize_from(problem, points)

    return _optimum(op, node, link, name, solve, ("bracket", "bounds"))


def _given(op: Any) -> set[str]:
    """The names of the options, and of the operands after the parameters."""
    return {*_bound_names(op), *op.optimizer_kwargs}


def _bound_names(op: Any) -> tuple[str, ...]:
    return tuple(getattr(op, "bound_kwargs", ()))


def _optimum(
    op: Any,
    node: Any,
    link: Any,
    solver: str,
    solve: Callable[[Problem, Array], Result],
    understood: tuple[str, ...] = (),
    *,
    equations: bool = False,
    vector: bool = False,
) -> Linked:
    """Solve and differentiate. All four Ops share this.

    Arguments:
        op, node, link: as for any rule with an inner graph.
        solver: the name of optimistix's solver.
        solve: runs the solver from a start.
        understood: further options, which become bounds of the problem.
        equations: True if the inner graph must become zero, False if minimal.
        vector: True if ``solve`` takes vectors, whatever the variable's shape.
    """
    dtype = np.dtype(node.inputs[0].type.dtype)
    if dtype.kind != "f":
        raise UnsupportedOpError(
            f"`{op}` solves for {node.inputs[0]}, which is {dtype}. Only floats can be "
            "solved for."
        )
    settings = read_settings(op, understood)
    optx = solvers.library(op)
    graph = op.fgraph.unfreeze()
    # The other outputs are derivatives, which JAX computes itself.
    inner = link(FunctionGraph(graph.inputs, graph.outputs[:1], clone=True))
    if 0 in inner.static:
        raise DynamicShapeError(
            f"a shape inside `{op}` depends on {node.inputs[0]}, which it solves for. "
            "Use the full size, and mask it."
        )
    n_inner = len(inner.inputs)

    def run(*operands: Any) -> tuple[Array, Array]:
        x0 = jnp.asarray(to_jax(operands[0]))
        params = [v if is_static(v) else jnp.asarray(v) for v in operands[1:n_inner]]
        # Solve in the widest float, as SciPy does. With x64 on, some solvers mix it
        # with the dtype of the start.
        wide = canonical("float64")
        start = x0.astype(wide).reshape(-1) if vector else x0.astype(wide)

        def fn(x: Array) -> Array:
            (out,) = inner(x.reshape(x0.shape).astype(x0.dtype), *params)
            out = jnp.asarray(to_jax(out)).astype(wide)
            if equations and out.size != x.size:
                raise ValueError(
                    f"`{op}` has {out.size} equations for {x.size} unknowns. The two "
                    "numbers must be equal."
                )
            return out.reshape(x.shape) if equations else out

        def tangent(linear: Function, y: Array) -> Array:
            return solvers.divide(jax.jacrev(linear)(jnp.zeros_like(y)), y)

        bounds = dict(zip(_bound_names(op), operands[n_inner:], strict=True))
        bounds = {**settings.others, **bounds}
        bounds = {name: jnp.asarray(b).astype(wide) for name, b in bounds.items()}
        eps = float(np.finfo(x0.dtype).eps)
        problem = Problem(fn, bounds, optx, solver, settings, eps)
        x, success = lax.custom_root(
            fn if equations else jax.grad(fn),
            start,
            lambda _, x: solve(problem, x),
            tangent,
            has_aux=True,
        )
        return x.reshape(x0.shape).astype(x0.dtype), success

    return Linked(run, inner.static)

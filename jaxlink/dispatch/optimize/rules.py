"""Minima and roots of inner graphs, differentiated by the implicit function theorem.

F(x, p) is the equations, or the gradient of the objective. The solution x(p) of
F(x, p) = 0 has dx/dp = -(dF/dx)^-1 dF/dp, whichever solver finds it. So
`jax.lax.custom_root` differentiates F at the solution, in forward and reverse mode, and
never the solver. As in PyTensor, the start and the bracket have no gradient.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.optimize import (
    MinimizeOp,
    MinimizeScalarOp,
    RootOp,
    RootScalarOp,
)

from jaxlink.dispatch.optimize import solvers
from jaxlink.dispatch.optimize.options import (
    MINIMIZE,
    MINIMIZE_SCALAR,
    ROOT,
    ROOT_SCALAR,
    read_settings,
    solver_name,
)
from jaxlink.dispatch.optimize.solvers import Method
from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import DynamicShapeError, UnsupportedOpError
from jaxlink.values.static import canonical, is_static, to_jax

Array = Any
Function = Callable[..., Any]
Bounds = Mapping[str, Array]
Result = tuple[Array, Array]  # solution, success
Solve = Callable[[Method, Function, Array, Any, Bounds], Result]


@rule(MinimizeOp, inner=True)
def minimize(op: MinimizeOp, node: Any, link: Any) -> Linked:
    name = solver_name(op, MINIMIZE, "bfgs")
    understood = ("maxcor",) if name == "LBFGS" else ()

    def solve(method: Method, fn: Function, x0: Array, args: Any, _: Bounds) -> Result:
        return solvers.minimize(method, fn, x0, args)

    return _optimum(op, node, link, name, solve, understood, vector=True)


@rule(RootOp, inner=True)
def root(op: RootOp, node: Any, link: Any) -> Linked:
    def solve(method: Method, fn: Function, x0: Array, args: Any, _: Bounds) -> Result:
        return solvers.root(method, fn, x0, args)

    name = solver_name(op, ROOT, "hybr")
    return _optimum(op, node, link, name, solve, equations=True, vector=True)


@rule(RootScalarOp, inner=True)
def root_scalar(op: RootScalarOp, node: Any, link: Any) -> Linked:
    bracketed = "bracket" in _given(op)
    name = solver_name(op, ROOT_SCALAR, "brentq" if bracketed else "newton")
    if name == "Bisection" and not bracketed:
        raise UnsupportedOpError(
            f"`{op}` needs an interval: root_scalar(..., bracket=(low, high))."
        )

    def from_start(
        method: Method, fn: Function, x0: Array, args: Any, bounds: Bounds
    ) -> Result:
        if "x1" in bounds:
            x0 = bounds["x1"]
        elif op.method == "secant":
            # SciPy's second point, where there is a slope even if the first has none.
            x0 = x0 * (1 + 1e-4) + jnp.where(x0 >= 0, 1e-4, -1e-4)
        return solvers.root(method, fn, x0, args)

    def between(
        method: Method, fn: Function, x0: Array, args: Any, bounds: Bounds
    ) -> Result:
        del x0
        a, b = bounds["bracket"]
        return solvers.root_between(method, fn, a, b, args)

    solve = between if name == "Bisection" else from_start
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

    def solve(
        method: Method, fn: Function, x0: Array, args: Any, bounds: Bounds
    ) -> Result:
        if bounded:
            low, high = bounds["bounds"]
            return solvers.minimize_between(method, fn, low, high, args)
        points = bounds.get("bracket", jnp.arange(2).astype(x0.dtype))
        return solvers.minimize_from(method, fn, points, args)

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
    solve: Solve,
    understood: tuple[str, ...] = (),
    *,
    equations: bool = False,
    vector: bool = False,
) -> Linked:
    """Solve and differentiate. All four Ops share this.

    Arguments:
        op: the Op.
        node: its node.
        link: turns an inner graph into a function of values.
        solver: the name of optimistix's solver.
        solve: runs the solver.
        understood: further options, which ``solve`` receives with its bounds.
        equations: True if the inner graph must become zero, False if minimal.
        vector: True if ``solve`` takes vectors, whatever the variable's shape.

    Raises:
        UnsupportedOpError: if the variable is not a float, an option is not supported,
            or optimistix is not installed.
        DynamicShapeError: if a shape depends on the variable that is solved for.
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
        x0, *params = operands[:n_inner]
        dynamic = [i for i, value in enumerate(params) if not is_static(value)]
        args = [jnp.asarray(params[i]) for i in dynamic]
        x0 = jnp.asarray(to_jax(x0))
        method = Method(optx, solver, settings, float(np.finfo(x0.dtype).eps))
        # Solve in the widest float, as SciPy does. With x64 on, some solvers mix it
        # with the dtype of the start.
        wide = canonical("float64")
        start = x0.astype(wide).reshape(-1) if vector else x0.astype(wide)

        def fn(x: Array, args: Any) -> Array:
            known = dict(zip(dynamic, args, strict=True))
            values = [known.get(i, value) for i, value in enumerate(params)]
            (out,) = inner(x.reshape(x0.shape).astype(x0.dtype), *values)
            out = jnp.asarray(to_jax(out)).astype(wide)
            if equations and out.size != x.size:
                raise ValueError(
                    f"`{op}` has {out.size} equations for {x.size} unknowns. The two "
                    "numbers must be equal."
                )
            return out.reshape(x.shape) if equations else out

        def zero(x: Array) -> Array:
            return fn(x, args) if equations else jax.grad(fn)(x, args)

        def tangent(linear: Function, y: Array) -> Array:
            return solvers.divide(jax.jacrev(linear)(jnp.zeros_like(y)), y)

        bounds = dict(zip(_bound_names(op), operands[n_inner:], strict=True))
        bounds = {**settings.others, **bounds}
        bounds = {name: jnp.asarray(b).astype(wide) for name, b in bounds.items()}
        x, success = lax.custom_root(
            zero,
            start,
            lambda _, x: solve(method, fn, x, args, bounds),
            tangent,
            has_aux=True,
        )
        return x.reshape(x0.shape).astype(x0.dtype), success

    return Linked(run, inner.static)

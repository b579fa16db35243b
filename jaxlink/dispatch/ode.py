"""Differential equations, solved by Diffrax."""

from typing import Any

import jax.numpy as jnp

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import DynamicShapeError, UnsupportedOpError
from jaxlink.numerics.ode import Problem, solve, with_sensitivities
from jaxlink.ops.initial_value_problem import InitialValueProblem
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, to_jax

Array = Any


@rule(InitialValueProblem, inner=True)
def initial_value_problem(op: InitialValueProblem, node: Any, link: Any) -> Linked:
    del node
    diffrax = load_diffrax()
    inner = link(op.fgraph)
    if inner.static:
        raise DynamicShapeError(
            "a shape in the right-hand side of a differential equation depends on its "
            "state, its time or its parameters. Use the full size, and mask it."
        )
    n, p = op.lengths

    def slope(y: Array, t: Array, x: Array) -> Array:
        (out,) = inner(y, t, x[n:])
        out = jnp.asarray(to_jax(out)).astype(y.dtype)
        if out.shape != y.shape:
            raise ValueError(
                "the right-hand side of a differential equation has shape "
                f"{out.shape}, but the state has shape {y.shape}. Return one "
                "derivative for each state."
            )
        return out

    problem = Problem(diffrax, slope, lambda x: x[:n], op.t0, op.times)

    def run(*operands: Any) -> tuple[Array, ...]:
        # In the widest float, as SciPy solves it.
        y0, theta = (to_jax(v).astype(canonical("float64")) for v in operands)
        for name, given, length in (("y0", y0, n), ("theta", theta, p)):
            if given.shape != (length,):
                raise ValueError(
                    f"`{name}` of a differential equation has shape {given.shape}, but "
                    f"must have shape {(length,)}."
                )
        x = jnp.concatenate([y0, theta])
        if op.sensitivities:
            outs = solve(with_sensitivities(problem), x)
        else:
            outs = (solve(problem, x),)
        check(
            lambda: ~jnp.isnan(outs[0]).any(),
            "a differential equation was not solved up to its last time: its solution "
            "does not exist until then, or takes too many steps.",
            silent=True,
        )
        return tuple(out.astype(canonical(op.dtype)) for out in outs)

    return Linked(run)


def load_diffrax() -> Any:
    """The module diffrax.

    Raises:
        UnsupportedOpError: if it is not installed.
    """
    try:
        import diffrax
    except ImportError as error:
        raise UnsupportedOpError(
            "`DifferentialEquation` needs diffrax, which is not installed. Run "
            "`pip install jaxlink[ode]`."
        ) from error
    return diffrax

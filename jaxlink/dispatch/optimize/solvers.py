"""SciPy's optimisers, implemented with optimistix's solvers.

Each function takes a `Problem` and a start. It returns a point, and whether that point
is a solution. We check the point itself by SciPy's criterion, because a solver that
stops making progress has not always found a solution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxlink.dispatch.optimize.options import Settings
from jaxlink.dispatch.registry import Function
from jaxlink.errors import UnsupportedOpError

Array = Any
Result = tuple[Array, Array]  # solution, success
GOLDEN = 1.618033988749895


def library(op: Any) -> Any:
    """The module optimistix.

    Raises:
        UnsupportedOpError: if it is not installed.
    """
    try:
        import optimistix
    except ImportError as error:
        raise UnsupportedOpError(
            f"`{op}` needs optimistix, which is not installed. Run "
            "`pip install jaxlink[optimize]`."
        ) from error
    return optimistix


@dataclass(frozen=True)
class Problem:
    """A function of one variable, and the solver that looks for its minimum or root.

    Arguments:
        fn: the function.
        bounds: the operands that restrict the solution, by name.
        optx: the module optimistix.
        solver: the name of its solver.
        settings: the options.
        eps: the machine epsilon of the variable's dtype. It limits the tolerances: no
            solution is more exact than a few ``eps``, or if the residual is flat, than
            the square root of ``eps``.
    """

    fn: Function
    bounds: Mapping[str, Array]
    optx: Any
    solver: str
    settings: Settings
    eps: float

    def new_solver(self, rtol: float, atol: float, **options: Any) -> Any:
        return getattr(self.optx, self.solver)(rtol, atol, **options)

    def strict_solver(self, **options: Any) -> Any:
        """A solver that stops no earlier than the tightest tolerance allows."""
        tol = self.settings.tightest(self.eps**0.75, 4 * self.eps)
        return self.new_solver(tol, tol, **options)

    def criterion(self, *names: str, default: float) -> float:
        """The tolerance that defines success."""
        return max(self.settings.first(*names, default=default), self.eps**0.5)

    def run(
        self,
        search: Function,
        fn: Function,
        solver: Any,
        x0: Array,
        max_steps: int,
        **options: Any,
    ) -> Result:
        solution = search(
            lambda x, args: fn(x),
            solver,
            x0,
            options=options,
            max_steps=self.settings.max_steps or max_steps,
            throw=False,
        )
        return solution.value, solution.result == self.optx.RESULTS.successful


def minimize(problem: Problem, x0: Array) -> Result:
    """A local minimum of a function of a vector."""
    options = {}
    if problem.solver == "LBFGS":
        options["history_length"] = int(problem.settings.others.get("maxcor", 10))
    solver = problem.strict_solver(**options)
    max_steps = max(10_000, 200 * x0.size)
    x, _ = problem.run(problem.optx.minimise, problem.fn, solver, x0, max_steps)
    return x, _is_stationary(problem, x)


def root(problem: Problem, x0: Array) -> Result:
    """A root of as many equations as unknowns, or of one scalar equation."""
    x, _ = problem.run(
        problem.optx.least_squares,
        problem.fn,
        problem.strict_solver(),
        x0,
        1000 * (x0.size + 1),
        jac="bwd",
    )
    return x, _is_root(problem, x)


def root_between(problem: Problem, a: Array, b: Array) -> Result:
    """A root of a scalar function, between two points where its signs differ."""
    fn, settings = problem.fn, problem.settings
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    at_low, at_high = fn(low), fn(high)
    falls = (at_low > 0) | (at_high < 0)
    # SciPy's default for all methods.
    atol = settings.first("xtol", default=2e-12)
    rtol = max(settings.first("rtol", default=0.0), 4 * problem.eps)

    def sign(x: Array) -> Array:
        """Bisection needs only the sign. It is scaled down because the solver does not
        stop before the value is small."""
        value = fn(x)
        return jnp.sign(jnp.where(falls, -value, value)) * (atol / 2)

    x, converged = problem.run(
        problem.optx.root_find,
        sign,
        problem.new_solver(rtol, atol, flip=False),
        low + (high - low) / 2,
        2200,  # enough to halve the widest interval of floats down to nothing
        lower=low,
        upper=high,
    )
    return x, converged & (jnp.sign(at_low) * jnp.sign(at_high) <= 0)


def minimize_between(problem: Problem, a: Array, b: Array) -> Result:
    """A local minimum of a scalar function in an interval."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    # The solver's first point is right only if the interval begins at zero.
    x, converged = problem.run(
        problem.optx.minimise,
        lambda x: problem.fn(low + x),
        problem.new_solver(4 * problem.eps, problem.settings.tightest(1e-9, 1e-15)),
        (high - low) / 2,
        5000,
        lower=jnp.zeros_like(low),
        upper=high - low,
    )
    return low + x, converged


def minimize_from(problem: Problem, points: Array) -> Result:
    """A local minimum of a scalar function, near two points or within three."""
    fn = problem.fn
    a, b, c = points if points.size == 3 else _three_points(fn, points)
    at_a, at_b, at_c = fn(a), fn(b), fn(c)
    x, converged = minimize_between(problem, a, c)
    # If there are several minima, the solver may have run into an end.
    worse = fn(x) - at_b
    slack = problem.eps**0.5 * (jnp.abs(at_a - at_b) + jnp.abs(at_b))
    return x, converged & (at_b <= at_a) & (at_b <= at_c) & (worse <= slack)


def _three_points(fn: Function, points: Array) -> tuple[Array, Array, Array]:
    """Three points, with the lowest in the middle if there is a minimum.

    Steps downhill, each step longer by the golden ratio, until the function rises
    (SciPy's ``bracket``, without its parabolas).
    """
    a, b = points
    swap = fn(b) > fn(a)
    a, b = jnp.where(swap, b, a), jnp.where(swap, a, b)

    def falling(state: Any) -> Array:
        _, b, c, i = state
        return (fn(c) < fn(b)) & jnp.isfinite(c) & (i < 1000)

    def further(state: Any) -> Any:
        _, b, c, i = state
        return b, c, c + GOLDEN * (c - b), i + 1

    a, b, c, _ = lax.while_loop(falling, further, (a, b, b + GOLDEN * (b - a), 0))
    return a, b, c


def divide(jacobian: Array, y: Array) -> Array:
    """The solution x of ``jacobian @ x = y``, or of a scalar equation."""
    return y / jacobian if y.ndim == 0 else jnp.linalg.solve(jacobian, y)


def _is_stationary(problem: Problem, x: Array) -> Array:
    """Whether the gradient is small by SciPy's criterion, or no larger than a change in
    the last digits of x would make it. A large function's gradient is never small."""
    gradient, change = jax.jvp(jax.grad(problem.fn), (x,), (x,))
    gtol = problem.criterion("gtol", "tol", default=1e-5)
    limit = jnp.maximum(gtol, problem.eps**0.5 * jnp.abs(change))
    return (jnp.abs(gradient) <= limit).all()


def _is_root(problem: Problem, x: Array) -> Array:
    """Whether Newton's next step would be small beside x (MINPACK's criterion)."""
    step = divide(jax.jacrev(problem.fn)(x), problem.fn(x))
    scale = jnp.abs(x).max(initial=0) + 1e-4
    tol = problem.criterion("xtol", "tol", default=0.0)
    return jnp.abs(step).max(initial=0) <= tol * scale

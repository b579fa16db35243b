"""SciPy's optimisers, by those of optimistix.

Each function takes a problem ``fn(x, args)`` and a start, and returns a solution and
whether it is one. That is checked by a criterion of SciPy's at the solution itself: a
solver that stops because it makes no progress has not always arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxlink.dispatch.optimize.options import Settings
from jaxlink.errors import UnsupportedOpError

__all__ = [
    "Method",
    "divide",
    "library",
    "minimize",
    "minimize_between",
    "minimize_from",
    "root",
    "root_between",
]

Array = Any
Function = Callable[..., Any]
Result = tuple[Array, Array]
GOLDEN = 1.618033988749895


def library(op: Any) -> Any:
    """optimistix, which is optional."""
    try:
        import optimistix
    except ImportError as error:
        raise UnsupportedOpError(
            f"`{op}` needs optimistix, which is not installed. Run "
            "`pip install jaxlink[optimize]`."
        ) from error
    return optimistix


@dataclass(frozen=True)
class Method:
    """A solver of optimistix with its options.

    ``eps`` is the precision of the variable, in which the problem was stated. The
    tolerances are to be read against it: nothing can be more exact than a few of it,
    or, where a residual is flat, than its square root.
    """

    optx: Any
    solver: str
    settings: Settings
    eps: float

    def new(self, rtol: float, atol: float, **options: Any) -> Any:
        return getattr(self.optx, self.solver)(rtol, atol, **options)

    def new_strict(self, **options: Any) -> Any:
        """A solver that stops later than any tolerance asks, or SciPy's default."""
        tol = self.settings.tightest(self.eps**0.75, 4 * self.eps)
        return self.new(tol, tol, **options)

    def criterion(self, *names: str, default: float) -> float:
        """The tolerance that success is measured by."""
        return max(self.settings.first(*names, default=default), self.eps**0.5)

    def run(
        self,
        problem: Function,
        fn: Function,
        solver: Any,
        x0: Array,
        args: Any,
        max_steps: int,
        **options: Any,
    ) -> Result:
        solution = problem(
            fn,
            solver,
            x0,
            args,
            options=options,
            max_steps=self.settings.max_steps or max_steps,
            throw=False,
        )
        return solution.value, solution.result == self.optx.RESULTS.successful


def minimize(method: Method, fn: Function, x0: Array, args: Any) -> Result:
    """A local minimum for a vector."""
    options = {}
    if method.solver == "LBFGS":
        options["history_length"] = int(method.settings.others.get("maxcor", 10))
    solver = method.new_strict(**options)
    max_steps = max(10_000, 200 * x0.size)
    x, _ = method.run(method.optx.minimise, fn, solver, x0, args, max_steps)
    return x, _is_stationary(method, fn, x, args)


def root(method: Method, fn: Function, x0: Array, args: Any) -> Result:
    """A zero for a vector of as many equations, or for a scalar."""
    solver = method.new_strict()
    max_steps = 1000 * (x0.size + 1)
    x, _ = method.run(
        method.optx.least_squares, fn, solver, x0, args, max_steps, jac="bwd"
    )
    return x, _is_root(method, fn, x, args)


def root_between(method: Method, fn: Function, a: Array, b: Array, args: Any) -> Result:
    """A zero for a scalar, between two points of different sign."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    at_low, at_high = fn(low, args), fn(high, args)
    falls = (at_low > 0) | (at_high < 0)
    # SciPy's default, in all methods.
    atol = method.settings.first("xtol", default=2e-12)
    rtol = max(method.settings.first("rtol", default=0.0), 4 * method.eps)

    def sign(x: Array, args: Any) -> Array:
        """All that bisection needs, and small: it would also wait for small values."""
        value = fn(x, args)
        return jnp.sign(jnp.where(falls, -value, value)) * (atol / 2)

    x, converged = method.run(
        method.optx.root_find,
        sign,
        method.new(rtol, atol, flip=False),
        low + (high - low) / 2,
        args,
        2200,  # halves the widest interval of floats down to nothing
        lower=low,
        upper=high,
    )
    return x, converged & (jnp.sign(at_low) * jnp.sign(at_high) <= 0)


def minimize_between(
    method: Method, fn: Function, a: Array, b: Array, args: Any
) -> Result:
    """A local minimum for a scalar, in an interval."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    # The solver's first point is right only in an interval that begins at zero.
    x, converged = method.run(
        method.optx.minimise,
        lambda x, args: fn(low + x, args),
        method.new(4 * method.eps, method.settings.tightest(1e-9, 1e-15)),
        (high - low) / 2,
        args,
        5000,
        lower=jnp.zeros_like(low),
        upper=high - low,
    )
    return low + x, converged


def minimize_from(method: Method, fn: Function, points: Array, args: Any) -> Result:
    """A local minimum for a scalar, near two points or within three."""
    a, b, c = points if points.size == 3 else _three_points(fn, points, args)
    at_a, at_b, at_c = fn(a, args), fn(b, args), fn(c, args)
    x, converged = minimize_between(method, fn, a, c, args)
    # Where there are several minima, it may have run into an end.
    worse = fn(x, args) - at_b
    slack = method.eps**0.5 * (jnp.abs(at_a - at_b) + jnp.abs(at_b))
    return x, converged & (at_b <= at_a) & (at_b <= at_c) & (worse <= slack)


def _three_points(fn: Function, points: Array, args: Any) -> tuple[Array, Array, Array]:
    """Three points, of which the middle one is lowest if there is a minimum.

    It steps downhill, each step longer by the golden ratio, until it goes up (SciPy's
    ``bracket``, without its parabolas).
    """
    a, b = points
    swap = fn(b, args) > fn(a, args)
    a, b = jnp.where(swap, b, a), jnp.where(swap, a, b)

    def falling(state: Any) -> Array:
        _, b, c, i = state
        return (fn(c, args) < fn(b, args)) & jnp.isfinite(c) & (i < 1000)

    def further(state: Any) -> Any:
        _, b, c, i = state
        return b, c, c + GOLDEN * (c - b), i + 1

    a, b, c, _ = lax.while_loop(falling, further, (a, b, b + GOLDEN * (b - a), 0))
    return a, b, c


def divide(jacobian: Array, y: Array) -> Array:
    """The x of ``jacobian @ x = y``, also for scalars."""
    return y / jacobian if y.ndim == 0 else jnp.linalg.solve(jacobian, y)


def _is_stationary(method: Method, fn: Function, x: Array, args: Any) -> Array:
    """SciPy's criterion, or else that the gradient is what a change of x in its last
    digits makes of it: of a large function it is never small."""
    gradient, change = jax.jvp(lambda x: jax.grad(fn)(x, args), (x,), (x,))
    gtol = method.criterion("gtol", "tol", default=1e-5)
    return (
        jnp.abs(gradient) <= jnp.maximum(gtol, method.eps**0.5 * jnp.abs(change))
    ).all()


def _is_root(method: Method, fn: Function, x: Array, args: Any) -> Array:
    """Whether Newton's next step would be small against x (MINPACK's criterion)."""
    step = divide(jax.jacrev(fn)(x, args), fn(x, args))
    scale = jnp.abs(x).max(initial=0) + 1e-4
    tol = method.criterion("xtol", "tol", default=0.0)
    return jnp.abs(step).max(initial=0) <= tol * scale

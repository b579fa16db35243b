"""Initial value problems and their sensitivities, by Diffrax's solvers.

SciPy's `odeint`, which PyMC calls, notices that a problem is stiff and changes its
method. Diffrax does not, so we try two. The first is Dormand and Prince's explicit
method of order 8. If it needs too many steps, the problem is stiff: an explicit step is
as short as the shortest time scale. Then Kvaerno's implicit method of order 5 starts
again. Its steps are longer, but each solves equations, so it is no good first choice.

The derivatives S = dz/dx of a solution z(t, x) solve a differential equation, too:

    dS/dt = (df/dz) S + df/dx,  S(t0) = dz(t0)/dx.

JAX never differentiates a solver. It solves for z and S together, with one control of
the error, and a second derivative is the S of both. With many parameters this takes
longer than an adjoint equation, but it works in forward and reverse mode.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["Problem", "solve", "with_sensitivities"]

Array = Any
State = Any  # arrays, in any containers

# The default of SciPy's `odeint`: the square root of the machine epsilon.
TOLERANCE = 1.49e-8
# The steps that a method may take: this many, and more for each time. The explicit one
# gives up early. `odeint` takes 500 for each time.
MAX_STEPS = 10_000
EXPLICIT_STEPS_PER_TIME, IMPLICIT_STEPS_PER_TIME = 100, 500


@dataclass(frozen=True)
class Problem:
    """dz/dt = slope(z, t, x), with z(t0) = start(x).

    Arguments:
        diffrax: the module.
        slope: a function of the state, the time and the vector x of parameters.
        start: the first state, as a function of x.
        t0: its time.
        times: when the state is wanted. They rise or fall, on one side of ``t0``.
    """

    diffrax: Any
    slope: Callable[[State, Array, Array], State]
    start: Callable[[Array], State]
    t0: float
    times: tuple[float, ...]


def solve(problem: Problem, x: Array) -> State:
    """The states at all times, which are the first axis.

    They are nan from the first time on that neither method reaches. All derivatives
    with respect to x work, in both modes.
    """

    @jax.custom_jvp
    def states(x: Array) -> State:
        return _states(problem, x)

    @states.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        values, derivatives = solve(with_sensitivities(problem), *primals)
        return values, jax.tree.map(lambda part: part @ tangents[0], derivatives)

    return states(x)


def with_sensitivities(problem: Problem) -> Problem:
    """The problem whose state is a pair: a state, and its derivatives with respect to
    x, which is their last axis."""

    def start(x: Array) -> State:
        def along(dx: Array) -> State:
            return jax.jvp(problem.start, (x,), (dx,))

        return jax.vmap(along, out_axes=(None, -1))(jnp.eye(x.size, dtype=x.dtype))

    def slope(state: State, t: Array, x: Array) -> State:
        z, sensitivities = state

        def along(dz: State, dx: Array) -> State:
            return jax.jvp(lambda z, x: problem.slope(z, t, x), (z, x), (dz, dx))

        mapped = jax.vmap(along, in_axes=(-1, 0), out_axes=(None, -1))
        return mapped(sensitivities, jnp.eye(x.size, dtype=x.dtype))

    return replace(problem, slope=slope, start=start)


def _states(problem: Problem, x: Array) -> State:
    """What `solve` returns, without derivatives."""
    diffrax = problem.diffrax
    tol = max(TOLERANCE, 64 * float(np.finfo(x.dtype).eps))
    distances = np.abs(np.asarray(problem.times) - problem.t0).astype(x.dtype)
    distances, index = np.unique(distances, return_inverse=True)

    def march(solver: Any, steps_per_time: int) -> tuple[State, Array]:
        max_steps = MAX_STEPS + steps_per_time * len(distances)
        return _Method(problem, solver, x, distances, tol, max_steps).march()

    def start_again(found: tuple[State, Array]) -> tuple[State, Array]:
        del found
        newton = diffrax.VeryChord(tol, tol)
        solver = diffrax.Kvaerno5(root_finder=newton, scan_kind="lax")
        states, _ = march(solver, IMPLICIT_STEPS_PER_TIME)
        return states, jnp.asarray(True)

    explicit = march(diffrax.Dopri8(scan_kind="lax"), EXPLICIT_STEPS_PER_TIME)
    # A loop instead of a condition: under vmap it is left out if no lane needs it.
    states, _ = lax.while_loop(lambda found: ~found[1], start_again, explicit)
    return jax.tree.map(lambda part: part[index], states)


class _Point(NamedTuple):
    """Where a method stands.

    Arguments:
        at: the distance from the start.
        step: the length of the next step.
        z: the state here.
        solver, control: what the solver and the control of the error keep.
        n_found: how many of the states are found.
        states: the states at all distances.
        n_steps: the number of steps made.
    """

    at: Array
    step: Array
    z: State
    solver: Any
    control: Any
    n_found: Array
    states: State
    n_steps: Array


@dataclass(frozen=True)
class _Method:
    """A solver on its way through a problem.

    Arguments:
        problem: the problem.
        solver: one of Diffrax's.
        x: the parameters.
        distances: those of the times from the start. They rise strictly.
        tol: the tolerance, absolute and relative.
        max_steps: how many steps it may take.
    """

    problem: Problem
    solver: Any
    x: Array
    distances: np.ndarray
    tol: float
    max_steps: int

    def march(self) -> tuple[State, Array]:
        """The states at all distances, and whether all are found; nan if not."""
        end = lax.while_loop(self._is_unfinished, self._advance, self._begin())
        return end.states, end.n_found == len(self.distances)

    @property
    def _term(self) -> Any:
        """The slope along the distance, whether times rise or fall."""
        problem, dtype = self.problem, self.x.dtype
        t0 = np.asarray(problem.t0, dtype)
        sign = np.asarray(np.sign(problem.times[-1] - problem.t0), dtype)

        def slope(distance: Array, z: State, x: Array) -> State:
            slopes = problem.slope(z, t0 + sign * distance, x)
            return jax.tree.map(lambda part: sign * part, slopes)

        return problem.diffrax.ODETerm(slope)

    @property
    def _control(self) -> Any:
        return self.problem.diffrax.PIDController(self.tol, self.tol)

    def _begin(self) -> _Point:
        term, solver, x = self._term, self.solver, self.x
        at, z = jnp.zeros((), x.dtype), self.problem.start(x)
        # Not Diffrax's own guess, which is nan if the slope is nan nearby.
        step = jnp.asarray(1e-6 * self.distances[-1], x.dtype)
        of_solver = solver.init(term, at, step, z, x)
        order = solver.error_order(term)
        _, of_control = self._control.init(
            term, at, step, z, step, x, solver.func, order
        )
        n_known = int(self.distances[0] == 0)

        def known(part: Array) -> Array:
            shape = len(self.distances), *part.shape
            return jnp.full(shape, jnp.nan, x.dtype).at[:n_known].set(part)

        states = jax.tree.map(known, z)
        point = _Point(at, step, z, of_solver, of_control, n_known, states, 0)
        return jax.tree.map(jnp.asarray, point)

    def _is_unfinished(self, point: _Point) -> Array:
        # No step is as short as this, unless the slope is nan.
        shortest = float(np.finfo(self.x.dtype).eps) ** 2 * self.distances[-1]
        may_go_on = (point.n_steps < self.max_steps) & (point.step > shortest)
        return may_go_on & (point.n_found < len(self.distances))

    def _advance(self, point: _Point) -> _Point:
        # Steps end at the distances: to interpolate would be less exact than a step.
        goal = jnp.asarray(self.distances)[point.n_found]
        is_last = point.at + point.step >= goal
        end = jnp.where(is_last, goal, point.at + point.step)
        z, error, of_solver = self._try_step(point, end)

        order = self.solver.error_order(self._term)
        is_good, at, next_end, _, of_control, _ = self._control.adapt_step_size(
            point.at, end, point.z, z, self.x, error, order, point.control
        )
        z, of_solver = jax.tree.map(
            lambda new, old: jnp.where(is_good, new, old),
            (z, of_solver),
            (point.z, point.solver),
        )
        arrived, step = is_good & is_last, next_end - at

        def store(parts: Array, part: Array) -> Array:
            part = jnp.where(arrived, part, parts[point.n_found])
            return parts.at[point.n_found].set(part)

        return _Point(
            at,
            # A step that the goal cut short does not shorten the next.
            jnp.where(arrived, jnp.maximum(step, point.step), step),
            z,
            of_solver,
            of_control,
            jnp.where(arrived, point.n_found + 1, point.n_found),
            jax.tree.map(store, point.states, z),
            point.n_steps + 1,
        )

    def _try_step(self, point: _Point, end: Array) -> tuple[State, State, Any]:
        """The state at ``end``, its error (infinite if the step failed), and what the
        solver keeps."""
        z, error, _, of_solver, result = self.solver.step(
            self._term, point.at, end, point.z, self.x, point.solver, made_jump=False
        )
        failed = result != self.problem.diffrax.RESULTS.successful
        error = jax.tree.map(
            lambda part: jnp.where(failed | jnp.isnan(part), jnp.inf, part), error
        )
        return z, error, of_solver

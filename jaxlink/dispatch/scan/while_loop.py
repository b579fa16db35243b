"""Loops that end when a condition holds, or after a computed number of steps.

The number of steps is known only when the loop ends. If only the end is read, the loop
is a ``lax.while_loop``, which stacks no steps. JAX differentiates it forward but not in
reverse, because the number of steps has no bound. If there is a bound (a known number
of steps, the length of a sequence, ``truncate_gradient``), the derivative is that of a
``lax.scan`` with that many steps, in which the steps after the end do nothing. If other
steps are read, that ``lax.scan`` stacks them (`run_padded`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from jaxlink.dispatch.scan.body import Body, Carry, cut_gradient, stop_gradient
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, is_static, to_dynamic


class State(NamedTuple):
    """A loop's progress: steps made, whether the condition holds, and the carry."""

    made: Any
    over: Any
    carry: Carry


class Given(NamedTuple):
    """Everything a loop depends on. Custom derivatives must not close over it."""

    start: Carry
    sequences: list[Any]
    limit: Any
    non_sequences: list[Any]


def run_early(
    body: Body, outer: Sequence[Any], sequences: Sequence[Any], limit: Any
) -> tuple[Carry, Any]:
    """The carry after the last step, and the number of steps.

    Arguments:
        body: the loop's step.
        outer: the operands of the Scan or Loop.
        sequences: the sequences to loop over.
        limit: the greatest number of steps, known or traced.
    """
    sequences = list(map(to_dynamic, sequences))
    lengths = [len(seq) for seq in sequences]
    bound: int | None = limit if is_static(limit) else min(lengths, default=None)
    if not is_static(limit):
        check(limit >= 0, f"`{body.node.op}` has a negative number of steps")
        if lengths:
            message = f"a sequence of `{body.node.op}` has fewer elements than steps"
            check(limit <= bound, message)
    start = body.start(outer)
    if bound == 0:
        return start, jnp.zeros((), canonical("int64"))
    start = body.with_windows(start, sequences)
    # Known non-sequences may be shapes inside the loop, so they stay known.
    dynamic = [i for i, v in enumerate(body.non_sequences) if not is_static(v)]
    given = Given(
        jax.tree.map(jnp.asarray, start),
        sequences,
        jnp.asarray(limit, canonical("int64")),
        [body.non_sequences[i] for i in dynamic],
    )

    def body_of(given: Given) -> Body:
        values = list(body.non_sequences)
        for i, value in zip(dynamic, given.non_sequences, strict=True):
            values[i] = value
        return replace(body, non_sequences=values)

    truncate = body.scan.truncate_gradient

    def run(given: Given) -> State:
        return _while(body_of(given), given, given.limit)

    def run_bounded(given: Given) -> State:
        if truncate >= 0 and (bound is None or truncate < bound):
            return _last_steps(body_of, given, truncate)
        assert bound is not None
        state = _state(given.start)
        return _bounded(body_of(given), state, given.sequences, given.limit, bound)[0]

    if bound is not None or truncate >= 0:
        run_with_derivative = jax.custom_jvp(run)
        run_with_derivative.defjvp(
            lambda primals, tangents: jax.jvp(run_bounded, primals, tangents)
        )
        state = run_with_derivative(given)
    else:
        state = run(given)
    return state.carry, state.made


def run_padded(
    body: Body, outer: Sequence[Any], sequences: Sequence[Any], bound: int
) -> tuple[Carry, Any, list[Any]]:
    """Like `run_early`, and the ``bound`` stacked steps. Steps that were not made are
    zero."""
    sequences = list(map(to_dynamic, sequences))
    start = jax.tree.map(jnp.asarray, body.with_windows(body.start(outer), sequences))
    state, traces = _bounded(body, _state(start), sequences, bound, bound)
    return state.carry, state.made, traces


def _state(carry: Carry) -> State:
    return State(jnp.zeros((), canonical("int64")), jnp.zeros((), bool), carry)


def _step(body: Body, state: State, xs: Sequence[Any]) -> tuple[State, list[Any]]:
    carry, traces, over = body.advance(state.carry, xs)
    over = state.over if over is None else over.astype(bool)
    return State(state.made + 1, over, carry), traces


def _while(body: Body, given: Given, limit: Any) -> State:
    start = _state(given.start)

    def active(state: State) -> Any:
        return ~state.over & (state.made < limit)

    def step(state: State) -> State:
        # A vmap lane that has ended repeats its first step, as in `_bounded`. (A
        # condition for each lane would work too, but checkify does not support it.)
        here = _in_this_lane(active(state))
        i = jnp.where(here, state.made, 0)
        xs = [
            jax.lax.dynamic_index_in_dim(seq, i, keepdims=False)
            for seq in given.sequences
        ]
        carry = _choose(here, state.carry, start.carry)
        return _choose(here, _step(body, state._replace(carry=carry), xs)[0], state)

    return jax.lax.while_loop(lambda state: _in_any_lane(active(state)), step, start)


def _bounded(
    body: Body, start: State, sequences: Sequence[Any], limit: Any, bound: int
) -> tuple[State, list[Any]]:
    """At most ``bound`` steps from ``start``. ``sequences`` begin at that step."""
    first = [seq[0] for seq in sequences]
    forms = jax.eval_shape(lambda: _step(body, start, first)[1])
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), forms)

    def step(state: State, xs: Any) -> tuple[State, list[Any]]:
        active = ~state.over & (state.made < limit)

        # A step after the end may be nan or have a nan gradient, and zero times nan is
        # nan. So a vmap lane that has ended repeats its first step.
        def do(state: State, xs: Any) -> tuple[State, list[Any]]:
            carry, xs = _choose(active, (state.carry, xs), (start.carry, first))
            new = _step(body, state._replace(carry=carry), xs)
            return _choose(active, new, (state, nothing))

        any_active = _in_any_lane(active)
        return jax.lax.cond(any_active, do, lambda s, _: (s, nothing), state, xs)

    return jax.lax.scan(step, start, list(sequences), length=bound)


@custom_vmap
def _in_any_lane(condition: Any) -> Any:
    """``condition``, or under vmap, whether it holds in any lane.

    So a single ``lax.cond`` serves all lanes. With one condition per lane, vmap would
    make a select, which computes both branches, and which JAX cannot transpose within a
    custom derivative.
    """
    return condition


@_in_any_lane.def_vmap
def _(axis_size: int, in_batched: Any, condition: Any) -> Any:
    del axis_size
    batched = in_batched[0]
    return _in_any_lane(jnp.any(condition, 0) if batched else condition), False


@custom_vmap
def _in_this_lane(condition: Any) -> Any:
    """``condition`` under vmap. Without vmap it holds whenever the loop runs a step."""
    return jnp.ones_like(condition)


@_in_this_lane.def_vmap
def _(axis_size: int, in_batched: Any, condition: Any) -> Any:
    del axis_size
    return condition, in_batched[0]


def _last_steps(body_of: Any, given: Given, truncate: int) -> State:
    """The loop, differentiable only through its last ``truncate`` steps.

    It runs once to find where those steps start, and a second time up to that point.
    """
    constant = stop_gradient(given)
    made = _while(body_of(constant), constant, constant.limit).made
    before = jnp.maximum(made - truncate, 0)
    state = stop_gradient(_while(body_of(constant), constant, before))
    if truncate == 0:
        return state
    carry = state.carry
    for steps in range(max(map(len, carry.states), default=1)):
        with_initial = cut_gradient(given.start, state.carry, steps)
        carry = _choose(before == steps, with_initial, carry)
    start = State(before, jnp.zeros((), bool), carry)
    sequences = [
        jax.lax.dynamic_slice_in_dim(seq, before, min(truncate, len(seq)))
        for seq in given.sequences
    ]
    return _bounded(body_of(given), start, sequences, made, truncate)[0]


def _choose(condition: Any, values: Any, others: Any) -> Any:
    """``values`` if ``condition``, else ``others``."""
    return jax.tree.map(lambda x, y: jax.lax.select(condition, x, y), values, others)

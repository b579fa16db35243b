"""One step of a Scan: what the loop carries from step to step, and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.subtensor import Subtensor

from jaxlink.dispatch.scan.draws_ahead import Plan
from jaxlink.errors import ArgumentError, DynamicShapeError
from jaxlink.ops.loop import Keep
from jaxlink.values.static import canonical, to_dynamic
from jaxlink.values.symbolic_sizes import as_length
from jaxlink.values.types import name_of

# Up to this many rows are carried as separate arrays, so that shifting copies nothing.
_FEW = 16


class Carry(NamedTuple):
    """What one step passes to the next.

    ``states`` holds the last rows of each state, and ``windows`` those of each nit-sot
    that is read only at its end. ``position`` counts the steps if there are mit-mots.
    """

    position: Any
    mit_mots: list[Any]
    states: list[Any]
    windows: list[Any]
    untraced: list[Any]


@dataclass(frozen=True)
class Body:
    """The inner graph of a Scan, as a function of `Carry` and elements of sequences.

    Arguments:
        node: the Scan's or Loop's node, for messages.
        scan: the Scan, which knows the positions of its operands and outputs.
        keep: which rows of each state and nit-sot are kept.
        step: the linked inner graph.
        non_sequences: the values that are the same in all steps.
        planned: the draws that can be made ahead.
        convert: turns a value into JAX data. In an unrolled loop, known values stay
            known.
    """

    node: Any
    scan: Any
    keep: tuple[Keep, ...]
    step: Callable[..., Sequence[Any]]
    non_sequences: list[Any]
    planned: Plan
    convert: Callable[[Any], Any] = to_dynamic

    @property
    def taps(self) -> list[Sequence[int]]:
        info = self.scan.info
        return [*info.mit_sot_in_slices, *info.sit_sot_in_slices]

    @property
    def keep_nit_sot(self) -> tuple[Keep, ...]:
        return self.keep[len(self.taps) :]

    def start(self, outer: Sequence[Any]) -> Carry:
        """The carry for the first step, with empty ``windows`` (see `with_windows`)."""
        scan = self.scan
        mit_mots = list(map(self.convert, scan.outer_mitmot(outer)))
        buffers = [*scan.outer_mitsot(outer), *scan.outer_sitsot(outer)]
        states = [
            _rows(self.convert(buffer), -min(taps), keep)
            for buffer, taps, keep in zip(buffers, self.taps, self.keep, strict=False)
        ]
        untraced = list(map(self.convert, scan.outer_untraced_sit_sot(outer)))
        position = np.int32(0) if mit_mots else None
        windows = [() for _ in self.keep_nit_sot]
        return Carry(position, mit_mots, states, windows, untraced)

    def with_windows(self, carry: Carry, sequences: Sequence[Any]) -> Carry:
        """``carry`` with room for the last rows of nit-sots. One abstract step gives
        their shapes."""
        if not any(isinstance(keep, int) and keep for keep in self.keep_nit_sot):
            return carry
        first = [seq[0] for seq in sequences]
        rows = jax.eval_shape(lambda: self._advance(carry, first)[2])
        windows = [
            (jnp.zeros(row.shape, row.dtype),) * keep if isinstance(keep, int) else ()
            for row, keep in zip(rows, self.keep_nit_sot, strict=True)
        ]
        return carry._replace(windows=windows)

    def advance(self, carry: Carry, xs: Sequence[Any]) -> tuple[Carry, list[Any], Any]:
        """One step: the next carry, the rows to stack, and whether the loop is over."""
        carry, states, rows, over = self._advance(carry, xs)
        windows = [
            _push(window, row) if window else window
            for window, row in zip(carry.windows, rows, strict=True)
        ]
        traces = [
            None if isinstance(keep, int) else value
            for keep, value in zip(self.keep, [*states, *rows], strict=True)
        ]
        return carry._replace(windows=windows), traces, over

    def _advance(
        self, carry: Carry, xs: Sequence[Any]
    ) -> tuple[Carry, list[Any], list[Any], Any]:
        scan, info = self.scan, self.scan.info
        operands = [
            *xs,
            *_read(carry.mit_mots, info.normalized_mit_mot_in_slices, carry.position),
            *_read(carry.states, self.taps, 0),
            *carry.untraced,
            *self.non_sequences,
        ]
        outs = list(map(self.convert, self.step(*operands)))
        mit_mots = [
            _write(buffer, carry.position, taps, values)
            for buffer, taps, values in zip(
                carry.mit_mots,
                info.normalized_mit_mot_out_slices,
                scan.inner_mitmot_outs_grouped(outs),
                strict=True,
            )
        ]
        new = [
            *scan.inner_mitsot_outs(outs),
            *scan.inner_sitsot_outs(outs),
            *scan.inner_untraced_sit_sot_outs(outs),
        ]
        old = [*(rows[-1] for rows in carry.states), *carry.untraced]
        operands_of_states = self.node.inputs[1 + info.n_seqs + info.n_mit_mot :]
        new = list(map(self._fit, new, old, operands_of_states))
        n_states = len(carry.states)
        states = list(map(_push, carry.states, new))
        position = None if carry.position is None else carry.position + 1
        over = outs[-1] if info.as_while else None
        carry = Carry(position, mit_mots, states, carry.windows, new[n_states:])
        return carry, new[:n_states], scan.inner_nitsot_outs(outs), over

    def _fit(self, value: Any, old: Any, operand: Any) -> Any:
        """``value`` broadcast to the shape of the old state, as PyTensor does when it
        writes a state into its buffer."""
        if not hasattr(old, "shape") or value.shape == old.shape:
            return value
        if value.ndim == old.ndim and isinstance(value, jax.Array | np.ndarray):
            try:
                return jnp.broadcast_to(value, old.shape)
            except ValueError:
                pass
        raise ArgumentError(
            f"a state of `{self.node.op}`, which starts as "
            f"{source(operand)}, has shape {old.shape} before a step "
            f"and {value.shape} after it. A loop's states must keep their shapes: "
            "start with the full size, or pad."
        )

    def frozen(self) -> "Body":
        """The same steps, without a gradient through the non-sequences."""
        return replace(self, non_sequences=stop_gradient(self.non_sequences))


def stop_gradient(values: Any) -> Any:
    """``values`` (any pytree), which derivatives treat as constants."""
    return jax.tree.map(
        lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, values
    )


def cut_gradient(start: Carry, carry: Carry, steps: int) -> Carry:
    """``carry``, ``steps`` steps after ``start``, with a gradient only to the initial
    values that it still contains (``truncate_gradient``)."""
    if steps == 0:
        return start
    carry = stop_gradient(carry)
    states = [
        _concatenate(first[steps:], rows[max(len(rows) - steps, 0) :])
        for first, rows in zip(start.states, carry.states, strict=True)
    ]
    return carry._replace(states=states)


def output(
    n: Any, var: Any, keep: Keep, buffer: Any, depth: int, rows: Any, trace: Any
) -> Any:
    """A state or nit-sot after the loop.

    Arguments:
        n: the number of steps that were made, or None if it is not known.
        var: the output.
        keep: which rows are read.
        buffer: the Scan's operand: a state's buffer, or a nit-sot's length.
        depth: the number of initial values; 0 for a nit-sot.
        rows: the last rows, as carried.
        trace: the stacked steps, if ``keep`` needs them.
    """
    if keep == "steps":
        return trace
    if keep == "all":
        return jnp.concatenate([buffer[:depth], trace])
    if keep == "buffer":
        length = buffer.shape[0] if depth else as_length(buffer)
        if depth and n == 0:
            return buffer  # unchanged, whatever its length
        all_rows = jnp.concatenate([buffer[:depth], trace]) if depth else trace
        missing = length - all_rows.shape[0]
        if n == 0 or missing <= 0:
            return all_rows[max(-missing, 0) :]
        # The gradient of a truncated Scan has fewer steps than rows.
        padding = jnp.zeros((missing, *all_rows.shape[1:]), all_rows.dtype)
        return jnp.concatenate([all_rows, padding])
    if trace is not None:
        missing = keep - len(trace)
        if missing > 0 and depth:
            trace = jnp.concatenate([buffer[:depth][-missing:], trace])
        return trace[max(len(trace) - keep, 0) :]
    known = len(rows) if n is None else min(n + depth, len(rows))
    wanted = min(max(keep, 1), known)
    if not wanted:  # nobody reads it
        return jnp.zeros((0,) * var.type.ndim, canonical(var.type.dtype))
    rows = rows[len(rows) - wanted :]
    return jnp.stack(list(map(to_dynamic, rows))) if isinstance(rows, tuple) else rows


def source(var: Any) -> str:
    """The name of the variable that ``var`` is a part or a transpose of."""
    while var.name is None and isinstance(
        getattr(var.owner, "op", None), DimShuffle | Subtensor
    ):
        var = var.owner.inputs[0]
    return name_of(var)


def stack(steps: Sequence[Any], name: str) -> Any:
    """The values of unrolled steps as one array."""
    shapes = list(dict.fromkeys(np.shape(step) for step in steps))
    if len(shapes) > 1:
        raise DynamicShapeError(
            f"the steps of {name} have different shapes ({shapes[0]}, {shapes[1]}), "
            "so they cannot form an array. Pad them to the same shape."
        )
    return jnp.stack([to_dynamic(step) for step in steps])


def _rows(buffer: Any, depth: int, keep: Keep) -> Any:
    """The initial values, preceded by zeros if more rows are kept than there are."""
    if len(buffer) < depth:
        raise ValueError(
            f"a state of a Scan reads {depth} steps back, but it has only "
            f"{len(buffer)} initial values"
        )
    rows = [buffer[i] for i in range(depth)]
    missing = keep - depth if isinstance(keep, int) else 0
    if missing > 0:
        rows = [jnp.zeros_like(rows[0])] * missing + rows
    return tuple(rows) if len(rows) <= _FEW else jnp.stack(rows)


def _push(rows: Any, value: Any) -> Any:
    new = (value,) if isinstance(rows, tuple) else value[None]
    return _concatenate(rows[1:], new)


def _concatenate(rows: Any, more: Any) -> Any:
    return rows + more if isinstance(rows, tuple) else jnp.concatenate([rows, more])


def _read(buffers: Any, taps: Sequence[Sequence[int]], at: Any) -> list[Any]:
    """For each buffer, its rows at ``at`` plus each of its taps."""
    pairs = zip(buffers, taps, strict=True)
    return [buffer[at + tap] for buffer, some in pairs for tap in some]


def _write(buffer: Any, i: Any, taps: Sequence[int], values: Sequence[Any]) -> Any:
    for tap, value in zip(taps, values, strict=True):
        buffer = buffer.at[i + tap].set(value)
    return buffer

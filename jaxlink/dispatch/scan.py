"""Loops: Scan becomes ``lax.scan``.

PyTensor's Scan writes each state into a buffer that holds the initial values too; a
buffer shorter than the loop keeps the last steps. Here ``lax.scan`` carries just the
states that the next step reads, stacks what each step gives, and the output is the tail
of initial values and steps that the buffer has room for. Only mit-mot states, which the
gradient of a Scan has, are read and written in their buffer.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.scan.op import Scan

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import DynamicShapeError, UnsupportedOpError
from jaxlink.random_state import Stream
from jaxlink.static import to_jax


@rule(Scan, static=(0,), inner=True)
def scan(op: Any, node: Any, link: Any) -> Linked:
    info = op.info
    if info.as_while:
        raise UnsupportedOpError(
            f"`{op}` stops on a condition (until), which jaxlink cannot compile yet. "
            "Run a fixed number of steps and keep the state once the condition holds."
        )
    step = link(op.fgraph)
    first_non_seq = info.n_inner_inputs - info.n_non_seqs
    first_outer_non_seq = info.n_outer_inputs - info.n_non_seqs
    moving = [i for i in step.static if i < first_non_seq]
    if moving:
        raise DynamicShapeError(
            f"a shape inside `{op}` depends on what changes from step to step (inner "
            f"inputs {moving}: a sequence or a state). All steps of a JAX loop have "
            "the same shapes: take the full size, and mask it."
        )
    static = {first_outer_non_seq + i - first_non_seq for i in step.static}
    static |= {i for i in range(info.n_outer_inputs) if _is_nit_sot_size(info, i)}

    mit_mot_in = info.normalized_mit_mot_in_slices
    mit_mot_out = info.normalized_mit_mot_out_slices
    taps = [*info.mit_sot_in_slices, *info.sit_sot_in_slices]
    depths = [-min(slices) for slices in taps]

    def run(*operands: Any) -> tuple[Any, ...]:
        outer = list(operands)
        n_steps = int(outer[0])
        sequences = [_array(seq)[:n_steps] for seq in op.outer_seqs(outer)]
        non_sequences = outer[first_outer_non_seq:]
        buffers = [
            _array(b) for b in [*op.outer_mitsot(outer), *op.outer_sitsot(outer)]
        ]
        initial = [
            buffer[:depth] for buffer, depth in zip(buffers, depths, strict=True)
        ]

        def body(carry: Any, xs: Any) -> tuple[Any, Any]:
            i, mit_mots, states, untraced = carry
            operands = [
                *xs,
                *(
                    buffer[i + tap]
                    for buffer, slices in zip(mit_mots, mit_mot_in, strict=True)
                    for tap in slices
                ),
                *(
                    state[depth + tap]
                    for state, slices, depth in zip(states, taps, depths, strict=True)
                    for tap in slices
                ),
                *untraced,
                *non_sequences,
            ]
            outs = [_array(value) for value in step(*operands)]
            writes = op.inner_mitmot_outs_grouped(outs)
            mit_mots = [
                _write(buffer, i, slices, values)
                for buffer, slices, values in zip(
                    mit_mots, mit_mot_out, writes, strict=True
                )
            ]
            new = [*op.inner_mitsot_outs(outs), *op.inner_sitsot_outs(outs)]
            states = [
                jnp.concatenate([state[1:], value[None]])
                for state, value in zip(states, new, strict=True)
            ]
            carry = i + 1, mit_mots, states, op.inner_untraced_sit_sot_outs(outs)
            return carry, (new, op.inner_nitsot_outs(outs))

        mit_mots = [_array(buffer) for buffer in op.outer_mitmot(outer)]
        untraced = [_array(value) for value in op.outer_untraced_sit_sot(outer)]
        start = (np.int32(0), mit_mots, initial, untraced)
        (_, mit_mots, _, untraced), (traces, stacks) = jax.lax.scan(
            body, start, sequences, length=n_steps
        )
        kept = [
            _tail(jnp.concatenate([first, trace]) if n_steps else first, len(buffer))
            for first, trace, buffer in zip(initial, traces, buffers, strict=True)
        ]
        sizes = map(int, op.outer_nitsot(outer))
        tails = [_tail(stack, n) for stack, n in zip(stacks, sizes, strict=True)]
        return (*mit_mots, *kept, *tails, *untraced)

    return Linked(run, tuple(sorted(static)))


def _is_nit_sot_size(info: Any, i: int) -> bool:
    end = info.n_outer_inputs - info.n_non_seqs
    return end - info.n_nit_sot <= i < end


def _tail(x: Any, length: int) -> Any:
    return x[max(len(x) - length, 0) :]


def _array(value: Any) -> Any:
    return value if isinstance(value, Stream) else jnp.asarray(to_jax(value))


def _write(buffer: Any, i: Any, taps: Sequence[int], values: Sequence[Any]) -> Any:
    for tap, value in zip(taps, values, strict=True):
        buffer = buffer.at[i + tap].set(value)
    return buffer

"""Loops: Scan becomes a ``lax.scan``, or a loop that ends when a condition holds.

PyTensor's Scan keeps all steps: it writes each state into a buffer, after the initial
values. Before linking, `jaxlink.rewrites.trim_scans` finds out which rows are read and
replaces the Scan with a `Loop`, which keeps only those. A loop carries only the rows
that the next step reads. It stacks a state or output if all of its steps are read.

If the number of steps is known before the call, the loop is a ``lax.scan``. If it is
not, only the last rows can be read. If the loop has a condition and more than its last
rows are read, it keeps as many steps as it could make, and a mask says which it made
(see `jaxlink.dispatch.scan.while_loop`). If a shape depends on an element of a known
sequence, the loop is unrolled.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.export import is_symbolic_dim
from pytensor.scan.op import Scan

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.dispatch.scan.body import Body, output, source
from jaxlink.dispatch.scan.draws_ahead import plan
from jaxlink.dispatch.scan.fixed_length import run_scan, run_unrolled
from jaxlink.dispatch.scan.while_loop import run_early, run_padded
from jaxlink.errors import DynamicShapeError
from jaxlink.ops.loop import Loop, unknown_length
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, is_static, to_dynamic
from jaxlink.values.symbolic_sizes import as_length
from jaxlink.values.types import name_of


@rule(Scan, inner=True)
def scan(op: Any, node: Any, link: Any) -> Linked:
    info = op.info
    n_traced = info.n_mit_sot + info.n_sit_sot + info.n_nit_sot
    whole = Loop(op, ["buffer"] * n_traced, least=0, exact=True)
    linked = loop(whole, node, link)
    return replace(linked, run=lambda *operands: linked.run(*operands)[:-1])


@rule(Loop, inner=True)
def loop(op: Loop, node: Any, link: Any) -> Linked:
    scan, info, keep = op.scan, op.scan.info, op.keep
    traced_outputs = node.outputs[info.n_mit_mot :][: len(keep)]
    traced = any(not isinstance(k, int) for k in keep)
    padded = info.as_while and traced
    if padded and ("buffer" in keep or scan.truncate_gradient >= 0):
        whole = ", ".join(
            name_of(out)
            for out, kind in zip(traced_outputs, keep, strict=True)
            if not isinstance(kind, int)
        )
        raise DynamicShapeError(f"{unknown_length(scan)} This graph reads {whole}.")
    first_non_seq = info.n_inner_inputs - info.n_non_seqs
    first_outer_non_seq = info.n_outer_inputs - info.n_non_seqs
    step = link.link(scan.fgraph, varying=range(first_non_seq))
    moving = _moving_operands(op, step, first_non_seq)

    def outside(inner: Sequence[int]) -> set[int]:
        return {first_outer_non_seq + i - first_non_seq for i in inner}

    static = outside([i for i in step.static if i >= first_non_seq]) | moving
    preferred = outside(step.preferred_static)
    needs_n_steps = op.exact or traced or moving or info.n_mit_mot
    (static if needs_n_steps else preferred).add(0)
    n_states = info.n_mit_sot + info.n_sit_sot
    first_size = first_outer_non_seq - info.n_nit_sot
    static |= {first_size + i for i, k in enumerate(keep[n_states:]) if k == "buffer"}
    depths = [-min(taps) for taps in (*info.mit_sot_in_slices, *info.sit_sot_in_slices)]
    depths += [0] * info.n_nit_sot

    planned = plan(scan)

    def run(*outer: Any) -> tuple[Any, ...]:
        made: int | None
        traces: list[Any]
        n_steps = outer[0]
        non_sequences = list(outer[first_outer_non_seq:])
        body = Body(node, scan, keep, step, non_sequences, planned)
        sequences = list(scan.outer_seqs(outer))
        known = is_static(n_steps)
        if known:
            n_steps = as_length(n_steps)
            sequences = _of_length(op, node, n_steps, sequences)
        if padded and n_steps != 0:
            made = None
            carry, n_made, traces = run_padded(body, outer, sequences, n_steps)
        elif (info.as_while and not padded) or not known:
            made = None
            carry, n_made = run_early(body, outer, sequences, n_steps)
            traces = [None] * len(keep)
        else:
            made = n_steps
            n_made = jnp.asarray(n_steps, canonical("int64"))
            run_fixed = run_unrolled if moving else run_scan
            carry, traces = run_fixed(body, outer, sequences, n_steps)
        if made is None and op.least:
            message = f"`{op}` made fewer steps than the {op.least} that are read"
            check(n_made >= op.least, message)
        states = [*scan.outer_mitsot(outer), *scan.outer_sitsot(outer)]
        columns = zip(
            traced_outputs,
            keep,
            [*map(to_dynamic, states), *scan.outer_nitsot(outer)],
            depths,
            [*carry.states, *carry.windows],
            traces,
            strict=True,
        )
        outs = [output(made, *column) for column in columns]
        return (*carry.mit_mots, *outs, *map(to_dynamic, carry.untraced), n_made)

    return Linked(run, tuple(sorted(static)), tuple(sorted(preferred)))


def _of_length(op: Loop, node: Any, n_steps: int, sequences: list[Any]) -> list[Any]:
    """``sequences`` cut to ``n_steps``.

    Raises:
        IndexError: if ``n_steps`` is negative or less than the graph reads.
        ValueError: if a sequence is too short.
    """
    if is_symbolic_dim(n_steps):
        return [seq if seq.shape[0] == n_steps else seq[:n_steps] for seq in sequences]
    if n_steps < 0:
        raise IndexError(f"`{op}` has a negative number of steps, {n_steps}")
    if n_steps < op.least:
        raise IndexError(
            f"`{op}` makes {n_steps} steps, but its step {op.least} from the end is "
            "read"
        )
    for var, seq in zip(node.inputs[1:], sequences, strict=False):
        if len(seq) < n_steps:
            raise ValueError(
                f"`{op}` makes {n_steps} steps, but its sequence {source(var)} has "
                f"only {len(seq)} elements"
            )
    return [seq if len(seq) == n_steps else seq[:n_steps] for seq in sequences]


def _moving_operands(op: Loop, step: Any, first_non_seq: int) -> set[int]:
    """The sequences and states whose elements a shape inside the loop depends on.

    Raises:
        DynamicShapeError: if the loop cannot be unrolled.
    """
    info = op.scan.info
    inner = [i for i in step.static if i < first_non_seq]
    taps = [[0]] * info.n_seqs + [*info.mit_mot_in_slices]
    taps += [*info.mit_sot_in_slices, *info.sit_sot_in_slices]
    operands = [1 + i for i, some in enumerate(taps) for _ in some]
    first_mit_mot = 1 + info.n_seqs
    for i in inner:
        is_untraced = i >= len(operands)
        in_mit_mot = (
            not is_untraced
            and first_mit_mot <= operands[i] < first_mit_mot + info.n_mit_mot
        )
        if info.as_while or is_untraced or in_mit_mot:
            asker, _ = step.required[step.inputs[i]]
            raise DynamicShapeError(
                f"`{asker.op}` inside `{op}` needs inner input {i}, a sequence or a "
                "state, before the function runs. It changes from step to step, and "
                "this loop cannot be unrolled. All steps of a JAX loop must have the "
                "same shapes: use the full size, and mask it."
            )
    return {operands[i] for i in inner}

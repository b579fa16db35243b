"""`Blockwise`: an Op that is repeated over batch dimensions becomes a `jax.vmap`.

A static operand may differ between the elements of a batch. The batch is then unrolled
into one copy of the Op per element. If JAX cannot map the Op, a loop runs it.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.type import TensorType

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.dispatch.scalar.elemwise import check_broadcast
from jaxlink.errors import CompileError
from jaxlink.values.evaluate import evaluate
from jaxlink.values.static import is_static, to_jax

# XLA still compiles this many copies of an Op quickly.
_LONGEST_UNROLLED = 64


@rule(Blockwise, inner=True)
def blockwise(op: Blockwise, node: Any, link: Any) -> Linked:
    core_ndims = [len(names) for names in op.inputs_sig]
    core_inputs = [
        TensorType(var.type.dtype, var.type.shape[var.type.ndim - n :])(name=var.name)
        for var, n in zip(node.inputs, core_ndims, strict=True)
    ]
    core_node = op.core_op.make_node(*core_inputs)
    core = link.link(FunctionGraph(core_inputs, core_node.outputs, clone=False))

    def run(*operands: Any) -> Any:
        if all(map(is_static, operands)):
            return tuple(evaluate(node, operands))
        args = [x if i in core.static else to_jax(x) for i, x in enumerate(operands)]
        splits = [x.ndim - n for x, n in zip(args, core_ndims, strict=True)]
        batch_shapes = [x.shape[:k] for x, k in zip(args, splits, strict=True)]
        check_broadcast(node, batch_shapes)
        batch = np.broadcast_shapes(*batch_shapes)
        # An operand without a batch is not copied.
        batched = [any(n != 1 for n in shape) for shape in batch_shapes]
        flat = [
            _flat(x, batch, k) if has_batch else x.reshape(x.shape[k:])
            for x, k, has_batch in zip(args, splits, batched, strict=True)
        ]
        if any(batched[i] for i in core.static):
            outs: Sequence[Any] = _unrolled(node, core, flat, batched, batch)
        elif any(batched):
            outs = _mapped(core, flat, batched)
        else:
            outs = [x[None] for x in _arrays(core(*flat))]
        return tuple(out.reshape(batch + out.shape[1:]) for out in outs)

    # A preferred static operand is a single value. A batch of values does not help.
    preferred = (
        i
        for i in core.preferred_static
        if all(node.inputs[i].type.broadcastable[: -core_ndims[i] or None])
    )
    return Linked(run, tuple(core.static), tuple(preferred))


def _flat(x: Any, batch: tuple[int, ...], split: int) -> Any:
    """``x`` with its ``split`` batch dimensions broadcast to ``batch``, then flattened
    to one."""
    core = x.shape[split:]
    broadcast = np.broadcast_to if is_static(x) else jnp.broadcast_to
    return broadcast(x, batch + core).reshape(int(np.prod(batch)), *core)


def _arrays(outs: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(jnp.asarray(to_jax(out)) for out in outs)


def _mapped(core: Any, flat: Sequence[Any], batched: Sequence[bool]) -> Sequence[Any]:
    def one(*elements: Any) -> tuple[Any, ...]:
        rest = iter(elements)
        pairs = zip(flat, batched, strict=True)
        return _arrays(core(*(next(rest) if has else x for x, has in pairs)))

    mapped = [x for x, has in zip(flat, batched, strict=True) if has]
    try:
        return jax.vmap(one)(*mapped)
    except NotImplementedError:  # JAX raises this if a primitive has no batching rule
        return jax.lax.map(lambda elements: one(*elements), tuple(mapped))


def _unrolled(
    node: Any, core: Any, flat: Sequence[Any], batched: Sequence[bool], batch: Any
) -> Sequence[Any]:
    """The Op applied to each element in turn, because their static operands differ."""
    length = int(np.prod(batch))
    named = ", ".join(f"`{node.inputs[i]}`" for i in core.static)
    if not 0 < length <= _LONGEST_UNROLLED:
        raise CompileError(
            f"{node.op} needs {named} before the function runs, for each of the "
            f"{length} elements of its batch. jaxlink unrolls 1 to {_LONGEST_UNROLLED} "
            "elements. Loop over them with pytensor.scan, or use one value for all."
        )
    pairs = list(zip(flat, batched, strict=True))
    elements = [
        _arrays(core(*(x[i] if has else x for x, has in pairs))) for i in range(length)
    ]
    for outs in zip(*elements, strict=True):
        if len(shapes := {out.shape for out in outs}) > 1:
            raise CompileError(
                f"{node.op} returns elements of different shapes for different values "
                f"of {named}: {sorted(shapes)}. An array needs a single shape: pad the "
                "elements, or keep them in separate variables."
            )
    return [jnp.stack(outs) for outs in zip(*elements, strict=True)]

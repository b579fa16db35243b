"""`Blockwise`: an Op that is repeated over batch dimensions becomes a `jax.vmap`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.type import TensorType

from jaxlink.dispatch.elemwise import check_broadcast
from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import evaluate, is_static, to_jax

__all__: list[str] = []


@rule(Blockwise, inner=True)
def blockwise(op: Blockwise, node: Any, link: Callable[..., Any]) -> Linked:
    core_ndims = [len(names) for names in op.inputs_sig]
    core_inputs = [
        TensorType(var.type.dtype, var.type.shape[var.type.ndim - n :])()
        for var, n in zip(node.inputs, core_ndims, strict=True)
    ]
    core_node = op.core_op.make_node(*core_inputs)
    core = link(FunctionGraph(core_inputs, core_node.outputs, clone=False))
    for i in core.static:
        var = node.inputs[i]
        if not all(var.type.broadcastable[: var.type.ndim - core_ndims[i]]):
            raise UnsupportedOpError(
                f"{op} needs {var} before the function runs, once for the whole batch, "
                "but it is batched itself."
            )

    def run(*operands: Any) -> Any:
        if all(map(is_static, operands)):
            return tuple(evaluate(node, operands))
        args = [
            operand if i in core.static else to_jax(operand)
            for i, operand in enumerate(operands)
        ]
        splits = [x.ndim - n for x, n in zip(args, core_ndims, strict=True)]
        batch_shapes = [x.shape[:k] for x, k in zip(args, splits, strict=True)]
        check_broadcast(node, batch_shapes)
        batch = np.broadcast_shapes(*batch_shapes)
        # Operands without a batch of their own are not copied.
        axes = [0 if any(n != 1 for n in shape) else None for shape in batch_shapes]
        flat = [
            x.reshape(x.shape[k:])
            if axis is None
            else jnp.broadcast_to(x, batch + x.shape[k:]).reshape(-1, *x.shape[k:])
            for x, k, axis in zip(args, splits, axes, strict=True)
        ]
        mapped = [x for x, axis in zip(flat, axes, strict=True) if axis == 0]

        def one(*elements: Any) -> tuple[Any, ...]:
            rest = iter(elements)
            return tuple(
                jnp.asarray(out)
                for out in core(
                    *(
                        x if axis is None else next(rest)
                        for x, axis in zip(flat, axes, strict=True)
                    )
                )
            )

        outs = jax.vmap(one)(*mapped) if mapped else one()
        cores = [out.shape[1 if mapped else 0 :] for out in outs]
        return tuple(
            out.reshape(batch + core) for out, core in zip(outs, cores, strict=True)
        )

    return Linked(run, tuple(core.static))

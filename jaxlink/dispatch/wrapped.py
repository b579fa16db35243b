"""JAX functions inside a PyTensor graph (`wrap_jax`), and `Print`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.link.jax.ops import JAXOp
from pytensor.printing import Print

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import RuleError
from jaxlink.values.static import canonical
from jaxlink.values.types import name_of


@rule(JAXOp)
def jax_function(op: JAXOp, node: Any) -> Function:
    """Call the wrapped JAX function directly. JAX differentiates it."""

    def run(*operands: Any) -> tuple[Any, ...]:
        outs = op.jax_func(*map(jnp.asarray, operands))
        for out, var in zip(outs, node.outputs, strict=True):
            fixed = zip(var.type.shape, jnp.shape(out), strict=False)
            fits = all(want in (None, have) for want, have in fixed)
            if not fits or jnp.ndim(out) != var.type.ndim:
                raise RuleError(
                    f"the JAX function `{op.name or op}` returned an array of shape "
                    f"{jnp.shape(out)} for {name_of(var)}, but the variable's type has "
                    f"shape {var.type.shape}."
                )
        return tuple(
            jnp.asarray(out, canonical(var.type.dtype))
            for out, var in zip(outs, node.outputs, strict=True)
        )

    return run


# Lazy, so that a known value is printed at each call and not once while tracing.
@rule(Print, lazy=True)
def print_value(op: Print, node: Any) -> Function:
    def show(value: Any) -> None:
        op.global_fn(op, np.asarray(value))

    def run(value: Any) -> Any:
        value = jnp.asarray(value)
        jax.debug.callback(show, value)
        return value

    return run

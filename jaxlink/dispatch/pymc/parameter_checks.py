"""PyMC's parameter checks: the log density of illegal parameters is -inf.

A compiled function cannot raise, and PyMC's own compiled functions do not either: they
give -inf where the check says that it stands for that. Under ``checkify`` it is an
error, like all checks.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from pymc.logprob.utils import CheckParameterValue

from jaxlink.dispatch.control import check_and_raise
from jaxlink.dispatch.registry import rule
from jaxlink.values.runtime_checks import check


# Lazy: PyTensor would raise where all parameters are constants.
@rule(CheckParameterValue, lazy=True)
def check_parameter_value(op: Any, node: Any) -> Callable[..., Any]:
    if not op.can_be_replaced_by_ninf:
        return check_and_raise(op, node)
    message = f"{op.exc_type.__name__}: {op.msg}"
    dtype = node.outputs[0].type.dtype

    def run(value: Any, *conditions: Any) -> Any:
        legal = jnp.all(jnp.stack([jnp.all(c) for c in conditions]))
        check(legal, message)
        return jnp.where(legal, value, jnp.asarray(-jnp.inf, value.dtype))

    return run if dtype.startswith("float") else check_and_raise(op, node)

"""PyMC's parameter checks: outside the parameters' domain, the log density is -inf.

A compiled function cannot raise, and PyMC's own compiled functions do not raise either.
Both return -inf if the check says that -inf can replace it. Under ``checkify`` a failed
parameter check is an error, like any other check.
"""

from functools import reduce
from typing import Any

import jax.numpy as jnp
from pymc.logprob.utils import CheckParameterValue
from pytensor.graph.basic import Apply

from jaxlink.dispatch.control import check_and_raise
from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import to_jax


# An inner rule, because it must run even if all parameters are constants. Otherwise
# PyTensor would evaluate the check and raise.
@rule(CheckParameterValue, inner=True)
def check_parameter_value(op: Any, node: Any, link: Any) -> Function:
    is_float = node.outputs[0].type.dtype.startswith("float")
    if not (is_float and op.can_be_replaced_by_ninf):
        return check_and_raise(op, node, link)
    message = f"{op.exc_type.__name__}: {op.msg}"

    def run(value: Any, *conditions: Any) -> Any:
        legal = jnp.all(jnp.stack([jnp.all(c) for c in conditions]))
        check(legal, message)
        value = to_jax(value)
        return jnp.where(legal, value, jnp.asarray(-jnp.inf, value.dtype))

    return run


class StackedCheck(CheckParameterValue):
    """The checks of a stack. A condition is a scalar, or a vector whose element *i*
    applies to element *i* of the value."""

    __props__ = CheckParameterValue.__props__

    def make_node(self, value: Any, *conditions: Any) -> Apply:
        return Apply(self, [value, *conditions], [value.type()])

    def do_constant_folding(self, fgraph: Any, node: Any) -> bool:
        del fgraph, node
        return False


def stacked_check(node: Any) -> StackedCheck | None:
    """The check of ``node`` for a whole stack, if ``node`` checks a float that -inf can
    replace."""
    op = node.op
    if type(op) is not CheckParameterValue or not op.can_be_replaced_by_ninf:
        return None
    if not node.outputs[0].type.dtype.startswith("float"):
        return None
    return StackedCheck(op.msg, op.can_be_replaced_by_ninf)


@rule(StackedCheck, inner=True)
def check_stack(op: Any, node: Any, link: Any) -> Function:
    del node, link
    message = f"{op.exc_type.__name__}: {op.msg}"

    def run(value: Any, *conditions: Any) -> Any:
        value = jnp.asarray(to_jax(value))
        legal = reduce(jnp.logical_and, map(jnp.asarray, conditions))
        check(jnp.all(legal), message)
        legal = legal.reshape(legal.shape + (1,) * (value.ndim - legal.ndim))
        return jnp.where(legal, value, jnp.asarray(-jnp.inf, value.dtype))

    return run

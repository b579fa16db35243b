"""Functions with derivatives of their own, in a program that `seed` evaluates.

They are built again, so that their rules can draw, and may be called long after.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import primal_dtype_to_tangent_dtype
from jax.interpreters import ad

from jaxlink.sampling.in_loops import anchoring
from jaxlink.sampling.interpret import REF, Interpreter, without_refs
from jaxlink.sampling.keys import Streams, within
from jaxlink.sampling.moves import refuse_moves
from jaxlink.sampling.programs import forward_rule, is_ref, jvp_rule

__all__ = ["custom_jvp", "custom_vjp"]

# An interpreter for rules: they are called in other traces, where nothing was seen yet.
Rules = Callable[[], Interpreter]


def custom_jvp(
    interpreter: Interpreter,
    rules: Rules,
    eqn: Any,
    streams: Streams,
    operands: Sequence[Any],
) -> list[Any]:
    """The jvp rule numbers its draws as the function does."""
    params = eqn.params
    n_consts, n_outs = params["num_consts"], len(params["call_jaxpr"].outvars)
    known, whole = without_refs(operands)

    @jax.custom_jvp
    def call(streams: Streams, *known: Any) -> list[Any]:
        return interpreter.run(params["call_jaxpr"], streams, whole(known))[0]

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        streams, *known = primals
        full = whole(known)
        given = iter(tangents[1:])
        ts = [None if x is REF else next(given) for x in full][n_consts:]
        zeros = [type(t) is SymbolicZero for t in ts]
        again = rules()
        with anchoring(again.with_ref):
            jaxpr, out_zeros = jvp_rule(params, zeros)
        refuse_moves(jaxpr)
        nonzero = [t for t, zero in zip(ts, zeros, strict=True) if not zero]
        outs, _ = again.run(jaxpr, streams, [*full[n_consts:], *nonzero])
        outs, rest = outs[:n_outs], iter(outs[n_outs:])
        pairs = zip(outs, out_zeros, strict=True)
        return outs, [_zero_like(y) if zero else next(rest) for y, zero in pairs]

    call.defjvp(rule, symbolic_zeros=params["symbolic_zeros"])
    return call(streams, *known)


def custom_vjp(
    interpreter: Interpreter,
    rules: Rules,
    eqn: Any,
    streams: Streams,
    operands: Sequence[Any],
) -> list[Any]:
    """The fwd rule numbers its draws as the function does; the bwd rule is a scope."""
    params = eqn.params
    primal = params["call_jaxpr"]
    if not operands:  # nothing to differentiate
        return interpreter.run(primal, streams, operands)[0]
    n_consts = params["num_consts"]
    known, whole = without_refs(operands)

    @jax.custom_vjp
    def call(streams: Streams, *known: Any) -> list[Any]:
        inner = within(streams, interpreter.counted(primal))
        return interpreter.run(primal, inner, whole(known))[0]

    # JAX has no symbolic zeros for them in shard_map. There, all counts as perturbed.
    symbolic = not jax.sharding.get_abstract_mesh().manual_axes

    def fwd(streams: Any, *known: Any) -> Any:
        perturbed = [x.perturbed if symbolic else True for x in known]
        perturbed = [x is not REF and x for x in whole(perturbed)][n_consts:]
        values = [x.value for x in known] if symbolic else list(known)
        if symbolic:
            streams = jax.tree.map(lambda x: x.value, streams)
        full = whole(values)
        again = rules()
        with anchoring(again.with_ref):
            jaxpr = forward_rule(params, perturbed)
        refuse_moves(jaxpr)
        inner = within(streams, again.counted(jaxpr))
        outs, _ = again.run(jaxpr, inner, full[n_consts:])
        # A residual that is an operand is not returned, but forwarded.
        _, tree, forwarded = params["out_trees"]()
        n_residuals = tree.num_leaves - sum(f is not None for f in forwarded)
        own, outs = iter(outs[:n_residuals]), outs[n_residuals:]
        residuals = [next(own) if f is None else full[f] for f in forwarded]
        return outs, (streams.rules[0], residuals, values)

    def bwd(saved: Any, cotangents: Any) -> Any:
        key, residuals, values = saved
        cotangents = [
            _zero_like(c) if type(c) is SymbolicZero else c for c in cotangents
        ]

        def backward(*given: Any) -> list[Any]:
            outs = params["bwd"].call_wrapped(*given)
            if isinstance(outs, tuple) and len(outs) == 2 and isinstance(outs[0], list):
                outs, _ = outs  # newer versions of JAX also return logs
            pairs = zip(outs, primal.invars[n_consts:], strict=True)
            outs = [c for c, var in pairs if not is_ref(var)]
            return [ad.instantiate_zeros(c) if type(c) is ad.Zero else c for c in outs]

        again = rules()
        with anchoring(again.with_ref):
            jaxpr = jax.make_jaxpr(backward)(*residuals, *cotangents)
        refuse_moves(jaxpr)
        outs, _ = again.in_scope(jaxpr, key, [*residuals, *cotangents])
        grads = iter(outs)
        full = enumerate(whole(values))
        of_operands = [
            _zero_like(x) if i < n_consts else next(grads)
            for i, x in full
            if x is not REF
        ]
        return None, *of_operands

    call.defvjp(fwd, bwd, symbolic_zeros=symbolic)
    return call(streams, *known)


def _zero_like(x: Any) -> Any:
    dtype = primal_dtype_to_tangent_dtype(x.dtype)
    if dtype == jax.dtypes.float0:
        return np.zeros(x.shape, dtype)
    return jnp.zeros(x.shape, x.dtype)

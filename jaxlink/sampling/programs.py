"""Reading a jaxpr: which of its equations draw, and how many positions they take."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from jax.extend.core import Jaxpr, Literal

from jaxlink.sampling.given import given_p
from jaxlink.sampling.jax_internals import is_differentiated
from jaxlink.sampling.keys import Count
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.unseeded import is_unseeded, roots_p

__all__ = [
    "DRAWING",
    "INNER",
    "POSITIONS",
    "Counter",
    "differentiates",
    "draws_with_own_key",
    "forward_rule",
    "is_ref",
    "jaxprs_in_params",
    "jvp_rule",
    "lines",
    "must_interpret",
    "unanchored_draws",
]

# Primitives whose draws are numbered in the scope around them, and their program.
INNER = {
    "jit": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
}
DRAWING = (sample_p, given_p, roots_p)


def _remembered[T](fn: Callable[[Any], T]) -> Callable[[Any], T]:
    """``fn`` of a jaxpr, remembered while the jaxpr lives."""
    known: WeakKeyDictionary[Any, T] = WeakKeyDictionary()

    def call(jaxpr: Any) -> T:
        if jaxpr not in known:
            known[jaxpr] = fn(jaxpr)
        return known[jaxpr]

    return call


def jaxprs_in_params(params: Any) -> list[Any]:
    """All programs in an equation's parameters, also in tuples and dicts."""
    if isinstance(params, Jaxpr):
        return [params]
    if isinstance(params, dict):
        params = list(params.values())
    if not isinstance(params, list | tuple):
        return []
    return [jaxpr for each in params for jaxpr in jaxprs_in_params(each)]


def is_ref(var: Any) -> bool:
    return not isinstance(var, Literal) and hasattr(var.aval, "inner_aval")


class Counter:
    """Counts the positions of programs.

    A rule of a function with derivatives of its own usually calls the function. So in a
    rule, such functions count without their rules.

    Arguments:
        of_draw: how many positions an equation of a primitive that draws takes.
    """

    def __init__(self, of_draw: Callable[[Any], int]):
        self.of_draw = of_draw
        self._known = [
            _remembered(partial(self._of_program, in_rule=flag))
            for flag in (False, True)
        ]

    def of_program(self, jaxpr: Any, in_rule: bool = False) -> Count:
        return self._known[in_rule](jaxpr)

    def _of_program(self, jaxpr: Any, in_rule: bool) -> Count:
        total = Count()
        for eqn in jaxpr.eqns:
            total = total.plus(self.of_equation(eqn, in_rule))
        return total

    def of_equation(self, eqn: Any, in_rule: bool = False) -> Count:
        name, params = eqn.primitive.name, eqn.params
        if eqn.primitive in DRAWING:
            return Count(self.of_draw(eqn))
        if name in INNER:
            return self.of_program(params[INNER[name]], in_rule)
        if name == "custom_vjp_call":
            primal = self.of_program(params["call_jaxpr"], in_rule)
            if not eqn.invars:  # nothing to differentiate
                return primal
            if in_rule:
                return Count(primal.draws, 1)
            rule = self.of_program(forward_rule(params), in_rule=True)
            return Count(max(primal.draws, rule.draws), 1)
        if name == "shard_map":
            # Its rules can be traced only inside. It is a scope, whatever they draw.
            return Count(int(any(map(_draws, jaxprs_in_params(params)))))
        inside = [self.of_program(jaxpr, in_rule) for jaxpr in jaxprs_in_params(params)]
        draws = any(any(each) for each in inside)
        if name == "custom_jvp_call" and draws:
            if not in_rule:
                inside.append(self.of_program(jvp_rule(params)[0], in_rule=True))
            return Count(*map(max, zip(*inside, strict=True)))
        return Count(int(draws))


@_remembered
def _draws(jaxpr: Any) -> bool:
    """Whether a program draws, or has a bwd rule that may."""
    return any(
        eqn.primitive in DRAWING
        or eqn.primitive.name == "custom_vjp_call"
        or any(map(_draws, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _positions(eqn: Any) -> int:
    site = eqn.params["site"]
    if eqn.primitive is roots_p:
        return site.n
    return int(eqn.primitive is sample_p and site.key in ("fresh", "saves"))


# The positions that have keys of their own.
POSITIONS = Counter(_positions)


@_remembered
def _must_interpret(jaxpr: Any) -> bool:
    given = *jaxpr.constvars, *jaxpr.invars
    if any(is_ref(var) or is_unseeded(var.aval) for var in given):
        return True
    return any(map(must_interpret, jaxpr.eqns))


def must_interpret(eqn: Any) -> bool:
    """Whether an equation draws, or may draw, or has a Ref or keys that stand for none.

    The bwd rule of a custom_vjp is unknown before it is called."""
    if eqn.primitive in DRAWING or eqn.primitive.name == "custom_vjp_call":
        return True
    if any(map(is_ref, eqn.invars)):
        return True
    return any(map(_must_interpret, jaxprs_in_params(eqn.params)))


@_remembered
def draws_with_own_key(jaxpr: Any) -> dict[int, Any]:
    """The sites of a program that take a position, by the number of their call."""
    found: dict[int, Any] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive in DRAWING and _positions(eqn):
            found[eqn.params["site"].uid] = eqn.params["site"]
        for inner in jaxprs_in_params(eqn.params):
            found |= draws_with_own_key(inner)
    return found


@_remembered
def unanchored_draws(jaxpr: Any) -> dict[int, Any]:
    """The sites of a program that have no Ref, by the number of their call."""
    found: dict[int, Any] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive in (sample_p, roots_p) and not any(map(is_ref, eqn.invars)):
            found[eqn.params["site"].uid] = eqn.params["site"]
        for inner in jaxprs_in_params(eqn.params):
            found |= unanchored_draws(inner)
    return found


@_remembered
def differentiates(jaxpr: Any) -> bool:
    """Whether a gradient was taken in a program."""
    return any(
        is_differentiated(eqn) or any(map(differentiates, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def lines(jaxpr: Any) -> set[str]:
    """The lines of all draws of a program."""
    found: set[str] = set()
    for eqn in jaxpr.eqns:
        if eqn.primitive is sample_p:
            found.add(eqn.params["site"].where)
        for inner in jaxprs_in_params(eqn.params):
            found |= lines(inner)
    return found


def n_operands(params: Any) -> int:
    """The number of operands of a custom_jvp or custom_vjp, besides its constants."""
    return len(params["call_jaxpr"].invars) - params["num_consts"]


def jvp_rule(params: Any, zeros: Sequence[bool] | None = None) -> tuple[Any, Any]:
    """The jvp rule of a custom_jvp as a program, and which out-tangents are zero, given
    which tangents are."""
    zeros = zeros or [False] * n_operands(params)
    jaxpr, consts, out_zeros = params["jvp_jaxpr_fun"].call_wrapped(*zeros)
    return jaxpr.with_consts(consts), out_zeros


def forward_rule(params: Any, perturbed: Sequence[bool] | None = None) -> Any:
    """The fwd rule of a custom_vjp as a program, given which operands are perturbed."""
    perturbed = perturbed or [False] * n_operands(params)
    jaxpr, consts = params["fwd_jaxpr_thunk"].call_wrapped(*perturbed)
    return jaxpr.with_consts(consts)

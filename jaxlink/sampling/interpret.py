"""Evaluating a program whose draws someone else answers.

An `Interpreter` walks a jaxpr. Everything between two draws goes to
`jax.core.eval_jaxpr`, as it stands. A draw is answered from what the interpreter feeds
it, such as a key. What contains draws is built again with JAX's public functions, with
feeds for its draws as further operands.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

import jax
import jax.numpy as jnp
from jax.extend.core import DropVar, Jaxpr, Literal
from jax.extend.core import primitives as prims

from jaxlink.errors import UnsupportedConstructError
from jaxlink.sampling.given import given_p
from jaxlink.sampling.in_loops import anchoring, is_anchor
from jaxlink.sampling.keys import Count
from jaxlink.sampling.primitive import moved, sample_p
from jaxlink.sampling.programs import (
    INNER,
    Counter,
    draws_with_own_key,
    is_ref,
    jaxprs_in_params,
    lines,
    must_interpret,
)
from jaxlink.sampling.site import Site
from jaxlink.sampling.unseeded import roots_p

__all__ = ["REF", "Interpreter", "without_refs"]


class _Ref:
    """Stands for the Ref, in place of an operand. JAX never sees it."""


REF = _Ref()


def without_refs(operands: Sequence[Any]) -> tuple[list[Any], Callable[..., list[Any]]]:
    """The operands that JAX may see, and a function that puts the Refs back among
    others in their place."""
    refs = [x is REF for x in operands]

    def whole(known: Sequence[Any]) -> list[Any]:
        given = iter(known)
        return [REF if here else next(given) for here in refs]

    return [x for x in operands if x is not REF], whole


class Interpreter(ABC):
    """Evaluates programs. The subclass says what a draw is, and what it is fed.

    A *feed* is a pytree of arrays, for one position of a program. A *report* is one,
    made at a position.

    Attributes:
        positions: says what takes a position.
        with_ref: whether draws got a Ref (`jaxlink.sampling.in_loops`).
        in_rule: whether it evaluates a rule of a function with its own derivative.
        seen: the sites that were evaluated so far, by the number of their call.
    """

    positions: ClassVar[Counter]
    with_ref: bool
    in_rule: bool
    seen: dict[int, Any]
    # Jitted functions, by the program that they evaluate.
    jitted: WeakKeyDictionary[Any, dict[Any, Any]]

    @property
    @abstractmethod
    def identity(self) -> Any:
        """Interpreters with the same identity do the same."""

    @abstractmethod
    def enter(self, feed: Any, n: Count) -> Any:
        """The feeds at the positions of a scope, with a method ``part(at, n)``."""

    @abstractmethod
    def only(self, feeds: Any) -> Any:
        """The feed at the only position of ``feeds``, or None if it has none."""

    @abstractmethod
    def draw(
        self, site: Site, feeds: Any, operands: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The outputs of a draw, and its reports."""

    @abstractmethod
    def given(
        self, site: Site, feeds: Any, operands: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The outputs of a draw whose value is known, and its reports."""

    @abstractmethod
    def roots(self, n: int, feeds: Any) -> tuple[jax.Array, jax.Array]:
        """The roots of the streams of a function that was compiled without a key, and
        the keys of the first draws along them."""

    @abstractmethod
    def steps(self, feed: Any, length: int) -> Any:
        """The feeds of the steps of a scan, stacked."""

    @abstractmethod
    def branch(self, feed: Any, b: int) -> Any:
        """The feed of a branch. (Reports of branches that are not taken are zeros.)"""

    def counted(self, jaxpr: Any) -> Count:
        """How many positions a program takes."""
        with anchoring(self.with_ref):  # it may trace rules
            return self.positions.of_program(jaxpr, self.in_rule)

    def in_scope(
        self, jaxpr: Any, feed: Any, args: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Evaluate a program that is a scope of its own."""
        return self.run(jaxpr, self.enter(feed, self.counted(jaxpr)), args)

    def run(
        self, jaxpr: Any, feeds: Any, args: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Evaluate a program, given the feeds of its positions.

        Returns: the values of its outputs, and the reports of its positions.
        """
        consts = [REF if is_anchor(const) else const for const in jaxpr.consts]
        env = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))
        reports: list[Any] = []
        plain: list[Any] = []
        drawing: list[Any] = []
        at = Count()

        def read(var: Any) -> Any:
            return var.val if isinstance(var, Literal) else env[var]

        for eqn in jaxpr.eqns:
            if not must_interpret(eqn):
                plain.append(eqn)
                continue
            env.update(_evaluated(plain, read, jaxpr.debug_info))
            plain = []
            with anchoring(self.with_ref):
                n = self.positions.of_equation(eqn, self.in_rule)
            operands = list(map(read, eqn.invars))
            self._check_loop(eqn, operands, drawing)
            drawing += draws_with_own_key_of(eqn)
            outs, report = self.process(eqn, feeds.part(at, n), operands)
            env.update(zip(eqn.outvars, outs, strict=True))
            reports += report
            at = at.plus(n)
        env.update(_evaluated(plain, read, jaxpr.debug_info))
        return list(map(read, jaxpr.outvars)), reports

    def _check_loop(self, eqn: Any, operands: list[Any], before: list[Any]) -> None:
        """Refuse a loop out of which JAX may have moved some draws.

        The rule of a function with its own derivative has the Ref as a constant, which
        does not keep a jitted function or a loop in the rule where it is. The loop that
        JAX differentiates then has a Ref that it does not use, and what was moved is in
        front of it.
        """
        if not before or eqn.primitive is not prims.scan_p:
            return
        body = eqn.params["jaxpr"]
        used = {v for e in body.eqns for v in e.invars if not isinstance(v, Literal)}
        pairs = zip(operands, body.invars, strict=True)
        if any(x is REF and var not in used for x, var in pairs):
            raise moved(before[-1])

    def process(
        self, eqn: Any, feeds: Any, operands: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Evaluate an equation that draws."""
        name = eqn.primitive.name
        if eqn.primitive is sample_p:
            return self.draw(eqn.params["site"], feeds, operands)
        if eqn.primitive is given_p:
            return self.given(eqn.params["site"], feeds, operands)
        if eqn.primitive is roots_p:
            return list(self.roots(eqn.params["site"].n, feeds)), []
        if name in INNER:
            return self.transparent(eqn, feeds, operands)
        if name == "scan":
            return self.scan(eqn, self.only(feeds), operands)
        if name == "cond":
            return self.cond(eqn, self.only(feeds), operands)
        return self.other(eqn, feeds, operands)

    def other(
        self, eqn: Any, feeds: Any, operands: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Evaluate an equation of another kind that draws."""
        del feeds, operands
        raise self.unsupported(eqn)

    def unsupported(self, eqn: Any) -> UnsupportedConstructError:
        where = sorted(set().union(*map(lines, jaxprs_in_params(eqn.params))))
        made = f" They are made at {', '.join(where)}." if where else ""
        return UnsupportedConstructError(
            f"draws inside `{eqn.primitive}` are not supported here.{made} Draw "
            "outside of it, and pass the draws as operands."
        )

    def transparent(
        self, eqn: Any, feeds: Any, operands: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """A call of a program whose draws are numbered in the scope around it."""
        jaxpr = eqn.params[INNER[eqn.primitive.name]]
        known, whole = without_refs(operands)

        def call(feeds: Any, *known: Any) -> tuple[list[Any], list[Any]]:
            outs, reports = self.run(jaxpr, feeds, whole(known))
            return without_refs(outs)[0], reports

        if eqn.primitive is prims.jit_p:
            call = self.jit(eqn, [x is REF for x in operands])
        elif eqn.primitive is prims.remat_p:
            call = self.checkpoint(eqn, call)
        outs, reports = call(feeds, *known)
        given = iter(outs)
        return [REF if is_ref(v) else next(given) for v in eqn.outvars], reports

    def checkpoint(self, eqn: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        params = eqn.params
        return jax.checkpoint(
            call, prevent_cse=params["prevent_cse"], policy=params["policy"]
        )

    def jit(self, eqn: Any, refs: list[bool]) -> Callable[..., Any]:
        """The jitted evaluation of a program: one for all its calls, so that JAX traces
        and compiles it once."""
        jaxpr, params = eqn.params["jaxpr"], eqn.params
        placed = tuple(params["in_shardings"]), tuple(params["out_shardings"])
        options = params["compiler_options_kvs"]
        asked = self.identity, tuple(refs), params["name"], placed, options
        known = self.jitted.setdefault(jaxpr, {})
        if asked not in known:
            program = ref(jaxpr)  # the jaxpr must not keep itself alive

            def call(feeds: Any, *known: Any) -> tuple[list[Any], list[Any]]:
                given = iter(known)
                args = [REF if here else next(given) for here in refs]
                outs, reports = self.run(program(), feeds, args)
                return without_refs(outs)[0], reports

            call.__name__ = call.__qualname__ = params["name"]
            is_out = [not is_ref(var) for var in eqn.outvars]
            known[asked] = jax.jit(
                call,
                inline=params["inline"],
                compiler_options=dict(options) or None,
                **_placement(placed, refs, is_out),
            )
        return known[asked]

    def scan(
        self, eqn: Any, feed: Any, operands: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        params = eqn.params
        sizes = [len(list(part)) for part in params["ft_in"].unpack()]
        n_consts, n_carry, _ = sizes
        consts, rest = operands[:n_consts], operands[n_consts:]

        def body(carry: Any, step_and_x: Any) -> Any:
            step, x = step_and_x
            args = [*consts, *carry, *x]
            outs, reports = self.in_scope(params["jaxpr"], step, args)
            return outs[:n_carry], (outs[n_carry:], reports)

        xs = self.steps(feed, params["length"]), rest[n_carry:]
        how = {"reverse": params["reverse"], "unroll": params["unroll"]}
        carry, (ys, reports) = jax.lax.scan(
            body, rest[:n_carry], xs, params["length"], **how
        )
        return [*carry, *ys], [reports] if reports else []

    def cond(
        self, eqn: Any, feed: Any, operands: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        index, *operands = operands
        known, whole = without_refs(operands)

        def branch(b: int, jaxpr: Any) -> Callable[..., Any]:
            def call(*known: Any) -> tuple[list[Any], list[Any]]:
                return self.in_scope(jaxpr, self.branch(feed, b), whole(known))

            return call

        branches = [branch(b, j) for b, j in enumerate(eqn.params["branches"])]
        reports = [jax.eval_shape(call, *known)[1] for call in branches]
        if not any(reports):
            return jax.lax.switch(index, branches, *known)[0], []

        def with_others(b: int) -> Callable[..., Any]:
            def call(*known: Any) -> tuple[list[Any], list[Any]]:
                outs, own = branches[b](*known)
                zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), reports)
                return outs, [*zeros[:b], own, *zeros[b + 1 :]]

            return call

        every = [with_others(b) for b in range(len(branches))]
        outs, of_branches = jax.lax.switch(index, every, *known)
        return outs, [of_branches]


def draws_with_own_key_of(eqn: Any) -> list[Any]:
    """The sites inside a jitted function, a loop or the like."""
    inside = map(draws_with_own_key, jaxprs_in_params(eqn.params))
    return [site for found in inside for site in found.values()]


def _evaluated(
    eqns: list[Any], read: Callable[[Any], Any], debug_info: Any
) -> dict[Any, Any]:
    """What equations without draws compute."""
    if not eqns:
        return {}
    made = {var for eqn in eqns for var in eqn.outvars}
    reads = (v for e in eqns for v in e.invars if not isinstance(v, Literal))
    used = list(dict.fromkeys(var for var in reads if var not in made))
    outs = [v for e in eqns for v in e.outvars if type(v) is not DropVar]
    part = Jaxpr([], used, outs, list(eqns), debug_info=debug_info)
    values = jax.core.eval_jaxpr(part, [], *map(read, used))
    return dict(zip(outs, values, strict=True))


def _placement(
    shardings: tuple[Sequence[Any], Sequence[Any]],
    refs: Sequence[bool],
    is_out: Sequence[bool],
) -> dict[str, Any]:
    """The shardings that the user gave to a jitted function, as arguments of `jax.jit`.
    Its first argument are the feeds."""
    ins, outs = (
        [s if isinstance(s, jax.sharding.Sharding) else None for s in each]
        for each in shardings
    )
    ins = [s for s, here in zip(ins, refs, strict=True) if not here]
    outs = [s for s, here in zip(outs, is_out, strict=True) if here]
    placement: dict[str, Any] = {}
    if any(s is not None for s in ins):
        placement["in_shardings"] = (None, *ins)
    if any(s is not None for s in outs):
        placement["out_shardings"] = (outs, None)
    return placement

"""Evaluating a program whose draws can be seen, and given values.

Each draw has a *slot*: its name, and perhaps a value. The slots of a program are a tree
that follows its positions: a loop hands out the values of its steps, and a branch its
own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jaxlink.errors import ArgumentError, UnsupportedConstructError
from jaxlink.sampling.given import given_p, site_of_draw, split_given
from jaxlink.sampling.in_loops import anchor
from jaxlink.sampling.interpret import Interpreter
from jaxlink.sampling.keys import Count
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.programs import DRAWING, INNER, Counter, jaxprs_in_params
from jaxlink.sampling.site import Site
from jaxlink.sampling.unseeded import unseeded_roots

__all__ = [
    "Found",
    "Report",
    "Slot",
    "Slots",
    "Visible",
    "checked_value",
    "found_draws",
    "slots_of",
]


def _of_draw(eqn: Any) -> int:
    site = eqn.params["site"]
    own = eqn.primitive is sample_p and site.key != "reuses"
    return int(own or eqn.primitive is given_p)


_COUNTER = Counter(_of_draw)


@dataclass(frozen=True)
class Found:
    """A draw that was found in a program.

    Attributes:
        name: unique in the program.
        site: of the draw.
        eqn: that draws.
        steps: the lengths of the loops around it, outermost first; None for a loop of
            unknown length.
        known: whether its value is known (`jaxlink.sampling.given`).
    """

    name: str
    site: Site
    eqn: Any
    steps: tuple[int | None, ...]
    known: bool

    @property
    def shapes(self) -> list[tuple[int | None, ...]]:
        """Of each array of a draw."""
        return [(*self.steps, *var.aval.shape) for var in self.outs]

    @property
    def outs(self) -> list[Any]:
        """The variables of the draw, without those of its derivative."""
        return self.eqn.outvars[: self.structure.num_leaves]

    @property
    def structure(self) -> Any:
        """The pytree of the draw."""
        avals = [var.aval for var in self.parameters]
        return self.site.recipe.structure(self.site.of_lane(avals))

    @property
    def shown_parameters(self) -> list[Any]:
        """The parameters: their values if they are known, else their types."""
        shown: list[Any] = [
            np.asarray(x.val)[()]
            if isinstance(x, Literal)
            else jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype)
            for x in self.parameters
        ]
        static: Any = dict(self.site.recipe.static)
        for i, x in static.get("static", ()):  # of a distribution of the table
            shown.insert(i, x.value)
        return shown

    @property
    def parameters(self) -> list[Any]:
        operands = self.eqn.invars
        if self.known:
            return split_given(self.site, operands)[0]
        return self.site.split(operands)[2]


def found_draws(jaxpr: Any) -> list[Found]:
    """The draws of a program, in its order, with unique names."""
    taken: dict[str, int] = {}

    def walk(jaxpr: Any, steps: tuple[int | None, ...]) -> Iterator[Found]:
        for eqn in jaxpr.eqns:
            name, params = eqn.primitive.name, eqn.params
            if eqn.primitive in DRAWING:
                if _of_draw(eqn):
                    site = params["site"]
                    known = eqn.primitive is given_p
                    site = site_of_draw(site) if known else site
                    yield Found(_unique(site, taken), site, eqn, steps, known)
                continue
            inner = steps
            if name == "scan":
                inner = (*steps, params["length"])
            elif name == "while":
                inner = (*steps, None)
            for each in jaxprs_in_params(params):
                yield from walk(each, inner)

    return list(walk(jaxpr, ()))


def _unique(site: Site, taken: dict[str, int]) -> str:
    base = site.name or site.sampler
    number = taken.get(base, 0)
    taken[base] = number + 1
    return f"{base}_{number}" if number else base


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Slot:
    """A draw's name, and the leaves of its value, or None."""

    name: str
    value: Any

    def tree_flatten(self) -> tuple[tuple[Any], str]:
        return (self.value,), self.name

    @classmethod
    def tree_unflatten(cls, name: str, children: tuple[Any]) -> "Slot":
        return cls(name, *children)


class Slots(NamedTuple):
    """What is fed at the positions of a scope: slots, or those of inner scopes."""

    items: tuple[Any, ...] = ()

    def part(self, at: Count, n: Count) -> "Slots":
        return Slots(self.items[at.draws : at.draws + n.draws])


def slots_of(jaxpr: Any, names: Iterator[str], values: Mapping[str, Any]) -> Slots:
    """The slots of a program, whose draws have these ``names``, in its order."""
    items: list[Any] = []
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if eqn.primitive in DRAWING:
            if _of_draw(eqn):
                own = next(names)
                items.append(Slot(own, values.get(own)))
        elif name in INNER:
            items += slots_of(params[INNER[name]], names, values).items
        else:
            inner = [slots_of(j, names, values) for j in jaxprs_in_params(params)]
            if any(each.items for each in inner):
                items.append(inner[0] if name == "scan" else tuple(inner))
    return Slots(tuple(items))


# What is done at a draw: (name, site, parameters, leaves of the value) -> a report.
Report = Callable[[str, Site, Sequence[Any], Sequence[Any]], Any]


@dataclass(frozen=True, eq=False)
class Visible(Interpreter):
    """Evaluates a program. Draws with a value in their slot have this value; the others
    stay draws.

    Attributes:
        report: what to report of a draw; default: nothing.
        keep: whether the density of a given value still counts.
    """

    with_ref: bool
    report: Report | None = None
    keep: bool = False
    in_rule: bool = False
    seen: dict[int, Any] = field(default_factory=dict)
    jitted: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)
    positions: ClassVar[Counter] = _COUNTER

    @property
    def identity(self) -> Any:
        return id(self)

    def enter(self, feed: Slots, n: Count) -> Slots:
        return feed

    def only(self, feeds: Slots) -> Any:
        return feeds.items[0] if feeds.items else ()

    def steps(self, feed: Any, length: int) -> Any:
        return feed

    def branch(self, feed: Any, b: int) -> Any:
        return feed[b] if feed else Slots()

    def roots(self, n: int, feeds: Slots) -> tuple[jax.Array, jax.Array]:
        return unseeded_roots(n)

    def draw(
        self, site: Site, feeds: Slots, operands: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        _, key, parameters = site.split(operands)
        if site.key in ("saves", "reuses"):
            raise UnsupportedConstructError(
                f"the program differentiates a jax.checkpoint with a draw of "
                f"`{site.sampler}`, at {site.where}. Give values to its draws first, "
                "and differentiate the result."
            )
        (slot,) = feeds.items
        if slot.value is None:
            ref = anchor()
            if not (ref or key or parameters):
                ref = [jnp.uint32(0)]
            kept = replace(site, anchored=bool(ref), name=slot.name)
            outs = sample_p.bind(*ref, *key, *parameters, site=kept)
            return outs, self._reported(slot.name, site, parameters, outs)
        if site.recipe.jvps:
            raise UnsupportedConstructError(
                f"the program differentiates its draw `{slot.name}`, at {site.where}. "
                "Give it a value first, and differentiate the result."
            )
        return self._given(slot, site, parameters, slot.value)

    def given(
        self, site: Site, feeds: Slots, operands: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        (slot,) = feeds.items
        parameters, value = split_given(site, operands)
        own = site_of_draw(site)
        if slot.value is not None:
            return self._given(slot, own, parameters, slot.value)
        outs = given_p.bind(*operands, site=replace(site, name=slot.name))
        return outs, self._reported(slot.name, own, parameters, _all(site, value))

    def _given(
        self, slot: Slot, site: Site, parameters: Sequence[Any], value: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        outs = list(value)
        if self.keep:
            all_lanes = (True,) * len(site.lanes)
            mapped = tuple(site.mapped) + (all_lanes,) * len(outs)
            kept = replace(site, mapped=mapped, name=slot.name, anchored=False)
            outs = given_p.bind(*parameters, *outs, site=kept)
        return outs, self._reported(slot.name, site, parameters, outs)

    def _reported(
        self, name: str, site: Site, parameters: Sequence[Any], outs: Sequence[Any]
    ) -> list[Any]:
        if self.report is None:
            return [()]
        return [self.report(name, site, parameters, outs)]


def _all(site: Site, value: Sequence[Any]) -> list[Any]:
    """A value with all lanes."""
    masks = split_given(site, site.mapped)[1]
    found = []
    for x, mask in zip(value, masks, strict=True):
        own = jnp.shape(x)[sum(mask) :]
        ones = [n if m else 1 for n, m in zip(site.lanes, mask, strict=True)]
        found.append(
            jnp.broadcast_to(jnp.reshape(x, (*ones, *own)), (*site.lanes, *own))
        )
    return found


def checked_value(found: Found, value: Any) -> list[jax.Array]:
    """The leaves of a value for a draw, of its shapes and dtypes."""
    if None in found.steps:
        raise UnsupportedConstructError(
            f"the draw `{found.name}`, at {found.site.where}, is in a loop of unknown "
            "length (a while loop), so it has no value that could be given. Use "
            "jax.lax.scan, or a fori_loop of known length."
        )
    is_array = jax.tree_util.treedef_is_leaf(found.structure)
    leaves = list(map(jnp.asarray, [value] if is_array else jax.tree.leaves(value)))
    given, wanted = [x.shape for x in leaves], found.shapes
    if given != wanted:
        raise ArgumentError(
            f"the draw `{found.name}` of `{found.site.sampler}` has the shape "
            f"{_shown(wanted)}, but its value has {_shown(given)}."
        )
    dtypes = [var.aval.dtype for var in found.outs]
    for x, dtype in zip(leaves, dtypes, strict=True):
        if not jnp.can_cast(x.dtype, dtype, "same_kind"):
            raise ArgumentError(
                f"the draw `{found.name}` of `{found.site.sampler}` has the dtype "
                f"{dtype}, but its value has {x.dtype}."
            )
    return [x.astype(dtype) for x, dtype in zip(leaves, dtypes, strict=True)]


def _shown(shapes: Sequence[Any]) -> str:
    return str(shapes[0]) if len(shapes) == 1 else str(list(shapes))

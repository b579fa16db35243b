"""`sample_p`: the primitive that means "draw from this sampler".

Its operands are the sampler's parameters; its one static parameter is the `Site`. Its
abstract value is known without a key. `jaxlink.sampling.seed` gives it one.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.interpreters import partial_eval as pe

from jaxlink.errors import MisplacedDrawError, UnseededDrawError
from jaxlink.sampling import in_loops, jax_internals
from jaxlink.sampling.keys import WORDS, from_words, to_words
from jaxlink.sampling.sampler import DrawFunction
from jaxlink.sampling.site import Site
from jaxlink.sampling.source import is_seeding, next_key

__all__ = ["moved", "sample", "sample_p", "vary"]

UIDS = itertools.count()


def sample(
    sampler: DrawFunction,
    parameters: tuple[Any, ...],
    static: Mapping[str, Hashable],
    name: str | None = None,
    stream_key: jax.Array | None = None,
) -> Any:
    """Draw from a sampler. Its key comes from `seed`, or eagerly from the process. Or
    it is ``stream_key``, which stands for one (`jaxlink.sampling.unseeded`)."""
    recipe, leaves = sampler.recipe(parameters, static)
    where = jax_internals.users_line()
    ref = in_loops.anchor()
    if not (ref or leaves):
        # JAX evaluates at once what has no operand.
        ref = [np.uint32(0)]
    key = [] if stream_key is None else [stream_key]
    site = Site(
        recipe,
        name,
        where,
        next(UIDS),
        mapped=((),) * len(leaves),
        anchored=bool(ref),
        key="stream" if key else "fresh",
    )
    structure = recipe.structure(site.of_lane(leaves))
    outs = sample_p.bind(*ref, *key, *vary(leaves), site=site)
    return jax.tree.unflatten(structure, outs)


class DrawingPrimitive(Primitive):
    """A primitive that must stay in its loop. Its parameter is a site."""

    multiple_results = True

    def __init__(self, name: str):
        super().__init__(name)
        pe.custom_partial_eval_rules[self] = self._partial_eval

    def _partial_eval(self, trace: Any, *tracers: Any, site: Any) -> Any:
        if jax_internals.is_hoisting():
            # Unknown, a draw stays in its loop.
            tracers = tuple(trace.instantiate_const(t) for t in tracers)
        return trace.default_process_primitive(self, tracers, {"site": site})

    def bind(self, *args: Any, **params: Any) -> Any:
        # While JAX moves work out of a scan, it evaluates the program again. Only the
        # trace that decides what to move may see a draw then: it leaves it in the loop.
        if jax_internals.is_hoisting() and not jax_internals.is_deciding():
            raise moved(params["site"])
        return super().bind(*args, **params)  # type: ignore[no-untyped-call]


sample_p = DrawingPrimitive("sample")


@sample_p.def_abstract_eval
def _abstract_eval(*operands: Any, site: Site) -> list[Any]:
    _, _, parameters = site.split(operands)
    lane = site.recipe.shapes(site.of_lane(parameters))
    outs = [
        jax.core.ShapedArray((*site.lanes, *x.shape), x.dtype, weak_type=x.weak_type)
        for x in lane
    ]
    if site.key == "saves":
        words = jax.core.ShapedArray((*site.lanes, WORDS), np.dtype(np.uint32))
        outs.append(words)
    if _manual_axes():
        zeros = jax.make_jaxpr(
            lambda: vary([jnp.zeros(x.shape, x.dtype) for x in outs])
        )
        return zeros().out_avals
    return outs


@sample_p.def_impl
def _eager(*operands: Any, site: Site) -> list[Any]:
    _, words, parameters = site.split(operands)
    if site.key == "reuses":
        return site.jitted_draw(from_words(words[0], "threefry2x32"), parameters)
    if is_seeding():
        raise UnseededDrawError(
            f"a draw of `{site.sampler}`, at {site.where}, is in the rule of a "
            "function with a derivative of its own, and the function itself does not "
            "draw. So there is no position from which the draw could get a key. Draw "
            "outside of the function, and pass the draw as an argument."
        )
    key = next_key()
    outs = site.jitted_draw(key, parameters)
    return [*outs, to_words(key, site.lanes)] if site.key == "saves" else outs


def _lower(ctx: Any, *operands: Any, site: Site) -> Any:
    del ctx, operands
    raise UnseededDrawError(
        f"a draw of `{site.sampler}` has no key. It is drawn at {site.where}, in a "
        "function that JAX compiles (jit, scan, cond, ...). A compiled function "
        "repeats itself, so a key must not be baked into it, or every call would "
        "return the same numbers. Write jaxlink.seed(fn)(key, ...), and compile that."
    )


mlir.register_lowering(sample_p, _lower)


def moved(site: Any) -> MisplacedDrawError:
    """The error for a draw that JAX would make once instead of at each step."""
    return MisplacedDrawError(
        f"a draw of `{site.sampler}`, at {site.where}, is in a loop that JAX "
        "differentiates. JAX moves what does not change from step to step out of the "
        "loop, and would make the draw once for all steps. Differentiate the seeded "
        "function instead: jax.grad(jaxlink.seed(fn), argnums=1)(key, ...)."
    )


def _manual_axes() -> Any:
    return jax.sharding.get_abstract_mesh().manual_axes


def vary(values: Sequence[Any]) -> Sequence[Any]:
    """In ``shard_map``: as values that vary over its axes, as draws do."""
    axes = _manual_axes()
    if not axes:
        return values

    def cast(x: Any) -> Any:
        varying = jax.typeof(x).manual_axis_type.varying
        new = tuple(axis for axis in axes if axis not in varying)
        return jax.lax.pcast(x, new, to="varying") if new else x

    return [cast(jnp.asarray(x)) for x in values]

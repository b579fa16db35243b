"""Distributions of jaxlink in GenJAX's models, and GenJAX's as samplers of jaxlink."""

from collections.abc import Callable
from typing import Any

import jax

from jaxlink.errors import ArgumentError
from jaxlink.optional import load
from jaxlink.pjax.samplers import Sampler
from jaxlink.pjax.samplers import sampler as make_sampler

__all__ = ["from_genjax", "to_genjax"]


def to_genjax(
    sampler: Callable[..., Any],
    *,
    logpdf: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    """Make a GenJAX distribution of a keyed JAX function.

    GenJAX gives the function the key that it has for the draw. In GenJAX's ``vmap``
    each lane gets its own, by `jax.random.split`. Arguments and draws may be pytrees of
    arrays of any shape. Make the distribution once, not in the body of a model.

    Arguments:
        sampler: ``sampler(key, *parameters, **static)`` returns a draw. It is a
            `jaxlink.JAXFunction` of a random graph, a function of a PyMC model such as
            `jaxlink.pymc.prior(model)`, what `jaxlink.seed` returns, or another keyed
            JAX function; or it is a `jaxlink.pjax.Sampler`.
        logpdf: ``logpdf(draw, *parameters, **static)`` returns the log density of a
            draw, a scalar; default: that of the `jaxlink.pjax.Sampler`.
        name: what GenJAX's errors and programs call it; default: the sampler's name.

    Returns:
        A `genjax.Distribution`. In a function under ``@genjax.gen``, write
        ``distribution(*parameters) @ "address"``.

    Raises:
        ArgumentError: ``sampler`` is not a function, or there is no log density.
        ImportError: GenJAX is not installed.
    """
    genjax = load("genjax", "jaxlink.pjax.to_genjax")
    if not callable(sampler):
        raise ArgumentError(
            f"to_genjax() takes a function of a key or a Sampler, not a "
            f"{type(sampler).__name__}."
        )
    keyed = sampler
    label = name or getattr(sampler, "__name__", type(sampler).__name__)
    if isinstance(sampler, Sampler):
        keyed = sampler.keyed
        label = name or sampler.name
        logpdf = logpdf or sampler.logpdf
    if logpdf is None:
        raise ArgumentError(
            f"to_genjax() needs the log density of `{label}`, because GenJAX computes "
            "the score of each draw. Pass logpdf=, a function of (draw, *parameters)."
        )
    # GenJAX draws the key alone. A draw of our own would have to broadcast as TFP's
    # distributions do, and be one array, for GenJAX's vmap to be right. A function of a
    # key is ordinary JAX, which any vmap maps.
    draw_key = genjax.pjax.wrap_sampler(_lane_keys, name=label)

    def sample(*parameters: Any, **static: Any) -> Any:
        return keyed(draw_key(), *parameters, **static)

    const = genjax.const
    return genjax.Distribution(const(sample), const(logpdf), const(label))


def from_genjax(distribution: Any, *, name: str | None = None) -> Sampler:
    """Make a sampler of a GenJAX distribution or generative function.

    A draw is what GenJAX calls its choices: the value of a distribution, or a dict by
    address of a generative function. The choices also determine what the function
    returns: ``fn.assess(choices, *args)[1]``.

    Arguments:
        distribution: a `genjax.Distribution`, or another generative function, such as a
            function under ``@genjax.gen``.
        name: what a printed program and errors call it; default: its own name.

    Returns:
        A sampler, whose parameters are the arguments of ``distribution``. Its keyword
        arguments are static. Its ``logpdf`` is GenJAX's log density of the choices.

    Raises:
        ArgumentError: ``distribution`` is not of GenJAX.
        ImportError: GenJAX is not installed.
    """
    genjax = load("genjax", "jaxlink.pjax.from_genjax")
    if not isinstance(distribution, genjax.GFI):
        raise ArgumentError(
            "from_genjax() takes a distribution or a generative function of GenJAX, "
            f"not a {type(distribution).__name__}."
        )

    def draw(key: Any, *parameters: Any, **static: Any) -> Any:
        def choices(*parameters: Any) -> Any:
            return distribution.simulate(*parameters, **static).get_choices()

        return genjax.seed(choices)(_usual(key), *parameters)

    label = name or _name(distribution, genjax)
    return make_sampler(draw, name=label, logpdf=distribution.log_density)


def _name(distribution: Any, genjax: Any) -> str:
    if isinstance(distribution, genjax.Fn):
        distribution = distribution.source.value
        return getattr(distribution, "__name__", type(distribution).__name__)
    named = isinstance(distribution, genjax.Distribution) and distribution.name.value
    return named or type(distribution).__name__


def _lane_keys(key: Any, *, sample_shape: tuple[int, ...]) -> Any:
    """GenJAX's key, or one for each lane of its vmaps."""
    return jax.random.split(key, sample_shape) if sample_shape else key


def _usual(key: jax.Array) -> jax.Array:
    """A key of JAX's default implementation, for which alone GenJAX traces a draw."""
    usual = jax.random.key(0)
    if key.dtype == usual.dtype:
        return key
    words = jax.random.key_data(usual)
    bits = jax.random.bits(key, words.shape, words.dtype)
    return jax.random.wrap_key_data(bits)

"""`sampler`: a keyed JAX function as a sampler of its own."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, overload

import jax

from jaxlink.errors import ArgumentError
from jaxlink.numerics.derivatives import undifferentiable
from jaxlink.sampling.primitive import sample
from jaxlink.sampling.sampler import DrawFunction

__all__ = ["Sampler", "sampler"]


class Sampler:
    """Draws without a key: ``sampler(*parameters, name=None, **static)``.

    Attributes:
        name: what a printed program and errors call it.
    """

    def __init__(self, fn: DrawFunction):
        self._fn = fn

    @property
    def name(self) -> str:
        return self._fn.name

    @property
    def logpdf(self) -> Callable[..., Any] | None:
        """The log density, ``logpdf(draw, *parameters, **static)``, or None."""
        return self._fn.logpdf

    def keyed(self, key: Any, *parameters: Any, **static: Any) -> Any:
        """Draw with a key."""
        return self._fn.fn(key, *parameters, **static)

    def __call__(self, *parameters: Any, name: str | None = None, **static: Any) -> Any:
        return sample(self._fn, parameters, static, name)

    def __repr__(self) -> str:
        return f"<sampler {self.name}>"


@overload
def sampler(
    fn: Callable[..., Any],
    *,
    name: str | None = None,
    logpdf: Callable[..., Any] | None = None,
    differentiable: bool = True,
) -> Sampler: ...
@overload
def sampler(
    *,
    name: str | None = None,
    logpdf: Callable[..., Any] | None = None,
    differentiable: bool = True,
) -> Callable[[Callable[..., Any]], Sampler]: ...
def sampler(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    logpdf: Callable[..., Any] | None = None,
    differentiable: bool = True,
) -> Any:
    """Make a sampler of a keyed JAX function. Use it as a function or as a decorator.

    (`jaxlink.sampler`, in contrast, registers how a PyTensor random variable is drawn.)

    Arguments:
        fn: ``fn(key, *parameters, **static)`` returns a draw: an array, or a pytree of
            arrays. Parameters are arrays or pytrees of arrays. Keyword arguments are
            static, so they must be hashable. A `jaxlink.JAXFunction` of a random graph
            is such a function, and so is a sampler of JAX or NumPyro. It must not
            close over a traced value.
        name: what a printed program and errors call it; default: the function's name.
        logpdf: ``logpdf(draw, *parameters, **static)`` returns the log density of a
            draw, a scalar, for `jaxlink.pjax.log_density`.
        differentiable: False if the function's derivative by its parameters is not that
            of its distribution, as for a rejection sampler. Differentiating a draw is
            then an error.

    Returns:
        A sampler. It takes no key, and draws anew each time that it is called. It also
        takes ``name=``, the name of the draw.

    Example:
        >>> import jax, jaxlink
        >>> from jaxlink import pjax
        >>> @pjax.sampler
        ... def coin(key, p, shape=()):
        ...     return jax.random.bernoulli(key, p, shape)
        >>> tosses = jaxlink.seed(lambda: coin(0.5, shape=(3,)))(jax.random.key(1))
        >>> tosses.shape
        (3,)
    """
    if fn is None:
        return lambda fn: sampler(
            fn, name=name, logpdf=logpdf, differentiable=differentiable
        )
    if not callable(fn):
        raise ArgumentError(
            f"sampler() takes a function of a key, not a {type(fn).__name__}."
        )
    label = str(name or getattr(fn, "__name__", type(fn).__name__))
    drawn = fn if differentiable else _without_derivative(fn, label)
    made = Sampler(DrawFunction(label, drawn, logpdf))
    return update_wrapper(made, fn, updated=())


def _without_derivative(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    message = (
        f"a draw of the sampler `{name}` has no derivative with respect to its "
        "parameters: it was made with differentiable=False. Stop the gradient "
        "(jax.lax.stop_gradient), or differentiate the log density instead."
    )

    def guarded(key: Any, *parameters: Any, **static: Any) -> Any:
        leaves, tree = jax.tree.flatten(parameters)

        def of_leaves(key: Any, *leaves: Any) -> Any:
            return fn(key, *jax.tree.unflatten(tree, leaves), **static)

        return undifferentiable(of_leaves, ArgumentError, message)(key, *leaves)

    return guarded

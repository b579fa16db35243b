"""Maps between positions and values, and between positions and vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from pymc.util import get_default_varnames

from jaxlink.call.display import type_of
from jaxlink.call.executables import shapes_of
from jaxlink.pymc.model.entries import Entries
from jaxlink.pymc.model.function import ModelFunction, compile_model, transformed_names
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.shared.arguments import check_names, quoted
from jaxlink.pymc.shared.context import resolve_model

__all__ = ["Ravel", "constrain", "ravel", "unconstrain"]


def constrain(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    include_transformed: bool = False,
    host_callback: bool = False,
) -> ModelFunction:
    """Map a position to the values of the free variables and the deterministics.

    Arguments:
        model: default: the model on the context stack.
        var_names: the variables to return, in this order; default: all free random
            variables and deterministics.
        include_transformed: whether to return the values of transformed variables, such
            as ``sigma_log__``, too.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a position, as in `logdensity`, that returns a dict.

    Raises:
        TypeError: there is no model.
        ValueError: the model lacks a variable of ``var_names``.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     sigma = pm.HalfNormal("sigma")
        ...     variance = pm.Deterministic("variance", sigma**2)
        ...     f = jaxlink.pymc.constrain()
        >>> {name: float(x) for name, x in f({"sigma_log__": 0.0}).items()}
        {'sigma': 1.0, 'variance': 1.0}
    """
    model = resolve_model(model)
    named = {var.name: var for var in model.unobserved_value_vars}
    if var_names is None:
        var_names = get_default_varnames(named, include_transformed)
    else:
        check_names(var_names, named, "free random variable or deterministic")
    return compile_model(
        model,
        {var.name: var for var in model.value_vars},
        {name: named[name] for name in var_names},
        name="constrain",
        argument="position",
        host_callback=host_callback,
    )


def unconstrain(
    model: pm.Model | None = None, *, host_callback: bool = False
) -> ModelFunction:
    """Map values of the free random variables to a position.

    Arguments:
        model: default: the model on the context stack.
        host_callback: see `jaxlink.function`.

    Returns:
        a function that takes a dict of the free variables' values by name, which may
        also hold the model's other variables, and returns a position.

    Raises:
        TypeError: there is no model.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     sigma = pm.HalfNormal("sigma")
        ...     f = jaxlink.pymc.unconstrain()
        >>> f({"sigma": 1.0})
        {'sigma_log__': Array(0., dtype=float64)}
    """
    model = resolve_model(model)
    position = {}
    for rv in model.free_RVs:
        transform = model.rvs_to_transforms[rv]
        value = rv if transform is None else transform.forward(rv, *rv.owner.inputs)
        position[model.rvs_to_values[rv].name] = value
    return compile_model(
        model,
        {rv.name: rv for rv in model.free_RVs},
        position,
        name="unconstrain",
        argument="draw",
        further=[var.name for var in [*model.observed_RVs, *model.deterministics]],
        host_callback=host_callback,
    )


@dataclass(frozen=True, repr=False)
class Ravel:
    """Conversion between positions and flat vectors, in the order of the model's value
    variables.

    Attributes:
        shapes: the shape and dtype of each entry of a position, by name.
        start: a function that returns a position, for `with_data`.
        elsewhere: pairs of a variable's name and its name in a position, for errors.
    """

    shapes: Mapping[str, jax.ShapeDtypeStruct]
    start: ModelFunction | None = None
    elsewhere: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, start: ModelFunction, elsewhere: tuple[tuple[str, str], ...] = ()
    ) -> "Ravel":
        """A conversion for the positions that ``start`` returns for a key."""
        entries = shapes_of(start, jax.random.key(0))
        shapes = {name: entries[name] for name in start.outputs or ()}
        return cls(shapes, start, elsewhere)

    def __repr__(self) -> str:
        entries = [f"{name}: {type_of(entry)}" for name, entry in self.shapes.items()]
        return f"Ravel({', '.join(entries)}) of size {self.size}"

    def with_data(self, *args: Any, **kwargs: Any) -> "Ravel":
        """This conversion for new data, on which the shapes may depend. The arguments
        are those of `ModelFunction.with_data`."""
        if self.start is None:
            raise TypeError("this Ravel has fixed shapes, which no data can change.")
        return Ravel.of(self.start.with_data(*args, **kwargs), self.elsewhere)

    @property
    def size(self) -> int:
        """The length of a vector."""
        return sum(entry.size for entry in self.shapes.values())

    def ravel(self, position: Mapping[str, Any]) -> jax.Array:
        """The vector of a position.

        Raises:
            ValueError: names or shapes are not those of a position.
        """
        wanted = Entries("position", tuple(self.shapes), elsewhere=self.elsewhere)
        wanted.check(position, "ravel(position)", ValueError)
        entries = []
        for name, entry in self.shapes.items():
            value = jnp.asarray(position[name], entry.dtype)
            if value.shape != entry.shape:
                raise ValueError(
                    f"`{name}` must be of shape {entry.shape}, but is {value.shape}."
                )
            entries.append(value.ravel().astype(self._dtype))
        return jnp.concatenate([jnp.zeros(0, self._dtype), *entries])

    @property
    def _dtype(self) -> np.dtype[Any]:
        """A dtype that holds all entries."""
        dtypes = [entry.dtype for entry in self.shapes.values()]
        return np.result_type(*dtypes) if dtypes else jnp.result_type(float)

    def unravel(self, vector: Any) -> dict[str, jax.Array]:
        """The position of a vector.

        Raises:
            ValueError: the vector is not of shape ``(size,)``.
        """
        vector = jnp.asarray(vector)
        if vector.shape != (self.size,):
            raise ValueError(
                f"the vector must be of shape {(self.size,)}, but is {vector.shape}."
            )
        # One split, whose derivative is one concatenation, instead of many slices.
        parts = jax.lax.split(vector, [entry.size for entry in self.shapes.values()])
        return {
            name: part.reshape(entry.shape).astype(entry.dtype)
            for (name, entry), part in zip(self.shapes.items(), parts, strict=True)
        }


def ravel(model: pm.Model | None = None, *, host_callback: bool = False) -> Ravel:
    """Positions of a model as flat vectors, for samplers that need vectors.

    Arguments:
        model: default: the model on the context stack. All of its free random variables
            must be continuous.
        host_callback: see `jaxlink.function`.

    Raises:
        TypeError: there is no model.
        ValueError: a free random variable is discrete.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu", shape=2)
        ...     sigma = pm.HalfNormal("sigma")
        ...     flat = jaxlink.pymc.ravel()
        >>> flat
        Ravel(mu: float64[2], sigma_log__: float64[]) of size 3
        >>> flat.unravel([1.0, 2.0, 3.0])["mu"].tolist()
        [1.0, 2.0]
    """
    model = resolve_model(model)
    if discrete := [var.name for var in model.discrete_value_vars]:
        raise ValueError(
            f"a vector of floats cannot hold the discrete variables {quoted(discrete)}."
        )
    start = initial_position(model, host_callback=host_callback)
    return Ravel.of(start, transformed_names(model))

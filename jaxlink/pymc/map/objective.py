"""The negative log density of a model as a function of a NumPy vector, for SciPy."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm

from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.transforms import Ravel
from jaxlink.pymc.model.without_gradient import check_gradient
from jaxlink.pymc.shared.progress import Bar

__all__ = ["Objective"]

Position = Mapping[str, np.ndarray]


class Objective:
    """The negative log density, without Jacobians, over some entries of a position.

    The vectors that come in and go out are of float64; between them all is of the
    precision of the model and of JAX. Integers are rounded to.

    Arguments:
        model: the model.
        start: a position; what is not optimized stays as it is here.
        names: the value variables to optimize, in the order of the vector.
        bar: shows the progress.
        host_callback: as `jaxlink.function` takes it.

    Attributes:
        best: the vector with the least value so far.
        best_value: its value; infinity if there is none.

    Raises:
        ValueError: the density is random.
    """

    def __init__(
        self,
        model: pm.Model,
        start: Position,
        names: Sequence[str],
        bar: Bar,
        host_callback: bool = False,
    ):
        self._density = logdensity(model, jacobian=False, host_callback=host_callback)
        if self._density.takes_key:
            raise ValueError(
                "the log density of this model is random, as pm.Minibatch makes it, so "
                "it has no maximum: build the model with the data themselves, or use "
                "fit."
            )
        entries = {
            name: jax.ShapeDtypeStruct(start[name].shape, start[name].dtype)
            for name in names
        }
        self._flat, self._bar = Ravel(entries), bar
        is_integer = [
            np.full(entry.size, not jnp.issubdtype(entry.dtype, jnp.floating))
            for entry in entries.values()
        ]
        self._is_integer = np.concatenate(is_integer)
        self._value = jax.jit(self._loss)
        self._value_and_gradient = jax.jit(jax.value_and_grad(self._loss))
        self._hessian = jax.jit(jax.hessian(self._loss))
        self._hessian_product = jax.jit(self._along)
        self.begin(start)

    def begin(self, start: Position) -> None:
        """Begin anew, at another position."""
        chosen = self._flat.shapes
        parts = [np.ravel(start[name]).astype(float) for name in chosen]
        self.start = np.concatenate(parts)
        self._fixed = {name: x for name, x in start.items() if name not in chosen}
        self.best, self.best_value = self.start, np.inf

    def check_gradient(self) -> None:
        """Raise, by name, if JAX cannot differentiate the density."""

        def log_density(position: Position) -> Any:
            return self._density({**self._fixed, **position})

        check_gradient(log_density, self._flat.shapes, 'a method such as "Powell".')

    @property
    def precision(self) -> float:
        """The machine epsilon of the log density."""
        out = jax.eval_shape(self._loss, *self._args(self.start))
        return float(np.finfo(out.dtype).eps)

    def names_of(self, entries: np.ndarray) -> list[str]:
        """The value variables that have some of these entries of the vector."""
        parts = self._flat.unravel(jnp.asarray(entries, jnp.float32))
        return [name for name, part in parts.items() if np.any(part)]

    def position(self, x: np.ndarray) -> dict[str, Any]:
        """The position of a vector."""
        return {**self._fixed, **self._unravel(jnp.asarray(x))}

    def value(self, x: np.ndarray) -> float:
        """The negative log density."""
        value = float(self._value(*self._args(x)))
        return self._reached(x, value, f"logp = {-value:,.8g}")

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The negative log density, and its gradient."""
        out, slope = self._value_and_gradient(*self._args(x))
        gradient = np.asarray(slope).astype(float)
        norm = np.linalg.norm(gradient)
        standing = f"logp = {-float(out):,.8g}, |grad| = {norm:.2g}"
        return self._reached(x, float(out), standing), gradient

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """The matrix of second derivatives of the negative log density."""
        return np.asarray(self._hessian(*self._args(x))).astype(float)

    def hessian_product(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """That matrix times a vector."""
        vector, density, fixed = self._args(x)
        along = jnp.asarray(p, vector.dtype)
        product = self._hessian_product(vector, along, density, fixed)
        return np.asarray(product).astype(float)

    def _args(self, x: np.ndarray) -> tuple[jax.Array, Any, Any]:
        return jnp.asarray(x), self._density, self._fixed

    def _loss(self, vector: jax.Array, density: Any, fixed: Any) -> jax.Array:
        return -density({**fixed, **self._unravel(vector)})

    def _along(
        self, vector: jax.Array, along: jax.Array, density: Any, fixed: Any
    ) -> jax.Array:
        def gradient(vector: jax.Array) -> jax.Array:
            return jax.grad(self._loss)(vector, density, fixed)

        product: jax.Array = jax.jvp(gradient, (vector,), (along,))[1]
        return product

    def _unravel(self, vector: jax.Array) -> dict[str, jax.Array]:
        if self._is_integer.any():
            vector = jnp.where(self._is_integer, jnp.round(vector), vector)
        return self._flat.unravel(vector)

    def _reached(self, x: np.ndarray, value: float, standing: str) -> float:
        if value < self.best_value:
            self.best, self.best_value = np.array(x), value
        self._bar(1, standing)
        return np.inf if np.isnan(value) else value

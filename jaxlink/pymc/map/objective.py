"""The negative log density of a model as a function of a NumPy vector, for SciPy."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm

from jaxlink.call.executables import compile_at
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.transforms import Ravel
from jaxlink.pymc.shared.arguments import quoted
from jaxlink.pymc.shared.progress import Bar

__all__ = ["Objective"]


class Objective:
    """The negative log density, without Jacobians, over some entries of a position.

    SciPy's vectors are float64. In between, the model and JAX set the precision.
    Discrete entries are rounded.

    Arguments:
        model: the model.
        position: the initial position; entries that are not optimized stay there.
        names: the value variables to optimize, in the order of the vector.
        bar: shows the progress.
        host_callback: see `jaxlink.function`.

    Attributes:
        flat: maps the optimized entries to a vector and back.
        best, best_value: the vector with the smallest value so far, and that value;
            before any evaluation, the initial vector and infinity.
        precision: the machine epsilon of the last evaluation.

    Raises:
        ValueError: the density is random, or the vector is empty.
    """

    def __init__(
        self,
        model: pm.Model,
        position: Mapping[str, Any],
        names: Sequence[str],
        bar: Bar,
        host_callback: bool = False,
    ):
        density = logdensity(model, jacobian=False, host_callback=host_callback)
        self._density = expose_constants(density)
        if density.takes_key:
            raise ValueError(
                "the log density of this model is random, because of pm.Minibatch, so "
                "it has no maximum: build the model with all of the data, or use fit."
            )
        chosen = {name: position[name] for name in names}
        self.flat = Ravel(
            {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in chosen.items()}
        )
        if not self.flat.size:
            raise ValueError(
                f"there is nothing to optimize: {quoted(names)} are empty."
            )
        is_discrete = [
            not jnp.issubdtype(x.dtype, jnp.floating) for x in chosen.values()
        ]
        self._is_discrete = np.repeat(is_discrete, [x.size for x in chosen.values()])
        self._bar, self.precision = bar, 0.0
        self.restart(position)

        entries = tuple(self.flat.shapes.items()), tuple(self._is_discrete.tolist())
        self._what = "find_MAP", *entries
        self._programs = program_around(self._density, self._what, self._make_programs)
        self._executables: dict[str, Callable[..., Any]] = {}

    def _make_programs(self) -> dict[str, Any]:
        """The functions that SciPy calls. The density is an argument, so that they hold
        no data."""
        unravel = partial(_unravel, self.flat, self._is_discrete)

        def loss(x: jax.Array, density: Any, fixed: Any) -> jax.Array:
            return -density({**fixed, **unravel(x)})

        def product(x: jax.Array, p: jax.Array, *args: Any) -> jax.Array:
            """The Hessian times a vector."""
            return jax.jvp(lambda x: jax.grad(loss)(x, *args), (x,), (p,))[1]

        both = jax.value_and_grad(loss)
        return {
            "value": jax.jit(loss),
            "value_and_gradient": jax.jit(both),
            "product": jax.jit(product),
        }

    def _run(self, name: str, *vectors: np.ndarray) -> Any:
        args = *map(jnp.asarray, vectors), self._density, self._fixed
        if name not in self._executables:
            what = name, *self._what
            self._executables[name] = compile_at(self._programs[name], what, args)
        return self._executables[name](*args)

    def restart(self, position: Mapping[str, Any]) -> None:
        """Restart at another position."""
        chosen = {name: position[name] for name in self.flat.shapes}
        self._fixed = {name: x for name, x in position.items() if name not in chosen}
        # In NumPy, because JAX may have no dtype that holds both integers and floats.
        parts = [np.asarray(entry, float).ravel() for entry in chosen.values()]
        self.best = np.concatenate(parts)
        self.best_value = np.inf

    @property
    def log_density(self) -> Any:
        """The log density as a function of the optimized entries, by name."""
        return jax.tree_util.Partial(_complete, self._density, self._fixed)

    def position(self, x: np.ndarray) -> dict[str, Any]:
        """The position of a vector."""
        entries = {
            **self._fixed,
            **_unravel(self.flat, self._is_discrete, jnp.asarray(x)),
        }
        return {name: np.asarray(entry) for name, entry in entries.items()}

    def value(self, x: np.ndarray) -> float:
        """The negative log density."""
        return self._reached(x, self._run("value", x))

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The negative log density, and its gradient."""
        value, out = self._run("value_and_gradient", x)
        gradient = np.asarray(out, float)
        norm = f", |grad| = {np.linalg.norm(gradient):.2g}"
        return self._reached(x, value, norm), gradient

    def hessp(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The Hessian of the negative log density, times a vector."""
        return np.asarray(self._run("product", x, p), float)

    def hess(self, x: np.ndarray) -> np.ndarray:
        """The Hessian, a column at a time: all at once would need more memory."""
        return np.stack([self.hessp(x, column) for column in np.eye(len(x))], axis=1)

    def _reached(self, x: np.ndarray, out: jax.Array, more: str = "") -> float:
        value, self.precision = float(out), float(np.finfo(out.dtype).eps)
        if value < self.best_value:
            self.best, self.best_value = np.array(x), value
        self._bar(1, f"logp = {-value:,.8g}{more}")
        return np.inf if np.isnan(value) else value


def _unravel(
    flat: Ravel, is_discrete: np.ndarray, x: jax.Array
) -> dict[str, jax.Array]:
    return flat.unravel(jnp.where(is_discrete, jnp.round(x), x))


def _complete(density: Any, fixed: Mapping[str, Any], entries: Any) -> jax.Array:
    out: jax.Array = density({**fixed, **entries})
    return out

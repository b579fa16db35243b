"""An ADVI run: steps in groups, their losses, and the report on NaN."""

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm

from jaxlink.call.executables import compile_at
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.differentiability import check_gradient
from jaxlink.pymc.model.nonfinite import format_position, nonfinite_terms
from jaxlink.pymc.model.transforms import Ravel
from jaxlink.pymc.shared.arguments import quoted
from jaxlink.pymc.vi.advi import (
    Parameters,
    State,
    advance,
    negative_elbo,
    step_draws,
)
from jaxlink.pymc.vi.approximation import Approximation

if TYPE_CHECKING:
    from optax import GradientTransformation

__all__ = ["ADVIRun"]

# Without `chunk`: the largest number of steps at a time, and their target time.
_CAPACITY, _SECONDS = 10_000, 0.2
# The bar shows the average loss over this many steps.
_WINDOW = 1000


class ADVIRun:
    """A running optimization.

    Arguments:
        model: the model, for errors.
        flat: its positions as vectors.
        key: the key of the steps.
        parameters: the initial parameters.
        optimizer: an Optax optimizer.
        identity: equal for optimizers that do the same.
        samples: the number of draws of a step.
        n: the number of steps.
        host_callback: see `jaxlink.function`.
    """

    def __init__(
        self,
        model: pm.Model,
        flat: Ravel,
        key: jax.Array,
        parameters: Parameters,
        optimizer: "GradientTransformation",
        identity: Hashable,
        samples: int,
        n: int,
        host_callback: bool = False,
    ):
        self._model, self._flat, self._key = model, flat, key
        self._samples = samples
        self._log_p = expose_constants(_of_vectors(model, flat, host_callback))
        with jax.numpy_dtype_promotion("standard"):  # Optax needs it
            state = optimizer.init(parameters)
        zero = jnp.zeros((), jnp.int32)
        self._state = State(parameters, state, zero, jnp.zeros((), bool))
        self._losses = np.empty(n, np.dtype(parameters.mean.dtype))
        self._capacity = min(n, _CAPACITY)
        self._pace = 1.0
        self.done = 0
        steps = partial(
            advance, optimizer=optimizer, samples=samples, capacity=self._capacity
        )
        what = "ADVI", identity, samples, self._capacity
        program = program_around(self._log_p, what, lambda: jax.jit(steps))
        args = self._log_p, self._state, self._key, jnp.asarray(1, jnp.int32)
        self._advance = compile_at(program, what, args)

    @property
    def losses(self) -> np.ndarray:
        return self._losses[: self.done]

    @property
    def average_loss(self) -> float:
        last = self.losses[-_WINDOW:]
        finite = last[np.isfinite(last)].astype(float)
        return float(finite.mean()) if finite.size else math.nan

    @property
    def approximation(self) -> Approximation:
        mean, scale = self._state.parameters.mean, self._state.parameters.scale
        entries = tuple(self._flat.shapes.items())
        return Approximation(mean, scale, self.losses.copy(), self._model, entries)

    def advance(self, chunk: int | None) -> int:
        """Make one step the first time, then the steps up to the next multiple of
        ``chunk``, or as many as take a moment.

        Returns:
            the number of steps made.

        Raises:
            ValueError, FloatingPointError: the loss is not finite.
        """
        steps = int(self._pace) if chunk is None else chunk - self.done % chunk
        steps = min(steps, self._capacity, len(self._losses) - self.done)
        steps = steps if self.done else 1
        begin = time.perf_counter()
        state, losses = self._advance(
            self._log_p, self._state, self._key, jnp.asarray(steps, jnp.int32)
        )
        made, new = int(state.step) - self.done, np.asarray(losses)
        faster = _SECONDS / (time.perf_counter() - begin)
        self._pace = max(1.0, min(_CAPACITY, steps * min(faster, 10.0)))
        if self.done == 0 and not np.isfinite(new[0]):
            self._check_start(float(new[0]))
        if state.failed:
            raise FloatingPointError(self._why_nan(state, float(new[made])))
        self._losses[self.done : self.done + made] = new[:made]
        # From here on the steps count, even after Ctrl-C.
        self._state, self.done = state, self.done + made
        return made

    def _check_start(self, loss: float) -> None:
        mean = self._flat.unravel(self._state.parameters.mean)
        found = nonfinite_terms(self._model, mean, self._key, jacobian=True)
        if found:
            raise ValueError(
                f"cannot start at {format_position(mean)}, near which the loss is "
                f"{loss}: of the terms of the log density, {'; '.join(found)}. Check "
                "the priors and the data, or give start."
            )

    def _why_nan(self, state: State, loss: float) -> str:
        key = jax.random.fold_in(self._key, state.step)
        parameters, of_vector = state.parameters, self._flat.unravel
        slope = jax.jit(jax.grad(negative_elbo), static_argnums=2)
        gradient = slope(parameters, self._log_p, self._samples, key)
        wrong = of_vector(~jnp.isfinite(gradient.mean))
        names = [name for name, entry in wrong.items() if np.any(entry)]
        of_batch, _, z = step_draws(parameters, self._samples, key)
        found = []
        for row in z:
            found = nonfinite_terms(
                self._model, of_vector(row), of_batch, jacobian=True
            )
            if found:
                break
        reasons = [f"the loss is {loss:.4g}"]
        if names:
            reasons.append(f"its gradient in {quoted(names)} is not finite")
        if found:
            reasons.append(f"of the terms of the log density, {'; '.join(found)}")
        if not names and not np.isnan(loss):
            reasons.append("the update that the optimizer makes is not finite")
        return (
            f"NaN occurred in step {int(state.step) + 1:,} of the optimization: "
            f"{', '.join(reasons)}. The mean was "
            f"{format_position(of_vector(parameters.mean))}. "
            "Try a smaller learning rate, such as optimizer=optax.adam(1e-3), more "
            "mc_samples, or another start."
        )


def _of_vectors(model: pm.Model, flat: Ravel, host_callback: bool) -> Any:
    """The log density as a function of a key and a vector. It is a pytree, so that the
    data are arguments of the program, not constants."""
    density = logdensity(model, host_callback=host_callback)
    check_gradient(jax.tree_util.Partial(_at_one_key, density), flat.shapes)

    of_vectors = _LogDensityOfVectors(tuple(flat.shapes.items()))
    return jax.tree_util.Partial(of_vectors, density)


def _at_one_key(density: Any, position: Any) -> jax.Array:
    key = [jax.random.key(0)] * density.takes_key
    out: jax.Array = density(*key, position)
    return out


@dataclass(frozen=True)
class _LogDensityOfVectors:
    """The log density at a vector; equal for positions of equal shapes."""

    shapes: tuple[tuple[str, jax.ShapeDtypeStruct], ...]

    def __call__(self, density: Any, key: jax.Array, vector: jax.Array) -> jax.Array:
        position = Ravel(dict(self.shapes)).unravel(vector)
        return density(key, position) if density.takes_key else density(position)

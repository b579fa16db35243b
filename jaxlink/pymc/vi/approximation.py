"""`Approximation`: a normal distribution over the unconstrained space of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack, cast

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from xarray import DataArray, Dataset, DataTree

from jaxlink.pymc.batched.runner import Run, RunOptions, takes_run_options
from jaxlink.pymc.batched.samples import Samples, draw_labels
from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.transforms import Ravel, constrain
from jaxlink.pymc.shared.arguments import Arrays
from jaxlink.pymc.shared.datatree import add_version, posterior_tree
from jaxlink.pymc.shared.seeds import RandomSeed, resolve_key
from jaxlink.pymc.vi.advi import shift_and_scale

__all__ = ["Approximation"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["mean", "scale", "hist"],
    meta_fields=["model", "entries"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Approximation:
    """A normal distribution that approximates a model's posterior, made by `fit`.

    It is a distribution of flat vectors: the *d* entries of a position in the order of
    the model's value variables (`jaxlink.pymc.ravel`). It is a pytree whose leaves are
    its arrays.

    Attributes:
        mean: the mean, of shape (d,).
        scale: the standard deviations, of shape (d,) (mean field), or the lower
            Cholesky factor of the covariance, of shape (d, d) (full rank).
        hist: the loss of each step, an estimate of the negative ELBO. (PyMC divides it
            by the ratio of the data's size to the minibatch's.)
        model: the model.
        entries: the name, shape and dtype of each entry of a position.

    Example:
        >>> import jax, jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu", 0, 2)
        ...     y = pm.Normal("y", mu, 1, observed=[1.0, 2.0, 3.0])
        ...     approx = jaxlink.pymc.fit(5_000, random_seed=1, progressbar=False)
        >>> f"{approx.mean[0]:.3f} +- {approx.std[0]:.3f}"
        '1.846 +- 0.555'
        >>> positions = jax.vmap(approx.draw)(jax.random.split(jax.random.key(0), 100))
        >>> positions["mu"].shape
        (100,)
    """

    mean: jax.Array
    scale: jax.Array
    hist: np.ndarray
    model: pm.Model
    entries: tuple[tuple[str, jax.ShapeDtypeStruct], ...]

    @property
    def std(self) -> jax.Array:
        """Standard deviations, of shape (d,)."""
        if self.scale.ndim == 1:
            return self.scale
        return jnp.sqrt(jnp.sum(self.scale**2, axis=1))

    @property
    def cov(self) -> jax.Array:
        """The covariance, of shape (d, d)."""
        if self.scale.ndim == 1:
            return jnp.diag(self.scale**2)
        return self.scale @ self.scale.T

    @property
    def mean_data(self) -> Dataset:
        """The mean by value variable, in unconstrained space."""
        return self._dataset(self.mean)

    @property
    def std_data(self) -> Dataset:
        """The standard deviations by value variable, in unconstrained space."""
        return self._dataset(self.std)

    def draw(self, key: Any) -> dict[str, jax.Array]:
        """A position, as in `logdensity`; a plain JAX function of a PRNG key."""
        e = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self._flat.unravel(shift_and_scale(self.mean, self.scale, e))

    @takes_run_options
    def sample(
        self,
        draws: int = 500,
        *,
        key: Any = None,
        random_seed: RandomSeed = None,
        var_names: Sequence[str] | None = None,
        include_transformed: bool = False,
        host_callback: bool = False,
        **options: Unpack[RunOptions],
    ) -> DataTree:
        """Draw all free variables and deterministics.

        Draw *i* is ``self.draw`` of the key ``fold_in(fold_in(key, 0), i)``.

        Arguments:
            draws: the number of draws.
            key: a PRNG key.
            random_seed: instead of a key; default: a fresh one.
            var_names: the variables to return; default: all.
            include_transformed: whether to return the values of transformed variables,
                such as ``sigma_log__``, too.
            host_callback: see `jaxlink.function`.
            options: see `RunOptions`; ``progressbar`` is False by default.

        Returns:
            what PyMC's ``Approximation.sample`` returns: a DataTree with a posterior of
            one chain, the observed and the constant data.

        Raises:
            TypeError: both ``key`` and ``random_seed`` are given.
            ValueError: the model lacks a variable of ``var_names``, or a number is out
                of range.
            MemoryError, FileExistsError, ImportError: see `RunOptions`.
        """
        labels = draw_labels(draws)
        options.setdefault("progressbar", False)
        run = Run(**options)
        key = resolve_key(key, random_seed, run.mesh)
        fn = constrain(
            self.model,
            var_names,
            include_transformed=include_transformed,
            host_callback=host_callback,
        )

        # The program must not keep the model alive.
        drawn = replace(self, hist=np.empty(0), model=cast(Any, None))

        def build(arrays: Arrays, coords: Mapping[str, Any]) -> DataTree:
            tree = posterior_tree(
                self.model,
                {"": (arrays, {})},
                fn.outputs or (),
                pm,
                {},
                coords=coords,
                dims={},
            )
            return add_version(tree, key)

        samples = Samples({"chain": range(1), "draw": labels})
        described = "Sampling ..."
        return run((drawn, fn), _draw, samples, build, description=described, key=key)

    @property
    def _flat(self) -> Ravel:
        return Ravel(dict(self.entries))

    def _dataset(self, vector: jax.Array) -> Dataset:
        flat, variables = self._flat.unravel(vector), {}
        for name, value in flat.items():
            rv = next(v for v in self.model.free_RVs if self._value_name(v) == name)
            dims = self.model.named_vars_to_dims.get(rv.name) or ()
            if len(dims) != value.ndim:
                dims = (None,) * value.ndim
            own, coords = [], {}
            for axis, (dim, length) in enumerate(zip(dims, value.shape, strict=True)):
                labels = None if dim is None else self.model.coords.get(dim)
                # If a transform changes a length, there are no labels.
                fits = labels is not None and len(labels) == length
                own.append(dim if fits else f"{name}_dim_{axis}")
                if fits:
                    coords[dim] = np.array(labels)
            variables[name] = DataArray(np.asarray(value), coords, own, name=name)
        return Dataset(variables)

    def _value_name(self, rv: Any) -> str:
        return str(self.model.rvs_to_values[rv].name)

    def __repr__(self) -> str:
        family = "mean field" if self.scale.ndim == 1 else "full rank"
        names = ", ".join(
            f"{name}: {entry.dtype}{list(entry.shape)}" for name, entry in self.entries
        )
        return f"Approximation({family}; {names})"


def _draw(
    both: tuple[Approximation, ModelFunction], key: jax.Array, _: Any
) -> dict[str, jax.Array]:
    approx, fn = both
    position = approx.draw(key)
    if fn.takes_key:  # a deterministic of a minibatch
        return dict(fn(jax.random.fold_in(key, 0), position))
    return dict(fn(position))

"""ModelFunction: a function of a model, which takes and returns dicts by name."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import pymc as pm
from pytensor.graph.basic import Variable

from jaxlink.arguments import is_key
from jaxlink.compile import function
from jaxlink.errors import ArgumentError, KeyArgumentError
from jaxlink.function import JAXFunction
from jaxlink.pymc.context import check_names, listed
from jaxlink.pymc.data import ModelData
from jaxlink.random_state import as_key
from jaxlink.rewrites import rng_roots

__all__ = ["ModelFunction", "compile_model"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["fn"],
    meta_fields=[
        "takes_key",
        "argument",
        "names",
        "further",
        "outputs",
        "data",
        "resampled",
    ],
)
@dataclass(frozen=True, eq=False, repr=False)
class ModelFunction:
    """A function of a PyMC model as a plain JAX function.

    It takes a PRNG key first if ``takes_key``, then the dict of arrays that
    ``argument`` names, if any, and returns an array or a dict of arrays. It goes into
    ``jax.jit``, ``grad`` and ``vmap``, and is a pytree whose leaves are the data that
    it captured.

    Attributes:
        fn: the `jaxlink.JAXFunction` behind it.
        takes_key: whether the first argument is a PRNG key.
        argument: what the dict that it takes is called; ``None`` if it takes none.
        names: the names that this dict must hold, in the model's order.
        further: names that it may hold too, which are not used.
        outputs: the names of what it returns, in the model's order; ``None`` if that is
            one array.
        data: the data of the model that can change.
        resampled: the names of the random variables that it draws.
    """

    fn: JAXFunction
    takes_key: bool
    argument: str | None
    names: tuple[str, ...]
    further: frozenset[str]
    outputs: tuple[str, ...] | None
    data: ModelData
    resampled: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self.takes_key + (self.argument is not None):
            args = self._positional(args, kwargs)
        operands: list[Any] = []
        if self.argument is not None:
            given = args[-1]
            self._check(given)
            operands = [given[name] for name in self.names]
        if self.takes_key:
            if self._is_random:
                operands.insert(0, args[0])
            else:
                as_key(args[0])  # not used, and still no place for anything else
        out = self.fn(*operands)
        if self.outputs is None:
            return out
        return {name: out[name] for name in self.outputs}

    def with_data(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        **named: Any,
    ) -> "ModelFunction":
        """The same function with other data, as ``pm.set_data`` would set them.

        The graph is not built again, nothing is compiled again as long as shapes agree,
        and this function and the model are left as they are.

        Arguments:
            values: new values of `pm.Data` by name, arrays of its rank.
            coords: new coordinates of the dimensions that change their length.
            named: like ``values``, for names that are Python identifiers.

        Raises:
            ValueError: the model has no such data or dimension, or lengths disagree.

        Example:
            >>> import jax, jaxlink.pymc, pymc as pm
            >>> with pm.Model(coords={"day": ["Mon", "Tue"]}):
            ...     x = pm.Data("x", [1.0, 2.0], dims="day")
            ...     twice = pm.Deterministic("twice", 2 * x, dims="day")
            ...     prior = jaxlink.pymc.prior()
            >>> other = prior.with_data(x=[1.0, 2.0, 3.0], coords={"day": "abc"})
            >>> other(jax.random.key(0))["twice"].tolist()
            [2.0, 4.0, 6.0]
        """
        new = {**(values or {}), **named}
        data, taken = self.data.change(new, coords or {}, self.fn.data)
        return replace(self, fn=self.fn.with_data(taken), data=data)

    @property
    def _is_random(self) -> bool:
        return len(self.fn.__signature__.parameters) > len(self.names)

    def _positional(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return self.__signature__.bind(*args, **kwargs).args
        except TypeError as error:
            if self.takes_key and not any(map(is_key, [*args, *kwargs.values()])):
                raise KeyArgumentError(
                    f"{self} needs a PRNG key first, such as jax.random.key(0)."
                ) from error
            raise ArgumentError(f"{self}: {error}.") from error

    def _check(self, given: Any) -> None:
        """Raise unless ``given`` is a dict of the right names."""
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"{self}: `{self.argument}` must be a dict of arrays by name, not "
                f"{type(given).__name__}."
            )
        missing = [name for name in self.names if name not in given]
        unknown = given.keys() - self.further - set(self.names)
        if missing:
            raise ArgumentError(
                f"{self}: `{self.argument}` lacks {listed(missing)}. It holds "
                f"{listed(given)}."
            )
        if unknown:
            check_names(unknown, self.names, f"variable in `{self.argument}` of {self}")

    @property
    def __name__(self) -> str:
        return self.fn.__name__

    @property
    def __signature__(self) -> inspect.Signature:
        names = ["key"] * self.takes_key + [self.argument] * (self.argument is not None)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(str(n), kind) for n in names])

    def __repr__(self) -> str:
        return f"ModelFunction {self}"

    def __str__(self) -> str:
        takes = ", ".join(self.__signature__.parameters)
        returns = "array" if self.outputs is None else f"{{{', '.join(self.outputs)}}}"
        return f"{self.__name__}({takes}) -> {returns}"


def compile_model(
    model: pm.Model,
    inputs: Mapping[str, Variable],
    outputs: Variable | Mapping[str, Variable],
    *,
    name: str,
    argument: str | None,
    takes_key: bool | None,
    further: Iterable[str] = (),
    host_callback: bool = False,
) -> ModelFunction:
    """A graph over a model as a `ModelFunction`.

    Arguments:
        model: the model, for its random generators and data.
        inputs: variables of the graph by the names that the dict argument gives them.
        outputs: one variable, or a dict of variables.
        name: what the function is called.
        argument: what the dict argument is called, if there is one.
        takes_key: whether a key comes first; ``None``: if the graph is random.
        further: names that the dict argument may hold too.
        host_callback: as `jaxlink.function` takes it.
    """
    named = None if isinstance(outputs, Variable) else dict(outputs)
    graph = list(named.values()) if named is not None else [outputs]
    fn = function(
        list(inputs.values()),
        outputs if named is None else named,
        rngs=_generators(model, graph, list(inputs.values())),
        name=name,
        on_unused_input="ignore",
        host_callback=host_callback,
    )
    is_random = len(fn.__signature__.parameters) > len(inputs)
    return ModelFunction(
        fn,
        is_random if takes_key is None else takes_key,
        argument,
        tuple(inputs),
        frozenset(further) - set(inputs),
        None if named is None else tuple(named),
        ModelData.of(model),
    )


def _generators(
    model: pm.Model, outputs: Sequence[Variable], inputs: Sequence[Variable]
) -> list[Variable]:
    """The random generators in the order of their numbers: those of the model as its
    variables come, whatever is asked for, and then what else the graph has."""
    variables = [*model.basic_RVs, *model.deterministics, *model.potentials]
    own = rng_roots(variables, [])
    return own + [rng for rng in rng_roots(outputs, inputs) if rng not in set(own)]

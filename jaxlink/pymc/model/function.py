"""`ModelFunction`: a function of a model that takes and returns dicts by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import jax
import pymc as pm
from pytensor.graph.basic import Variable

from jaxlink.call.display import OwnDoc, leaves_doc, sections, with_data
from jaxlink.call.jax_function import JAXFunction
from jaxlink.call.precision import compiling_for, naming
from jaxlink.call.signature import is_key
from jaxlink.compile import function
from jaxlink.errors import ArgumentError, KeyArgumentError
from jaxlink.pymc.model.data import ModelData
from jaxlink.pymc.model.entries import Entries
from jaxlink.pymc.model.lengths import check_lengths
from jaxlink.pymc.shared.arguments import quoted
from jaxlink.rewrites.random_key import rng_roots
from jaxlink.values.keys import as_key

__all__ = ["ModelFunction", "compile_model", "transformed_names"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["fn"],
    meta_fields=["takes_key", "entries", "outputs", "model_data", "resampled"],
)
@dataclass(frozen=True, eq=False, repr=False)
class ModelFunction:
    """A function of a PyMC model as a plain JAX function.

    It takes a PRNG key first if ``takes_key``, then a dict of arrays (called
    ``argument``) if it has one, and returns an array or a dict of arrays. Use it under
    ``jax.jit``, ``grad`` and ``vmap``. It is a pytree whose leaves are the data that it
    captured.

    Attributes:
        fn: the underlying `jaxlink.JAXFunction`.
        takes_key: whether the first argument is a PRNG key.
        entries: the entries of the dict that it takes; ``None`` if it takes none.
        outputs: the names in the dict that it returns, in the model's order; ``None``
            if it returns one array.
        model_data: the model's data that can change.
        resampled: the names of the random variables that it draws.
    """

    fn: JAXFunction
    takes_key: bool
    entries: Entries | None
    outputs: tuple[str, ...] | None
    model_data: ModelData
    resampled: tuple[str, ...] = ()
    # Computed once, so that calls are fast.
    _n_args: int = field(init=False)
    _ignores_key: bool = field(init=False)
    _getter: Callable[[Any], Sequence[Any]] | None = field(init=False)
    _order: tuple[str, ...] | None = field(init=False)

    __doc__ = OwnDoc(__doc__, lambda fn: fn._describe())

    def __post_init__(self) -> None:
        is_random = len(self.fn.__signature__.parameters) > len(self.names)
        in_order = self.outputs is None or list(self.outputs) == sorted(self.outputs)
        ready = {
            "_n_args": self.takes_key + (self.entries is not None),
            "_ignores_key": self.takes_key and not is_random,
            "_getter": self.entries.getter() if self.entries else None,
            # JAX sorts the keys of a dict.
            "_order": None if in_order else self.outputs,
        }
        for name, value in ready.items():
            object.__setattr__(self, name, value)

    @property
    def argument(self) -> str | None:
        """The name of the dict that it takes; ``None`` if it takes none."""
        return self.entries.argument if self.entries else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that this dict must have, in the model's order."""
        return self.entries.names if self.entries else ()

    @property
    def further(self) -> frozenset[str]:
        """Names that this dict may also have, and that are ignored."""
        return self.entries.further if self.entries else frozenset()

    @property
    def data(self) -> dict[str, Any]:
        """The captured data by name, as in `jaxlink.JAXFunction.data`. In a gradient
        with respect to a function, they are the derivatives."""
        return self.fn.data

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = self.fn(*self._operands(args, kwargs))
        if self._order is None:
            return out
        return {name: out[name] for name in self._order}

    def _operands(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Any]:
        """The arguments of ``fn``. Every call passes here, so a valid dict costs little
        more than a look at its length."""
        if kwargs or len(args) != self._n_args:
            args = self._positional(args, kwargs)
        if self._ignores_key:
            if not is_key(args[0]):
                as_key(args[0])  # unused, but it must be a key
            args = args[1:]
        entries = self.entries
        if entries is None or self._getter is None:
            return args
        given = args[-1]
        try:
            # In a dict of the right length, a wrong name means that one is missing,
            # which raises KeyError below.
            if type(given) is not dict or (
                len(given) != len(entries.names) and not given.keys() <= entries.allowed
            ):
                entries.check(given, self)
            values = self._getter(given)
        except KeyError:
            entries.check(given, self)
            raise
        return values if len(args) == 1 else (args[0], *values)

    def with_data(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        **named: Any,
    ) -> "ModelFunction":
        """The same function with new data, as ``pm.set_data`` would set them.

        The graph is not rebuilt, nothing is recompiled as long as shapes agree, and
        this function and the model stay as they are. It also works under ``jit``,
        ``vmap`` and ``grad``: ``jax.vmap(lambda x: f.with_data(x=x)(position))`` maps a
        function over many data sets.

        Arguments:
            values: new values of `pm.Data` by name: arrays of the same rank, also from
                pandas or xarray. They are converted to its dtype, unless that would
                turn floats into integers. JAX arrays keep their sharding.
            coords: new coordinates of dimensions whose length changes.
            named: like ``values``, for names that are Python identifiers.

        Raises:
            ValueError: the model has no such data or dimension, or lengths disagree.
            ArgumentError: a value does not fit the type of the data.
            StaticArgumentError: a shape depends on a value that is traced.

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
        data, taken = self.model_data.change(new, coords or {}, self.data)
        return replace(self, fn=self.fn.with_data(taken), model_data=data)

    @property
    def checked(self) -> "ModelFunction":
        """This function with the checks of its graph: see
        `jaxlink.JAXFunction.checked`."""
        return replace(self, fn=self.fn.checked)

    @property
    def is_keyless(self) -> bool:
        """Whether it was compiled with ``key=False``, and is random."""
        return self.fn.is_keyless

    def with_key(self) -> "ModelFunction":
        """This function with a key as its first argument."""
        return replace(self, fn=self.fn.with_key(), takes_key=True)

    def jaxpr(self, *args: Any, **kwargs: Any) -> Any:
        """The jaxpr of ``fn`` for these arguments. The arguments of ``fn`` are the key,
        if the function is random, and the entries of the dict in the order of
        ``names``."""
        return self.fn.jaxpr(*self._operands(args, kwargs))

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """``fn`` lowered for these arguments, as ``jax.jit(f).lower`` does."""
        return self.fn.lower(*self._operands(args, kwargs))

    def _positional(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return self.__signature__.bind(*args, **kwargs).args
        except TypeError as error:
            if self.takes_key and not any(map(is_key, [*args, *kwargs.values()])):
                raise KeyArgumentError(
                    f"{self} needs a PRNG key first, such as jax.random.key(0)."
                ) from error
            raise ArgumentError(f"{self}: {error}.") from error

    @property
    def __name__(self) -> str:
        return self.fn.__name__

    @property
    def __signature__(self) -> inspect.Signature:
        names = ["key"] * self.takes_key + [self.argument] * (self.argument is not None)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(str(n), kind) for n in names])

    def __repr__(self) -> str:
        return f"ModelFunction {self}{with_data(self.fn.leaves)}"

    def __str__(self) -> str:
        takes = ", ".join(self.__signature__.parameters)
        returns = "array" if self.outputs is None else f"{{{', '.join(self.outputs)}}}"
        return f"{self.__name__}({takes}) -> {returns}"

    def __pdoc__(self, **kwargs: Any) -> Any:
        return leaves_doc(f"ModelFunction {self}", self.fn.leaves, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        own = [getattr(self, f.name) for f in fields(self) if f.init]
        return ModelFunction, tuple(own)

    def parts_of_digest(self) -> tuple[Any, ...]:
        """What `jaxlink.call.digest` tells functions apart by."""
        return self.fn, self.takes_key, self.entries, self.outputs

    def _describe(self) -> str:
        """The text that ``help`` shows."""
        parts = self.fn.described()
        arguments = ["key: PRNG key"] * self.takes_key
        if self.entries is not None:
            arguments.append(f"{self.argument}: a dict of arrays by name")
            types = parts["Arguments"][len(parts["Arguments"]) - len(self.names) :]
            arguments += [
                f"    {name}: {line.partition(': ')[2]}"
                for name, line in zip(self.names, types, strict=True)
            ]
        dims = {name: quoted(filter(None, d)) for name, d in self.model_data.dims if d}
        data = [
            f"{line}, along {dims[name]}" if name in dims else line
            for name, line in zip(self.data, parts["Data"], strict=True)
        ]
        return sections(str(self), {**parts, "Arguments": arguments, "Data": data})


def compile_model(
    model: pm.Model,
    inputs: Mapping[str, Variable],
    outputs: Variable | Mapping[str, Variable],
    *,
    name: str,
    argument: str | None = None,
    takes_key: bool = False,
    further: Iterable[str] = (),
    key: bool = True,
    host_callback: bool = False,
) -> ModelFunction:
    """Compile a graph over a model to a `ModelFunction`.

    Arguments:
        model: the model, for its random generators and data.
        inputs: variables of the graph by the names that the dict argument gives them.
        outputs: one variable, or a dict of variables.
        name: what the function is called.
        argument: what the dict argument is called, if there is one.
        takes_key: whether a key comes first even if the graph is not random.
        further: names that the dict argument may hold too.
        key: see `jaxlink.function`.
        host_callback: see `jaxlink.function`.
    """
    named = {"": outputs} if isinstance(outputs, Variable) else dict(outputs)
    graph = check_lengths(model, name, inputs, list(named.values()))
    form: Any = dict(zip(named, graph, strict=True))
    with compiling_for(name), naming(_user_names(model)):
        fn = function(
            list(inputs.values()),
            form[""] if isinstance(outputs, Variable) else form,
            rngs=_generators(model, graph, list(inputs.values())),
            name=name,
            key=key,
            on_unused_input="ignore",
            host_callback=host_callback,
        )
    is_random = len(fn.__signature__.parameters) > len(inputs)
    return ModelFunction(
        fn,
        (takes_key and key) or is_random,
        None if argument is None else _entries(model, argument, inputs, further),
        None if isinstance(outputs, Variable) else tuple(named),
        ModelData.of(model),
    )


def _entries(
    model: pm.Model, argument: str, names: Iterable[str], further: Iterable[str]
) -> Entries:
    pairs = transformed_names(model)
    if argument == "draw":
        pairs = tuple((value, rv) for rv, value in pairs)
    names = tuple(names)
    return Entries(
        argument,
        names,
        frozenset(further) - set(names),
        tuple((there, here) for there, here in pairs if here in names),
    )


def _user_names(model: pm.Model) -> dict[str, str]:
    """The user's name for each variable of the model, by the name in the graph."""
    own = {name: name for name in model.named_vars}
    return own | {value: name for name, value in transformed_names(model)}


def transformed_names(model: pm.Model) -> tuple[tuple[str, str], ...]:
    """Pairs of a transformed variable's name and its name in a position."""
    return tuple(
        (rv.name, model.rvs_to_values[rv].name)
        for rv in model.free_RVs
        if rv.name != model.rvs_to_values[rv].name
    )


def _generators(
    model: pm.Model, outputs: Sequence[Variable], inputs: Sequence[Variable]
) -> list[Variable]:
    """The random generators in the order of their numbers. Those of the model come
    first, in the order of its variables and whatever the outputs."""
    variables = [*model.basic_RVs, *model.deterministics, *model.potentials]
    own = rng_roots(variables, [])
    return own + [rng for rng in rng_roots(outputs, inputs) if rng not in set(own)]

"""JAXFunction: the callable, its signature, repr, pytree and pickle forms.

Two objects share the work. A `Program` is code: the linked graph and its ``jax.jit``. A
`JAXFunction` is a program plus the data that the graph captured, and passes the data to
the program at each call. So new data of the same shape reuses the compiled code, and
every JAX pytree operation works on the data. Small constants of the graph are passed in
the same way, so that graphs that differ only in these share a program. They are no
leaves of the pytree, unless a program around functions needs them
(`jaxlink.call.program_around`).

Argument checks cost a correct call nothing: they run while JAX traces, and JAX traces
again whenever the number, types or shapes of the arguments change.
"""

import difflib
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from pytensor.graph.fg import FunctionGraph

from jaxlink.call.display import OwnDoc, leaves_doc, sections, type_of, with_data
from jaxlink.call.keyless import key_of_call
from jaxlink.call.program import Program
from jaxlink.call.serialize import pack, unpack
from jaxlink.call.signature import Signature
from jaxlink.errors import ArgumentError
from jaxlink.sampling.unseeded import unseeded_key
from jaxlink.values.runtime_checks import Checks, under_checkify
from jaxlink.values.types import describe

__all__ = ["Form", "JAXFunction"]


@dataclass(frozen=True)
class Form:
    """How a function shows its program.

    Attributes:
        exposed: whether small constants are leaves, for a program around it.
        keyless: whether it was compiled with ``key=False``.
    """

    exposed: bool = False
    keyless: bool = False


class JAXFunction:
    """A PyTensor graph as a JAX function, made by `jaxlink.function`.

    Call it with its inputs by position or by name (first the key, if the graph is
    random), or pass it to any JAX transformation. It is a pytree whose leaves are the
    captured data, and it hashes by identity.

    Example:
        >>> import jax, jaxlink, pytensor.tensor as pt
        >>> x = pt.vector("x")
        >>> fn = jaxlink.function([x], (x**2).sum(), name="sum_of_squares")
        >>> fn
        JAXFunction sum_of_squares(x: float64[?]) -> float64[]
        >>> jax.grad(fn)(jax.numpy.array([1.0, 2.0])).tolist()
        [2.0, 4.0]
    """

    __doc__ = OwnDoc(__doc__, lambda fn: sections(fn._shown, fn.described()))
    __slots__ = ("__weakref__", "_call", "_data", "_form", "_program", "_signature")
    _call: Callable[..., Any]
    _data: tuple[Any, ...]
    _form: Form
    _program: Program
    _signature: Signature

    def __init__(self, program: Program, data: tuple[Any, ...], form: Form = Form()):
        self._program = program
        self._data = data
        self._form = form
        signature = program.signature
        self._signature = signature.without_key() if form.keyless else signature
        self._call = program.jitted
        if form.keyless or signature.is_prepared:
            self._call = self._call_without_key if form.keyless else self._call_prepared

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs.

        Arguments:
            args, kwargs: the key, if the graph is random, and the inputs, with the
                dtypes and shapes that ``repr(fn)`` shows.

        Returns:
            JAX arrays: one, a tuple or a dict of them, as the outputs were given to
            `jaxlink.function`.

        Raises:
            ArgumentError: the number or a name of the arguments is wrong, or one has
                the wrong type, shape or dtype.
            KeyArgumentError: the key is missing, or is not a PRNG key.
            StaticArgumentError: an argument that fixes a shape is traced.
        """
        if kwargs:
            args = self._positional(args, kwargs)
        try:
            out = self._call(self._data, *args)
            if self._program.checks.left_out and self._needs_checks(out, args):
                return self.checked(*args)
            return out
        except TypeError as error:
            # JAX rejects a value that is not an array before it traces, and so before
            # our checks run. All other errors pass unchanged.
            if isinstance(error, ArgumentError):
                raise
            if (reason := self._signature.explain(args)) is None:
                raise
            raise reason from error

    def _call_prepared(self, data: Sequence[Any], *args: Any) -> Any:
        return self._program.jitted(data, *self._program.signature.prepare(args))

    def _call_without_key(self, data: Sequence[Any], *args: Any) -> Any:
        self._signature.check_count(args)
        return self._call_prepared(data, key_of_call(), *args)

    def _needs_checks(self, out: Any, args: Sequence[Any]) -> bool:
        if isinstance(out, jax.Array) and not isinstance(out, jax.core.Tracer):
            return False  # the usual case, and this runs at each call
        if self._form.keyless:
            return False  # `jaxlink.seed` traces it too
        return under_checkify(out, (self._data, args))

    def _positional(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """The arguments by position, those in ``kwargs`` included."""
        signature = self._signature
        if len(args) > len(signature.parameters):
            signature.check_count(args)
        labels = [parameter.label for parameter in signature.parameters]
        names = [parameter.name for parameter in signature.parameters]
        bound: dict[int, Any] = dict(enumerate(args))
        for name, value in kwargs.items():
            if names.count(name) > 1:
                raise ArgumentError(
                    f"{signature.name}() has {names.count(name)} inputs named "
                    f"`{name}`: pass them by position. It takes {signature}."
                )
            if name not in names and name not in labels:
                close = difflib.get_close_matches(name, labels, n=1)
                hint = f" Did you mean `{close[0]}`?" if close else ""
                raise ArgumentError(
                    f"{signature.name}() has no input named `{name}`.{hint} It takes "
                    f"{signature}."
                )
            i = names.index(name) if name in names else labels.index(name)
            if i in bound:
                raise ArgumentError(
                    f"{signature.name}() got two values for `{name}`. It takes "
                    f"{signature}."
                )
            bound[i] = value
        missing = [p for i, p in enumerate(signature.parameters) if i not in bound]
        if missing:
            raise signature.missing(missing)
        return tuple(bound[i] for i in range(len(labels)))

    def with_data(
        self, data: Mapping[Any, Any] | None = None, /, **named: Any
    ) -> "JAXFunction":
        """The same function with new values for captured shared variables.

        Nothing is recompiled as long as the shapes stay the same. This function does
        not change.

        Arguments:
            data: new values by name, for names that are not Python identifiers.
            named: new values by the shared variable's name: arrays of its rank, in any
                dtype that converts to its own (floats do not convert to integers). They
                may be traced, and they keep their sharding.

        Returns:
            A new `JAXFunction`.

        Raises:
            ArgumentError: no captured variable, or more than one, has that name, or
                the value does not fit its type.
            StaticArgumentError: the value fixes a shape, but is traced.

        Example:
            >>> import jaxlink, numpy as np, pytensor
            >>> X = pytensor.shared(np.array([1.0, 2.0]), name="X")
            >>> fn = jaxlink.function([], X.sum())
            >>> fn.with_data(X=[1.0, 2.0, 3.0])().item()
            6.0
        """
        program = self._program
        new = {**(data or {}), **named}
        names = [spec.name for spec in program.data]
        for name in new:
            if names.count(name) != 1:
                have = ", ".join(f"`{n}`" for n in names if n) or "none"
                found = "more than one" if name in names else "no"
                raise ArgumentError(
                    f"{self.__name__}() captured {found} shared variable named "
                    f"`{name}`; it captured: {have}."
                )
        static, dynamic = iter(program.static_data), iter(self._data)
        new_static, new_dynamic = [], []
        for spec in program.data:
            if spec.static:
                value = new.get(spec.name, next(static))
                new_static.append(spec.fix(self.__name__, value))
            else:
                old = next(dynamic)
                given = spec.name in new
                new_dynamic.append(
                    spec.capture(self.__name__, new[spec.name]) if given else old
                )
        changed = program.with_static_data(tuple(new_static))
        return JAXFunction(changed, tuple(new_dynamic), self._form)

    @property
    def checked(self) -> "JAXFunction":
        """This function with its graph's checks enabled (``Assert``, PyMC's parameter
        checks), for use under ``jax.experimental.checkify.checkify``.

        ``checkify(fn)`` runs the checks by itself, also around ``vmap`` or ``grad``.
        Write ``fn.checked`` only where other code stands between the two, as in
        ``checkify(jax.jit(fn.checked))``.

        Returns:
            A new `JAXFunction`.

        Example:
            >>> import jax, jaxlink, pytensor.tensor as pt
            >>> from jax.experimental import checkify
            >>> from pytensor.raise_op import Assert
            >>> x = pt.scalar("x")
            >>> fn = jaxlink.function([x], pt.log(Assert("x > 0, please")(x, x > 0)))
            >>> error, _ = checkify.checkify(jax.jit(fn.checked))(-1.0)
            >>> error.get()[:29]
            'AssertionError: x > 0, please'
        """
        program = self._program.with_checks(Checks(enabled=True))
        return JAXFunction(program, self._data, self._form)

    @property
    def is_keyless(self) -> bool:
        """Whether it was compiled with ``key=False``, and its graph is random."""
        return self._form.keyless

    def with_key(self, key: bool = True) -> "JAXFunction":
        """This function with a key as its first argument, or without one."""
        form = Form(self._form.exposed, not key)
        return JAXFunction(self._program, self._data, form)

    @property
    def data(self) -> dict[str, Any]:
        """The captured shared variables by name, and large constants by label."""
        dynamic, static = iter(self._data), iter(self._program.static_data)
        return {
            name: next(static).value if spec.static else next(dynamic)
            for name, spec in self._program.named_data
            if not spec.small
        }

    @property
    def leaves(self) -> dict[str, Any]:
        """The pytree leaves by name: the captured data that do not fix a shape."""
        named = self._program.named_data
        names = [name for name, spec in named if not (spec.static or spec.small)]
        return dict(zip(names, self._data, strict=False))  # small constants come last

    @property
    def fgraph(self) -> FunctionGraph:
        """A copy of the rewritten PyTensor graph. ``fn.fgraph.dprint()`` prints it."""
        return unpack(pack(self._program.fgraph))

    @property
    def static_argnums(self) -> tuple[int, ...]:
        """Positions of the arguments that fix shapes, for an outer ``jax.jit``."""
        return self._signature.static

    def jaxpr(self, *args: Any, **kwargs: Any) -> Any:
        """The function's jaxpr for these arguments (arrays or
        ``jax.ShapeDtypeStruct``)."""
        return self._stage("trace", args, kwargs).jaxpr

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Lower the function for these arguments (arrays or
        ``jax.ShapeDtypeStruct``), as ``jax.jit(f).lower`` does."""
        lowered: jax.stages.Lowered = self._stage("lower", args, kwargs)
        return lowered

    def _stage(self, stage: str, args: Any, kwargs: Any) -> Any:
        args = self._positional(args, kwargs) if kwargs else args
        if self._form.keyless:
            args = unseeded_key(), *args
        prepared = self._program.signature.prepare(args)
        return getattr(self._program.jitted, stage)(self._data, *prepared)

    def parts_of_digest(self) -> tuple[Any, ...]:
        """What `jaxlink.call.digest` tells functions apart by."""
        program = self._program
        checks = program.checks.enabled, program.checks.silent
        types = [jax.typeof(x) for x in self._data]
        return program.code, program.static_data, checks, types, self._form

    @property
    def __name__(self) -> str:
        return self._program.signature.name

    @property
    def __signature__(self) -> inspect.Signature:
        parameters = self._signature.parameters
        unnamed = [i for i, p in enumerate(parameters) if p.name != p.label]
        last_unnamed = max(unnamed, default=-1)
        return inspect.Signature(
            [
                inspect.Parameter(
                    identifier,
                    inspect.Parameter.POSITIONAL_ONLY
                    if i <= last_unnamed
                    else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                )
                for i, identifier in enumerate(p.label for p in parameters)
            ]
        )

    def described(self) -> dict[str, list[str]]:
        """The arguments, outputs and captured data with their types, for docstrings."""
        program = self._program
        outs = [describe(var.type) for var in program.fgraph.outputs]
        if program.outputs.form != "one":
            pairs = zip(program.outputs.labels, outs, strict=True)
            outs = [f"{label}: {out}" for label, out in pairs]
        return {
            "Arguments": list(map(str, self._signature.parameters)),
            "Returns": outs,
            "Data": [f"{label}: {type_of(x)}" for label, x in self.data.items()],
        }

    def __repr__(self) -> str:
        return f"JAXFunction {self._shown}{with_data(self.leaves)}"

    @property
    def _shown(self) -> str:
        return f"{self._signature} -> {self._program.returns}"

    def __pdoc__(self, **kwargs: Any) -> Any:
        return leaves_doc(f"JAXFunction {self._shown}", self.leaves, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return JAXFunction, (self._program, self._data, self._form)

    # It is immutable, so a copy is the function itself.
    def __copy__(self) -> "JAXFunction":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "JAXFunction":
        return self


@dataclass(frozen=True, eq=False)
class _Hidden:
    """Constants that are no leaves. JAX compares them, by identity, to find what it
    compiled."""

    values: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hidden) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)

    @property
    def _ids(self) -> tuple[int, ...]:
        return tuple(map(id, self.values))


def _split(fn: JAXFunction) -> tuple[tuple[Any, ...], Hashable]:
    n = len(fn._data) if fn._form.exposed else fn._program.n_leaves
    return fn._data[:n], (fn._program, fn._form, _Hidden(fn._data[n:]))


def _flatten(fn: JAXFunction) -> tuple[list[tuple[Any, Any]], Hashable]:
    leaves, rest = _split(fn)
    specs = [spec for spec in fn._program.data if not spec.static]
    names = [jax.tree_util.GetAttrKey(spec.label) for spec in specs]
    return list(zip(names, leaves, strict=False)), rest


def _unflatten(rest: Any, leaves: Iterable[Any]) -> JAXFunction:
    program, form, hidden = rest
    return JAXFunction(program, (*leaves, *hidden.values), form)


jax.tree_util.register_pytree_with_keys(JAXFunction, _flatten, _unflatten, _split)

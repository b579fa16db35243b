"""The programs that compute chains."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.chains.outputs import checked
from jaxlink.errors import ArgumentError

__all__ = ["Chain", "name_of", "on_devices"]

_NONE = object()

# Of plain functions, the programs around them.
_AROUND: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()

_NEEDS_A_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
)


def name_of(fn: Any) -> str:
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


def _is_array(x: Any) -> bool:
    return isinstance(
        x, jax.Array | np.ndarray | np.generic | bool | int | float | complex
    )


@dataclass(frozen=True)
class Chain:
    """One chain of a function of a key: a program without its numbers.

    Attributes:
        structure: of the pair of the function and its arguments.
        others: the leaves of this pair that are no arrays, by their position.
        mapped: of each array, whether it has an axis of chains in front.
        static: whether the function may return what is no data.
        name: the function's name.
    """

    structure: Any
    others: tuple[tuple[int, Any], ...]
    mapped: tuple[bool, ...]
    static: bool
    name: str

    @staticmethod
    def of(
        fn: Callable[..., Any], args: Sequence[Any], axes: Any, static: bool
    ) -> tuple["Chain", list[Any]]:
        """The chain of a function, and its arrays."""
        whole = expose_constants((fn, tuple(args)))
        leaves, structure = jax.tree.flatten(whole)
        per_fn = [None] * len(jax.tree.leaves(whole[0]))
        axes = [*per_fn, *_axis_of_each_leaf(axes, whole[1])]
        others, arrays, mapped = [], [], []
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
            if not _is_array(leaf):
                others.append((i, leaf))
                continue
            mapped.append(axis is not None)
            arrays.append(leaf if axis is None else jax.numpy.moveaxis(leaf, axis, 0))
        chain = Chain(structure, tuple(others), tuple(mapped), static, name_of(fn))
        return chain, arrays

    def one_chain(self, key: Any, *arrays: Any) -> Any:
        leaves = list(arrays)
        for i, x in self.others:
            leaves.insert(i, x() if isinstance(x, ref) else x)
        fn, args = jax.tree.unflatten(self.structure, leaves)
        try:
            out = fn(key, *args)
        except _NEEDS_A_VALUE as error:
            raise ArgumentError(
                f"`{self.name}` needs the value of an array as a Python number, for "
                "float(), int(), bool(), `if`, or NumPy. But it is traced: its values "
                "are only known when the chains run. Return the array itself, and "
                "convert what run_chains returns; compute with jax.numpy; and choose "
                "with jax.numpy.where or jax.lax.cond."
            ) from error
        return checked(out, self.name, self.static)

    def part(self, arrays: Sequence[Any], chains: Any) -> list[Any]:
        """The arrays of some chains (indices), or of one (an integer)."""
        pairs = zip(arrays, self.mapped, strict=True)
        return [jax.numpy.asarray(x)[chains] if m else x for x, m in pairs]

    def compiled(
        self,
        arrays: Sequence[Any],
        what: Hashable,
        make: Callable[[Callable[..., Any]], Any],
    ) -> Callable[..., Any]:
        """What was made around this chain before, or else is made now.

        Arguments:
            what: tells apart what is made around a chain.
            make: makes it of ``(key, *arrays) -> output``.
        """
        asked = (what, self.structure, self.mapped, self.static)
        if not self.others:
            whole = jax.tree.unflatten(self.structure, list(arrays))
            return program_around(whole, ("chain", asked), lambda: make(self.one_chain))
        (first, fn), *rest = self.others
        if first != 0 or rest:  # also what is neither the function nor an array
            return make(self.one_chain)
        try:
            known = _AROUND.setdefault(fn, {})
        except TypeError:  # no weak reference to it
            return make(self.one_chain)
        if asked not in known:
            # The function must not keep itself alive.
            known[asked] = make(replace(self, others=((0, ref(fn)),)).one_chain)
        return known[asked]

    def alone(self, arrays: Sequence[Any]) -> Callable[..., Any]:
        """``(key, *arrays of one chain) -> its output``."""
        return self.compiled(arrays, "alone", jax.jit)

    def together(self, arrays: Sequence[Any]) -> Callable[..., Any]:
        """``(keys, *arrays of the chains) -> their outputs``, in one program."""
        return self.compiled(
            arrays, "together", lambda one: jax.jit(jax.vmap(one, self._axes))
        )

    def sharded(self, arrays: Sequence[Any], mesh: Mesh) -> Callable[..., Any]:
        """The same, a share of the chains on each device of a mesh."""
        (axis,) = mesh.axis_names
        each, whole = PartitionSpec(axis), PartitionSpec()
        specs = tuple(whole if a is None else each for a in self._axes)

        def make(one: Callable[..., Any]) -> Any:
            # Chains do not talk to each other, so there is nothing to check.
            shares = jax.shard_map(
                jax.vmap(one, self._axes),
                mesh=mesh,
                in_specs=specs,
                out_specs=each,
                check_vma=False,
            )
            return jax.jit(shares)

        return self.compiled(arrays, ("sharded", mesh), make)

    @property
    def _axes(self) -> tuple[int | None, ...]:
        return (0, *(0 if mapped else None for mapped in self.mapped))


def on_devices(devices: Sequence[Any] | None, num_chains: int) -> tuple[Mesh, int]:
    """A mesh of the devices that get chains, and how many chains each gets."""
    devices = list(jax.local_devices() if devices is None else devices)
    each = -(-num_chains // len(devices))
    used = -(-num_chains // each)
    return Mesh(np.array(devices[:used]), ("chains",)), each


def _axis_of_each_leaf(axes: Any, args: tuple[Any, ...]) -> list[int | None]:
    """`jax.vmap`'s ``in_axes``, of all arguments but the key."""
    axes = tuple(axes) if isinstance(axes, list | tuple) else (axes,) * len(args)
    # JAX takes None for an empty tree, also in the arguments.
    marked = jax.tree.map(
        lambda x: _NONE if x is None else x, axes, is_leaf=lambda x: x is None
    )
    try:
        leaves = jax.tree.leaves(jax.tree.broadcast(marked, args))
    except ValueError as error:
        raise ArgumentError(
            f"in_axes has an entry for each of the {len(args)} arguments after the "
            f"key, as jax.vmap's has, but is {axes!r}: {error}"
        ) from error
    return [None if x is _NONE else x for x in leaves]

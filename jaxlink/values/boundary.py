"""Values at the border of a function: checked against a PyTensor type, and converted.

An array comes in as a JAX array, a sparse matrix as a ``jax.experimental.sparse`` one,
a typed list as a Python list of what it holds.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import ArgumentError, StaticArgumentError
from jaxlink.values.bcoo import (
    from_outside,
    from_scipy,
    is_bcoo,
    is_bcsr,
    is_scipy,
    same_pattern,
)
from jaxlink.values.static import StaticValue, canonical, cast, to_jax
from jaxlink.values.types import describe, kind_of

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO

__all__ = [
    "as_array",
    "bind",
    "capture",
    "fix",
    "is_typed_key",
    "plain",
    "refusal",
    "within",
]

# What JAX takes as one array.
_ARRAY_LIKE = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def bind(what: str, type_: Any, value: Any) -> Any:
    """What JAX hands over while it traces, as the linked graph wants it.

    Raises:
        ArgumentError: ``value`` is none of ``type_``; ``what`` names it.
    """
    kind = kind_of(type_)
    if kind == "list":
        return [bind(*element) for element in _elements(what, type_, value)]
    if kind == "sparse":
        return _bind_sparse(what, type_, value)
    _check_array(what, type_, value)
    return jnp.asarray(cast(jnp.asarray(value), type_.dtype), canonical(type_.dtype))


def capture(what: str, type_: Any, value: Any) -> Any:
    """A value that the graph captures: on the device, in the type that it declares.

    Kinds that hold others convert: integers become floats, and floats other floats.
    """
    kind = kind_of(type_)
    if kind == "list":
        return [capture(*element) for element in _elements(what, type_, value)]
    if kind == "sparse":
        return _bind_sparse(what, type_, plain(what, type_, value))
    array = as_array(plain(what, type_, value))
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "biufc":
            raise _refused(what, describe(type_), value)
        if array.dtype.kind in "iu" and type_.dtype.startswith(("int", "uint")):
            array = within(what, type_, array)
        array = to_jax(array, what)
    _check_array(what, type_, array, weak=True)
    return jnp.array(array, canonical(type_.dtype))


def as_array(value: Any) -> jax.Array | np.ndarray:
    """``value`` as an array: a JAX array as it is, anything else as NumPy has it."""
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, list | tuple) and any(
        isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)
    ):
        return jnp.asarray(value)
    return np.asarray(value)


def plain(what: str, type_: Any, value: Any) -> Any:
    """``value`` as JAX takes it, if it is of a library that names dimensions (an
    ``xarray.DataArray`` for an xtensor) or a sparse matrix of SciPy, or holds some."""
    if kind_of(type_) == "list" and isinstance(value, list | tuple):
        return [plain(*element) for element in _elements(what, type_, value)]
    if kind_of(type_) == "sparse" and is_scipy(value):
        return from_scipy(value)
    if not (hasattr(type_, "dims") and hasattr(value, "dims")):
        return value
    if set(value.dims) != set(type_.dims):
        raise ArgumentError(
            f"{what} must be {describe(type_)} but has the dimensions {value.dims}."
        )
    return value.transpose(*type_.dims).values


def fix(what: str, type_: Any, value: Any, way_out: str = "") -> StaticValue:
    """``value`` as a part of a program's identity.

    Raises:
        StaticArgumentError: it is traced; ``way_out`` says what to do.
        ArgumentError: it is none of ``type_``.
    """
    if isinstance(value, StaticValue):
        return value
    if isinstance(value, jax.core.Tracer):
        raise StaticArgumentError(
            f"{what} fixes a shape, so its value must be known before the call, but it "
            f"is traced ({jax.typeof(value)}).{way_out}"
        )
    if not isinstance(value, (*_ARRAY_LIKE, tuple, list)):
        raise _refused(what, describe(type_), value)
    array = np.asarray(value)
    _check_array(what, type_, array, weak=not hasattr(value, "dtype"))
    return StaticValue(within(what, type_, array))


def refusal(what: str, type_: Any, value: Any) -> ArgumentError | None:
    """Why JAX cannot take ``value`` at all, if so."""
    kind = kind_of(type_)
    if kind == "list" and isinstance(value, list | tuple):
        found = (refusal(*element) for element in _elements(what, type_, value))
        return next(filter(None, found), None)
    if kind == "sparse":
        accepted = is_bcoo(value) or is_bcsr(value)
    else:
        accepted = isinstance(value, list | tuple if kind == "list" else _ARRAY_LIKE)
    if accepted:
        return None
    return _refused(what, describe(type_), value)


def within(what: str, type_: Any, value: Any) -> np.ndarray:
    """``value`` in the dtype of ``type_``, in whose range it must be."""
    if type_.dtype != "bool" and np.size(value):
        limits = np.iinfo(type_.dtype)
        low, high = int(np.min(value)), int(np.max(value))
        if low < limits.min or high > limits.max:
            raise ArgumentError(f"{what} is {value}, which does not fit {type_.dtype}.")
    return np.asarray(value, type_.dtype)


def is_typed_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _elements(what: str, type_: Any, value: Any) -> list[tuple[str, Any, Any]]:
    if not isinstance(value, list | tuple):
        raise _refused(what, describe(type_), value)
    return [(f"{what}[{i}]", type_.ttype, element) for i, element in enumerate(value)]


def _bind_sparse(what: str, type_: Any, value: Any) -> "BCOO":
    matrix = value.to_bcoo() if is_bcsr(value) else value
    if not is_bcoo(matrix):
        raise _refused(what, describe(type_), value)
    if matrix.n_batch or matrix.n_dense or matrix.ndim != 2:
        raise ArgumentError(
            f"{what} must be {describe(type_)}, one sparse matrix, but has "
            f"{matrix.n_batch} batch and {matrix.n_dense} dense dimensions in a shape "
            f"of {matrix.shape}. To map over a batch, use jax.vmap."
        )
    _check_dtype_and_shape(what, type_, matrix.data, matrix.shape)
    data = jnp.asarray(matrix.data, canonical(type_.dtype))
    return from_outside(same_pattern(matrix, data))


def _refused(what: str, expected: str, value: Any) -> ArgumentError:
    kind, hint = f"an array ({expected})", ""
    if expected == "PRNG key":
        kind = "a PRNG key, such as jax.random.key(0),"
    elif expected.startswith("list"):
        kind = f"a {expected}"
    elif expected.startswith(("csr", "csc", "bsr")):
        kind = f"a jax.experimental.sparse.BCOO or BCSR ({expected})"
    elif isinstance(value, list | tuple):
        hint = " Write jnp.asarray(...) around it."
    elif hasattr(value, "to_numpy"):  # of pandas or xarray
        hint = " Pass what its method to_numpy() returns."
    return ArgumentError(
        f"{what} must be {kind} but is a {type(value).__name__}.{hint}"
    )


def _check_array(what: str, type_: Any, value: Any, weak: bool | None = None) -> None:
    """Raise unless ``value`` is an array that ``type_`` takes: its rank, the dimensions
    that it fixes, and a dtype that it holds without loss (Python scalars: its kind)."""
    if not isinstance(value, _ARRAY_LIKE):
        raise _refused(what, describe(type_), value)
    if is_typed_key(value):
        raise ArgumentError(f"{what} must be {describe(type_)} but is a PRNG key.")
    _check_dtype_and_shape(what, type_, value, jax.typeof(value).shape, weak)


def _check_dtype_and_shape(
    what: str,
    type_: Any,
    value: Any,
    shape: tuple[int, ...],
    weak: bool | None = None,
) -> None:
    aval = jax.typeof(value)
    dtype = aval.dtype
    given = f"{dtype}[{', '.join(map(str, shape))}]"
    expected = f"{what} must be {describe(type_)} but is {given}"
    if len(shape) != type_.ndim:
        batch = len(shape) == type_.ndim + 1
        hint = " To map over its first axis, use jax.vmap." if batch else ""
        raise ArgumentError(
            f"{expected}: it has rank {len(shape)}, not {type_.ndim}.{hint}"
        )
    fixed = getattr(type_, "shape", (None,) * type_.ndim)
    for axis, (want, have) in enumerate(zip(fixed, shape, strict=True)):
        if want is not None and want != have:
            raise ArgumentError(
                f"{expected}: dimension {axis} must be {want}, not {have}."
            )
    weak = aval.weak_type if weak is None else weak
    if weak:
        fits = _KINDS.index(_kind(dtype)) <= _KINDS.index(_kind(type_.dtype))
    else:
        fits = np.can_cast(dtype, type_.dtype, "safe")
    if not fits:
        raise ArgumentError(
            f"{expected}: it cannot be converted without loss. Convert it yourself, "
            f"for example with jnp.asarray(x, {str(canonical(type_.dtype))!r})."
        )


_KINDS = ("bool", "integer", "float", "complex")


def _kind(dtype: Any) -> str:
    for kind, scalar_type in zip(
        _KINDS[1:], (jnp.integer, jnp.floating, jnp.complexfloating), strict=True
    ):
        if jnp.issubdtype(dtype, scalar_type):
            return kind
    return "bool"

"""Values at a function's boundary: checked against a PyTensor type, and converted.

Inside, an array is a JAX array, a sparse matrix is a ``jax.experimental.sparse.BCOO``,
and a typed list is a Python list of these.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim

from jaxlink.errors import ArgumentError, StaticArgumentError
from jaxlink.values.bcoo import (
    from_scipy,
    is_bcoo,
    is_bcsr,
    is_scipy,
    same_pattern,
    with_padding,
)
from jaxlink.values.static import StaticValue, canonical, cast, to_jax
from jaxlink.values.streams import is_typed_key
from jaxlink.values.symbolic_sizes import as_sizes
from jaxlink.values.types import describe, kind_of

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO

# The types that JAX takes as one array.
_ARRAY_LIKE = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def bind(what: str, type_: Any, value: Any) -> Any:
    """Check an argument that JAX passes while it traces, and convert it to ``type_``.

    Raises:
        ArgumentError: ``value`` does not fit ``type_``. The message calls it ``what``.
    """
    kind = kind_of(type_)
    if kind == "list":
        return [bind(*element) for element in _elements(what, type_, value)]
    if kind == "sparse":
        return _bind_sparse(what, type_, value)
    _check_array(what, type_, value)
    return jnp.asarray(cast(jnp.asarray(value), type_.dtype), canonical(type_.dtype))


def capture(what: str, type_: Any, value: Any) -> Any:
    """Put a captured value on the device, converted to ``type_``.

    Integers convert to floats, and floats to other floats, but not floats to integers.
    """
    kind = kind_of(type_)
    if kind == "list":
        return [capture(*element) for element in _elements(what, type_, value)]
    if kind == "sparse":
        return _bind_sparse(what, type_, plain(what, type_, value))
    array = as_array(plain(what, type_, value))
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "biufc":
            raise _wrong_type(what, type_, value)
        if array.dtype.kind in "iu" and type_.dtype.startswith(("int", "uint")):
            array = within(what, type_, array)
        array = to_jax(array, what)
    _check_array(what, type_, array, weak=True)
    dtype = canonical(type_.dtype)
    if isinstance(array, np.ndarray):  # jnp.array would compile a program that copies
        return jax.device_put(np.array(array, dtype))
    return jnp.array(array, dtype)


def as_array(value: Any) -> jax.Array | np.ndarray:
    """``value`` as an array: a JAX array unchanged, anything else in NumPy."""
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, list | tuple) and any(
        isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)
    ):
        return jnp.asarray(value)
    return np.asarray(value)


def plain(what: str, type_: Any, value: Any) -> Any:
    """Convert values that JAX does not know, also inside lists: arrays with named
    dimensions (an ``xarray.DataArray`` for an xtensor) and SciPy sparse matrices."""
    if kind_of(type_) == "list" and isinstance(value, list | tuple):
        return [plain(*element) for element in _elements(what, type_, value)]
    if kind_of(type_) == "sparse" and is_scipy(value):
        return from_scipy(value)
    if not (hasattr(type_, "dims") and hasattr(value, "dims")):
        return value
    if set(value.dims) != set(type_.dims):
        raise ArgumentError(
            f"{what} must be {describe(type_)} but has dimensions {value.dims}."
        )
    return value.transpose(*type_.dims).values


def fix(what: str, type_: Any, value: Any, way_out: str = "") -> StaticValue:
    """``value`` as part of a program's identity.

    Raises:
        StaticArgumentError: it is traced. ``way_out`` ends the message.
        ArgumentError: it does not fit ``type_``.
    """
    if isinstance(value, StaticValue):
        return value
    if is_symbolic_dim(value):
        return StaticValue(as_sizes(value))
    if isinstance(value, jax.core.Tracer):
        raise StaticArgumentError(
            f"{what} fixes a shape, so its value must be known before the call, but it "
            f"is traced ({jax.typeof(value)}).{way_out}"
        )
    if not isinstance(value, (*_ARRAY_LIKE, tuple, list)):
        raise _wrong_type(what, type_, value)
    array = np.asarray(value)
    _check_array(what, type_, array, weak=not hasattr(value, "dtype"))
    return StaticValue(within(what, type_, array))


def rejection(what: str, type_: Any, value: Any) -> ArgumentError | None:
    """The error if JAX cannot take ``value`` at all, or ``None``."""
    kind = kind_of(type_)
    if kind == "list" and isinstance(value, list | tuple):
        found = (rejection(*element) for element in _elements(what, type_, value))
        return next(filter(None, found), None)
    if kind == "sparse":
        accepted = is_bcoo(value) or is_bcsr(value)
    else:
        accepted = isinstance(value, list | tuple if kind == "list" else _ARRAY_LIKE)
    return None if accepted else _wrong_type(what, type_, value)


def within(what: str, type_: Any, value: Any) -> np.ndarray:
    """``value`` in the dtype of ``type_``; an ArgumentError if it is out of range."""
    if type_.dtype != "bool" and np.size(value):
        limits = np.iinfo(type_.dtype)
        low, high = int(np.min(value)), int(np.max(value))
        if low < limits.min or high > limits.max:
            raise ArgumentError(f"{what} is {value}, which does not fit {type_.dtype}.")
    return np.asarray(value, type_.dtype)


def _elements(what: str, type_: Any, value: Any) -> list[tuple[str, Any, Any]]:
    if not isinstance(value, list | tuple):
        raise _wrong_type(what, type_, value)
    return [(f"{what}[{i}]", type_.ttype, element) for i, element in enumerate(value)]


def _bind_sparse(what: str, type_: Any, value: Any) -> "BCOO":
    matrix = value.to_bcoo() if is_bcsr(value) else value
    if not is_bcoo(matrix):
        raise _wrong_type(what, type_, value)
    if matrix.n_batch or matrix.n_dense or matrix.ndim != 2:
        raise ArgumentError(
            f"{what} must be {describe(type_)}, one sparse matrix, but has "
            f"{matrix.n_batch} batch and {matrix.n_dense} dense dimensions and shape "
            f"{matrix.shape}. To map over a batch, use jax.vmap."
        )
    _check_dtype_and_shape(what, type_, matrix.data, matrix.shape)
    data = jnp.asarray(matrix.data, canonical(type_.dtype))
    return with_padding(same_pattern(matrix, data))


def _wrong_type(what: str, type_: Any, value: Any) -> ArgumentError:
    expected = describe(type_)
    kind, hint = f"an array ({expected})", ""
    if expected == "PRNG key":
        kind = "a PRNG key, such as jax.random.key(0),"
    elif expected.startswith("list"):
        kind = f"a {expected}"
    elif expected.startswith(("csr", "csc", "bsr")):
        kind = f"a jax.experimental.sparse.BCOO or BCSR ({expected})"
    elif isinstance(value, list | tuple):
        hint = " Wrap it in jnp.asarray(...)."
    elif hasattr(value, "to_numpy"):  # pandas or xarray
        hint = " Pass the result of its to_numpy() method."
    return ArgumentError(
        f"{what} must be {kind} but is a {type(value).__name__}.{hint}"
    )


def _check_array(what: str, type_: Any, value: Any, weak: bool | None = None) -> None:
    """Raise unless ``value`` is an array that fits ``type_``: the same rank and fixed
    dimensions, and a dtype that converts without loss. A ``weak`` value, such as a
    Python scalar, only needs a dtype of the same or a lower kind."""
    if not isinstance(value, _ARRAY_LIKE):
        raise _wrong_type(what, type_, value)
    if is_typed_key(value):
        raise ArgumentError(f"{what} must be {describe(type_)} but is a PRNG key.")
    _check_dtype_and_shape(what, type_, value, jax.typeof(value).shape, weak)


def _check_dtype_and_shape(
    what: str, type_: Any, value: Any, shape: tuple[int, ...], weak: bool | None = None
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
        fits = _kind(dtype) <= _kind(type_.dtype)
    else:
        fits = np.can_cast(dtype, type_.dtype, "safe")
    if not fits:
        raise ArgumentError(
            f"{expected}: it cannot be converted without loss. Convert it yourself, "
            f"for example with jnp.asarray(x, {str(canonical(type_.dtype))!r})."
        )


_KINDS = (bool, int, float, complex)


def _kind(dtype: Any) -> int:
    return _KINDS.index(jax.dtypes.scalar_type_of(canonical(dtype)))

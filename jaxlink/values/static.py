"""Values known before the call: NumPy in, NumPy out.

While a graph is traced, a value is *static* (NumPy, ``None``, a slice) or *dynamic* (a
JAX array, a tracer, a stream of keys). If all operands of a node are static, PyTensor's
own ``Op.perform`` evaluates it, and the result is static. So shapes, and values
computed from shapes, never become tracers.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import PrecisionError
from jaxlink.values.bcoo import from_scipy, is_scipy
from jaxlink.values.symbolic_sizes import is_symbolic, to_values

_NUMPY = np.ndarray, np.generic


def canonical(dtype: Any) -> np.dtype:
    """The dtype that JAX now uses for ``dtype``: a 32-bit one while x64 is off."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in the dtype that JAX uses for ``dtype``. NumPy stays NumPy."""
    dtype = canonical(dtype)
    if x.dtype == dtype:
        return x
    if x.dtype != bool or dtype.kind not in "fc" or isinstance(x, _NUMPY):
        return x.astype(dtype)
    # XLA turns convert(x) * y into a select, which is 0 instead of nan where x is false
    # and y is infinite or nan. It does not do that here.
    return jnp.where(x, dtype.type(1), dtype.type(0))


def is_static(value: Any) -> bool:
    """Whether ``value`` is known before the call."""
    if isinstance(value, slice):
        return all(map(is_static, (value.start, value.stop, value.step)))
    if isinstance(value, list):
        return all(map(is_static, value))
    known = isinstance(value, np.ndarray | np.generic | int | float)
    return known or value is None or is_scipy(value)


def to_jax(value: Any, name: str = "a constant") -> Any:
    """Make a static value an operand for JAX: a NumPy array in the dtype that JAX uses,
    or a BCOO for a sparse matrix. Dynamic values are returned unchanged.

    Raises:
        PrecisionError: x64 is off, and an integer does not fit 32 bits. The message
            calls the value ``name``.
    """
    if isinstance(value, list):
        return [to_jax(element, name) for element in value]
    if is_scipy(value):
        return from_scipy(value)
    if not isinstance(value, np.ndarray | np.generic | int | float):
        return value
    if is_symbolic(value):
        return to_values(np.asarray(value), canonical("int64"))
    array = np.asarray(value)
    dtype = canonical(array.dtype)
    if dtype == array.dtype:
        return array
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        limits = np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            bad = low if low < limits.min else high
            raise PrecisionError(
                f"{name} holds {bad}, which does not fit {dtype}, the dtype that JAX "
                f'uses for {array.dtype} now. Call jax.config.update("jax_enable_x64", '
                "True) before jaxlink.function, or keep the value within 32 bits."
            )
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def to_dynamic(value: Any, name: str = "a constant") -> Any:
    """A value as JAX data, which JAX can carry, return or choose between."""
    if isinstance(value, list):
        return [to_dynamic(element, name) for element in value]
    value = to_jax(value, name)
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def as_literal(value: Any) -> Any:
    """Reduce a static array that repeats one value to that scalar, where operands
    broadcast. Any other value is returned unchanged.

    A scalar is a literal in the program. An array is one more argument at every call.
    """
    if not isinstance(value, np.ndarray) or value.ndim == 0 or value.size == 0:
        return value
    if is_symbolic(value):
        return value
    first = value.reshape(-1)[0]
    repeated = value.tobytes() == first.tobytes() * value.size
    return np.asarray(first) if repeated else value


@dataclass(frozen=True, eq=False)
class StaticValue:
    """A value as a static argument of ``jax.jit``: hashed and compared by its bytes."""

    value: np.ndarray

    def _identity(self) -> tuple[Any, ...]:
        return self.value.dtype.str, self.value.shape, self.value.tobytes()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticValue):
            return NotImplemented
        return self._identity() == other._identity()

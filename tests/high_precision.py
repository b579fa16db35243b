"""The derivative of an elementwise graph in high precision, where floats do not reach.

The graph is evaluated as the user wrote it, without rewrites, by `mpmath`: no number
overflows or underflows there, a switch takes one branch and nothing of the other, and
difference quotients have as many digits as are asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytensor.scalar as ps
from mpmath import mp, mpf
from pymc.distributions.dist_math import I0e
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import toposort
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import math as psm
from pytensor.tensor.basic import Join, MakeVector
from pytensor.tensor.elemwise import CAReduce, Elemwise

# So many that 1 less a probability far out in a tail is not 1.
DIGITS = 400
STEP = mpf(10) ** -60


class Slopes(NamedTuple):
    """Difference quotients from both sides: infinite or nan where there are none."""

    left: np.ndarray
    right: np.ndarray

    def admit(self, slope: np.ndarray, rtol: float, atol: float) -> np.ndarray:
        """Whether a slope is the derivative or, at a kink or an end of the domain, lies
        between the quotients that are finite."""
        sides = np.stack([self.left, self.right])
        known = np.isfinite(sides)
        low = np.where(known, sides, np.inf).min(0)
        high = np.where(known, sides, -np.inf).max(0)
        slack = rtol * np.abs(np.where(known, sides, 0)).max(0) + atol
        return (slope >= low - slack) & (slope <= high + slack)

    @property
    def known(self) -> np.ndarray:
        return np.isfinite(self.left) | np.isfinite(self.right)


def _log1mexp(x: mpf) -> mpf:
    return _log(-mp.expm1(x))


def _log(x: mpf) -> mpf:
    return mp.log(x) if x >= 0 else mp.nan


def _erfcx(x: mpf) -> mpf:
    return mp.exp(x * x) * mp.erfc(x) if x != mp.inf else mpf(0)


def _erfinv(x: mpf) -> mpf:
    return mp.erfinv(x) if abs(x) <= 1 else mp.nan


def _erfcinv(q: mpf) -> mpf:
    if not 0 <= q <= 2:
        return mp.nan
    if q > mpf(1) / 1000:
        return mp.erfinv(1 - q)
    if q == 0:
        return mp.inf
    # By Newton steps on the logarithm, from the leading term far out.
    x = mp.sqrt(-mp.log(q))
    for _ in range(200):
        step = (mp.log(mp.erfc(x)) - mp.log(q)) * mp.erfc(x) * mp.sqrt(mp.pi)
        step *= mp.exp(x * x) / 2
        x += step
        if abs(step) < abs(x) * mpf(10) ** (5 - mp.dps):
            break
    return x


def _times(*factors: mpf) -> mpf:
    return mp.fprod(factors)


def _betainc(a: mpf, b: mpf, x: mpf) -> mpf:
    if not (0 <= x <= 1 and a > 0 and b > 0):
        return mp.nan
    return mp.betainc(a, b, 0, x, regularized=True)


def _gammaincc(k: mpf, x: mpf) -> mpf:
    if not (x >= 0 and k > 0):
        return mp.nan
    return mp.gammainc(k, x, mp.inf, regularized=True)


def _gammainc(k: mpf, x: mpf) -> mpf:
    if not (x >= 0 and k > 0):
        return mp.nan
    return mp.gammainc(k, 0, x, regularized=True)


def _gammaln(x: mpf) -> mpf:
    """log |gamma(x)|."""
    if mp.isint(x) and x <= 0:
        return mp.inf
    return mp.loggamma(x) if x > 0 else mp.log(abs(mp.gamma(x)))


def _power(x: mpf, y: mpf) -> mpf:
    if x == 0 and y < 0:
        return mp.inf
    if x < 0 and not mp.isint(y):
        return mp.nan
    return x**y


def _over(x: mpf, y: mpf) -> mpf:
    if y == 0:
        return mp.nan if x == 0 or mpmath.isnan(x) else mp.sign(x) * mp.inf
    return x / y


def _sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


# What a scalar Op means, of numbers.
SCALARS: Mapping[type, Callable[..., Any]] = {
    ps.Add: lambda *xs: sum(xs, mpf(0)),
    ps.Sub: lambda x, y: x - y,
    ps.Mul: _times,
    ps.TrueDiv: _over,
    ps.Neg: lambda x: -x,
    ps.Exp: mp.exp,
    ps.Expm1: mp.expm1,
    ps.Log: _log,
    ps.Log1p: lambda x: mp.log1p(x) if x > -1 else -mp.inf if x == -1 else mp.nan,
    ps.Log2: lambda x: _log(x) / mp.log(2),
    ps.Sqr: lambda x: x * x,
    ps.Sqrt: lambda x: mp.sqrt(x) if x >= 0 else mp.nan,
    ps.Pow: _power,
    ps.Reciprocal: lambda x: _over(mpf(1), x),
    ps.Abs: abs,
    ps.Sign: mp.sign,
    ps.Floor: mp.floor,
    ps.Ceil: mp.ceil,
    ps.Cos: mp.cos,
    ps.Sin: mp.sin,
    ps.Tan: mp.tan,
    ps.ArcTan: mp.atan,
    ps.Cosh: mp.cosh,
    ps.Sinh: mp.sinh,
    ps.Tanh: mp.tanh,
    ps.Maximum: max,
    ps.Minimum: min,
    ps.Clip: lambda x, low, high: min(max(x, low), high),
    ps.Identity: lambda x: x,
    ps.Second: lambda x, y: y,
    ps.Switch: lambda c, x, y: x if c else y,
    ps.LT: lambda x, y: x < y,
    ps.LE: lambda x, y: x <= y,
    ps.GT: lambda x, y: x > y,
    ps.GE: lambda x, y: x >= y,
    ps.EQ: lambda x, y: x == y,
    ps.NEQ: lambda x, y: x != y,
    ps.AND: lambda *xs: all(xs),
    ps.OR: lambda *xs: any(xs),
    ps.Invert: lambda x: not x,
    ps.IsNan: mpmath.isnan,
    ps.IsInf: mpmath.isinf,
    psm.Erf: mp.erf,
    psm.Erfc: mp.erfc,
    psm.Erfcx: _erfcx,
    psm.Erfinv: _erfinv,
    psm.Erfcinv: _erfcinv,
    psm.GammaLn: _gammaln,
    psm.Gamma: mp.gamma,
    psm.Psi: mp.digamma,
    psm.I0: lambda x: mp.besseli(0, x),
    psm.I1: lambda x: mp.besseli(1, x),
    psm.Ive: lambda n, x: mp.besseli(n, x) * mp.exp(-abs(x)),
    psm.BetaInc: _betainc,
    psm.GammaInc: _gammainc,
    psm.GammaIncC: _gammaincc,
    psm.Log1mexp: _log1mexp,
    I0e: lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    psm.Softplus: lambda x: mp.log1p(mp.exp(x)),
    psm.Sigmoid: _sigmoid,
}

_COMPOSITE = {ps.Add: np.sum, ps.Mul: np.prod, ps.Maximum: np.max, ps.Minimum: np.min}


class NotInHighPrecisionError(NotImplementedError):
    """An Op of the graph has no row in `SCALARS`."""


def slopes(
    inputs: Sequence[Variable],
    output: Variable,
    values: Sequence[np.ndarray],
    which: int,
) -> Slopes:
    """Of each element of a vector with respect to the same element of an input."""
    with mp.workdps(DIGITS):
        exact = [to_exact(v) for v in values]
        sizes = [abs(x) if x and mp.isfinite(x) else 1 for x in exact[which]]
        step = np.array([STEP * size for size in sizes], object)

        def at(steps: Any) -> np.ndarray:
            moved = exact[which] + steps * step
            args = [moved if i == which else x for i, x in enumerate(exact)]
            return evaluate(inputs, output, args)

        here = at(0)

        def quotient(sign: int) -> np.ndarray:
            whole, half = (
                _to_floats((at(sign * part) - here) / (sign * part * step))
                for part in (mpf(1), mpf(1) / 2)
            )
            # Where it depends on the step, there is no slope.
            return np.where(np.isclose(whole, half, 1e-9, 0), half, np.nan)

        return Slopes(quotient(-1), quotient(1))


def evaluate(
    inputs: Sequence[Variable], output: Variable, values: Sequence[np.ndarray]
) -> np.ndarray:
    """A graph at values that are arrays of `mpf`."""
    known: dict[Variable, Any] = dict(zip(inputs, values, strict=True))

    def value_of(var: Variable) -> Any:
        if var not in known and isinstance(var, Constant):
            known[var] = to_exact(var.data)
        return known[var]

    for node in toposort([output], blockers=list(inputs)):
        args = [value_of(var) for var in node.inputs]
        if isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, ps.Add):
            # 1 + erf(x) is erfc(-x), for which no number of digits is too few.
            one, erf = node.inputs[0], node.inputs[-1]
            if (x := _erf_of(erf)) is not None and np.all(value_of(one) == 1):
                known[node.outputs[0]] = _map(mp.erfc, -value_of(x))
                continue
        results = _apply(node, args)
        known.update(zip(node.outputs, results, strict=True))
    return value_of(output)


def _to_numbers(value: Any) -> Any:
    """Integers as `mpf`, too."""
    is_integer = np.asarray(value).dtype.kind in "iu"
    return _map(lambda x: mpf(int(x)), value) if is_integer else value


def to_exact(value: Any) -> Any:
    """Floats as `mpf`, all else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _map(lambda x: mpf(float(x)), value)
    return value


def _apply(node: Apply, args: list[Any]) -> list[Any]:
    op = node.op
    if isinstance(op, CheckAndRaise):
        return [args[0]]
    if isinstance(op, HasInnerGraph) and not isinstance(op, Elemwise):
        inner = op.fgraph
        return [evaluate(inner.inputs, out, args) for out in inner.outputs]
    if isinstance(op, Elemwise):
        return [_elementwise(op.scalar_op, node, args)]
    if isinstance(op, CAReduce) and type(op.scalar_op) in _COMPOSITE:
        reduce = _COMPOSITE[type(op.scalar_op)]
        if args[0].dtype == object:
            axes = op.axis if op.axis is None else tuple(op.axis)
            return [_as_objects(reduce(args[0], axis=axes))]
    if isinstance(op, Join):
        return [np.concatenate(args, op.axis)]
    if isinstance(op, MakeVector):
        return [np.array([np.asarray(x)[()] for x in args], args[0].dtype)]
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    op.perform(node, args, storage)
    return [cell[0] for cell in storage]


def _elementwise(op: ps.ScalarOp, node: Apply, args: list[Any]) -> Any:
    if isinstance(op, ps.Cast):
        return args[0]
    is_float = node.outputs[0].type.dtype.startswith("float")
    if is_float and type(op) in SCALARS:
        # The root of the integer 2 would be of 16 bits.
        return _map(SCALARS[type(op)], *map(_to_numbers, args))
    if not any(np.asarray(x).dtype == object for x in args):
        storage: list[list[Any]] = [[None]]
        node.op.perform(node, args, storage)
        return to_exact(storage[0][0])
    if type(op) not in SCALARS:
        raise NotInHighPrecisionError(f"{op} has no row in SCALARS.")
    result = _map(SCALARS[type(op)], *args)
    return result.astype(node.outputs[0].type.dtype)


def _erf_of(var: Variable) -> Variable | None:
    """``x`` of ``erf(x)``."""
    op = getattr(var.owner, "op", None)
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, psm.Erf):
        return var.owner.inputs[0]
    return None


def _map(fn: Callable[..., Any], *args: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _as_objects(np.frompyfunc(fn, len(args), 1)(*args))


def _as_objects(x: Any) -> np.ndarray:
    """NumPy makes scalars of arrays of objects without dimensions."""
    if isinstance(x, np.ndarray):
        return x
    array = np.empty((), object)
    array[()] = x
    return array


def _to_floats(x: np.ndarray) -> np.ndarray:
    return np.array([float(v) if _is_real(v) else np.nan for v in x])


def _is_real(x: Any) -> bool:
    return isinstance(x, mpf | int | float)

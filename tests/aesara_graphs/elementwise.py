"""Elementwise Ops of real, integer and complex numbers, and their gradients."""

import aesara
import aesara.scalar as aes
import aesara.tensor as at
import numpy as np
from aesara.tensor import fft, nlinalg, slinalg
from aesara.tensor.elemwise import Elemwise

from aesara_graphs import INTS, POSITIVE, UNIT, B, M, S, V, graph, named, of, register

UNARY = {
    "exp": V, "exp2": V, "expm1": V, "log": POSITIVE, "log2": POSITIVE,
    "log10": POSITIVE, "log1p": POSITIVE, "sqrt": POSITIVE, "sqr": V, "sin": V,
    "cos": V, "tan": V, "sinh": V, "cosh": V, "tanh": V, "arcsin": UNIT, "arccos": UNIT,
    "arctan": V, "arcsinh": V, "arccosh": POSITIVE + 1, "arctanh": UNIT, "ceil": V,
    "floor": V, "trunc": V, "sgn": V, "neg": V, "abs": V, "reciprocal": POSITIVE,
    "erf": V, "erfc": V, "erfcx": V, "erfinv": UNIT, "erfcinv": POSITIVE[:3],
    "gamma": POSITIVE, "gammaln": POSITIVE, "psi": POSITIVE, "tri_gamma": POSITIVE,
    "j0": V, "j1": V, "i0": V, "i1": V, "sigmoid": V, "softplus": V,
    "log1mexp": -POSITIVE, "deg2rad": V, "rad2deg": V, "isnan": V, "isinf": V,
    "round_half_to_even": V, "round_half_away_from_zero": V,
}  # fmt: skip
for name, values in UNARY.items():
    register("unary_" + name, named(name), values)
for name in ("exp", "sqrt", "sgn", "abs", "tanh", "gammaln", "sqr", "floor", "sigmoid"):
    register("float32_" + name, named(name), POSITIVE.astype("float32"))
for name in ("exp", "sqr", "sqrt", "neg", "abs", "sgn", "floor", "reciprocal", "cos"):
    register("int8_" + name, named(name), np.abs(INTS).astype("int8") + 1)
register("bitwise_invert", at.invert, INTS)
register("bool_invert", at.invert, INTS > 0)

BINARY = {
    "add": (V, V[::-1]), "sub": (V, V[::-1]), "mul": (V, V[::-1]), "lt": (V, V[::-1]),
    "true_div": (V, POSITIVE[:1]), "int_div": (V, POSITIVE[1:2]), "gt": (V, V[::-1]),
    "mod": (V, POSITIVE[1:2]), "pow": (POSITIVE, POSITIVE[::-1]), "le": (V, V[::-1]),
    "maximum": (V, V[::-1]), "minimum": (V, V[::-1]), "ge": (V, V[::-1]),
    "eq": (V, V[::-1]), "neq": (V, V[::-1]), "arctan2": (V, V[::-1]),
    "gammainc": (POSITIVE, POSITIVE[::-1]), "gammaincc": (POSITIVE, POSITIVE[::-1]),
    "gammau": (POSITIVE, POSITIVE[::-1]), "gammal": (POSITIVE, POSITIVE[::-1]),
    "jv": (POSITIVE, POSITIVE[::-1]), "iv": (POSITIVE, POSITIVE[::-1]),
    "chi2sf": (POSITIVE, POSITIVE[::-1]), "owens_t": (V, V[::-1]),
    "logaddexp": (V, V[::-1]), "second": (V, V[::-1]),
}  # fmt: skip
for name, values in BINARY.items():
    broadcastable = [v if len(v) > 1 else v[0] for v in values]
    register(
        "binary_" + name, named({"second": "fill"}.get(name, name)), *broadcastable
    )
for name in (
    "add",
    "mul",
    "true_div",
    "int_div",
    "mod",
    "pow",
    "maximum",
    "bitwise_xor",
):
    op = named(name)
    register("int8_int16_" + name, op, INTS.astype("int8"), np.array(3, "int16"))
for name in ("add", "true_div", "pow", "maximum"):
    op = named(name)
    register(
        "int8_float32_" + name, op, np.abs(INTS).astype("int8"), V[:7].astype("f4")
    )
register("bool_and", at.and_, INTS > 0, INTS < 3)
register("bool_or", at.or_, INTS > 0, INTS < 3)
register("bool_xor", at.xor, INTS > 0, INTS < 3)
register("uint8_sub", at.sub, np.array([1, 2], "uint8"), np.array([2, 1], "uint8"))
register("clip", at.clip, V, -1.0, 0.7)
register("clip_mixed", at.clip, INTS.astype("int8"), -1.5, 3)
register("switch", at.switch, V > 0, V, 2.0 * V)
register("switch_mixed", at.switch, V > 0, np.float32(1), INTS[0])
register("betainc", at.betainc, POSITIVE, POSITIVE[::-1], 0.3)
register("hyp2f1", named("hyp2f1"), 1.2, 0.7, 2.1, UNIT)
for dtype in ("int8", "int64", "float32", "bool", "uint16", "complex64"):
    register("cast_" + dtype, lambda x, d=dtype: at.cast(x, d), V)


def _complex(x, y):
    z = at.complex(x, y)
    return [
        z,
        at.real(z),
        at.imag(z),
        at.conj(z),
        at.angle(z),
        abs(z),
        z * z,
        at.exp(z),
    ]


register("complex", _complex, V, V[::-1])
register("complex_polar", lambda r, a: at.complex_from_polar(r, a), POSITIVE, POSITIVE)


@graph
def in_range():
    op = Elemwise(aes.InRange(True, False))
    return of(lambda x: op(x, np.float64(-1.0), np.float64(0.5)), V)


@graph
def xlogx():
    from aesara.tensor.xlogx import xlogx, xlogy0

    return of(lambda x, y: [xlogx(x), xlogy0(x, y)], np.abs(V), np.abs(V[::-1]))


@graph
def sigmoids():
    from aesara.tensor.nnet import hard_sigmoid, softsign, ultra_fast_sigmoid

    return of(lambda x: [ultra_fast_sigmoid(x), softsign(x), hard_sigmoid(x)], 2 * V)


@graph
def scalar_graph():
    """Ops of scalars, without `Elemwise`."""

    def fn(x):
        a, b = at.scalar_from_tensor(x[1]), at.scalar_from_tensor(x[2])
        return at.tensor_from_scalar(aes.exp(a) * aes.switch(aes.lt(a, b), a, b))

    return of(fn, V)


@graph
def composite():
    x, y = aes.float64("x"), aes.float64("y")
    op = Elemwise(aes.Composite([x, y], [aes.exp(x) * y, aes.sqr(y) - x]))
    return of(lambda a, b: op(a, b), V, V[::-1])


@graph
def composite_of_composite():
    x, y = aes.float64("x"), aes.float64("y")
    inner = aes.Composite([x, y], [x * y + aes.tanh(x)])
    op = Elemwise(aes.Composite([x, y], [inner(x, y), aes.identity(y)]))
    return of(lambda a, b: op(a, b), V, V[::-1])


@graph
def composite_identity():
    """A result that is an operand, and one that is a constant."""
    x, y = aes.float64("x"), aes.float32("y")
    op = Elemwise(aes.Composite([x, y], [aes.identity(y), aes.identity(x)]))
    return of(lambda a, b: op(a, b), M, np.float32(2))


def _gradient(fn):
    return lambda *xs: aesara.grad(fn(*xs).sum(), list(xs))


GRADIENTS = {
    "gammainc": (at.gammainc, POSITIVE, POSITIVE[::-1]),
    "gammaincc": (at.gammaincc, POSITIVE, POSITIVE[::-1]),
    "betainc": (at.betainc, POSITIVE, POSITIVE[::-1], 0.2 + 0.1 * UNIT[1:]),
    "hyp2f1": (named("hyp2f1"), POSITIVE, POSITIVE[::-1], POSITIVE + 1, 0.5 * UNIT[1:]),
    "softmax": (lambda x: at.special.softmax(x, axis=-1)[:, 0] ** 2, M),
    "log_softmax": (lambda x: at.special.log_softmax(x, axis=0)[0], M),
    "max": (lambda x: x.max(axis=1), M),
    "prod": (lambda x: x.prod(axis=1), M),
    "prod_zero": (lambda x: x.prod(axis=1), np.array([[0.0, 2.0], [0.0, 0.0]])),
    "sort": (lambda x: at.sort(x, axis=1)[:, 0] ** 2, M),
    "index": (lambda x: x[:, 1:] ** 2, M),
    "take": (lambda x: x[:, [0, 0, 2]] ** 2, M),
    "det": (nlinalg.det, S),
    "inverse": (lambda x: nlinalg.matrix_inverse(x)[0], S),
    "cholesky": (lambda x: slinalg.cholesky(x)[1], S),
    "eigh": (lambda x: nlinalg.eigh(x)[0][0] + nlinalg.eigh(x)[1][0, 0] ** 2, S),
    "eigvalsh": (lambda x: slinalg.eigvalsh(x, at.eye(3))[0], S),
    "expm": (lambda x: slinalg.expm(x)[0, 1], S / 4),
    "solve": (lambda a, b: slinalg.solve(a, b)[0], S, B),
    "solve_triangular": (lambda a, b: slinalg.solve_triangular(a, b, lower=True), S, B),
    "pinv": (lambda x: nlinalg.pinv(x)[0], B),
    "clip": (lambda x: at.clip(x, -1, 1), V),
    "where": (lambda x: at.switch(x > 0, x**2, -x), V),
    "logsumexp": (lambda x: at.logsumexp(x, axis=1), M),
    "cumsum": (lambda x: at.cumsum(x, axis=1)[:, 2] ** 2, M),
    "dot": (lambda x, y: at.dot(x, y), M, B),
    "rfft": (lambda x: fft.rfft(x)[0] ** 2, M),
}
for name, (fn, *values) in GRADIENTS.items():
    register("grad_" + name, _gradient(fn), *values)

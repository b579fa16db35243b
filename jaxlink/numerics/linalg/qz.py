"""The QZ algorithm: the generalized Schur form of a pencil (A, B).

A = Q S Z*, B = Q T Z* with Q and Z unitary, T upper triangular, and S upper triangular
too, or quasi-triangular if all is real: its 2x2 blocks hold pairs of complex
eigenvalues. JAX has no such decomposition, so this one is made of its loops, and runs
on any device and under `jax.vmap`.

Moler and Stewart, "An algorithm for generalized matrix eigenvalue problems" (1973);
here after Golub and Van Loan, "Matrix Computations", 4th ed., section 7.7: reduction to
Hessenberg-triangular form (7.7.4), deflation (7.7.5), the implicit double-shift step
(7.7.6); for complex pencils, its single-shift form. As in LAPACK's gges, T gets a
diagonal that is not negative, and is diagonal itself beside a 2x2 block of S.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.numerics.linalg.matrices import nonzero

__all__ = [
    "Pencil",
    "annihilator",
    "columns",
    "longer",
    "qz",
    "reflector",
    "rows",
    "split",
]


class Pencil(NamedTuple):
    """The decomposition while it is made: A = Q S Z*, B = Q T Z* holds throughout."""

    s: Any
    t: Any
    q: Any
    z: Any


def _cut(x: Any, i: Any, j: Any, shape: tuple[int, int]) -> Any:
    return lax.dynamic_slice(x, (i, j), shape)


def rows(p: Pencil, k: Any, g: Any) -> Pencil:
    """Turn the rows of S and T from ``k`` on to the basis of the columns of ``g``."""
    n, width = p.s.shape[0], g.shape[0]

    def turn(x: Any) -> Any:
        return lax.dynamic_update_slice(
            x, g.conj().T @ _cut(x, k, 0, (width, n)), (k, 0)
        )

    q = lax.dynamic_update_slice(p.q, _cut(p.q, 0, k, (n, width)) @ g, (0, k))
    return Pencil(turn(p.s), turn(p.t), q, p.z)


def columns(p: Pencil, k: Any, g: Any) -> Pencil:
    """Turn the columns of S and T from ``k`` on to the basis of those of ``g``."""
    n, width = p.s.shape[0], g.shape[0]

    def turn(x: Any) -> Any:
        return lax.dynamic_update_slice(x, _cut(x, 0, k, (n, width)) @ g, (0, k))

    return Pencil(turn(p.s), turn(p.t), p.q, turn(p.z))


def reflector(v: Any) -> Any:
    """A unitary matrix whose first column is along ``v``: Householder's reflection."""
    v = v / nonzero(jnp.abs(v).max()).astype(v.dtype)
    length = jnp.sqrt((v * v.conj()).sum())
    phase = jnp.where(v[0] == 0, 1, v[0] / nonzero(jnp.abs(v[0])).astype(v.dtype))
    u = v.at[0].add(phase * length)
    square = nonzero((u * u.conj()).sum())
    return jnp.eye(v.shape[0], dtype=v.dtype) - 2 * jnp.outer(u, u.conj()) / square


def annihilator(row: Any) -> Any:
    """A unitary matrix G such that ``row @ G`` is zero but for its last element."""
    return jnp.flip(reflector(jnp.flip(row.conj())))


def coupled(s: Any) -> Any:
    """Which subdiagonal elements of ``s`` are not negligible."""
    eps = float(np.finfo(s.dtype).eps)
    size = jnp.abs(jnp.diagonal(s))
    scale = jnp.maximum(size[1:] + size[:-1], eps * jnp.linalg.norm(s))
    return jnp.abs(jnp.diagonal(s, -1)) > eps * scale


def tidy(p: Pencil) -> Pencil:
    """``p`` with exact zeros for what is negligible."""
    eps = float(np.finfo(p.s.dtype).eps)
    below = jnp.where(coupled(p.s), jnp.diagonal(p.s, -1), 0)
    diagonal = jnp.diagonal(p.t)
    small = jnp.abs(diagonal) <= eps * jnp.linalg.norm(p.t)
    s = jnp.triu(p.s) + jnp.diag(below, -1)
    t = jnp.triu(p.t, 1) + jnp.diag(jnp.where(small, 0, diagonal))
    return p._replace(s=s, t=t)


def _hessenberg_triangular(a: Any, b: Any) -> Pencil:
    n = a.shape[0]
    q, t = jnp.linalg.qr(b, mode="complete")
    p = Pencil(q.conj().T @ a, t, q, jnp.eye(n, dtype=a.dtype))

    def eliminate(j: Any, up: Any, p: Pencil) -> Pencil:
        i = n - 1 - up
        p = rows(p, i - 1, reflector(_cut(p.s, i - 1, j, (2, 1))[:, 0]))
        p = columns(p, i - 1, annihilator(_cut(p.t, i, i - 1, (1, 2))[0]))
        return p._replace(t=jnp.triu(p.t))

    def column(j: Any, p: Pencil) -> Pencil:
        return lax.fori_loop(0, n - 2 - j, lambda up, p: eliminate(j, up, p), p)

    if n > 2:
        p = lax.fori_loop(0, n - 2, column, p)
    return p._replace(s=jnp.triu(p.s, -1))


def _deflate_infinite(p: Pencil, start: Any, low: Any, high: Any) -> Pencil:
    """Move a zero of T's diagonal, at ``start``, down to ``high``, and cut it off."""

    def push(j: Any, p: Pencil) -> Pencil:
        p = rows(p, j, reflector(_cut(p.t, j, j + 1, (2, 1))[:, 0]))
        p = p._replace(t=p.t.at[j + 1, j + 1].set(0))
        left = jnp.maximum(j - 1, 0)
        bulge = annihilator(_cut(p.s, j + 1, left, (1, 2))[0])
        return columns(p, left, jnp.where(j > low, bulge, jnp.eye(2, dtype=p.s.dtype)))

    p = lax.fori_loop(start, high, push, p)
    p = columns(p, high - 1, annihilator(_cut(p.s, high, high - 1, (1, 2))[0]))
    s = jnp.triu(p.s.at[high, high - 1].set(0), -1)
    return p._replace(s=s, t=jnp.triu(p.t))


def _sweep(p: Pencil, low: Any, high: Any, first: Any) -> Pencil:
    """Chase the bulge that a reflection of ``first`` makes at ``low`` out at ``high``.

    ``first`` has one element more than there are shifts.
    """
    width = first.shape[0]

    def chase(k: Any, p: Pencil, width: int = width) -> Pencil:
        behind = _cut(p.s, k, jnp.maximum(k - 1, 0), (width, 1))[:, 0]
        v = jnp.where(k == low, first, behind) if width == first.shape[0] else behind
        p = rows(p, k, reflector(v))
        for size in range(width, 1, -1):
            row = _cut(p.t, k + size - 1, k, (1, size))[0]
            p = columns(p, k, annihilator(row))
        return p._replace(t=jnp.triu(p.t))

    p = lax.fori_loop(low, high - width + 2, chase, p)
    if width == 3:
        p = chase(high - 1, p, 2)
    return p._replace(s=jnp.triu(p.s, -1), t=jnp.triu(p.t))


def _ratio(s: Any, t: Any) -> list[Any]:
    """The columns of S inv(T)."""
    out: list[Any] = []
    for j in range(t.shape[1]):
        rest = s[:, j] - sum(
            (out[i] * t[i, j] for i in range(j)), jnp.zeros_like(s[:, 0])
        )
        out.append(rest / t[j, j])
    return out


def _double_shift(p: Pencil, low: Any, high: Any, stuck: Any) -> Pencil:
    end = high - 2
    m0, m1, m2 = _ratio(_cut(p.s, end, end, (3, 3)), _cut(p.t, end, end, (3, 3)))
    odd = jnp.abs(m1[2]) + jnp.abs(m0[1])
    exceptional = stuck % 10 == 9
    trace = jnp.where(exceptional, 1.5 * odd, m1[1] + m2[2])
    det = jnp.where(exceptional, odd**2, m1[1] * m2[2] - m1[2] * m2[1])
    # The first column of (M - a)(M - b), where M = S inv(T) and a, b are the shifts.
    c0, c1 = _ratio(_cut(p.s, low, low, (3, 2)), _cut(p.t, low, low, (2, 2)))
    first = c0[0] * c0 + c0[1] * c1 - trace * c0
    return _sweep(p, low, high, first.at[0].add(det))


def _single_shift(p: Pencil, low: Any, high: Any, stuck: Any) -> Pencil:
    end = high - 1
    s, t = _cut(p.s, end, end, (2, 2)), _cut(p.t, end, end, (2, 2))
    m0, m1 = _ratio(s, t)
    # The eigenvalue of the last 2x2 block of S inv(T) that is nearer to its corner.
    half = (m0[0] - m1[1]) / 2
    product = m0[1] * m1[0]
    root = jnp.sqrt(half**2 + product)
    plus, minus = half + root, half - root
    larger = jnp.where(jnp.abs(plus) >= jnp.abs(minus), plus, minus)
    shift = m1[1] - product / nonzero(larger)
    exceptional = (m1[1] + m0[1]) * (0.75 + 0.5j)
    shift = jnp.where(stuck % 10 == 9, exceptional, shift)
    top = _cut(p.s, low, low, (2, 1))[:, 0]
    return _sweep(p, low, high, top.at[0].add(-shift * p.t[low, low]))


def _iterate(
    p: Pencil, step: Callable[..., Pencil], largest: int
) -> tuple[Pencil, Any]:
    """QZ steps until no unreduced block is larger than ``largest``."""
    n = p.s.shape[0]
    index = jnp.arange(n)

    def open_ends(p: Pencil) -> Any:
        """Row i ends a block that is too large, or is inside it."""
        links = coupled(p.s)
        runs = links if largest == 1 else links[1:] & links[:-1]
        return jnp.concatenate([jnp.zeros(largest, bool), runs])

    def unfinished(state: Any) -> Any:
        p, count, _, _ = state
        return open_ends(p).any() & (count < 40 * n)

    def body(state: Any) -> Any:
        p, count, stuck, last = state
        p = tidy(p)
        high = jnp.where(open_ends(p), index, 0).max()
        starts = jnp.concatenate([jnp.ones(1, bool), ~coupled(p.s)])
        low = jnp.where(starts & (index <= high), index, 0).max()
        zero = (jnp.diagonal(p.t) == 0) & (index >= low) & (index <= high)
        stuck = jnp.where(high == last, stuck + 1, 0)
        p = lax.cond(
            zero.any(),
            lambda p: _deflate_infinite(p, jnp.argmax(zero), low, high),
            lambda p: step(p, low, high, stuck),
            p,
        )
        return p, count + 1, stuck, high

    zero = jnp.zeros((), index.dtype)
    p, _, _, _ = lax.while_loop(unfinished, body, (p, zero, zero, zero))
    return tidy(p), ~open_ends(p).any()


def split(p: Pencil, k: Any) -> Pencil:
    """Part the real 2x2 block at ``k`` if its eigenvalues are real; if they are not,
    make T diagonal there, and positive."""
    p = rows(p, k, reflector(_cut(p.t, k, k, (2, 1))[:, 0]))
    p = p._replace(t=p.t.at[k + 1, k].set(0))
    s, t = _cut(p.s, k, k, (2, 2)), _cut(p.t, k, k, (2, 2))
    infinite = (t[0, 0] == 0) | (t[1, 1] == 0)
    m0, m1 = _ratio(s, t)
    half = (m0[0] - m1[1]) / 2
    square = half**2 + m0[1] * m1[0]
    parts = infinite | (square >= 0)
    root = jnp.sqrt(jnp.where(square >= 0, square, 0))
    value = m1[1] + half + jnp.where(half >= 0, root, -root)
    # An eigenvector is orthogonal to the rows of S - value T, or of T if infinite.
    kernel = jnp.where(infinite, t, s - value * t)
    norms = (kernel**2).sum(1)
    right = annihilator(jnp.where(norms[0] >= norms[1], kernel[0], kernel[1]))
    left = reflector(longer(s @ right[:, 0], t @ right[:, 0]))
    u, sizes, vt = jnp.linalg.svd(t)
    p = rows(p, k, jnp.where(parts, left, u))
    p = columns(p, k, jnp.where(parts, right, vt.T))
    t = jnp.where(parts, jnp.triu(_cut(p.t, k, k, (2, 2))), jnp.diag(sizes))
    below = jnp.where(parts, 0, p.s[k + 1, k])
    return p._replace(
        s=p.s.at[k + 1, k].set(below), t=lax.dynamic_update_slice(p.t, t, (k, k))
    )


def longer(x: Any, y: Any) -> Any:
    return jnp.where((jnp.abs(x) ** 2).sum() >= (jnp.abs(y) ** 2).sum(), x, y)


def qz(a: Any, b: Any) -> tuple[Pencil, Any]:
    """The generalized Schur form of two n x n matrices, n > 0, and whether it is one.

    Real matrices have a real form. Signs are left open.
    """
    p = _hessenberg_triangular(a, b)
    n = a.shape[0]
    if n == 1:
        return p, jnp.isfinite(p.s).all() & jnp.isfinite(p.t).all()
    if jnp.iscomplexobj(a):
        p, ok = _iterate(p, _single_shift, 1)
    else:
        ok = jnp.asarray(True)
        if n > 2:
            p, ok = _iterate(p, _double_shift, 2)
        p = tidy(p)

        def part(k: Any, p: Pencil) -> Pencil:
            return lax.cond(p.s[k + 1, k] != 0, lambda p: split(p, k), lambda p: p, p)

        p = lax.fori_loop(0, n - 1, part, p)
    return p, ok & jnp.isfinite(p.s).all() & jnp.isfinite(p.t).all()

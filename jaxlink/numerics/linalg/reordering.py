"""The order of the eigenvalues in a generalized Schur form.

Adjacent diagonal blocks are swapped by a unitary change of the two bases until those
that are selected come first, each kind in its old order. A pair of 1x1 blocks is
swapped by one rotation (Golub and Van Loan, "Matrix Computations", 4th ed., 7.6.2); a
2x2 block by the direct method of Kågström, "A direct method for reordering eigenvalues
in the generalized real Schur form of a regular matrix pair (A, B)" (1993), as in
LAPACK's tgsen.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.numerics.linalg.qz import (
    Pencil,
    columns,
    longer,
    reflector,
    rows,
    split,
)

__all__ = ["eigenvalues", "positive", "select_first"]


def _blocks(s: Any) -> tuple[Any, Any]:
    """Which rows begin, and which end, a 2x2 block."""
    below = jnp.diagonal(s, -1) != 0
    no = jnp.zeros(1, bool)
    return jnp.concatenate([below, no]), jnp.concatenate([no, below])


def eigenvalues(p: Pencil) -> tuple[Any, Any]:
    """alpha (complex) and beta of a Schur form whose signs are `positive`.

    For a 2x2 block, T is diagonal there. Its two beta are equal: only alpha / beta has
    a meaning, and their products are det(S) and det(T).
    """
    alpha, beta = jnp.diagonal(p.s), jnp.diagonal(p.t)
    if jnp.iscomplexobj(alpha):
        return alpha, beta
    begins, ends = _blocks(p.s)
    safe = jnp.where(begins | ends, beta, 1)
    # The block of S inv(T) of which a row is part: [[a, b], [c, d]].
    ratio = alpha / safe
    a, d = (
        jnp.where(ends, jnp.roll(ratio, 1), ratio),
        jnp.where(begins, jnp.roll(ratio, -1), ratio),
    )
    pad = jnp.zeros(1, alpha.dtype)
    b = jnp.concatenate([jnp.diagonal(p.s, 1) / safe[1:], pad])
    c = jnp.concatenate([jnp.diagonal(p.s, -1) / safe[:-1], pad])
    product = b * c
    product = jnp.where(ends, jnp.roll(product, 1), product)
    height = jnp.sqrt(jnp.maximum(-(((a - d) / 2) ** 2) - product, 0))
    paired = begins | ends
    other = jnp.where(ends, jnp.roll(beta, 1), jnp.roll(beta, -1))
    beta = jnp.where(paired, jnp.sqrt(jnp.maximum(beta * other, 0)), beta)
    real = jnp.where(paired, beta * (a + d) / 2, alpha)
    imag = jnp.where(paired, beta * jnp.where(ends, -height, height), 0)
    return lax.complex(real, imag), beta


def positive(p: Pencil) -> Pencil:
    """The same form with a diagonal of T that is real and not negative."""
    diagonal = jnp.diagonal(p.t)
    size = jnp.abs(diagonal)
    safe = jnp.where(size == 0, 1, size).astype(diagonal.dtype)
    phase = jnp.where(size == 0, 1, diagonal.conj() / safe)
    begins, ends = _blocks(p.s)
    phase = jnp.where(begins | ends, 1, phase)
    t = jnp.triu(p.t * phase, 1) + jnp.diag(size.astype(diagonal.dtype))
    return Pencil(p.s * phase, t, p.q, p.z * phase)


def _swap(p: Pencil, i: Any, n1: Any, n2: Any) -> tuple[Pencil, Any]:
    """Swap the blocks of n1 rows at ``i`` and of n2 rows below it.

    Also returned is the largest element that had to be neglected.
    """
    # One program for all sizes: the window is as large as the largest, and the bases
    # are unit vectors where it reaches beyond the blocks.
    width = 2 if jnp.iscomplexobj(p.s) else 4
    window, corner = (width, width), (i, i)
    s, t = (lax.dynamic_slice(x, corner, window) for x in (p.s, p.t))
    x, y = _eigenvectors(s[:2, :2], t[:2, :2])
    if width == 2:
        right, left = reflector(x), reflector(y)
    else:
        ones = n1 + n2 == 2
        right, left = (
            jnp.linalg.qr(
                jnp.where(ones, jnp.zeros((4, 2), s.dtype).at[:2, 0].set(one), two),
                mode="complete",
            )[0]
            for one, two in zip((x, y), _subspaces(s, t, n1, n2), strict=True)
        )
    p = columns(rows(p, i, left), i, right)
    row, column = jnp.arange(width)[:, None], jnp.arange(width)
    below = (row >= n2) & (row < n1 + n2) & (column < n2)
    s, t = (lax.dynamic_slice(x, corner, window) for x in (p.s, p.t))
    neglected = jnp.maximum(
        jnp.abs(jnp.where(below, s, 0)).max() / jnp.linalg.norm(p.s),
        jnp.abs(jnp.where(below, t, 0)).max() / jnp.linalg.norm(p.t),
    )
    p = p._replace(
        s=lax.dynamic_update_slice(p.s, jnp.where(below, 0, s), corner),
        t=lax.dynamic_update_slice(p.t, jnp.where(below, 0, t), corner),
    )
    if width == 4:

        def split_block(second: Any, p: Pencil) -> Pencil:
            k = jnp.where(second, i + n2, i)
            of_two = jnp.where(second, n1, n2) == 2
            return lax.cond(of_two, lambda p: split(p, k), lambda p: p, p)

        p = lax.fori_loop(0, 2, split_block, p)
    return p, neglected


def _eigenvectors(s: Any, t: Any) -> tuple[Any, Any]:
    """What the second eigenvalue of a 2x2 form belongs to, in the columns and in the
    rows. Nothing is divided, so nothing overflows."""
    a, b = t[1, 1] * s[0] - s[1, 1] * t[0]
    x = jnp.stack([-b, a])
    return x, longer(s @ x, t @ x)


def _subspaces(s: Any, t: Any, n1: Any, n2: Any) -> tuple[Any, Any]:
    """Bases, 4x2, of what the second block belongs to, in the columns and in the rows:
    [X; I] and [Y; I] with S [X; I] = [Y; I] S22 and T [X; I] = [Y; I] T22.

    Of X and Y, 2x2, only n1 rows and n2 columns are there; the rest is zero.
    """
    two, eye = jnp.arange(2), jnp.eye(2, dtype=s.dtype)
    there = ((two[:, None] < n1) & (two < n2)).reshape(-1)
    there = jnp.concatenate([there, there])

    def equation(m: Any) -> tuple[Any, Any]:
        m22 = lax.dynamic_slice(m, (n1, n1), (2, 2))
        known = lax.dynamic_slice(m, (jnp.zeros_like(n1), n1), (2, 2))
        left, right = jnp.kron(m[:2, :2], eye), jnp.kron(eye, m22.T)
        return jnp.concatenate([left, -right], axis=1), known.reshape(-1)

    (system_s, known_s), (system_t, known_t) = equation(s), equation(t)
    system = jnp.concatenate([system_s, system_t])
    system = jnp.where(there[:, None] & there, system, jnp.eye(8, dtype=s.dtype))
    known = jnp.where(there, jnp.concatenate([known_s, known_t]), 0)
    solution = -jnp.linalg.solve(system, known).reshape(2, 2, 2)
    unit = (jnp.arange(4)[:, None] == n1 + two) & (two < n2)
    x, y = jnp.pad(solution, ((0, 0), (0, 2), (0, 0))) + unit.astype(s.dtype)
    return x, y


def select_first(p: Pencil, selected: Any) -> tuple[Pencil, Any]:
    """Bring the ``selected`` rows' eigenvalues to the top, and whether that succeeded.

    Both rows of a 2x2 block are selected, or neither.
    """
    n = p.s.shape[0]
    if n == 1:
        return p, jnp.asarray(True)
    # Two more rows and columns than there are, so that a window of four is inside.
    pad = 0 if jnp.iscomplexobj(p.s) else 2
    p = Pencil(*(jnp.pad(x, (0, pad)) for x in p))
    selected = jnp.pad(selected, (0, pad))
    index = jnp.arange(n + pad)

    def next_swap(p: Pencil, selected: Any) -> tuple[Any, Any, Any]:
        """Which rows begin a block to be swapped with the next, and both sizes."""
        begins, ends = _blocks(p.s)
        size = jnp.where(begins, 2, 1)
        below = jnp.minimum(index + size, n - 1)
        wrong = ~selected & selected[below] & ~ends & (index + size < n)
        return wrong, size, size[below]

    def unfinished(state: Any) -> Any:
        p, selected, _, count = state
        return next_swap(p, selected)[0].any() & (count < n * n)

    def body(state: Any) -> Any:
        p, selected, worst, count = state
        wrong, size, size_below = next_swap(p, selected)
        i = jnp.argmax(wrong)
        n1, n2 = size[i], size_below[i]
        p, neglected = _swap(p, i, n1, n2)
        moved = (index >= i) & (index < i + n1 + n2)
        selected = jnp.where(moved, index < i + n2, selected)
        return p, selected, jnp.maximum(worst, neglected), count + 1

    zero = jnp.zeros((), index.dtype)
    worst = jnp.zeros((), np.finfo(p.s.dtype).dtype)
    p, _, worst, _ = lax.while_loop(unfinished, body, (p, selected, worst, zero))
    ordered = worst < 1e3 * float(np.finfo(p.s.dtype).eps)
    return Pencil(*(x[:n, :n] for x in p)), ordered

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

from jaxlink.dispatch.linalg.qz import (
    Pencil,
    annihilator,
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


def _swap_sizes(p: Pencil, i: Any, n1: int, n2: int) -> tuple[Pencil, Any]:
    """Swap the blocks of n1 rows at ``i`` and of n2 rows below it.

    Also returned is the largest element that had to be neglected.
    """
    size = n1 + n2
    s = lax.dynamic_slice(p.s, (i, i), (size, size))
    t = lax.dynamic_slice(p.t, (i, i), (size, size))
    if size == 2:
        # The eigenvector of the second eigenvalue: no division, so nothing overflows.
        right = annihilator(t[1, 1] * s[0] - s[1, 1] * t[0])
        left = reflector(longer(s @ right[:, 0], t @ right[:, 0]))
    else:
        x, y = _coupling(s, t, n1, n2)
        eye = jnp.eye(n2, dtype=s.dtype)
        right, _ = jnp.linalg.qr(jnp.concatenate([x, eye]), mode="complete")
        left, _ = jnp.linalg.qr(jnp.concatenate([y, eye]), mode="complete")
    p = columns(rows(p, i, left), i, right)
    s = lax.dynamic_slice(p.s, (i + n2, i), (n1, n2))
    t = lax.dynamic_slice(p.t, (i + n2, i), (n1, n2))
    p = p._replace(
        s=lax.dynamic_update_slice(p.s, jnp.zeros_like(s), (i + n2, i)),
        t=lax.dynamic_update_slice(p.t, jnp.zeros_like(t), (i + n2, i)),
    )
    p = split(p, i) if n2 == 2 else p
    p = split(p, i + n2) if n1 == 2 else p
    neglected = jnp.maximum(
        jnp.abs(s).max() / jnp.linalg.norm(p.s), jnp.abs(t).max() / jnp.linalg.norm(p.t)
    )
    return p, neglected


def _coupling(s: Any, t: Any, n1: int, n2: int) -> tuple[Any, Any]:
    """X, Y of S [X; I] = [Y; I] S22 and T [X; I] = [Y; I] T22: bases of the subspaces
    that belong to the second block."""
    one, two = jnp.eye(n1, dtype=s.dtype), jnp.eye(n2, dtype=s.dtype)
    system = jnp.concatenate(
        [
            jnp.concatenate(
                [jnp.kron(m[:n1, :n1], two), -jnp.kron(one, m[n1:, n1:].T)], axis=1
            )
            for m in (s, t)
        ]
    )
    known = jnp.concatenate([m[:n1, n1:].reshape(-1) for m in (s, t)])
    x, y = jnp.split(-jnp.linalg.solve(system, known), 2)
    return x.reshape(n1, n2), y.reshape(n1, n2)


def select_first(p: Pencil, selected: Any) -> tuple[Pencil, Any]:
    """Bring the ``selected`` rows' eigenvalues to the top, and whether that succeeded.

    Both rows of a 2x2 block are selected, or neither.
    """
    n = p.s.shape[0]
    index = jnp.arange(n)
    sizes = (1,) if jnp.iscomplexobj(p.s) else (1, 2)
    pairs = [(n1, n2) for n1 in sizes for n2 in sizes if n1 + n2 <= n]
    if not pairs:
        return p, jnp.asarray(True)

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
        which = jnp.stack([(n1 == a) & (n2 == b) for a, b in pairs]).argmax()
        p, neglected = lax.switch(
            which,
            [lambda p, a=a, b=b: _swap_sizes(p, i, a, b) for a, b in pairs],
            p,
        )
        moved = (index >= i) & (index < i + n1 + n2)
        selected = jnp.where(moved, index < i + n2, selected)
        return p, selected, jnp.maximum(worst, neglected), count + 1

    zero = jnp.zeros((), index.dtype)
    worst = jnp.zeros((), np.finfo(p.s.dtype).dtype)
    p, _, worst, _ = lax.while_loop(unfinished, body, (p, selected, worst, zero))
    return p, worst < 1e3 * float(np.finfo(p.s.dtype).eps)

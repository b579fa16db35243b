"""Products with a sparse matrix: PyTensor graphs, and handwritten code with BCOO."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.sparse as ps
import pytensor.tensor as pt
import scipy.sparse as sp
from jax.experimental.sparse import BCOO, bcoo_dot_general_sampled

import jaxlink
from benchmarks.harness import Workload

ROWS, COLUMNS, WIDTH = 10_000, 2_000, 8

rng = np.random.default_rng(0)
SCIPY = sp.random(ROWS, COLUMNS, density=0.01, format="csr", random_state=0)
MATRIX = BCOO.from_scipy_sparse(SCIPY).sort_indices()

x, y, v = ps.csr_matrix("x"), pt.matrix("y"), pt.vector("v")
right, left = rng.normal(size=(COLUMNS, WIDTH)), rng.normal(size=(WIDTH, ROWS))

ROWS_BY_ROWS: Any = ([1], [1]), ([], [])

# A graph of x and a dense operand, the same function by hand, and the operand's value.
PRODUCTS: dict[str, tuple[Any, Callable[[Any, Any], Any], np.ndarray]] = {
    "sparse @ matrix": (ps.dot(x, y), lambda x, y: x @ y, right),
    "sparse @ vector": (ps.dot(x, v), lambda x, v: x @ v, right[:, 0]),
    "sparse.T @ matrix": (ps.dot(x.T, y), lambda x, y: x.T @ y, left.T),
    "matrix @ sparse": (ps.dot(y, x), lambda x, y: y @ x, left),
    "vector @ sparse": (ps.dot(v, x), lambda x, v: v @ x, left[0]),
    "sampled product": (
        ps.csm_data(ps.sampling_dot(y, pt.constant(right), x)),
        lambda x, y: (
            x.data
            * bcoo_dot_general_sampled(
                y,
                jnp.asarray(right),
                x.indices,
                dimension_numbers=ROWS_BY_ROWS,
            )
        ),
        left.T,
    ),
}


def _workload(name: str, gradient: bool) -> Workload:
    graph, by_hand, operand = PRODUCTS[name]
    inputs = [x, v if operand.ndim == 1 else y]

    def on_leaves(fn: Callable[..., Any]) -> Callable[..., Any]:
        """A differentiable function of the matrix's data and the operand."""

        def call(data: Any, other: Any, indices: Any) -> Any:
            matrix = BCOO(
                (data, indices),
                shape=MATRIX.shape,
                indices_sorted=True,
                unique_indices=True,
            )
            return fn(matrix, other)

        if not gradient:
            return call
        return jax.value_and_grad(lambda *leaves: (call(*leaves) ** 2).sum(), (0, 1))

    return Workload(
        f"{name}, value{' and gradient' * gradient}",
        lambda: on_leaves(jaxlink.function(inputs, graph)),
        lambda: on_leaves(by_hand),
        (MATRIX.data, jnp.asarray(operand), MATRIX.indices),
    )


WORKLOADS = [
    partial(_workload, name, grad) for name in PRODUCTS for grad in (False, True)
]

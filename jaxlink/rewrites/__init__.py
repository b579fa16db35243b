"""Graph -> graph, before linking. `STEPS` is the pipeline: read it top to bottom."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.jax.linker import JAXLinker
from pytensor.scan.op import Scan

from jaxlink.rewrites.capture_constants import capture_constants
from jaxlink.rewrites.derivatives import settle_derivatives
from jaxlink.rewrites.derivatives.loops import loops_need_masks
from jaxlink.rewrites.gradients import keep_gradients
from jaxlink.rewrites.inner_graphs import rewrite_inner_graphs
from jaxlink.rewrites.logarithms import join_complements, join_logarithms
from jaxlink.rewrites.masks import absorb_masks
from jaxlink.rewrites.random_key import count_draws
from jaxlink.rewrites.signed_bounds import signed_bounds
from jaxlink.rewrites.trim_scans import mask_while_scans, trim_scans

__all__ = ["STEPS", "rewrite", "rewrite_inner"]

# The rewrites that PyTensor tags "shape_unsafe". The first group is excluded, because
# these lose the error for an index out of bounds or a wrong length, or need the length
# of a selection. The second group loses only errors about shapes that no longer matter,
# as in ``x * y / y``. It stays, because PyTensor's stabilizing rewrites look for the
# products that it reorders, and so keeps PyTensor's gradients finite.
WITHOUT_ERRORS = (
    "bool_idx_to_nonzero",
    "extract_diag_lift_pass",
    "local_adv_idx_to_slice",
    "local_advanced_read_of_write_constant_indices",
    "local_blockwise_alloc_inputs",
    "local_blockwise_inc_subtensor",
    "local_join_of_alloc",
    "local_read_of_write_same_indices",
    "local_reshape_chain",
    "local_reshape_to_dimshuffle",
    "local_second_to_alloc",
    "local_slice_read_of_write",
    "local_specify_shape_alloc",
    "local_subtensor_merge_integer",
    "local_subtensor_of_batch_dims",
    "local_subtensor_of_expand_dims",
    "local_useless_alloc",
    "local_useless_reshape",
)
STABILIZING = (
    "det_of_factorized_matrix",
    "det_of_matrix_factorized_elsewhere",
    "det_of_triangular",
    "local_0_dot_x",
    "local_abs_mul_unit",
    "local_add_canonizer",
    "local_elemwise_alloc",
    "local_mul_canonizer",
    "local_second_sink",
    "local_useless_fill",
    "local_useless_switch",
)

# PyTensor's rewrites that are excluded, and why.
_EXCLUDED = (
    "fusion",  # XLA fuses
    "inplace",  # JAX arrays are immutable, XLA reuses buffers
    "scan_reduce_trace_prealloc",
    "cxx_only",
    "BlasOpt",  # XLA picks the BLAS calls
    "local_careduce_fusion",
    "reuse_decomposition_multiple_solves",
    "scan_split_non_sequence_decomposition_and_solve",
    "inline_ofg",  # JAX's softmax, logsumexp and xlogy are stable
    "inline_ofg_expansion",  # see rewrites/gradients.py
    "local_view_op",  # see rewrites/gradients.py
    "local_log_erfc",  # see rewrites/logarithms.py
    "psd_solve_to_chol_solve",  # reads the lower triangle even if `lower` is false
    "random_unsafe",  # would change draws
    *WITHOUT_ERRORS,
)


# The same for modules that PyTensor does not import itself. Naming a rewrite before it
# is registered would prevent its registration.
_EXCLUDED_BY_MODULE = {
    "pytensor.sparse.rewriting": (
        "local_dense_from_sparse_sparse_from_dense",  # would change gradients at 0
    ),
    "pytensor.xtensor.rewriting": ("inline_ofg_expansion_xtensor",),  # see above
}


class _Linker(JAXLinker):
    """Tells PyTensor's rewrites of inner graphs that a functional backend will link
    them. This linker never runs."""

    required_rewrites = ("minimum_compile",)

    def __init__(self, excluded: Sequence[str]):
        super().__init__()
        self.incompatible_rewrites = tuple(excluded)


@cache
def _mode(modules: tuple[str, ...], out_of_loops: bool) -> Mode:
    """PyTensor's rewrites, given the loaded modules of `_EXCLUDED_BY_MODULE`.

    ``out_of_loops`` includes the rewrites that move computations out of loops.
    """
    optional = [name for module in modules for name in _EXCLUDED_BY_MODULE[module]]
    if not out_of_loops:
        optional.append("scan_pushout")
    query = RewriteDatabaseQuery(include=["fast_run", "lazy_ifelse"])
    return Mode(_Linker([*_EXCLUDED, *optional]), query)


def pymc_distributions(fgraph: FunctionGraph) -> None:
    """Lower PyMC's symbolic distributions whose own graph is not enough for JAX."""
    if "pymc" in sys.modules:
        # PyMC is optional: a graph has its distributions only if it is loaded.
        from jaxlink.rewrites.lower_distributions import lower_distributions

        lower_distributions(fgraph)


def pytensor_rewrites(fgraph: FunctionGraph) -> None:
    """Apply PyTensor's default rewrites, except those excluded above."""
    # Not cached, because modules imported later add rewrites.
    loaded = tuple(m for m in _EXCLUDED_BY_MODULE if m in sys.modules)
    _mode(loaded, not loops_need_masks(fgraph)).optimizer.rewrite(fgraph)


def rewrite_all_inner(fgraph: FunctionGraph) -> None:
    """Rewrite the inner graphs of the Ops in ``fgraph``."""

    def rewrite(op: Any, inner: FunctionGraph) -> None:
        rewrite_inner(inner, [inner.inputs[i] for i in _varying_inputs(op)])

    rewrite_inner_graphs(fgraph, rewrite, "rewrite_all_inner")


def _varying_inputs(op: Any) -> range:
    """The inner inputs that change between the steps of a loop."""
    core = getattr(op, "core_op", op)
    scan = getattr(core, "scan", core)
    if not isinstance(scan, Scan):
        return range(0)
    return range(scan.info.n_inner_inputs - scan.info.n_non_seqs)


def rewrite_inner(fgraph: FunctionGraph, varying: Iterable[Variable] = ()) -> None:
    """Rewrite an inner graph, which PyTensor has rewritten along with the outer graph,
    or a graph that a rule made. ``varying`` inputs cannot be static."""
    absorb_masks(fgraph, varying)
    join_logarithms.rewrite(fgraph)
    settle_derivatives(fgraph)
    rewrite_all_inner(fgraph)


# Each changes the graph in place.
STEPS: tuple[Callable[[FunctionGraph], Any], ...] = (
    pymc_distributions,
    keep_gradients.rewrite,
    signed_bounds.rewrite,
    join_complements.rewrite,  # so that PyTensor's rewrites stabilize these
    pytensor_rewrites,
    join_logarithms.rewrite,
    mask_while_scans,  # so that reads of these are selections
    absorb_masks,
    trim_scans,
    count_draws,
    capture_constants,
    settle_derivatives,
    rewrite_all_inner,
)


def rewrite(fgraph: FunctionGraph) -> None:
    """Rewrite ``fgraph`` in place for linking. Each large constant becomes an extra
    input at the end: a shared variable with its value."""
    for step in STEPS:
        step(fgraph)

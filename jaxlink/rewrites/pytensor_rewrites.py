"""PyTensor's own rewrites, without those that do not suit JAX."""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from pytensor.compile.mode import Mode, optdb
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabase, RewriteDatabaseQuery
from pytensor.link.jax.linker import JAXLinker

from jaxlink.rewrites.derivatives.loops import loops_need_masks

__all__ = ["NOT_FOR_XLA", "STABILIZING", "WITHOUT_ERRORS", "pytensor_rewrites"]

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

# Work that XLA does, or that only another backend needs.
NOT_FOR_XLA = (
    "fusion",  # XLA fuses
    "inplace",  # JAX arrays are immutable, XLA reuses buffers
    "scan_reduce_trace_prealloc",
    "cxx_only",
    "BlasOpt",  # XLA picks the BLAS calls
)

# PyTensor's rewrites that are excluded, and why.
_EXCLUDED = (
    *NOT_FOR_XLA,
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


def pytensor_rewrites(fgraph: FunctionGraph) -> Any:
    """Apply PyTensor's default rewrites, except those excluded above.

    Returns:
        PyTensor's profile of them.
    """
    loaded = tuple(m for m in _EXCLUDED_BY_MODULE if m in sys.modules)
    out_of_loops = not loops_need_masks(fgraph)
    return _rewriter(loaded, out_of_loops, _registered(optdb)).rewrite(fgraph)


@cache
def _rewriter(
    modules: tuple[str, ...], out_of_loops: bool, registered: frozenset[int]
) -> Any:
    """The rewrites that are ``registered`` now: modules imported later add some.
    Collecting them takes time that a small graph notices."""
    return _mode(modules, out_of_loops).optimizer


def _registered(database: RewriteDatabase) -> frozenset[int]:
    """The ids of the rewrites, also in nested databases."""
    rewrites = [next(iter(database.__db__[name])) for name in database._names]
    nested = (one for one in rewrites if isinstance(one, RewriteDatabase))
    return frozenset(map(id, rewrites)).union(*map(_registered, nested))

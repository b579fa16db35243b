"""Graph -> graph, before linking. `prepare` is the pipeline: read it top to bottom."""

import sys
from collections.abc import Sequence
from functools import cache

from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.jax.linker import JAXLinker
from pytensor.tensor.variable import TensorConstant

from jaxlink.rewrites.capture_constants import capture_constants
from jaxlink.rewrites.derivatives.loops import loops_need_masks
from jaxlink.rewrites.gradients import keep_gradients
from jaxlink.rewrites.logarithms import join_complements, join_logarithms
from jaxlink.rewrites.masks import absorb_masks, explain
from jaxlink.rewrites.random_key import collapse_to_key, count_draws, rng_roots
from jaxlink.rewrites.signed_bounds import signed_bounds
from jaxlink.rewrites.trim_scans import keep_what_is_read, mask_loops_that_stop

__all__ = ["prepare", "rng_roots"]

# The rewrites that PyTensor tags "shape_unsafe". The first would lose the error of an
# index out of bounds or of a wrong length, or need the length of a selection, so they
# are left out. The others lose the error of shapes that no longer matter, as in
# ``x * y / y``. They stay, since the gradients that PyTensor builds are finite because
# of them: its stabilizing rewrites look for the products that these put in order.
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

# What of PyTensor's own rewrites is left out, and why.
_EXCLUDED = (
    "fusion",  # XLA fuses
    "inplace",  # JAX arrays are immutable, XLA reuses buffers
    "scan_reduce_trace_prealloc",
    "cxx_only",
    "BlasOpt",  # XLA picks the BLAS calls
    "local_careduce_fusion",
    "reuse_decomposition_multiple_solves",
    "scan_split_non_sequence_decomposition_and_solve",
    "inline_ofg",  # softmax, logsumexp, xlogy: JAX's own are stable
    "inline_ofg_expansion",  # see rewrites/gradients.py
    "local_view_op",  # likewise
    "local_log_erfc",  # see rewrites/logarithms.py
    "psd_solve_to_chol_solve",  # reads the lower triangle, whatever `lower` says
    "random_unsafe",  # would change draws
    *WITHOUT_ERRORS,
)


# Likewise, of modules that PyTensor does not import itself. To name one before it is
# registered would keep it from being registered.
_EXCLUDED_OF = {
    "pytensor.sparse.rewriting": (
        "local_dense_from_sparse_sparse_from_dense",  # would change gradients at 0
    ),
    "pytensor.xtensor.rewriting": ("inline_ofg_expansion_xtensor",),  # as above
}


class _Linker(JAXLinker):
    """Tells PyTensor's rewrites of inner graphs that a functional backend will link
    them. It is never run."""

    required_rewrites = ("minimum_compile",)

    def __init__(self, excluded: Sequence[str]):
        super().__init__()
        self.incompatible_rewrites = tuple(excluded)


@cache
def _mode(modules: tuple[str, ...], out_of_loops: bool) -> Mode:
    """PyTensor's rewrites, while these modules of `_EXCLUDED_OF` are loaded.
    ``out_of_loops``: those too that move what a step computes out of its loop."""
    optional = [name for module in modules for name in _EXCLUDED_OF[module]]
    if not out_of_loops:
        optional.append("scan_pushout")
    query = RewriteDatabaseQuery(include=["fast_run", "lazy_ifelse"])
    return Mode(_Linker([*_EXCLUDED, *optional]), query)


def prepare(
    fgraph: FunctionGraph, roots: Sequence[Variable]
) -> list[tuple[Variable, TensorConstant]]:
    """Rewrite ``fgraph`` in place for linking.

    Arguments:
        fgraph: a clone of the user's graph, with ``roots`` among its inputs.
        roots: the random generators in the order of their numbers.

    Returns:
        the inputs that were added at the end, each with the constant it stands for.
    """
    if roots:
        collapse_to_key(fgraph, roots)
    if "pymc" in sys.modules:
        # PyMC is an extra: its distributions are met only where it is loaded.
        from jaxlink.rewrites.lower_distributions import lower_distributions

        lower_distributions(fgraph)
    keep_gradients.rewrite(fgraph)
    signed_bounds.rewrite(fgraph)
    join_complements.rewrite(fgraph)  # first, so that PyTensor makes these stable
    # Not kept: modules that are imported later add rewrites.
    loaded = tuple(module for module in _EXCLUDED_OF if module in sys.modules)
    _mode(loaded, not loops_need_masks(fgraph)).optimizer.rewrite(fgraph)
    join_logarithms.rewrite(fgraph)
    mask_loops_that_stop(fgraph)
    explain(absorb_masks(fgraph))
    keep_what_is_read(fgraph)
    count_draws(fgraph)
    return capture_constants(fgraph)

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
from jaxlink.rewrites.trim_scans import mask_loops_that_stop, trim_scans

__all__ = ["STEPS", "rewrite", "settle"]

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


def pymc_distributions(fgraph: FunctionGraph) -> None:
    """Lower PyMC's symbolic distributions whose graph is not the last word."""
    if "pymc" in sys.modules:
        # PyMC is an extra: its distributions are met only where it is loaded.
        from jaxlink.rewrites.lower_distributions import lower_distributions

        lower_distributions(fgraph)


def pytensors_rewrites(fgraph: FunctionGraph) -> None:
    """PyTensor's default rewriting, without what is excluded above."""
    # Not kept: modules that are imported later add rewrites.
    loaded = tuple(module for module in _EXCLUDED_OF if module in sys.modules)
    _mode(loaded, not loops_need_masks(fgraph)).optimizer.rewrite(fgraph)


def settle_inner_graphs(fgraph: FunctionGraph) -> None:
    """What is done to the graph itself, for the graphs inside of its Ops."""
    rewrite_inner_graphs(fgraph, _settle_inner, "settle_inner_graphs")


def _settle_inner(op: Any, inner: FunctionGraph) -> None:
    settle(inner, [inner.inputs[i] for i in _varying_inputs(op)])


def _varying_inputs(op: Any) -> range:
    """The inner inputs that change from step to step of a loop."""
    core = getattr(op, "core_op", op)
    scan = getattr(core, "scan", core)
    if not isinstance(scan, Scan):
        return range(0)
    return range(scan.info.n_inner_inputs - scan.info.n_non_seqs)


def settle(fgraph: FunctionGraph, varying: Iterable[Variable] = ()) -> None:
    """Rewrite a graph inside of an Op, which PyTensor has rewritten with the outer one,
    or that a rule made. Inputs that are ``varying`` cannot be static."""
    absorb_masks(fgraph, varying)
    join_logarithms.rewrite(fgraph)
    settle_derivatives(fgraph)
    settle_inner_graphs(fgraph)


# Each changes the graph in place.
STEPS: tuple[Callable[[FunctionGraph], Any], ...] = (
    pymc_distributions,
    keep_gradients.rewrite,
    signed_bounds.rewrite,
    join_complements.rewrite,  # so that PyTensor makes these stable
    pytensors_rewrites,
    join_logarithms.rewrite,
    mask_loops_that_stop,  # so that their reads are selections
    absorb_masks,
    trim_scans,
    count_draws,
    capture_constants,
    settle_derivatives,
    settle_inner_graphs,
)


def rewrite(fgraph: FunctionGraph) -> None:
    """Rewrite ``fgraph`` in place for linking. It gets an input more, at the end, for
    each large constant: a shared variable that holds its value."""
    for step in STEPS:
        step(fgraph)

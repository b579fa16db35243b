"""Graph -> graph, before linking. `prepare` is the pipeline: read it top to bottom."""

from collections.abc import Sequence
from functools import cache

from pytensor.compile.mode import optdb
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.tensor.variable import TensorConstant

from jaxlink.rewrites.capture import capture_constants
from jaxlink.rewrites.rng import collapse_to_key, count_draws, rng_roots

__all__ = ["prepare", "rng_roots"]

# What of PyTensor's own rewrites is left out, and why.
_EXCLUDED = (
    "fusion",  # XLA fuses
    "inplace",  # JAX arrays are immutable, XLA reuses buffers
    "cxx_only",
    "BlasOpt",  # XLA picks the BLAS calls
    "local_careduce_fusion",
    "scan_reduce_trace_prealloc",  # buffers are XLA's business
    "reuse_decomposition_multiple_solves",
    "scan_split_non_sequence_decomposition_and_solve",
    "random_unsafe",  # would change draws
    "shape_unsafe",  # would lose errors of mismatched shapes
    "local_view_op",  # would lose zero_grad, grad_clip and their kin
)


@cache
def _pytensor_rewriter() -> GraphRewriter:
    query = RewriteDatabaseQuery(include=["fast_run"], exclude=_EXCLUDED)
    return optdb.query(query)


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
    _pytensor_rewriter().rewrite(fgraph)
    count_draws(fgraph)
    return capture_constants(fgraph)

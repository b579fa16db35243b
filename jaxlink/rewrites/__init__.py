"""Graph -> graph, before linking. `prepare` is the pipeline: read it top to bottom."""

from collections.abc import Sequence
from functools import cache

from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.jax.linker import JAXLinker
from pytensor.tensor.variable import TensorConstant

from jaxlink.rewrites.capture import capture_constants
from jaxlink.rewrites.gradients import keep_gradients
from jaxlink.rewrites.rng import collapse_to_key, count_draws, rng_roots

__all__ = ["prepare", "rng_roots"]

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
    "random_unsafe",  # would change draws
    "shape_unsafe",  # would lose the error of mismatched shapes
)


class _Linker(JAXLinker):
    """Tells PyTensor's rewrites of inner graphs that a functional backend will link
    them. It is never run."""

    required_rewrites = ("minimum_compile",)
    incompatible_rewrites = _EXCLUDED


_MODE = Mode(_Linker(), RewriteDatabaseQuery(include=["fast_run", "lazy_ifelse"]))


@cache
def _pytensor_rewriter() -> GraphRewriter:
    return _MODE.optimizer


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
    keep_gradients.rewrite(fgraph)
    _pytensor_rewriter().rewrite(fgraph)
    count_draws(fgraph)
    return capture_constants(fgraph)

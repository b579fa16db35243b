"""``x[mask]`` becomes the full ``x`` if the mask is unknown before the call.

The length of a JAX array cannot depend on values. But most graphs only reduce a
selection, or write it back where they read it. That works on the full array:

    log(x[x > 0]).sum()   ->   switch(x > 0, log(x'), 0).sum()

Here x' is x with harmless values where x is not positive (`FillUnselected`), so that
derivatives are finite there too. The same works for ``x[:n]`` with an n that is drawn
or computed from floats (the mask is ``arange(len(x)) < n``), for ``x[nonzero(mask)]``,
and for arrays of length ``mask.sum()``.

The rewrite walks the graph. For each variable that depends on a selection, it keeps the
full array and the masks of its axes (`Masked`). The other modules of this package have
a rule per Op for these. A reduction over a masked axis, or a write with the same mask,
turns them back into ordinary variables. If a selection reaches anything else (an Op
without a rule, the mask of another selection, a graph output), it is *declined*: all
reads that it depends on stay unchanged, and require their masks before the call. The
linker then makes the mask's integer and bool inputs static, or raises an error. Masks
that are known at compile time or while tracing (constants, shapes) stay unchanged.
"""

from collections.abc import Iterable
from typing import Any

from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph

from jaxlink.ops.required import Required, without_reason
from jaxlink.rewrites.masks import indexing as indexing  # registers rules
from jaxlink.rewrites.masks import ops as ops
from jaxlink.rewrites.masks import places as places
from jaxlink.rewrites.masks import reductions as reductions
from jaxlink.rewrites.masks.selections import SOURCES, Walk
from jaxlink.values.types import dtype_of, name_of

__all__ = ["absorb_masks"]


def absorb_masks(fgraph: FunctionGraph, varying: Iterable[Variable] = ()) -> None:
    """Rewrite the selections in ``fgraph``. A declined read requires its mask, and
    gives the reason. ``varying`` inputs cannot be static."""
    if not any(isinstance(node.op, tuple(SOURCES)) for node in fgraph.apply_nodes):
        return
    declined: dict[Any, str] = {}
    inlined: dict[Any, Any] = {}
    while True:
        walk = Walk(fgraph, declined, inlined, varying)
        outs = walk.outputs()
        new = {read: why for read, why in walk.declined.items() if read not in declined}
        if not new:
            break
        declined |= new
    if walk.absorbed:
        changed = [
            (old, new)
            for old, new in zip(fgraph.outputs, outs, strict=True)
            if old is not new
        ]
        fgraph.replace_all(changed, import_missing=True, reason="absorb_masks")
    for node, why in declined.items():
        if node in fgraph.apply_nodes:
            _require_masks(fgraph, node, why)


def _require_masks(fgraph: FunctionGraph, node: Any, why: str) -> None:
    """Tell the linker why a read requires its mask."""
    for i, var in enumerate(node.inputs):
        mask, known = without_reason(var)
        is_index = dtype_of(mask.type).startswith(("bool", "int", "uint"))
        if isinstance(mask, Constant) or not is_index:
            continue
        if known:
            reason = f"{known} They cannot be masked, because {why}."
        else:
            reason = (
                f"The selection from {name_of(node.inputs[0])} cannot be masked "
                f"instead, because {why}. Reduce it or write it back right where you "
                "select, or keep the full length with pt.switch(mask, value, neutral) "
                "or pt.where."
            )
        fgraph.change_node_input(node, i, Required(reason)(mask), import_missing=True)

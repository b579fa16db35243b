"""``x[mask]`` whose mask is not known before the call becomes the full ``x``.

A JAX array cannot be as long as its values say. But most graphs select only to reduce
at once, or to write back to where they read, and that needs no shorter array:

    log(x[x > 0]).sum()   ->   switch(x > 0, log(x'), 0).sum()

where x' is x with harmless values where it is not positive (`FillUnselected`), so that
the derivatives there are finite too. The same goes for ``x[:n]`` where n is drawn or
computed from floats (the mask is ``arange(len(x)) < n``), for ``x[nonzero(mask)]``, and
for arrays that are ``mask.sum()`` long.

The rewrite walks the graph once, and keeps for each variable that depends on a
selection the full array with the masks of its axes (`Masked`). The rules of the modules
beside this one say what an Op does to these; a reduction over a masked axis, or a write
at the same mask, gives an ordinary variable again. If a selection meets anything else
(an Op without a rule, a mask of another selection, an output of the graph), it is
*declined*: all reads on which that value depends stay as they are, and need their masks
before the call. Linking then takes the mask's integer and boolean inputs as static, or
says what is in the way. A mask that is known when the function is compiled or traced
(constants, shapes) is left alone.
"""

from collections.abc import Iterable
from typing import Any

from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph

from jaxlink.ops.required import Required, without_reason
from jaxlink.rewrites.masks import indexing as indexing  # these register rules
from jaxlink.rewrites.masks import ops as ops
from jaxlink.rewrites.masks import places as places
from jaxlink.rewrites.masks import reductions as reductions
from jaxlink.rewrites.masks.selections import SOURCES, Walk
from jaxlink.values.types import dtype_of, name_of

__all__ = ["absorb_masks"]


def absorb_masks(fgraph: FunctionGraph, varying: Iterable[Variable] = ()) -> None:
    """Rewrite the selections of ``fgraph``. The reads that are declined require their
    masks, and say why. Inputs that are ``varying`` cannot be static."""
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
    """Tell the linker why a read needs its mask."""
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
                f"instead, because {why}. Select where it is reduced or written back, "
                "or keep the full length with pt.switch(mask, value, neutral) or "
                "pt.where."
            )
        fgraph.change_node_input(node, i, Required(reason)(mask), import_missing=True)

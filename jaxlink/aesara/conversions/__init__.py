"""What each of Aesara's Ops is in PyTensor: one table an area."""

from jaxlink.aesara.conversions import (
    control,
    indexing,
    linalg,
    networks,
    random,
    scalar,
    tensor,
)
from jaxlink.aesara.conversions.unsupported import REASONS, REASONS_BY_AREA
from jaxlink.aesara.parts import Conversion, OldOp, Rows

__all__ = ["find_conversion", "why_unsupported"]

ROWS: Rows = {
    **scalar.ROWS,
    **tensor.ROWS,
    **indexing.ROWS,
    **linalg.ROWS,
    **networks.ROWS,
    **control.ROWS,
    **random.ROWS,
}


def find_conversion(op: OldOp) -> Conversion | None:
    """The conversion of an Op by its class, ``None`` if there is none."""
    if scalar.is_scalar(op.name):
        return scalar.scalar_node
    return ROWS.get(op.name)


def why_unsupported(name: str) -> str | None:
    """Why an Op has no conversion, ``None`` if it has one."""
    if scalar.is_scalar(name) or name in ROWS:
        return None
    area = name.partition(".")[0]
    unknown = "jaxlink does not know this Op"
    return REASONS.get(name) or REASONS_BY_AREA.get(area) or unknown

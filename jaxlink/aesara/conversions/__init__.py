"""What each of Aesara's Ops is in PyTensor: one table an area."""

from collections.abc import Sequence

from jaxlink.aesara.conversions import (
    control,
    indexing,
    linalg,
    networks,
    random,
    scalar,
    sparse,
    tensor,
)
from jaxlink.aesara.conversions.unsupported import REASONS, REASONS_BY_AREA
from jaxlink.aesara.parts import Conversion, Rows

__all__ = ["find_conversion", "why_unsupported"]

ROWS: Rows = {
    **scalar.ROWS,
    **tensor.ROWS,
    **indexing.ROWS,
    **linalg.ROWS,
    **networks.ROWS,
    **control.ROWS,
    **random.ROWS,
    **sparse.ROWS,
}


# A class that derives from one of these means the same: its inner graph, or its checks.
_BASES = ("compile.OpFromGraph", "raise_op.CheckAndRaise")


def find_conversion(names: Sequence[str]) -> Conversion | None:
    """The conversion of an Op, ``None`` if there is none.

    Arguments:
        names: of its class, and of the classes that it derives from.
    """
    if scalar.is_scalar(names[0]):
        return scalar.scalar_node
    bases = [name for name in names[1:] if name in _BASES]
    return next((ROWS[name] for name in (names[0], *bases) if name in ROWS), None)


def why_unsupported(name: str) -> str:
    """Why an Op has no conversion."""
    area = name.partition(".")[0]
    unknown = "jaxlink does not know this Op"
    return REASONS.get(name) or REASONS_BY_AREA.get(area) or unknown

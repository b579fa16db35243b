"""Aesara's Ops without a conversion, and why."""

__all__ = ["REASONS", "REASONS_BY_AREA"]

_ABSTRACT = "a base class, of which there are no nodes"
_PYTHON = "it runs Python code, which no file can carry"
_NETWORKS = (
    "PyTensor dropped Aesara's layers of neural networks: write it in JAX, around the "
    "function"
)

REASONS: dict[str, str] = {
    "breakpoint.PdbBreakpoint": "it opens a debugger: remove it before the export",
}
REASONS_BY_AREA: dict[str, str] = {}

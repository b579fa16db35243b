"""Sparse Ops whose gradient is the kind that PyTensor's own lose when merged."""

from pytensor.sparse import basic as psb
from pytensor.sparse import math as psm


class StructuredSum(psm.SpSum):
    """SpSum with the structured gradient, which compares unlike that without."""


class RegularDenseFromSparse(psb.DenseFromSparse):
    """DenseFromSparse without the structured gradient, which compares unlike it."""

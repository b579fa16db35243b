"""Sparse Ops that keep the kind of gradient that PyTensor's merging loses."""

from pytensor.sparse import basic as psb
from pytensor.sparse import math as psm


class StructuredSum(psm.SpSum):
    """SpSum with the structured gradient, unequal to the one without."""


class RegularDenseFromSparse(psb.DenseFromSparse):
    """DenseFromSparse without the structured gradient, unequal to the one with it."""

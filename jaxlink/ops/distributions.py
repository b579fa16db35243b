"""Ops for PyMC's symbolic distributions whose own graph is not enough for JAX."""

from typing import Any

from pytensor.compile.ops import ViewOp
from pytensor.tensor.random.op import RandomVariable


class WithoutDerivative(ViewOp):
    """An input of a distribution; draws have no derivative with respect to it."""

    __props__ = ("name", "of")

    def __init__(self, name: str, of: str):
        self.name, self.of = name, of


class SymbolicDraw(RandomVariable):
    """A symbolic distribution as one random variable.

    ``base`` is the class with its sampler, in the table `SYMBOLIC`, or in `TRUNCATED`
    if ``truncated``.
    """

    __props__ = (*RandomVariable.__props__, "base", "truncated")
    dtype = "floatX"

    def __init__(
        self, name: str, base: Any, truncated: bool, n_parameters: int, dtype: str
    ):
        self.base, self.truncated = base, truncated
        signature = ",".join(["()"] * n_parameters) + "->()"
        super().__init__(name=name, signature=signature, dtype=dtype, inplace=False)

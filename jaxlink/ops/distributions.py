"""Symbolic distributions of PyMC, where their graph is not the last word."""

from typing import Any

from pytensor.compile.ops import ViewOp
from pytensor.tensor.random.op import RandomVariable


class WithoutDerivative(ViewOp):
    """An input of a distribution, with respect to which its draws have none."""

    __props__ = ("name", "of")

    def __init__(self, name: str, of: str):
        self.name, self.of = name, of


class SymbolicDraw(RandomVariable):
    """A symbolic distribution as one random variable.

    ``base`` is the class whose sampler it has, in the table `SYMBOLIC`, or `TRUNCATED`
    if it is ``truncated``.
    """

    __props__ = (*RandomVariable.__props__, "base", "truncated")
    dtype = "floatX"

    def __init__(
        self, name: str, base: Any, truncated: bool, n_parameters: int, dtype: str
    ):
        self.base, self.truncated = base, truncated
        signature = ",".join(["()"] * n_parameters) + "->()"
        super().__init__(name=name, signature=signature, dtype=dtype, inplace=False)

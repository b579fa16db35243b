"""jaxlink compiles a PyTensor graph, and so a PyMC model, to a plain JAX function."""

from importlib.metadata import version as _version

from jaxlink.compile import function
from jaxlink.dispatch.random.rows import sampler
from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import (
    ArgumentError,
    CompileError,
    DynamicShapeError,
    JaxlinkError,
    KeyArgumentError,
    MissingInputError,
    OutOfBoundsError,
    PrecisionError,
    PrecisionWarning,
    RuleError,
    StaticArgumentError,
    UnsupportedOpError,
)
from jaxlink.function import JAXFunction
from jaxlink.mode import MODE

__version__ = _version("jaxlink")

__all__ = [
    "MODE",
    "ArgumentError",
    "CompileError",
    "DynamicShapeError",
    "JAXFunction",
    "JaxlinkError",
    "KeyArgumentError",
    "Linked",
    "MissingInputError",
    "OutOfBoundsError",
    "PrecisionError",
    "PrecisionWarning",
    "RuleError",
    "StaticArgumentError",
    "UnsupportedOpError",
    "function",
    "rule",
    "sampler",
]

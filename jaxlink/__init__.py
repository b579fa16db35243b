"""jaxlink compiles a PyTensor graph, and so a PyMC model, to a plain JAX function.

The names in ``__all__`` here, in `jaxlink.cache` and in `jaxlink.pymc` are public. All
other modules are internal and may change in any release.
"""

import os as _os
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _ModuleType

from jaxlink.call.cache import clear_cache
from jaxlink.call.jax_function import JAXFunction
from jaxlink.call.map_draws import map_draws
from jaxlink.compile import function
from jaxlink.dispatch.random.registry import sampler
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
from jaxlink.mode.linker import MODE

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
    "clear_cache",
    "function",
    "map_draws",
    "rule",
    "sampler",
]


_MODULES = ("cache", "pymc")


def __getattr__(name: str) -> _ModuleType:
    """Load a public module on first use."""
    if name in _MODULES:
        return _import_module(f"jaxlink.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]


if _os.environ.get("JAXLINK_CACHE", "0") != "0":
    _import_module("jaxlink.cache").enable_from_environment()

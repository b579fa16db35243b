"""jaxlink compiles a PyTensor graph, and so a PyMC model, to a plain JAX function.

The names in ``__all__`` here, in `jaxlink.cache`, `jaxlink.pjax` and `jaxlink.pymc` are
public. All other modules are internal and may change in any release.
"""

import os as _os
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from jaxlink.errors import (
    AesaraError,
    ArgumentError,
    ChainError,
    CompileError,
    DynamicShapeError,
    ExportError,
    JaxlinkError,
    KeyArgumentError,
    MisplacedDrawError,
    MissingInputError,
    OutOfBoundsError,
    PrecisionError,
    PrecisionWarning,
    RuleError,
    StaticArgumentError,
    UnseededDrawError,
    UnsupportedConstructError,
    UnsupportedOpError,
)
from jaxlink.exports.load import LoadedFunction, load
from jaxlink.values.keys import as_key, key_from_str, key_to_str, zero_cotangents

if _TYPE_CHECKING:
    from jaxlink.aesara.read import from_aesara
    from jaxlink.call.cache import clear_cache
    from jaxlink.call.jax_function import JAXFunction
    from jaxlink.call.map_draws import map_draws
    from jaxlink.chains.run import run_chains
    from jaxlink.compile import function
    from jaxlink.dispatch.random.registry import sampler
    from jaxlink.dispatch.registry import Linked, rule
    from jaxlink.exports.export import export
    from jaxlink.mode.linker import MODE
    from jaxlink.sampling.seed import seed

__version__ = _version("jaxlink")

__all__ = [
    "MODE",
    "AesaraError",
    "ArgumentError",
    "ChainError",
    "CompileError",
    "DynamicShapeError",
    "ExportError",
    "JAXFunction",
    "JaxlinkError",
    "KeyArgumentError",
    "Linked",
    "LoadedFunction",
    "MisplacedDrawError",
    "MissingInputError",
    "OutOfBoundsError",
    "PrecisionError",
    "PrecisionWarning",
    "RuleError",
    "StaticArgumentError",
    "UnseededDrawError",
    "UnsupportedConstructError",
    "UnsupportedOpError",
    "as_key",
    "clear_cache",
    "export",
    "from_aesara",
    "function",
    "key_from_str",
    "key_to_str",
    "load",
    "map_draws",
    "rule",
    "run_chains",
    "sampler",
    "seed",
    "zero_cotangents",
]


_MODULES = ("cache", "pjax", "pymc")

# The names whose modules import PyTensor, which a program that was exported does
# without.
_LOADED_ON_USE = {
    "JAXFunction": "jaxlink.call.jax_function",
    "Linked": "jaxlink.dispatch.registry",
    "MODE": "jaxlink.mode.linker",
    "clear_cache": "jaxlink.call.cache",
    "export": "jaxlink.exports.export",
    "from_aesara": "jaxlink.aesara.read",
    "function": "jaxlink.compile",
    "map_draws": "jaxlink.call.map_draws",
    "rule": "jaxlink.dispatch.registry",
    "run_chains": "jaxlink.chains.run",
    "sampler": "jaxlink.dispatch.random.registry",
    "seed": "jaxlink.pjax",
}


def __getattr__(name: str) -> _Any:
    """Load a public module, or a name from its module, on first use."""
    if name in _MODULES:
        return _import_module(f"jaxlink.{name}")
    if name in _LOADED_ON_USE:
        globals()[name] = getattr(_import_module(_LOADED_ON_USE[name]), name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]


if _os.environ.get("JAXLINK_CACHE", "0") != "0":
    _import_module("jaxlink.cache").enable_from_environment()

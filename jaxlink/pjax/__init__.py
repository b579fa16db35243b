"""Programs that draw without a key, and what a program with visible draws makes
possible.

`sample_p` is a primitive of JAX that means "draw from this sampler". `jaxlink.seed`
turns a program with such draws into an ordinary JAX function, whose first argument is a
key. Each distribution of jaxlink's table is a sampler here, by PyTensor's name:
``pjax.normal(0.0, 1.0)``. The idea is GenJAX's: doi:10.1145/3776729.
"""

from functools import cache as _cache
from typing import Any as _Any

from jaxlink.pjax.genjax import from_genjax, to_genjax
from jaxlink.pjax.programs import Draw, condition, draws, log_density, record, replace
from jaxlink.pjax.samplers import Sampler, sampler
from jaxlink.pjax.table import TABLE as _TABLE
from jaxlink.pjax.table import TableSampler as _TableSampler
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.seed import seed
from jaxlink.sampling.source import set_seed

__all__ = [
    "Draw",
    "Sampler",
    "condition",
    "draws",
    "from_genjax",
    "log_density",
    "record",
    "replace",
    "sample_p",
    "sampler",
    "seed",
    "set_seed",
    "to_genjax",
    *_TABLE,
]


@_cache
def _made(name: str) -> Sampler:
    return _TableSampler(name, _TABLE[name])


def __getattr__(name: str) -> _Any:
    """Make a sampler of the table on first use: PyMC's may not be installed."""
    if name in _TABLE:
        return _made(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

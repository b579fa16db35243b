"""How much memory a mapped function needs for one more sample."""

import math
import os
from collections.abc import Sequence
from typing import Any

from jax.extend.core import Jaxpr, Literal, jaxprs_in_params

__all__ = ["budget", "bytes_per_sample", "check_memory", "cores_for", "format_bytes"]

# What a chunk may take on one device. An accelerator is fast when it is full. A CPU is
# fast when a chunk fits its cache, and where draws take different numbers of rounds:
# 4,000 draws of 1,000 Poisson numbers took over three times as long at once as in
# chunks of this size (`python -m benchmarks.predictive` prints it).
ACCELERATOR_BYTES = 256 * 2**20
CPU_BYTES = 8 * 2**20
# What the chunks that all cores of a CPU compute at the same time may take together.
ALL_CORES_BYTES = 2**30


def budget(platform: str) -> int:
    """How many bytes a chunk may take on a device of this platform."""
    return CPU_BYTES if platform == "cpu" else ACCELERATOR_BYTES


def cores_for(nbytes: int) -> int:
    """How many cores of a CPU may each compute a chunk of ``nbytes`` at a time."""
    return max(1, min(os.cpu_count() or 1, ALL_CORES_BYTES // nbytes))


def bytes_per_sample(jaxpr: Jaxpr, varies: Sequence[bool]) -> int:
    """An estimate of the bytes that one more sample takes if a function is mapped.

    It counts the inputs, the outputs twice (one chunk is computed while the previous
    one is copied to the host), and the operands and results of the largest operation.
    XLA fuses operations and reuses buffers, so the estimate is right only up to a small
    factor.

    Arguments:
        jaxpr: the function, traced for one sample.
        varies: for each of its inputs, whether it differs between samples.
    """
    ends = sum(n for n, v in zip(map(_nbytes, jaxpr.invars), varies, strict=True) if v)
    return max(1, ends + 2 * sum(map(_nbytes, jaxpr.outvars)) + _largest(jaxpr, varies))


def _largest(jaxpr: Jaxpr, varies: Sequence[bool]) -> int:
    """The bytes of what varies in the largest operation, at any level of nesting."""
    varying = {v for v, one in zip(jaxpr.invars, varies, strict=True) if one}
    sizes = [0]
    for eqn in jaxpr.eqns:
        operands = [not isinstance(v, Literal) and v in varying for v in eqn.invars]
        if not any(operands):
            continue
        varying.update(eqn.outvars)
        read = [v for v, one in zip(eqn.invars, operands, strict=True) if one]
        sizes.append(sum(map(_nbytes, [*read, *eqn.outvars])))
        for inner in jaxprs_in_params(eqn.params):
            # The first operand of a `cond` is the choice.
            last = operands[len(operands) - len(inner.invars) :]
            same = len(last) == len(inner.invars)
            sizes.append(_largest(inner, last if same else [True] * len(inner.invars)))
    return max(sizes)


def _nbytes(var: Any) -> int:
    shape = getattr(var.aval, "shape", None)
    if isinstance(var, Literal) or shape is None:
        return 0
    return int(math.prod(shape)) * int(var.aval.dtype.itemsize)


def format_bytes(count: float) -> str:
    """A number of bytes for people to read.

    Example:
        >>> format_bytes(32_000_000)
        '30.5 MiB'
    """
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def check_memory(nbytes: int, advice: str, limit: float | None = None) -> None:
    """Raise before making something that does not fit into memory.

    Arguments:
        nbytes: its size.
        advice: what to do instead.
        limit: the largest size; default: the memory of the machine.

    Raises:
        MemoryError: it is larger.
    """
    what = f"memory_limit={limit:,}" if limit is not None else "this machine's memory"
    if limit is None:
        limit = _memory_of_machine()
        what += f" of {format_bytes(limit)}"
    if nbytes > limit:
        raise MemoryError(
            f"the result takes {format_bytes(nbytes)} ({nbytes:,} bytes), more than "
            f"{what}. {advice}"
        )


def _memory_of_machine() -> float:
    """The machine's memory in bytes; infinity if the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf

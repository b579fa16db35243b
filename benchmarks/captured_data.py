"""Do three million observed numbers slow compilation down?

The function is compiled as a call compiles it, with the numbers as its arguments. (What
a jitted function closes over becomes a constant of its program, in jaxlink as in JAX by
hand. So give a jaxlink function that holds much data to a larger one as an argument: it
is a pytree.)
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt

import jaxlink
from benchmarks.harness import medians

FEW, MANY = 3_000, 3_000_000
HOLDERS = {"a shared variable": pytensor.shared, "a constant": pt.constant}


def compile_ratio(make: Callable[[Any], Any], compiles: int) -> float:
    """Median time to compile a density of ``MANY`` numbers over that of ``FEW``. The
    numbers are held by what ``make`` makes."""
    mu = pt.scalar("mu")

    def density_of(size: int) -> Callable[[], Any]:
        observed = make(np.linspace(-1.0, 1.0, size))
        logp = -0.5 * ((observed - mu) ** 2).sum()
        return lambda: jaxlink.function([mu], logp).lower(0.5).compile()

    actions = [density_of(MANY), density_of(FEW)]
    many, few = medians(actions, compiles, before=jax.clear_caches)
    return many / few

"""Do three million observations slow compilation down?

The function is compiled as in a call, with the observations as arguments. (A jitted
function turns everything it closes over into constants, in jaxlink as in plain JAX. So
if a jaxlink function holds large data, pass it to a larger function as an argument: it
is a pytree.)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

import jaxlink
from benchmarks.harness import forget, medians

FEW, MANY = 3_000, 3_000_000
HOLDERS = {"a shared variable": pytensor.shared, "a constant": pt.constant}


def compile_ratio(make: Callable[[Any], Any], compiles: int) -> float:
    """Median compile time of a density of ``MANY`` numbers over that of ``FEW``. The
    numbers are in the variable that ``make`` returns."""
    mu = pt.scalar("mu")

    def density_of(size: int) -> Callable[[], Any]:
        observed = make(np.linspace(-1.0, 1.0, size))
        logp = -0.5 * ((observed - mu) ** 2).sum()
        return lambda: jaxlink.function([mu], logp).lower(0.5).compile()

    actions = [density_of(MANY), density_of(FEW)]
    many, few = medians(actions, compiles, before=forget)
    return many / few

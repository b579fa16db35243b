"""SciPy's splines, with which PyMC interpolates densities."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from pymc.distributions.dist_math import SplineWrapper
from scipy.interpolate import PPoly

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError

# What a spline does outside its knots, with SciPy's numbers.
EXTRAPOLATED, ZERO, REFUSED, CONSTANT = range(4)


@rule(SplineWrapper)
def spline(op: Any, node: Any) -> Function:
    """Evaluate the polynomial between the two knots around each value."""
    knots, coefficients = op.spline.get_knots(), op.spline.get_coeffs()
    degree = len(coefficients) - len(knots) + 1
    # SciPy omits the repetitions of the first and the last knot.
    padded = np.pad(knots, degree, mode="edge")
    pieces = PPoly.from_spline((padded, coefficients, degree))
    inner = slice(degree, len(pieces.x) - degree)
    starts, powers = pieces.x[inner][:-1], pieces.c[:, inner][:, : len(knots) - 1]
    outside = op.spline.ext
    if outside == REFUSED:
        raise UnsupportedOpError(
            f"`{op}` raises an error outside its knots, which a JAX function cannot "
            'do. Create the spline with ext="zeros", "const" or "extrapolate".'
        )
    dtype = node.outputs[0].type.dtype

    def run(x: Any) -> Any:
        x = x.astype(dtype)
        at = jnp.clip(x, knots[0], knots[-1]) if outside == CONSTANT else x
        piece = jnp.clip(jnp.searchsorted(starts, at, "right") - 1, 0, len(starts) - 1)
        step = at - jnp.asarray(starts, dtype)[piece]
        y = jnp.zeros_like(step)
        for power in jnp.asarray(powers, dtype):
            y = y * step + power[piece]
        if outside == ZERO:
            y = jnp.where((x >= knots[0]) & (x <= knots[-1]), y, 0)
        return y

    return run

"""How the support of a cotangent spreads from an Op's output to its operands."""

# These register their rules.
from jaxlink.rewrites.derivatives.spread import (  # noqa: F401
    elementwise,
    indices,
    reductions,
    shapes,
)
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, spread

__all__ = ["Spread", "Walk", "spread"]

"""How a cotangent's support spreads from an Op's outputs to its operands."""

# Importing these modules registers their rules.
from jaxlink.rewrites.derivatives.spread import (  # noqa: F401
    elementwise,
    indices,
    reductions,
    shapes,
)
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, spread

__all__ = ["Spread", "Walk", "spread"]

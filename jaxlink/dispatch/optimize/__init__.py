"""Minima and roots."""

from jaxlink.dispatch.optimize import rules as rules

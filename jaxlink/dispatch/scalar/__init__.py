"""Scalar Ops, and the Ops that apply them to each element."""

from jaxlink.dispatch.scalar import elemwise as elemwise
from jaxlink.dispatch.scalar import rules as rules

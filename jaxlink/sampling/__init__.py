"""Sampling as a JAX primitive: programs that draw without a key, and `seed`."""

from jaxlink.sampling import batching as batching  # registers the primitive's rules
from jaxlink.sampling import checkpoint as checkpoint
from jaxlink.sampling import derivatives as derivatives

"""Functions as bytes, which run with JAX alone."""

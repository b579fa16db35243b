"""Functions of a PyMC model, each a plain JAX function of dicts by name."""

"""Values while JAX traces: static or dynamic, and checked at the boundary."""

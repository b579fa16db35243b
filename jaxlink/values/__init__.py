"""What a value is while JAX traces: static or dynamic, and how it comes in."""

"""Algorithms in pure JAX. They know nothing about PyTensor or rules."""

"""Algorithms in pure JAX, which know neither PyTensor nor rules."""

"""Samplers: a key, a shape, a dtype and parameters in, a draw out."""

"""Scalar Ops, and those that apply them to each element."""

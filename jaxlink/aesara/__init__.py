"""Aesara's graphs, as PyTensor's.

`read` is the entrance: an `archive` holds the `parts` of a graph (its Ops and inner
graphs), and `conversions` says what each of Aesara's Ops is in PyTensor, in one table
an area.
"""

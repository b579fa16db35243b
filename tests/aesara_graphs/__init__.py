"""Graphs of every family of Ops in Aesara: modules that run next to Aesara.

A graph is a function that returns its arguments by variable, and its outputs. A third
value, if there is one, is the function that computes the outputs.
"""

from functools import partial

import aesara.tensor as at
import numpy as np

GRAPHS = {}

V = np.array([-2.3, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 2.7])
UNIT = np.array([-0.99, -0.5, -0.1, 0.0, 0.3, 0.9])
POSITIVE = np.array([0.1, 0.5, 1.0, 2.0, 7.5])
INTS = np.array([-7, -2, -1, 0, 1, 3, 8])
I = np.array([1, 0, 1])  # noqa: E741
M = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])
B = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.2]])
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])


def graph(fn):
    """Register a graph under the function's name."""
    assert fn.__name__ not in GRAPHS, fn.__name__
    GRAPHS[fn.__name__] = fn
    return fn


def of(fn, *values):
    """The graph of a function of tensors that have such values."""
    values = [np.asarray(value) for value in values]
    inputs = [
        at.TensorType(str(value.dtype), shape=(None,) * value.ndim)(f"x{i}")
        for i, value in enumerate(values)
    ]
    return list(zip(inputs, values)), fn(*inputs)


def register(name, fn, *values):
    """Register the graph of ``fn`` under ``name``."""
    assert name not in GRAPHS, name
    GRAPHS[name] = partial(of, fn, *values)


def register_all(rows, prefix=""):
    """Register rows: the functions and their values, by name."""
    for name, (fn, *values) in rows.items():
        register(prefix + name, fn, *values)


def named(name):
    """A function of `aesara.tensor`, which older versions may not have."""
    return lambda *xs, **options: getattr(at, name)(*xs, **options)

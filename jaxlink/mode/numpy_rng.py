"""NumPy generators as streams of JAX keys, for functions that are called with NumPy.

A stream (see `jaxlink.values.streams`) is a key and the number of draws made. A NumPy
generator stands for the stream whose key is its next two words,
``generator.integers(2**32, size=2, dtype="uint32")``, and after *t* draws along the
stream the generator has moved on by *t* keys. So generators in different states give
different draws, and a generator that went through a function gives new ones.

In the graph the keys of all generators are one matrix, and what becomes of them is
another: one array each to hand over, however many generators a model has.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import DefaultGeneratorMakerOp
from pytensor.tensor.random.type import RandomType

__all__ = ["Taken", "is_generator", "roots", "taker"]

# Keys to go past at once: few enough for the memory, many enough for the speed.
_AT_ONCE = 1 << 20


def is_generator(var: Variable) -> bool:
    return isinstance(var.type, RandomType)


# --- in the graph --------------------------------------------------------------------


def roots(fgraph: FunctionGraph) -> list[Variable]:
    """Where streams start: generators that come in, that are constants, and those that
    ``default_rng`` makes of a constant seed."""

    def starts(var: Variable) -> bool:
        if var.owner is None:
            return True
        made = isinstance(var.owner.op, DefaultGeneratorMakerOp)
        return made and isinstance(var.owner.inputs[0], Constant)

    found = ancestors(fgraph.outputs)
    return [var for var in found if is_generator(var) and starts(var)]


# --- at the border -------------------------------------------------------------------


def taker(
    root: Variable, fgraph: FunctionGraph, cells: dict[Variable, list[Any]]
) -> Callable[[], np.random.Generator]:
    """How a call gets the generator of ``root``, to work on.

    A shared generator that the function updates is taken itself, as PyTensor does: its
    variable alone holds it. Any other one is left as it is.

    Arguments:
        cells: for each input of ``fgraph`` the list that holds its value.
    """
    if root in cells:
        cell = cells[root]
        updated = [fgraph.inputs[i] for i in fgraph.update_mapping.values()]
        if isinstance(root, SharedVariable) and root in updated:
            return lambda: cell[0]
        return lambda: _copy(cell[0])
    if isinstance(root, Constant):
        return lambda: _copy(root.data)
    node = root.owner

    def make() -> np.random.Generator:
        made: list[Any] = [None]
        node.op.perform(node, [node.inputs[0].data], [made])
        return made[0]

    return make


class Taken:
    """The generators of one call: their keys, and what has become of them after it."""

    def __init__(self, generators: Sequence[np.random.Generator]):
        self.generators = generators
        self.states = [generator.bit_generator.state for generator in generators]
        self.keys = np.empty((len(generators), 2), np.uint32)
        for row, generator in zip(self.keys, generators, strict=True):
            row[:] = _words(generator, 1)

    def at(self, positions: np.ndarray) -> list[np.random.Generator]:
        """Generators at the ``positions`` of streams, each an object of its own."""
        numbers = {tuple(key): i for i, key in enumerate(self.keys.tolist())}
        moved: list[np.random.Generator] = []
        used: set[int] = set()
        for first, second, count in positions.tolist():
            number = numbers[first, second]
            generator = self.generators[number]
            again = id(generator) in used
            if again:
                generator = _copy(generator)
            if again or count != 1:  # else it has moved on by the key that it gave
                generator.bit_generator.state = self.states[number]
                for start in range(0, count, _AT_ONCE):
                    _words(generator, min(_AT_ONCE, count - start))
            used.add(id(generator))
            moved.append(generator)
        return moved


def _words(generator: np.random.Generator, n_keys: int) -> np.ndarray:
    return generator.integers(0, 0xFFFFFFFF, 2 * n_keys, np.uint32, endpoint=True)


def _copy(generator: np.random.Generator) -> np.random.Generator:
    # As copy.deepcopy does, which takes eight times as long.
    old = generator.bit_generator
    seed: Any = copy.copy(old.seed_seq)
    new = type(old)(seed)
    new.state = old.state
    return np.random.Generator(new)

"""NumPy generators as streams of JAX keys, for functions called with NumPy values.

A stream (see `jaxlink.values.streams`) is a key and the number of draws made. A NumPy
generator's stream starts at the key of its next two words,
``generator.integers(2**32, size=2, dtype="uint32")``. After *t* draws along the stream,
the generator has advanced by *t* keys. So generators in different states give different
draws, and a generator that a function returns gives new draws.

The keys of all generators enter the graph as one matrix, and their final states leave
it as another, so the number of generators does not change the number of arrays.
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

from jaxlink.values.evaluate import evaluate

# Keys to skip at once: few enough to fit in memory, many enough to be fast.
_SKIPPED_AT_ONCE = 1 << 20


def is_generator(var: Variable) -> bool:
    return isinstance(var.type, RandomType)


def roots(fgraph: FunctionGraph) -> list[Variable]:
    """The generators where streams start: inputs, constants, and those that
    ``default_rng`` makes from a constant seed."""

    def starts(var: Variable) -> bool:
        if var.owner is None:
            return True
        made = isinstance(var.owner.op, DefaultGeneratorMakerOp)
        return made and isinstance(var.owner.inputs[0], Constant)

    found = ancestors(fgraph.outputs)
    return [var for var in found if is_generator(var) and starts(var)]


def generator_reader(
    root: Variable, fgraph: FunctionGraph, cells: dict[Variable, list[Any]]
) -> Callable[[], np.random.Generator]:
    """A function that returns the generator of ``root`` for a call to modify.

    If the function updates a shared generator, that is the generator itself, as in
    PyTensor, because only its variable holds it. Otherwise it is a copy.

    Arguments:
        cells: the list that holds the value of each input of ``fgraph``.
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
    return lambda: evaluate(node, [node.inputs[0].data])[0]


class CallGenerators:
    """The generators of one call: their keys before it, and their states after it."""

    def __init__(self, generators: Sequence[np.random.Generator]):
        self.generators = generators
        self.states = [generator.bit_generator.state for generator in generators]
        self.keys = np.empty((len(generators), 2), np.uint32)
        for row, generator in zip(self.keys, generators, strict=True):
            row[:] = _words(generator, 1)

    def at(self, states: np.ndarray) -> list[np.random.Generator]:
        """The generators advanced to ``states``, each a separate object.

        ``states`` holds the rows that the Op `StreamStates` returns.
        """
        numbers = {tuple(key): i for i, key in enumerate(self.keys.tolist())}
        moved: list[np.random.Generator] = []
        used: set[int] = set()
        for first, second, count in states.tolist():
            number = numbers[first, second]
            generator = self.generators[number]
            again = id(generator) in used
            if again:
                generator = _copy(generator)
            if again or count != 1:  # with count 1 it has already advanced
                generator.bit_generator.state = self.states[number]
                for start in range(0, count, _SKIPPED_AT_ONCE):
                    _words(generator, min(_SKIPPED_AT_ONCE, count - start))
            used.add(id(generator))
            moved.append(generator)
        return moved


def _words(generator: np.random.Generator, n_keys: int) -> np.ndarray:
    return generator.integers(0, 0xFFFFFFFF, 2 * n_keys, np.uint32, endpoint=True)


def _copy(generator: np.random.Generator) -> np.random.Generator:
    # Like copy.deepcopy, which takes eight times as long.
    old = generator.bit_generator
    seed: Any = copy.copy(old.seed_seq)
    new = type(old)(seed)
    new.state = old.state
    return np.random.Generator(new)

"""Counts of categories, shuffles and choices.

Shuffles and choices have few outcomes here, whose probabilities are computed one by
one; the references are NumPy's draws from the list of them.
"""

import itertools

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr

from distributions.harness import REFERENCE_DRAWS, Case, numpy_rng, of

_P = np.array([[0.2, 0.0, 0.7, 0.1], [0.0, 0.5, 0.5, 0.0], [0.05, 0.25, 0.3, 0.4]])
_ITEMS = np.array([[1.5, 2.0, -3.0, 7.0], [0.0, 1.0, 5.0, 2.0], [4.0, -2.0, 0.5, 1.0]])
_WEIGHTS = np.array([[0.1, 0.5, 0.0, 0.4], [0.3, 0.2, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]])


def orders_of_choice(p, taken):
    """All ordered choices of ``taken`` indices, and their probabilities: one item after
    the other, each among those that are left."""
    orders = np.array(list(itertools.permutations(range(len(p)), taken)))
    drawn = np.asarray(p, np.float64)[orders]
    left = p.sum() - np.cumsum(drawn, 1) + drawn
    return orders, np.divide(drawn, left, out=0 * drawn, where=drawn > 0).prod(1)


def _multinomial_moments(n, p):
    p = np.asarray(p, np.float64)
    return n * p, n * (np.diag(p) - np.outer(p, p))


def _of_orders(outcomes, probabilities):
    """Reference draws and moments, given all outcomes."""
    probabilities = probabilities / probabilities.sum()
    flat = outcomes.reshape(len(outcomes), -1)
    mean = probabilities @ flat
    cov = np.einsum("k,ki,kj->ij", probabilities, flat - mean, flat - mean)
    index = numpy_rng().choice(len(outcomes), REFERENCE_DRAWS, p=probabilities)
    return outcomes[index], (mean, cov)


def _shuffled(x):
    orders, probabilities = orders_of_choice(np.full(len(x), 1 / len(x)), len(x))
    return _of_orders(x[orders], probabilities)


def _chosen(a, p=None):
    p = np.full(len(a), 1 / len(a)) if p is None else p
    orders, probabilities = orders_of_choice(p, 2)
    return _of_orders(a[orders], probabilities)


def _permutation(signature):
    def build(x, size=None):
        return of(ptr.PermutationRV(signature=signature, dtype=x.dtype))(x, size=size)

    return build


def _choice(signature):
    def build(a, *p, size=None):
        op = ptr.ChoiceWithoutReplacement(signature=signature, dtype=a.dtype)
        return of(op)(a, *p, pt.constant([2]), size=size)

    return build


def _first_more(index):
    """Makes the first number of a parameter 5 % more, or that of weights relative to
    the others."""

    def wrong(values):
        values = list(values)
        x = values[index].copy()
        x[:, 0] *= 1.05
        values[index] = x / x.sum(-1, keepdims=True) if index else x
        return values

    return wrong


CASES = {
    "multinomial": Case(
        of(ptr.multinomial),
        ((5, 90, 4000), _P),
        lambda n, p: numpy_rng().multinomial(n, p / p.sum(), REFERENCE_DRAWS),
        _first_more(1),
        moments=_multinomial_moments,
    ),
    "permutation": Case(
        _permutation("(x)->(x)"),
        (_ITEMS,),
        lambda x: _shuffled(x)[0],
        _first_more(0),
        moments=lambda x: _shuffled(x)[1],
    ),
    "permutation_of_rows": Case(
        _permutation("(x,y)->(x,y)"),
        (np.stack([_ITEMS, _ITEMS[::-1] ** 2], -1),),
        lambda x: _shuffled(x)[0],
        _first_more(0),
        moments=lambda x: _shuffled(x)[1],
    ),
    "choice_without_replacement": Case(
        _choice("(a0),(1)->(s0)"),
        (_ITEMS,),
        lambda a: _chosen(a)[0],
        _first_more(0),
        moments=lambda a: _chosen(a)[1],
    ),
    "weighted_choice_without_replacement": Case(
        _choice("(a0),(a0),(1)->(s0)"),
        (_ITEMS, _WEIGHTS),
        lambda a, p: _chosen(a, p)[0],
        _first_more(1),
        moments=lambda a, p: _chosen(a, p)[1],
    ),
}

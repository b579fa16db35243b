"""What the tests want of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pymc as pm


@dataclass(frozen=True)
class Entry:
    """A model, and how it predicts.

    Arguments:
        build: makes the model anew, the same each time.
        predict: changes a model that was sampled into one that predicts (new data and
            coords, the conditional of a Gaussian process) and returns what to predict,
            as arguments of ``pm.sample_posterior_predictive``. A model without it
            predicts what it observed.
        no_prior: why its prior cannot be drawn, in PyMC either.
        no_predictive: why its posterior predictive cannot be drawn, in PyMC either.
    """

    build: Callable[[], pm.Model]
    predict: Callable[[pm.Model], Mapping[str, Sequence[str]]] | None = None
    no_prior: str | None = None
    no_predictive: str | None = None

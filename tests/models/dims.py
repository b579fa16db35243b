"""Models of `pymc.dims`, whose variables know their dimensions by name."""

import numpy as np
import pymc as pm
import pymc.dims as pmd
from pytensor.xtensor import as_xtensor

from models.entry import Entry

YIELDS = np.array(
    [
        [4.2, 3.9, 5.1, 4.4, 4.0],
        [5.6, 5.0, 6.1, 5.9, 5.2],
        [3.1, 3.3, 4.0, 3.8, 2.9],
    ]
)


def fields() -> pm.Model:
    coords = {"variety": ["a", "b", "c"], "plot": range(5)}
    with pm.Model(coords=coords) as model:
        rain = pmd.Data("rain", [0.1, -0.4, 1.2, 0.3, -1.0], dims="plot")
        level = pmd.Normal("level", 4, 2)
        variety = pmd.ZeroSumNormal("variety_effect", core_dims="variety")
        slope = pmd.Normal("slope", 0, 1, dims="variety")
        spread = pmd.HalfNormal("spread", 1)
        mu = pmd.Deterministic("mu", level + variety + slope * rain)
        # The dims of mu come in the other order.
        harvest = as_xtensor(YIELDS.T, dims=("plot", "variety"))
        pmd.Normal("harvest", mu, spread, observed=harvest)
    return model


def other_weather(model: pm.Model) -> dict[str, list[str]]:
    with model:
        pm.set_data({"rain": [2.0, -2.0]}, coords={"plot": [7, 8]})
    return {"var_names": ["mu", "harvest"]}


MODELS = {"dims": Entry(fields, other_weather)}

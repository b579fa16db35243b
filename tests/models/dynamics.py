"""Systems of difference equations, stepped by Scan."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from models.entry import Entry

# Boys in bed on each day of an influenza epidemic in a boarding school of 763.
IN_BED = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])
BOYS = 763
# Pelts of hares and lynxes, 1900-1920, in thousands.
HARES = np.array(
    [
        *(30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1),
        *(40.3, 57.0, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7),
    ]
)
LYNXES = np.array(
    [
        *(4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4),
        *(8.0, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6),
    ]
)


def epidemic() -> pm.Model:
    """Susceptible, infected, recovered; two Euler steps a day."""

    def step(susceptible, infected, beta, gamma):
        new = susceptible * -pt.expm1(-beta * infected / BOYS / 2)
        return susceptible - new, infected + new - infected * -pt.expm1(-gamma / 2)

    with pm.Model(coords={"day": range(1, 15)}) as model:
        beta = pm.LogNormal("beta", 0.5, 0.3)
        gamma = pm.LogNormal("gamma", -0.7, 0.3)
        alpha = pm.Exponential("alpha", 0.2)
        first = pt.constant([BOYS - 1.0, 1.0])
        _, infected = pytensor.scan(
            step,
            outputs_info=[first[0], first[1]],
            non_sequences=[beta, gamma],
            n_steps=28,
            return_updates=False,
        )
        expected = pm.Deterministic("infected", infected[1::2], dims="day")
        pm.NegativeBinomial("in_bed", expected, alpha, observed=IN_BED, dims="day")
    return model


def lotka_volterra() -> pm.Model:
    """Logarithms of prey and predators; four Euler steps a year."""

    def step(state, rates):
        birth, eaten, death, fed = rates[0], rates[1], rates[2], rates[3]
        prey, predators = pt.exp(state[0]), pt.exp(state[1])
        slope = pt.stack([birth - eaten * predators, fed * prey - death])
        return state + slope / 4

    pelts = np.column_stack([HARES, LYNXES])[:12]
    coords = {"species": ["hare", "lynx"], "year": range(1900, 1912)}
    with pm.Model(coords=coords) as model:
        rates = pm.LogNormal("rates", np.log([0.55, 0.03, 0.8, 0.025]), 0.1)
        start = pm.LogNormal("start", np.log([30, 4]), 0.2, dims="species")
        states = pytensor.scan(
            step,
            outputs_info=[pt.log(start)],
            non_sequences=[rates],
            n_steps=44,
            return_updates=False,
        )
        states = pt.concatenate([pt.log(start)[None], states[3::4]])
        pm.Deterministic("expected", pt.exp(states), dims=("year", "species"))
        sigma = pm.LogNormal("sigma", -1, 0.5, dims="species")
        pm.LogNormal("pelts", states, sigma, observed=pelts, dims=("year", "species"))
    return model


MODELS = {"epidemic": Entry(epidemic), "lotka_volterra": Entry(lotka_volterra)}

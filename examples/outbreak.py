"""An outbreak of influenza: how many pupils does each one infect?

In January 1978, influenza went through a boarding school with 763 boys. For two weeks
the school counted the boys in bed (British Medical Journal 1978; 1: 587). In the SIR
model, boys are susceptible, infected or recovered, and a differential equation says how
fast they move on. It is a `pymc.ode.DifferentialEquation`, which Diffrax solves in JAX.
NUTS gets its gradient from the equation of the sensitivities.

    uv run examples/outbreak.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from common import BLUE, GREY, ORANGE, band, parse, print_summary, save
from pymc.ode import DifferentialEquation

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

Variable = pt.TensorVariable

BOYS = 763
DAYS = np.arange(1, 15)
IN_BED = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])
PER_DAY = 4
TIMES = np.arange(1, 14 * PER_DAY + 1) / PER_DAY


def change(state: Variable, time: Variable, rates: Variable) -> Variable:
    """How fast the shares of susceptible and infected boys change, per day."""
    del time
    susceptible, infected = state[0], state[1]
    infections = rates[0] * susceptible * infected
    return pt.stack([-infections, infections - rates[1] * infected])


def build_model() -> pm.Model:
    equation = DifferentialEquation(change, TIMES, n_states=2, n_theta=2)
    with pm.Model(coords={"time": TIMES, "day": DAYS}) as model:
        contacts = pm.LogNormal("contacts", np.log(2), 0.5)  # per day
        days_ill = pm.LogNormal("days_ill", np.log(3), 0.5)
        first = pm.LogNormal("first", 0, 1)  # boys infected at the start
        pm.Deterministic("R0", contacts * days_ill)

        share = first / BOYS
        shares = equation(y0=[1 - share, share], theta=[contacts, 1 / days_ill])
        infected = pm.Deterministic("infected", BOYS * shares[:, 1], dims="time")
        pm.Deterministic("spared", 100 * shares[-1, 0])  # percent

        noise = pm.HalfNormal("noise", 0.5)
        pm.NegativeBinomial(
            "in_bed",
            mu=infected[PER_DAY - 1 :: PER_DAY],
            alpha=1 / noise**2,
            observed=IN_BED,
            dims="day",
        )
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, draws=500, tune=500)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
        jp.sample_posterior_predictive(
            idata, random_seed=options.seed, extend_inferencedata=True
        )
    names = ["R0", "contacts", "days_ill", "first", "noise", "spared"]
    print_summary("Influenza in a boarding school", idata, names)

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[3, 2])
    posterior = idata["posterior"]
    band(left, DAYS, idata["posterior_predictive"]["in_bed"], GREY, "predicted counts")
    band(left, TIMES, posterior["infected"], BLUE, "infected boys")
    left.plot(DAYS, IN_BED, "o", color=ORANGE, mec="white", label="boys in bed")
    left.set_title("An outbreak ends before all are infected")
    left.set_xlabel("day")
    left.set_ylabel("boys")
    left.legend()

    days_ill, contacts = (posterior[name].values.ravel() for name in names[2:0:-1])
    right.plot(days_ill, contacts, ".", ms=2, color=BLUE, alpha=0.4)
    mean = float(posterior["R0"].mean())
    right.set_title(f"At first, each boy infects {mean:.1f} others")
    right.set_xlabel("days in which a boy infects others")
    right.set_ylabel("infections per day, at the start")
    save(figure, options, "outbreak")


if __name__ == "__main__":
    main()

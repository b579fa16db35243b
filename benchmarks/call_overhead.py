"""The overhead of a model's function over the function inside it, per call:
`uv run python -m benchmarks.call_overhead`.

Both get the same arrays, so the difference is the cost of taking and returning dicts.
"""

import argparse

import jax

jax.config.update("jax_enable_x64", True)

import pymc as pm  # noqa: E402

from benchmarks.harness import call_cost  # noqa: E402
from jaxlink import pymc as jp  # noqa: E402


def overheads(rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds per call of each function, and of the function inside it."""
    with pm.Model(coords={"day": ["Mon", "Tue", "Wed"]}) as model:
        x = pm.Data("x", [1.0, 2.0, 3.0], dims="day")
        slope, noise = pm.Normal("slope"), pm.HalfNormal("noise")
        shift = pm.Normal("shift", dims="day")
        line = pm.Deterministic("line", slope * x + shift, dims="day")
        pm.Normal("y", line, noise, observed=[1.1, 1.9, 3.2], dims="day")
    key = jax.random.key(0)
    position = jp.initial_position(model)(key)
    draw = jp.constrain(model)(position)
    calls = {
        "logdensity": (jp.logdensity(model), (position,)),
        "constrain": (jp.constrain(model), (position,)),
        "posterior_predictive": (jp.posterior_predictive(model), (key, draw)),
        "prior": (jp.prior(model), (key,)),
    }
    costs = {}
    for name, (outer, args) in calls.items():
        *first, last = args
        named = isinstance(last, dict)
        flat = [*first, *(last[n] for n in outer.names)] if named else args
        fns = [lambda f=outer, a=args: f(*a), lambda f=outer.fn, a=flat: f(*a)]
        costs[name] = tuple(call_cost(fns, (), rounds))
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of 1,000 calls")
    options = parser.parse_args()
    for name, (outer, inner) in overheads(options.rounds).items():
        print(
            f"{name}: {outer - inner:+.2f} microseconds ({outer:.1f} and {inner:.1f})"
        )


if __name__ == "__main__":
    main()

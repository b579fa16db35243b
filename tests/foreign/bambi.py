"""Models that Bambi builds, of many families and terms. It is imported when one is
built: it takes seconds, and only the group ``foreign`` installs it."""

import importlib
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
from models.entry import Entry

ROWS = 30


def frame() -> pd.DataFrame:
    """Predictors, groups, and a response of each kind, of which none is extreme."""
    rng = np.random.default_rng(30)
    x, z = rng.normal(size=ROWS), rng.normal(size=ROWS)
    group = np.arange(ROWS) % 5
    mean = 0.5 + 0.8 * x - 0.4 * z + rng.normal(0, 0.5, 5)[group]
    noisy = mean + rng.normal(0, 0.6, ROWS)
    skewed = rng.gamma(3.0, np.exp(0.4 * x) / 3)
    grade = np.digitize(noisy, [-0.3, 0.5, 1.2])
    return pd.DataFrame(
        {
            "x": x,
            "z": z,
            "time": np.linspace(0, 1, ROWS),
            "group": np.array(list("abcde"))[group],
            "sex": np.array(["f", "m"])[np.arange(ROWS) // 2 % 2],
            "y": noisy,
            "outlier": np.where(np.arange(ROWS) % 11 == 5, noisy + 8, noisy),
            "skewed": skewed,
            "yes": (noisy > 0.3).astype(int),
            "count": rng.poisson(np.exp(0.7 + 0.4 * x)),
            "many_zeros": rng.poisson(np.exp(0.7 + 0.4 * x)) * rng.integers(0, 2, ROWS),
            "zeros": skewed * rng.integers(0, 2, ROWS),
            "trials": 12,
            "successes": rng.binomial(12, 1 / (1 + np.exp(-mean))),
            "share": rng.beta(2 * np.exp(0.5 * x), 2.0),
            "angle": rng.vonmises(0.5 * x, 2.0),
            "grade": pd.Categorical(grade, ordered=True),
            "kind": np.array(["red", "green", "blue"])[rng.integers(0, 3, ROWS)],
            "lifetime": np.minimum(skewed, 1.2),
            "status": np.where(skewed < 1.2, "none", "right"),
            "cut": np.where(noisy < 1.0, noisy, 0.1),
            "capped": np.minimum(noisy, 1.0),
            "at_cap": np.where(noisy < 1.0, "none", "right"),
            **dict(
                zip("ABC", rng.multinomial(9, [0.2, 0.3, 0.5], ROWS).T, strict=True)
            ),
        }
    )


def model_of(*formulas: str, family: str = "gaussian", **arguments: Any) -> Entry:
    """What Bambi makes of these formulas: of the mean, and of other parameters."""

    def build() -> pm.Model:
        with warnings.catch_warnings():
            # Its own calls of what is deprecated are not ours.
            warnings.simplefilter("ignore", DeprecationWarning)
            bmb = importlib.import_module("bambi")
            formula = bmb.Formula(*formulas)
            model = bmb.Model(formula, frame(), family=family, **arguments)
            model.build()
        return model.backend.model

    return Entry(build)


MODELS = {
    "bambi_linear": model_of("y ~ x * sex + scale(z)"),
    "bambi_distributional": model_of("y ~ x", "sigma ~ z"),
    "bambi_hierarchical": model_of("y ~ x + (x | group)"),
    "bambi_spline": model_of("y ~ bs(time, df=6)"),
    "bambi_hsgp": model_of("y ~ 0 + hsgp(time, m=6, c=1.5)"),
    "bambi_hsgp_by": model_of("y ~ hsgp(x, z, m=3, c=2, iso=False)"),
    "bambi_student": model_of("outlier ~ x", family="t"),
    "bambi_quantile": model_of("y ~ x", family="asymmetriclaplace"),
    "bambi_laplace": model_of("y ~ x", family="laplace"),
    "bambi_exgaussian": model_of("y ~ x", family="exgaussian"),
    "bambi_gamma": model_of("skewed ~ x", family="gamma", link="log"),
    "bambi_wald": model_of("skewed ~ x", family="wald", link="log"),
    "bambi_censored": model_of(
        "censored(lifetime, status) ~ x", family="weibull", link="log"
    ),
    "bambi_censored_normal": model_of("censored(capped, at_cap) ~ x"),
    "bambi_censored_exponential": model_of(
        "censored(lifetime, status) ~ x", family="exponential", link="log"
    ),
    "bambi_truncated": model_of("truncated(cut, lb=-3, ub=1) ~ x"),
    "bambi_weighted": model_of("weighted(y, skewed) ~ x"),
    "bambi_logistic": model_of("yes ~ x + (1 | group)", family="bernoulli"),
    "bambi_probit": model_of("yes ~ x", family="bernoulli", link="probit"),
    "bambi_cloglog": model_of("yes ~ x", family="bernoulli", link="cloglog"),
    "bambi_binomial": model_of("p(successes, trials) ~ x", family="binomial"),
    "bambi_zero_inflated_binomial": model_of(
        "p(successes, trials) ~ x", family="zero_inflated_binomial"
    ),
    "bambi_beta_binomial": model_of("p(successes, trials) ~ x", family="beta_binomial"),
    "bambi_beta": model_of("share ~ x", "kappa ~ z", family="beta"),
    "bambi_von_mises": model_of("angle ~ x", family="vonmises"),
    "bambi_poisson": model_of("count ~ x + offset(z)", family="poisson"),
    "bambi_negative_binomial": model_of("count ~ x + sex", family="negativebinomial"),
    "bambi_zero_inflated_poisson": model_of(
        "many_zeros ~ x", "psi ~ z", family="zero_inflated_poisson"
    ),
    "bambi_hurdle_poisson": model_of("many_zeros ~ x", family="hurdle_poisson"),
    "bambi_hurdle_gamma": model_of("zeros ~ x", family="hurdle_gamma", link="log"),
    "bambi_categorical": model_of("kind ~ x", family="categorical"),
    "bambi_multinomial": model_of("counts(A, B, C) ~ x", family="multinomial"),
    "bambi_dirichlet_multinomial": model_of(
        "counts(A, B, C) ~ x", family="dirichlet_multinomial"
    ),
    "bambi_cumulative": model_of("grade ~ 0 + x", family="cumulative"),
    "bambi_cumulative_probit": model_of(
        "grade ~ 0 + x", family="cumulative", link="probit"
    ),
    "bambi_stopping_ratio": model_of("grade ~ 0 + x", family="sratio"),
}

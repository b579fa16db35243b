"""Draws of a model's functions: what they hold, with which keys they are drawn, and
which variables are resampled."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc_support import mixed_model, mixed_position
from scipy import stats
from support import assert_same

import jaxlink
from jaxlink import pymc as jp

KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def model():
    return mixed_model()


@pytest.fixture(scope="module")
def position():
    return mixed_position()


@pytest.fixture(scope="module")
def draw(model):
    with pytest.warns(UserWarning, match=r"Potentials \(`pull`\), which prior"):
        return jp.prior(model)(KEY)


def test_prior_holds_what_pymcs_does(model, draw):
    assert list(draw) == [v.name for v in [*model.basic_RVs, *model.deterministics]]
    assert draw["y"].shape == (3,)
    assert draw["k"].dtype == np.int64
    line = draw["mu"] + np.array([0.5, -1.0, 2.0]) * draw["sub::z"]
    np.testing.assert_allclose(draw["line"], line, rtol=1e-14)
    np.testing.assert_allclose(draw["residual"], draw["y"] - draw["mu"], atol=1e-14)


@pytest.mark.filterwarnings("ignore:the model has Potentials")
@pytest.mark.parametrize(
    "names", [["k"], ["sub::z", "mu"], ["residual"], ["n", "w", "y"], ["sigma[0]"]]
)
def test_what_is_asked_for_changes_no_draw(model, draw, names):
    part = jp.prior(model, names)(KEY)
    assert list(part) == names
    for name in names:
        np.testing.assert_array_equal(part[name], draw[name], err_msg=name)
    resampled = jp.posterior_predictive(model, names, sample_vars=draw.keys())(KEY, {})
    assert_same(resampled, part, atol=1e-14)


def test_generators_are_numbered_in_the_models_order(model, draw):
    def normal(root, shape=()):
        return jax.random.normal(
            jax.random.fold_in(jax.random.fold_in(KEY, root), 0), shape
        )

    assert draw["mu"] == 1 + 2 * normal(0)
    np.testing.assert_array_equal(draw["sigma[0]"], jnp.abs(1.5 * normal(1, (3,))))
    roots = [rv.name for rv in model.basic_RVs]
    noise = (draw["y"] - draw["line"]) / draw["sigma[0]"]
    np.testing.assert_allclose(noise, normal(roots.index("y"), (3,)), rtol=1e-12)


def test_symbolic_distributions_keep_their_draws_too():
    with pm.Model() as model:
        w = pm.Dirichlet("w", [1.0, 2.0])
        mu = pm.Normal("mu", shape=2)
        pm.NormalMixture("mix", w, mu, 1.0, shape=4)
        pm.Censored("censored", pm.Normal.dist(mu[0]), -1.0, 1.0, shape=3)
        pm.GaussianRandomWalk("walk", steps=3, init_dist=pm.Normal.dist())
    everything = jp.prior(model)(KEY)
    for name in everything:
        np.testing.assert_array_equal(
            jp.prior(model, [name])(KEY)[name], everything[name]
        )


def test_prior_of_a_constant_takes_a_key_too(model):
    with pm.Model() as model:
        pm.Deterministic("c", pt.constant([1.0, 2.0]))
    assert jp.prior(model)(KEY)["c"].tolist() == [1, 2]
    with pytest.raises(jaxlink.KeyArgumentError):
        jp.prior(model)(0)


@pytest.mark.filterwarnings("ignore:the model has Potentials")
def test_posterior_predictive(model, position):
    draw = jp.constrain(model)(position)
    predict = jp.posterior_predictive(model)
    assert predict.outputs == ("y", "k", "residual")
    assert predict.resampled == ("k", "y")
    assert set(predict.names) == {"mu", "sigma[0]", "p", "sub::z"}
    keys = jax.random.split(KEY, 2_000)
    draws = jax.vmap(predict, (0, None))(keys, draw)
    scale = np.asarray(draw["sigma[0]"])
    for i in range(3):
        wanted = stats.norm(draw["line"][i], scale[i])
        assert stats.kstest(draws["y"][:, i], wanted.cdf).pvalue > 1e-3
    np.testing.assert_allclose(draws["residual"], draws["y"] - draw["mu"], atol=1e-12)
    assert abs(draws["k"].mean() / 10 - draw["p"]) < 4 * np.sqrt(0.25 / 40_000)
    whole_draw = jp.prior(model)(KEY)
    assert set(predict(KEY, whole_draw)) == {"y", "k", "residual"}


# What PyMC's own function says of the same request is the reference.
REQUESTS = {
    "default": {},
    "outputs": {"var_names": ["a", "det"]},
    "resample": {"sample_vars": ["a"]},
    "resample all": {"sample_vars": ["a", "b", "c"], "var_names": ["det", "y"]},
    "resample below": {"sample_vars": ["c"], "var_names": ["c", "det", "y"]},
    "freeze": {"sample_vars": ["b"], "freeze_vars": ["c"], "var_names": ["c", "y"]},
    "freeze det": {"sample_vars": ["c"], "freeze_vars": ["det"], "var_names": ["y"]},
    "implicit": {"sample_vars": ["a"], "var_names": ["c", "y"]},
    "det": {"sample_vars": ["det"]},
    "missing": {"without": ["b"]},
    "missing two": {"without": ["a", "c"], "var_names": ["det"]},
    "data": {"data": [5.0, 6.0], "var_names": ["c", "det", "y"]},
    "unknown data": {"data": None, "var_names": ["det", "y"]},
}


@pytest.mark.filterwarnings("ignore::pymc.exceptions.ImplicitFreezeWarning")
@pytest.mark.parametrize("name", REQUESTS)
def test_rules_of_resampling_are_pymcs(name, caplog):
    request = dict(REQUESTS[name])
    without, data = request.pop("without", []), request.pop("data", [1.0, 2.0])
    with pm.Model(coords={"i": [0, 1]}) as model:
        x = pm.Data("x", [1.0, 2.0], dims="i")
        a = pm.Normal("a", 50.0)
        b = pm.Normal("b", -50.0)
        c = pm.Normal("c", a + b * x, 1e-3, dims="i")
        det = pm.Deterministic("det", 2 * c, dims="i")
        pm.Normal("y", det + x, 1e-3, observed=[0.0, 0.0], dims="i")
    draw = {"a": 1.0, "b": 2.0, "c": [3.0, 4.0], "det": [60.0, 80.0]}
    draw = {k: np.asarray(v) for k, v in draw.items() if k not in without}
    posterior = {k: v[None, None] for k, v in draw.items()}
    dims = {k: ["i"] for k in ("c", "det")}
    groups = {"posterior": posterior}
    coords = {"i": [0, 1]}
    if data is not None:
        groups["constant_data"] = {"x": np.array([1.0, 2.0])}
        dims["x"] = ["i"]
        x.set_value(np.array(data))
    from arviz_base import from_dict

    trace = from_dict(groups, coords=coords, dims=dims)
    with caplog.at_level(logging.INFO, "pymc"):
        wanted = pm.sample_posterior_predictive(
            trace, model, progressbar=False, random_seed=1, **request
        )["posterior_predictive"]
    [record] = [r.message for r in caplog.records if r.message.startswith("Sampling")]
    predict = jp.posterior_predictive(
        model,
        given=draw,
        constant_data={} if data is None else {"x": [1.0, 2.0]},
        coords=coords,
        **request,
    )
    assert record == f"Sampling: [{', '.join(predict.resampled)}]"
    got = predict(KEY, draw)
    assert set(got) == set(wanted.data_vars)
    for label, value in got.items():
        # Values that differ are far apart: priors are narrow or far away.
        np.testing.assert_allclose(value, wanted[label][0, 0], atol=12, err_msg=label)


def test_implicit_freezing_is_warned_of(model):
    with (
        pytest.warns(
            pm.exceptions.ImplicitFreezeWarning, match="`p` is resampled"
        ) as froze,
        pytest.warns(UserWarning, match=r"Potentials \(`pull`\)"),
    ):
        jp.posterior_predictive(model, ["n"], sample_vars=["p"])
    assert froze[0].filename == __file__


@pytest.mark.filterwarnings("ignore:the model has Potentials")
def test_draws_say_what_they_do_not_know(model):
    with pytest.raises(ValueError, match=r"`lime` \(did you mean `line`"):
        jp.prior(model, ["lime"])
    with pytest.raises(ValueError, match="`p_logodds__`"):
        jp.prior(model, ["p_logodds__"])
    with pytest.raises(TypeError, match=r"write \['mu'\]"):
        jp.prior(model, "mu")
    with pytest.raises(ValueError, match="`X`"):
        jp.posterior_predictive(model, sample_vars=["X"])
    with pytest.raises(ValueError, match="`line`, which is not among the given"):
        jp.posterior_predictive(model, freeze_vars=["line"])
    with pytest.raises(ValueError, match="`mu` is in both"):
        jp.posterior_predictive(model, freeze_vars=["mu"], sample_vars=["mu"])
    predict = jp.posterior_predictive(model, ["y"])
    with pytest.raises(jaxlink.ArgumentError, match=r"`draw` lacks `sigma\[0\]`"):
        predict(KEY, {"mu": 1.0, "p": 0.5, "sub::z": jnp.ones(1)})
    whole = dict.fromkeys(predict.names, 1.0)
    with pytest.raises(ValueError, match=r"`Mu` \(did you mean `mu`"):
        predict(KEY, {**whole, "Mu": 1.0})
    with pm.Model() as improper:
        pm.Flat("flat")
    with pytest.raises(jaxlink.UnsupportedOpError, match="improper"):
        jp.prior(improper)

"""Every model of the zoo: what `jaxlink.pymc` makes of it is what PyMC makes of it."""

import logging
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from models import MODELS
from models.compare import (
    PYTHON,
    REJECT,
    assert_agree,
    only_chain,
    ranks_p_values,
    samples_p_values,
)
from models.data import BATCH, NEW_FEATURES, of_rows
from scipy import stats
from support import others_are_slow, quick

import jaxlink.pymc as jlpm

OURS, THEIRS, RANKED = 4000, 400, 199

# Both warn of it: see tests of the warnings.
ignores_freezing = pytest.mark.filterwarnings(
    "ignore::pymc.exceptions.ImplicitFreezeWarning"
)
ignores_potentials = pytest.mark.filterwarnings("ignore:.*[pP]otentials:UserWarning")


@pytest.fixture(autouse=True)
def pymc_is_quiet(caplog):
    caplog.set_level(logging.WARNING, "pymc")


@cache
def built(name):
    return MODELS[name].build()


@cache
def positions(name):
    """Three positions about the initial point; discrete ones come from the prior."""
    model, rng = built(name), np.random.default_rng(6)
    start = model.initial_point()
    discrete = [model.values_to_rvs[var] for var in model.discrete_value_vars]
    points = []
    for seed in range(3):
        point = {n: x + rng.normal(0, 0.5, x.shape) for n, x in start.items()}
        if discrete:
            draws = pm.draw(discrete, random_seed=seed, mode=PYTHON)
            point |= {rv.name: x for rv, x in zip(discrete, draws, strict=True)}
        points.append(point)
    return points


def of_pymc(model, outputs):
    """PyMC's function from a position to these outputs, by name."""
    fn = model.compile_fn(
        list(outputs.values()),
        inputs=model.value_vars,
        mode=PYTHON,
        on_unused_input="ignore",
    )
    return lambda point: dict(zip(outputs, fn(point), strict=True))


def assert_near(got, wanted, rtol=1e-9):
    """Equal but for ``rtol``, and for a thousandth of that of the largest entry."""
    assert got.keys() == wanted.keys()
    for name, x in wanted.items():
        assert got[name].shape == x.shape, name
        assert got[name].dtype == x.dtype, name
        atol = rtol * 1e-3 * np.abs(x).max(initial=1e-3)
        np.testing.assert_allclose(got[name], x, rtol, atol, err_msg=name)


def split(point, names):
    """The entries of these names, and the others."""
    arrays = {name: jnp.asarray(x) for name, x in point.items()}
    return [
        {n: x for n, x in arrays.items() if (n in names) is c} for c in (True, False)
    ]


# --- density and transforms ----------------------------------------------------------

# What takes a second or two.
LIGHT = (
    *("eight_schools", "eight_schools_centred", "local_level", "autoregression"),
    *("lotka_volterra", "coal_mining", "survival_potential", "missing", "new_groups"),
    *("out_of_sample", "dims", "potential", "nested", "ordinal"),
)
FIXED = [name for name in MODELS if name != "minibatch"]


@pytest.mark.parametrize("name", others_are_slow(FIXED, LIGHT))
def test_densities(name):
    model = built(name)
    logp, dlogp = model.compile_logp(mode=PYTHON), model.compile_dlogp(mode=PYTHON)
    observed = [var.name for var in model.observed_RVs]
    terms = model.logp(model.observed_RVs, sum=False)
    pointwise = of_pymc(model, dict(zip(observed, terms, strict=True)))

    density, likelihood = jlpm.logdensity(model), jlpm.log_likelihood(model)
    assert not density.takes_key
    continuous = [var.name for var in model.continuous_value_vars]

    @quick
    def ours(floats, others):
        value, slope = jax.value_and_grad(lambda x: density(x | others))(floats)
        return value, slope, likelihood(floats | others)

    for point in positions(name):
        value, slope, likelihoods = ours(*split(point, continuous))
        wanted = logp(point)
        assert np.isfinite(wanted)
        np.testing.assert_allclose(value, wanted, rtol=1e-9)
        flat = np.concatenate([np.ravel(slope[n]) for n in continuous])
        assert_near({"gradient": flat}, {"gradient": dlogp(point)})
        assert_near(likelihoods, pointwise(point))


@pytest.mark.parametrize("name", others_are_slow(MODELS, LIGHT))
def test_transforms(name):
    model = built(name)
    constrain, unconstrain = jlpm.constrain(model), jlpm.unconstrain(model)
    named = {var.name: var for var in model.unobserved_value_vars}
    theirs = of_pymc(model, {n: named[n] for n in constrain.outputs})
    kept = {var.name for var in [*model.free_RVs, *model.deterministics]}
    assert set(constrain.outputs) == kept

    @quick
    def there_and_back(position):
        draw = constrain(position)
        return draw, unconstrain(draw)

    for point in positions(name):
        draw, back = there_and_back(split(point, point)[0])
        assert_near(draw, theirs(point))
        assert_near(back, point, rtol=1e-7)


@pytest.mark.parametrize("name", others_are_slow(MODELS, LIGHT))
def test_initial_position(name):
    model = built(name)
    start = quick(jlpm.initial_position(model))
    for key in map(jax.random.key, (0, 1)):
        assert_near(start(key), model.initial_point())


# --- draws ---------------------------------------------------------------------------


@cache
def pymcs_prior(name):
    """PyMC's draws of the prior, as the DataTree that it returns."""
    return pm.sample_prior_predictive(
        THEIRS,
        model=built(name),
        random_seed=7,
        compile_kwargs={"mode": PYTHON},
    )


@pytest.mark.parametrize(
    "name",
    others_are_slow(
        [name for name, entry in MODELS.items() if not entry.no_prior],
        ("eight_schools", "missing"),
    ),
)
@ignores_potentials
def test_prior(name):
    draw = jlpm.prior(built(name))
    ours = quick(jax.vmap(draw))(jax.random.split(jax.random.key(8), OURS))
    for var in [*built(name).basic_RVs, *built(name).deterministics]:
        assert ours[var.name].dtype == var.type.dtype
    ours = {n: np.asarray(x) for n, x in ours.items()}
    theirs = only_chain(pymcs_prior(name), "prior", "prior_predictive")
    assert_agree(samples_p_values(ours, theirs))


def assert_predict_alike(model, predict, trace, **arguments):
    """Compare ``predict``, ours, with PyMC's draw for each of the given values."""
    theirs = pm.sample_posterior_predictive(
        trace,
        model=model,
        random_seed=9,
        progressbar=False,
        return_inferencedata=False,
        compile_kwargs={"mode": PYTHON},
        **arguments,
    )
    draws = only_chain(trace, "posterior")
    given = {n: jnp.asarray(draws[n]) for n in predict.names}
    many = jax.vmap(jax.vmap(predict, (0, None)))
    keys = jax.random.split(jax.random.key(10), (THEIRS, RANKED))
    ours = {n: np.asarray(x) for n, x in quick(many)(keys, given).items()}
    theirs = {n: np.asarray(x)[0] for n, x in theirs.items()}
    assert_agree(ranks_p_values(ours, theirs, seed=11))


def as_posterior(name):
    """Draws of the prior, as if they were a posterior's; or the same values all over,
    for a model whose prior has none."""
    groups = {}
    if MODELS[name].no_prior:
        values = jlpm.constrain(built(name))(built(name).initial_point())
        groups["posterior"] = xr.Dataset(
            {
                n: (
                    ("chain", "draw", *(f"{n}_{i}" for i in range(x.ndim))),
                    np.broadcast_to(x, (1, THEIRS, *x.shape)),
                )
                for n, x in values.items()
            }
        )
    else:
        tree = pymcs_prior(name)
        groups["posterior"] = tree["prior"].dataset
        if "constant_data" in tree:
            groups["constant_data"] = tree["constant_data"].dataset
    return xr.DataTree.from_dict(groups)


@pytest.mark.parametrize(
    "name",
    others_are_slow(
        [name for name, entry in MODELS.items() if not entry.no_predictive],
        ("eight_schools_centred", "ordinal"),
    ),
)
@ignores_freezing
@ignores_potentials
def test_posterior_predictive(name):
    predict = jlpm.posterior_predictive(built(name))
    assert_predict_alike(built(name), predict, as_posterior(name))


@pytest.mark.parametrize(
    "name",
    others_are_slow(
        [name for name, entry in MODELS.items() if entry.predict], ["out_of_sample"]
    ),
)
@ignores_freezing
def test_predictions(name):
    """New data, new coords, and the conditional of a Gaussian process."""
    trace, model = as_posterior(name), MODELS[name].build()
    before = {
        "given": [rv.name for rv in model.free_RVs],
        "coords": {n: np.asarray(x) for n, x in model.coords.items() if x is not None},
        "constant_data": {var.name: var.get_value() for var in model.data_vars},
    }
    arguments = MODELS[name].predict(model)
    predict = jlpm.posterior_predictive(model, **arguments, **before)
    assert_predict_alike(model, predict, trace, **arguments)


# --- what single models have ---------------------------------------------------------


def test_data_that_change():
    """New data of a function are new data of the model."""
    model = MODELS["out_of_sample"].build()
    coords = {"patient": ["new 1", "new 2", "new 3"]}
    arguments = {"var_names": ["mu", "y"], "coords": model.coords}
    of_old = jlpm.posterior_predictive(model, **arguments, constant_data={})
    changed = of_old.with_data(features=NEW_FEATURES, coords=coords)
    MODELS["out_of_sample"].predict(model)
    of_new = jlpm.posterior_predictive(model, **arguments, constant_data={})
    draw = {"intercept": 0.3, "slopes": jnp.array([0.5, -1.0]), "sigma": 0.7}
    key = jax.random.key(12)
    for name, x in changed(key, draw).items():
        assert x.shape == (3,)
        np.testing.assert_array_equal(x, of_new(key, draw)[name])


def test_densities_of_minibatches():
    model = built("minibatch")
    density, terms = jlpm.logdensity(model), jlpm.logdensity(model, sum=False)
    assert density.takes_key
    every_row = of_rows(range(20))
    scaled = 20 / BATCH
    each = of_pymc(
        every_row, {"progress": every_row.logp(every_row["progress"], sum=False)[0]}
    )
    keys = jax.random.split(jax.random.key(13), 500)
    ours = quick(jax.vmap(jax.value_and_grad(density, 1), (0, None)))
    in_parts = quick(jax.vmap(terms, (0, None)))
    for point in positions("minibatch"):
        # A term tells which row it is of.
        wanted = each(point)["progress"] * scaled
        parts = np.asarray(in_parts(keys, point)["progress"])
        rows = np.abs(parts[..., None] - wanted).argmin(-1)
        np.testing.assert_allclose(parts, wanted[rows], rtol=1e-9)
        counts = np.bincount(rows.ravel(), minlength=20)
        assert stats.chisquare(counts).pvalue > REJECT
        values, slopes = ours(keys, point)
        chosen = of_rows(rows[0])
        logp, dlogp = (
            chosen.compile_logp(mode=PYTHON),
            chosen.compile_dlogp(mode=PYTHON),
        )
        np.testing.assert_allclose(values[0], logp(point), rtol=1e-9)
        flat = np.concatenate([slopes[n][0].ravel() for n in point])
        assert_near({"gradient": flat}, {"gradient": dlogp(point)})
        # What is asked for does not change the batch.
        sums = each(point)["progress"][rows].sum(1) * scaled
        np.testing.assert_allclose(np.asarray(values - sums), values[0] - sums[0])

"""`to_datatree`: from positions of other samplers to the tree that `sample` makes."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pymc as pm
import pytest
from models import MODELS
from support import assert_same

from jaxlink import pymc as jp

CHAINS, DRAWS = 2, 7


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    coords = {"group": ["a", "b", "c"]}
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", rng.normal(size=6))
        mu = pm.Normal("mu", 0, 2, dims="group")
        sigma = pm.HalfNormal("sigma", 1)
        p = pm.Dirichlet("p", np.array([1.0, 2.0, 3.0]))
        pm.Deterministic("scaled", mu * sigma, dims="group")
        mean = mu[np.array([0, 0, 1, 1, 2, 2])] + x * p[0]
        pm.Normal("y", mean, sigma, observed=rng.normal(size=6))
    return model


def random_positions(model, shape=(CHAINS, DRAWS)):
    rng = np.random.default_rng(4)
    start = model.initial_point()
    return {n: x + 0.3 * rng.normal(size=(*shape, *x.shape)) for n, x in start.items()}


@pytest.fixture(scope="module")
def positions(model):
    return random_positions(model)


@pytest.fixture(scope="module")
def tree(model, positions):
    stats = {
        "diverging": np.zeros((CHAINS, DRAWS), bool),
        "energy": jnp.ones((CHAINS, DRAWS)),
    }
    return jp.to_datatree(
        positions,
        model,
        sample_stats=stats,
        log_likelihood=True,
        attrs={"sampler": "mine"},
        progressbar=False,
    )


def test_values_are_those_of_pymc(model, positions, tree):
    names = [var.name for var in model.unobserved_value_vars]
    reference = model.compile_fn(model.unobserved_value_vars, inputs=model.value_vars)
    likelihood = model.compile_logp(model.observed_RVs, sum=False)
    for chain, draw in np.ndindex(CHAINS, DRAWS):
        point = {name: x[chain, draw] for name, x in positions.items()}
        wanted = dict(zip(names, reference(point), strict=True))
        for name, value in tree["posterior"].data_vars.items():
            got = value.to_numpy()[chain, draw]
            assert_same(got, np.asarray(wanted[name]), rtol=1e-12)
        got = tree["log_likelihood"]["y"].to_numpy()[chain, draw]
        assert_same(got, likelihood(point)[0], rtol=1e-12)
    assert set(tree["posterior"].data_vars) == {"mu", "sigma", "p", "scaled"}


def test_it_is_the_tree_of_sample(model, tree):
    sampled = jp.sample(
        DRAWS,
        tune=3,
        chains=CHAINS,
        model=model,
        random_seed=1,
        quiet=True,
        compute_convergence_checks=False,
    )
    assert set(tree.children) - {"log_likelihood"} == set(sampled.children)
    for group in ("posterior", "observed_data", "constant_data"):
        got, wanted = tree[group].to_dataset(), sampled[group].to_dataset()
        assert list(got.data_vars) == list(wanted.data_vars)
        assert got.sizes == wanted.sizes
        for name, variable in wanted.variables.items():
            assert got[name].dims == variable.dims
            assert got[name].dtype == variable.dtype
    assert tree["posterior"].attrs["sampler"] == "mine"
    assert tree["log_likelihood"]["y"].dims[:2] == ("chain", "draw")


@pytest.mark.parametrize("form", ["draws first", "vectors", "vectors, draws first"])
def test_other_forms_of_positions(form, model, positions, tree):
    given, order = positions, ("chain", "draw")
    stats = {"lp": np.arange(CHAINS * DRAWS * 2.0).reshape(CHAINS, DRAWS, 2)}
    if "vectors" in form:
        given = jax.vmap(jax.vmap(jp.ravel(model).ravel))(positions)
    if "draws first" in form:
        order = ("draw", "chain")
        given, stats = jax.tree.map(lambda x: np.swapaxes(x, 0, 1), (given, stats))
    got = jp.to_datatree(
        given, model, sample_stats=stats, sample_dims=order, progressbar=False
    )
    for name, value in tree["posterior"].data_vars.items():
        assert_same(got["posterior"][name].values, value.values, rtol=1e-14)
    assert got["sample_stats"]["lp"].values[1, 2, 0] == (DRAWS + 2) * 2.0


@pytest.mark.parametrize("name", ["varying_slopes", "hurdle", "ordered_mixture"])
def test_models(name):
    model = MODELS[name].build()
    positions = random_positions(model, (1, 2))
    tree = jp.to_datatree(positions, model, progressbar=False)
    names = [var.name for var in model.unobserved_value_vars]
    reference = model.compile_fn(model.unobserved_value_vars, inputs=model.value_vars)
    for draw in range(2):
        point = {name: x[0, draw] for name, x in positions.items()}
        wanted = dict(zip(names, reference(point), strict=True))
        for name, value in tree["posterior"].data_vars.items():
            got = value.to_numpy()[0, draw]
            assert_same(got, np.asarray(wanted[name]), rtol=1e-10, atol=1e-12)
    assert not tree["sample_stats"].data_vars  # an empty group, as PyMC has it


def test_from_blackjax(model):
    """The README of BlackJAX, for a model of PyMC's."""
    density, start = jp.logdensity(model), jp.initial_position(model)
    nuts = blackjax.nuts(density, step_size=0.2, inverse_mass_matrix=jnp.ones(6))

    def run(key):
        state = nuts.init(start(key))

        def step(state, key):
            state, info = nuts.step(key, state)
            return state, (state.position, info)

        return jax.lax.scan(step, state, jax.random.split(key, DRAWS))[1]

    drawn, info = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), CHAINS))
    stats = {
        "diverging": info.is_divergent,
        "acceptance_rate": info.acceptance_rate,
        "n_steps": info.num_integration_steps,
    }
    tree = jp.to_datatree(drawn, model, sample_stats=stats, progressbar=False)
    sigma = np.exp(np.asarray(drawn["sigma_log__"]))
    assert_same(tree["posterior"]["sigma"].values, sigma, rtol=1e-14)
    assert tree["sample_stats"].sizes == {"chain": CHAINS, "draw": DRAWS}


def test_numpyro_shows_the_variables_themselves(model):
    """`constrain` is what NumPyro calls ``postprocess_fn``."""
    density, position = jp.logdensity(model), model.initial_point()
    start = {n: jnp.stack([jnp.asarray(x)] * CHAINS) for n, x in position.items()}
    how = {"num_warmup": 5, "num_samples": DRAWS, "num_chains": CHAINS}

    def samples(postprocess_fn):
        mcmc = numpyro.infer.MCMC(
            numpyro.infer.NUTS(potential_fn=lambda z: -density(z)),
            **how,
            chain_method="vectorized",
            progress_bar=False,
            postprocess_fn=postprocess_fn,
        )
        with jax.numpy_dtype_promotion("standard"):
            mcmc.run(jax.random.key(2), init_params=start)
        return mcmc.get_samples(group_by_chain=True)

    tree = jp.to_datatree(samples(None), model, progressbar=False)
    shown = samples(jp.constrain(model))
    for name, value in tree["posterior"].data_vars.items():
        assert_same(value.values, np.asarray(shown[name]), rtol=1e-12)


def flat(model):
    return np.zeros((CHAINS, DRAWS, jp.ravel(model).size))


WRONG = [
    (lambda m, p: {**p, "sigma": p["sigma_log__"]}, "sigma"),
    (lambda m, p: {n: x for n, x in p.items() if n != "mu"}, "mu"),
    (lambda m, p: {**p, "mu": p["mu"][0]}, r"`mu` must be of shape .*length 1"),
    (lambda m, p: {**p, "mu": p["mu"][..., :2]}, "`mu` must be of shape"),
    (lambda m, p: {**p, "mu": p["mu"][:, :3]}, "differ in their numbers of chains"),
    (lambda m, p: {n: x[:, :0] for n, x in p.items()}, "there are no positions"),
    (lambda m, p: flat(m)[0], "6 entries|must be a dict"),
    (lambda m, p: flat(m)[..., 1:], "flat vectors of this model have"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_positions(change, message, model, positions):
    with pytest.raises(ValueError, match=message):
        jp.to_datatree(change(model, positions), model, progressbar=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_stats": {"lp": np.zeros((DRAWS, CHAINS))}}, "the statistic `lp`"),
        ({"sample_stats": {"lp": np.zeros(3)}}, "the statistic `lp`"),
        ({"sample_stats": {"how": object()}}, "must be an array, but is a object"),
        ({"sample_dims": ("chain", "step")}, "sample_dims must be"),
        ({"store": "somewhere"}, "to_zarr"),
        ({"var_names": ["mu", "tau"]}, "tau"),
    ],
)
def test_wrong_options(options, message, model, positions):
    with pytest.raises(ValueError, match=message):
        jp.to_datatree(positions, model, progressbar=False, **options)


def test_discrete_variables_need_names():
    with pm.Model() as model:
        pm.Poisson("n", 2.0)
        pm.Normal("x")
    tree = jp.to_datatree(
        {"n": np.full((1, 3), 2), "x": np.zeros((1, 3))}, model, progressbar=False
    )
    assert tree["posterior"]["n"].dtype == np.int64
    with pytest.raises(ValueError, match="discrete"):
        jp.to_datatree(np.zeros((1, 3, 2)), model, progressbar=False)

"""One function, many data sets: `with_data` under `jax.vmap`, and masks."""

from functools import partial

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from scipy import stats

import jaxlink
from jaxlink import pymc as jp

KEY = jax.random.key(5)
AT = {"b": 0.7}
DAYS = [1, 2, 3]
RNG = np.random.default_rng(2)
XS = RNG.normal(size=(4, 3))
COUNTS = RNG.poisson(2.0, size=(4, 3))


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"day": DAYS}) as model:
        x = pm.Data("x", [1.0, 2.0, 3.0], dims="day")
        counts = pm.Data("counts", [1, 0, 2], dims="day")
        scale = pm.Data("scale", 1.0)
        b = pm.Normal("b", 0.0, scale)
        pm.Poisson("n", pm.math.exp(b * x), observed=counts, dims="day")
        pm.Normal("z", b, 1.0, observed=[0.5, 0.25])
    return model


@pytest.fixture(scope="module")
def density(model):
    return jp.logdensity(model)


def wanted(x=(1.0, 2.0, 3.0), counts=(1, 0, 2), scale=1.0):
    rates = np.exp(0.7 * np.asarray(x))
    return (
        stats.norm(0, scale).logpdf(0.7)
        + stats.poisson(rates).logpmf(counts).sum()
        + stats.norm(0.7, 1).logpdf([0.5, 0.25]).sum()
    )


@pytest.mark.parametrize(
    "batch",
    [
        {"counts": COUNTS},
        {"counts": COUNTS.astype("uint8")},
        {"x": XS},
        {"x": COUNTS},
        {"scale": np.arange(1.0, 5.0)},
        {"x": XS, "counts": COUNTS},
        {"x": XS, "counts": COUNTS, "scale": np.arange(1, 5)},
    ],
    ids=lambda batch: "-".join(f"{k}_{v.dtype}" for k, v in batch.items()),
)
def test_data_sets_along_an_axis(density, batch):
    got = jax.vmap(lambda data: density.with_data(data)(AT))(batch)
    rows = [{name: x[i] for name, x in batch.items()} for i in range(4)]
    np.testing.assert_allclose(got, [wanted(**row) for row in rows], rtol=1e-6)


def test_data_sets_of_another_length(density):
    """New coordinates are static, and the same for all data sets."""
    x, counts = RNG.normal(size=(4, 5)), RNG.poisson(1.0, size=(4, 5))

    def at(x, counts):
        new = density.with_data(x=x, counts=counts, coords={"day": range(5)})
        return new(AT)

    got = jax.jit(jax.vmap(at))(x, counts)
    np.testing.assert_allclose(got, list(map(wanted, x, counts)), rtol=1e-6)


def test_gradients_of_data_sets(density):
    def at(b, x, scale):
        return density.with_data(x=x, scale=scale)({"b": b})

    scales = np.arange(1.0, 5.0)
    got = jax.vmap(jax.grad(at, argnums=(0, 1, 2)), (None, 0, 0))(0.7, XS, scales)
    residuals = np.array([1, 0, 2]) - np.exp(0.7 * XS)
    slope = -0.7 / scales**2 + (residuals * XS).sum(1) + (0.75 - 2 * 0.7)
    np.testing.assert_allclose(got[0], slope, rtol=1e-6)
    np.testing.assert_allclose(got[1], 0.7 * residuals, rtol=1e-6)
    np.testing.assert_allclose(got[2], 0.49 / scales**3 - 1 / scales, rtol=1e-6)


def test_functions_stacked_as_a_pytree(density):
    """The leaves may also have an axis of data sets."""
    stacked = jax.vmap(lambda x: density.with_data(x=x))(XS)
    got = jax.vmap(lambda f: f(AT))(stacked)
    np.testing.assert_allclose(got, [wanted(x) for x in XS], rtol=1e-6)


def test_data_of_each_key(model, density):
    """Draws of a model are data of it, in one function of a key."""

    def one(key):
        drawn = jp.prior(model)(key)
        return density.with_data(counts=drawn["n"])(AT), drawn["n"]

    keys = jax.random.split(KEY, 4)
    got, counts = jaxlink.map_draws(one, keys, batch_size=3)
    np.testing.assert_allclose(got, [wanted(counts=n) for n in counts], rtol=1e-6)


def test_a_chain_for_each_data_set(density):
    """With a key for each, in one program or one after another."""

    def one(key, counts):
        start = jax.random.normal(key)
        return density.with_data(counts=counts)({"b": start}), start

    run = partial(jaxlink.run_chains, one, KEY, 4, COUNTS, in_axes=0)
    together, starts = run(method="vmap")
    alone, again = run(method="map")
    np.testing.assert_array_equal(again, starts)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    of_b = [
        density.with_data(counts=n)({"b": b})
        for n, b in zip(COUNTS, starts, strict=True)
    ]
    np.testing.assert_allclose(together, of_b, rtol=1e-12)


def test_an_axis_too_many_says_vmap(density):
    for name, value in {"x": XS, "counts": COUNTS}.items():
        with pytest.raises(ValueError, match=rf"`{name}` .*\(4, 3\).* jax\.vmap maps"):
            density.with_data({name: value})
    with pytest.raises(ValueError, match=r"`x` .* shape \(\)\.$"):
        density.with_data(x=1.0)
    with pytest.raises(jaxlink.ArgumentError, match=r"`scale` .*rank 1.* jax\.vmap"):
        density.with_data(scale=np.arange(4.0))


def test_wrong_lengths_name_the_data(density):
    def mapped(**batch):
        return jax.vmap(lambda data: density.with_data(data)(AT))(batch)

    with pytest.raises(ValueError, match=r"`day` .* from 3 to 2: pass coords="):
        mapped(counts=COUNTS[:, :2])
    with pytest.raises(ValueError, match=r"`counts` of shape \(2,\) has 2 along it"):
        mapped(x=XS, counts=COUNTS[:, :2])
    with pytest.raises(jaxlink.ArgumentError, match=r"`counts` .*without loss"):
        mapped(counts=XS)


def test_wrong_lengths_without_dims_name_the_data():
    with pm.Model() as model:
        x, counts = pm.Data("x", [1.0, 2.0, 3.0]), pm.Data("counts", [1, 0, 2])
        b = pm.Normal("b")
        pm.Poisson("n", pm.math.exp(b * x), observed=counts)
    density = jp.logdensity(model)
    with pytest.raises(ValueError, match=r"`counts` of shape \(2,\) .* not broadcast"):
        jax.vmap(lambda n: density.with_data(counts=n)(AT))(COUNTS[:, :2])
    with pytest.raises(ValueError, match="broadcast dimension 0 of `counts` from"):
        jax.vmap(lambda n: density.with_data(counts=n)(AT))(COUNTS[:, :1])


def test_an_observed_variable_says_where_its_data_are(density):
    with pytest.raises(ValueError, match="`n` is observed, with its values in `counts"):
        density.with_data(n=[1, 2, 3])
    with pytest.raises(ValueError, match=r'`z` .* constants: .*pm\.Data\("z_data"'):
        density.with_data(z=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"There are: `x`, `counts`, `scale`\.$"):
        density.with_data(b=1.0)


# --- masks ---------------------------------------------------------------------------


def test_a_mask_leaves_observations_out(model):
    """The density is that of the same model without them, up to the gradient."""
    log_prior = jp.logdensity(model, ["b", "z"])
    log_likelihood = jp.log_likelihood(model, ["n"])

    def masked(position, mask):
        terms = log_likelihood(position)["n"]
        return log_prior(position) + jnp.where(mask, terms, 0.0).sum()

    masks = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], bool)
    values, slopes = jax.vmap(jax.value_and_grad(masked), (None, 0))(AT, masks)
    rates = np.exp(0.7 * np.arange(1.0, 4.0))
    terms = stats.poisson(rates).logpmf([1, 0, 2])
    others = wanted() - terms.sum()
    np.testing.assert_allclose(values, others + masks @ terms, rtol=1e-6)
    own = (np.array([1, 0, 2]) - rates) * np.arange(1, 4)
    np.testing.assert_allclose(slopes["b"], -0.7 - 0.65 + masks @ own, rtol=1e-6)


def test_padding_counts_for_nothing(model):
    """Also where it is outside the support, and its terms are -inf."""
    log_prior = jp.logdensity(model, ["b", "z"])
    log_likelihood = jp.log_likelihood(model, ["n"])

    def at(position, counts, length):
        terms = log_likelihood.with_data(counts=counts)(position)["n"]
        inside = jnp.arange(3) < length
        return log_prior(position) + jnp.where(inside, terms, 0.0).sum()

    padded = np.array([[1, 0, 2], [1, 0, -1], [1, -1, -1]])
    values, slopes = jax.vmap(jax.value_and_grad(at), (None, 0, 0))(
        AT, padded, np.array([3, 2, 1])
    )
    rates = np.exp(0.7 * np.arange(1.0, 4.0))
    terms = stats.poisson(rates).logpmf([1, 0, 2])
    others = wanted() - terms.sum()
    np.testing.assert_allclose(values, others + terms.cumsum()[::-1], rtol=1e-6)
    own = ((np.array([1, 0, 2]) - rates) * np.arange(1, 4)).cumsum()
    np.testing.assert_allclose(slopes["b"], -0.7 - 0.65 + own[::-1], rtol=1e-6)


# --- fits ----------------------------------------------------------------------------


def nuts(key, density, draws):
    """BlackJAX's NUTS for a scalar `mu` of about unit scale."""
    kernel = blackjax.nuts(density, step_size=0.7, inverse_mass_matrix=jnp.ones(1))

    def step(state, key):
        state, _ = kernel.step(key, state)
        return state, state.position["mu"]

    state = kernel.init({"mu": jnp.array(0.0)})
    return jax.lax.scan(step, state, jax.random.split(key, draws))[1]


@pytest.fixture(scope="module")
def conjugate():
    """The posterior of `mu` is normal, with variance 1 / (5 + 1 / width^2)."""
    with pm.Model() as model:
        values = pm.Data("values", np.zeros(5))
        mu = pm.Normal("mu", 0.0, pm.Data("width", 1.0))
        pm.Normal("y", mu, 1.0, observed=values)
    return model


@pytest.fixture
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # BlackJAX mixes dtypes
        yield


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("chunk", [50, pytest.param(1, marks=pytest.mark.slow)])
def test_ranks_are_uniform_if_the_fit_is_right(conjugate, chunk):
    """Simulation-based calibration finds no fault in the model, and finds that of two
    others: with a narrow prior, and with data that are noisier than it believes."""
    prior, density = jp.prior(conjugate), jp.logdensity(conjugate)

    def rank(key, density, noise):
        of_truth, of_noise, of_fit = jax.random.split(key, 3)
        truth = prior(of_truth)
        values = truth["y"] + noise * jax.random.normal(of_noise, (5,))
        draws = nuts(of_fit, density.with_data(values=values), 200)[9::10]
        return (draws[:19] < truth["mu"]).sum()  # one of 20 ranks

    @jax.jit
    def program(density, noise):
        keys = jax.random.split(KEY, 200)
        return jaxlink.map_draws(rank, keys, density, noise, batch_size=chunk)

    def p_value(density, noise):
        counts = np.bincount(program(density, noise), minlength=20)
        return stats.chisquare(counts.reshape(10, 2).sum(1)).pvalue

    assert p_value(density, 0.0) > 0.01
    assert p_value(density.with_data(width=0.2), 0.0) < 1e-6
    assert p_value(density, 1.5) < 1e-6
    assert program._cache_size() == 1  # one program for all three


@pytest.mark.usefixtures("standard_promotion")
def test_folds_in_one_program_equal_exact_ones(conjugate):
    """Each fold is predicted by a normal distribution, which is known."""
    values = np.array([0.3, -0.5, 1.8, 0.9, 0.1])
    log_prior = jp.logdensity(conjugate, ["mu"])
    log_likelihood = jp.log_likelihood(conjugate).with_data(values=values)

    def without(key, mask):
        def masked(position):
            terms = log_likelihood(position)["y"]
            return log_prior(position) + jnp.where(mask, terms, 0.0).sum()

        terms = jax.vmap(log_likelihood)({"mu": nuts(key, masked, 4000)})["y"]
        return jax.nn.logsumexp(terms, axis=0) - jnp.log(len(terms))

    fold_of = np.array([0, 0, 1, 1, 2])
    masks = np.array([fold_of != i for i in range(3)])
    got = jax.jit(jax.vmap(without))(jax.random.split(KEY, 3), masks)
    precision = 1 + masks.sum(1)
    mean = masks @ values / precision
    exact = stats.norm(mean[fold_of], np.sqrt(1 + 1 / precision[fold_of]))
    held_out = np.asarray(got)[fold_of, np.arange(5)]
    np.testing.assert_allclose(held_out, exact.logpdf(values), atol=0.05)

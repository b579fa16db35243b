"""One function, many data sets: `with_data` under `jax.vmap`, and masks."""

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

    with pytest.raises(ValueError, match="`day` .* from 3 to 2: pass coords="):
        mapped(counts=COUNTS[:, :2])
    with pytest.raises(ValueError, match=r"`counts` of shape \(2,\) has 2 along it"):
        mapped(x=XS, counts=COUNTS[:, :2])
    with pytest.raises(jaxlink.ArgumentError, match="`counts` .*without loss"):
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

"""Functions of a model: what they compute, against PyMC's own."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from jax.experimental import checkify
from pymc_support import mixed_model, mixed_position
from scipy import stats
from support import assert_same

import jaxlink
from jaxlink import pymc as jp
from jaxlink.pymc.shared.arguments import check_names
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.seeds import resolve_key

KEY = jax.random.key(7)
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture(scope="module")
def model():
    return mixed_model()


@pytest.fixture(scope="module")
def position():
    return mixed_position()


@pytest.fixture(scope="module")
def values(model, position):
    """What PyMC says that the position's values are."""
    fn = model.compile_fn(model.unobserved_value_vars, inputs=model.value_vars)
    names = [var.name for var in model.unobserved_value_vars]
    return dict(zip(names, fn(position), strict=True))


# --- densities -----------------------------------------------------------------------


@pytest.mark.parametrize("jacobian", [True, False])
def test_logdensity(model, position, jacobian):
    density = jp.logdensity(model, jacobian=jacobian)
    wanted = model.compile_logp(jacobian=jacobian)(position)
    np.testing.assert_allclose(density(position), wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(density)(position), wanted, rtol=1e-12)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), position)
    np.testing.assert_allclose(jax.vmap(density)(stacked), [wanted] * 2, rtol=1e-12)
    floats = {k: v for k, v in position.items() if v.dtype.kind == "f"}
    gradient = jax.jit(jax.grad(lambda free: density({**position, **free})))(floats)
    wanted = model.compile_dlogp(jacobian=jacobian)(position)
    flat = np.concatenate(
        [np.ravel(gradient[v.name]) for v in model.continuous_value_vars]
    )
    np.testing.assert_allclose(flat, wanted, rtol=1e-10)


def test_terms_of_the_density(model, position):
    variables = [*model.basic_RVs, *model.potentials]
    wanted = model.compile_fn(
        model.logp(variables, sum=False), inputs=model.value_vars
    )(position)
    got = jp.logdensity(model, sum=False)(position)
    assert list(got) == [var.name for var in variables]
    assert_same(got, dict(zip(got, wanted, strict=True)), **CLOSE)
    some = ["pull", "y"]
    part = jp.logdensity(model, some, sum=False)(position)
    assert list(part) == some
    total = jp.logdensity(model, some)(position)
    np.testing.assert_allclose(total, sum(np.sum(x) for x in part.values()))


def test_pointwise(model, position):
    terms = jp.logdensity(model, sum=False, jacobian=False)(position)
    likelihood = jp.log_likelihood(model)(position)
    assert_same(likelihood, {name: terms[name] for name in ("y", "k")}, **CLOSE)
    assert_same(jp.log_likelihood(model, ["k"])(position), {"k": terms["k"]}, **CLOSE)
    free = [rv.name for rv in model.free_RVs]
    assert_same(
        jp.log_prior(model)(position), {name: terms[name] for name in free}, **CLOSE
    )


def test_illegal_parameters_have_no_density():
    with pm.Model() as model:
        sigma = pm.Normal("sigma")
        shape = pm.Normal("shape", 1.0)
        pm.Normal("x", 0.0, sigma, observed=[0.5, 0.1])
        pm.Gamma("y", shape, 1.0, observed=2.0)
    density, reference = jp.logdensity(model), model.compile_logp()
    for sigma in (-1.0, 0.0, 2.0):
        for shape in (-0.5, 2.0):
            at = {"sigma": np.asarray(sigma), "shape": np.asarray(shape)}
            np.testing.assert_allclose(density(at), reference(at), rtol=1e-12)
            assert np.isfinite(density(at)) == (sigma > 0 and shape > 0)
    error, _ = checkify.checkify(density)({"sigma": -1.0, "shape": 1.0})
    assert "sigma > 0" in error.get()
    terms = jp.logdensity(model, sum=False)({"sigma": -1.0, "shape": 1.0})
    assert (terms["x"] == -np.inf).all()
    assert np.isfinite(terms["y"])


def test_unchecked_model_is_not_checked():
    with pm.Model(check_bounds=False) as model:
        sigma = pm.Normal("sigma")
        pm.Normal("x", 0.0, sigma, observed=0.5)
    with model:
        wanted = model.compile_logp()({"sigma": -1.0})
    density = jp.logdensity(model)
    np.testing.assert_allclose(density({"sigma": -1.0}), wanted)
    assert not checkify.checkify(density)({"sigma": -1.0})[0].get()


def test_constant_illegal_parameters():
    with pm.Model() as model:
        pm.Normal("x", 0.0, -1.0)
    assert jp.logdensity(model)({"x": 0.5}) == -np.inf


def test_density_of_a_minibatch_takes_a_key():
    data = np.arange(20.0)
    with pm.Model() as model:
        mu = pm.Normal("mu")
        batch = pm.Minibatch(data, batch_size=5)
        pm.Normal("y", mu, 1.0, observed=batch, total_size=20)
    density = jp.logdensity(model)
    assert density.takes_key
    assert list(inspect.signature(density).parameters) == ["key", "position"]
    at = {"mu": 2.0}
    draws = jax.vmap(density, (0, None))(jax.random.split(KEY, 4_000), at)
    full = stats.norm.logpdf(data, 2.0).sum() + stats.norm.logpdf(2.0)
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - full) < 4 * error
    with pytest.raises(jaxlink.KeyArgumentError, match="needs a PRNG key first"):
        density(at)


# --- transforms ----------------------------------------------------------------------


def test_constrain(model, position, values):
    got = jp.constrain(model)(position)
    public = {name: x for name, x in values.items() if not name.endswith("__")}
    assert list(got) == list(public)
    assert_same(got, public, **CLOSE)
    everything = jp.constrain(model, include_transformed=True)(position)
    assert list(everything) == list(values)
    assert_same(everything, values, **CLOSE)
    assert_same(
        jp.constrain(model, ["line", "mu"])(position),
        {name: values[name] for name in ("line", "mu")},
        **CLOSE,
    )


def test_unconstrain_undoes_constrain(model, position):
    draw = jp.constrain(model)(position)
    back = jp.unconstrain(model)
    assert_same(back(draw), position, rtol=1e-10, atol=1e-14)
    assert list(back(draw)) == [var.name for var in model.value_vars]
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), draw)
    assert jax.vmap(back)(stacked)["w_simplex__"].shape == (2, 2)


def test_ravel():
    with pm.Model() as model:
        pm.Normal("a", shape=(2, 3))
        pm.HalfNormal("b")
        pm.Normal("c", shape=0)
        pm.Dirichlet("d", [1.0, 2.0, 3.0])
    flat = jp.ravel(model)
    assert flat.size == 6 + 1 + 0 + 2
    vector = jnp.arange(9.0)
    position = flat.unravel(vector)
    assert list(position) == ["a", "b_log__", "c", "d_simplex__"]
    assert position["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(flat.ravel(position), vector)
    assert jax.vmap(flat.unravel)(jnp.ones((4, 9)))["d_simplex__"].shape == (4, 2)
    gradient = jax.grad(lambda v: jp.logdensity(model)(flat.unravel(v)))(vector)
    assert gradient[0] == 0
    assert gradient[1] == -1
    with pytest.raises(ValueError, match=r"must be of shape \(9,\), but is \(8,\)"):
        flat.unravel(jnp.ones(8))
    with pytest.raises(ValueError, match="lacks `a`"):
        flat.ravel({"b_log__": 1.0})
    with pytest.raises(ValueError, match=r"`b_log__` must be of shape \(\)"):
        flat.ravel({**position, "b_log__": jnp.ones(2)})


def test_ravel_of_other_data():
    with pm.Model(coords={"i": [0, 1]}) as model:
        pm.Data("x", [1.0, 2.0], dims="i")
        pm.Normal("b", dims="i")
        pm.Normal("a")
    flat = jp.ravel(model)
    longer = flat.with_data(x=[1.0, 2.0, 3.0], coords={"i": [0, 1, 2]})
    assert (flat.size, longer.size) == (3, 4)
    assert longer.unravel(jnp.arange(4.0))["b"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="fixed shapes"):
        jp.Ravel(flat.shapes).with_data(x=[1.0])


def test_ravel_of_mixed_precision():
    shapes = {
        name: jax.ShapeDtypeStruct((), dtype)
        for name, dtype in (("a", np.float32), ("b", np.float64))
    }
    flat = jp.Ravel(shapes)
    vector = flat.ravel({"a": 1.5, "b": 0.1})
    assert vector.dtype == np.float64
    position = flat.unravel(vector)
    assert position["a"].dtype == np.float32
    assert position["b"] == 0.1


def test_ravel_refuses_discrete_variables(model):
    with pytest.raises(ValueError, match="discrete variables `n`"):
        jp.ravel(model)


# --- where to start ------------------------------------------------------------------


def test_initial_position_is_pymcs(model):
    assert_same(jp.initial_position(model)(KEY), model.initial_point(), **CLOSE)


def test_initial_values_of_all_kinds():
    with pm.Model() as model:
        pm.Normal("a", initval=3.0)
        pm.HalfNormal("b", initval="prior")
        pm.Uniform("c", 0.0, 4.0)
        pm.HalfNormal("d")
    start = jp.initial_position(model, initvals={"c": 1.0, "d_log__": 0.5})
    first, second = start(KEY), start(jax.random.key(8))
    assert first["a"] == second["a"] == 3
    assert first["b_log__"] != second["b_log__"]
    np.testing.assert_allclose(first["c_interval__"], np.log(1 / 3))
    np.testing.assert_allclose(first["d_log__"], 0.5)
    prior = jp.initial_position(model, strategy="prior")
    draws = jax.vmap(prior)(jax.random.split(KEY, 500))
    assert (draws["a"] == 3).all()
    uniform = 4 * jax.nn.sigmoid(draws["c_interval__"])
    assert stats.kstest(uniform, stats.uniform(0, 4).cdf).pvalue > 1e-3
    by_variable = jp.initial_position(model, initvals={model["c"]: 1.0})
    np.testing.assert_allclose(by_variable(KEY)["c_interval__"], np.log(1 / 3))


def test_jitter(model):
    plain = model.initial_point()
    assert plain["n"] == 3
    keys = jax.random.split(KEY, 500)
    draws = jax.vmap(jp.initial_position(model, jitter=True))(keys)
    assert draws.keys() == plain.keys()
    for name in ("mu", "p_logodds__", "sub::z_log__"):
        moved = np.ravel(draws[name] - plain[name])
        assert stats.kstest(moved, stats.uniform(-1, 2).cdf).pvalue > 1e-3, name
    assert (draws["n"] == 3).all()


def test_initial_position_says_what_it_does_not_know(model):
    with pytest.raises(ValueError, match=r"`muu` \(did you mean `mu`"):
        jp.initial_position(model, initvals={"muu": 1.0})
    with pytest.raises(ValueError, match="`moment`"):
        jp.initial_position(model, strategy="moment")
    with pytest.raises(ValueError, match="`median`"):
        jp.initial_position(model, initvals={"mu": "median"})


# --- data ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regression():
    with pm.Model(coords={"i": [0, 1, 2]}) as model:
        x = pm.Data("x", [1.0, 2.0, 3.0], dims="i")
        seen = pm.Data("seen", [1.0, 2.5, 2.0], dims="i")
        b = pm.Normal("b")
        line = pm.Deterministic("line", b * x, dims="i")
        pm.Normal("y", line, 0.5, observed=seen, dims="i")
    return model


def test_other_data(regression):
    at = {"b": 0.7}
    x, y = np.array([0.5, 1.5, -1.0]), np.array([1.0, 0.0, 2.0])
    density = jp.logdensity(regression).with_data(x=x, seen=y)
    wanted = stats.norm.logpdf(0.7) + stats.norm(0.7 * x, 0.5).logpdf(y).sum()
    # PyTensor makes a float32 constant of 0.5, and takes its logarithm.
    np.testing.assert_allclose(density(at), wanted, rtol=1e-8)
    assert regression["x"].get_value().tolist() == [1, 2, 3]


def test_other_data_of_another_length(regression):
    x = np.array([0.5, 1.5, -1.0, 4.0, 2.0])
    coords = {"i": [3, 4, 5, 6, 7]}
    for f in (jp.prior(regression), jp.prior(regression, ["y"])):
        longer = f.with_data({"x": x}, coords=coords)
        drawn = jax.vmap(longer)(jax.random.split(KEY, 3))
        assert drawn["y"].shape == (3, 5)
        assert f(KEY)["y"].shape == (3,)
    predict = jp.posterior_predictive(regression).with_data(x=x, coords=coords)
    assert predict(KEY, {"b": 2.0})["y"].shape == (5,)
    constrain = jp.constrain(regression).with_data(x=x, coords=coords)
    np.testing.assert_array_equal(constrain({"b": 2.0})["line"], 2 * x)
    start = jp.initial_position(regression).with_data(x=x, coords=coords)
    assert start(KEY) == {"b": 0.0}
    density = jp.logdensity(regression).with_data(x=x, seen=x, coords=coords)
    wanted = stats.norm.logpdf(0.7) + stats.norm(0.7 * x, 0.5).logpdf(x).sum()
    np.testing.assert_allclose(density({"b": 0.7}), wanted, rtol=1e-8)


def test_wrong_data_is_refused_before_anything_runs(regression):
    density = jp.logdensity(regression)
    with pytest.raises(ValueError, match="from 3 to 2: pass coords="):
        density.with_data(x=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"`seen` of shape \(3,\) has 3 along it"):
        density.with_data(x=[1.0, 2.0], coords={"i": [0, 1]})
    with pytest.raises(ValueError, match=r"`x` of shape \(2,\) has 2 along it"):
        density.with_data(x=[1.0, 2.0], coords={"i": [0, 1, 2]})
    with pytest.raises(ValueError, match="dimensions `i`, but its new value is of sha"):
        density.with_data(x=1.0)
    with pytest.raises(ValueError, match=r"`X` \(did you mean"):
        density.with_data(X=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="dimension of the model is called `j`"):
        density.with_data(coords={"j": [0]})


@pytest.mark.parametrize(
    "run",
    [
        lambda: jp.sample_prior_predictive(10**9, progressbar=False),
        lambda: jp.sample_posterior_predictive([{"b": 0.0}], progressbar=False),
        lambda: jp.sample(10**9, progressbar=False),
    ],
)
def test_observed_data_of_the_wrong_length_are_refused_early(run):
    with pm.Model(coords={"i": [0, 1, 2]}):
        x = pm.Data("x", [1.0, 2.0, 3.0], dims="i")
        pm.Normal("y", pm.Normal("b") * x, observed=[1.0, 2.0, 3.0], dims="i")
        pm.set_data({"x": [1.0, 2.0]}, coords={"i": [3, 4]})
        with pytest.raises(ValueError, match="of `y` have 3 along `i`, which has 2"):
            run()


# --- as JAX functions ----------------------------------------------------------------


def test_functions_are_pytrees(regression):
    density = jp.logdensity(regression)
    at = {"b": 0.7}
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(density))
    assert shapes == [(), (3,), (3,)]
    np.testing.assert_allclose(jax.jit(lambda f, p: f(p))(density, at), density(at))
    sensitivity = jax.grad(lambda f: f(at), allow_int=True)(density)
    floats = [x for x in jax.tree.leaves(sensitivity) if x.dtype == np.float64]
    assert len(floats) == 2
    assert all(np.any(x != 0) for x in floats)
    again = pickle.loads(pickle.dumps(density))
    assert again(at) == density(at)
    assert repr(again).startswith("ModelFunction logdensity(position) -> array with ")


def test_functions_take_their_arguments_by_name(regression):
    predict = jp.posterior_predictive(regression)
    assert list(inspect.signature(predict).parameters) == ["key", "draw"]
    got = predict(draw={"b": 1.0}, key=KEY)
    np.testing.assert_array_equal(got["y"], predict(KEY, {"b": 1.0})["y"])
    with pytest.raises(jaxlink.KeyArgumentError, match="needs a PRNG key first"):
        predict({"b": 1.0})
    with pytest.raises(jaxlink.ArgumentError, match="must be a dict of arrays"):
        predict(KEY, 1.0)
    with pytest.raises(jaxlink.ArgumentError, match="too many"):
        predict(KEY, {"b": 1.0}, 3)


def test_model_without_free_variables():
    with pm.Model() as model:
        pm.Normal("y", 1.0, 2.0, observed=[0.5, 3.0])
    wanted = stats.norm(1, 2).logpdf([0.5, 3.0]).sum()
    np.testing.assert_allclose(jp.logdensity(model)({}), wanted)
    assert jp.constrain(model)({}) == {}
    assert jp.unconstrain(model)({}) == {}
    assert jp.initial_position(model)(KEY) == {}
    assert jp.ravel(model).size == 0
    assert jp.posterior_predictive(model)(KEY, {})["y"].shape == (2,)


def test_dims_models():
    import pymc.dims as pmd

    with pm.Model(coords={"i": range(3), "j": range(2)}) as model:
        mu = pmd.Normal("mu", dims="i")
        sigma = pmd.HalfNormal("sigma", dims="j")
        pmd.Deterministic("mean", mu.mean())
        seen = pmd.as_xtensor(np.ones((3, 2)), dims=("i", "j"))
        pmd.Normal("y", mu, sigma, observed=seen)
    at = {"mu": np.array([0.1, 0.2, -0.3]), "sigma_log__": np.array([0.5, -0.5])}
    density = jp.logdensity(model)
    np.testing.assert_allclose(density(at), model.compile_logp()(at), rtol=1e-12)
    gradient = jax.grad(density)(at)
    flat = np.concatenate([gradient["mu"], gradient["sigma_log__"]])
    np.testing.assert_allclose(flat, model.compile_dlogp()(at), rtol=1e-10)
    assert jp.log_likelihood(model)(at)["y"].shape == (3, 2)
    np.testing.assert_allclose(jp.constrain(model)(at)["mean"], 0.0, atol=1e-15)
    assert jp.prior(model)(KEY)["y"].shape == (3, 2)
    predict = jp.posterior_predictive(model)
    assert predict(KEY, jp.constrain(model)(at))["y"].shape == (3, 2)
    assert_same(jp.unconstrain(model)(jp.constrain(model)(at)), at, **CLOSE)


# --- models, names and seeds ---------------------------------------------------------


def test_model_on_the_stack(model):
    with model:
        assert resolve_model(None) is model
    with pytest.raises(TypeError, match="no model on the context stack"):
        jp.logdensity()
    with pytest.raises(TypeError, match=r"must be a pm\.Model, not str"):
        jp.logdensity("model")
    check_names(["a"], ["a"], "thing")


def test_seeds():
    def words(*args, **kwargs):
        return jax.random.key_data(resolve_key(*args, **kwargs)).tolist()

    assert (
        words(random_seed=5) == words(jax.random.key(5)) == words(jax.random.PRNGKey(5))
    )
    assert words(random_seed=np.int64(5)) == words(random_seed=5)
    assert words() != words()
    assert words(random_seed=[1, 2]) == words(random_seed=[1, 2])
    assert words(random_seed=[1, 2]) != words(random_seed=[2, 1])
    assert words(random_seed=2**40) != words(random_seed=2**40 + 1)
    rng = np.random.default_rng(1)
    assert words(random_seed=rng) != words(random_seed=rng)
    assert words(random_seed=np.random.default_rng(1)) == words(
        random_seed=np.random.default_rng(1)
    )
    assert words(random_seed=np.random.RandomState(1)) == words(
        random_seed=np.random.RandomState(1)
    )
    with pytest.raises(TypeError, match="not both"):
        resolve_key(KEY, 1)
    with pytest.raises(ValueError, match="negative"):
        resolve_key(None, -1)
    with pytest.raises(TypeError, match="not True"):
        resolve_key(None, True)
    with pytest.raises(jaxlink.KeyArgumentError):
        resolve_key(3)


# What is kept with a model


@pytest.fixture
def densities_made(monkeypatch):
    """The number of log densities that PyMC has made, as the length of a list."""
    made, logp = [], pm.Model.logp

    def counted(model, *args, **kwargs):
        made.append(model)
        return logp(model, *args, **kwargs)

    monkeypatch.setattr(pm.Model, "logp", counted)
    return made


def line():
    with pm.Model() as model:
        slope = pm.Normal("slope")
        pm.Normal("y", slope * np.arange(3.0), observed=[0.0, 1.5, 2.0])
    return model


def test_pymc_makes_a_density_once(densities_made):
    model = line()
    first, second = jp.logdensity(model), jp.logdensity(model)
    assert len(densities_made) == 1
    position = model.initial_point()
    assert first(position) == second(position)
    jp.logdensity(model, jacobian=False)
    jp.logdensity(model, ["y"])
    assert len(densities_made) == 3
    jaxlink.clear_cache()
    jp.logdensity(model)
    assert len(densities_made) == 4


def test_a_changed_model_gets_its_own_density(densities_made):
    with pm.Model() as model:
        x = pm.HalfNormal("x")
    at = {"x_log__": np.array(0.5)}

    def value():
        return float(jp.logdensity(model)(at))

    def expected():
        return float(model.compile_logp()(at))

    before = value()
    with model:
        pm.Potential("more", -x)
    assert value() == pytest.approx(expected()) != before
    potential = model.potentials[0]
    before = value()
    potential.owner.inputs[0] = 2 * x
    assert value() == pytest.approx(expected()) != before
    before = value()
    model.rvs_to_transforms[x] = pm.distributions.transforms.Interval(0, 10)
    assert value() == pytest.approx(expected()) != before
    before = value()
    model.check_bounds = False
    assert value() == before
    # Without the calls of the reference.
    assert len(densities_made) - 3 == 5


def test_a_density_whose_rule_changes_is_made_again(densities_made):
    from pymc.logprob.abstract import _logprob

    model = line()
    jp.logdensity(model)
    before = _logprob.registry[pm.Normal.rv_type]
    try:
        _logprob.register(pm.Normal.rv_type, lambda *args, **kwargs: before(*args))
        jp.logdensity(model)
    finally:
        _logprob.register(pm.Normal.rv_type, before)
    assert len(densities_made) == 2

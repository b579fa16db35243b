"""Modes of PyMC models: against closed forms and PyMC's own, and what is said of
mistakes."""

import jax
import numpy as np
import pymc as pm
import pytest
from scipy import stats

import jaxlink
from jaxlink.pymc.map.find_map import find_MAP
from jaxlink.pymc.map.objective import Objective

KEY = jax.random.key(3)
QUIET = {"progressbar": False}
GRADIENT_FREE = ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"]
FIRST_ORDER = ["BFGS", "CG", "TNC", "SLSQP"]
SECOND_ORDER = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]
SECOND_ORDER += ["dogleg", "trust-exact"]

# mu | y is normal; g is Gamma(3, 2), whose mode is (3 - 1) / 2 without the Jacobian of
# its transform (and 3 / 2 with it).
Y = np.array([0.5, 1.5, 2.2])
MODE = {"mu": Y.sum() / (3 + 1 / 4), "g": 1.0, "g_log__": 0.0}
MODE["d"] = MODE["mu"] + MODE["g"]


def small_model():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0.0, 2.0)
        g = pm.Gamma("g", 3.0, 2.0)
        pm.Deterministic("d", mu + g)
        pm.Normal("y", mu, 1.0, observed=Y)
    return model


def assert_mode(found, expected=MODE, atol=1e-4):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def wide():
    """Dimensions, transforms of all kinds, names that are no identifiers."""
    coords = {"city": ["Rome", "Oslo", "Bonn"], "year": [2001, 2002]}
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", [0.5, 1.0, 2.0], dims="city")
        mu = pm.Normal("mu", dims=("year", "city"))
        sigma = pm.Gamma("sigma", 3.0, 3.0, dims="year")
        raw = pm.Normal("beta[0]", 0.5, shape=2)
        weights = pm.Dirichlet("w", 2.0 * np.ones(3))
        pm.Deterministic("rate", mu * x + raw[0], dims=("year", "city"))
        with pm.Model("part"):
            pm.Beta("z", 2.0, 3.0)
        pm.Potential("pull", -(weights[0] ** 2))
        pm.Normal("y", mu.sum(1), sigma, observed=[0.5, -1.0], dims="year")
    return model


@pytest.fixture(scope="module")
def theirs(wide):
    with pytest.warns(FutureWarning, match="return_inferencedata"):
        point = pm.find_MAP(model=wide, jitter=False, progressbar=False)
    tree = pm.find_MAP(
        model=wide,
        jitter=False,
        progressbar=False,
        compute_hessian=True,
        return_inferencedata=True,
    )
    return point, tree


# What is found


def test_point_is_as_in_pymc(wide, theirs):
    ours = find_MAP(model=wide, **QUIET)
    assert list(ours) == list(theirs[0])
    for name, value in theirs[0].items():
        assert type(ours[name]) is np.ndarray
        assert ours[name].shape == value.shape
        assert ours[name].dtype == value.dtype
        np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)


def test_tree_is_as_in_pymc(wide, theirs):
    tree = find_MAP(
        model=wide, compute_hessian=True, return_inferencedata=True, **QUIET
    )
    assert list(tree.children) == list(theirs[1].children)
    for name, group in theirs[1].children.items():
        mine = tree[name]
        # The last digits of SciPy's way there are no matter.
        varied = {"lbfgs_corrections", "message"}
        assert sorted(mine.data_vars) == sorted(group.data_vars)
        for label, variable in group.variables.items():
            assert mine[label].dims == variable.dims, label
            if varied.isdisjoint({label, *variable.dims}):
                assert mine[label].dtype == variable.dtype, label
                assert mine[label].shape == variable.shape, label
            if label in group.coords:
                np.testing.assert_array_equal(mine[label], group[label])
        assert sorted({*mine.attrs} - {"jaxlink_version"}) == sorted(group.attrs)
    assert list(tree["posterior"].data_vars) == list(theirs[1]["posterior"].data_vars)
    assert tree["posterior"].attrs["jaxlink_version"] == jaxlink.__version__
    for variable in ("mean_vector", "covariance_matrix"):
        np.testing.assert_allclose(
            tree["fit"][variable], theirs[1]["fit"][variable], atol=1e-4
        )


def test_transformed_values(wide):
    point = find_MAP(model=wide, include_transformed=False, **QUIET)
    assert list(point) == ["mu", "beta[0]", "sigma", "w", "part::z", "rate"]


@pytest.fixture(scope="module")
def small():
    return small_model()


def test_mode_in_closed_form(small):
    tree = find_MAP(
        model=small,
        include_transformed=True,
        compute_hessian=True,
        return_inferencedata=True,
        **QUIET,
    )
    assert_mode({name: x.values[0, 0] for name, x in tree["posterior"].items()})
    # Of g: d2/dt2 of -(2 t - 2 exp(t)) at t = 0.
    expected = np.diag([1 / 3.25, 1 / 2])
    np.testing.assert_allclose(tree["fit"]["covariance_matrix"], expected, atol=1e-4)
    value = -float(tree["optimizer_result"]["fun"])
    normal = stats.norm.logpdf(Y, MODE["mu"]).sum()
    normal += stats.norm.logpdf(MODE["mu"], 0, 2) + stats.gamma.logpdf(
        1.0, 3, scale=0.5
    )
    np.testing.assert_allclose(value, normal, atol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        "Powell",
        "bfgs",
        "Newton-CG",
        "trust-exact",
        *[
            pytest.param(method, marks=pytest.mark.slow)
            for method in GRADIENT_FREE + FIRST_ORDER + SECOND_ORDER
            if method not in ("Powell", "BFGS", "Newton-CG", "trust-exact")
        ],
    ],
)
def test_methods(small, method):
    tol = 1e-8 if method in GRADIENT_FREE else None
    tree = find_MAP(method, model=small, tol=tol, return_inferencedata=True, **QUIET)
    point = {name: x.values[0, 0] for name, x in tree["posterior"].items()}
    assert_mode(point, {"mu": MODE["mu"], "g": 1.0}, atol=2e-3)
    assert str(tree["optimizer_result"]["method"].values).lower() == method.lower()


def test_basinhopping():
    """The deeper one of two modes, far from the start."""
    with pm.Model() as model:
        x = pm.Flat("x", initval=3.0)
        pm.Potential("wells", -((x**2 - 9.0) ** 2) / 20.0 - 0.1 * x)
    assert find_MAP(model=model, **QUIET)["x"] > 2.9
    kwargs = {"niter": 10, "stepsize": 5.0, "model": model, **QUIET}
    found = find_MAP("basinhopping", key=KEY, **kwargs)["x"]
    assert -3.1 < found < -2.9
    again = find_MAP("basinhopping", random_seed=3, **kwargs)["x"]
    assert found == again


def test_float32(small):
    with jax.enable_x64(False), pytest.warns(jaxlink.PrecisionWarning):
        point = find_MAP(model=small, **QUIET)
    assert {value.dtype.name for value in point.values()} == {"float32"}
    assert_mode(point, atol=1e-3)


# What is optimized, and from where


def test_vars():
    """What is not named stays at its initial value."""
    with pm.Model() as model:
        a = pm.Normal("a", 1.0)
        b = pm.Normal("b", a, 1.0)
        pm.Normal("y", b, 1.0, observed=4.0)
        pm.Gamma("s", 3.0, 1.0)
    kwargs = {"model": model, "initvals": {"a": 2.0, "s": 5.0}, **QUIET}
    expected = {"a": 2.0, "b": 3.0, "s": 5.0}
    assert_mode(find_MAP(vars=["b"], **kwargs), expected)
    assert_mode(find_MAP(vars=b, **kwargs), expected)
    assert_mode(find_MAP(vars=["s_log__", b], **kwargs), expected | {"s": 2.0})


def test_discrete_variables():
    with pm.Model() as model:
        mu = pm.Normal("mu", 1.0)
        n = pm.Poisson("n", 4.5, initval=2)
        pm.Normal("y", mu + n, 1.0, observed=7.0)
    with pytest.warns(UserWarning, match="discrete variables `n` stay"):
        point = find_MAP(model=model, **QUIET)
    assert_mode(point, {"mu": 3.0, "n": 2})
    assert point["n"].dtype == "int64"
    with pytest.warns(UserWarning, match="`n` have no gradients: .* 'Powell'"):
        point = find_MAP(model=model, vars=["mu", "n"], tol=1e-8, **QUIET)
    # It is rounded to the nearest integer, which Powell's method may not land on.
    start = {"mu": np.array(1.0), "n": np.array(2)}
    objective = Objective(model, start, ["mu", "n"], lambda *_: None)
    values = [objective.value(np.array([1.0, n])) for n in (2.4, 2.6, 3.0)]
    assert values[0] != values[1] == values[2]
    counts = np.arange(20)
    # Given n, mu is (1 + 7 - n) / 2.
    best = stats.poisson.logpmf(counts, 4.5) - (6.0 - counts) ** 2 / 4
    assert_mode(point, {"n": counts[best.argmax()], "mu": (8 - point["n"]) / 2})


def test_hops_over_discrete_variables_in_32_bits():
    """Around Powell's method, as in PyMC."""
    with pm.Model() as model:
        n = pm.Poisson("n", 4.5, initval=2)
        pm.Normal("y", pm.Normal("mu", 1.0) + n, 1.0, observed=7.0)
    kwargs = {"vars": ["mu", "n"], "niter": 2, "return_inferencedata": True}
    with (
        jax.enable_x64(False),
        pytest.warns(jaxlink.PrecisionWarning),
        pytest.warns(UserWarning, match="the method is 'Powell', not 'L-BFGS-B'"),
    ):
        tree = find_MAP("basinhopping", model=model, key=KEY, **kwargs, **QUIET)
    assert tree["optimizer_result"]["method"] == "basinhopping"
    n = int(tree["posterior"]["n"].values[0, 0])
    np.testing.assert_array_equal(tree["fit"]["mean_vector"].sel(rows="n"), n)
    assert_mode(tree["posterior"], {"mu": [[(8 - n) / 2]]}, atol=1e-3)


def test_jitter():
    """It leaves a saddle point, and draws anew where the density is not finite."""
    with pm.Model() as model:
        a = pm.Normal("a")
        b = pm.Normal("b", initval=0.5)
        pm.Potential("apart", pm.math.switch(a > 0.5, 0.0, -np.inf))
        pm.Normal("y", a * b, 0.1, observed=2.0)
    with pytest.raises(ValueError, match="`apart` is -inf"):
        find_MAP(model=model, **QUIET)
    kwargs = {"model": model, "jitter": True, "jitter_max_retries": 50, **QUIET}
    point = find_MAP(key=KEY, **kwargs)
    assert point["a"] * point["b"] == pytest.approx(2.0, abs=0.05)
    again = find_MAP(random_seed=3, **kwargs)
    np.testing.assert_array_equal(point["a"], again["a"])
    with pytest.raises(ValueError, match="`apart` is -inf"):
        find_MAP(random_seed=0, model=model, jitter=True, jitter_max_retries=0, **QUIET)


# On the way


def test_interrupt(small, monkeypatch):
    calls, plain = [], Objective.value_and_gradient

    def value_and_gradient(self, x):
        calls.append(x)
        if len(calls) == 5:
            plain(self, x + 10.0)
            raise KeyboardInterrupt
        return plain(self, x)

    monkeypatch.setattr(Objective, "value_and_gradient", value_and_gradient)
    with pytest.warns(UserWarning, match="the best point so far"):
        point = find_MAP(model=small, **QUIET)
    assert any(np.allclose([point["mu"], point["g_log__"]], x) for x in calls[:4])
    assert abs(point["mu"] - MODE["mu"]) < abs(calls[0][0] - MODE["mu"])


def test_no_convergence(small):
    with pytest.warns(UserWarning, match="did not converge: .*ITERATIONS"):
        find_MAP(model=small, maxiter=1, **QUIET)


def test_progress_bar(small, capsys):
    find_MAP(model=small)
    shown = " ".join(capsys.readouterr().err.split())
    assert "logp = -" in shown
    assert "|grad|" in shown


def test_saddle_point():
    """A Hessian that is not positive definite is told."""
    with pm.Model() as model:
        a, b = pm.Flat("a", initval=0.0), pm.Flat("b", initval=0.0)
        pm.Potential("saddle", -(a**2) + 2 * b**2)
    with pytest.warns(UserWarning, match="not positive definite .* eigenvalue is -4"):
        find_MAP(model=model, compute_hessian=True, return_inferencedata=True, **QUIET)


# What is said of mistakes


def test_start_that_is_not_finite():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Uniform("u", observed=[0.5, 2.0])
        pm.Normal("fine", mu, observed=0.0)
    with pytest.raises(ValueError, match=r"cannot start at {mu: 0") as error:
        find_MAP(model=model, **QUIET)
    assert "`u` is -inf in 1 of 2 entries" in str(error.value)
    assert "`fine`" not in str(error.value)


def test_gradient_that_is_not_finite():
    with pm.Model() as model:
        pm.Normal("calm")
        a = pm.Flat("a", initval=0.0)
        pm.Potential("root", -pm.math.sqrt(a))
    wrong = "derivative with respect to `a` is not finite"
    with pytest.raises(ValueError, match=wrong):
        find_MAP(model=model, **QUIET)


def test_minibatch():
    with pm.Model() as model:
        batch = pm.Minibatch(np.arange(10.0), batch_size=2)
        pm.Normal("y", pm.Normal("mu"), observed=batch, total_size=10)
    with pytest.raises(ValueError, match=r"random, because of pm\.Minibatch"):
        find_MAP(model=model, **QUIET)


def test_nothing_to_optimize(small):
    with pm.Model() as model:
        pm.Poisson("n", 3.0)
    with pytest.raises(ValueError, match="no continuous free random variables"):
        find_MAP(model=model, **QUIET)
    with pytest.raises(ValueError, match="nothing to optimize: no vars"):
        find_MAP(model=small, vars=[], **QUIET)
    with pytest.raises(TypeError, match="no model on the context stack"):
        find_MAP(**QUIET)
    hessian = {"compute_hessian": True, "return_inferencedata": True}
    with pytest.raises(ValueError, match="no Hessian in the discrete variables `n`"):
        find_MAP(model=model, vars=["n"], **hessian, **QUIET)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"method": "L-BFGS"}, ValueError, "did you mean `L-BFGS-B`"),
        ({"vars": ["g_log_"]}, ValueError, "did you mean `g_log__`"),
        ({"vars": ["d"]}, ValueError, "no free random variable of the model"),
        ({"initvals": {"mo": 1.0}}, ValueError, "is called `mo`"),
        ({"start": {}}, TypeError, "use initvals"),
        ({"maxeval": 10}, TypeError, "use maxiter"),
        ({"compute_hessian": True}, ValueError, "return_inferencedata=True"),
        ({"maxiters": 10}, TypeError, "maxiters"),
        ({"key": KEY, "random_seed": 1}, TypeError, "either a key or a random_seed"),
    ],
)
def test_arguments(small, kwargs, error, message):
    with pytest.raises(error, match=message):
        find_MAP(**{"model": small, **QUIET, **kwargs})

"""The example of a whole Bayesian workflow runs, and computes what it says."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytest
from scipy import stats

import jaxlink

EXAMPLE = Path(__file__).parents[1] / "examples" / "horseshoe.py"

# What PyTensor's RandomStream does inside; nobody sees it outside of tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore:RandomVariable Ops will:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Setting default_update:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("horseshoe", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(example):
    return example.load_data()


@pytest.fixture(scope="module")
def workflows(example, data):
    return {
        prior: example.compile_workflow(example.build_model(data, prior))
        for prior in example.PRIORS
    }


@pytest.fixture(scope="module")
def priors(workflows):
    """1,000 draws of each variant, by different keys."""
    return {
        prior: jax.vmap(workflow.prior)(jax.random.split(jax.random.key(seed), 1000))
        for seed, (prior, workflow) in enumerate(workflows.items())
    }


def positions(size, count=3):
    rng = np.random.default_rng(5)
    for _ in range(count):
        shapes = ((), (size,), (size,), ())
        yield [rng.normal(size=shape) / 2 for shape in shapes]


def test_main(example, tmp_path, capsys):
    options = ["--draws", "20", "--warmup", "20", "--chains", "2"]
    # BlackJAX mixes dtypes freely.
    with jax.numpy_dtype_promotion("standard"):
        example.main([*options, "--out", str(tmp_path / "new")])
    figure = tmp_path / "new" / "horseshoe.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for text in ("R-hat", "ESS", "diverged", "accuracy", "base rate"):
        assert text in printed


@pytest.mark.parametrize("prior", ["pymc", "stream"])
def test_gradient_is_pytensors(example, data, workflows, prior):
    model = example.build_model(data, prior)
    inputs, values, log_jacobian = example.unconstrain(model)
    density = example.joint_log_density(model, values) + log_jacobian
    reference = pytensor.function(
        inputs, [density, *pytensor.grad(density, inputs)], mode="FAST_COMPILE"
    )
    log_density = workflows[prior].log_density
    everything = jax.jit(jax.grad(log_density, argnums=(0, 1, 2, 3)))
    each = [jax.jit(jax.grad(log_density, argnums=i)) for i in range(4)]
    for position in positions(len(data.names)):
        value, *gradient = reference(*position)
        np.testing.assert_allclose(log_density(*position), value, rtol=1e-10)
        for i, (got, wanted) in enumerate(
            zip(everything(*position), gradient, strict=True)
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(each[i](*position), wanted, 1e-10, 1e-10)


def test_gradient_far_out(data, workflows):
    """Where probabilities round to 0 and 1, the gradient is still finite."""
    size = len(data.names)
    far = (5.0, np.full(size, 8.0), np.full(size, 40.0), 900.0)
    gradient = jax.grad(workflows["pymc"].log_density, argnums=(0, 1, 2, 3))(*far)
    assert all(np.isfinite(part).all() for part in gradient)


def test_density_is_that_of_the_model(example, data, workflows):
    """By SciPy, with the Jacobian's determinant taken by JAX."""
    size = len(data.names)

    def constrain(flat):
        scale = jax.numpy.exp(flat[0] + flat[1 : size + 1])
        width = scale / jax.numpy.sqrt(1 + scale**2)
        logs, z = flat[: size + 1], flat[size + 1 : -1]
        return jax.numpy.concatenate([jax.numpy.exp(logs), z * width, flat[-1:]])

    for position in positions(size, 1):
        flat = np.concatenate([np.atleast_1d(part) for part in position])
        tau, lam, beta, intercept = np.split(constrain(flat), [1, 1 + size, -1])
        logit = intercept + data.X @ beta
        terms = (
            stats.halfcauchy(scale=example.GLOBAL_SCALE).logpdf(tau),
            stats.halfcauchy.logpdf(lam),
            stats.norm(0, tau * lam).logpdf(beta),
            stats.norm(0, 2).logpdf(intercept),
            stats.bernoulli(1 / (1 + np.exp(-logit))).logpmf(data.y),
        )
        _, log_jacobian = np.linalg.slogdet(jax.jacfwd(constrain)(flat))
        wanted = sum(term.sum() for term in terms) + log_jacobian
        for workflow in workflows.values():
            np.testing.assert_allclose(workflow.log_density(*position), wanted, 1e-9)


def test_prior_shapes(data, priors):
    patients, size = data.X.shape
    shapes = {name: draws.shape[1:] for name, draws in priors["pymc"].items()}
    assert shapes == {
        "tau": (),
        "lam": (size,),
        "beta": (size,),
        "probability": (patients,),
        "outcome": (patients,),
    }


@pytest.mark.parametrize("name", ["tau", "lam", "beta", "probability"])
def test_both_priors_are_the_same(priors, name):
    a, b = (
        np.asarray(draws[name]).reshape(1000, -1)[:, 0] for draws in priors.values()
    )
    assert not np.array_equal(a, b)
    assert stats.ks_2samp(a, b).pvalue > 1e-3


def test_prior_is_the_horseshoe(example, priors):
    for draws in priors.values():
        tau = stats.halfcauchy(scale=example.GLOBAL_SCALE)
        assert stats.kstest(draws["tau"], tau.cdf).pvalue > 1e-3
        assert stats.kstest(draws["lam"][:, 3], stats.halfcauchy.cdf).pvalue > 1e-3
        z = draws["beta"] / (draws["tau"][:, None] * draws["lam"])
        assert stats.kstest(np.ravel(z), stats.norm.cdf).pvalue > 1e-3


def test_prediction_uses_other_patients(data, workflows):
    predict = workflows["pymc"].predict.with_data(X=data.X_test)
    assert isinstance(predict, jaxlink.JAXFunction)
    (position,) = positions(len(data.names), 1)
    drawn = predict(jax.random.key(0), *position)
    _, log_lam, z, intercept = position
    scale = np.exp(position[0] + log_lam)
    beta = z * scale / np.sqrt(1 + scale**2)
    logit = intercept + data.X_test @ beta
    np.testing.assert_allclose(drawn["beta"], beta, rtol=1e-12)
    np.testing.assert_allclose(drawn["probability"], 1 / (1 + np.exp(-logit)), 1e-12)
    assert set(np.unique(drawn["outcome"])) <= {0, 1}

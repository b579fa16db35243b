"""Models that Bambi builds: fitted by jaxlink's sampler in PyMC's place, and by PyMC's
on functions that jaxlink compiles."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from scipy import stats

import jaxlink
from jaxlink import pymc as jp

bambi = pytest.importorskip("bambi")

pytestmark = [
    pytest.mark.slow,
    # Bambi's own.
    pytest.mark.filterwarnings("ignore:For backward compatibility, 'str' dtypes"),
]

SHORT = {"draws": 500, "tune": 500, "chains": 2, "random_seed": 1, "progressbar": False}
SHORT |= {"compute_convergence_checks": False}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 1.0, 60)
    shift = np.repeat([-0.5, 0.0, 0.5], 20)
    y = 1.0 + 2.0 * x + shift + rng.normal(0.0, 0.5, 60)
    g = pd.Categorical(np.repeat(list("abc"), 20))
    passed = (y > y.mean()).astype(int)
    return pd.DataFrame({"x": x, "g": g, "y": y, "passed": passed})


@pytest.fixture
def regression(data):
    return bambi.Model("y ~ x", data)


def assert_line(posterior, data):
    """The priors are wide, so the posterior is about least squares."""
    line = stats.linregress(data["x"], data["y"])
    for name, value, error in (
        ("x", line.slope, line.stderr),
        ("Intercept", line.intercept, line.intercept_stderr),
    ):
        assert abs(posterior[name].mean() - value) < 0.5 * error
        assert abs(posterior[name].std() / error - 1) < 0.25


@pytest.mark.parametrize("method", ["pymc", "blackjax", "numpyro", "nutpie"])
def test_fit_with_the_sampler_of_jaxlink(regression, data, monkeypatch, method):
    monkeypatch.setattr(pm, "sample", jp.sample)
    idata = regression.fit(inference_method=method, cores=2, **SHORT)
    library = "blackjax" if method == "pymc" else method
    assert idata.posterior.attrs["inference_library"] == library
    assert idata.posterior.attrs["modeling_interface"] == "bambi"
    assert set(idata.posterior.data_vars) == {"Intercept", "x", "sigma"}
    assert_line(idata.posterior, data)
    new = data.iloc[:3]
    predicted = regression.predict(idata, data=new, inplace=False).posterior["mu"]
    expected = np.polyval(np.polyfit(data["x"], data["y"], 1), new["x"])
    np.testing.assert_allclose(predicted.mean(("chain", "draw")), expected, atol=0.1)


def test_fit_in_the_mode_of_jaxlink(regression, data):
    mode = {"compile_kwargs": {"mode": jaxlink.MODE}}
    assert_line(regression.fit(cores=1, **mode, **SHORT).posterior, data)


def test_the_model_itself_has_centered_predictors(regression, data, monkeypatch):
    regression.build()
    own = jp.sample(model=regression.backend.model, **SHORT).posterior
    line = stats.linregress(data["x"], data["y"])
    assert abs(own["x"].mean() - line.slope) < 0.5 * line.stderr
    assert abs(own["Intercept"].mean() - data["y"].mean()) < 0.1
    plain = bambi.Model("y ~ x", data, center_predictors=False)
    plain.build()
    position = {"Intercept": 0.3, "x": 1.0, "sigma_log__": 0.1}
    moved = position | {"Intercept": 0.3 + data["x"].mean()}

    def likelihood(model, position):
        return jp.log_likelihood(model.backend.model)(position)["y"].sum()

    np.testing.assert_allclose(
        likelihood(regression, moved), likelihood(plain, position), rtol=1e-9
    )


def test_groups_and_links_agree_with_pymc(data, monkeypatch):
    model = bambi.Model("passed ~ x + (1|g)", data, family="bernoulli")
    settings = SHORT | {"target_accept": 0.95, "init": "adapt_diag"}
    monkeypatch.setattr(pm, "sample", jp.sample)
    ours = model.fit(**settings).posterior
    monkeypatch.undo()
    with pytensor.config.change_flags(linker="auto"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.fit(cores=1, **settings).posterior
    assert set(ours.data_vars) == set(theirs.data_vars)
    for name in theirs.data_vars:
        assert ours[name].dims == theirs[name].dims
        gap = abs(
            ours[name].mean(("chain", "draw")) - theirs[name].mean(("chain", "draw"))
        )
        spread = theirs[name].std(("chain", "draw"))
        assert (gap < 0.35 * spread).all(), name


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_page(data, monkeypatch):
    """Its code runs, with fewer draws."""
    few = {"draws": 20, "tune": 20, "chains": 2, "progressbar": False}
    few |= {"compute_convergence_checks": False}

    def briefly(sample):
        return lambda **given: sample(**(given | few))

    for module in (jp, pm):
        monkeypatch.setattr(module, "sample", briefly(module.sample))
    page = (Path(__file__).parents[1] / "docs" / "bambi.md").read_text()
    namespace = {"data": data, "jaxlink": jaxlink}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "bambi.md", "exec"), namespace)
    assert namespace["idata"].posterior.sizes["draw"] == 20
    assert namespace["density"].names[:3] == ("sigma_log__", "Intercept", "x")


def test_variational_inference(regression, data, monkeypatch):
    monkeypatch.setattr(pm, "fit", jp.fit)
    approximation = regression.fit(
        inference_method="vi", n=5_000, method="fullrank_advi", progressbar=False
    )
    drawn = approximation.sample(1_000, random_seed=2).posterior
    line = stats.linregress(data["x"], data["y"])
    assert abs(drawn["x"].mean() - line.slope) < line.stderr

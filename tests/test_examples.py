"""The examples of models run, print a table and draw a figure."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from support import others_are_slow
from xarray import DataArray, Dataset, DataTree

EXAMPLES = Path(__file__).parents[1] / "examples"
# No model; has a test of its own below; has tests of its own elsewhere.
OTHERS = {"common", "out_of_sample", "horseshoe", "parsl_chains"}
NAMES = sorted({path.stem for path in EXAMPLES.glob("*.py")} - OTHERS)
# To compile takes longest, so the rest is left to the slow run.
BY_DEFAULT = {"eight_schools"}
# Options that one of them has alone.
OPTIONS = {"calibration": ["--datasets", "6", "--chunk", "2", "--compared", "1"]}

# What ArviZ says of chains that are too short.
pytestmark = [
    pytest.mark.filterwarnings(
        r"ignore:(divide by zero|invalid value):RuntimeWarning:arviz_stats\."
    ),
    pytest.mark.filterwarnings(
        r"ignore:Estimated shape parameter of Pareto:UserWarning:arviz_stats\."
    ),
]


@pytest.fixture
def load(monkeypatch):
    """Imports an example as if it was run: its folder is the first to look in."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    with plt.rc_context():
        yield load
    plt.close("all")


@pytest.fixture
def run(load, tmp_path, capsys):
    """Runs an example, checks what it leaves, and returns it and its output folder."""

    def run(name):
        out = tmp_path / "new"
        options = ["--draws", "20", "--tune", "20", "--chains", "2", "--out", str(out)]
        options += OPTIONS.get(name, [])
        example = load(name)
        # ArviZ, BlackJAX and Optax mix dtypes freely.
        with jax.numpy_dtype_promotion("standard"):
            example.main(options)
        figure = out / f"{name}.png"
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert not plt.get_fignums()
        printed = capsys.readouterr().out
        assert "R-hat" in printed
        assert str(figure) in printed
        return example, out

    return run


@pytest.mark.parametrize("name", others_are_slow(NAMES, BY_DEFAULT))
def test_main(name, run):
    run(name)


def test_out_of_sample(run):
    """The predictions on disk are those of the new patients."""
    example, out = run("out_of_sample")
    store = out / "out_of_sample.zarr"
    tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    progress = tree["predictions"]["progress"]
    assert dict(progress.sizes) == {"chain": 2, "draw": 20, "patient": 100}
    assert progress["patient"].values.tolist() == example.NEW.tolist()


def test_every_example_is_in_the_table():
    table = (EXAMPLES / "README.md").read_text()
    for name in [*NAMES, *(OTHERS - {"common"})]:
        assert f"[{name}.py]({name}.py)" in table
        assert f"uv run examples/{name}.py" in (EXAMPLES / f"{name}.py").read_text()


def test_summary_counts_divergences(load, capsys):
    rng = np.random.default_rng(0)
    dims = ("chain", "draw")
    posterior = Dataset({"x[a]": (dims, 1234 + rng.normal(size=(2, 50)))})
    statistics = Dataset({"diverging": (dims, np.arange(100).reshape(2, 50) < 7)})
    groups = {"posterior": posterior, "sample_stats": statistics}
    load("common").print_summary("Title", DataTree.from_dict(groups), ["x[a]"])
    printed = capsys.readouterr().out
    assert "7 of 100 draws diverged." in printed
    assert "x[a]" in printed  # which is no markup
    assert "1,234" in printed


def test_count_bars_count(load):
    """Predictions (4 draws of 3 observations) that are all alike leave no interval."""
    draws = DataArray(np.tile([0, 2, 2], (2, 2, 1)), dims=("chain", "draw", "unit"))
    _, ax = plt.subplots()
    load("common").count_bars(ax, range(3), np.array([0, 0, 1]), draws)
    assert [bar.get_height() for bar in ax.patches] == [2, 1, 0]
    assert ax.lines[0].get_ydata().tolist() == [1, 0, 2]


@pytest.mark.slow
def test_metropolis_draws_from_the_density(load):
    example = load("own_sampler")
    mean, sd = np.array([1.0, -2.0]), np.array([0.5, 3.0])

    def density(x):
        return -jnp.sum(((x - mean) / sd) ** 2) / 2

    def run(key):
        return example.metropolis(key, density, jnp.asarray(mean), 1.7 * sd, 300)

    draws = jax.vmap(run)(jax.random.split(jax.random.key(0), 400))[:, 100:]
    assert draws.shape == (400, 200, 2)
    # 400 independent chains: the mean of each has a standard error of about sd / 5.
    np.testing.assert_allclose(draws.mean((0, 1)), mean, atol=4 * 3 / 5 / 20)
    np.testing.assert_allclose(draws.std((0, 1)), sd, rtol=0.05)


@pytest.mark.slow
def test_importance_weights_are_judged(load):
    """Weights exp(a x^2 / 2) of normal x have a tail of shape a."""
    example, a = load("flow_vi"), 0.3
    x = np.random.default_rng(0).normal(size=(3, 100_000))
    log_ratio = DataArray(5 + a * x**2 / 2, dims=("chain", "draw"))
    tree = DataTree.from_dict({"sample_stats": Dataset({"log_ratio": log_ratio})})
    np.testing.assert_allclose(example.k_hat(tree), a, atol=0.1)
    expected = np.sqrt(1 - 2 * a) / (1 - a)
    np.testing.assert_allclose(example.efficiency(tree), expected, rtol=0.02)
    np.testing.assert_allclose(example.elbos(tree), 5 + a / 2, rtol=0.01)

"""What `jaxlink.pymc.sample` does around its samplers: keys, pieces, starts, errors and
the DataTree. A walk stands for NUTS here, since it compiles in no time."""

import logging
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from pymc.exceptions import SamplingError
from walk import SCALE, SETTINGS, walk, walked

from jaxlink.pymc.mcmc import sample as mcmc
from jaxlink.pymc.mcmc.kernels import Kernel
from jaxlink.pymc.mcmc.progress import MCMCProgress
from jaxlink.pymc.mcmc.sample import sample
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.transforms import constrain

TWO = NamedSharding(jax.make_mesh((2,), ("chain",)), PartitionSpec("chain"))


@pytest.fixture(autouse=True)
def _walk(monkeypatch):
    monkeypatch.setitem(mcmc.KERNELS, "blackjax", walk)


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"school": ["a", "b", "c"]}) as model:
        x = pm.Data("x", [1.0, 2.0, 3.0], dims="school")
        pm.Data("unit", 2.0)
        mu = pm.Normal("mu")
        tau = pm.HalfNormal("tau")
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Deterministic("total", pm.math.exp(theta * x).sum())
        pm.Deterministic("big", theta > 0, dims="school")
        pm.Normal("y", theta, 1, observed=[1.0, 2.0, 3.0], dims="school")
    return model


@pytest.fixture(scope="module")
def small():
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Deterministic("twice", 2 * x)
    return model


def same(one, other, chains=slice(None)):
    """Whether all draws and statistics of ``one`` are the bits of ``other``."""
    for group in ("posterior", "sample_stats"):
        for name, values in one[group].data_vars.items():
            np.testing.assert_array_equal(values, other[group][name][chains])


def test_kernels_move_one_vector(monkeypatch, model):
    """In the order of the names, so that a mass matrix of the user has one too."""
    moved = []

    def still(*settings):
        kernel = walk(*settings)

        def init(log_density, start, key):
            moved.append(start)
            return kernel.init(log_density, start._replace(position={}), key), start

        def step(log_density, state, key, t):
            state, start = state
            _, _, stats = kernel.step(lambda _: log_density(start[0]), state, key, t)
            return (state, start), start.position + jnp.arange(5.0), stats

        return Kernel(init, step)

    monkeypatch.setitem(mcmc.KERNELS, "blackjax", still)
    density = logdensity(model)
    tree = walked(2, model=model)["posterior"].isel(chain=0, draw=0)
    position = {
        "mu": tree["mu"].values,
        "tau_log__": np.log(tree["tau"].values) - 1,
        "theta": tree["theta"].values - [2, 3, 4],
    }
    [start] = moved
    assert start.position.shape == start.gradient.shape == (5,)
    lp = walked(2, model=model)["sample_stats"]["lp"][0, 0]
    np.testing.assert_allclose(lp, density(position), rtol=1e-12)


def test_tree_is_what_pymc_returns(model):
    settings = {
        "tune": 3,
        "chains": 2,
        "discard_tuned_samples": False,
        "progressbar": False,
        "compute_convergence_checks": False,
    }
    with model:
        reference = pm.sample(4, cores=1, nuts_sampler="pymc", **settings)
    tree = sample(4, model=model, **settings)
    assert list(tree.children) == list(reference.children)
    for name, group in reference.children.items():
        ours = tree[name]
        drawn = set() if name.endswith("_data") else {"jaxlink_key", "jaxlink_run"}
        own = {"jaxlink_version", *drawn}
        assert ours.attrs.keys() - group.attrs.keys() == own
        assert group.attrs.keys() <= ours.attrs.keys()
        for coord, labels in group.coords.items():
            if name.endswith("sample_stats") and coord not in ours.coords:
                continue
            np.testing.assert_array_equal(ours.coords[coord], labels)
            assert ours.coords[coord].dtype == labels.dtype
        if name.endswith("sample_stats"):
            assert set(ours.data_vars) <= set(group.data_vars)
        else:
            assert list(ours.data_vars) == list(group.data_vars)
        for variable, values in ours.data_vars.items():
            assert values.dims == group[variable].dims
            if variable != "n_steps":  # a count, which PyMC has as a float
                assert values.dtype == group[variable].dtype
    np.testing.assert_array_equal(tree["observed_data"]["y"], [1, 2, 3])
    np.testing.assert_array_equal(tree["constant_data"]["x"], [1, 2, 3])
    assert tree["posterior"].attrs["tuning_steps"] == 3
    assert tree["posterior"].attrs["inference_library"] == "blackjax"


def test_draws_are_the_values_at_the_positions(model):
    """The walk, made by hand from the law of the keys: each chain has a key, of which
    fold 0 starts it and fold 1 steps it."""
    keep = {"keep_untransformed": True, "discard_tuned_samples": False}
    tree = walked(model=model, tune=2, draws=3, **keep)
    names = [var.name for var in model.value_vars]
    fold_in = jax.random.fold_in
    f, density = constrain(model), logdensity(model)
    for chain in range(2):
        own = fold_in(jax.random.key(1), chain)
        position = initial_position(model, jitter=True)(fold_in(fold_in(own, 0), 0))
        for t in range(5):
            step = fold_in(fold_in(own, 1), t)
            for number, name in enumerate(sorted(names)):
                noise = jax.random.normal(fold_in(step, number), position[name].shape)
                position = position | {name: position[name] + SCALE * noise}
            prefix, draw = ("warmup_", t) if t < 2 else ("", t - 2)
            drawn = tree[f"{prefix}posterior"].sel(chain=chain, draw=draw)
            for name, value in {**f(position), **position}.items():
                np.testing.assert_allclose(drawn[name], value, rtol=1e-12)
            stats = tree[f"{prefix}sample_stats"].sel(chain=chain, draw=draw)
            np.testing.assert_allclose(stats["lp"], density(position), rtol=1e-12)
            assert stats["diverging"] == (t % 5 == 0)
            assert stats["n_steps"] == t


def test_same_key_same_draws(model):
    base = walked(model=model, chains=4)
    same(walked(model=model, chains=4, batch_size=1, sharding=TWO), base)
    other = {"key": jax.random.key(1), "random_seed": None, "var_names": ["total"]}
    part = walked(10, model=model, chains=3, batch_size=21, **other)
    same(part, base.isel(draw=slice(10)), slice(3))
    assert len(np.unique(base["posterior"]["mu"])) == 80


def test_vectorized_chains(small):
    base = walked(model=small, chains=4)
    for kwargs in ({}, {"sharding": TWO, "batch_size": 12}):
        tree = walked(model=small, chains=4, chain_method="vectorized", **kwargs)
        for name, values in base["posterior"].data_vars.items():
            np.testing.assert_allclose(tree["posterior"][name], values, rtol=1e-9)
    with pytest.raises(ValueError, match="3 chains cannot be spread evenly over 2"):
        walked(model=small, chains=3, chain_method="vectorized", sharding=TWO)


def test_chains_go_to_the_devices_of_the_sharding(small, monkeypatch):
    seen = []
    original = mcmc.placements

    def spy(*args):
        seen.extend(original(*args))
        return seen

    monkeypatch.setattr(mcmc, "placements", spy)
    walked(3, model=small, chains=3, tune=0, sharding=TWO)
    devices = [next(iter(lane.whole.device_set)).id for lane in seen]
    assert devices == [0, 0, 1]


def interrupt(monkeypatch, steps):
    """Let Ctrl-C come as soon as each chain has made so many steps."""
    original = MCMCProgress.update

    def update(self, chain, diverging, stats):
        original(self, chain, diverging, stats)
        if self._done.min() >= steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MCMCProgress, "update", update)


def test_interrupt_returns_what_is_done(small, monkeypatch):
    whole = walked(model=small)
    interrupt(monkeypatch, 15)
    with pytest.warns(UserWarning, match=r"each chain has \d+ of 20 draws") as caught:
        part = sample(20, model=small, **SETTINGS)
    assert caught[0].filename == __file__
    draws = part["posterior"].sizes["draw"]
    assert 5 <= draws < 20
    assert part["sample_stats"].sizes["draw"] == draws
    same(part, whole.isel(draw=slice(draws)))


def test_interrupt_in_the_warmup_returns_nothing(small, monkeypatch):
    interrupt(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        walked(model=small)


def test_calls_get_longer_but_not_too_long(small):
    """Steps come in pieces that double until they take a while, and fit the batch."""
    pieces = []
    original = mcmc.Draws.add

    def add(self, values, stats):
        pieces.append(stats["lp"].shape[1])
        original(self, values, stats)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcmc.Draws, "add", add)
        walked(100, model=small, tune=0, batch_size=16)
    assert sum(pieces) == 100
    assert pieces[:4] == [1, 2, 4, 8]
    assert max(pieces) == 8


def test_progress_shows_chains(small, capsys):
    walked(model=small, progressbar=True)
    shown = capsys.readouterr().err
    for text in (
        "Chain 0",
        "Chain 1",
        "30/30",
        "4 div., step 0.01, 29 grad.",
        "steps/s",
    ):
        assert text in shown
    walked(model=small, progressbar="combined")
    shown = capsys.readouterr().err
    assert "Sampling" in shown
    assert "60/60" in shown
    assert "div." not in shown
    walked(model=small)
    assert "steps/s" not in capsys.readouterr().err


def test_convergence_is_checked_as_by_pymc(small, caplog):
    with caplog.at_level(logging.INFO, logger="pymc"):
        walked(200, model=small, compute_convergence_checks=True)
    assert "NUTS[blackjax]: [x]" in caplog.text
    assert "Sampling 2 chains for 10 tune and 200 draw iterations" in caplog.text
    assert "There were 80 divergences after tuning" in caplog.text
    assert "rhat statistic is larger than 1.01" in caplog.text
    # Without any free variable there is nothing to check.
    walked(200, model=small, compute_convergence_checks=True, var_names=["twice"])


def test_var_names_and_labels(model):
    tree = walked(2, model=model, var_names=["total", "mu"])
    assert list(tree["posterior"].data_vars) == ["mu", "total"]
    tree = walked(
        2,
        model=model,
        keep_untransformed=True,
        idata_kwargs={"coords": {"one": [7]}, "dims": {"mu": []}},
    )
    posterior = tree["posterior"]
    np.testing.assert_allclose(np.exp(posterior["tau_log__"]), posterior["tau"])


def test_initvals():
    with pm.Model():
        a = pm.HalfNormal("a", initval=5.0)
        pm.Normal("b", shape=2)
        still = {"jitter": False, "tune": 0, "draws": 2}
        plain = walked(**still)["posterior"]
        one = walked(**still, initvals={a: 3.0, "b": [1.0, 2.0]})["posterior"]
        each = walked(**still, initvals=[{"a_log__": 0.0}, None])["posterior"]
        apart = walked(tune=0, draws=2)["posterior"]
        with pytest.raises(ValueError, match="one for each of the 2 chains"):
            walked(initvals=[{"a": 1.0}])
        with pytest.raises(ValueError, match=r"initvals do not fit.*shape=\(3,\)"):
            walked(initvals={"b": [1.0, 2.0, 3.0]})
        with pytest.raises(ValueError, match=r"`c`"):
            walked(initvals={"c": 1.0})
    near = {"rtol": 0, "atol": 0.2}
    np.testing.assert_allclose(plain["a"][:, 0], [5, 5], **near)
    np.testing.assert_allclose(one["a"][:, 0], [3, 3], **near)
    np.testing.assert_allclose(one["b"][:, 0], [[1, 2], [1, 2]], **near)
    np.testing.assert_allclose(each["a"][:, 0], [1, 5], **near)
    assert np.ptp(np.log(apart["a"].values[:, 0])) > 0.1


def test_starts_are_tried_until_the_density_is_finite():
    with pm.Model():
        x = pm.Normal("x")
        pm.Potential("half", pm.math.switch(x > 0.7, 0.0, -np.inf))
        start = walked(4, tune=0, chains=4, jitter_max_retries=100)
        assert (start["posterior"]["x"] > 0.6).all()
        message = r"chain \d.*{x: .*\(and at 1 others before\).*`half` is -inf"
        with pytest.raises(SamplingError, match=message):
            walked(chains=4, jitter_max_retries=1)
        with pytest.raises(
            SamplingError, match=r"`half` is -inf\. Nothing was sampled"
        ):
            walked(jitter=False)


def test_start_with_a_gradient_that_is_not_finite():
    with pm.Model():
        x = pm.Normal("x")
        y = pm.Normal("y")
        pm.Potential("root", -pm.math.sqrt(pm.math.abs(x)) - y**2)
        with pytest.raises(
            SamplingError, match="derivative with respect to `x` is not"
        ):
            walked(jitter=False)


def test_start_names_the_data_that_do_not_fit():
    with pm.Model():
        p = pm.Beta("p", 1, 1)
        pm.Binomial("wins", n=3, p=p, observed=[2, 5, 1])
        with pytest.raises(SamplingError, match="`wins` is -inf in 1 of 3 entries"):
            walked()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"draws": 2.5}, TypeError, "draws must be an int"),
        ({"tune": -1}, ValueError, "tune must be at least 0"),
        ({"chains": 0}, ValueError, "chains must be at least 1"),
        ({"chains": True}, TypeError, "chains must be an int"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"target_accept": 1.0}, ValueError, "target_accept must be in"),
        ({"nuts_sampler": "blackjacks"}, ValueError, "did you mean `blackjax`"),
        ({"var_names": ["totl"]}, ValueError, "did you mean `total`"),
        ({"var_names": "mu"}, TypeError, r'such as \["mu"\]'),
        ({"nuts": {}, "nuts_sampler_kwargs": {}}, TypeError, "not both"),
        ({"nuts": {"target_accept": 1.0}}, ValueError, "target_accept must be in"),
        (
            {"nuts": {"target_accept": 0.9}, "target_accept": 0.9},
            TypeError,
            "given twice",
        ),
        ({"idata_kwargs": {"coord": {}}}, ValueError, "did you mean `coords`"),
        (
            {"idata_kwargs": {"log_likelihood": True}},
            ValueError,
            "compute_log_likelihood",
        ),
        ({"key": jax.random.key(0)}, TypeError, "not both"),
        ({"progressbar": "spilt"}, ValueError, "did you mean `split`"),
        ({"chain_method": "vmap"}, ValueError, "vectorized"),
        ({"sharding": 2}, TypeError, "sharding must be a jax.sharding"),
        ({"nuts_sampler": "nutpie", "sharding": TWO}, ValueError, "nutpie runs chains"),
        ({"nuts_sampler": "numpyro", "nuts": {"dense": 1}}, ValueError, "`dense_mass`"),
    ],
)
def test_wrong_arguments(model, kwargs, error, message):
    with pytest.raises(error, match=message):
        walked(model=model, **kwargs)


def test_models_that_nuts_cannot_sample():
    with pytest.raises(TypeError, match="no model on the context stack"):
        walked()
    with pm.Model(), pytest.raises(SamplingError, match="no free variables"):
        walked()
    with pm.Model():
        pm.Normal("x", shape=0)
        with pytest.raises(SamplingError, match="are empty"):
            walked()
    with pm.Model():
        k = pm.Poisson("k", 3)
        pm.Bernoulli("b", 0.5)
        pm.Normal("x", k)
        with pytest.raises(ValueError, match=r"`k`, `b`.*jaxlink\.MODE"):
            walked()
    with pm.Model():
        batch = pm.Minibatch(np.arange(10.0), batch_size=2)
        pm.Normal("y", pm.Normal("mu"), observed=batch, total_size=10)
        with pytest.raises(ValueError, match=r"random.*jaxlink\.pymc\.fit"):
            walked()


@pytest.mark.parametrize("package", ["blackjax", "numpyro", "nutpie"])
def test_missing_package(package, model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        walked(model=model, nuts_sampler=package)


def test_names_shapes_and_dtypes_of_all_kinds():
    with pm.Model(name="inner") as inner:
        pm.Normal("x")
    with pm.Model(coords={"day": ["Mon", "Tue"]}) as model:
        beta = pm.Normal("beta[0]", inner["inner::x"] * 0, shape=(1, 2))
        pm.Normal("none", shape=(0, 3))
        pm.Deterministic("count", pm.math.floor(beta).astype("int8"))
        small = pm.Normal("single", dtype="float32")
        pm.Normal("pair", small.astype("float64"), dims="day")
    # PyMC's jitter is of floatX and no other type.
    posterior = walked(3, model=model, jitter=False)["posterior"]
    assert posterior["beta[0]"].shape == (2, 3, 1, 2)
    assert posterior["none"].shape == (2, 3, 0, 3)
    assert posterior["count"].dtype == "int8"
    assert posterior["single"].dtype == "float32"
    assert posterior["pair"].dims == ("chain", "draw", "day")


def test_dims_model():
    with pm.Model(coords={"day": ["Mon", "Tue"]}):
        mu = pmd.Normal("mu", dims="day")
        pmd.HalfNormal("sigma")
        pmd.Deterministic("twice", 2 * mu)
        posterior = walked(3)["posterior"]
    np.testing.assert_array_equal(posterior["twice"], 2 * posterior["mu"])
    assert posterior["twice"].dims == ("chain", "draw", "day")


def test_without_64_bits():
    """Also when only the caller's thread is without them."""
    with pytensor.config.change_flags(floatX="float32"), pm.Model():
        pm.Normal("x", shape=2)
        with jax.enable_x64(False):
            narrow = walked(3)
        wide = walked(3)
    for tree in (narrow, wide):
        assert tree["posterior"]["x"].dtype == "float32"
        assert tree["sample_stats"]["lp"].dtype == "float64"
    np.testing.assert_allclose(
        narrow["sample_stats"]["lp"], wide["sample_stats"]["lp"], atol=10
    )

"""The samplers behind `jaxlink.pymc.sample`, on posteriors that are known."""

import signal

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytest
from arviz_stats import ess
from jax.sharding import NamedSharding, PartitionSpec

from jaxlink.pymc.mcmc.kernels import KERNELS, EvaluatedPosition, make_kernel
from jaxlink.pymc.mcmc.progress import MCMCProgress
from jaxlink.pymc.mcmc.sample import sample

TWO = NamedSharding(jax.make_mesh((2,), ("chain",)), PartitionSpec("chain"))
SAMPLERS = ["blackjax", "numpyro", "nutpie"]
# By default the first one only.
SOME = ["blackjax", *(pytest.param(s, marks=pytest.mark.slow) for s in SAMPLERS[1:])]
STATS = {
    *("diverging", "step_size", "acceptance_rate", "energy", "lp", "tree_depth"),
    *("n_steps", "reached_max_treedepth"),
}

MEAN = np.array([1.0, -2.0, 0.5])
COV = np.array([[1.0, 0.8, 0.0], [0.8, 2.0, -0.5], [0.0, -0.5, 0.5]])


@pytest.fixture(scope="module")
def gaussian():
    """A correlated Gaussian, in a scalar, a vector and a number above 0."""
    precision = np.linalg.inv(COV)
    with pm.Model() as model:
        a = pm.Flat("a")
        b = pm.Flat("b", shape=1)
        c = pm.HalfFlat("c")
        z = pm.math.stack([a, b[0], pm.math.log(c)]) - MEAN
        # The density of c is that of log(c), by the Jacobian of the transform.
        pm.Potential("z", -0.5 * z @ precision @ z - pm.math.log(c))
        pm.Deterministic("log_c", pm.math.log(c))
    return model


def run(model, draws=1000, **kwargs):
    quiet = {"progressbar": False, "compute_convergence_checks": False}
    return sample(draws, model=model, random_seed=3, **quiet, **kwargs)


def check_gaussian(tree):
    """Moments within Monte Carlo error, and statistics that make sense."""
    posterior = tree["posterior"]
    x = np.stack([posterior["a"], posterior["b"][..., 0], posterior["log_c"]], -1)
    size = min(float(v.min()) for v in ess(posterior).data_vars.values())
    assert size > 200
    flat = x.reshape(-1, 3)
    error = np.sqrt(np.diag(COV) / size)
    assert (abs(flat.mean(0) - MEAN) < 5 * error).all()
    scale = np.sqrt(np.diag(COV))
    distance = (np.cov(flat.T) - COV) / np.outer(scale, scale)
    assert (abs(distance) < 5 * np.sqrt(2 / size)).all()

    stats = tree["sample_stats"]
    assert set(stats.data_vars) == STATS
    precision = np.linalg.inv(COV)
    z = x - MEAN
    lp = -0.5 * np.einsum("cdi,ij,cdj->cd", z, precision, z)
    shift = stats["lp"].values - lp
    np.testing.assert_allclose(shift, shift[0, 0], atol=1e-8)
    assert 0.6 < stats["acceptance_rate"].mean() < 0.97
    assert not stats["diverging"].any()
    assert not stats["reached_max_treedepth"].any()
    assert (stats["n_steps"] >= 1).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_correlated_gaussian(gaussian, sampler):
    tree = run(gaussian, nuts_sampler=sampler)
    check_gaussian(tree)
    assert tree["posterior"].attrs["inference_library"] == sampler
    if sampler != "nutpie":  # which jitters the step size, counts whole trees only, and
        stats = tree["sample_stats"]  # has the energy up to a constant
        assert (stats["energy"] > -stats["lp"].max()).all()
        assert (np.ptp(stats["step_size"].values, axis=1) == 0).all()
        assert (stats["n_steps"] < 2 ** stats["tree_depth"]).all()
        assert (stats["n_steps"] >= 2 ** (stats["tree_depth"] - 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("blackjax", {"is_mass_matrix_diagonal": False}),
        ("numpyro", {"dense_mass": True}),
        ("numpyro", {"dense_mass": [("a", "b")]}),
        ("nutpie", {"adaptation": "low_rank"}),
        ("blackjax", {"divergence_threshold": 500, "initial_step_size": 0.1}),
        ("numpyro", {"find_heuristic_step_size": True}),
    ],
)
def test_options(gaussian, sampler, options):
    check_gaussian(run(gaussian, nuts_sampler=sampler, nuts=options))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS[:2])
def test_vectorized(gaussian, sampler):
    method = {"chain_method": "vectorized"}
    check_gaussian(run(gaussian, nuts_sampler=sampler, **method))
    check_gaussian(run(gaussian, nuts_sampler=sampler, sharding=TWO, **method))


@pytest.mark.parametrize("sampler", SOME)
def test_same_key_same_draws(gaussian, sampler):
    """To the bit, after a warm-up in which any rounding would have grown."""
    base = run(gaussian, 100, tune=200, nuts_sampler=sampler)
    further = {"sharding": TWO} if sampler != "nutpie" else {}
    other = run(
        gaussian,
        60,
        tune=200,
        nuts_sampler=sampler,
        chains=2,
        batch_size=14,
        var_names=["c"],
        **further,
    )
    for group in ("posterior", "sample_stats"):
        for name, values in other[group].data_vars.items():
            np.testing.assert_array_equal(values, base[group][name][:2, :60])


@pytest.mark.parametrize("sampler", SOME)
def test_max_treedepth(gaussian, sampler):
    kwargs = {"nuts_sampler": sampler, "nuts": {"max_treedepth": 1}, "jitter": False}
    tree = run(gaussian, 20, tune=0, chains=2, **kwargs)
    stats = tree["sample_stats"]
    assert (stats["tree_depth"] <= 1).all()
    assert (stats["n_steps"] == 1).all()
    # Chains that start at the same place part at once.
    assert (np.diff(tree["sample_stats"]["lp"].values, axis=0) != 0).any()


def test_funnel_diverges():
    with pm.Model() as funnel:
        v = pm.Normal("v", 0, 3)
        pm.Normal("x", 0, pm.math.exp(v / 2), shape=9)
    tree = run(funnel, 500, tune=300, chains=2, nuts_sampler="numpyro")
    diverging = tree["sample_stats"]["diverging"]
    # How often depends on roundings: trajectories in a funnel are chaotic.
    assert 0 < diverging.sum() < 500


def test_blackjax_warms_up_as_its_own_window_adaptation():
    """Given the same keys, the step size and the mass matrix come out the same."""
    scales = jnp.array([0.1, 1.0, 10.0])

    def log_density(position):
        return -0.5 * jnp.sum((position["x"] / scales) ** 2)

    tune, position = 150, {"x": jnp.ones(3)}
    key = jax.random.key(5)
    with jax.numpy_dtype_promotion("standard"):
        adaptation = blackjax.window_adaptation(
            blackjax.nuts, log_density, target_acceptance_rate=0.7
        )
        (_, theirs), _ = adaptation.run(key, position, num_steps=tune)
    kernel = KERNELS["blackjax"](tune, 0.7, {})

    @jax.jit
    def warm_up(keys):
        value, gradient = jax.value_and_grad(log_density)(position)
        state = kernel.init(
            log_density, EvaluatedPosition(position, value, gradient), key
        )

        def step(state, xs):
            state, position, stats = kernel.step(log_density, state, *xs)
            return state, (position, stats)

        return jax.lax.scan(step, state, (keys, jnp.arange(tune)))[0]

    _, tuning = warm_up(jax.random.split(key, tune))
    np.testing.assert_allclose(tuning.step_size, theirs["step_size"], rtol=1e-6)
    np.testing.assert_allclose(
        tuning.metric.inverse_mass_matrix, theirs["inverse_mass_matrix"], rtol=1e-6
    )


@pytest.mark.slow
def test_numpyro_knows_the_window_of_each_step():
    """The window that is computed from the number of a step is the one that NumPyro
    counts by itself."""
    from numpyro.infer.hmc import hmc

    def log_density(position):
        return -0.5 * jnp.sum(position["x"] ** 2)

    tune, position = 160, {"x": jnp.ones(2)}
    options = {"max_treedepth": 1}
    kernel = KERNELS["numpyro"](tune, 0.8, options)
    value, gradient = jax.value_and_grad(log_density)(position)
    start = EvaluatedPosition(position, value, gradient)
    keys = jax.random.split(jax.random.key(0), tune)
    with jax.numpy_dtype_promotion("standard"):
        init, advance = hmc(lambda z: -log_density(z))
        theirs = init(position, tune, max_tree_depth=1, trajectory_length=None)

        @jax.jit
        def both(ours, theirs):
            def step(states, xs):
                ours, theirs = states
                ours, *_ = kernel.step(log_density, ours, *xs)
                return (ours, advance(theirs._replace(rng_key=xs[0]))), None

            return jax.lax.scan(step, (ours, theirs), (keys, jnp.arange(tune)))[0]

        ours = kernel.init(log_density, start, jax.random.key(0))
        ours, theirs = both(ours, theirs)
    for name in ("step_size", "inverse_mass_matrix", "window_idx"):
        np.testing.assert_array_equal(
            getattr(ours.adapt_state, name), getattr(theirs.adapt_state, name)
        )


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_single_precision(sampler):
    with pytensor.config.change_flags(floatX="float32"):
        with pm.Model() as model:
            pm.Normal("x", 3.0, 2.0, shape=2)
        with jax.enable_x64(False):
            narrow = run(model, 300, tune=300, chains=2, nuts_sampler=sampler)
        wide = run(model, 300, tune=300, chains=2, nuts_sampler=sampler)
    for tree in (narrow, wide):
        x = tree["posterior"]["x"]
        assert x.dtype == "float32"
        assert abs(x.mean() - 3) < 0.6
        assert 1.4 < x.std() < 2.6


def test_nutpie_is_interrupted(gaussian, monkeypatch):
    done = []
    original = MCMCProgress.update

    def update(self, chain, diverging, stats):
        original(self, chain, diverging, stats)
        if self._done.min() > 400 and not done:
            done.append(self._done.min())
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MCMCProgress, "update", update)
    with pytest.warns(UserWarning, match=r"each chain has \d+ of 100000 draws"):
        tree = run(gaussian, 100_000, tune=300, chains=2, nuts_sampler="nutpie")
    assert 100 < tree["posterior"].sizes["draw"] < 100_000
    assert np.isfinite(tree["posterior"]["a"]).all()


def test_nutpie_says_which_option_it_does_not_know(gaussian):
    with pytest.raises(AttributeError, match="maxdepht"):
        run(gaussian, nuts_sampler="nutpie", nuts={"maxdepht": 3})


def test_numpyro_keeps_no_trace_of_its_set_up():
    """Its heuristic calls the log density in a step. If the program of the set-up was
    found in a cache, a step is traced without one."""
    kernels = [
        make_kernel("numpyro", 5, 0.8, {"find_heuristic_step_size": True})
        for _ in range(2)
    ]
    key, x = jax.random.key(1), jnp.array([1.0, -0.5])

    def density(scale):
        return lambda position: -(scale * position["x"] ** 2).sum()

    def init(scale):
        logp, slope = jax.value_and_grad(density(scale))({"x": x})
        return kernels[0].init(
            density(scale), EvaluatedPosition({"x": x}, logp, slope), key
        )

    state = jax.jit(init)(2.0)
    first, second = (
        jax.jit(lambda scale, state, k=k: k.step(density(scale), state, key, 0))(
            2.0, state
        )
        for k in kernels
    )
    jax.tree.map(np.testing.assert_array_equal, first[1:], second[1:])
    assert np.isfinite(first[1]["x"]).all()

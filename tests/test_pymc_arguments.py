"""PyMC's arguments: all are taken by name and by place, and act or say what to use."""

import inspect
import logging
import threading
import time

import jax
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from pymc.backends.base import MultiTrace
from pymc.progress_bar import default_progress_theme
from pymc.variational.inference import Inference
from pymc.variational.opvi import ObjectiveFunction
from walk import walk, walked

from jaxlink import pymc as jp
from jaxlink.errors import KeyArgumentError
from jaxlink.pymc.mcmc import chains
from jaxlink.pymc.mcmc import kernels as nuts
from jaxlink.pymc.mcmc import sample as mcmc
from jaxlink.pymc.mcmc.options import read_settings
from jaxlink.pymc.shared.seeds import resolve_key
from jaxlink.pymc.vi import fit as variational

QUIET = {"progressbar": False}
THEIRS = {
    "sample": pm.sample,
    "sample_prior_predictive": pm.sample_prior_predictive,
    "sample_posterior_predictive": pm.sample_posterior_predictive,
    "compute_log_likelihood": pm.stats.compute_log_likelihood,
    "compute_log_prior": pm.stats.compute_log_prior,
    "compute_deterministics": pm.compute_deterministics,
    "fit": pm.fit,
    "find_MAP": pm.find_MAP,
}


@pytest.fixture(autouse=True)
def _walk(monkeypatch):
    monkeypatch.setitem(mcmc.KERNELS, "blackjax", walk)


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"city": ["Rome", "Oslo"]}) as model:
        mu = pm.Normal("mu")
        s = pm.HalfNormal("s", dims="city")
        pm.Deterministic("twice", 2 * s, dims="city")
        pm.Normal("y", mu, 1 + s, observed=[0.5, -1.0], dims="city")
    return model


@pytest.fixture(scope="module")
def posterior():
    return xr.Dataset(
        {
            "mu": (("chain", "draw"), np.zeros((1, 3))),
            "s": (("chain", "draw", "city"), np.ones((1, 3, 2))),
        },
        {"city": ["Rome", "Oslo"]},
    )


# Signatures


@pytest.mark.parametrize("name", THEIRS)
def test_all_arguments_of_pymc_are_there(name):
    """A new one fails here: let it act, or refuse it (`pymc_arguments`)."""
    theirs = inspect.signature(THEIRS[name]).parameters
    ours = inspect.signature(getattr(jp, name)).parameters
    named = [n for n, p in theirs.items() if p.kind is not p.VAR_KEYWORD]
    assert [n for n in named if n not in ours] == []
    by_place = [n for n, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(by_place)] == by_place
    assert all(ours[n].kind is ours[n].POSITIONAL_OR_KEYWORD for n in by_place)


def test_further_arguments_of_fit_are_there():
    """`pymc.fit` hands them on."""
    theirs = {
        *inspect.signature(Inference.fit).parameters,
        *inspect.signature(ObjectiveFunction.step_function).parameters,
    }
    ours = {*inspect.signature(jp.fit).parameters, *variational.REFUSED}
    assert theirs - ours - {"self", "kwargs"} == set()
    of_advi = inspect.signature(pm.ADVI.__init__).parameters
    assert set(of_advi) - {"self", "args", "kwargs"} <= {"random_seed", "start"}


# Arguments that cannot act

MODE = {"mode": "JAX"}
REFUSED = {
    "sample": {
        "step": (object(), "pm.sample"),
        "trace": (object(), "to_zarr"),
        "keep_warning_stat": (True, "diverging"),
        "mp_ctx": ("spawn", "cores="),
        "blas_cores": (2, "cores="),
        "backend": ("numba", "jaxlink.MODE"),
        "compile_kwargs": (MODE, "jaxlink.MODE"),
    },
    "fit": {
        "backend": ("numba", r"pm\.fit.*jaxlink\.MODE"),
        "compile_kwargs": (MODE, "jaxlink.MODE"),
        "include_transformed": (True, r"approximation\.sample"),
        "obj_optimizer": (pm.adam(), "optax.adam"),
        "total_grad_norm_constraint": (1.0, "optax.clip_by_global_norm"),
        "tf_n_mc": (2, "Leave it out"),
        "more_updates": ({1: 2}, "optimizer="),
        "more_replacements": ({1: 2}, "pm.do"),
    },
    "find_MAP": {
        "backend": ("numba", "jaxlink.MODE"),
        "compile_kwargs": (MODE, "jaxlink.MODE"),
        "use_grad": (False, "Nelder-Mead"),
        "use_hess": (True, "trust-exact"),
        "use_hessp": (True, "Newton-CG"),
    },
    **{
        name: {
            "backend": ("numba", rf"pm\.{name}.*jaxlink\.MODE"),
            "compile_kwargs": (MODE, "jaxlink.MODE"),
        }
        for name in THEIRS
        if "sample_" in name or "compute_" in name
    },
}


@pytest.mark.parametrize(
    ("function", "name", "value", "instead"),
    [(f, n, *rest) for f, given in REFUSED.items() for n, rest in given.items()],
)
def test_arguments_that_cannot_act(model, posterior, function, name, value, instead):
    takes = next(iter(inspect.signature(getattr(jp, function)).parameters))
    first = (posterior,) if takes in ("trace", "idata", "dataset") else ()
    with pytest.raises(TypeError, match=rf"^{function} .* {name}: .*{instead}"):
        getattr(jp, function)(*first, model=model, **{name: value})


@pytest.mark.parametrize("run", [jp.sample_prior_predictive, jp.compute_log_likelihood])
def test_misspelt_options_of_a_run(run):
    with pytest.raises(TypeError, match=r"no argument batchsize\. Did you mean batch_"):
        run(batchsize=3)


def test_unknown_arguments(model):
    with pytest.raises(TypeError, match=r"no argument chain\. Did you mean chains"):
        jp.sample(model=model, chain=2)
    with pytest.raises(TypeError, match=r"no argument max_treedeph.*max_treedepth"):
        jp.sample(model=model, max_treedeph=2)
    with pytest.raises(TypeError, match=r"no argument callback\. Did you mean callba"):
        jp.fit(model=model, callback=print)
    with pytest.raises(ValueError, match=r"'svgd'.*advi.*jaxlink\.MODE"):
        jp.fit(10, "svgd", model)
    with pytest.raises(ValueError, match=r"jaxlink\.MODE"):
        jp.fit(method=pm.ADVI(model=model), model=model)
    with pytest.raises(TypeError, match="start as initvals="):
        jp.find_MAP({"mu": 1.0}, model=model)
    with pytest.raises(ValueError, match=r"init must be one of 'auto'.*initvals="):
        jp.sample(model=model, init="advi+adapt_diag")


# Arguments that act


def test_settings_of_nuts():
    def settings(sampler="blackjax", init="auto", nuts=None, **further):
        jitter = further.pop("jitter", None)
        return read_settings(
            sampler,
            init=init,
            jitter=jitter,
            target_accept=None,
            nuts=nuts,
            nuts_sampler_kwargs=None,
            further=further,
            arguments=["init"],
        )

    assert settings() == (0.8, True, {})
    assert settings(init="adapt_diag") == (0.8, False, {})
    assert settings(init="adapt_diag", jitter=True).jitter
    assert settings(max_treedepth=3).options == {"max_treedepth": 3}
    dense = settings(init="jitter+adapt_full", nuts={"max_treedepth": 3})
    assert dense == (0.8, True, {"is_mass_matrix_diagonal": False, "max_treedepth": 3})
    assert settings("numpyro", "adapt_full") == (0.8, False, {"dense_mass": True})
    with pytest.raises(ValueError, match="nutpie has no dense mass matrix"):
        settings("nutpie", "adapt_full")
    with pytest.raises(TypeError, match="given twice"):
        settings(max_treedepth=3, nuts={"max_treedepth": 3})
    for sampler in ("blackjax", "numpyro"):
        options = settings(sampler, "adapt_full").options
        assert set(options) <= set(nuts.OPTIONS[sampler])


def test_none_is_the_default(model):
    nothing = {"tune": None, "nuts_sampler": None, "cores": None, "initvals": None}
    nothing |= {"nuts": None, "idata_kwargs": None, "progressbar_theme": None}
    tree = walked(5, model=model, chains=None, **nothing)
    assert tree.posterior.sizes["chain"] == 4
    assert tree.posterior.attrs["tuning_steps"] == 1000
    assert walked(2, model=model, chains=None, cores=1).posterior.sizes["chain"] == 2
    assert walked(5, model=model, chains=None, cores=3).posterior.sizes["chain"] == 3
    other = walked(2, model=model, nuts_sampler="pymc", n_init=50_000)
    xr.testing.assert_equal(other.posterior, walked(2, model=model).posterior)


def test_cores_bound_the_threads(model, monkeypatch):
    running, most, lock = set(), [0], threading.Lock()
    original = chains.Placement.give

    def give(self, tree):
        with lock:
            running.add(self.chains.start)
            most[0] = max(most[0], len(running))
        time.sleep(0.01)
        with lock:
            running.discard(self.chains.start)
        return original(self, tree)

    monkeypatch.setattr(chains.Placement, "give", give)
    for cores in (1, 3):
        most[0] = 0
        walked(5, model=model, chains=4, cores=cores)
        assert most[0] == cores


def test_quiet(model, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="pymc"):
        shown = {"progressbar": True, "compute_convergence_checks": True}
        walked(5, model=model, quiet=True, **shown)
        assert not caplog.records
        assert capsys.readouterr().err == ""
        walked(5, model=model, **shown, progressbar_theme=default_progress_theme)
        assert caplog.records
        assert "Chain 0" in capsys.readouterr().err
    assert logging.getLogger("pymc.sampling.mcmc").level == logging.NOTSET


def test_include_transformed(model):
    tree = walked(2, model=model, idata_kwargs={"include_transformed": True})
    assert list(tree.posterior.data_vars) == ["mu", "s_log__", "s", "twice"]
    kwargs = {"model": model, "return_inferencedata": True, **QUIET}
    mode = jp.find_MAP(**kwargs, idata_kwargs={"include_transformed": True})
    assert "s_log__" in mode.posterior
    assert "s_log__" not in jp.find_MAP(**kwargs).posterior


def test_multitrace(model):
    tree = walked(4, model=model, discard_tuned_samples=False)
    drawn = walked(4, model=model, return_inferencedata=False)
    assert isinstance(drawn, MultiTrace)
    assert (len(drawn), drawn.nchains, drawn.report.n_draws) == (4, 2, 4)
    assert set(drawn.varnames) == {"mu", "s_log__", "s", "twice"}
    for name in ("mu", "s", "twice"):
        values = drawn.get_values(name, combine=False)
        np.testing.assert_array_equal(values, tree.posterior[name])
    np.testing.assert_allclose(np.exp(drawn["s_log__"]), drawn["s"], rtol=1e-12)
    # PyMC reads it as it reads its own.
    again = pm.to_inference_data(drawn, model=model)
    np.testing.assert_array_equal(again.posterior["mu"], tree.posterior["mu"])
    for name in ("lp", "diverging", "tree_depth", "n_steps", "acceptance_rate"):
        stats = again.sample_stats[name]
        np.testing.assert_array_equal(stats, tree.sample_stats[name])
    kwargs = {"return_inferencedata": False, "discard_tuned_samples": False}
    all_steps = walked(4, model=model, var_names=["mu"], **kwargs)
    assert all_steps.varnames == ["mu"]
    mu = np.concatenate([tree.warmup_posterior["mu"], tree.posterior["mu"]], axis=1)
    np.testing.assert_array_equal(all_steps.get_values("mu", combine=False), mu)


def test_callback(model):
    seen = []

    def callback(trace, draw):
        value = draw.point["mu"]
        assert set(draw.point) == {"mu", "s_log__"}
        assert len(trace) == draw.draw_idx + 1
        assert trace.get_values("mu")[draw.draw_idx] == value
        assert draw.tuning == (draw.draw_idx < 10) == draw.stats[0]["tune"]
        assert draw.is_last == (draw.draw_idx == 13)
        seen.append((draw.chain, draw.draw_idx, value))

    tree = walked(4, model=model, callback=callback)
    xr.testing.assert_equal(tree.posterior, walked(4, model=model).posterior)
    assert sorted(step[:2] for step in seen) == [
        (c, t) for c in (0, 1) for t in range(14)
    ]
    drawn = {(chain, t): x for chain, t, x in seen}
    for chain in range(2):
        values = [drawn[chain, t] for t in range(10, 14)]
        np.testing.assert_array_equal(tree.posterior["mu"][chain], values)


def test_callback_can_end_the_run(model):
    def callback(trace, draw):
        del trace
        if draw.draw_idx == 20:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match=r"each chain has \d+ of 1000 draws"):
        tree = walked(1000, model=model, callback=callback)
    assert 10 <= tree.posterior.sizes["draw"] < 1000


def test_arguments_of_fit(model):
    by_place = jp.fit(3, "advi", model, 1, {"mu": 0.5}, {"mu": 0.2}, None, **QUIET)
    names = {"random_seed": 1, "start": {"mu": 0.5}, "start_sigma": {"mu": 0.2}}
    further = {"obj_n_mc": 2, "score": True, "callbacks": None, **QUIET}
    of_dict = jp.fit(3, model=model, inf_kwargs=names, **further)
    np.testing.assert_array_equal(by_place.mean, of_dict.mean)
    np.testing.assert_array_equal(by_place.scale, of_dict.scale)
    with pytest.raises(TypeError, match="start is given twice"):
        jp.fit(3, model=model, start={"mu": 1.0}, inf_kwargs=names)
    with pytest.raises(TypeError, match="either mc_samples or obj_n_mc"):
        jp.fit(3, model=model, mc_samples=2, obj_n_mc=2)
    with pytest.raises(ValueError, match="did you mean `start`"):
        jp.fit(3, model=model, inf_kwargs={"strt": 1})


def test_arguments_of_predictive_sampling(model, posterior):
    one = jp.sample_prior_predictive(2, model, {"mu"}, 1, False, None, None, None)
    two = jp.sample_prior_predictive(2, model, ["mu"], key=jax.random.key(1), **QUIET)
    np.testing.assert_array_equal(one["mu"], two.prior["mu"][0])
    kwargs = {"progressbar": True, "progressbar_theme": default_progress_theme}
    jp.sample_posterior_predictive(posterior, model, var_names=["y"], **kwargs)


def test_merge_dataset(model, posterior):
    both = jp.compute_deterministics(
        posterior, model=model, merge_dataset=True, **QUIET
    )
    assert set(both.data_vars) == {"mu", "s", "twice"}
    assert "twice" not in posterior
    with pytest.raises(ValueError, match="not both"):
        jp.compute_deterministics(
            posterior, model=model, merge_dataset=True, extend_dataset=True
        )


# Keys and seeds, counts and containers


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"random_seed": jax.random.key(0)}, TypeError, "pass it as key="),
        ({"random_seed": jax.random.PRNGKey(0)}, TypeError, "pass it as key="),
        ({"key": 3}, KeyArgumentError, "not 3. Pass a seed as random_seed="),
        ({"key": np.int64(3)}, KeyArgumentError, "Pass a seed as random_seed="),
        ({"key": [1, 2]}, KeyArgumentError, r"not \[1, 2\]. Pass a seed"),
        ({"key": np.random.default_rng()}, KeyArgumentError, "not a Generator. Pass"),
        ({"key": pd.Series([1])}, KeyArgumentError, "not a Series. Pass a seed"),
        ({"random_seed": 1.5}, TypeError, "an int, a sequence of ints .* not 1.5"),
        ({"random_seed": "a"}, TypeError, "not 'a'"),
        ({"random_seed": True}, TypeError, "not True"),
        ({"random_seed": []}, TypeError, r"not \[\]"),
        ({"random_seed": np.array([1.0, 2.0])}, TypeError, "not a ndarray"),
        ({"random_seed": -1}, ValueError, "not be negative, but is -1"),
        ({"random_seed": [3, -2]}, ValueError, "not be negative, but is -2"),
    ],
)
def test_keys_and_seeds(given, error, message):
    with pytest.raises(error, match=message):
        resolve_key(**given)


@pytest.mark.parametrize("of", [list, np.array, pd.Series, xr.DataArray, pd.Index])
def test_seeds_of_all_containers(of):
    bits = jax.random.key_data(resolve_key(random_seed=of([1, 2])))
    words = np.random.SeedSequence([1, 2]).generate_state(2, np.uint32)
    np.testing.assert_array_equal(bits, words)


def test_seeds_that_are_scalars():
    for seed in (5, np.int64(5), np.array(5), xr.DataArray(5)):
        assert resolve_key(random_seed=seed) == jax.random.key(5)
    big = jax.random.key_data(resolve_key(random_seed=2**70))
    words = np.random.SeedSequence(2**70).generate_state(2, np.uint32)
    np.testing.assert_array_equal(big, words)


@pytest.mark.parametrize("of", [np.array, pd.Series, xr.DataArray])
def test_starts_in_all_containers(model, of):
    start = jp.initial_position(model, initvals={"s": of([1.0, 2.0])})
    position = start(jax.random.key(0))
    np.testing.assert_allclose(position["s_log__"], np.log([1.0, 2.0]))


def test_starts_that_are_no_dicts(model, posterior):
    with pytest.raises(TypeError, match=r"initvals must be a dict .*, not a Series"):
        jp.initial_position(model, initvals=pd.Series({"mu": 1.0}))
    # A Dataset is one.
    start = jp.initial_position(model, initvals=posterior.isel(chain=0, draw=0))
    assert start(jax.random.key(0))["mu"] == 0.0


def test_containers_that_are_no_traces(posterior, model):
    for run in (jp.compute_log_likelihood, jp.compute_log_prior):
        with pytest.raises(ValueError, match=r"it is a Dataset. Pass .*DataTree.from"):
            run(posterior, model=model)
        with pytest.raises(ValueError, match="it is a DataFrame"):
            run(pd.DataFrame(), model=model)
        with pytest.raises(ValueError, match="it has the groups `prior`"):
            run(xr.DataTree.from_dict({"prior": posterior}), model=model)
    with pytest.raises(TypeError, match="not DataFrame"):
        jp.sample_posterior_predictive(pd.DataFrame(), model)


def test_names_that_are_variables(model):
    with pytest.raises(TypeError, match="names are strings, such as 'mu'"):
        jp.prior(model, [model["mu"]])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"cores": 0}, "cores must be"), ({"n_init": -1}, "n_init must be")],
)
def test_counts_of_sample(model, kwargs, message):
    with pytest.raises(ValueError, match=message):
        jp.sample(model=model, **kwargs)


def test_counts_of_fit(model):
    for n in (0, -1):
        with pytest.raises(ValueError, match="n must be at least 1"):
            jp.fit(n, model=model)
    with pytest.raises(ValueError, match="n must be less than"):
        jp.fit(10**10, model=model)
    with pytest.raises(ValueError, match="mc_samples must be at least 1"):
        jp.fit(1, model=model, obj_n_mc=0)


def test_models_of_empty_variables():
    with pm.Model() as model:
        pm.Normal("x", shape=0)
    for run in (jp.fit, jp.find_MAP):
        with pytest.raises(ValueError, match="are empty"):
            run(model=model)


def test_more_draws_than_memory(model, tmp_path):
    """None of it is made."""
    store = {"store": tmp_path / "draws", **QUIET}
    with pytest.raises(ValueError, match=r"2\*\*32.*store=PATH"):
        jp.sample_prior_predictive(10**10, model)
    with pytest.raises(ValueError, match=r"2\*\*32.*several runs"):
        jp.sample_prior_predictive(10**10, model, **store)
    advice = "more than this machine's memory of .* Pass store=PATH"
    with pm.Model() as wide:
        pm.Normal("x", shape=100_000)
    for run in (
        lambda n: jp.sample_prior_predictive(n, wide, **QUIET),
        lambda n: jp.fit(1, model=wide, **QUIET).sample(n),
    ):
        with pytest.raises(MemoryError, match=advice):
            run(2**31)
    with pytest.raises(MemoryError, match=r"machine's memory.*several runs.*to_zarr"):
        walked(2**30, model=wide)
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 steps"):
        walked(10**10, model=wide)

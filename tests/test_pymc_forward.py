"""Predictive sampling of PyMC models: the trees that PyMC returns, which draws are in
them, and what is said of mistakes."""

import jax
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytest
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from pymc.backends import NDArray
from pymc.backends.base import MultiTrace
from pymc.exceptions import ImplicitFreezeWarning
from pymc_support import (
    KEY,
    QUIET,
    assert_identical,
    assert_same_structure,
    drawn_for_wide_model,
    prior_of_wide_model,
    shared_wide_model,
    trace_of_wide_model,
    wide_model,
)

from jaxlink import ArgumentError
from jaxlink.pymc.model.predictive import posterior_predictive, prior
from jaxlink.pymc.predict.compute import (
    compute_deterministics,
    compute_log_likelihood,
)
from jaxlink.pymc.predict.forward import (
    sample_posterior_predictive,
    sample_prior_predictive,
)


@pytest.fixture(scope="module")
def model():
    return shared_wide_model()


@pytest.fixture(scope="module")
def from_prior():
    return prior_of_wide_model()


@pytest.fixture(scope="module")
def trace():
    return trace_of_wide_model()


@pytest.fixture(scope="module")
def drawn():
    return drawn_for_wide_model()


# The trees that PyMC returns


def test_prior(model, from_prior):
    ours = from_prior
    theirs = pm.sample_prior_predictive(12, model, random_seed=1)
    # PyMC orders the variables of these groups by their hashes.
    assert_same_structure(ours, theirs, ordered=False)
    names = [var.name for var in [*model.basic_RVs, *model.deterministics]]
    for group in ("prior", "prior_predictive"):
        drawn = list(ours[group].data_vars)
        assert drawn == [name for name in names if name in drawn]


def test_prior_of_some_variables(model):
    names = ["flag", "shift", "scaled"]
    ours = sample_prior_predictive(3, model, names, key=KEY, **QUIET)
    theirs = pm.sample_prior_predictive(3, model, names, random_seed=1)
    assert_same_structure(ours, theirs, ordered=False)
    assert list(ours["prior"].data_vars) == ["shift", "scaled"]
    arrays = sample_prior_predictive(
        3, model, names, key=KEY, return_inferencedata=False, **QUIET
    )
    assert list(arrays) == names
    np.testing.assert_array_equal(arrays["flag"], ours["prior_predictive"]["flag"][0])


def test_prior_takes_conversion_arguments(model):
    options = {"coords": {"axis": ["a", "b"]}, "dims": {"raw[0]": ["axis"]}}
    ours = sample_prior_predictive(
        3, model, ["raw[0]"], key=KEY, idata_kwargs=options, **QUIET
    )
    theirs = pm.sample_prior_predictive(
        3, model, ["raw[0]"], random_seed=1, idata_kwargs=options
    )
    assert_same_structure(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"var_names": ["mu", "y", "rate"]},  # two of them are copied
        {"var_names": "scaled"},
        {"sample_vars": ["shift", "y"]},
        {"var_names": ["y"], "sample_vars": "part::z", "freeze_vars": ["mu"]},
        {"predictions": True, "var_names": ["flag"]},
        {
            "var_names": ["gap_observed"],
            "idata_kwargs": {"dims": {"gap_observed": ["seen"]}},
        },
    ],
    ids=str,
)
def test_posterior_predictive(model, trace, options):
    theirs = pm.sample_posterior_predictive(
        trace, model, random_seed=1, **options, **QUIET
    )
    ours = sample_posterior_predictive(trace, model, key=KEY, **options, **QUIET)
    assert_same_structure(ours, theirs)
    group = "predictions" if "predictions" in options else "posterior_predictive"
    for name in {"mu", "rate", "scaled"} & set(ours[group]):
        np.testing.assert_array_equal(ours[group][name], trace["posterior"][name])
        assert not np.shares_memory(ours[group][name], trace["posterior"][name])


def test_other_sample_dimensions(model, trace):
    flat = trace["posterior"].to_dataset().stack(sample=("chain", "draw"))
    again = trace["posterior"].to_dataset().expand_dims(pred_id=2)
    for posterior, dims in [
        (flat.reset_index("sample", drop=True), ["sample"]),
        (flat, ["sample"]),
        (again, ["chain", "draw", "pred_id"]),
        (trace["posterior"].to_dataset(), ["draw", "chain"]),
    ]:
        options = {"var_names": ["flag", "mu"], "sample_dims": dims, **QUIET}
        ours = sample_posterior_predictive(posterior, model, key=KEY, **options)
        theirs = pm.sample_posterior_predictive(posterior, model, **options)
        assert_same_structure(ours, theirs)


def test_new_data_and_coords(trace):
    with wide_model():
        pm.set_data({"x": [1.0, 2.0, 3.0]}, coords={"city": ["Pisa", "Bari", "Como"]})
        options = {"var_names": ["rate", "scaled"], "predictions": True, **QUIET}
        with pytest.warns(ImplicitFreezeWarning):
            ours = sample_posterior_predictive(trace, key=KEY, **options)
        with pytest.warns(ImplicitFreezeWarning):
            theirs = pm.sample_posterior_predictive(trace, **options)
    assert_same_structure(ours, theirs)
    assert "predictions_constant_data" in ours.children
    for name in options["var_names"]:
        np.testing.assert_allclose(
            ours["predictions"][name], theirs["predictions"][name], rtol=1e-14
        )


@pytest.mark.parametrize("predictions", [False, True])
def test_extend(model, trace, predictions):
    mine, other = trace.copy(), trace.copy()
    options = {"extend_inferencedata": True, "predictions": predictions, **QUIET}
    options["var_names"] = ["flag"]
    ours = sample_posterior_predictive(mine, model, key=KEY, **options)
    assert ours is mine
    theirs = pm.sample_posterior_predictive(other, model, **options)
    assert list(ours.children) == list(theirs.children)
    with pytest.warns(UserWarning, match="are replaced"):
        sample_posterior_predictive(mine, model, key=KEY, **options)


def test_no_variables(model, trace):
    options = {"var_names": [], "key": KEY, **QUIET}
    assert not sample_posterior_predictive(trace, model, **options).children
    own = sample_posterior_predictive(
        trace, model, extend_inferencedata=True, **options
    )
    assert own is trace
    assert (
        sample_posterior_predictive(trace, model, return_inferencedata=False, **options)
        == {}
    )


def test_dims_model():
    with pm.Model(coords={"city": ["Rome", "Oslo"]}) as model:
        mu = pmd.Normal("mu", dims="city")
        twice = pmd.Deterministic("twice", mu * 2)
        seen = pmd.Data("seen", [0.0, 1.0], dims="city")
        pmd.Normal("y", twice, 1.0, observed=seen)
    ours = sample_prior_predictive(3, model, key=KEY, **QUIET)
    theirs = pm.sample_prior_predictive(3, model, random_seed=1)
    assert_same_structure(ours, theirs, ordered=False)
    posterior = theirs["prior"].to_dataset()
    options = {"var_names": ["y", "twice"], **QUIET}
    ours = sample_posterior_predictive(posterior, model, key=KEY, **options)
    theirs = pm.sample_posterior_predictive(posterior, model, **options)
    assert_same_structure(ours, theirs)


def test_other_forms_of_a_trace(model, trace):
    """Points and a MultiTrace give the draws of the DataTree with the same values."""
    posterior = trace["posterior"].to_dataset()
    options = {"key": KEY, "var_names": ["y", "mu"], **QUIET}
    expected = sample_posterior_predictive(trace, model, **options)
    expected = expected["posterior_predictive"].to_dataset()
    for same in (posterior, trace["posterior"]):
        ours = sample_posterior_predictive(same, model, **options)
        # Other numbers of draws are other programs, which may round in another way.
        found = ours["posterior_predictive"].to_dataset()
        xr.testing.assert_allclose(found, expected, rtol=1e-14)

    names = [rv.name for rv in model.free_RVs]
    first = posterior.isel(chain=[0])
    points = [
        {name: first[name].values[0, i] for name in names} | {"sigma_log__": 0.0}
        for i in range(4)
    ]
    # Points do not say what the coordinates were.
    with pytest.warns(ImplicitFreezeWarning, match="city"):
        ours = sample_posterior_predictive(points, model, **options)
    with pytest.warns(ImplicitFreezeWarning, match="city"):
        theirs = pm.sample_posterior_predictive(
            points, model, var_names=["y", "mu"], **QUIET
        )
    assert_same_structure(ours, theirs)
    xr.testing.assert_allclose(
        ours["posterior_predictive"].to_dataset(), expected.isel(chain=[0]), rtol=1e-14
    )

    with pm.Model() as small:
        a = pm.HalfNormal("a")
        pm.Normal("y", a, 1.0, observed=[1.0, 2.0])
    straces = []
    for chain in range(2):
        straces.append(NDArray(model=small))
        straces[-1].setup(draws=3, chain=chain)
        for i in range(3):
            straces[-1].record({"a_log__": np.log(1.0 + i + chain)}, in_warmup=False)
        straces[-1].close()
    multitrace = MultiTrace(straces)
    ours = sample_posterior_predictive(multitrace, small, key=KEY, **QUIET)
    theirs = pm.sample_posterior_predictive(multitrace, small, **QUIET)
    assert_same_structure(ours, theirs)
    values = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    dataset = xr.Dataset({"a": (("chain", "draw"), values)})
    same = sample_posterior_predictive(dataset, small, key=KEY, **QUIET)
    np.testing.assert_allclose(
        ours["posterior_predictive"]["y"], same["posterior_predictive"]["y"], 1e-14
    )


# Which draws


def test_key_of_each_draw(model, trace):
    """The draw at chain c and draw d has the key fold_in(fold_in(key, c), d)."""
    names = ["flag", "part::z"]
    anew = ["part::z"]
    ours = sample_posterior_predictive(
        trace, model, var_names=names, sample_vars=anew, key=KEY, **QUIET
    )
    fn = jax.jit(posterior_predictive(model, names, sample_vars=anew))
    posterior = trace["posterior"]
    for c, d in [(0, 0), (2, 3)]:
        key = jax.random.fold_in(jax.random.fold_in(KEY, c), d)
        draw = {rv.name: posterior[rv.name].values[c, d] for rv in model.free_RVs}
        for name, value in fn(key, draw).items():
            np.testing.assert_allclose(
                ours["posterior_predictive"][name][c, d], value, rtol=1e-14
            )
    drawn = sample_prior_predictive(3, model, ["flag"], key=KEY, **QUIET)
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 2)
    np.testing.assert_array_equal(
        drawn["prior_predictive"]["flag"][0, 2],
        jax.jit(prior(model, ["flag"]))(key)["flag"],
    )


@pytest.mark.parametrize("batch_size", [1, 3, 12])
def test_same_draws_for_any_batch_size(model, trace, drawn, batch_size):
    options = {"var_names": ["y", "flag", "mu"], "batch_size": batch_size, **QUIET}
    assert_identical(
        sample_posterior_predictive(trace, model, key=KEY, **options), drawn
    )


def test_same_draws_on_two_devices(model, trace, drawn):
    mesh = Mesh(np.array(jax.devices()), ("draws",))
    sharding = NamedSharding(mesh, PartitionSpec("draws"))
    options = {"var_names": ["y", "flag", "mu"], "sharding": sharding, **QUIET}
    assert_identical(
        sample_posterior_predictive(trace, model, key=KEY, **options), drawn
    )


def test_draws_stay_with_their_sample(model, trace, drawn):
    options = {"var_names": ["y", "flag", "mu"], "key": KEY, **QUIET}
    for index in ({"chain": [2, 0, 1]}, {"draw": [0, 2, 3]}):
        part = trace["posterior"].to_dataset().isel(index)
        ours = sample_posterior_predictive(part, model, **options)
        xr.testing.assert_allclose(
            ours["posterior_predictive"].to_dataset(),
            drawn["posterior_predictive"].to_dataset().isel(index),
            rtol=1e-14,
        )


def test_what_is_asked_for_changes_no_prior_draw(model, from_prior):
    names = ["mu", "flag"]
    fewer = sample_prior_predictive(5, model, names, key=KEY, batch_size=2, **QUIET)
    for group, name in [("prior", "mu"), ("prior_predictive", "flag")]:
        xr.testing.assert_equal(fewer[group][name], from_prior[group][name][:, :5])


def test_seeds(model):
    def draw(**seed):
        arrays = sample_prior_predictive(
            2, model, ["sigma"], return_inferencedata=False, **seed, **QUIET
        )
        return arrays["sigma"].tolist()

    assert draw(random_seed=3) == draw(key=jax.random.key(3)) != draw(random_seed=4)
    assert draw() != draw()


# What is wrong


def bad_trace(trace, **changes):
    posterior = trace["posterior"].to_dataset()
    return posterior.drop_vars(list(changes)).assign(changes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"var_names": ["flog"]}, ValueError, "`flog` .*mean `flag`"),
        ({"sample_vars": ["sigmo"]}, ValueError, "`sigmo` .*mean `sigma`"),
        ({"var_names": ["y"], "freeze_vars": ["ratee"]}, ValueError, "mean `rate`"),
        ({"var_names": ["y"], "freeze_vars": ["y"]}, ValueError, "freeze_vars has `y`"),
        ({"sample_dims": ["sample"]}, ValueError, "no dimension `sample`"),
        ({"sample_dims": []}, ValueError, "must be a list"),
        ({"batch_size": 0}, ValueError, "at least 1"),
        ({"batch_size": 1.5}, TypeError, "must be an int"),
        ({"sharding": "cpu"}, TypeError, "jax.sharding.Sharding"),
        ({"random_seed": 1}, TypeError, "not both"),
        ({"memory_limit": 0}, ValueError, "number of bytes"),
        ({"store": "a", "return_inferencedata": False}, ValueError, "with a store"),
        ({"store": "a", "store_mode": "r"}, ValueError, "store_mode must be"),
    ],
)
def test_wrong_arguments(model, trace, options, error, message):
    with pytest.raises(error, match=message):
        sample_posterior_predictive(trace, model, key=KEY, **options, **QUIET)


def test_wrong_traces(model, trace):
    def draw(trace, names=("y",), **options):
        options |= {"var_names": list(names), "key": KEY, **QUIET}
        return sample_posterior_predictive(trace, model, **options)

    posterior = trace["posterior"].to_dataset()
    with pytest.raises(ValueError, match="the trace is empty"):
        draw(trace.isel(draw=slice(0)))
    with pytest.raises(ValueError, match="the trace is empty"):
        draw([])
    with pytest.raises(TypeError, match=r"list of points: \[trace\]"):
        draw({"mu": 0.0})
    with pytest.raises(TypeError, match="not int"):
        draw(3)
    with pytest.raises(ValueError, match=r"has no posterior\. Its groups are `prior`"):
        draw(xr.DataTree.from_dict({"prior": posterior}))
    with pytest.raises(ValueError, match="points of the trace differ"):
        draw([{"mu": 0.0}, {"sigma": 0.0}])
    wrong = bad_trace(trace, **{"raw[0]": (("chain", "draw", "i"), np.ones((3, 4, 5)))})
    with pytest.raises(ValueError, match=r"`raw\[0\]` .* shape \(5,\).*but \(2,\)"):
        draw(wrong, ["gap_observed"])
    wrong = bad_trace(trace, sigma=(("chain", "draw", "i"), np.ones((3, 4, 5))))
    with pytest.raises(ValueError, match=r"`sigma` .* but \(\) in the model"):
        draw(wrong)
    wrong = bad_trace(trace, sigma=("chain", np.ones(3)))
    with pytest.raises(
        ValueError, match="`sigma` of the trace has no dimension `draw`"
    ):
        draw(wrong)
    with pytest.raises(TypeError, match="adds groups to a DataTree"):
        draw(posterior, extend_inferencedata=True)


def test_lengths_that_do_not_go_together(trace):
    with wide_model() as model:
        pm.set_data({"x": [1.0, 2.0]}, coords={"city": ["Rome", "Oslo"]})
    with (
        pytest.warns(ImplicitFreezeWarning),
        pytest.raises(ArgumentError, match=r"`mu` is of shape .* needs 2 .*`city`"),
    ):
        sample_posterior_predictive(trace, model, var_names=["rate"], key=KEY, **QUIET)


def test_no_model_and_no_draws(model):
    for sample in (
        lambda: sample_prior_predictive(3),
        lambda: sample_posterior_predictive([{"a": 0.0}]),
        lambda: compute_log_likelihood(xr.DataTree()),
        lambda: compute_deterministics(xr.Dataset()),
    ):
        with pytest.raises(TypeError, match="no model on the context stack"):
            sample()
    with pytest.raises(ValueError, match="draws must be at least 1, but is 0"):
        sample_prior_predictive(0, model)
    with pytest.raises(TypeError, match="draws must be an int"):
        sample_prior_predictive(2.5, model)
    with pytest.raises(ValueError, match=r"`rte` .*mean `rate`"):
        sample_prior_predictive(3, model, ["rte"])

"""`replay`: a draw again, to the bit, and everything on the way to it."""

import subprocess
import sys
import textwrap
import warnings

import jax
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from support import assert_same, others_are_slow

import jaxlink
from jaxlink import pymc as jp

QUIET = {"progressbar": False}


def build():
    with pm.Model(coords={"group": list("abc")}) as model:
        x = pm.Data("x", np.arange(3.0), dims="group")
        mu, sigma = pm.Normal("mu"), pm.HalfNormal("sigma")
        z = pm.Normal("z", mu, sigma, dims="group")
        pm.Deterministic("root", pm.math.sqrt(z - 0.5), dims="group")
        pm.Normal("y", z * x, sigma, observed=[0.1, 1.2, 3.0], dims="group")
    return model


def sample(model, **options):
    options = {"draws": 20, "tune": 30, "chains": 3, "random_seed": 1} | options
    quiet = {"quiet": True, "compute_convergence_checks": False}
    return jp.sample(model=model, **quiet, **options)


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def tree(model):
    tree = sample(model)
    jp.sample_posterior_predictive(
        tree, model, random_seed=2, extend_inferencedata=True, **QUIET
    )
    tree.update(jp.sample_prior_predictive(40, model, random_seed=3, **QUIET))
    return tree


DRAWS = {
    "posterior": {"chain": 2, "draw": 17},
    "its first": {"group": "posterior", "chain": 0, "draw": 0},
    "taken": {"chain": 1, "draw": 19, "rerun": False},
    "predictive": {"group": "posterior_predictive", "chain": 2, "draw": 5},
    "prior": {"group": "prior", "draw": 33},
    "prior predictive": {"group": "prior_predictive", "draw": 7},
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_again(name, model, tree):
    labels = {"chain": 0} | DRAWS[name]
    again = jp.replay(tree, model, **labels)
    assert again.same
    group = tree[labels.get("group", "posterior")]
    for n, x in group.sel(chain=labels["chain"], draw=labels["draw"]).items():
        assert_same(again.values[n], x.values)
    # The position, the terms and the steps are those of this draw.
    assert_same(
        dict(jp.constrain(model, ["mu", "z", "sigma"])(again.position)),
        {n: _known(again, tree, labels)[n] for n in ("mu", "z", "sigma")},
        rtol=1e-14,
    )
    density = jp.logdensity(model)(again.position)
    assert_same(sum(x.sum() for x in again.log_density.values()), density, rtol=1e-12)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(_known(again, tree, labels)["z"] - 0.5)
    assert_same(again.intermediates["root"], root, rtol=1e-14)
    assert {"(z - 0.5)", "(z * x)", "Sqrt((z - 0.5))"} <= again.intermediates.keys()
    if np.isnan(root).any():
        assert again.nonfinite[0] == "Sqrt((z - 0.5))"
    # It can be computed again, without jit, and by hand.
    with jax.disable_jit():
        by_hand = again.fn(*again.args)
    for n, x in by_hand.items():
        assert_same(np.asarray(x), again.values[n], rtol=1e-12)


def _known(again, tree, labels):
    """The free variables of a draw: its own, or those that it was given."""
    if "mu" in again.values:
        return again.values
    group = "prior" if "prior" in labels["group"] else "posterior"
    one = tree[group].sel(chain=labels["chain"], draw=labels["draw"])
    return {n: x.values for n, x in one.items()}


RUNS = {
    "numpyro": {"nuts_sampler": "numpyro", "target_accept": 0.9},
    "dense": {"init": "adapt_full", "nuts": {"max_treedepth": 4}},
    "vectorized": {"chain_method": "vectorized"},
    "key": {"random_seed": None, "key": jax.random.key(5, impl="rbg")},
    "kept warm-up": {"discard_tuned_samples": False},
    "some variables": {"var_names": ["root"], "keep_untransformed": True},
}


@pytest.mark.parametrize("name", others_are_slow(RUNS, {"vectorized", "key"}))
def test_chains_of_other_runs(name, model):
    tree = sample(model, **RUNS[name])
    again = jp.replay(tree, model, chain=1, draw=11)
    assert again.same
    assert again.statistics["tree_depth"] == tree.sample_stats["tree_depth"][1, 11]
    assert again.position.keys() == {"mu", "sigma_log__", "z"}
    if name == "kept warm-up":
        assert jp.replay(tree, model, group="warmup_posterior", chain=2, draw=4).same


def test_a_thinned_tree(model, tree):
    """Labels say which draw it is, not places."""
    drawn = {n: tree[n].to_dataset() for n in ("posterior", "posterior_predictive")}
    thin = xr.DataTree.from_dict(
        {n: x.sel(draw=slice(3, None, 4), chain=[2, 0]) for n, x in drawn.items()}
    )
    for labels in (
        {"chain": 2, "draw": 7},
        {"group": "posterior_predictive", "draw": 15},
    ):
        assert jp.replay(thin, model, **labels).same
    with pytest.raises(ValueError, match="`posterior` has no draw 4 of chain 1"):
        jp.replay(thin, model, chain=1, draw=4)


def test_from_a_file_in_another_process(tree, tmp_path):
    """A draw that is NaN, in one line. The model is built again."""
    path = tmp_path / "tree.zarr"
    tree.to_zarr(path, consolidated=False)
    program = f"""
        import xarray as xr
        from jaxlink import pymc as jp
        from test_pymc_replay import build
        tree = xr.open_datatree({str(path)!r}, engine="zarr", consolidated=False)
        found = {{
            group: jp.replay(tree, build(), group=group, chain=0, draw=9)
            for group in ("posterior", "posterior_predictive", "prior")
        }}
        print([x.same for x in found.values()], found["posterior"].values["z"].tolist())
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd="tests",
        check=True,
    )
    z = tree.posterior["z"].sel(chain=0, draw=9).values.tolist()
    assert ran.stdout.strip() == f"[True, True, True] {z}"


def test_another_model_is_noticed(model, tree):
    other = build()
    with other:
        pm.set_data({"x": np.ones(3)})
    with pytest.warns(UserWarning, match="replayed draw of `y` is not that of"):
        again = jp.replay(tree, other, group="prior_predictive", draw=3)
    assert not again.same


def test_discrete_variables_and_potentials():
    with pm.Model() as model:
        n = pm.Poisson("n", 3.0)
        p = pm.Beta("p", 2.0, 1.0)
        pm.Potential("cost", -pt.exp(n * p))
        mixed = pm.Mixture("mixed", [p, 1 - p], [pm.Normal.dist(n), pm.Normal.dist(-n)])
        pm.Binomial("k", n + 5, p, observed=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model has Potentials")
        tree = jp.sample_prior_predictive(9, model, random_seed=0, **QUIET)
        again = jp.replay(tree, model, draw=4, group="prior")
    assert again.same
    n, p = again.values["n"], again.values["p"]
    assert_same(again.intermediates["cost"], -np.exp(n * p), rtol=1e-14)
    assert_same(again.intermediates["(n + 5)"], n + 5)
    assert again.position.keys() == {"n", "p_logodds__", mixed.name}


def test_steps_that_read_alike():
    """Constants are shown by their shapes, so steps may read alike. None is lost."""
    with pm.Model() as model:
        z = pm.Normal("z", shape=2)
        pm.Deterministic("first", pt.exp(z * np.array([1.0, 2.0])))
        pm.Deterministic("second", pt.exp(z * np.array([3.0, 4.0])))
    tree = jp.sample_prior_predictive(3, model, random_seed=0, **QUIET)
    steps = jp.replay(tree, model, draw=1).intermediates
    z = tree.prior["z"].values[0, 1]
    products = [x for name, x in steps.items() if name.endswith("(z * constant(2,))")]
    wanted = [z * [1.0, 2.0], z * [3.0, 4.0]]  # computed in either order
    assert_same(sorted(map(list, products)), sorted(map(list, wanted)))


WRONG = {
    "no group": ({"group": "observed_data"}, "has no group `observed_data` of draws"),
    "no draw": ({"draw": 99}, "has no draw 99 of chain 0"),
    "no chain": ({"chain": 7}, "has no draw 0 of chain 7"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, model, tree):
    labels, match = WRONG[name]
    with pytest.raises(ValueError, match=match):
        jp.replay(tree, model, **labels)


CANNOT = {
    "nutpie": ({"nuts_sampler": "nutpie"}, "because nutpie drew it"),
    "initvals": ({"initvals": {"mu": 0.3}}, "because it had initvals"),
    "devices": (
        {"sharding": True, "chains": 2, "chain_method": "vectorized"},
        "in one program over several devices",
    ),
}


@pytest.mark.parametrize("name", CANNOT)
def test_chains_that_cannot_be_run_again(name, model):
    options, match = CANNOT[name]
    if "sharding" in options:
        mesh = jax.make_mesh((2,), ("chains",))
        along = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("chains"))
        options = options | {"sharding": along}
    tree = sample(model, draws=5, tune=5, **options)
    with pytest.raises(ValueError, match=match):
        jp.replay(tree, model, draw=2)
    assert jp.replay(tree, model, draw=2, rerun=False).same


def test_trees_from_elsewhere(model, tree):
    foreign = xr.DataTree.from_dict(
        {"posterior": tree["posterior"].to_dataset().drop_attrs()}
    )
    with pytest.raises(ValueError, match="does not say how it was drawn"):
        jp.replay(foreign, model, draw=2)
    taken = jp.replay(foreign, model, draw=2, rerun=False)
    assert taken.position.keys() == {"mu", "sigma_log__", "z"}
    alone = xr.DataTree.from_dict(
        {"predictions": tree["posterior_predictive"].to_dataset()}
    )
    with pytest.raises(ValueError, match="the trace has no posterior"):
        jp.replay(alone, model, draw=2)
    with pytest.raises(ValueError, match="the tree has no group of draws"):
        jp.replay(xr.DataTree(), model)
    assert jaxlink.key_from_str(tree["prior"].attrs["jaxlink_key"]).shape == ()

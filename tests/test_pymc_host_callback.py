"""Models with Ops that are Python code: every function of a model runs them on
request."""

import inspect
from functools import cache

import jax
import numpy as np
import pymc as pm
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from xarray import Dataset, DataTree

import jaxlink
from jaxlink import pymc as jp


class Square(Op):
    """The square of each element."""

    __props__ = ()

    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def infer_shape(self, node, input_shapes):
        return input_shapes

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] ** 2

    def pullback(self, inputs, outputs, cotangents):
        return [2 * inputs[0] * cotangents[0]]


def normal_draw(mu, rng=None, size=None):
    return rng.normal(mu, 1.0, size)


def normal_logp(value, mu):
    return pm.logp(pm.Normal.dist(mu, 1.0), value)


def model(*, hosted, initval=None):
    square = Square() if hosted else pm.math.sqr
    with pm.Model() as model:
        a = pm.Normal("a", 2.0, 0.1, shape=2, initval=initval)
        u = pm.Uniform("u", 0.0, square(a), shape=2)
        d = pm.Deterministic("d", square(u))
        pm.Normal("y", d, 1.0, observed=[0.5, 1.5])
    return model


HOSTED, PLAIN = model(hosted=True), model(hosted=False)
# Starting at draws, so that Python is called for the start of `u` too.
DRAWN = {m: model(hosted=m is HOSTED, initval="prior") for m in (HOSTED, PLAIN)}
KEY = jax.random.key(3)
POSITION = {"a": np.array([1.9, 2.2]), "u_interval__": np.array([0.1, -0.2])}
DRAW = {"a": np.array([1.9, 2.2]), "u": np.array([0.7, 1.2])}
TRACE = Dataset({k: (("chain", "draw", f"{k}_dim_0"), [[v]]) for k, v in DRAW.items()})


def tree():
    return DataTree.from_dict({"posterior": TRACE})


def posterior(idata):
    return {name: idata["posterior"][name].values for name in ("a", "u", "d")}


QUIET = {"progressbar": False, "random_seed": 1}


@cache
def fitted(model, host_callback=False):
    return jp.fit(2, model=model, host_callback=host_callback, **QUIET)


CALLS = {
    "logdensity": lambda m, **kw: jp.logdensity(m, **kw)(POSITION),
    "log_likelihood": lambda m, **kw: jp.log_likelihood(m, **kw)(POSITION),
    "log_prior": lambda m, **kw: jp.log_prior(m, **kw)(POSITION),
    "constrain": lambda m, **kw: jp.constrain(m, **kw)(POSITION),
    "unconstrain": lambda m, **kw: jp.unconstrain(m, **kw)(DRAW),
    "initial_position": lambda m, **kw: jp.initial_position(DRAWN[m], **kw)(KEY),
    "ravel": lambda m, **kw: jp.ravel(DRAWN[m], **kw).start(KEY),
    "prior": lambda m, **kw: jp.prior(m, **kw)(KEY),
    "posterior_predictive": lambda m, **kw: jp.posterior_predictive(
        m, ["y", "u"], sample_vars=["u"], **kw
    )(KEY, {"a": DRAW["a"]}),
    "replay": lambda m, **kw: jp.replay(tree(), m, rerun=False, **kw).intermediates[
        "d"
    ],
    "sample_prior_predictive": lambda m, **kw: jp.sample_prior_predictive(
        3, m, return_inferencedata=False, **QUIET, **kw
    ),
    "sample_posterior_predictive": lambda m, **kw: jp.sample_posterior_predictive(
        tree(), m, var_names=["d", "y"], return_inferencedata=False, **QUIET, **kw
    ),
    "compute_log_likelihood": lambda m, **kw: (
        jp.compute_log_likelihood(tree(), model=m, progressbar=False, **kw)[
            "log_likelihood"
        ]["y"].values
    ),
    "compute_log_prior": lambda m, **kw: (
        jp.compute_log_prior(tree(), model=m, progressbar=False, **kw)["log_prior"][
            "u"
        ].values
    ),
    "compute_deterministics": lambda m, **kw: (
        jp.compute_deterministics(TRACE, model=m, progressbar=False, **kw)["d"].values
    ),
    "to_datatree": lambda m, **kw: posterior(
        jp.to_datatree(
            {name: np.asarray(x)[None, None] for name, x in POSITION.items()},
            m,
            log_likelihood=True,
            progressbar=False,
            **kw,
        )
    ),
    "find_MAP": lambda m, **kw: jp.find_MAP(model=m, **QUIET, **kw),
    "sample": lambda m, **kw: posterior(
        jp.sample(
            2,
            tune=2,
            chains=2,
            model=m,
            compute_convergence_checks=False,
            **QUIET,
            **kw,
        )
    ),
    "fit": lambda m, **kw: fitted(m, **kw).mean,
    "Approximation.sample": lambda m, **kw: posterior(
        fitted(m, host_callback=True).sample(2, **QUIET, **kw)
    ),
}


def test_all_functions_of_a_model_can_be_asked_to_call_python():
    public = {name for name in jp.__all__ if inspect.isfunction(getattr(jp, name))}
    assert public | {"Approximation.sample"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_python_is_called_on_request(name):
    with pytest.raises(jaxlink.UnsupportedOpError, match="pass host_callback=True to"):
        CALLS[name](HOSTED)
    given, wanted = CALLS[name](HOSTED, host_callback=True), CALLS[name](PLAIN)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), given, wanted
    )


def test_draws_of_python_in_a_model_do_not_depend_on_chunks():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.CustomDist("y", mu, random=normal_draw, logp=normal_logp, observed=[0.5, 1])
    kwargs = {"return_inferencedata": False, "host_callback": True, **QUIET}
    whole = jp.sample_prior_predictive(5, model, **kwargs)
    parts = jp.sample_prior_predictive(5, model, batch_size=2, **kwargs)
    np.testing.assert_array_equal(whole["y"], parts["y"])
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), 0), 4)
    one = jp.prior(model, host_callback=True)(key)
    np.testing.assert_array_equal(whole["y"][4], one["y"])


def test_a_start_of_no_use_is_explained_though_python_is_called():
    with pm.Model() as model:
        a = pm.Normal("a", shape=2)
        pm.Potential("p", pm.math.log(-Square()(a) - 1))
    with pytest.raises(ValueError, match="`p` is nan"):
        jp.find_MAP(model=model, host_callback=True, **QUIET)

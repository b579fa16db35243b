"""The benchmarks run: both sides of each workload agree, and give ratios."""

import jax
import numpy as np
import pytest
from scipy import stats

from benchmarks import call_overhead, horseshoe, samplers
from benchmarks.harness import call_cost, compare


@pytest.fixture(autouse=True)
def standard_promotion():
    # What is written by hand there promotes as JAX does by default.
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_log_density():
    work = horseshoe.log_density()
    ours, theirs = work.compiled()(*work.args), work.by_hand()(*work.args)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    ratios = compare(work, compiles=1, runs=2)
    assert all(ratio > 0 for ratio in (ratios.link, ratios.compile, ratios.run))


def test_prior(monkeypatch):
    monkeypatch.setattr(horseshoe, "DRAWS", 500)
    work = horseshoe.prior()
    ours, theirs = work.compiled()(*work.args), work.by_hand()(*work.args)
    for name, draws in ours.items():
        assert draws.shape == theirs[name].shape
        assert draws.dtype == theirs[name].dtype
        first, other = (np.reshape(x, (500, -1))[:, 0] for x in (draws, theirs[name]))
        assert stats.ks_2samp(first, other).pvalue > 1e-3, name


def test_samplers(monkeypatch):
    monkeypatch.setattr(samplers, "DRAWS", 5000)
    for make in samplers.WORKLOADS[::5]:
        work = make()
        ours, theirs = work.compiled()(*work.args), work.by_hand()(*work.args)
        assert ours.shape == theirs.shape, work.name
        first, other = (np.reshape(x, (5000, -1))[:, 0] for x in (ours, theirs))
        assert stats.ks_2samp(first, other).pvalue > 1e-3, work.name


def test_call_cost():
    costs = call_cost([lambda x: x, lambda x: x], (1.0,), rounds=2)
    assert len(costs) == 2
    assert min(costs) > 0


def test_call_overhead():
    costs = call_overhead.overheads(rounds=1)
    assert set(costs) == {"logdensity", "constrain", "posterior_predictive", "prior"}
    assert all(inner > 0 for _, inner in costs.values())

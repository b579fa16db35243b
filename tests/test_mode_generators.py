"""Under MODE a NumPy generator is a stream of keys: what it draws, where it is after
a call, and which functions move it."""

import copy
import pickle

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.stats
from pytensor.compile.builders import OpFromGraph
from pytensor.conditional.op import ifelse
from pytensor.graph.basic import Constant
from pytensor.tensor.random.basic import normal
from pytensor.tensor.random.type import random_generator_type

import jaxlink
from jaxlink.mode import numpy_rng as generators
from jaxlink.mode.linker import MODE

i, n = pt.lscalar("i"), pt.lscalar("n")
BIT_GENERATORS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def generator(seed, name="PCG64"):
    return np.random.Generator(getattr(np.random, name)(seed))


def equal(a, b):
    """Whether two generators are of one kind and in one state."""
    same = random_generator_type.values_eq(a, b)
    return type(a.bit_generator) is type(b.bit_generator) and same


def key_of(source):
    words = copy.deepcopy(source).integers(2**32, size=2, dtype="uint32")
    return jax.random.wrap_key_data(jax.numpy.asarray(words), impl="threefry2x32")


@pytest.fixture(scope="module")
def walk():
    """Two draws along a generator, and the generator before, between and after."""
    rng = pt.random.rng("rng")
    between, first = rng.normal(size=3)
    after, second = between.normal()
    outs = [first, second, rng, between, after]
    return pytensor.function([rng], outs, mode=MODE), jaxlink.function([rng], outs[:2])


@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_a_generator_is_a_stream_of_keys(walk, name):
    f, law = walk
    source = generator(1, name)
    first, second, before, between, after = f(source)
    for got, expected in zip([first, second], law(key_of(source)), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert equal(source, generator(1, name))
    assert len({id(g) for g in (source, before, between, after)}) == 4
    assert equal(before, source)
    moved = copy.deepcopy(source)
    for here in (between, after):
        moved.integers(2**32, size=2, dtype="uint32")
        assert equal(here, moved)
    # From where a generator is, the same comes again, and otherwise something new.
    np.testing.assert_array_equal(f(before)[0], first)
    assert not np.isin(f(between)[0], first).any()
    assert not np.isin(f(after)[0], first).any()


def test_long_walks_are_made_in_steps(walk, monkeypatch):
    monkeypatch.setattr(generators, "_SKIPPED_AT_ONCE", 1)
    moved = generator(1)
    moved.integers(2**32, size=4, dtype="uint32")
    assert equal(walk[0](generator(1))[-1], moved)


def test_states_that_differ_in_half_a_word_differ(walk):
    source = generator(1)
    draws = []
    for _ in range(4):
        draws.append(float(walk[0](source)[1]))
        source.integers(10)  # takes half of a 64-bit word
    assert len(set(draws)) == 4


def test_a_generator_that_comes_out_spawns_as_the_one_that_went_in(walk):
    source = generator(5)
    *_, after = walk[0](source)
    assert equal(after.spawn(1)[0], generator(5).spawn(1)[0])
    assert equal(source.spawn(1)[0], generator(5).spawn(1)[0])


@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_shared_generators(name):
    rng = pt.random.shared_rng(generator(1, name), name="rng")
    next_rng, draw = rng.normal()
    fixed = pytensor.function([], draw, mode=MODE)
    assert fixed() == fixed()
    assert equal(rng.get_value(), generator(1, name))
    moving = pytensor.function([], draw, updates={rng: next_rng}, mode=MODE)
    first = [float(moving()) for _ in range(4)]
    assert len(set(first)) == 4
    assert fixed() not in first  # it reads the generator that the other one moves
    assert fixed() == moving()
    rng.set_value(generator(1, name))
    assert [float(moving()) for _ in range(4)] == first
    rng.set_value(generator(2, name))
    assert not set(first) & {float(moving()) for _ in range(4)}
    assert type(rng.get_value().bit_generator).__name__ == name


def test_who_holds_a_shared_generator():
    owned, lent = generator(1), generator(1)
    for source, borrow in ((owned, False), (lent, True)):
        rng = pt.random.shared_rng(source, borrow=borrow)
        next_rng, draw = rng.normal()
        pytensor.function([], draw, updates={rng: next_rng}, mode=MODE)()
        assert not equal(rng.get_value(), generator(1))
        outside = rng.get_value()
        pytensor.function([], draw, updates={rng: next_rng}, mode=MODE)()
        assert not equal(outside, rng.get_value())
    assert equal(owned, generator(1))
    assert equal(lent, rng.get_value())  # as PyTensor has it: the object is the same


def test_two_functions_share_a_generator():
    rng = pt.random.shared_rng(generator(1), name="rng")
    next_rng, draw = rng.uniform()
    f = pytensor.function([], draw, updates={rng: next_rng}, mode=MODE)
    g = pytensor.function([], [draw, next_rng.uniform()[1]], mode=MODE)
    h, unpickled = f.copy(), pickle.loads(pickle.dumps(f))
    first, second = g()
    assert f() == first
    third, _ = g()
    assert h() == third
    assert g()[0] not in (first, second, third)
    # This one holds a generator of its own.
    assert [unpickled(), unpickled()] == [first, third]


def test_a_copy_with_another_generator():
    rng, other = (pt.random.shared_rng(generator(seed)) for seed in (1, 1))
    next_rng, draw = rng.normal()
    f = pytensor.function([], draw, updates={rng: next_rng}, mode=MODE)
    g = f.copy(swap={rng: other})
    first = [float(f()) for _ in range(3)]
    assert [float(g()) for _ in range(3)] == first


def test_one_generator_for_two_variables():
    rng = pt.random.shared_rng(generator(1))
    _, a = rng.normal()
    with pytest.warns(UserWarning, match="has already been used"):
        next_rng, b = rng.normal(3.0)
    f = pytensor.function([], [a, b], updates={rng: next_rng}, mode=MODE)
    for _ in range(2):
        a_value, b_value = f()
        assert a_value + 3.0 == pytest.approx(b_value)


def test_updates_among_several_generators():
    rngs = [pt.random.shared_rng(generator(seed)) for seed in range(3)]
    (next_0, a), (_, b), (next_2, c) = (rng.normal() for rng in rngs)
    # The second becomes what the first was, and the first what comes after the third.
    updates = {rngs[0]: next_2, rngs[1]: rngs[0], rngs[2]: next_2}
    f = pytensor.function([], [a, b, c, next_0], updates=updates, mode=MODE)
    *first, after_0 = f()
    holders = [rng.get_value(borrow=True) for rng in rngs] + [after_0]
    assert len({id(holder) for holder in holders}) == 4
    *second, _ = f()
    assert second[1] == first[0]
    assert second[0] == second[2]
    assert second[2] not in first
    assert equal(holders[3], _after(generator(0), 1))


def _after(source, n_keys):
    source.integers(2**32, size=2 * n_keys, dtype="uint32")
    return source


def test_generators_in_inner_graphs():
    rng, flag = pt.random.rng("rng"), pt.bscalar("flag")
    inner = pt.random.rng("inner")
    inner_next, inner_draw = inner.normal()
    twice = OpFromGraph([inner], [*inner_next.normal(), inner_draw])
    next_ofg, second, first = twice(rng)
    (walk, next_scan) = pytensor.scan(
        lambda last, rng: [last + (draw := rng.normal())[1], draw[0]],
        outputs_info=[pt.zeros((), "float64"), next_ofg],
        n_steps=n,
        return_updates=False,
    )
    next_if = ifelse(flag, next_scan.normal()[0], rng)
    outs = [first, second, walk, next_ofg, next_scan, next_if]
    f = pytensor.function([rng, n, flag], outs, mode=MODE)
    law = jaxlink.function([rng, n], outs[:3])
    for n_steps in (4, 1):
        for take in (1, 0):
            values = f(generator(7), n_steps, take)
            keyed = law(key_of(generator(7)), n_steps)
            for got, expected in zip(values[:3], keyed, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-14)
            draws = (2, 2 + n_steps, 3 + n_steps if take else 0)
            for got, n_keys in zip(values[3:], draws, strict=True):
                assert equal(got, _after(generator(7), n_keys))


def test_generators_made_in_the_graph():
    seeded = pytensor.function([], pt.random.default_rng(3).normal()[1], mode=MODE)
    assert seeded() == seeded()
    made = pt.random.default_rng(np.array([1, 2]))
    next_rng, draw = made.normal()
    draw, next_rng = pytensor.function([], [draw, next_rng], mode=MODE)()
    assert equal(next_rng, _after(np.random.default_rng([1, 2]), 1))
    entropic = pytensor.function([], pt.random.default_rng().normal()[1], mode=MODE)
    assert entropic() != entropic()
    constant = Constant(random_generator_type, generator(3))
    f = pytensor.function(
        [], normal(0.0, 1.0, rng=constant, return_next_rng=True)[1], mode=MODE
    )
    assert f() == f()
    assert equal(constant.data, generator(3))
    by_seed = pt.random.default_rng(i).normal()[1]
    with pytest.raises(jaxlink.UnsupportedOpError, match="seeded by a variable"):
        pytensor.function([i], by_seed, mode=MODE)


def test_draws_over_calls_are_independent():
    rngs = [pt.random.shared_rng(generator(seed)) for seed in (1, 2)]
    (next_a, a), (next_b, b) = (rng.normal(size=2) for rng in rngs)
    updates = dict(zip(rngs, (next_a, next_b), strict=True))
    f = pytensor.function([], [a, b], updates=updates, mode=MODE)
    draws = np.array([np.concatenate(f()) for _ in range(2000)])
    assert scipy.stats.kstest(draws.ravel(), "norm").pvalue > 1e-4
    both = np.concatenate(
        [draws[1:], draws[:-1]], axis=1
    )  # with those of the last call
    correlations = np.corrcoef(both, rowvar=False) - np.eye(8)
    assert np.abs(correlations).max() < 5 / np.sqrt(len(draws))

"""The law of keys: draw t along root i uses fold_in(fold_in(key, i), t), to the bit."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from jax.random import fold_in
from pytensor import ifelse
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from support import assert_same

import jaxlink

KEY = jax.random.key(42)


def normal(key, root, count, shape=()):
    """The draw that the law demands."""
    return jax.random.normal(fold_in(fold_in(key, root), count), shape, jnp.float64)


def rngs(n):
    return [pt.random.shared_rng(seed=i, name=f"rng{i}") for i in range(n)]


def test_one_draw_each():
    a, b, c = rngs(3)
    outs = [rng.normal(size=(3,))[1] for rng in (a, b, c)]
    fn = jaxlink.function([], outs)
    expected = [normal(KEY, i, 0, (3,)) for i in range(3)]
    assert_same(fn(KEY), expected)
    assert_same(jax.jit(fn)(KEY), expected)


def test_chained_generators():
    a, b = rngs(2)
    a1, x0 = a.normal()
    a2, x1 = a1.normal(size=(2,))
    _, x2 = a2.normal()
    _, y0 = b.normal()
    fn = jaxlink.function([], [x2, x0, y0, x1])
    assert_same(
        fn(KEY),
        [
            normal(KEY, 0, 2),
            normal(KEY, 0, 0),
            normal(KEY, 1, 0),
            normal(KEY, 0, 1, (2,)),
        ],
    )


def test_unused_draw_keeps_its_place():
    """A draw that nobody reads still counts: no rewrite may take it from the chain."""
    (a,) = rngs(1)
    next_rng, _ = a.normal()
    _, x1 = next_rng.normal()
    assert_same([jaxlink.function([], x1)(KEY)], [normal(KEY, 0, 1)])


def test_one_generator_used_twice_gives_the_same_bits():
    (a,) = rngs(1)
    _, x = a.normal()
    with pytest.warns(UserWarning, match="already been used"):
        _, y = a.normal(10.0, 1.0)
    x, y = jaxlink.function([], [x, y])(KEY)
    np.testing.assert_array_equal(y, x + 10.0)


def test_random_stream():
    with pytest.warns(FutureWarning, match="RandomStream is deprecated"):
        stream = pt.random.RandomStream(seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor warns of its own RandomStream
        outs = [stream.normal(size=(2,)), stream.normal()]
    fn = jaxlink.function([], outs)
    assert_same(fn(KEY), [normal(KEY, 0, 0, (2,)), normal(KEY, 1, 0)])


def test_a_further_output_changes_no_earlier_draw():
    a, b, c = rngs(3)
    _, x = a.normal()
    _, y = b.normal(x, 1.0)
    _, z = c.normal(y, 1.0)
    few = jaxlink.function([], [y, x])(KEY)
    assert_same(jaxlink.function([], [y, x, z])(KEY)[:2], few)
    assert_same(jaxlink.function([], [y, x, z, x + z])(KEY)[:2], few)


def test_numbers_follow_graph_inputs():
    """Roots are numbered as a walk from the first output to the last meets them."""
    all_rngs = rngs(4)
    draws = [rng.normal()[1] for rng in all_rngs]
    outs = [draws[2] + draws[0], draws[3] * draws[0], draws[1]]
    order = []
    for out in outs:
        for var in graph_inputs([out]):
            if isinstance(var.type, RandomType) and var not in order:
                order.append(var)
    fn = jaxlink.function([], [*outs, *draws])
    number = [order.index(rng) for rng in all_rngs]
    assert_same(fn(KEY)[3:], [normal(KEY, i, 0) for i in number])
    # A walk takes the last operand first. This pins the numbers themselves.
    assert number == [0, 3, 1, 2]


def test_rngs_fixes_the_order_by_hand():
    a, b, c = rngs(3)
    _, x = a.normal()
    _, y = b.normal()
    fn = jaxlink.function([], [x, y], rngs=[b, c, a])
    assert_same(fn(KEY), [normal(KEY, 2, 0), normal(KEY, 0, 0)])
    # What is asked for changes no draw.
    assert_same([jaxlink.function([], x, rngs=[b, c, a])(KEY)], [normal(KEY, 2, 0)])
    with pytest.raises(ValueError, match="`rng0` is missing"):
        jaxlink.function([], [x, y], rngs=[b])
    with pytest.raises(ValueError, match="more than once"):
        jaxlink.function([], [x, y], rngs=[a, b, a])
    with pytest.raises(TypeError, match="must list random generators"):
        jaxlink.function([], [x, y], rngs=[a, b, x])


def test_rngs_of_a_graph_without_randomness():
    x = pt.scalar("x")
    fn = jaxlink.function([x], x + 1, rngs=rngs(2))
    assert fn(1.0) == 2.0


def test_explicit_generators_are_keys_at_their_place():
    x = pt.scalar("x")
    r, s = pt.random.rng("r"), pt.random.rng("s")
    (a,) = rngs(1)
    r1, u = r.normal()
    _, v = r1.normal()
    _, w = s.normal(x, 1.0)
    _, z = a.normal()
    fn = jaxlink.function([r, x, s], [u, v, w, z])
    assert str(fn).startswith("JAXFunction fn(key: PRNG key, r: PRNG key, x: float64")
    k1, k2 = jax.random.split(jax.random.key(5))
    u, v, w, z = fn(KEY, k1, 10.0, k2)
    std = lambda key: jax.random.normal(key, (), jnp.float64)  # noqa: E731
    assert_same(
        (u, v, w, z),
        [
            std(fold_in(k1, 0)),
            std(fold_in(k1, 1)),
            10.0 + std(fold_in(k2, 0)),
            normal(KEY, 0, 0),
        ],
    )


def test_generators_made_in_the_graph_are_roots():
    outs = []
    for rng in (pt.random.default_rng(), pt.random.default_rng(3)):
        rng, x = pt.random.normal(rng=rng, return_next_rng=True)
        outs += [x, pt.random.normal(rng=rng, return_next_rng=True)[1]]
    numbers = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert_same(jaxlink.function([], outs)(KEY), [normal(KEY, *n) for n in numbers])
    seed = pt.lscalar("seed")
    _, x = pt.random.normal(rng=pt.random.default_rng(seed), return_next_rng=True)
    with pytest.raises(jaxlink.UnsupportedOpError, match=r"pass jax.random.key\(seed"):
        jaxlink.function([seed], x)


def test_generator_outputs_are_fresh_keys():
    r = pt.random.rng("r")
    r1, x = r.normal()
    r2, y = r1.normal()
    fn = jaxlink.function([r], [r, r1, r2, x, y])
    same, once, twice, x, y = fn(KEY)
    assert_same(
        [jax.random.key_data(k) for k in (same, once, twice)],
        [jax.random.key_data(k) for k in (KEY, fold_in(KEY, 1), fold_in(KEY, 2))],
    )
    # A raw key comes back raw, and goes in again.
    raw = jax.random.key_data(KEY)
    outs = fn(raw)
    assert outs[2].dtype == jnp.uint32
    assert_same(outs[2:], [jax.random.key_data(twice), x, y])
    fn(outs[2])


def test_fresh_key_of_a_loop_without_steps():
    r = pt.random.rng("r")
    n = pt.lscalar("n")
    final, x = pytensor.scan(
        lambda r: r.normal(), outputs_info=[r, None], n_steps=n, return_updates=False
    )
    fn = jaxlink.function([r, n], [final, x])
    key, empty = fn(KEY, 0)
    assert empty.shape == (0,)
    assert_same([jax.random.key_data(key)], [jax.random.key_data(KEY)])
    key, xs = fn(KEY, 3)
    assert_same([jax.random.key_data(key)], [jax.random.key_data(fold_in(KEY, 3))])
    std = [jax.random.normal(fold_in(KEY, t), (), jnp.float64) for t in range(3)]
    assert_same(xs, std)


def test_scan_carries_the_stream():
    (a,) = rngs(1)
    a1, first = a.normal()
    final, xs = pytensor.scan(
        lambda r: r.normal(), outputs_info=[a1, None], n_steps=3, return_updates=False
    )
    _, last = final.normal()
    fn = jaxlink.function([], [first, xs, last])
    first, xs, last = fn(KEY)
    assert_same([first, *xs, last], [normal(KEY, 0, t) for t in range(5)])


def test_unused_draw_in_a_scan_keeps_its_place():
    (a,) = rngs(1)

    def step(rng):
        rng, _ = rng.normal()
        return rng.normal()

    _, xs = pytensor.scan(step, outputs_info=[a, None], n_steps=3, return_updates=False)
    expected = [normal(KEY, 0, t) for t in (1, 3, 5)]
    assert_same(jaxlink.function([], xs)(KEY), expected)
    assert_same([jaxlink.function([], xs[-1])(KEY)], [expected[-1]])


def test_scan_over_one_generator_repeats_its_bits():
    (a,) = rngs(1)
    xs = pytensor.scan(
        lambda r: r.normal()[1], non_sequences=[a], n_steps=3, return_updates=False
    )
    assert_same(jaxlink.function([], xs)(KEY), [normal(KEY, 0, 0)] * 3)


@pytest.mark.parametrize("inline", [False, True])
def test_op_from_graph(inline):
    (a,) = rngs(1)
    r = pt.random.rng()
    r1, u = r.normal()
    r2, v = r1.normal()
    op = OpFromGraph([r], [r2, u, v], inline=inline)
    a1, x0 = a.normal()
    a3, x1, x2 = op(a1)
    _, x3 = a3.normal()
    fn = jaxlink.function([], [x0, x1, x2, x3])
    assert_same(fn(KEY), [normal(KEY, 0, t) for t in range(4)])


def test_ifelse_has_the_stream_in_each_branch():
    a, b = rngs(2)
    c = pt.scalar("c")
    a1, x = a.normal()
    b1, y = b.normal(100.0, 1.0)
    rng, z = ifelse(c, [a1, x], [b1, y])
    _, w = rng.normal()
    fn = jaxlink.function([c], [z, w], rngs=[a, b])
    assert_same(fn(KEY, 1.0), [normal(KEY, 0, 0), normal(KEY, 0, 1)])
    assert_same(fn(KEY, 0.0), [100.0 + normal(KEY, 1, 0), normal(KEY, 1, 1)])


def test_vmap_over_keys_is_a_loop():
    a, b = rngs(2)
    a1, x = a.normal(size=(2,))
    _, y = a1.exponential(2.5)
    _, z = b.uniform(x, x + 1.0)
    fn = jaxlink.function([], [x, y, z])
    keys = jax.random.split(KEY, 4)
    mapped = jax.vmap(fn)(keys)
    for i, key in enumerate(keys):
        assert_same([out[i] for out in mapped], fn(key))


def test_batched_folding_gives_the_same_bits():
    """The keys of a graph are computed in one batch; each one is what the law says."""
    counts = [1, 3, 0, 2]
    outs, final = [], []
    for rng, n in zip(rngs(4), counts, strict=True):
        for _ in range(n):
            rng, x = rng.normal()
            outs.append(x)
        final.append(rng)
    fn = jaxlink.function([], outs + final, rngs=None)
    numbers = [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert_same(fn(KEY)[:6], [normal(KEY, i, t) for i, t in numbers])


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_the_law_under_every_implementation(impl):
    key = jax.random.key(1, impl=impl)
    a, b = rngs(2)
    a1, x0 = a.normal()
    _, x1 = a1.normal()
    _, y0 = b.normal()
    fn = jaxlink.function([], [x0, x1, y0])
    assert_same(fn(key), [normal(key, 0, 0), normal(key, 0, 1), normal(key, 1, 0)])


def test_printed_graph_shows_the_key():
    a, b = rngs(2)
    a1, x = a.normal(name="x")
    _, y = b.normal(x, 1.0, name="y")
    _, z = a1.normal()
    fn = jaxlink.function([], [y, z])
    printed = fn.fgraph.dprint(file="str")
    assert "RootStreams{draws=(2, 1)}" in printed
    assert "key [" in printed
    assert "RNG(" not in printed
    assert fn.fgraph.inputs[0].name == "key"

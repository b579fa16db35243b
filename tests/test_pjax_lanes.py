"""Draws under `jax.vmap`: each lane has its own, and all are distributed right."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax import lax
from jax.random import fold_in
from jax.sharding import PartitionSpec
from pjax_constructs import (
    MESH,
    at,
    lanes,
    noisy_gradient,
    normal,
    normal_of,
    standard,
    standard_of,
    uniform,
)
from support import assert_same, unoptimized

from jaxlink import pjax
from jaxlink.pjax import seed

KEY = jax.random.key(7)
THREE = jnp.arange(3.0)


# A draw, and the parameters that its lane saw. Nothing is rounded, so lanes can be
# compared to the bit.
def seen_of(key, a, b):
    shape = jnp.broadcast_shapes(a.shape, b.shape)
    return {"draw": jax.random.normal(key, shape), "a": a, "b": b}


seen = pjax.sampler(seen_of, name="seen")


def draws(tree):
    """The draws of all lanes, in one row."""
    leaves = jax.tree.leaves(tree)
    return np.concatenate([np.ravel(x) for x in leaves])


def assert_all_differ(tree):
    each = draws(tree)
    assert len(np.unique(each)) == len(each), each


# --- keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_any_axis_of_arguments_and_results(rank):
    shape = (3, 4, 2)[:rank]
    a = jnp.arange(float(np.prod(shape))).reshape(shape)
    b = jnp.ones(())
    axes = list(itertools.product([*range(rank), -1], repeat=2))

    def program():
        outs = [{"draw": o, "a": o, "b": 0} for _, o in axes]
        return [
            jax.vmap(seen, (i, None), out_axes)(a, b)
            for (i, _), out_axes in zip(axes, outs, strict=True)
        ]

    def keyed(key):
        outs = [{"draw": o, "a": o, "b": 0} for _, o in axes]
        return [
            jax.vmap(seen_of, (0, i, None), out_axes)(
                lanes(at(key, position), a.shape[i]), a, b
            )
            for position, ((i, _), out_axes) in enumerate(zip(axes, outs, strict=True))
        ]

    assert_same(unoptimized(seed(program))(KEY), unoptimized(keyed)(KEY))


def test_mapped_parameters_of_different_ranks():
    """As everywhere in JAX, a lane's scalar does not meet another lane's vector."""
    vectors, scalars = jnp.arange(15.0).reshape(5, 3), jnp.arange(5.0)
    cases = [
        ((0, 0), vectors, scalars),
        ((0, 0), scalars, vectors),
        ((1, None), vectors, scalars),
        ((None, 0), scalars, vectors[:, :1]),
        ((0, None), scalars, vectors[0]),
        ((None, 1), jnp.ones(()), vectors),
    ]

    def program():
        return [jax.vmap(seen, axes)(a, b) for axes, a, b in cases]

    def keyed(key):
        sizes = [5, 5, 3, 5, 5, 3]
        return [
            jax.vmap(seen_of, (0, *axes))(lanes(at(key, position), n), a, b)
            for position, ((axes, a, b), n) in enumerate(zip(cases, sizes, strict=True))
        ]

    assert_same(unoptimized(seed(program))(KEY), unoptimized(keyed)(KEY))


def test_lanes_without_arguments():
    got = jax.jit(seed(jax.vmap(standard, axis_size=4)))(KEY)
    assert_same(got, jax.vmap(standard_of)(lanes(at(KEY, 0), 4)))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (None, None)])
def test_nested_lanes(axes):
    """The outermost lane is folded in first, whichever parameters are mapped."""
    outer, inner = axes
    a, b = jnp.arange(2.0), jnp.arange(10.0, 13.0)

    def nested(fn, with_key=()):
        by_b = jax.vmap(fn, (*with_key, None, inner), axis_size=3)
        return jax.vmap(by_b, (*with_key, outer, None), axis_size=2)

    keys = jnp.stack([lanes(fold_in(at(KEY, 0), i), 3) for i in range(2)])
    x, y = (a if outer == 0 else a[0]), (b if inner == 0 else b[0])
    wanted = jax.jit(nested(seen_of, (0,)))(keys, x, y)
    assert_same(jax.jit(seed(nested(seen)))(KEY, x, y), wanted)


def test_lanes_of_lanes_of_draws_in_a_jitted_function():
    """The jitted function is traced once, and mapped over nothing."""
    inner = jax.jit(jax.vmap(jax.jit(standard), axis_size=2))
    got = jax.jit(seed(jax.vmap(inner, axis_size=3)))(KEY)
    keys = [lanes(fold_in(at(KEY, 0), i), 2) for i in range(3)]
    assert_same(got, jnp.stack([jax.vmap(standard_of)(each) for each in keys]))


def test_lanes_know_their_axis():
    def lane():
        z = standard()
        return z, lax.psum(z, "lane"), lax.axis_index("lane")

    mapped = jax.vmap(lane, axis_name="lane", axis_size=3)
    z, total, index = jax.jit(seed(mapped))(KEY)
    each = jax.vmap(standard_of)(lanes(at(KEY, 0), 3))
    assert_same(z, each)
    np.testing.assert_allclose(total, np.full(3, each.sum()), rtol=1e-14)
    assert index.tolist() == [0, 1, 2]


def test_a_result_of_all_lanes_cannot_be_one():
    for program in standard, lambda: normal(0.0, 1.0):
        mapped = jax.vmap(program, axis_size=3, out_axes=None)
        with pytest.raises(ValueError, match="out_axes"):
            seed(mapped)(KEY)


# --- no two lanes are the same -------------------------------------------------------


def _custom_jvp():
    times = jax.custom_jvp(lambda x: x * standard())
    times.defjvp(lambda primals, tangents: (times.fun(*primals), *tangents))
    return times


def _shard_map(x):
    spec = PartitionSpec("i")
    shard = jax.shard_map(
        lambda a: a * standard(), mesh=MESH, in_specs=spec, out_specs=spec
    )
    return shard(jnp.stack([x, x]))


# A function of one lane, whose draws do not depend on its argument.
IN_A_LANE = {
    "jit": jax.jit(lambda x: x * standard()),
    "checkpoint": jax.checkpoint(lambda x: x * standard()),
    "gradient": jax.grad(lambda x: x * standard()),
    "gradient of checkpoint": jax.grad(
        jax.checkpoint(lambda x: jnp.sin(x * standard()))
    ),
    "custom_jvp": _custom_jvp(),
    "custom_vjp": noisy_gradient(),
    "gradient of custom_vjp": jax.grad(noisy_gradient()),
    "scan": lambda x: lax.scan(lambda c, _: (c, standard()), x, length=2)[1],
    "map in batches": lambda x: lax.map(
        lambda a: standard(), jnp.stack([x] * 4), batch_size=2
    ),
    "fori_loop": lambda x: lax.fori_loop(0, 2, lambda i, c: c + standard(), x),
    "while_loop": lambda x: lax.while_loop(
        lambda c: c < 3.0, lambda c: c + uniform(), x
    ),
    "cond": lambda x: lax.cond(True, standard, lambda: 0.0),
    "cond by lane": lambda x: lax.cond(x > 0.0, standard, uniform),
    "vectorize": lambda x: jnp.vectorize(lambda a: a * standard())(jnp.stack([x, x])),
    "shard_map": _shard_map,
}


def test_no_two_lanes_are_the_same():
    def program(x):
        return {name: jax.vmap(fn)(x) for name, fn in IN_A_LANE.items()}

    got = unoptimized(seed(program))(KEY, jnp.ones(3))
    for name, x in got.items():
        assert x.shape[0] == 3, name
        assert_all_differ(x)
    assert_all_differ(got)  # nor two constructs


def test_many_lanes_do_not_collide():
    program = jax.vmap(jax.vmap(standard, axis_size=300), axis_size=200)
    assert_all_differ(jax.jit(seed(program))(KEY))


# --- they are distributed right ------------------------------------------------------


def test_lanes_are_distributed_as_their_parameters_say():
    locs, scales = jnp.linspace(-5.0, 5.0, 60), jnp.linspace(0.1, 9.0, 70)

    def program():
        each = jax.vmap(jax.vmap(pjax.normal, (None, 0)), (0, None))
        return each(locs, scales)

    x = np.asarray(jax.jit(seed(program))(KEY))
    z = (x - np.asarray(locs)[:, None]) / np.asarray(scales)
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 0.01


def test_lanes_and_steps_and_draws_do_not_correlate():
    def program():
        def step(c, _):
            return c, (standard(), normal(0.0, 1.0))

        chain = lambda: lax.scan(step, 0, length=4000)[1]  # noqa: E731
        return jax.vmap(chain, axis_size=5)()

    z, x = jax.jit(seed(program))(KEY)
    # Of each lane: both draws, and the first one a step later.
    rows = np.concatenate([z[:, 1:], x[:, 1:], z[:, :-1]])
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


# --- derivatives ---------------------------------------------------------------------


def test_the_gradient_of_each_example():
    """A lane of a gradient differentiates the draw of this lane."""

    def loss(w, x):
        return (w * x * standard() + normal(w, x)) ** 2

    def keyed_loss(lane_of, w, x):
        z, y = standard_of(lane_of[0]), normal_of(lane_of[1], w, x)
        return (w * x * z + y) ** 2

    keys = jnp.stack([lanes(at(KEY, position), 3) for position in range(2)], axis=1)
    wanted = jax.vmap(jax.grad(keyed_loss, 1), (0, None, 0))(keys, 0.3, THREE)
    mapped = jax.vmap(jax.grad(loss), (None, 0))
    assert_same(jax.jit(seed(mapped))(KEY, 0.3, THREE), wanted, rtol=1e-12)


# Functions of a vector, with the same draws for each of the columns of a Jacobian.
ROWS = {
    "one draw": lambda x: jnp.sin(x * standard()),
    "a jitted draw": jax.jit(lambda x: jnp.sin(x * standard())),
    "a draw of x": lambda x: jnp.sin(normal(x, x, shape=(3,))),
    "lanes": jax.vmap(lambda x: jnp.sin(x * standard())),
    "a scan": lambda x: lax.scan(
        lambda c, _: (jnp.sin(c * standard() + x), None), x, length=3
    )[0],
    "a cond": lambda x: lax.cond(x[1] > 0, lambda: x**2 * standard(), lambda: x),
}
JACOBIANS = {
    "jacfwd": jax.jacfwd,
    "jacrev": jax.jacrev,
    "jacfwd of a checkpoint": lambda f: jax.jacfwd(jax.checkpoint(f)),
    "jacrev of a checkpoint": lambda f: jax.jacrev(jax.checkpoint(f)),
    "a mapped linear map": lambda f: (
        lambda x: jax.vmap(jax.linearize(f, x)[1])(jnp.eye(3)).T
    ),
    "a mapped vjp": lambda f: lambda x: jax.vmap(jax.vjp(f, x)[1])(jnp.eye(3))[0],
}


@pytest.mark.parametrize("name", ROWS)
def test_a_jacobian_is_of_one_draw(name):
    """Its columns and rows are lanes of JAX, but not of the program."""
    program = ROWS[name]

    @unoptimized
    def jacobians(x):
        return {
            "outside": jax.jacfwd(seed(program), 1)(KEY, x),
            "inside": {how: seed(j(program))(KEY, x) for how, j in JACOBIANS.items()},
        }

    got = jacobians(THREE)
    wanted = dict.fromkeys(JACOBIANS, got["outside"])
    assert_same(got["inside"], wanted, rtol=1e-11, atol=1e-15)


def test_a_hessian_is_of_one_draw():
    def program(x):
        return (x**3).sum() * standard() * normal(x[0], x[1])

    @unoptimized
    def hessians(x):
        orders = {
            "forward over reverse": jax.hessian,
            "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
            "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
        }
        inside = {name: seed(of(program))(KEY, x) for name, of in orders.items()}
        seeded = seed(program)
        return inside, jax.hessian(lambda x: seeded(KEY, x))(x)

    inside, wanted = hessians(THREE)
    assert_same(inside, dict.fromkeys(inside, wanted), rtol=1e-11, atol=1e-15)


def test_each_lane_has_a_jacobian_of_its_own():
    mapped = jax.vmap(jax.jacfwd(lambda x: x * standard()))
    got = jax.jit(seed(mapped))(KEY, jnp.ones((2, 3)))
    each = jax.vmap(standard_of)(lanes(at(KEY, 0), 2))
    assert_same(got, each[:, None, None] * jnp.eye(3))


def test_lanes_that_the_user_maps_around_a_jvp_draw_for_themselves():
    """It looks like a Jacobian, but the user asks for one draw for each lane."""

    def program(tangents):
        along = lambda t: jax.jvp(lambda x: x * standard(), (1.0,), (t,))[1]  # noqa: E731
        return jax.vmap(along)(tangents)

    got = jax.jit(seed(program))(KEY, jnp.ones(3))
    assert_same(got, jax.vmap(standard_of)(lanes(at(KEY, 0), 3)))


def test_a_mapped_linear_map_of_a_checkpoint_is_of_one_draw():
    def program(x, along):
        def part(x):
            return jnp.sin(x * standard())

        return jax.vmap(jax.linearize(jax.checkpoint(part), x)[1])(along)

    slope = jax.grad(lambda x: jnp.sin(x * standard_of(at(KEY, 0))))(0.5)
    got = seed(program)(KEY, 0.5, jnp.ones(3))
    assert_same(got, jnp.full(3, slope), rtol=1e-12)

"""Constructs of JAX that a program can draw in, for `test_pjax_law`.

A row is a program that draws in the construct, and the same program with the keys
written out by hand, by the law of `jaxlink.sampling.keys`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.random import fold_in
from jax.sharding import AxisType, PartitionSpec

from jaxlink import pjax
from jaxlink.pjax import seed

# conftest.py asks for two devices.
MESH = jax.make_mesh((2,), ("i",), axis_types=(AxisType.Auto,))


def at(key, position, i=0):
    """The key of the draw at a position of the scope ``key``; or the scope of the i-th
    step, branch or shard of what is there."""
    return fold_in(fold_in(key, position), i)


def steps(n):
    return jnp.arange(n, dtype=np.uint32)


def lanes(key, n):
    """The keys of the lanes of a draw."""
    return jnp.stack([fold_in(key, i) for i in range(n)])


# `normal_of(key, ...)` in a reference is what `normal(...)` is in a program.
def normal_of(key, loc, scale, shape=()):
    return loc + scale * jax.random.normal(key, shape)


standard_of, uniform_of = jax.random.normal, jax.random.uniform
normal = pjax.sampler(normal_of, name="normal")
standard = pjax.sampler(standard_of, name="standard")
uniform = pjax.sampler(uniform_of, name="uniform")


@dataclass(frozen=True)
class Construct:
    """A program of x, and the same with a key.

    Attributes:
        derive: what differentiates both, by x; None for nothing.
        derive_inside: whether this may be inside of `seed`, with the same result.
        in_checkpoint: whether it also may be if the program is in a checkpoint.
    """

    program: Callable[..., Any]
    keyed: Callable[..., Any]
    derive: Callable[..., Any] | None = jax.grad
    derive_inside: bool = True
    in_checkpoint: bool = True


CONSTRUCTS: dict[str, Construct] = {}


def construct(make=None, **flags):
    """Add a row: ``make`` returns the program and its reference."""
    if make is None:
        return partial(construct, **flags)
    CONSTRUCTS[make.__name__.replace("_", " ")] = Construct(*make(), **flags)
    return None


@construct
def straight_code():
    def program(x):
        return normal(x, 1.0) * standard()

    def keyed(key, x):
        return normal_of(at(key, 0), x, 1.0) * standard_of(at(key, 1))

    return program, keyed


@construct
def a_jitted_function_called_twice():
    @jax.jit
    def inner(x):
        return normal(x, 1.0) * standard()

    def program(x):
        return inner(x) + inner(x) * standard()

    def keyed(key, x):
        def call(p):
            return normal_of(at(key, p), x, 1.0) * standard_of(at(key, p + 1))

        return call(0) + call(2) * standard_of(at(key, 4))

    return program, keyed


@construct
def a_scan_whose_draw_is_of_no_step():
    def program(x):
        def step(c, _):
            return c * x + standard(), c

        return lax.scan(step, x, length=4)[0] + standard()

    def keyed(key, x):
        def step(c, t):
            return c * x + standard_of(at(at(key, 0, t), 0)), c

        return lax.scan(step, x, steps(4))[0] + standard_of(at(key, 1))

    return program, keyed


@construct
def a_reversed_scan_over_operands():
    xs = jnp.arange(4.0)

    def program(x):
        def step(c, a):
            return c * 0.5 + normal(a * x, 1.0), c

        end, each = lax.scan(step, x, xs, reverse=True)
        return (end * each).sum()

    def keyed(key, x):
        def step(c, t_and_a):
            t, a = t_and_a
            return c * 0.5 + normal_of(at(at(key, 0, t), 0), a * x, 1.0), c

        end, each = lax.scan(step, x, (steps(4), xs), reverse=True)
        return (end * each).sum()

    return program, keyed


@construct
def a_cond_in_a_jitted_function_in_a_scan():
    @jax.jit
    def inner(c):
        return lax.cond(c > 0, lambda: c + standard(), lambda: c - uniform())

    def program(x):
        return lax.scan(lambda c, _: (inner(c) * x, None), x, length=4)[0]

    def keyed(key, x):
        def step(c, t):
            scope = at(key, 0, t)

            def positive():
                return c + standard_of(at(at(scope, 0, 1), 0))

            def negative():
                return c - uniform_of(at(at(scope, 0, 0), 0))

            return lax.cond(c > 0, positive, negative) * x, None

        return lax.scan(step, x, steps(4))[0]

    return program, keyed


@construct
def a_switch():
    def program(x):
        branches = [lambda: x * standard(), lambda: standard(), lambda: normal(x, x)]
        return lax.map(lambda i: lax.switch(i, branches), jnp.arange(3)).sum()

    def keyed(key, x):
        a, b, c = (at(at(at(key, 0, i), 0, i), 0) for i in range(3))
        return x * standard_of(a) + standard_of(b) + normal_of(c, x, x)

    return program, keyed


@construct(derive=jax.jacfwd)
def a_while_loop():
    def program(x):
        def body(c):
            return c + jnp.abs(normal(0.3, 1.0))

        return lax.while_loop(lambda c: c < 4.0, body, x) * standard()

    def keyed(key, x):
        def body(state):
            t, c = state
            x = normal_of(at(at(key, 0, t), 0), 0.3, 1.0)
            return t + np.uint32(1), c + jnp.abs(x)

        start = np.uint32(0), x
        _, end = lax.while_loop(lambda state: state[1] < 4.0, body, start)
        return end * standard_of(at(key, 1))

    return program, keyed


@construct(derive=jax.jacfwd)
def a_while_loop_whose_lanes_stop_at_random():
    starts = jnp.arange(1.0, 4.0)

    def program(x):
        def lane(a):
            # The draw of the condition has the position after those of the body.
            return lax.while_loop(
                lambda c: uniform() < 0.7, lambda c: c + a * uniform(), x
            )

        return jax.vmap(lane)(starts).sum()

    def keyed(key, x):
        def lane(i, a):
            def draw(t, position):
                return uniform_of(fold_in(at(at(key, 0, t), position), i))

            def body(state):
                t, c = state
                return t + np.uint32(1), c + a * draw(t, 0)

            start = np.uint32(0), x
            return lax.while_loop(lambda state: draw(state[0], 1) < 0.7, body, start)[1]

        return jnp.stack([lane(i, a) for i, a in enumerate(starts)]).sum()

    return program, keyed


@construct(in_checkpoint=False)
def a_rejection_sampler_in_a_scan():
    def program(x):
        def step(c, _):
            positive = lax.while_loop(lambda z: z < 0.0, lambda _: standard(), -1.0)
            return c * x + positive, None

        return lax.scan(step, x, length=4)[0]

    def keyed(key, x):
        def step(c, t):
            def body(state):
                i, _ = state
                return i + np.uint32(1), standard_of(at(at(at(key, 0, t), 0, i), 0))

            start = np.uint32(0), -1.0
            return c * x + lax.while_loop(lambda s: s[1] < 0.0, body, start)[1], None

        return lax.scan(step, x, steps(4))[0]

    return program, keyed


@construct
def a_fori_loop_of_known_length():
    def program(x):
        return lax.fori_loop(2, 5, lambda i, c: c * x + i * standard(), x)

    def keyed(key, x):
        def body(i, c):
            return c * x + i * standard_of(at(at(key, 0, i - 2), 0))

        return lax.fori_loop(2, 5, body, x)

    return program, keyed


@construct(derive=jax.jacfwd)
def a_fori_loop_of_unknown_length():
    def program(x):
        return lax.fori_loop(0, jnp.int32(3 * x), lambda i, c: c + standard(), x)

    def keyed(key, x):
        def body(i, c):
            return c + standard_of(at(at(key, 0, i), 0))

        return lax.fori_loop(0, jnp.int32(3 * x), body, x)

    return program, keyed


@construct
def a_map():
    xs = jnp.arange(3.0)

    def program(x):
        return lax.map(lambda a: normal(a * x, 1.0), xs).prod()

    def keyed(key, x):
        draws = [normal_of(at(at(key, 0, t), 0), a * x, 1.0) for t, a in enumerate(xs)]
        return jnp.stack(draws).prod()

    return program, keyed


@construct
def an_associative_scan():
    xs = jnp.arange(4.0)

    def program(x):
        def combine(a, b):
            return a + b * normal(x, 1.0, shape=a.shape)

        return lax.associative_scan(combine, xs).sum()

    def keyed(key, x):
        position = itertools.count()  # JAX combines in plain Python

        def combine(a, b):
            return a + b * normal_of(at(key, next(position)), x, 1.0, a.shape)

        return lax.associative_scan(combine, xs).sum()

    return program, keyed


@construct
def a_checkpoint():
    def program(x):
        def part(x):
            return jnp.sin(normal(x, 1.0)) * jnp.sin(x * standard())

        return jax.checkpoint(part)(x) + standard()

    def keyed(key, x):
        part = jnp.sin(normal_of(at(key, 0), x, 1.0)) * jnp.sin(
            x * standard_of(at(key, 1))
        )
        return part + standard_of(at(key, 2))

    return program, keyed


def _sines(key, x):
    def step(c, t):
        return jnp.sin(c * x) * standard_of(at(at(key, 0, t), 0)), None

    return lax.scan(step, x, steps(4))[0] + standard_of(at(key, 1))


@construct
def a_checkpoint_around_a_scan():
    def program(x):
        def step(c, _):
            return jnp.sin(c * x) * standard(), None

        part = jax.checkpoint(lambda x: lax.scan(step, x, length=4)[0])
        return part(x) + standard()

    return program, _sines


@construct
def a_checkpoint_in_a_scan():
    def program(x):
        @jax.checkpoint
        def step(c, _):
            return jnp.sin(c * x) * standard(), None

        return lax.scan(step, x, length=4)[0] + standard()

    return program, _sines


@construct
def a_custom_jvp():
    @jax.custom_jvp
    def times(x):
        return x * standard()

    @times.defjvp
    def _(primals, tangents):
        y = times.fun(*primals)
        return y, 10.0 * tangents[0] * y

    @jax.custom_jvp
    def keyed_times(key, x):
        return x * standard_of(at(key, 0))

    @keyed_times.defjvp
    def _(primals, tangents):
        y = keyed_times.fun(*primals)
        return y, 10.0 * tangents[1] * y

    def program(x):
        return times(x) * standard()

    def keyed(key, x):
        return keyed_times(key, x) * standard_of(at(key, 1))

    return program, keyed


@construct(in_checkpoint=False)
def a_custom_jvp_of_a_constant_in_a_scan():
    @jax.custom_jvp
    def times(x):
        return x * standard()

    @times.defjvp
    def _(primals, tangents):
        y = times.fun(*primals)
        return y, 10.0 * tangents[0] * y

    def program(x):
        return lax.scan(lambda c, _: (c * x + times(2.0), None), x, length=4)[0]

    def keyed(key, x):
        def step(c, t):
            return c * x + 2.0 * standard_of(at(at(key, 0, t), 0)), None

        return lax.scan(step, x, steps(4))[0]

    return program, keyed


def noisy_gradient():
    """A custom_vjp whose bwd rule draws."""

    @jax.custom_vjp
    def times(x):
        return x * standard()

    def fwd(x):
        z = standard()
        return x * z, z

    times.defvjp(fwd, lambda z, cotangent: (10.0 * cotangent * z + standard(),))
    return times


@construct(derive_inside=False)
def a_custom_vjp_whose_bwd_rule_draws():
    times = noisy_gradient()

    @jax.custom_vjp
    def keyed_times(key, x):
        return x * standard_of(at(key, 0))

    def fwd(key, x):
        z = standard_of(at(key, 0))
        return x * z, (key, z)

    def bwd(saved, cotangent):
        key, z = saved
        scope = fold_in(key, np.uint32(2**32 - 1))
        return None, 10.0 * cotangent * z + standard_of(at(scope, 0))

    keyed_times.defvjp(fwd, bwd)

    def program(x):
        return 2 * times(x) * standard()

    def keyed(key, x):
        return 2 * keyed_times(key, x) * standard_of(at(key, 1))

    return program, keyed


@construct
def a_vmap():
    matrix = jnp.arange(6.0).reshape(2, 3)

    def program(x):
        columns = jax.vmap(lambda a: normal(a, x, shape=(2,)), in_axes=1)(matrix)
        return (columns * jax.vmap(standard, axis_size=3)()[:, None]).sum()

    def keyed(key, x):
        columns = jax.vmap(lambda key, a: normal_of(key, a, x, (2,)), (0, 1))
        each = columns(lanes(at(key, 0), 3), matrix)
        return (each * jax.vmap(standard_of)(lanes(at(key, 1), 3))[:, None]).sum()

    return program, keyed


@construct
def a_vmapped_scan_whose_carry_becomes_mapped():
    slopes = jnp.arange(3.0)

    def program(x):
        def lane(a):
            def step(c, _):
                return c * a * x + standard(), None

            return lax.scan(step, 0.0, length=3)[0]

        return jax.vmap(lane)(slopes).sum()

    def keyed(key, x):
        def step(c, t):
            each = lanes(at(at(key, 0, t), 0), 3)
            return c * slopes * x + jax.vmap(standard_of)(each), None

        return lax.scan(step, jnp.zeros(3), steps(3))[0].sum()

    return program, keyed


@construct
def a_shard_map():
    def program(x):
        def shard(a):
            return a * normal(a, 1.0, shape=(2,)) + standard()

        spec = PartitionSpec("i")
        sharded = jax.shard_map(shard, mesh=MESH, in_specs=spec, out_specs=spec)
        return sharded(jnp.arange(4.0) * x).sum() * standard()

    def keyed(key, x):
        def shard(scope, a):
            return a * normal_of(at(scope, 0), a, 1.0, (2,)) + standard_of(at(scope, 1))

        halves = (jnp.arange(4.0) * x).reshape(2, 2)
        shards = [shard(at(key, 0, i), a) for i, a in enumerate(halves)]
        return jnp.concatenate(shards).sum() * standard_of(at(key, 1))

    return program, keyed


@construct(derive=None)
def a_gradient_inside():
    def program(x):
        def inner(x):
            def step(c, _):
                return jnp.sin(c) * x + standard() * normal(c, x), None

            return lax.scan(step, x, length=3)[0]

        return jax.grad(inner)(x) * standard()

    def keyed(key, x):
        def inner(x):
            def step(c, t):
                scope = at(key, 0, t)
                noise = standard_of(at(scope, 0)) * normal_of(at(scope, 1), c, x)
                return jnp.sin(c) * x + noise, None

            return lax.scan(step, x, steps(3))[0]

        return jax.grad(inner)(x) * standard_of(at(key, 1))

    return program, keyed


@construct(derive=None)
def a_hessian_a_jvp_and_a_linear_map_inside():
    def program(x):
        def inner(x):
            return x**3 * standard() * normal(x, x)

        slope, linear = jax.jvp(inner, (x,), (x,))[1], jax.linearize(inner, x)[1]
        return jax.hessian(inner)(x) + slope + linear(x)

    def keyed(key, x):
        def inner(position, x):
            z = standard_of(at(key, position))
            return x**3 * z * normal_of(at(key, position + 1), x, x)

        slope = jax.jvp(partial(inner, 0), (x,), (x,))[1]
        linear = jax.linearize(partial(inner, 2), x)[1]
        return jax.hessian(partial(inner, 4))(x) + slope + linear(x)

    return program, keyed


@construct
def a_seeded_function_inside():
    own = jax.random.key(9)

    def program(x):
        return seed(lambda y: normal(x * y, 1.0))(own, x) * standard()

    def keyed(key, x):
        return normal_of(at(own, 0), x * x, 1.0) * standard_of(at(key, 0))

    return program, keyed


@construct
def a_callback_to_python():
    def program(x):
        z = lax.stop_gradient(standard())
        like = jax.ShapeDtypeStruct(z.shape, z.dtype)
        double = partial(jax.pure_callback, lambda z: 2 * np.asarray(z), like)
        return double(z, vmap_method="sequential") * x

    def keyed(key, x):
        return 2 * standard_of(at(key, 0)) * x

    return program, keyed

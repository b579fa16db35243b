"""What `jaxlink.pjax` refuses, and draws that are made eagerly, without `seed`."""

import linecache
import re
import subprocess
import sys
import threading

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.random import fold_in
from jax.sharding import PartitionSpec
from pjax_constructs import MESH, at, normal, standard, standard_of
from support import assert_same

import jaxlink
from jaxlink import pjax
from jaxlink.pjax import seed
from jaxlink.sampling import source

KEY = jax.random.key(5)
X = jnp.array(0.8)


def assert_names_the_line(error, sampler="standard"):
    """That a message names a sampler, and the line of this file that draws from it."""
    found = re.search(rf"`{sampler}`.* at {re.escape(__file__)}:(\d+) ", str(error))
    assert found, error
    assert f"{sampler}(" in linecache.getline(__file__, int(found[1]))


# --- no key --------------------------------------------------------------------------


@jax.custom_jvp
def doubled(x):
    return x * standard()


@doubled.defjvp
def _(primals, tangents):
    return doubled.fun(*primals), 2.0 * tangents[0]


@jax.custom_vjp
def tripled(x):
    return x * standard()


tripled.defvjp(lambda x: (x * standard(), None), lambda _, c: (3.0 * c,))


def chain(x):
    return lax.scan(lambda c, _: (jnp.sin(c * x) * standard(), None), x, length=3)[0]


def sharded(x):
    spec = PartitionSpec("i")
    shard = jax.shard_map(
        lambda a: a * standard(), mesh=MESH, in_specs=spec, out_specs=spec
    )
    return shard(jnp.stack([x, x]))


# Calls that compile a draw. JAX also compiles loops and branches of an eager call.
COMPILED = {
    "jit": lambda: jax.jit(lambda x: x * standard())(X),
    "lower": lambda: jax.jit(lambda x: x * standard()).lower(X),
    "export": lambda: jax.export.export(jax.jit(lambda x: x * standard()))(X),
    "vmap": lambda: jax.jit(jax.vmap(lambda x: x * standard()))(jnp.ones(3)),
    "scan": lambda: chain(X),
    "map": lambda: lax.map(lambda x: x * standard(), jnp.ones(3)),
    "cond": lambda: lax.cond(X > 0, lambda: standard(), lambda: 0.0),
    "while": lambda: lax.while_loop(lambda c: c < 3, lambda c: c + standard(), X),
    "gradient": lambda: jax.jit(jax.grad(lambda x: x * standard()))(X),
    "gradient of jit": lambda: jax.grad(jax.jit(lambda x: x * standard()))(X),
    "gradient of scan": lambda: jax.grad(chain)(X),
    "jit of gradient of scan": lambda: jax.jit(jax.grad(chain))(X),
    "custom_jvp": lambda: jax.jit(doubled)(X),
    "gradient of custom_jvp": lambda: jax.jit(jax.grad(doubled))(X),
    "custom_vjp": lambda: jax.jit(tripled)(X),
    "gradient of custom_vjp": lambda: jax.jit(jax.grad(lambda x: tripled(x) ** 2))(X),
    "checkpoint": lambda: jax.jit(jax.checkpoint(lambda x: x * standard()))(X),
    "shard_map": lambda: jax.jit(sharded)(X),
}


@pytest.mark.parametrize("name", COMPILED)
def test_a_draw_without_a_key_is_not_compiled(name):
    with pytest.raises(jaxlink.UnseededDrawError) as error:
        COMPILED[name]()
    assert_names_the_line(error.value)


def test_a_second_call_is_an_error_too():
    """JAX keeps the trace of a function that did not compile."""
    program = jax.jit(lambda x: x * standard())
    for x in X, X, jnp.ones(3):
        with pytest.raises(jaxlink.UnseededDrawError) as error:
            program(x)
        assert_names_the_line(error.value)
    assert seed(program)(KEY, X) == X * standard_of(at(KEY, 0))
    with pytest.raises(jaxlink.UnseededDrawError):
        program(X)


def test_the_error_says_what_to_do():
    with pytest.raises(jaxlink.UnseededDrawError) as error:
        jax.jit(lambda: pjax.normal(0.0, 1.0))()
    assert_names_the_line(error.value, "normal")
    assert "Write jaxlink.seed(fn)(key, ...)" in str(error.value)


def test_shapes_need_no_key():
    assert jax.eval_shape(lambda: normal(jnp.ones(2), 1.0, shape=(2,))).shape == (2,)


# --- a wrong key ---------------------------------------------------------------------

WRONG_KEYS = {
    "a number": (1.5, "is a float"),
    "None": (None, "is a NoneType"),
    "a batch": (jax.random.split(KEY, 3), r"batch of keys of shape \(3,\).*vmap"),
    "raw keys": (jnp.zeros((3, 2), np.uint32), "batch"),
    "raw words": (jnp.zeros(3, np.uint32), "must be a JAX PRNG key"),
    "an array": (X, "must be a JAX PRNG key"),
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_wrong_keys(name):
    key, message = WRONG_KEYS[name]
    with pytest.raises(jaxlink.KeyArgumentError, match=f"`key`.*{message}"):
        seed(lambda: standard())(key)
    with pytest.raises(jaxlink.KeyArgumentError, match=f"`seed`.*{message}"):
        pjax.set_seed(key)


def test_missing_keys():
    with pytest.raises(TypeError, match="key"):
        seed(lambda: standard())()
    with pytest.raises(jaxlink.KeyArgumentError, match="must be a JAX PRNG key"):
        seed(lambda x: x * standard())(X)
    with pytest.raises(jaxlink.KeyArgumentError, match=r"write jax.random.key\(seed\)"):
        seed(lambda: standard())(3)
    with pytest.raises(jaxlink.KeyArgumentError, match="is a bool"):
        pjax.set_seed(True)


# --- wrong use of a sampler ----------------------------------------------------------


def test_static_arguments_must_be_hashable():
    for shape in [3], jnp.ones(2):
        with pytest.raises(jaxlink.ArgumentError, match="`standard` are static"):
            standard(shape=shape)


def of_closure(x):
    return pjax.sampler(lambda key: x * standard_of(key), name="closed")()


@pytest.mark.parametrize(
    "program",
    [of_closure, jax.jit(of_closure), jax.grad(of_closure), jax.checkpoint(of_closure)],
)
def test_a_sampler_must_not_close_over_a_traced_value(program):
    with pytest.raises(jaxlink.ArgumentError, match="`closed` uses a traced value"):
        seed(program)(KEY, X)


@pytest.mark.parametrize("transform", [jax.grad, jax.vmap])
def test_an_eager_sampler_must_not_close_over_one_either(transform):
    with pytest.raises(jaxlink.ArgumentError, match="`closed` uses a traced value"):
        transform(of_closure)(X if transform is jax.grad else jnp.stack([X, X]))


def test_a_rule_must_not_draw_alone():
    """The draw would come from the process, and not from the key."""
    fn = jax.custom_jvp(lambda x: 2 * x)
    fn.defjvp(lambda primals, tangents: (fn(*primals), tangents[0] * standard()))
    program = seed(lambda x: fn(x) + standard())
    assert jnp.isfinite(program(KEY, X))
    for slope in jax.grad(program, 1), jax.jit(jax.grad(program, 1)):
        with pytest.raises(jaxlink.UnseededDrawError, match="`standard`"):
            slope(KEY, X)
    # A gradient inside makes it a draw of the program.
    inside = seed(jax.grad(lambda x: fn(x) + standard()))(KEY, X)
    assert_same(inside, standard_of(at(KEY, 0)))


def test_options_of_a_jitted_function_are_kept():
    program = jax.jit(standard, compiler_options={"no_such_option": 1})
    with pytest.raises(Exception, match="no_such_option"):
        seed(program)(KEY)


def test_a_sampler_may_close_over_a_known_value():
    known = jnp.arange(3.0)
    draw = pjax.sampler(lambda key: known * standard_of(key))
    assert_same(jax.jit(seed(draw))(KEY), known * standard_of(at(KEY, 0)))


def test_samplers_without_a_derivative():
    def scaled(key, scale):
        return scale * standard_of(key)

    rough = pjax.sampler(scaled, name="rough", differentiable=False)
    wanted = scaled(at(KEY, 0), X)
    assert_same(seed(rough)(KEY, X), wanted)
    stopped = jax.grad(seed(lambda x: x * rough(lax.stop_gradient(x))), 1)
    assert_same(stopped(KEY, X), wanted)
    message = "sampler `rough` has no derivative.*stop_gradient"
    for slope in jax.grad(seed(rough), 1), seed(jax.grad(rough)):
        for transformed in slope, jax.jit(slope):
            with pytest.raises(jaxlink.ArgumentError, match=message):
                transformed(KEY, X)
    with pytest.raises(jaxlink.ArgumentError, match=message):
        jax.grad(rough)(X)


def test_discrete_draws_have_a_derivative_of_zero():
    def program(rate):
        return rate * pjax.poisson(3 * rate).astype(float)

    @jax.jit
    def value_and_slopes(rate):
        outside = jax.grad(seed(program), 1)(KEY, rate)
        return seed(program)(KEY, rate), outside, seed(jax.grad(program))(KEY, rate)

    value, *slopes = value_and_slopes(jnp.array(4.0))
    assert slopes == [value / 4.0] * 2


def test_a_draw_is_not_linear():
    def program(x):
        return jax.linear_transpose(lambda loc: normal(loc, 1.0), x)(x)

    for call in lambda: program(X), lambda: seed(program)(KEY, X):
        with pytest.raises(
            jaxlink.ArgumentError, match="cannot be transposed"
        ) as error:
            call()
        assert_names_the_line(error.value, "normal")


# Primitives with programs that cannot be rebuilt with public functions.
UNSUPPORTED = {
    "custom_linear_solve": lambda x: lax.custom_linear_solve(
        lambda v: v * standard(), x, lambda _, b: b, symmetric=True
    ),
    "reduce": lambda x: lax.reduce(
        jnp.stack([x, x]), 0.0, lambda a, b: a + b * standard(), (0,)
    ),
}


def test_draws_in_a_primitive_whose_program_is_hidden():
    def program(x):
        return lax.custom_root(
            lambda v: v - x * standard(), x, lambda f, x: f(x), lambda g, y: y / g(1.0)
        )

    with pytest.raises(jaxlink.UnsupportedConstructError, match="Draw outside of it"):
        seed(program)(KEY, jnp.ones(()))


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_draws_in_other_primitives(name):
    message = f"draws inside `{name}`.*Draw outside of it"
    with pytest.raises(jaxlink.UnsupportedConstructError, match=message) as error:
        seed(UNSUPPORTED[name])(KEY, X)
    found = re.search(rf"at {re.escape(__file__)}:(\d+) ", str(error.value))
    assert "standard()" in linecache.getline(__file__, int(found[1]))


# --- draws without seed --------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_source(monkeypatch):
    """Leave the source of the process as it was."""
    monkeypatch.setattr(source, "_of_process", None)


def two():
    return [float(standard()), float(standard())]


def test_eager_draws_differ():
    lanes = jax.vmap(lambda x: standard())(jnp.ones(5)).tolist()
    each = [*two(), *lanes, float(jax.checkpoint(standard)())]
    assert len(set(each)) == len(each)


def test_an_eager_gradient_is_of_its_draw():
    for wrap in lambda f: f, jax.checkpoint:
        y, slope = jax.value_and_grad(wrap(lambda x: jnp.exp(x * standard())))(1.0)
        np.testing.assert_allclose(slope, y * np.log(y), atol=1e-12)


def test_the_nth_eager_draw_after_set_seed():
    pjax.set_seed(3)
    assert [standard(), standard()] == [
        standard_of(fold_in(jax.random.key(3), n)) for n in range(2)
    ]


@pytest.mark.parametrize(
    "same",
    [
        jax.random.key(3),
        jax.random.PRNGKey(3),
        np.asarray(jax.random.PRNGKey(3)),
        np.int64(3),
    ],
)
def test_set_seed_takes_numbers_and_keys(same):
    pjax.set_seed(3)
    wanted = two()
    pjax.set_seed(same)
    assert two() == wanted
    with pjax.set_seed(same):
        assert two() == wanted


def test_set_seed_takes_keys_of_other_implementations():
    pjax.set_seed(jax.random.key(3, impl="rbg"))
    first = two()
    pjax.set_seed(jax.random.key(3, impl="rbg"))
    assert two() == first


def test_a_block_has_a_source_of_its_own():
    pjax.set_seed(1)
    a, b = two()
    pjax.set_seed(2)
    c, d = two()

    pjax.set_seed(1)
    assert standard() == a
    with pjax.set_seed(2):
        assert standard() == c
        with pjax.set_seed(1):
            assert two() == [a, b]
        assert standard() == d
    assert standard() == b


def test_a_block_ends_with_an_error():
    pjax.set_seed(1)
    wanted = two()
    pjax.set_seed(1)
    with pytest.raises(ZeroDivisionError), pjax.set_seed(2):
        raise ZeroDivisionError
    assert two() == wanted


def in_threads(fn, n):
    """What ``fn`` returned in each of n threads."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(fn())) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == n
    return results


def test_threads_share_the_source_of_the_process_in_turn():
    pjax.set_seed(4)
    wanted = [float(standard()) for _ in range(40)]
    pjax.set_seed(4)
    got = in_threads(lambda: [float(standard()) for _ in range(10)], 4)
    assert sorted(z for each in got for z in each) == sorted(wanted)


def test_threads_do_not_see_the_source_of_a_block():
    pjax.set_seed(1)
    wanted = two()
    pjax.set_seed(1)
    with pjax.set_seed(2):
        assert in_threads(two, 1) == [wanted]


def test_blocks_in_threads_do_not_disturb_each_other():
    def block():
        with pjax.set_seed(6):
            return two()

    first, *others = in_threads(block, 4)
    assert others == [first] * 3


FORK = """
import os, warnings
from jaxlink import pjax

warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)

def draw():
    return repr(float(pjax.normal(0.0, 1.0)))

draw()  # compiled before the fork, after which XLA has no threads to compile with

def children(n):
    for _ in range(n):
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, f"{draw()} {draw()}".encode())
            os._exit(0)
        os.wait()
        yield from os.read(read, 1000).decode().split()

pjax.set_seed(1)
print(*children(2))
with pjax.set_seed(1):
    print(*children(1))
print(draw(), draw())
"""


def test_a_forked_process_does_not_repeat_its_parent():
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    draws = done.stdout.split()
    assert len(draws) == len(set(draws)) == 8
    pjax.set_seed(1)
    assert draws[-2:] == [repr(float(pjax.normal(0.0, 1.0))) for _ in range(2)]

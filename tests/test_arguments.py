"""Wrong arguments: each is a clear error that names the variable and its type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest

import jaxlink

KEY = jax.random.key(0)
X, Y = np.ones(3), 2.0


@pytest.fixture(scope="module")
def plain():
    x, y, n = pt.vector("x"), pt.scalar("y"), pt.iscalar("n")
    return jaxlink.function([x, y, n], x.sum() * y * n, name="plain")


@pytest.fixture(scope="module")
def random():
    x, y = pt.vector("x"), pt.scalar("y")
    z = pt.random.shared_rng(seed=0).normal(x.sum(), 1.0)[1]
    return jaxlink.function([x, y], z * y, name="random")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "is missing arguments `x`, `y`, `n`"),
        ((X,), {}, r"missing arguments `y`, `n`. It takes plain\(x: float64\[\?\], "),
        ((X, Y, 1, 2), {}, "takes 3 arguments but got 4"),
        ((KEY, X, Y, 1), {}, "takes no key, because the graph is not random"),
        ((X, Y), {"n": 1, "m": 2}, "no input named `m`"),
        ((X, Y), {"nn": 1}, "Did you mean `n`"),
        ((X, Y), {"y": 1}, "two values for `y`"),
        ((X,), {"y": 1}, "is missing argument `n`"),
        ((Y, X, 1), {}, r"`x` of plain\(\) must be float64\[\?\] but is float64\[\]"),
        ((X[None], Y, 1), {}, r"rank 2, not 1. To map .* jax.vmap"),
        ((X, Y, 1.5), {}, r"`n` of plain\(\) must be int32\[\] but is float64\[\]"),
        ((X, 1j, 1), {}, r"`y` .* must be float64\[\] but is complex128"),
        ((X, KEY, 1), {}, r"`y` of plain\(\) must be float64\[\] but is a PRNG key"),
        ((X, Y, np.int64(1)), {}, "cannot be converted without loss"),
        ((None, Y, 1), {}, r"`x` .* must be an array .* but is a NoneType"),
        (([1.0, 2.0], Y, 1), {}, r"is a list. Wrap it in jnp.asarray\(...\)"),
        (("abc", Y, 1), {}, r"`x` of plain\(\) must be an array .* is a str"),
        ((X, Y, len), {}, "is a builtin_function_or_method"),
    ],
)
def test_plain(plain, args, kwargs, message):
    for fn in (plain, plain):  # the second time nothing is compiled any more
        with pytest.raises(jaxlink.ArgumentError, match=message):
            fn(*args, **kwargs)
    assert plain(X, Y, 1) == 6.0


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((X, Y), {}, r"needs a PRNG key .* call random\(jax.random.key\(0\), ...\)"),
        ((0, X, Y), {}, r"`key` must be a JAX PRNG key.*write jax.random.key\(seed\)"),
        ((np.int64(0), X, Y), {}, r"int64 and shape \(\).*jax.random.key\(seed\)"),
        ((0.5, X, Y), {}, "must be a JAX PRNG key"),
        ((X, KEY, Y), {}, "key must come first, but is in the place of `x`"),
        ((np.zeros(2, np.int64), X, Y), {}, "must be a JAX PRNG key"),
        ((np.zeros(3, np.uint32), X, Y), {}, "must be a JAX PRNG key"),
        ((jax.random.split(KEY, 2), X, Y), {}, r"batch of keys .* jax.vmap"),
        ((np.zeros((5, 2), np.uint32), X, Y), {}, r"batch of raw keys .* jax.vmap"),
        ((KEY, KEY, X, Y), {}, "takes 3 arguments but got 4"),
        ((None, X, Y), {}, "must be a JAX PRNG key"),
        (
            (np.random.default_rng(0), X, Y),
            {},
            "must be a PRNG key, such as .* is a Generator",
        ),
        ((), {"x": X, "y": Y}, "is missing argument `key`"),
        ((KEY, X), {}, "is missing argument `y`"),
    ],
)
def test_random(random, args, kwargs, message):
    with pytest.raises(jaxlink.ArgumentError, match=message):
        random(*args, **kwargs)


def test_a_wrong_key_is_an_error_of_its_own_kind(random):
    for args in [(0, X, Y), (X, Y), (X, KEY, Y)]:
        with pytest.raises(jaxlink.KeyArgumentError):
            random(*args)


def test_static_dimensions_are_checked():
    x = pt.tensor("x", shape=(None, 3))
    fn = jaxlink.function([x], x.sum())
    assert fn(np.ones((2, 3))) == 6.0
    with pytest.raises(jaxlink.ArgumentError, match="dimension 1 must be 3, not 4"):
        fn(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("float64", np.float32(1), True),
        ("float64", np.int32(1), True),
        ("float64", True, True),
        ("float32", np.float64(1), False),
        ("float32", 1.0, True),
        ("int64", np.int8(1), True),
        ("int64", np.float32(1), False),
        ("int64", True, True),
        ("int8", 1, True),
        ("int8", np.int16(1), False),
        ("bool", 1, False),
        ("bool", True, True),
        ("complex128", 1.0, True),
        ("complex128", np.float32(1), True),
    ],
)
def test_dtypes(dtype, value, fits):
    x = pt.scalar("x", dtype=dtype)
    fn = jaxlink.function([x], x)
    if fits:
        out = fn(value)
        assert np.asarray(out) == value
        assert out.dtype == dtype
        assert not out.weak_type
    else:
        with pytest.raises(jaxlink.ArgumentError, match="without loss"):
            fn(value)


@pytest.mark.parametrize(
    ("dtype", "largest"), [("int8", 127), ("uint8", 255), ("int32", 2**31 - 1)]
)
def test_python_ints_do_not_wrap_around(dtype, largest):
    x = pt.scalar("x", dtype=dtype)
    fn = jaxlink.function([x], x)
    assert fn(largest) == largest
    for value in (largest + 1, -(largest + 2), 2**70):
        with pytest.raises(jaxlink.ArgumentError, match=f"does not fit {dtype}"):
            fn(value)


def test_uint64():
    x = pt.scalar("x", dtype="uint64")
    assert int(jaxlink.function([x], x)(2**64 - 1)) == 2**64 - 1


def test_errors_are_raised_under_transformations_too(plain, random):
    with pytest.raises(jaxlink.ArgumentError, match="rank 0, not 1"):
        jax.grad(plain)(1.0, Y, 1)
    with pytest.raises(jaxlink.ArgumentError, match="rank 0, not 1"):
        jax.vmap(plain, (0, None, None))(X, Y, 1)
    with pytest.raises(jaxlink.KeyArgumentError, match="needs a PRNG key"):
        jax.jit(random)(X, Y)


def test_a_call_that_is_right_is_not_checked(plain):
    """All checks run while JAX traces: a second call of the same types runs none."""
    x = pt.vector("x")
    fn = jaxlink.function([x], x.sum())
    traces = []
    program = fn._program
    run = type(program).run
    try:
        type(program).run = lambda *a: traces.append(1) or run(*a)
        for value in (np.ones(3), jnp.zeros(3), np.full(3, 7.0)):
            fn(value)
    finally:
        type(program).run = run
    assert len(traces) == 1

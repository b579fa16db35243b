"""Isomorphic parts of a graph are stacked: same draws, same values, fewer nodes."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from support import DEFAULT, assert_same

import jaxlink
import jaxlink.pymc as jlpm
from jaxlink.ops.stacked import Part, Stack, StackedDraws

KEY = jax.random.key(11)
N = 8
# jax < 0.12: its XLA rounds the last digit of a draw by what it fuses it with.
OLDER = jax.__version_info__ < (0, 12)
LAST_DIGIT = 1e-15 if OLDER else 0
RNG = np.random.default_rng(0)


def stacks(fn):
    """How many stacks there are, of variables and of draws."""
    ops = [type(node.op) for node in getattr(fn, "fn", fn).fgraph.apply_nodes]
    return ops.count(Stack), ops.count(StackedDraws)


def both(inputs, outputs, **options):
    """The function with stacks and the one without."""
    plain = jaxlink.function(inputs, outputs, stack=False, **options)
    assert stacks(plain) == (0, 0)
    return jaxlink.function(inputs, outputs, **options), plain


def rng():
    return pt.random.shared_rng(seed=1)


# Eight draws of each family, whose parameters may differ.
FAMILIES = {
    "normal": lambda i: rng().normal(i, 1.0 + i)[1],
    "shared parameters": lambda i: rng().normal(0.5, 2.0)[1],
    "vectors": lambda i: rng().gamma(1.5, scale=2.0, size=(3,))[1],
    "parameters of two shapes": lambda i: rng().normal(np.arange(3.0) * i, 1 + i)[1],
    "multinomial": lambda i: rng().multinomial(4, [0.2, 0.5, 0.3])[1],
    "multivariate": lambda i: rng().multivariate_normal([0.0, 1.0], np.eye(2))[1],
    "permutation": lambda i: rng().permutation(np.arange(5))[1],
    "half cauchy": lambda i: rng().halfcauchy(0.0, 1.0 + i)[1],
    "uniform": lambda i: rng().uniform(-i, 1.0 + i)[1],
    "exponential": lambda i: rng().exponential(1.0 + i)[1],
    "sizes of variables": lambda i: rng().uniform(
        -1.0, i, size=rng().normal(i, 1.0, size=(3,))[1].shape
    )[1],
    "32 bits": lambda i: rng().normal(np.float32(i), np.float32(2), dtype="float32")[1],
}


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_keep_their_bits(name):
    draws = [FAMILIES[name](i) for i in range(N)]
    stacked, plain = both([], draws)
    assert stacks(stacked)[1] == 1
    digits = {}
    if OLDER:
        digits = {"rtol": 4e-7 if name == "32 bits" else LAST_DIGIT, "atol": 1e-15}
    assert_same(stacked(KEY), plain(KEY), **digits)
    if name in ("normal", "parameters of two shapes"):
        keys = jax.random.split(KEY, 3)
        assert_same(jax.vmap(stacked)(keys), jax.vmap(plain)(keys), **digits)


# Draws whose parameters are computed, so that XLA does not know them.
COMPUTED = {
    "gamma": lambda x: rng().gamma(x, scale=2.0)[1],
    "poisson": lambda x: rng().poisson(40 * x)[1],
    "binomial": lambda x: rng().binomial(pt.floor(50 * x).astype("int64"), x / 3)[1],
    "categorical": lambda x: rng().categorical(pt.stack([x, 3 - x]) / 3)[1],
}


@pytest.mark.parametrize("name", COMPUTED)
def test_draws_of_draws_keep_their_bits(name):
    xs = [rng().uniform(0.1, 2.9)[1] for _ in range(N)]
    stacked, plain = both([], [COMPUTED[name](x) for x in xs])
    assert stacks(stacked)[1] == 2
    assert_same(stacked(KEY), plain(KEY))


def test_constants_that_xla_would_fold_are_not_stacked():
    draws = [rng().gamma(0.3 * (i + 1), scale=1.0)[1] for i in range(N)]
    stacked, plain = both([], draws)
    assert stacks(stacked) == (0, 0)
    assert_same(stacked(KEY), plain(KEY))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_draws_of_other_implementations(impl):
    key = jax.random.key(3, impl=impl)
    stacked, plain = both([], [FAMILIES["normal"](i) for i in range(N)])
    assert_same(stacked(key), plain(key), rtol=LAST_DIGIT)
    raw = jax.random.PRNGKey(5)
    assert_same(stacked(raw), plain(raw), rtol=LAST_DIGIT)


def test_draws_along_one_generator():
    """Each is a draw of another number, and generators after a draw are used."""
    outs = []
    for i in range(N):
        generator = rng()
        for scale in (1.0, 2.0):
            generator, x = generator.normal(i, scale)
            outs.append(x)
    stacked, plain = both([], outs)
    assert stacks(stacked)[1] == 2
    assert_same(stacked(KEY), plain(KEY))


def test_a_generator_is_returned_after_its_draws():
    generator = pt.random.rng("generator")
    after, x = generator.normal()
    outs = [after, x, *(rng().normal()[1] for _ in range(N))]
    stacked, plain = both([generator], outs)
    args = KEY, jax.random.key(5)
    assert_same(*(jax.tree.map(as_data, fn(*args)) for fn in (stacked, plain)))


def as_data(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(x) if is_key else x


def test_gradients_of_draws():
    scales = [pt.scalar(f"scale_{i}") for i in range(N)]
    draws = [rng().normal(0.0, scale)[1] ** 2 for scale in scales]
    stacked, plain = both(scales, pt.add(*draws))
    args = np.linspace(0.5, 2.0, N)
    slopes = [
        jax.grad(fn, tuple(range(1, N + 1)))(KEY, *args) for fn in (stacked, plain)
    ]
    assert_same(*slopes, rtol=1e-12)


def loop(n=N, *, names=("mu", "tau", "y"), shape=()):
    with pm.Model() as model:
        for i in range(n):
            mu = pm.Normal(f"{names[0]}_{i}", i / n, 2, shape=shape)
            tau = pm.HalfNormal(f"{names[1]}_{i}", 1 + i / n, shape=shape)
            pm.Normal(f"{names[2]}_{i}", mu, tau, observed=np.full(shape, i / n))
    return model


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_density_of_a_loop(shape):
    model = loop(shape=shape)
    density = jlpm.logdensity(model)
    assert stacks(density)[0] == 2  # one for each kind of free variable
    position = model.initial_point(random_seed=1)
    position = {k: v + 0.1 * RNG.normal(size=shape) for k, v in position.items()}
    value, slopes = jax.value_and_grad(density)(position)
    plain = jaxlink.function(model.value_vars, model.logp(), stack=False)
    args = [position[var.name] for var in model.value_vars]
    # PyTensor takes the logarithm of 0.5, a float32 there, in 32 bits.
    np.testing.assert_allclose(value, plain(*args), rtol=1e-7)
    for name, wanted in zip(
        position, jax.grad(plain, tuple(range(len(args))))(*args), strict=True
    ):
        np.testing.assert_allclose(slopes[name], wanted, rtol=1e-9, atol=1e-12)
    if shape:  # Python's PyTensor adds at most 32 scalars
        np.testing.assert_allclose(value, model.compile_logp()(position), rtol=1e-7)


def test_terms_and_illegal_parameters_stay_apart():
    with pm.Model() as model:
        sigmas = [pm.Flat(f"sigma_{i}") for i in range(N)]
        for i, sigma in enumerate(sigmas):
            pm.Normal(f"y_{i}", 0.0, sigma, observed=1.0)
    terms = jlpm.logdensity(model, sum=False)
    # A user may differentiate one term, whose slope another must not spoil.
    assert stacks(terms) == (0, 0)
    position = {f"sigma_{i}": np.array(i - 1.0) for i in range(N)}
    got = terms(position)
    for i in range(N):
        legal = i > 1
        assert np.isfinite(got[f"y_{i}"]) == legal, i
        if legal:
            wanted = pm.logp(pm.Normal.dist(0, i - 1.0), 1.0).eval()
            np.testing.assert_allclose(got[f"y_{i}"], wanted, rtol=1e-7)
    slopes = jax.grad(lambda p: terms(p)["y_5"])(position)
    assert all((slopes[f"sigma_{i}"] == 0) == (i != 5) for i in range(N))
    error, _ = checkify.checkify(jax.jit(terms.checked))(position)
    assert "sigma > 0" in error.get()
    error, _ = checkify.checkify(jax.jit(terms.checked))(
        {name: abs(x) + 1 for name, x in position.items()}
    )
    assert error.get() is None


def test_a_slope_that_is_infinite_in_the_branch_not_taken():
    xs = [pt.scalar(f"x_{i}") for i in range(N)]
    parts = [pt.switch(x > 0, pt.sqrt(x), 2 * x) for x in xs]
    # Here only the roots are stacked: the choices differ.
    apart = [pt.switch(x > i, pt.sqrt(x), x * (x > i + 1)) for i, x in enumerate(xs)]
    values = [0.0, -0.0, 1.0, -1.0, 4.0, 1e-300, -1e300, 0.25]
    for outs in (parts, apart):
        stacked, plain = both(xs, pt.add(*outs))
        assert stacks(stacked)[0] > 0
        grads = [jax.grad(fn, tuple(range(N)))(*values) for fn in (stacked, plain)]
        assert_same(*grads, rtol=1e-12)
        assert np.isfinite(grads[0]).all()


def test_parts_are_used_in_any_order_and_in_part():
    xs = [pt.scalar(f"x_{i}") for i in range(N + 3)]
    exps = [pt.exp(x) for x in xs]
    order = RNG.permutation(N + 3)[:N]
    roots = [pt.sqrt(exps[i] + 1) * 3 for i in order]
    logs = [pt.log(exps[i] + exps[i - 1]) for i in range(2, N + 3)]
    out = pt.add(pt.add(*roots), pt.mul(2, pt.add(*logs)), pt.add(*exps[3:], xs[0]))
    fn = jaxlink.function(xs, out)
    assert stacks(fn)[0] > 0
    values = RNG.normal(size=N + 3)
    wanted = pytensor.function(xs, out, mode=DEFAULT)(*values)
    np.testing.assert_allclose(fn(*values), wanted, rtol=1e-12)


def slopes_of_one_output(stack):
    """At a point where another output has an infinite slope."""
    xs = [pt.scalar(f"x_{i}") for i in range(2 * N)]
    roots = [pt.sqrt(pt.sin(pt.cos(pt.sqrt(x)))) for x in xs]
    outs = [pt.add(*roots[:N]), pt.add(*roots[N:])]
    fn = jaxlink.function(xs, outs, stack=stack)
    at = np.array([1.0] * N + [0.0] * N)
    return fn, jax.grad(lambda at: fn(*at)[0])(at)


def test_outputs_that_are_differentiated_apart_are_not_stacked():
    fn, slopes = slopes_of_one_output(True)
    assert stacks(fn) == (0, 0)
    assert_same(slopes, slopes_of_one_output(False)[1], rtol=1e-12)
    assert np.isfinite(slopes).all()


def test_equal_nodes_are_no_stack():
    x = pt.vector("x", shape=(2,))
    fn = jaxlink.function([x], pt.add(*(pt.sqrt(pt.exp(x) + 1) for _ in range(N))))
    assert stacks(fn) == (0, 0)
    np.testing.assert_allclose(fn(np.zeros(2)), N * np.sqrt([2.0, 2.0]))


def untouched():
    few = [pt.scalar(f"x_{i}") for i in range(7)]
    yield few, [pt.sqrt(pt.exp(pt.sin(pt.cos(x)))) for x in few]
    ragged = [pt.vector(f"x_{i}") for i in range(N)]
    yield ragged, [pt.sqrt(pt.exp(pt.sin(pt.cos(x)))).sum() for x in ragged]
    large = [pt.vector(f"x_{i}", shape=(5000,)) for i in range(N)]
    yield large, [pt.sqrt(pt.exp(pt.sin(pt.cos(x)))).sum() for x in large]
    shallow = [pt.scalar(f"x_{i}") for i in range(N)]
    yield shallow, [pt.exp(x) for x in shallow]
    chain = [x := pt.scalar("x")]
    for _ in range(N):
        x = pt.sqrt(pt.exp(pt.sin(x)))
    yield chain, [x]


@pytest.mark.parametrize(("inputs", "outputs"), list(untouched()))
def test_what_stays_as_it_is(inputs, outputs):
    assert stacks(jaxlink.function(inputs, outputs)) == (0, 0)


def test_integers_that_fix_shapes_stay_static():
    lengths = [pt.iscalar(f"n_{i}") for i in range(N)]
    outs = [pt.zeros((2 * n + 1) // 2 * 3 + 1) for n in lengths]
    fn = jaxlink.function(lengths, outs)
    assert [len(x) for x in fn(*range(N))] == [3 * i + 1 for i in range(N)]


def test_nodes_do_not_grow_with_the_loop():
    def size(n):
        nodes = jlpm.logdensity(loop(n)).fn.fgraph.apply_nodes
        return sum(not isinstance(node.op, Part) for node in nodes)

    assert size(10) == size(40)


def test_a_pickled_function_and_mode():
    draws = [FAMILIES["normal"](i) for i in range(N)]
    fn = jaxlink.function([], draws)
    assert_same(pickle.loads(pickle.dumps(fn))(KEY), fn(KEY))
    xs = [pt.scalar(f"x_{i}") for i in range(N)]
    outs = [pt.sqrt(pt.exp(pt.sin(pt.cos(x)))) for x in xs]
    got = pytensor.function(xs, outs, mode=jaxlink.MODE)(*range(N))
    np.testing.assert_allclose(got, np.sqrt(np.exp(np.sin(np.cos(range(N))))))


def test_stack_must_be_a_bool():
    x = pt.scalar("x")
    with pytest.raises(TypeError, match="stack must be True or False, not 'no'"):
        jaxlink.function([x], x, stack="no")

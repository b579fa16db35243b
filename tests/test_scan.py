"""Loops: Scan with all kinds of states, conditions, numbers of steps and gradients."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from pytensor import ifelse
from pytensor.compile.builders import OpFromGraph
from pytensor.scan.checkpoints import scan_checkpoints
from pytensor.scan.utils import until
from support import check

import jaxlink

fold_in = jax.random.fold_in
KEY = jax.random.key(7)
XS = np.linspace(-1.0, 2.0, 6)


def scan(*args, **kwargs):
    return pytensor.scan(*args, return_updates=False, **kwargs)


@pytest.fixture
def x():
    return pt.scalar("x")


@pytest.fixture
def xs():
    return pt.vector("xs")


def int_of(x):
    """A count that is computed, so that no argument can be static."""
    return pt.cast(pt.floor(x), "int64")


# --- states --------------------------------------------------------------------------


def test_all_taps(x, xs):
    """A sequence and its lag, states one and three back, a stack, and a constant; all
    of them, single rows, and the end of them."""
    g0 = pt.vector("g0")

    def step(seq, lag, g3, g1, h, a):
        return g1 - 0.5 * g3 + lag, pt.tanh(a * h + seq), seq * h

    g, h, stack = scan(
        step,
        sequences=[{"input": xs, "taps": [0, -1]}],
        outputs_info=[{"initial": g0, "taps": [-3, -1]}, x, None],
        non_sequences=[x],
    )
    values = [XS, 0.3, np.array([1.0, -2.0, 0.5])]
    inputs = [xs, x, g0]
    check(inputs, [g, h, stack, g[-1], h[2], stack[-2:]], values)
    fn = check(inputs, [g[-1], g[-4:], h[-1], h[-2], stack[-1]], values)
    assert "keep=[4, 2, 1]" in fn.fgraph.dprint(file="str")


@pytest.mark.parametrize("n", [0, 1, 4])
def test_static_number_of_steps(n, x):
    """An integer input is static, if a length depends on it and also if not, because
    only then a gradient goes back."""
    steps = pt.lscalar("n")
    powers = scan(lambda p, a: p * a, None, [pt.ones_like(x)], [x], n_steps=steps)
    fn = check([steps, x], [powers, powers[-2:], powers.sum()], [n, 1.3])
    assert fn.static_argnums == (0,)
    last = jaxlink.function([steps, x], powers[-1])
    assert last.static_argnums == (0,)
    if n == 0:
        with pytest.raises(IndexError, match="makes 0 steps, but its step 1"):
            last(0, 1.3)
    else:
        check([steps, x], powers[-1], [n, 1.3])


def test_empty_sequence(x, xs):
    out = scan(lambda a, h: h + a, [xs], [x])
    fn = check([xs, x], [out], [np.ones(0), 2.0])
    assert fn(np.ones(2), 2.0)[0].shape == (2,)


def test_steps_backwards_and_fewer_than_elements(x, xs):
    back = scan(lambda a, h: h * a + x, [xs], [x], go_backwards=True, n_steps=4)
    strict = scan(lambda a, h, x: h * a + x, [xs], [x], [x], n_steps=4, strict=True)
    check([xs, x], [back, strict[-1]], [XS, 0.3])


def test_matrices_and_a_long_tail():
    m, v = pt.matrix("m"), pt.vector("v")
    out = scan(lambda h, m: pt.tanh(m @ h), None, [v], [m], n_steps=40)
    inputs, values = [m, v], [[[0.9, -0.5], [0.4, 0.8]], [1.0, -2.0]]
    check(inputs, [out[-20:], out[-1], out[-2:]], values)
    check(inputs, [out[-45:], out[17]], values)


def test_nested(x, xs):
    """The inner loop runs over the outer one's element and state."""

    def outer(a, h):
        inner = scan(lambda g, a: g * 0.5 + a, None, [h], [a], n_steps=3)
        return inner[-1], inner.sum()

    h, total = scan(outer, [xs], [x, None])
    check([xs, x], [h[-1], total], [XS, 0.3])


def test_in_other_inner_graphs(x, xs):
    v, s = pt.vector("v"), pt.scalar("s")
    out = scan(lambda a, h: (h * 1.5 + a, until(h > 5)), [v], [s])[-1]
    op = OpFromGraph([v, s], [out])
    both = ifelse(x > 0, op(xs, x), scan(lambda a, h: h + a, [xs], [x])[-1])
    fn = jaxlink.function([xs, x], both)
    for value in (2.0, -2.0):
        expected = pytensor.function([xs, x], both)(XS, value)
        np.testing.assert_allclose(fn(XS, value), expected, rtol=1e-14)


def test_single_value_for_all_of_a_state(xs):
    """PyTensor writes a step into its buffer, so a shorter value is repeated."""
    v, w = pt.vector("v"), pt.vector("w")
    out = scan(lambda h, w: h.sum() * w, None, [v], [w], n_steps=3)
    fn = jaxlink.function([v, w], out)
    expected = pytensor.function([v, w], out, mode=pytensor.compile.Mode("py", None))
    args = np.array([1.0, 2.0]), np.array([0.5])
    np.testing.assert_allclose(fn(*args), expected(*args))


# --- memory --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fixed", "until", "counted"])
def test_only_what_is_read_is_kept(kind, x):
    """No array is as long as the loop."""

    def step(h):
        outs = [pt.tanh(h) + 0.01, h**2]
        return (outs, until(h > 100)) if kind == "until" else outs

    n_steps = 12345 if kind != "counted" else int_of(x * 12345)
    h, square = scan(step, None, [x, None], n_steps=n_steps)
    outputs = [h[-1], h[-2], square[-1]]
    fn = jaxlink.function([x], outputs)
    assert "12345," not in str(fn.jaxpr(1.0)).replace("length=12345", "")
    if kind == "fixed":
        tail = jaxlink.function([x], h[-50:])
        assert "f64[12" not in str(tail.jaxpr(1.0))
        assert "f64[50]" in str(tail.jaxpr(1.0))
    assert fn.lower(1.0).compile().memory_analysis().temp_size_in_bytes < 1000


def test_program_of_a_plain_loop_is_what_one_would_write(x, xs):
    out = scan(lambda a, h: h * a + x, [xs], [x])
    for output, written in [
        (out, lambda c, s: jax.lax.scan(lambda h, a: (h * a + c,) * 2, c, s)[1]),
        (out[-1], lambda c, s: jax.lax.scan(lambda h, a: (h * a + c, 0), c, s)[0]),
    ]:
        (loop,) = _loops(jaxlink.function([x, xs], output).jaxpr(1.0, XS).jaxpr)
        (same,) = _loops(jax.make_jaxpr(written)(jnp.float64(1.0), XS).jaxpr)
        inner, expected = loop.params["jaxpr"], same.params["jaxpr"]
        assert len(inner.jaxpr.eqns) == len(expected.jaxpr.eqns)
        assert len(inner.in_avals) == len(expected.in_avals)


def _loops(jaxpr):
    return [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]


# --- loops that end early ------------------------------------------------------------


def test_until(x, xs):
    """The end of a loop that stops by itself: by its condition, or after all steps."""

    def step(a, h):
        return [pt.tanh(h * a + x) + h, h * a], until(h > 2)

    h, stack = scan(step, [xs], [x, None])
    outputs = [h[-1], h[-2], h[-1:], stack[-1]]
    check([xs, x], outputs, [np.linspace(0.5, 2, 9), 0.4])
    check([xs, x], outputs, [np.linspace(-2, 0, 9), 0.4], vmap=False)
    length = jaxlink.function([xs, x], h.shape[0])
    assert length(np.linspace(0.5, 2, 9), 0.4) == 4
    assert length(np.linspace(-2, 0, 9), 0.4) == 9


def test_until_of_a_vector():
    """Parts of the last step, and the shape of a step."""
    v = pt.vector("v")
    out = scan(lambda h: (h * 1.5, until(h.sum() > 10)), None, [v], n_steps=9)
    parts = [out[-1].sum(), out[-1, :2], out[:, 1:][-1][1], pt.zeros(out.shape[1:])]
    check([v], parts, [[1.0, 2.0, 0.5]], vmap=False)


def test_until_stops(x):
    """A million steps would take long."""
    out = scan(lambda h: (h * 2, until(h > 100)), None, [x], n_steps=10**9)[-1]
    fn = jaxlink.function([x], out)
    assert fn(3.0) == 384.0
    lanes = jax.vmap(fn)(jnp.array([3.0, 1.0, 200.0]))
    np.testing.assert_array_equal(lanes, [384.0, 256.0, 400.0])


def test_gradient_beyond_the_end_is_no_nan():
    """Under vmap, the steps after the end are computed: here a root of a negative
    number, whose gradient is nan."""
    x = pt.scalar("x")
    out = scan(lambda h: (pt.sqrt(h - 1.5), until(h < 2.5)), None, [x], n_steps=6)[-1]
    fn = jaxlink.function([x], out)
    points = jnp.array([2.2, 5.0, 30.0])
    expected = [pytensor.grad(out, x).eval({x: float(point)}) for point in points]
    np.testing.assert_allclose(jax.vmap(jax.grad(fn))(points), expected)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(fn))(points), expected)
    summed = jax.grad(lambda points: jax.vmap(fn)(points).sum())
    np.testing.assert_allclose(summed(points), expected)
    hessian = jax.vmap(jax.hessian(fn))(points)
    step = 1e-5
    shifted = jax.vmap(jax.grad(fn))(points + step) - jax.vmap(jax.grad(fn))(
        points - step
    )
    np.testing.assert_allclose(hessian, shifted / (2 * step), rtol=1e-6)


def test_number_of_steps_that_is_computed(x, xs):
    """Without a bound tangents go forward only; a sequence is a bound."""
    count = pt.scalar("count")
    free = scan(lambda h: h * 1.5, None, [x], n_steps=int_of(count))[-1]
    fn = check([x, count], free, [3.0, 4.2], grad=False)
    assert fn.static_argnums == ()
    (out,), (tangent,) = jax.jvp(lambda x: fn(x, 4.2), (3.0,), (1.0,))
    np.testing.assert_allclose([out, tangent], [3 * 1.5**4, 1.5**4])
    with pytest.raises(ValueError, match="Reverse-mode differentiation"):
        jax.grad(lambda x: fn(x, 4.2)[0])(3.0)

    h, stack = scan(lambda a, h: [h * a, h + a], [xs], [x, None], n_steps=int_of(count))
    inputs = [x, count, xs]
    bound = check(inputs, [h[-1], stack[-1]], [3.0, 4.2, XS + 2], grad=[x, xs])
    checked = checkify.checkify(bound.checked)
    checked(3.0, 6.0, XS)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match="fewer elements than steps"):
        checked(3.0, 7.0, XS)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match="fewer steps than the 1"):
        checked(3.0, 0.0, XS)[0].throw()


def test_number_of_steps_from_an_outer_loop(x):
    """A triangle of steps: the inner number is the outer state, then a draw."""

    def outer(k, h):
        return k + 1, scan(lambda g: g + k, None, [h], n_steps=k)[-1]

    _, h = scan(outer, None, [pt.constant(1), pt.cast(x, "int64")], n_steps=5)
    check([x], h, [2.0], grad=False)

    rng = pt.random.shared_rng(seed=1)
    _, n = rng.poisson(5.0)
    out = scan(lambda h: h * 2, None, [x], n_steps=n + 1)[-1]
    fn = jaxlink.function([x], [n, out])
    for i in range(5):
        n_drawn, value = fn(fold_in(KEY, i), 1.0)
        assert value == 2.0 ** (n_drawn + 1)


def test_trace_of_unknown_length_is_refused(x):
    out = scan(lambda h: (h * 2, until(h > 100)), None, [x], n_steps=50)
    for read in [out, out[-2:], out[::-1][0]]:
        with pytest.raises(jaxlink.DynamicShapeError, match=r"stops on a condition"):
            jaxlink.function([x], read)
    counted = scan(lambda h: h * 2, None, [x], n_steps=int_of(x))
    with pytest.raises(jaxlink.DynamicShapeError, match="`x`, which is an input"):
        jaxlink.function([x], counted)


def test_reductions_of_loops_that_stop(x):
    """Early, after all steps that there can be, and after the first."""

    def step(h, g, a):
        return (h * a + 1, h - a, h * g), until(h > 50)

    out, other, product = scan(step, None, [x * 0 + 1.0, x, None], [x], n_steps=12)
    total = (out - other).sum() * out[-1] + (out * product).sum() + out.shape[0]
    fn = jaxlink.function([x], total)

    def expected(a):
        h, g, rows = 1.0, a, []
        for _ in range(12):
            rows.append((h * a + 1, h - a, h * g))
            stop, (h, g, _) = h > 50, rows[-1]
            if stop:
                break
        o, q, p = np.array(rows).T
        return (o - q).sum() * o[-1] + (o * p).sum() + len(o)

    for value in (2.0, 1.01, 60.0):
        np.testing.assert_allclose(fn(value), expected(value), rtol=1e-12)
    difference = (expected(2 + 1e-6) - expected(2 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(fn)(2.0), difference, rtol=1e-7)


# --- gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 5, 6, 9])
def test_truncated_gradient(steps, x, xs):
    """JAX's gradient stops where PyTensor's does; also in PyTensor's own graph."""
    g0 = pt.vector("g0")

    def step(a, g3, g1, h):
        return g1 * 0.5 - g3 * a, pt.tanh(h * a + x), h * a

    states = [{"initial": g0, "taps": [-3, -1]}, x, None]
    out = scan(step, [xs], states, truncate_gradient=steps)
    inputs, values = [xs, x, g0], [XS, 0.3, np.array([1.0, -2.0, 0.5])]
    check(inputs, [*out, *(o[-1] for o in out)], values, vmap=False)
    gradient = pytensor.grad(sum((o**2).sum() for o in out), inputs)
    check(inputs, gradient, values, grad=False, vmap=False)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_truncated_gradient_of_a_loop_that_ends_early(steps, x, xs):
    g0 = pt.vector("g0")

    def step(a, g3, g1, h):
        return [g1 * 0.5 - g3 * a, pt.tanh(h * a) + h], until(h > 1.5)

    states = [{"initial": g0, "taps": [-3, -1]}, x]
    g, h = scan(step, [xs], states, truncate_gradient=steps)
    values = [np.linspace(0.5, 2, 9), 0.3, np.array([1.0, -2.0, 0.5])]
    check([xs, x, g0], [g[-1], h[-1]], values)


def test_gradient_graph_and_second_order(x, xs):
    """pytensor.grad of a Scan, compiled (mit-mots), and its derivative by either."""
    h = scan(lambda a, h: pt.tanh(h * a + x), [xs], [x])
    cost = h.sum() + (h**3).sum()
    first = pytensor.grad(cost, [x, xs])
    values = [0.3, XS]
    check([x, xs], first, values)
    second = pytensor.grad(first[0] + (first[1] ** 2).sum(), [x, xs])
    check([x, xs], second, values, grad=False, vmap=False)
    by_jax = jax.grad(jax.grad(jaxlink.function([x, xs], cost)))(*values)
    by_both = jax.grad(jaxlink.function([x, xs], first[0]))(*values)
    by_pytensor = pytensor.grad(first[0], x).eval({x: 0.3, xs: XS})
    np.testing.assert_allclose([by_jax, by_both], by_pytensor, rtol=1e-12)


def test_gradient_graph_of_matrices():
    """Shapes that PyTensor does not know."""
    m, v = pt.matrix("m"), pt.vector("v")
    h, stack = scan(
        lambda h, m: [pt.tanh(m @ h), h * 2], None, [v, None], [m], n_steps=3
    )
    gradient = pytensor.grad((h[-1] ** 2).sum() + stack.sum(), [m, v])
    values = [[[0.9, -0.5], [0.4, 0.8]], [1.0, -2.0]]
    check([m, v], gradient, values, vmap=False)


def test_checkpoints(x, xs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        out, _ = scan_checkpoints(
            lambda a, h, x: pt.tanh(h * a + x),
            sequences=[xs],
            outputs_info=[x],
            non_sequences=[x],
            save_every_N=4,
        )
    check([x, xs], out, [0.3, XS])
    check([x, xs], pytensor.grad(out[-1], [x, xs]), [0.3, XS], grad=False, vmap=False)


# --- shapes that change --------------------------------------------------------------


@pytest.mark.parametrize("truncate", [-1, 2])
def test_unrolled(truncate, x, xs):
    """Each step has shapes of its own, which follow from a known sequence or state."""

    def step(k, n, h):
        h = h + pt.linalg.det(pt.eye(k) * xs[k]) * h
        return n + 1, h, pt.linalg.det(pt.eye(n) * xs[2])

    _, h, stack = scan(
        step,
        [pt.arange(1, xs.shape[0] - 1)],
        [pt.constant(2), x, None],
        truncate_gradient=truncate,
    )
    fn = check([xs, x], [h, h[-1], stack], [XS, 0.3], vmap=False)
    assert "scan" not in str(fn.jaxpr(XS, 0.3))


def test_unrolled_over_an_input():
    ns = pt.lvector("ns")
    out = scan(lambda n: (pt.arange(n) ** 2).sum(), [ns], [None])
    fn = jaxlink.function([ns], out)
    assert fn.static_argnums == (0,)
    np.testing.assert_array_equal(fn(np.array([1, 4, 3])), [0, 14, 5])
    with pytest.raises(jaxlink.DynamicShapeError, match="600 steps"):
        fn(np.ones(600, int))


def test_steps_of_different_shapes(xs):
    out = scan(lambda k, a: a[:k], [pt.arange(1, 4)], [None], [xs])
    np.testing.assert_array_equal(jaxlink.function([xs], out[-1])(XS), XS[:3])
    with pytest.raises(jaxlink.DynamicShapeError, match=r"\(\(1,\), \(2,\)\)"):
        jaxlink.function([xs], out)(XS)


def test_shape_that_follows_from_a_value_is_refused(x, xs):
    out = scan(lambda h: pt.arange(int_of(h)).sum() * h, None, [x], n_steps=2)
    with pytest.raises(jaxlink.DynamicShapeError, match="`x`, which is an input"):
        jaxlink.function([x], out)
    out = scan(
        lambda h: (pt.arange(h).sum(), until(h > 5)), None, [np.int64(3)], n_steps=2
    )
    with pytest.raises(jaxlink.DynamicShapeError, match=r"step to step.*unrolled"):
        jaxlink.function([], out[-1])


def test_shape_that_a_scan_computes():
    """All that it loops over is known, so it runs while JAX traces."""
    x, n = pt.vector("x"), pt.lscalar("n")
    powers = scan(lambda p: p * 2, None, [pt.constant(1)], n_steps=x.shape[0] + n)
    fn = jaxlink.function([x, n], x.sum() + pt.zeros(powers[-1]))
    assert fn.static_argnums == (1,)
    assert fn(np.ones(2), 1).shape == (8,)
    assert jax.jit(fn, static_argnums=1)(np.ones(1), 1).shape == (4,)


def test_shape_inside_from_outside(xs):
    n = pt.lscalar("n")
    out = scan(lambda x, n: pt.zeros(n) + x, [xs], [None], [n], strict=True)
    fn = jaxlink.function([n, xs], out)
    assert fn.static_argnums == (0,)
    assert fn(3, np.ones(2)).shape == (2, 3)


# --- errors --------------------------------------------------------------------------


def test_errors_of_a_call(x, xs):
    n = pt.lscalar("n")
    fn = jaxlink.function([n, xs, x], scan(lambda a, h: h * a, [xs], [x], n_steps=n))
    with pytest.raises(ValueError, match="makes 7 steps, but its sequence `xs` has"):
        fn(7, XS, 1.0)
    with pytest.raises(IndexError, match="negative number of steps, -1"):
        fn(-1, XS, 1.0)
    grows = scan(lambda h: pt.concatenate([h, h])[1:], None, [xs], n_steps=3)
    with pytest.raises(jaxlink.ArgumentError, match=r"starts as `xs`.*\(3,\).*\(5,\)"):
        jaxlink.function([xs], grows)(np.ones(3))


# --- randomness ----------------------------------------------------------------------


def test_stream_of_a_loop_that_ends_early(x):
    """The t-th draw is the t-th of the law, under vmap too, and goes on after it."""
    rng = pt.random.shared_rng(seed=1)

    def step(r, h):
        r, z = r.normal()
        return (r, h + z), until(h + z > x)

    final, h = scan(step, outputs_info=[rng, np.float64(0)], n_steps=50)
    _, after = final.normal()
    outputs = [h[-1], h.shape[0], after]
    fn = jaxlink.function([x], outputs)
    draws = [jax.random.normal(fold_in(fold_in(KEY, 0), t), (), "d") for t in range(51)]
    sums = np.cumsum(draws)
    for bound in (0.5, 1.5, 1e9):
        value, n, z = fn(KEY, bound)
        expected = int(np.argmax(sums > bound)) + 1 if bound < 1e9 else 50
        assert n == expected
        np.testing.assert_allclose(value, sums[expected - 1], rtol=1e-12)
        assert z == draws[expected]
    mapped = jax.vmap(fn, (None, 0))(KEY, jnp.array([0.5, 1.5]))
    for lane, bound in enumerate((0.5, 1.5)):
        assert [out[lane] for out in mapped] == list(fn(KEY, bound))
    assert jax.grad(lambda x: fn(KEY, x)[0])(0.5) == 0.0


def test_stream_of_an_unrolled_loop():
    rng = pt.random.shared_rng(seed=1)
    _, xs = scan(lambda k, r: r.normal(pt.zeros(k).sum()), [pt.arange(3)], [rng, None])
    draws = jaxlink.function([], xs)(KEY)
    key = fold_in(KEY, 0)
    expected = [jax.random.normal(fold_in(key, t), (), "d") for t in range(3)]
    np.testing.assert_array_equal(draws, expected)


# --- PyMC ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 4])
def test_correlation_matrices(n):
    """LKJ: marginally, a correlation is a beta draw from -1 to 1."""
    eta = 2.0
    fn = jaxlink.function([], pm.LKJCorr.dist(n=n, eta=eta))
    factors = np.asarray(jax.vmap(fn)(jax.random.split(KEY, 4000)))
    np.testing.assert_allclose((factors**2).sum(-1), 1.0)
    corr = factors @ np.swapaxes(factors, -1, -2)
    expected = 1 / np.sqrt(2 * eta + n - 1)
    np.testing.assert_allclose(corr.mean(0), np.eye(n), atol=0.04)
    np.testing.assert_allclose(corr.std(0)[np.triu_indices(n, 1)], expected, rtol=0.05)


def lkj():
    pm.LKJCholeskyCov(
        "x", n=3, eta=2.0, sd_dist=pm.Exponential.dist(1.0), compute_corr=False
    )


def autoregression():
    start = pm.Normal.dist(0, 1, shape=2)
    pm.AR("x", rho=[0.3, 0.2], sigma=1.0, init_dist=start, steps=10)


def garch():
    pm.GARCH11("x", omega=1.0, alpha_1=0.2, beta_1=0.3, initial_vol=1.0, steps=10)


@pytest.mark.parametrize("build", [lkj, autoregression, garch])
def test_pymc_models(build):
    with pm.Model() as model:
        build()
    inputs, logp = model.value_vars, model.logp()
    point = model.initial_point()
    values = [point[var.name] * 0 + 0.3 for var in inputs]
    check(inputs, logp, values)
    draw = jaxlink.function([], model["x"])
    a, b = draw(KEY), draw(fold_in(KEY, 1))
    assert a.shape == tuple(model["x"].shape.eval())
    assert jnp.all(jnp.isfinite(a))
    assert not jnp.any(a == b)


def test_rejection_sampling():
    """A loop until all elements are within the bounds, which carries the stream."""
    base = pm.SkewNormal.dist(alpha=2.0, mu=0.0, sigma=1.0, shape=3)
    fn = jaxlink.function([], pm.Truncated.dist(base, lower=1.0, upper=1.5))
    draws = np.asarray(jax.vmap(fn)(jax.random.split(KEY, 500)))
    assert draws.min() >= 1.0
    assert draws.max() <= 1.5
    assert len(np.unique(draws)) == draws.size
    # Its density there is that of the normal, nearly.
    np.testing.assert_allclose(draws.mean(), 1.23, atol=0.02)

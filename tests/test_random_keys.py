"""The law of keys for every distribution: draw t along root i uses
fold_in(fold_in(key, i), t) and nothing else, and equal keys give equal bits."""

import pickle
import subprocess
import sys
import textwrap
from functools import partial

import cloudpickle
import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from distributions import CASES, first_of_each_sampler, op_of
from distributions.harness import REJECT, inputs_of
from jax.random import fold_in
from pytensor.compile.builders import OpFromGraph
from pytensor.conditional.op import ifelse
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType
from scipy import stats
from support import assert_same, others_are_slow, unoptimized

import jaxlink
from jaxlink.dispatch.random.registry import find_row
from jaxlink.rewrites.lower_distributions import lower_distributions

KEY = jax.random.key(33)


def drawn_by(name):
    """The variable of a case and its inputs, with values."""
    case = CASES[name]
    inputs = inputs_of(case)
    values = [p if case.batched else p[0] for p in case.values]
    return case.build(*inputs), inputs, values


def settled(out, inputs):
    """The graph of a draw, with those symbolic distributions as one random variable
    that jaxlink draws as one."""
    roots = [v for v in graph_inputs([out]) if isinstance(v.type, RandomType)]
    fgraph = FunctionGraph([*inputs, *roots], [out], clone=True)
    lower_distributions(fgraph)
    return fgraph, len(roots)


ROWS = [name for name in CASES if isinstance(op_of(name), RandomVariable)]
# All others, but for those with a Scan, which `by_the_law` does not walk through.
LOOPED = (
    "pymc_ar1",
    "pymc_ar2_with_constant",
    "pymc_euler_maruyama",
    "pymc_garch11",
    "pymc_hurdle_negative_binomial",
    "pymc_hurdle_poisson",
    "pymc_lkj_cholesky_cov",
    "pymc_lkj_corr",
    "pymc_truncated_poisson",
    "pymc_truncated_wald",
)
SYMBOLIC = [name for name in CASES if name not in (*ROWS, *LOOPED)]
# Samplers of several primitive draws, in a loop or not.
ROWS_BY_DEFAULT = (
    "normal",
    "wald",
    "vonmises",
    "gamma",
    "beta",
    "t",
    "poisson",
    "binomial",
    "integers",
    "multinomial",
    "permutation",
    "multivariate_normal_cholesky",
    "dirichlet",
    "pymc_polyagamma",
)
# Distributions of several random variables, in all ways in which PyMC makes one of
# others.
SYMBOLIC_BY_DEFAULT = (
    "pymc_mixture_of_a_list",
    "pymc_hurdle_gamma",
    "pymc_dirichlet_multinomial",
)


# --- the law -------------------------------------------------------------------------


def draw_by_row(node, key, parameters, size=None):
    """What the sampler of a random variable's row draws with a key."""
    op = node.op
    row = find_row(op)
    sampler = row.draw(op) if row.reads_op else row.draw
    batches = [
        np.shape(p)[: np.ndim(p) - n]
        for p, n in zip(parameters, op.ndims_params, strict=True)
    ]
    shape = np.broadcast_shapes(*batches) if size is None else tuple(map(int, size))
    dtype = np.dtype(node.outputs[1].type.dtype)
    if row.cast:
        # Of a count, parameters are as wide as PyTensor's.
        wide = dtype.kind != "f" or type(op).dtype == "int64"
        static = row.static_parameters(op)
        parameters = [
            p if i in static else jnp.asarray(p, np.float64 if wide else dtype)
            for i, p in enumerate(parameters)
        ]
    return jnp.asarray(sampler(key, shape, dtype, *parameters), dtype)


@pytest.mark.parametrize(
    "counts", [(2,), pytest.param((0, 2), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "name",
    others_are_slow([n for n in first_of_each_sampler() if n in ROWS], ROWS_BY_DEFAULT),
)
def test_the_law_for_every_row(name, counts):
    out, inputs, values = drawn_by(name)
    first = out.owner
    draws, node = [first.outputs[1]], first
    for _ in range(2):
        node = node.clone_with_new_inputs([node.outputs[0], *node.inputs[1:]])
        draws.append(node.outputs[1])
    given = pytensor.function(
        inputs, first.inputs[2:], on_unused_input="ignore", mode="FAST_COMPILE"
    )(*values)
    static = find_row(first.op).static_parameters(first.op)

    @unoptimized
    def by_the_row(key, *given_dynamic):
        dynamic = iter(given_dynamic)
        parameters = [p if i in static else next(dynamic) for i, p in enumerate(given)]
        return [
            draw_by_row(first, fold_in(fold_in(key, 0), t), parameters) for t in counts
        ]

    wanted = by_the_row(KEY, *(p for i, p in enumerate(given) if i not in static))
    got = unoptimized(jaxlink.function(inputs, [draws[t] for t in counts]))(
        KEY, *values
    )
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def by_the_law(out, inputs, values, key):
    """The draw, evaluated by NumPy node by node, but random variables by their rows.

    Also how many draws there were along each root.
    """
    fgraph, _ = settled(out, inputs)
    # Roots are numbered as a walk from the output meets them, on the graph of the user.
    roots = [v for v in graph_inputs([out]) if isinstance(v.type, RandomType)]
    streams = [(i, 0) for i in range(len(roots))]
    counts = [0] * len(roots)

    def evaluate(fgraph, given):
        known = dict(zip(fgraph.inputs, given, strict=True))

        def value(var):
            return known[var] if var in known else var.data  # noqa: SIM401

        for node in fgraph.toposort():
            operands = [value(var) for var in node.inputs]
            if isinstance(node.op, RandomVariable):
                (i, t), size, *parameters = operands
                folded = fold_in(fold_in(key, i), t)
                draw = unoptimized(partial(draw_by_row, node, size=size))(
                    folded, parameters
                )
                results = [(i, t + 1), np.asarray(draw)]
                counts[i] = max(counts[i], t + 1)
            elif isinstance(node.op, OpFromGraph):
                results = evaluate(node.op.fgraph, operands)
            else:
                storage = [[None] for _ in node.outputs]
                node.op.perform(node, operands, storage)
                results = [cell[0] for cell in storage]
            known.update(zip(node.outputs, results, strict=True))
        return [value(var) for var in fgraph.outputs]

    return evaluate(fgraph, [*values, *streams])[0], counts


@pytest.mark.parametrize("name", others_are_slow(SYMBOLIC, SYMBOLIC_BY_DEFAULT))
def test_the_law_for_symbolic_distributions(name):
    out, inputs, values = drawn_by(name)
    wanted, counts = by_the_law(out, inputs, values, KEY)
    got = unoptimized(jaxlink.function(inputs, out))(KEY, *values)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    assert sum(counts) > 0
    if name in SYMBOLIC_BY_DEFAULT:
        assert sum(counts) > 1
    # Another key gives other draws, so this could have failed.
    other, _ = by_the_law(out, inputs, values, jax.random.key(34))
    if np.asarray(wanted).dtype.kind == "f":
        assert not np.allclose(wanted, other)


# --- a random variable that shows its key --------------------------------------------


class KeyRV(RandomVariable):
    """Its draw is its key: an integer of both of its words, plus a parameter."""

    name = "key"
    signature = "()->()"
    dtype = "int64"


@jaxlink.sampler(KeyRV)
def _draw_key(key, shape, dtype, offset):
    del offset
    return jnp.full(shape, as_number(key), dtype)


def as_number(key):
    high, low = jax.random.key_data(key).astype(np.int64)
    return (high << 31) ^ low


def law(root, count, key=KEY):
    return int(as_number(fold_in(fold_in(key, root), count)))


def show(rng, size=None):
    """The next generator, and a draw that shows the key."""
    return KeyRV()(0.0, size=size, rng=rng, return_next_rng=True)


def rngs(n):
    return [pt.random.shared_rng(seed=i) for i in range(n)]


def test_keys_in_a_custom_distribution():
    def dist(size):
        rng = pt.random.shared_rng(seed=0)
        rng, first = show(rng, size)
        rng, second = show(rng, size)
        rng, third = show(rng, size)
        return pt.stack([first, second, third])

    out = pm.CustomDist.dist(dist=dist, size=(2,), dtype="int64", ndim_supp=1)
    drawn = jaxlink.function([], out)(KEY)
    np.testing.assert_array_equal(drawn.T, [[law(0, 0), law(0, 1), law(0, 2)]] * 2)


def test_keys_in_a_mixture():
    a, b = rngs(2)
    weights = pt.vector("weights")
    components = [show(a)[1], show(b)[1]]
    out = pm.Mixture.dist(w=weights, comp_dists=components)
    fn = jaxlink.function([weights], out)
    # Components draw with the streams of roots of their own, which PyMC makes anew.
    first, second = (int(fn(KEY, w)) for w in np.eye(2))
    assert first != second
    assert {first, second} < {law(i, 0) for i in range(3)}


def test_keys_in_a_scan():
    a, b = rngs(2)

    def step(a, b):
        a, first = show(a)
        b, second = show(b)
        a, third = show(a)
        return a, b, first, second, third

    *_, x, y, z = pytensor.scan(
        step, outputs_info=[a, b, None, None, None], n_steps=4, return_updates=False
    )
    fn = jaxlink.function([], [x, y, z], rngs=[a, b])
    for t, drawn in enumerate(zip(*fn(KEY), strict=True)):
        assert drawn == (law(0, 2 * t), law(1, t), law(0, 2 * t + 1))


def test_keys_in_a_branch():
    a, b = rngs(2)
    flag = pt.scalar("flag", dtype="bool")
    a1, before = show(a)
    a2, again = show(a1)
    out = ifelse(flag, again, show(b)[1])
    after = show(a2)[1]
    fn = jaxlink.function([flag], [before, out, after], rngs=[a, b])
    assert fn(KEY, True) == (law(0, 0), law(0, 1), law(0, 2))
    assert fn(KEY, False) == (law(0, 0), law(1, 0), law(0, 2))


def test_roots_and_draws_of_many():
    """No two of 12 roots with 5 draws each share a key; the same generator does."""
    roots = rngs(12)
    outs = []
    for rng in roots:
        for _ in range(5):
            rng, x = show(rng)
            outs.append(x)
    outs.append(show(roots[7])[1])
    drawn = np.array(jaxlink.function([], pt.stack(outs), rngs=roots)(KEY))
    assert drawn.tolist() == [law(i, t) for i in range(12) for t in range(5)] + [
        law(7, 0)
    ]
    assert len(set(drawn.tolist())) == 12 * 5


# --- equal keys, equal bits ----------------------------------------------------------


def several(size=None):
    """Draws of all kinds: of a formula, by rejection, of counts, symbolic."""
    x = pt.vector("x")
    of = [pt.random.shared_rng(seed=i) for i in range(4)]
    w = np.array([0.2, 0.5, 0.3])
    chained, normal = of[0].normal(x[0], 1.0, size=size)
    outs = {
        "normal": normal,
        "vonmises": chained.vonmises(x[1], 3.0, size=size)[1],
        "gamma": of[1].gamma(0.7, scale=2.0, size=size)[1],
        "categorical": of[3].categorical(w, size=size)[1],
        "mixture": pm.NormalMixture.dist(w, mu=[-1.0, 0.0, 2.0], size=size),
        "half_t": pm.HalfStudentT.dist(3.0, 1.0, size=size),
    }
    return jaxlink.function([x], outs)


X = np.array([0.5, 1.0])


@pytest.fixture(scope="module")
def fn():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        return several()


def test_calls_pickles_and_an_outer_jit(fn):
    wanted = fn(KEY, X)
    assert_same(fn(KEY, X), wanted)
    assert_same(jax.jit(lambda key, x: fn(key, x))(KEY, X), wanted)
    for pickler in (pickle, cloudpickle):
        assert_same(pickler.loads(pickler.dumps(fn))(KEY, X), wanted)
    raw = jax.random.key_data(KEY)
    assert_same(fn(raw, X), wanted)
    assert_same(jax.jit(fn)(np.asarray(raw), X), wanted)


@pytest.mark.parametrize(
    "impl", ["rbg", pytest.param("unsafe_rbg", marks=pytest.mark.slow)]
)
def test_other_implementations(fn, impl):
    key = jax.random.key(5, impl=impl)
    wanted = fn(key, X)
    assert_same(fn(key, X), wanted)
    assert fn(jax.random.key(6, impl=impl), X)["normal"] != wanted["normal"]
    assert fn(jax.random.key(5), X)["normal"] != wanted["normal"]
    if impl == "rbg":
        assert_same(fn(jax.random.key_data(key), X), wanted)


def test_a_new_process(fn, tmp_path):
    """Started afresh, as spawn does: nothing of this process's state is there."""
    path, out = tmp_path / "fn.pkl", tmp_path / "out.npz"
    path.write_bytes(pickle.dumps(fn))
    code = f"""
        import pickle, jax, numpy as np
        fn = pickle.load(open({str(path)!r}, "rb"))
        np.savez({str(out)!r}, **fn(jax.random.key(33), np.array([0.5, 1.0])))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert_same(np.load(out), fn(KEY, X))


def test_vmap_over_keys_gives_the_bits_of_a_loop(fn):
    """Of floats, XLA may compute the last place in another way."""
    keys = jax.random.split(KEY, 25)
    mapped = jax.vmap(fn, (0, None))(keys, X)
    loop = [fn(key, X) for key in keys]
    for name, draws in mapped.items():
        one_by_one = np.array([one[name] for one in loop])
        if draws.dtype.kind == "f":
            np.testing.assert_array_max_ulp(draws, one_by_one, maxulp=4)
        else:
            np.testing.assert_array_equal(draws, one_by_one, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_vmap_over_keys_is_a_loop(name):
    """The same bits; of floats, XLA may compute the last place in another way."""
    out, inputs, values = drawn_by(name)
    fn = jaxlink.function(inputs, out)
    keys = jax.random.split(KEY, 25)
    mapped = unoptimized(jax.vmap(fn, (0, *[None] * len(values))))(keys, *values)
    one = unoptimized(fn)
    loop = np.array([one(key, *values) for key in keys])
    if loop.dtype.kind == "f":
        np.testing.assert_allclose(mapped, loop, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_array_equal(mapped, loop)


def test_without_x64_bits_are_others(fn):
    """A float32 takes other random bits than a float64; the keys are the same."""
    with pytest.warns(jaxlink.PrecisionWarning), jax.enable_x64(False):
        narrow = several()(KEY, X.astype("float32"))
    assert narrow["normal"].dtype == np.float32
    assert abs(float(narrow["normal"]) - float(fn(KEY, X)["normal"])) > 1e-3
    rng = pt.random.shared_rng(seed=0)
    with pytest.warns(jaxlink.PrecisionWarning), jax.enable_x64(False):
        drawn = jaxlink.function([], rng.normal(size=3)[1])(KEY)
    key = fold_in(fold_in(KEY, 0), 0)
    np.testing.assert_array_equal(drawn, jax.random.normal(key, (3,), np.float32))


# --- independence --------------------------------------------------------------------


def bits_keys(closed, *args):
    """The keys whose bits a program takes, and its results.

    An interpreter of jaxprs that goes into loops and branches, with values.
    """
    found = []

    def run(jaxpr, consts, args):
        known = dict(
            zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True)
        )

        def value(atom):
            return atom.val if isinstance(atom, jex.core.Literal) else known[atom]

        for eqn in jaxpr.eqns:
            operands = [value(atom) for atom in eqn.invars]
            known.update(zip(eqn.outvars, apply(eqn, operands), strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def call(closed, operands):
        return run(closed.jaxpr, closed.consts, operands)

    def apply(eqn, operands):
        name, params = eqn.primitive.name, eqn.params
        if name == "random_bits":
            data = np.asarray(jax.random.key_data(operands[0]))
            found.extend(map(tuple, data.reshape(-1, data.shape[-1]).tolist()))
        if name == "while":
            n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
            of_cond, of_body = operands[:n_cond], operands[n_cond : n_cond + n_body]
            state = operands[n_cond + n_body :]
            while call(params["cond_jaxpr"], [*of_cond, *state])[0]:
                state = call(params["body_jaxpr"], [*of_body, *state])
            return state
        if name == "scan":
            raise NotImplementedError("no scan is expected here")
        if name == "cond":
            index = int(operands[0])
            return call(params["branches"][index], operands[1:])
        for param in ("jaxpr", "call_jaxpr", "fun_jaxpr", "call"):
            if isinstance(params.get(param), jex.core.ClosedJaxpr):
                return call(params[param], operands)
        results = eqn.primitive.bind(*operands, **params)
        return results if eqn.primitive.multiple_results else [results]

    return found, call(closed, args)


def test_draws_of_neighbours_are_independent():
    """Of roots, of draws along a root, and of keys from one seed to the next."""
    outs = []
    for rng in rngs(3):
        for _ in range(3):
            rng, x = rng.normal()
            outs.append(x)
    fn = jaxlink.function([], pt.stack(outs))
    n = 20_000
    draws = np.asarray(jax.vmap(lambda seed: fn(jax.random.key(seed)))(np.arange(n)))
    ranks = stats.norm.cdf(draws) - 0.5
    next_seed = np.hstack([ranks[:-1], ranks[1:]])
    off_diagonal = np.corrcoef(next_seed.T)[np.triu_indices(18, 1)]
    p_values = 2 * stats.norm.sf(np.abs(off_diagonal) * np.sqrt(n))
    assert p_values.min() > REJECT / p_values.size
    # The same draws twice would be noticed, even with much noise.
    noise = np.random.default_rng(3).normal(size=n)
    mixed = np.corrcoef(draws[:, 0] + 10 * noise, draws[:, 0])[0, 1]
    assert 2 * stats.norm.sf(abs(mixed) * np.sqrt(n)) < REJECT / p_values.size


def test_no_key_gives_its_bits_twice(fn):
    """Of all draws and of what samplers make of their keys, in loops too."""
    found, results = bits_keys(jax.make_jaxpr(fn)(KEY, X), KEY, jnp.asarray(X))
    assert len(found) >= 10
    assert len(set(found)) == len(found)
    for ours, theirs in zip(results, jax.tree.leaves(fn(KEY, X)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", others_are_slow(CASES, first_of_each_sampler()))
def test_no_key_is_used_twice(name):
    """What JAX's own checker of programs finds: a key consumed, and then again."""
    out, inputs, values = drawn_by(name)
    fn = jaxlink.function(inputs, out)
    with jax.debug_key_reuse(True):
        jax.jit(fn).lower(KEY, *values)

"""PyMC's differential equations: states and gradients, stiff or not."""

import gc
import pickle
import subprocess
import sys
import weakref
from functools import partial
from typing import Any

import cloudpickle
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from pymc.ode import DifferentialEquation
from pytensor.compile.builders import OpFromGraph
from scipy.integrate import solve_ivp
from support import check

import jaxlink
from jaxlink import pymc as jp
from jaxlink.call.cache import PROGRAMS
from jaxlink.call.digest import digest
from jaxlink.errors import DynamicShapeError, UnsupportedOpError
from jaxlink.numerics import ode
from jaxlink.ops.initial_value_problem import InitialValueProblem

# PyMC has no `pullback` yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:DifferentialEquation should implement `pullback`:FutureWarning"
)

y0, theta = pt.vector("y0"), pt.vector("theta")
TIMES = np.array([0.5, 1.0, 2.0, 4.0])


def decay(y, t, p):
    return -p[0] * y


def pendulum(y, t, p):
    return [y[1], -p[0] * pt.sin(y[0]) - p[1] * y[1]]


def logistic(y, t, p):
    return p[0] * y[0] * (1 - y[0] / p[1])


def forced(y, t, p):
    return pt.stack([p[0] * (pt.cos(t) - y[0])])


def epidemic(y, t, p):
    new = p[0] * y[0] * y[1]
    return pt.stack([-new, new - p[1] * y[1], p[1] * y[1]])


def kinetics(y, t, p):
    """Robertson's: the fastest reaction is 10^9 times as fast as the slowest."""
    slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] ** 2
    return [back - slow, slow - back - fast, fast]


def van_der_pol(y, t, p):
    return [y[1], p[0] * (1 - y[0] ** 2) * y[1] - y[0]]


def equation(func: Any, n_states: int, n_theta: int, times: Any = TIMES, t0: Any = 0.0):
    return DifferentialEquation(
        func, times=times, n_states=n_states, n_theta=n_theta, t0=t0
    )


def compiled(func: Any, n_states: int, n_theta: int, **options: Any) -> Any:
    """The states as a JAX function."""
    return jaxlink.function(
        [y0, theta], equation(func, n_states, n_theta, **options)(y0, theta)
    )


# --- against PyMC and SciPy ----------------------------------------------------------

# Function, initial state, parameters, time of the initial state.
PROBLEMS = {
    "decay": (decay, [2.0, 3.0], [0.7], 0.0),
    "pendulum": (pendulum, [1.0, 0.0], [4.0, 0.1], 0.0),
    "logistic": (logistic, [0.1], [1.5, 2.0], 0.0),
    "forced": (forced, [0.0], [2.0], -1.0),
    "epidemic": (epidemic, [0.99, 0.01, 0.0], [2.0, 0.5], 0.0),
    "backwards": (pendulum, [1.0, 0.0], [4.0, 0.1], 5.0),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_states_and_gradients_are_pymcs(name):
    func, start, parameters, t0 = PROBLEMS[name]
    times = TIMES[::-1] if name == "backwards" else TIMES
    de = equation(func, len(start), len(parameters), times, t0)
    close = {"rtol": 1e-5, "atol": 1e-6, "grad_rtol": 2e-5, "grad_atol": 1e-5}
    check([y0, theta], de(y0, theta), [start, parameters], **close)


def test_sensitivities_are_pymcs():
    """So PyTensor's own gradient, which is made of them, is JAX's."""
    states, sensitivities = equation(pendulum, 2, 2)(y0, theta, return_sens=True)
    arguments = np.array([1.0, 0.5]), np.array([4.0, 0.1])
    close = {"rtol": 1e-5, "atol": 1e-6, "grad": False}
    check([y0, theta], [states, sensitivities], arguments, **close)

    cost = (states**2).sum()
    slopes = jaxlink.function([y0, theta], pytensor.grad(cost, [y0, theta]))
    by_jax = jax.grad(jaxlink.function([y0, theta], cost), (0, 1))
    got, wanted = np.array(slopes(*arguments)), np.array(by_jax(*arguments))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    ops = [node.op for node in slopes.fgraph.apply_nodes]
    # States and sensitivities are those of one solution.
    assert sum(isinstance(op, InitialValueProblem) for op in ops) == 1


@pytest.mark.parametrize("stiff", [False, True], ids=["explicit", "implicit"])
def test_derivatives_are_exact(stiff, monkeypatch):
    """Of y0 exp(-theta t), by both methods, in both modes, up to the second."""
    if stiff:
        newton = diffrax.VeryChord(ode.TOLERANCE, ode.TOLERANCE)
        implicit = partial(diffrax.Kvaerno5, root_finder=newton)
        monkeypatch.setattr(diffrax, "Dopri8", implicit)
    fn = compiled(decay, 1, 1)
    start, rate = jnp.array([2.0]), jnp.array([0.7])
    exact = 2 * np.exp(-0.7 * TIMES)
    close = {"rtol": 2e-6, "atol": 1e-7}

    def states(rate):
        return fn(start, rate)[:, 0]

    @jax.jit
    def derivatives(rate):
        one = jnp.ones(1)
        return {
            "value": states(rate),
            "jvp": jax.jvp(states, (rate,), (one,))[1],
            "reverse": jax.jacrev(states)(rate)[:, 0],
            "forward over reverse": jax.jacfwd(jax.jacrev(states))(rate)[:, 0, 0],
            "reverse over reverse": jax.jacrev(jax.jacrev(states))(rate)[:, 0, 0],
        }

    for name, value in derivatives(rate).items():
        order = {"value": 0, "jvp": 1, "reverse": 1}.get(name, 2)
        wanted = exact * (-TIMES) ** order
        np.testing.assert_allclose(value, wanted, err_msg=name, **close)


def test_a_stiff_problem_is_solved():
    times = np.array([0.4, 40.0, 4000.0])
    start, rates = np.array([1.0, 0.0, 0.0]), np.array([0.04, 1e4, 3e7])
    fn = compiled(kinetics, 3, 3, times=times)

    def in_numpy(t, y, *p):
        return [np.asarray(part) for part in kinetics(y, t, p)]

    def reference(rates):
        solution = solve_ivp(
            in_numpy,
            (0, 4000),
            start,
            "Radau",
            times,
            args=rates,
            rtol=1e-9,
            atol=1e-12,
        )
        return solution.y.T

    np.testing.assert_allclose(fn(start, rates), reference(rates), 1e-5, 1e-8)
    slopes = jax.jacrev(fn, 1)(start, rates)
    for i in range(3):
        step = 1e-4 * rates[i] * np.eye(3)[i]
        quotient = (reference(rates + step) - reference(rates - step)) / (2 * step[i])
        scale = 1 / rates[i]
        np.testing.assert_allclose(slopes[..., i], quotient, 1e-3, 1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("damping", [1.0, 100.0, 1000.0])
def test_a_problem_that_becomes_stiff(damping):
    times = np.linspace(0.2, 2, 5) * damping
    fn = compiled(van_der_pol, 2, 1, times=times)
    solution = solve_ivp(
        lambda t, y: [y[1], damping * (1 - y[0] ** 2) * y[1] - y[0]],
        *((0, times[-1]), [2.0, 0.0], "Radau", times),
        rtol=1e-11,
        atol=1e-13,
    )
    got = fn(np.array([2.0, 0.0]), np.array([damping]))
    np.testing.assert_allclose(got, solution.y.T, rtol=1e-4, atol=1e-5)


def test_lanes_of_one_program_may_differ():
    """One is stiff, one is not, and one has no solution."""
    fn = compiled(forced, 1, 1)
    rates = jnp.array([[1.0], [1e5], [jnp.nan]])
    start = jnp.array([0.0])
    lanes = jax.jit(jax.vmap(fn, (None, 0)))(start, rates)[..., 0]

    def exact(rate):
        along = rate * (rate * np.cos(TIMES) + np.sin(TIMES)) / (1 + rate**2)
        return along - rate**2 / (1 + rate**2) * np.exp(-rate * TIMES)

    np.testing.assert_allclose(lanes[0], exact(1.0), atol=1e-7)
    np.testing.assert_allclose(lanes[1], exact(1e5), atol=1e-6)
    assert np.isnan(lanes[2]).all()


# --- times, dtypes, failures ---------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "t0"), [([0, 0], 0), ([0, 1, 1, 2], 0), ([1, 2], 0.5), ([3, 3, 1], 4)]
)
def test_times_may_be_equal(times, t0):
    fn = compiled(decay, 1, 1, times=times, t0=t0)
    wanted = 2 * np.exp(-0.7 * (np.array(times) - t0))
    got = fn(np.array([2.0]), np.array([0.7]))[:, 0]
    np.testing.assert_allclose(got, wanted, rtol=1e-7)


@pytest.mark.parametrize("times", [[], [-1.0, 1.0], [2.0, 1.0], [1.0, np.nan]])
def test_times_must_rise_or_fall(times):
    with pytest.raises(UnsupportedOpError, match="`decay` needs times that rise or"):
        compiled(decay, 1, 1, times=times)


@pytest.mark.parametrize("x64", [True, False])
def test_32_bits(x64):
    """The dtypes are those of the types, whatever PyMC's `floatX`."""
    with jax.enable_x64(x64):
        a, b = pt.fvector("a"), pt.fvector("b")
        de = equation(pendulum, 2, 2)
        if x64:
            states = de(a, b).astype("float32")
            fn = jaxlink.function([a, b], states)
        else:
            with pytest.warns(jaxlink.PrecisionWarning):
                fn = jaxlink.function([y0, theta], de(y0, theta))
        arguments = jnp.array([1.0, 0.0], "f4"), jnp.array([4.0, 0.1], "f4")
        states = fn(*arguments)
        slopes = jax.jacrev(fn, 1)(*arguments)
    assert states.dtype == slopes.dtype == "float32"
    exact = compiled(pendulum, 2, 2)
    wide = [np.asarray(x, "f8") for x in arguments]
    np.testing.assert_allclose(states, exact(*wide), atol=1e-5)
    np.testing.assert_allclose(slopes, jax.jacrev(exact, 1)(*wide), atol=1e-4)


def test_a_solution_that_ends_is_nan():
    """1 / (1 - t) goes to infinity at t = 1."""
    fn = compiled(lambda y, t, p: p * y**2, 1, 1, times=[0.5, 1.5])
    arguments = jnp.array([1.0]), jnp.array([1.0])
    np.testing.assert_allclose(fn(*arguments)[:, 0], [2.0, np.nan], rtol=1e-6)
    error, _ = checkify.checkify(fn)(*arguments)
    assert "was not solved up to its last time" in error.get()
    error, _ = checkify.checkify(fn)(*arguments[:1], jnp.array([0.1]))
    assert error.get() is None


def test_wrong_lengths_are_errors():
    fn = compiled(pendulum, 2, 2)
    with pytest.raises(ValueError, match=r"`y0` .* has shape \(3,\), but must have"):
        fn(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"`theta` .* has shape \(1,\)"):
        fn(np.ones(2), np.ones(1))
    half = compiled(lambda y, t, p: [p[0] * y[0]], 2, 1)
    with pytest.raises(ValueError, match=r"shape \(1,\), but the state has shape \(2,"):
        half(np.ones(2), np.ones(1))


def test_what_a_function_must_not_read():
    rate = pytensor.shared(1.0, name="rate")
    with pytest.raises(UnsupportedOpError, match=r"reads shared data, `rate`\."):
        compiled(lambda y, t, p: p * rate * y, 1, 1)

    def until(y, t, p):
        return p[0] * y * pt.arange(t.astype("int64")).sum()

    with pytest.raises(DynamicShapeError, match="depends on its"):
        compiled(until, 1, 1)


# --- where it may be -----------------------------------------------------------------


def test_it_may_be_in_an_inner_graph():
    a, b = pt.vector("a"), pt.vector("b")
    de = equation(decay, 2, 1)
    of_graph = OpFromGraph([a, b], [de(a, b)])(y0, theta)
    starts = pt.stack([y0, 2 * y0])
    scanned = pytensor.scan(lambda a: de(a, theta), starts, return_updates=False)
    fn = jaxlink.function([y0, theta], [of_graph, scanned])
    one, two = fn(np.array([2.0, 3.0]), np.array([0.7]))
    exact = np.exp(-0.7 * TIMES)[:, None] * [2.0, 3.0]
    np.testing.assert_allclose(one, exact, rtol=1e-7)
    np.testing.assert_allclose(two, [exact, 2 * exact], rtol=1e-7)


def test_mode():
    de = equation(decay, 1, 1)(y0, theta)
    fn = pytensor.function([y0, theta], de, mode=jaxlink.MODE)
    got = fn([2.0], [0.7])[:, 0]
    np.testing.assert_allclose(got, 2 * np.exp(-0.7 * TIMES), rtol=1e-7)


def test_functions_pickle():
    """Without the Python function: its graph is all that is left."""
    for fn in (compiled(decay, 1, 1), compiled(lambda y, t, p: -p[0] * y, 1, 1)):
        again = pickle.loads(pickle.dumps(fn))
        arguments = np.array([2.0]), np.array([0.7])
        np.testing.assert_array_equal(again(*arguments), fn(*arguments))
        assert b"decay" not in cloudpickle.dumps(fn)


def test_programs_do_not_call_the_host():
    """Diffrax's and Equinox's checks of their arguments would."""
    fn = compiled(pendulum, 2, 2)
    arguments = np.ones(2), np.ones(2)
    assert "callback" not in str(jax.make_jaxpr(jax.jacrev(fn))(*arguments))


def test_equal_equations_share_their_program():
    first = compiled(lambda y, t, p: -p[0] * y, 1, 1)
    assert compiled(lambda y, t, p: -p[0] * y, 1, 1)._program is first._program
    assert digest(first) is not None
    others = [
        compiled(lambda y, t, p: -2 * p[0] * y, 1, 1),
        compiled(lambda y, t, p: -p[0] * y, 1, 1, times=TIMES + 1),
        compiled(lambda y, t, p: -p[0] * y, 1, 1, t0=0.25),
    ]
    digests = {digest(fn) for fn in (first, *others)}
    assert len(digests) == 4
    arguments = np.array([2.0]), np.array([0.7])
    assert len({float(fn(*arguments)[0, 0]) for fn in (first, *others)}) == 4


SPEED = 1.0


def with_speed(y, t, p):
    return -SPEED * p[0] * y


def test_a_function_is_read_again(monkeypatch):
    """It is the same function, but of another number."""
    arguments = np.array([1.0]), np.array([1.0])
    values = []
    for speed in (1.0, 2.0):
        monkeypatch.setitem(globals(), "SPEED", speed)
        values.append(float(compiled(with_speed, 1, 1)(*arguments)[1, 0]))
    np.testing.assert_allclose(values, np.exp([-1.0, -2.0]), rtol=1e-7)


def test_nothing_of_the_user_is_kept():
    """PyMC's Op holds the graph that it is in."""
    data = pytensor.shared(np.ones(1), name="data")
    fn = jaxlink.function([theta], equation(decay, 1, 1)(data, theta))
    assert len(PROGRAMS) > 0
    held = weakref.ref(data)
    del data, fn
    gc.collect()
    assert held() is None


# --- models --------------------------------------------------------------------------


def epidemic_model() -> pm.Model:
    rng = np.random.default_rng(0)
    with pm.Model() as model:
        rates = pm.LogNormal("rates", np.log([2.0, 0.5]), 0.3, shape=2)
        infected = pm.Beta("infected", 1, 50)
        start = pt.stack([1 - infected, infected, 0.0])
        states = equation(epidemic, 3, 2)(y0=start, theta=rates)
        pm.Deterministic("ill", states[:, 1])
        pm.Normal("y", states[:, 1], 0.05, observed=rng.uniform(size=len(TIMES)))
    return model


def test_the_density_of_a_model_is_pymcs():
    model = epidemic_model()
    density = jp.logdensity(model)
    position = {"rates_log__": np.log([1.8, 0.6]), "infected_logodds__": np.array(-3.0)}
    value, slopes = jax.value_and_grad(density)(position)
    np.testing.assert_allclose(value, model.compile_logp()(position), rtol=1e-7)
    wanted = model.compile_dlogp()(position)
    got = np.concatenate([np.ravel(slopes[v.name]) for v in model.value_vars])
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_draws_of_a_model():
    model = epidemic_model()
    options = {"model": model, "random_seed": 1, "progressbar": False}
    prior = jp.sample_prior_predictive(20, **options).prior.isel(chain=0)
    fn = compiled(epidemic, 3, 2)
    for i in (0, 7):
        infected = float(prior["infected"][i])
        start = np.array([1 - infected, infected, 0.0])
        states = fn(start, np.asarray(prior["rates"][i]))
        np.testing.assert_allclose(prior["ill"][i], states[:, 1], atol=1e-7)


# --- the library ---------------------------------------------------------------------


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(UnsupportedOpError, match=r"pip install jaxlink\[ode\]"):
        compiled(logistic, 1, 2)
    # PyMC's own solver does without.
    states = equation(logistic, 1, 2)(y0, theta)
    fn = jaxlink.function([y0, theta], states, host_callback=True)
    arguments = np.array([0.1]), np.array([1.5, 2.0])
    wanted = pytensor.function([y0, theta], states)(*arguments)
    np.testing.assert_array_equal(fn(*arguments), wanted)


def test_the_library_is_imported_late_and_changes_nothing():
    code = """if True:
        import sys, warnings
        import pymc
        warnings.simplefilter("error")
        import jax, jaxlink
        import jaxlink.pymc
        assert "diffrax" not in sys.modules
        before = dict(jax.config.values)
        from jaxlink.dispatch.ode import load_diffrax
        load_diffrax()
        assert "diffrax" in sys.modules
        assert dict(jax.config.values) == before
    """
    subprocess.run([sys.executable, "-c", code], check=True)

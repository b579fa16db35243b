"""Minima and roots: values, success, options and implicit gradients."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.builders import OpFromGraph
from pytensor.tensor.optimize import minimize, minimize_scalar, root, root_scalar
from support import check

import jaxlink
from jaxlink.dispatch.optimize.options import (
    MINIMIZE,
    ROOT,
    ROOT_SCALAR,
)
from jaxlink.errors import DynamicShapeError, UnsupportedOpError

x, a, b = pt.scalar("x"), pt.scalar("a"), pt.scalar("b")
v, p = pt.vector("v"), pt.vector("p")
# SciPy's solutions are exact to the square root of its tolerance.
CLOSE = {"rtol": 1e-6, "atol": 1e-7, "grad_rtol": 2e-5, "grad_atol": 1e-6}


def rosenbrock(v, a, b):
    return (a * (v[1:] - b * v[:-1] ** 2) ** 2 + (b - v[:-1]) ** 2).sum()


def system(v, p):
    return pt.stack([p[0] * v[0] * pt.cos(v[1]) - 4, v[0] * v[1] - p[1] * v[1] - p[2]])


ROSENBROCK = rosenbrock(v, a, b)
EQUATION = x + 2 * a * pt.cos(x)
SYSTEM = [np.ones(2), np.array([1.0, 1.2, 5.0])]


def lanes(fn: Any, *args: Any) -> Any:
    """``fn`` under jit and vmap: solution and success of each lane."""
    return jax.jit(jax.vmap(fn))(*(jnp.asarray(arg) for arg in args))


# --- against SciPy -------------------------------------------------------------------


@pytest.mark.parametrize(("method", "tol"), [("BFGS", 1e-6), ("L-BFGS-B", 1e-14)])
def test_minimize(method, tol):
    options = {"tol": tol}
    outputs = minimize(ROSENBROCK, v, method=method, optimizer_kwargs=options)
    check([v, a, b], list(outputs), [np.zeros(3), 10.0, 1.1], vmap=False, **CLOSE)


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root(method):
    outputs = root(system(v, p), v, method=method)
    close = {"rtol": 1e-8, "grad_rtol": 1e-7, "grad_atol": 1e-9}
    check([v, p], list(outputs), SYSTEM, vmap=False, **close)


@pytest.mark.parametrize("method", ["secant", "newton", "halley"])
def test_root_scalar(method):
    derivatives = {"jac": method != "secant", "hess": method == "halley"}
    outputs = root_scalar(EQUATION, x, method=method, **derivatives)
    check([x, a], list(outputs), [0.0, 1.1], rtol=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "brentq", "bracket": (-3, a)},
        {"method": "bisect", "bracket": pt.stack([a, -3])},
    ],
    ids=["brentq", "bisect"],
)
def test_root_scalar_in_a_bracket(options):
    outputs = [*root_scalar(EQUATION, x, **options)]
    outputs += [*root_scalar(-1e9 * EQUATION, x, **options)]
    check([x, a], outputs, [0.0, 1.1], vmap=False, rtol=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "golden", "bracket": (1.0, a + 4)},
        {"bracket": (-9.0, -1.0, a + 400)},
        {"method": "bounded", "bounds": (-9, a), "optimizer_kwargs": {"tol": 1e-9}},
    ],
    ids=["brent", "golden", "three", "bounded"],
)
@pytest.mark.filterwarnings("ignore:Method 'bounded'")
def test_minimize_scalar(options):
    outputs = minimize_scalar(pt.cosh(x + 2 * a) + a, x, **options)
    check([x, a], list(outputs), [0.0, 1.0], **CLOSE)


def test_variables_of_any_shape():
    """A scalar, and several packed into one vector."""
    m = pt.matrix("m")
    scalars = [*minimize((x - a * b) ** 2 + pt.exp(x - a), x), root(EQUATION, x)[0]]
    check([x, a, b], scalars, [0.0, 1.1, 3.0], **CLOSE)
    target = pt.as_tensor(np.arange(6.0).reshape(2, 3))
    objective = ((m - a * target) ** 2).sum() + (x - m.sum()) ** 2
    solutions, success = minimize(objective, [m, x])
    values = [np.zeros((2, 3)), 0.0, 1.5]
    check([m, x, a], [*solutions, success], values, rtol=1e-6, atol=1e-6, grad=False)
    (got, _, _) = jaxlink.function([m, x, a], [*solutions, success])(*values)
    np.testing.assert_allclose(got, 1.5 * np.arange(6.0).reshape(2, 3), atol=1e-7)


@pytest.mark.parametrize(
    ("methods", "found", "args"),
    [
        (MINIMIZE, lambda m: minimize(ROSENBROCK, v, method=m), [v, a, b]),
        (ROOT, lambda m: root(system(v, p), v, method=m), [v, p]),
        (
            ROOT_SCALAR,
            lambda m: root_scalar(EQUATION, x, method=m, bracket=(0, 1)),
            [x, a],
        ),
    ],
    ids=["minimize", "root", "root_scalar"],
)
def test_every_method_compiles(methods, found, args):
    """Values are tested above, of each solver."""
    for method in (*methods, next(iter(methods)).upper()):
        jaxlink.function(args, list(found(method)))
    assert all(hasattr(optimistix, solver) for solver in methods.values())


# --- transformations -----------------------------------------------------------------


def test_gradients_in_both_modes_and_twice():
    zero = jaxlink.function([v, p], root(system(v, p), v)[0])
    forward, backward = (
        jax.jit(mode(zero, 1))(*SYSTEM) for mode in (jax.jacfwd, jax.jacrev)
    )
    np.testing.assert_allclose(forward, backward, rtol=1e-10)
    # The minimum of a (x - a)^4 + (x - a^3)^2 / 2, differentiated twice.
    objective = a * (x - a) ** 4 + (x - a**3) ** 2 / 2
    minimum = jaxlink.function([x, a], minimize(objective, x)[0])
    once = jax.jit(jax.grad(minimum, 1))
    twice = jax.jit(jax.jacfwd(jax.grad(minimum, 1), 1))(1.0, 1.3)
    slope = (once(1.0, 1.3 + 1e-4) - once(1.0, 1.3 - 1e-4)) / 2e-4
    np.testing.assert_allclose(twice, slope, rtol=1e-4)
    assert jax.grad(minimum)(1.0, 1.3) == 0


def test_batches_of_starts_and_parameters():
    fn = jaxlink.function([v, a, b], list(minimize(ROSENBROCK, v)))
    starts = np.array([[0.0, 0], [3, -1], [-1, 2]])
    params = [np.array([1.0, 10, 100]), np.array([1.0, 1.2, 0.7])]
    solutions, success = lanes(fn, starts, *params)
    assert success.all()
    np.testing.assert_allclose(solutions[:, 0], params[1], rtol=1e-6)
    np.testing.assert_allclose(solutions[:, 1], params[1] ** 3, rtol=1e-6)
    slope = lanes(jax.grad(lambda *args: fn(*args)[0][1], 2), starts, *params)
    np.testing.assert_allclose(slope, 3 * params[1] ** 2, rtol=1e-5)


def test_pytensors_own_gradient_compiles():
    for solution, inputs, values in [
        (minimize(ROSENBROCK, v)[0], [v, a, b], [np.zeros(3), 10.0, 1.1]),
        (root_scalar(EQUATION, x)[0], [x, a], [0.0, 1.1]),
    ]:
        grads = pt.grad(solution.sum(), inputs)
        check(inputs, grads, values, grad=False, rtol=1e-4, atol=1e-6)


def test_gradient_of_an_objective_with_a_pullback_of_its_own():
    square = OpFromGraph([v], [v**2], pullback=lambda i, o, g: [2 * i[0] * g[0]])
    objective = (square(v - p) * (1 + square(v))).sum()
    for solution in (minimize(objective, v)[0], root(square(v) - p**2, v)[0]):
        fn = jaxlink.function([v, p], solution)
        found = jax.jacrev(fn, 1)(np.full(2, 0.5), np.array([0.1, 0.2]))
        epsilon = 1e-5
        moved = [
            fn(np.full(2, 0.5), np.array([0.1 + e, 0.2])) for e in (epsilon, -epsilon)
        ]
        slope = (moved[0] - moved[1]) / (2 * epsilon)
        np.testing.assert_allclose(found[:, 0], slope, atol=1e-6)


def test_shapes_inside_that_are_operands():
    n = pt.lscalar("n")
    objective = ((v - pt.arange(n + v.shape[0])[n:] * a) ** 2).sum()
    fn = jaxlink.function([v, a, n], list(minimize(objective, v)))
    assert fn.static_argnums == (2,)
    solution, success = fn(np.zeros(3), 2.0, 4)
    assert success
    np.testing.assert_allclose(solution, [8, 10, 12], rtol=1e-7)
    first = v[0].astype("int64")
    whole = pt.cumsum(pt.ones(first))[-1] + (v**2).sum()
    with pytest.raises(DynamicShapeError, match="which it solves for"):
        jaxlink.function([v], minimize(whole, v, jac=False)[0])


# --- precision -----------------------------------------------------------------------


def single_precision() -> Any:
    v, p = pt.vector("v", dtype="float32"), pt.vector("p", dtype="float32")
    x, a = pt.scalar("x", dtype="float32"), pt.scalar("a", dtype="float32")
    outputs = [*minimize(rosenbrock(v, p[0], p[1]), v)]
    outputs += [*minimize(rosenbrock(v, p[0], p[1]), v, method="L-BFGS-B")]
    outputs += [*root_scalar(x + 2 * a * pt.cos(x), x)]
    outputs += [
        *root_scalar(x + 2 * a * pt.cos(x), x, bracket=(-3, a), method="brentq")
    ]
    outputs += [*minimize_scalar((x - a) ** 2 + a, x)]
    w = pt.vector("w", dtype="float32")
    outputs += [*root(system(w, p), w), *root(system(w, p), w, method="lm")]
    return [v, p, x, a, w], outputs


@pytest.mark.parametrize("x64", [True, False])
def test_single_precision(x64):
    inputs, outputs = single_precision()
    values = [
        np.zeros(3, "f4"),
        np.array([10, 1, 5], "f4"),
        np.float32(0.2),
        np.float32(1),
        np.array([0.5, 1], "f4"),
    ]
    with jax.enable_x64(x64):
        fn = jaxlink.function(inputs, outputs)
        got = fn(*values)
        slope = jax.grad(lambda a: fn(*values[:3], a, values[4])[4])(jnp.float32(1))
    for out, value in zip(outputs, got, strict=True):
        assert value.dtype == out.type.dtype
        assert out.type.dtype == "float32" or value
    residual = pytensor.function([v, p], system(v, p))
    for solution in got[:4:2]:
        np.testing.assert_allclose(solution, np.ones(3), atol=1e-3)
    for solution in got[4:8:2]:
        np.testing.assert_allclose(solution, -1.02986653, rtol=1e-6)
    np.testing.assert_allclose(got[8], 1, atol=1e-3)
    for solution in got[10::2]:
        np.testing.assert_allclose(residual(solution, [10, 1, 5]), 0, atol=1e-4)
    expected = -2 * np.cos(got[4]) / (1 - 2 * np.sin(got[4]))
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_scales_do_not_matter(scale):
    """SciPy's criterion of a small gradient is absolute: large functions never meet
    it, and the ends of small ones are rough, with both."""
    q = scale * (((v - p) ** 2).sum() + (v[0] - p[1]) ** 4)
    outputs = [*minimize(q, v), *root(scale * (v**3 - p), v)]
    got = jaxlink.function([v, p], outputs)(np.ones(2), np.array([1.5, 2]))
    assert got[1]
    assert got[3]
    np.testing.assert_allclose(got[0][1], 2, rtol=1e-5)
    np.testing.assert_allclose(got[2], np.cbrt([1.5, 2]), rtol=1e-7)


def test_poisson_regression():
    """From a start where the objective is 1e15, as SciPy's BFGS cannot."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.2, 0.3]))
    mean = pt.exp(pt.as_tensor(X) @ v)
    solution, success = minimize((mean - y * pt.log(mean)).sum(), v)
    score = pytensor.function([v], pt.as_tensor(X).T @ (mean - y))
    for start in (0.0, -8.0):
        got, ok = jaxlink.function([v], [solution, success])(np.full(3, start))
        assert ok
        np.testing.assert_allclose(score(np.asarray(got)), 0, atol=1e-6)


# --- failure -------------------------------------------------------------------------

# No minimum, no root, no change of sign, nan, too few steps.
FAILURES = {
    "unbounded": minimize(a * v.sum(), v),
    "nan": minimize(pt.log(-a * v).sum(), v),
    "few steps": minimize(ROSENBROCK, v, optimizer_kwargs={"options": {"maxiter": 2}}),
    "no root": root(v**2 + a, v),
    "no scalar root": root_scalar(x**2 + a, x),
    "no sign change": root_scalar(x**2 + a, x, method="brentq", bracket=(-1, 2)),
    "few halvings": root_scalar(
        EQUATION, x, method="bisect", bracket=(-3, 1), optimizer_kwargs={"maxiter": 5}
    ),
    "no scalar minimum": minimize_scalar(a * x, x),
    "not a bracket": minimize_scalar(a * x, x, bracket=(0.0, 1.0, 2.0)),
    "few sections": minimize_scalar(
        (x - a) ** 2,
        x,
        method="golden",
        optimizer_kwargs={"options": {"maxiter": 3}},
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_told_and_not_raised(name):
    solution, success = FAILURES[name]
    inputs = [v, x, a, b]
    fn = jaxlink.function(inputs, [solution, success], on_unused_input="ignore")
    _, ok = fn(np.ones(2), 1.0, 1.3, 2.0)
    assert ok.dtype == bool
    assert not ok


def test_roots_at_special_places():
    at_end = root_scalar(x - a, x, method="brentq", bracket=(0.0, 1.0))
    falling = root_scalar(a - x, x, method="brentq", bracket=(0.0, 1.0))
    # Without a slope at the start, and at zero.
    flat = root_scalar(x**2 - a - 1, x)
    origin = root(pt.exp(v) - 1, v)
    fn = jaxlink.function([x, a, v], [*at_end, *falling, *flat, *origin])
    for end in (0.0, 1.0):
        got = fn(0.0, end, np.ones(2))
        assert all(got[1::2])
        np.testing.assert_allclose(got[0], end, atol=1e-11)
        np.testing.assert_allclose(got[2], end, atol=1e-11)
        np.testing.assert_allclose(got[4], np.sqrt(end + 1), rtol=1e-12)
        np.testing.assert_allclose(got[6], 0, atol=1e-12)


def test_as_many_equations_as_unknowns():
    fn = jaxlink.function([v, p], root(pt.concatenate([v, p]), v)[0])
    with pytest.raises(ValueError, match="3 equations for 2 unknowns"):
        fn(np.ones(2), np.ones(1))


# --- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "match"),
    [
        (lambda: minimize(ROSENBROCK, v, method="annealing"), "Use one of bfgs"),
        (lambda: root(v**3 - a, v, method="fixed"), "Use one of hybr"),
        (lambda: root_scalar(EQUATION, x, method="guess"), "Use one of bisect"),
        (lambda: minimize_scalar(EQUATION, x, method="grid"), "Use one of brent"),
        (lambda: root_scalar(EQUATION, x, method="brentq"), "needs an interval"),
        (lambda: minimize_scalar(EQUATION, x, bounds=(0, 1)), 'method="bounded"'),
        (lambda: minimize_scalar(EQUATION, x, method="bounded"), "bounds="),
    ],
)
def test_methods_that_do_not_exist(out, match):
    with pytest.raises(UnsupportedOpError, match=match):
        jaxlink.function([v, x, a, b], list(out()), on_unused_input="ignore")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bounds", [(0, 1), (0, 1)]),
        ("constraints", {"type": "eq", "fun": len}),
        ("callback", print),
        ("options", {"disp": True}),
        ("options", {"eps": 1e-4}),
        ("options", {"maxcor": 5}),
    ],
)
def test_options_that_mean_nothing_here_are_named(name, value):
    named = next(iter(value)) if name == "options" else name
    found = minimize(ROSENBROCK, v, optimizer_kwargs={name: value})
    with pytest.raises(UnsupportedOpError, match=f"'{named}'"):
        jaxlink.function([v, a, b], list(found))


def test_options_that_are_honoured():
    options = {"maxcor": 3, "disp": False, "maxfun": None, "gtol": 1e-3, "maxiter": 0}
    kwargs = {"tol": 1e-16, "bounds": None, "constraints": (), "options": options}
    found = minimize(ROSENBROCK, v, method="L-BFGS-B", optimizer_kwargs=kwargs)
    solution, success = jaxlink.function([v, a, b], list(found))(np.zeros(3), 1.0, 1.0)
    assert success
    np.testing.assert_allclose(solution, np.ones(3), rtol=1e-8)
    # A tolerance that is wide enough makes a success of what is not finished.
    kwargs = {"options": {"maxiter": 4, "gtol": 1e3}}
    found = minimize(ROSENBROCK, v, optimizer_kwargs=kwargs)
    assert jaxlink.function([v, a, b], found[1])(np.zeros(3), 1.0, 1.0)
    # The second of two starts is where Newton begins.
    found = root_scalar(x**2 - a, x, optimizer_kwargs={"x1": -1.0})
    solution, success = jaxlink.function([x, a], list(found))(1.0, 4.0)
    assert success
    np.testing.assert_allclose(solution, -2)


def test_whole_numbers_are_not_solved_for():
    i = pt.lscalar("i")
    found = root_scalar(i - 3, i, method="secant")
    with pytest.raises(UnsupportedOpError, match="Only floats"):
        jaxlink.function([i], found[1])


# --- the library ---------------------------------------------------------------------


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "optimistix", None)
    with pytest.raises(UnsupportedOpError, match=r"pip install jaxlink\[optimize\]"):
        jaxlink.function([v, a, b], minimize(ROSENBROCK, v)[0])


def test_the_library_is_imported_late_and_changes_nothing():
    code = """if True:
        import sys, warnings
        warnings.simplefilter("error")
        import jax, jaxlink
        assert "optimistix" not in sys.modules
        before = dict(jax.config.values)
        from jaxlink.dispatch.optimize.solvers import library
        library(None)
        assert "optimistix" in sys.modules
        assert dict(jax.config.values) == before
    """
    subprocess.run([sys.executable, "-c", code], check=True)

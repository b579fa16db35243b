"""Importing and compiling change nothing global; precision follows JAX's setting."""

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import jaxlink

ROOT = Path(__file__).parents[1]


def run(code, **env):
    """What ``code`` prints as JSON, in a new process without our test settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**clean, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


SNAPSHOT = """
    import json, os, sys, warnings
    import jax, numpy as np, pytensor, pytensor.tensor as pt
    import pytensor.sparse  # PyTensor imports it lazily, and its rewrites with it
    from pytensor.compile import mode, optdb
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    def rewrites(db):
        # By identity. A query leaves an empty entry for a tag that nobody has.
        return {
            name: sorted(map(id, found)) for name, found in db.__db__.items() if found
        }

    def state():
        jax_config = {k: str(v) for k, v in sorted(jax.config.values.items())}
        return {
            "jax": jax_config,
            "environ": dict(os.environ),
            "rewrites": rewrites(optdb),
            "canonicalize": rewrites(optdb["canonicalize"]),
            "modes": sorted(mode.predefined_modes),
            "linkers": sorted(mode.predefined_linkers),
            "optimizers": sorted(map(str, mode.predefined_optimizers)),
            "default_mode": id(mode.get_default_mode()),
            "floatX": pytensor.config.floatX,
            "dispatch": "pytensor.link.jax.dispatch" in sys.modules,
        }

    def differences(a, b):
        return sorted(k for k in a if a[k] != b[k])
"""


def test_import_and_compilation_leave_no_trace():
    changed = run(
        SNAPSHOT
        + """
    before = state()
    import jaxlink
    imported = state()
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    x = pt.vector("x")
    z = pt.random.shared_rng(seed=0).normal(x, 1.0)[1]
    fn = jaxlink.function([x], pt.exp(z).sum())
    jax.grad(fn, argnums=1)(jax.random.key(0), np.ones(3, np.float32))
    after = state()
    print(json.dumps([differences(before, imported), differences(before, after)]))
    """
    )
    assert changed == [[], []]


def test_models_leave_no_trace_and_need_no_samplers():
    changed, errors = run(
        SNAPSHOT
        + """
    import pymc as pm
    before = state()
    for package in ("blackjax", "numpyro", "nutpie", "optax", "zarr"):
        sys.modules[package] = None
    import jaxlink
    from jaxlink import pymc as jp
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    with pm.Model() as model:
        mu = pm.Normal("mu")
    key = jax.random.key(0)
    jax.grad(jp.logdensity(model))(jp.constrain(model)(jp.prior(model)(key)))
    errors = []
    for call in (
        lambda: jp.sample(model=model),
        lambda: jp.fit(model=model),
        lambda: jp.sample_prior_predictive(model=model, store="unwritten.zarr"),
    ):
        try:
            call()
        except ImportError as error:
            errors.append(str(error).split("pip")[1])
    print(json.dumps([differences(before, state()), errors]))
    """
    )
    assert changed == []
    assert errors == [" install blackjax", " install optax", " install zarr"]


def test_third_party_conversions_leave_no_trace():
    """One that is registered with jax_funcify is used, whatever it does to the setting
    that PyTensor's module flips."""
    code = (
        SNAPSHOT
        + """
    class Tripled(Op):
        def make_node(self, x):
            return Apply(self, [x], [x.type()])
        def perform(self, node, inputs, outputs):
            outputs[0][0] = 3 * inputs[0]

    x64 = jax.config.jax_enable_x64
    from pytensor.link.jax.dispatch import jax_funcify
    jax.config.update("jax_enable_x64", x64)

    @jax_funcify.register(Tripled)
    def tripled(op, node, **kwargs):
        jax.config.update("jax_enable_x64", not x64)
        return lambda x: 3 * x

    before = state()
    import jaxlink
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    x = pt.vector("x")
    out = jaxlink.function([x], Tripled()(x).sum())(np.ones(2, np.float32))
    print(json.dumps([float(out), differences(before, state())]))
    """
    )
    assert run(code) == [6.0, []]
    assert run(code, JAX_ENABLE_X64="1") == [6.0, []]


def test_pytensors_own_conversions_are_not_used():
    """They are what we replace: an Op without a rule of ours is an error."""
    code = """
    import json
    import pytensor.link.jax.dispatch
    from pytensor.graph.op import Op
    from pytensor.compile.builders import OpFromGraph
    from jaxlink.dispatch.registry import foreign_conversion
    import pytensor.tensor as pt
    x = pt.scalar("x")
    print(json.dumps(foreign_conversion(OpFromGraph([x], [x + 1])) is None))
    """
    assert run(code)


# --- precision -----------------------------------------------------------------------


def test_x64_off():
    """64-bit types become 32-bit, with one warning that names the ways out."""
    code = """
    import json, warnings
    import jax, numpy as np, pytensor, pytensor.tensor as pt, jaxlink
    X = pytensor.shared(np.arange(3.0), name="X")
    x, n = pt.vector("x"), pt.lscalar("n")
    z = pt.random.shared_rng(seed=0).normal(x, 1.0)[1]
    outputs = [z * X, x.sum() * 2.5, n + 1, x > 0, pt.arange(n), pt.argmax(x)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn = jaxlink.function([x, n], outputs)
    messages = [str(w.message) for w in caught]
    outs = fn(jax.random.key(0), np.arange(3.0), 4)
    grad = jax.grad(lambda x: fn(jax.random.key(0), x, 4)[1])(np.ones(3, np.float32))
    print(json.dumps([messages, [str(o.dtype) for o in outs], str(grad.dtype)]))
    """
    messages, dtypes, grad = run(code)
    assert len(messages) == 1
    assert "jax_enable_x64" in messages[0]
    assert 'floatX = "float32"' in messages[0]
    assert dtypes == ["float32", "float32", "int32", "bool", "int32", "int32"]
    assert grad == "float32"


def test_one_warning_for_a_call_in_the_users_words():
    """However many graphs it compiles, and whatever PyMC calls their variables."""
    code = """
    import json, warnings
    import jaxlink, pymc as pm
    with pm.Model(coords={"i": [0, 1]}) as model:
        slope, noise = pm.Normal("slope", dims="i"), pm.HalfNormal("noise")
        pm.Normal("y", slope, noise, observed=[1.0, 2.0], dims="i")
    jp, quiet = jaxlink.pymc, {"model": model, "progressbar": False}
    calls = [
        lambda: jp.logdensity(model),
        lambda: jp.initial_position(model, jitter=True),
        lambda: jp.sample_prior_predictive(10, **quiet),
        lambda: jp.find_MAP(**quiet),
        lambda: jaxlink.function(model.value_vars, model.logp()),
    ]
    found = []
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", jaxlink.PrecisionWarning)
            call()
        own = [w for w in caught if w.category is jaxlink.PrecisionWarning]
        found.append([str(w.message).split("variables of ")[1] for w in own])
    print(json.dumps(found))
    """
    names = "become 32-bit: `noise`, `slope`"
    for (message,), start in zip(
        run(code),
        [
            f"logdensity() {names}. Either",
            f"initial_position() {names}. Either",
            f"sample_prior_predictive() {names}, `y`. Either",
            f"find_MAP() {names}. Either",
            "jaxlink.function() become 32-bit: `i`, `noise_log__`, `slope`. Either",
        ],
        strict=True,
    ):
        assert message.startswith(start)


def test_models_of_32_bits_lose_nothing():
    """The lengths of dimensions are int64, and known before the call."""
    code = """
    import json
    import numpy as np, pytensor
    pytensor.config.floatX = "float32"
    import jaxlink, pymc as pm
    with pm.Model(coords={"i": [0, 1]}) as model:
        pm.Normal("slope", dims="i")
    density = jaxlink.pymc.logdensity(model)
    print(json.dumps(str(density({"slope": np.ones(2, "float32")}).dtype)))
    """
    assert run(code) == "float32"


def test_the_model_package_is_an_attribute_or_an_install_hint():
    code = """
    import json, sys
    import jaxlink
    assert "pymc" not in sys.modules
    sys.modules["pymc"] = None
    errors = []
    for load in (lambda: jaxlink.pymc, lambda: __import__("jaxlink.pymc")):
        try:
            load()
        except ImportError as error:
            errors.append(str(error))
    del sys.modules["pymc"]
    print(json.dumps([errors, callable(jaxlink.pymc.sample), "pymc" in dir(jaxlink)]))
    """
    errors, found, listed = run(code)
    assert errors == 2 * [
        "jaxlink.pymc needs the package pymc, which is not installed: pip install pymc"
    ]
    assert found
    assert listed


def test_no_warning_where_nothing_is_lost():
    code = """
    import json
    import numpy as np, pytensor, pytensor.tensor as pt
    pytensor.config.floatX = "float32"
    import jaxlink
    x = pt.vector("x")
    fn = jaxlink.function([x], pt.exp(x[: x.shape[0] // 2]).sum())
    print(json.dumps(float(fn(np.zeros(4)))))
    """
    assert run(code) == 2.0


def test_no_integer_wraps_silently():
    code = """
    import json, warnings
    import numpy as np, pytensor, pytensor.tensor as pt, jaxlink
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    errors = []
    x = pt.lscalar("x")
    for make in (
        lambda: jaxlink.function([x], x + 2**40)(1),
        lambda: jaxlink.function([], pytensor.shared(np.array([2**40])) + 1),
        lambda: jaxlink.function([x], x + pt.constant(np.full(2000, -(2**40)))),
        lambda: jaxlink.function([], pt.constant(2**40))(),
    ):
        try:
            make()
            errors.append("none")
        except jaxlink.PrecisionError as error:
            errors.append(str(error))
    print(json.dumps(errors))
    """
    errors = run(code)
    assert len(errors) == 4
    for error in errors:
        assert "does not fit int32" in error
        assert "jax_enable_x64" in error


def test_turning_x64_on_afterwards():
    """The data were captured in 32 bits: that is an error, not a silent loss."""
    code = """
    import json, warnings
    import jax, numpy as np, pytensor, pytensor.tensor as pt, jaxlink
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    fn = jaxlink.function([], pytensor.shared(np.array([0.1])) + 1)
    fn()
    x = pt.scalar("x")
    free = jaxlink.function([x], x + 1)
    assert free(1.0).dtype == "float32"
    jax.config.update("jax_enable_x64", True)
    assert free(1.0).dtype == "float64"
    try:
        fn()
    except jaxlink.PrecisionError as error:
        print(json.dumps(str(error)))
    """
    assert "Compile it again" in run(code)


def test_strict_promotion_and_dtypes():
    """An int8 plus an int64 constant is an int64; 0-d constants keep their dtype."""
    a, b = pt.scalar("a", dtype="int8"), pt.scalar("b", dtype="float32")
    outputs = [
        a + np.int64(1000),
        a + pt.constant(np.array(1000, "int64")),
        b * np.float64(2),
        b * pt.constant(2.0, dtype="float32"),
        a / a,
        a * b,
    ]
    fn = jaxlink.function([a, b], outputs)
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    reference = pytensor.function([a, b], outputs, mode="FAST_COMPILE")(100, 1.5)
    for out, expected in zip(fn(np.int8(100), np.float32(1.5)), reference, strict=True):
        assert out.dtype == expected.dtype
        assert out == expected


# --- captured data -------------------------------------------------------------------


@pytest.mark.parametrize("make", [pytensor.shared, pt.constant])
def test_large_data_are_arguments_of_the_program(make):
    """Three million observed numbers are not in the program, so it stays small."""
    mu = pt.scalar("mu")
    programs = []
    for size in (3_000, 3_000_000):
        observed = make(np.linspace(-1.0, 1.0, size))
        logp = -0.5 * ((observed - mu) ** 2).sum()
        fn = jaxlink.function([mu], logp)
        [leaf] = jax.tree.leaves(fn)
        assert leaf.shape == (size,)
        programs.append(fn.lower(0.0).as_text())
        expected = -0.5 * ((np.linspace(-1.0, 1.0, size) - 0.5) ** 2).sum()
        np.testing.assert_allclose(fn(0.5), expected)
    small, large = programs
    assert len(large) <= len(small) + 200
    assert large.replace("3000000", "3000") == small


def test_small_constants_are_literals():
    """Each array that a program closes over is one more argument of every call."""
    x = pt.matrix("x")
    rngs = [pt.random.shared_rng(seed=i) for i in range(2)]
    draws = [rng.normal(0.0, 2.0, size=(2, 3))[1] for rng in rngs]
    fn = jaxlink.function([x], pt.exp(x * np.full((1, 3), 2.0)) + draws[0] * draws[1])
    assert fn.jaxpr(jax.random.key(0), np.ones((2, 3))).consts == []


def test_data_stay_arguments_of_a_larger_program():
    mu = pt.scalar("mu")
    observed = pytensor.shared(np.linspace(-1.0, 1.0, 100_000))
    fn = jaxlink.function([mu], (observed * mu).sum())
    larger = jax.jit(jax.grad(lambda mu, fn: fn(mu) ** 2))
    assert len(larger.lower(0.5, fn).as_text()) < 20_000


def test_large_constants_in_inner_graphs_are_no_text():
    mu = pt.scalar("mu")
    observed = pt.constant(np.linspace(-1.0, 1.0, 100_000))
    out = pytensor.scan(
        lambda m: (observed * m).sum(), [pt.stack([mu, mu])], return_updates=False
    )
    fn = jaxlink.function([mu], out.sum())
    assert len(fn.lower(0.0).as_text()) < 20_000


def test_sparse_matrices_of_jax_are_imported_when_one_is_met():
    """The import takes about a second."""
    loaded = run("""
    import sys, warnings
    import jax, pytensor.tensor as pt, pytensor.sparse, scipy.sparse
    import jaxlink, json
    warnings.simplefilter("ignore", jaxlink.PrecisionWarning)
    x = pt.matrix("x")
    found = ["jax.experimental.sparse" in sys.modules]
    jax.grad(jaxlink.function([x], pt.exp(x).sum()))(jax.numpy.ones((2, 2)))
    found.append("jax.experimental.sparse" in sys.modules)
    y = pytensor.sparse.csr_matrix("y")
    total = jaxlink.function([y], pytensor.sparse.sp_sum(y))
    out = total(scipy.sparse.eye(3, format="csr"))
    print(json.dumps([*found, float(out)]))
    """)
    assert loaded == [False, False, 3.0]


def _imported(path):
    """The packages outside the standard library that a module imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    packages = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    return {package.replace("_", "-") for package in packages} - {"jaxlink"}


def test_what_is_imported_is_declared():
    """With the library itself, or with the extras that need it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements):
        return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}

    own, extras = names(project["dependencies"]), project["optional-dependencies"]
    with_pymc = own | names(extras["pymc"])
    lazy = set().union(*map(names, extras.values()))
    seen = set()
    for path in (ROOT / "jaxlink").rglob("*.py"):
        parts = path.relative_to(ROOT / "jaxlink").parts
        # That one is imported by those that it calls alone.
        undeclared = _imported(path) - own - {"wadler-lindig"}
        seen |= undeclared
        if "pymc" in parts or path.stem == "lower_distributions":
            undeclared -= with_pymc | lazy
        elif parts[:2] == ("dispatch", "optimize"):
            undeclared -= names(extras["optimize"])
        elif parts[:2] == ("dispatch", "ode.py"):
            undeclared -= names(extras["ode"])
        assert not undeclared, f"{path} imports {undeclared}"
    assert {"scipy", "rich", "xarray", "arviz-base", "zarr", "nutpie"} <= seen

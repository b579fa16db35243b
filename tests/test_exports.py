"""Exported functions: what they compute, take and refuse, here and in JAX alone."""

import io
import json
import pickle
import sys
import warnings
import zipfile
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from environments import ROOT, make_environment
from models import MODELS
from support import assert_same

import jaxlink
from jaxlink import pymc as jp
from jaxlink.__main__ import main
from jaxlink.errors import (
    ArgumentError,
    ExportError,
    KeyArgumentError,
    PrecisionError,
)

KEY = jax.random.key(3)
X = np.array([0.3, -1.2, 0.0, 2.5])
COUNTS = np.array([1, 0, 2, 9])


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"day": list("abcd")}) as model:
        x = pm.Data("x", X, dims="day")
        counts = pm.Data("counts", COUNTS, dims="day")
        a, b = pm.Normal("a", 0.2), pm.HalfNormal("b", 0.7)
        group = pm.Categorical("group", [0.2, 0.7, 0.1], dims="day")
        rate = pm.Gamma("rate", 2 + x**2, pm.math.exp(a + b * x), dims="day")
        pm.Poisson("y", rate * (group + 1), observed=counts, dims="day")
    return model


@pytest.fixture(scope="module")
def prior(model):
    return jp.prior(model)


@pytest.fixture(scope="module")
def exported_prior(prior):
    """The prior, mapped over keys, for any number of days."""
    return jaxlink.export(prior, KEY, batch="draws", data={"x": "float64[n]"})


@pytest.fixture(scope="module")
def density(model):
    return jp.logdensity(model)


FLOATS = {
    "a": jnp.array(0.1),
    "b_log__": jnp.array(-0.4),
    "rate_log__": jnp.array([0.3, 1.2, -0.5, 0.0]),
}
POSITION = FLOATS | {"group": jnp.array([0, 1, 1, 2])}


def slopes(fn):
    return jax.grad(lambda x: fn(POSITION | x))(FLOATS)


@pytest.fixture(scope="module")
def exported_density(density):
    return jaxlink.export(density, POSITION)


def test_draws_are_the_same_bits(prior, exported_prior):
    keys = jax.random.split(KEY, 5)
    assert_same(jaxlink.load(exported_prior)(keys), jax.vmap(prior)(keys))


def test_sizes_that_are_free(prior, exported_prior):
    fn, x = jaxlink.load(exported_prior), np.linspace(-1, 1, 6)
    longer = prior.with_data(x=x, coords={"day": range(6)})
    for n in (1, 3):
        keys = jax.random.split(KEY, n)
        assert_same(fn.with_data(x=x)(keys), jax.vmap(longer)(keys), rtol=1e-13)


def test_a_gradient(density, exported_density):
    fn = jaxlink.load(exported_density)
    assert_same(fn(POSITION), density(POSITION), rtol=1e-14)
    assert_same(slopes(fn), slopes(density), rtol=1e-13)
    # With respect to the data, which are its leaves.
    of_data = jax.grad(lambda f: f(POSITION), allow_int=True)
    assert_same(of_data(fn).data["x"], of_data(density).data["x"], rtol=1e-13)
    other = POSITION | {"a": 0.7}  # a Python float
    assert_same(jax.jit(fn)(position=other), density(other), rtol=1e-13)


def test_a_second_derivative(density):
    def curvature(fn):
        def slope(b):
            return slopes(lambda x: fn(x | {"b_log__": b}))["rate_log__"][1]

        return jax.grad(slope)(0.4)

    first, second = (
        jaxlink.load(
            jaxlink.export(density, POSITION, vjp_order=order, platforms=["cpu"])
        )
        for order in (1, 2)
    )
    assert_same(curvature(second), curvature(density), rtol=1e-12)
    with pytest.raises(ValueError, match="No VJP is available"):
        curvature(first)


def test_data_that_are_left_out(prior):
    keys = jax.random.split(KEY, 2)
    content = jaxlink.export(prior, KEY, batch=2, include_data=False)
    assert X.tobytes() not in content
    fn = jaxlink.load(content)
    assert fn.data == {}
    with pytest.raises(ArgumentError, match=r"without its data: call fn.with_data\(x="):
        fn(keys)
    assert_same(fn.with_data({"x": X})(keys), jax.vmap(prior)(keys))
    with pytest.raises(ArgumentError, match=r"must be float64\[4\], but has the shape"):
        fn.with_data(x=X[1:])


def test_a_function_that_is_mapped_already(prior):
    keys = jax.random.split(KEY, 3)
    fn = jaxlink.load(jaxlink.export(jax.vmap(prior), keys, vjp_order=0))
    assert_same(fn(keys), jax.vmap(prior)(keys))
    raw = jaxlink.load(jaxlink.export(prior, jax.random.PRNGKey(0), vjp_order=0))
    assert_same(raw(KEY), prior(KEY))


def test_axes_that_are_not_mapped(model):
    predict = jp.posterior_predictive(model)
    draw = {"a": 0.3, "b": 1.5, "rate": X**2 + 0.5, "group": COUNTS % 3}
    content = jaxlink.export(predict, KEY, draw, batch="n", in_axes=(0, None))
    keys = jax.random.split(KEY, 3)
    wanted = jax.vmap(predict, (0, None))(keys, draw)
    assert_same(jaxlink.load(content)(keys, draw), wanted)


def test_an_argument_that_fixes_a_shape():
    n, x = pt.lscalar("n"), pt.vector("x")
    fn = jaxlink.function([n, x], pt.zeros(n) + x.sum())
    loaded = jaxlink.load(jaxlink.export(fn, 3, "float64[m]"))
    assert loaded.manifest.fixed == {"n": 3}
    assert loaded([1.0, 2.0]).tolist() == [3.0, 3.0, 3.0]


def test_containers_and_keys():
    """Any JAX function; keys come and go as words, also of another implementation."""

    def fn(key, pair, nothing, *more):
        own, left = jax.random.split(key)
        draw = pair[0] * jax.random.normal(own, (3,), np.float32)
        return {"draw": [draw, pair[1]["n"]], "key": left, "none": nothing}, more, 2.5

    key = jax.random.key(7, impl="rbg")
    args = ((jnp.float32(1.5), {"n": jnp.array(2)}), None, jnp.array([True, False]))
    loaded = jaxlink.load(jaxlink.export(fn, key, *args, "complex64[k, k + 1]"))
    last = jnp.ones((2, 3), np.complex64)
    got, wanted = loaded(key, *args, last), fn(key, *args, last)
    assert jax.random.key_impl(got[0]["key"]) == "rbg"
    assert_same(got[:2], wanted[:2])
    assert_same(loaded(jax.random.key_data(key), *args, last)[:2], wanted[:2])
    assert got[2].item() == 2.5


def test_a_key_among_the_leaves():
    """It is a part of the program."""
    noisy = jax.tree_util.Partial(
        lambda k, c, x: x * c + jax.random.normal(k), KEY, 2.0
    )
    noisy = jax.tree.map(lambda x: x if x is KEY else jnp.asarray(x), noisy)
    loaded = jaxlink.load(jaxlink.export(noisy, 1.5))
    assert len(loaded.data) == 1
    assert_same(loaded(1.5), noisy(1.5))


def test_names(exported_prior, exported_density):
    fn = jaxlink.load(exported_density)
    shown = (
        "logdensity(position: {a: float64[], b_log__: float64[], group: int64[4], "
        "rate_log__: float64[4]}) -> float64[]"
    )
    assert repr(fn) == f"LoadedFunction {shown}"
    assert fn.__name__ == "logdensity"
    assert "fold_in(fold_in(key, i), t)" in str(jaxlink.load(exported_prior).manifest)


def test_it_is_a_pytree_and_pickles(exported_density):
    fn = jaxlink.load(exported_density)
    doubled = jax.tree.map(lambda x: 2 * x, fn)
    assert_same(doubled(POSITION), fn.with_data(x=2 * X, counts=2 * COUNTS)(POSITION))
    again = pickle.loads(pickle.dumps(doubled))
    assert_same(again(POSITION), doubled(POSITION))


WRONG = {
    "no dict": (lambda f: f(1.0), ArgumentError, "must be a dict of `a`, `b_log__`"),
    "a name": (lambda f: f({"a": 1.0}), ArgumentError, "but is `a`"),
    "none": (lambda f: f(), ArgumentError, "missing a required argument: 'position'"),
    "too many": (lambda f: f(POSITION, 1), ArgumentError, "too many positional"),
    "a shape": (
        lambda f: f(POSITION | {"rate_log__": X[:3]}),
        ArgumentError,
        r"`position`\['rate_log__'\] of logdensity\(\) must be float64\[4\], but has "
        r"the shape \(3,\)",
    ),
    "a dtype": (
        lambda f: f(POSITION | {"a": 1j}),
        ArgumentError,
        r"must be float64\[\], but is complex128\[\]",
    ),
    "text": (lambda f: f(POSITION | {"a": "x"}), ArgumentError, "but is 'x'"),
    "data": (
        lambda f: f.with_data(q=1),
        ArgumentError,
        "has no data `q`; it has: `counts`, `x`",
    ),
    "data of a dtype": (
        lambda f: f.with_data(counts=X),
        ArgumentError,
        "the data `counts` of",
    ),
    "mapped": (
        lambda f: jax.vmap(f)(jax.tree.map(lambda x: x[None], POSITION)),
        ExportError,
        r"cannot be mapped by jax.vmap: export the mapped function, by .*batch=",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, exported_density):
    call, error, match = WRONG[name]
    with pytest.raises(error, match=match):
        call(jaxlink.load(exported_density))


def test_wrong_keys(exported_prior):
    fn = jaxlink.load(exported_prior)
    for key, match in [
        (KEY, r"must be key<threefry2x32>\[draws\], but has the shape \(\)"),
        (jax.random.split(jax.random.key(0, impl="rbg"), 2), "not rbg"),
        (3, "must be a JAX PRNG key"),
        (np.zeros((2, 3), np.uint32), "must be a key of the implementation"),
    ]:
        with pytest.raises(ArgumentError, match=match) as caught:
            fn(key)
        assert isinstance(caught.value, KeyArgumentError) or key is KEY


def test_sizes_that_disagree():
    content = jaxlink.export(lambda x, y: x @ y, "float64[n, m]", "float64[m]")
    fn = jaxlink.load(content)
    assert fn(np.ones((2, 3)), np.ones(3)).tolist() == [3.0, 3.0]
    with pytest.raises(
        ArgumentError, match="but `m` is 2 there, and 3 in the argument"
    ):
        fn(np.ones((2, 3)), np.ones(2))
    integers = jaxlink.load(jaxlink.export(lambda x: x + 1, "int8[]"))
    assert integers(100) == 101
    assert integers(np.int64(100)) == 101
    for wide in (300, np.int64(300)):
        with pytest.raises(ArgumentError, match=r"must be int8\[\]"):
            integers(wide)
    with pytest.raises(ArgumentError, match="but is int64"):
        jax.jit(integers)(jnp.int64(3))


def test_without_64_bits(exported_density):
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="with 64 bits"):
        jaxlink.load(exported_density)(POSITION)


def _call_python(x):
    return jax.pure_callback(np.sin, x, x)


def _wait(x):
    return jax.lax.while_loop(lambda y: y < 3, lambda y: y + 1.0, x)


REFUSED = {
    "Python": ((_call_python, 1.0), "A program that calls Python"),
    "no derivative": ((_wait, 1.0), "pass vjp_order=0"),
    "a function": ((lambda x: {"a": [print]}, 1.0), r"result\['a'\]\[0\] is a builtin"),
    "no text": ((abs, "float64(3)"), "not a dtype with a shape"),
    "no dtype": ((abs, "float[n]x"), "not a dtype with a shape"),
    "no sizes": ((abs, "float64[n-]"), "syntax error in symbolic shape"),
    "no shape": ((abs, print), "Write an array, a jax.ShapeDtypeStruct, or a text"),
    "too few": ((lambda x, y: x, 1.0), "does not take 1 arguments"),
    "names": ((lambda x: x, {1: 2.0}), r"`x` has the key 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported(name):
    args, match = REFUSED[name]
    with pytest.raises(ExportError, match=match):
        jaxlink.export(*args)


def test_options_that_do_not_fit(prior):
    for options, match in [
        ({"data": {"q": "float64[n]"}}, "captured no data `q`; it captured `x`"),
        ({"data": {"x": "float64[n, 2]"}}, r"cannot become float64\[n, 2\]"),
        ({"batch": "n", "in_axes": (0, None)}, "for each of the 1 arguments"),
        ({"batch": "n m"}, "not the name of a size"),
        ({"platforms": ["abacus"]}, "abacus"),
    ]:
        with pytest.raises(ExportError, match=match):
            jaxlink.export(prior, KEY, **options)
    assert jaxlink.load(jaxlink.export(_wait, 1.0, vjp_order=0))(1.5) == 3.5


def test_bytes_that_are_damaged(exported_density):
    """A broken file is an error, or its break hit a byte that says nothing."""
    wanted = jaxlink.load(exported_density)(POSITION)
    size, rng = len(exported_density), np.random.default_rng(0)
    for end in [0, 1, 22, size // 2, size - 1, *rng.integers(size, size=10)]:
        with pytest.raises(ExportError, match="their end is missing"):
            jaxlink.load(exported_density[:end])
    errors = 0
    for place, bit in zip(
        rng.integers(size, size=60), rng.integers(8, size=60), strict=True
    ):
        content = bytearray(exported_density)
        content[place] ^= 1 << bit
        try:
            fn = jaxlink.load(content)
        except ExportError:
            errors += 1
        else:
            assert_same(fn(POSITION), wanted)
    assert errors > 40


def _changed(content, name, change):
    """An archive with another member."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            own = old.read(member)
            if member != name:
                new.writestr(member, own)
            elif (other := change(own)) is not None:
                new.writestr(member, other)
    return file.getvalue()


def _edited(**changes):
    return lambda old: json.dumps(json.loads(old) | changes).encode()


FOREIGN = {
    "another zip": ("manifest.json", lambda old: None, "it has no manifest.json"),
    "no JSON": ("manifest.json", lambda old: b"{", "its manifest cannot be read"),
    "newer": ("manifest.json", _edited(format=9), "reads formats up to 1: upgrade"),
    "incomplete": ("manifest.json", _edited(data=3), "its manifest is not complete"),
    "no program": ("program.bin", lambda old: None, "it has no program.bin"),
    "program": ("program.bin", lambda old: b"abc", r"JAX .* cannot read this program"),
    "no data": ("data/0.bin", lambda old: None, "it has no data/0.bin"),
    "data": (
        "data/0.bin",
        lambda old: old[1:],
        "the data `counts` do not have their shape",
    ),
    "another function": ("manifest.json", _edited(arguments=[]), "not of one function"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_archives_that_are_wrong(name, exported_density):
    member, change, match = FOREIGN[name]
    with pytest.raises(ExportError, match=match):
        jaxlink.load(_changed(exported_density, member, change))


def test_inspect(exported_prior, tmp_path, capsys):
    path = tmp_path / "prior.jaxlink"
    path.write_bytes(exported_prior)
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "key: key<threefry2x32>[draws]" in printed
    assert "data x: float64[n]" in printed
    assert main(["inspect", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["batch"] == "draws"
    path.write_bytes(b"abc")
    assert main(["inspect", str(path)]) == 1
    assert "not a function that jaxlink.export wrote" in capsys.readouterr().err
    assert jaxlink.load(_written(tmp_path, exported_prior)).__name__ == "prior"


def _written(folder, content):
    path = folder / "fn.jaxlink"
    path.write_bytes(content)
    return path


def test_without_flatbuffers(monkeypatch, exported_density):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    for call in (
        lambda: jaxlink.export(abs, 1.0),
        lambda: jaxlink.load(exported_density),
    ):
        with pytest.raises(ImportError, match="pip install flatbuffers"):
            call()


# Models with improper priors, and with draws in Python.
WITHOUT_PRIOR = {"potential", "own_density"}

ALONE = """
import json, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxlink
prior, density = map(jaxlink.load, sys.argv[1:3])
position = {k: np.array(x) for k, x in json.loads(sys.argv[3]).items()}
group = position.pop("group")
fn = lambda x: density({**x, "group": group})
value, slope = jax.value_and_grad(fn)(position)
draws = prior(jax.random.split(jax.random.key(3), 2))
assert not {"pytensor", "pymc"} & sys.modules.keys()
out = {"value": value, "slope": slope, "draws": draws}
print(json.dumps(jax.tree.map(lambda x: np.asarray(x).tolist(), out)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.11.2", "0.12"])
def test_in_jax_alone(
    version, tmp_path, prior, density, exported_prior, exported_density
):
    """In an environment without PyTensor, of each supported version of JAX."""
    needed = [f"jax=={version}.*" if version.count(".") == 1 else f"jax=={version}"]
    env = make_environment(
        tmp_path / "env", [*needed, "flatbuffers"], ["--no-deps", ROOT]
    )
    paths = [tmp_path / name for name in ("prior", "density")]
    for path, content in zip(paths, (exported_prior, exported_density), strict=True):
        path.write_bytes(content)
    position = json.dumps(jax.tree.map(lambda x: x.tolist(), POSITION))
    # A folder where Python does not find this repository's jaxlink.
    printed = env.run("-I", "-c", ALONE, *paths, position)
    got = json.loads(printed)
    inspected = env.run("-I", "-m", "jaxlink", "inspect", paths[0])
    assert "key: key<threefry2x32>[draws]" in inspected
    assert f"jax {version}" in env.run("-I", "-m", "jaxlink", "info")
    keys = jax.random.split(KEY, 2)
    assert_same(
        jax.tree.map(np.asarray, got["draws"], is_leaf=lambda x: isinstance(x, list)),
        jax.tree.map(np.asarray, jax.vmap(prior)(keys)),
    )
    np.testing.assert_allclose(got["value"], density(POSITION), rtol=1e-13)
    for name, own in slopes(density).items():
        np.testing.assert_allclose(got["slope"][name], own, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    """The density and the draws of every model, for all platforms at once."""
    built = MODELS[name].build()
    density, position = jp.logdensity(built), dict(jp.initial_position(built)(KEY))
    args = (KEY, position) if density.takes_key else (position,)
    loaded = jaxlink.load(jaxlink.export(density, *args))
    np.testing.assert_allclose(loaded(*args), density(*args), rtol=1e-10)
    if name in WITHOUT_PRIOR:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model has Potentials")
        draw = jp.prior(built)
    content = jaxlink.export(draw, KEY, batch="n", vjp_order=0)
    keys = jax.random.split(KEY, 2)
    got, wanted = jaxlink.load(content)(keys), jax.vmap(draw)(keys)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9), got, wanted)

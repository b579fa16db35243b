"""Graphs of Aesara: what they compute in jaxlink, and how files of them may be broken.

`tests/aesara_catalogue.py` wrote the files in `tests/data/aesara`, by Aesara 2.9.4.
"""

import copy
import io
import json
import re
import shutil
import zipfile

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse
import scipy.stats
from environments import ROOT, make_environment
from pytensor.graph.traversal import graph_inputs

import jaxlink
from jaxlink.aesara.conversions import find_conversion
from jaxlink.aesara.conversions.unsupported import REASONS
from jaxlink.aesara.parts import area_name
from jaxlink.errors import AesaraError

DATA = ROOT / "tests" / "data" / "aesara"
STORED = sorted(path.stem for path in DATA.glob("*.aesara"))
# Aesara's own derivative of the incomplete gamma function is that far off: mpmath
# agrees with ours.
LOOSE = {"grad_gammaincc": 1e-3}
ALPHA = 1e-5  # of each test of a distribution
# Converted, but in no graph of the catalogue.
UNSEEN = {
    # They exist only after Aesara's rewrites, with a C compiler or SciPy's BLAS.
    *("tensor.CGemv", "tensor.CGer", "tensor.ScipyGer", "compile.OutputGuard"),
    # Older names of Ops that the catalogue has.
    *("tensor.Inv", "tensor.NonZeroCAReduce", "tensor.CumsumOp", "tensor.CumprodOp"),
    # Aesara's own implementation in Python fails.
    "scalar.Mean",
    # It needs a list whose values are known while JAX traces.
    "typed_list.Remove",
}


# --- what they compute ----------------------------------------------------------------


def arrays(folder, name):
    """The arguments and the results that Aesara computed."""
    with np.load(folder / f"{name}.npz") as file:
        return [
            [file[f"{kind}{i}"] for i in range(sum(k.startswith(kind) for k in file))]
            for kind in ("in", "out")
        ]


def argument(variable, value):
    """An argument as an input takes it: an integer may become static."""
    sparse = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix}
    if hasattr(variable.type, "format"):
        return sparse[variable.type.format](value)
    return value.item() if value.ndim == 0 and value.dtype.kind in "iu" else value


def check(folder, name):
    """Compare the values and dtypes of a graph with Aesara's; draws by distribution."""
    inputs, outputs = jaxlink.from_aesara(folder / f"{name}.aesara")
    listed = outputs if isinstance(outputs, list | tuple) else [outputs]
    fn = jaxlink.function(inputs, listed)
    values, wanted = arrays(folder, name)
    values = [argument(*pair) for pair in zip(inputs, values, strict=True)]
    compare = assert_close
    if name.startswith("random"):
        values.insert(0, jax.random.key(len(name)))
        compare = assert_same_distribution
    for got, expected in zip(fn(*values), wanted, strict=True):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        compare(np.asarray(got), expected, LOOSE.get(name))


def assert_close(got, wanted, loose):
    tolerance = loose or (2e-6 if wanted.dtype.itemsize <= 4 else 1e-10)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def assert_same_distribution(got, wanted, loose):
    del loose
    rows = [x.reshape(len(x), -1).astype(float) for x in (got, wanted)]
    for a, b in zip(*(x.T for x in rows), strict=True):
        assert scipy.stats.ks_2samp(a, b).pvalue > ALPHA


@pytest.mark.parametrize("name", STORED)
def test_stored(name):
    check(DATA, name)


def test_stored_files_are_small():
    assert len(STORED) >= 25
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000


def test_names_types_and_values():
    inputs, _ = jaxlink.from_aesara(DATA / "broadcast_patterns.aesara")
    assert [v.name for v in inputs] == ["row", "col"]
    assert [v.type.shape for v in inputs] == [(1, None), (None, 1)]
    _, output = jaxlink.from_aesara(DATA / "shared_variables.aesara")
    shared = {v.name: v for v in graph_inputs([output]) if hasattr(v, "get_value")}
    assert set(shared) == {"matrix", "count", "single"}
    assert shared["count"].get_value() == 3
    assert shared["count"].type.dtype == "int32"
    assert shared["single"].type == pt.TensorType("float32", (1, 3))


def test_horseshoe_density_and_gradient():
    """The density, and the slopes, that a hand calculation gives."""
    inputs, logp = jaxlink.from_aesara(DATA / "horseshoe.aesara")
    assert inputs[0].name == "X"
    density = jaxlink.function(inputs, logp)
    ones = [np.ones((3, 2)), 1.0, np.ones(2), np.ones(2), np.ones(3, int)]
    assert density(*ones).item() == pytest.approx(-12.65285075, abs=1e-8)
    # By tau: -2t/(1 + t^2) of the half-Cauchy, and -1/t + b^2/t^3 of each beta.
    slope = jax.grad(density, argnums=1)(*ones)
    assert slope.item() == pytest.approx(-1.0)
    # A parameter outside its domain has no density, where AePPL raises.
    assert density(ones[0], 1.0, -np.ones(2), *ones[3:]).item() == -np.inf


def test_pytensor_runs_it_too():
    """With the updates that a stream had: each call draws anew, as in Aesara."""
    inputs, outputs = jaxlink.from_aesara(DATA / "random_stream.aesara")
    draw = pytensor.function(inputs, outputs, mode="FAST_COMPILE")
    first, second = draw(), draw()
    assert not np.array_equal(first, second)
    # The generators have Aesara's states, and NumPy's samplers.
    _, (wanted,) = arrays(DATA, "random_stream")
    np.testing.assert_array_equal(first, wanted)


@pytest.mark.parametrize(("kind", "wanted"), [("tuple", tuple), ("dict", dict)])
def test_outputs_keep_their_form(tmp_path, kind, wanted):
    document, members = opened(DATA / "ifelse_two.aesara")
    document["outputs"], document["parts"][-1]["names"] = kind, ["a", "b"]
    _, outputs = jaxlink.from_aesara(written(tmp_path, document, members))
    assert type(outputs) is wanted


# --- files that are broken, or mean harm ----------------------------------------------


def opened(path):
    """The document, and the other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("graph.json")), members


def written(folder, document, members, compression=zipfile.ZIP_STORED):
    path = folder / "changed.aesara"
    with zipfile.ZipFile(path, "w", compression) as archive:
        text = document if isinstance(document, str) else json.dumps(document)
        archive.writestr("graph.json", text)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def changed(tmp_path):
    """Write a stored file after a change to its document and members."""

    def change(how, name="composite", **options):
        document, members = opened(DATA / f"{name}.aesara")
        how(document, members)
        return written(tmp_path, document, members, **options)

    return change


def test_unknown_ops_are_all_named(changed):
    def rename(document, members):
        parts = [part for part in document["parts"] if part["part"] == "op"]
        parts[0]["classes"] = ["aesara.tensor.signal.pool.Pool"]
        parts[1]["classes"] = ["mine.MyOp", "aesara.graph.op.Op"]

    with pytest.raises(AesaraError, match="cannot convert 2 of") as caught:
        jaxlink.from_aesara(changed(rename))
    assert caught.value.unsupported == ("aesara.tensor.signal.pool.Pool", "mine.MyOp")
    assert "reshape and max" in str(caught.value)


def test_a_class_that_derives_from_op_from_graph_is_one(changed):
    def derive(document, members):
        for part in document["parts"]:
            if part.get("classes", [""])[0].endswith(".OpFromGraph"):
                part["classes"].insert(0, "mine.Layer")

    path = changed(derive, "op_from_graph")
    shutil.copy(DATA / "op_from_graph.npz", path.with_suffix(".npz"))
    check(path.parent, path.stem)


def no_change(document, members):
    pass


def newer(document, members):
    document["format"] = 99


def no_parts(document, members):
    del document["parts"]


def cycle(document, members):
    document["parts"][0]["props"] = {"x": {"op": len(document["parts"]) - 1}}


def to_itself(document, members):
    node = document["parts"][-1]["nodes"][0]
    node["inputs"][0] = node["outputs"][0][0]


def nested(document, members):
    op = {"part": "op", "classes": ["aesara.compile.ops.ViewOp"], "props": {}}
    chain = [{**op, "props": {"x": {"op": i}}} for i in range(100)]
    document["parts"][:0] = [op, *chain]


def climbing(document, members):
    members["../../escape.npy"] = b""


def no_array(document, members):
    members.clear()


def header(shape, dtype="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def huge(document, members):
    members["arrays/0.npy"] = header((10**15,))


def negative(document, members):
    members["arrays/0.npy"] = header((-3,))


def pickled(document, members):
    file = io.BytesIO()
    np.save(file, np.array([print], object))
    members["arrays/0.npy"] = file.getvalue()


def other_type(document, members):
    document["parts"][-1]["inputs"][0]["type"] = {"kind": "Callable"}


def other_ndim(document, members):
    document["parts"][-1]["inputs"][0]["type"]["shape"] = [None] * 3


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (newer, "upgrade jaxlink"),
        (no_parts, "parts"),
        (cycle, "part 0 refers to part"),
        (to_itself, "KeyError"),
        (nested, "nested more than"),
        (climbing, "escape"),
        (no_array, "has no array"),
        (huge, "not an array of its shape"),
        (negative, "not an array of its shape"),
        (pickled, "not an array of its shape"),
        (other_type, "Callable"),
        (other_ndim, "has the type"),
    ],
)
def test_damaged(changed, how, text):
    with pytest.raises(AesaraError, match=text):
        jaxlink.from_aesara(changed(how, "shared_variables"))


def test_zip_bombs_and_foreign_files(tmp_path, changed):
    with pytest.raises(AesaraError, match="compressed"):
        jaxlink.from_aesara(changed(no_change, compression=zipfile.ZIP_DEFLATED))
    document, members = opened(DATA / "composite.aesara")
    deep = written(tmp_path, "[" * 100_000, members)
    with pytest.raises(AesaraError, match="too deeply"):
        jaxlink.from_aesara(deep)
    with pytest.raises(AesaraError, match="cannot be read"):
        jaxlink.from_aesara(written(tmp_path, "[1, 2", members))
    with pytest.warns(UserWarning, match="Duplicate"):
        path = written(tmp_path, document, {"graph.json": b"{}"})
    with pytest.raises(AesaraError, match="twice"):
        jaxlink.from_aesara(path)
    path.write_bytes(b"PK not a zip file")
    with pytest.raises(AesaraError, match="is not a file that"):
        jaxlink.from_aesara(path)
    with pytest.raises(FileNotFoundError):
        jaxlink.from_aesara(tmp_path / "none.aesara")


def read_or_refuse(path):
    """A file is read, or refused: nothing else happens."""
    try:
        jaxlink.from_aesara(path)
    except AesaraError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["composite", "random_stream", "sparse_variables"])
def test_any_damaged_byte_is_refused_or_harmless(tmp_path, name):
    content = (DATA / f"{name}.aesara").read_bytes()
    path, rng = tmp_path / "damaged.aesara", np.random.default_rng(0)
    for length in rng.integers(len(content), size=20):
        path.write_bytes(content[:length])
        assert read_or_refuse(path)
    for at in rng.integers(len(content), size=60):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        read_or_refuse(path)


OTHERS = [None, -1, 10**30, "x", [], {}, 0.5, True, {"op": 0}, {"array": 99}, [[]]]


def places(value, place=()):
    """Where the values of a document are."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


@pytest.mark.parametrize("name", ["composite", "random_stream", "scan_taps"])
def test_any_other_value_is_refused_or_harmless(tmp_path, name):
    document, members = opened(DATA / f"{name}.aesara")
    found, rng = list(places(document)), np.random.default_rng(1)
    for number in rng.integers(len(found), size=150):
        *outer, last = found[number]
        other = copy.deepcopy(document)
        place = other
        for key in outer:
            place = place[key]
        place[last] = OTHERS[rng.integers(len(OTHERS))]
        read_or_refuse(written(tmp_path, other, members))


# --- the real thing -------------------------------------------------------------------


@pytest.fixture(scope="module")
def aesara(tmp_path_factory):
    """An environment with Aesara, and a folder with the exporter alone."""
    folder = tmp_path_factory.mktemp("aesara")
    exporter = folder / "exporter"
    exporter.mkdir()
    shutil.copy(ROOT / "jaxlink" / "aesara_export.py", exporter)
    packages = ("aesara==2.9.4", "aeppl==0.1.5", "numpy<2", "setuptools<65")
    environment = make_environment(folder / "env", packages, python="3.11")

    def run(*args):
        flags = {"AESARA_FLAGS": "cxx=", "PYTHONPATH": str(exporter)}
        return environment.run(*args, **flags)

    return run


@pytest.fixture(scope="module")
def catalogue(aesara, tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogue")
    printed = aesara("tests/aesara_catalogue.py", folder)
    assert "failed" not in printed
    return folder


@pytest.mark.slow
def test_catalogue(catalogue):
    """Every graph of the catalogue computes what Aesara computes."""
    names = sorted(path.stem for path in catalogue.glob("*.npz"))
    assert len(names) > 450
    differing = {}
    for name in names:
        try:
            check(catalogue, name)
        except (AssertionError, jaxlink.JaxlinkError) as error:
            differing[name] = str(error)
    assert differing == {}


@pytest.mark.slow
def test_every_class_of_ops_is_converted_or_has_a_reason(aesara, catalogue):
    printed = aesara("tests/aesara_catalogue.py", "--classes")
    classes = re.findall(r"^aesara\.\S+$", printed, re.MULTILINE)
    names = {area_name(name) for name in classes}
    assert len(names) > 350
    converted = {name for name in names if find_conversion([name])}
    counted = (
        f"Of the {len(names)} classes of Ops in Aesara 2.9.4, {len(converted)} are"
    )
    assert counted in (ROOT / "docs" / "aesara.md").read_text()
    assert names - converted == {n for n in REASONS if not n.startswith("aeppl.")}
    # The catalogue has a node of each, unless there are good reasons.
    seen = set()
    for path in catalogue.glob("*.aesara"):
        document, _ = opened(path)
        for part in document["parts"]:
            if part["part"] == "op":
                seen.add(area_name(part["classes"][0]))
    assert converted - seen == UNSEEN


@pytest.mark.slow
def test_stored_files_are_current(catalogue):
    """The exporter still writes the stored files to the byte, but for the versions."""
    for name in STORED:
        new, old = [opened(folder / f"{name}.aesara") for folder in (catalogue, DATA)]
        for document, _ in (new, old):
            del document["versions"]
        if not name.startswith("random"):
            assert new == old, name


@pytest.mark.slow
def test_command_line_and_errors(aesara, tmp_path):
    (tmp_path / "models.py").write_text(
        "import aesara.tensor as at\n"
        "x = at.vector('x')\n"
        "def model(): return [x], {'y': at.exp(x)}\n"
        "def free(): return [], x + at.scalar('free')\n"
    )
    exporter = ROOT / "jaxlink" / "aesara_export.py"
    aesara(exporter, f"{tmp_path / 'models.py'}:model", tmp_path / "model.aesara")
    inputs, outputs = jaxlink.from_aesara(tmp_path / "model.aesara")
    assert [v.name for v in inputs] == ["x"]
    value = jaxlink.function(inputs, outputs)(np.zeros(2))["y"]
    np.testing.assert_array_equal(value, np.ones(2))
    with pytest.raises(AssertionError, match="not among the inputs: x, free"):
        aesara(exporter, f"{tmp_path / 'models.py'}:free", tmp_path / "free.aesara")

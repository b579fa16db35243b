"""The README and the docstrings do what they say."""

import doctest
import importlib
import pkgutil
import re
import tomllib
import types
from pathlib import Path

import jax
import pytest
from pytensor.graph.op import Op

import jaxlink

ROOT = Path(__file__).parents[1]


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def run_doctest(text, name, namespace):
    test = doctest.DocTestParser().get_doctest(text, namespace, name, name, 0)
    assert test.examples
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=flags)
    runner.run(test)
    assert runner.failures == 0


# The examples are a user's code: they promote as JAX does by default.
@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_readme():
    readme = ROOT / "README.md"
    namespace = {}
    code, models = blocks(readme, "python")
    exec(compile(code, "README.md", "exec"), namespace)
    [session] = blocks(readme, "pycon")
    run_doctest(session, "README.md", namespace)
    assert namespace["predictions"].shape == (1000, 5)
    exec(compile(models, "README.md", "exec"), namespace)
    assert namespace["idata"].posterior_predictive["y"].shape == (2, 200, 4)
    for word in ("storage", "vm", "updates", "default_rng"):
        assert not re.search(rf"\b{word}\b", code)


MODULES = [
    module.name
    for module in pkgutil.walk_packages(jaxlink.__path__, "jaxlink.")
    if ">>>" in Path(importlib.util.find_spec(module.name).origin).read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(module, optionflags=flags)
    assert results.attempted
    assert results.failed == 0


def test_public_names_are_documented():
    names = ["jaxlink", "jaxlink.cache", "jaxlink.pjax", "jaxlink.pymc"]
    for module in map(importlib.import_module, names):
        for name in module.__all__:
            assert getattr(module, name).__doc__, name


PAGES = [
    "aesara.md",
    "chains.md",
    "checks.md",
    "custom-ops.md",
    "ecosystem.md",
    "ecosystem-tools.md",
    "export.md",
    "many-data-sets.md",
    "mode.md",
    "pjax.md",
    "programs.md",
    "pymc.md",
    "pymc-differences.md",
]


@pytest.mark.parametrize("name", PAGES)
def test_page(name):
    path = ROOT / "docs" / name
    # Classes know their module, and errors name it.
    run_doctest("\n".join(blocks(path, "pycon")), path.name, {"__name__": "__main__"})


@pytest.mark.parametrize("path", [*ROOT.glob("docs/*.md"), ROOT / "README.md"])
def test_a_page_says_that_it_prints_64_bits(path):
    session = "\n".join(blocks(path, "pycon"))
    first = path.read_text().splitlines()[2]
    if re.search(r"dtype[= ](float64|int64|complex128)", session):
        assert "64 bits" in first
        assert "jax_enable_x64" in first


def test_architecture():
    path = ROOT / "docs" / "architecture.md"
    run_doctest("\n".join(blocks(path, "pycon")), path.name, {})
    # The rule that it shows is a rule.
    [rule] = blocks(path, "python")
    namespace = {
        "jaxlink": jaxlink,
        "jnp": jax.numpy,
        "CumOp": type("CumOp", (Op,), {}),
    }
    exec(compile(rule, path.name, "exec"), namespace)
    op = types.SimpleNamespace(mode="mul", axis=0)
    product = namespace["cumulative"](op, None)(jax.numpy.array([2.0, 3.0]))
    assert product.tolist() == [2.0, 6.0]


def test_excerpts():
    """The code in CONTRIBUTING.md is that of the file which it names before."""
    named = re.compile(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    excerpts = named.findall(text)
    assert len(excerpts) == text.count("```python") > 0
    for path, code in excerpts:
        assert code in (ROOT / path).read_text(), path


# Folders that git ignores may hold Markdown files of others.
MARKDOWN = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for folder in (".github", "benchmarks", "docs", "examples", "tests")
            for path in (ROOT / folder).rglob("*.md")
        ),
    ]
)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path):
    """Relative links lead to a file, or a heading of one; so do paths in backticks."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)", text)
    for target, heading in links:
        found = path.parent / target if target else path
        assert found.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            anchors = [
                re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles
            ]
            assert heading[1:] in anchors, heading
    folders = r"(?:jaxlink|tests|docs|examples|benchmarks|\.ci|\.github)"
    for target in re.findall(rf"`({folders}/[\w./-]*)`", text):
        assert (ROOT / target).exists(), target


def test_citation():
    text = (ROOT / "CITATION.cff").read_text()
    [version] = re.findall(r"^version: (\S+)$", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version == project["version"] == jaxlink.__version__

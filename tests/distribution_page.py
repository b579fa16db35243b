"""Every distribution of PyTensor and PyMC, and how jaxlink draws from it.

``python tests/distribution_page.py`` writes docs/distributions.md.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import catalogue
import jax
import pymc
from distributions import CASES
from distributions.harness import KEY, Case, compiled, inputs_of
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import (
    ChoiceWithoutReplacement,
    PermutationRV,
    UniformRV,
)
from pytensor.tensor.random.op import RandomVariable
from scipy import stats

import jaxlink
from jaxlink.dispatch.random.registry import find_row

PAGE = Path(__file__).parents[1] / "docs" / "distributions.md"

# Parts of PyMC that are not walked: samplers and storage, some of which need packages
# that are not installed.
NOT_WALKED = ("pymc.backends", "pymc.sampling", "pymc.step_methods", "pymc.smc")

BASE = "base class, never in a graph"
IMPROPER = "improper: cannot be sampled from, in PyMC or here"
HOST = "Python code over NumPy arrays: runs with `host_callback=True`"

# Why a class is not in the table. All other classes are.
WITHOUT_ROW = {
    "pymc.distributions.continuous.FlatRV": IMPROPER,
    "pymc.distributions.continuous.HalfFlatRV": IMPROPER,
    "pymc.distributions.custom.CustomDistRV": HOST,
    "pymc.distributions.mixture._BaseMixtureRV": BASE,
    "pymc.distributions.multivariate.ICARRV": IMPROPER,
    "pymc.distributions.simulator.SimulatorRV": HOST,
    "pytensor.tensor.random.basic.ScipyRandomVariable": BASE,
    "pymc.distributions.distribution.PartialObservedRV": (
        "makes no draws of its own; see tests/test_random_symbolic.py"
    ),
    "pymc.distributions.multivariate.SymbolicMVNormalUsedInternally": (
        "replaces a multivariate normal in densities, never drawn"
    ),
}


def rv_types() -> list[type]:
    """All classes of random variables that PyTensor and PyMC define."""
    catalogue.op_types()
    for module in _pymc_modules(pymc.__path__, "pymc."):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    found = {
        rv_type
        for base in (RandomVariable, SymbolicRandomVariable)
        for rv_type in catalogue.subclasses(base)
        if rv_type.__module__.split(".")[0] in ("pytensor", "pymc")
    }
    return sorted(found, key=dotted)


def _pymc_modules(path: list[str], prefix: str) -> Iterator[str]:
    for module in pkgutil.iter_modules(path, prefix):
        if module.name not in NOT_WALKED:
            yield module.name
            if module.ispkg:
                package = importlib.import_module(module.name)
                yield from _pymc_modules(package.__path__, module.name + ".")


def dotted(rv_type: type) -> str:
    return f"{rv_type.__module__}.{rv_type.__qualname__}"


@cache
def ops_of(name: str) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """The random variables in a case's graph, and those inside symbolic ones."""
    case = CASES[name]
    outer = list(_random_ops(case.build(*inputs_of(case))))
    inner = [
        op
        for symbolic in outer
        if isinstance(symbolic, HasInnerGraph)
        for out in symbolic.fgraph.outputs
        for op in _all_random_ops(out)
    ]
    return tuple(outer), tuple(inner)


def _random_ops(out: Variable) -> Iterator[object]:
    """The distinct nodes that draw, in the order of computation."""
    nodes = {id(var.owner): var.owner for var in ancestors([out]) if var.owner}
    for node in reversed(nodes.values()):
        if isinstance(node.op, RandomVariable | SymbolicRandomVariable):
            yield node.op


def _all_random_ops(out: Variable) -> Iterator[object]:
    for node in {id(v.owner): v.owner for v in ancestors([out]) if v.owner}.values():
        if isinstance(node.op, RandomVariable):
            yield node.op
        elif isinstance(node.op, HasInnerGraph):
            for inner in node.op.fgraph.outputs:
                yield from _all_random_ops(inner)


def covered() -> set[str]:
    """The classes that some case draws from."""
    drawn = {type(op) for name in CASES for ops in ops_of(name) for op in ops}
    # Each CustomDist makes its own class.
    return {dotted(base) for rv_type in drawn for base in rv_type.__mro__}


def random_bits(jaxpr: object) -> tuple[int, int]:
    """The random bits that a program uses: once, and in each round of its loops."""
    once = rounds = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "random_bits":
            count = eqn.params["bit_width"]
            for length in (*eqn.params["shape"], *eqn.invars[0].aval.shape):
                count *= length
            once += count
        inner = [random_bits(j) for j in _inner_jaxprs(eqn)]
        if eqn.primitive.name == "while":
            rounds += sum(a + b for a, b in inner)
        elif eqn.primitive.name == "cond":
            once += max(a for a, _ in inner)
            rounds += max(b for _, b in inner)
        else:
            times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
            once += times * sum(a for a, _ in inner)
            rounds += times * sum(b for _, b in inner)
    return once, rounds


def _inner_jaxprs(eqn: object) -> Iterator[object]:
    for param in eqn.params.values():
        for value in param if isinstance(param, tuple | list) else (param,):
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                yield value


def line(name: str, case: Case, fn: jaxlink.JAXFunction, n_draws: int) -> str:
    """The line of a case; ``fn`` makes ``n_draws`` draws at each point."""
    jaxpr = jax.make_jaxpr(fn)(KEY, *case.values).jaxpr
    once, rounds = (n / (n_draws * len(case.points[0])) for n in random_bits(jaxpr))
    outer, _ = ops_of(name)
    cells = (
        name,
        ", ".join(dict.fromkeys(f"`{type(op).__qualname__}`" for op in outer)),
        _how(name),
        "rejection" if rounds else "exact",
        _gradient(name, case),
        " + ".join(
            filter(None, [once and f"{once:g}", rounds and f"{rounds:g} per round"])
        ),
    )
    return f"| {' | '.join(cells)} |"


def _how(name: str) -> str:
    outer, inner = ops_of(name)
    plain = [op for op in (*outer, *inner) if isinstance(op, RandomVariable)]
    drawn = ", ".join(dict.fromkeys(op.name for op in plain))
    if any(isinstance(op, TruncatedRV) for op in outer) and len(outer) == 2:
        by_quantile = any(isinstance(op, UniformRV) for op in inner)
        return (
            "quantile function of the base" if by_quantile else f"rejection of {drawn}"
        )
    if len(outer) == 1 and plain == list(outer):
        return find_row(plain[0]).how
    return f"draws of {drawn}"


def _gradient(name: str, case: Case) -> str:
    outer, _ = ops_of(name)
    if any(isinstance(op, PermutationRV | ChoiceWithoutReplacement) for op in outer):
        return "for the values"
    if not case.build(*inputs_of(case)).type.dtype.startswith("float"):
        return "zero"
    floats = {i for i, p in enumerate(case.values) if p.dtype.kind == "f"}
    if floats <= set(case.no_slope):
        return "error"
    return "partly an error" if case.no_slope else "yes"


# The extremes of JAX's own float32 draws, whose uniform numbers are multiples of
# 2**-23.
_NORMAL_END = stats.norm.isf(2.0**-25)
_EXPONENTIAL_END = stats.expon.isf(2.0**-23)

HEAD = f"""\
# Distributions

The distributions of PyTensor and PyMC, one line for each test case. The tests compare
draws with SciPy or NumPy's own samplers, at three points or more, in 64 and in 32 bits,
and over 20,000 keys at once. `python tests/distribution_page.py` writes this page, and
a test keeps it current: it fails when PyTensor or PyMC adds a distribution.

- **Drawn by**: how the random variable is sampled. For PyMC's symbolic distributions,
  which random variables their graph draws.
- **Kind**: both kinds draw from the exact distribution, unless a line says otherwise.
  `rejection` repeats until every draw of the batch is accepted, in a `while_loop` that
  `vmap` runs for all batch elements at once.
- **Gradient** of a draw with respect to its parameters, by `jax.grad`. `yes`: the
  derivative of a reparameterisation (a smooth function of noise that does not depend on
  the parameters, or the quantile function at the draw's rank). `error`: an error that
  names the distribution. `partly an error`: some parameters have a derivative, and
  others, such as the weights of a mixture, do not. `zero`: counts and categories, as
  everywhere in JAX. `for the values`: a permutation or choice has a derivative with
  respect to the values that it permutes or chooses from.
- **Random bits** that one draw takes in 64 bits. A rejection takes some in each round.

These rules apply to all of them:

- **32 bits.** A float32 draw takes half as many random bits. A quantile function gets
  ranks down to 2**-33 from either end. Normal and exponential draws are JAX's own:
  normal draws are at most {_NORMAL_END:.2f} standard deviations from the mean
  (a rank of 2**-25), exponential draws are 0 or up to {_EXPONENTIAL_END:.2f} times
  the scale (a rank of 2**-23). A count too large for its dtype becomes the largest
  integer of that dtype.
- **Parameters outside their domain** give what PyTensor's default mode draws. Where it
  raises an error, a float is nan and a count is -1, which means "no draw". If a range
  of integers is empty or has no end, all draws are its lower end. With invalid
  probabilities of categories, and so of mixtures, you get the category that PyTensor
  finds in their running sums, or the last one if it finds none. Valid probabilities
  that do not sum to 1 are normalized. For counts, categories, choices and covariances,
  `checkify` turns all of this into errors (see [checks](checks.md)).
- **Parameters broadcast** where their types say so, as in PyTensor: a vector of length
  1 does not stretch unless its type says that its length is 1.
- **`vmap` over keys** uses the same random bits as a loop over the keys. Draws computed
  from them may differ in the last digit, because XLA compiles another program.

| distribution | random variable | drawn by | kind | gradient | random bits |
|---|---|---|---|---|---|
"""


def page() -> str:
    lines = []
    for name, case in CASES.items():
        fn = compiled(case, (2, len(case.points[0])))
        lines.append(line(name, case, fn, 2))
    return HEAD + "\n".join(lines) + "\n"


def lines_of_page() -> dict[str, str]:
    """The lines of docs/distributions.md, by the name of the case."""
    _, _, table = PAGE.read_text().partition("|---|---|---|---|---|---|\n")
    return {text.split(" ")[1]: text for text in table.splitlines()}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    PAGE.write_text(page())

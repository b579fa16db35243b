"""Every Op of PyTensor, and how jaxlink handles it.

``python tests/catalogue.py`` writes docs/ops.md.
"""

import importlib
import json
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytensor
import pytensor.scalar as ps
from op_notes import NOTES
from pytensor.graph.op import Op
from pytensor.scalar.basic import ScalarOp
from pytensor.tensor.random.op import RandomVariable

import jaxlink
from jaxlink.dispatch.random.registry import row_of
from jaxlink.dispatch.registry import rule_of

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"

# Modules that are not walked: other backends and tools, some of which need packages
# that are not installed, and one whose import would hide the function `pt.var`.
NOT_WALKED = (
    "pytensor.graph.rewriting.kanren",
    "pytensor.ipython",
    "pytensor.link.c",
    "pytensor.link.mlx",
    "pytensor.link.numba",
    "pytensor.link.pytorch",
    "pytensor.misc",
    "pytensor.tensor.var",
)

BASE = "base class, never in a graph"
C_ONLY = "only for the C backend; jaxlink does not run the rewrites that make it"
LOWERED = "lowered to tensor Ops before linking"
ON_REQUEST = "Python code: runs with `host_callback=True`"

# Why an Op needs no rule. All other Ops have one.
WITHOUT_RULE = {
    "graph.fg.Output": "marks an output of a graph, never linked",
    "graph.op._NoPythonOp": BASE,
    "link.c.op.COp": BASE,
    "link.c.op.ExternalCOp": BASE,
    "link.c.op.OpenMPOp": BASE,
    "link.c.op._NoPythonCOp": BASE,
    "link.jax.dispatch.shape.JAXShapeTuple": "made by PyTensor's own JAX backend",
    "scalar.basic.BinaryBitOp": BASE,
    "scalar.basic.BinaryScalarOp": BASE,
    "scalar.basic.FixedLogicalComparison": BASE,
    "scalar.basic.LogicalComparison": BASE,
    "scalar.basic.ScalarInnerGraphOp": BASE,
    "scalar.basic.ScalarOp": BASE,
    "scalar.basic.UnaryBitOp": BASE,
    "scalar.basic.UnaryScalarOp": BASE,
    "sparse.basic.Stack": BASE,
    "sparse.math.__ComparisonOpSparseDense": BASE,
    "sparse.math.__ComparisonOpSparseSparse": BASE,
    "sparse.rewriting.AddSparseDenseC": C_ONLY,
    "sparse.rewriting.CSMGradC": C_ONLY,
    "sparse.rewriting.MulSDCSC": C_ONLY,
    "sparse.rewriting.MulSDCSR": C_ONLY,
    "sparse.rewriting.MulSVCSR": C_ONLY,
    "sparse.rewriting.SamplingDotCSR": C_ONLY,
    "sparse.rewriting.StructuredAddSparseDenseVectorCSR": C_ONLY,
    "sparse.rewriting.StructuredDotCSC": C_ONLY,
    "sparse.rewriting.StructuredDotCSR": C_ONLY,
    "sparse.rewriting.UsmmCscDense": C_ONLY,
    "tensor.blas.blas_c.BaseBLAS": BASE,
    "tensor.blas.gemm.GemmRelated": BASE,
    "tensor.linalg.constructors.BaseBlockDiagonal": BASE,
    "tensor.linalg.solvers.core.SolveBase": BASE,
    "tensor.optimize.ScipyScalarWrapperOp": BASE,
    "tensor.optimize.ScipyVectorWrapperOp": BASE,
    "tensor.optimize.ScipyWrapperOp": BASE,
    "tensor.random.op.AbstractRNGConstructor": BASE,
    "tensor.random.op.DefaultGeneratorMakerOp": "a root of the function's key",
    "tensor.random.basic.ScipyRandomVariable": BASE,
    "tensor.random.op.RNGConsumerOp": BASE,
    "breakpoint.PdbBreakpoint": ON_REQUEST,
    "compile.ops.FromFunctionOp": ON_REQUEST,
    "xtensor.basic.XOp": BASE,
    "xtensor.indexing.Index": LOWERED,
    "xtensor.indexing.IndexUpdate": LOWERED,
    "xtensor.math.Dot": LOWERED,
    "xtensor.reduction.XCumReduce": LOWERED,
    "xtensor.reduction.XReduce": LOWERED,
    "xtensor.shape.Broadcast": LOWERED,
    "xtensor.shape.Concat": LOWERED,
    "xtensor.shape.ExpandDims": LOWERED,
    "xtensor.shape.Squeeze": LOWERED,
    "xtensor.shape.Stack": LOWERED,
    "xtensor.shape.Transpose": LOWERED,
    "xtensor.shape.UnStack": LOWERED,
    "xtensor.vectorization.XBlockwise": LOWERED,
    "xtensor.vectorization.XElemwise": LOWERED,
    "xtensor.vectorization.XRV": LOWERED,
}


# Base classes and variants that never occur in our graphs. They inherit the rule of
# their base, so there is nothing to compare.
INHERITED = {
    "compile.builders.FinalizedOpFromGraph",
    "compile.builders.SymbolicOp",
    "compile.debug.debugmode.OutputGuard",
    "compile.ops.TypeCastingOp",
    "tensor.blas.blas_c.CGemv",
    "tensor.blockwise.BlockwiseWithCoreShape",
    "tensor.blockwise.OpWithCoreShape",
    "tensor.math.FixedOpCAReduce",
    "tensor.math.MaxAndMinCAReduce",
    "tensor.math.NonZeroDimsCAReduce",
    "tensor.random.op.RandomVariableWithCoreShape",
    "tensor.rewriting.fused_elemwise.FusedElemwise",
    "tensor.rewriting.scalarize.ScalarCAReduce",
    "tensor.rewriting.scalarize.ScalarSubtensor",
    "tensor.rewriting.scalarize.ScalarizedElemwise",
    "tensor.rewriting.scalarize.ScalarizedJoin",
    "tensor.symbolic.FusibleSymbolicOp",
    "tensor.symbolic.TensorSymbolicOp",
    "xtensor.basic.XTypeCastOp",
}

# Ops that PyTensor rewrites to others before its JAX mode sees them.
REWRITTEN_THERE = {
    *(name for name, reason in WITHOUT_RULE.items() if reason == LOWERED),
    "tensor.random.basic.BetaBinomialRV",
    "tensor.random.basic.GenGammaRV",
    "tensor.random.basic.GeometricRV",
    "tensor.random.basic.HalfNormalRV",
    "tensor.random.basic.InvGammaRV",
    "tensor.random.basic.LogNormalRV",
    "tensor.random.basic.NegBinomialRV",
    "tensor.random.basic.WaldRV",
    "tensor.reshape.JoinDims",
    "tensor.reshape.SplitDims",
}


def op_types() -> list[type[Op]]:
    """All classes of Ops that PyTensor defines."""
    for name in module_names():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    return sorted(set(filter(_is_pytensors, subclasses(Op))), key=name_of)


def _is_pytensors(op_type: type[Op]) -> bool:
    # The C backend is not walked, but PyTensor imports the base classes in it.
    module = op_type.__module__
    if module == "pytensor.link.c.op":
        return True
    return module.split(".")[0] == "pytensor" and not _is_left_out(module)


def _is_left_out(name: str) -> bool:
    return any(name == left or name.startswith(f"{left}.") for left in NOT_WALKED)


def module_names() -> Iterator[str]:
    """The modules of PyTensor, except `NOT_WALKED`."""

    def walk(path: list[str], prefix: str) -> Iterator[str]:
        for module in pkgutil.iter_modules(path, prefix):
            if _is_left_out(module.name):
                continue
            yield module.name
            if module.ispkg:
                package = importlib.import_module(module.name)
                yield from walk(package.__path__, module.name + ".")

    return walk(pytensor.__path__, "pytensor.")


def subclasses(cls: type) -> Iterator[type]:
    for sub in type.__subclasses__(cls):
        yield sub
        yield from subclasses(sub)


def name_of(op_type: type) -> str:
    """The dotted name of a class, without the leading ``pytensor``."""
    return f"{op_type.__module__}.{op_type.__qualname__}".removeprefix("pytensor.")


def is_ruled(op_type: type[Op]) -> bool:
    """Whether jaxlink has a rule for a class. A scalar Op needs a function, a random
    variable needs a sampler."""
    if issubclass(op_type, RandomVariable) and op_type is not RandomVariable:
        return row_of(op_type) is not None
    rule = rule_of(op_type)
    if rule is None or rule is not rule_of(ScalarOp):
        return rule is not None
    op = scalar_ops().get(op_type)
    if op is None:
        return False
    try:
        rule.build(op, scalar_node(op))
    except jaxlink.UnsupportedOpError:
        return False
    return True


@cache
def scalar_ops() -> dict[type, ScalarOp]:
    """One instance of each scalar Op class that PyTensor itself instantiates."""
    ops = {}
    for name in list(sys.modules):
        if name.startswith("pytensor."):
            for value in list(vars(sys.modules[name]).values()):
                if isinstance(value, ScalarOp):
                    ops.setdefault(type(value), value)
                elif isinstance(getattr(value, "scalar_op", None), ScalarOp):
                    ops.setdefault(type(value.scalar_op), value.scalar_op)
    return ops


def scalar_node(op: ScalarOp):
    """A node of ``op`` with operands that it accepts."""
    for count in (op.nin,) if getattr(op, "nin", -1) > 0 else (1, 2, 3, 4):
        for type_ in (ps.float64, ps.bool, ps.int64, ps.complex128):
            try:
                return op.make_node(*(type_() for _ in range(count)))
            except (TypeError, ValueError, NotImplementedError, AssertionError):
                continue
    raise TypeError(f"no operands found for {op}")


DISCRETE = "its operands or values are not floats, or its value is a step function"
NONE = "PyTensor has no gradient for it"

# Ops with a rule whose gradient is not compared with PyTensor's, and why.
WITHOUT_GRADIENT = {
    "compile.ops.DeepCopyOp": NONE,
    "gradient.UndefinedGrad": NONE,
    "scalar.basic.IsNan": DISCRETE,
    "scalar.basic.LE": DISCRETE,
    "scalar.basic.XOR": DISCRETE,
    "scalar.loop.ScalarLoop": NONE,
    "scalar.math.Grad2F1Loop": NONE,
    "sparse.basic.CSMGrad": NONE,
    "sparse.basic.GetItem2ListsGrad": NONE,
    "sparse.basic.GetItemListGrad": NONE,
    "sparse.math.EqualSparseDense": DISCRETE,
    "sparse.math.EqualSparseSparse": DISCRETE,
    "sparse.math.GreaterEqualSparseDense": DISCRETE,
    "sparse.math.GreaterEqualSparseSparse": DISCRETE,
    "sparse.math.GreaterThanSparseDense": DISCRETE,
    "sparse.math.GreaterThanSparseSparse": DISCRETE,
    "sparse.math.LessEqualSparseDense": DISCRETE,
    "sparse.math.LessEqualSparseSparse": DISCRETE,
    "sparse.math.LessThanSparseDense": DISCRETE,
    "sparse.math.LessThanSparseSparse": DISCRETE,
    "sparse.math.NotEqualSparseDense": DISCRETE,
    "sparse.math.NotEqualSparseSparse": DISCRETE,
    "sparse.math.StructuredDotGradCSC": NONE,
    "sparse.math.StructuredDotGradCSR": NONE,
    "tensor.basic.Choose": NONE,
    "tensor.basic.Nonzero": DISCRETE,
    "tensor.extra_ops.RavelMultiIndex": DISCRETE,
    "tensor.extra_ops.SearchsortedOp": DISCRETE,
    "tensor.extra_ops.Unique": NONE,
    "tensor.extra_ops.UnravelIndex": DISCRETE,
    "tensor.fourier.Fourier": "PyTensor's fails; see tests/test_fft.py",
    "tensor.linalg.decomposition.lu.PivotToPermutations": DISCRETE,
    "tensor.linalg.decomposition.schur.QZ": NONE,
    "tensor.linalg.decomposition.schur.Schur": NONE,
    "tensor.math.MulWithoutZeros": NONE,
    "tensor.math.ProdWithoutZeros": NONE,
    "typed_list.basic.Count": DISCRETE,
    "typed_list.basic.Index": DISCRETE,
    "typed_list.basic.Length": DISCRETE,
    "typed_list.basic.Remove": "the list and the element must be known",
    "xtensor.random.type.RNGToXRNG": DISCRETE,
    "xtensor.random.type.XRNGToRNG": DISCRETE,
}


def not_compared(compared: dict[str, set[str]]) -> list[str]:
    """The Ops that should have been compared with PyTensor but were not."""
    missing = []
    for op_type in op_types():
        name = name_of(op_type)
        if name in WITHOUT_RULE or name in INHERITED:
            continue
        if issubclass(op_type, RandomVariable):
            continue  # these have statistical tests
        if name not in compared["values"]:
            missing.append(f"values of {name}")
        if name not in compared["gradients"] and name not in WITHOUT_GRADIENT:
            missing.append(f"gradient of {name}")
    return missing


def in_pytensors_jax_mode() -> dict[str, bool]:
    """Which Ops PyTensor's own JAX mode converts.

    Runs in a separate process, because importing that mode sets ``jax_enable_x64``.
    """
    command = [sys.executable, __file__, "--jax-mode"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _print_jax_mode() -> None:
    from pytensor.link.jax.dispatch.basic import jax_funcify
    from pytensor.link.jax.dispatch.random import jax_sample_fn

    def converts(op_type: type[Op]) -> bool:
        if issubclass(op_type, RandomVariable) and op_type is not RandomVariable:
            found = jax_sample_fn.dispatch(op_type)
            return found is not jax_sample_fn.dispatch(object)
        found = jax_funcify.dispatch(op_type)
        if found is not jax_funcify.dispatch(ScalarOp):
            return found is not jax_funcify.dispatch(object)
        op = scalar_ops().get(op_type)
        try:
            return op is not None and bool(found(op, node=scalar_node(op)))
        except (AttributeError, ImportError, NotImplementedError):
            return False

    print(json.dumps({name_of(op_type): converts(op_type) for op_type in op_types()}))


def page() -> str:
    """docs/ops.md."""
    theirs = in_pytensors_jax_mode()
    listed = [t for t in op_types() if WITHOUT_RULE.get(name_of(t)) != BASE]
    ruled = [t for t in listed if name_of(t) not in WITHOUT_RULE]
    lowered = [t for t in listed if WITHOUT_RULE.get(name_of(t)) == LOWERED]
    theirs |= dict.fromkeys(REWRITTEN_THERE, True)
    in_theirs = [t for t in listed if theirs[name_of(t)]]
    lines = [
        "# Ops",
        "",
        "Every Op in PyTensor. `python tests/catalogue.py` writes this page, and a",
        "test keeps it current: it fails when PyTensor adds an Op.",
        "",
        f"Of the {len(listed)} Ops in PyTensor {pytensor.__version__}, jaxlink has a "
        f"rule for {len(ruled)} and rewrites {len(lowered)} to",
        "others; for the rest, the notes say why not. PyTensor's own JAX mode converts",
        f"or rewrites {len(in_theirs)}. The table says that it does so, not that the "
        "result is correct.",
        "",
        "| Op | jaxlink | PyTensor's JAX mode | notes |",
        "|---|---|---|---|",
    ]
    for op_type in listed:
        name = name_of(op_type)
        reason = WITHOUT_RULE.get(name, "")
        ours = "yes" if not reason or reason == LOWERED else "no"
        notes = "; ".join(filter(None, (reason, NOTES.get(name, ""))))
        mode = "yes" if theirs[name] else "no"
        lines.append(f"| `{name}` | {ours} | {mode} | {notes} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--jax-mode"]:
        _print_jax_mode()
    else:
        PAGE.write_text(page())

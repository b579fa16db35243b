"""What a user should know about an Op: the last column of docs/ops.md."""

_PLACE = "out of bounds: see [checks](checks.md)"
_ORDERED = "JAX's own is stable; PyTensor's default `quicksort` leaves ties open"
_OPTIMIZER = (
    "needs `jaxlink[optimize]`; another of several solutions may be found; options "
    "without a counterpart are refused by name"
)
_MASKED = "of an empty selection: see [checks](checks.md)"
_BOUND = "how many elements are stored is an upper bound where values decide it"
_ON_HOST = (
    "LAPACK on the host, by `jax.pure_callback`: `jax.export` refuses it; no gradient, "
    "as in PyTensor"
)
_BY_SCHUR = "calls the host, as Schur does"

NOTES: dict[str, str] = {
    "breakpoint.PdbBreakpoint": "opens the debugger on the host",
    "compile.builders.OpFromGraph": "honours a pullback of its own under `jax.grad`",
    "conditional.op.IfElse": "both branches must have one shape",
    "conditional.op.LazyIfElse": "`lax.cond`: both branches must have one shape",
    "gradient.UndefinedGrad": "an error when differentiated",
    "link.jax.ops.JAXOp": "the JAX function as it is, differentiated by JAX",
    "printing.Print": "`jax.debug.callback`: prints at each call",
    "raise_op.CheckAndRaise": "a check: see [checks](checks.md)",
    "scalar.basic.Cast": (
        "what does not fit 64 bits saturates, nan gives 0; C leaves both open"
    ),
    "scalar.basic.Clip": "the gradient goes to the bound that is returned",
    "scalar.basic.Pow": "integers to a negative power: see [checks](checks.md)",
    "scalar.basic.RoundHalfAwayFromZero": (
        "the float below 0.5 gives 0, as PyTensor's C code; its Python gives 1"
    ),
    "scalar.basic.Sqrt": (
        "complex: the side of a cut that a signed zero says is not respected (so in "
        "`ArcSin`, `ArcCos`, `ArcSinh`, `ArcCosh`)"
    ),
    "scalar.loop.ScalarLoop": (
        "reverse-differentiable if the number of steps is known"
    ),
    "scalar.math.GammaInc": "right also for k above 1e7, where SciPy is not",
    "scalar.math.Hyp2F1": (
        "large parameters at very negative z lose digits; nan at infinity"
    ),
    "scalar.math.Jv": (
        "0 at infinity, where SciPy gives nan; nan at orders beyond 1e8 that need a "
        "recurrence"
    ),
    "scalar.math.Ive": "0 at infinity, where SciPy gives nan",
    "scalar.math.Kve": "0 at infinity, where SciPy gives nan",
    "scalar.math.PolyGamma": "no derivative with respect to the order",
    "scan.op.Scan": (
        "keeps what is read; `until` or a computed number of steps: the last steps, "
        "or a reduction of all (`until`); unrolled (up to 512 steps) where a shape "
        "depends on a known sequence"
    ),
    "sparse.basic.CSMProperties": f"{_BOUND}; `indptr` says where the rest begins",
    "sparse.basic.GetItem2d": _BOUND,
    "sparse.basic.GetItemList": _BOUND,
    "sparse.basic.GetItemScalar": _PLACE,
    "sparse.basic.SparseFromDense": _BOUND,
    "sparse.math.AddSparseSparse": _BOUND,
    "sparse.math.TrueDot": _BOUND,
    "tensor.basic.ARange": "the bounds must be known before the call",
    "tensor.basic.Choose": _PLACE,
    "tensor.basic.Nonzero": (
        "the mask must be known, unless what it selects is reduced or written back"
    ),
    "tensor.blockwise.Blockwise": (
        "`jax.vmap`; unrolled (up to 64 elements) over batches of operands that must "
        "be known"
    ),
    "tensor.elemwise.Elemwise": "subnormal numbers count as zero on a CPU",
    "tensor.extra_ops.FillDiagonalOffset": (
        "an offset beyond the array writes nothing; PyTensor writes a stray element"
    ),
    "tensor.extra_ops.RavelMultiIndex": _PLACE,
    "tensor.extra_ops.Unique": (
        "must be known, unless it is reduced; with `axis` always"
    ),
    "tensor.extra_ops.UnravelIndex": _PLACE,
    "tensor.fft.IRFFTOp": "the gradient is right where lengths crop or pad",
    "tensor.fft.RFFTOp": "the gradient is right where lengths crop or pad",
    "tensor.fourier.Fourier": "complex128 as declared; differentiable",
    "tensor.linalg.decomposition.cholesky.Cholesky": (
        "nan if it fails: see [checks](checks.md)"
    ),
    "tensor.linalg.decomposition.eigen.Eig": (
        "has a gradient, PyTensor has none; equal eigenvalues: of the values only"
    ),
    "tensor.linalg.decomposition.eigen.Eigh": "of complex matrices: refused",
    "tensor.linalg.decomposition.lu.LU": "the gradient is right with `permute_l` too",
    "tensor.linalg.decomposition.qr.QR": (
        'no gradient of "raw", nor of "full" of a tall matrix'
    ),
    "tensor.linalg.decomposition.schur.QZ": _ON_HOST,
    "tensor.linalg.decomposition.schur.Schur": _ON_HOST,
    "tensor.linalg.decomposition.svd.SVD": (
        "no gradient of full matrices, as in PyTensor"
    ),
    "tensor.linalg.products.Expm": "nan for norms above 2e10",
    "tensor.linalg.solvers.general.Solve": "nan if it fails: see [checks](checks.md)",
    "tensor.linalg.solvers.linear_control.SolveBilinearDiscreteLyapunov": _BY_SCHUR,
    "tensor.linalg.solvers.linear_control.SolveDiscreteARE": (
        "calls the host, as QZ does"
    ),
    "tensor.linalg.solvers.linear_control.SolveSylvester": _BY_SCHUR,
    "tensor.linalg.solvers.linear_control.TRSYL": (
        "common eigenvalues give inf or nan, where LAPACK perturbs"
    ),
    "tensor.linalg.solvers.lstsq.Lstsq": (
        "has a gradient (Golub and Pereyra's); residuals without full rank are nan"
    ),
    "tensor.math.Argmax": _MASKED,
    "tensor.math.Max": _MASKED,
    "tensor.math.Min": _MASKED,
    "tensor.optimize.MinimizeOp": _OPTIMIZER,
    "tensor.optimize.MinimizeScalarOp": _OPTIMIZER,
    "tensor.optimize.RootOp": _OPTIMIZER,
    "tensor.optimize.RootScalarOp": _OPTIMIZER,
    "tensor.sort.ArgSortOp": _ORDERED,
    "tensor.sort.SortOp": _ORDERED,
    "tensor.subtensor.AdvancedIncSubtensor": (
        f"{_PLACE}; which of several values stays in one place is JAX's choice"
    ),
    "tensor.subtensor.AdvancedSubtensor": (
        f"{_PLACE}; a mask must be known, unless what it selects is reduced or written "
        "back"
    ),
    "tensor.subtensor.IncSubtensor": _PLACE,
    "tensor.subtensor.Subtensor": (
        f"{_PLACE}; a slice of unknown length must be known, unless it is reduced"
    ),
    "typed_list.basic.GetItem": "at a traced index: all elements of one shape",
    "typed_list.basic.Remove": "list and element must be known",
}

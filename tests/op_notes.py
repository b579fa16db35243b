"""What a user should know about an Op: the last column of docs/ops.md."""

_PLACE = "index out of bounds: see [checks](checks.md)"
_ORDERED = "stable; PyTensor's default `quicksort` may order ties in any way"
_OPTIMIZER = (
    "needs `jaxlink[optimize]`; if there are several solutions, may find another one; "
    "refuses options without a counterpart, by name"
)
_MASKED = "for an empty selection: see [checks](checks.md)"
_BOUND = "if values decide how many elements are stored, that number is an upper bound"
_ON_HOST = (
    "LAPACK on the host, by `jax.pure_callback`: `jax.export` refuses it; no gradient, "
    "as in PyTensor"
)
_IN_PROGRAM = (
    "LAPACK: on a CPU within the program, on an accelerator or sorted on the host (see "
    "QZ); no gradient, as in PyTensor"
)
_BY_SCHUR = "on an accelerator, calls the host, as Schur does"

NOTES: dict[str, str] = {
    "breakpoint.PdbBreakpoint": "opens the debugger on the host",
    "compile.builders.OpFromGraph": "`jax.grad` uses its own pullback",
    "conditional.op.IfElse": "both branches must have the same shape",
    "conditional.op.LazyIfElse": ("`lax.cond`: both branches must have the same shape"),
    "gradient.UndefinedGrad": "an error when differentiated",
    "link.jax.ops.JAXOp": "the JAX function, unchanged and differentiated by JAX",
    "printing.Print": "`jax.debug.callback`: prints at each call",
    "raise_op.CheckAndRaise": "a check: see [checks](checks.md)",
    "scalar.basic.Cast": (
        "values too large for 64 bits saturate, nan gives 0; C defines neither"
    ),
    "scalar.basic.Clip": "if a bound is returned, it gets the gradient",
    "scalar.basic.Pow": "integers to a negative power: see [checks](checks.md)",
    "scalar.basic.RoundHalfAwayFromZero": (
        "the float just below 0.5 gives 0, as in PyTensor's C code; its Python code "
        "gives 1"
    ),
    "scalar.basic.Sqrt": (
        "complex: the sign of a zero does not choose the side of a branch cut (also "
        "in `ArcSin`, `ArcCos`, `ArcSinh`, `ArcCosh`)"
    ),
    "scalar.loop.ScalarLoop": (
        "reverse-differentiable if the number of steps is known"
    ),
    "scalar.math.GammaInc": "correct for k above 1e7, where SciPy is not",
    "scalar.math.Hyp2F1": (
        "loses digits for large parameters at very negative z; nan at infinity"
    ),
    "scalar.math.Jv": (
        "0 at infinity, where SciPy gives nan; nan at orders beyond 1e8 that need a "
        "recurrence"
    ),
    "scalar.math.Ive": "0 at infinity, where SciPy gives nan",
    "scalar.math.Kve": "0 at infinity, where SciPy gives nan",
    "scalar.math.PolyGamma": "no derivative with respect to the order",
    "scan.op.Scan": (
        "keeps only the steps that are read; with `until` or a computed number of "
        "steps, the last steps can be read, or a reduction of all steps (`until`); "
        "unrolled (up to 512 steps) if a shape depends on a known sequence"
    ),
    "sparse.basic.CSMProperties": (
        f"{_BOUND}; elements after the last `indptr` are padding"
    ),
    "sparse.basic.GetItem2d": _BOUND,
    "sparse.basic.GetItemList": _BOUND,
    "sparse.basic.GetItemScalar": _PLACE,
    "sparse.basic.SparseFromDense": _BOUND,
    "sparse.math.AddSparseSparse": _BOUND,
    "sparse.math.TrueDot": _BOUND,
    "tensor.basic.ARange": "the bounds must be known before the call",
    "tensor.basic.Choose": _PLACE,
    "tensor.basic.Nonzero": (
        "the mask must be known, unless the selection is reduced or written back"
    ),
    "tensor.blockwise.Blockwise": (
        "`jax.vmap`; unrolled (up to 64 elements) over batches of required static "
        "operands"
    ),
    "tensor.elemwise.Elemwise": "on a CPU, subnormal numbers are treated as zero",
    "tensor.extra_ops.FillDiagonalOffset": (
        "an offset beyond the array writes nothing; PyTensor writes one wrong element"
    ),
    "tensor.extra_ops.RavelMultiIndex": _PLACE,
    "tensor.extra_ops.Unique": (
        "the input must be known, unless the output is reduced; with `axis` always"
    ),
    "tensor.extra_ops.UnravelIndex": _PLACE,
    "tensor.fft.IRFFTOp": "the gradient is correct if the length crops or pads",
    "tensor.fft.RFFTOp": "the gradient is correct if the length crops or pads",
    "tensor.fourier.Fourier": "complex128 as declared; differentiable",
    "tensor.linalg.decomposition.cholesky.Cholesky": (
        "nan if it fails: see [checks](checks.md)"
    ),
    "tensor.linalg.decomposition.eigen.Eig": (
        "has a gradient, unlike PyTensor; if eigenvalues are equal, only they have one"
    ),
    "tensor.linalg.decomposition.eigen.Eigh": "refuses complex matrices",
    "tensor.linalg.decomposition.lu.LU": "the gradient is correct with `permute_l` too",
    "tensor.linalg.decomposition.qr.QR": (
        'no gradient with mode "raw", nor with "full" for a tall matrix'
    ),
    "tensor.linalg.decomposition.schur.QZ": _ON_HOST,
    "tensor.linalg.decomposition.schur.Schur": _IN_PROGRAM,
    "tensor.linalg.decomposition.svd.SVD": (
        "no gradient with full matrices, as in PyTensor"
    ),
    "tensor.linalg.products.Expm": "nan for norms above 2e10",
    "tensor.linalg.solvers.general.Solve": "nan if it fails: see [checks](checks.md)",
    "tensor.linalg.solvers.linear_control.SolveBilinearDiscreteLyapunov": _BY_SCHUR,
    "tensor.linalg.solvers.linear_control.SolveDiscreteARE": (
        "calls the host, as QZ does"
    ),
    "tensor.linalg.solvers.linear_control.SolveSylvester": _BY_SCHUR,
    "tensor.linalg.solvers.linear_control.TRSYL": (
        "common eigenvalues give inf or nan; LAPACK perturbs them"
    ),
    "tensor.linalg.solvers.lstsq.Lstsq": (
        "has a gradient (Golub and Pereyra); without full rank, residuals are nan"
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
        f"{_PLACE}; if several values are written to one place, JAX chooses which stays"
    ),
    "tensor.subtensor.AdvancedSubtensor": (
        f"{_PLACE}; a mask must be known, unless the selection is reduced or written "
        "back"
    ),
    "tensor.subtensor.IncSubtensor": _PLACE,
    "tensor.subtensor.Subtensor": (
        f"{_PLACE}; the length of a slice must be known, unless the slice is reduced"
    ),
    "typed_list.basic.GetItem": (
        "at a traced index, all elements must have the same shape"
    ),
    "typed_list.basic.Remove": "the list and the element must be known",
}

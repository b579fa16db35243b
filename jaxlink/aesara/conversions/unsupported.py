"""Aesara's Ops without a conversion, and why."""

__all__ = ["REASONS", "REASONS_BY_AREA"]

_BASE = "a base class, of which no graph has a node"
_NETWORK = "PyTensor dropped Aesara's convolutions, and has nothing in their place"
_POOL = "PyTensor dropped Aesara's pooling: write it with reshape and max"
_SIMULATED = (
    "PyTensor draws no sparse matrices: draw their data, and build them from it"
)
_COMPILED = (
    "only compiled graphs have it: export the graph that aesara.function was given"
)
_IO = "it reads or sends data while the function runs: make the data an input"
_MRG = "a generator of Aesara's sandbox: use RandomStream before the export"


def _rows(area: str, names: str, reason: str) -> dict[str, str]:
    return {f"{area}.{name}": reason for name in names.split()}


REASONS: dict[str, str] = {
    "breakpoint.PdbBreakpoint": "it opens a debugger: remove it before the export",
    "compile.FromFunctionOp": "it runs a Python function, which no file can carry",
    "random.ZipfRV": (
        "PyTensor has no Zipf distribution: make a RandomVariable of your own, and "
        "give it a sampler with jaxlink.sampler"
    ),
    "scalar.SymPyCCode": "it is C code that SymPy wrote: write the expression",
    "sandbox.FFT": "part of Aesara's sandbox: use fft.rfft before the export",
    "sandbox.GradTodo": "the gradient of sandbox.FFT, which nobody wrote",
    "sandbox.Minimal": "an example",
    "aeppl.MixtureRV": (
        "AePPL makes it on the way to a density: export the density, or the mixture "
        "as it was written"
    ),
    **_rows("sandbox", "ChoiceFromUniform MultinomialFromUniform", _MRG),
    **_rows("sandbox", "DotModulo mrg_uniform mrg_uniform_base", _MRG),
    **_rows("graph", "_NoPythonOp", _BASE),
    **_rows("link", "COp ExternalCOp OpenMPOp", _BASE),
    **_rows("link", "_NoPythonCOp _NoPythonExternalCOp", _BASE),
    **_rows("scalar", "ScalarOp UnaryScalarOp BinaryScalarOp", _BASE),
    **_rows("scalar", "UnaryBitOp BinaryBitOp", _BASE),
    **_rows("scalar", "LogicalComparison FixedLogicalComparison", _BASE),
    **_rows("sparse", "__ComparisonOpSS __ComparisonOpSD", _BASE),
    **_rows("sparse", "ConvolutionIndices", _NETWORK),
    **_rows("sparse", "AddSD_ccode CSMGradC MulSDCSC MulSDCSR MulSVCSR", _COMPILED),
    **_rows("sparse", "SamplingDotCSR StructuredAddSVCSR UsmmCscDense", _COMPILED),
    **_rows("sparse", "StructuredDotCSC StructuredDotCSR", _COMPILED),
    **_rows("sparse", "Binomial Multinomial Poisson", _SIMULATED),
    **_rows("random", "RandomVariable ScipyRandomVariable", _BASE),
    **_rows("random", "AbstractRNGConstructor", _BASE),
    **_rows("tensor", "GemmRelated BaseBLAS SolveBase", _BASE),
    **_rows("tensor", "LoadFromDisk MPIRecv MPIRecvWait MPISend MPISendWait", _IO),
    **_rows("tensor", "BaseAbstractConv AbstractConv AbstractConv2d", _NETWORK),
    **_rows("tensor", "AbstractConv2d_gradInputs AbstractConv2d_gradWeights", _NETWORK),
    **_rows("tensor", "AbstractConv3d AbstractConv3d_gradInputs", _NETWORK),
    **_rows("tensor", "AbstractConv3d_gradWeights AbstractConv_gradInputs", _NETWORK),
    **_rows("tensor", "AbstractConv_gradWeights ConvOp", _NETWORK),
    **_rows("tensor", "BaseCorrMM CorrMM CorrMM_gradInputs", _NETWORK),
    **_rows("tensor", "CorrMM_gradWeights BaseCorr3dMM Corr3dMM", _NETWORK),
    **_rows("tensor", "Corr3dMMGradInputs Corr3dMMGradWeights", _NETWORK),
    **_rows("tensor", "DiagonalSubtensor IncDiagonalSubtensor", _NETWORK),
    **_rows("tensor", "SparseBlockGemv SparseBlockOuter Images2Neibs", _NETWORK),
    **_rows("tensor", "ConnectionistTemporalClassification", _NETWORK),
    **_rows("tensor", "Pool PoolGrad MaxPoolGrad MaxPoolRop AveragePoolGrad", _POOL),
    **_rows("tensor", "DownsampleFactorMaxGradGrad", _POOL),
}
REASONS_BY_AREA: dict[str, str] = {
    "sandbox": "it is part of Aesara's sandbox",
    "theano": "Theano and Theano-PyMC are not supported: port the model to Aesara",
}

"""Sparse matrices, and lists of variables.

PyTensor renamed the Ops: what was ``SS`` is ``SparseSparse``, ``SD`` ``SparseDense``.
Its sparse package is imported when a graph has one of these Ops.
"""

from importlib import import_module
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.type_other import SliceType

from jaxlink.aesara.conversions.indexing import advanced_index
from jaxlink.aesara.parts import Conversion, Node, Rows

__all__ = ["ROWS"]

_BASIC, _MATH = "pytensor.sparse.basic", "pytensor.sparse.math"


def _op(module: str, name: str, *props: str, **renamed: str) -> Conversion:
    """The row of an Op with the same operands, in a module that is imported late.

    Arguments:
        module: PyTensor's module.
        name: the class's name there.
        props: the properties that it has in both libraries.
        renamed: Aesara's names of others, by PyTensor's.
    """
    named = {**dict(zip(props, props, strict=True)), **renamed}

    def convert(node: Node) -> Any:
        op_class = getattr(import_module(module), name)
        op = op_class(**{new: node.op[old] for new, old in named.items()})
        return op.make_node(*node.inputs).outputs

    return convert


def _function(name: str) -> Conversion:
    return lambda node: getattr(import_module("pytensor.sparse"), name)(*node.inputs)


def _negative(node: Node) -> Variable:
    return -node.inputs[0]


def _get_item(node: Node) -> Any:
    """Rows and columns: each is a slice, by its three bounds or as one operand."""
    x, *rest = node.inputs
    if all(isinstance(index.type, SliceType) for index in rest):
        return x[tuple(map(advanced_index, rest))]
    bounds = [advanced_index(index) for index in rest]
    slices = [slice(*bounds[at : at + 3]) for at in range(0, len(bounds), 3)]
    return x[tuple(slices)]


def _get_scalar(node: Node) -> Variable:
    x, *index = node.inputs
    return import_module("pytensor.sparse").get_item_scalar(x, index)


def _square_diagonal(node: Node) -> Any:
    """A CSC matrix with one element a column."""
    (diagonal,) = node.inputs
    n = diagonal.shape[0]
    sparse = import_module("pytensor.sparse")
    return sparse.CSC(
        diagonal,
        pt.arange(n, dtype="int32"),
        pt.arange(n + 1, dtype="int32"),
        pt.stack([n, n]),
    )


def _construct(node: Node) -> Any:
    """From the shape, the values and the rows where they go."""
    shape, values, rows = node.inputs
    # PyTensor's Op takes the shape from a matrix.
    like = pt.alloc(pt.zeros((), values.type.dtype), shape[0], shape[1])
    construct = import_module("pytensor.sparse").construct_sparse_from_list
    return construct(like, values, rows)


def _made_list(node: Node) -> Any:
    return import_module("pytensor.typed_list").make_list(node.inputs)


_COMPARISONS = (
    "Equal",
    "NotEqual",
    "LessThan",
    "GreaterThan",
    "LessEqual",
    "GreaterEqual",
)
_LISTS = ("Append", "Extend", "Insert", "Remove", "Reverse")

ROWS: Rows = {
    "sparse.CSM": _op(_BASIC, "CSM", "format"),
    "sparse.CSMProperties": _op(_BASIC, "CSMProperties"),
    "sparse.CSMGrad": _op(_BASIC, "CSMGrad"),
    "sparse.Cast": _op(_BASIC, "Cast", "out_type"),
    "sparse.DenseFromSparse": _op(_BASIC, "DenseFromSparse", structured="sparse_grad"),
    "sparse.SparseFromDense": _op(_BASIC, "SparseFromDense", "format"),
    "sparse.GetItemList": _op(_BASIC, "GetItemList"),
    "sparse.GetItemListGrad": _op(_BASIC, "GetItemListGrad"),
    "sparse.GetItem2Lists": _op(_BASIC, "GetItem2Lists"),
    "sparse.GetItem2ListsGrad": _op(_BASIC, "GetItem2ListsGrad"),
    "sparse.GetItem2d": _get_item,
    "sparse.GetItemScalar": _get_scalar,
    "sparse.Transpose": _op(_BASIC, "Transpose"),
    "sparse.Neg": _negative,
    "sparse.ColScaleCSC": _op(_BASIC, "ColScaleCSC"),
    "sparse.RowScaleCSC": _op(_BASIC, "RowScaleCSC"),
    "sparse.Diag": _op(_BASIC, "Diag"),
    "sparse.SquareDiagonal": _square_diagonal,
    "sparse.EnsureSortedIndices": _function("ensure_sorted_indices"),
    "sparse.HStack": _op(_BASIC, "HStack", "format", "dtype"),
    "sparse.VStack": _op(_BASIC, "VStack", "format", "dtype"),
    "sparse.Remove0": _op(_BASIC, "Remove0"),
    "sparse.ConstructSparseFromList": _construct,
    "sparse.SpSum": _op(_MATH, "SpSum", "axis", sparse_grad="structured"),
    "sparse.AddSS": _op(_MATH, "AddSparseSparse"),
    "sparse.AddSSData": _op(_MATH, "AddSparseSparseData"),
    "sparse.AddSD": _op(_MATH, "AddSparseDense"),
    "sparse.StructuredAddSV": _op(_MATH, "StructuredAddSparseDenseVector"),
    "sparse.MulSS": _op(_MATH, "MultiplySparseSparse"),
    "sparse.MulSD": _op(_MATH, "MultiplySparseDense"),
    "sparse.MulSV": _op(_MATH, "MultiplySparseDenseVector"),
    **{
        f"sparse.{name}{old}": _op(_MATH, f"{name}{new}")
        for name in _COMPARISONS
        for old, new in (("SS", "SparseSparse"), ("SD", "SparseDense"))
    },
    "sparse.TrueDot": _op(_MATH, "TrueDot", "grad_preserves_dense"),
    "sparse.StructuredDot": _op(_MATH, "StructuredDot"),
    "sparse.StructuredDotGradCSC": _op(_MATH, "StructuredDotGradCSC"),
    "sparse.StructuredDotGradCSR": _op(_MATH, "StructuredDotGradCSR"),
    "sparse.SamplingDot": _op(_MATH, "SamplingDot"),
    "sparse.Dot": _op(_MATH, "Dot"),
    "sparse.Usmm": _op(_MATH, "Usmm"),
    "typed_list.MakeList": _made_list,
    **{
        f"typed_list.{name}": _op("pytensor.typed_list.basic", name)
        for name in (*_LISTS, "GetItem", "Index", "Count", "Length")
    },
}

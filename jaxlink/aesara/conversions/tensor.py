"""Constructors, shapes, joins and reductions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor import basic, extra_ops, math
from pytensor.tensor.elemwise import CAReduce, DimShuffle
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.type_other import NoneTypeT

from jaxlink.aesara.conversions.scalar import scalar_op
from jaxlink.aesara.parts import Conversion, Node, Rows, same
from jaxlink.errors import AesaraError

__all__ = ["ROWS", "constant_of"]


def constant_of(node: Node, number: int, what: str) -> Any:
    """The value of an operand that has to be a constant."""
    variable = node.inputs[number]
    if not isinstance(variable, Constant):
        raise AesaraError(
            f"`{node.op.name}` has a variable for its {what}, and PyTensor needs a "
            "constant: replace it in Aesara, before the export."
        )
    return variable.data


# --- shapes ---------------------------------------------------------------------------


def _dim_shuffle(node: Node) -> Sequence[Variable]:
    (x,) = node.inputs
    order = tuple(node.op["new_order"])
    # Aesara drops an axis only if its type has length 1.
    dropped = [axis for axis in range(x.type.ndim) if axis not in order]
    if any(x.type.shape[axis] != 1 for axis in dropped):
        x = pt.specify_shape(x, [1 if i in dropped else None for i in range(x.ndim)])
    return DimShuffle(input_ndim=x.type.ndim, new_order=order).make_node(x).outputs


def _reshape(node: Node) -> Sequence[Variable]:
    return Reshape(node.types[0].ndim).make_node(*node.inputs).outputs


def _rebroadcast(node: Node) -> Variable:
    """An older form of `Unbroadcast`, which can also say that an axis has length 1."""
    (x,) = node.inputs
    ones = {axis for axis, one in dict(node.op["axis"]).items() if one}
    return pt.specify_shape(x, [1 if i in ones else None for i in range(x.type.ndim)])


def _unbroadcast(node: Node) -> Variable:
    """Forgets that an axis has length 1. PyTensor does without."""
    return node.inputs[0]


def _broadcast_to(node: Node) -> Variable:
    x, *lengths = node.inputs
    return pt.broadcast_to(x, lengths)


# --- constructors, joins --------------------------------------------------------------


def _typed_as(op_class: type) -> Conversion:
    """The row of an Op whose dtype is that of its output."""
    return lambda node: op_class(node.types[0].dtype).make_node(*node.inputs).outputs


def _alloc_diag(node: Node) -> Variable:
    options = {name: node.op[name] for name in ("offset", "axis1", "axis2")}
    return basic.AllocDiag(**options)(*node.inputs)


def _default(node: Node) -> Variable:
    value, default = node.inputs
    return default if isinstance(value.type, NoneTypeT) else value


def _tri(node: Node) -> Variable:
    rows, columns, k = node.inputs
    return pt.tri(rows, columns, k, dtype=node.types[0].dtype)


def _join(node: Node) -> Variable:
    _, *parts = node.inputs
    return pt.join(int(constant_of(node, 0, "axis")), *parts)


def _split(node: Node) -> Sequence[Variable]:
    x, _, sizes = node.inputs
    axis = int(constant_of(node, 1, "axis"))
    return pt.split(x, sizes, n_splits=len(node.types), axis=axis)


def _permute_rows(node: Node) -> Sequence[Variable]:
    x, y, _ = node.inputs
    inverse = bool(constant_of(node, 2, "flag `inverse`"))
    return basic.PermuteRowElements(inverse).make_node(x, y).outputs


def _cumulative(mode: str | None) -> Conversion:
    def convert(node: Node) -> Variable:
        (x,), axis = node.inputs, node.op["axis"]
        x, axis = (x.ravel(), 0) if axis is None else (x, axis)
        return extra_ops.CumOp(axis=axis, mode=mode or node.op["mode"])(x)

    return convert


def _unique(node: Node) -> Sequence[Variable]:
    names = ("return_index", "return_inverse", "return_counts", "axis")
    op = extra_ops.Unique(**{name: node.op[name] for name in names})
    outputs = list(op.make_node(*node.inputs).outputs)
    if node.op["return_inverse"] and node.op["axis"] is None:
        # NumPy 1 flattened it.
        at = 1 + bool(node.op["return_index"])
        outputs[at] = outputs[at].ravel()
    return outputs


# --- reductions -----------------------------------------------------------------------

_BY_DTYPE = {
    "Sum": math.Sum,
    "Prod": math.Prod,
    "ProdWithoutZeros": math.ProdWithoutZeros,
}
_PLAIN = {"Max": math.Max, "Min": math.Min, "All": math.All, "Any": math.Any}


def _axes(node: Node) -> tuple[int, ...] | None:
    axis = node.op["axis"]
    return None if axis is None else tuple(np.atleast_1d(axis).tolist())


def _typed(name: str) -> Conversion:
    def convert(node: Node) -> Variable:
        dtypes = {key: node.op[key] for key in ("dtype", "acc_dtype")}
        if name == "Prod":
            dtypes["no_zeros_in_input"] = node.op["no_zeros_in_input"] is True
        return _BY_DTYPE[name](axis=_axes(node), **dtypes)(*node.inputs)

    return convert


def _plain(name: str) -> Conversion:
    return lambda node: _PLAIN[name](axis=_axes(node) or _all_axes(node))(*node.inputs)


def _all_axes(node: Node) -> tuple[int, ...]:
    return tuple(range(node.inputs[0].type.ndim)) if node.op["axis"] is None else ()


def _reduce(node: Node) -> Variable:
    """A reduction by any scalar Op. Older versions do not say in which dtype."""
    dtype = node.types[0].dtype
    acc_dtype = node.op.props.get("acc_dtype")
    acc_dtype = acc_dtype if isinstance(acc_dtype, str) else dtype
    op = scalar_op(node.op["scalar_op"], acc_dtype)
    made = CAReduce(op, axis=_axes(node), dtype=dtype, acc_dtype=acc_dtype)
    return made(*node.inputs)


def _max_and_argmax(node: Node) -> list[Variable]:
    (x,) = node.inputs
    axes = _axes(node)
    return list(pt.max_and_argmax(x, axis=axes))


def _argmax(node: Node) -> Variable:
    return math.Argmax(_axes(node))(*node.inputs)


def _mat_mul(node: Node) -> Variable:
    return pt.matmul(*node.inputs, dtype=node.types[0].dtype)


ROWS: Rows = {
    "tensor.DimShuffle": _dim_shuffle,
    "tensor.Shape": same(Shape),
    "tensor.Shape_i": same(Shape_i, "i"),
    "tensor.SpecifyShape": same(SpecifyShape),
    "tensor.Reshape": _reshape,
    "tensor.Unbroadcast": _unbroadcast,
    "tensor.Rebroadcast": _rebroadcast,
    "compile.Rebroadcast": _rebroadcast,
    "tensor.BroadcastTo": _broadcast_to,
    "tensor.Alloc": same(basic.Alloc),
    "tensor.AllocEmpty": _typed_as(basic.AllocEmpty),
    "tensor.AllocDiag": _alloc_diag,
    "tensor.ARange": _typed_as(basic.ARange),
    "tensor.Choose": same(basic.Choose, "mode"),
    "tensor.Default": _default,
    "tensor.ExtractDiag": same(basic.ExtractDiag, "offset", "axis1", "axis2"),
    "tensor.Eye": _typed_as(basic.Eye),
    "tensor.Tri": _tri,
    "tensor.Join": _join,
    "tensor.Split": _split,
    "tensor.MakeVector": _typed_as(basic.MakeVector),
    "tensor.Nonzero": same(basic.Nonzero),
    "tensor.PermuteRowElements": _permute_rows,
    "tensor.ScalarFromTensor": same(basic.ScalarFromTensor),
    "tensor.TensorFromScalar": same(basic.TensorFromScalar),
    "tensor.Bartlett": same(extra_ops.Bartlett),
    "tensor.CpuContiguous": same(extra_ops.CpuContiguous),
    "tensor.CumOp": _cumulative(None),
    "tensor.CumsumOp": _cumulative("add"),
    "tensor.CumprodOp": _cumulative("mul"),
    "tensor.FillDiagonal": same(extra_ops.FillDiagonal),
    "tensor.FillDiagonalOffset": same(extra_ops.FillDiagonalOffset),
    "tensor.RavelMultiIndex": same(extra_ops.RavelMultiIndex, "mode", "order"),
    "tensor.UnravelIndex": same(extra_ops.UnravelIndex, "order"),
    "tensor.Repeat": same(extra_ops.Repeat, "axis"),
    "tensor.SearchsortedOp": same(extra_ops.SearchsortedOp, "side"),
    "tensor.Unique": _unique,
    "tensor.CAReduce": _reduce,
    "tensor.NonZeroCAReduce": _reduce,
    **{f"tensor.{name}": _typed(name) for name in _BY_DTYPE},
    **{f"tensor.{name}": _plain(name) for name in _PLAIN},
    "tensor.Argmax": _argmax,
    "tensor.MaxAndArgmax": _max_and_argmax,
    "tensor.Mean": lambda node: pt.mean(node.inputs[0], axis=_axes(node)),
    "tensor.Dot": lambda node: pt.dot(*node.inputs),
    "tensor.MatMul": _mat_mul,
}

"""Compare a graph of sparse matrices in JAX with PyTensor's evaluation by SciPy."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.sparse as ps
import scipy.sparse as sp
from jax.experimental import sparse as jsp
from pytensor.graph.basic import Variable
from pytensor.sparse.basic import DenseFromSparse
from pytensor.sparse.type import SparseTensorType
from support import REFERENCE, compared

import jaxlink

REGULAR = DenseFromSparse(structured=False)


def is_sparse(var: Variable) -> bool:
    return isinstance(var.type, SparseTensorType)


def to_jax(value: Any) -> Any:
    if not sp.issparse(value):
        return jnp.asarray(value)
    coo = value.tocoo()
    indices = jnp.asarray(np.stack([coo.row, coo.col], axis=1))
    return jsp.BCOO((jnp.asarray(coo.data), indices), shape=value.shape)


def evaluate(inputs: Sequence[Variable], outputs: Any, values: Sequence[Any]) -> Any:
    """PyTensor's values, by SciPy and NumPy, without any rewrite."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fn = pytensor.function(
            list(inputs), outputs, mode=REFERENCE, on_unused_input="ignore"
        )
        return fn(*values)


def stored(matrix: jsp.BCOO) -> int:
    """How many entries lie within the shape."""
    return int((np.asarray(matrix.indices) < np.asarray(matrix.shape)).all(1).sum())


def check_value(var: Variable, got: Any, wanted: Any, count: bool = True) -> None:
    dtype = var.type.dtype
    assert got.dtype == dtype, (got.dtype, dtype)
    assert got.shape == wanted.shape
    if is_sparse(var):
        assert isinstance(got, jsp.BCOO)
        if count:
            assert stored(got) == wanted.nnz, (var.owner, stored(got), wanted.nnz)
        got, wanted = got.todense(), wanted.toarray()
    got, wanted = np.asarray(got), np.asarray(wanted).astype(dtype)
    rtol = 5e-6 if dtype in ("float32", "complex64") else 1e-12
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=0, err_msg=str(var))


def check_sparse(
    inputs: Sequence[Variable],
    output: Variable,
    values: Sequence[Any],
    *,
    grad: bool | str = True,
    vmap: bool = True,
    count: bool = True,
) -> jaxlink.JAXFunction:
    """Compare the value, its stored elements, batches and both kinds of gradient.

    Arguments:
        values: SciPy matrices for sparse inputs, arrays for others.
        grad: compare gradients of the elements of ``output``. If that is sparse: those
            that PyTensor calls structured, and ("structured": but not) the others.
        count: compare the number of stored elements.
    """
    outputs, weights = [output], []
    if grad and "float" in output.type.dtype:
        makers = [lambda x: x]
        if is_sparse(output):
            makers = [ps.dense_from_sparse, REGULAR][: 1 if grad == "structured" else 2]
        outputs += [make_dense(output) for make_dense in makers]
    wanted = evaluate(inputs, outputs, values)
    fn = jaxlink.function(inputs, outputs)
    compared([*outputs, *fn.fgraph.outputs], gradients=len(outputs) > 1)
    args = [v if i in fn.static_argnums else to_jax(v) for i, v in enumerate(values)]
    wrt = [i for i, var in enumerate(inputs) if "float" in var.type.dtype]
    # Weights that tell the elements apart, so that a permuted gradient is noticed.
    weights = [
        (1 + np.cos(np.arange(x.size)) / 2).reshape(x.shape).astype(x.dtype)
        for x in wanted[1:]
    ]

    def call(leaves: Any) -> Any:
        return fn(*with_leaves(args, wrt, leaves))

    def cost(leaves: Any, k: int) -> Any:
        return (call(leaves)[1 + k] * weights[k]).sum()

    def everything(leaves: Any) -> Any:
        grads = [jax.grad(cost)(leaves, k) for k in range(len(weights))]
        return call(leaves)[0], grads

    leaves = leaves_of(args, wrt)
    got, got_grads = jax.jit(everything)(leaves)
    check_value(output, got, wanted[0], count)
    for dense, weight, got_grad in zip(outputs[1:], weights, got_grads, strict=True):
        _check_grad(inputs, (dense * weight).sum(), values, args, wrt, got_grad)
    if vmap:
        _check_vmap(fn, output, args, wanted[0])
    return fn


def check_by_differences(
    inputs: Sequence[Variable], output: Variable, values: Sequence[Any]
) -> None:
    """Compare a gradient with central differences of PyTensor's values."""
    dense = REGULAR(output) if is_sparse(output) else output
    shape = evaluate(inputs, dense, values).shape
    weights = 1 + np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape) / 2
    cost = (dense * weights).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pytensor.function(
            list(inputs), cost, mode=REFERENCE, on_unused_input="ignore"
        )
    fn = jaxlink.function(inputs, cost)
    compared([cost, *fn.fgraph.outputs], gradients=True)
    args = [to_jax(value) for value in values]
    wrt = [i for i, var in enumerate(inputs) if "float" in var.type.dtype]

    def in_jax(leaves: Any) -> Any:
        return fn(*with_leaves(args, wrt, leaves))

    got = jax.jit(jax.grad(in_jax))(leaves_of(args, wrt))
    step = 1e-3
    for i, gradient in zip(wrt, got, strict=True):
        for k in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [value.copy() for value in values]
                leaf = moved[i].data if sp.issparse(moved[i]) else moved[i]
                leaf[k] += sign * step
                ends.append(expected(*moved))
            wanted = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(
                gradient[k], wanted, rtol=1e-8, atol=1e-9, err_msg=f"{inputs[i]}{k}"
            )


def with_leaves(args: Sequence[Any], which: Sequence[int], leaves: Any) -> list[Any]:
    """``args`` with other leaves: of a sparse matrix its data, or else the array."""
    full = list(args)
    for i, leaf in zip(which, leaves, strict=True):
        if isinstance(args[i], jsp.BCOO):
            leaf = jsp.BCOO((leaf, args[i].indices), shape=args[i].shape)
        full[i] = leaf
    return full


def leaves_of(args: Sequence[Any], which: Sequence[int]) -> list[Any]:
    return [getattr(args[i], "data", args[i]) for i in which]


def _check_vmap(
    fn: jaxlink.JAXFunction, output: Variable, args: Sequence[Any], wanted: Any
) -> None:
    """Over two copies of what is not static, of sparse matrices their data alone."""
    dynamic = [i for i in range(len(args)) if i not in fn.static_argnums]

    def call(*leaves: Any) -> Any:
        out = fn(*with_leaves(args, dynamic, leaves))[0]
        return out.todense() if is_sparse(output) else out

    batch = jax.vmap(call)(*(jnp.stack([x, x]) for x in leaves_of(args, dynamic)))
    wanted = wanted.toarray() if is_sparse(output) else wanted
    np.testing.assert_allclose(batch, np.stack([wanted, wanted]), rtol=5e-6)


def _check_grad(
    inputs: Sequence[Variable],
    cost: Variable,
    values: Sequence[Any],
    args: Sequence[Any],
    wrt: Sequence[int],
    got: Sequence[Any],
) -> None:
    """Compare a gradient with PyTensor's at what sparse inputs store."""
    variables = [inputs[i] for i in wrt]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grads = pytensor.grad(cost, variables, disconnected_inputs="ignore")
    wanted = evaluate(inputs, grads, values)
    for i, value, expected in zip(wrt, got, wanted, strict=True):
        var = inputs[i]
        assert value.dtype == var.type.dtype
        expected = expected.toarray() if sp.issparse(expected) else expected
        if is_sparse(var):
            indices = np.asarray(args[i].indices)
            expected = expected[indices[:, 0], indices[:, 1]]
        rtol = 1e-5 if var.type.dtype == "float32" else 1e-10
        np.testing.assert_allclose(value, expected, rtol=rtol, err_msg=str(var))

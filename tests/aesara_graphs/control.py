"""Loops, branches, inner graphs, checks, shared variables."""

import aesara
import aesara.tensor as at
import numpy as np
from aesara.compile.builders import OpFromGraph
from aesara.ifelse import ifelse

from aesara_graphs import POSITIVE, B, M, V, graph, of


@graph
def scan_map():
    return of(lambda x: aesara.scan(lambda a: at.exp(a) + 1, [x])[0], M)


@graph
def scan_cumulative():
    return of(lambda x: aesara.scan(lambda a, s: s + a**2, [x], [at.zeros(3)])[0], M)


@graph
def scan_taps():
    def fn(x):
        start = {"initial": at.as_tensor(np.array([0.5, 1.0])), "taps": [-2, -1]}
        return aesara.scan(
            lambda a, b, c, k: [k * a + b - c, a + b],
            [x],
            [start, None],
            [at.as_tensor(np.float64(0.3))],
        )[0]

    return of(fn, V)


@graph
def scan_sequence_taps():
    def fn(x):
        sequence = {"input": x, "taps": [-1, 0]}
        return aesara.scan(lambda before, now: now - before, [sequence])[0]

    return of(fn, V)


@graph
def scan_last():
    return of(lambda x: aesara.scan(lambda s, k: s * k, None, [x], [x], 5)[0][-1], V)


@graph
def scan_while():
    from aesara.scan.utils import until

    def fn(x):
        def step(s, k):
            return s * k, until(s > 100)

        return aesara.scan(step, None, [np.float64(1.0)], [x], 50)[0][-1]

    return of(fn, np.float64(2.5))


@graph
def scan_backwards():
    def fn(x):
        start = np.float64(0.0)
        return aesara.scan(lambda a, s: a + 0.5 * s, [x], [start], go_backwards=True)[0]

    return of(fn, V)


@graph
def scan_gradient():
    def fn(x, k):
        start = np.float64(0.1)
        states = aesara.scan(lambda a, s, k: at.tanh(s * k + a), [x], [start], [k])[0]
        return aesara.grad(states.sum(), [x, k])

    return of(fn, V, np.float64(0.7))


@graph
def scan_gradient_taps():
    def fn(x):
        start = {"initial": x[:2], "taps": [-2, -1]}
        states = aesara.scan(lambda a, b: a * b + 0.1, None, [start], n_steps=4)[0]
        return aesara.grad(states[-1], x)

    return of(fn, V)


@graph
def scan_nested():
    def inner(row):
        return aesara.scan(lambda a, s: a + 2 * s, [row], [np.float64(0.0)])[0]

    return of(lambda x: aesara.scan(inner, [x])[0], M)


@graph
def scan_symbolic_length():
    return of(
        lambda n: aesara.scan(lambda s: 2 * s, None, [np.float64(1)], n_steps=n)[0][-1],
        np.array(6),
    )


@graph
def scan_reduce():
    return of(lambda x: aesara.reduce(lambda a, s: a + s, x, np.float64(0.0))[0], V)


@graph
def ifelse_one():
    return of(lambda c, x: ifelse(c > 0, x, 2 * x), np.array(1.0), V)


@graph
def ifelse_two():
    def fn(c, x):
        return ifelse(c > 0, [x, x + 1], [2 * x, x - 1])

    return of(fn, np.array(-1.0), V)


@graph
def op_from_graph():
    x, y = at.vector("x"), at.scalar("y")
    op = OpFromGraph([x, y], [at.exp(x) * y, x.sum() + y], name="mine")
    return of(lambda a, b: op(a, b), V, np.float64(2.0))


@graph
def op_from_graph_shared():
    x = at.vector("x")
    k = aesara.shared(3.0, name="k")
    op = OpFromGraph([x], [x * k])
    return of(lambda a: op(op(a)), V)


@graph
def op_from_graph_gradient():
    x = at.vector("x")
    op = OpFromGraph([x], [at.sqr(x) * x])
    return of(lambda a: aesara.grad(op(a).sum(), a), V)


@graph
def asserts():
    from aesara.raise_op import Assert, CheckAndRaise

    return of(
        lambda x: (
            Assert("positive")(x, x.sum() > 0)
            + CheckAndRaise(ValueError, "small")(x, x.max() < 99)
        ),
        POSITIVE,
    )


@graph
def gradient_overrides():
    from aesara.gradient import (
        consider_constant,
        disconnected_grad,
        grad_clip,
        grad_scale,
        undefined_grad,
        zero_grad,
    )

    return of(
        lambda x: (
            zero_grad(x)
            + disconnected_grad(x) * grad_clip(x, -1, 1)
            + grad_scale(x, 0.5) * consider_constant(undefined_grad(x))
        ),
        V,
    )


@graph
def print_op():
    return of(lambda x: aesara.printing.Print("x", attrs=("shape",))(x) + 1, V)


@graph
def deep_copy():
    from aesara.compile.ops import deep_copy_op, view_op

    return of(lambda x: deep_copy_op(view_op(x)) + 1, V)


@graph
def shared_variables():
    """Shared values of several dtypes, and constants."""
    matrix = aesara.shared(M, name="matrix")
    count = aesara.shared(np.int32(3), name="count")
    single = aesara.shared(np.ones((1, 3), "float32"), shape=(1, 3), name="single")
    return of(lambda x: matrix * count + single + x + np.arange(3, dtype="int16"), M)


@graph
def broadcast_patterns():
    row, col = at.row("row"), at.col("col")
    return [(row, M[:1]), (col, M[:, :1])], [row + col, (row * col).sum(0)]


@graph
def cut_inputs():
    """An input in the middle of the graph."""
    x = at.vector("x")
    y = at.exp(x)
    y.name = "y"
    return [(y, V), (x, V)], y + x


@graph
def compiled():
    """What Aesara makes of a graph: fused, in place, BLAS."""
    x, y = at.matrix("x"), at.matrix("y")
    z = at.dot(x, y) * 2 + at.exp(x[:, :2]).sum() + at.log1p(at.exp(x[:, :2]))
    fn = aesara.function([x, y], [z], mode="FAST_RUN")
    fgraph = fn.maker.fgraph
    return list(zip(fgraph.inputs, [M, B])), fgraph.outputs, fn

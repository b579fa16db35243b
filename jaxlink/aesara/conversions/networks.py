"""What neural networks and log densities share: softmax, cross entropy, norms."""

from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.special import LogSoftmax, Softmax

from jaxlink.aesara.parts import Node, Rows

__all__ = ["ROWS"]


def _softmax_grad(node: Node) -> Variable:
    cotangent, softmax = node.inputs
    product = cotangent * softmax
    total = pt.sum(product, axis=node.op["axis"], keepdims=True)
    return product - total * softmax


def _softmax_with_bias(node: Node) -> Variable:
    x, bias = node.inputs
    return pt.special.softmax(x + bias, axis=-1)


def _chosen(x: Any, index: Any) -> Any:
    """One element of each row."""
    return x[pt.arange(x.shape[0]), index]


def _crossentropy(node: Node) -> list[Variable]:
    """The negative log likelihood, the probabilities, and the most likely class."""
    x, bias, index = node.inputs
    logits = x + bias
    nll = -_chosen(pt.special.log_softmax(logits, axis=-1), index)
    return [nll, pt.special.softmax(logits, axis=-1), pt.argmax(logits, axis=-1)]


def _crossentropy_gradient(node: Node) -> Variable:
    cotangent, probabilities, index = node.inputs
    rows = pt.arange(probabilities.shape[0])
    at_index = pt.inc_subtensor(probabilities[rows, index], -1)
    return at_index * (cotangent if cotangent.ndim == 0 else cotangent[:, None])


def _categorical(node: Node) -> Variable:
    probabilities, index = node.inputs
    return -pt.log(_chosen(probabilities, index))


def _categorical_gradient(node: Node) -> Variable:
    cotangent, probabilities, index = node.inputs
    rows = pt.arange(probabilities.shape[0])
    slopes = -cotangent / probabilities[rows, index]
    return pt.set_subtensor(pt.zeros_like(probabilities)[rows, index], slopes)


def _prepended(x: Any, value: Any) -> Variable:
    column = pt.alloc(pt.cast(value, x.type.dtype), x.shape[0], 1)
    return pt.concatenate([column, x], axis=1)


def _normalized(x: Any, mean: Any, slope: Any, bias: Any) -> Any:
    return (x - mean) * slope + bias


def _norm_train(node: Node) -> list[Variable]:
    x, scale, bias, epsilon, factor, *running = node.inputs
    axes = tuple(node.op["axes"])
    mean, variance = pt.mean(x, axes, keepdims=True), pt.var(x, axes, keepdims=True)
    inverse = 1 / pt.sqrt(variance + epsilon)
    outputs = [_normalized(x, mean, scale * inverse, bias), mean, inverse]
    if running:
        n = pt.prod([x.shape[axis] for axis in axes])
        unbiased = variance * (n / (n - 1))
        news = (mean, unbiased)
        for old, new in zip(running, news, strict=True):
            outputs.append(old * (1 - factor) + new * factor)
    return outputs


def _norm_inference(node: Node) -> Variable:
    x, scale, bias, mean, variance, epsilon = node.inputs
    return _normalized(x, mean, scale / pt.sqrt(variance + epsilon), bias)


def _norm_gradient(node: Node) -> list[Variable]:
    x, cotangent, scale, mean, inverse, _ = node.inputs
    axes = tuple(node.op["axes"])
    centred = x - mean
    slope = pt.mean(cotangent * centred, axes, keepdims=True) * inverse**3
    through = cotangent * inverse - centred * slope
    return [
        scale * (through - pt.mean(through, axes, keepdims=True)),
        pt.sum(cotangent * inverse * centred, axes, keepdims=True),
        pt.sum(cotangent, axes, keepdims=True),
    ]


ROWS: Rows = {
    "tensor.Softmax": lambda node: Softmax(axis=node.op["axis"])(*node.inputs),
    "tensor.LogSoftmax": lambda node: LogSoftmax(axis=node.op["axis"])(*node.inputs),
    "tensor.SoftmaxGrad": _softmax_grad,
    "tensor.SoftmaxWithBias": _softmax_with_bias,
    "tensor.CrossentropySoftmaxArgmax1HotWithBias": _crossentropy,
    "tensor.CrossentropySoftmax1HotWithBiasDx": _crossentropy_gradient,
    "tensor.CrossentropyCategorical1Hot": _categorical,
    "tensor.CrossentropyCategorical1HotGrad": _categorical_gradient,
    "tensor.Prepend_scalar_constant_to_each_row": lambda node: _prepended(
        node.inputs[0], node.op["val"]
    ),
    "tensor.Prepend_scalar_to_each_row": lambda node: _prepended(
        node.inputs[1], node.inputs[0]
    ),
    "tensor.AbstractBatchNormTrain": _norm_train,
    "tensor.AbstractBatchNormInference": _norm_inference,
    "tensor.AbstractBatchNormTrainGrad": _norm_gradient,
}

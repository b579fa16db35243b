"""Softmax, cross entropy, norms."""

import aesara
import numpy as np

from aesara_graphs import POSITIVE, M, V, graph, of


@graph
def softmax_with_bias():
    from aesara.tensor.nnet.basic import softmax_with_bias

    return of(softmax_with_bias, M, V[:3])


@graph
def crossentropy():
    from aesara.tensor.nnet import basic

    def fn(x, b, y):
        nll, probabilities, argmax = basic.crossentropy_softmax_argmax_1hot_with_bias(
            x, b, y
        )
        hot = basic.crossentropy_categorical_1hot(probabilities, y)
        gradients = aesara.grad(nll.sum() + hot.sum(), [x, b])
        return [nll, probabilities, argmax, hot, *gradients]

    return of(fn, M, V[:3], np.array([2, 0]))


@graph
def prepend():
    from aesara.tensor.nnet.basic import (
        Prepend_scalar_constant_to_each_row,
        Prepend_scalar_to_each_row,
    )

    return of(
        lambda x, v: [
            Prepend_scalar_to_each_row()(v, x),
            Prepend_scalar_constant_to_each_row(2.0)(x),
        ],
        M,
        np.float64(3.0),
    )


@graph
def batch_normalization():
    from aesara.tensor.nnet.batchnorm import (
        batch_normalization,
        batch_normalization_test,
        batch_normalization_train,
    )

    def fn(x, gamma, beta):
        trained = batch_normalization_train(x, gamma, beta)
        gradients = aesara.grad((trained[0] ** 2).sum(), [x, gamma, beta])
        tested = batch_normalization_test(x, gamma, beta, beta, gamma)
        plain = batch_normalization(x, gamma, beta, beta, gamma)
        return [*trained, *gradients, tested, plain]

    return of(fn, np.vstack([M, 2 * M + 1]), POSITIVE[None, :3], V[None, :3])

"""Linear algebra."""

import aesara.tensor as at
import numpy as np
from aesara.tensor import fft, nlinalg, slinalg

from aesara_graphs import B, M, S, V, graph, of, register_all

L = np.linalg.cholesky(S)
LINALG = {
    "det": (nlinalg.det, S),
    "inverse": (nlinalg.matrix_inverse, S),
    "pinv": (nlinalg.pinv, B),
    "eigh": (lambda x: [nlinalg.eigh(x)[0], abs(nlinalg.eigh(x, "U")[1])], S),
    "eig": (lambda x: at.sort(nlinalg.eig(x)[0]), S),
    "svd": (lambda x: [nlinalg.svd(x)[1], nlinalg.svd(x, compute_uv=False)], B),
    "qr": (lambda x: [abs(v) for v in nlinalg.qr(x)], B),
    "qr_complete": (lambda x: [abs(nlinalg.qr(x, "complete")[1])], B),
    "qr_r": (lambda x: abs(nlinalg.qr(x, "r")), B),
    "lstsq": (lambda x, y: nlinalg.lstsq(x, y, np.float64(-1.0))[0], B, S[:, :1]),
    "tensorinv": (lambda x: nlinalg.tensorinv(x, 1), S),
    "tensorsolve": (
        lambda a, b: nlinalg.tensorsolve(a, b), np.eye(6).reshape(2, 3, 2, 3) + 1, M),
    "matrix_power": (lambda x: nlinalg.matrix_power(x, 3), S),
    "norm": (lambda x: [nlinalg.norm(x, "fro"), nlinalg.norm(x, 1)], S),
    "cholesky": (lambda x: [slinalg.cholesky(x), slinalg.Cholesky(lower=False)(x)], S),
    "cholesky_nan": (lambda x: slinalg.Cholesky(on_error="nan")(x), -S),
    "solve": (lambda a, b: [slinalg.solve(a, b), slinalg.solve(a, b[:, 0])], S, B),
    "solve_sym": (lambda a, b: slinalg.solve(a, b, assume_a="sym", lower=True), S, B),
    "solve_pos": (lambda a, b: slinalg.solve(a, b, assume_a="pos"), S, B),
    "solve_triangular": (lambda a, b: [
        slinalg.solve_triangular(a, b, lower=True),
        slinalg.solve_triangular(a, b, lower=True, trans=1),
        slinalg.solve_triangular(a, b[:, 0], lower=False, unit_diagonal=True)], S, B),
    "cholesky_solve": (lambda a, b: slinalg.cho_solve((a, True), b), L, B),
    "eigvalsh": (lambda a: slinalg.eigvalsh(a, at.eye(3)), S),
    "expm": (slinalg.expm, S / 4),
    "kron": (slinalg.kron, M, B),
    "lyapunov_continuous": (
        lambda a, q: slinalg.solve_continuous_lyapunov(a, q), S, np.eye(3)),
    "lyapunov_discrete": (lambda a, q: slinalg.solve_discrete_lyapunov(
        a, q, method="bilinear"), S / 8, np.eye(3)),
    "lyapunov_direct": (lambda a, q: slinalg.solve_discrete_lyapunov(a, q), S / 8, S),
    "gemm": (lambda z, x, y: at.blas.gemm_no_inplace(
        z, np.float64(0.5), x, y, np.float64(2.0)), np.eye(2), M, B),
    "gemv": (lambda y, a, x: at.blas.gemv_no_inplace(
        y, np.float64(0.5), a, x, np.float64(2.0)), V[:2], M, V[:3]),
    "ger": (lambda a, x, y: at.blas.ger(a, np.float64(0.5), x, y), M, V[:2], V[:3]),
    "dot22": (lambda x, y: at.blas._dot22(x, y), M, B),
    "dot22scalar": (lambda x, y, a: at.blas._dot22scalar(x, y, a), M, B, 2.0),
    "rfft": (lambda x: [fft.rfft(x), fft.irfft(fft.rfft(x))], np.stack([V, V])),
    "rfft_norm": (lambda x: fft.rfft(x, norm="ortho"), np.stack([V, V])),
    "convolve": (lambda x, y: [
        at.math.Convolve("full")(x, y), at.math.Convolve("valid")(x, y)], V, V[:3]),
    "float32_solve": (slinalg.solve, S.astype("float32"), B.astype("float32")),
    "float32_cholesky": (slinalg.cholesky, S.astype("float32")),
}  # fmt: skip
register_all(LINALG, "linalg_")


@graph
def fourier():
    from aesara.tensor.fourier import fft

    return of(lambda x: [at.real(fft(x, 8, 0)), at.imag(fft(x, 8, 0))], V)

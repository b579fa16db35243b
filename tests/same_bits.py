"""Whether two versions of the library give the same bits.

``python tests/same_bits.py record FILE`` writes draws, values and gradients: of all
distributions in the tests, all models of the zoo, all scalar Ops and a few graphs of
each other area. ``python tests/same_bits.py compare FILE`` computes them again and
lists those that differ in a bit. Run the first before a change that must change
nothing, in the same environment.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import conftest as conftest  # settings that have to stand before JAX is imported
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.scalar as ps
import pytensor.sparse
import pytensor.tensor as pt
from distributions import CASES
from distributions.harness import inputs_of
from models import MODELS
from pytensor.conditional.op import ifelse
from pytensor.scalar import math as psm
from pytensor.scan.utils import until
from pytensor.tensor.elemwise import Elemwise
from support import SCALAR_OPS, grid, unoptimized

import jaxlink
import jaxlink.pymc as jlpm

KEY = jax.random.key(20)
INTEGERS = (ps.AND, ps.OR, ps.XOR, ps.Invert)

Results = Iterator[tuple[str, Callable[[], Any]]]


def all_results() -> Results:
    """The name of each result, and a function that computes it, as a pytree."""
    for name in CASES:
        yield f"distribution {name}", partial(distribution, name)
    for name in MODELS:
        yield f"model {name}", partial(model, name)
    for scalar_op in SCALAR_OPS.values():
        yield f"scalar {scalar_op}", partial(scalar, scalar_op)
    for name, build in GRAPHS.items():
        yield f"graph {name}", partial(graph, build)
    for name, run in CALLS.items():
        yield f"call {name}", run


def distribution(name: str) -> Any:
    """Draws, draws in a batch of keys, and slopes of the draws."""
    case = CASES[name]
    inputs = inputs_of(case)
    fn = jaxlink.function(inputs, case.build(*inputs))
    values = case.values if case.batched else [v[0] for v in case.values]
    wrt = tuple(i + 1 for i in case.slopes)

    @unoptimized
    def run(key, *args):
        results = {"draw": fn(key, *args)}
        results["batch"] = jax.vmap(lambda k: fn(k, *args))(jax.random.split(key, 3))
        if wrt:
            results["slopes"] = jax.grad(lambda *a: fn(*a).sum(), wrt)(key, *args)
        return results

    return run(KEY, *values)


def model(name: str) -> Any:
    """The log density with its gradient, prior and predictive draws."""
    entry = MODELS[name]
    built = entry.build()
    results = {}
    with built:
        start = jlpm.initial_position(built)(KEY)
        logdensity = jlpm.logdensity(built)
        key = (KEY,) if logdensity.takes_key else ()
        slopes = jax.value_and_grad(logdensity, len(key), allow_int=True)
        results["logdensity"] = unoptimized(slopes)(*key, start)
        if entry.no_prior is None:
            results["prior"] = unoptimized(jlpm.prior(built))(KEY)
        if entry.no_predictive is None and built.observed_RVs:
            predictive = jlpm.posterior_predictive(built)
            constrain = jlpm.constrain(built)
            values = constrain(*((KEY,) if constrain.takes_key else ()), start)
            draws = unoptimized(predictive)(KEY, values)
            results["predictive"] = draws
    return results


def scalar(scalar_op: ps.ScalarOp) -> Any:
    """Values on a grid, and slopes."""
    n = getattr(scalar_op, "nin", 1)
    n = n if n > 0 else 2
    dtypes = ["int64" if isinstance(scalar_op, INTEGERS) else "float64"] * n
    if isinstance(scalar_op, psm.PolyGamma):
        dtypes[0] = "int64"
    if isinstance(scalar_op, ps.Switch):
        dtypes[0] = "bool"
    rng = np.random.default_rng(1)
    values = [rng.choice(grid(dtype), 40) for dtype in dtypes]
    inputs = [pt.vector(dtype=dtype) for dtype in dtypes]
    outputs = Elemwise(scalar_op)(*inputs, return_list=True)
    fn = jaxlink.function(inputs, outputs)
    smooth = [i for i, o in enumerate(outputs) if o.type.dtype == "float64"]
    wrt = tuple(i for i, dtype in enumerate(dtypes) if dtype == "float64")

    @unoptimized
    def run(*args):
        results = {"value": fn(*args)}
        if smooth and wrt:
            results["slopes"] = jax.grad(
                lambda *a: sum(fn(*a)[i].sum() for i in smooth), wrt
            )(*args)
        return results

    return run(*values)


def graph(build: Callable[[Any, Any], Any]) -> Any:
    """Values and gradient of a graph of a vector and a matrix."""
    x, m = pt.dvector("x"), pt.dmatrix("m")
    output = build(x, m)
    fn = jaxlink.function([x, m], output, on_unused_input="ignore")
    rng = np.random.default_rng(3)
    a = rng.normal(size=(4, 4))
    args = rng.normal(size=4), a @ a.T + np.eye(4)

    @unoptimized
    def run(*args):
        value = fn(*args)
        return value, jax.grad(lambda *a: fn(*a).sum(), (0, 1))(*args)

    return run(*args)


def _scan(step: Callable[..., Any], **kwargs: Any) -> Any:
    return pytensor.scan(step, **kwargs, return_updates=False)


GRAPHS = {
    "reductions": lambda x, m: pt.stack(
        [m.sum(), m.prod(), m.max(), m.std(), pt.logsumexp(m), m.argmax(), x.min()]
    ),
    "products": lambda x, m: m @ x + pt.outer(x, x) @ m.T @ x + pt.cumsum(m, 0)[1],
    "cholesky": lambda x, m: pt.linalg.cholesky(m) @ x,
    "solve": lambda x, m: pt.linalg.solve(m, x) + pt.linalg.solve_triangular(m, x),
    "inverse": lambda x, m: pt.linalg.inv(m) + pt.linalg.pinv(m),
    "determinants": lambda x, m: pt.linalg.det(m) + pt.linalg.slogdet(m)[1],
    "eigenvalues": lambda x, m: pt.linalg.eigh(m)[0] + pt.linalg.svd(m)[1],
    "qr": lambda x, m: pt.linalg.qr(m)[1],
    "lu": lambda x, m: pt.linalg.lu(m)[2],
    "lyapunov": lambda x, m: pt.linalg.solve_continuous_lyapunov(m, pt.outer(x, x)),
    "expm": lambda x, m: pt.linalg.expm(m / 10),
    "indexing": lambda x, m: (
        x[1:] * m[pt.argsort(x), 0][1:] + m[::-1, 2][:3] + m[[0, 2, 3], [1, 1, 0]]
    ),
    "writes": lambda x, m: m[1:3, [0, 2]].set(x[:2]).sum(0) + pt.set_subtensor(x[2], 3),
    "masks": lambda x, m: pt.stack([x[x > 0].sum(), m[x < 1].max(), x[x > 0].mean()]),
    "sorting": lambda x, m: pt.sort(x) + pt.sort(m, 0)[2] + pt.repeat(x[:2], 2),
    "joining": lambda x, m: (
        pt.concatenate([m, m.T], 1)[:, ::2] + pt.stack([x, x], 1)[:, :1]
    ),
    "branches": lambda x, m: ifelse(x[0] > 0, m @ x, pt.log(x)),
    "switches": lambda x, m: pt.switch(x > 0, pt.log(x), x**2) + pt.clip(x, -0.5, 0.5),
    "scan": lambda x, m: _scan(
        lambda a, s, m: pt.tanh(m @ s + a), sequences=x, outputs_info=x, non_sequences=m
    ),
    "scan with taps": lambda x, m: _scan(
        lambda a, s, t: a * s + 0.5 * t,
        sequences=x,
        outputs_info=[{"initial": m[0], "taps": [-1, -3]}],
    ),
    "scan that stops": lambda x, m: _scan(
        lambda s: (s * 1.5, until(s > 10)),
        outputs_info=pt.abs(x[0]) + 1,
        n_steps=20,
    )[-1],
    "sparse": lambda x, m: pytensor.sparse.dot(
        pytensor.sparse.csr_from_dense(m), x[:, None]
    ),
    "convolution": lambda x, m: pt.signal.convolve1d(x, m[0]),
    "fft": lambda x, m: pt.fft.rfft(m),
}


def _small_model() -> pm.Model:
    with pm.Model(coords={"school": range(3)}) as built:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfNormal("tau", 5)
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Normal("y", theta, [15.0, 10.0, 16.0], observed=[28.0, 8.0, -3.0])
    return built


def _tree(tree: Any) -> dict[str, np.ndarray]:
    return {
        f"{group.path}/{name}": var.values
        for group in tree.subtree
        for name, var in group.data_vars.items()
        if "time" not in name and "path" not in name
    }


def _sample(**kwargs: Any) -> dict[str, np.ndarray]:
    return _tree(
        jlpm.sample(
            model=_small_model(),
            **{"draws": 20, "tune": 20, "chains": 2, "random_seed": 4} | kwargs,
            progressbar=False,
            compute_convergence_checks=False,
        )
    )


def _predict() -> dict[str, np.ndarray]:
    built = _small_model()
    prior = jlpm.sample_prior_predictive(30, model=built, random_seed=3)
    trace = jlpm.sample(
        10, tune=10, chains=1, model=built, random_seed=1, progressbar=False
    )
    found = jlpm.sample_posterior_predictive(
        trace, model=built, random_seed=2, progressbar=False
    )
    computed = jlpm.compute_log_likelihood(trace, model=built, progressbar=False)
    return {
        **{f"prior {k}": v for k, v in _tree(prior).items()},
        **{f"predictive {k}": v for k, v in _tree(found).items()},
        **{f"computed {k}": v for k, v in _tree(computed).items()},
    }


def _fit() -> dict[str, np.ndarray]:
    approximation = jlpm.fit(50, model=_small_model(), random_seed=3, progressbar=False)
    return _tree(approximation.sample(10, random_seed=5))


CALLS: dict[str, Callable[[], Any]] = {
    "sample": _sample,
    "sample with numpyro": partial(_sample, nuts_sampler="numpyro"),
    "predict": _predict,
    "fit": _fit,
}


# --- files ---------------------------------------------------------------------------


def flat() -> dict[str, np.ndarray]:
    """Every result by name. One that raises is its error, by type."""
    found: dict[str, np.ndarray] = {}
    for name, compute in all_results():
        jax.clear_caches()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("pymc").setLevel(logging.ERROR)
            try:
                tree = compute()
            except Exception as error:
                found[f"{name} raises"] = np.array(type(error).__name__)
                continue
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            found[name + jax.tree_util.keystr(path)] = as_bits(leaf)
        print(name, file=sys.stderr, flush=True)
    return found


def as_bits(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return np.array([]) if array.dtype == jax.dtypes.float0 else array


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def main(command: str, file: str) -> None:
    path = Path(file).with_suffix(".npz")
    results = flat()
    print(*(name for name in results if name.endswith(" raises")), sep="\n")
    if command == "record":
        np.savez_compressed(
            path, **{k.replace("/", "|"): v for k, v in results.items()}
        )
        print(f"{len(results)} results in {path}")
        return
    with np.load(path) as recorded:
        before = {k.replace("|", "/"): recorded[k] for k in recorded.files}
    differing = sorted(
        name
        for name in before.keys() | results.keys()
        if name not in before
        or name not in results
        or not same(before[name], results[name])
    )
    print(
        f"{len(before)} results recorded, {len(differing)} differ",
        *differing,
        sep="\n  ",
    )
    sys.exit(bool(differing))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""NUTS of BlackJAX and of NumPyro behind one interface: one chain, one step.

A `Kernel` is two functions of a single chain, so code that maps chains over an axis or
over devices, or cuts a run into pieces, treats both libraries alike. A step gets its
number, and the warm-up happens within the first ``tune`` steps: one compiled program
serves warm-up and sampling.

The kernels work in JAX's default float type, as their own constants do, for variables
of any type. Neither library is strict about dtypes, so both run under standard
promotion.

Hoffman, Gelman (2014). The No-U-Turn Sampler. JMLR 15(47).
Betancourt (2017). A Conceptual Introduction to Hamiltonian Monte Carlo.
Stan's reference manual, "HMC algorithm parameters", for the schedule of the warm-up.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlink.call.identity import value_identity
from jaxlink.optional import load
from jaxlink.pymc.shared.arguments import check_names

__all__ = [
    "KERNELS",
    "OPTIONS",
    "EvaluatedPosition",
    "Kernel",
    "Shapes",
    "make_kernel",
]

Shapes = Mapping[str, jax.ShapeDtypeStruct]
# a vector, or a dict of arrays by name
Position = Any
LogDensity = Callable[[Position], jax.Array]
Stats = dict[str, jax.Array]


class EvaluatedPosition(NamedTuple):
    """A position, the log density there, and its gradient."""

    position: Position
    logp: jax.Array
    gradient: Position


class Kernel(NamedTuple):
    """One chain's sampler.

    Attributes:
        init: ``(log_density, initial, key) -> state``, at an initial position.
        step: ``(log_density, state, key, t) -> (state, position, stats)``; ``t`` counts
            from 0, the first step of the warm-up.
        identity: equal for kernels that do the same; ``None`` if a program of this one
            must not outlive its run.
        by_name: whether it moves a dict of arrays by name, and not one vector.
    """

    init: Callable[[LogDensity, EvaluatedPosition, jax.Array], Any]
    step: Callable[[LogDensity, Any, jax.Array, Any], tuple[Any, Position, Stats]]
    identity: Hashable | None = None
    by_name: bool = False


# --- BlackJAX ---


class _Tuning(NamedTuple):
    """BlackJAX's warm-up: the adaptation of step size and metric, and the step size."""

    dual_averaging: Any
    metric: Any
    step_size: jax.Array


_BLACKJAX_OPTIONS = (
    "max_treedepth",
    "max_num_doublings",
    "is_mass_matrix_diagonal",
    "initial_step_size",
    "initial_inverse_mass_matrix",
    "divergence_threshold",
    "integrator",
)


def blackjax_kernel(
    tune: int, target_accept: float, options: Mapping[str, Any]
) -> Kernel:
    """BlackJAX's NUTS with Stan's warm-up.

    In the warm-up the step size adapts at each step, by dual averaging. The inverse
    mass matrix (diagonal by default) adapts in windows of doubling length; after each,
    dual averaging restarts. The final step size is the average over the last window.
    """
    blackjax = load("blackjax", 'nuts_sampler="blackjax"')
    from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
    from blackjax.adaptation.step_size import dual_averaging_adaptation
    from blackjax.adaptation.window_adaptation import build_schedule

    check_names(options, _BLACKJAX_OPTIONS, "option of BlackJAX's NUTS")
    depth = options.get("max_num_doublings", options.get("max_treedepth", 10))
    built = {
        k: options[k] for k in ("integrator", "divergence_threshold") if k in options
    }
    transition = blackjax.nuts.build_kernel(**built)
    step_init, step_update, step_final = dual_averaging_adaptation(target_accept)
    metric_init, metric_update, metric_final = mass_matrix_adaptation(
        options.get("is_mass_matrix_diagonal", True)
    )
    # One row per warm-up step: whether its window adapts the metric, and whether such a
    # window ends there. An extra row, so that it can be indexed without any warm-up.
    with jax.numpy_dtype_promotion("standard"):
        schedule = jnp.asarray([*build_schedule(tune).tolist(), (0, 0)], bool)

    def init(
        log_density: LogDensity, initial: EvaluatedPosition, key: jax.Array
    ) -> Any:
        del log_density, key
        with jax.numpy_dtype_promotion("standard"):
            size = sum(leaf.size for leaf in jax.tree.leaves(initial.position))
            metric = metric_init(size, options.get("initial_inverse_mass_matrix"))
            step_size = jnp.asarray(options.get("initial_step_size", 1.0), float)
            tuning = _Tuning(step_init(step_size), metric, step_size)
            chain = blackjax.mcmc.hmc.HMCState(*initial)
            return _strong((chain, tuning))

    def adapt(t: Any, position: Position, rate: jax.Array, tuning: _Tuning) -> _Tuning:
        dual, metric, _ = tuning
        in_window, at_end = schedule[t]
        dual = step_update(dual, rate)
        metric = jax.lax.cond(
            in_window, lambda: _strong(metric_update(metric, position)), lambda: metric
        )
        dual, metric = jax.lax.cond(
            at_end,
            lambda: _strong((step_init(step_final(dual)), metric_final(metric))),
            lambda: _strong((dual, metric)),
        )
        last = jnp.where(t == tune - 1, dual.log_step_size_avg, dual.log_step_size)
        return _strong(_Tuning(dual, metric, jnp.exp(last)))

    def step(
        log_density: LogDensity, state: Any, key: jax.Array, t: Any
    ) -> tuple[Any, Position, Stats]:
        chain, tuning = state
        with jax.numpy_dtype_promotion("standard"):
            metric = tuning.metric.inverse_mass_matrix
            chain, info = transition(
                key, chain, log_density, tuning.step_size, metric, depth
            )
            new = jax.lax.cond(
                t < tune,
                lambda: adapt(t, chain.position, info.acceptance_rate, tuning),
                lambda: tuning,
            )
            stats = {
                "diverging": info.is_divergent,
                "step_size": tuning.step_size,
                "acceptance_rate": info.acceptance_rate,
                "energy": info.energy,
                "lp": chain.logdensity,
                "tree_depth": info.num_trajectory_expansions,
                "n_steps": info.num_integration_steps,
                "reached_max_treedepth": (info.num_trajectory_expansions >= depth)
                & ~info.is_turning
                & ~info.is_divergent,
            }
        return (chain, new), chain.position, stats

    return Kernel(init, step)


# --- NumPyro ---

_NUMPYRO_OPTIONS = (
    "max_treedepth",
    "max_tree_depth",
    "step_size",
    "inverse_mass_matrix",
    "adapt_step_size",
    "adapt_mass_matrix",
    "dense_mass",
    "find_heuristic_step_size",
    "forward_mode_differentiation",
    "regularize_mass_matrix",
)


def numpyro_kernel(
    tune: int, target_accept: float, options: Mapping[str, Any]
) -> Kernel:
    """NumPyro's NUTS, with its own warm-up."""
    load("numpyro", 'nuts_sampler="numpyro"')
    from numpyro.infer.hmc import hmc
    from numpyro.infer.hmc_util import build_adaptation_schedule
    from numpyro.infer.util import ParamInfo

    check_names(options, _NUMPYRO_OPTIONS, "option of NumPyro's NUTS")
    depth = options.get("max_tree_depth", options.get("max_treedepth", 10))
    passed = {name: options[name] for name in _NUMPYRO_OPTIONS[2:] if name in options}
    potential = _Potential()
    init_kernel, sample_kernel = hmc(potential_fn_gen=potential, algo="NUTS")
    ends = jnp.asarray([window.end for window in build_adaptation_schedule(tune)])

    def init(
        log_density: LogDensity, initial: EvaluatedPosition, key: jax.Array
    ) -> Any:
        position, logp, gradient = initial
        with jax.numpy_dtype_promotion("standard"):
            return init_kernel(
                ParamInfo(position, -logp, jax.tree.map(jnp.negative, gradient)),
                num_warmup=tune,
                target_accept_prob=target_accept,
                max_tree_depth=depth,
                trajectory_length=None,
                model_args=(log_density,),
                rng_key=key,
                **passed,
            )

    def step(
        log_density: LogDensity, state: Any, key: jax.Array, t: Any
    ) -> tuple[Any, Position, Stats]:
        if not potential.traced:
            # The program of `init` was found, so NumPyro has not set itself up.
            initial = EvaluatedPosition(state.z, state.potential_energy, state.z_grad)
            jax.eval_shape(partial(init, log_density), initial, key)
        with jax.numpy_dtype_promotion("standard"):
            # The window follows from the number of the step, which all chains share. So
            # the branches of the warm-up stay branches when chains are mapped, and only
            # the one that is needed runs.
            window = jnp.sum(ends < t).astype(state.adapt_state.window_idx.dtype)
            tuning = state.adapt_state._replace(window_idx=window)
            before = state._replace(
                i=jnp.asarray(t, state.i.dtype), rng_key=key, adapt_state=tuning
            )
            after = sample_kernel(before, (log_density,), {})
            last = after.num_steps.astype(after.energy.dtype)
            tree_depth = jnp.floor(jnp.log2(last)).astype(after.num_steps.dtype) + 1
            stats = {
                "diverging": after.diverging,
                "step_size": tuning.step_size,
                "acceptance_rate": after.accept_prob,
                "energy": after.energy,
                "lp": -after.potential_energy,
                "tree_depth": tree_depth,
                "n_steps": after.num_steps,
                "reached_max_treedepth": (tree_depth >= depth) & ~after.diverging,
            }
        return after, after.z, stats

    by_name = isinstance(passed.get("dense_mass"), list)
    return Kernel(init, step, by_name=by_name)


class _Potential:
    """Makes potential functions for NumPyro. NumPyro keeps the one that it gets while
    `init` is traced, and calls it while `step` is traced. So all of them use the log
    density of the last trace: those of others are tracers that are gone."""

    def __init__(self) -> None:
        self.traced: list[LogDensity] = []

    def __call__(self, log_density: LogDensity) -> LogDensity:
        self.traced = [log_density]
        return lambda position: -self.traced[0](position)


def _strong(tree: Any) -> Any:
    """Arrays without weak types, so that a state keeps its types in a loop."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)


# (number of warm-up steps, target acceptance rate, the sampler's own options) -> kernel
KERNELS: dict[str, Callable[[int, float, Mapping[str, Any]], Kernel]] = {
    "blackjax": blackjax_kernel,
    "numpyro": numpyro_kernel,
}


def make_kernel(
    sampler: str, tune: int, target_accept: float, options: Mapping[str, Any]
) -> Kernel:
    """The kernel of a sampler.

    Arguments:
        sampler: a name in `KERNELS`.
        tune: the number of warm-up steps.
        target_accept: the target acceptance rate.
        options: the sampler's own options.
    """
    make = KERNELS[sampler]
    identity = value_identity([make, tune, target_accept, options])
    return make(tune, target_accept, options)._replace(identity=identity)


# The options of each sampler's NUTS that have a name here; `nutpie.sample` has more.
OPTIONS: dict[str, tuple[str, ...]] = {
    "blackjax": _BLACKJAX_OPTIONS,
    "numpyro": _NUMPYRO_OPTIONS,
    "nutpie": ("max_treedepth", "maxdepth"),
}

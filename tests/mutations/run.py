"""Show that the default test run catches deliberate faults: see README.md.

``python tests/mutations/run.py`` puts one fault at a time into a copy of the repository
and runs tests of the default run there. Each fault must make one of them fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Looks for the texts below in the files as they should be, so it fails for each fault.
OWN_TEST = "tests/test_mutations.py"
PASSED, FAILED = 0, 1  # pytest's exit codes; the others are errors of its own


@dataclass(frozen=True)
class Mutation:
    """A fault: in ``file``, ``old`` becomes ``new``, and one of ``tests`` must fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The text of the file with the fault."""
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.file} has {self.old!r} {text.count(self.old)} times, not once: "
                "adapt the mutation to the code."
            )
        return text.replace(self.old, self.new)


MUTATIONS: dict[str, Mutation] = {
    # --- gradients
    "arctan2-slope-sign": Mutation(
        "jaxlink/numerics/arithmetic.py",
        "- t_x * (sin / radius)",
        "+ t_x * (sin / radius)",
        ("tests/test_gradients.py::test_elementwise[ArcTan2-float64]",),
    ),
    "maximum-tie": Mutation(
        "jaxlink/numerics/arithmetic.py",
        "(x >= y) | _isnan(x)",
        "(x > y) | _isnan(x)",
        ("tests/test_gradients.py::test_elementwise[Maximum-float64]",),
    ),
    "scaled-gradient-sign": Mutation(
        "jaxlink/dispatch/gradients.py",
        "t * jnp.asarray(op.multiplier",
        "-t * jnp.asarray(op.multiplier",
        ("tests/test_control.py::test_gradient_modifiers",),
    ),
    "gradient-of-other-branch": Mutation(
        "jaxlink/dispatch/control.py",
        "(chosen, ~chosen)",
        "(chosen, chosen)",
        ("tests/test_derivatives.py::test_zero_stays_zero[ifelse-float64]",),
    ),
    # --- programs without keys
    "draw-without-ref": Mutation(
        "jaxlink/sampling/in_loops.py",
        "if not _with_ref.value:",
        "if True:",
        ("tests/test_pjax_law.py::test_the_keys_of_a_construct",),
    ),
    "lanes-share-key": Mutation(
        "jaxlink/sampling/site.py",
        'elif how == "common":',
        "elif False:",
        ("tests/test_pjax_lanes.py::test_no_two_lanes_are_the_same",),
    ),
    "lanes-have-the-first-key": Mutation(
        "jaxlink/sampling/batching.py",
        "key = [_to_front(x, d) for x, d in zip(key, key_dims, strict=True)]",
        "key = [x if d is None else jnp.broadcast_to(x[:1], x.shape)"
        " for x, d in zip(key, key_dims, strict=True)]",
        ("tests/test_pjax_functions.py::test_lanes_that_stop_at_different_steps",),
    ),
    "draw-of-a-rule-from-the-process": Mutation(
        "jaxlink/sampling/source.py",
        "return _is_seeding.get()",
        "return False",
        ("tests/test_pjax_errors.py::test_a_rule_must_not_draw_alone",),
    ),
    "checkpoint-saves-no-key": Mutation(
        "jaxlink/sampling/checkpoint.py",
        'params={"site": replace(site, key="reuses")}',
        'params={"site": replace(site, key="fresh")}',
        ("tests/test_pjax_law.py::test_the_keys_of_a_construct",),
    ),
    "stopped-lane-wakes": Mutation(
        "jaxlink/sampling/control_flow.py",
        "return alive & goes_on(t + one, carry), t + one, carry",
        "return goes_on(t + one, carry), t + one, carry",
        ("tests/test_pjax_law.py::test_the_keys_of_a_construct",),
    ),
    "steps-share-scope": Mutation(
        "jaxlink/sampling/seed.py",
        "return None if feed is None else fold_in_each(feed, length)",
        "return None if feed is None else jax.numpy.broadcast_to(feed, (length,))",
        ("tests/test_pjax_law.py::test_the_keys_of_a_construct",),
    ),
    "roots-have-one-key": Mutation(
        "jaxlink/sampling/seed.py",
        "return feeds.draws, first_of_each(feeds.draws)",
        "return feeds.draws, first_of_each(feeds.draws[:1].repeat(n))",
        ("tests/test_pjax_functions.py::test_models",),
    ),
    "key-baked-in": Mutation(
        "jaxlink/sampling/primitive.py",
        "mlir.register_lowering(sample_p, _lower)",
        "mlir.register_lowering("
        "sample_p, mlir.lower_fun(lambda *x, site: _eager(*x, site=site), True))",
        ("tests/test_pjax_errors.py::test_a_draw_without_a_key_is_not_compiled",),
    ),
    "moves-not-refused": Mutation(
        "jaxlink/sampling/seed.py",
        "refuse_moves(jaxpr)",
        "pass",
        ("tests/test_pjax_nestings.py::test_what_a_rule_would_move_is_an_error",),
    ),
    "branch-not-taken-counts": Mutation(
        "jaxlink/sampling/interpret.py",
        "return outs, [*zeros[:b], own, *zeros[b + 1 :]]",
        "return outs, zeros",
        ("tests/test_pjax_programs.py::test_log_density",),
    ),
    "lanes-of-a-known-value": Mutation(
        "jaxlink/sampling/given.py",
        "mapped = [d is not None for d in dims]",
        "mapped = [True for d in dims]",
        ("tests/test_pjax_programs.py::test_a_known_value_counts_in_each_lane",),
    ),
    # --- chains
    "chain-keys-in-another-order": Mutation(
        "jaxlink/chains/run.py",
        "keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_chains))",
        "keys = jax.vmap(jax.random.fold_in, (None, 0))"
        "(key, jnp.arange(num_chains)[::-1])",
        ("tests/test_chains.py::test_all_methods_have_the_same_chains",),
    ),
    "chains-of-another-key-taken": Mutation(
        "jaxlink/chains/kept.py",
        "if had != has:",
        "if False:",
        ("tests/test_chains.py::test_chains_of_another_run_are_not_taken",),
    ),
    "failed-chain-kept": Mutation(
        "jaxlink/chains/run.py",
        "failed = {i: x for i, x in found.items() if isinstance(x, BaseException)}",
        "failed = {}",
        (
            "tests/test_chains.py::test_a_chain_that_raises_is_named_and_the_others_are_"
            "kept",
        ),
    ),
    "worker-precision-of-its-own": Mutation(
        "jaxlink/chains/workers.py",
        "x64 = bool(jax.config.jax_enable_x64)",
        "x64 = True",
        ("tests/test_chains.py::test_workers_have_the_caller_s_precision",),
    ),
    "key-of-the-default-kind": Mutation(
        "jaxlink/chains/host.py",
        "jnp.asarray(x.words), impl=x.impl",
        "jnp.asarray(x.words), impl=None",
        ("tests/test_chains.py::test_keys_of_every_implementation",),
    ),
    # --- exports, and symbolic sizes
    "exported-draws-not-mapped-over-keys": Mutation(
        "jaxlink/exports/arguments.py",
        "return jax.vmap(on_free, self.axes)(*free)",
        "return jax.vmap(lambda *x: on_free(free[0][0], *x[1:]), self.axes)(*free)",
        ("tests/test_exports.py::test_draws_are_the_same_bits",),
    ),
    "key-of-any-implementation-loaded": Mutation(
        "jaxlink/exports/load.py",
        "if impl != leaf.dtype:",
        "if False:",
        ("tests/test_exports.py::test_wrong_keys",),
    ),
    "sizes-not-compared": Mutation(
        "jaxlink/exports/load.py",
        "if first != size:",
        "if False:",
        ("tests/test_exports.py::test_sizes_that_disagree",),
    ),
    "symbolic-length-in-64-bits": Mutation(
        "jaxlink/numerics/random/integers.py",
        """    if is_symbolic(bound):
        return False
""",
        """    if is_symbolic(bound):
        return True
""",
        ("tests/test_shape.py::test_symbolic_sizes[chosen]",),
    ),
    # --- replay
    "replayed-place-for-label": Mutation(
        "jaxlink/pymc/predict/redraw.py",
        "fold_in_data(every.coords[dim])[[i]]",
        "np.array([i])",
        ("tests/test_pymc_replay.py::test_a_thinned_tree",),
    ),
    "replayed-chain-is-the-first": Mutation(
        "jaxlink/pymc/mcmc/rerun.py",
        "each[chain : chain + 1]",
        "each[:1]",
        ("tests/test_pymc_replay.py::test_a_draw_again",),
    ),
    "replayed-step-off-by-one": Mutation(
        "jaxlink/pymc/mcmc/rerun.py",
        "steps=step + 1,",
        "steps=step + 2,",
        ("tests/test_pymc_replay.py::test_a_draw_again",),
    ),
    # --- values and dtypes
    "cumsum-axis": Mutation(
        "jaxlink/dispatch/reductions.py",
        "fn(x, axis=op.axis, dtype=x.dtype)",
        "fn(x, axis=0, dtype=x.dtype)",
        ("tests/test_reductions.py::test_cumulative",),
    ),
    "product-axis": Mutation(
        "jaxlink/numerics/reductions.py",
        "jnp.all(zero, axis=axis)",
        "jnp.all(zero)",
        ("tests/test_reductions.py::test_prod_without_zeros",),
    ),
    "accumulator-dtype": Mutation(
        "jaxlink/dispatch/reductions.py",
        "op.acc_dtype or to",
        "to",
        ("tests/test_reductions.py::test_dtypes_of_accumulator_and_output",),
    ),
    "cast-saturates": Mutation(
        "jaxlink/numerics/arithmetic.py",
        'x.astype(canonical("int64")).astype(canonical(to))',
        "x.astype(canonical(to))",
        ("tests/test_elemwise.py::test_cast_of_what_does_not_fit",),
    ),
    # --- loops
    "scan-tap": Mutation(
        "jaxlink/dispatch/scan/body.py",
        "buffer[at + tap]",
        "buffer[at + tap + 1]",
        ("tests/test_scan.py::test_all_taps",),
    ),
    "until-inverted": Mutation(
        "jaxlink/dispatch/scan/while_loop.py",
        "over.astype(bool)",
        "~over.astype(bool)",
        ("tests/test_scan.py::test_until",),
    ),
    # --- masks
    "mask-inverted": Mutation(
        "jaxlink/rewrites/masks/selections.py",
        "value.ndim), x, neutral)",
        "value.ndim), neutral, x)",
        ("tests/test_masks.py::test_reductions",),
    ),
    # --- draws
    "beta-parameters-swapped": Mutation(
        "jaxlink/numerics/random/gamma.py",
        "positive(alpha), positive(beta))",
        "positive(beta), positive(alpha))",
        ("tests/test_distributions.py::test_draws_of_a_size[beta]",),
    ),
    "student-t-key-twice": Mutation(
        "jaxlink/numerics/random/gamma.py",
        "_log_ratio(gamma_key",
        "_log_ratio(normal_key",
        ("tests/test_random_keys.py::test_no_key_is_used_twice[t]",),
    ),
    "stream-stands-still": Mutation(
        "jaxlink/values/streams.py",
        "count=self.count + step",
        "count=self.count",
        ("tests/test_streams.py::test_chained_generators",),
    ),
    # --- checks
    "checks-dropped": Mutation(
        "jaxlink/values/runtime_checks.py",
        "checks.left_out = True",
        "checks.left_out = False",
        ("tests/test_control.py::test_checks_are_free_unless_checkified",),
    ),
    "assert-first-condition": Mutation(
        "jaxlink/dispatch/control.py",
        "for condition in conditions:",
        "for condition in conditions[:1]:",
        ("tests/test_control.py::test_every_condition_of_a_check_counts",),
    ),
    # --- what is known before the call
    "nothing-static": Mutation(
        "jaxlink/link/static_operands.py",
        "for i in step.static:",
        "for i in ():",
        ("tests/test_dynamic_shapes.py::test_vectors_as_shapes",),
    ),
    # --- captured data
    "with-data-ignored": Mutation(
        "jaxlink/call/jax_function.py",
        "given = spec.name in new",
        "given = False",
        ("tests/test_pytree.py::test_with_data_compiles_nothing_again",),
    ),
    "constants-baked-in": Mutation(
        "jaxlink/rewrites/capture_constants.py",
        "LARGE = 1024",
        "LARGE = 10**9",
        ("tests/test_pytree.py::test_leaves_are_the_captured_data",),
    ),
    # --- models
    "jacobian-missing": Mutation(
        "jaxlink/pymc/model/density.py",
        "model.logp(list(terms.values()), jacobian=jacobian,",
        "model.logp(list(terms.values()), jacobian=False,",
        ("tests/test_pymc_functions.py::test_logdensity[True]",),
    ),
    "transform-missing": Mutation(
        "jaxlink/pymc/model/transforms.py",
        "rv if transform is None else",
        "rv if True else",
        ("tests/test_pymc_functions.py::test_unconstrain_undoes_constrain",),
    ),
    "parameter-check-dropped": Mutation(
        "jaxlink/dispatch/pymc/parameter_checks.py",
        "value = to_jax(value)\n        return jnp.where(legal, value,",
        "value = to_jax(value)\n        return jnp.where(True, value,",
        ("tests/test_pymc_functions.py::test_illegal_parameters_have_no_density",),
    ),
    # --- programs
    "constants-without-identity": Mutation(
        "jaxlink/call/identity.py",
        "return array.dtype.str, array.shape, content",
        "return array.dtype.str, array.shape",
        ("tests/test_cache.py::test_identity_of_a_graph",),
    ),
    "range-of-index-unchecked": Mutation(
        "jaxlink/dispatch/indexing/subtensor.py",
        "np.array([var.owner.op.low, var.owner.op.high])",
        "np.array([0, 0])",
        (
            "tests/test_executables.py"
            "::test_bounds_are_checked_although_indices_are_arguments",
        ),
    ),
    "digest-without-parameters": Mutation(
        "jaxlink/call/digest.py",
        "self.add((type(op), [getattr(op, name) for name in _props(op)]))",
        "self.add(type(op))",
        ("tests/test_executables.py::test_digests_tell_apart",),
    ),
    "constants-among-leaves": Mutation(
        "jaxlink/call/jax_function.py",
        "n = len(fn._data) if fn._form.exposed else fn._program.n_leaves",
        "n = len(fn._data)",
        ("tests/test_cache.py::test_small_constants_are_no_leaves",),
    ),
    "stack-shares-key": Mutation(
        "jaxlink/values/streams.py",
        "keys[np.array(rows), first.count]",
        "keys[np.array(rows) * 0, first.count]",
        ("tests/test_stacking.py::test_draws_keep_their_bits",),
    ),
    "unsafe-stack": Mutation(
        "jaxlink/rewrites/stacking/groups.py",
        "if not differentiated:",
        "if True:",
        (
            "tests/test_stacking.py"
            "::test_outputs_that_are_differentiated_apart_are_not_stacked",
        ),
    ),
    "draw-ahead-of-another-step": Mutation(
        "jaxlink/dispatch/scan/draws_ahead.py",
        "first + step + np.uint32(place)",
        "first + step",
        (
            "tests/test_random_timeseries.py"
            "::test_standard_draws_are_made_ahead_of_a_loop",
        ),
    ),
    # --- samples and chains
    "chunk-boundary": Mutation(
        "jaxlink/pymc/batched/chunks.py",
        "values[name][done - start : end - start]",
        "values[name][: end - done]",
        ("tests/test_chunks.py::test_blocks",),
    ),
    "chains-share-key": Mutation(
        "jaxlink/pymc/mcmc/chains.py",
        "key, jnp.arange(chains))",
        "key, 0 * jnp.arange(chains))",
        ("tests/test_pymc_sample.py::test_same_key_same_draws",),
    ),
    "starts-and-steps-share-key": Mutation(
        "jaxlink/pymc/mcmc/chains.py",
        "{purpose: fold_in(own, purpose) for",
        "{purpose: fold_in(own, 0 * purpose) for",
        ("tests/test_pymc_sample.py::test_draws_are_the_values_at_the_positions",),
    ),
}


def main() -> int:
    """Run what the command line asks for; 1 if any fault is not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="mutations; default: all")
    parser.add_argument("--list", action="store_true", help="list them, run nothing")
    parser.add_argument(
        "--all", action="store_true", help="run the whole default run for each"
    )
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in MUTATIONS]:
        parser.error(f"there is no mutation {unknown[0]!r}; --list shows all.")
    mutations = {name: MUTATIONS[name] for name in args.names or MUTATIONS}
    if args.list:
        for name, mutation in mutations.items():
            print(f"{name}\n    {mutation.file}: {mutation.old} -> {mutation.new}")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory).resolve()
        copy_repository(copy)
        tests = [test for mutation in mutations.values() for test in mutation.tests]
        if args.all:
            tests = [f"--ignore={OWN_TEST}"]
        check_baseline(copy, list(dict.fromkeys(tests)))
        results = [
            is_caught(copy, name, mutation, tests if args.all else mutation.tests)
            for name, mutation in mutations.items()
        ]
    print(f"{sum(results)} of {len(results)} faults were caught.")
    return 0 if all(results) else 1


def copy_repository(copy: Path) -> None:
    """Copy all files that Git tracks, and new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # not deleted
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)


def check_baseline(copy: Path, tests: Sequence[str]) -> None:
    """Without a fault the tests pass, and what they import is the copy."""
    found = run(copy, "-c", "import jaxlink; print(jaxlink.__file__)")
    if str(copy / "jaxlink" / "__init__.py") not in found.stdout.splitlines():
        raise SystemExit(f"the tests would not import the copy: {found.stdout}")
    result = pytest(copy, tests)
    if result.returncode != PASSED:
        raise SystemExit(f"the tests fail without a fault:\n{result.stdout}")


def is_caught(copy: Path, name: str, mutation: Mutation, tests: Sequence[str]) -> bool:
    """Whether tests fail with the fault; prints which one, or the output if not."""
    path, began = copy / mutation.file, time.perf_counter()
    text = path.read_text()
    path.write_text(mutation.applied(text))
    result = pytest(copy, tests)
    path.write_text(text)
    words = {PASSED: "SURVIVED", FAILED: "caught"}
    word = words.get(result.returncode, f"error {result.returncode}")
    print(f"{word:9} {name:27} {time.perf_counter() - began:5.1f} s")
    lines = result.stdout.splitlines()
    shown = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print(*(shown if result.returncode == FAILED else lines), sep="\n", flush=True)
    return result.returncode == FAILED


def pytest(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    options = ["-n", "0", "-q", "-x", "-p", "no:cacheprovider"]
    return run(copy, "-m", "pytest", *options, *tests)


def run(copy: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with ``copy`` as the directory and the first place of imports."""
    # Bytecode is found by a file's size and second, which a fault may leave as it was.
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *args],
        cwd=copy,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


if __name__ == "__main__":
    sys.exit(main())

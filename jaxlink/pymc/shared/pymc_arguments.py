"""PyMC's arguments that have no effect here, and what to write instead.

Functions that share a name with PyMC's take all of PyMC's arguments, by name and by
position. Arguments that concern PyMC's own machinery raise the errors of this module.
"""

import difflib
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxlink.pymc.shared.arguments import check_names

__all__ = ["idata_options", "refuse", "refuse_unknown", "silence_loggers"]

_ON_JAXLINK = (
    "everything here is compiled by jaxlink. To run PyMC's own function on jaxlink, "
    'call pm.{function}(..., compile_kwargs={{"mode": jaxlink.MODE}})'
)
_ADVICE = {
    "backend": f"leave it out, {_ON_JAXLINK}",
    "compile_kwargs": f"leave it out, {_ON_JAXLINK}",
    "fn_kwargs": f"leave it out, {_ON_JAXLINK}",
    # sample
    "blas_cores": "XLA has its own threads. Limit the chains that run at a time by "
    "cores=",
    "keep_warning_stat": "there are no such objects. See the statistics `diverging` "
    "and `reached_max_treedepth` in idata.sample_stats",
    "mp_ctx": "chains run in threads of one process. Limit their number by cores=, or "
    'run all chains in one program by chain_method="vectorized"',
    "step": "all variables are sampled by NUTS. PyMC's step methods run on jaxlink by "
    'pm.sample(step=..., compile_kwargs={{"mode": jaxlink.MODE}})',
    "trace": "the draws are returned as a DataTree. Save it with idata.to_zarr(path) "
    "or idata.to_netcdf(path)",
    # find_MAP
    **dict.fromkeys(
        ["use_grad", "use_hess", "use_hessp"],
        "the method says which derivatives are computed: none for method="
        '"Nelder-Mead" or "Powell", the Hessian for "trust-exact", its products for '
        '"Newton-CG"',
    ),
    "start": "use initvals",
    "seed": "use random_seed",
    "maxeval": "use maxiter",
    "return_raw": "use return_inferencedata=True, and the group optimizer_result",
    # fit
    "include_transformed": "pass it when you draw: "
    "approximation.sample(include_transformed=True)",
    "obj_optimizer": "use optimizer=, such as optimizer=optax.adam(1e-3)",
    "total_grad_norm_constraint": "use optimizer=optax.chain("
    "optax.clip_by_global_norm(c), optax.adam(1e-3))",
    "more_replacements": "replace the variables in the model, with pm.do",
    **dict.fromkeys(
        ["tf_n_mc", "test_optimizer", "more_tf_params"],
        "it concerns test functions, which ADVI does not have. Leave it out",
    ),
    **dict.fromkeys(
        ["more_obj_params", "more_updates"],
        "an optimization step is a JAX function without other variables. Write an "
        "optax.GradientTransformation, and pass it as optimizer=",
    ),
}


def refuse(function: str, **given: Any) -> None:
    """Raise for arguments that have no effect.

    Arguments:
        function: the name of the function.
        given: the arguments; ``None`` and empty values count as not given.

    Raises:
        TypeError: naming the first one given, and what to write instead.
    """
    for name, value in given.items():
        if value is None or (isinstance(value, Mapping) and not value):
            continue
        advice = _ADVICE[name].format(function=function)
        raise TypeError(f"{function} cannot use the argument {name}: {advice}.")


def refuse_unknown(
    function: str, given: Collection[str], allowed: Collection[str]
) -> None:
    """Raise for arguments that neither PyMC nor jaxlink has.

    Arguments:
        function: the name of the function.
        given: the unknown names.
        allowed: the known names.

    Raises:
        TypeError: naming the first one, with its near matches.
    """
    for name in given:
        near = difflib.get_close_matches(name, allowed, 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise TypeError(f"{function} has no argument {name}.{hint}")


@contextmanager
def silence_loggers(quiet: bool) -> Iterator[None]:
    """Silence PyMC's loggers, if ``quiet``."""
    loggers = [
        logging.getLogger(name)
        for name in ("pymc", "pymc.sampling.mcmc", "pymc.stats.convergence")
    ]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers if quiet else ():
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def idata_options(
    function: str, idata_kwargs: Mapping[str, Any] | None
) -> tuple[bool | None, dict[str, Any]]:
    """Read PyMC's ``idata_kwargs``.

    Returns:
        whether to return values of transformed variables, or ``None`` if not given; and
        the ``coords`` and ``dims`` to add to the model's.

    Raises:
        ValueError: an entry is unknown.
    """
    given = dict(idata_kwargs or {})
    for name in ("log_likelihood", "log_prior"):
        if given.pop(name, False):
            raise ValueError(
                f"{function} does not compute the {name}: call "
                f"jaxlink.pymc.compute_{name}(idata) with what it returns."
            )
    names = ("coords", "dims", "include_transformed")
    check_names(given, names, "entry of idata_kwargs")
    own = {name: given.get(name) or {} for name in names[:2]}
    return given.get("include_transformed"), own

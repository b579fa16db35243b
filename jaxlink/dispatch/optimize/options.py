"""Options for SciPy's optimisers, translated for the solvers of optimistix.

Every option is either honoured or rejected by name. A tolerance is a promise about the
result, so a solver may stop later than the tolerance says, but not earlier. A number of
iterations limits the solver's steps, each of which evaluates the function once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxlink.errors import UnsupportedOpError

# SciPy's method -> optimistix's solver for the same problem. If a method has no
# counterpart, we use the nearest: a solver with gradients (which JAX always has)
# instead of one without, and a quasi-Newton method instead of a trust region.
# optimistix has NelderMead and NonlinearCG, but in version 0.1.0 the first stops far
# from the minimum of Rosenbrock's function, and the second stalls on badly scaled
# functions.
MINIMIZE = {
    "bfgs": "BFGS",
    "l-bfgs-b": "LBFGS",
    "cg": "LBFGS",
    "newton-cg": "BFGS",
    "trust-ncg": "BFGS",
    "trust-exact": "BFGS",
    "trust-krylov": "BFGS",
    "trust-constr": "BFGS",
    "dogleg": "BFGS",
    "slsqp": "BFGS",
    "tnc": "LBFGS",
    "nelder-mead": "BFGS",
    "powell": "BFGS",
    "cobyla": "BFGS",
    "cobyqa": "BFGS",
}
ROOT = {
    "hybr": "Dogleg",
    "lm": "LevenbergMarquardt",
    "broyden1": "Dogleg",
    "broyden2": "Dogleg",
    "anderson": "Dogleg",
    "linearmixing": "Dogleg",
    "diagbroyden": "Dogleg",
    "excitingmixing": "Dogleg",
    "krylov": "Dogleg",
    "df-sane": "Dogleg",
}
ROOT_SCALAR = {
    "bisect": "Bisection",
    "brentq": "Bisection",
    "brenth": "Bisection",
    "ridder": "Bisection",
    "toms748": "Bisection",
    "newton": "Dogleg",
    "secant": "Dogleg",
    "halley": "Dogleg",
}
MINIMIZE_SCALAR = {
    "brent": "GoldenSearch",
    "golden": "GoldenSearch",
    "bounded": "GoldenSearch",
}

_TOLERANCES = ("tol", "gtol", "ftol", "xtol", "rtol", "xatol", "fatol", "xrtol")
_STEPS = ("maxiter", "maxfev", "maxfun")


@dataclass(frozen=True)
class Settings:
    """The options of one call.

    Arguments:
        tolerances: the given tolerances, by name.
        max_steps: the tightest limit on steps, or None if there is no limit.
        others: the other options that the caller understands.
    """

    tolerances: Mapping[str, float]
    max_steps: int | None
    others: Mapping[str, Any]

    def tightest(self, default: float, least: float) -> float:
        """The smallest tolerance, at most ``default`` and at least ``least``."""
        return max(min([default, *self.tolerances.values()]), least)

    def first(self, *names: str, default: float) -> float:
        """The first of the tolerances ``names`` that was given, or ``default``."""
        given = (self.tolerances[name] for name in names if name in self.tolerances)
        return next(given, default)


def solver_name(op: Any, methods: Mapping[str, str], default: str) -> str:
    """The name of optimistix's solver for ``op.method``.

    Raises:
        UnsupportedOpError: if the method has no counterpart.
    """
    method = default if op.method is None else op.method
    if isinstance(method, str) and method.lower() in methods:
        return methods[method.lower()]
    raise UnsupportedOpError(
        f"`{op}` uses the method {method!r}, which has no counterpart in JAX. Use one "
        f"of {', '.join(methods)}."
    )


def read_settings(op: Any, understood: tuple[str, ...] = ()) -> Settings:
    """The options of ``op``.

    Raises:
        UnsupportedOpError: if our solvers do not have some of the options.
    """
    given = dict(op.optimizer_kwargs)
    given |= given.pop("options", None) or {}
    tolerances, steps, others, refused = {}, [], {}, []
    for name, value in given.items():
        if _is_default(value):
            continue
        if name in _TOLERANCES:
            tolerances[name] = float(value)
        elif name in _STEPS:
            steps.append(int(value))
        elif name in understood:
            others[name] = value
        else:
            refused.append(name)
    if refused:
        known = ", ".join((*_TOLERANCES, *_STEPS, *understood))
        raise UnsupportedOpError(
            f"`{op}` (method {op.method!r}) has {', '.join(map(repr, refused))} in "
            "optimizer_kwargs, which jaxlink's solvers do not support. Leave them out; "
            f"these work: {known}. For bounds and constraints, use a change of "
            "variables, such as x = exp(z) for x > 0."
        )
    # In SciPy, 0 means no limit.
    limits = [limit for limit in steps if limit > 0]
    return Settings(tolerances, min(limits, default=None), others)


def _is_default(value: Any) -> bool:
    """Whether a value (None, False, no constraints) is SciPy's default."""
    if value is None or isinstance(value, list | tuple | dict):
        return not value
    return isinstance(value, bool | np.bool_) and not value

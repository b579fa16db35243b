"""Read a sampler's options from the arguments of `sample`: NUTS's, and PyMC's init."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxlink.pymc.mcmc.kernels import OPTIONS
from jaxlink.pymc.shared.pymc_arguments import refuse_unknown

__all__ = ["Settings", "read_settings"]

# PyMC's `init`: whether initial positions are jittered, and the mass matrix is dense.
_INITS = {
    "auto": (True, False),
    "jitter+adapt_diag": (True, False),
    "adapt_diag": (False, False),
    "jitter+adapt_full": (True, True),
    "adapt_full": (False, True),
}
_DENSE: dict[str, dict[str, Any]] = {
    "blackjax": {"is_mass_matrix_diagonal": False},
    "numpyro": {"dense_mass": True},
}


class Settings(NamedTuple):
    """The settings of a sampler.

    Attributes:
        target_accept: the target acceptance rate.
        jitter: whether the initial positions are jittered.
        options: the sampler's own options.
    """

    target_accept: float
    jitter: bool
    options: dict[str, Any]

    @property
    def recorded(self) -> dict[str, Any]:
        """These in JSON's types, with ``None`` for options that have none."""
        try:
            options = json.loads(json.dumps(self.options))
        except TypeError:
            options = None
        if options != self.options:
            options = None
        return {
            "target_accept": float(self.target_accept),
            "jitter": self.jitter,
            "nuts": options,
        }


def read_settings(
    sampler: str,
    *,
    init: str,
    jitter: bool | None,
    target_accept: float | None,
    nuts: Mapping[str, Any] | None,
    nuts_sampler_kwargs: Mapping[str, Any] | None,
    further: Mapping[str, Any],
    arguments: Collection[str],
) -> Settings:
    """Read the arguments of `sample` that concern NUTS.

    Arguments:
        sampler: the name of the library.
        further: arguments that `sample` does not name; as in PyMC, they may be options
            of the sampler.
        arguments: the names of the arguments that it does name.

    Raises:
        TypeError: something is given twice, or is not an argument.
        ValueError: a number is out of range, or the sampler lacks this ``init``.
    """
    if nuts is not None and nuts_sampler_kwargs is not None:
        raise TypeError("give either nuts or nuts_sampler_kwargs, not both.")
    known = OPTIONS[sampler]
    unknown = [name for name in further if name not in known]
    refuse_unknown("sample", unknown, [*arguments, *known])
    options = {**further, **(nuts or nuts_sampler_kwargs or {})}
    for name in further:
        if name in (nuts or nuts_sampler_kwargs or {}):
            raise TypeError(f"{name} is given twice: to sample(), and in nuts.")
    if target_accept is not None and "target_accept" in options:
        raise TypeError("target_accept is given twice: to sample(), and in nuts.")
    target = options.pop(
        "target_accept", 0.8 if target_accept is None else target_accept
    )
    if not 0 < target < 1:
        raise ValueError(f"target_accept must be in (0, 1), but is {target}.")
    jittered, dense = _jittered_and_dense(init)
    if dense and sampler not in _DENSE:
        raise ValueError(
            f"{sampler} has no dense mass matrix, which init={init!r} asks for: use "
            'nuts_sampler="blackjax" or "numpyro".'
        )
    options = {**(_DENSE[sampler] if dense else {}), **options}
    return Settings(target, jittered if jitter is None else jitter, options)


def _jittered_and_dense(init: str) -> tuple[bool, bool]:
    known = _INITS.get(str(init).lower())
    if known is None:
        raise ValueError(
            f"init must be one of {', '.join(map(repr, _INITS))}, not {init!r}. To "
            "start somewhere else, such as at a mode or at draws of an approximation, "
            "give initvals=."
        )
    return known

"""The free variables that gradient-based methods cannot handle.

Such a method moves every continuous variable, even one whose density does not describe
it. The density of `pymc_bart.BART`, for example, is a constant, because a special step
method grows the trees. So we ask PyMC's step methods, as `pymc.sample` does. Whether a
derivative exists we ask JAX, because JAX differentiates.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import pymc as pm
from pymc.sampling import mcmc
from pymc.step_methods import NUTS, HamiltonianMC

from jaxlink.call.executables import value_at
from jaxlink.call.program_around import expose_constants, program_around
from jaxlink.errors import JaxlinkError
from jaxlink.pymc.shared.arguments import quoted

__all__ = ["WithoutGradient", "check_gradient", "variables_without_gradient"]

_PYMC = 'PyMC\'s own step methods: pm.sample(compile_kwargs={"mode": jaxlink.MODE}).'


class WithoutGradient(NamedTuple):
    """The free random variables that gradient-based methods cannot handle.

    Attributes:
        discrete: the names of the discrete ones.
        assigned: for each continuous one, the step method that PyMC assigns to it.
    """

    discrete: list[str]
    assigned: dict[str, str]

    def __str__(self) -> str:
        found = ", ".join(f"`{x}` (PyMC uses {y})" for x, y in self.assigned.items())
        if not self.discrete:
            return found
        discrete = f"the discrete variables {quoted(self.discrete)}"
        return f"{discrete} and {found}" if found else discrete

    @property
    def advice(self) -> str:
        """What to do instead."""
        if self.discrete:
            return f"Marginalize them (pymc_extras.marginalize), or use {_PYMC}"
        return f"Use {_PYMC}"


def variables_without_gradient(model: pm.Model) -> WithoutGradient:
    """The free random variables that PyMC would not give to NUTS or HMC."""
    discrete_values = set(model.discrete_value_vars)
    discrete, assigned = [], {}
    for rv in model.free_RVs:
        if model.rvs_to_values[rv] in discrete_values:
            discrete.append(rv.name)
            continue
        competence = [method._competence(rv, True)[0] for method in mcmc.STEP_METHODS]
        method = mcmc.STEP_METHODS[competence.index(max(competence))]
        if not issubclass(method, NUTS | HamiltonianMC):
            assigned[rv.name] = method.__name__
    return WithoutGradient(discrete, assigned)


def check_gradient(
    log_density: Callable[[Any], Any],
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    instead: str = _PYMC,
) -> None:
    """Raise unless JAX can differentiate a log density.

    Arguments:
        log_density: a function of a position, and a pytree.
        shapes: the shapes of the entries of a position.
        instead: a method that needs no gradient.

    Raises:
        ValueError: naming the value variables without a derivative.
    """
    log_density = expose_constants(log_density)
    identity = "gradient", tuple(shapes.items())
    program_around(
        log_density,
        identity,
        lambda: value_at(
            identity, log_density, lambda: _check(log_density, shapes, instead)
        ),
    )


def _check(
    log_density: Callable[[Any], Any],
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    instead: str,
) -> bool:
    def why_not(names: Mapping[str, Any]) -> Exception | None:
        moved = {name: shapes[name] for name in names}
        fixed = {name: x for name, x in shapes.items() if name not in names}
        slope = jax.grad(lambda moved, fixed: log_density({**fixed, **moved}))
        try:
            jax.eval_shape(slope, moved, fixed)
        except JaxlinkError:
            raise  # its message says what is wrong
        except (NotImplementedError, TypeError, ValueError) as error:
            return error
        return None

    jax.eval_shape(log_density, shapes)  # its errors do not concern gradients
    if (error := why_not(shapes)) is None:
        return True
    wrong = [name for name in shapes if why_not({name: None}) is not None]
    raise ValueError(
        f"the log density has no gradient in {quoted(wrong)}. JAX says: {error} Give "
        "the Op a rule that JAX can differentiate (docs/custom-ops.md), or use "
        f"{instead}"
    ) from error

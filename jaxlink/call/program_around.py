"""Programs that were compiled around functions, and serve equal functions."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import jax

from jaxlink.call.cache import PROGRAMS
from jaxlink.call.jax_function import JAXFunction

__all__ = ["expose_constants", "program_around"]


def expose_constants[T](functions: T) -> T:
    """Functions whose small constants are leaves too, so that a program around them
    serves equal functions with other constants.

    Arguments:
        functions: a pytree of functions, and of other things that are pytrees.
    """

    def expose(x: Any) -> Any:
        if not _is_function(x):
            return x
        return JAXFunction(x._program, x._data, replace(x._form, exposed=True))

    return jax.tree.map(expose, functions, is_leaf=_is_function)


def _is_function(x: Any) -> bool:
    return isinstance(x, JAXFunction)


def program_around[T](functions: Any, what: Hashable, make: Callable[[], T]) -> T:
    """What was compiled around functions of equal code, or else is made now.

    Arguments:
        functions: a pytree of functions, and of other things that are pytrees.
        what: tells apart what is compiled around the same functions.
        make: compiles it, so that it holds no data of these functions.
    """
    whole = jax.tree.leaves(functions, is_leaf=_is_function)
    if not all(x._program.code.outlives for x in whole if _is_function(x)):
        return make()
    leaves, structure = jax.tree.flatten(functions)
    types = tuple(jax.typeof(leaf) for leaf in leaves)
    x64 = bool(jax.config.jax_enable_x64)
    return PROGRAMS.get_or_make((what, structure, types, x64), make)

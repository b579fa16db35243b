"""The dicts by name that functions of a model take, and the errors for others."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from jaxlink.errors import ArgumentError
from jaxlink.pymc.shared.arguments import check_names, quoted

__all__ = ["Entries"]

# What each space holds, and how to convert values from the other one.
_SPACES = {
    "position": ("unconstrained values", "unconstrain(model)(draw)"),
    "draw": ("the variables' own values", "constrain(model)(position)"),
}


@dataclass(frozen=True)
class Entries:
    """The entries of a dict.

    Attributes:
        argument: the name of the dict: ``position`` or ``draw``.
        names: the names that it must have, in the model's order.
        further: names that it may also have, and that are ignored.
        elsewhere: pairs of a name in the other space and the name here.
    """

    argument: str
    names: tuple[str, ...]
    further: frozenset[str] = frozenset()
    elsewhere: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def allowed(self) -> frozenset[str]:
        """The names that it may have."""
        return self._required | self.further

    def taker(self) -> Callable[[Any], Sequence[Any]]:
        """A fast function that takes the entries out of a dict, in their order."""
        if len(self.names) > 1:
            return itemgetter(*self.names)
        return lambda given: [given[name] for name in self.names]

    def check(
        self, given: Any, of: Any, error: type[Exception] = ArgumentError
    ) -> None:
        """Raise unless ``given`` is a dict of the right names.

        Arguments:
            given: what the user passed.
            of: the function that takes it, for the error.
            error: raised if it is not a dict, lacks names, or has names of the other
                space.

        Raises:
            ValueError: it has unknown names.
        """
        if not isinstance(given, Mapping):
            raise error(
                f"{of}: `{self.argument}` must be a dict of arrays by name, not "
                f"{type(given).__name__}."
            )
        if given.keys() >= self._required and given.keys() <= self.allowed:
            return
        missing = [name for name in self.names if name not in given]
        unknown = [name for name in given if name not in self.allowed]
        here = dict(self.elsewhere)
        if mixed := [name for name in unknown if name in here]:
            held, way = _SPACES[self.argument]
            wanted = quoted(here[name] for name in mixed)
            raise error(
                f"{of}: `{self.argument}` holds {held}, so {wanted} and not "
                f"{quoted(mixed)}. Convert with jaxlink.pymc.{way}."
            )
        if missing:
            raise error(
                f"{of}: `{self.argument}` lacks {quoted(missing)}. It holds "
                f"{quoted(given)}.{_misspelt(unknown, missing)}"
            )
        if unknown:
            check_names(unknown, self.names, f"variable in `{self.argument}` of {of}")


def _misspelt(unknown: list[str], missing: list[str]) -> str:
    meant = {
        name: close
        for name in unknown
        if (close := difflib.get_close_matches(str(name), missing, 1))
    }
    pairs = ", ".join(f"`{close[0]}` for `{name}`" for name, close in meant.items())
    return f" Did you mean {pairs}?" if pairs else ""

"""Programs outlive the call: the cache that all functions share.

A compiled program has an identity (see `jaxlink.call.identity`). Whoever builds an
equal graph again finds the program, so nothing is rewritten, linked, traced or
compiled a second time. The cache holds programs and the constants of their graphs,
but no models, no data and no arguments. Its size is bounded.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["PROGRAMS", "Cache", "clear_cache", "kept_with"]

MAX_ENTRIES = 256
MAX_BYTES = 512 * 2**20


class Cache:
    """A thread-safe cache that drops what was not used for longest.

    Arguments:
        max_entries: the largest number of entries.
        max_bytes: the largest sum of the sizes that `put` is told.
    """

    def __init__(self, max_entries: int, max_bytes: float = float("inf")):
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """The value of ``key``, or ``None``."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any, nbytes: int = 0) -> Any:
        """Keep ``value``, unless another thread was first.

        Returns:
            The value that is kept.
        """
        with self._lock:
            if key in self._entries:
                return self._entries[key][0]
            self._entries[key] = value, nbytes
            self._bytes += nbytes
            while len(self) > self.max_entries or self._bytes > self.max_bytes:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= dropped
            return value

    def get_or_make[T](self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``key``, made now if it is missing.

        Other threads may use the cache meanwhile.
        """
        value: T | None = self.get(key)
        return self.put(key, make()) if value is None else value

    def drop(self, key: Hashable) -> None:
        """Forget ``key``."""
        with self._lock:
            _, nbytes = self._entries.pop(key, (None, 0))
            self._bytes -= nbytes

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0


PROGRAMS = Cache(MAX_ENTRIES, MAX_BYTES)

_OF_OWNERS: WeakKeyDictionary[Any, Cache] = WeakKeyDictionary()
_OF_ONE_OWNER = 16


def kept_with[T](owner: Any, key: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` returned for an equal ``key`` of this owner before, or returns now.

    It is forgotten with the owner, which it must not refer to. Nothing is kept if the
    owner or the key has no hash.
    """
    try:
        hash((owner, key))
    except TypeError:
        return make()
    own = _OF_OWNERS.setdefault(owner, Cache(_OF_ONE_OWNER))
    return own.get_or_make(key, make)


def clear_cache() -> None:
    """Forget all compiled programs that no function holds any more.

    jaxlink keeps the 256 programs that were used last (and up to 512 MiB of the
    constants of their graphs) for the next function of an equal graph. Existing
    functions keep working, and keep their own programs.

    Example:
        >>> import jaxlink
        >>> jaxlink.clear_cache()
    """
    PROGRAMS.clear()
    _OF_OWNERS.clear()

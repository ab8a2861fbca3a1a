"""A cache of results computed from texts: least recently used are evicted, by total number of characters."""

import threading
from collections import OrderedDict
from collections.abc import Hashable


class TextCache[Made]:
    """Results by the text that each was computed from and what else it depends on; thread-safe.

    Tenants send the texts: the memory used grows with their length, so a limit on their number would not be enough.
    """

    def __init__(self, characters: int) -> None:
        """Cache the results of texts with so many characters in total."""
        self._most = characters
        self._held = 0
        self._made: OrderedDict[tuple[str, Hashable], Made] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, besides: Hashable) -> Made | None:
        """Return a text's result; None when it is not cached."""
        key = (text, besides)
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
        return found

    def put(self, text: str, besides: Hashable, made: Made) -> None:
        """Cache a text's result, evicting the least recently used ones."""
        key = (text, besides)
        if len(text) > self._most:
            return
        with self._lock:
            if key not in self._made:
                self._held += len(text)
            self._made[key] = made
            while self._held > self._most:
                (oldest, _), _ = self._made.popitem(last=False)
                self._held -= len(oldest)

    @property
    def held(self) -> int:
        """The total number of characters of the cached texts."""
        return self._held

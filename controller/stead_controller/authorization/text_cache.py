"""What was made of texts is kept while it fits: the texts used last, whose characters together have a limit."""

import threading
from collections import OrderedDict
from collections.abc import Hashable


class Kept[Made]:
    """Things by the text that each was made of and what else it depends on; safe between threads.

    Tenants send the texts: what is kept grows with their length, so that their number alone would be no limit.
    """

    def __init__(self, characters: int) -> None:
        """Keep what texts of so many characters in all became."""
        self._most = characters
        self._held = 0
        self._made: OrderedDict[tuple[str, Hashable], Made] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, besides: Hashable) -> Made | None:
        """Give what a text became; None when it is not kept."""
        key = (text, besides)
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
        return found

    def put(self, text: str, besides: Hashable, made: Made) -> None:
        """Keep what a text became, instead of what was not used for longest."""
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
        """How many characters the texts have of which something is kept."""
        return self._held

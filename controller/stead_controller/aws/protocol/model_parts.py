"""Parts of a service's model, of which few are ever used: each is kept as JSON until it is.

EC2 has 830 operations and 4,400 shapes. A cloud uses some hundred of them, and as dicts all take four times as much.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class Parts(Mapping[str, dict[str, Any]]):
    """The operations or the shapes of a model, by name."""

    def __init__(self, parts: Mapping[str, dict[str, Any]]) -> None:
        """Keep all as JSON."""
        self._parts: dict[str, bytes | dict[str, Any]] = {
            name: _encode(part).encode("ascii") for name, part in parts.items()
        }

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return a part, which is the same object each time."""
        part = self._parts[name]
        if isinstance(part, bytes):  # two threads may both read it, and make the same of it
            part = self._parts[name] = json.loads(part, object_pairs_hook=_with_texts_once)
        return part

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._parts)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._parts)


def _with_texts_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict, with each name of a member or type only once in memory."""
    return {sys.intern(key): sys.intern(value) if type(value) is str else value for key, value in pairs}

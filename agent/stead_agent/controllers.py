"""The addresses of the cloud's controllers: those that a controller has told of, and those of the settings."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from stead_proto.tls import write_private


class Controllers(Sequence[str]):
    """Addresses, HOST:PORT, in the order in which they are tried; any thread may read and change them.

    What a controller has told of is stored in `file`, so that a host whose own settings name one that is gone finds the
    others after its restart.
    """

    def __init__(self, given: Sequence[str], file: Path | None = None) -> None:
        """Begin with those of the settings, and those told of before."""
        self._given = tuple(given)
        self._file = file
        self._lock = threading.Lock()
        self._told = _read(file)

    def learn(self, told: Sequence[str]) -> bool:
        """Take the controllers that one tells of, instead of those told of before; tell whether that is news."""
        with self._lock:
            if not told or tuple(told) == self._told:
                return False
            self._told = tuple(told)
            if self._file is not None:
                write_private(self._file, json.dumps(self._told).encode("ascii"))
            return True

    def after(self, address: str) -> str:
        """Return the address to try when this one was tried last; the first for one that is not known any more."""
        known = self._known()
        return known[(known.index(address) + 1) % len(known)] if address in known else known[0]

    def _known(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._told, *self._given)))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known())

    def __iter__(self) -> Iterator[str]:
        """Yield those known now."""
        return iter(self._known())

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """Return one, or some."""
        return self._known()[index]


def _read(file: Path | None) -> tuple[str, ...]:
    if file is None or not file.exists():
        return ()
    try:
        return tuple(str(each) for each in json.loads(file.read_text(encoding="ascii")))
    except ValueError:  # half written by an earlier release, or by hand: the settings are enough
        return ()

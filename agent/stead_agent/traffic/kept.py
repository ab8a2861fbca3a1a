"""The book of a host's traffic on its disk."""

import json
import os
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from stead_agent.logs import Log
from stead_agent.traffic.book import Book
from stead_agent.traffic.interface import Counter, Sums, Way

_log = Log(__name__)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

type Read = Callable[[Collection[str] | None], Mapping[str, Mapping[tuple[str, str, str], int]]]


class KeptTraffic:
    """The `Traffic` of real hosts: `read` returns the counters of these VPCs, or of all, by way, address and host."""

    def __init__(self, path: Path, read: Read, *, boot_id: Callable[[], str] = _BOOT_ID.read_text) -> None:
        """Continue the book of an earlier process."""
        self._path = path
        self._read = read
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._peers: dict[str, frozenset[str]] = {}
        self._book = self._load()

    def own(self, vpc_id: str, owners: Mapping[str, str], peers: frozenset[str]) -> None:
        """Note who has which address; who had one that nobody has now is remembered."""
        with self._lock:
            self._peers[vpc_id] = peers
            self._book.owners.setdefault(vpc_id, {}).update(owners)

    def read(self) -> Sums:
        """Read all counters, and write down what has passed."""
        with self._lock:
            self._note(None)
            return self._book.shown()

    def read_last(self, vpc_id: str) -> None:
        """Read what is the last of a VPC."""
        with self._lock:
            self._note([vpc_id])
            self._book.end(vpc_id)
            self._book.owners.pop(vpc_id, None)
            self._peers.pop(vpc_id, None)
            self._save()

    def told(self, sums: Sums) -> None:
        """Drop what is needed no more."""
        with self._lock:
            if sums.epoch == self._book.epoch and self._book.forget(sums):
                self._save()

    def _note(self, vpc_ids: Collection[str] | None) -> None:
        readings = {
            vpc_id: {Counter(Way(way), address, host): count for (way, address, host), count in counters.items()}
            for vpc_id, counters in self._read(vpc_ids).items()
        }
        if self._book.note(self._boot_id().strip(), readings, self._peers):
            self._save()

    def _load(self) -> Book:
        """Read the book; one that is not there, or cannot be read, is begun anew."""
        try:
            found = json.loads(self._path.read_bytes())
            return _book(found)
        except FileNotFoundError:
            _log.debug("traffic_book_begun")
        except (KeyError, OSError, TypeError, ValueError) as error:
            _log.error("traffic_unreadable", error=error)
        return Book(secrets.token_hex(8))

    def _save(self) -> None:
        """Write the book, so that after a power cut there is the old one or this; a failure is logged."""
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(json.dumps(_written(self._book)).encode())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:  # what passed is in the kernel, and in memory
            _log.error("traffic_not_saved", error=error)


def _written(book: Book) -> dict[str, Any]:
    return {
        "epoch": book.epoch,
        "boot_id": book.boot_id,
        "seen": [
            [vpc_id, counter.way.value, counter.address, counter.host, count]
            for vpc_id, counters in book.seen.items()
            for counter, count in counters.items()
        ],
        "owners": book.owners,
        "sums": [[owner, way.value, host, total] for (owner, way, host), total in book.sums.items()],
    }


def _book(found: dict[str, Any]) -> Book:
    book = Book(found["epoch"], found["boot_id"], owners=found["owners"])
    for vpc_id, way, address, host, count in found["seen"]:
        book.seen.setdefault(vpc_id, {})[Counter(Way(way), address, host)] = count
    book.sums.update(((owner, Way(way), host), total) for owner, way, host, total in found["sums"])
    return book

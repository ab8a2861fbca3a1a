"""Persistent notes on snapshots that are being taken: one JSON file for each group of one instant."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stead_agent.disks.snapshots.interface import SnapshotError
from stead_proto.tls import write_private

_MOST_BYTES = 1 << 20


@dataclass(slots=True)
class SnapshotNote:
    """One snapshot of a group."""

    volume_id: str
    complete: bool = False
    incremental: bool = False
    blocks: int = 0
    removed: bool = False  # no longer desired; the others of its group continue


@dataclass(slots=True)
class GroupNote:
    """One group and its instant."""

    name: str
    snapshots: dict[str, SnapshotNote]
    machine_id: str = ""  # whose guest's backup preserves the instant of disks in use; empty: none in use
    prints: dict[str, list[int]] = field(default_factory=dict)  # fingerprints of unused disks' files, by volume
    taken_at: int = 0  # Unix milliseconds
    lost: bool = False  # it can never be completed: the instant of its complete snapshots is lost
    instants: int = 0  # number of instants begun: more than one if one was lost


class Notes:
    """The files below one folder."""

    def __init__(self, folder: Path) -> None:
        """Create the folder."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, note: GroupNote) -> None:
        """Write a note, durably."""
        write_private(self._path(note.name), json.dumps(asdict(note)).encode())

    def load(self, name: str) -> GroupNote | None:
        """Read a note, if there is one; an unreadable one is an error."""
        try:
            return _parsed(self._path(name).read_bytes())
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a note."""
        self._path(name).unlink(missing_ok=True)

    def all(self) -> Iterator[GroupNote]:
        """Read all notes, without those that are removed meanwhile."""
        for path in sorted(self._folder.glob("*.json")):
            if (note := self.load(path.stem)) is not None:
                yield note

    def _path(self, name: str) -> Path:
        if not name or not name.replace("-", "").isalnum():
            raise SnapshotError(f"not the name of a group: {name!r}")
        return self._folder / f"{name}.json"


def _parsed(content: bytes) -> GroupNote:
    try:
        what = json.loads(content)
        what["snapshots"] = {name: SnapshotNote(**each) for name, each in what["snapshots"].items()}
        return GroupNote(**what)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SnapshotError(f"a note that cannot be read: {error}") from error

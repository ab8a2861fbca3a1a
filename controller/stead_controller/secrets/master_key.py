"""The master key and its versions, from where they are stored: a file of mode 0600 or the operator's command.

Both have one line for each version: its number, 64 hex digits, and when it was made (in a file, Unix seconds). A file
of 32 bytes, or a command that prints only 64 hex digits, is version 1. A file is replaced atomically, so a kill leaves
the old versions or the new ones. A command may ask a TPM or a vault; it runs at the start, and when the key is changed.
"""

import fcntl
import os
import secrets
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from stead_controller.errors import SteadError, WrongState
from stead_controller.secrets.sealing import FIRST_VERSION, KEY_BYTES, Keys, Sealer
from stead_controller.settings import Settings
from stead_proto.tls import write_once, write_private

RETENTION: Final = timedelta(hours=37)
"""How long an old version is usable after a newer one was made: longer than any session token is valid."""

_COMMAND_SECONDS: Final = 30
_LOOK_SECONDS: Final = 1.0
_MOST_VERSION: Final = 65_535


class BadMasterKeyError(SteadError):
    """The master key cannot be read or is malformed; the message has nothing of its content."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the master key; `made` is Unix seconds, 0 if unknown."""

    key: bytes = field(repr=False)
    made: int = 0


type Ring = Mapping[int, Version]


class Source(Protocol):
    """Where the versions are stored."""

    def read(self) -> Ring:
        """All versions; raises BadMasterKeyError or OSError."""

    def add(self, known: int, now: datetime) -> Ring:
        """Create or find a version that is newer than `known`; raises WrongState where there is none."""

    def forget(self, versions: frozenset[int]) -> Ring:
        """Remove these versions, if Stead stores them."""


class KeyFile:
    """Versions in a file."""

    def __init__(self, path: Path) -> None:
        """Take the path; the file is created at the first use."""
        self._path = path

    def read(self) -> Ring:
        """All versions; the first is created here. Raises PermissionError when others can read the file."""
        if not self._path.exists():
            write_once(self._path, secrets.token_bytes(KEY_BYTES))
        if self._path.stat().st_mode & 0o077:
            raise PermissionError(f"{self._path} can be read by others: chmod 600 {self._path}")
        return _parse(self._path.read_bytes(), str(self._path))

    def add(self, known: int, now: datetime) -> Ring:
        """Create a version, or use one that another controller has created meanwhile."""
        with self._changing():
            ring = dict(self.read())
            newest = max(ring)
            if newest <= known:
                if newest >= _MOST_VERSION:
                    raise WrongState("master-key", "There can be no further version of the master key.")
                ring[newest + 1] = Version(secrets.token_bytes(KEY_BYTES), int(now.timestamp()))
                self._write(ring)
            return ring

    def forget(self, versions: frozenset[int]) -> Ring:
        """Write the file without some versions, never without the newest."""
        with self._changing():
            ring = self.read()
            newest = max(ring)
            retained = {number: one for number, one in ring.items() if number not in versions or number == newest}
            if retained != ring:
                self._write(retained)
            return retained

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Lock the file while it is read and replaced: of two versions made at once one would be lost with its secrets.

        The lock is on the folder, since the file itself is replaced.
        """
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, ring: Ring) -> None:
        lines = [f"{number} {ring[number].key.hex()} {ring[number].made}\n" for number in sorted(ring)]
        write_private(self._path, "".join(lines).encode())


class KeyCommand:
    """Versions that a command prints."""

    def __init__(self, command: str) -> None:
        """Take the command, split into words as a shell would, and run without one."""
        self._words = shlex.split(command)

    def read(self) -> Ring:
        """Run the command; raises BadMasterKeyError with its exit status, but without its output."""
        name = self._words[0]
        try:
            done = subprocess.run(
                self._words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadMasterKeyError(
                f"The command for the master key, {name}, failed: {type(error).__name__}."
            ) from None
        if done.returncode:
            raise BadMasterKeyError(f"The command for the master key, {name}, ended with status {done.returncode}.")
        return _parse(done.stdout, f"the output of {name}")

    def add(self, known: int, now: datetime) -> Ring:
        """Find the version that the operator has added."""
        del now
        ring = self.read()
        if max(ring) <= known:
            raise WrongState(
                "master-key",
                f"The master key's command prints no version newer than {known}: let it print one more line first.",
            )
        return ring

    def forget(self, versions: frozenset[int]) -> Ring:
        """Do nothing: the operator manages what the command prints."""
        del versions
        return self.read()


def _parse(content: bytes, where: str) -> Ring:
    if len(content) == KEY_BYTES:
        return {FIRST_VERSION: Version(content)}
    ring: dict[int, Version] = {}
    for line in content.split(b"\n"):
        words = line.split()
        if not words:
            continue
        if len(words) == 1:
            words = [b"1", *words]
        try:
            number, key, made = (
                int(words[0]),
                bytes.fromhex(words[1].decode("ascii")),
                int(words[2]) if words[2:] else 0,
            )
        except ValueError:  # its message would contain the key
            raise BadMasterKeyError(f"A line of {where} is no version of a master key.") from None
        if not FIRST_VERSION <= number <= _MOST_VERSION or len(key) != KEY_BYTES or number in ring:
            raise BadMasterKeyError(f"A line of {where} is no version of a master key, or is there twice.")
        ring[number] = Version(key, made)
    if not ring:
        raise BadMasterKeyError(f"There is no master key in {where}.")
    return ring


class MasterKey:
    """The versions in use, and the sealer that uses them."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the versions; raises BadMasterKeyError or OSError."""
        self._source = source
        self._clock = clock
        self._looked = -_LOOK_SECONDS
        self._one_changes = threading.Lock()
        self._ring = source.read()
        self.sealer = Sealer(_keys(self._ring), self._look_again)

    @classmethod
    def of(cls, settings: Settings) -> "MasterKey":
        """Read the versions from the source that the settings name."""
        if settings.master_key_command:
            return cls(KeyCommand(settings.master_key_command))
        return cls(KeyFile(settings.state_dir / "master.key"))

    @property
    def versions(self) -> Ring:
        """The versions in use."""
        return self._ring

    def add(self, now: datetime) -> int:
        """Seal with a new version from now on, and return its number; raises WrongState, BadMasterKeyError, OSError."""
        with self._one_changes:
            self._take(self._source.add(self.sealer.version, now))
            return self.sealer.version

    def old(self, now: datetime) -> frozenset[int]:
        """Return the versions that were superseded long ago: no session token needs them any more."""
        numbers = sorted(self._ring)
        long_ago = int((now - RETENTION).timestamp())
        return frozenset(number for number, newer in pairwise(numbers) if 0 < self._ring[newer].made <= long_ago)

    def forget(self, versions: frozenset[int]) -> None:
        """Remove versions, which must not be in use; raises OSError, BadMasterKeyError."""
        with self._one_changes:
            self._take(self._source.forget(versions))

    def _take(self, ring: Ring) -> None:
        self._ring = ring
        self.sealer.use(_keys(ring))

    def _look_again(self, _version: int) -> Keys | None:
        """Read a file again, at most once a second: invalid requests may name any version."""
        if not isinstance(self._source, KeyFile) or self._clock() - self._looked < _LOOK_SECONDS:
            return None
        self._looked = self._clock()
        with self._one_changes:  # else a read from before a change could replace a later one
            self._ring = self._source.read()
        return _keys(self._ring)


def require_opening(table: str | None) -> None:
    """Raise BadMasterKeyError where the key does not open the sealed values of a table."""
    if table is not None:
        raise BadMasterKeyError(
            f"The master key is not the one that sealed the database's {table}: put the right one back, which is "
            "master.key of the state directory unless a command prints it. Without it those secrets are lost."
        )


def _keys(ring: Ring) -> dict[int, bytes]:
    return {number: version.key for number, version in ring.items()}

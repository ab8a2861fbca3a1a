"""A disk that no guest has in use, exported read-only by a qemu-nbd that can open this disk and little else.

It is a separate process with its own user and folder, since the data that it parses was written by a guest.
"""

import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.disks import disk_users
from stead_agent.disks.disk_keys import KEY_NAME, passphrase
from stead_agent.disks.disk_options import access_to, address_space, bytes_options
from stead_agent.disks.disk_sources import FileSource
from stead_agent.disks.disk_users import DiskAccessError
from stead_agent.disks.snapshots.interface import QuietDisk, SnapshotError
from stead_agent.disks.snapshots.reader import Stopped
from stead_agent.named_locks import NamedLocks
from stead_agent.programs import processes
from stead_agent.programs.run import RunError, start_daemon

_START_SECONDS: Final = 10.0
_POLL: Final = 0.01
_GREETING_SECONDS: Final = 2.0
_PROGRAM: Final = "qemu-nbd"


class QuietDisks:
    """The exports below one folder, found again by a later process."""

    def __init__(self, folder: Path) -> None:
        """Create the folder."""
        self._folder = folder
        self._volumes = NamedLocks()  # held while one is exported: two snapshots of it are read one after the other
        self._readers: dict[str, threading.Event] = {}  # what stops who has it exported
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def exported(self, volume_id: str, disk: QuietDisk, stop: threading.Event) -> Iterator[Path]:
        """Export a disk, once nobody else exports it, and yield the socket; at the end the export is removed.

        Raises Stopped when the reader is stopped before.
        """
        place = self._folder / volume_id
        uid = disk_users.uid_of(volume_id)
        with self._volumes.at(volume_id, stop) as is_mine:
            if not is_mine:
                raise Stopped
            self._readers[volume_id] = stop
            self.end(volume_id)
            try:
                disk_users.give(disk.layer.source, uid)
                if disk.base is not None:
                    disk_users.allow_read(disk.base.source, uid)
                place.mkdir(mode=0o700)
                os.chown(place, uid, 0)
            except (DiskAccessError, OSError) as error:
                raise SnapshotError(f"{volume_id}: {error}") from error
            try:
                yield self._start(volume_id, disk, place, uid)
            finally:
                self.end(volume_id)
                del self._readers[volume_id]

    def end(self, volume_id: str) -> None:
        """End the export of a disk, whichever process began it."""
        place = self._folder / volume_id
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):  # none runs
            pid = int((place / "pid").read_text())
            with processes.held(pid) as process:
                if process is not None and _is_export(pid, process, place):
                    signal.pidfd_send_signal(process, signal.SIGKILL)  # safe: it only reads
                    processes.ends(process, _START_SECONDS)
        shutil.rmtree(place, ignore_errors=True)

    def end_of(self, volume_id: str, stop: threading.Event) -> None:
        """End the export of a disk, if it is of the reader that this stops."""
        if self._readers.get(volume_id) is stop:
            self.end(volume_id)

    def present(self) -> frozenset[str]:
        """List the volumes that are exported, or have a leftover export of an earlier process."""
        return frozenset(path.name for path in self._folder.iterdir() if path.is_dir())

    def _start(self, volume_id: str, disk: QuietDisk, place: Path, uid: int) -> Path:
        listens = place / "nbd"
        source = disk.layer.source
        command: list[str | Path] = ["prlimit", f"--as={address_space(source, 2)}", "--core=0", "--"]
        command += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--"]
        command += [_PROGRAM, "--read-only", "--persistent", "--shared=4", "--cache=none", "--aio=threads"]
        try:
            with contextlib.ExitStack() as held:
                access, handles = held.enter_context(access_to(source))
                command += access
                if disk.encryption_key:
                    secret, handle = held.enter_context(passphrase(disk.encryption_key))
                    command += secret
                    handles.append(handle)
                command += [f"--socket={listens}", "--image-opts", image_options(disk)]
                pid = start_daemon(command, self._folder / f"{volume_id}.log", inherits=handles)
        except (RunError, OSError) as error:
            raise SnapshotError(f"{volume_id}: {error}") from error
        try:
            (place / "pid").write_text(str(pid))
        except OSError as error:  # it was ended meanwhile by who did not know the process yet
            os.kill(pid, signal.SIGKILL)
            (self._folder / f"{volume_id}.log").unlink(missing_ok=True)
            raise SnapshotError(f"{volume_id}: {error}") from error
        deadline = time.monotonic() + _START_SECONDS
        with processes.held(pid) as process:
            while not _listens(listens):
                if process is None or processes.ends(process, _POLL) or time.monotonic() > deadline:
                    raise SnapshotError(f"{volume_id} cannot be read: {self._reason(volume_id)}")
        (self._folder / f"{volume_id}.log").unlink(missing_ok=True)
        return listens

    def _reason(self, volume_id: str) -> str:
        log = self._folder / f"{volume_id}.log"
        with contextlib.suppress(OSError):  # then it has logged nothing
            text = log.read_bytes()[-500:].decode(errors="replace").strip()
            log.unlink()
            return text
        return "no reason was given"


def image_options(disk: QuietDisk) -> str:
    """Render a disk as QEMU's block options: the whole chain is given, and nothing in the disk's header is trusted."""
    own = f"driver={disk.layer.format}," + bytes_options(disk.layer.source, "file")
    if disk.encryption_key:
        own += f",encrypt.format=luks,encrypt.key-secret={KEY_NAME}"
    if disk.layer.format == "raw":
        return own
    if disk.base is None:
        return f"{own},backing="
    return f"{own},backing.driver={disk.base.format}," + bytes_options(disk.base.source, "backing.file")


def fingerprint(disk: QuietDisk) -> list[int]:
    """Return a value that changes with a disk's content: from the file itself, or for other disks from its holder."""
    source = disk.layer.source
    if not isinstance(source, FileSource):
        return [disk.generation]
    found = source.path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _listens(path: Path) -> bool:
    """Tell whether an export sends its greeting; it listens before it has opened the disk, which may fail."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_GREETING_SECONDS)
        try:
            asking.connect(str(path))
            return bool(asking.recv(1))
        except OSError:
            return False


def _is_export(pid: int, process: int, place: Path) -> bool:
    """Tell whether a process is the one that exports from this folder, or is about to become it by exec."""
    while not processes.ends(process, 0):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words != [b""]:  # empty for a moment during exec
            return f"--socket={place / 'nbd'}".encode() in words
    return False

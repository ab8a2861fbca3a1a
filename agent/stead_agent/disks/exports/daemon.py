"""A volume's qemu-storage-daemon as a process that outlives the agent: started as a separate user, found, ended.

Each has a folder owned by the agent, and in it `own`, owned by the daemon, with its sockets. The daemon is recognised
by its command line, which contains the folder's path; its pid file is only a hint, since the daemon could forge it.
"""

import contextlib
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.disks.exports.interface import ExportError
from stead_agent.programs import processes
from stead_agent.programs.run import RunError, run
from stead_proto.tls import Identity

_PROGRAM: Final = "qemu-storage-daemon"
_START_SECONDS: Final = 20.0
_END_SECONDS: Final = 3.0  # then requests that wait for an unreachable home host are aborted
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_PATH_BYTES: Final = 107  # of a socket: unix(7)
_PASSABLE: Final = 0o711


@dataclass(frozen=True, slots=True)
class DaemonFiles:
    """The paths of the files of one volume's daemon."""

    folder: Path
    uid: int  # the daemon's user

    @property
    def about(self) -> Path:
        """The daemon's configuration, written once it was fully applied."""
        return self.folder / "about"

    @property
    def credentials(self) -> Path:
        """The host's key and certificate, which exist only while the daemon reads them."""
        return self.folder / "tls"

    @property
    def own(self) -> Path:
        """The daemon's own folder, which guests' processes may traverse."""
        return self.folder / "own"

    @property
    def monitor(self) -> Path:
        """The QMP socket."""
        return self.own / "qmp"

    @property
    def socket(self) -> Path:
        """The socket through which a guest uses the volume, if this is a proxy."""
        return self.own / "nbd"

    @property
    def pid(self) -> Path:
        """The pid file."""
        return self.own / "pid"

    @property
    def mark(self) -> bytes:
        """The argument that is unique to its command line."""
        return f"socket,path={self.monitor},server=on,wait=off,id=qmp".encode()


def start(place: DaemonFiles) -> int:
    """Start an unconfigured daemon, in a new folder, and return its process id."""
    if len(os.fsencode(place.monitor)) > _PATH_BYTES or "," in str(place.folder):
        raise ExportError(f"{place.folder}: too long for a socket's path, or with a comma")
    place.folder.mkdir(mode=_PASSABLE)
    place.own.mkdir(mode=_PASSABLE)
    os.chown(place.own, place.uid, place.uid)
    rights = [f"--reuid={place.uid}", f"--regid={place.uid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    monitor = ["--chardev", os.fsdecode(place.mark), "--monitor", "chardev=qmp"]
    try:
        run(
            ["setpriv", *rights, "--", _PROGRAM, "--daemonize", f"--pidfile={place.pid}", *monitor],
            timeout=_START_SECONDS,
        )
    except RunError as failure:
        raise ExportError(f"{place.folder.name}: the daemon did not start: {failure}") from failure
    pid = find(place)
    if pid is None:
        raise ExportError(f"{place.folder.name}: the daemon ended as soon as it had started")
    return pid


def find(place: DaemonFiles) -> int | None:
    """Return the daemon's process id, or None when it does not run."""
    hint = _hint(place.pid)
    if hint and _is_of(hint, place):
        return hint
    return next(_all_of(place), None)


def end(place: DaemonFiles) -> None:
    """End the daemon, whatever it is doing, and remove its folder; when this returns, it no longer uses anything."""
    for pid in iter(lambda: next(_all_of(place), None), None):
        _end_one(pid, place)
    shutil.rmtree(place.folder, ignore_errors=False)


@contextlib.contextmanager
def credentials(place: DaemonFiles, identity: Identity, endpoint: str) -> Iterator[None]:
    """Let the daemon read the host's key and certificate under QEMU's names for them, only within this `with`."""
    files = {
        "ca-cert.pem": identity.ca_pem,
        f"{endpoint}-cert.pem": identity.certificate_pem,
        f"{endpoint}-key.pem": identity.key_pem,
    }
    place.credentials.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            handle = os.open(place.credentials / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchown(handle, place.uid, place.uid)
        os.chown(place.credentials, place.uid, place.uid)
        yield
    finally:
        shutil.rmtree(place.credentials)


def socket_owner(place: DaemonFiles) -> int | None:
    """Return the user that owns the proxy's socket, if there is one."""
    try:
        found = place.socket.lstat()
    except FileNotFoundError:
        return None
    return found.st_uid if stat.S_ISSOCK(found.st_mode) else None


def _end_one(pid: int, place: DaemonFiles) -> None:
    with processes.held(pid, lambda: _is_of(pid, place)) as process:
        if process is None:
            return
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if processes.ends(process, _END_SECONDS):
            return
        signal.pidfd_send_signal(process, signal.SIGKILL)
        if not processes.ends(process, _KILL_SECONDS):
            raise ExportError(f"{place.folder.name}: the daemon (process {pid}) cannot be killed")
    while _is_of(pid, place):
        time.sleep(_POLL_SECONDS)  # it has ended, but /proc still shows it for a moment


def _all_of(place: DaemonFiles) -> Iterator[int]:
    """List the processes that are this daemon, or are about to become it by exec."""
    return (
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and _is_of(int(folder.name), place)
    )


def _is_of(pid: int, place: DaemonFiles) -> bool:
    try:
        return place.mark in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended


def _hint(path: Path) -> int | None:
    """Read a process id from a file; a symbolic link is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        text = file.read(16).strip()
    return int(text) if text.isdigit() and len(text) < 10 else None

"""Ensures that libvirt's daemon runs, with or without systemd, in such a way that guests outlive it and the agent.

With systemd, the unit is started. Without, virtlogd and libvirtd are started as plain processes, below a subreaper that
adopts the guests (`reaper.py`). Only what was started here is ever stopped here, and guests never are.
"""

import contextlib
import fcntl
import logging
import os
import re
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import libvirt

from stead_agent.programs import reaper
from stead_agent.programs.run import ProgramFailedError, run, start_daemon

_log = logging.getLogger(__name__)

SYSTEM_URI: Final = "qemu:///system"

_RUNTIME: Final = Path("/run/libvirt")
_CONFIGURATION: Final = Path("/etc/libvirt/qemu.conf")
_LOG_DAEMON_SOCKET: Final = _RUNTIME / "virtlogd-sock"
# The daemon of Debian 13, and that of other systems (https://libvirt.org/daemons.html).
_UNITS: Final = ("libvirtd.service", "virtqemud.service")
_START_TIMEOUT: Final = 30.0  # seconds; a cold start takes about one
_STOP_TIMEOUT: Final = 15.0
_POLL: Final = 0.02
_NO_PROCESS: Final = re.compile(rb"<domstatus\s[^>]*\bpid='0'")
_MAX_CORE: Final = re.compile(r"\s*max_core\s*=")
_NOTES_HEAD: Final = 4096


class LibvirtdError(Exception):
    """Libvirt's daemon does not run and could not be started; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Libvirtd:
    """How to reach the daemon, and whether it was started by us."""

    uri: str
    ours: bool


def ensure_running(uri: str, state_dir: Path) -> Libvirtd:
    """Return when libvirt's daemon answers at `uri`, having started it if it did not run.

    Safe to call at any time, from several processes: a lock beside the daemon's sockets lets one of them start it.
    """
    answers = _answers(uri)
    needs_log_daemon = _is_local_system(uri) and not has_systemd()
    if not answers or (needs_log_daemon and not _is_listened_at(_LOG_DAEMON_SOCKET)):
        if not _is_local_system(uri):
            raise LibvirtdError(f"nothing answers at {uri}, and only a local system daemon can be started from here")
        _RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(_RUNTIME / "stead-start.lock"):
            if not _answers(uri):
                _start(uri, state_dir)
            elif needs_log_daemon:  # without it no guest can be started
                _start_log_daemon(state_dir)
    if _is_local_system(uri):
        _require_our_network(_RUNTIME / "libvirt-sock")
    return Libvirtd(uri, ours=_own(state_dir / "libvirtd.pid") is not None)


def stop(state_dir: Path, runtime: Path = _RUNTIME) -> None:
    """Stop the daemons that were started here with this state directory, if they still run; guests run on.

    One that does not end on SIGTERM is killed: libvirtd stores on disk all that it needs to find its guests again.
    While guests run, virtlogd stays for them, or they would lose their consoles.
    """
    guests = any((runtime / "qemu").glob("*.xml"))  # libvirtd has one for each running guest
    for name in ("libvirtd.pid",) if guests else ("libvirtd.pid", "virtlogd.pid"):
        pid = _own(state_dir / name)
        if pid is None:
            continue
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not _ends(process):
                _log.warning("daemon_killed", extra={"pid_file": str(state_dir / name)})
                signal.pidfd_send_signal(process, signal.SIGKILL)
                _ends(process)
        finally:
            os.close(process)
        (state_dir / name).unlink(missing_ok=True)


def _ends(process: int) -> bool:
    """Wait for the end of a process, and tell whether it ended in time."""
    ready, _, _ = select.select([process], [], [], _STOP_TIMEOUT)
    return bool(ready)


def _answers(uri: str) -> bool:
    """Tell whether a daemon answers at the URI."""
    libvirt.registerErrorHandler(_say_nothing, None)
    try:
        libvirt.open(uri).close()
    except libvirt.libvirtError:
        return False
    return True


def _require_our_network(path: Path) -> None:
    """Raise LibvirtdError when the daemon runs in another network namespace than ours."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        # struct ucred of the listening process; 0 = it is in another PID namespace.
        pid = int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
    try:
        theirs = Path(f"/proc/{pid}/ns/net").readlink()
    except FileNotFoundError:
        return  # unknown, or it has just ended
    if theirs != Path("/proc/thread-self/ns/net").readlink():
        raise LibvirtdError(
            f"the libvirtd at {path} (process {pid}) runs in another network namespace, so its guests' links would not"
            " be here: run the agent there, or in a mount namespace with a /run/libvirt of its own"
        )


def _say_nothing(_context: object, _error: object) -> None:
    """Keep libvirt from printing each error to stderr: all are raised as exceptions."""


def _is_local_system(uri: str) -> bool:
    """Tell whether the URI names this machine's system daemon at its usual socket."""
    parts = urlsplit(uri)
    if parts.scheme not in {"qemu", "qemu+unix"} or parts.netloc or parts.path != "/system":
        return False
    path = parse_qs(parts.query).get("socket", [str(_RUNTIME / "libvirt-sock")])[0]
    return Path(path) == _RUNTIME / "libvirt-sock"


def _start(uri: str, state_dir: Path) -> None:
    """Start the daemon with systemd or without, and wait until it answers."""
    _forget_cut_off_starts(_RUNTIME / "qemu")
    if has_systemd():
        unit = _start_unit()
        log = f"journalctl -u {unit}"
    else:
        _start_plainly(state_dir)
        log = str(state_dir / "libvirtd.log")
    _wait_for(lambda: _answers(uri), f"libvirtd answers at {uri} (see {log})", _START_TIMEOUT)


def _forget_cut_off_starts(runtime_dir: Path) -> None:
    """Remove libvirtd's status files of guests that it was just starting when it was killed, and that never ran.

    Libvirt 11.3 would show such a guest (with process id 0) as paused for ever and refuse to do anything with it.
    """
    for notes in runtime_dir.glob("*.xml"):
        if _NO_PROCESS.search(notes.read_bytes()[:_NOTES_HEAD]):
            notes.unlink()


def has_systemd() -> bool:
    """Tell whether systemd runs this machine and its units share our mount namespace."""
    return (
        Path("/run/systemd/system").is_dir()
        and Path("/proc/1/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    )


def _start_unit() -> str:
    """Start the first of the known units that exists and return its name."""
    failures = []
    for unit in _UNITS:
        try:
            run(["systemctl", "start", unit], timeout=60)
        except ProgramFailedError as error:
            failures.append(str(error))
        else:
            return unit
    raise LibvirtdError("; ".join(failures))


def _start_plainly(state_dir: Path) -> None:
    """Start virtlogd and libvirtd as plain processes, detached from us; they log to the state directory."""
    _start_log_daemon(state_dir)
    log = state_dir / "libvirtd.log"
    pid_file = state_dir / "libvirtd.pid"
    _wait_for(lambda: _own(pid_file) is None, "the libvirtd that does not answer ends", _STOP_TIMEOUT)
    command: list[str | Path] = [sys.executable, "-I", "-S", reaper.__file__]
    if not _core_files_may_be_large():
        own = state_dir / "qemu.conf"
        own.write_text(without_core_files(_CONFIGURATION.read_text(encoding="utf-8")), encoding="utf-8")
        command += ["--instead", own, _CONFIGURATION]
    start_daemon([*command, "libvirtd", "--pid-file", pid_file], log)


def _core_files_may_be_large() -> bool:
    """Lift the limit of core files, which sudo sets to 0, and tell whether that succeeded.

    Libvirt requests "unlimited" for each guest and fails to start a guest otherwise. Root may raise limits, except in
    some containers.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def without_core_files(configuration: str) -> str:
    """Change qemu.conf so that guests dump no core files."""
    others = [line for line in configuration.splitlines() if not _MAX_CORE.match(line)]
    return "\n".join([*others, "max_core = 0", ""])


def _start_log_daemon(state_dir: Path) -> None:
    """Start virtlogd, unless it runs."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_listened_at(_LOG_DAEMON_SOCKET):
        run(["virtlogd", "--daemon", "--pid-file", state_dir / "virtlogd.pid"], timeout=_START_TIMEOUT)
        _wait_for(lambda: _is_listened_at(_LOG_DAEMON_SOCKET), "virtlogd listens", _START_TIMEOUT)


def _is_listened_at(path: Path) -> bool:
    """Tell whether a process listens at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _own(pid_file: Path) -> int | None:
    """Return the process that was started with this pid file, if it is alive; a reused process id does not count."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if os.fsencode(pid_file) in arguments else None


def _wait_for(condition: Callable[[], bool], what: str, timeout: float) -> None:
    """Return when the condition holds; raise LibvirtdError when it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LibvirtdError(f"waited {timeout:g} s in vain until {what}")
        time.sleep(_POLL)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, against other processes and threads."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

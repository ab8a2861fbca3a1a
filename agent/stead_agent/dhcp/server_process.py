"""A VPC's dnsmasq as a process that outlives the agent: found again, started in the namespace, signalled, stopped.

It is identified by its command line, which holds the path of its configuration. The process id in its own file is only
a hint: dnsmasq's user may write that file, so it is trusted only if that process has the right command line.
"""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Final

from stead_agent.dhcp.dnsmasq_conf import ServerFiles
from stead_agent.dhcp.interface import DhcpError
from stead_agent.programs import processes
from stead_agent.programs.run import ProgramFailedError, RunError, run

_PROGRAM: Final = "dnsmasq"
_OPTION: Final = "--conf-file="
_START_SECONDS: Final = 10.0
_END_SECONDS: Final = 3.0
_NETWORK_STATUS: Final = 2  # an address is in use, or not local: dnsmasq(8), exit codes
_FREE_SECONDS: Final = 2.0  # for the sockets of an earlier server to close
_RETRY_SECONDS: Final = 0.02


def find(files: ServerFiles) -> int | None:
    """Return the server's process id, or None when it does not run."""
    pid = _hint(files.pid)
    if pid and configuration_of(pid) == files.configuration:
        return pid
    # Children that answer DNS over TCP have the same command line; their parent is the server.
    mine = set(all_servers().get(files.configuration, ()))
    return min((pid for pid in mine if _parent(pid) not in mine), default=None)


def all_servers() -> dict[Path, list[int]]:
    """List all processes that look like our servers, by the configuration they were started with."""
    found: dict[Path, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (configuration := configuration_of(int(folder.name))):
            found.setdefault(configuration, []).append(int(folder.name))
    return found


def configuration_of(pid: int) -> Path | None:
    """Return the configuration that a process was started with, or None when it is no server of ours."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None  # it has ended
    is_one = len(words) == 3 and words[0] == _PROGRAM.encode() and words[1].startswith(_OPTION.encode())
    if is_one and processes.is_of_ours(pid):
        return Path(os.fsdecode(words[1].removeprefix(_OPTION.encode())))
    return None


def is_inside(pid: int, namespace: Path) -> bool:
    """Tell whether a process is in this network namespace, rather than in an earlier one of the same name."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == namespace.stat().st_ino
    except OSError:
        return False


def start(files: ServerFiles, namespace: Path) -> int:
    """Start the server inside a namespace; when this returns, it accepts requests.

    dnsmasq daemonizes, and its first process exits only when it is ready, so this is a short process as run() expects.
    """
    deadline = time.monotonic() + _FREE_SECONDS
    while True:
        try:
            run(
                ["nsenter", f"--net={namespace}", "--", _PROGRAM, f"{_OPTION}{files.configuration}"],
                timeout=_START_SECONDS,
            )
            break
        except RunError as failure:
            # A killed server disappears from the list of processes a moment before its sockets are closed.
            in_use = isinstance(failure, ProgramFailedError) and failure.status == _NETWORK_STATUS
            if not in_use or time.monotonic() > deadline:
                raise DhcpError(f"{files.folder.name}: dnsmasq did not start: {failure}") from failure
            time.sleep(_RETRY_SECONDS)
    pid = find(files)
    if pid is None:
        raise DhcpError(f"{files.folder.name}: dnsmasq ended as soon as it had started")
    return pid


def reload(files: ServerFiles, pid: int) -> None:
    """Make the server read its host files again, which also drops deleted ones."""
    with processes.held(pid, partial(_serves, pid, files)) as process:
        if process is not None:
            signal.pidfd_send_signal(process, signal.SIGHUP)


def stop(files: ServerFiles) -> None:
    """Stop the server and its children; when this returns, they are gone."""
    for pid in all_servers().get(files.configuration, []):
        with processes.held(pid, partial(_serves, pid, files)) as process:
            if process is None:
                continue
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not processes.ends(process, _END_SECONDS):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                if not processes.ends(process, _END_SECONDS):
                    raise DhcpError(f"{files.folder.name}: dnsmasq (process {pid}) cannot be killed")


def _serves(pid: int, files: ServerFiles) -> bool:
    return configuration_of(pid) == files.configuration


def _hint(path: Path) -> int | None:
    """Read a process id from a file."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _parent(pid: int) -> int | None:
    """Return a process's parent."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return None  # it has ended
    return int(after_name.split()[1])

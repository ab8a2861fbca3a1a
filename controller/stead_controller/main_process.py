"""Tells who started the controller which process is the main one, and systemd which follows it when that is killed.

When a unit's main process dies, systemd reads PIDFile= (systemd.service(5)), and the unit stays up if another of its
processes stands there: the stand-by. What takes a parent's place says MAINPID= (sd_notify(3)), so whichever systemd
hears of first, in the end the main process is the one that supervises. Without systemd it writes the pid file of
`stead up`, for users who may not ask for the holder of a lock.
"""

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stead_proto.process_identity import identity_of

FILE_NAME: Final = "successor"  # in the unit's runtime directory
_SOCKET: Final = "NOTIFY_SOCKET"
_DIRECTORY: Final = "RUNTIME_DIRECTORY"
_log: Final = logging.getLogger(__name__)


def is_of_systemd(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the calling process is of a unit of systemd, which hears which one is the main process."""
    return _SOCKET in environment


def followed_by(process: int, environment: Mapping[str, str] = os.environ) -> None:
    """Note the process that follows this one; what cannot be written is logged: systemd would start all anew."""
    if _SOCKET not in environment or _DIRECTORY not in environment:
        return
    _write(Path(environment[_DIRECTORY]) / FILE_NAME, f"{process}\n", "successor_cannot_be_noted")


def is_this(pid_file: Path | None = None, environment: Mapping[str, str] = os.environ) -> None:
    """Say that the calling process is the main one; what cannot be said is logged, and hinders nothing."""
    address = environment.get(_SOCKET)
    if address is None:
        if pid_file is not None:
            _write(pid_file, identity_of(os.getpid()) or "", "pid_file_cannot_be_written")
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.sendto(f"MAINPID={os.getpid()}".encode(), name)
    except OSError:
        _log.exception("main_process_cannot_be_told")


def _write(file: Path, text: str, otherwise: str) -> None:
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(text, encoding="ascii")
        temporary.replace(file)
    except OSError:
        _log.exception(otherwise)


def forget() -> None:
    """Keep what this process starts from speaking to systemd in its name."""
    os.environ.pop(_SOCKET, None)

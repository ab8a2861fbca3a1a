"""Ends this process's connections to a libvirt that hangs: by their sockets, as no call of libvirt's does it."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

_USUAL_NAMES: Final = frozenset({"libvirt-sock", "virtqemud-sock"})


def hang_up(uri: str) -> None:
    """Shut down each socket of this process that is connected to the daemon of a URI: calls on it fail at once.

    It is known by its socket's file name alone, since the daemon may have bound that in a mount namespace of its own.
    """
    named = _USUAL_NAMES.union(Path(each).name for each in parse_qs(urlsplit(uri).query).get("socket", ()))
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it is no socket, or none that is connected, or was closed
            _hang_up(os.dup(int(entry.name)), named)


def _hang_up(ours: int, named: frozenset[str]) -> None:
    """Shut down a socket if it is connected to a daemon; the file is closed in any case."""
    try:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=ours)
    except OSError:
        os.close(ours)
        return
    with end:
        peer = end.getpeername()
        if isinstance(peer, str) and Path(peer).name in named:
            end.shutdown(socket.SHUT_RDWR)

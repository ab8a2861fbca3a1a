"""`python -m stead_controller.network_sandbox FILE PROGRAM …`: run a program in its own network.

Its network namespace has only a loopback interface, so nobody else on the machine can reach its ports; the only way in
is a Unix socket. The program also has its own /tmp, where SeaweedFS's parts find each other by sockets that are named
after their ports only. The program replaces this process and holds the lock on FILE, which identifies the process.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from stead_proto.process_identity import identity_of

# ioctl(2) requests and a flag of netdevice(7).
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1

# Flags of mount(2).
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18


def enclose() -> None:
    """Move to a new network namespace and bring up its loopback interface; raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("16xh", answer)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def hide_tmp() -> None:
    """Mount an empty tmpfs over /tmp for this process only, with only the current folder visible; raises OSError.

    In a systemd unit without that permission, /tmp is private already.
    """
    try:
        os.unshare(os.CLONE_NEWNS)
    except PermissionError:
        return
    here = Path.cwd()
    handle = os.open(here, os.O_PATH | os.O_DIRECTORY)
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)
    _mount(b"tmpfs", b"/tmp", b"tmpfs", _MS_NOSUID | _MS_NODEV)
    if here.is_relative_to("/tmp"):  # noqa: S108 — the hidden folder; nothing is created in the real /tmp
        here.mkdir(parents=True)
        _mount(f"/proc/self/fd/{handle}".encode(), os.fsencode(here), None, _MS_BIND)
        os.chdir(here)
    os.close(handle)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target.decode())


def take(path: Path) -> None:
    """Lock the file for the life of this process, and write its identity; raises BlockingIOError if it is locked."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(handle, 0)
    os.write(handle, (identity_of(os.getpid()) or "").encode("ascii"))
    os.set_inheritable(handle, True)  # so that the program inherits it


def main() -> None:
    """Isolate this process and execute the program."""
    take(Path(sys.argv[1]))
    # The program may be below /tmp, or in a home directory that only root outside of the namespaces can enter.
    program = os.open(sys.argv[2], os.O_PATH | os.O_CLOEXEC)
    enclose()
    hide_tmp()
    os.execve(program, sys.argv[2:], os.environ)  # noqa: S606 — the command is our own, without a shell


if __name__ == "__main__":
    main()

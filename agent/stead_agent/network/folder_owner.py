"""Whose VPC namespaces are in a folder: one agent's at a time, and the same one's for as long as it has a VPC there.

A namespace's file is named by its VPC and says nothing of who made it, so two agents with one folder would remove each
other's as strays, also one after the other. What is locked is a file beside the folder: ip(8) lists all that is in it,
and locks the folder itself for each `ip netns add`.
"""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead_agent.network.namespaces import PREFIX
from stead_agent.settings import DEFAULT_NETNS_DIR

_MNT_DETACH: Final = 2  # umount2(2)
_MARK_BYTES: Final = 4096
_REMEDY: Final = "; give this agent a folder of its own: --netns-dir"


class FolderTakenError(Exception):
    """The folder has another agent's VPCs; the message says whose, and the remedy."""


@contextlib.contextmanager
def owned(folder: Path, owner: str) -> Iterator[None]:
    """Own the folder; `owner` is the same text for the same agent at each of its starts.

    Raises FolderTakenError while another agent runs that has it, and when another that does not run left VPCs there.
    """
    mark = mark_of(folder)
    mark.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle = _lock(mark, folder)
    try:
        before = _read(handle)[0]
        if before not in {"", owner} and _has_vpcs(folder):
            raise FolderTakenError(
                f"{folder} has VPCs of the agent of {before}, which does not run: start or purge that one" + _REMEDY
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{owner}\n{os.getpid()}\n".encode(), 0)
        yield
        if not _has_vpcs(folder):
            mark.unlink(missing_ok=True)
    finally:
        os.close(handle)


def mark_of(folder: Path) -> Path:
    """Name the file that says whose the folder is, and that its agent keeps locked."""
    real = folder.resolve()
    return real.with_name(f"{real.name}.stead-agent")


def give_up(folder: Path) -> None:
    """Remove a folder that is empty, with the mount over itself that `ip netns` and we make; not the machine's own."""
    if folder.resolve() == DEFAULT_NETNS_DIR or not folder.is_dir() or any(folder.iterdir()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(os.fsencode(folder), _MNT_DETACH) == 0:
        pass  # the last call fails, since nothing is mounted there any more; whatever else is wrong, rmdir tells
    folder.rmdir()


def _lock(mark: Path, folder: Path) -> int:
    """Open and lock the mark; one that its last owner deleted while we waited for it does not count."""
    while True:
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(mark, handle):
                return handle
        except BlockingIOError:
            owner, pid = _read(handle)
            os.close(handle)
            raise FolderTakenError(
                f"{folder} has the VPCs of the agent of {owner or 'another'}, which runs as process {pid}" + _REMEDY
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(mark: Path, handle: int) -> bool:
    try:
        found = mark.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(handle))


def _read(handle: int) -> tuple[str, str]:
    """Read whose it is, and the process that said so; empty when nobody did."""
    lines = os.pread(handle, _MARK_BYTES, 0).decode(errors="replace").split("\n")
    return (lines[0], lines[1]) if len(lines) > 1 else ("", "")


def _has_vpcs(folder: Path) -> bool:
    return folder.is_dir() and any(entry.name.startswith(PREFIX) for entry in os.scandir(folder))

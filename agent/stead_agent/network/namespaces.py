"""Named network namespaces: created, removed, and entered by short-lived threads, one for each piece of work.

A namespace's file is a bind mount as `ip netns` makes it (ip-netns(8)), so every tool finds it. Only threads change
their namespace, never the process: a socket stays in the namespace where it was made, whichever thread uses it later.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stead_agent.settings import DEFAULT_NETNS_DIR

PREFIX: Final = "vpc-"
GATEWAY_PREFIX: Final = "nat-"  # of NAT gateways; each belongs to a VPC
ENDPOINT_PREFIX: Final = "vpce-"  # of gateway endpoints; each belongs to a VPC
INTERFACE_PREFIX: Final = "eni-"  # of interfaces of interface endpoints; each belongs to a VPC
_OWN_NAMESPACE: Final = "/proc/thread-self/ns/net"
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000  # mount(2)
_MNT_DETACH: Final = 2  # umount2(2)

_libc = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """The VPCs' namespaces on this machine, and the one used as the host's."""

    def __init__(
        self, folder: Path = DEFAULT_NETNS_DIR, host: Path | None = None, shut: Callable[[], None] = lambda: None
    ) -> None:
        """Store namespaces in `folder`; `host` is the host's own, by default the one of the calling thread.

        `shut` is called inside each new VPC's namespace before it is named: it blocks all packets until rules exist.
        """
        self.folder = folder
        self._shut = shut
        self.host: Final = os.open(host or _OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the descriptor of the host's namespace."""
        os.close(self.host)

    def path(self, vpc_id: str) -> Path:
        """Return the file of the namespace of a VPC or of a part of one, whether it exists or not."""
        prefixes = (PREFIX, GATEWAY_PREFIX, ENDPOINT_PREFIX, INTERFACE_PREFIX)
        if not vpc_id.startswith(prefixes) or "/" in vpc_id:
            raise ValueError(f"not a VPC: {vpc_id!r}")
        return self.folder / vpc_id

    def names(self) -> frozenset[str]:
        """List the VPCs that have a namespace, or a file left from one."""
        return self.listed(PREFIX)

    def endpoints(self) -> frozenset[str]:
        """List the gateway endpoints that have a namespace, or a file left from one."""
        return self.listed(ENDPOINT_PREFIX)

    def listed(self, prefix: str) -> frozenset[str]:
        """List the names with a prefix that have a namespace, or a file left from one."""
        if not self.folder.is_dir():
            return frozenset()
        return frozenset(entry.name for entry in os.scandir(self.folder) if entry.name.startswith(prefix))

    def exists(self, vpc_id: str) -> bool:
        """Tell whether the VPC's file is a mounted namespace; a crash during creation leaves a plain file."""
        return self.identity(vpc_id) is not None

    def identity(self, vpc_id: str) -> int | None:
        """Return a number that differs between namespaces of the same name over time; None when there is none."""
        try:
            found = self.path(vpc_id).stat()
        except FileNotFoundError:
            return None
        return found.st_ino if found.st_dev == os.fstat(self.host).st_dev else None

    def create(self, vpc_id: str) -> bool:
        """Create the VPC's namespace; return False when it exists already."""
        if self.exists(vpc_id):
            return False
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _share(self.folder)
        path = self.path(vpc_id)
        path.touch(mode=0o444)
        # A NAT gateway gets its rules before its link.
        prepare = self._shut if vpc_id.startswith(PREFIX) else lambda: None
        on_a_thread(lambda: _pin_new_namespace(path, prepare))
        return True

    def delete(self, vpc_id: str) -> None:
        """Remove the VPC's name; the namespace is freed with the last process, socket or mount that uses it."""
        path = self.path(vpc_id)
        while self.exists(vpc_id):
            _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), path)
        path.unlink(missing_ok=True)

    def open(self, vpc_id: str) -> int:
        """Return a file descriptor of the VPC's namespace, for the caller to close."""
        return os.open(self.path(vpc_id), os.O_RDONLY | os.O_CLOEXEC)

    def inside[T](self, vpc_id: str | None, work: Callable[[], T]) -> T:
        """Do `work` in a thread that is in the VPC's namespace, or in the host's for None; return its result."""
        if vpc_id is None:
            return on_a_thread(lambda: _enter_and(self.host, work))
        namespace = self.open(vpc_id)
        try:
            return on_a_thread(lambda: _enter_and(namespace, work))
        finally:
            os.close(namespace)


def enter(namespace: int) -> None:
    """Move the calling thread into a namespace: only for threads that end after this work."""
    os.setns(namespace, os.CLONE_NEWNET)


def _enter_and[T](namespace: int, work: Callable[[], T]) -> T:
    enter(namespace)
    return work()


def on_a_thread[T](work: Callable[[], T]) -> T:
    """Do `work` on a thread of its own, so that its changes of the thread's namespaces do not persist."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # passed to the caller, which waits for it
            errors.append(error)

    thread = threading.Thread(target=body, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _pin_new_namespace(path: Path, prepare: Callable[[], None]) -> None:
    os.unshare(os.CLONE_NEWNET)
    prepare()
    _check(_libc.mount(os.fsencode(_OWN_NAMESPACE), os.fsencode(path), b"none", _MS_BIND, None), path)


def _share(folder: Path) -> None:
    """Make names created here visible in other mount namespaces, as ip-netns does."""
    if _libc.mount(b"", os.fsencode(folder), b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(os.fsencode(folder), os.fsencode(folder), b"none", _MS_BIND | _MS_REC, None), folder)
    _check(_libc.mount(b"", os.fsencode(folder), b"none", _MS_SHARED | _MS_REC, None), folder)


def _check(result: int, path: Path) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))

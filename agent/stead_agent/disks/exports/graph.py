"""Builds the QMP commands for a qemu-storage-daemon from an export or a remote volume: pure.

The home host has a file or device, its format with base and key, and an NBD server that requires a certificate of our
CA with the name of the client or of its guest's attachment. The other host has an NBD client, which requires the name
of the home, and an NBD server on a unix socket. Flushes, FUA, discards and zeroes pass through both.
"""

import base64
import errno
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from stead_agent.disks.disk_sources import BlockSource, FileSource, Layer, NbdSource, RbdSource, Source, passphrase_of
from stead_agent.disks.exports.interface import Export, Remote
from stead_proto import tls

RECONNECT_SECONDS: Final = 600
"""How long reads and writes wait for an unreachable home before they fail."""

_DISK: Final = "disk"
_BASE: Final = "base"
_KEY: Final = "key"
_ACCESS: Final = "access"
_CREDENTIALS: Final = "tls"
_CLIENT: Final = "client"
_EXPORT: Final = "export"
_THREAD: Final = "io"
# How files are read and written. With threads, QEMU's default, each read wakes a thread, which wakes the daemon.
_AIO: Final = "io_uring"
_REQUESTS: Final = ("read", "write", "write-zeroes", "discard", "flush")
# A client whose connection broke opens another before the server knows that the first is dead.
_MOST_CONNECTIONS: Final = 8


class Command(NamedTuple):
    """One QMP command; its arguments may hold a key, so it must not be logged."""

    name: str
    arguments: dict[str, Any]

    def with_threads(self) -> "Command | None":
        """Return the same command without io_uring, for kernels that lack or restrict it; None if it uses none."""
        if "aio" not in self.arguments:
            return None
        return Command(self.name, {name: value for name, value in self.arguments.items() if name != "aio"})


def serving(export: Export, address: str, credentials: Path) -> Iterator[Command]:
    """Yield the commands that make a daemon serve a volume at an address of this host."""
    yield _credentials("server", credentials)
    yield _thread()
    yield _clients(export)
    if export.encryption_key:
        passphrase = base64.b64encode(passphrase_of(export.encryption_key)).decode("ascii")
        yield Command("object-add", {"qom-type": "secret", "id": _KEY, "format": "base64", "data": passphrase})
    if isinstance(export.disk.source, RbdSource):
        access = {"qom-type": "secret", "id": _ACCESS, "format": "base64", "data": export.disk.source.key}
        yield Command("object-add", access)
    if export.base:
        yield from _layer(_BASE, export.base, read_only=True)
    yield from _layer(
        _DISK, export.disk, base=_BASE if export.base else None, key=_KEY if export.encryption_key else None
    )
    server = {
        "addr": {"type": "inet", "data": {"host": address, "port": str(export.port)}},
        "tls-creds": _CREDENTIALS,
        "tls-authz": _CLIENT,
        "max-connections": _MOST_CONNECTIONS,
    }
    yield Command("nbd-server-start", server)
    yield _export(export.volume_id, flushes_each_write=flushes_each_write(export.disk.format))


def admit_again(export: Export) -> Iterator[Command]:
    """Yield the commands with which a daemon admits the clients of now, and no others, by connections of now on.

    The server looks up the authorization object by name with each connection (QEMU's crypto/tlssession.c).
    """
    yield Command("object-del", {"id": _CLIENT})
    yield _clients(export)


def _clients(export: Export) -> Command:
    """Admit two clients: the host's proxy, and its guest's QEMU with the credentials of this attachment."""
    rules = [{"match": name, "policy": "allow", "format": "exact"} for name in clients(export)]
    return Command("object-add", {"qom-type": "authz-list", "id": _CLIENT, "policy": "deny", "rules": rules})


def clients(export: Export) -> list[str]:
    """List the subjects of the certificates that a home admits."""
    attachment = tls.subject_of_attachment(export.volume_id, export.generation, export.client_host_id)
    enrolments = [export.client_enrolment]
    if export.client_former_enrolment is not None:
        enrolments.append(export.client_former_enrolment)
    return [*(tls.subject_of_host(export.client_host_id, each) for each in enrolments), attachment]


def flushes_each_write(disk_format: str) -> bool:
    """Tell whether a home must flush each write, so that an acknowledged write is on the disk.

    qcow2 caches its tables in the daemon's memory until a flush, and a client that reconnects after the daemon was
    killed does not know that the writes since its last flush are lost.
    """
    return disk_format == "qcow2"


def connecting(remote: Remote, credentials: Path) -> Iterator[Command]:
    """Yield the commands that make a daemon a client of a volume's home; the last one needs a reachable home."""
    yield _credentials("client", credentials)
    yield _thread()
    yield _of_home(remote, _DISK)


def _of_home(remote: Remote, node: str) -> Command:
    """Connect to the home, with one connection for each node."""
    return Command(
        "blockdev-add",
        {
            "node-name": node,
            "driver": "nbd",
            "server": {"type": "inet", "host": remote.address, "port": str(remote.port)},
            "export": remote.volume_id,
            "tls-creds": _CREDENTIALS,
            "tls-hostname": tls.host_server_name(remote.home_host_id),
            "reconnect-delay": RECONNECT_SECONDS,
            "discard": "unmap",
        },
    )


def offering(remote: Remote, socket: Path) -> Iterator[Command]:
    """Yield the commands that make a connected daemon export the volume on a unix socket."""
    yield Command("nbd-server-start", {"addr": {"type": "unix", "data": {"path": str(socket)}}})
    yield _export(remote.volume_id, flushes_each_write=False)


def refusing(volume_id: str, size: int, socket: Path) -> Iterator[Command]:
    """Yield the commands that make a daemon answer every request on a unix socket with an error."""
    yield _thread()
    yield Command("blockdev-add", {"node-name": f"{_DISK}-bytes", "driver": "null-co", "size": size})
    errors = [{"event": "none", "iotype": each, "errno": errno.EIO} for each in _REQUESTS]
    yield Command(
        "blockdev-add",
        {"node-name": _DISK, "driver": "blkdebug", "image": f"{_DISK}-bytes", "inject-error": errors},
    )
    yield Command("nbd-server-start", {"addr": {"type": "unix", "data": {"path": str(socket)}}})
    yield _export(volume_id, flushes_each_write=False)


def grown_at_home(size: int) -> Command:
    """Grow the disk, which must not be exported meanwhile: an NBD export keeps its initial size."""
    return Command("block_resize", {"node-name": _DISK, "size": size})


def connected_anew(remote: Remote) -> Command:
    """Add a second client of the home, which learns the current size of the volume, besides the one in use."""
    return _of_home(remote, grown_node(remote))


def grown_node(remote: Remote) -> str:
    """Return the node name of the client of a home that has grown the volume to this size."""
    return f"{_DISK}-{remote.size}"


def export_of(volume_id: str, node: str, size: int, *, flushes_each_write: bool) -> Command:
    """Export a disk that has grown; under a new id, since the previous export ends only after its requests."""
    command = _export(volume_id, flushes_each_write=flushes_each_write)
    return Command(command.name, command.arguments | {"id": f"{_EXPORT}-{size}", "node-name": node})


def reported_size(nodes: Iterable[Mapping[str, Any]], node_name: str = _DISK) -> int:
    """Return the size of a disk from a daemon's list of nodes; 0 when there is no such node."""
    return next((int(node["image"]["virtual-size"]) for node in nodes if node.get("node-name") == node_name), 0)


def _thread() -> Command:
    """Create an I/O thread, which polls for the next request for some microseconds before it sleeps.

    The main loop sleeps at once: each request would cost two more wake-ups of each daemon, 100 us on a small machine.
    """
    return Command("object-add", {"qom-type": "iothread", "id": _THREAD})


def _credentials(endpoint: str, folder: Path) -> Command:
    return Command(
        "object-add",
        {
            "qom-type": "tls-creds-x509",
            "id": _CREDENTIALS,
            "endpoint": endpoint,
            "dir": str(folder),
            "verify-peer": True,
        },
    )


def _export(volume_id: str, *, flushes_each_write: bool) -> Command:
    arguments: dict[str, Any] = {
        "type": "nbd",
        "id": _EXPORT,
        "node-name": _DISK,
        "name": volume_id,
        "writable": True,
        "writethrough": flushes_each_write,
        "iothread": _THREAD,
    }
    return Command("block-export-add", arguments)


def _layer(
    name: str, layer: Layer, *, base: str | None = None, key: str | None = None, read_only: bool = False
) -> Iterator[Command]:
    """Open the bytes and, over them, the format; `base` is an existing node."""
    common = {"read-only": read_only, "discard": "unmap"}
    yield Command("blockdev-add", {"node-name": f"{name}-bytes", **common, **_bytes(layer.source)})
    node: dict[str, Any] = {"node-name": name, **common, "file": f"{name}-bytes", "driver": layer.format}
    if layer.format == "qcow2":
        node["backing"] = base
        if key:
            node["encrypt"] = {"format": "luks", "key-secret": key}
    elif key:
        node |= {"driver": "luks", "key-secret": key}
    yield Command("blockdev-add", node)


def _bytes(source: Source) -> dict[str, Any]:
    match source:
        case FileSource(path):
            return {"driver": "file", "filename": str(path), "aio": _AIO}
        case BlockSource(path):
            return {"driver": "host_device", "filename": str(path)}
        case NbdSource(socket, export):
            address = {"type": "unix", "path": str(socket)}
            return {"driver": "nbd", "server": address, "export": export, "reconnect-delay": RECONNECT_SECONDS}
        case RbdSource(pool, image, conf, user):
            place = {"pool": pool, "image": image, "conf": str(conf), "user": user}
            return {"driver": "rbd", **place, "key-secret": _ACCESS, "cache": {"direct": True}}

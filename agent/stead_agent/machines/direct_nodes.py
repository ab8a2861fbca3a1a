"""Names and QMP commands of direct connections of a guest's QEMU to the home of a volume, and parsing of answers. Pure.

Besides libvirt's node for the proxy's socket, QEMU gets a node of ours, an NBD client with TLS, and the disk's device
is moved from the one to the other (`qom-set drive`, QEMU 6.2). A node is named by volume and generation, and the object
with its credentials by the node and their expiry time: QEMU itself holds all the state.

Requests to an unreachable home wait for ten minutes, and `yank` ends only those that wait for an answer. Those that
wait for a connection end when a job that has the node as its target is cancelled. So each node has such a job from the
start, with an empty disk as its source that is never written: it copies nothing, until it is cancelled.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from stead_agent.machines.domain_xml import volume_of
from stead_agent.machines.interface import DiskHome
from stead_proto import tls

PREFIX: Final = "direct-"
_NOTHING: Final = "cutoff-"
# As long as the proxy waits for an unreachable home: `disks/exports/graph.py`.
_RECONNECT_SECONDS: Final = 600
# QEMU's main loop, and with it the guest, waits for the first connection no longer than this.
_OPEN_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class DirectNode:
    """A block node of ours in a QEMU."""

    name: str
    size: int
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class PluggedDisk:
    """A volume of another host that is attached to a guest."""

    device: str  # QOM path
    node: str  # the one that it uses now
    proxy_node: str  # libvirt's
    proxy_size: int
    is_shareable: bool  # with a job: false for disks that an earlier agent attached

    @property
    def is_direct(self) -> bool:
        """Tell whether it bypasses the proxy."""
        return self.node.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of a QEMU: disks by volume, our nodes by name, and the objects with our credentials."""

    disks: Mapping[str, PluggedDisk] = field(default_factory=dict)
    nodes: Mapping[str, DirectNode] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()  # of jobs

    @property
    def unused(self) -> frozenset[str]:
        """List our nodes that no disk uses: from an interrupted agent, or of a detached disk."""
        nodes = {*self.nodes, *(PREFIX + each.removeprefix(_NOTHING) for each in self.sources)}
        return frozenset(nodes - {disk.node for disk in self.disks.values()})

    @property
    def waiting(self) -> frozenset[str]:
        """List our nodes on which disks may wait; a node that was cut off has no job any more, and does not wait."""
        return frozenset(
            disk.node
            for disk in self.disks.values()
            if disk.node in self.nodes and source_of(disk.node) in self.sources
        )

    @property
    def needless(self) -> frozenset[str]:
        """List the objects whose nodes do not exist."""
        return frozenset(each for each in self.objects if node_of_credentials(each) not in self.nodes)

    def nodes_of(self, volume_id: str) -> frozenset[str]:
        """List our nodes of a volume."""
        begin = node_name(volume_id, 0).rpartition("-")[0] + "-"
        return frozenset(name for name in self.nodes if name.startswith(begin))

    def credentials_end(self, node: str) -> int:
        """Return when the credentials of a node expire: Unix time, 0 if unknown."""
        ends = (each.rpartition("-")[2] for each in self.objects if node_of_credentials(each) == node)
        return max((int(end) for end in (each.partition(".")[0] for each in ends) if end.isdigit()), default=0)

    def are_of(self, node: str, authorities: bytes) -> bool:
        """Tell whether the credentials of a node came with these authorities; those of earlier agents did not."""
        found = {each.rpartition(".")[2] for each in self.objects if node_of_credentials(each) == node}
        return found == {_mark(authorities)}


def node_name(volume_id: str, generation: int) -> str:
    """Return the node name of an attachment: at most 31 characters."""
    return f"{PREFIX}{volume_id.removeprefix('vol-')}-{sha256(str(generation).encode()).hexdigest()[:6]}"


def credentials_id(node: str, end: int, authorities: bytes) -> str:
    """Return the id of the object with a node's credentials, which expire at `end` and came with these authorities."""
    return f"{node}-{end}.{_mark(authorities)}"


def _mark(authorities: bytes) -> str:
    return authorities.hex()[:12]


def node_of_credentials(object_id: str) -> str:
    """Return the name of the node whose credentials an object holds."""
    return object_id.rpartition("-")[0]


def credentials(object_id: str, folder: Path) -> dict[str, Any]:
    """Return the arguments of `object-add` to read a key and certificates from a folder."""
    return {
        "qom-type": "tls-creds-x509",
        "id": object_id,
        "endpoint": "client",
        "dir": str(folder),
        "verify-peer": True,
    }


def node(home: DiskHome, object_id: str) -> dict[str, Any]:
    """Return the arguments of `blockdev-add` to reach a home."""
    return {
        "node-name": node_name(home.volume_id, home.generation),
        "driver": "nbd",
        "server": {"type": "inet", "host": home.address, "port": str(home.port)},
        "export": home.volume_id,
        "tls-creds": object_id,
        "tls-hostname": tls.host_server_name(home.host_id),
        "open-timeout": _OPEN_SECONDS,
        "reconnect-delay": _RECONNECT_SECONDS,
        "discard": "unmap",
    }


def source_of(node: str) -> str:
    """Return the node name of the empty disk that is the source of a node's job."""
    return _NOTHING + node.removeprefix(PREFIX)


def breaker(node: str, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the commands that give a node of this size the job by which requests waiting for its home can be ended."""
    source = source_of(node)
    yield "blockdev-add", {"node-name": source, "driver": "null-co", "size": size, "read-only": True}
    yield "blockdev-backup", {"job-id": node, "device": source, "target": node, "sync": "none"}


def devices(domain_xml: str) -> dict[str, tuple[str, str]]:
    """Find the disks of other hosts' volumes in a running domain: by volume, device and number of libvirt's node."""
    found = {}
    for disk in ET.fromstring(domain_xml).iterfind("devices/disk"):  # noqa: S314 (libvirt's own)
        source, alias = disk.find("source[@protocol='nbd']"), disk.find("alias")
        volume_id = volume_of(disk.findtext("serial", ""))
        if volume_id and source is not None and alias is not None:
            device = f"/machine/peripheral/{alias.get('name', '')}/virtio-backend"
            found[volume_id] = (device, source.get("index", ""))
    return found


def proxy_node(number: str, names: Iterable[str]) -> str:
    """Return libvirt's node name of a disk: the format node if there is one, else the protocol node."""
    formatted = f"libvirt-{number}-format"
    return formatted if formatted in names else f"libvirt-{number}-storage"


def job_sources(names: Iterable[str]) -> frozenset[str]:
    """Return the sources of our jobs among the names of nodes."""
    return frozenset(name for name in names if name.startswith(_NOTHING))


def sizes(reported: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Read from `query-named-block-nodes` how large each node is."""
    return {str(each.get("node-name", "")): int(each["image"]["virtual-size"]) for each in reported}


def direct_nodes(reported: Iterable[Mapping[str, Any]]) -> dict[str, DirectNode]:
    """Read our nodes from `query-named-block-nodes`."""
    found = {}
    for each in reported:
        name = str(each.get("node-name", ""))
        if name.startswith(PREFIX):
            address, port = _server(str(each["image"]["filename"]))
            found[name] = DirectNode(name, int(each["image"]["virtual-size"]), address, port)
    return found


def credential_objects(reported: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Read our objects from `qom-list /objects`."""
    return frozenset(name for each in reported if (name := str(each.get("name", ""))).startswith(PREFIX))


def _server(filename: str) -> tuple[str, int]:
    """Parse a node's server address from QEMU's notation: `json:{…}`, or `nbd://ADDRESS:PORT/EXPORT`."""
    if filename.startswith("json:"):
        options = json.loads(filename.removeprefix("json:"))
        server = options.get("server", {})
        host = server.get("host") or options.get("server.host", "")
        port = server.get("port") or options.get("server.port", "0")
        return str(host), int(port)
    host, _, port = filename.removeprefix("nbd://").rpartition("/")[0].rpartition(":")
    return host.strip("[]"), int(port or 0)

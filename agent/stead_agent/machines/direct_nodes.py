"""Names and commands by which a guest's QEMU reaches the home of a volume itself, and what it tells of them. Pure.

Beside the node that libvirt made of the proxy's socket QEMU gets one of ours, an NBD client with TLS, and the disk's
device is moved from the one to the other (`qom-set drive`, QEMU 6.2). A node is named by volume and generation, and the
object with its credentials by the node and the time at which they end: all that must be known is in QEMU.

What waits for a home that is away waits for ten minutes, and `yank` ends only what waits for an answer. What does for a
connection as well is the cancelling of a job that has the node as its target. So each node has such a job from the
start, of a disk that has no bytes and that nobody writes to: it copies nothing, until it is cancelled.
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
# As long as the proxy waits for a home that is away: `disks/exports/graph.py`.
_RECONNECT_SECONDS: Final = 600
# QEMU's main loop, and with it the guest, waits for the first connection no longer than this.
_OPEN_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class DirectNode:
    """A node of ours in a QEMU."""

    name: str
    size: int
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class PluggedDisk:
    """A volume of another host that a guest has."""

    device: str  # QOM path
    node: str  # that it uses now
    proxy_node: str  # libvirt's
    proxy_size: int
    is_shareable: bool  # with a job: one that an earlier agent plugged in is not

    @property
    def is_direct(self) -> bool:
        """Tell whether it is used past the proxy."""
        return self.node.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is in a QEMU: disks by volume, our nodes by name, and the objects with our credentials."""

    disks: Mapping[str, PluggedDisk] = field(default_factory=dict)
    nodes: Mapping[str, DirectNode] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()  # of jobs

    @property
    def unused(self) -> frozenset[str]:
        """List our nodes that no disk uses: of an agent that was cut off, or of a disk that has gone."""
        nodes = {*self.nodes, *(PREFIX + each.removeprefix(_NOTHING) for each in self.sources)}
        return frozenset(nodes - {disk.node for disk in self.disks.values()})

    @property
    def waiting(self) -> frozenset[str]:
        """List our nodes of which disks wait for answers; one that was cut off has no job any more, and waits not."""
        return frozenset(
            disk.node
            for disk in self.disks.values()
            if disk.node in self.nodes and source_of(disk.node) in self.sources
        )

    @property
    def needless(self) -> frozenset[str]:
        """List the objects whose nodes are not there."""
        return frozenset(each for each in self.objects if node_of_credentials(each) not in self.nodes)

    def nodes_of(self, volume_id: str) -> frozenset[str]:
        """List our nodes of a volume."""
        begin = node_name(volume_id, 0).rpartition("-")[0] + "-"
        return frozenset(name for name in self.nodes if name.startswith(begin))

    def credentials_end(self, node: str) -> int:
        """Tell when what a node can show its home ends: Unix time, 0 when that is not known."""
        ends = (each.rpartition("-")[2] for each in self.objects if node_of_credentials(each) == node)
        return max((int(end) for end in ends if end.isdigit()), default=0)


def node_name(volume_id: str, generation: int) -> str:
    """Name the node of an attachment: a node's name has at most 31 characters."""
    return f"{PREFIX}{volume_id.removeprefix('vol-')}-{sha256(str(generation).encode()).hexdigest()[:6]}"


def credentials_id(node: str, end: int) -> str:
    """Name the object with what a node shows its home, until a time."""
    return f"{node}-{end}"


def node_of_credentials(object_id: str) -> str:
    """Name the node for which an object was made."""
    return object_id.rpartition("-")[0]


def credentials(object_id: str, folder: Path) -> dict[str, Any]:
    """Say what `object-add` needs to read a key and certificates from a folder."""
    return {
        "qom-type": "tls-creds-x509",
        "id": object_id,
        "endpoint": "client",
        "dir": str(folder),
        "verify-peer": True,
    }


def node(home: DiskHome, object_id: str) -> dict[str, Any]:
    """Say what `blockdev-add` needs to reach a home."""
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
    """Name the disk without bytes from which a node's job copies nothing."""
    return _NOTHING + node.removeprefix(PREFIX)


def breaker(node: str, size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """List what gives a node of this size the job by which what waits for its home can be ended."""
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
    """Name the node that libvirt gave a disk: of its format where there is one, else of its bytes."""
    formatted = f"libvirt-{number}-format"
    return formatted if formatted in names else f"libvirt-{number}-storage"


def job_sources(names: Iterable[str]) -> frozenset[str]:
    """Pick the disks of our jobs among the names of nodes."""
    return frozenset(name for name in names if name.startswith(_NOTHING))


def sizes(told: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Read from `query-named-block-nodes` how large each node is."""
    return {str(each.get("node-name", "")): int(each["image"]["virtual-size"]) for each in told}


def direct_nodes(told: Iterable[Mapping[str, Any]]) -> dict[str, DirectNode]:
    """Read our nodes from `query-named-block-nodes`."""
    found = {}
    for each in told:
        name = str(each.get("node-name", ""))
        if name.startswith(PREFIX):
            address, port = _server(str(each["image"]["filename"]))
            found[name] = DirectNode(name, int(each["image"]["virtual-size"]), address, port)
    return found


def credential_objects(told: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Read our objects from `qom-list /objects`."""
    return frozenset(name for each in told if (name := str(each.get("name", ""))).startswith(PREFIX))


def _server(filename: str) -> tuple[str, int]:
    """Read where a node's server is from how QEMU writes it: `json:{…}`, or `nbd://ADDRESS:PORT/EXPORT`."""
    if filename.startswith("json:"):
        options = json.loads(filename.removeprefix("json:"))
        server = options.get("server", {})
        host = server.get("host") or options.get("server.host", "")
        port = server.get("port") or options.get("server.port", "0")
        return str(host), int(port)
    host, _, port = filename.removeprefix("nbd://").rpartition("/")[0].rpartition(":")
    return host.strip("[]"), int(port or 0)

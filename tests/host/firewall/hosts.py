"""Two hosts in namespaces, joined by an underlay, and interfaces of which only the wire is there.

A guest is a link in one namespace, `vpc-wires`, whose other end is plugged into its subnet's bridge: frames are put on it
and read from it as they are, so a thousand packets take a fraction of a second. What is outside is the host's end of a
VPC's internet link.
"""

import contextlib
import itertools
import os
import select
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.firewall import interface as fw
from stead_agent.firewall.kernel import KernelFirewall, shut
from stead_agent.network import interface as net
from stead_agent.network.kernel import KernelNetwork
from stead_agent.network.namespaces import Namespaces
from stead_proto.ids import link_name
from tests.host.network.world import LINKS, POOL
from tests.support.namespaces import carriers_are_on, loopback_up
from tests.support.waiting import wait_for

UNDERLAY = {"a": "192.0.2.1", "b": "192.0.2.2"}
_ROUNDS = 64  # a packet passes fewer links than this
_BUFFER = 1 << 24
_BUFFER_BY_FORCE = 33  # SO_RCVBUFFORCE


@dataclass
class Wire:
    """A socket that puts frames on a link and reads those that come."""

    socket: socket.socket

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def read(self) -> Iterator[bytes]:
        """Give what has come, without what was sent."""
        with contextlib.suppress(BlockingIOError):  # no more has come
            while True:
                frame, (_, _, kind, *_) = self.socket.recvfrom(4096)
                if kind != socket.PACKET_OUTGOING:
                    yield frame


@dataclass
class OneHost:
    """A host's subsystems and what was applied."""

    name: str
    namespaces: Namespaces
    network: KernelNetwork
    firewall: KernelFirewall


@dataclass
class Hosts:
    """All of them; close it when done."""

    folder: Path
    machine: Namespaces
    hosts: dict[str, OneHost] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    _sockets: list[socket.socket] = field(default_factory=list)
    _echoes: list[socket.socket] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def start(self, *names: str) -> None:
        """Make hosts with an underlay between them, and apply their own parts."""
        self.machine.create("vpc-wires")
        for name in names:
            self.machine.create(f"vpc-{name}")
        if len(names) > 1:
            self._join(*names)
        for name in names:
            namespaces = Namespaces(self.folder / name, self.machine.path(f"vpc-{name}"), shut)
            host = OneHost(name, namespaces, KernelNetwork(namespaces), KernelFirewall(namespaces, LINKS))
            self.hosts[name] = host
            underlay = UNDERLAY[name] if len(names) > 1 else ""
            paths = host.network.apply_host(net.HostNetwork((POOL,), underlay_address=underlay))
            host.firewall.apply_host(
                fw.HostFirewall(
                    (POOL,),
                    paths.uplink,
                    paths.host_address,
                    underlay_address=underlay,
                    underlay_peers=frozenset(UNDERLAY[other] for other in names if other != name),
                )
            )
            self.machine.inside(f"vpc-{name}", loopback_up)
            echo = self._open(f"vpc-{name}", socket.AF_INET, socket.SOCK_DGRAM)
            echo.bind(("127.0.0.1", 0))
            echo.connect(echo.getsockname())
            self._echoes.append(echo)

    def _join(self, one: str, other: str) -> None:
        end = self.machine.open(f"vpc-{other}")

        def near() -> None:
            with IPRoute() as ip:
                ip.link("add", ifname="under0", kind="veth", peer={"ifname": "under0", "net_ns_fd": end})
                _configure(ip, "under0", UNDERLAY[one])

        def far() -> None:
            with IPRoute() as ip:
                _configure(ip, "under0", UNDERLAY[other])

        self.machine.inside(f"vpc-{one}", near)
        self.machine.inside(f"vpc-{other}", far)
        os.close(end)

    def plug(self, host: str, interface_id: str, subnet_id: str) -> None:
        """Plug an interface's wire into its subnet's bridge."""
        tap, wires = net.tap_name(interface_id), self.machine.open("vpc-wires")

        def here() -> None:
            with IPRoute() as ip:
                (bridge,) = ip.link_lookup(ifname=net.bridge_name(subnet_id))
                ip.link("add", ifname=tap, kind="veth", peer={"ifname": tap, "net_ns_fd": wires})
                (port,) = ip.link_lookup(ifname=tap)
                ip.link("set", index=port, master=bridge)
                ip.brport("set", index=port, isolated=1)
                ip.link("set", index=port, state="up")

        def there() -> None:
            Path(f"/proc/sys/net/ipv6/conf/{tap}/disable_ipv6").write_text("1", encoding="ascii")
            with IPRoute() as ip:
                (index,) = ip.link_lookup(ifname=tap)
                ip.link("set", index=index, state="up", arp="off")

        self.machine.inside(f"vpc-{host}", here)
        self.machine.inside("vpc-wires", there)
        os.close(wires)
        self.wires[interface_id] = self._wire("vpc-wires", tap)

    def watch_outside(self, host: str, vpc_id: str) -> tuple[Wire, bytes]:
        """Open the host's end of a VPC's internet link; give it with the addresses of frames to the VPC."""
        name = link_name(net.INTERNET_PREFIX, vpc_id)

        def mac() -> str:
            with IPRoute() as ip:
                (link,) = ip.get_links(ifname=net.INTERNET_LINK)
                return str(link.get_attr("IFLA_ADDRESS"))

        inner = bytes.fromhex(self.hosts[host].namespaces.inside(vpc_id, mac).replace(":", ""))
        return self._wire(f"vpc-{host}", name), inner + bytes.fromhex("025354454101")

    def wait_for_carriers(self) -> None:
        """Wait until all links pass packets."""
        for place in ("vpc-wires", *(f"vpc-{name}" for name in self.hosts)):
            wait_for(
                lambda place=place: self.machine.inside(place, carriers_are_on),  # type: ignore[misc]  # bound now
                f"all links of {place} pass packets",
                poll=0.002,
            )

    def _wire(self, namespace: str, link: str) -> Wire:
        made = self._open(namespace, socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, _BUFFER)
        made.bind((link, 3))
        return Wire(made)

    def _open(self, namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        made = self.machine.inside(namespace, lambda: socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))
        self._sockets.append(made)
        return made

    def settle(self) -> None:
        """Return when the processor has handled all packets that were sent before."""
        for _ in range(_ROUNDS):
            for echo in self._echoes:
                echo.send(b"?")
                select.select([echo], [], [], 60)
                echo.recv(1)

    def close(self) -> None:
        """Remove everything."""
        for opened in self._sockets:
            opened.close()
        for host in self.hosts.values():
            host.firewall.close()
        for namespaces in (*(host.namespaces for host in self.hosts.values()), self.machine):
            for name in namespaces.names():
                namespaces.delete(name)
            with contextlib.suppress(OSError):  # nothing was mounted there
                _unmount(namespaces.folder)
            namespaces.close()
        shutil.rmtree(self.folder)


def _unmount(folder: Path) -> None:
    import ctypes

    ctypes.CDLL(None).umount2(os.fsencode(folder), 2)


def _configure(ip: IPRoute, name: str, address: str) -> None:
    (index,) = ip.link_lookup(ifname=name)
    ip.addr("add", index=index, address=address, prefixlen=24)
    ip.link("set", index=index, state="up")


@contextlib.contextmanager
def new_hosts(*names: str) -> Iterator[Hosts]:
    """Make hosts without VPCs, on one processor. Nothing of them is left afterwards."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    folder = Path(tempfile.mkdtemp(prefix="stead-hosts-"))
    hosts = Hosts(folder, Namespaces(folder / "machine"))
    try:
        hosts.start(*names)
        yield hosts
    finally:
        hosts.close()
        os.sched_setaffinity(0, processors)

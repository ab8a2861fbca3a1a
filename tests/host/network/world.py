"""A machine in namespaces: one plays the host, one each guest, one the outside; and the two subsystems at work on it.

Nothing here touches the real host's namespace, links or rules, so no packet of a test can leave the machine. Packets
are handled in the sender's system call or from the queue of its processor (net/core/dev.c, process_backlog), in
order: so a test stays on one processor, and `settle` knows when all that was sent has arrived or was dropped.
"""

import contextlib
import ctypes
import itertools
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.firewall import interface as fw
from stead_agent.firewall.kernel import KernelFirewall, shut
from stead_agent.network import interface as net
from stead_agent.network.desired_objects import INNER_ADDRESSES
from stead_agent.network.kernel import KernelNetwork
from stead_agent.network.namespaces import Namespaces
from tests.support.namespaces import carriers_are_on, loopback_up
from tests.support.waiting import wait_for

POOL = "198.51.100.0/24"
HOST_ADDRESS = "198.51.100.1"
LINKS = fw.LinkPrefixes(
    bridge=net.BRIDGE_PREFIX,
    gateway=net.GATEWAY_PREFIX,
    tap=net.TAP_PREFIX,
    internet=net.INTERNET_PREFIX,
    subnet=net.SUBNET_PREFIX,
    internet_link=net.INTERNET_LINK,
    inner_addresses=str(INNER_ADDRESSES),
)
ANYWHERE = "0.0.0.0/0"
_ROUNDS = 64  # a packet passes fewer links than this
_ISOLATED = 33  # IFLA_BRPORT_ISOLATED


def sent(number: int = 1, protocol: str = "-1", peer: str = ANYWHERE, first: int = -1, last: int = -1) -> fw.GroupRule:
    """An egress rule, by default the one that EC2 gives each new group."""
    return fw.GroupRule(f"sgr-0e{number:015x}", True, protocol, first, last, peer)


def got(number: int, protocol: str, peer: str, first: int = -1, last: int = -1) -> fw.GroupRule:
    """An ingress rule."""
    return fw.GroupRule(f"sgr-0a{number:015x}", False, protocol, first, last, peer)


@dataclass(frozen=True)
class Guest:
    """A namespace that plays a guest, plugged in by a link named like its tap."""

    world: "World"
    vpc_id: str
    interface_id: str
    mac: str
    address: str
    namespace: str

    @property
    def tap(self) -> str:
        return net.tap_name(self.interface_id)

    def open(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket in the guest that never blocks and is closed with the world."""
        return self.world.open(self.namespace, family, kind, protocol)

    def udp(self, port: int = 0) -> socket.socket:
        opened = self.open(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("0.0.0.0", port))
        return opened

    def sends(self, address: str, port: int, source_port: int = 0) -> None:
        """Send one datagram."""
        with self.udp(source_port) as sender:
            sender.sendto(b"probe", (address, port))

    def reaches(self, other: "Guest", port: int, address: str = "") -> bool:
        """Tell whether a datagram of this guest arrives at another, or at an address that stands for it."""
        with other.udp(port) as receiver:
            self.sends(address or other.address, port)
            self.world.settle()
            return bool(select.select([receiver], [], [], 0)[0])

    def listen(self, port: int) -> socket.socket:
        listener = self.open(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen()
        return listener

    def connect(self, address: str, port: int) -> socket.socket | None:
        """Open a TCP connection; None when it does not come about."""
        return self.world.connect(self.open(socket.AF_INET, socket.SOCK_STREAM), address, port)

    def pings(self, address: str) -> bool:
        """Tell whether an address answers an ICMP echo."""
        with self.open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
            return self.world.ping(pinger, address)

    def frames(self) -> "Frames":
        """Watch the frames that arrive from now on."""
        return Frames(self)

    def emit(self, frame: bytes, times: int = 1) -> None:
        """Send a raw Ethernet frame."""
        with self.open(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            for _ in range(times):
                wire.send(frame)


class Frames:
    """The frames that arrive at a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.wire = guest.open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.wire.bind(("eth0", 3))

    def read(self) -> list[bytes]:
        """Give all that has arrived since the last time, without what the guest itself sent."""
        self.guest.world.settle()
        found = []
        with contextlib.suppress(BlockingIOError):  # no more has come
            while True:
                frame, (_, _, kind, *_) = self.wire.recvfrom(4096)
                if kind != socket.PACKET_OUTGOING:
                    found.append(frame)
        return found


@dataclass
class World:
    """All namespaces, the subsystems, and the states that were last applied."""

    folder: Path
    machine: Namespaces
    namespaces: Namespaces
    network: KernelNetwork
    firewall: KernelFirewall
    vpcs: dict[str, tuple[net.VpcNetwork, fw.VpcFirewall]] = field(default_factory=dict)
    guests: list[Guest] = field(default_factory=list)
    _sockets: list[socket.socket] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- desired states

    def start(self, host: net.HostNetwork, **settings: object) -> net.HostPaths:
        """Apply the host's part."""
        paths = self.network.apply_host(host)
        self.firewall.apply_host(
            fw.HostFirewall(
                public_pools=host.public_pools,
                uplink=paths.uplink,
                host_address=paths.host_address,
                masqueraded_pools=paths.masqueraded_pools,
                is_router=paths.is_router,
                **settings,  # type: ignore[arg-type]  # the test's own
            )
        )
        return paths

    def vpc(self, cidr: str, *subnets: str, groups: tuple[fw.Group, ...] = (), internet: bool = True) -> str:
        """Apply a VPC with subnets of these blocks and no interfaces; give its id."""
        number = next(self._numbers)
        vpc_id = f"vpc-0{number:016x}"
        table = net.RouteTable(f"rtb-0{number:016x}", (net.TableRoute(ANYWHERE, net.RouteTo.INTERNET),))
        made = tuple(
            net.Subnet(f"subnet-0{number:06x}{index:010x}", block, route_table_id=table.id if internet else "")
            for index, block in enumerate(subnets)
        )
        network = net.VpcNetwork(vpc_id, number, (cidr,), made, route_tables=(table,))
        firewall = fw.VpcFirewall(
            vpc_id,
            groups,
            tuple(fw.Subnet(net.subnet_link_name(subnet.id), internet) for subnet in made),
            (),
            net.resolver_addresses((cidr,), subnets),
        )
        self.apply(network, firewall)
        return vpc_id

    def apply(self, network: net.VpcNetwork, firewall: fw.VpcFirewall) -> tuple[fw.Refusal, ...]:
        """Apply both states in the order that the promise asks for."""
        self.vpcs[network.vpc_id] = (network, firewall)
        self.network.apply(network)
        return self.firewall.apply(firewall)

    def groups(self, vpc_id: str, *groups: fw.Group) -> None:
        """Replace groups of these ids, or add them."""
        network, firewall = self.vpcs[vpc_id]
        remaining = {group.id: group for group in firewall.groups} | {group.id: group for group in groups}
        self.apply(network, replace(firewall, groups=tuple(remaining.values())))

    def guest(
        self,
        vpc_id: str,
        address: str,
        *group_ids: str,
        public: str = "",
        subnet: int = 0,
        source_dest_check: bool = True,
        plugged: bool = True,
    ) -> Guest:
        """Add an interface to the states and a guest that uses it; join it to its groups."""
        number = next(self._numbers)
        network, firewall = self.vpcs[vpc_id]
        place = network.subnets[subnet]
        guest = Guest(
            self, vpc_id, f"eni-0{number:016x}", f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}", address,
            f"vpc-guest{number}",
        )  # fmt: skip
        local = net.LocalInterface(
            guest.interface_id,
            place.id,
            guest.mac,
            (address,),
            (net.PublicAddress(public, address),) if public else (),
        )
        bound = fw.Interface(
            guest.interface_id,
            guest.tap,
            net.subnet_link_name(place.id),
            guest.mac,
            (address,),
            group_ids,
            (fw.PublicAddress(public, address),) if public else (),
            source_dest_check,
        )
        groups = tuple(
            replace(group, members=group.members | {address}) if group.id in group_ids else group
            for group in firewall.groups
        )
        self.apply(
            replace(network, interfaces=(*network.interfaces, local)),
            replace(firewall, interfaces=(*firewall.interfaces, bound), groups=groups),
        )
        self.machine.create(guest.namespace)
        self.guests.append(guest)
        if plugged:
            self.plug(guest, place)
        return guest

    def forget(self, guest: Guest) -> None:
        """Take a guest's interface and memberships out of the states; its link stays plugged in."""
        network, firewall = self.vpcs[guest.vpc_id]
        self.apply(
            replace(network, interfaces=tuple(i for i in network.interfaces if i.id != guest.interface_id)),
            replace(
                firewall,
                interfaces=tuple(i for i in firewall.interfaces if i.id != guest.interface_id),
                groups=tuple(replace(group, members=group.members - {guest.address}) for group in firewall.groups),
            ),
        )

    def change(self, guest: Guest, **values: object) -> None:
        """Change the firewall's state of a guest's interface."""
        network, firewall = self.vpcs[guest.vpc_id]
        self.apply(
            network,
            replace(
                firewall,
                interfaces=tuple(
                    replace(it, **values) if it.id == guest.interface_id else it  # type: ignore[arg-type]  # the test's own
                    for it in firewall.interfaces
                ),
            ),
        )

    # --- links and sockets

    def plug(self, guest: Guest, subnet: net.Subnet, tap: str = "") -> None:
        """Do what libvirt and the guest's DHCP client do: an isolated port, an address, a route by the gateway."""
        self.wire(guest, subnet, tap)
        self.network.settle(guest.vpc_id, {guest.interface_id})

        def configure() -> None:
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1", encoding="ascii")
            with IPRoute() as ip:
                (eth0,) = ip.link_lookup(ifname="eth0")
                length = int(subnet.cidr.partition("/")[2])
                ip.link("set", index=1, state="up")
                ip.addr("add", index=eth0, address=guest.address, prefixlen=length)
                ip.link("set", index=eth0, state="up")
                ip.route("add", dst="default", gateway=net.gateway_address(subnet.cidr))

        self.machine.inside(guest.namespace, configure)
        self.wait_for_carriers(guest.namespace)

    def wire(self, guest: Guest, subnet: net.Subnet, tap: str = "") -> None:
        """Do what libvirt does: an isolated port, whose other end is the guest's eth0, switched off."""
        namespace = self.machine.open(guest.namespace)

        def add() -> None:
            with IPRoute() as ip:
                peer = {"ifname": "eth0", "address": guest.mac, "net_ns_fd": namespace}
                name = tap or guest.tap
                (bridge,) = ip.link_lookup(ifname=net.bridge_name(subnet.id))
                ip.link("add", ifname=name, kind="veth", peer=peer)
                (port,) = ip.link_lookup(ifname=name)
                ip.link("set", index=port, master=bridge)
                ip.brport("set", index=port, isolated=1)
                ip.link("set", index=port, state="up")

        try:
            self.machine.inside("vpc-host", add)
        finally:
            os.close(namespace)

    def move_public(self, guest: Guest, public: str) -> None:
        """Give a guest another public address, or none."""
        network, firewall = self.vpcs[guest.vpc_id]
        local = tuple(
            replace(it, public_addresses=(net.PublicAddress(public, guest.address),) if public else ())
            if it.id == guest.interface_id
            else it
            for it in network.interfaces
        )
        self.vpcs[guest.vpc_id] = (replace(network, interfaces=local), firewall)
        self.change(guest, public_addresses=(fw.PublicAddress(public, guest.address),) if public else ())

    def route(self, namespace: str, destination: str, gateway: str) -> None:
        """Add a route in one of the machine's namespaces."""

        def add() -> None:
            with IPRoute() as ip:
                ip.route("add", dst=destination, gateway=gateway)

        self.machine.inside(namespace, add)

    def add_link(self, namespace: str, name: str, address: str, other: str, other_address: str) -> "Host":
        """Join one of the machine's namespaces to a new one, by a pair of links with addresses."""
        self.machine.create(other)
        end = self.machine.open(other)

        def near() -> None:
            with IPRoute() as ip:
                ip.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_fd": end})
                _configure(ip, name, address)

        def far() -> None:
            with IPRoute() as ip:
                ip.link("set", index=1, state="up")
                _configure(ip, "eth0", other_address)

        self.machine.inside(namespace, near)
        self.machine.inside(other, far)
        os.close(end)
        self.wait_for_carriers(other)
        return Host(self, other)

    def at_host_run(self, *command: str) -> str:
        """Run a command in the namespace that plays the host."""
        return self._run(self.machine.path("vpc-host"), command)

    def at_guest_run(self, guest: Guest, *command: str) -> str:
        """Run a command in a guest."""
        return self._run(self.machine.path(guest.namespace), command)

    def inside_run(self, vpc_id: str, *command: str) -> str:
        """Run a command in a VPC's namespace."""
        return self._run(self.namespaces.path(vpc_id), command)

    @staticmethod
    def _run(path: Path, command: tuple[str, ...]) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={path}", *command], check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout

    def wait_for_carriers(self, *others: str, vpcs: tuple[str, ...] = ()) -> None:
        """Wait until links that are switched on pass packets: the kernel's workers see to that (net/core/link_watch.c).

        `others` are namespaces of the machine, `vpcs` those of which only the network knows.
        """
        for namespaces, name in (
            *((self.machine, name) for name in ("vpc-host", *others)),
            *((self.namespaces, vpc_id) for vpc_id in (*self.vpcs, *vpcs)),
        ):
            wait_for(
                lambda namespaces=namespaces, name=name: namespaces.inside(name, carriers_are_on),  # type: ignore[misc]  # bound now
                "all links pass packets",
                poll=0.002,
            )

    def link_route(self, guest: Guest, destination: str) -> None:
        """Let a guest believe that these addresses are on its link, as cloud-init does for metadata."""

        def add() -> None:
            with IPRoute() as ip:
                (eth0,) = ip.link_lookup(ifname="eth0")
                ip.route("add", dst=destination, oif=eth0, scope=253)

        self.machine.inside(guest.namespace, add)

    def open(self, namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket in one of the machine's namespaces ("vpc-host" is the host)."""
        made = self.machine.inside(namespace, lambda: socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))
        self._sockets.append(made)
        return made

    def settle(self) -> None:
        """Return when the processor has handled all packets that were sent before."""
        for _ in range(_ROUNDS):
            self._echo.send(b"?")
            select.select([self._echo], [], [], 60)
            self._echo.recv(1)

    def open_echo(self) -> None:
        """Make the socket that `settle` sends to itself: what it sends queues behind all that was sent before."""
        self.machine.inside("vpc-host", loopback_up)
        self._echo = self.open("vpc-host", socket.AF_INET, socket.SOCK_DGRAM)
        self._echo.bind(("127.0.0.1", 0))
        self._echo.connect(self._echo.getsockname())

    def connect(self, client: socket.socket, address: str, port: int) -> socket.socket | None:
        """Open a TCP connection with a socket; None when it does not come about."""
        with contextlib.suppress(BlockingIOError):  # under way
            client.connect((address, port))
        self.settle()
        is_open = bool(select.select([], [client], [], 0)[1]) and not client.getsockopt(
            socket.SOL_SOCKET, socket.SO_ERROR
        )
        return client if is_open else None

    def ping(self, pinger: socket.socket, address: str) -> bool:
        """Send an ICMP echo by a raw socket; tell whether its answer came from that address."""
        number = next(self._numbers)
        body = struct.pack("!BBHHH", 8, 0, 0, number, 1)
        total = sum(struct.unpack("!4H", body))
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        try:
            pinger.sendto(struct.pack("!BBHHH", 8, 0, total, number, 1), (address, 0))
        except OSError:
            return False
        self.settle()
        with contextlib.suppress(BlockingIOError):  # no more has come
            while True:
                packet, (sender, _) = pinger.recvfrom(2048)
                if packet[20] == 0 and sender == address and packet[24:26] == number.to_bytes(2):
                    return True
        return False

    def at_host(self) -> "Host":
        return Host(self)

    def restart(self) -> None:
        """Begin anew as an agent that was just started: nothing in memory, all in the kernel."""
        self.firewall.close()
        self.network = KernelNetwork(self.namespaces)
        self.firewall = KernelFirewall(self.namespaces, LINKS)

    def close(self) -> None:
        """Remove everything."""
        for opened in self._sockets:
            opened.close()
        self.firewall.close()
        libc = ctypes.CDLL(None)
        for namespaces in (self.namespaces, self.machine):
            for name in namespaces.names():
                namespaces.delete(name)
            libc.umount2(os.fsencode(namespaces.folder), 2)
            namespaces.close()
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class Host:
    """The namespace that plays the host, as one who sits at it."""

    world: World
    namespace: str = "vpc-host"

    def open(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        return self.world.open(self.namespace, family, kind, protocol)

    def connect(self, address: str, port: int) -> socket.socket | None:
        return self.world.connect(self.open(socket.AF_INET, socket.SOCK_STREAM), address, port)

    def pings(self, address: str) -> bool:
        with self.open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
            return self.world.ping(pinger, address)

    def listen(self, address: str, port: int) -> socket.socket:
        listener = self.open(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((address, port))
        listener.listen()
        return listener


def add_outside(world: World, uplink_address: str, outside_address: str, *, default: bool = True) -> Host:
    """Give the host an uplink `up0` to a namespace that plays its neighbourhood and the internet."""
    outside = world.add_link("vpc-host", "up0", uplink_address, "vpc-outside", outside_address)
    if default:
        world.route("vpc-host", "0.0.0.0/0", outside_address.partition("/")[0])
    return outside


def _configure(ip: IPRoute, name: str, address: str) -> None:
    (index,) = ip.link_lookup(ifname=name)
    host, _, length = address.partition("/")
    ip.addr("add", index=index, address=host, prefixlen=int(length))
    ip.link("set", index=index, state="up")


@contextlib.contextmanager
def new_world(*, has_firewall: bool = True) -> Iterator[World]:
    """Make a world without VPCs, on one processor; `start` comes next. Nothing of it is left afterwards.

    Without a firewall, VPCs are open from the beginning.
    """
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    folder = Path(tempfile.mkdtemp(prefix="stead-world-"))
    machine = Namespaces(folder / "machine")
    machine.create("vpc-host")
    namespaces = Namespaces(folder / "netns", machine.path("vpc-host"), shut if has_firewall else lambda: None)
    world = World(folder, machine, namespaces, KernelNetwork(namespaces), KernelFirewall(namespaces, LINKS))
    try:
        world.open_echo()
        yield world
    finally:
        world.close()
        os.sched_setaffinity(0, processors)

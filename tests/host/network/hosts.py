"""Several hosts in namespaces, joined by an underlay: the same VPCs on all of them, without a firewall.

Each host is a world of its own (`world.py`) of which only the network is at work; what the firewall would do for
routers on other hosts is done here by two rules (`Cloud.mark_routers`).
"""

import contextlib
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from stead_agent.network.ipv6 import link_local_of
from stead_agent.network.kernel import KernelNetwork
from tests.host.network.world import POOL, Guest, World, new_world

UNDERLAY_MTU = 1600
IPV6_POOL = "2001:db8:5::/48"


def underlay_address(host: int) -> str:
    """Give a host's address on the underlay."""
    return f"192.168.77.{host + 1}"


@dataclass
class Cloud:
    """Hosts, and what all of them know: the VPCs with their interfaces, and where each interface is."""

    hosts: list[World]
    vpcs: dict[str, net.VpcNetwork] = field(default_factory=dict)  # with all interfaces, wherever they are
    homes: dict[str, int] = field(default_factory=dict)  # interface -> host
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def vpc(self, cidr: str, *subnets: str, ipv6: str = "", mtu: int = 1500) -> str:
        """Make a VPC on all hosts; its n-th subnet has the n-th /64 of the IPv6 block and its own route table."""
        number = next(self.numbers)
        sixes = [str(block) for block in itertools.islice(ip_network(ipv6).subnets(new_prefix=64), 9)] if ipv6 else []
        self.vpcs[f"vpc-0{number:016x}"] = net.VpcNetwork(
            f"vpc-0{number:016x}",
            number,
            (cidr,),
            tuple(
                net.Subnet(
                    f"subnet-0{number:06x}{index:010x}", block, sixes[index] if ipv6 else "", f"rtb-{number:x}-{index}"
                )
                for index, block in enumerate(subnets)
            ),
            mtu=mtu,
            ipv6_cidrs=(ipv6,) if ipv6 else (),
            route_tables=tuple(net.RouteTable(f"rtb-{number:x}-{index}") for index, _ in enumerate(subnets)),
        )
        self.apply(f"vpc-0{number:016x}")
        return f"vpc-0{number:016x}"

    def route(self, vpc_id: str, subnet: int, *routes: net.TableRoute) -> None:
        """Say what a subnet's route table has, and no other routes."""
        vpc = self.vpcs[vpc_id]
        tables = list(vpc.route_tables)
        tables[subnet] = replace(tables[subnet], routes=routes)
        self.vpcs[vpc_id] = replace(vpc, route_tables=tuple(tables))
        self.apply(vpc_id)

    def view(self, vpc_id: str, host: int) -> net.VpcNetwork:
        """Give the state of a VPC that a host is to have."""
        vpc = self.vpcs[vpc_id]
        here = tuple(it for it in vpc.interfaces if self.homes[it.id] == host)
        return replace(
            vpc,
            subnets=tuple(subnet for subnet in vpc.subnets if any(it.subnet_id == subnet.id for it in here)),
            interfaces=here,
            remotes=tuple(
                net.RemoteInterface(
                    it.id,
                    it.mac,
                    (*it.addresses, *it.ipv6_addresses),
                    underlay_address(self.homes[it.id]),
                    it.is_router,
                )
                for it in vpc.interfaces
                if self.homes[it.id] != host
            ),
            nat_gateways=tuple(it for it in vpc.nat_gateways if self.homes[it.interface_id] == host),
        )

    def apply(self, vpc_id: str) -> None:
        """Apply a VPC on all hosts."""
        for number, host in enumerate(self.hosts):
            desired = self.view(vpc_id, number)
            host.vpcs[vpc_id] = (desired, fw.VpcFirewall(vpc_id))
            host.network.apply(desired)
            self.mark_routers(host, desired)

    @staticmethod
    def mark_routers(host: World, vpc: net.VpcNetwork) -> None:
        """Do the firewall's part: what comes by VXLAN to the MAC of a router here is for it to forward."""
        rules = "".join(
            f"ether daddr {it.mac} meta mark set {net.router_mark(it.id)} meta pkttype set host\n"
            for it in vpc.interfaces
            if it.is_router
        )
        hook = f"type filter hook ingress device {net.OVERLAY_LINK} priority 0"
        table = f"table netdev test {{\nchain from_hosts {{\n{hook}\n{rules}}}\n}}\n"
        host.inside_run(vpc.vpc_id, "nft", f"add table netdev test\ndelete table netdev test\n{table}")

    def guest(
        self, vpc_id: str, host: int, address: str, subnet: int = 0, *, ipv6: str = "", is_router: bool = False
    ) -> Guest:
        """Put a guest with these addresses on a host."""
        interface = self.interface(vpc_id, host, address, subnet, ipv6=ipv6, is_router=is_router)
        world, number = self.hosts[host], next(self.numbers)
        guest = Guest(world, vpc_id, interface.id, interface.mac, address, f"vpc-guest{number}")
        world.machine.create(guest.namespace)
        world.guests.append(guest)
        world.plug(guest, self.vpcs[vpc_id].subnets[subnet])
        if self.vpcs[vpc_id].mtu != 1500:
            world.machine.inside(guest.namespace, lambda: _set_mtu(self.vpcs[vpc_id].mtu))
        if ipv6:
            world.machine.inside(guest.namespace, lambda: add_ipv6(ipv6, interface.mac))
        if is_router:
            world.machine.inside(guest.namespace, _route_for_others)
        return guest

    def interface(
        self, vpc_id: str, host: int, address: str, subnet: int = 0, *, ipv6: str = "", is_router: bool = False
    ) -> net.LocalInterface:
        """Tell all hosts of an interface."""
        number = next(self.numbers)
        vpc = self.vpcs[vpc_id]
        interface = net.LocalInterface(
            f"eni-0{number:016x}",
            vpc.subnets[subnet].id,
            f"06:00:00:01:{number >> 8:02x}:{number & 255:02x}",
            (address,),
            ipv6_addresses=(ipv6,) if ipv6 else (),
            is_router=is_router,
        )
        self.homes[interface.id] = host
        self.vpcs[vpc_id] = replace(vpc, interfaces=(*vpc.interfaces, interface))
        self.apply(vpc_id)
        return interface

    def nat_gateway(self, vpc_id: str, host: int, address: str, subnet: int = 0) -> net.NatGateway:
        """Put a NAT gateway on a host."""
        interface = self.interface(vpc_id, host, address, subnet, is_router=True)
        gateway = net.NatGateway(interface.id.replace("eni", "nat"), interface.id)
        vpc = self.vpcs[vpc_id]
        self.vpcs[vpc_id] = replace(vpc, nat_gateways=(*vpc.nat_gateways, gateway))
        self.apply(vpc_id)
        for each in self.hosts:
            each.wait_for_carriers()
        return gateway

    def forget(self, vpc_id: str, interface_id: str) -> None:
        """Take an interface away, and its NAT gateway."""
        vpc = self.vpcs[vpc_id]
        self.vpcs[vpc_id] = replace(
            vpc,
            interfaces=tuple(it for it in vpc.interfaces if it.id != interface_id),
            nat_gateways=tuple(it for it in vpc.nat_gateways if it.interface_id != interface_id),
        )
        self.apply(vpc_id)

    def peer(self, one: str, other: str) -> str:
        """Join two VPCs on all hosts; give the peering's id."""
        peering = f"pcx-0{next(self.numbers):016x}"
        for vpc_id, peer_id in ((one, other), (other, one)):
            vpc, peer = self.vpcs[vpc_id], self.vpcs[peer_id]
            joined = net.Peer(peering, peer_id, (*peer.cidrs, *peer.ipv6_cidrs))
            self.vpcs[vpc_id] = replace(vpc, peers=(*vpc.peers, joined))
            self.apply(vpc_id)
        return peering

    def part(self, peering: str) -> None:
        """End a peering, one VPC after the other."""
        for vpc_id, vpc in self.vpcs.items():
            self.vpcs[vpc_id] = replace(vpc, peers=tuple(it for it in vpc.peers if it.peering_id != peering))
            self.apply(vpc_id)

    def restart(self) -> None:
        """Begin anew on all hosts as agents that were just started."""
        for number, host in enumerate(self.hosts):
            host.network = KernelNetwork(host.namespaces)
            host.network.apply_host(self.desired_host(number))

    @staticmethod
    def desired_host(number: int) -> net.HostNetwork:
        """Give the state of a host itself."""
        return net.HostNetwork((POOL,), ipv6_pools=(IPV6_POOL,), underlay_address=underlay_address(number))

    def reaches(self, sender: Guest, receiver: Guest, address: str = "") -> str | None:
        """Tell from which address a datagram of one guest arrives at another; None when it does not."""
        target = address or receiver.address
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with receiver.open(family, socket.SOCK_DGRAM) as got, sender.open(family, socket.SOCK_DGRAM) as sent:
            got.bind(("", 7))
            try:
                sent.sendto(b"probe", (target, 7))
            except OSError:
                return None
            for host in self.hosts:
                host.settle()
            try:
                return str(got.recvfrom(100)[1][0])
            except BlockingIOError:
                return None

    def sends_whole(self, sender: Guest, receiver: Guest, size: int) -> bool:
        """Tell whether a packet of this size that must not be cut arrives (IP_PMTUDISC_PROBE, ip(7))."""
        with receiver.udp(9) as got, sender.udp() as sent:
            sent.setsockopt(socket.IPPROTO_IP, 10, 3)
            try:
                sent.sendto(bytes(size - 28), (receiver.address, 9))
            except OSError:
                return False
            sender.world.settle()
            try:
                return len(got.recv(9000)) == size - 28
            except BlockingIOError:
                return False


def add_ipv6(address: str, mac: str) -> None:
    """Do what a guest makes of the gateway's advertisement and its DHCPv6 answer."""
    settings = Path("/proc/sys/net/ipv6/conf")
    for scope in ("all", "eth0"):
        (settings / scope / "accept_dad").write_text("0", encoding="ascii")
    (settings / "eth0" / "addr_gen_mode").write_text("1", encoding="ascii")
    (settings / "all" / "disable_ipv6").write_text("0", encoding="ascii")
    with IPRoute() as ip:
        (eth0,) = ip.link_lookup(ifname="eth0")
        ip.addr("add", index=eth0, address=link_local_of(mac), prefixlen=64)
        ip.addr("add", index=eth0, address=address, prefixlen=128)
        ip.route("add", dst="::/0", family=socket.AF_INET6, gateway=net.GATEWAY_LINK_LOCAL, oif=eth0)


def _set_mtu(mtu: int) -> None:
    with IPRoute() as ip:
        (eth0,) = ip.link_lookup(ifname="eth0")
        ip.link("set", index=eth0, mtu=mtu)


def _route_for_others() -> None:
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", path).write_text("1", encoding="ascii")


def _join(hosts: list[World], mtu: int) -> None:
    """Join the hosts by a bridge in a namespace of the first one's machine."""
    machine = hosts[0].machine
    machine.create("vpc-underlay")
    ends = [host.machine.open("vpc-host") for host in hosts]

    def wire() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="wire", kind="bridge", mtu=mtu)
            (bridge,) = ip.link_lookup(ifname="wire")
            ip.link("set", index=bridge, state="up")
            for number, end in enumerate(ends):
                peer = {"ifname": "under0", "net_ns_fd": end, "mtu": mtu}
                ip.link("add", ifname=f"port{number}", kind="veth", mtu=mtu, peer=peer)
                (port,) = ip.link_lookup(ifname=f"port{number}")
                ip.link("set", index=port, master=bridge, state="up")

    machine.inside("vpc-underlay", wire)
    for number, host in enumerate(hosts):
        host.machine.inside("vpc-host", lambda number=number: _configure(number))  # type: ignore[misc]  # bound now
    for host in hosts:
        host.wait_for_carriers()
    hosts[0].wait_for_carriers("vpc-underlay")


def _configure(number: int) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname="under0")
        ip.link("set", index=1, state="up")
        ip.addr("add", index=index, address=underlay_address(number), prefixlen=24)
        ip.link("set", index=index, state="up")


@contextlib.contextmanager
def new_cloud(count: int = 2, mtu: int = UNDERLAY_MTU) -> Iterator[Cloud]:
    """Make hosts that are joined and have been sent their own part."""
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(new_world(has_firewall=False)) for _ in range(count)]
        _join(hosts, mtu)
        for number, host in enumerate(hosts):
            host.network.apply_host(Cloud.desired_host(number))
        yield Cloud(hosts)

"""IPv6 of a VPC: inside, out by the uplink, and back by what the host answers for its guests."""

import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from stead_agent.network import interface as net
from tests.host.network.hosts import Cloud, new_cloud
from tests.host.network.world import Guest, Host, World, add_outside
from tests.support.waiting import wait_for

IPV6 = "2001:db8:5:100::/56"
UPLINK, OUTSIDE = "2001:db8:ffff::2", "2001:db8:ffff::1"
EVERYWHERE = net.TableRoute("::/0", net.RouteTo.INTERNET)
NEIGHBOUR_ADVERTISEMENT = 136


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A host whose uplink's neighbours believe that all addresses of the pool are on their link."""
    with new_cloud(1) as made:
        (host,) = made.hosts
        add_outside(host, "192.168.9.2/24", "192.168.9.1/24")
        for namespace, link, address in (("vpc-host", "up0", UPLINK), ("vpc-outside", "eth0", OUTSIDE)):
            host.machine.inside(namespace, lambda link=link, address=address: _add(link, address))  # type: ignore[misc]  # bound now
        host.machine.inside("vpc-outside", lambda: _on_link("2001:db8:5::/48"))
        host.network.apply_host(replace(made.desired_host(0), uplink="up0"))
        yield made


def _add(link: str, address: str) -> None:
    for name, value in (("accept_dad", "0"), ("disable_ipv6", "1"), ("disable_ipv6", "0")):  # no link-local one waits
        Path(f"/proc/sys/net/ipv6/conf/{link}/{name}").write_text(value, encoding="ascii")
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=link)
        ip.addr("add", index=index, address=address, prefixlen=64)
        if link == "up0":
            ip.route("add", dst="::/0", family=socket.AF_INET6, gateway=OUTSIDE)


def _on_link(block: str) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname="eth0")
        ip.route("add", dst=block, family=socket.AF_INET6, oif=index)


def _arrives(world: World, sender: str, receiver: str, address: str) -> str | None:
    """Send a datagram from one namespace to an address of another; tell from where it came."""
    with (
        world.open(receiver, socket.AF_INET6, socket.SOCK_DGRAM) as got,
        world.open(sender, socket.AF_INET6, socket.SOCK_DGRAM) as sent,
    ):
        got.bind(("", 7))
        sent.sendto(b"?", (address, 7))
        world.settle()
        return str(got.recvfrom(9)[1][0]) if select.select([got], [], [], 0)[0] else None


def _arrives_from(world: World, sender: str, receiver: str, address: str) -> str:
    """Send datagrams until one arrives; tell from where. The first is lost if a neighbour is found or a link is up late."""
    return wait_for(lambda: _arrives(world, sender, receiver, address), f"a datagram arrives at {address}")


def _guest(cloud: Cloud) -> tuple[str, Guest]:
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24", ipv6=IPV6)
    return vpc, cloud.guest(vpc, 0, "10.0.1.10", ipv6="2001:db8:5:100::10")


def test_out_and_in_where_a_route_says_so(cloud: Cloud) -> None:
    vpc, guest = _guest(cloud)
    host = cloud.hosts[0]
    assert _arrives(host, guest.namespace, "vpc-outside", OUTSIDE) is None
    cloud.route(vpc, 0, EVERYWHERE)
    assert _arrives_from(host, guest.namespace, "vpc-outside", OUTSIDE) == "2001:db8:5:100::10"
    assert _arrives_from(host, "vpc-outside", guest.namespace, "2001:db8:5:100::10") == OUTSIDE
    cloud.route(vpc, 0, replace(EVERYWHERE, to=net.RouteTo.EGRESS_ONLY))
    assert _arrives_from(host, guest.namespace, "vpc-outside", OUTSIDE) == "2001:db8:5:100::10"
    assert host.network.audit() == ()
    # The host forwards for its guests, and for nobody else.
    assert host.at_host_run("sysctl", "-n", "net.ipv6.conf.all.forwarding").strip() == "0"


def test_between_vpcs_by_their_public_addresses(cloud: Cloud) -> None:
    one, guest = _guest(cloud)
    two = cloud.vpc("10.0.0.0/16", "10.0.1.0/24", ipv6="2001:db8:5:200::/56")
    other = cloud.guest(two, 0, "10.0.1.10", ipv6="2001:db8:5:200::10")
    assert _arrives(cloud.hosts[0], guest.namespace, other.namespace, "2001:db8:5:200::10") is None
    for vpc in (one, two):
        cloud.route(vpc, 0, EVERYWHERE)
    assert _arrives_from(cloud.hosts[0], guest.namespace, other.namespace, "2001:db8:5:200::10") == "2001:db8:5:100::10"


def test_neighbours_on_the_uplink_get_an_advertisement(cloud: Cloud) -> None:
    """A new address is announced at once, answered for while it is here, and not when nobody has it."""
    vpc, _ = _guest(cloud)
    watch = Host(cloud.hosts[0], "vpc-outside").open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    late = cloud.guest(vpc, 0, "10.0.1.11", ipv6="2001:db8:5:100::11")
    cloud.hosts[0].settle()
    assert IPv6Address("2001:db8:5:100::11") in _advertised(watch)
    shown = cloud.hosts[0].at_host_run("ip", "-6", "neigh", "show", "proxy")
    assert "2001:db8:5:100::11 dev up0" in shown
    cloud.forget(vpc, late.interface_id)
    assert "2001:db8:5:100::11" not in cloud.hosts[0].at_host_run("ip", "-6", "neigh", "show", "proxy")
    assert cloud.hosts[0].network.audit() == ()


def _advertised(watch: socket.socket) -> list[IPv6Address]:
    """Give the targets of the advertisements that came."""
    found = []
    while select.select([watch], [], [], 0)[0]:
        frame = watch.recv(2000)
        if frame[12:14] == b"\x86\xdd" and frame[54] == NEIGHBOUR_ADVERTISEMENT:
            found.append(IPv6Address(frame[62:78]))
    return found


def test_blocks_come_and_go(cloud: Cloud) -> None:
    """A VPC gets IPv6 while it runs, and loses it again: nothing of it stays."""
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
    guest = cloud.guest(vpc, 0, "10.0.1.10")
    host, plain = cloud.hosts[0], cloud.vpcs[vpc]
    cloud.vpcs[vpc] = replace(
        plain,
        ipv6_cidrs=(IPV6,),
        subnets=(replace(plain.subnets[0], ipv6_cidr="2001:db8:5:100::/64"),),
        interfaces=(replace(plain.interfaces[0], ipv6_addresses=("2001:db8:5:100::10",)),),
    )
    for _ in range(2):
        cloud.apply(vpc)
        assert host.network.audit() == ()
        shown = host.inside_run(vpc, "ip", "-6", "address")
        for address in (
            "fe80::1/64",
            "2001:db8:5:100::1/64",
            "fd00:ec2::254/128",
            "fd00:ec2::253/128",
            "fd00:ec2::123/128",
        ):
            assert address in shown
        assert guest.mac in host.inside_run(vpc, "ip", "-6", "neigh", "show", "nud", "permanent")
        cloud.vpcs[vpc], there = plain, cloud.vpcs[vpc]
        cloud.apply(vpc)
        assert host.network.audit() == ()
        assert host.inside_run(vpc, "ip", "-6", "address") == ""
        assert "2001:db8:5:100" not in host.at_host_run("ip", "-6", "route")
        cloud.vpcs[vpc] = there

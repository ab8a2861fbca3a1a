"""IPv6 by real servers: the router is advertised, the address comes by DHCPv6, and nothing else is on the link."""

import json
import socket
import struct
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.dhcp.interface import VpcDhcp
from tests.host.dhcp.conftest import NO_ERROR, NO_SUCH_NAME, PTR, Vm, Vpc, ip
from tests.support.namespaces import inside
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root
BLOCK = "fd00:5:0:1::/64"
FIVE = "fd00:5:0:1::5"
_SCRIPT = """#!/bin/sh
echo "event=$1 ipv6=$ipv6 dns=$dns" >> "$LEASE_LOG"
"""


def dual(vpc: Vpc, *numbers: int) -> VpcDhcp:
    """The desired state of a VPC whose only subnet has IPv6 too."""
    wanted = vpc.wanted(*numbers)
    hosts = tuple(
        replace(host, ipv6_addresses=(f"fd00:5:0:1::{host.address.rpartition('.')[2]}",)) for host in wanted.hosts
    )
    subnets = tuple(replace(subnet, ipv6_cidr_block=BLOCK) for subnet in wanted.subnets)
    return replace(
        wanted,
        hosts=hosts,
        subnets=subnets,
        ipv6_dns_servers=("fd00:ec2::253",),
        ipv6_resolver_addresses=("fd00:ec2::253",),
        private_blocks=("172.31.0.0/16", "fd00:5::/56"),
    )


@pytest.fixture
def dual_vpc(vpc: Vpc) -> Vpc:
    """The VPC's namespace with the IPv6 addresses that the network subsystem gives it."""
    ip(
        f"-n {vpc.name} addr add fe80::1/64 dev sub0 nodad",
        f"-n {vpc.name} addr add fd00:5:0:1::1/64 dev sub0 nodad",
        f"-n {vpc.name} addr add fd00:ec2::253/128 dev lo nodad",
    )
    return vpc


def _lease(vm: Vm) -> dict[str, str] | None:
    script, log = vm.folder / "script6", vm.folder / "lease6.log"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    log.unlink(missing_ok=True)
    vm.run(
        "busybox",
        "udhcpc6",
        "-f",
        "-n",
        "-q",
        "-t",
        "3",
        "-T",
        "1",
        "-i",
        "eth0",
        "-s",
        str(script),
        LEASE_LOG=str(log),
    )
    lines = log.read_text().splitlines() if log.exists() else []
    events = [dict(part.split("=", 1) for part in line.split()) for line in lines]
    return next((event for event in events if event["event"] == "bound"), None)


def _is_ready(vm: Vm) -> bool:
    """Tell whether the link-local address may be used."""
    shown = json.loads(vm.run("ip", "-j", "-6", "addr", "show", "dev", "eth0").stdout)
    found = [each for link in shown for each in link.get("addr_info", []) if each["scope"] == "link"]
    return bool(found) and not any(each.get("tentative") for each in found)


def test_a_guest_gets_its_address_and_resolver(dhcp: Dnsmasq, dual_vpc: Vpc) -> None:
    dhcp.apply(dual(dual_vpc, 5, 6))
    vm = dual_vpc.vm(5)
    wait_for(lambda: _is_ready(vm), "the link-local address is ready")
    lease = _lease(vm)
    assert lease is not None
    assert IPv6Address(lease["ipv6"]) == IPv6Address(FIVE)
    assert IPv6Address(lease["dns"]) == IPv6Address("fd00:ec2::253")
    assert vm.lease() is not None  # and IPv4 as ever


def test_an_unknown_guest_gets_nothing(dhcp: Dnsmasq, dual_vpc: Vpc) -> None:
    dhcp.apply(dual(dual_vpc, 5))
    stranger = dual_vpc.vm(9)
    wait_for(lambda: _is_ready(stranger), "the link-local address is ready")
    assert _lease(stranger) is None


def test_the_router_is_advertised_and_no_prefix_is_on_the_link(dhcp: Dnsmasq, dual_vpc: Vpc) -> None:
    vm = dual_vpc.vm(5)
    vm.run("busybox", "sysctl", "-w", "net.ipv6.conf.eth0.accept_ra=2")
    dhcp.apply(dual(dual_vpc, 5))
    wait_for(lambda: _is_ready(vm), "the link-local address is ready")

    def routes() -> list[dict[str, object]]:
        return list(json.loads(vm.run("ip", "-j", "-6", "route", "show", "dev", "eth0").stdout))

    def ask() -> bool:
        inside(vm.namespace, _solicit)
        return any(route["dst"] == "default" for route in routes())

    wait_for(ask, "the default route is advertised")
    assert [route["gateway"] for route in routes() if route["dst"] == "default"] == ["fe80::1"]
    assert not [route for route in routes() if str(route["dst"]).startswith("fd00:5")]
    shown = json.loads(vm.run("ip", "-j", "-6", "addr", "show", "dev", "eth0").stdout)
    addresses = [each for link in shown for each in link.get("addr_info", []) if each["scope"] == "global"]
    assert addresses == []  # by DHCPv6 only


def test_names_are_answered_by_ipv6_too_but_not_to_unknown_neighbours(dhcp: Dnsmasq, dual_vpc: Vpc) -> None:
    vm = dual_vpc.vm(5)
    ip(
        f"-n {vm.namespace} addr add 172.31.0.5/20 dev eth0",
        f"-n {vm.namespace} route add default via 172.31.0.1",
    )
    # An upstream that does not exist: whatever is asked there is not answered in time.
    dhcp.apply(replace(dual(dual_vpc, 5), upstreams=("172.31.0.99",)))
    assert vm.ask("172.31.0.2", "5.0.31.172.in-addr.arpa", PTR)[0] == NO_ERROR
    assert vm.ask("172.31.0.2", "9.0.31.172.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])
    reverse = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.5.0.0.0.0.0.d.f.ip6.arpa"
    assert vm.ask("172.31.0.2", reverse, PTR) == (NO_SUCH_NAME, [])


def _solicit() -> None:
    """Ask for a router (RFC 4861 section 4.1)."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex("eth0")
        sock.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, index))

"""A guest in a subnet of IPv6 only: it finds its router, metadata, its address, names and its peers, and no more."""

import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from stead_agent import findings
from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.dhcp.interface import DhcpHost, DhcpSubnet, DnsName, VpcDhcp
from stead_agent.firewall import interface as fw
from stead_agent.metadata.interface import IPV6_ADDRESS, Options
from stead_agent.metadata.service import Metadata
from stead_agent.network import interface as net
from stead_agent.network.ipv6 import link_local_of
from tests.host.dhcp.conftest import AAAA, NO_ERROR, A, ask
from tests.host.network.hosts import add_ipv6
from tests.host.network.ipv6_only import add_guest, add_subnet
from tests.host.network.world import POOL, Guest, World, got, new_world, sent
from tests.support.metadata_guests import guest as metadata_of
from tests.support.metadata_guests import interface as metadata_interface
from tests.support.waiting import wait_for

OPEN, SHUT = "sg-0000000a", "sg-0000000b"
ADDRESS, PEER = "fd00:5:0:6::5", "fd00:5:0:1::5"
NAME = "i-0123456789abcdef0.ec2.internal"
EVERYWHERE = "::/0"


@dataclass
class Stage:
    """A VPC with a subnet of both kinds, where the peer is, and one of IPv6 only, and the host's services for it."""

    world: World
    vpc_id: str
    guest: Guest
    peer: Guest

    def reaches(self, sender: Guest, receiver: Guest, address: str, port: int = 7) -> bool:
        """Tell whether a datagram arrives."""
        with (
            receiver.open(socket.AF_INET6, socket.SOCK_DGRAM) as heard,
            sender.open(socket.AF_INET6, socket.SOCK_DGRAM) as said,
        ):
            heard.bind(("::", port))
            said.sendto(b"?", (address, port))
            self.world.settle()
            try:
                return heard.recv(9) == b"?"
            except BlockingIOError:  # none has come
                return False

    def addresses(self) -> list[str]:
        """List the guest's IPv6 addresses that may be used."""
        shown = json.loads(self.world.at_guest_run(self.guest, "ip", "-j", "-6", "address", "show", "dev", "eth0"))
        found = [each for link in shown for each in link.get("addr_info", []) if not each.get("tentative")]
        return [each["local"] for each in found]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="stead-ipv6-only-"))
    folder.chmod(0o755)
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        everything = replace(sent(), peer=EVERYWHERE)
        groups = (fw.Group(OPEN, (everything, got(1, "-1", EVERYWHERE))), fw.Group(SHUT, (everything,)))
        vpc_id = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups, internet=False)
        add_subnet(world, vpc_id)
        made = Stage(world, vpc_id, add_guest(world, vpc_id, ADDRESS, SHUT), _add_peer(world, vpc_id))
        dhcp, metadata = Dnsmasq(folder / "dhcp"), Metadata(folder / "metadata")
        try:
            dhcp.apply(_dhcp(made))
            metadata.serve(vpc_id, world.namespaces.path(vpc_id))
            _serve_metadata(metadata, made)
            yield made
            assert world.network.audit() == ()
            assert world.firewall.audit() == ()
        finally:
            metadata.close()
            dhcp.remove(vpc_id)
    shutil.rmtree(folder)


def _add_peer(world: World, vpc_id: str) -> Guest:
    peer = world.guest(vpc_id, "10.0.1.5", OPEN)
    network, firewall = world.vpcs[vpc_id]
    world.apply(
        replace(network, interfaces=tuple(_with_ipv6(each, peer) for each in network.interfaces)),
        replace(firewall, interfaces=tuple(_with_ipv6(each, peer) for each in firewall.interfaces)),
    )
    world.machine.inside(peer.namespace, lambda: add_ipv6(PEER, peer.mac))
    return peer


def _with_ipv6[Kind: (net.LocalInterface, fw.Interface)](interface: Kind, guest: Guest) -> Kind:
    return replace(interface, ipv6_addresses=(PEER,)) if interface.id == guest.interface_id else interface


def _dhcp(stage: Stage) -> VpcDhcp:
    """Serve the subnet of IPv6 only: there is nobody who gets an IPv4 address."""
    (_, only) = stage.world.vpcs[stage.vpc_id][0].subnets
    guest = stage.guest
    return VpcDhcp(
        stage.vpc_id,
        stage.world.namespaces.path(stage.vpc_id),
        (DhcpSubnet(only.id, "", net.subnet_link_name(only.id), ipv6_cidr_block=only.ipv6_cidr),),
        (DhcpHost(guest.interface_id, only.id, guest.mac, "", "", "i-0123456789abcdef0", (ADDRESS,)),),
        domain="ec2.internal",
        dns_servers=(),
        names=(DnsName(NAME, ADDRESS, main=False),),
        ipv6_dns_servers=(net.RESOLVER_IPV6_ADDRESS,),
        ipv6_resolver_addresses=(net.RESOLVER_IPV6_ADDRESS,),
        private_blocks=("10.0.0.0/16", "fd00:5::/56"),
    )


def _serve_metadata(metadata: Metadata, stage: Stage) -> None:
    nic = replace(
        metadata_interface(vpc_id=stage.vpc_id),
        mac_address=stage.guest.mac,
        private_addresses=(),
        public_addresses=(),
        ipv6_addresses=(ADDRESS,),
        link_local_address=link_local_of(stage.guest.mac),
    )
    options = Options(http_protocol_ipv6=True)
    metadata.put(stage.vpc_id, replace(metadata_of(), interfaces=(nic,), options=options))


def _read(path: str) -> bytes:
    with socket.create_connection((IPV6_ADDRESS, 80), timeout=60) as sock:
        sock.sendall(f"GET /latest/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b"")).rpartition(b"\r\n\r\n")[2]


def _ask_for_the_time() -> bytes:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(bytes((0b00_100_011, *[0] * 39)) + b"unlikely", (net.TIME_IPV6_ADDRESS, 123))
        return sock.recv(100)


def _lease(stage: Stage, folder: Path) -> dict[str, str] | None:
    script, log = folder / "script", folder / "lease.log"
    script.write_text('#!/bin/sh\necho "event=$1 ipv6=$ipv6 dns=$dns" >> "$LEASE_LOG"\n')
    script.chmod(0o755)
    log.unlink(missing_ok=True)
    client = ["busybox", "udhcpc6", "-f", "-n", "-q", "-t", "3", "-T", "1", "-i", "eth0", "-s", str(script)]
    stage.world.at_guest_run(stage.guest, "env", f"LEASE_LOG={log}", *client)
    events = [dict(part.split("=", 1) for part in line.split()) for line in log.read_text().splitlines()]
    return next((event for event in events if event["event"] == "bound"), None)


def _resolve(stage: Stage, kind: int) -> tuple[int, list[str]]:
    """Ask for the guest's name until there is an answer: while dnsmasq syncs its leases to a busy disk there is none."""

    def try_it() -> tuple[int, list[str]] | None:
        with contextlib.suppress(TimeoutError):  # it is asked again
            return ask(net.RESOLVER_IPV6_ADDRESS, NAME, kind)
        return None

    return wait_for(lambda: stage.world.machine.inside(stage.guest.namespace, try_it), "the resolver answers")


def test_a_guest_boots_and_is_reached_by_ipv6_alone(stage: Stage, tmp_path: Path) -> None:
    world, guest = stage.world, stage.guest
    # Its router, before it has any address but the one that it makes itself.
    wait_for(lambda: stage.addresses() == [link_local_of(guest.mac)], "the link-local address is ready")
    routes = wait_for(lambda: world.at_guest_run(guest, "ip", "-6", "route", "show", "default"), "a router is found")
    assert f"via {net.GATEWAY_LINK_LOCAL} dev eth0" in routes
    # Metadata, as cloud-init asks for it: from the link-local address.
    key = world.machine.inside(guest.namespace, lambda: _read("meta-data/public-keys/0/openssh-key"))
    assert key.startswith(b"ssh-ed25519 ")
    assert world.machine.inside(guest.namespace, lambda: _read("meta-data/ipv6")) == ADDRESS.encode()
    tracked = world.inside_run(stage.vpc_id, "sysctl", "-n", "net.netfilter.nf_conntrack_count")
    assert world.machine.inside(guest.namespace, _ask_for_the_time)[24:32] == b"unlikely"
    assert world.inside_run(stage.vpc_id, "sysctl", "-n", "net.netfilter.nf_conntrack_count") == tracked
    # Its address and resolver.
    lease = _lease(stage, tmp_path)
    assert lease is not None
    assert IPv6Address(lease["ipv6"]) == IPv6Address(ADDRESS)
    assert IPv6Address(lease["dns"]) == IPv6Address(net.RESOLVER_IPV6_ADDRESS)
    world.at_guest_run(guest, "ip", "address", "add", f"{ADDRESS}/128", "dev", "eth0", "nodad")
    assert _resolve(stage, AAAA) == (NO_ERROR, [f"{ADDRESS}/60"])
    assert _resolve(stage, A) == (NO_ERROR, [])
    # A peer, and what its groups let in: nothing, then what a rule says.
    assert stage.reaches(guest, stage.peer, PEER)
    assert not stage.reaches(stage.peer, guest, ADDRESS)
    world.groups(stage.vpc_id, fw.Group(SHUT, (replace(sent(), peer=EVERYWHERE), got(2, "udp", f"{PEER}/128", 7, 7))))
    assert stage.reaches(stage.peer, guest, ADDRESS)
    assert not stage.reaches(stage.peer, guest, ADDRESS, 8)


def test_ipv4_has_no_way_out_of_it(stage: Stage) -> None:
    """Whatever address the guest gives itself, nothing is let through."""
    world, guest = stage.world, stage.guest
    world.at_guest_run(guest, "ip", "address", "add", "10.0.1.6/24", "dev", "eth0")
    world.at_guest_run(guest, "ip", "route", "add", "default", "dev", "eth0")
    frames = stage.peer.frames()
    # No ARP is answered, so that frames are made by hand: to the gateway's MAC, from an address of the other subnet.
    packet = bytes.fromhex("4500001c00000000401164cc0a0001060a00010500070007000800003f3f3f3f")
    guest.emit(bytes.fromhex(net.GATEWAY_MAC.replace(":", "") + guest.mac.replace(":", "") + "0800") + packet)
    assert frames.read() == []
    world.at_guest_run(guest, "ip", "-4", "address", "flush", "dev", "eth0")


def test_a_person_is_shown_its_way(stage: Stage) -> None:
    (interface,) = [it for it in stage.world.vpcs[stage.vpc_id][0].interfaces if not it.addresses]
    path = findings.Path(stage.vpc_id, interface.subnet_id, interface.id, ADDRESS, PEER)
    shown = [*stage.world.network.look(path), *stage.world.firewall.look(path)]
    assert [each for each in shown if not each.ok] == []
    assert {each.what for each in shown} == {"tap", "gateway", "route", "anti-spoofing", "security groups"}

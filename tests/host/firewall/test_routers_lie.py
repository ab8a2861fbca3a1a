"""An interface without source/destination check says what it likes: it begins no flow in another's name, and answers none.

Nor does it speak as the gateway, the resolver or the metadata service of its VPC.
"""

import contextlib
import socket
from dataclasses import replace

from stead_agent.firewall.interface import Group, GroupRule
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.firewall.desired_states import desired_firewall, desired_network
from tests.host.firewall.ec2 import Cloud, Eni, Subnet, Vpc
from tests.host.firewall.hosts import Hosts, new_hosts

VPC, SUBNET = "vpc-0000000000000001", "subnet-0000000000000001"
OPEN, SHUT = "sg-000000000000000a", "sg-000000000000000b"


def _cloud() -> Cloud:
    sends = GroupRule("sgr-1", True, "-1", -1, -1, "0.0.0.0/0")
    gets = GroupRule("sgr-2", False, "-1", -1, -1, "0.0.0.0/0")
    cloud = Cloud(
        {VPC: Vpc(VPC, "10.0.0.0/16", "2001:db8:1::/56")},
        {SUBNET: Subnet(SUBNET, VPC, "10.0.1.0/24", "2001:db8:1:1::/64")},
        groups={OPEN: Group(OPEN, (sends, gets)), SHUT: Group(SHUT, (replace(sends, id="sgr-3"),))},
    )
    for number, group in ((1, OPEN), (2, SHUT), (3, OPEN)):
        eni_id = f"eni-{number:017x}"
        cloud.enis[eni_id] = Eni(
            eni_id, SUBNET, "a", f"06:00:00:00:00:0{number}", f"10.0.1.1{number}", f"2001:db8:1:1::1{number}",
            (group,), check=number != 3,
        )  # fmt: skip
    return cloud


def _sends(hosts: Hosts, sender: Eni, source: Eni, to: Eni, ports: tuple[int, int]) -> bool:
    """Send a datagram in somebody's name; tell whether it arrives."""
    packet = f.ipv4(source.ipv4, to.ipv4, f.UDP, f.udp(*ports, f"{sender.id} {ports}".encode()))
    hosts.wires[sender.id].send(f.ethernet(net.GATEWAY_MAC, sender.mac, f.IPV4, packet))
    hosts.settle()
    return any(packet[28:] in frame for frame in hosts.wires[to.id].read())


def test_unsolicited_packets_are_not_answered() -> None:
    cloud = _cloud()
    open_eni, shut, router = cloud.enis.values()
    with new_hosts("a") as hosts:
        host = hosts.hosts["a"]
        host.network.apply(desired_network(cloud, cloud.vpcs[VPC], "a"))
        assert host.firewall.apply(desired_firewall(cloud, cloud.vpcs[VPC], "a")) == ()
        for eni in cloud.enis.values():
            hosts.plug("a", eni.id, SUBNET)
        hosts.wait_for_carriers()
        # A question in the name of one who lets nobody in, to one who lets everybody in.
        assert _sends(hosts, router, shut, open_eni, (53, 4000))
        # Then an answer to it, in the other's name, and by the other itself.
        assert not _sends(hosts, router, open_eni, shut, (4000, 53))
        assert not _sends(hosts, open_eni, open_eni, shut, (4000, 53))
        # Who has asked is answered, by the router as well.
        for other in (open_eni, router):
            assert _sends(hosts, shut, shut, other, (5000, 60))
            assert _sends(hosts, other, other, shut, (60, 5000))
            assert _sends(hosts, shut, shut, other, (5000, 60))
            assert not _sends(hosts, other, other, shut, (61, 5000))


def _arrives(hosts: Hosts, sender: Eni, source: str, to: Eni) -> bool:
    """Send a packet with any source; tell whether it arrives."""
    if ":" in source:
        kind, packet = f.IPV6, f.icmpv6(source, to.ipv6, 128, source.encode())
    else:
        kind, packet = f.IPV4, f.ipv4(source, to.ipv4, f.UDP, f.udp(53, 4000, source.encode()))
    hosts.wires[sender.id].send(f.ethernet(net.GATEWAY_MAC, sender.mac, kind, packet))
    hosts.settle()
    return any(source.encode() in frame for frame in hosts.wires[to.id].read())


def test_no_guest_sends_as_the_namespace() -> None:
    """The kernel does not look for its own addresses among sources (accept_local): the firewall does."""
    cloud = _cloud()
    open_6 = [GroupRule(f"sgr-{4 + egress}", egress, "-1", -1, -1, "::/0") for egress in (False, True)]
    cloud.groups[OPEN] = Group(OPEN, (*cloud.groups[OPEN].rules, *open_6))
    near, _, router = cloud.enis.values()
    far = replace(
        near, id=f"eni-{4:017x}", host="b", mac="06:00:00:00:00:04", ipv4="10.0.1.14", ipv6="2001:db8:1:1::14"
    )
    cloud.enis[far.id] = far
    with new_hosts("a", "b") as hosts:
        for name, host in hosts.hosts.items():
            host.network.apply(desired_network(cloud, cloud.vpcs[VPC], name))
            assert host.firewall.apply(desired_firewall(cloud, cloud.vpcs[VPC], name)) == ()
        for eni in cloud.enis.values():
            hosts.plug(eni.host, eni.id, SUBNET)
        hosts.wait_for_carriers()
        for receiver in (near, far):
            for anybody in ("192.0.2.77", "2001:db8:9::9"):
                assert _arrives(hosts, router, anybody, receiver), (anybody, receiver.host)
            for own in (
                "10.0.1.1",
                "10.0.0.2",
                "169.254.169.254",
                "169.254.169.253",
                "169.254.169.123",
                "fd00:ec2::254",
                "fd00:ec2::123",
                "2001:db8:1:1::1",
            ):
                assert not _arrives(hosts, router, own, receiver), (own, receiver.host)
        with hosts.hosts["a"].namespaces.inside(
            VPC, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        ) as server:
            server.bind(("10.0.1.1", 67))
            heard = []
            for source in ("10.0.1.1", "169.254.169.253", router.ipv4):
                packet = f.ipv4(source, "10.0.1.1", f.UDP, f.udp(68, 67, source.encode()))
                hosts.wires[router.id].send(f.ethernet(net.GATEWAY_MAC, router.mac, f.IPV4, packet))
                hosts.settle()
                with contextlib.suppress(BlockingIOError):  # nothing has come
                    heard.append(server.recv(100).rstrip(b"\0"))
            assert heard == [router.ipv4.encode()]

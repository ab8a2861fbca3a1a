"""The same VPCs on several hosts: who reaches whom, by which way, and how large a packet may be."""

import re
from collections.abc import Iterator

import pytest

from stead_agent.network import interface as net
from stead_agent.network.interface import NetworkError
from stead_agent.network.plan import Step
from stead_agent.network.rtnetlink import Kernel
from tests.host.network.hosts import Cloud, new_cloud, underlay_address


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with new_cloud(3) as made:
        yield made


def test_a_subnet_on_three_hosts(cloud: Cloud) -> None:
    """All of its guests and those of another subnet reach each other, and an address that nobody has is unreachable."""
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24")
    guests = [cloud.guest(vpc, host, f"10.0.1.{10 + host}") for host in range(3)]
    guests.append(cloud.guest(vpc, 1, "10.0.2.10", 1))
    for sender in guests:
        for receiver in guests:
            if sender is not receiver:
                assert cloud.reaches(sender, receiver) == sender.address
                assert sender.pings(receiver.address)
    assert not guests[0].pings("10.0.2.99")
    assert not guests[0].pings("10.0.7.7")
    for host in cloud.hosts:
        assert host.network.audit() == ()


def test_same_blocks_do_not_meet(cloud: Cloud) -> None:
    vpcs = [cloud.vpc("10.0.0.0/16", "10.0.1.0/24") for _ in range(2)]
    one = [cloud.guest(vpcs[0], host, f"10.0.1.{10 + host}") for host in range(2)]
    two = [cloud.guest(vpcs[1], host, f"10.0.1.{20 - host}") for host in range(2)]
    assert cloud.reaches(one[0], one[1])
    assert cloud.reaches(two[0], two[1])
    assert cloud.reaches(one[0], two[1], two[1].address) is None
    assert cloud.reaches(two[1], one[0], one[0].address) is None
    three = cloud.guest(vpcs[1], 1, "10.0.1.10")  # as the first one
    assert cloud.reaches(two[0], three) == two[0].address
    assert cloud.reaches(one[1], one[0]) == one[1].address


def test_an_address_moves_between_hosts(cloud: Cloud) -> None:
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
    near = cloud.guest(vpc, 0, "10.0.1.10")
    far = cloud.guest(vpc, 1, "10.0.1.11")
    assert cloud.reaches(near, far)
    cloud.homes[far.interface_id] = 2
    cloud.apply(vpc)
    shown = cloud.hosts[0].inside_run(vpc, "ip", "route", "get", "10.0.1.11")
    assert f"via {underlay_address(2)}" in shown
    assert underlay_address(1) not in cloud.hosts[0].inside_run(vpc, "bridge", "fdb", "show", "dev", "vx")
    for host in cloud.hosts:
        assert host.network.audit() == ()


def test_full_packets_pass_uncut(cloud: Cloud) -> None:
    """At the advertised MTU, across hosts: nothing is cut on any link, inside or around."""
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
    near, far = cloud.guest(vpc, 0, "10.0.1.10"), cloud.guest(vpc, 1, "10.0.1.11")
    assert cloud.sends_whole(near, far, 1500)
    for host in cloud.hosts[:2]:
        for counters in (
            host.at_host_run("cat", "/proc/net/snmp"),
            host.inside_run(vpc, "cat", "/proc/net/snmp"),
        ):
            names, values = (line.split() for line in counters.splitlines()[:2])
            found = dict(zip(names, values, strict=True))
            assert found["FragCreates"] == found["ReasmReqds"] == "0"


def test_a_narrow_underlay_says_so() -> None:
    """Where guests were sent too large an MTU they learn it by ICMP, and nothing is cut."""
    with new_cloud(2, mtu=1500) as cloud:
        vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
        near, far = cloud.guest(vpc, 0, "10.0.1.10"), cloud.guest(vpc, 1, "10.0.1.11")
        assert cloud.sends_whole(near, far, 1450)
        assert not cloud.sends_whole(near, far, 1451)
        assert "mtu 1450" in near.world.at_guest_run(near, "ip", "route", "get", "10.0.1.11")


def test_killed_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a VPC that has all that there is: whatever was done when it ended, a new agent completes or removes it."""
    with new_cloud(2) as cloud:
        vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", ipv6="2001:db8:5:100::/56")
        other = cloud.vpc("10.1.0.0/16", "10.1.1.0/24")
        near = cloud.interface(vpc, 0, "10.0.1.10", ipv6="2001:db8:5:100::10", is_router=True)
        far = cloud.guest(vpc, 1, "10.0.1.11", ipv6="2001:db8:5:100::11", is_router=True)
        cloud.nat_gateway(vpc, 0, "10.0.2.7", 1)
        cloud.peer(vpc, other)
        cloud.route(
            vpc,
            0,
            net.TableRoute("10.0.2.0/24", net.RouteTo.INTERFACE, far.interface_id),
            net.TableRoute("0.0.0.0/0", net.RouteTo.INTERNET),
            net.TableRoute("10.1.0.0/16", net.RouteTo.PEER, other),
            net.TableRoute("::/0", net.RouteTo.INTERFACE, near.id),
        )
        host = cloud.hosts[0]
        whole = _shape(cloud, vpc)
        carry_out = Kernel.carry_out
        step, done = 0, False
        while not done:
            host.network.remove(vpc)
            assert "eni" not in host.at_host_run("ip", "link")
            assert host.network.audit() == ()
            left = [step]

            def fail(kernel: Kernel, one: Step, left: list[int] = left) -> None:
                if left[0] == 0:
                    raise NetworkError("killed")
                left[0] -= 1
                carry_out(kernel, one)

            monkeypatch.setattr(Kernel, "carry_out", fail)
            try:
                host.network.apply(cloud.view(vpc, 0))
                done = True
            except NetworkError:
                step += 7
            monkeypatch.setattr(Kernel, "carry_out", carry_out)
            if step % 2:
                cloud.restart()
                host.network.apply(cloud.view(other, 0))
            host.network.apply(cloud.view(vpc, 0))
            assert host.network.audit() == ()
            assert _shape(cloud, vpc) == whole
        assert step > 90


def _shape(cloud: Cloud, vpc: str) -> list[str]:
    """Tell what a VPC's namespace has, without what the kernel numbers."""
    host = cloud.hosts[0]
    shown = ""
    for words in (
        "-o address",
        "route show table all",
        "-6 route show table all",
        "rule",
        "-6 rule",
        "neigh show nud all",
    ):
        shown += host.inside_run(vpc, "ip", *words.split())
    shown += host.inside_run(vpc, "bridge", "fdb", "show", "dev", "vx")
    numbered = re.compile(r" linkdown|link-netnsid \d+|^\d+: ")
    lines = [" ".join(numbered.sub(" ", line).split()) for line in shown.splitlines()]
    return sorted(line for line in lines if "ff02" not in line and "multicast" not in line and "NOARP" not in line)

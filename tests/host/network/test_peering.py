"""Two VPCs joined on two hosts: who reaches whom, nobody by a third, and nothing is left of it."""

from collections.abc import Iterator

import pytest

from stead_agent.network import interface as net
from stead_agent.network.interface import NetworkError
from stead_agent.network.plan import Step
from stead_agent.network.rtnetlink import Kernel
from tests.host.network.hosts import Cloud, new_cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with new_cloud(2) as made:
        yield made


def _to(peer: str, block: str) -> net.TableRoute:
    return net.TableRoute(block, net.RouteTo.PEER, peer)


def _both_ways(cloud: Cloud, one: str, other: str) -> None:
    cloud.route(one, 0, _to(other, cloud.vpcs[other].cidrs[0]), *_sixes(cloud, other))
    cloud.route(other, 0, _to(one, cloud.vpcs[one].cidrs[0]), *_sixes(cloud, one))


def _sixes(cloud: Cloud, peer: str) -> list[net.TableRoute]:
    return [_to(peer, block) for block in cloud.vpcs[peer].ipv6_cidrs]


def test_peers_reach_each_other(cloud: Cloud) -> None:
    """On one host and across two, by IPv4 and IPv6, as far as their route tables say so."""
    one = cloud.vpc("10.1.0.0/16", "10.1.1.0/24", "10.1.2.0/24", ipv6="2001:db8:5:100::/56")
    two = cloud.vpc("10.2.0.0/16", "10.2.1.0/24", ipv6="2001:db8:5:200::/56")
    mine = [cloud.guest(one, host, f"10.1.1.{10 + host}", ipv6=f"2001:db8:5:100::{10 + host}") for host in range(2)]
    theirs = [cloud.guest(two, host, f"10.2.1.{10 + host}", ipv6=f"2001:db8:5:200::{10 + host}") for host in range(2)]
    without = cloud.guest(one, 0, "10.1.2.10", 1)
    peering = cloud.peer(one, two)
    assert cloud.reaches(mine[0], theirs[0]) is None
    _both_ways(cloud, one, two)
    for host in cloud.hosts:
        host.wait_for_carriers()
        assert host.network.audit() == ()
    for near in mine:
        for number, far in enumerate(theirs):
            assert near.pings(far.address)
            assert far.pings(near.address)
            assert cloud.reaches(near, far) == near.address
            assert cloud.reaches(near, far, f"2001:db8:5:200::{10 + number}")
    assert not without.pings(theirs[0].address)
    cloud.part(peering)
    for near in mine:
        assert not near.pings(theirs[0].address)
    for host in cloud.hosts:
        assert host.network.audit() == ()
        for vpc in (one, two):
            assert "pcx" not in host.inside_run(vpc, "ip", "link")


def test_peerings_are_not_transitive(cloud: Cloud) -> None:
    """Not to a peer's peer, nor out by its internet link, whatever the routes say."""
    left, middle, right = (cloud.vpc(f"10.{n}.0.0/16", f"10.{n}.1.0/24") for n in (1, 2, 3))
    guests = [cloud.guest(vpc, 0, f"10.{n}.1.10") for n, vpc in ((1, left), (2, middle), (3, right))]
    cloud.peer(left, middle)
    cloud.peer(middle, right)
    everywhere = net.TableRoute("0.0.0.0/0", net.RouteTo.INTERNET)
    cloud.route(middle, 0, _to(left, "10.1.0.0/16"), _to(right, "10.3.0.0/16"), everywhere)
    cloud.route(left, 0, _to(middle, "0.0.0.0/0"))
    cloud.route(right, 0, _to(middle, "0.0.0.0/0"))
    cloud.hosts[0].wait_for_carriers()
    assert guests[0].pings(guests[1].address)
    assert guests[2].pings(guests[1].address)
    assert not guests[0].pings(guests[2].address)
    host = cloud.hosts[0]
    before = _sent(host.inside_run(middle, "cat", "/proc/net/dev"))
    guests[0].sends("203.0.113.9", 9)
    host.settle()
    assert _sent(host.inside_run(middle, "cat", "/proc/net/dev")) == before


def _sent(table: str) -> str:
    """Give the number of packets that left by the internet link."""
    (line,) = [line for line in table.splitlines() if "internet:" in line]
    return line.split()[10]


def test_in_any_order_and_after_restarts(cloud: Cloud) -> None:
    one, two = cloud.vpc("10.1.0.0/16", "10.1.1.0/24"), cloud.vpc("10.2.0.0/16", "10.2.1.0/24")
    mine, theirs = cloud.guest(one, 0, "10.1.1.10"), cloud.guest(two, 0, "10.2.1.10")
    cloud.peer(one, two)
    _both_ways(cloud, one, two)
    host = cloud.hosts[0]
    host.wait_for_carriers()
    assert mine.pings(theirs.address)
    index = host.inside_run(one, "ip", "-o", "link", "show", "type", "veth")
    cloud.restart()
    for vpc in (two, one):
        cloud.apply(vpc)
        assert mine.pings(theirs.address)
        assert host.network.audit() == ()
    assert host.inside_run(one, "ip", "-o", "link", "show", "type", "veth") == index  # the same links still
    (link,) = [word.split("@")[0] for word in index.split() if word.startswith("pcx")]
    for vpc in (one, two):
        host.inside_run(vpc, "ip", "link", "delete", link)
        assert host.network.audit()
        assert host.network.audit() == ()
        host.wait_for_carriers()
        assert mine.pings(theirs.address)
    # A VPC that goes takes its end along, and its peer notices; it comes again, and so does the pair.
    host.network.remove(two)
    assert "pcx" not in host.inside_run(one, "ip", "link")
    assert host.network.audit() == ()
    assert not mine.pings(theirs.address)
    cloud.apply(two)
    assert "pcx" in host.inside_run(one, "ip", "link")
    assert host.network.audit() == ()


def test_killed_at_every_step(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a peering was left half made, both VPCs applied once more make it whole."""
    one, two = cloud.vpc("10.1.0.0/16", "10.1.1.0/24"), cloud.vpc("10.2.0.0/16", "10.2.1.0/24")
    mine, theirs = cloud.guest(one, 0, "10.1.1.10"), cloud.guest(two, 0, "10.2.1.10")
    _both_ways(cloud, one, two)
    host = cloud.hosts[0]
    carry_out = Kernel.carry_out
    step, done = 0, False
    while not done:
        left = [step]

        def fail(kernel: Kernel, made: Step, left: list[int] = left) -> None:
            if left[0] == 0:
                raise NetworkError("killed")
            left[0] -= 1
            carry_out(kernel, made)

        monkeypatch.setattr(Kernel, "carry_out", fail)
        peering = f"pcx-0{step:016x}"
        try:
            for vpc, peer in ((one, two), (two, one)):
                cloud.vpcs[vpc] = _with_peer(cloud, vpc, peer, peering)
            for vpc in (one, two):
                cloud.apply(vpc)
            done = True
        except NetworkError:
            step += 1
        monkeypatch.setattr(Kernel, "carry_out", carry_out)
        if step % 2:
            cloud.restart()
        for vpc in (two, one):
            cloud.apply(vpc)
        host.wait_for_carriers()
        assert mine.pings(theirs.address)
        assert host.network.audit() == ()
        cloud.part(peering)
        assert host.network.audit() == ()
    assert step > 4


def _with_peer(cloud: Cloud, vpc: str, peer: str, peering: str) -> net.VpcNetwork:
    known = cloud.vpcs[vpc]
    return net.VpcNetwork(
        vpc, known.vni, known.cidrs, known.subnets, known.interfaces, route_tables=known.route_tables,
        peers=(net.Peer(peering, peer, cloud.vpcs[peer].cidrs),),
    )  # fmt: skip

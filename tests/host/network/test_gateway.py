"""What a guest sees of its gateway on the wire."""

from collections.abc import Iterator

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent

OPEN = "sg-0000000000000000a"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


@pytest.fixture(scope="module")
def guests(world: World) -> tuple[Guest, Guest]:
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(fw.Group(OPEN, (sent(), got(1, "-1", ANYWHERE))),))
    return world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", OPEN)


def _asks(guest: Guest, target: str, sender: str = "") -> list[bytes]:
    """Ask by ARP who has an address; give the answers' sender MACs."""
    watch = guest.frames()
    question = f.arp(1, guest.mac, sender or guest.address, "00:00:00:00:00:00", target)
    guest.emit(f.ethernet(f.BROADCAST, guest.mac, f.ARP, question))
    return [frame[22:28] for frame in watch.read() if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"]


def test_gateway_answers_for_all_at_once(guests: tuple[Guest, Guest]) -> None:
    """One MAC for all addresses; without proxy_delay 0 the answer would come after 0.8 s."""
    services = (net.METADATA_ADDRESS, net.RESOLVER_ADDRESS, net.TIME_ADDRESS)
    for target in ("10.0.1.1", "10.0.1.11", "10.0.1.200", "10.9.7.7", "10.0.0.2", *services):
        assert _asks(guests[0], target) == [f.mac(net.GATEWAY_MAC)], target


def test_gateway_does_not_claim_the_guests_own_address(guests: tuple[Guest, Guest]) -> None:
    """Windows and networkd ask whether their address is taken (RFC 5227): proxy ARP must not say yes."""
    assert _asks(guests[0], guests[0].address) == []
    assert _asks(guests[0], guests[0].address, sender="0.0.0.0") == []


def test_neighbours_hear_nothing_of_each_other(guests: tuple[Guest, Guest]) -> None:
    """The gateway knows MACs without asking, and a bridge's flooding ends at the taps."""
    one, two = guests
    watch = two.frames()
    one.sends("10.0.1.77", 53)
    _asks(one, "10.0.1.1")
    one.world.at_host_run("bridge", "fdb", "flush", "dev", net.bridge_name(one.world.vpcs[one.vpc_id][0].subnets[0].id))
    assert two.reaches(one, 53)
    mine = [frame for frame in watch.read() if frame[:6] != f.mac(two.mac)]
    assert mine == []


def test_hop_count_goes_down_by_one(guests: tuple[Guest, Guest]) -> None:
    one, two = guests
    watch = two.frames()
    packet = f.ipv4(one.address, two.address, f.UDP, f.udp(1, 2))
    one.emit(f.ethernet(net.GATEWAY_MAC, one.mac, f.IPV4, packet))
    assert [frame[22] for frame in watch.read() if frame[12:14] == b"\x08\0"] == [63]


def test_no_redirects(guests: tuple[Guest, Guest]) -> None:
    """Routed out where it came in: a router would tell the guest to go directly, where it cannot."""
    one, two = guests
    watch = one.frames()
    assert one.reaches(two, 53)
    assert [frame for frame in watch.read() if frame[12:14] == b"\x08\0" and frame[23] == 1 and frame[34] == 5] == []

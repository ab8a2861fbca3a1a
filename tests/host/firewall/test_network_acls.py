"""Network ACLs: asked at a subnet's border only, in order, without memory (vpc-network-acls.html)."""

import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.network.world import ANYWHERE, POOL, Guest, World, add_outside, got, new_world, sent

OPEN = "sg-0000000000000000a"
ACL, OTHER = "acl-0000000000000000a", "acl-0000000000000000b"
EVERYTHING = (
    fw.AclEntry(100, False, True, "-1", ANYWHERE),
    fw.AclEntry(100, True, True, "-1", ANYWHERE),
)


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _three(world: World, *entries: fw.AclEntry) -> tuple[Guest, Guest, Guest]:
    """Two guests of a subnet and one of another, whose groups let all pass; the first subnet has the ACL."""
    group = fw.Group(OPEN, (sent(), got(1, "-1", ANYWHERE)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", groups=(group,))
    guests = (
        world.guest(vpc, "10.0.1.10", OPEN, public="198.51.100.10"),
        world.guest(vpc, "10.0.1.11", OPEN),
        world.guest(vpc, "10.0.2.10", OPEN, subnet=1),
    )
    _set(world, vpc, *entries)
    return guests


def _set(world: World, vpc: str, *entries: fw.AclEntry, acl_id: str = ACL) -> tuple[fw.Refusal, ...]:
    network, firewall = world.vpcs[vpc]
    first, second = firewall.subnets
    subnets = (
        replace(first, cidr="10.0.1.0/24", acl_id=acl_id),
        replace(second, cidr="10.0.2.0/24", acl_id=OTHER),
    )
    acls = (fw.Acl(ACL, entries), fw.Acl(OTHER, EVERYTHING))
    return world.apply(network, replace(firewall, subnets=subnets, acls=acls))


def test_what_no_entry_allows_is_denied_at_the_border_alone(world: World) -> None:
    here, neighbour, away = _three(world)
    assert here.reaches(neighbour, 53)
    assert not here.reaches(away, 53)
    assert not away.reaches(here, 53)
    _set(world, here.vpc_id, *EVERYTHING)
    assert here.reaches(away, 53)
    assert away.reaches(here, 53)


def test_the_lowest_number_decides(world: World) -> None:
    deny = fw.AclEntry(50, False, False, "17", "10.0.2.0/25", 53, 60)
    exempt = fw.AclEntry(49, False, True, "17", "10.0.2.10/32", 57, 57)
    here, _, away = _three(world, *EVERYTHING, deny, exempt)
    assert [away.reaches(here, port) for port in (52, 53, 57, 60, 61)] == [True, False, True, False, True]
    assert here.reaches(away, 53)
    _set(world, here.vpc_id, *EVERYTHING, deny, replace(exempt, rule_number=51))
    assert not away.reaches(here, 57)


def test_answers_are_asked_about_too(world: World) -> None:
    """A connection that groups track does not come about while the ACL denies the answers' ports, or no longer."""
    ask = fw.AclEntry(1, True, True, "6", "10.0.2.0/24", 80, 80)
    answers = fw.AclEntry(1, False, True, "6", "10.0.2.0/24", 1024, 65535)
    here, _, away = _three(world, ask)
    with away.listen(80) as listener:
        assert here.connect(away.address, 80) is None
        _set(world, here.vpc_id, ask, answers)
        client = here.connect(away.address, 80)
        assert client is not None
        server, _ = listener.accept()
        server.setblocking(False)
        for without in ((ask,), (answers,)):
            _set(world, here.vpc_id, *without)
            (client if without == (answers,) else server).send(b"x")
            world.settle()
            assert not select.select([server if without == (answers,) else client], [], [], 0)[0]


def test_icmp_types(world: World) -> None:
    ping = fw.AclEntry(1, True, True, "1", ANYWHERE, 8, -1)
    pong = fw.AclEntry(1, False, True, "1", ANYWHERE, 0, 0)
    here, _, away = _three(world, ping, pong)
    assert here.pings(away.address)
    assert not away.pings(here.address)
    _set(world, here.vpc_id, ping, replace(pong, to_port=1))
    assert not here.pings(away.address)


def test_the_internet_is_beyond_the_border() -> None:
    """Before its address is translated, and after: the ACL sees the private one and the remote's."""
    with new_world() as world:
        outside = add_outside(world, "192.0.2.1/24", "192.0.2.2/24")
        world.route("vpc-outside", POOL, "192.0.2.1")
        world.start(net.HostNetwork((POOL,), "up0"))
        here, _, _ = _three(world, fw.AclEntry(1, True, True, "17", "192.0.2.2/32"))
        with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as remote, here.udp(60) as server:
            remote.bind(("0.0.0.0", 53))
            here.sends("192.0.2.2", 53)
            world.settle()
            assert remote.recv(100) == b"probe"
            remote.sendto(b"from outside", ("198.51.100.10", 60))
            world.settle()
            assert not select.select([server], [], [], 0)[0]
            _set(world, here.vpc_id, fw.AclEntry(1, False, True, "17", "192.0.2.2/32", 60, 60))
            remote.sendto(b"from outside", ("198.51.100.10", 60))
            world.settle()
            assert server.recv(100) == b"from outside"


def test_services_of_the_vpc_are_not_beyond_it(world: World) -> None:
    here, _, _ = _three(world)
    with world.network.socket(here.vpc_id, socket.AF_INET, socket.SOCK_STREAM) as metadata:
        metadata.bind((net.METADATA_ADDRESS, 80))
        metadata.listen()
        assert here.connect(net.METADATA_ADDRESS, 80)


def test_what_makes_no_sense_opens_nothing(world: World) -> None:
    """An entry that would deny and cannot be read denies all that comes after it; an ACL that is not there, all."""
    good = fw.AclEntry(1, False, True, "17", ANYWHERE, 53, 53)
    here, _, away = _three(world)
    for bad in (
        fw.AclEntry(2, False, False, "17", "10.0.0.0/33"),
        fw.AclEntry(2, False, False, "pigeon", ANYWHERE),
        fw.AclEntry(2, False, False, "6", ANYWHERE, 5, 4),
        fw.AclEntry(2, False, False, "17", "} accept"),
    ):
        assert [refusal.id for refusal in _set(world, here.vpc_id, *EVERYTHING, good, bad)] == [ACL]
        assert [away.reaches(here, port) for port in (53, 54)] == [True, False], bad
        assert here.reaches(away, 54)
        _set(world, here.vpc_id, *EVERYTHING, good, replace(bad, allow=True))
        assert away.reaches(here, 54)
    assert [it.id for it in _set(world, here.vpc_id, *EVERYTHING, acl_id="acl-00000000000000fff")] != []
    assert not away.reaches(here, 53)
    assert not here.reaches(away, 53)

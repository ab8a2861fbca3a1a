"""Security groups decide who reaches whom; what is revoked ends at once."""

import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent

_BUFFER_BY_FORCE = 33  # SO_RCVBUFFORCE
WEB, APP, OTHER = (f"sg-0000000000000000{digit}" for digit in "abc")


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _pair(world: World, *groups: fw.Group) -> tuple[Guest, Guest]:
    """Two guests of one subnet: the first in WEB, the second in APP."""
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", groups=groups)
    return world.guest(vpc, "10.0.1.10", WEB), world.guest(vpc, "10.0.1.11", APP)


def test_nothing_passes_without_rules(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, ()), fw.Group(APP, ()))
    assert not web.reaches(app, 53)
    assert not app.reaches(web, 53)
    assert not web.pings(app.address)
    assert not web.pings("10.0.1.1")


def test_both_sides_must_agree(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "udp", ANYWHERE, 53, 60),)))
    for port, passes in ((52, False), (53, True), (57, True), (60, True), (61, False)):
        assert web.reaches(app, port) is passes
    assert not app.reaches(web, 53)
    world.groups(web.vpc_id, fw.Group(WEB, (sent(1, "udp", "10.0.1.11/32", 55, 55),)))
    assert not web.reaches(app, 53)
    assert web.reaches(app, 55)


def test_group_references(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (sent(), got(1, "udp", WEB, 53, 53))))
    third = world.guest(web.vpc_id, "10.0.2.10", APP, subnet=1)
    assert web.reaches(app, 53)
    assert web.reaches(third, 53)  # the other subnet
    assert not third.reaches(app, 53)
    world.groups(
        web.vpc_id,
        fw.Group(APP, (sent(), got(1, "udp", WEB, 53, 53), got(2, "udp", APP, 53, 53)), frozenset({third.address})),
    )
    assert third.reaches(app, 53)
    world.groups(web.vpc_id, fw.Group(WEB, (sent(),), frozenset({"10.0.9.9"})))
    assert not web.reaches(app, 53)


def test_reference_to_an_unknown_group_matches_nothing(world: World) -> None:
    web, app = _pair(
        world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "-1", OTHER), got(2, "udp", ANYWHERE, 53, 53)))
    )
    assert not web.reaches(app, 54)
    assert web.reaches(app, 53)


def test_icmp_types_and_protocol_numbers(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "icmp", ANYWHERE, 8, -1),)))
    assert web.pings(app.address)
    world.groups(web.vpc_id, fw.Group(APP, (got(1, "icmp", ANYWHERE, 8, 5),)))
    assert not web.pings(app.address)
    world.groups(web.vpc_id, fw.Group(APP, (got(1, "icmp", ANYWHERE, 13, -1), got(2, "17", ANYWHERE, 53, 53))))
    assert not web.pings(app.address)
    assert web.reaches(app, 53)
    assert not web.reaches(app, 54)
    world.groups(web.vpc_id, fw.Group(APP, (got(1, "47", ANYWHERE),)))
    watch = app.frames()
    web.emit(f.ethernet(net.GATEWAY_MAC, web.mac, f.IPV4, f.ipv4(web.address, app.address, 47, b"\0\0\x08\0")))
    web.emit(f.ethernet(net.GATEWAY_MAC, web.mac, f.IPV4, f.ipv4(web.address, app.address, 50, b"\0\0\x08\0")))
    assert [frame[23] for frame in watch.read() if frame[12:14] == b"\x08\0"] == [47]


def test_fragments_follow_their_first(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "udp", ANYWHERE, 53, 53),)))
    for port, passes in ((53, True), (54, False)):
        with app.udp(port) as receiver, web.udp() as sender:
            sender.sendto(bytes(8000), (app.address, port))
            world.settle()
            assert bool(select.select([receiver], [], [], 0)[0]) is passes


def test_overlapping_blocks_and_hundreds_of_rules(world: World) -> None:
    blocks = ["10.0.0.0/8", "10.0.1.0/24", "10.0.1.10/32", "10.0.1.10/32", "0.0.0.0/1", "10.0.1.77/24"]
    rules = [got(n, "udp", block, 53, 53) for n, block in enumerate(blocks)]
    rules += [got(100 + n, "udp", f"192.168.{n}.0/24", 53, 53) for n in range(250)]
    rules += [got(400 + n, "tcp", ANYWHERE, 1000 + n, 2000 + n) for n in range(50)]
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, tuple(rules)))
    assert web.reaches(app, 53)


def test_bad_rules_are_refused_alone(world: World) -> None:
    """OSSA-2019-001 and -003: one bad rule must not keep all others from being in force."""
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24")
    network, firewall = world.vpcs[vpc]
    bad = (
        got(1, "tcp", ANYWHERE, 70, 60),
        got(2, "tcp", ANYWHERE, 0, 70000),
        got(3, "tcp", "10.0.0.0/33", 1, 2),
        got(4, "udp", "} drop; {", 1, 2),
        got(5, "carrier-pigeon", ANYWHERE),
        got(6, "icmp", ANYWHERE, 300, 0),
        replace(got(7, "udp", ANYWHERE, 1, 2), id='x"\n}'),
        got(8, "icmp", "::/0", 8, -1),  # no such type, but not wrong: it matches nothing
        got(9, "icmpv6", ANYWHERE, 128, -1),
    )
    groups = (fw.Group(WEB, (sent(),)), fw.Group(APP, (*bad, got(20, "udp", ANYWHERE, 53, 53)), frozenset({"x"})))
    refusals = world.apply(network, replace(firewall, groups=(*groups, fw.Group("sg-{", ()))))
    web, app = world.guest(vpc, "10.0.1.10", WEB, "sg-{"), world.guest(vpc, "10.0.1.11", APP)
    assert [refusal.id for refusal in refusals] == [*(rule.id for rule in bad[:7]), APP, "sg-{"]
    assert web.reaches(app, 53)
    assert not web.reaches(app, 1)


def test_vpcs_with_the_same_addresses_do_not_meet(world: World) -> None:
    groups = (fw.Group(WEB, (sent(), got(1, "-1", ANYWHERE))),)
    first = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups)
    second = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups)
    a, b = world.guest(first, "10.0.1.10", WEB), world.guest(first, "10.0.1.11", WEB)
    c, d = world.guest(second, "10.0.1.10", WEB), world.guest(second, "10.0.1.11", WEB)
    with b.udp(53) as at_b, d.udp(53) as at_d:
        a.sends("10.0.1.11", 53)
        world.settle()
        assert select.select([at_b, at_d], [], [], 0)[0] == [at_b]
        at_b.recv(100)
        c.sends("10.0.1.11", 53)
        world.settle()
        assert select.select([at_b, at_d], [], [], 0)[0] == [at_d]


def test_several_groups_add_up(world: World) -> None:
    one, two = (fw.Group(APP, (got(1, "udp", ANYWHERE, 53, 53),)), fw.Group(OTHER, (got(2, "udp", ANYWHERE, 54, 54),)))
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(fw.Group(WEB, (sent(),)), one, two))
    web, app = world.guest(vpc, "10.0.1.10", WEB), world.guest(vpc, "10.0.1.11", APP, OTHER)
    assert (web.reaches(app, 53), web.reaches(app, 54), web.reaches(app, 55)) == (True, True, False)
    world.change(app, group_ids=(OTHER,))
    assert (web.reaches(app, 53), web.reaches(app, 54)) == (False, True)


# --- what is taken away


def _talk(client: socket.socket, server: socket.socket, world: World) -> bool:
    """Tell whether a connection carries bytes in both directions."""
    for sender, receiver in ((client, server), (server, client)):
        sender.send(b"x")
        world.settle()
        if not select.select([receiver], [], [], 0)[0]:
            return False
        receiver.recv(100)
    return True


def _connected(web: Guest, app: Guest, port: int) -> tuple[socket.socket, socket.socket]:
    listener = app.listen(port)
    client = web.connect(app.address, port)
    assert client is not None
    server, _ = listener.accept()
    server.setblocking(False)
    assert _talk(client, server, web.world)
    return client, server


def test_revoked_ingress_ends_established_flows(world: World) -> None:
    ssh, http = got(1, "tcp", "10.0.0.0/16", 22, 22), got(2, "tcp", ANYWHERE, 80, 80)
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (ssh, http)))
    by_ssh, by_http = _connected(web, app, 22), _connected(web, app, 80)
    world.groups(web.vpc_id, fw.Group(APP, (http,)))
    assert not _talk(*by_ssh, world)
    assert _talk(*by_http, world)


def test_revoked_ingress_stops_the_receivers_answers_too(world: World) -> None:
    """A download goes on from the side that never asked anybody: it ends as well."""
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "tcp", ANYWHERE, 22, 22),)))
    client, server = _connected(web, app, 22)
    world.groups(web.vpc_id, fw.Group(APP, ()))
    assert not _talk(server, client, world)


def test_flows_that_another_rule_admits_go_on(world: World) -> None:
    narrow, wide = got(1, "tcp", "10.0.1.10/32", 22, 22), got(2, "tcp", "10.0.0.0/16", 20, 30)
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (narrow, wide)))
    flow = _connected(web, app, 22)
    world.groups(web.vpc_id, fw.Group(APP, (wide,)))
    assert _talk(*flow, world)


def test_revoked_egress_ends_established_flows(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "tcp", ANYWHERE, 22, 22),)))
    flow = _connected(web, app, 22)
    world.groups(web.vpc_id, fw.Group(WEB, (sent(2, "tcp", ANYWHERE, 80, 80),)))
    assert not _talk(*flow, world)


def test_lost_membership_ends_established_flows(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (sent(), got(1, "tcp", WEB, 22, 22))))
    flow = _connected(web, app, 22)
    world.groups(web.vpc_id, fw.Group(WEB, (sent(),), frozenset()))
    assert not _talk(*flow, world)


def test_changed_groups_of_an_interface_end_established_flows(world: World) -> None:
    web, app = _pair(
        world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "tcp", ANYWHERE, 22, 22),)), fw.Group(OTHER, ())
    )
    flow = _connected(web, app, 22)
    world.change(app, group_ids=(APP, OTHER))
    assert _talk(*flow, world)
    world.change(app, group_ids=(OTHER,))
    assert not _talk(*flow, world)


def test_next_owner_of_an_address_inherits_no_flows(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "udp", ANYWHERE, 53, 53),)))
    with web.udp(4000) as client:
        client.sendto(b"question", (app.address, 53))
        world.settle()
        world.forget(app)
        heir = world.guest(web.vpc_id, app.address, APP)
        with heir.udp(53) as answering:
            answering.sendto(b"late answer", (web.address, 4000))
            world.settle()
        assert not select.select([client], [], [], 0)[0]


def test_flows_end_also_by_what_changed_while_the_agent_was_away(world: World) -> None:
    web, app = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, (got(1, "tcp", ANYWHERE, 22, 22),)))
    flow = _connected(web, app, 22)
    network, firewall = world.vpcs[web.vpc_id]
    world.restart()
    world.start(net.HostNetwork((POOL,)))
    world.apply(network, firewall)
    assert _talk(*flow, world)
    world.restart()
    world.start(net.HostNetwork((POOL,)))
    closed = tuple(replace(group, rules=()) if group.id == APP else group for group in firewall.groups)
    world.apply(network, replace(firewall, groups=closed))
    assert not _talk(*flow, world)


# --- the namespace's own services


def test_services_answer_whatever_groups_say(world: World) -> None:
    """EC2 filters neither metadata nor DNS nor DHCP; by the gateway or, with a link route, directly."""
    web, _ = _pair(world, fw.Group(WEB, ()), fw.Group(APP, ()))
    metadata = world.network.socket(web.vpc_id, socket.AF_INET, socket.SOCK_STREAM)
    with metadata:
        metadata.bind((net.METADATA_ADDRESS, 80))
        metadata.listen()
        assert web.connect(net.METADATA_ADDRESS, 80)
        assert not web.connect(net.METADATA_ADDRESS, 81)
        world.link_route(web, "169.254.0.0/16")
        assert web.connect(net.METADATA_ADDRESS, 80)
    for address, port in (("10.0.0.2", 53), ("10.0.1.2", 53), (net.RESOLVER_ADDRESS, 53), (net.TIME_ADDRESS, 123)):
        with world.network.socket(web.vpc_id, socket.AF_INET, socket.SOCK_DGRAM) as server, web.udp() as client:
            server.bind((address, port))
            server.setblocking(False)
            client.sendto(b"question", (address, port))
            world.settle()
            question, asker = server.recvfrom(100)
            assert (question, asker[0]) == (b"question", web.address)
            server.sendto(b"answer", asker)
            world.settle()
            assert client.recv(100) == b"answer"
    assert world.inside_run(web.vpc_id, "sysctl", "-n", "net.netfilter.nf_conntrack_count").strip() == "0"


def test_nothing_else_in_the_namespace_answers(world: World) -> None:
    web, _ = _pair(world, fw.Group(WEB, (sent(),)), fw.Group(APP, ()))
    with world.network.socket(web.vpc_id, socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("0.0.0.0", 8080))
        server.listen()
        for address in (
            "10.0.1.1",
            "10.0.2.1",
            "10.0.1.2",
            net.METADATA_ADDRESS,
            net.RESOLVER_ADDRESS,
            net.TIME_ADDRESS,
        ):
            assert not web.connect(address, 8080)
    for address in ("10.0.1.1", net.METADATA_ADDRESS, net.TIME_ADDRESS):
        assert not web.pings(address)


def test_a_flood_of_questions_is_cut_down(world: World) -> None:
    """FAULTS 29: EC2 lets 1,024 packets a second through to its resolver, and so do we; the neighbour is still heard."""
    web, app = _pair(world, fw.Group(WEB, ()), fw.Group(APP, ()))
    for address, port, least, most in ((net.RESOLVER_ADDRESS, 53, 1000, 3500), (net.TIME_ADDRESS, 123, 100, 400)):
        with world.network.socket(web.vpc_id, socket.AF_INET, socket.SOCK_DGRAM) as server, web.udp() as flood:
            server.bind((address, port))
            server.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, 1 << 24)
            server.setblocking(False)
            for _ in range(5000):
                flood.sendto(b"?", (address, port))
            app.sends(address, port)
            world.settle()
            heard = [
                server.recvfrom(10)[1][0] for _ in iter(lambda ready=server: select.select([ready], [], [], 0)[0], [])
            ]
        assert least <= heard.count(web.address) <= most
        assert heard.count(app.address) == 1

"""At no moment does a guest send or get what is not allowed: before it is known, while rules change, after a restart."""

import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.firewall.interface import FirewallError
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, POOL, World, got, new_world, sent

_BUFFER_BY_FORCE = 33  # SO_RCVBUFFORCE
OPEN, CLOSED = "sg-0000000000000000a", "sg-0000000000000000b"


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        made.start(net.HostNetwork((POOL,)))
        yield made


def _open_vpc(world: World) -> str:
    group = fw.Group(OPEN, (sent(), got(1, "-1", ANYWHERE)))
    return world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(group, fw.Group(CLOSED, ())))


def test_unknown_tap_passes_nothing(world: World) -> None:
    """libvirt plugs a tap in before the firewall knows it: not a frame passes, in either direction."""
    vpc = _open_vpc(world)
    known = world.guest(vpc, "10.0.1.10", OPEN)
    early = world.guest(vpc, "10.0.1.11", OPEN)
    world.forget(early)
    watch, hears = known.frames(), early.frames()
    assert not early.reaches(known, 53)
    assert not known.reaches(early, 53)
    early.emit(f.ethernet(f.BROADCAST, early.mac, f.ARP, f.arp(1, early.mac, early.address, f.BROADCAST, "10.0.1.1")))
    answers = f.mac(net.GATEWAY_MAC) + f.ARP.to_bytes(2)  # the gateway's, to what the known guest itself asked
    assert [frame for frame in watch.read() if frame[6:14] != answers] == []
    assert hears.read() == []


def test_tap_of_another_name_is_mute(world: World) -> None:
    """A port that is not named like a tap of ours, and not isolated, sits on our bridge."""
    vpc = _open_vpc(world)
    known = world.guest(vpc, "10.0.1.10", OPEN)
    stranger = world.guest(vpc, "10.0.1.11", OPEN, plugged=False)
    world.plug(stranger, world.vpcs[vpc][0].subnets[0], tap="vnet7")
    watch, hears = known.frames(), stranger.frames()
    assert not stranger.reaches(known, 53)
    for to in (known.mac, f.BROADCAST, net.GATEWAY_MAC):
        packet = f.ipv4(stranger.address, known.address, f.UDP, f.udp(1, 2))
        stranger.emit(f.ethernet(to, stranger.mac, f.IPV4, packet))
        known.emit(f.ethernet(stranger.mac, known.mac, f.IPV4, packet))
    assert watch.read() == []
    ours = (f.mac(known.mac), f.mac(net.GATEWAY_MAC))
    assert [frame for frame in hears.read() if frame[6:12] in ours] == []


def test_nothing_passes_before_the_vpcs_rules(world: World) -> None:
    """The host's part is there, the network is there, the firewall of the VPC is not."""
    vpc = _open_vpc(world)
    network, firewall = world.vpcs[vpc]
    world.firewall.remove(vpc)
    one = net.LocalInterface("eni-0000000000000000a", network.subnets[0].id, "06:00:00:00:0a:01", ("10.0.1.10",))
    world.network.apply(replace(network, interfaces=(one,)))
    guest = world.guest(vpc, "10.0.1.10", OPEN)
    world.firewall.remove(vpc)
    with world.network.socket(vpc, socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 67))
        server.setblocking(False)
        discover = f.ipv4("0.0.0.0", "255.255.255.255", f.UDP, f.udp(68, 67))
        guest.emit(f.ethernet(f.BROADCAST, guest.mac, f.IPV4, discover))
        world.settle()
        assert not select.select([server], [], [], 0)[0]
    world.firewall.apply(firewall)


def test_a_new_namespace_passes_nothing(world: World) -> None:
    """Somebody deleted it under running guests: its links come back before its rules, shut until those are there."""
    vpc = _open_vpc(world)
    one, two = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", OPEN)
    assert one.reaches(two, 53)
    world.namespaces.delete(vpc)
    assert world.network.audit() != ()
    world.wait_for_carriers()
    gateway = f.mac(net.GATEWAY_MAC)
    watch = two.frames()
    with world.network.socket(vpc, socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("10.0.1.1", 7))
        service.setblocking(False)
        assert not one.reaches(two, 53)
        one.sends("10.0.1.1", 7)
        world.settle()
        assert not select.select([service], [], [], 0)[0]
        # The gateway may ask for MACs; of what the guest sent, nothing is there.
        assert [frame for frame in watch.read() if frame[6:14] != gateway + f.ARP.to_bytes(2)] == []
        assert world.firewall.audit() == (f"{vpc}: a new namespace without rules",)
        assert one.reaches(two, 53)


def test_firewall_before_network_is_refused(world: World) -> None:
    with pytest.raises(FirewallError, match="no namespace"):
        world.firewall.apply(fw.VpcFirewall("vpc-0000000000000000f"))


def test_restart_interrupts_and_opens_nothing(world: World) -> None:
    """FAULTS 22: the tables are replaced in one transaction, with the bindings that were in force."""
    vpc = _open_vpc(world)
    one, two = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", OPEN)
    shut = world.guest(vpc, "10.0.1.12", CLOSED)
    states = world.vpcs[vpc]
    world.restart()
    assert one.reaches(two, 53)
    assert not one.reaches(shut, 53)
    world.start(net.HostNetwork((POOL,)))
    assert one.reaches(two, 53)
    assert world.firewall.present() == {vpc}
    world.apply(*states)
    assert one.reaches(two, 53)
    assert not one.reaches(shut, 53)
    assert world.firewall.audit() == ()


def test_changes_let_no_packet_slip_through(world: World) -> None:
    """While groups change a thousand times, a sender that is never allowed never arrives, one that always is always does."""
    vpc = _open_vpc(world)
    sender, receiver = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", CLOSED)
    _, firewall = world.vpcs[vpc]
    always = got(9, "udp", ANYWHERE, 53, 53)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            rules = (always, *(got(n, "udp", ANYWHERE, 1000 + n, 1000 + n) for n in range(number % 7)))
            groups = (firewall.groups[0], fw.Group(CLOSED, rules))
            world.firewall.apply(replace(firewall, groups=groups))

    world.firewall.apply(replace(firewall, groups=(firewall.groups[0], fw.Group(CLOSED, (always,)))))
    changer = threading.Thread(target=change)
    with receiver.udp(53) as wanted, receiver.udp(54) as unwanted:
        wanted.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, 1 << 22)
        changer.start()
        for _ in range(300):
            # A new source port each time: an established flow would not ask the rules.
            sender.sends(receiver.address, 54)
            sender.sends(receiver.address, 53)
        world.settle()
        stop.set()
        changer.join()
        assert sum(1 for _ in iter(lambda: select.select([wanted], [], [], 0)[0] and wanted.recv(9), [])) == 300
        assert not select.select([unwanted], [], [], 0)[0]


def test_flush_ruleset_by_others_does_not_open_the_host(world: World) -> None:
    """`systemctl restart nftables` flushes everything; while the agent runs, our tables are only its own."""
    vpc = _open_vpc(world)
    one, two = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", OPEN)
    world.at_host_run("nft", "flush", "ruleset")
    lie = f.ethernet(net.GATEWAY_MAC, one.mac, f.IPV4, f.ipv4("10.0.1.99", two.address, f.UDP, f.udp(1, 53)))
    watch = two.frames()
    one.emit(lie)
    assert watch.read() == []
    assert one.reaches(two, 53)
    with pytest.raises(subprocess.CalledProcessError):
        world.at_host_run("nft", "delete", "table", "bridge", "stead")


def test_audit_repairs_what_others_did(world: World) -> None:
    vpc = _open_vpc(world)
    one, shut = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.12", CLOSED)
    assert world.firewall.audit() == ()
    world.inside_run(vpc, "nft", "add", "table", "inet", "else")
    assert world.firewall.audit() == ()  # somebody else's table is their own affair
    world.inside_run(vpc, "nft", "delete", "table", "inet", "stead")
    assert one.reaches(shut, 53)
    assert world.firewall.audit() == (f"{vpc}: table inet stead",)
    assert not one.reaches(shut, 53)
    assert world.firewall.audit() == ()


def test_audit_fills_a_new_namespace(world: World) -> None:
    """Somebody deleted the VPC's namespace: links and rules come back, before the guests' frames do."""
    vpc = _open_vpc(world)
    one, two = world.guest(vpc, "10.0.1.10", OPEN), world.guest(vpc, "10.0.1.11", OPEN)
    world.namespaces.delete(vpc)
    assert world.network.audit() != ()
    assert world.firewall.audit() == (f"{vpc}: a new namespace without rules",)
    assert one.reaches(two, 53)
    assert world.network.audit() == world.firewall.audit() == ()


def test_a_host_that_is_given_up_has_no_tables(world: World) -> None:
    """By the agent that made them, or by one that was just started to remove them; others' tables stay."""
    world.at_host_run("nft", "add", "table", "inet", "theirs")
    for _ in range(2):
        vpc = _open_vpc(world)
        world.firewall.remove(vpc)
        world.network.remove(vpc)
        assert "stead" in world.at_host_run("nft", "list", "tables")
        world.firewall.remove_host()
        assert world.at_host_run("nft", "list", "tables").strip() == "table inet theirs"
        world.start(net.HostNetwork((POOL,)))
        world.restart()
        world.vpcs.clear()
        world.start(net.HostNetwork((POOL,)))
    world.restart()
    world.firewall.remove_host()
    assert world.at_host_run("nft", "list", "tables").strip() == "table inet theirs"


def test_more_vpcs_than_contexts(world: World) -> None:
    """nft contexts stay open for the VPCs used last; all others work as well, side by side."""
    vpcs = [_open_vpc(world) for _ in range(15)]
    errors: list[BaseException] = []

    def work(vpc: str) -> None:
        try:
            for number in range(4):
                desired = world.vpcs[vpc][1]
                world.firewall.apply(replace(desired, resolvers=desired.resolvers | {f"10.0.9.{number}"}))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(vpc,)) for vpc in vpcs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all("10.0.9.3" in world.inside_run(vpc, "nft", "list", "set", "inet", "stead", "resolvers") for vpc in vpcs)
    assert world.firewall.audit() == ()

"""What guests send and get stands in the files, accepted and rejected, and the kernel is left as it was."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.flow_logs.interface import FlowLog, Interface, VpcFlowLogs
from stead_agent.flow_logs.recorder import KernelFlowLogs
from stead_agent.network import interface as net
from tests.host.firewall import frames as f
from tests.host.network.world import ANYWHERE, POOL, Guest, World, add_outside, got, new_world, sent
from tests.support.waiting import wait_for

OPEN, CLOSED = "sg-0000000000000000a", "sg-0000000000000000b"


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.fixture
def logs(world: World, tmp_path: Path) -> Iterator[KernelFlowLogs]:
    made = KernelFlowLogs(world.namespaces, tmp_path)
    yield made
    made.close()


def _guests(world: World) -> tuple[Guest, Guest]:
    outside = add_outside(world, "192.0.2.1/24", "192.0.2.2/24")
    world.route("vpc-outside", POOL, "192.0.2.1")
    del outside
    world.start(net.HostNetwork((POOL,), "up0"))
    groups = (
        fw.Group(OPEN, (sent(), got(1, "udp", ANYWHERE, 53, 53), got(2, "tcp", ANYWHERE, 22, 22))),
        fw.Group(CLOSED, (sent(3, "udp", "10.0.1.0/24", 53, 60),)),
    )
    vpc = world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=groups)
    return world.guest(vpc, "10.0.1.10", OPEN, public="198.51.100.10"), world.guest(vpc, "10.0.1.11", CLOSED)


def _log(world: World, logs: KernelFlowLogs, *guests: Guest, accepted: bool = True, rejected: bool = True) -> None:
    """Log these guests' flows, in the order that the reconciler keeps."""
    vpc_id = guests[0].vpc_id
    ids = frozenset(guest.interface_id for guest in guests)
    network, firewall = world.vpcs[vpc_id]
    world.apply(network, replace(firewall, flow_logs=(fw.FlowLog("fl-1", ids, accepted, rejected),)))
    interfaces = tuple(Interface(guest.interface_id, guest.mac, (guest.address,)) for guest in guests)
    logs.apply(VpcFlowLogs(vpc_id, (FlowLog("fl-1", "/stead/flows", ids, accepted, rejected, "1"),), interfaces))


def _records(folder: Path, guest: Guest) -> list[list[str]]:
    """Each record's addresses, ports, protocol, packets, bytes and action."""
    path = folder / "%2fstead%2fflows" / f"{guest.interface_id}-all.log"
    found = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    assert all(line[:3] == ["2", "1", guest.interface_id] for line in found)
    return sorted([*line[3:10], line[12]] for line in found if line[13] == "OK")


def _udp(folder: Path, logs: KernelFlowLogs, guest: Guest) -> dict[tuple[str, str], tuple[int, int]]:
    """Packets and bytes of the probes, by port and action; the kernel tells of rejected ones a little later."""
    logs.collect()
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for source, _, _, port, protocol, packets, size, action in _records(folder, guest):
        if protocol == "17" and source == "10.0.1.11":
            before = found.get((port, action), (0, 0))
            found[port, action] = before[0] + int(packets), before[1] + int(size)
    return found


def test_accepted_and_rejected(world: World, logs: KernelFlowLogs, tmp_path: Path) -> None:
    open_guest, closed = _guests(world)
    _log(world, logs, open_guest, closed)
    closed.sends(open_guest.address, 53, 4000)  # both let it pass
    closed.sends(open_guest.address, 54, 4000)  # the receiver does not
    closed.sends(open_guest.address, 70, 4000)  # the sender does not
    closed.sends(open_guest.address, 70, 4000)
    world.settle()
    expected = {("53", "ACCEPT"): (1, 33), ("54", "ACCEPT"): (1, 33), ("70", "REJECT"): (2, 66)}
    wait_for(lambda: _udp(tmp_path, logs, closed) == expected, "the sender's records are there")
    assert _udp(tmp_path, logs, open_guest) == {("53", "ACCEPT"): (1, 33), ("54", "REJECT"): (1, 33)}


def test_each_look_counts_what_came_since_and_ended_flows_are_not_lost(
    world: World, logs: KernelFlowLogs, tmp_path: Path
) -> None:
    open_guest, closed = _guests(world)
    _log(world, logs, open_guest)
    with closed.udp(4000) as sender:
        for _ in range(3):
            sender.sendto(b"probe", (open_guest.address, 53))
        world.settle()
        logs.collect()
        sender.sendto(b"probe", (open_guest.address, 53))
        world.settle()
    # The group no longer allows it, so the kernel forgets the flow.
    world.groups(open_guest.vpc_id, fw.Group(OPEN, (sent(),), frozenset({open_guest.address})))
    logs.collect()
    assert [it[5:] for it in _records(tmp_path, open_guest) if it[3] == "53"] == [
        ["1", "33", "ACCEPT"],
        ["3", "99", "ACCEPT"],
    ]


def test_remotes_are_seen_with_private_addresses(world: World, logs: KernelFlowLogs, tmp_path: Path) -> None:
    """As the interface sees it: its own address is the private one, in both directions."""
    open_guest, _ = _guests(world)
    _log(world, logs, open_guest, rejected=False)
    open_guest.sends("192.0.2.2", 99, 4000)
    world.settle()
    logs.collect()
    assert [it[:6] for it in _records(tmp_path, open_guest)][:1] == [
        ["10.0.1.10", "192.0.2.2", "4000", "99", "17", "1"]
    ]


def test_only_own_flows_and_nothing_after_the_end(world: World, logs: KernelFlowLogs, tmp_path: Path) -> None:
    open_guest, closed = _guests(world)
    _log(world, logs, closed)
    open_guest.sends("10.0.1.77", 53, 4000)
    closed.sends(open_guest.address, 53, 4000)
    world.settle()
    logs.remove(closed.vpc_id)  # what there was is written
    assert len(_records(tmp_path, closed)) == 1
    assert not (tmp_path / "%2fstead%2fflows" / f"{open_guest.interface_id}-all.log").exists()
    closed.sends(open_guest.address, 53, 4001)
    world.settle()
    logs.collect()
    assert len(_records(tmp_path, closed)) == 1


def test_a_flood_of_rejected_packets_is_sampled(world: World, logs: KernelFlowLogs, tmp_path: Path) -> None:
    open_guest, closed = _guests(world)
    _log(world, logs, open_guest, closed)
    packet = f.ipv4(closed.address, open_guest.address, f.UDP, f.udp(1, 9999))
    closed.emit(f.ethernet(net.GATEWAY_MAC, closed.mac, f.IPV4, packet), 5000)
    world.settle()

    def some() -> bool:
        logs.collect()
        return bool(_records(tmp_path, closed))

    wait_for(some, "the kernel has shown what it sampled")
    total = sum(int(it[5]) for it in _records(tmp_path, closed) if it[7] == "REJECT")
    assert 500 <= total <= 2500

"""Guests without IPv4 are asked by neighbour discovery, through the real bridge, its firewall and their gateway."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from stead_agent.network import interface as net
from stead_agent.reachability import ndp
from stead_agent.reachability.interface import Answers
from stead_agent.reachability.wire import listening
from tests.host.network.hosts import add_ipv6
from tests.host.network.ipv6_only import add_guest, add_subnet
from tests.host.network.world import Guest
from tests.host.reachability.stage import Stage, new_stage, set_link

ADDRESS, OTHER = "fd00:5:0:6::5", "fd00:5:0:6::66"
DUAL = "fd00:5:0:1::10"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with new_stage() as made:
        add_subnet(made.world, made.vpc_id)
        yield made


def ready(stage: Stage, address: str) -> Guest:
    """Add a guest in no group that has its address, which outlives a link that is switched off."""
    guest = add_guest(stage.world, stage.vpc_id, address)

    def settle() -> None:
        for name, value in (("accept_dad", "0"), ("keep_addr_on_down", "1")):
            Path("/proc/sys/net/ipv6/conf/eth0", name).write_text(value, encoding="ascii")
        with IPRoute() as ip:
            (eth0,) = ip.link_lookup(ifname="eth0")
            ip.addr("add", index=eth0, address=address, prefixlen=128)

    stage.world.machine.inside(guest.namespace, settle)
    return guest


def answer(mac: str, address: str) -> bytes:
    """Make what a guest would say that has this MAC and address."""
    frame = bytearray(ndp.question(net.GATEWAY_MAC, net.GATEWAY_LINK_LOCAL, mac, address))
    frame[54], frame[62:78], frame[78] = 136, socket.inet_pton(socket.AF_INET6, address), 2
    assert ndp.speaker(bytes(frame)) == (mac, address)
    return bytes(frame)


def test_a_guest_answers_goes_silent_and_comes_back(stage: Stage) -> None:
    """It is in no group: no other packet could reach it."""
    guest, other = ready(stage, ADDRESS), ready(stage, OTHER)
    assert stage.watch(guest) is Answers.STARTING
    for each in (guest, other):
        stage.wait_for(each, Answers.YES)
    set_link(stage, guest, "down")
    stage.wait_for(guest, Answers.NO, seconds=5)
    assert stage.watch(other) is Answers.YES
    set_link(stage, guest, "up")
    stage.wait_for(guest, Answers.YES, seconds=1)


def test_it_is_asked_beside_guests_of_ipv4(stage: Stage) -> None:
    """At the same gateway, even; each kind has a socket of its own."""
    both, other = (stage.world.guest(stage.vpc_id, f"10.0.1.{number}") for number in (10, 11))
    stage.world.change(both, ipv6_addresses=(DUAL,))
    stage.world.machine.inside(both.namespace, lambda: add_ipv6(DUAL, both.mac))
    guests = (other, replace(both, address=DUAL), ready(stage, ADDRESS))
    for each in guests:
        stage.wait_for(each, Answers.YES)
    for each in guests:
        stage.probes.forget(each.interface_id)
    listed = stage.world.inside_run(stage.vpc_id, "cat", "/proc/net/packet")
    assert len(listed.splitlines()) == 1  # its head


def test_no_guest_answers_for_another(stage: Stage) -> None:
    guest = add_guest(stage.world, stage.vpc_id, ADDRESS, plugged=False)
    liar = ready(stage, OTHER)
    stage.wait_for(liar, Answers.YES)
    stage.watch(guest)
    for mac in (liar.mac, guest.mac):
        liar.emit(answer(mac, ADDRESS))
    stage.world.settle()
    stage.wait_for(guest, Answers.NO, seconds=20)


def test_of_all_ipv6_only_answers_are_read(stage: Stage) -> None:
    """A gateway sees each packet of its subnet: who asks is not to be woken by them."""
    guest = ready(stage, ADDRESS)
    link = net.subnet_link_name(stage.subnet_of(guest).id)
    wire = stage.world.namespaces.inside(stage.vpc_id, lambda: listening(link, ndp.ETHERTYPE, ndp.FILTER))
    heard = []
    with wire:
        guest.emit(ndp.question(net.GATEWAY_MAC, net.GATEWAY_LINK_LOCAL, guest.mac, ADDRESS))
        guest.emit(answer(guest.mac, ADDRESS))
        stage.world.settle()
        with contextlib.suppress(BlockingIOError):  # no more has come
            while True:
                heard.append(wire.recv(128))
    assert (guest.mac, ADDRESS) in {ndp.speaker(frame) for frame in heard}
    assert {frame[54] for frame in heard} == {136}

"""Guests in namespaces are asked through the real bridge, its firewall and the gateway of their subnet."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.network import interface as net
from stead_agent.reachability import arp
from stead_agent.reachability.interface import Answers
from tests.host.reachability.stage import Stage, new_stage, set_link
from tests.support.waiting import wait_for


@pytest.fixture
def stage() -> Iterator[Stage]:
    with new_stage() as made:
        yield made


def test_a_guest_answers_whatever_its_groups_say(stage: Stage) -> None:
    """It is in no group: no IP packet could reach it."""
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10")
    assert stage.watch(guest) is Answers.STARTING
    stage.wait_for(guest, Answers.YES)
    wait_for(lambda: stage.heard == [guest.interface_id], "its change was reported")


def test_a_guest_that_goes_silent_and_comes_back(stage: Stage) -> None:
    guest, other = (stage.world.guest(stage.vpc_id, f"10.0.1.{n}") for n in (10, 11))
    for each in (guest, other):
        stage.wait_for(each, Answers.YES)
    set_link(stage, guest, "down")
    stage.wait_for(guest, Answers.NO, seconds=5)
    assert stage.watch(other) is Answers.YES
    since = stage.find(guest).since
    assert 60 <= time.time() - since < 24 * 3600  # by the host's clock
    assert stage.find(guest).since == since
    set_link(stage, guest, "up")
    stage.wait_for(guest, Answers.YES, seconds=1)
    wait_for(lambda: stage.heard.count(guest.interface_id) == 3, "each change was reported")


def test_a_guest_that_never_answers(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10", plugged=False)
    assert stage.watch(guest) is Answers.STARTING
    stage.clock.ahead += 200
    assert stage.watch(guest) is Answers.STARTING
    stage.wait_for(guest, Answers.NO, seconds=20)


def test_one_that_ran_before_is_not_called_new(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10", plugged=False)
    assert stage.watch(guest, fresh=False) is Answers.UNKNOWN
    assert stage.watch(guest, 2, fresh=True) is Answers.STARTING  # another start


def test_no_guest_answers_for_another(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10", plugged=False)
    liar = stage.world.guest(stage.vpc_id, "10.0.1.66")
    stage.wait_for(liar, Answers.YES)
    stage.watch(guest)

    stage.world.settle()
    liar.emit(arp.question(net.GATEWAY_MAC, "10.0.1.1", liar.mac, guest.address))
    liar.emit(arp.question(net.GATEWAY_MAC, "10.0.1.1", guest.mac, guest.address))
    stage.world.settle()
    stage.wait_for(guest, Answers.NO, seconds=20)


def test_a_namespace_that_is_made_anew_is_asked_again(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10")
    stage.wait_for(guest, Answers.YES)
    set_link(stage, guest, "down")
    stage.wait_for(guest, Answers.NO, seconds=5)
    stage.world.namespaces.delete(stage.vpc_id)
    stage.world.network.audit()
    stage.world.firewall.audit()
    set_link(stage, guest, "up")
    stage.wait_for(guest, Answers.YES, seconds=1)


def test_an_interface_that_changes_is_asked_at_its_new_address(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10")
    wrong = replace(guest, address="10.0.1.99")
    assert stage.watch(wrong) is Answers.STARTING
    stage.wait_for(guest, Answers.YES)


@pytest.mark.parametrize("nonsense", [{"mac": "nonsense"}, {"address": "nowhere"}])
def test_one_that_cannot_be_asked_harms_no_other(stage: Stage, nonsense: dict[str, str]) -> None:
    guest, odd = (stage.world.guest(stage.vpc_id, f"10.0.1.{n}") for n in (10, 11))
    assert stage.watch(replace(odd, **nonsense)) is Answers.STARTING
    stage.wait_for(guest, Answers.YES)
    assert stage.watch(replace(odd, **nonsense)) is Answers.STARTING


def test_what_is_forgotten_holds_no_namespace(stage: Stage) -> None:
    guest = stage.world.guest(stage.vpc_id, "10.0.1.10")
    stage.wait_for(guest, Answers.YES)
    assert _packet_sockets(stage) == 1
    stage.probes.forget(guest.interface_id)
    stage.probes.forget(guest.interface_id)
    assert _packet_sockets(stage) == 0
    stage.clock.ahead += 20  # it would be due
    other = stage.world.guest(stage.vpc_id, "10.0.1.11")
    stage.wait_for(other, Answers.YES)


def _packet_sockets(stage: Stage) -> int:
    listed = stage.world.inside_run(stage.vpc_id, "cat", "/proc/net/packet")
    return len(listed.splitlines()) - 1

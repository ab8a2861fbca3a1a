"""Guests are asked whether they answer while they run, and the controller hears of each change."""

import time
from dataclasses import replace

import pytest

from stead_agent.machines.interface import OffReason
from stead_agent.network.interface import GATEWAY_LINK_LOCAL, subnet_link_name
from stead_agent.reachability.interface import Answers, Finding, Nic
from stead_agent.reconcile import translate
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

YES, NO, STARTING = host_pb2.GUEST_ANSWERS_YES, host_pb2.GUEST_ANSWERS_NO, host_pb2.GUEST_ANSWERS_STARTING
UNKNOWN = host_pb2.GUEST_ANSWERS_UNKNOWN


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


def _begin(sender: make.Sender, durations: Durations | None = None) -> Bench:
    bench = Bench(durations=durations)
    bench.tell(sender.change(make.host_network(), *make.launch(), full=True))
    bench.work()
    return bench


def _machine(**changes: object) -> pb.Resource:
    words = {"volumes": ("vol-1",), "interfaces": ("eni-1",)} | changes
    return make.machine("i-1", **words)  # type: ignore[arg-type]  # any of its words


def test_a_guest_is_starting_until_it_answers(sender: make.Sender) -> None:
    bench = _begin(sender, Durations(answer=30))
    assert (bench.machine("i-1").power, bench.machine("i-1").answers) == (host_pb2.MACHINE_POWER_RUNNING, STARTING)
    bench.clock.step(29)
    bench.work()
    assert bench.machine("i-1").answers == STARTING
    bench.clock.step(1)
    bench.work()
    assert bench.machine("i-1").answers == YES


def test_each_start_begins_anew(sender: make.Sender) -> None:
    bench = _begin(sender, Durations(answer=30))
    bench.settle()
    assert bench.machine("i-1").answers == YES
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)))
    assert bench.machine("i-1").answers == host_pb2.GUEST_ANSWERS_UNSPECIFIED  # it is off
    bench.tell(sender.change(_machine(start_count=2)))
    bench.work()
    assert bench.machine("i-1").answers == STARTING


def test_a_guest_goes_silent_and_comes_back(sender: make.Sender) -> None:
    bench = _begin(sender)
    assert bench.machine("i-1").answers == YES
    bench.host.silence_guest("i-1", silent=True)
    bench.work()
    reported = bench.machine("i-1")
    assert (reported.answers, reported.silent_since > 0) == (NO, True)
    bench.host.silence_guest("i-1", silent=False)
    bench.work()
    assert (bench.machine("i-1").answers, bench.machine("i-1").silent_since) == (YES, 0)


def test_a_guest_whose_agent_does_not_answer_is_silent_though_its_kernel_answers(sender: make.Sender) -> None:
    bench = _begin(sender)
    bench.host.silence_agent("i-1", since=77)
    bench.work()
    assert (bench.machine("i-1").answers, bench.machine("i-1").silent_since) == (NO, 77)
    bench.host.silence_agent("i-1", since=0)
    bench.work()
    assert bench.machine("i-1").answers == YES
    bench = _begin(make.Sender(), Durations(answer=30))
    bench.host.silence_agent("i-1", since=77)  # which says nothing of one that has not answered yet
    bench.work()
    assert bench.machine("i-1").answers == STARTING


def test_since_when_qemu_does_not_answer_is_reported(sender: make.Sender) -> None:
    bench = _begin(sender)
    assert bench.machine("i-1").hung_since == 0
    for since in (77, 0):
        bench.host.hang_qemu("i-1", since=since)
        bench.work()
        assert bench.machine("i-1").hung_since == since


def test_when_a_guest_ended_is_reported_and_not_while_it_runs(sender: make.Sender) -> None:
    bench = _begin(sender)
    assert bench.machine("i-1").off_since == 0
    before = int(time.time())
    bench.host.machines.end_guest("i-1", OffReason.CRASHED)
    bench.work()
    ended = bench.machine("i-1").off_since
    assert before <= ended <= time.time()
    bench.restart()
    bench.work()
    assert bench.machine("i-1").off_since == ended


def test_how_long_its_host_was_down_is_reported_of_a_guest_that_runs_again(sender: make.Sender) -> None:
    bench = _begin(sender)
    before = int(time.time())
    bench.reboot()
    bench.work()
    found = bench.machine("i-1")
    assert found.power == host_pb2.MACHINE_POWER_RUNNING
    assert before <= found.lost_since <= found.lost_until <= time.time()


def test_a_later_agent_calls_no_guest_a_new_one(sender: make.Sender) -> None:
    bench = _begin(sender, Durations(answer=30))
    asked: list[bool] = []

    def watch(machine_id: str, nic: Nic, start_count: int, *, fresh: bool) -> Finding:
        del machine_id, nic, start_count
        asked.append(fresh)
        return Finding(Answers.UNKNOWN)

    bench.restart()
    bench.host.reachability.watch = watch  # type: ignore[method-assign]  # to see how it is asked
    bench.settle(sender.change(_machine(reboot_count=1)))
    assert asked
    assert not any(asked)
    assert bench.machine("i-1").answers == UNKNOWN


def test_who_is_no_more_is_not_asked(sender: make.Sender) -> None:
    bench = _begin(sender)
    assert bench.host.reachability.asked() == {"i-1"}
    bench.settle(sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"),)))
    assert bench.host.running() == set()
    assert bench.host.reachability.asked() == set()


def test_where_a_guest_is_asked() -> None:
    """At its primary interface's primary address, from the gateway of that subnet."""
    second = make.interface("eni-2", "i-1", number=9)
    first, subnet = make.interface("eni-1", "i-1", number=7), make.subnet()
    machine = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1", "eni-2"))
    known = {each.id: each for each in (first, second, subnet)}
    found = translate.asked_nic(machine, known)
    body = first.interface
    assert found is not None
    assert (found.mac, found.address) == (body.mac_address, body.private_address)
    assert (found.vpc_id, found.gateway_address) == ("vpc-1", "10.1.0.1")
    assert found.link == subnet_link_name(subnet.id)
    for missing in (first.id, subnet.id):
        assert translate.asked_nic(machine, {key: it for key, it in known.items() if key != missing}) is None
    first.interface.ipv6_addresses.extend(["2001:db8::5", "2001:db8::6"])
    assert translate.asked_nic(machine, known) == found  # by IPv4 where it has that
    first.interface.private_address = ""
    six = translate.asked_nic(machine, known)
    assert six == replace(found, gateway_address=GATEWAY_LINK_LOCAL, address="2001:db8::5")
    del first.interface.ipv6_addresses[:]
    assert translate.asked_nic(machine, known) is None

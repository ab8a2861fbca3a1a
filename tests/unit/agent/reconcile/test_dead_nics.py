"""Running guests whose taps somebody deleted."""

from stead_agent.network.interface import tap_name
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def test_only_the_guest_whose_tap_was_deleted_gets_a_new_one() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    others = (make.interface("eni-2", "i-2", number=9), make.volume("vol-2"))
    bench.settle(sender.change(*others, make.machine("i-2", volumes=("vol-2",), interfaces=("eni-2",))))
    guests = bench.host.world.objects.guests
    for guest in guests.values():
        guest.dead_nics = frozenset(nic.mac_address for nic in guest.spec.nics)
    bench.calls.clear()
    bench.reconciler.notice_taps([])
    bench.settle()
    assert bench.calls == []
    bench.reconciler.notice_taps(["another", tap_name("eni-1")])
    bench.settle()
    assert [subject for name, subject in bench.calls if name == "machines.update"] == ["i-1"]
    assert (guests["i-1"].dead_nics, len(guests["i-2"].dead_nics)) == (frozenset(), 1)
    assert bench.report()[Key(pb.KIND_MACHINE, "i-1")].condition == host_pb2.CONDITION_READY
    bench.restart()
    bench.settle()
    assert guests["i-2"].dead_nics == frozenset(), "whatever happened while no agent was there"
    assert bench.host.violations == []

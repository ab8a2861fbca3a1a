"""Whole cores of the host: a guest is started on them, and no two guests have the same."""

from stead_agent.machines.interface import Pinning
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def launch(name: str, *threads: int) -> list[pb.Resource]:
    """An instance that has these threads alone, or none."""
    parts = make.launch(name)
    for part in parts:
        if threads and part.HasField("machine"):
            part.machine.pinning.CopyFrom(pb.Pinning(threads=threads, numa_node=1, huge_pages=True))
    return parts


def test_a_guest_is_started_on_its_threads_and_another_without_any_shares_threads() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *launch("1", 2, 6), *launch("2"), full=True))
    guests = bench.host.world.objects.guests
    assert guests["i-1"].spec.pinning == Pinning((2, 6), 1, huge_pages=True)
    assert guests["i-2"].spec.pinning is None
    assert bench.host.violations == []


def test_a_simulated_host_notices_threads_that_two_guests_have() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *launch("1", 2, 6), *launch("2", 6, 7), full=True))
    (violation,) = bench.host.violations
    assert "has threads of" in violation

"""The reconciler hibernates guests of a simulated host, and resumes them with what was attached meanwhile."""

import pytest

from stead_agent.machines.interface import MachinesUnavailableError
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    return bench


def machine(**changes: object) -> pb.Resource:
    words = {"volumes": ("vol-1",), "interfaces": ("eni-1",)} | changes
    return make.machine("i-1", **words)  # type: ignore[arg-type]  # any of its words


def all_held(bench: Bench) -> None:
    assert bench.host.violations == []
    assert all(count == 1 for count in bench.host.world.objects.starts.values())


def _hibernated(**changes: object) -> pb.Resource:
    wanted = machine(power=pb.POWER_STOPPED, **changes)
    wanted.machine.hibernate = True
    return wanted


def _encrypted_root() -> pb.Resource:
    root = make.volume("vol-1")
    root.volume.encrypted, root.volume.encryption_key = True, bytes(32)
    return root


def test_a_guest_hibernates_and_goes_on_with_what_was_attached_meanwhile(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_encrypted_root()))
    bench.settle(sender.change(_hibernated()))
    seen = bench.machine("i-1")
    assert (seen.power, seen.off_reason, seen.hibernated) == (
        host_pb2.MACHINE_POWER_OFF,
        host_pb2.OFF_REASON_ASKED,
        True,
    )
    assert ("machines.stop", "i-1") not in bench.calls
    bench.settle(sender.change(make.volume("vol-2"), _hibernated(volumes=("vol-1", "vol-2"))))
    bench.calls.clear()
    bench.settle(sender.change(machine(start_count=2, volumes=("vol-1", "vol-2"))))
    seen = bench.machine("i-1")
    assert (seen.power, seen.start_count, seen.hibernated) == (host_pb2.MACHINE_POWER_RUNNING, 2, False)
    assert bench.host.machines.console_output("i-1", 100).endswith(b"start 2, boot 1\r\nresumed\r\n")
    assert ("machines.update", "i-1") in bench.calls  # it was resumed with the devices that it had
    all_held(bench)


def test_a_guest_that_cannot_be_hibernated_is_shut_down(bench: Bench, sender: make.Sender) -> None:
    bench.host.durations.shut_down = 10
    bench.settle(sender.change(_hibernated()), seconds=5)  # its root volume is not encrypted
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_STOPPING
    bench.settle()
    seen = bench.machine("i-1")
    assert (seen.power, seen.hibernated) == (host_pb2.MACHINE_POWER_OFF, False)
    bench.settle(sender.change(machine(start_count=2)))
    assert b"resumed" not in bench.host.machines.console_output("i-1", 100)
    all_held(bench)


def test_a_guest_is_hibernated_when_libvirt_is_there_again(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_encrypted_root()))
    away = MachinesUnavailableError("away")
    bench.host.world.fail_next("machines.hibernate", away)
    bench.settle(sender.change(_hibernated()))
    assert bench.machine("i-1").hibernated
    assert ("machines.stop", "i-1") not in bench.calls

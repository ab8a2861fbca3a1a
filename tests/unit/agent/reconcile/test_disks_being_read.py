"""A guest gets a disk once the snapshots of it are read whose instant that would end, or when it has waited enough."""

import pytest

from stead_agent.machines.interface import MachineError
from stead_agent.reconcile.reading import Reading
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

MACHINE = Key(pb.KIND_MACHINE, "i-1")
SNAPSHOT = Key(pb.KIND_SNAPSHOT, "snap-1")
PENDING = host_pb2.CONDITION_PENDING
READY = host_pb2.CONDITION_READY


def machine(start=2, *, volumes=("vol-1",), **words):
    return make.machine("i-1", volumes=volumes, interfaces=("eni-1",), start_count=start, **words)


def stopped(**words):
    return machine(1, power=pb.POWER_STOPPED, **words)


def snapshot(name="snap-1", volume_id="vol-1"):
    return pb.Resource(id=name, snapshot=pb.Snapshot(volume_id=volume_id))


@pytest.fixture
def sender():
    return make.Sender()


def bench_with(sender, *, seconds, **durations):
    """A host with i-1 and vol-2, where a snapshot takes so long."""
    bench = Bench(durations=Durations(snapshot=seconds, **durations))
    bench.settle(sender.change(make.host_network(), *make.launch("1"), make.volume("vol-2", base_id=""), full=True))
    return bench


def starts(bench):
    return [call for call in bench.calls if call[0] == "machines.start"]


def seen(bench):
    word = bench.report()[MACHINE]
    return word.condition, word.error, word.machine.start_count


def test_a_start_waits_until_the_snapshot_of_the_stopped_guest_is_read(sender, caplog):
    caplog.set_level("INFO")
    bench = bench_with(sender, seconds=20)
    bench.settle(sender.change(stopped()))
    bench.tell(sender.change(snapshot()))
    bench.work()
    bench.calls.clear()
    bench.settle(sender.change(machine()), seconds=19)
    assert seen(bench) == (PENDING, "waiting until the snapshot of vol-1 is read", 1)
    assert bench.host.world.objects.snapshots["snap-1"].quiet
    assert not starts(bench)
    assert [each.message for each in caplog.records].count("machine_waits_for_snapshots") == 1
    bench.settle(seconds=2)
    assert seen(bench) == (READY, "", 2)
    assert bench.report()[SNAPSHOT].condition == READY
    assert bench.host.violations == []


def test_it_waits_no_longer_than_two_minutes_from_the_first_time(sender):
    bench = bench_with(sender, seconds=1000)
    bench.settle(sender.change(stopped()))
    bench.tell(sender.change(snapshot()))
    bench.work()
    bench.settle(sender.change(machine()), seconds=60)
    bench.tell(sender.change(snapshot("snap-2")))
    bench.settle(seconds=58)
    assert seen(bench)[0] == PENDING
    bench.host.fail_next("machines.start", MachineError("QEMU said no"))
    bench.settle(seconds=5)
    assert seen(bench) == (READY, "", 2), "after a start that failed it does not wait again"
    assert not bench.host.world.objects.snapshots["snap-1"].quiet
    bench.settle(sender.change(machine(2, power=pb.POWER_STOPPED)), seconds=5)
    bench.tell(sender.change(snapshot("snap-3")))
    bench.settle(seconds=1)
    bench.settle(sender.change(machine(3)), seconds=100)
    assert seen(bench)[0] == PENDING, "each start has its own time"


def test_a_start_that_was_called_off_leaves_the_next_one_its_time(sender):
    bench = bench_with(sender, seconds=1000)
    bench.settle(sender.change(stopped()))
    bench.tell(sender.change(snapshot()))
    bench.settle(sender.change(machine()), seconds=100)
    assert seen(bench)[0] == PENDING, "nor does a start that comes with the snapshot go before it"
    bench.settle(sender.change(machine(2, power=pb.POWER_STOPPED)), seconds=1)
    assert seen(bench)[:2] == (READY, ""), "a stop waits for nothing"
    bench.settle(sender.change(machine(3)), seconds=100)
    assert seen(bench)[0] == PENDING
    bench.settle(sender.change(gone=(MACHINE,)), seconds=1)
    assert bench.report()[MACHINE].condition == host_pb2.CONDITION_ABSENT, "nor does a removal"


def test_a_guest_that_runs_is_snapshot_as_it_runs_and_stops_and_starts(sender):
    bench = bench_with(sender, seconds=1000)
    bench.tell(sender.change(snapshot()))
    bench.work()
    bench.settle(sender.change(stopped()), seconds=1)
    bench.settle(sender.change(machine()), seconds=1)
    assert seen(bench) == (READY, "", 2), "the instant of a guest's backup ended with the guest"


def test_a_guest_comes_back_after_its_host_went_down(sender):
    bench = bench_with(sender, seconds=1000)
    bench.settle(sender.change(stopped()))
    bench.tell(sender.change(snapshot()))
    bench.settle(sender.change(machine()), seconds=10)
    bench.reboot()
    bench.settle(seconds=125)
    assert seen(bench) == (READY, "", 2)


def test_a_running_guest_gets_a_disk_that_is_being_read_later_and_all_else_at_once(sender):
    bench = bench_with(sender, seconds=20)
    bench.tell(sender.change(snapshot(volume_id="vol-2")))
    bench.work()
    both = machine(1, volumes=("vol-1", "vol-2", "vol-3"))
    bench.settle(sender.change(make.volume("vol-3", base_id=""), both), seconds=5)
    assert seen(bench) == (PENDING, "waiting until the snapshot of vol-2 is read", 1)
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-3"]
    bench.settle(seconds=20)
    assert seen(bench) == (READY, "", 1)
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2", "vol-3"]


def test_a_snapshot_of_a_disk_that_the_guest_has_keeps_no_other_disk_from_it(sender, caplog):
    caplog.set_level("INFO")
    bench = bench_with(sender, seconds=1000)
    bench.tell(sender.change(snapshot(), machine(1, volumes=("vol-1", "vol-2"))))
    bench.work()
    assert seen(bench) == (READY, "", 1)
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    assert "machine_waits_for_snapshots" not in [each.message for each in caplog.records]


def test_disks_that_are_read_again_are_kept_again():
    reading, one = Reading(), frozenset({"vol-1"})
    assert reading.kept(one, 10.0) == reading.kept(one, 129.0) == one
    assert reading.kept(one, 130.0) == frozenset()
    assert reading.kept(frozenset(), 140.0) == frozenset()
    assert reading.kept(one, 150.0) == one


def test_a_disk_that_the_guest_does_not_release_leaves_the_time_as_it_is(sender):
    bench = bench_with(sender, seconds=1000)
    both = machine(1, volumes=("vol-1", "vol-3"))
    bench.settle(sender.change(make.volume("vol-3", base_id=""), both))
    bench.host.world.objects.guests["i-1"].holds_disks = True
    bench.tell(sender.change(snapshot(volume_id="vol-2")))
    bench.work()
    bench.settle(sender.change(machine(1, volumes=("vol-1", "vol-2"))), seconds=130)
    assert "vol-2" in bench.machine("i-1").volume_ids


def test_what_the_guest_lacks_else_is_said_too(sender):
    bench = bench_with(sender, seconds=1000)
    bench.tell(sender.change(snapshot(volume_id="vol-2")))
    bench.work()
    bench.settle(sender.change(machine(1, volumes=("vol-1", "vol-2", "vol-9"))), seconds=5)
    assert seen(bench)[1].startswith("vol-9 is not known here")

"""Snapshots: taken once, followed until they are complete, together in a set, and before their volume goes."""

from stead_agent.disks.snapshots.interface import SnapshotError
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def snapshot(name, volume_id, *, set_id="", set_volume_ids=()):
    body = pb.Snapshot(volume_id=volume_id, set_id=set_id, set_volume_ids=set_volume_ids)
    return pb.Resource(id=name, snapshot=body)


def key(name):
    return Key(pb.KIND_SNAPSHOT, name)


def begun(seconds=0.0):
    bench, sender = Bench(durations=Durations(snapshot=seconds)), make.Sender()
    bench.tell(sender.change(make.host_network(), full=True))
    bench.settle(sender.change(*make.launch("1"), make.volume("vol-2", base_id="")))
    return bench, sender


def last(bench, name):
    return bench.report().get(key(name))


def test_progress_is_reported_until_it_is_complete():
    bench, sender = begun(seconds=20)
    bench.tell(sender.change(snapshot("snap-1", "vol-1")))
    bench.work()
    first = last(bench, "snap-1")
    assert first.condition == host_pb2.CONDITION_PENDING
    assert (first.snapshot.blocks, first.snapshot.blocks_done) == (make.GIB // (512 * 1024), 0)
    bench.settle(seconds=10)
    halfway = last(bench, "snap-1")
    assert 0 < halfway.snapshot.blocks_done < halfway.snapshot.blocks
    assert halfway.snapshot.taken_at == first.snapshot.taken_at
    bench.settle()
    assert last(bench, "snap-1").snapshot.complete
    assert last(bench, "snap-1").condition == host_pb2.CONDITION_READY
    bench.settle(sender.change(gone=(key("snap-1"),)))
    assert last(bench, "snap-1").condition == host_pb2.CONDITION_ABSENT
    assert bench.host.subsystems.snapshots.present() == frozenset()
    assert bench.host.violations == []


def test_a_set_waits_for_all_that_are_here():
    bench, sender = begun()
    members = ("vol-1", "vol-2", "vol-of-another-host")
    bench.tell(sender.change(snapshot("snap-1", "vol-1", set_id="set", set_volume_ids=members)))
    bench.work()
    assert bench.host.subsystems.snapshots.present() == frozenset()
    bench.settle(sender.change(snapshot("snap-2", "vol-2", set_id="set", set_volume_ids=members)))
    assert last(bench, "snap-1").snapshot.taken_at == last(bench, "snap-2").snapshot.taken_at > 0
    bench.settle(sender.change(gone=(key("snap-1"),)))
    assert last(bench, "snap-2").condition == host_pb2.CONDITION_READY


def test_a_volume_goes_when_its_snapshot_is_complete():
    bench, sender = begun(seconds=20)
    bench.tell(sender.change(snapshot("snap-1", "vol-2")))
    bench.work()
    bench.settle(sender.change(gone=(Key(pb.KIND_VOLUME, "vol-2"),)))
    assert last(bench, "snap-1").snapshot.complete
    assert "vol-2" in bench.host.subsystems.volumes.present()
    bench.settle(sender.change(gone=(key("snap-1"),)))
    assert "vol-2" not in bench.host.subsystems.volumes.present()
    assert bench.host.violations == []


def test_a_snapshot_is_taken_when_its_machine_has_just_rebooted():
    bench, sender = begun()
    bench.host.durations.reboot = 8.0
    after = snapshot("snap-1", "vol-1")
    after.snapshot.after_reboot = 1
    bench.tell(sender.change(make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), reboot_count=1), after))
    bench.settle(seconds=7.5)
    assert last(bench, "snap-1").condition == host_pb2.CONDITION_PENDING
    assert bench.host.subsystems.snapshots.present() == frozenset()
    bench.settle(seconds=1)
    assert bench.machine("i-1").reboot_count == 1
    assert last(bench, "snap-1").snapshot.complete
    stopped = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), power=pb.POWER_STOPPED, reboot_count=2)
    later = snapshot("snap-2", "vol-1")
    later.snapshot.after_reboot = 2
    bench.settle(sender.change(stopped, later))
    assert last(bench, "snap-2").snapshot.complete, "a guest that is off has written all down"
    assert bench.host.violations == []


def test_a_volume_of_another_host_is_read_before_it_is_released():
    """The guest released it before the snapshot was begun: what is left of it here is the way to its home."""
    bench, sender = begun(seconds=20)
    remote = pb.RemoteVolume(home_host_id="host-2", address="192.0.2.2", port=61000, generation=1)
    brought = pb.Resource(id="vol-3", volume=pb.Volume(size=make.GIB, remote=remote))
    with_it = make.machine("i-1", volumes=("vol-1", "vol-3"), interfaces=("eni-1",))
    bench.settle(sender.change(brought, with_it))
    without = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",))
    bench.tell(sender.change(without, snapshot("snap-1", "vol-3")))
    bench.tell(sender.change(gone=(Key(pb.KIND_VOLUME, "vol-3"),)))
    bench.settle()
    assert last(bench, "snap-1").snapshot.complete
    bench.settle(sender.change(gone=(key("snap-1"),)))
    assert bench.host.world.objects.remotes == {}
    assert bench.host.violations == []


def test_what_fails_is_reported_and_tried_again():
    bench, sender = begun()
    bench.host.fail_next("snapshots.ensure", SnapshotError("the store is away"))
    bench.tell(sender.change(snapshot("snap-1", "vol-1")))
    bench.work()
    assert last(bench, "snap-1").condition == host_pb2.CONDITION_FAILED
    bench.settle()
    assert last(bench, "snap-1").condition == host_pb2.CONDITION_READY


def test_one_that_is_lost_is_reported_once_and_not_tried_again():
    bench, sender = begun(seconds=20)
    bench.tell(sender.change(snapshot("snap-1", "vol-1")))
    bench.work()
    bench.host.world.objects.snapshots["snap-1"].lost = True
    bench.settle()
    word = last(bench, "snap-1")
    assert (word.condition, word.snapshot.lost) == (host_pb2.CONDITION_FAILED, True)
    assert "its set" in word.error
    bench.calls.clear()
    bench.settle(seconds=60)
    assert not [call for call in bench.calls if call[0] == "snapshots.ensure"]


def test_strays_go():
    bench, sender = begun()
    bench.settle(sender.change(snapshot("snap-1", "vol-1")))
    objects = bench.host.world.objects
    objects.snapshots["snap-stray"] = objects.snapshots["snap-1"]
    bench.sweep()
    assert set(objects.snapshots) == {"snap-1"}

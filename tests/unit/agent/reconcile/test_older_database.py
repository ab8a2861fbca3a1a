"""What a host has and an older copy of the controller's database does not know: it stays until somebody decides."""

import pytest

from stead_agent.disks.volumes.interface import DiskLostError
from stead_agent.machines.interface import MachineError
from stead_agent.reconcile.unclaimed import what_it_has
from stead_agent.wanted import Change, Key, Wanted
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    assert bench.host.running() == {"i-1"}
    return bench


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


def _all_kept(bench: Bench) -> None:
    assert bench.host.violations == []
    assert all(count == 1 for count in bench.host.world.objects.starts.values()), bench.host.world.objects.starts


def test_what_an_older_database_does_not_know_stays_as_it_is(bench: Bench, sender: make.Sender) -> None:
    """Whether another epoch, a lower revision or the controller's own word says that it is older."""
    bench.settle(sender.change(*make.launch("2")))
    bench.calls.clear()
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), *make.launch("2"), full=True))
    assert bench.host.running() == {"i-1", "i-2"}
    assert bench.reconciler.wanted.revision == 1
    bench.reported.clear()
    bench.reconciler.reports.resend_all()
    reported = bench.report()
    assert {each.revision for each in reported.values()} <= {1, 2}
    unclaimed = {key.id for key, each in reported.items() if each.condition == host_pb2.CONDITION_UNCLAIMED}
    assert unclaimed == {"i-1", "vol-1", "eni-1"}
    assert bench.reconciler.reports.reached(1) == 1
    assert not [call for call in bench.calls if call[0] in {"machines.remove", "volumes.remove", "machines.stop"}]
    _all_kept(bench)
    # The next full state, of the same database, knows no more of them, and that is no word that they must go.
    bench.settle(older.full())
    assert bench.host.running() == {"i-1", "i-2"}
    # By decision they go, or are wanted again.
    bench.settle(older.change(make.volume("vol-1")))
    assert {key.id for key in bench.reconciler.wanted.unclaimed} == {"i-1", "eni-1"}
    bench.settle(older.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_INTERFACE, "eni-1"))))
    assert bench.host.running() == {"i-2"}
    assert bench.reconciler.wanted.unclaimed == frozenset()
    assert "vol-1" in bench.host.subsystems.volumes.present()
    # Now that all is claimed, what a full state leaves out is to go, as ever.
    older.resources.pop(Key(pb.KIND_VOLUME, "vol-1"))
    older.revision += 1
    bench.settle(older.full())
    assert "vol-1" not in bench.host.subsystems.volumes.present()


def test_a_removal_that_an_older_database_does_not_know_goes_on(bench: Bench, sender: make.Sender) -> None:
    bench.host.durations.shut_down = 30
    bench.tell(sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"),)))
    bench.work()
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), full=True), seconds=90)
    assert bench.host.running() == set()
    assert {key.id for key in bench.reconciler.wanted.unclaimed} >= {"vol-1", "eni-1"}


def test_the_controllers_word_that_it_is_older_is_enough(bench: Bench, sender: make.Sender) -> None:
    """Its revisions may be higher by now than what this host reached in a life that is forgotten."""
    state = sender.change(*make.launch("2"), full=True)
    bench.settle(state)
    sender.resources = {key: each for key, each in sender.resources.items() if not each.id.endswith("-2")}
    sender.revision += 1000
    older = sender.full()
    older.older = True
    bench.settle(older)
    assert bench.host.running() == {"i-1", "i-2"}
    assert {key.id for key in bench.reconciler.wanted.unclaimed} == {"i-2", "vol-2", "eni-2"}


def test_of_what_is_unclaimed_addresses_and_room_are_reported(bench: Bench, sender: make.Sender) -> None:
    """That the controller gives them to nobody else; what is claimed or gone has none."""
    resources = {each.id: each for each in make.launch("2")}
    eni, machine = resources["eni-2"].interface, resources["i-2"].machine
    eni.secondary_addresses.append("10.1.0.77")
    eni.ipv6_addresses.append("fd00:1::5")
    eni.public_addresses.add(public_address="198.18.0.9", private_address=eni.private_address)
    machine.disks.add(device_name="/dev/sdz").instance_store.size = make.GIB
    resources["vol-2"].volume.pool = "fast"
    bench.settle(sender.change(*resources.values(), full=True))
    bench.settle(make.Sender("epoch-2").change(make.host_network(), *make.launch("1"), full=True))
    bench.reported.clear()
    bench.reconciler.reports.resend_all()
    reported = {key.id: each for key, each in bench.report().items()}
    assert reported["eni-2"].unclaimed == host_pb2.Unclaimed(
        subnet_id="subnet-1",
        mac_address=eni.mac_address,
        private_addresses=["10.1.0.6", "10.1.0.77", "fd00:1::5"],
        public_addresses=["198.18.0.9"],
    )
    assert reported["i-2"].unclaimed == host_pb2.Unclaimed(vcpus=1, memory=make.GIB, disk=make.GIB)
    assert reported["vol-2"].unclaimed == host_pb2.Unclaimed(disk=make.GIB, pool="fast")
    assert {each.HasField("unclaimed") for name, each in reported.items() if not name.endswith("-2")} == {False}


def test_what_is_off_or_at_home_elsewhere_takes_no_room() -> None:
    wanted = Wanted()
    remote = make.volume("vol-1")
    remote.volume.remote.home_host_id = "h-2"
    off = make.machine("i-1", volumes=("vol-1",), interfaces=(), power=pb.POWER_STOPPED)
    keys = [Key(pb.KIND_VOLUME, "vol-1"), Key(pb.KIND_MACHINE, "i-1")]
    wanted.install(Change(1, "epoch-1", full=True, put=(remote, off), unclaimed=frozenset(keys)))
    assert [what_it_has(wanted, key) for key in keys] == [host_pb2.Unclaimed()] * 2


def test_an_instance_whose_disk_was_removed_is_said_to_be_off_and_its_volume_lost(
    bench: Bench, sender: make.Sender
) -> None:
    """It was terminated after the copy was made; that its host does not run it must show."""
    bench.settle(sender.change(gone=(Key(pb.KIND_MACHINE, "i-1"), Key(pb.KIND_VOLUME, "vol-1"))))
    bench.host.fail_next("volumes.ensure", DiskLostError("its disk was removed here"), times=1)
    older = make.Sender("epoch-2")
    bench.settle(older.change(make.host_network(), *make.launch(), full=True), seconds=0)
    reported = bench.report()
    volume, machine = reported[Key(pb.KIND_VOLUME, "vol-1")], reported[Key(pb.KIND_MACHINE, "i-1")]
    assert (volume.condition, volume.volume.lost) == (host_pb2.CONDITION_FAILED, True)
    assert (machine.condition, machine.machine.power) == (host_pb2.CONDITION_FAILED, host_pb2.MACHINE_POWER_OFF)
    bench.settle()  # its pool is there again
    volume = bench.report()[Key(pb.KIND_VOLUME, "vol-1")]
    assert (volume.condition, volume.volume.lost) == (host_pb2.CONDITION_READY, False)


def test_a_guest_that_does_not_start_after_its_host_was_down_is_said_to_be_off(bench: Bench) -> None:
    bench.reported.clear()
    bench.reboot()
    bench.host.fail_next("machines.start", MachineError("no memory"), times=1)
    bench.work()
    machine = bench.report()[Key(pb.KIND_MACHINE, "i-1")]
    assert machine.condition == host_pb2.CONDITION_FAILED
    assert (machine.machine.power, machine.machine.start_count) == (host_pb2.MACHINE_POWER_OFF, 1)

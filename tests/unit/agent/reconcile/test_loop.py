"""The reconciler over a simulated host: launches, lives and ends of machines, failures, restarts."""

import pytest

from stead_agent.disks.volumes.interface import DiskFullError, VolumeError
from stead_agent.machines.interface import MachineError, MachinesUnavailableError
from stead_agent.network.interface import NetworkError
from stead_agent.reconcile.loop import perform
from stead_agent.reconcile.reports import Reports
from stead_agent.reconcile.work import Work
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import HOST_NETWORK, SHARED_KINDS, Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench, MemoryStore

MACHINE = Key(pb.KIND_MACHINE, "i-1")
VOLUME = Key(pb.KIND_VOLUME, "vol-1")
INTERFACE = Key(pb.KIND_INTERFACE, "eni-1")
GROUP = Key(pb.KIND_SECURITY_GROUP, "sg-1")
SUBNET = Key(pb.KIND_SUBNET, "subnet-1")
VPC = Key(pb.KIND_VPC, "vpc-1")
IMAGE = Key(pb.KIND_BASE, "snap-1")
READY = host_pb2.CONDITION_READY
FAILED = host_pb2.CONDITION_FAILED
PENDING = host_pb2.CONDITION_PENDING
ABSENT = host_pb2.CONDITION_ABSENT


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    assert bench.host.running() == {"i-1"}
    return bench


def _machine(**changes: object) -> pb.Resource:
    words = {"volumes": ("vol-1",), "interfaces": ("eni-1",)} | changes
    return make.machine("i-1", **words)  # type: ignore[arg-type]  # any of its words


def _touched(bench: Bench) -> set[str]:
    """What the subsystems were called for."""
    return {subject for name, subject in bench.calls if not name.startswith("store.")}


def _all_held(bench: Bench) -> None:
    assert bench.host.violations == []
    assert all(count == 1 for count in bench.host.world.objects.starts.values()), bench.host.world.objects.starts


def test_a_launch_makes_all_in_order_and_reports_each(bench: Bench, sender: make.Sender) -> None:
    reported = bench.report()
    own = [key for key in sender.resources if key.kind not in SHARED_KINDS]  # of the others only failures are reported
    assert {key: each.condition for key, each in reported.items()} == dict.fromkeys(own, READY)
    assert {key: each.revision for key, each in reported.items()} == dict.fromkeys(own, 1)
    assert reported[MACHINE].machine.power == host_pb2.MACHINE_POWER_RUNNING
    assert reported[MACHINE].machine.start_count == 1
    assert bench.reached == 1
    names = [name for name, _ in bench.calls]
    order = ["network.apply_host", "network.apply", "firewall.apply", "dhcp.apply", "metadata.put", "metadata.serve"]
    assert [name for name in names if name in order] == order
    assert names.index("metadata.serve") < names.index("machines.start")
    _all_held(bench)


def test_what_has_not_changed_is_not_touched(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(*make.launch("2", vpc_id="vpc-2")))
    bench.calls.clear()
    bench.settle(sender.change(make.group("sg-2", "vpc-2", port=443)))
    assert _touched(bench) == {"vpc-2"}
    bench.calls.clear()
    bench.settle(sender.full())
    assert _touched(bench) == set()


def test_a_launch_into_a_vpc_that_is_here_starts_with_its_own_parts_only(bench: Bench, sender: make.Sender) -> None:
    bench.calls.clear()
    bench.settle(sender.change(*make.launch("2")))
    assert bench.host.running() == {"i-1", "i-2"}
    assert _touched(bench) == {"vpc-1", "vol-2", "i-2"}
    _all_held(bench)


def test_stop_and_start(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)))
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
    assert bench.machine("i-1").off_reason == host_pb2.OFF_REASON_ASKED
    bench.settle(sender.change(_machine(start_count=2)))
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_RUNNING
    assert bench.machine("i-1").start_count == 2
    _all_held(bench)


def test_a_slow_guest_is_reported_as_stopping_until_it_has_stopped(bench: Bench, sender: make.Sender) -> None:
    bench.host.durations.shut_down = 10
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)), seconds=5)
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_STOPPING
    assert bench.report()[MACHINE].condition == PENDING
    assert bench.reached == 1
    bench.settle()
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
    assert bench.reached == 2


def test_force_stop_pulls_the_plug_of_a_guest_that_hangs(bench: Bench, sender: make.Sender) -> None:
    bench.host.hang_guest("i-1")
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)), seconds=5)
    assert bench.host.running() == {"i-1"}
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED, force_stop=True)), seconds=0)
    assert bench.host.running() == set()


def test_a_guest_that_powered_itself_off_is_reported_and_stays_off(bench: Bench, sender: make.Sender) -> None:
    bench.host.power_off_guest("i-1")
    bench.settle()
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
    assert bench.machine("i-1").off_reason == host_pb2.OFF_REASON_GUEST
    bench.restart()
    bench.settle()
    assert bench.machine("i-1").off_reason == host_pb2.OFF_REASON_GUEST
    assert bench.host.running() == set()
    bench.settle(sender.change(_machine(start_count=2)))
    assert bench.host.running() == {"i-1"}
    _all_held(bench)


def test_a_crash_is_reported(bench: Bench) -> None:
    bench.host.crash_guest("i-1")
    bench.settle()
    assert bench.machine("i-1").off_reason == host_pb2.OFF_REASON_CRASHED


def test_each_reboot_happens_once(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_machine(reboot_count=1)))
    assert bench.host.world.objects.guests["i-1"].boots == 2
    bench.restart()
    bench.settle(sender.full())
    assert bench.host.world.objects.guests["i-1"].boots == 2
    assert bench.machine("i-1").reboot_count == 1


def test_a_slow_reboot_is_asked_for_once(bench: Bench, sender: make.Sender) -> None:
    bench.host.durations.reboot = 20
    bench.calls.clear()
    bench.settle(sender.change(_machine(reboot_count=1)), seconds=5)
    bench.settle(sender.change(_machine(reboot_count=1), make.volume("vol-1", iops=100)), seconds=5)
    assert bench.machine("i-1").reboot_count == 0
    bench.settle(seconds=30)
    assert bench.machine("i-1").reboot_count == 1
    assert [name for name, _ in bench.calls].count("machines.reboot") == 1


def test_a_restarted_agent_adopts_running_guests(bench: Bench) -> None:
    bench.restart()
    bench.settle()
    assert bench.host.running() == {"i-1"}
    assert bench.report()[MACHINE].condition == READY
    assert bench.host.metadata.guests["vpc-1"]["i-1"].instance_id == "i-1"
    _all_held(bench)


def test_a_host_reboot_is_repaired_without_a_controller(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(*make.launch("2")))
    bench.host.power_off_guest("i-2")
    bench.settle()
    bench.reboot()
    bench.settle()
    assert bench.host.running() == {"i-1"}
    assert bench.host.violations == []
    assert bench.host.world.objects.starts == {("i-1", 1): 2, ("i-2", 1): 1}


def test_terminate_leaves_nothing(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(gone=tuple(sender.resources)))
    assert bench.host.remains() == {}
    assert bench.host.violations == []
    reported = bench.report()
    assert {each.condition for each in reported.values()} == {ABSENT}
    assert bench.reached == 2


def test_a_guest_gets_a_short_grace_when_it_is_terminated(bench: Bench, sender: make.Sender) -> None:
    bench.host.hang_guest("i-1")
    bench.settle(sender.change(gone=(MACHINE, VOLUME, INTERFACE)), seconds=4.9)
    assert bench.host.running() == {"i-1"}
    assert "volumes" in bench.host.remains()
    bench.settle(seconds=0.2)
    assert bench.host.running() == set()
    assert set(bench.host.remains()) == {"networks", "firewalls", "dhcps", "metadata", "bases"}
    assert bench.host.violations == []


def test_forced_termination_gives_no_grace(bench: Bench, sender: make.Sender) -> None:
    bench.host.hang_guest("i-1")
    bench.settle(sender.change(gone=(MACHINE,), force=True), seconds=0)
    assert bench.host.running() == set()


def test_a_failing_start_is_reported_and_tried_again_later_and_later(sender: make.Sender) -> None:
    bench = Bench()
    bench.host.fail_next("machines.start", MachineError("no such CPU"), times=5)
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True), seconds=0)
    reported = bench.report()[MACHINE]
    assert (reported.condition, reported.error) == (FAILED, "no such CPU")
    assert bench.reached == 1  # what failed was reported
    bench.settle(seconds=5)
    tries = [name for name, _ in bench.calls].count("machines.start")
    assert 3 <= tries <= 4
    bench.settle(seconds=60)
    assert bench.report()[MACHINE].condition == READY
    assert bench.report()[MACHINE].error == ""


def test_one_failure_does_not_hold_up_others(sender: make.Sender) -> None:
    bench = Bench()
    bench.host.fail_next("volumes.ensure", DiskFullError("no room"), times=1000)
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True), seconds=0)
    bench.host.fail_next("volumes.ensure", DiskFullError("no room"), times=0)
    reported = bench.report()
    assert reported[VOLUME].condition == FAILED
    assert (reported[MACHINE].condition, reported[MACHINE].error) == (FAILED, "vol-1: no room")
    assert reported[INTERFACE].condition == READY


def test_a_failing_vpc_does_not_hold_up_another(sender: make.Sender) -> None:
    bench = Bench()
    bench.host.fail_next("network.apply", NetworkError("no VXLAN"), times=1)
    first = [make.host_network(), *make.launch("1"), *make.launch("2", vpc_id="vpc-2")]
    bench.settle(sender.change(*first, full=True), seconds=0)
    assert len(bench.host.running()) == 1
    failed = {key.id for key, each in bench.report().items() if each.condition == FAILED}
    assert failed in ({"vpc-1", "subnet-1", "sg-1", "eni-1", "i-1"}, {"vpc-2", "subnet-2", "sg-2", "eni-2", "i-2"})
    bench.settle(seconds=5)
    assert bench.host.running() == {"i-1", "i-2"}


def test_the_removal_of_a_failing_part_of_a_vpc_is_reported(sender: make.Sender) -> None:
    """The controller keeps what fails until it hears otherwise; of other parts it asks for no word."""
    bench = Bench()
    bench.host.fail_next("network.apply", NetworkError("no VXLAN"), times=1)
    bench.settle(sender.change(make.host_network(), *make.launch(), make.group("sg-2"), full=True), seconds=0)
    assert bench.report()[GROUP].condition == FAILED
    bench.settle(sender.change(gone=(Key(pb.KIND_SECURITY_GROUP, "sg-2"),)))
    bench.report()
    reported = [each for each in bench.reported if each.id == "sg-2"]
    assert [each.condition for each in reported] == [FAILED, ABSENT]
    bench.reconciler.drop_tombstones([(Key(pb.KIND_SECURITY_GROUP, "sg-2"), reported[-1].revision)])
    bench.settle(sender.change(make.group("sg-3")))
    bench.settle(sender.change(gone=(Key(pb.KIND_SECURITY_GROUP, "sg-3"),)))
    bench.report()
    assert [each for each in bench.reported if each.id == "sg-3"] == []
    assert bench.reconciler.wanted.tombstones == {}


def test_the_machine_goes_on_at_once_when_what_it_needs_is_mended(sender: make.Sender) -> None:
    bench = Bench()
    parts = make.launch()
    bench.settle(sender.change(make.host_network(), *(each for each in parts if each.id != "vol-1"), full=True))
    assert bench.report()[MACHINE].condition == PENDING
    assert bench.report()[MACHINE].error == "vol-1 is not known here"
    bench.settle(sender.change(make.volume("vol-1")), seconds=0)
    assert bench.host.running() == {"i-1"}


def test_what_moved_while_a_machine_was_looked_at_is_not_missed(sender: make.Sender) -> None:
    bench = Bench()
    bench.tell(sender.change(make.host_network(), *make.launch(), full=True))
    begun: dict[int, Work] = {}
    while len(begun) < 4:  # work on the machine began before what it waits for is there
        while (work := bench.reconciler.begin()) is not None:
            begun[work.unit.kind] = work
        if pb.KIND_MACHINE in begun and pb.KIND_VPC in begun:
            break
        for kind in (pb.KIND_HOST_NETWORK, pb.KIND_BASE):
            if kind in begun:
                first = begun.pop(kind)
                bench.reconciler.finish(first, perform(first))
    machine = begun.pop(pb.KIND_MACHINE)
    for other in begun.values():
        bench.reconciler.finish(other, perform(other))
    bench.reconciler.finish(machine, perform(machine))
    bench.work()
    assert bench.clock.now() == 0
    assert bench.host.running() == {"i-1"}


def test_while_libvirt_is_away_nothing_is_said_of_guests(bench: Bench, sender: make.Sender) -> None:
    before = len(bench.reported)
    bench.report()
    bench.host.machines.set_away(away=True)
    bench.settle(seconds=60)
    assert [each for each in bench.reported[before:] if each.id == "i-1" and each.condition != READY] == []
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)), seconds=60)
    assert bench.report()[MACHINE].condition != READY or bench.report()[MACHINE].revision == 1
    bench.host.machines.set_away(away=False)
    bench.settle(seconds=60)
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF


def test_a_launch_while_libvirt_is_away_is_pending(bench: Bench, sender: make.Sender) -> None:
    bench.host.fail_next("machines.start", MachinesUnavailableError("away"))
    bench.settle(sender.change(*make.launch("2")), seconds=0)
    assert bench.report()[Key(pb.KIND_MACHINE, "i-2")].condition == PENDING
    bench.settle()
    assert bench.host.running() == {"i-1", "i-2"}


def test_a_volume_is_plugged_in_and_out(bench: Bench, sender: make.Sender) -> None:
    both = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    bench.settle(sender.change(make.volume("vol-2", base_id=""), both))
    assert [disk.id for disk in bench.host.world.objects.guests["i-1"].spec.disks] == ["vol-1", "vol-2"]
    bench.settle(sender.change(_machine(), gone=(Key(pb.KIND_VOLUME, "vol-2"),)))
    assert [disk.id for disk in bench.host.world.objects.guests["i-1"].spec.disks] == ["vol-1"]
    assert bench.host.volumes.present() == {"vol-1"}
    _all_held(bench)


def test_a_volume_is_not_pulled_from_a_guest_that_cannot_release_it(bench: Bench, sender: make.Sender) -> None:
    both = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    bench.settle(sender.change(make.volume("vol-2", base_id=""), both))
    bench.host.fail_next("machines.update", MachineError("device is busy"), times=3)
    bench.settle(sender.change(_machine(), gone=(Key(pb.KIND_VOLUME, "vol-2"),)), seconds=0)
    assert bench.host.volumes.present() == {"vol-1", "vol-2"}
    bench.restart()
    bench.settle()
    assert bench.host.volumes.present() == {"vol-1"}
    _all_held(bench)


def test_a_guest_that_does_not_release_is_reported_and_asked_again(bench: Bench, sender: make.Sender) -> None:
    both = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    bench.settle(sender.change(make.volume("vol-2", base_id=""), both))
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-2"]
    bench.host.keep_disks("i-1", keeps=True)
    bench.settle(sender.change(make.volume("vol-3", base_id=""), _machine(volumes=("vol-1", "vol-3"))), seconds=7)
    reported = bench.report()[MACHINE]
    assert (reported.condition, reported.error) == (PENDING, "the guest has not released vol-2 yet")
    assert reported.machine.volume_ids == ["vol-1", "vol-2", "vol-3"]
    bench.host.keep_disks("i-1", keeps=False)
    bench.settle(seconds=7)
    assert bench.report()[MACHINE].condition == READY
    assert bench.machine("i-1").volume_ids == ["vol-1", "vol-3"]
    _all_held(bench)


def test_a_volume_that_cannot_be_made_does_not_delay_a_detachment(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(make.volume("vol-2", base_id=""), _machine(volumes=("vol-1", "vol-2"))))
    bench.host.fail_next("volumes.ensure", VolumeError("the disk is broken"), times=1000)
    bench.settle(sender.change(make.volume("vol-3", base_id=""), _machine(volumes=("vol-1", "vol-3"))), seconds=7)
    reported = bench.report()[MACHINE]
    assert (reported.condition, reported.error) == (FAILED, "vol-3: the disk is broken")
    assert reported.machine.volume_ids == ["vol-1"]
    _all_held(bench)


def test_a_volumes_size_is_reported_before_and_after_it_has_grown(bench: Bench, sender: make.Sender) -> None:
    volume = make.volume("vol-1")
    assert bench.report()[Key(pb.KIND_VOLUME, "vol-1")].volume.size == volume.volume.size
    volume.volume.size *= 2
    bench.settle(sender.change(volume))
    assert bench.report()[Key(pb.KIND_VOLUME, "vol-1")].volume.size == volume.volume.size
    _all_held(bench)


def test_a_guest_whose_volume_is_full_waits_and_goes_on(bench: Bench, sender: make.Sender) -> None:
    volume = Key(pb.KIND_VOLUME, "vol-1")
    assert not bench.report()[volume].volume.full
    bench.host.fill_volume("i-1", "vol-1", full=True)
    bench.settle(seconds=12)
    reported = bench.report()[MACHINE]
    assert (reported.condition, reported.machine.power) == (PENDING, host_pb2.MACHINE_POWER_PAUSED)
    assert reported.error == "the guest is paused until there is room for what it wrote to vol-1"
    assert bench.report()[volume].volume.full
    bench.host.fill_volume("i-1", "vol-1", full=False)
    bench.settle(seconds=7)
    assert (bench.report()[MACHINE].condition, bench.machine("i-1").power) == (READY, host_pb2.MACHINE_POWER_RUNNING)
    assert not bench.report()[volume].volume.full
    _all_held(bench)


def _with_store(**changes: object) -> pb.Resource:
    machine = _machine(**changes)
    store = pb.InstanceStoreDisk(index=0, size=4 << 30, virtual_name="ephemeral0")
    machine.machine.disks.append(pb.MachineDisk(device_name="/dev/sdb", instance_store=store))
    return machine


def test_an_instance_store_comes_with_a_start_and_goes_with_its_end(bench: Bench, sender: make.Sender) -> None:
    stores = bench.host.world.objects.stores
    bench.settle(sender.change(_with_store(power=pb.POWER_STOPPED)))
    assert not stores
    bench.settle(sender.change(_with_store(start_count=2)))
    assert [disk.id for disk in bench.host.world.objects.guests["i-1"].spec.disks] == ["vol-1", "i-1-store0"]
    assert (stores.keys(), bench.machine("i-1").volume_ids) == ({"i-1-store0"}, ["vol-1"])
    bench.host.reboot()
    bench.restart()
    bench.settle()
    assert (stores.keys(), bench.host.running()) == ({"i-1-store0"}, {"i-1"})
    bench.settle(sender.change(_with_store(start_count=2, power=pb.POWER_STOPPED)))
    assert not stores
    bench.settle(sender.change(_with_store(start_count=3)))
    bench.settle(sender.change(gone=(MACHINE,)))
    assert not stores
    assert bench.host.violations == []


def test_an_instance_store_ends_with_a_guest_that_powers_itself_off(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_with_store(power=pb.POWER_STOPPED)))
    bench.settle(sender.change(_with_store(start_count=2)))
    assert bench.host.world.objects.stores
    bench.host.power_off_guest("i-1")
    bench.settle()
    assert not bench.host.world.objects.stores


def test_a_plug_that_failed_after_its_work_is_undone_when_it_is_no_longer_wanted(
    bench: Bench, sender: make.Sender
) -> None:
    bench.host.fail_next("machines.update", MachineError("no answer"), after=True)
    both = make.machine("i-1", volumes=("vol-1", "vol-2"), interfaces=("eni-1",))
    bench.settle(sender.change(make.volume("vol-2", base_id=""), both), seconds=0)
    bench.settle(sender.change(_machine(), gone=(Key(pb.KIND_VOLUME, "vol-2"),)))
    assert [disk.id for disk in bench.host.world.objects.guests["i-1"].spec.disks] == ["vol-1"]
    assert bench.host.volumes.present() == {"vol-1"}
    _all_held(bench)


def test_an_interface_stays_until_its_guest_released_it(bench: Bench, sender: make.Sender) -> None:
    second = make.interface("eni-2", "i-1", subnet_id="subnet-2", group_id="sg-2", number=9)
    parts = [make.subnet("subnet-2", number=1), make.group("sg-2"), second]
    bench.settle(sender.change(*parts, make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1", "eni-2"))))
    bench.host.fail_next("machines.update", MachineError("device is busy"), times=2)
    gone = (Key(pb.KIND_INTERFACE, "eni-2"), Key(pb.KIND_SUBNET, "subnet-2"), Key(pb.KIND_SECURITY_GROUP, "sg-2"))
    bench.settle(sender.change(_machine(), gone=gone), seconds=0)
    reported = bench.report()
    assert reported[gone[0]].condition != ABSENT
    assert all(key in bench.reconciler.wanted.tombstones for key in gone)
    bench.settle()
    assert bench.report()[gone[0]].condition == ABSENT
    assert not any(key in bench.reconciler.wanted.tombstones for key in gone[1:])
    assert [each.id for each in bench.host.world.objects.networks["vpc-1"].interfaces] == ["eni-1"]
    assert [each.id for each in bench.host.world.objects.networks["vpc-1"].subnets] == ["subnet-1"]
    _all_held(bench)


def test_a_volume_grows_under_its_guest(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(make.volume("vol-1", size=2 * make.GIB)))
    assert bench.host.volumes.size("vol-1") == 2 * make.GIB
    assert ("machines.resize_disk", "i-1") in bench.calls
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)))
    bench.settle(sender.change(make.volume("vol-1", size=3 * make.GIB)))
    assert bench.host.volumes.size("vol-1") == 3 * make.GIB
    _all_held(bench)


def test_a_new_limit_of_a_volume_reaches_its_guest(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(make.volume("vol-1", iops=500)))
    assert bench.host.world.objects.guests["i-1"].spec.disks[0].iops == 500


def test_metadata_follows_tags_and_public_addresses(bench: Bench, sender: make.Sender) -> None:
    changed = _machine()
    changed.machine.metadata.tags["Name"] = "web"
    bench.settle(sender.change(changed, make.interface("eni-1", "i-1", public="198.18.0.9")))
    guest = bench.host.metadata.guests["vpc-1"]["i-1"]
    assert dict(guest.tags) == {"Name": "web"}
    assert guest.interfaces[0].public_addresses[0].public_address == "198.18.0.9"
    _all_held(bench)


def test_strays_are_removed_but_never_before_a_state_is_loaded(bench: Bench, sender: make.Sender) -> None:
    bench.store = MemoryStore()
    bench.restart()
    bench.sweep()
    assert bench.host.running() == {"i-1"}
    bench.settle(make.Sender().change(make.host_network(), full=True))
    bench.sweep()
    assert bench.host.remains() == {}
    assert bench.host.violations == []


def test_a_full_state_removes_what_it_does_not_name(bench: Bench, sender: make.Sender) -> None:
    other = make.Sender()
    other.revision = sender.revision
    bench.settle(other.change(make.host_network(), *make.launch("2"), full=True))
    assert bench.host.running() == {"i-2"}
    assert bench.host.volumes.present() == {"vol-2"}
    reported = bench.report()
    assert reported[MACHINE].condition == reported[VOLUME].condition == reported[INTERFACE].condition == ABSENT


def test_a_vpc_may_come_back(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(gone=tuple(key for key in sender.resources if key != HOST_NETWORK)))
    bench.settle(sender.change(*make.launch("2")))
    assert bench.host.running() == {"i-2"}
    reported = bench.report()
    assert reported[VPC].condition == reported[IMAGE].condition == READY
    assert SUBNET not in reported
    assert GROUP not in reported
    _all_held(bench)


def test_an_unexpected_error_is_contained(sender: make.Sender, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.host.fail_next("volumes.ensure", ZeroDivisionError("oops"), times=1)
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True), seconds=0)
    assert bench.report()[VOLUME].error == "internal error: ZeroDivisionError('oops')"
    assert "unit_broke" in caplog.text
    bench.settle()
    assert bench.host.running() == {"i-1"}


def test_an_error_whose_words_are_no_text_is_reported_as_any_other(sender: make.Sender) -> None:
    bench = Bench()
    bench.host.world.fail_next("volumes.ensure", VolumeError("no such file: /pool/\udcff\0"), times=1)
    bench.settle(sender.change(*make.launch("1"), make.host_network(), full=True), seconds=0.0)
    volume = bench.report()[Key(pb.KIND_VOLUME, "vol-1")]
    assert (volume.condition, volume.error) == (host_pb2.CONDITION_FAILED, "no such file: /pool/\\udcff\\0")
    bench.settle()
    assert bench.report()[Key(pb.KIND_MACHINE, "i-1")].condition == host_pb2.CONDITION_READY


def test_a_status_that_cannot_be_made_holds_up_no_other(
    sender: make.Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    put, broken = Reports.put, Key(pb.KIND_VOLUME, "vol-1")

    def refuse(reports: Reports, new: host_pb2.ResourceStatus) -> None:
        if Key(new.kind, new.id) == broken:
            raise ValueError("a mistake of ours")
        put(reports, new)

    with monkeypatch.context() as patch:
        patch.setattr(Reports, "put", refuse)
        message = sender.change(*make.launch("1"), make.volume("vol-9"), make.host_network(), full=True)
        bench.settle(message, seconds=30.0)
        assert bench.report()[Key(pb.KIND_VOLUME, "vol-9")].condition == host_pb2.CONDITION_READY
        assert broken not in bench.report()
        assert "unit_broke" in caplog.text
    bench.settle()  # it is worked at again, by itself
    assert bench.report()[broken].condition == host_pb2.CONDITION_READY


def test_statuses_are_repeated_for_a_new_session(bench: Bench, sender: make.Sender) -> None:
    first = bench.report()
    bench.reported.clear()
    assert bench.report() == {}
    bench.reconciler.reports.resend_all()
    assert bench.report() == first


def test_tombstones_known_to_the_controller_are_dropped(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(gone=(MACHINE, VOLUME)))
    bench.report()
    bench.restart()
    assert bench.report()[MACHINE].condition == ABSENT
    bench.reconciler.drop_tombstones([(MACHINE, 2), (VOLUME, 1)])
    bench.restart()
    bench.reported.clear()
    assert MACHINE not in bench.report()
    assert bench.report()[VOLUME].condition == ABSENT  # another revision of it was sent


def test_durations_of_minutes_end_too() -> None:
    bench = Bench(durations=Durations(shut_down=120, reboot=60))
    sender = make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    bench.settle(sender.change(_machine(power=pb.POWER_STOPPED)))
    bench.settle(sender.change(_machine(start_count=2)))
    bench.settle(sender.change(gone=tuple(sender.resources)))
    assert bench.host.remains() == {}


def test_guests_get_the_mtu_that_fits_between_hosts(bench: Bench, sender: make.Sender) -> None:
    def mtus() -> tuple[int, int]:
        objects = bench.host.world.objects
        return objects.networks["vpc-1"].mtu, objects.dhcps["vpc-1"].mtu

    bench.host.subsystems.network.overlay_mtu = 1450  # type: ignore[attr-defined]  # of simulated hosts
    other = make.host_network()
    bench.settle(sender.change(other))
    assert mtus() == (1500, 1500)  # there is no other host
    other.host_network.underlay_addresses.append("192.0.2.2")
    bench.settle(sender.change(other))
    assert mtus() == (1500, 1450)
    _all_held(bench)

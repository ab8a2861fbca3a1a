"""A root volume is replaced: what each step of a task writes, what a host is sent, and how a failure ends."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostError, Instance, ReplaceRootVolumeTask, Snapshot, SnapshotDamage, Tag, Volume
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.instances import replace_root_volume_tasks, root_replacement, volume_attachments
from stead_controller.resources.instances.replace_root_volume_tasks import NewTask
from stead_controller.resources.instances.root_replacement import Step
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.storage import volume_life
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.life import Life
from tests.support.rows import NOW

PATIENCE = timedelta(minutes=5)
LATE = NOW + PATIENCE
NEWEST = 1 << 40  # a revision above all others
RUNNING, OFF = pb.MACHINE_POWER_RUNNING, pb.MACHINE_POWER_OFF


class Replacing:
    """An instance whose root volume is replaced, step by step."""

    def __init__(self, life: Life) -> None:
        self.life = life
        [self.instance_id] = life.launch()
        self.old = self.root
        self.boots()
        self.task_id = ""

    @property
    def instance(self) -> Instance:
        found: Instance = self.life.instance(self.instance_id)
        return found

    @property
    def task(self) -> ReplaceRootVolumeTask:
        found: ReplaceRootVolumeTask = self.life.run(lambda tx: tx.session.get_one(ReplaceRootVolumeTask, self.task_id))
        return found

    @property
    def new(self) -> str:
        return self.task.new_volume_id

    @property
    def root(self) -> str:
        """The volume from which the machine is to boot."""
        disks = self.life.wanted()[0][self.instance_id].machine.disks
        return str(disks[0].volume_id)

    def begin(self, **changes: Any) -> None:
        asked = NewTask(Repeatable("CreateReplaceRootVolumeTask", "", ""), self.instance_id, **changes)
        create = replace_root_volume_tasks.create
        self.task_id = self.life.run(create, self.life.caller, self.life.world.cloud, asked, NOW)

    def step(self, step: Any, now: Any = NOW) -> Step:
        done: Step = self.life.run(step, self.task_id, now, PATIENCE)
        return done

    def exchange(self) -> None:
        self.is_made()
        assert self.step(root_replacement.exchange) is Step.WATCH

    def is_made(self) -> None:
        """The host has made the new volume."""
        volume = pb.VolumeStatus(size=1)
        self.life.report(desired.KIND_VOLUME, self.new, revision=NEWEST, volume=volume)

    def boots(self, power: Any = RUNNING, condition: Any = pb.CONDITION_READY, error: str = "", start: int = 0) -> None:
        """The machine is as the host was last sent it."""
        has = [self.root] if power == RUNNING else []
        machine = pb.MachineStatus(
            power=power,
            start_count=start or self.instance.start_count,
            volume_ids=has,
            off_reason=pb.OFF_REASON_ASKED if power == OFF else pb.OFF_REASON_UNSPECIFIED,
        )
        self.life.report(
            desired.KIND_MACHINE, self.instance_id, condition, revision=NEWEST, machine=machine, error=error
        )

    def breaks(self) -> None:
        """The host cannot start it."""
        self.boots(OFF, pb.CONDITION_FAILED, "QEMU said no", self.instance.start_count - 1)

    def volume(self, volume_id: str) -> Volume | None:
        found: Volume | None = self.life.run(lambda tx: tx.session.get(Volume, volume_id))
        return found

    def state_of(self, volume_id: str) -> tuple[str, str | None]:
        found = self.volume(volume_id)
        assert found is not None
        return found.state, found.attachment_state

    def ended(self) -> tuple[str, str]:
        task = self.task
        assert (task.completed is None) == (task.state in root_replacement.ACTIVE)
        return task.state, task.reason


@pytest.fixture
def replacing(life: Life) -> Replacing:
    return Replacing(life)


def test_the_guest_runs_on_until_the_new_volume_is_made(replacing: Replacing) -> None:
    replacing.begin()
    assert replacing.step(root_replacement.exchange) is Step.WAIT
    assert replacing.state_of(replacing.new) == ("creating", None)
    assert (replacing.root, replacing.instance.start_count, replacing.task.state) == (replacing.old, 1, "pending")
    resources, _ = replacing.life.wanted()
    assert resources[replacing.new].volume.base_id == replacing.task.snapshot_id
    replacing.is_made()
    assert replacing.state_of(replacing.new) == ("available", None)
    assert replacing.step(root_replacement.exchange) is Step.WATCH
    machine = replacing.life.wanted()[0][replacing.instance_id].machine
    assert (machine.power, machine.start_count, machine.stores_since) == (desired.POWER_RUNNING, 2, 1)
    assert [disk.volume_id for disk in machine.disks] == [replacing.new]
    assert [disk.device_name for disk in machine.disks] == [replacing.instance.root_device_name]
    assert (replacing.instance.state, replacing.task.state) == ("running", "in-progress")
    assert replacing.state_of(replacing.old) == ("in-use", "detaching")
    assert replacing.state_of(replacing.new) == ("in-use", "attaching")


def test_each_step_may_be_repeated(replacing: Replacing) -> None:
    replacing.begin()
    replacing.exchange()
    assert replacing.step(root_replacement.exchange) is Step.WATCH
    assert replacing.instance.start_count == 2
    replacing.boots()
    assert [replacing.step(root_replacement.watch) for _ in range(2)] == [Step.CLEAN] * 2
    assert replacing.step(root_replacement.exchange) is Step.CLEAN
    assert replacing.step(root_replacement.restore) is Step.CLEAN
    assert replacing.ended() == ("succeeded", "")
    replacing.life.run(lambda tx: tx.session.delete(tx.session.get_one(ReplaceRootVolumeTask, replacing.task_id)))
    steps = (root_replacement.exchange, root_replacement.watch, root_replacement.restore, root_replacement.clean)
    assert {replacing.step(each) for each in steps} == {Step.OVER}


@pytest.mark.parametrize("ends", [True, False])
def test_the_new_volume_takes_the_place_of_the_old_one(replacing: Replacing, *, ends: bool) -> None:
    def set_it(tx: Any) -> None:
        tx.session.get_one(Volume, replacing.old).delete_on_termination = ends

    replacing.life.run(set_it)
    replacing.begin()
    replacing.exchange()
    replacing.boots(RUNNING, pb.CONDITION_PENDING, start=1)  # the guest shuts down
    assert replacing.step(root_replacement.watch, LATE) is Step.WAIT
    replacing.boots()
    assert replacing.step(root_replacement.watch) is Step.CLEAN
    assert replacing.ended() == ("succeeded", "")
    new = replacing.volume(replacing.new)
    assert new is not None
    assert (new.attachment_state, new.delete_on_termination) == ("attached", ends)
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.old) == ("available", None)


def test_another_root_volume_gives_no_credits_and_takes_none(replacing: Replacing) -> None:
    """A start of T2 would do both."""

    def change(tx: Any) -> None:
        mine = tx.session.get_one(Instance, replacing.instance_id)
        mine.instance_type, mine.cpu_credits, mine.saved_credits = "t2.micro", "standard", 7

    replacing.life.run(change)
    replacing.begin()
    replacing.exchange()
    assert (replacing.instance.saved_credits, replacing.instance.launch_credits) == (7, 0)


def test_a_replaced_volume_is_deleted_if_so_requested(replacing: Replacing) -> None:
    replacing.begin(delete_replaced=True)
    replacing.exchange()
    replacing.boots()
    assert replacing.step(root_replacement.watch) is Step.CLEAN
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.old) == ("deleting", None)
    assert replacing.old in replacing.life.wanted()[1]
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.new) == ("in-use", "attached")


def test_a_replaced_volume_that_is_not_released_yet_is_waited_for(replacing: Replacing) -> None:
    replacing.begin(delete_replaced=True)
    replacing.exchange()
    replacing.boots()
    replacing.step(root_replacement.watch)

    def change(tx: Any, instance_id: str | None, attachment_state: str | None) -> None:
        old = tx.session.get_one(Volume, replacing.old)
        old.instance_id, old.attachment_state = instance_id, attachment_state

    for state in volume_attachments.DETACHING:
        replacing.life.run(change, replacing.instance_id, state)
        assert replacing.step(root_replacement.clean) is Step.WAIT
    for instance_id, state in (("i-00000000000000001", "detaching"), (replacing.instance_id, "attached")):
        replacing.life.run(change, instance_id, state)  # its user has attached it again
        assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.old)[0] != "deleting"


def test_an_instance_that_stops_before_keeps_its_root_volume(replacing: Replacing) -> None:
    replacing.begin()
    replacing.is_made()
    replacing.life.run(stop_instances, replacing.life.caller, [replacing.instance_id], NOW)
    assert replacing.step(root_replacement.exchange) is Step.CLEAN
    assert replacing.ended() == ("failed", "The instance does not run with its root volume any more.")
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.new) == ("deleting", None)
    assert replacing.root == replacing.old


def test_a_new_volume_that_was_taken_away_ends_the_task(replacing: Replacing) -> None:
    replacing.begin()
    replacing.is_made()
    replacing.life.run(volume_life.delete, replacing.life.caller, replacing.new, NOW)
    assert replacing.step(root_replacement.exchange) is Step.CLEAN
    assert replacing.ended() == ("failed", "The new volume is not available any more.")
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert (replacing.root, replacing.instance.start_count) == (replacing.old, 1)


def test_a_new_volume_that_another_instance_has_is_left_alone(replacing: Replacing) -> None:
    replacing.begin()
    replacing.is_made()
    [other] = replacing.life.launch()
    replacing.life.is_running(other)
    attach = volume_attachments.attach
    caller, cloud = replacing.life.caller, replacing.life.world.cloud
    replacing.life.run(attach, caller, cloud, replacing.new, other, "/dev/sdf", NOW)
    assert replacing.step(root_replacement.exchange) is Step.CLEAN
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.ended()[0] == "failed"
    assert replacing.state_of(replacing.new) == ("in-use", "attaching")


@pytest.mark.parametrize("of_base", [True, False])
def test_a_volume_that_its_host_cannot_make_is_given_up_after_a_while(replacing: Replacing, *, of_base: bool) -> None:
    replacing.begin()
    assert replacing.step(root_replacement.exchange, LATE) is Step.WAIT  # without an error a host may take its time
    kind, subject = desired.KIND_VOLUME, replacing.new
    if of_base:
        kind, subject = desired.KIND_BASE, str(replacing.task.snapshot_id)
    replacing.life.report(kind, subject, pb.CONDITION_FAILED, error="no room")
    assert replacing.step(root_replacement.exchange, LATE - timedelta(seconds=1)) is Step.WAIT
    assert replacing.step(root_replacement.exchange, LATE) is Step.CLEAN
    assert replacing.ended() == ("failed", "The new volume could not be made.")
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.new) == ("deleting", None)
    assert (replacing.root, replacing.instance.state) == (replacing.old, "running")


def test_anothers_error_does_not_count(replacing: Replacing) -> None:
    replacing.begin()
    other, new = rows.host(hostname="box2"), replacing.new

    def add(tx: Any) -> None:
        tx.session.add(other)
        tx.session.flush()
        for host_id, subject in ((other.id, new), (replacing.life.world.host_id, replacing.old)):
            kind = int(desired.KIND_VOLUME)
            tx.session.add(HostError(host_id=host_id, kind=kind, resource_id=subject, error="no", since=NOW))

    replacing.life.run(add)
    assert replacing.step(root_replacement.exchange, LATE) is Step.WAIT


def test_a_volume_of_a_damaged_snapshot_is_given_up_at_once(replacing: Replacing) -> None:
    replacing.begin()
    snapshot_id = str(replacing.task.snapshot_id)
    replacing.life.run(lambda tx: tx.session.add(SnapshotDamage(snapshot_id=snapshot_id, digest=bytes(32), since=NOW)))
    replacing.life.report(desired.KIND_BASE, snapshot_id, pb.CONDITION_FAILED, error="damaged")
    assert replacing.step(root_replacement.exchange) is Step.CLEAN
    assert replacing.ended() == ("failed", "The new volume could not be made.")


def test_a_host_that_cannot_start_it_gets_the_old_volume_back(replacing: Replacing) -> None:
    replacing.begin()
    replacing.exchange()
    replacing.breaks()
    assert replacing.step(root_replacement.watch, LATE - timedelta(seconds=1)) is Step.WAIT
    assert replacing.step(root_replacement.watch, LATE) is Step.RESTORE
    assert replacing.step(root_replacement.watch, LATE) is Step.RESTORE  # repeated
    assert (replacing.task.state, replacing.task.reason) == ("failing", "QEMU said no")
    machine = replacing.life.wanted()[0][replacing.instance_id].machine
    assert (machine.start_count, machine.stores_since, replacing.root) == (3, 1, replacing.old)
    assert (replacing.instance.state, replacing.instance.host_error) == ("running", "")
    assert replacing.step(root_replacement.restore, LATE + PATIENCE) is Step.WAIT
    replacing.boots()
    assert replacing.step(root_replacement.restore) is Step.CLEAN
    assert replacing.ended() == ("failed", "QEMU said no")
    old = replacing.volume(replacing.old)
    assert old is not None
    assert (old.attachment_state, old.delete_on_termination) == ("attached", True)
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.new) == ("deleting", None)
    replacing.begin()  # another attempt


def test_an_old_volume_that_was_released_is_attached_again(replacing: Replacing) -> None:
    replacing.begin()
    replacing.exchange()

    def release(tx: Any) -> None:
        volume_attachments.settle_detached(tx, tx.session.get_one(Volume, replacing.old), NOW)

    replacing.life.run(release)
    replacing.breaks()
    assert replacing.step(root_replacement.watch, LATE) is Step.RESTORE
    assert replacing.root == replacing.old
    assert replacing.state_of(replacing.old) == ("in-use", "attaching")


@pytest.mark.parametrize("state", ["deleting", "elsewhere", "gone"])
def test_without_the_old_volume_only_the_new_one_is_left(replacing: Replacing, state: str) -> None:
    replacing.begin()
    replacing.exchange()

    def take_away(tx: Any) -> None:
        old = tx.session.get_one(Volume, replacing.old)
        if state == "gone":
            tx.session.delete(old)
        elif state == "elsewhere":
            old.instance_id = "i-00000000000000001"
        else:
            old.instance_id, old.state = None, "deleting"

    replacing.life.run(take_away)
    replacing.breaks()
    assert replacing.step(root_replacement.watch, LATE) is Step.WAIT
    assert (replacing.task.state, replacing.root) == ("in-progress", replacing.new)


@pytest.mark.parametrize("step", [root_replacement.watch, root_replacement.restore])
def test_a_terminated_instance_ends_the_task(replacing: Replacing, step: Any) -> None:
    replacing.begin()
    replacing.exchange()
    if step is root_replacement.restore:
        replacing.breaks()
        replacing.step(root_replacement.watch, LATE)
    replacing.life.run(terminate_instances, replacing.life.caller, [replacing.instance_id], NOW)
    assert replacing.step(step) is Step.CLEAN
    assert replacing.ended()[0] == "failed"
    assert replacing.step(root_replacement.clean) in (Step.WAIT, Step.OVER)
    replacing.life.is_absent(desired.KIND_MACHINE, replacing.instance_id)
    for volume_id in (replacing.old, replacing.new):
        assert replacing.state_of(volume_id)[0] == "deleting"
    assert replacing.step(root_replacement.clean) is Step.OVER


def test_a_stop_meanwhile_leaves_the_new_volume(replacing: Replacing) -> None:
    replacing.begin()
    replacing.exchange()
    replacing.life.run(stop_instances, replacing.life.caller, [replacing.instance_id], NOW)
    replacing.boots(OFF, start=1)
    assert replacing.instance.state == "stopped"
    assert replacing.step(root_replacement.watch) is Step.CLEAN
    assert replacing.ended() == ("succeeded", "")
    assert replacing.state_of(replacing.old) == ("available", None)
    caller, cloud = replacing.life.caller, replacing.life.world.cloud
    replacing.life.run(start_instances, caller, cloud, [replacing.instance_id], NOW)
    machine = replacing.life.wanted()[0][replacing.instance_id].machine
    assert (machine.start_count, machine.stores_since, replacing.root) == (3, 0, replacing.new)


@pytest.mark.parametrize("lost", ["new", "old"])
def test_a_root_volume_that_is_taken_from_a_stopped_instance_is_missed(replacing: Replacing, lost: str) -> None:
    replacing.begin()
    replacing.exchange()
    step = root_replacement.watch
    if lost == "old":
        replacing.breaks()
        replacing.step(root_replacement.watch, LATE)
        step = root_replacement.restore
    caller = replacing.life.caller
    replacing.life.run(stop_instances, caller, [replacing.instance_id], NOW)
    replacing.life.run(lambda tx: setattr(tx.session.get_one(Instance, replacing.instance_id), "state", "stopped"))
    volume_id = replacing.new if lost == "new" else replacing.old
    replacing.life.run(volume_attachments.detach, caller, volume_id)
    assert replacing.step(step) is Step.CLEAN
    assert replacing.ended()[0] == "failed-detached"
    assert replacing.state_of(volume_id) == ("in-use", "detaching")


def test_the_instance_has_the_image_of_its_root_volume(replacing: Replacing) -> None:
    before = replacing.instance.image_id
    image = rows.image(account_id=replacing.life.caller.account_id, public=False, virtual_size=9 << 30)

    def add(tx: Any) -> None:
        tx.session.add(image)
        tx.session.flush()
        tx.session.add_all([rows.image_device(image), rows.image_snapshot(image)])

    replacing.life.run(add)
    replacing.begin(image_id=image.id)
    assert replacing.instance.image_id == before
    replacing.exchange()
    assert replacing.instance.image_id == image.id
    assert replacing.life.wanted()[0][replacing.instance_id].machine.metadata.image_id == image.id
    replacing.breaks()
    replacing.step(root_replacement.watch, LATE)
    assert replacing.instance.image_id == before


def test_a_volume_of_the_users_own_is_not_deleted_after_a_failure(replacing: Replacing) -> None:
    free = rows.volume(replacing.instance, replacing.life.world, **FREE)
    replacing.life.run(lambda tx: tx.session.add(free))
    replacing.begin(volume_id=free.id)
    assert replacing.step(root_replacement.exchange) is Step.WATCH
    assert replacing.root == free.id
    replacing.breaks()
    replacing.step(root_replacement.watch, LATE)
    replacing.boots()
    assert replacing.step(root_replacement.restore) is Step.CLEAN
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(free.id) == ("available", None)


FREE: dict[str, Any] = {
    "instance_id": None,
    "device_name": None,
    "attachment_state": None,
    "attach_time": None,
    "attached_host_id": None,
    "state": "available",
    "delete_on_termination": False,
    "snapshot_id": None,
}


def test_a_volume_of_another_host_is_released_and_served(replacing: Replacing) -> None:
    """The home of the old root volume is another host than the instance's, and so is that of the new one."""
    there = rows.host(hostname="box2")

    def move(tx: Any) -> None:
        tx.session.add(there)
        tx.session.flush()
        old = tx.session.get_one(Volume, replacing.old)
        old.host_id, old.export_port = there.id, 62000

    replacing.life.run(move)
    free = rows.volume(replacing.instance, replacing.life.world, **FREE | {"host_id": there.id})
    replacing.life.run(lambda tx: tx.session.add(free))
    replacing.begin(volume_id=free.id, delete_replaced=True)
    replacing.step(root_replacement.exchange)
    resources, removals = replacing.life.wanted()
    assert resources[free.id].volume.remote.home_host_id == there.id
    assert replacing.old in removals
    replacing.boots()
    assert replacing.step(root_replacement.watch) is Step.CLEAN
    assert replacing.step(root_replacement.clean) is Step.WAIT
    replacing.life.report(desired.KIND_VOLUME, replacing.old, pb.CONDITION_ABSENT, revision=NEWEST)
    assert replacing.step(root_replacement.clean) is Step.OVER
    assert replacing.state_of(replacing.old)[0] == "deleting"


@pytest.mark.parametrize("until", ["pending", "in-progress", "failing", "succeeded"])
def test_a_task_that_takes_too_long_ends(replacing: Replacing, until: str) -> None:
    replacing.begin()
    replacing.is_made()
    if until != "pending":
        replacing.exchange()
    if until == "failing":
        replacing.breaks()
        replacing.step(root_replacement.watch, LATE)
    if until == "succeeded":
        replacing.boots()
        replacing.step(root_replacement.watch)
    assert replacing.task.state == until
    for _ in range(2):
        replacing.life.run(root_replacement.abandon, replacing.task_id, "It took too long.", NOW)
    if until == "succeeded":
        assert (replacing.ended(), replacing.root) == (("succeeded", ""), replacing.new)
        return
    assert (replacing.ended(), replacing.root) == (("failed", "It took too long."), replacing.old)
    assert replacing.instance.start_count == (1 if until == "pending" else 3)
    assert (replacing.state_of(replacing.new)[0] == "deleting") == (until == "pending")


def test_tasks_are_stored_as_long_as_their_instances(replacing: Replacing) -> None:
    replacing.begin(tags={"a": "b"})
    other = Replacing(replacing.life)
    other.begin(tags={"a": "b"})
    replacing.life.run(root_replacement.forget, [replacing.instance_id])
    tagged = replacing.life.run(lambda tx: list(tx.session.scalars(select(Tag.resource_id).where(Tag.key == "a"))))
    assert tagged == [other.task_id]
    assert replacing.life.run(lambda tx: list(tx.session.scalars(select(ReplaceRootVolumeTask.id)))) == [other.task_id]


def test_a_snapshot_is_not_needed_any_more(replacing: Replacing) -> None:
    """What the new volume is made of may be deleted when it is made: its home has the blocks."""
    replacing.begin()
    replacing.is_made()
    snapshot_id = replacing.task.snapshot_id
    replacing.life.run(lambda tx: tx.session.delete(tx.session.get_one(Snapshot, snapshot_id)))
    assert replacing.step(root_replacement.exchange) is Step.WATCH

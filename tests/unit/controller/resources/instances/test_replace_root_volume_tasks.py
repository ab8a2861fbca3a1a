"""What may replace a root volume, and what the new volume is like."""

from typing import Any

import pytest

from stead_controller.db.tables import (
    HostResource,
    Image,
    ImageBlockDevice,
    Instance,
    ReplaceRootVolumeTask,
    Snapshot,
    StoragePool,
    Volume,
    Workflow,
)
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    NoCapacity,
    NotFound,
    SteadError,
    Unsupported,
    WrongState,
)
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.instances import replace_root_volume_tasks, root_replacement
from stead_controller.resources.instances.replace_root_volume_tasks import NewTask
from stead_controller.resources.storage import ebs_encryption, volume_keys
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import GIB, NOW

FIRST = "snap-00000000000000001"
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


class Place:
    """A running instance with a root volume of 8 GiB that was made of the snapshot `FIRST`."""

    def __init__(self, run: Any, world: Any) -> None:
        self.run, self.world, self.caller = run, world, world.one.caller
        self.instance_id = run(lambda tx: rows.launch(tx, world, world.one).id)
        self.root = self.find(Volume, Volume.instance_id == self.instance_id).id
        self.snapshot(id=FIRST)
        self.set(Volume, self.root, snapshot_id=FIRST)

    def find(self, model: Any, *where: Any) -> Any:
        return self.run(lambda tx: tx.session.query(model).filter(*where).one())

    def set(self, model: Any, row_id: str, **values: Any) -> None:
        def change(tx: Any) -> None:
            for name, value in values.items():
                setattr(tx.session.get_one(model, row_id), name, value)

        self.run(change)

    def add(self, row: Any) -> str:
        self.run(lambda tx: tx.session.add(row))
        return str(row.id)

    def snapshot(self, **changes: Any) -> str:
        return self.add(rows.snapshot(self.caller.account_id, **changes))

    def image(self, size: int = 8, **changes: Any) -> str:
        values = {"account_id": self.caller.account_id, "public": False, "virtual_size": size * GIB}
        image = rows.image(**values | changes)
        self.add(image)
        self.add(rows.image_snapshot(image))
        self.run(lambda tx: tx.session.add(rows.image_device(image)))
        return str(image.id)

    def begin(self, token: str = "", **changes: Any) -> ReplaceRootVolumeTask:
        asked = NewTask(Repeatable("CreateReplaceRootVolumeTask", token, str(changes)), self.instance_id, **changes)
        made = self.run(replace_root_volume_tasks.create, self.caller, self.world.cloud, asked, NOW)
        task: ReplaceRootVolumeTask = self.find(ReplaceRootVolumeTask, ReplaceRootVolumeTask.id == made)
        return task

    def new(self, task: ReplaceRootVolumeTask) -> Volume:
        volume: Volume = self.find(Volume, Volume.id == task.new_volume_id)
        return volume

    def root_of(self, instance_id: str) -> str:
        return str(self.find(Volume, Volume.instance_id == instance_id).id)

    def done(self, task: ReplaceRootVolumeTask) -> None:
        """The task has succeeded: its new volume is the instance's root."""
        self.set(ReplaceRootVolumeTask, task.id, state="succeeded")
        old = self.find(Volume, Volume.id == task.old_volume_id)
        self.set(Volume, task.new_volume_id, instance_id=self.instance_id, device_name=old.device_name)
        self.set(Volume, task.new_volume_id, state="in-use", attachment_state="attached", host_id=self.world.host_id)
        self.set(Volume, task.old_volume_id, **FREE | {"snapshot_id": old.snapshot_id})


@pytest.fixture
def place(run: Any, world: Any) -> Place:
    return Place(run, world)


def refused(place: Place, error: type[SteadError], words: str | None = None, **changes: Any) -> None:
    before = place.run(lambda tx: (tx.session.query(Volume).count(), tx.session.query(ReplaceRootVolumeTask).count()))
    with pytest.raises(error, match=words):
        place.begin(**changes)
    after = place.run(lambda tx: (tx.session.query(Volume).count(), tx.session.query(ReplaceRootVolumeTask).count()))
    assert after == before


def test_the_launch_state_is_that_of_the_roots_snapshot(place: Place) -> None:
    task = place.begin(delete_replaced=True, tags={"a": "b"})
    assert (task.state, task.old_volume_id, task.snapshot_id, task.image_id) == ("pending", place.root, FIRST, None)
    assert (task.delete_replaced, task.is_own_volume, task.started, task.completed) == (True, False, NOW, None)
    assert task.former_image_id is None
    [shown] = place.run(replace_root_volume_tasks.describe, place.caller, Selection())
    assert (shown.row.id, shown.tags) == (task.id, [("a", "b")])
    life = place.find(Workflow)
    assert (life.kind, life.id) == (root_replacement.REPLACE, task.id)
    told = place.find(HostResource, HostResource.resource_id == task.new_volume_id)
    assert (told.host_id, told.kind) == (place.world.host_id, desired.KIND_VOLUME)
    new, old = place.new(task), place.find(Volume, Volume.id == place.root)
    assert (new.snapshot_id, new.state, new.instance_id, new.host_id) == (FIRST, "creating", None, old.host_id)
    names = ("size", "volume_type", "iops", "throughput", "zone", "encrypted")
    assert [getattr(new, name) for name in names] == [getattr(old, name) for name in names]


@pytest.mark.parametrize(
    ("kind", "iops", "throughput"),
    [("gp2", 100, None), ("gp3", 4000, 200), ("io2", 400, None), ("io1", 300, None), ("standard", None, None)],
)
def test_the_new_volume_has_the_type_and_speed_of_the_old(
    place: Place, kind: str, iops: int | None, throughput: int | None
) -> None:
    place.set(Volume, place.root, volume_type=kind, iops=iops, throughput=throughput)
    new = place.new(place.begin())
    assert (new.volume_type, new.iops, new.throughput) == (kind, iops, throughput)


def test_the_launch_state_stays_that_of_the_launch(place: Place) -> None:
    later = place.snapshot(volume_id=place.root)
    place.done(place.begin(snapshot_id=later))
    task = place.begin()
    assert (task.snapshot_id, place.new(task).snapshot_id) == (FIRST, FIRST)


def test_after_an_image_it_is_that_of_the_image(place: Place) -> None:
    image_id = place.image(10)
    of_image = place.find(Image, Image.id == image_id).snapshot_id
    task = place.begin(image_id=image_id)
    assert (task.image_id, task.snapshot_id, task.former_image_id) == (image_id, None, place.world.image_id)
    new = place.new(task)
    assert (new.snapshot_id, new.size, new.volume_type) == (of_image, 10, "gp3")
    place.done(task)
    task = place.begin()
    assert (task.snapshot_id, place.new(task).size) == (of_image, 10)


def test_what_has_no_snapshot_has_no_launch_state(place: Place) -> None:
    place.set(Volume, place.root, snapshot_id=None)
    refused(place, InvalidParameter, "it was made of no snapshot")
    place.set(Volume, place.root, snapshot_id="snap-00000000000000009")
    refused(place, InvalidParameter, "snap-00000000000000009 is not available")
    place.set(Volume, place.root, snapshot_id=FIRST)
    place.set(Snapshot, FIRST, state="error")
    refused(place, InvalidParameter, f"{FIRST} is not available")


def test_snapshots_of_all_root_volumes_of_the_past_may_be_used(place: Place) -> None:
    first = place.snapshot(volume_id=place.root)
    other = place.snapshot()
    data = place.add(rows.volume(place.find(Instance), place.world, device_name="/dev/sdf", snapshot_id=None))
    for strange in (other, place.snapshot(volume_id=data)):
        refused(place, InvalidParameter, "should be of one of the root volumes", snapshot_id=strange)
    task = place.begin(snapshot_id=first)
    assert (task.snapshot_id, place.new(task).snapshot_id) == (first, first)
    place.done(task)
    assert place.begin(snapshot_id=place.snapshot(volume_id=task.new_volume_id)).state == "pending"


def test_snapshots_of_former_root_volumes_may_be_used_of_tasks_that_succeeded(place: Place) -> None:
    first = place.snapshot(volume_id=place.root)
    task = place.begin()
    place.done(task)
    place.set(ReplaceRootVolumeTask, task.id, state="failed")
    refused(place, InvalidParameter, "should be of one of the root volumes", snapshot_id=first)
    place.set(ReplaceRootVolumeTask, task.id, state="succeeded", instance_id="i-00000000000000009")
    refused(place, InvalidParameter, "should be of one of the root volumes", snapshot_id=first)
    place.set(ReplaceRootVolumeTask, task.id, instance_id=place.instance_id)
    assert place.begin(snapshot_id=first).snapshot_id == first


def test_a_snapshot_of_another_account_or_not_complete_is_refused(place: Place) -> None:
    shared = place.add(rows.snapshot(place.world.other.caller.account_id, volume_id=place.root))
    refused(place, NotFound, snapshot_id=shared)
    pending = place.snapshot(volume_id=place.root, state="pending")
    refused(place, WrongState, "not completed", snapshot_id=pending)


def test_an_image_must_fit_the_instance(place: Place) -> None:
    refused(place, InvalidParameter, "architecture 'arm64'", image_id=place.image(architecture="arm64"))
    refused(place, Unsupported, "another boot mode", image_id=place.image(boot_mode="uefi"))
    refused(place, Unsupported, "only one has a NitroTPM", image_id=place.image(tpm_support="v2.0"))
    refused(place, InvalidParameter, r"\(7 GiB\) is smaller", image_id=place.image(7))
    refused(place, WrongState, "cannot be run", image_id=place.image(state="pending"))
    image_id = place.image()
    place.set(Snapshot, place.find(Image, Image.id == image_id).snapshot_id, state="pending")
    refused(place, WrongState, "is not whole", image_id=image_id)
    place.set(Instance, place.instance_id, sealed_tpm_key=b"k")
    refused(place, Unsupported, "only one has a NitroTPM", image_id=place.image())
    assert place.begin(image_id=place.image(tpm_support="v2.0", boot_mode="legacy-bios")).state == "pending"


def test_the_size_is_that_of_the_old_volume_and_enough_for_the_snapshot(place: Place) -> None:
    place.set(Volume, place.root, size=20)
    assert place.new(place.begin()).size == 20
    place.set(ReplaceRootVolumeTask, place.find(ReplaceRootVolumeTask).id, state="failed")
    large = place.snapshot(volume_id=place.root, volume_size=21)
    refused(place, InvalidParameter, "smaller than snapshot", snapshot_id=large)


def test_an_encrypted_root_volume_is_replaced_by_one_under_the_same_key(place: Place) -> None:
    cloud, account = place.world.cloud, place.caller.account_id
    arn = volume_keys.key_arn(cloud, account, "alias/mine")
    key = volume_keys.new_key(cloud, arn)
    place.set(Volume, place.root, encrypted=True, sealed_key=key.sealed, kms_key_id=arn)
    new = place.new(place.begin(image_id=place.image()))
    assert (new.encrypted, new.kms_key_id, new.sealed_key is not None) == (True, arn, True)


def test_it_is_encrypted_where_new_volumes_are(place: Place) -> None:
    place.run(ebs_encryption.set_by_default, place.caller, on=True)
    assert place.new(place.begin()).encrypted


def test_an_own_volume_must_be_free_here_and_encrypted_like_the_old(place: Place) -> None:
    instance = place.find(Instance)

    def volume(**changes: Any) -> str:
        return place.add(rows.volume(instance, place.world, **FREE | changes))

    used = place.add(rows.volume(instance, place.world, device_name="/dev/sdf", snapshot_id=None))
    refused(place, WrongState, "already attached", volume_id=used)
    refused(place, WrongState, "not 'available'", volume_id=volume(state="deleting"))
    refused(place, WrongState, "not in the same availability zone", volume_id=volume(zone="us-east-1b"))
    plain, encrypted = volume(), volume(encrypted=True)
    place.set(Volume, place.root, encrypted=True)
    refused(place, InvalidParameter, "must be encrypted", volume_id=plain)
    task = place.begin(volume_id=encrypted)
    assert (task.is_own_volume, task.new_volume_id, task.snapshot_id) == (True, encrypted, None)
    assert place.new(task).state == "available"


def test_a_volume_without_a_home_gets_one_on_the_instances_host(place: Place) -> None:
    free = place.add(rows.volume(place.find(Instance), place.world, **FREE | {"host_id": None}))
    assert place.new(place.begin(volume_id=free)).host_id == place.world.host_id


def test_only_a_running_instance_with_one_task_at_a_time(place: Place) -> None:
    for state in ("pending", "stopping", "stopped"):
        place.set(Instance, place.instance_id, state=state)
        refused(place, WrongState, "not in the 'running' state")
    place.set(Instance, place.instance_id, state="running")
    place.set(Volume, place.root, attachment_state="attaching")
    refused(place, WrongState, "not attached yet")
    place.set(Volume, place.root, attachment_state="attached")
    task = place.begin()
    for state in ("pending", "in-progress", "failing"):
        place.set(ReplaceRootVolumeTask, task.id, state=state)
        refused(place, WrongState, f"being replaced by {task.id}")
    place.set(ReplaceRootVolumeTask, task.id, state="failed")
    assert place.begin().id != task.id


def test_another_instances_task_is_no_hindrance(place: Place) -> None:
    task = place.begin()
    place.set(ReplaceRootVolumeTask, task.id, instance_id="i-00000000000000009")
    assert place.begin().instance_id == place.instance_id


def test_one_source_at_most(place: Place) -> None:
    for names in (("snapshot_id", "image_id"), ("image_id", "volume_id"), ("snapshot_id", "volume_id")):
        refused(place, InvalidCombination, "Only one of", **dict.fromkeys(names, "x"))


def test_room_is_reserved_or_it_is_refused(place: Place) -> None:
    place.run(lambda tx: tx.session.add(StoragePool(host_id=place.world.host_id, **POOL)))
    most = int(10 * GIB * place.world.cloud.volume_overcommit) // (8 * GIB)
    for number in range(1, most + 1):
        task = place.begin()
        assert place.find(StoragePool).provisioned == number * 8 * GIB
        place.set(ReplaceRootVolumeTask, task.id, state="failed")
    refused(place, NoCapacity, "not enough capacity")


POOL: dict[str, Any] = {"name": "default", "backend": "directory", "total": 10 * GIB, "is_default": True}


def test_a_repeated_request_is_one_task(place: Place) -> None:
    assert place.begin("t").id == place.begin("t").id


def test_only_the_attached_root_volume_of_that_instance_is_replaced(place: Place) -> None:
    other = place.run(lambda tx: rows.launch(tx, place.world, place.world.one, number=5).id)
    first = place.instance_id
    place.instance_id = other
    assert place.begin(snapshot_id=place.snapshot(volume_id=place.root_of(other))).old_volume_id == place.root_of(other)
    place.instance_id = first
    assert place.begin().old_volume_id == place.root


def test_the_launch_state_is_that_of_the_task_that_made_this_root_volume(place: Place) -> None:
    image_id = place.image()
    of_image = place.find(Image, Image.id == image_id).snapshot_id
    task = place.begin(image_id=image_id)
    place.done(task)
    others: list[dict[str, Any]] = [
        {"instance_id": "i-00000000000000009"},
        {"new_volume_id": "vol-00000000000000009"},
        {"state": "failed"},
    ]
    good = {name: getattr(task, name) for name in ("instance_id", "new_volume_id")} | {"state": "succeeded"}
    for change in others:
        place.set(ReplaceRootVolumeTask, task.id, launch_snapshot_id="snap-00000000000000009", **good | change)
        again = place.begin()
        assert again.snapshot_id == of_image, change
        place.set(ReplaceRootVolumeTask, again.id, state="failed", new_volume_id="vol-00000000000000008")
    place.set(ReplaceRootVolumeTask, task.id, launch_snapshot_id=FIRST, **good)
    assert place.begin().snapshot_id == FIRST


def test_the_root_disk_of_an_image_is_taken_and_as_large_as_it_says(place: Place) -> None:
    image = rows.image(account_id=place.caller.account_id, public=False, virtual_size=9 * GIB)
    place.add(image)
    place.add(rows.image_snapshot(image))
    data = place.snapshot(volume_size=30)
    root = rows.image_device(image)

    def add(tx: Any) -> None:
        tx.session.add_all([root, rows.image_device(image, device_name="/dev/aaa", snapshot_id=data)])

    place.run(add)
    task = place.begin(image_id=image.id)
    assert (place.new(task).snapshot_id, place.new(task).size) == (image.snapshot_id, 9)
    place.set(ReplaceRootVolumeTask, task.id, state="failed")

    def resize(size: int | None) -> None:
        root_disk = ImageBlockDevice.snapshot_id == image.snapshot_id
        place.run(
            lambda tx: tx.session.query(ImageBlockDevice).filter(root_disk).update({"volume_size": size}) and None
        )

    for says, size in ((12, 12), (None, 9)):
        resize(says)
        task = place.begin(image_id=image.id)
        assert place.new(task).size == size
        place.set(ReplaceRootVolumeTask, task.id, state="failed")


def test_a_volume_that_has_a_home_stays_there(place: Place) -> None:
    other = rows.host(hostname="box2")
    place.add(other)
    free = place.add(rows.volume(place.find(Instance), place.world, **FREE | {"host_id": other.id}))
    assert place.new(place.begin(volume_id=free)).host_id == other.id

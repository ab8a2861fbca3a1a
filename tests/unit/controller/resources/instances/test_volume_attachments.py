"""Volumes are attached, detached and released: what is refused, what is written, what hosts are sent.

What comes of it on several hosts is in `test_volumes_on_three_hosts.py`.
"""

import pytest
from sqlalchemy import select

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import (
    HostError,
    HostResource,
    Instance,
    InstanceStoreDisk,
    Snapshot,
    SnapshotDamage,
    StoragePool,
    Tag,
    Volume,
)
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, LimitExceeded, MalformedId, NoCapacity, NotFound, WrongState
from stead_controller.resources.instances import volume_attachments
from stead_proto import limits
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.attached_volumes import BASE, VOLUME, Place
from tests.support.rows import GIB, NOW

DAMAGED = "snap-0000000000000000d"
FREED = ("available", None, None)


@pytest.fixture
def place(run, world):
    row = rows.host(hostname="box2")
    run(lambda tx: tx.session.add(row))
    return Place(run, world, row.id)


@pytest.fixture
def here(place):
    """An instance on the world's host, where volumes are at home."""
    return place.launch()


@pytest.fixture
def there(place):
    """An instance on the other host."""
    return place.launch(host_id=place.other_host)


def refused(code, call, *args, **kwargs):
    with pytest.raises((WrongState, LimitExceeded, NoCapacity)) as refusal:
        call(*args, **kwargs)
    assert refusal.value.code == code
    return refusal.value


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_an_attached_volume_is_its_instances_alone_and_stays_after_it(place, state):
    instance_id, volume_id = place.launch(state=state), place.volume(generation=4, delete_on_termination=True)
    place.attach(volume_id, instance_id)
    row = place.find(volume_id)
    assert place.attachment(volume_id) == ("in-use", "attaching", instance_id)
    assert (row.device_name, row.attach_time, row.delete_on_termination) == ("/dev/sdf", NOW, False)
    assert (row.attached_host_id, row.export_port, row.generation) == (place.world.host_id, None, 5)
    assert volume_id in place.machine_has(instance_id)


def test_a_volume_of_another_host_is_served_to_the_instances(place, there):
    volume_id = place.volume()
    snapshot = rows.snapshot(
        place.world.one.caller.account_id, volume_id=volume_id, state="pending", host_id=place.world.host_id
    )
    place.run(lambda tx: tx.session.add(snapshot))
    place.attach(volume_id, there)
    row = place.find(volume_id)
    assert (row.host_id, row.attached_host_id) == (place.world.host_id, place.other_host)
    assert row.export_port in limits.EXPORT_PORTS
    assert place.sent(volume_id).export.client_host_id == place.other_host
    assert place.sent(volume_id, place.other_host).remote.home_host_id == place.world.host_id
    assert volume_id in place.machine_has(there)
    assert place.run(lambda tx: tx.session.get(Snapshot, snapshot.id)).host_id == place.other_host


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down", "terminated"])
def test_other_states_of_an_instance_let_nothing_be_attached(place, unchanged, state):
    instance_id, volume_id = place.launch(state=state), place.volume()
    unchanged()
    assert refused("IncorrectState", place.attach, volume_id, instance_id).resource_type == "instance"
    unchanged()


def test_what_is_not_free_is_not_attached(place, here, unchanged):
    taken = place.attached(here)
    others = [place.volume(state=state) for state in ("creating", "deleting")]
    other_id = place.launch()
    unchanged()
    refused("VolumeInUse", place.attach, taken, other_id)
    for each in others:
        refused("IncorrectState", place.attach, each, other_id)
    with pytest.raises(NotFound):
        place.attach("vol-00000000000000000", other_id)
    with pytest.raises(NotFound):
        place.attach(others[0], "i-00000000000000000")
    with pytest.raises(MalformedId):
        place.attach("vol-x", other_id)
    unchanged()


def test_it_is_of_the_zone_of_its_instance(place, here):
    refused("InvalidVolume.ZoneMismatch", place.attach, place.volume(zone="us-east-1b"), here)


def damage(place, *, unreadable_at=None):
    """Damage data of a snapshot; a host may have failed to fetch it."""

    def write(tx):
        tx.session.add(rows.snapshot(place.world.one.caller.account_id, id=DAMAGED, state="error"))
        tx.session.flush()
        tx.session.add(SnapshotDamage(snapshot_id=DAMAGED, digest=bytes(32), since=NOW))
        if unreadable_at is not None:
            error = {"kind": BASE, "resource_id": DAMAGED, "error": "x", "since": NOW}
            tx.session.add(HostError(host_id=unreadable_at, **error))

    place.run(write)


def test_a_volume_that_lacks_data_is_not_attached_but_one_whose_home_has_them_is(place, here):
    damage(place)
    assert refused("IncorrectState", place.attach, place.volume(snapshot_id=DAMAGED, host_id=None), here)
    place.attach(place.volume(snapshot_id=DAMAGED), here)


def test_a_device_is_a_name_that_is_free_on_the_instance(place, here, unchanged):
    place.attached(here)
    place.run(lambda tx: tx.session.add(InstanceStoreDisk(instance_id=here, number=0, device_name="/dev/sdb", size=1)))
    other_id, volume_id = place.launch(), place.volume()
    unchanged()
    for device in ("/dev/sdf", "xvdf", "/dev/sdb", "/dev/sda1", "sda0", ""):
        with pytest.raises(InvalidParameter):
            place.attach(volume_id, here, device)
    unchanged()
    assert sorted(place.run(volume_attachments.devices, here)) == ["/dev/sda1", "/dev/sdb", "/dev/sdf"]
    assert place.run(volume_attachments.devices, other_id) == ["/dev/sda1"]
    place.attach(volume_id, other_id, "/dev/sdf")


def test_a_slow_disk_is_no_root(place):
    instance_id = place.launch(state="stopped")
    place.run(lambda tx: tx.session.delete(tx.session.query(Volume).filter_by(instance_id=instance_id).one()))
    slow = place.volume(volume_type="st1", size=125)
    with pytest.raises(InvalidParameter, match="root"):
        place.attach(slow, instance_id, "/dev/sda1")
    place.attach(slow, instance_id, "/dev/sdb")
    place.attach(place.volume(), instance_id, "/dev/sda1")


@pytest.mark.parametrize("scratch", [False, True])
def test_volumes_interfaces_and_scratch_disks_share_the_slots_of_a_type(place, here, monkeypatch, scratch):
    monkeypatch.setattr(InstanceType, "max_volumes", 4)
    if scratch:
        row = InstanceStoreDisk(instance_id=here, number=0, device_name="/dev/sdb", size=1)
        place.run(lambda tx: tx.session.add(row))
    else:
        place.attached(here, device_name="/dev/sdb")
    other_id = place.launch()
    place.attach(place.volume(), here)
    refused("AttachmentLimitExceeded", place.attach, place.volume(), here, "/dev/sdg")
    place.attach(place.volume(), other_id, "/dev/sdg")


def test_an_instance_of_a_type_that_is_no_more_has_no_limit(place, monkeypatch):
    monkeypatch.setattr(InstanceType, "max_volumes", 0)
    place.attach(place.volume(), place.launch(instance_type="old.large"))


def test_its_first_home_is_the_instances_host_where_that_has_room(place, here, there):
    pool = {"name": "main", "backend": "directory", "is_default": True, "free": 0, "provisioned": 0}
    hosts = (place.world.host_id, place.other_host)
    place.run(lambda tx: tx.session.add_all(StoragePool(host_id=each, total=2 * GIB, **pool) for each in hosts))
    for instance_id, host_id in ((there, place.other_host), (here, place.world.host_id)):
        volume_id = place.volume(host_id=None)
        place.attach(volume_id, instance_id)
        assert (place.find(volume_id).host_id, place.find(volume_id).pool) == (host_id, "main")
    volume_id = place.volume(host_id=None, size=9)
    refused("InsufficientVolumeCapacity", place.attach, volume_id, here, "/dev/sdg")
    assert place.attachment(volume_id) == FREED


def test_a_host_that_must_release_it_must_have_done_so(place, here, there):
    volume_id = place.volume()
    gone = HostResource(host_id=place.other_host, kind=VOLUME, resource_id=volume_id, revision=1, body=None)
    place.run(lambda tx: tx.session.add(gone))
    refused("IncorrectState", place.attach, volume_id, there)
    place.attach(volume_id, here)


def test_a_home_and_an_instance_without_a_host_need_not(place):
    volume_id = place.volume()
    instance_id = place.launch(state="stopped", host_id=None)
    place.change(HostResource, (place.world.host_id, VOLUME, volume_id), body=None)
    place.attach(volume_id, instance_id)
    assert place.find(volume_id).attached_host_id is None
    other_id = place.volume()
    place.change(HostResource, (place.world.host_id, VOLUME, other_id), body=None)
    place.attach(other_id, place.launch())


def test_metadata_go_on_to_say_what_a_machine_was_started_with(place):
    running, second, stopped = place.launch(), place.launch(), place.launch(state="stopped")
    for number, device in enumerate(("/dev/sdh", "/dev/sdg")):
        place.attached(running, device_name=device, id=f"vol-{number:017x}")
    leaving = place.attached(second)
    place.attach(place.volume(), running)
    place.attach(place.volume(), running, "/dev/sdi")
    place.detach(leaving)
    place.attach(place.volume(), stopped)
    at_start = [place.instance(each).ebs_at_start for each in (running, second, stopped)]
    assert at_start == [["/dev/sdg", "/dev/sdh"], ["/dev/sdf"], None]


def test_a_port_serves_one_volume_of_a_home(place, there, monkeypatch):
    monkeypatch.setattr(limits, "EXPORT_PORTS", range(61000, 61002))
    volume_id = place.remote(there, export_port=61001)
    assert {place.run(volume_attachments._free_port, place.world.host_id) for _ in range(9)} == {61000}
    place.remote(there, export_port=61000, device_name="/dev/sdg")
    assert place.run(volume_attachments._free_port, place.other_host) in limits.EXPORT_PORTS, "each home has its own"
    refused("InsufficientVolumeCapacity", place.run, volume_attachments._free_port, place.world.host_id)
    place.change(Volume, volume_id, export_port=None)
    assert place.run(volume_attachments._free_port, place.world.host_id) == 61001


def test_a_volume_at_home_is_detached_when_its_machine_says_so(place, here):
    volume_id = place.attached(here, delete_on_termination=True)
    place.detach(volume_id)
    assert place.attachment(volume_id) == ("in-use", "detaching", here)
    assert place.find(volume_id).delete_on_termination is False
    assert volume_id not in place.machine_has(here)
    assert place.sent(volume_id), "the disk stays"
    place.detach(volume_id, force=True)
    assert place.attachment(volume_id) == ("in-use", "detaching", here)
    assert place.sent(volume_id)


def test_one_of_another_host_is_released_there_first(place, there):
    volume_id = place.remote(there)
    place.detach(volume_id)
    assert place.sent(volume_id, place.other_host) == (False, False)
    assert volume_id not in place.machine_has(there)
    assert place.sent(volume_id).export.client_host_id == place.other_host
    assert place.find(volume_id).export_port == 61000


def test_force_ends_what_the_home_serves(place, there, monkeypatch):
    volume_id = place.remote(there)
    followed = []
    monkeypatch.setattr(volume_attachments.snapshot_life, "follow", lambda _tx, row: followed.append(row.id))
    for _ in range(2):
        place.detach(volume_id, force=True)
        row = place.find(volume_id)
        assert (row.attachment_state, row.attached_host_id, row.export_port) == ("detaching", None, None)
        assert place.sent(volume_id, place.other_host) == (False, True)
        assert not place.sent(volume_id).HasField("export")
    assert followed == [volume_id]


def test_force_takes_a_volume_at_home_from_its_machine_alone(place, here):
    volume_id = place.attached(here)
    place.run(desired_state.refresh_instance, here)
    place.detach(volume_id, force=True)
    row = place.find(volume_id)
    assert (row.attachment_state, row.attached_host_id) == ("detaching", place.world.host_id)
    assert volume_id not in place.machine_has(here)
    assert place.sent(volume_id, place.world.host_id) is not None


def test_nothing_is_detached_of_an_instance_that_is_hibernated(place, unchanged):
    instance_id = place.launch(state="stopped", memory_saved=True)
    volume_id = place.attached(instance_id)
    unchanged()
    assert "hibernated" in str(refused("IncorrectState", place.detach, volume_id))
    unchanged()


@pytest.mark.parametrize("state", ["detaching", "busy"])
def test_what_is_being_detached_is_detached_by_force_alone(place, here, unchanged, state):
    volume_id = place.attached(here, attachment_state=state)
    place.run(desired_state.refresh_instance, here)
    unchanged()
    refused("IncorrectState", place.detach, volume_id)
    place.detach(volume_id, force=True)
    unchanged()


def test_what_is_not_attached_so_is_not_detached(place, here, unchanged):
    volume_id, free, other_id = place.attached(here), place.volume(), place.launch()
    unchanged()
    refused("IncorrectState", place.detach, free)
    for asked in ((other_id,), (here, "/dev/sdg"), (None, "/dev/sdg"), ("i-00000000000000000",)):
        with pytest.raises(NotFound):
            place.detach(volume_id, *asked)
    with pytest.raises(NotFound):
        place.run(volume_attachments.detach, place.world.other.caller, volume_id)
    with pytest.raises(MalformedId):
        place.detach(free, "i-x")
    unchanged()
    place.detach(volume_id, here, "/dev/sdf")


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_of_an_instance_that_ends_nothing_is_detached(place, state):
    instance_id = place.launch()
    volume_id = place.attached(instance_id)
    place.change(Instance, instance_id, state=state)
    refused("IncorrectState", place.detach, volume_id)


def test_the_root_is_detached_of_a_stopped_instance_only(place, here):
    root = place.run(lambda tx: tx.session.query(Volume).filter_by(instance_id=here).one().id)
    refused("OperationNotPermitted", place.detach, root)
    place.change(Instance, here, state="stopped")
    place.detach(root)
    assert place.find(root).attachment_state == "detaching"


STATES = ("attaching", "attached", "detaching", "busy")


def test_a_machine_that_has_all_settles_its_volumes(place, here, there):
    at_home = {state: place.attached(here, attachment_state=state) for state in STATES}
    remaining = place.attached(here, attachment_state="detaching")
    remote = place.remote(there, attachment_state="detaching")
    root = place.run(lambda tx: tx.session.query(Volume).filter_by(instance_id=here, device_name="/dev/sda1").one().id)
    other_id, third_id = place.launch(), place.launch()
    others = place.attached(other_id, attachment_state="attaching")
    everybody = [here, there, other_id, third_id]
    assert place.run(volume_attachments.waiting, everybody) == {here, there, other_id}
    assert place.run(volume_attachments.waiting, [here, third_id]) == {here}
    for each in (here, there):
        place.run(volume_attachments.settle_machine, each, [root, remaining], NOW)
    assert {state: place.attachment(each) for state, each in at_home.items()} == {
        "attaching": ("in-use", "attached", here),
        "attached": ("in-use", "attached", here),
        "detaching": FREED,
        "busy": FREED,
    }
    assert [place.find(each).attachment_state for each in (remaining, remote, others)] == [
        "detaching",
        "detaching",
        "attaching",
    ]


def test_a_volume_that_the_guest_does_not_release_is_busy(place, here):
    at_home = {state: place.attached(here, attachment_state=state) for state in STATES}
    let_go = place.attached(here, attachment_state="detaching")
    others = place.attached(place.launch(), attachment_state="detaching")
    place.run(volume_attachments.note_busy, here, [*at_home.values(), others])
    assert {state: place.find(each).attachment_state for state, each in at_home.items()} == {
        "attaching": "attaching",
        "attached": "attached",
        "detaching": "busy",
        "busy": "busy",
    }
    assert {place.find(each).attachment_state for each in (let_go, others)} == {"detaching"}


@pytest.mark.parametrize("state", STATES)
def test_what_another_host_was_to_release_and_has_is_free(place, there, state):
    volume_id = place.remote(there, attachment_state=state)
    gone(place, volume_id, place.world.host_id)
    assert place.find(volume_id).attachment_state == state
    gone(place, volume_id, place.other_host)
    freed = state in volume_attachments.DETACHING
    assert place.attachment(volume_id) == (FREED if freed else ("in-use", state, there))


def gone(place, volume_id, host_id):
    """Let a host say that it has nothing of a volume any more."""
    place.run(lambda tx: volume_attachments.settle_gone(tx, host_id, tx.session.get_one(Volume, volume_id), NOW))


def test_a_forced_release_is_confirmed_by_the_instances_host(place, there):
    volume_id = place.remote(there, attachment_state="detaching", attached_host_id=None, export_port=None)
    gone(place, volume_id, place.world.host_id)
    assert place.find(volume_id).attachment_state == "detaching"
    gone(place, volume_id, place.other_host)
    assert place.attachment(volume_id) == FREED


def test_who_let_go_is_the_host_that_used_it_though_its_instance_has_left(place, there):
    volume_id = place.remote(there, attachment_state="detaching")
    place.change(Instance, there, host_id=None, state="stopped")
    gone(place, volume_id, place.world.host_id)
    assert place.find(volume_id).attachment_state == "detaching"
    gone(place, volume_id, place.other_host)
    assert place.attachment(volume_id) == FREED


def test_of_an_instance_that_is_forgotten_only_the_home_says_that_it_let_go(place, there):
    forgotten = {"instance_id": "i-00000000000000000", "attached_host_id": None, "export_port": None}
    volume_id = place.remote(there, attachment_state="detaching")
    place.change(Volume, volume_id, **forgotten)
    gone(place, volume_id, place.other_host)
    assert place.find(volume_id).attachment_state == "detaching"
    place.call(volume_attachments.settle_at_home, volume_id, NOW)
    assert place.attachment(volume_id) == FREED


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("served", [False, True])
def test_a_home_without_clients_frees_a_released_volume(place, there, state, served):
    changes = {} if served else {"attached_host_id": None, "export_port": None}
    volume_id = place.remote(there, attachment_state=state, **changes)
    place.call(volume_attachments.settle_at_home, volume_id, NOW)
    freed = not served and state in volume_attachments.DETACHING
    assert place.attachment(volume_id) == (FREED if freed else ("in-use", state, there))


@pytest.mark.parametrize("state", ["running", "shutting-down", "terminated", None])
@pytest.mark.parametrize("ends", [False, True])
def test_unused_volumes_are_free_or_deleted_with_their_instance(place, there, state, ends):
    volume_id = place.remote(there, attachment_state="detaching", delete_on_termination=ends)
    if state is None:
        place.change(Volume, volume_id, instance_id="i-00000000000000000")
    else:
        place.change(Instance, there, state=state)
    place.call(volume_attachments.settle_detached, volume_id, NOW)
    row = place.find(volume_id)
    gone = ends and state != "running"
    assert place.attachment(volume_id) == ("deleting" if gone else "available", None, None)
    assert (row.device_name, row.attach_time, row.delete_on_termination) == (None, None, False)
    assert (row.attached_host_id, row.export_port) == (None, None)
    if gone:
        assert place.sent(volume_id) == (False, False)
    else:
        assert not place.sent(volume_id).HasField("export")


def test_the_key_of_a_base_goes_with_the_last_volume_that_is_read(place, here):
    base = rows.snapshot(place.world.one.caller.account_id, encrypted=True, sealed_key=b"key")
    place.run(lambda tx: tx.session.add(base))
    over = {"snapshot_id": base.id, "encrypted": True, "sealed_key": b"own", "delete_on_termination": True}
    volume_id = place.attached(here, **over)

    def key():
        row = place.run(lambda tx: tx.session.get_one(HostResource, (place.world.host_id, BASE, base.id)))
        return desired.Resource.FromString(row.body).base.encryption_key

    assert key() == b"key"
    place.change(Instance, here, state="terminated")
    place.call(volume_attachments.settle_detached, volume_id, NOW)
    assert key() == b""


def test_attachments_of_damaged_volumes_end(place, here):
    damage(place, unreadable_at=place.world.host_id)
    lacking = {"snapshot_id": DAMAGED, "attachment_state": "attaching"}
    volume_id = place.attached(here, **lacking)
    stays = {
        place.attached(here, **lacking | {"attachment_state": "attached"}): "attached",
        place.attached(here, attachment_state="attaching"): "attaching",
        place.attached(here, **lacking, host_id=place.other_host): "attaching",
        place.attached(place.launch(state="pending"), **lacking): "attaching",
    }
    place.run(volume_attachments.end_damaged)
    assert place.find(volume_id).attachment_state == "detaching"
    assert volume_id not in place.machine_has(here)
    assert {each: place.find(each).attachment_state for each in stays} == stays


def test_attachments_of_volumes_without_their_disks_end_and_none_begins(place, here, unchanged):
    lost = {"lost_since": NOW, "attachment_state": "attaching"}
    volume_id = place.attached(here, **lost)
    others = {
        place.attached(here, **lost | {"attachment_state": "attached"}): "attached",
        place.attached(here, **lost | {"lost_since": None}): "attaching",  # its home fails at something else
        place.attached(place.launch(state="pending"), **lost): "attaching",
    }
    said = place.attached(here, **lost)

    def fail_at(tx):
        kinds = {"host_id": place.world.host_id, "error": "x", "since": NOW}
        tx.session.add_all(HostError(kind=VOLUME, resource_id=each, **kinds) for each in (volume_id, *others))
        tx.session.add(HostError(kind=BASE, resource_id=said, **kinds))
        tx.session.add(HostError(kind=VOLUME, resource_id=said, **kinds | {"host_id": place.other_host}))

    place.run(fail_at)
    place.run(volume_attachments.end_damaged)
    assert place.find(volume_id).attachment_state == "detaching"
    assert volume_id not in place.machine_has(here)
    others[said] = "attaching"  # its home says so no more
    assert {each: place.find(each).attachment_state for each in others} == others
    free = place.volume(lost_since=NOW)
    unchanged()
    assert "disk" in str(refused("IncorrectState", place.attach, free, here))
    unchanged()


def test_an_attachment_stays_where_a_host_fails_at_something_else_or_its_data_are_sound(place, here):
    damage(place)
    kinds = {"host_id": place.world.host_id, "error": "x", "since": NOW}
    volume_id = place.attached(here, snapshot_id=DAMAGED, attachment_state="attaching")

    def fail_at(tx):
        sound = rows.snapshot(place.world.one.caller.account_id)
        tx.session.add(sound)
        tx.session.add(HostError(kind=VOLUME, resource_id=DAMAGED, **kinds))
        tx.session.add(HostError(kind=BASE, resource_id=sound.id, **kinds))
        return sound.id

    other_id = place.attached(here, snapshot_id=place.run(fail_at), attachment_state="attaching")
    place.run(volume_attachments.end_damaged)
    assert {place.find(each).attachment_state for each in (volume_id, other_id)} == {"attaching"}


def end(place, instance_id, **how):
    place.run(
        lambda tx: volume_attachments.end_with_instance(tx, tx.session.get_one(Instance, instance_id), NOW, **how)
    )


def test_with_an_instance_its_volumes_are_free_or_end(place, here, there):
    stays, ends = (place.attached(here, delete_on_termination=each) for each in (False, True))
    others = place.attached(place.launch())
    served, leaving = place.remote(there), place.remote(there, attachment_state="busy", export_port=61001)
    for each in (here, there):
        place.change(Instance, each, state="shutting-down")
        end(place, each)
    assert place.attachment(stays) == FREED
    assert place.find(ends).state == "deleting"
    assert place.find(others).attachment_state == "attached"
    assert (place.find(served).attachment_state, place.find(leaving).attachment_state) == ("detaching", "busy")
    assert place.sent(served, place.other_host) == (False, False)
    assert place.sent(leaving, place.other_host) is not False


def test_with_a_lost_host_ends_what_others_served_it(place, there):
    served = place.remote(there)
    lost = place.attached(there, host_id=place.other_host)
    end(place, there, host_lost=True)
    row = place.find(served)
    assert (row.attachment_state, row.attached_host_id, row.export_port) == ("detaching", None, None)
    assert not place.sent(served).HasField("export")
    assert place.attachment(lost) == ("in-use", "attached", there)


def test_a_new_home_serves_a_volume_as_another_attachment(place, here, there):
    served, at_home = place.remote(there, generation=4), place.attached(here, generation=4, export_port=61001)
    for each in (served, at_home):
        place.call(volume_attachments.serve_anew, each)
    assert place.find(served).generation == 5
    assert place.find(served).export_port in limits.EXPORT_PORTS
    assert (place.find(at_home).generation, place.find(at_home).export_port) == (4, None)


@pytest.mark.parametrize("state", ["running", "shutting-down", None])
def test_a_volume_is_forgotten_with_its_home(place, there, state):
    volume_id = place.remote(there)
    owner = {"account_id": place.world.one.caller.account_id, "resource_type": "volume"}
    tags = [Tag(resource_id=each, key="a", value="b", **owner) for each in (volume_id, "vol-1")]
    place.run(lambda tx: tx.session.add_all(tags))
    if state is None:
        place.change(Volume, volume_id, instance_id="i-00000000000000000")
    else:
        place.change(Instance, there, state=state)
    place.call(volume_attachments.lose_home, volume_id, NOW)
    assert place.find(volume_id) is None
    assert place.sent(volume_id, place.other_host) == (False, True)
    assert (volume_id in place.machine_has(there)) is (state != "running")
    assert place.run(lambda tx: [each.resource_id for each in tx.session.query(Tag)]) == ["vol-1"]


def test_a_change_of_a_volume_used_at_its_home_is_sent_to_no_other_host(place, here):
    used, free = place.attached(here), place.volume()

    def lose(tx, volume_id):
        volume_attachments.lose_home(tx, tx.session.get_one(Volume, volume_id), NOW)
        return tx.session.scalar(select(Volume.id).where(Volume.id == volume_id))

    for each in (used, free):
        assert place.run(lose, each) is None, "the host's row may go in the same transaction"
        assert place.sent(each) is not False
    assert used in place.machine_has(here), "what becomes of the host's own machines is decided elsewhere"

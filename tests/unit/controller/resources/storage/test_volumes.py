"""Volumes as filters find them, and what is known of them."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import Tag
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.storage import volumes
from tests.support import rows
from tests.support.rows import CLOUD, NOW


@pytest.fixture
def instance_id(world, run):
    return run(lambda tx: rows.launch(tx, world, world.one).id)


@pytest.fixture
def loose(world, run, instance_id):
    """A volume that is attached to nothing."""

    def add(tx):
        instance = rows.launch(tx, world, world.one, number=1)
        detached = {"instance_id": None, "device_name": None, "attachment_state": None, "attach_time": None}
        volume = rows.volume(instance, world, size=20, state="available", **detached)
        tx.session.add(volume)
        return volume.id

    return run(add)


def described(run, caller, *filters, **asked):
    selection = Selection(filters=tuple(Filter(name, (value,)) for name, value in filters), **asked)
    return run(volumes.describe, caller, CLOUD, selection)


def test_attached_and_loose(world, run, instance_id, loose):
    known = {one.volume.id: one for one in described(run, world.one.caller)}
    assert known[loose].volume.instance_id is None
    assert (known[loose].state, known[loose].volume.size) == ("available", 20)
    assert known[loose].zone_id == "use1-az1"
    (root,) = described(run, world.one.caller, ("attachment.instance-id", instance_id))
    assert (root.state, root.volume.device_name) == ("in-use", "/dev/sda1")
    assert (root.volume.iops, root.volume.throughput, root.volume.volume_type) == (3000, 125, "gp3")


def test_tags_of_each(world, run, instance_id, loose):
    name = Tag(
        account_id=world.one.caller.account_id, resource_id=loose, resource_type="volume", key="Name", value="data"
    )
    run(lambda tx: tx.session.add(name))
    assert {tuple(one.tags) for one in described(run, world.one.caller)} == {(), (("Name", "data"),)}
    (tagged,) = described(run, world.one.caller, ("tag:Name", "data"))
    assert tagged.volume.id == loose


def test_one_that_was_made_now_is_being_created(world, run, loose):
    caller = world.one.caller
    assert run(volumes.describe_made, caller, CLOUD, loose, NOW).state == "creating"
    later = run(volumes.describe_made, caller, CLOUD, loose, NOW + timedelta(seconds=1))
    assert (later.state, later.zone_id) == ("available", "use1-az1")


@pytest.mark.parametrize(
    ("name", "value", "attached", "free"),
    [
        ("attachment.attach-time", "2026-03-04*", 2, 0),
        ("attachment.delete-on-termination", "true", 2, 0),
        ("attachment.delete-on-termination", "false", 0, 0),
        ("attachment.device", "/dev/sda1", 2, 0),
        ("attachment.status", "attached", 2, 0),
        ("availability-zone", "us-east-1a", 2, 1),
        ("availability-zone-id", "use1-az1", 2, 1),
        ("create-time", "2026-03-04T05:06:07.089Z", 2, 1),
        ("encrypted", "false", 2, 1),
        ("multi-attach-enabled", "false", 2, 1),
        ("size", "20", 0, 1),
        ("size", "8", 2, 0),
        ("snapshot-id", "snap-*", 2, 1),
        ("status", "in-use", 2, 0),
        ("status", "available", 0, 1),
        ("volume-type", "gp3", 2, 1),
        ("volume-type", "io1", 0, 0),
    ],
)
def test_filters(world, run, loose, name, value, attached, free):  # noqa: PLR0917 — fixtures and a case
    found = described(run, world.one.caller, (name, value))
    assert len([one for one in found if one.volume.id != loose]) == attached
    assert len([one for one in found if one.volume.id == loose]) == free

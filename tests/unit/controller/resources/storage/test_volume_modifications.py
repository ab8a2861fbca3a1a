"""Volumes are modified, seldom and upwards; hosts settle it."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Volume
from stead_controller.errors import (
    BadRequest,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.storage import volume_modifications
from stead_controller.resources.storage.volume_modifications import ModifyRequest
from tests.support import rows
from tests.support.rows import CLOUD, NOW


@pytest.fixture
def volume_id(world, run):
    """The root volume of an instance of the first tenant: gp3 of 8 GiB."""

    def launch(tx):
        instance = rows.launch(tx, world, world.one)
        return tx.session.scalar(select(Volume.id).where(Volume.instance_id == instance.id))

    return run(launch)


def modify(run, world, volume_id, now=NOW, **asked):
    return run(volume_modifications.modify, world.one.caller, CLOUD, ModifyRequest(volume_id, **asked), now)


def settle(run, volume_id, now=NOW):
    run(lambda tx: volume_modifications.settle(tx, tx.session.get_one(Volume, volume_id), now))


def described(run, world, *volume_ids, **filters):
    found = tuple(Filter(name.replace("_", "-"), (value,)) for name, value in filters.items())
    return run(volume_modifications.describe, world.one.caller, Selection(volume_ids, found))


def test_growth(run, world, volume_id):
    begun = modify(run, world, volume_id, size=20)
    assert (begun.state, begun.modification.original_size, begun.modification.target_size) == ("modifying", 8, 20)
    assert (begun.modification.target_type, begun.modification.target_iops, begun.modification.target_throughput) == (
        "gp3",
        3000,
        125,
    )
    assert [(one.state, one.modification.target_size) for one in described(run, world, volume_id)] == [
        ("modifying", 20)
    ]
    with pytest.raises(WrongState) as refusal:
        modify(run, world, volume_id, size=30)
    assert refusal.value.code == "IncorrectModificationState"
    settle(run, volume_id, NOW + timedelta(seconds=5))
    (known,) = described(run, world, modification_state="completed")
    assert (known.state, known.ended) == ("completed", NOW + timedelta(seconds=5))


def test_of_a_volume_without_a_disk(run, world, volume_id):
    """It is complete at once, and answered as begun."""
    loose = {"instance_id": None, "device_name": None, "attachment_state": None, "host_id": None, "state": "available"}
    run(lambda tx: tx.session.execute(update(Volume).where(Volume.id == volume_id).values(**loose)))
    begun = modify(run, world, volume_id, volume_type="gp2")
    assert (begun.state, begun.ended) == ("modifying", None)
    (known,) = described(run, world, volume_id)
    assert (known.state, known.ended) == ("completed", NOW)


def test_four_in_a_rolling_day(run, world, volume_id):
    for hour in range(4):
        modify(run, world, volume_id, NOW + timedelta(hours=hour), size=20 + hour)
        settle(run, volume_id)
    for later in (timedelta(hours=4), timedelta(hours=23, minutes=59)):
        with pytest.raises(LimitExceeded) as refusal:
            modify(run, world, volume_id, NOW + later, size=30)
        assert refusal.value.code == "VolumeModificationRateExceeded"
        assert "can begin at 2026-03-05T05:06:07Z" in refusal.value.message
    begun = modify(run, world, volume_id, NOW + timedelta(hours=24), size=30)
    assert (begun.modification.original_size, begun.modification.target_size) == (23, 30)
    settle(run, volume_id)
    with pytest.raises(LimitExceeded):  # the second one is not a day old
        modify(run, world, volume_id, NOW + timedelta(hours=24, minutes=59), size=31)
    modify(run, world, volume_id, NOW + timedelta(hours=25), size=31)


def test_another_type(run, world, volume_id):
    begun = modify(run, world, volume_id, volume_type="io2", iops=4000)
    assert (begun.modification.target_type, begun.modification.target_iops, begun.modification.target_throughput) == (
        "io2",
        4000,
        None,
    )
    settle(run, volume_id)
    begun = modify(run, world, volume_id, volume_type="gp2")
    assert (begun.modification.original_iops, begun.modification.target_iops) == (4000, 100)
    settle(run, volume_id)
    begun = modify(run, world, volume_id, size=100)
    assert (begun.modification.target_type, begun.modification.target_iops) == ("gp2", 300)
    settle(run, volume_id)
    begun = modify(run, world, volume_id, volume_type="io1")
    assert (begun.modification.target_type, begun.modification.target_iops) == ("io1", 3000)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, MissingParameter),
        ({"size": 7}, InvalidParameter),
        ({"volume_type": "st1"}, InvalidParameter),
        ({"volume_type": "st1", "size": 125}, InvalidParameter),  # of a root volume
        ({"volume_type": "io1"}, InvalidParameter),  # EC2's 3,000 IOPS at first are too many for 8 GiB
        ({"volume_type": "gp9"}, InvalidParameter),
        ({"iops": 100}, InvalidParameter),
        ({"multi_attach": True}, BadRequest),
        ({"multi_attach": True, "volume_type": "io2", "iops": 100}, Unsupported),
    ],
)
def test_refused(run, world, volume_id, unchanged, asked, error):  # noqa: PLR0917 — fixtures and a case
    unchanged()
    with pytest.raises(error):
        modify(run, world, volume_id, **asked)
    unchanged()


def test_a_volume_that_was_never_modified(run, world, volume_id):
    assert described(run, world) == []
    with pytest.raises(NotFound) as refusal:
        described(run, world, volume_id)
    assert refusal.value.code == "InvalidVolumeModification.NotFound"


def test_a_volume_of_another_account_is_absent(world, run, volume_id):
    modify(run, world, volume_id, size=20)
    refusals = []
    for named in (volume_id, "vol-00000000000000000"):
        with pytest.raises(NotFound) as refusal:
            run(volume_modifications.describe, world.other.caller, Selection((named,)))
        refusals.append((refusal.value.code, refusal.value.message.replace(named, "X")))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] is None
    assert run(volume_modifications.describe, world.other.caller, Selection()) == []


def test_malformed_ids(world, run):
    with pytest.raises(MalformedId):
        described(run, world, "vol-nonsense")

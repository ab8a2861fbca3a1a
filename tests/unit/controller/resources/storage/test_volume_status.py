"""The health of volumes follows from what their homes say."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, Volume
from stead_controller.errors import InvalidParameter, NotFound, WrongState
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.storage import volume_status
from tests.support import rows
from tests.support.rows import CLOUD, NOW


@pytest.fixture
def volume_id(world, run):
    """The root volume of an instance of the first tenant."""

    def launch(tx):
        instance = rows.launch(tx, world, world.one)
        return tx.session.query(Volume.id).filter(Volume.instance_id == instance.id).scalar()

    return run(launch)


def statuses(run, world, *filters):
    asked = Selection(filters=tuple(Filter(name, (value,)) for name, value in filters))
    return run(volume_status.describe, world.one.caller, CLOUD, asked)


def change(run, volume_id, **values):
    run(lambda tx: tx.session.execute(update(Volume).where(Volume.id == volume_id).values(**values)))


def test_a_volume_of_which_nothing_bad_is_known(run, world, volume_id):
    (shown,) = statuses(run, world)
    assert shown["VolumeStatus"] == {"Status": "ok", "Details": [{"Name": "io-enabled", "Status": "passed"}]}
    assert shown["Events"] == []
    assert statuses(run, world, ("volume-status.status", "ok"), ("volume-status.details-status", "passed"))
    assert statuses(run, world, ("volume-status.status", "impaired")) == []
    assert statuses(run, world, ("event.event-id", "*")) == []
    run(volume_status.enable_io, world.one.caller, volume_id)


def test_a_full_pool(run, world, volume_id):
    change(run, volume_id, full_since=NOW)
    (shown,) = statuses(run, world, ("volume-status.status", "impaired"), ("event.event-type", "stalled"))
    assert shown["VolumeStatus"] == {"Status": "impaired", "Details": [{"Name": "io-enabled", "Status": "failed"}]}
    (event,) = shown["Events"]
    assert event["NotBefore"] == NOW
    assert statuses(run, world, ("event.event-id", event["EventId"])) == [shown]
    assert statuses(run, world, ("event.not-before", NOW.isoformat())) == [shown]
    assert statuses(run, world, ("event.description", event["Description"])) == [shown]
    assert statuses(run, world, ("event.event-type", "x")) == []
    with pytest.raises(WrongState):
        run(volume_status.enable_io, world.one.caller, volume_id)


@pytest.mark.parametrize("state", ["creating", "deleting"])
def test_a_volume_that_comes_or_goes(run, world, volume_id, state):
    change(run, volume_id, state=state, full_since=NOW)
    (shown,) = statuses(run, world, ("volume-status.status", "insufficient-data"))
    assert shown["VolumeStatus"]["Details"] == [{"Name": "io-enabled", "Status": "insufficient-data"}]


def test_a_home_that_is_down(run, world, volume_id):
    run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    (shown,) = statuses(run, world, ("volume-status.status", "insufficient-data"))
    assert shown["VolumeId"] == volume_id


def test_attributes(world, run, volume_id):
    shown = run(volume_status.describe_attribute, world.one.caller, volume_id, "autoEnableIO")
    assert shown == {"VolumeId": volume_id, "AutoEnableIO": {"Value": False}}
    run(volume_status.set_auto_enable_io, world.one.caller, volume_id, True)
    shown = run(volume_status.describe_attribute, world.one.caller, volume_id, "autoEnableIO")
    assert shown["AutoEnableIO"] == {"Value": True}
    assert run(volume_status.describe_attribute, world.one.caller, volume_id, "productCodes")["ProductCodes"] == []
    with pytest.raises(InvalidParameter):
        run(volume_status.describe_attribute, world.one.caller, volume_id, "colour")
    with pytest.raises(NotFound):
        run(volume_status.describe_attribute, world.other.caller, volume_id, "autoEnableIO")

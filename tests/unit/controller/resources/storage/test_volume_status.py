"""The health of volumes follows from what their homes say."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, Volume
from stead_controller.errors import NotFound, WrongState
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
    (known,) = statuses(run, world)
    assert (known.status, known.io_enabled, known.zone_id) == ("ok", "passed", "use1-az1")
    assert known.events == []
    assert statuses(run, world, ("volume-status.status", "ok"), ("volume-status.details-status", "passed"))
    assert statuses(run, world, ("volume-status.status", "impaired")) == []
    assert statuses(run, world, ("event.event-id", "*")) == []
    run(volume_status.enable_io, world.one.caller, volume_id)


def test_a_full_pool(run, world, volume_id):
    change(run, volume_id, full_since=NOW)
    (known,) = statuses(run, world, ("volume-status.status", "impaired"), ("event.event-type", "stalled"))
    assert (known.status, known.io_enabled) == ("impaired", "failed")
    (event,) = known.events
    assert (event.id, event.kind, event.since) == (f"e{volume_id}", "stalled", NOW)
    for name, value in (
        ("event.event-id", event.id),
        ("event.not-before", NOW.isoformat()),
        ("event.description", event.description),
    ):
        assert [one.events for one in statuses(run, world, (name, value))] == [[event]]
    assert statuses(run, world, ("event.event-type", "x")) == []
    with pytest.raises(WrongState):
        run(volume_status.enable_io, world.one.caller, volume_id)


def test_a_lost_disk(run, world, volume_id):
    change(run, volume_id, lost_since=NOW)
    (known,) = statuses(run, world, ("volume-status.status", "impaired"))
    assert (known.status, known.io_enabled) == ("impaired", "failed")
    (event,) = known.events
    assert (event.id, event.kind, event.since) == (f"l{volume_id}", "potential-data-inconsistency", NOW)
    for name, value in (
        ("event.event-id", event.id),
        ("event.event-type", event.kind),
        ("event.not-before", NOW.isoformat()),
        ("event.description", event.description),
    ):
        assert [one.events for one in statuses(run, world, (name, value))] == [[event]]
    assert statuses(run, world, ("event.event-type", "stalled")) == []
    with pytest.raises(WrongState):
        run(volume_status.enable_io, world.one.caller, volume_id)


def test_requests_that_are_not_done(run, world, volume_id):
    change(run, volume_id, stalled_since=NOW)
    (known,) = statuses(run, world, ("volume-status.status", "impaired"), ("event.event-type", "stalled"))
    assert (known.status, known.io_enabled) == ("impaired", "failed")
    (event,) = known.events
    assert (event.id, event.kind, event.since) == (f"s{volume_id}", "stalled", NOW)
    for name, value in (
        ("event.event-id", event.id),
        ("event.not-before", NOW.isoformat()),
        ("event.description", event.description),
    ):
        assert [one.events for one in statuses(run, world, (name, value))] == [[event]]
    change(run, volume_id, full_since=NOW)
    assert len(statuses(run, world)[0].events) == 2


@pytest.mark.parametrize("state", ["creating", "deleting"])
def test_a_volume_that_comes_or_goes(run, world, volume_id, state):
    change(run, volume_id, state=state, full_since=NOW)
    (known,) = statuses(run, world, ("volume-status.status", "insufficient-data"))
    assert (known.status, known.io_enabled) == ("insufficient-data", "insufficient-data")


def test_a_home_that_is_down(run, world, volume_id):
    run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    (known,) = statuses(run, world, ("volume-status.status", "insufficient-data"))
    assert known.volume.id == volume_id


def test_attributes(world, run, volume_id):
    assert run(volume_status.find_attributes, world.one.caller, volume_id).auto_enable_io is False
    run(volume_status.set_auto_enable_io, world.one.caller, volume_id, True)
    assert run(volume_status.find_attributes, world.one.caller, volume_id).auto_enable_io is True
    with pytest.raises(NotFound):
        run(volume_status.find_attributes, world.other.caller, volume_id)
    with pytest.raises(NotFound):
        run(volume_status.set_auto_enable_io, world.other.caller, volume_id, False)

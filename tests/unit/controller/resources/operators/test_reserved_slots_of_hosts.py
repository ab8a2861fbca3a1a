"""What becomes of slots of capacity reservations when their hosts are drained, removed, lost or shrink."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import (
    Host,
)
from stead_controller.errors import (
    InUse,
    NoCapacity,
)
from stead_controller.resources.operators import host_drain, host_records
from tests.support import rows
from tests.support.reserving import ONLY, end, launch, offer, set_host, shown
from tests.support.rows import CLOUD, NOW

pytestmark = pytest.mark.usefixtures("booked")


@pytest.mark.parametrize(
    "change", [{"state": "down"}, {"schedulable": False}, {"memory_offered": 0}, {"cpus_offered": 0}]
)
def test_a_slot_on_a_host_that_cannot_run_it_is_not_available(life, reserve, change):
    reserved = reserve(1)
    set_host(life, **change)
    assert shown(life, reserved) == [("active", 1, 0, 0)]
    with pytest.raises(NoCapacity):
        launch(life, wants=ONLY)


def test_slots_are_spread_like_instances(life, reserve, second):
    reserve(4)
    held = life.run(lambda tx: tx.session.scalars(select(Host.cpus_reserved)).all())
    assert held == [4, 4]


def test_a_host_with_slots_is_removed_once_others_have_room_for_them(life, reserve, second):
    reserved = reserve(2)
    offer(life, 1, second)
    with pytest.raises(InUse):
        life.run(host_records.remove_host, CLOUD, life.world.host_id, NOW, lost=False)
    assert shown(life, reserved) == [("active", 2, 2, 0)]
    offer(life, 2, second)
    life.run(host_records.remove_host, CLOUD, life.world.host_id, NOW, lost=False)
    assert shown(life, reserved) == [("active", 2, 2, 0)]


def test_slots_move_from_a_draining_host_when_no_instance_uses_them(life, reserve, second):
    set_host(life, second, schedulable=False)
    reserved = reserve(2)
    ids = launch(life)
    set_host(life, second, schedulable=True)
    life.run(host_records.drain_host, CLOUD, life.world.host_id, NOW)
    assert shown(life, reserved) == [("active", 2, 1, 1)]
    end(life, *ids)
    assert shown(life, reserved) == [("active", 2, 1, 0)]
    life.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert shown(life, reserved) == [("active", 2, 2, 0)]


def test_slots_stay_on_a_host_that_is_not_drained(life, reserve, second):
    set_host(life, second, schedulable=False)
    reserved = reserve(2)
    set_host(life, second, schedulable=True)
    life.run(host_records.set_schedulable, CLOUD, life.world.host_id, NOW, schedulable=False)
    before = shown(life, reserved)
    assert not life.run(host_drain.DUE.is_met, NOW)
    life.run(host_drain.start_elsewhere, CLOUD, NOW)
    assert shown(life, reserved) == before


def test_slots_that_are_all_in_use_keep_nobody_waiting(life, reserve, second):
    set_host(life, second, schedulable=False)
    reserve(1)
    launch(life, wants=ONLY)
    life.run(host_records.drain_host, CLOUD, life.world.host_id, NOW)
    assert not life.run(host_drain.DUE.is_met, NOW)


def test_a_lost_host_takes_its_slots_with_it(life, reserve, second):
    reserved = reserve(2)
    launch(life, 2)
    set_host(life, second, state="down")
    life.run(host_records.remove_host, CLOUD, second, NOW, lost=True)
    assert shown(life, reserved) == [("active", 1, 0, 1)]
    other = rows.host(zone="us-east-1b")
    life.run(lambda tx: tx.session.add(other))
    alone = reserve(1, zone="us-east-1b")
    set_host(life, other.id, state="down")
    life.run(host_records.remove_host, CLOUD, other.id, NOW, lost=True)
    assert shown(life, alone) == [("failed", 0, 0, 0)]

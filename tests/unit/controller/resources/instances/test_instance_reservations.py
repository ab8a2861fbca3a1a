"""Launches and starts use the slots of capacity reservations that they match, and leave others alone."""

import pytest
from sqlalchemy import delete, select, update

from stead_controller.db.tables import (
    CapacityReservationSlots,
    HostResource,
    Image,
    Instance,
    StoragePool,
    Volume,
)
from stead_controller.errors import InvalidCombination, LimitExceeded, NoCapacity
from stead_controller.resources import quotas
from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.instances.instance_reservations import (
    Candidate,
    Candidates,
    ChosenReservations,
    ReservationRequest,
)
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.operators import host_drain
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.reserving import (
    NONE,
    ONLY,
    TYPE,
    cancel,
    inside,
    launch,
    modify,
    offer,
    power_off,
    set_host,
    shown,
    start,
    stop,
)
from tests.support.rows import CLOUD, GIB, NOW

pytestmark = pytest.mark.usefixtures("booked")


def test_room_is_held_from_others_and_used_by_matching_launches(life, reserve):
    reserved = reserve(2)
    offer(life, 3)
    assert shown(life, reserved) == [("active", 2, 2, 0)]
    (other,) = launch(life, wants=NONE)
    assert inside(life, [other]) == [None]
    with pytest.raises(NoCapacity):
        launch(life, wants=NONE)
    ids = launch(life, 2)
    assert inside(life, ids) == [reserved, reserved]
    assert shown(life, reserved) == [("active", 2, 0, 2)]
    with pytest.raises(NoCapacity):
        launch(life)


def test_a_launch_has_what_is_left_of_a_reservation_and_other_room(life, reserve):
    reserved = reserve(1)
    offer(life, 2)
    assert inside(life, launch(life, 1, max_count=5)) == [reserved, None]


@pytest.mark.parametrize("change", [{"instance_type": "stead.tiny"}, {"zone": "us-east-1b"}])
def test_what_does_not_match_does_not_use_it(life, reserve, change):
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    reserve(1)
    (instance_id,) = life.launch(**{"instance_type": TYPE} | change)
    assert inside(life, [instance_id]) == [None]


def test_nobody_else_uses_it(life, reserve):
    reserve(1)
    request = LaunchRequest(life.world.image_id, TYPE, 1, 1)
    life.run(run_instances, life.world.other.caller, CLOUD, request, NOW)
    assert life.run(lambda tx: tx.session.scalars(select(Instance.capacity_reservation_id)).all()) == [None]


def test_only_who_names_a_targeted_one_uses_it(life, reserve):
    targeted = reserve(1, match="targeted")
    by_name = ReservationRequest(target=targeted)
    assert inside(life, launch(life)) == [None]
    with pytest.raises(NoCapacity) as refused:
        launch(life, wants=ONLY)
    assert refused.value.code == "ReservationCapacityExceeded"
    assert inside(life, launch(life, wants=by_name)) == [targeted]
    with pytest.raises(NoCapacity) as refused:
        launch(life, wants=by_name)
    assert refused.value.code == "ReservationCapacityExceeded"
    with pytest.raises(NoCapacity):
        life.launch(instance_type="stead.tiny", reservation=by_name)


def test_a_target_decides_about_the_zone(life, reserve):
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", memory_free=8 * GIB)))
    for zone in ("us-east-1a", "us-east-1b"):
        reserved = reserve(1, match="targeted", zone=zone)
        (instance_id,) = launch(life, wants=ReservationRequest(target=reserved))
        assert (life.instance(instance_id).zone, inside(life, [instance_id])) == (zone, [reserved])


def test_a_reservation_of_another_zone_takes_none(life, reserve):
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    reserved = reserve(1, match="targeted", zone="us-east-1b")
    with pytest.raises(NoCapacity):
        launch(life, wants=ReservationRequest(target=reserved), zone="us-east-1a")


def test_who_runs_in_reservations_only_takes_any_open_one(life, reserve):
    reserved = reserve(1)
    assert inside(life, launch(life, wants=ONLY)) == [reserved]
    with pytest.raises(NoCapacity):
        launch(life, wants=ONLY)


def test_a_stop_gives_the_slot_back_and_a_start_uses_it_again(life, reserve):
    reserved = reserve(1)
    offer(life, 1)
    ids = launch(life)
    stop(life, *ids)
    assert (shown(life, reserved), inside(life, ids)) == ([("active", 1, 1, 0)], [None])
    with pytest.raises(NoCapacity):
        launch(life, wants=NONE)
    start(life, *ids)
    assert (shown(life, reserved), inside(life, ids)) == ([("active", 1, 0, 1)], [reserved])


def test_what_its_host_binds_uses_no_slot_elsewhere(life, reserve, second):
    ids = launch(life)
    host_id = life.instance(ids[0]).host_id
    stop(life, *ids)
    set_host(life, host_id, schedulable=False)
    reserved = reserve(1)
    set_host(life, host_id, schedulable=True)
    life.run(lambda tx: setattr(tx.session.get_one(Instance, ids[0]), "sealed_tpm_key", b"key"))
    start(life, *ids)
    assert (inside(life, ids), life.instance(ids[0]).host_id) == ([None], host_id)
    stop(life, *ids)
    modify(life, reserved, 2)
    start(life, *ids)
    assert (inside(life, ids), life.instance(ids[0]).host_id) == ([reserved], host_id)


def test_a_slot_on_a_host_that_still_releases_a_volume_is_used_when_it_has(life, reserve, second):
    ids = launch(life)
    host_id = life.instance(ids[0]).host_id
    (other,) = {second, life.world.host_id} - {host_id}
    life.run(lambda tx: tx.session.execute(update(Volume).values(attachment_state="attached")) and None)
    stop(life, *ids)
    set_host(life, host_id, schedulable=False)
    reserved = reserve(1)
    set_host(life, host_id, schedulable=True)
    volume = life.run(lambda tx: tx.session.scalars(select(Volume.id).where(Volume.instance_id == ids[0])).one())
    row = HostResource(host_id=other, kind=desired.KIND_VOLUME, resource_id=volume, revision=1, body=None)
    life.run(lambda tx: tx.session.add(row))
    start(life, *ids)
    assert (inside(life, ids), life.instance(ids[0]).host_id) == ([None], host_id)
    stop(life, *ids)
    life.run(lambda tx: tx.session.execute(delete(HostResource).where(HostResource.host_id == other)) and None)
    start(life, *ids)
    assert (inside(life, ids), life.instance(ids[0]).host_id) == ([reserved], other)


def test_a_slot_whose_host_has_no_room_for_the_volumes_stays_free(life, reserve, second):
    reserved = reserve(1)
    host_id = life.run(lambda tx: tx.session.scalars(select(CapacityReservationSlots.host_id)).one())
    half = int(5 * GIB / CLOUD.volume_overcommit)
    pool = StoragePool(host_id=host_id, name="default", backend="directory", is_default=True, total=half, free=0)
    life.run(lambda tx: tx.session.add(pool))
    disks = tuple(BlockDevice(f"/dev/sd{letter}", size=3) for letter in "fg")
    ids = launch(life, block_devices=disks)
    assert (inside(life, ids), shown(life, reserved)) == ([None], [("active", 1, 1, 0)])


def test_an_instance_whose_target_has_ended_does_not_start(life, reserve):
    reserved = reserve(1, match="targeted")
    ids = launch(life, wants=ReservationRequest(target=reserved))
    stop(life, *ids)
    cancel(life, reserved)
    with pytest.raises(NoCapacity) as refused:
        start(life, *ids)
    assert refused.value.code == "ReservationCapacityExceeded"


def test_a_quota_holds_where_slots_that_were_counted_on_cannot_be_used(life, reserve, second):
    reserved = reserve(2)
    set_host(life, life.world.host_id, schedulable=False)
    life.run(lambda tx: quotas.set_value(tx, life.caller.account_id, quotas.STANDARD_VCPUS, 6))
    assert inside(life, launch(life, 1, max_count=2)) == [reserved, None]
    with pytest.raises(LimitExceeded):
        launch(life)


def test_who_runs_in_reservations_only_needs_no_quota(life, reserve):
    reserve(1)
    life.run(lambda tx: quotas.set_value(tx, life.caller.account_id, quotas.STANDARD_VCPUS, 2))
    launch(life, wants=ONLY)
    with pytest.raises(NoCapacity) as refused:
        launch(life, wants=ONLY)
    assert refused.value.code == "ReservationCapacityExceeded"


def launch_spot(life, **changes):
    (instance_id,) = launch(life, spot=True, shutdown_behavior="terminate", **changes)
    return instance_id


def test_spot_instances_run_in_none(life, reserve):
    first = launch_spot(life)
    reserved = reserve(1)
    second = launch_spot(life)
    assert shown(life, reserved) == [("active", 1, 1, 0)]
    life.run(host_drain.stop_guests, life.world.host_id, NOW)
    power_off(life, first)
    start(life, first)
    assert inside(life, [first, second]) == [None, None]
    for wants in (ONLY, ReservationRequest(target=reserved)):
        with pytest.raises(InvalidCombination):
            launch_spot(life, wants=wants)


def test_none_is_interrupted_for_who_runs_in_reservations_only(life, reserve):
    reserve(1)
    spot = launch_spot(life)
    launch(life, wants=ONLY)
    offer(life, 2)
    endings = {}
    for wants in (ONLY, NONE):
        with pytest.raises(NoCapacity) as refused:
            launch(life, wants=wants)
        endings[wants] = refused.value.ending
    assert endings == {ONLY: (), NONE: (spot,)}


def test_a_zone_with_slots_is_before_one_with_spot_instances(life, reserve):
    host = rows.host(zone="us-east-1b")
    life.run(lambda tx: tx.session.add(host))
    launch_spot(life, zone="us-east-1b")
    reserved = reserve(1)
    for host_id in (life.world.host_id, host.id):
        offer(life, 1, host_id)
    assert inside(life, launch(life)) == [reserved]


def test_an_instance_with_fewer_vcpus_uses_a_slot(life, reserve):
    reserved = reserve(1)
    (instance_id,) = launch(life, cpu_options=CpuOptions(1, 1))
    assert (life.instance(instance_id).vcpus, inside(life, [instance_id])) == (1, [reserved])
    cancel(life, reserved)


def test_a_host_without_its_firmware_does_not_run_it(life, reserve):
    reserved = reserve(1)
    set_host(life, uefi=False)
    life.run(lambda tx: setattr(tx.session.get_one(Image, life.world.image_id), "boot_mode", "uefi"))
    with pytest.raises(NoCapacity):
        launch(life, wants=ONLY)
    assert shown(life, reserved) == [("active", 1, 1, 0)]


def test_a_launch_without_reservations_reads_once_whether_there_are_some(life, statements):
    launch(life)
    statements.clear()
    launch(life, 2)
    about = [text for text in statements if "capacity_reservation" in text and not text.startswith(("INSERT", "WITH"))]
    assert len([text for text in about if "FROM capacity_reservations" in text]) == 1
    statements.clear()
    launch(life, wants=NONE)
    assert not [text for text in statements if "FROM capacity_reservations" in text]


def test_active_reservations_are_found_by_their_index(life, statements):
    launch(life)
    (read,) = [text for text in statements if "FROM capacity_reservations" in text]
    plan = life.run(
        lambda tx: tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {read}", ("a",) * read.count("?")).all()
    )
    assert [row for row in plan if "ix_capacity_reservations_account_active" in row[3]], plan


def test_a_zone_is_better_if_its_reservations_have_enough(life):
    found = (Candidate("cr-1", "a", 2), Candidate("cr-2", "b", 2), Candidate("cr-3", "b", 1), Candidate("cr-4", "b", 0))
    assert [Candidates(found).zone(count) for count in (1, 3, 4)] == ["b", "b", None]
    assert Candidates(found, only=True).zone(4) == "b"
    assert Candidates(found, only=True).within("b") == ChosenReservations(("cr-2", "cr-3"), 3, only=True)
    assert Candidates().within("a") == ChosenReservations()

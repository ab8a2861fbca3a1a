"""Capacity reservations in their transaction: made, changed, ended, and that their room is counted right."""

import random
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    CapacityReservation,
    Host,
    HostDevice,
    StoragePool,
)
from stead_controller.errors import (
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    NoCapacity,
    NotFound,
    SteadError,
    Unsupported,
    WrongState,
)
from stead_controller.resources import quotas
from stead_controller.resources.fleet import capacity_reservations
from stead_controller.resources.fleet.capacity_reservations import (
    CapacityReservationChange,
    EndRequest,
)
from stead_controller.resources.instances import own_types
from stead_controller.resources.instances.instance_reservations import (
    ReservationRequest,
)
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_proto.v1 import host_pb2 as pb
from tests.support import reserved_room, rows
from tests.support.reserving import (
    LATER,
    NONE,
    ONLY,
    STORE,
    TYPE,
    UNCHANGED,
    cancel,
    end,
    inside,
    launch,
    modify,
    offer,
    report,
    set_host,
    shown,
    start,
    stop,
)
from tests.support.rows import CLOUD, GIB, NOW

pytestmark = pytest.mark.usefixtures("booked")


def test_a_cancelled_one_releases_its_unused_slots_and_its_instances_run_on(life, reserve):
    reserved = reserve(2)
    offer(life, 2)
    ids = launch(life)
    cancel(life, reserved)
    assert (shown(life, reserved), inside(life, ids)) == ([("cancelled", 2, 0, 0)], [None])
    life.run(reserved_room.check)
    launch(life)
    for change in (lambda: cancel(life, reserved), lambda: modify(life, reserved, 1)):
        with pytest.raises(WrongState):
            change()
    with pytest.raises(WrongState):
        launch(life, wants=ReservationRequest(target=reserved))


def test_one_with_an_end_date_ends_then_and_is_forgotten_later(life, reserve):
    limited, unlimited = reserve(1, end=EndRequest("limited", LATER)), reserve(1)
    life.run(capacity_reservations.expire, LATER - timedelta(seconds=1))
    assert shown(life, limited) == [("active", 1, 1, 0)]
    life.run(capacity_reservations.expire, LATER)
    assert (*shown(life, limited), *shown(life, unlimited)) == (("expired", 1, 0, 0), ("active", 1, 1, 0))
    life.run(capacity_reservations.forget, LATER - timedelta(seconds=1))
    assert len(shown(life, limited)) == 1
    life.run(capacity_reservations.forget, LATER)
    with pytest.raises(NotFound):
        shown(life, limited)


def test_running_instances_that_match_are_in_a_new_open_one(life, reserve):
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    ids = launch(life, 4)
    stop(life, ids[2])
    report(life, ids[3], machine=pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=1))
    life.run(stop_instances, life.caller, ids[3:], NOW)
    (unwilling,) = launch(life, wants=NONE)
    (elsewhere,) = launch(life, zone="us-east-1b")
    request = LaunchRequest(life.world.image_id, TYPE, 1, 1, zone="us-east-1a")
    life.run(run_instances, life.world.other.caller, CLOUD, request, NOW)
    reserved = reserve(4)
    assert shown(life, reserved) == [("active", 4, 2, 2)]
    assert inside(life, [*ids, unwilling, elsewhere]) == [reserved, reserved, *[None] * 4]


def test_a_running_instance_whose_host_lacks_the_rest_of_a_slot_is_left_alone(life, reserve, second):
    ids = launch(life)
    host_id = life.instance(ids[0]).host_id
    taken = life.run(lambda tx: tx.session.get_one(Host, host_id).memory_reserved)
    set_host(life, host_id, memory_offered=taken)
    reserved = reserve(1)
    assert (inside(life, ids), shown(life, reserved)) == ([None], [("active", 1, 1, 0)])


def test_one_that_is_opened_takes_running_instances_instead_of_unused_slots(life, reserve):
    reserved = reserve(2, match="targeted")
    ids = launch(life)
    modify(life, reserved, match="open")
    assert (shown(life, reserved), inside(life, ids)) == ([("active", 2, 1, 1)], [reserved])
    with pytest.raises(WrongState):
        modify(life, reserved, match="targeted")


def test_more_and_fewer_slots(life, reserve):
    reserved = reserve(1)
    offer(life, 3)
    modify(life, reserved, 3)
    assert shown(life, reserved) == [("active", 3, 3, 0)]
    with pytest.raises(NoCapacity):
        modify(life, reserved, 4)
    ids = launch(life, 2)
    modify(life, reserved, 2)
    assert (shown(life, reserved), inside(life, ids)) == ([("active", 2, 0, 2)], [reserved, reserved])
    modify(life, reserved, 1)
    assert (shown(life, reserved), sorted(map(str, inside(life, ids)))) == (
        [("active", 1, 0, 1)],
        ["None", reserved],
    )


def test_an_end_date_is_set_and_removed(life, reserve):
    reserved = reserve()
    modify(life, reserved, end=EndRequest("limited", LATER))
    assert life.run(lambda tx: tx.session.get_one(CapacityReservation, reserved).end_date) == LATER
    modify(life, reserved, end=EndRequest("unlimited"))
    assert life.run(lambda tx: tx.session.get_one(CapacityReservation, reserved).end_date) is None


def test_reserved_vcpus_are_part_of_the_quota_and_not_counted_twice(life, reserve):
    account = life.caller.account_id
    life.run(lambda tx: quotas.set_value(tx, account, quotas.STANDARD_VCPUS, 6))
    with pytest.raises(LimitExceeded):
        reserve(4)
    reserved = reserve(2)
    ids = launch(life, 1, max_count=5)
    assert inside(life, ids) == [reserved, reserved, None]
    with pytest.raises(LimitExceeded):
        launch(life)
    stop(life, *ids)
    start(life, *ids)
    modify(life, reserved, 3)
    assert inside(life, ids) == [reserved] * 3, "it needs no more vCPUs"
    with pytest.raises(LimitExceeded):
        modify(life, reserved, 4)


def test_a_type_of_ones_own_stays_while_it_is_reserved(life, reserve):
    reserved = reserve(1)
    with pytest.raises(InUse, match=reserved):
        life.run(own_types.remove, TYPE)
    cancel(life, reserved)
    life.run(own_types.remove, TYPE)


def test_devices_are_held_with_a_slot(life, reserve):
    facts = STORE | {"devices": {"10de:1eb8": 1}}
    life.run(lambda tx: own_types.add(tx, "lab.gpu", facts, NOW))
    cards = [
        HostDevice(host_id=life.world.host_id, address=f"0000:{group:02x}:00.0", model="10de:1eb8", iommu_group=group)
        for group in (1, 2, 3)
    ]
    life.run(lambda tx: tx.session.add_all(cards))
    reserved = reserve(2, kind="lab.gpu")
    (first,) = life.launch(instance_type="lab.gpu", reservation=NONE)
    with pytest.raises(NoCapacity):
        life.launch(instance_type="lab.gpu", reservation=NONE)
    (second,) = life.launch(instance_type="lab.gpu")
    assert holders(life) == [(second, reserved), (None, reserved), (first, None)]
    stop(life, second)
    assert holders(life) == [(None, reserved), (None, reserved), (first, None)]
    life.run(lambda tx: tx.session.execute(update(HostDevice).values(refusal="broken")) and None)
    assert shown(life, reserved) == [("active", 2, 0, 0)]
    life.run(lambda tx: tx.session.execute(update(HostDevice).values(refusal="")) and None)
    start(life, second)
    modify(life, reserved, 1)
    assert holders(life) == [(second, reserved), (None, None), (first, None)]
    cancel(life, reserved)
    assert holders(life) == [(second, None), (None, None), (first, None)]
    adopting = reserve(2, kind="lab.gpu")
    assert holders(life) == [(second, adopting), (None, adopting), (first, None)]


def holders(life):
    query = select(HostDevice.instance_id, HostDevice.capacity_reservation_id).order_by(HostDevice.address)
    return [tuple(row) for row in life.run(lambda tx: tx.session.execute(query).all())]


def test_instance_store_is_held_with_a_slot(life, reserve):
    kind = "i3.large"
    pool = StoragePool(
        host_id=life.world.host_id, name="default", backend="directory", is_default=True, total=4000 * GIB, free=0
    )
    life.run(lambda tx: tx.session.add(pool))
    reserved = reserve(2, kind=kind)
    (instance_id,) = life.launch(instance_type=kind)
    assert inside(life, [instance_id]) == [reserved]
    life.run(reserved_room.check)
    modify(life, reserved, 1)
    life.run(reserved_room.check)
    cancel(life, reserved)


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (InvalidParameter, {"kind": "stead.none"}),
        (InvalidParameter, {"zone": "us-east-1z"}),
        (InvalidParameter, {"zone": None, "zone_id": "use1-az9"}),
        (MissingParameter, {"zone": None}),
        (InvalidCombination, {"zone_id": "use1-az1"}),
        (InvalidParameter, {"count": 0}),
        (InvalidParameter, {"count": 1001}),
        (InvalidParameter, {"match": "closed"}),
        (InvalidParameter, {"end": EndRequest("never")}),
        (InvalidParameter, {"end": EndRequest("limited", NOW)}),
        (InvalidCombination, {"end": EndRequest("limited")}),
        (InvalidCombination, {"end": EndRequest("unlimited", LATER)}),
        (Unsupported, {"platform": "Windows"}),
        (NoCapacity, {"count": 1000}),
    ],
)
def test_bad_requests_reserve_nothing(life, reserve, error, given):
    with pytest.raises(error):
        reserve(**given)
    assert life.rows(CapacityReservation) == 0


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MissingParameter, UNCHANGED),
        (InvalidParameter, CapacityReservationChange(0, EndRequest(), None)),
        (InvalidParameter, CapacityReservationChange(1002, EndRequest(), None)),
        (InvalidParameter, CapacityReservationChange(None, EndRequest(), "closed")),
        (InvalidCombination, CapacityReservationChange(2, EndRequest("limited"), None)),
    ],
)
def test_bad_changes_change_nothing(life, reserve, error, asked):
    reserved = reserve()
    with pytest.raises(error):
        life.run(capacity_reservations.modify, life.caller, CLOUD, reserved, asked, NOW)
    assert shown(life, reserved) == [("active", 1, 1, 0)]
    with pytest.raises(NotFound):
        life.run(capacity_reservations.modify, life.world.other.caller, CLOUD, reserved, asked, NOW)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_nothing_is_counted_twice(life, reserve, seed):
    """Launches, stops, starts, ends and changes in any order leave what is reserved right after each step."""
    dice = random.Random(seed)
    life.run(lambda tx: tx.session.add_all([rows.host(cpus_free=8), rows.host(cpus_free=6)]))
    set_host(life, cpus_offered=8)
    ids, reserved = [], []

    def launched():
        wants = dice.choice([None, NONE, ONLY, *[ReservationRequest(target=one) for one in reserved[-1:]]])
        ids.extend(launch(life, 1, max_count=dice.randint(1, 3), wants=wants))

    def instance(state, act):
        found = [one for one in ids if life.instance(one).state == state]
        if found:
            act(dice.choice(found))

    def reservation(act):
        if reserved:
            act(dice.choice(reserved))

    steps = [
        launched,
        launched,
        lambda: reserved.append(reserve(dice.randint(1, 4), match=dice.choice(["open", "targeted"]))),
        lambda: reservation(lambda one: modify(life, one, dice.randint(1, 6))),
        lambda: reservation(lambda one: modify(life, one, match=dice.choice(["open", "targeted"]))),
        lambda: reservation(lambda one: cancel(life, one)),
        lambda: instance("pending", lambda one: stop(life, one)),
        lambda: instance("stopped", lambda one: start(life, one)),
        lambda: instance("pending", lambda one: end(life, one)),
    ]
    for _ in range(40):
        with suppress(SteadError):  # refused, and nothing changed
            dice.choice(steps)()
        life.run(reserved_room.check)


def test_none_is_for_instances_with_whole_cores(life, reserve):
    life.run(lambda tx: own_types.add(tx, "lab.alone", STORE | {"whole_cores": True}, NOW))
    with pytest.raises(Unsupported, match="cores alone"):
        reserve(1, kind="lab.alone")

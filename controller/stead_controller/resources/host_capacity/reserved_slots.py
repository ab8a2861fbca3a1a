"""Slots of capacity reservations: room that hosts hold for instances of one type, each used by one instance at most.

What a slot takes of its host is part of the host's reserved capacity, whether an instance uses it or not; an instance
that uses it takes nothing more. So using a slot and giving it back change one row, by a conditional UPDATE, and no
other launch can have that room. A slot is as large as the largest instance of its type.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Boolean, and_, bindparam, delete, exists, func, insert, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import CapacityReservation, CapacityReservationSlots, Host
from stead_controller.errors import NoCapacity
from stead_controller.placement.choose_host import choose_host
from stead_controller.placement.need import Need
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search, Terms
from stead_controller.request import instance_types
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity, devices, rooms, volume_homes
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.host_capacity.volume_homes import DiskNeed

_Slots: Final = CapacityReservationSlots

_FREE: Final = Prepared(
    select(
        _Slots.reservation_id,
        _Slots.host_id,
        CapacityReservation.vcpus,
        CapacityReservation.memory,
        CapacityReservation.instance_store,
    )
    .join(CapacityReservation, CapacityReservation.id == _Slots.reservation_id)
    .where(_Slots.reservation_id.in_(bindparam("ids", expanding=True)), _Slots.used < _Slots.slots)
    .order_by(CapacityReservation.created, CapacityReservation.id)
)
# The host must be able to run the guest now: it may have been cordoned, or have shrunk, since the slot was made.
_USE: Final = Prepared(
    update(_Slots)
    .where(
        _Slots.reservation_id == bindparam("reservation"),
        _Slots.host_id == bindparam("host"),
        _Slots.used < _Slots.slots,
        exists().where(
            Host.id == bindparam("host"),
            Host.state == "up",
            Host.schedulable.is_(True),
            Host.uefi >= bindparam("uefi", type_=Boolean),
            Host.tpm >= bindparam("tpm", type_=Boolean),
            Host.cpus >= bindparam("vcpus"),
            Host.cpus_free + bindparam("slot_vcpus") >= bindparam("vcpus"),
            Host.memory_free + bindparam("slot_memory") >= bindparam("needed"),
        ),
    )
    .values(used=_Slots.used + 1)
    .returning(_Slots.host_id)
)


@dataclass(frozen=True, slots=True)
class _Size:
    """What a slot takes of its host."""

    vcpus: int
    memory: int
    instance_store: int


def need_of(tx: Transaction, reservation: CapacityReservation) -> Need:
    """Return what a slot of a reservation takes of its host."""
    kind = instance_types.find(tx, reservation.instance_type)
    wanted = kind.devices if kind is not None else ()
    return Need(
        reservation.vcpus,
        reservation.memory,
        reservation.architecture,
        reservation.instance_store,
        devices=wanted,
    )


def hold(tx: Transaction, cloud: Cloud, reservation: CapacityReservation, count: int) -> None:
    """Reserve room for more slots, on as many hosts as a launch would use; raises NoCapacity for less than `count`."""
    need = need_of(tx, reservation)
    beside: Counter[str] = Counter()
    for _ in range(count):
        _hold_one(tx, cloud, reservation, need, beside)


def use(
    tx: Transaction,
    cloud: Cloud,
    search: Search,
    disks: Sequence[DiskNeed],
    reservation_ids: Collection[str],
    *,
    but: Collection[str] = (),
    only_on: str = "",
) -> Place | None:
    """Use a slot of one of these reservations, the oldest first, and reserve space for volumes; None if there is none.

    It is on a host that all filters allow, `but` not on these, or `only_on` this one.
    """
    slots: defaultdict[str, dict[str, _Size]] = defaultdict(dict)
    for reservation_id, host_id, *size in _FREE.all(tx.connection, {"ids": list(reservation_ids)}):
        if host_id not in but and only_on in ("", host_id):
            slots[reservation_id][host_id] = _Size(*size)
    for reservation_id, sizes in slots.items():
        found = _rooms(tx, cloud, search, reservation_id, sizes)
        while (chosen := choose_host(found, search)) is not None:
            if _use(tx, chosen.host_id, reservation_id, search.need, sizes[chosen.host_id]):
                pools = volume_homes.reserve(tx, cloud, chosen.host_id, disks)
                if pools is not None:
                    return Place(chosen.host_id, tuple(pools), reservation_id=reservation_id)
                give_back(tx, reservation_id, chosen.host_id)
            found.remove(chosen)
    return None


def give_back(tx: Transaction, reservation_id: str, host_id: str) -> None:
    """Make a slot free that an instance used."""
    _change(tx, reservation_id, host_id, used=-1)


def adopt(tx: Transaction, cloud: Cloud, reservation: CapacityReservation, host_id: str, taken: Need) -> bool:
    """Make a slot of the room that a running instance has taken; False if its host has not the little that is missing.

    The slot is used by it. Its devices are not looked at.
    """
    more = Need(reservation.vcpus - taken.vcpus, reservation.memory - taken.memory, reservation.architecture)
    store = reservation.instance_store - taken.instance_store
    if not capacity.take(tx, host_id, more):
        return False
    if volume_homes.reserve(tx, cloud, host_id, (), instance_store=store) is None:
        capacity.count(tx, host_id, -more.vcpus, -more.memory)
        return False
    _add(tx, reservation.id, host_id, used=1)
    return True


def leave(tx: Transaction, reservation: CapacityReservation, host_id: str, taken: Need) -> None:
    """End a slot whose instance runs on without it, and has taken so much."""
    _change(tx, reservation.id, host_id, slots=-1, used=-1)
    capacity.count(tx, host_id, taken.vcpus - reservation.vcpus, taken.memory - reservation.memory)
    if reservation.instance_store > taken.instance_store:
        volume_homes.release_bytes(tx, host_id, "", reservation.instance_store - taken.instance_store)


def drop(tx: Transaction, reservation: CapacityReservation, most: int) -> int:
    """End unused slots, up to a number, and release their room; gives how many. Those of hosts with most go first."""
    unused = (_Slots.slots - _Slots.used).label("unused")
    query = select(_Slots.host_id, unused).where(_Slots.reservation_id == reservation.id, unused > 0)
    left = most
    for host_id, count in tx.session.execute(query.order_by(unused.desc(), _Slots.host_id)).all():
        ended = min(count, left)
        _drop_on(tx, reservation, host_id, ended)
        left -= ended
        if not left:
            break
    return most - left


def move_away(tx: Transaction, cloud: Cloud, host_id: str) -> None:
    """Move the unused slots of a host to others of its zone that have room; the rest stay."""
    for reservation, unused, _ in _on_host(tx, host_id):
        need = need_of(tx, reservation)
        beside: Counter[str] = Counter()
        for _ in range(unused):
            try:
                _hold_one(tx, cloud, reservation, need, beside, but=(host_id,))
            except NoCapacity:
                break
            _drop_on(tx, reservation, host_id, 1)


def lose(tx: Transaction, host_id: str) -> list[tuple[CapacityReservation, int]]:
    """End all slots of a host that is removed, and give how many each reservation has lost."""
    lost = [(reservation, unused + used) for reservation, unused, used in _on_host(tx, host_id)]
    tx.session.execute(delete(_Slots).where(_Slots.host_id == host_id))
    return lost


def available(tx: Transaction, reservations: Sequence[CapacityReservation]) -> Counter[str]:
    """Count the slots of each reservation that an instance could use now: on hosts that are up and have not shrunk."""
    found = _counted(
        tx,
        reservations,
        _Slots.slots - _Slots.used,
        and_(Host.state == "up", Host.schedulable.is_(True), Host.cpus_free >= 0, Host.memory_free >= 0),
    )
    for reservation in reservations:
        kind = instance_types.find(tx, reservation.instance_type)
        if kind is not None and kind.devices and reservation.id in found:
            found[reservation.id] -= sum(devices.broken_slots(tx, reservation.id).values())
    return found


def unused(tx: Transaction, reservation_id: str) -> int:
    """Count the slots of a reservation that have no instance."""
    query = select(func.sum(_Slots.slots - _Slots.used)).where(_Slots.reservation_id == reservation_id)
    return int(tx.session.scalar(query) or 0)


def used(tx: Transaction, reservations: Sequence[CapacityReservation]) -> Counter[str]:
    """Count the slots of each reservation that have an instance."""
    return _counted(tx, reservations, _Slots.used)


def _counted(tx: Transaction, reservations: Sequence[CapacityReservation], what: Any, *where: Any) -> Counter[str]:
    ids = [reservation.id for reservation in reservations]
    query = (
        select(_Slots.reservation_id, func.sum(what))
        .join(Host, Host.id == _Slots.host_id)
        .where(_Slots.reservation_id.in_(ids), *where)
        .group_by(_Slots.reservation_id)
    )
    return Counter({row[0]: int(row[1]) for row in tx.session.execute(query)})


def _on_host(tx: Transaction, host_id: str) -> list[tuple[CapacityReservation, int, int]]:
    """Return the reservations with slots on a host, and how many of these are unused and used."""
    query = (
        select(CapacityReservation, _Slots.slots - _Slots.used, _Slots.used)
        .join(_Slots, _Slots.reservation_id == CapacityReservation.id)
        .where(_Slots.host_id == host_id)
        .order_by(CapacityReservation.id)
    )
    return [(row[0], row[1], row[2]) for row in tx.session.execute(query)]


def _rooms(
    tx: Transaction, cloud: Cloud, search: Search, reservation_id: str, sizes: Mapping[str, _Size]
) -> list[Room]:
    """Return the hosts of slots with the room that each has with one of these: its own is part of what is free."""
    without_devices = replace(search, need=replace(search.need, devices=()))
    found = [_with_slot(room, sizes[room.host_id]) for room in rooms.some(tx, cloud, without_devices, sizes.keys())]
    return devices.with_reserved(tx, found, reservation_id) if search.need.devices else found


def _with_slot(room: Room, size: _Size) -> Room:
    return room._replace(
        cpus_free=room.cpus_free + size.vcpus,
        memory_free=room.memory_free + size.memory,
        store_free=None if room.store_free is None else room.store_free + size.instance_store,
    )


def _use(tx: Transaction, host_id: str, reservation_id: str, need: Need, size: _Size) -> bool:
    asked = {
        "reservation": reservation_id,
        "host": host_id,
        "uefi": need.uefi,
        "tpm": need.tpm,
        "vcpus": need.vcpus,
        "needed": need.memory,
        "slot_vcpus": size.vcpus,
        "slot_memory": size.memory,
    }
    return _USE.first(tx.connection, asked) is not None


def _hold_one(
    tx: Transaction,
    cloud: Cloud,
    reservation: CapacityReservation,
    need: Need,
    beside: Counter[str],
    *,
    but: Collection[str] = (),
) -> None:
    terms = Terms(reservation.instance_type, beside=beside)
    host_id = capacity.reserve_any(tx, cloud, need, reservation.zone, terms=terms, but=but).host_id
    if not devices.hold(tx, host_id, reservation.id, need.devices):
        capacity.release(tx, host_id, need)
        raise NoCapacity("The devices of that instance type were just given to an instance.")
    beside[host_id] += 1
    _add(tx, reservation.id, host_id)


def _drop_on(tx: Transaction, reservation: CapacityReservation, host_id: str, count: int) -> None:
    """End unused slots of a host and release their room."""
    _change(tx, reservation.id, host_id, slots=-count)
    capacity.count(tx, host_id, -reservation.vcpus * count, -reservation.memory * count)
    tx.makes_room = True
    if reservation.instance_store:
        volume_homes.release_bytes(tx, host_id, "", reservation.instance_store * count)
    devices.give_up_reserved(tx, host_id, reservation.id, count)


def _add(tx: Transaction, reservation_id: str, host_id: str, *, used: int = 0) -> None:
    """Add a slot, whose room is reserved, to those of a host."""
    if not _change(tx, reservation_id, host_id, slots=1, used=used):
        row = {"reservation_id": reservation_id, "host_id": host_id, "slots": 1, "used": used}
        tx.session.execute(insert(_Slots).values(row))


def _change(tx: Transaction, reservation_id: str, host_id: str, *, slots: int = 0, used: int = 0) -> bool:
    """Change the numbers of a host's row, and tell whether there is one; a row without slots is deleted."""
    mine = and_(_Slots.reservation_id == reservation_id, _Slots.host_id == host_id)
    changed = update(_Slots).where(mine).values(slots=_Slots.slots + slots, used=_Slots.used + used)
    left = tx.session.scalar(changed.returning(_Slots.slots).execution_options(synchronize_session=False))
    if left == 0:
        tx.session.execute(delete(_Slots).where(mine).execution_options(synchronize_session=False))
    return left is not None

"""PCI devices of hosts: which hosts have some, and which instance has which; a row is one device, so it has one holder.

Nothing is read for an instance that needs none.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, select, update

from stead_controller.catalog.instance_type import DeviceCount, InstanceType
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Host, HostDevice
from stead_controller.placement import cores as placement_cores
from stead_controller.placement.cores import CoreNeed, Node
from stead_controller.placement.devices import Device, choose
from stead_controller.placement.room import Room
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import cores

# Nothing speaks against giving it to an instance, and none has it; and no capacity reservation.
_USABLE: Final = and_(HostDevice.refusal == "", HostDevice.instance_id.is_(None))
IS_FREE: Final = and_(_USABLE, HostDevice.capacity_reservation_id.is_(None))
_OF_HOST: Final = (
    select(HostDevice.address, HostDevice.model, HostDevice.iommu_group, IS_FREE)
    .where(HostDevice.host_id == bindparam("host"))
    .order_by(HostDevice.address)
)
_WITH_MODEL: Final = select(HostDevice.host_id).where(HostDevice.model.in_(bindparam("models", expanding=True)))
_OF_ALL: Final = Prepared(
    select(
        HostDevice.host_id,
        HostDevice.address,
        HostDevice.model,
        HostDevice.iommu_group,
        IS_FREE,
    )
    .where(HostDevice.host_id.in_(_WITH_MODEL))
    .order_by(HostDevice.host_id, HostDevice.address)
)


class Offer:
    """Which types are offered, by the architectures, devices and whole cores of hosts: also while instances have these.

    One per transaction.
    """

    def __init__(self, tx: Transaction) -> None:
        """Read nothing yet."""
        self._tx = tx
        self._devices: dict[tuple[str, str], list[Device]] | None = None  # by zone and host
        self._nodes: dict[tuple[str, str], tuple[Node, ...]] | None = None
        self._running: dict[str, set[tuple[str, str]]] | None = None  # by architecture

    def has(self, kind: InstanceType) -> bool:
        """Tell whether a type is offered: some host runs its architecture, with the devices and cores that it needs."""
        return kind.offered or bool(self.zones_of(kind))

    def has_in(self, kind: InstanceType, zone: str | None) -> bool:
        """Tell whether a type is offered in a zone, or without one anywhere."""
        if zone is None or kind.offered:
            return self.has(kind)
        return zone in self.zones_of(kind)

    def zones_of(self, kind: InstanceType) -> frozenset[str]:
        """Return the zones in which a host has what a type needs that is not offered everywhere."""
        need = placement_cores.needed(kind, kind.cores, kind.threads_per_core)
        return self.zones(kind.architecture, kind.devices, need)

    def zones(self, architecture: str, wanted: Sequence[DeviceCount], need: CoreNeed | None) -> frozenset[str]:
        """Return the zones in which a host runs an architecture and has such devices, and such cores."""
        self._running = self._read_architectures() if self._running is None else self._running
        fitting = [self._running.get(architecture, set())]
        if wanted:
            self._devices = self._read() if self._devices is None else self._devices
            fitting.append({place for place, devices in self._devices.items() if choose(devices, wanted) is not None})
        if need is not None:
            self._nodes = cores.all_nodes(self._tx) if self._nodes is None else self._nodes
            fitting.append({place for place, found in self._nodes.items() if placement_cores.choose(found, need)})
        return frozenset(zone for zone, _ in set.intersection(*fitting))

    def _read_architectures(self) -> dict[str, set[tuple[str, str]]]:
        found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        query = select(Host.zone, Host.id, Host.architecture, Host.emulates)
        for zone, host_id, own, emulates in self._tx.session.execute(query):
            for architecture in (own, *emulates.split()):
                found[architecture].add((zone, host_id))
        return found

    def _read(self) -> dict[tuple[str, str], list[Device]]:
        columns = (Host.zone, Host.id, HostDevice.address, HostDevice.model, HostDevice.iommu_group, HostDevice.refusal)
        query = select(*columns).join(HostDevice, HostDevice.host_id == Host.id).order_by(Host.id, HostDevice.address)
        found: defaultdict[tuple[str, str], list[Device]] = defaultdict(list)
        for zone, host_id, address, model, group, refusal in self._tx.session.execute(query):
            found[zone, host_id].append(Device(address, model, group, not refusal))
        return found


def with_devices(tx: Transaction, rooms: Iterable[Room], wanted: Collection[DeviceCount]) -> Iterable[Room]:
    """Return rooms with the devices of their hosts, if some are wanted."""
    if not wanted:
        return rooms
    found: defaultdict[str, list[Device]] = defaultdict(list)
    rows = _OF_ALL.all(tx.connection, {"models": [one.model for one in wanted]})
    for host_id, address, model, group, free in rows:
        found[host_id].append(Device(address, model, group, bool(free)))
    return [room._replace(devices=tuple(found[room.host_id])) for room in rooms]


def take(tx: Transaction, host_id: str, instance_id: str, wanted: Sequence[DeviceCount]) -> bool:
    """Give an instance, whose row is written, the devices that it needs; False, and nothing given, if they are taken.

    Each is taken only if nobody has it: of two instances that choose the same at the same time, one gets nothing.
    """
    if not wanted:
        return True
    chosen = _choose(tx, host_id, wanted)
    if chosen is None:
        return False
    tx.session.flush()
    if _give(tx, host_id, chosen, IS_FREE, instance_id=instance_id):
        return True
    release(tx, instance_id)
    return False


def hold(tx: Transaction, host_id: str, reservation_id: str, wanted: Sequence[DeviceCount]) -> bool:
    """Reserve the devices of one more slot of a capacity reservation; False, and nothing done, if they are taken."""
    if not wanted:
        return True
    chosen = _choose(tx, host_id, wanted)
    if chosen is None:
        return False
    number = _next_slot(tx, reservation_id)
    if _give(tx, host_id, chosen, IS_FREE, capacity_reservation_id=reservation_id, reserved_slot=number):
        return True
    _give_up(tx, reservation_id, HostDevice.reserved_slot == number)
    return False


def adopt(tx: Transaction, instance_id: str, reservation_id: str) -> None:
    """Make the devices that an instance has those of a new slot of a capacity reservation."""
    number = _next_slot(tx, reservation_id)
    _change(tx, HostDevice.instance_id == instance_id, capacity_reservation_id=reservation_id, reserved_slot=number)


def take_reserved(
    tx: Transaction, host_id: str, instance_id: str, reservation_id: str, wanted: Collection[DeviceCount]
) -> bool:
    """Give an instance, whose row is written, the devices of a slot of its reservation; False if none is free."""
    if not wanted:
        return True
    for number in _free_slots(tx, host_id, reservation_id):
        of_slot = and_(HostDevice.capacity_reservation_id == reservation_id, HostDevice.reserved_slot == number)
        addresses = select(HostDevice.address).where(HostDevice.host_id == host_id, of_slot)
        tx.session.flush()
        if _give(tx, host_id, tx.session.scalars(addresses).all(), and_(_USABLE, of_slot), instance_id=instance_id):
            return True
        release(tx, instance_id)
    return False


def give_up_reserved(tx: Transaction, host_id: str, reservation_id: str, slots: int) -> None:
    """Let others have the devices of so many slots that no instance uses."""
    numbers = _unused_slots(tx, host_id, reservation_id)[:slots]
    _give_up(tx, reservation_id, HostDevice.reserved_slot.in_(numbers))


def leave_reservation(tx: Transaction, instance_id: str) -> None:
    """Take the devices that an instance has out of its capacity reservation: they are free when it ends."""
    _change(tx, HostDevice.instance_id == instance_id, capacity_reservation_id=None, reserved_slot=None)


def with_reserved(tx: Transaction, rooms: Iterable[Room], reservation_id: str) -> list[Room]:
    """Return rooms with the devices that a capacity reservation has on their hosts."""
    columns = (HostDevice.host_id, HostDevice.address, HostDevice.model, HostDevice.iommu_group, _USABLE)
    query = select(*columns).where(HostDevice.capacity_reservation_id == reservation_id)
    found: defaultdict[str, list[Device]] = defaultdict(list)
    for host_id, address, model, group, free in tx.session.execute(query):
        found[host_id].append(Device(address, model, group, bool(free)))
    return [room._replace(devices=tuple(found[room.host_id])) for room in rooms]


def broken_slots(tx: Transaction, reservation_id: str) -> Counter[str]:
    """Count on each host the slots of a capacity reservation that no instance uses, nor can use, for their devices."""
    query = select(HostDevice.host_id, HostDevice.reserved_slot).where(
        HostDevice.capacity_reservation_id == reservation_id,
        HostDevice.instance_id.is_(None),
        HostDevice.refusal != "",
    )
    return Counter(host_id for host_id, _ in tx.session.execute(query.distinct()))


def release(tx: Transaction, instance_id: str) -> None:
    """Return the devices of an instance; others may have them, or the next one in its capacity reservation."""
    _change(tx, HostDevice.instance_id == instance_id, instance_id=None)


def _choose(tx: Transaction, host_id: str, wanted: Sequence[DeviceCount]) -> tuple[str, ...] | None:
    rows = tx.session.execute(_OF_HOST, {"host": host_id})
    return choose([Device(address, model, group, bool(free)) for address, model, group, free in rows], wanted)


def _next_slot(tx: Transaction, reservation_id: str) -> int:
    last = select(func.max(HostDevice.reserved_slot)).where(HostDevice.capacity_reservation_id == reservation_id)
    return (tx.session.scalar(last) or 0) + 1


def _unused_slots(tx: Transaction, host_id: str, reservation_id: str) -> list[int]:
    """Return the slots without an instance, those first that none can use."""
    query = (
        select(HostDevice.reserved_slot)
        .where(
            HostDevice.host_id == host_id,
            HostDevice.capacity_reservation_id == reservation_id,
            HostDevice.instance_id.is_(None),
        )
        .group_by(HostDevice.reserved_slot)
        .order_by(func.max(HostDevice.refusal).desc(), HostDevice.reserved_slot)
    )
    return [number for number in tx.session.scalars(query) if number is not None]


def _free_slots(tx: Transaction, host_id: str, reservation_id: str) -> list[int]:
    """Return the slots that an instance can have."""
    query = (
        select(HostDevice.reserved_slot)
        .where(HostDevice.host_id == host_id, HostDevice.capacity_reservation_id == reservation_id)
        .group_by(HostDevice.reserved_slot)
        .having(func.min(case((_USABLE, 1), else_=0)) == 1)
        .order_by(HostDevice.reserved_slot)
    )
    return [number for number in tx.session.scalars(query) if number is not None]


def _give_up(tx: Transaction, reservation_id: str, which: ColumnElement[bool]) -> None:
    mine = HostDevice.capacity_reservation_id == reservation_id
    _change(tx, and_(mine, which), capacity_reservation_id=None, reserved_slot=None)


def _give(
    tx: Transaction, host_id: str, addresses: Sequence[str], condition: ColumnElement[bool], **values: str | int
) -> bool:
    """Change devices of which the condition still holds, and tell whether these were all; if not, it must be undone."""
    return _change(
        tx, and_(HostDevice.host_id == host_id, HostDevice.address.in_(addresses), condition), **values
    ) == len(addresses)


def _change(tx: Transaction, which: ColumnElement[bool], **values: str | int | None) -> int:
    """Change devices and return how many."""
    changed = update(HostDevice).where(which).values(**values).returning(HostDevice.address)
    return len(tx.session.execute(changed.execution_options(synchronize_session=False)).all())

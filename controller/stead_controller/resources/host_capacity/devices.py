"""PCI devices of hosts: which hosts have some, and which instance has which; a row is one device, so it has one holder.

Nothing is read for an instance that needs none.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.catalog.instance_type import DeviceCount, InstanceType
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Host, HostDevice
from stead_controller.placement.devices import Device, choose
from stead_controller.placement.room import Room
from stead_controller.request.transaction import Transaction

_OF_HOST: Final = (
    select(HostDevice.address, HostDevice.model, HostDevice.iommu_group, HostDevice.refusal, HostDevice.instance_id)
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
        HostDevice.refusal,
        HostDevice.instance_id,
    )
    .where(HostDevice.host_id.in_(_WITH_MODEL))
    .order_by(HostDevice.host_id, HostDevice.address)
)


class Offer:
    """Which types are offered, by the devices that hosts have: also while instances have these. One per transaction."""

    def __init__(self, tx: Transaction) -> None:
        """Read nothing yet."""
        self._tx = tx
        self._hosts: list[tuple[str, list[Device]]] | None = None

    def has(self, kind: InstanceType) -> bool:
        """Tell whether a type is offered: it runs here, and some host has the devices that it needs."""
        return kind.offered or (kind.runs and bool(self.zones(kind.devices)))

    def has_in(self, kind: InstanceType, zone: str | None) -> bool:
        """Tell whether a type is offered in a zone, or without one anywhere."""
        if zone is None or not kind.devices:
            return self.has(kind)
        return kind.runs and zone in self.zones(kind.devices)

    def zones(self, wanted: Sequence[DeviceCount]) -> frozenset[str]:
        """Return the zones in which a host has such devices."""
        if self._hosts is None:
            self._hosts = self._read()
        return frozenset(zone for zone, devices in self._hosts if choose(devices, wanted) is not None)

    def _read(self) -> list[tuple[str, list[Device]]]:
        columns = (Host.zone, Host.id, HostDevice.address, HostDevice.model, HostDevice.iommu_group, HostDevice.refusal)
        query = select(*columns).join(HostDevice, HostDevice.host_id == Host.id).order_by(Host.id, HostDevice.address)
        found: defaultdict[tuple[str, str], list[Device]] = defaultdict(list)
        for zone, host_id, address, model, group, refusal in self._tx.session.execute(query):
            found[zone, host_id].append(Device(address, model, group, not refusal))
        return [(zone, devices) for (zone, _), devices in found.items()]


def with_devices(tx: Transaction, rooms: Iterable[Room], wanted: Collection[DeviceCount]) -> Iterable[Room]:
    """Return rooms with the devices of their hosts, if some are wanted."""
    if not wanted:
        return rooms
    found: defaultdict[str, list[Device]] = defaultdict(list)
    rows = _OF_ALL.all(tx.connection, {"models": [one.model for one in wanted]})
    for host_id, address, model, group, refusal, holder in rows:
        found[host_id].append(Device(address, model, group, not refusal and holder is None))
    return [room._replace(devices=tuple(found[room.host_id])) for room in rooms]


def take(tx: Transaction, host_id: str, instance_id: str, wanted: Sequence[DeviceCount]) -> bool:
    """Give an instance, whose row is written, the devices that it needs; False, and nothing given, if they are taken.

    Each is taken only if nobody has it: of two instances that choose the same at the same time, one gets nothing.
    """
    if not wanted:
        return True
    rows = tx.session.execute(_OF_HOST, {"host": host_id})
    devices = [
        Device(address, model, group, not refusal and holder is None) for address, model, group, refusal, holder in rows
    ]
    chosen = choose(devices, wanted)
    if chosen is None:
        return False
    tx.session.flush()
    taken = tx.session.execute(
        update(HostDevice)
        .where(HostDevice.host_id == host_id, HostDevice.address.in_(chosen), HostDevice.instance_id.is_(None))
        .values(instance_id=instance_id)
        .returning(HostDevice.address)
        .execution_options(synchronize_session=False)
    ).all()
    if len(taken) == len(chosen):
        return True
    release(tx, instance_id)
    return False


def release(tx: Transaction, instance_id: str) -> None:
    """Return the devices of an instance; others may have them."""
    tx.session.execute(
        update(HostDevice)
        .where(HostDevice.instance_id == instance_id)
        .values(instance_id=None)
        .execution_options(synchronize_session=False)
    )

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
from stead_controller.placement import cores as placement_cores
from stead_controller.placement.cores import CoreNeed, Node
from stead_controller.placement.devices import Device, choose
from stead_controller.placement.room import Room
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import cores

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
    """Which types are offered, by the devices and whole cores that hosts have: also while instances have these.

    One per transaction.
    """

    def __init__(self, tx: Transaction) -> None:
        """Read nothing yet."""
        self._tx = tx
        self._devices: dict[tuple[str, str], list[Device]] | None = None  # by zone and host
        self._nodes: dict[tuple[str, str], tuple[Node, ...]] | None = None

    def has(self, kind: InstanceType) -> bool:
        """Tell whether a type is offered: it runs here, and some host has the devices and cores that it needs."""
        return kind.offered or (kind.runs and bool(self.zones_of(kind)))

    def has_in(self, kind: InstanceType, zone: str | None) -> bool:
        """Tell whether a type is offered in a zone, or without one anywhere."""
        if zone is None or kind.offered:
            return self.has(kind)
        return kind.runs and zone in self.zones_of(kind)

    def zones_of(self, kind: InstanceType) -> frozenset[str]:
        """Return the zones in which a host has what a type needs that is not offered everywhere."""
        return self.zones(kind.devices, placement_cores.needed(kind, kind.cores, kind.threads_per_core))

    def zones(self, wanted: Sequence[DeviceCount], need: CoreNeed | None) -> frozenset[str]:
        """Return the zones in which a host has such devices, and such cores; one of both must be needed."""
        fitting = []
        if wanted:
            self._devices = self._read() if self._devices is None else self._devices
            fitting.append({place for place, devices in self._devices.items() if choose(devices, wanted) is not None})
        if need is not None:
            self._nodes = cores.all_nodes(self._tx) if self._nodes is None else self._nodes
            fitting.append({place for place, found in self._nodes.items() if placement_cores.choose(found, need)})
        return frozenset(zone for zone, _ in set.intersection(*fitting))

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

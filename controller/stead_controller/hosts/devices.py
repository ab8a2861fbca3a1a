"""Stores the PCI devices that hosts report for instances; which instance has one is the controller's to say."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import HostDevice
from stead_proto.v1 import host_pb2 as pb

GONE: Final = "its host no longer has it"
_ADDRESS_LENGTH: Final = 16
_MODEL_LENGTH: Final = 9
_TEXT_LENGTH: Final = 64
_REFUSAL_LENGTH: Final = 255


def of_hosts(tx: Transaction, host_ids: Collection[str]) -> defaultdict[str, list[HostDevice]]:
    """Return the known devices of hosts, by host."""
    found: defaultdict[str, list[HostDevice]] = defaultdict(list)
    for device in tx.session.scalars(select(HostDevice).where(HostDevice.host_id.in_(host_ids))):
        found[device.host_id].append(device)
    return found


def take(tx: Transaction, host_id: str, reported: Iterable[pb.PciDevice], rows: Iterable[HostDevice]) -> None:
    """Store the devices that a host has now; `rows` are the known ones.

    One that it no longer reports is forgotten; if an instance or a capacity reservation has it, it cannot be given
    again.
    """
    known = {row.address: row for row in rows}
    for device in reported:
        row = known.pop(device.address, None)
        if row is None:
            if not device.address or len(device.address) > _ADDRESS_LENGTH or len(device.model) != _MODEL_LENGTH:
                continue
            row = HostDevice(host_id=host_id, address=device.address)
            tx.session.add(row)
        row.model = device.model[:_MODEL_LENGTH]
        row.class_code = device.class_code
        row.iommu_group = device.iommu_group
        row.driver = device.driver[:_TEXT_LENGTH]
        row.numa_node = device.numa_node
        row.reset = device.reset[:_TEXT_LENGTH]
        row.refusal = device.refusal[:_REFUSAL_LENGTH]
    for gone in known.values():
        if gone.instance_id is None and gone.capacity_reservation_id is None:
            tx.session.delete(gone)
        else:
            gone.refusal = GONE

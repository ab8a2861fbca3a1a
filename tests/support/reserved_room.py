"""Whether what hosts, pools and accounts have reserved is just what instances and capacity reservations take of them."""

from collections import Counter
from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import (
    AccountUsage,
    CapacityReservation,
    CapacityReservationSlots,
    Host,
    HostDevice,
    Instance,
    StoragePool,
)
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances import instance_needs


def check(tx: Transaction) -> None:
    """Count everything anew and compare it with what is stored."""
    cpus, memory, used, vcpus = Counter[str](), Counter[str](), Counter[Any](), Counter[str]()
    for instance in tx.session.scalars(select(Instance)):
        if not instance.capacity_held:
            assert instance.capacity_reservation_id is None, instance.state
            continue
        if instance.capacity_reservation_id is not None:
            used[instance.capacity_reservation_id, instance.host_id] += 1
            continue
        need = instance_needs.of(tx, instance)
        cpus[instance.host_id or ""] += need.vcpus
        memory[instance.host_id or ""] += need.memory
        vcpus[instance.account_id] += need.vcpus
    totals = Counter[str]()
    query = select(CapacityReservation, CapacityReservationSlots).join(
        CapacityReservationSlots, CapacityReservationSlots.reservation_id == CapacityReservation.id
    )
    for reservation, slots in tx.session.execute(query):
        assert 0 <= slots.used <= slots.slots > 0
        assert slots.used == used.pop((reservation.id, slots.host_id), 0)
        cpus[slots.host_id] += reservation.vcpus * slots.slots
        memory[slots.host_id] += reservation.memory * slots.slots
        vcpus[reservation.account_id] += reservation.vcpus * slots.slots
        totals[reservation.id] += slots.slots
    assert not used, "each instance in a reservation uses a slot of its host"
    active = select(CapacityReservation).where(CapacityReservation.state == "active")
    assert totals == Counter({row.id: row.instance_count for row in tx.session.scalars(active)})
    for host in tx.session.scalars(select(Host)):
        assert (host.cpus_reserved, host.memory_reserved) == (cpus[host.id], memory[host.id])
    for pool in tx.session.scalars(select(StoragePool)):
        counted = volume_homes.provisioned(tx, pool.host_id, pool.name, is_default=pool.is_default)
        assert pool.provisioned == counted
    usages = tx.session.scalars(select(AccountUsage).where(AccountUsage.name == "vcpus"))
    assert {row.account_id: row.value for row in usages if row.value} == {key: n for key, n in vcpus.items() if n}
    for device in tx.session.scalars(select(HostDevice).where(HostDevice.capacity_reservation_id.is_not(None))):
        assert totals[device.capacity_reservation_id or ""], "an ended reservation has no devices"

"""Reserving room for the first tenant of a world, launching into it, and what hosts report of that."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import CapacityReservation, Host, Instance
from stead_controller.hosts.reports import apply_progress
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.fleet import capacity_reservations
from stead_controller.resources.fleet.capacity_reservations import (
    CapacityReservationChange,
    CapacityReservationRequest,
    EndRequest,
)
from stead_controller.resources.instances import own_types, stop_instances
from stead_controller.resources.instances.instance_reservations import ReservationRequest
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import reserved_room, rows
from tests.support.life import Life
from tests.support.rows import CLOUD, NOW

TYPE = "lab.small"
STORE = {
    "vcpus": 2,
    "threads_per_core": 1,
    "memory_mib": 256,
    "interfaces": 1,
    "addresses": 2,
    "network_mbps": {"baseline": 100, "burst": 200},
}
NONE = ReservationRequest("none")
ONLY = ReservationRequest("capacity-reservations-only")
NO_END = EndRequest()
LATER = NOW + timedelta(hours=1)
UNCHANGED = CapacityReservationChange(None, NO_END, None)


@pytest.fixture
def reserve(life: Life) -> Callable[..., str]:
    """Reserve for the first tenant; gives the id."""

    def call(count: int = 1, *, kind: str = TYPE, end: EndRequest = NO_END, match: str = "open", **more: Any) -> str:
        values: dict[str, Any] = {
            "instance_type": kind,
            "platform": "Linux/UNIX",
            "count": count,
            "zone": "us-east-1a",
            "zone_id": None,
            "end": end,
            "match_criteria": match,
            "ebs_optimized": False,
            "tags": {},
            "repeatable": Repeatable("Create", "", ""),
        }
        request = CapacityReservationRequest(**values | more)
        made: str = life.run(capacity_reservations.create, life.caller, CLOUD, request, NOW).row.id
        return made

    return call


@pytest.fixture
def booked(life: Life) -> Iterator[None]:
    """After each test, all that is reserved is counted anew."""
    life.run(lambda tx: own_types.add(tx, TYPE, STORE, NOW))
    yield
    life.run(reserved_room.check)


@pytest.fixture
def second(life: Life) -> str:
    """Another host of the first zone; its id."""
    host = rows.host()
    life.run(lambda tx: tx.session.add(host))
    return str(host.id)


def launch(life: Life, count: int = 1, *, wants: ReservationRequest | None = None, **changes: Any) -> list[str]:
    wants = ReservationRequest() if wants is None else wants
    return list(life.launch(count, instance_type=TYPE, reservation=wants, **changes))


def shown(life: Life, *reservation_ids: str) -> list[tuple[str, int, int, int]]:
    """State, number of instances, of slots that can be used, and of those that are."""
    found = life.run(capacity_reservations.describe, life.caller, CLOUD, Selection(ids=reservation_ids))
    return [(one.row.state, one.row.instance_count, one.available, one.used) for one in found]


def inside(life: Life, instance_ids: Iterable[str]) -> list[str | None]:
    """The reservation of each instance."""
    return [life.instance(instance_id).capacity_reservation_id for instance_id in instance_ids]


def modify(
    life: Life, reservation_id: str, count: int | None = None, end: EndRequest = NO_END, match: str | None = None
) -> None:
    asked = CapacityReservationChange(count, end, match)
    life.run(capacity_reservations.modify, life.caller, CLOUD, reservation_id, asked, NOW)


def cancel(life: Life, reservation_id: str) -> None:
    life.run(capacity_reservations.cancel, life.caller, reservation_id, NOW)


def set_host(life: Life, host_id: str | None = None, **values: Any) -> None:
    host_id = host_id or life.world.host_id
    life.run(lambda tx: tx.session.execute(update(Host).where(Host.id == host_id).values(**values)) and None)


def offer(life: Life, slots: int, host_id: str | None = None) -> None:
    """Let a host have room for so many instances of the type, whatever their firmware, and for a few bytes more."""
    memory = life.run(lambda tx: tx.session.scalars(select(CapacityReservation.memory)).first())
    set_host(life, host_id, cpus_offered=2 * slots, memory_offered=memory * slots + 1)


def report(life: Life, instance_id: str, condition: Any = pb.CONDITION_READY, **more: Any) -> None:
    """Let the host of an instance report its machine."""
    host_id = life.instance(instance_id).host_id
    status = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=instance_id, condition=condition, **more)
    life.run(apply_progress, [(host_id, [status])], NOW)


def stop(life: Life, *ids: str) -> None:
    """Stop instances, which may have been launched a moment before, and let their host report that they are off."""
    for instance_id in ids:
        life.run(lambda tx, it: stop_instances.stop(tx, tx.session.get_one(Instance, it), NOW), instance_id)
        power_off(life, instance_id)


def power_off(life: Life, instance_id: str) -> None:
    """Let the host report that a stopping instance is off."""
    count = life.instance(instance_id).start_count
    report(life, instance_id, machine=pb.MachineStatus(power=pb.MACHINE_POWER_OFF, start_count=count))
    assert life.instance(instance_id).state == "stopped"


def start(life: Life, *ids: str) -> None:
    life.run(start_instances, life.caller, CLOUD, ids, NOW)


def end(life: Life, *ids: str) -> None:
    life.run(terminate_instances, life.caller, ids, NOW)
    for instance_id in ids:
        report(life, instance_id, pb.CONDITION_ABSENT)
        assert life.instance(instance_id).state == "terminated"

"""Interruptions of Spot Instances: their room is for others, when a launch or a start finds none.

The launch is refused as on EC2, and its refusal says that there will be room. The Spot Instances that have to end for
it are given notice, in another transaction since a refusal changes nothing, and end two minutes later. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, exists, select

from stead_controller.catalog import boot_modes
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import HostCore, Instance
from stead_controller.desired import desired_state
from stead_controller.errors import NoCapacity, NotFound, WrongState
from stead_controller.placement import interruptions
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.interruptions import Resident
from stead_controller.placement.search import Search
from stead_controller.request import lookup
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import rooms
from stead_controller.resources.instances.instance_states import SPOT_INTERRUPTION, change_state

NOTICE: Final = timedelta(minutes=2)
"""How long before its end a Spot Instance is given notice of it."""

CLAIMED: Final = timedelta(minutes=2)
"""How long after such an end its host takes no new Spot Instances: those for whom it was may try again meanwhile."""

PROMISE: Final = (
    " Spot Instances are being interrupted for such requests: try again in two minutes, when they have ended."
)
"""What a refusal says at its end if they are."""

_MOST: Final = 1000  # of the Spot Instances of a zone, so many are considered: those that were launched last
_BATCH: Final = 500
_NOT: Final = timedelta()
_ALIVE: Final = ("pending", "running")
_RESIDENTS: Final = Prepared(
    select(
        Instance.id,
        Instance.host_id,
        Instance.vcpus,
        Instance.memory,
        Instance.boot_mode,
        Instance.architecture,
        Instance.sealed_tpm_key.is_not(None).label("tpm"),
        Instance.state,
        Instance.interruption,
    )
    .where(
        Instance.zone == bindparam("zone"),
        Instance.spot_request_id.is_not(None),
        Instance.capacity_held.is_(True),
        Instance.host_id.is_not(None),
        ~exists().where(HostCore.instance_id == Instance.id),  # their end frees none of the vCPUs that others share
    )
    .order_by(Instance.launch_time.desc(), Instance.id.desc())
    .limit(_MOST)
)
_ANY: Final = Prepared(
    select(Instance.id)
    .where(
        Instance.zone == bindparam("zone"),
        Instance.spot_request_id.is_not(None),
        Instance.capacity_held.is_(True),
    )
    .limit(1)
)


def zones(tx: Transaction, among: Collection[str]) -> list[str]:
    """Return those of some zones that have Spot Instances with room of a host."""
    return [zone for zone in among if _ANY.first(tx.connection, {"zone": zone}) is not None]


def claimed_hosts(tx: Transaction, now: datetime) -> frozenset[str]:
    """Return the hosts whose room others have claimed: from the notice of a Spot Instance to a while after its end."""
    claimed = select(Instance.host_id).where(Instance.interruption > now - CLAIMED)
    return frozenset(host_id for host_id in tx.session.scalars(claimed) if host_id is not None)


def for_room(
    tx: Transaction, cloud: Cloud, refusal: NoCapacity, search: Search, missing: int, *, but: Collection[str] = ()
) -> NoCapacity:
    """Return a refusal that names the Spot Instances to be ended for so many instances, and says that they are.

    It is the same refusal if their end would not make room. Hosts in `but` are not considered.
    """
    residents = [_resident(row) for row in _RESIDENTS.named(tx.connection, {"zone": search.zone})]
    hosts = {one.host_id for one in residents}.difference(but)
    if not hosts:
        return refusal
    found = interruptions.choose(rooms.some(tx, cloud, search, hosts), residents, search, missing)
    if found is None:
        return refusal
    ending = [one.instance_id for one in found]
    return NoCapacity(refusal.message + PROMISE, code=refusal.code, ending=ending)


def begin(tx: Transaction, instance_ids: Sequence[str], now: datetime) -> None:
    """Give Spot Instances notice; those that have it or do not run are left alone."""
    for batch in lookup.batches(instance_ids):
        running = select(Instance).where(
            Instance.id.in_(batch),
            Instance.spot_request_id.is_not(None),
            Instance.interruption.is_(None),
            Instance.state.in_(_ALIVE),
        )
        for instance in tx.session.scalars(running.order_by(Instance.id)).all():
            instance.interruption = now + NOTICE
            tx.events.add(instance.id)
            desired_state.refresh_instance(tx, instance.id)


def interrupt(tx: Transaction, instance_id: str, now: datetime) -> datetime:
    """Give one Spot Instance notice and return when it ends; one that has notice ends when it was to end.

    Raises MalformedId, NotFound, WrongState for one that is on demand or does not run.
    """
    lookup.check_form("instance", [instance_id])
    instance = tx.session.get(Instance, instance_id)
    if instance is None:
        raise NotFound("instance", instance_id)
    if instance.spot_request_id is None:
        raise WrongState("instance", f"The instance '{instance_id}' is on demand: only Spot Instances are interrupted.")
    if instance.state not in _ALIVE:
        raise WrongState(
            "instance", f"The instance '{instance_id}' is {instance.state}: there is nothing to interrupt."
        )
    begin(tx, [instance_id], now)
    end = instance.interruption
    assert end is not None
    return end


def end_due(tx: Transaction, now: datetime, clock_ran_ahead: timedelta = _NOT) -> None:
    """Terminate Spot Instances whose notice is over; it is longer by what the clock was set forward meanwhile."""
    due = select(Instance).where(
        Instance.interruption <= now - clock_ran_ahead,
        Instance.state.in_(_ALIVE),
    )
    for instance in tx.session.scalars(due.order_by(Instance.interruption).limit(_BATCH)).all():
        change_state(tx, instance, "shutting-down", now, SPOT_INTERRUPTION)
        if instance.host_id is not None:
            desired_state.remove_machine(tx, instance.host_id, instance.id, force=False)


def _resident(row: Any) -> Resident:
    uefi = boot_modes.CURRENT[row.boot_mode] == boot_modes.UEFI
    memory = memory_of(row.memory, row.vcpus, uefi=uefi, tpm=row.tpm, architecture=row.architecture)
    ending = row.interruption is not None or row.state not in _ALIVE
    return Resident(row.id, row.host_id, row.vcpus, memory, ending)

"""Reserve capacity on hosts with a conditional UPDATE, which cannot oversubscribe even with several controllers.

A host's free capacity is what it offers (`offer.py`) less what is reserved, as the database derives it: it is negative
if the host shrank.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Boolean, bindparam, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Host
from stead_controller.errors import NoCapacity
from stead_controller.placement.choose_host import Verdict, explain, is_allowed_by_neighbours
from stead_controller.placement.need import Need
from stead_controller.placement.search import Search, Terms
from stead_controller.placement.tenancy import DEFAULT, HOST, SHARED, Tenancy
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import refusals, rooms, tenancies, volume_homes
from stead_controller.resources.host_capacity.volume_homes import DiskNeed

_NO_TERMS: Final = Terms()

HOST_FULL: Final = "InsufficientCapacityOnHost"
"""EC2's code for an instance for which its Dedicated Hosts have no room."""


# Run for each instance of a launch.
_TAKE: Final = Prepared(
    update(Host)
    .where(
        Host.id == bindparam("host_id"),
        Host.state == "up",
        Host.schedulable.is_(True),
        Host.cpus >= bindparam("vcpus"),
        Host.uefi >= bindparam("uefi", type_=Boolean),
        Host.tpm >= bindparam("tpm", type_=Boolean),
        Host.cpus_free >= bindparam("vcpus"),
        Host.memory_free >= bindparam("needed"),
        tenancies.IS_STILL,
    )
    .values(
        cpus_reserved=Host.cpus_reserved + bindparam("vcpus"),
        memory_reserved=Host.memory_reserved + bindparam("needed"),
        owner_account_id=tenancies.OWNER_THEN,
    )
    .returning(Host.id)
)
_LARGE_ENOUGH: Final = Prepared(
    select(Host.id)
    .where(
        Host.zone == bindparam("zone"),
        Host.state == "up",
        Host.schedulable.is_(True),
        rooms.RUNS,
        Host.cpus >= bindparam("vcpus"),
        Host.uefi >= bindparam("uefi", type_=Boolean),
        Host.tpm >= bindparam("tpm", type_=Boolean),
    )
    .limit(1)
)
# Of a zone's hosts, or of all where it has none, the one that comes nearest.
_RUNS: Final = Prepared(
    select(rooms.RUNS.label("runs"), (Host.zone == bindparam("zone")).label("is_there"))
    .where(Host.state == "up", Host.schedulable.is_(True))
    .order_by((Host.zone == bindparam("zone")).desc(), rooms.RUNS.desc())
    .limit(1)
)
_WITH_FIRMWARE: Final = Prepared(
    select(Host.id).where(
        Host.zone == bindparam("zone"),
        Host.state == "up",
        Host.schedulable.is_(True),
        rooms.RUNS,
        Host.uefi >= bindparam("uefi", type_=Boolean),
        Host.tpm >= bindparam("tpm", type_=Boolean),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """A host with reserved capacity, the pool chosen for each of the instance's volumes, the partition of its group.

    `reservation_id` is that of the capacity reservation whose slot is used instead of other room, `dedicated_host_id`
    that of the Dedicated Host that it is.
    """

    host_id: str
    pools: tuple[str, ...]
    partition: int | None = None
    reservation_id: str | None = None
    dedicated_host_id: str | None = None


def reserve_any(
    tx: Transaction,
    cloud: Cloud,
    need: Need,
    zone: str,
    disks: Sequence[DiskNeed] = (),
    *,
    terms: Terms = _NO_TERMS,
    but: Collection[str] = (),
) -> Place:
    """Choose a host for one instance and its volumes, `but` not these, and reserve capacity; raises NoCapacity."""
    search = search_for(cloud, need, zone, disks, terms)
    tried = set(but)
    while (chosen := rooms.best(tx, cloud, search, tried)) is not None:
        if take(tx, chosen.host_id, need, terms.tenancy, chosen.dedicated_host_id):
            pools = volume_homes.reserve(tx, cloud, chosen.host_id, disks, instance_store=need.instance_store)
            if pools is not None:
                return Place(chosen.host_id, tuple(pools), dedicated_host_id=chosen.dedicated_host_id or None)
            _release(tx, chosen.host_id, need)
        tried.add(chosen.host_id)
    refusals.note(tx, cloud, search, but)
    raise _refusal(tx, cloud, search, but)


def search_for(cloud: Cloud, need: Need, zone: str, disks: Sequence[DiskNeed] = (), terms: Terms = _NO_TERMS) -> Search:
    """Return the search for a host that an instance and its volumes need."""
    return Search(need, zone, volume_homes.largest(disks), packs=cloud.placement == "pack", terms=terms)


def judge(tx: Transaction, cloud: Cloud, search: Search) -> list[Verdict]:
    """Say of each host of the cloud whether placement may choose it now, the one that it would choose first."""
    return explain(rooms.every(tx, cloud, search), search)


def _refusal(tx: Transaction, cloud: Cloud, search: Search, but: Collection[str]) -> NoCapacity:
    """Make the error that says what is lacking: space for volumes if the instance alone would fit, else hosts.

    Why each host does not do is the operator's business (`judge`).
    """
    need, zone = search.need, search.zone
    without_disks = replace(search, disk=0, need=replace(need, instance_store=0))
    if rooms.best(tx, cloud, without_disks, but) is not None:
        if need.instance_store:
            return NoCapacity(
                "There is no host with enough room for the requested volumes and instance store in the "
                f"Availability Zone {zone}."
            )
        return volume_homes.no_room(zone)
    if search.terms.tenancy.kind == HOST:
        return NoCapacity("There is not enough capacity on the Dedicated Host to launch the instance.", code=HOST_FULL)
    words = _sorry(tx, cloud, search)
    asked = _asked(need, zone)
    nearest = _RUNS.first(tx.connection, asked)
    if nearest is not None and not nearest[0]:
        return NoCapacity(f"{words} No host in it runs {need.architecture} instances.")
    if nearest is None or not nearest[1]:
        return NoCapacity(f"{words} No host in it takes instances now.")
    if (need.uefi or need.tpm) and _WITH_FIRMWARE.first(tx.connection, asked) is None:
        return NoCapacity(f"{words} There is no host with {_firmware(need)} in it.")
    if _LARGE_ENOUGH.first(tx.connection, asked) is None:
        return NoCapacity(f"{words} No host in it has as many processors as that type has vCPUs ({need.vcpus}).")
    return NoCapacity(words)


def _sorry(tx: Transaction, cloud: Cloud, search: Search) -> str:
    """Say in EC2's words that a zone has no capacity, and which have some."""
    kind = f"{search.terms.instance_type} " if search.terms.instance_type else ""
    zone = search.zone
    words = f"We currently do not have sufficient {kind}capacity in the Availability Zone you requested ({zone})."
    zones = (each for each in cloud.zones if each != zone)
    others = [each for each in zones if rooms.best(tx, cloud, replace(search, zone=each)) is not None]
    if not others:
        return words
    return (
        f"{words} You can currently get {kind}capacity by not specifying an Availability Zone in your request or "
        f"choosing {', '.join(others)}."
    )


def _firmware(need: Need) -> str:
    """Name the firmware that an instance needs, which is some, for a refusal."""
    if not need.uefi:
        return "a TPM, as the image needs,"
    return "UEFI firmware and a TPM, as the image needs," if need.tpm else "UEFI firmware, as the image needs,"


def choose_any(tx: Transaction, zone: str, *, but: str = "") -> str | None:
    """Choose a host that is up in a zone, for something that needs no capacity; None when there is none."""
    query = select(Host.id).where(Host.state == "up", Host.schedulable.is_(True), Host.zone == zone, Host.id != but)
    return tx.session.scalar(query.order_by(Host.memory_free.desc(), Host.id).limit(1))


def reserve_on(tx: Transaction, cloud: Cloud, host_id: str, need: Need, terms: Terms = _NO_TERMS) -> Place:
    """Reserve capacity on the one host where an instance can start; raises NoCapacity when it has not enough.

    The rules of a placement group and of a tenancy hold there as well.
    """
    dedicated = ""
    if terms.group is not None or terms.tenancy.kind != DEFAULT:
        search = search_for(cloud, need, "", terms=terms)
        room = rooms.one(tx, cloud, search, host_id)
        dedicated = room.dedicated_host_id
        if not is_allowed_by_neighbours(room, search):
            words = "has instances of its placement group" if terms.group is not None else "is not for its tenancy"
            raise NoCapacity(f"The host of this instance {words} now.")
    if not take(tx, host_id, need, terms.tenancy, dedicated):
        has = tx.session.execute(select(Host.uefi, Host.tpm).where(Host.id == host_id)).one()
        if has.uefi < need.uefi or has.tpm < need.tpm:
            raise NoCapacity(f"The host of this instance has not {_firmware(need)} now.")
        raise NoCapacity("The host of this instance has not enough free capacity to start it now.")
    if volume_homes.reserve(tx, cloud, host_id, (), instance_store=need.instance_store) is None:
        _release(tx, host_id, need)  # another partition of its group may be tried
        raise NoCapacity("The host of this instance has not enough room for its instance store now.")
    return Place(host_id, (), dedicated_host_id=dedicated or None)


def release(tx: Transaction, host_id: str, need: Need) -> None:
    """Release the capacity that an instance and its instance store have reserved on a host."""
    _release(tx, host_id, need)
    if need.instance_store:
        volume_homes.release_bytes(tx, host_id, "", need.instance_store)


def count(tx: Transaction, host_id: str, vcpus: int, memory: int) -> None:
    """Reserve capacity on a host without a check whether it is free; negative amounts release it."""
    values: dict[str, Any] = {
        "cpus_reserved": Host.cpus_reserved + vcpus,
        "memory_reserved": Host.memory_reserved + memory,
        "owner_account_id": tenancies.owner_without(-vcpus, -memory),
    }
    changed = update(Host).where(Host.id == host_id).values(values)
    tx.session.execute(changed.execution_options(synchronize_session=False))


def _release(tx: Transaction, host_id: str, need: Need) -> None:
    count(tx, host_id, -need.vcpus, -need.memory)


def _asked(need: Need, zone: str) -> dict[str, Any]:
    return {**rooms.running(need.architecture), "vcpus": need.vcpus, "uefi": need.uefi, "tpm": need.tpm, "zone": zone}


def take(tx: Transaction, host_id: str, need: Need, tenancy: Tenancy = SHARED, dedicated_host_id: str = "") -> bool:
    """Reserve vCPUs and memory of a host that gets new instances, if it has them free; tells whether it had.

    The tenancy must still allow the host, which is that Dedicated Host, or none if it is empty.
    """
    asked = {
        "host_id": host_id,
        "vcpus": need.vcpus,
        "needed": need.memory,
        "uefi": need.uefi,
        "tpm": need.tpm,
        "dedicated_host": dedicated_host_id,
        **tenancies.asked_by(tenancy),
    }
    return _TAKE.first(tx.connection, asked) is not None

"""Room on hosts is reserved with a conditional UPDATE, which cannot oversubscribe even with several controllers."""

from sqlalchemy import select, update

from stead_controller.db.tables import Host
from stead_controller.errors import NoCapacity
from stead_controller.placement.choose_host import Need, Room, choose_host
from stead_controller.resources.transaction import Transaction

_CANDIDATES = 32


def reserve_any(tx: Transaction, need: Need, zone: str | None) -> Room:
    """Choose a host for one instance and reserve its room; raises NoCapacity when none has enough."""
    refused: set[str] = set()
    while True:
        rooms = [room for room in _rooms(tx, need, zone) if room.host_id not in refused]
        chosen = choose_host(rooms, need)
        if chosen is None:
            raise NoCapacity(
                "There is no host with enough free capacity for the requested instance type"
                + (f" in the Availability Zone {zone}." if zone else ".")
            )
        if _take(tx, chosen.host_id, need):
            return chosen
        refused.add(chosen.host_id)


def choose_any(tx: Transaction, zone: str, *, but: str = "") -> str | None:
    """Choose a host that is up in a zone for what takes no room; None when there is none."""
    query = select(Host.id, Host.zone, Host.cpus_free, Host.memory_free).where(
        Host.state == "up", Host.schedulable.is_(True), Host.zone == zone, Host.id != but
    )
    rooms = [Room(*row) for row in tx.session.execute(query.order_by(Host.memory_free.desc()).limit(_CANDIDATES))]
    chosen = choose_host(rooms, Need(0, 0))
    return chosen.host_id if chosen is not None else None


def reserve_on(tx: Transaction, host_id: str, need: Need) -> None:
    """Reserve room on one host (where an instance's disks are); raises NoCapacity when it has not enough."""
    if not _take(tx, host_id, need):
        raise NoCapacity("The host of this instance has not enough free capacity to start it now.")


def give_back(tx: Transaction, host_id: str, need: Need) -> None:
    """Return reserved room to a host."""
    tx.session.execute(
        update(Host)
        .where(Host.id == host_id)
        .values(
            cpus_free=Host.cpus_free + need.vcpus,
            memory_free=Host.memory_free + need.memory,
            cpus_reserved=Host.cpus_reserved - need.vcpus,
            memory_reserved=Host.memory_reserved - need.memory,
        )
        .execution_options(synchronize_session=False)
    )


def _rooms(tx: Transaction, need: Need, zone: str | None) -> list[Room]:
    query = (
        select(Host.id, Host.zone, Host.cpus_free, Host.memory_free)
        .where(
            Host.state == "up",
            Host.schedulable.is_(True),
            Host.architecture == need.architecture,
            Host.memory_free >= need.memory,
            Host.cpus_free >= need.vcpus,
        )
        .order_by(Host.memory_free.desc(), Host.id)
        .limit(_CANDIDATES)
    )
    if zone is not None:
        query = query.where(Host.zone == zone)
    return [Room(*row) for row in tx.session.execute(query)]


def _take(tx: Transaction, host_id: str, need: Need) -> bool:
    taken = tx.session.execute(
        update(Host)
        .where(
            Host.id == host_id,
            Host.state == "up",
            Host.cpus_free >= need.vcpus,
            Host.memory_free >= need.memory,
        )
        .values(
            cpus_free=Host.cpus_free - need.vcpus,
            memory_free=Host.memory_free - need.memory,
            cpus_reserved=Host.cpus_reserved + need.vcpus,
            memory_reserved=Host.memory_reserved + need.memory,
        )
        .returning(Host.id)
        .execution_options(synchronize_session=False)
    )
    return taken.first() is not None

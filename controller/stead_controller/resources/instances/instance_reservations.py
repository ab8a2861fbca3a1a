"""Which capacity reservations an instance may run in: any open one of its type and zone, a target, or none.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/capacity-reservations-launch.html.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import bindparam, func, literal_column, select

from stead_controller.catalog.instance_type import DeviceCount
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import CapacityReservation, CapacityReservationSlots, Instance
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, NoCapacity, WrongState
from stead_controller.placement.search import Search
from stead_controller.placement.tenancy import DEFAULT, SHARED, Tenancy
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import devices, reserved_slots
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.host_capacity.volume_homes import DiskNeed

OPEN: Final = "open"
NONE: Final = "none"
ONLY: Final = "capacity-reservations-only"
RESERVATION_FULL: Final = "ReservationCapacityExceeded"
"""EC2's code for an instance that may only run in a reservation, and finds no slot."""
PREFERENCES: Final = (OPEN, NONE, ONLY)

# As a literal, so that SQLite uses the index of active ones.
_ACTIVE: Final = CapacityReservation.state == literal_column("'active'")
_UNUSED: Final = (
    select(func.sum(CapacityReservationSlots.slots - CapacityReservationSlots.used))
    .where(CapacityReservationSlots.reservation_id == CapacityReservation.id)
    .correlate(CapacityReservation)
    .scalar_subquery()
)
_OPEN: Final = Prepared(
    select(CapacityReservation.id, CapacityReservation.zone, _UNUSED).where(
        _ACTIVE,
        CapacityReservation.account_id == bindparam("account_id"),
        CapacityReservation.instance_type == bindparam("instance_type"),
        CapacityReservation.match_criteria == "open",
    )
)


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """What a request says of capacity reservations: a preference, and the id of a target; None where not given."""

    preference: str | None = None
    target: str | None = None

    @property
    def settled(self) -> "ReservationRequest":
        """The same with EC2's default, which is `open`."""
        return ReservationRequest(OPEN) if self == ReservationRequest() else self


@dataclass(frozen=True, slots=True)
class ChosenReservations:
    """The reservations in which instances may run, and how many of their slots are unused.

    With `only` they run nowhere else.
    """

    ids: tuple[str, ...] = ()
    unused: int = 0
    only: bool = False


class Candidate(NamedTuple):
    """A reservation for instances of a type, and how many of its slots are unused."""

    id: str
    zone: str
    unused: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """The reservations for instances of a type in all zones; with `only` the instances run nowhere else."""

    found: tuple[Candidate, ...] = ()
    only: bool = False

    def zone(self, count: int) -> str | None:
        """Return the zone with most unused slots, if these are enough for so many instances."""
        unused = Counter[str]()
        for one in self.found:
            unused[one.zone] += one.unused
        return next((zone for zone, free in unused.most_common(1) if self.only or free >= count), None)

    def within(self, zone: str, tenancy: Tenancy = SHARED) -> ChosenReservations:
        """Return those of a zone that have unused slots; they are for shared hosts."""
        if tenancy.kind != DEFAULT:
            return ChosenReservations(only=self.only)
        there = [one for one in self.found if one.zone == zone and one.unused]
        return ChosenReservations(tuple(one.id for one in there), sum(one.unused for one in there), only=self.only)


def check(asked: ReservationRequest) -> None:
    """Raise InvalidParameter or InvalidCombination for what no instance can have."""
    if asked.preference not in (None, *PREFERENCES):
        raise InvalidParameter(
            f"Value ({asked.preference}) for parameter capacityReservationPreference is invalid. Expecting one of: "
            f"{', '.join(PREFERENCES)}."
        )
    if asked.target is not None and asked.preference not in (None, ONLY):
        raise InvalidCombination(
            f"CapacityReservationTarget can be used with the CapacityReservationPreference {ONLY} only."
        )


def target(tx: Transaction, caller: Caller, asked: ReservationRequest) -> CapacityReservation | None:
    """Return the reservation that a request names, None without one; raises MalformedId, NotFound, WrongState."""
    if asked.target is None:
        return None
    found = lookup.find(tx, caller, "capacity-reservation", CapacityReservation, asked.target)
    if found.state != "active":
        raise WrongState(
            "capacity-reservation", f"The capacity reservation '{found.id}' is not active: it is {found.state}."
        )
    return found


def find(
    tx: Transaction, caller: Caller, asked: ReservationRequest, instance_type: str, *, spot: bool = False
) -> Candidates:
    """Return the reservations for new instances of a type; raises MalformedId, NotFound, WrongState for the target.

    Spot Instances run in none.
    """
    check(asked)
    if spot:
        return Candidates()
    return _candidates(tx, caller.account_id, asked, target(tx, caller, asked), instance_type)


def choose_for(tx: Transaction, instance: Instance) -> ChosenReservations:
    """Return the reservations in which a stopped instance may start; one that has ended is as good as a full one."""
    if instance.spot_request_id is not None:
        return ChosenReservations()
    asked = ReservationRequest(instance.reservation_preference, instance.reservation_target)
    meant = tx.session.get(CapacityReservation, asked.target) if asked.target is not None else None
    if asked.target is not None and meant is None:
        return ChosenReservations(only=True)
    found = _candidates(tx, instance.account_id, asked, meant, instance.instance_type)
    return found.within(instance.zone, Tenancy(instance.tenancy))


def _candidates(
    tx: Transaction,
    account_id: str,
    asked: ReservationRequest,
    meant: CapacityReservation | None,
    instance_type: str,
) -> Candidates:
    if asked.preference == NONE:
        return Candidates()
    if meant is None:
        found = _OPEN.all(tx.connection, {"account_id": account_id, "instance_type": instance_type})
        known = tuple(Candidate(row[0], row[1], int(row[2] or 0)) for row in found)
        return Candidates(known, asked.preference == ONLY)
    fits = meant.instance_type == instance_type
    unused = reserved_slots.unused(tx, meant.id) if fits else 0
    return Candidates((Candidate(meant.id, meant.zone, unused),), only=True)


def take_devices(tx: Transaction, host_id: str, instance: Instance, wanted: Sequence[DeviceCount]) -> bool:
    """Give an instance its devices: of the slot that it uses, if it uses one; False if they are not free."""
    if instance.capacity_reservation_id is not None:
        return devices.take_reserved(tx, host_id, instance.id, instance.capacity_reservation_id, wanted)
    return devices.take(tx, host_id, instance.id, wanted)


def use(
    tx: Transaction,
    cloud: Cloud,
    chosen: ChosenReservations,
    search: Search,
    disks: Sequence[DiskNeed] = (),
    *,
    but: Collection[str] = (),
    only_on: str = "",
) -> Place | None:
    """Use a slot of a reservation; None if the instance is to have other room. Raises NoCapacity if it may not."""
    found = None
    if chosen.ids:
        found = reserved_slots.use(tx, cloud, search, disks, chosen.ids, but=but, only_on=only_on)
    if found is None and chosen.only:
        raise NoCapacity(
            "The requested reservation does not have sufficient compatible and available capacity for this request.",
            code=RESERVATION_FULL,
        )
    return found


def modify(tx: Transaction, caller: Caller, instance_id: str, asked: ReservationRequest) -> None:
    """Change in which reservations a stopped instance may start.

    Raises MalformedId, NotFound, MissingParameter, InvalidParameter, InvalidCombination, WrongState for an instance
    that is not stopped and a target that is not active.
    """
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if asked == ReservationRequest():
        raise MissingParameter("CapacityReservationSpecification")
    check(asked)
    target(tx, caller, asked)
    if instance.state != "stopped":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
    instance.reservation_preference, instance.reservation_target = asked.preference, asked.target

"""Create, change, find and end capacity reservations; for instances they are in `instances/instance_reservations.py`.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Select, case, delete, literal_column, select

from stead_controller.catalog import ids
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.db.tables import CapacityReservation, Instance
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    Unsupported,
    WrongState,
)
from stead_controller.placement.guest_memory import memory_of
from stead_controller.request import client_tokens, instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import NEVER, Condition, Selection, constant, instant, text
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import quotas, tags
from stead_controller.resources.host_capacity import devices, reserved_slots, slot_usage
from stead_controller.resources.instances import instance_needs, launch_choices
from stead_controller.resources.instances.instance_reservations import OPEN
from stead_controller.resources.instances.launch_volumes import scratch_size

PLATFORM: Final = "Linux/UNIX"
"""The platform of all instances here."""

MOST: Final = 1000
"""The most slots of a new reservation, and the most by which a request may change their number."""

_CRITERIA: Final = ("open", "targeted")
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class EndRequest:
    """When a reservation is to end, as a request says it; None for what is not in the request."""

    kind: str | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class CapacityReservationRequest:
    """The parameters of a new reservation; None for those not in the request."""

    instance_type: str
    platform: str
    count: int
    zone: str | None
    zone_id: str | None
    end: EndRequest
    match_criteria: str
    ebs_optimized: bool
    tags: Mapping[str, str]
    repeatable: Repeatable


@dataclass(frozen=True, slots=True)
class CapacityReservationChange:
    """What to change of a reservation; None leaves it. `accept` changes nothing: it was accepted when it was made."""

    count: int | None
    end: EndRequest
    match_criteria: str | None
    accept: bool = False


@dataclass(frozen=True, slots=True)
class DescribedCapacityReservation:
    """A reservation with the facts that are not in its row; `available` slots can be used now, `used` ones are."""

    row: CapacityReservation
    arn: str
    zone_id: str
    available: int
    used: int
    tags: Sequence[tuple[str, str]]


FILTERS: Final[Mapping[str, Condition]] = {
    "availability-zone": text(CapacityReservation.zone),
    "end-date": instant(CapacityReservation.end_date),
    "end-date-type": text(case((CapacityReservation.end_date.is_(None), "unlimited"), else_="limited")),
    "instance-match-criteria": text(CapacityReservation.match_criteria),
    "instance-platform": text(CapacityReservation.platform),
    "instance-type": text(CapacityReservation.instance_type),
    "outpost-arn": NEVER,
    "owner-id": text(CapacityReservation.account_id),
    "placement-group-arn": NEVER,
    "start-date": instant(CapacityReservation.created),
    "state": text(CapacityReservation.state),
    "tenancy": constant("default"),
}
"""All filters by name, without those about tags."""


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, request: CapacityReservationRequest, now: datetime
) -> DescribedCapacityReservation:
    """Reserve room; a repeated request gets the reservation that it made.

    Running instances that match an open one are in it at once. Raises InvalidParameter, InvalidCombination,
    MissingParameter, Unsupported, LimitExceeded, NoCapacity, IdempotencyMismatch.
    """

    def make() -> str:
        return _make(tx, caller, cloud, request, now)

    made = client_tokens.once(tx, caller, request.repeatable, now, make)
    row = lookup.find(tx, caller, "capacity-reservation", CapacityReservation, made)
    return _described(tx, caller, cloud, [row])[0]


def modify(  # noqa: PLR0917 - a change depends on all of these
    tx: Transaction, caller: Caller, cloud: Cloud, reservation_id: str, asked: CapacityReservationChange, now: datetime
) -> None:
    """Change an active reservation; of fewer slots the unused ones go first, and instances without one run on.

    Raises MalformedId, NotFound, WrongState, MissingParameter, InvalidParameter, InvalidCombination, LimitExceeded,
    NoCapacity.
    """
    row = _active(tx, caller, reservation_id)
    if asked == CapacityReservationChange(None, EndRequest(), None):
        raise MissingParameter("InstanceCount")
    if asked.end != EndRequest():
        row.end_date = _end_date(asked.end, now)
    if asked.match_criteria is not None:
        _check_criteria(asked.match_criteria)
    if asked.count is not None:
        _check_change(row, asked.count)
    if asked.match_criteria not in (None, row.match_criteria):
        _change_criteria(tx, cloud, row, asked.match_criteria or "")
    if asked.count is not None:
        _resize(tx, cloud, row, asked.count)
    slot_usage.measure(tx, row.id, now)


def cancel(tx: Transaction, caller: Caller, reservation_id: str, now: datetime) -> None:
    """Release the room of a reservation; its instances run on. Raises MalformedId, NotFound, WrongState."""
    _end(tx, _active(tx, caller, reservation_id), "cancelled", now)


def expire(tx: Transaction, now: datetime) -> None:
    """End reservations whose end date has come; a batch of them."""
    due = select(CapacityReservation).where(
        CapacityReservation.state == literal_column("'active'"), CapacityReservation.end_date <= now
    )
    for row in tx.session.scalars(due.order_by(CapacityReservation.end_date).limit(_BATCH)).all():
        _end(tx, row, "expired", now)


def forget(tx: Transaction, since: datetime) -> None:
    """Delete reservations that ended a while ago; a batch of them."""
    old = list(
        tx.session.scalars(select(CapacityReservation.id).where(CapacityReservation.ended <= since).limit(_BATCH))
    )
    tags.remove_all(tx, old)
    tx.session.execute(delete(CapacityReservation).where(CapacityReservation.id.in_(old)))


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedCapacityReservation]:
    """List the caller's reservations, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "capacity-reservation", CapacityReservation, asked, conditions=FILTERS)
    return _described(tx, caller, cloud, found)


def _make(tx: Transaction, caller: Caller, cloud: Cloud, request: CapacityReservationRequest, now: datetime) -> str:
    zone = _zone(cloud, request)
    kind = _type(tx, request.instance_type, zone)
    if request.platform != PLATFORM:
        raise Unsupported(
            f"The InstancePlatform '{request.platform}' is not supported: that of instances is {PLATFORM}."
        )
    launch_choices.check_ebs_optimized(kind, wanted=request.ebs_optimized)
    _check_count(request.count)
    _check_criteria(request.match_criteria)
    stores = kind.instance_store.count if kind.instance_store is not None else 0
    row = CapacityReservation(
        id=ids.new_id("capacity-reservation"),
        account_id=caller.account_id,
        instance_type=kind.name,
        platform=request.platform,
        architecture=kind.architecture,
        zone=zone,
        instance_count=0,
        match_criteria=request.match_criteria,
        ebs_optimized=request.ebs_optimized,
        vcpus=kind.vcpus,
        memory=memory_of(kind.memory, kind.vcpus, uefi=True, tpm=True, architecture=kind.architecture),
        instance_store=scratch_size(kind) * stores,
        state="active",
        created=now,
        end_date=_end_date(request.end, now),
    )
    tx.session.add(row)
    tx.session.flush()
    _grow(tx, cloud, row, request.count)
    slot_usage.measure(tx, row.id, now)
    tags.create_on_launch(tx, caller, [("capacity-reservation", row.id)], {"capacity-reservation": request.tags})
    return row.id


def _zone(cloud: Cloud, request: CapacityReservationRequest) -> str:
    if request.zone is not None and request.zone_id is not None:
        raise InvalidCombination("The parameters AvailabilityZone and AvailabilityZoneId cannot be used together")
    given = request.zone or request.zone_id
    if given is None:
        raise MissingParameter("AvailabilityZone")
    known = zone_ids(cloud)
    zone = request.zone or next((name for name, zone_id in known.items() if zone_id == given), given)
    if zone not in cloud.zones:
        raise InvalidParameter(f"Invalid availability zone: [{given}]")
    return zone


def _type(tx: Transaction, name: str, zone: str) -> InstanceType:
    kind = instance_types.find(tx, name)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{name}' for InstanceType.")
    if kind.whole_cores:
        raise Unsupported(f"No capacity can be reserved for the type {kind.name}, whose instances have cores alone.")
    launch_choices.check_offered(tx, kind, zone)
    return kind


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise InvalidParameter(f"Value ({count}) for parameter instanceCount is invalid. Expecting 1 to {MOST}.")


def _check_change(row: CapacityReservation, count: int) -> None:
    if count < 1 or abs(count - row.instance_count) > MOST:
        raise InvalidParameter(
            f"Value ({count}) for parameter instanceCount is invalid. It is 1 or more, and changes by at most {MOST}."
        )


def _check_criteria(criteria: str) -> None:
    if criteria not in _CRITERIA:
        raise InvalidParameter(
            f"Value ({criteria}) for parameter instanceMatchCriteria is invalid. Expecting open or targeted."
        )


def _end_date(asked: EndRequest, now: datetime) -> datetime | None:
    """Return when a reservation ends; a date alone means a limited one."""
    if asked.kind not in (None, "limited", "unlimited"):
        raise InvalidParameter(
            f"Value ({asked.kind}) for parameter endDateType is invalid. Expecting limited or unlimited."
        )
    if asked.kind == "unlimited" and asked.date is not None:
        raise InvalidCombination("The parameter EndDate cannot be used with the EndDateType unlimited.")
    if asked.kind == "limited" and asked.date is None:
        raise InvalidCombination("The EndDateType limited needs the parameter EndDate.")
    if asked.date is not None and asked.date <= now:
        raise InvalidParameter("The end date of a capacity reservation must be in the future.")
    return asked.date


def _active(tx: Transaction, caller: Caller, reservation_id: str) -> CapacityReservation:
    row = lookup.find(tx, caller, "capacity-reservation", CapacityReservation, reservation_id)
    if row.state != "active":
        raise WrongState(
            "capacity-reservation", f"The capacity reservation '{row.id}' is {row.state} and cannot be changed."
        )
    return row


def _resize(tx: Transaction, cloud: Cloud, row: CapacityReservation, count: int) -> None:
    if count >= row.instance_count:
        _grow(tx, cloud, row, count - row.instance_count)
        return
    excess = row.instance_count - count
    excess -= _drop(tx, row, excess)
    if excess:
        inside = _inside(row).order_by(Instance.launch_time.desc(), Instance.id).limit(excess)
        _expel(tx, row, tx.session.scalars(inside).all())


def _grow(tx: Transaction, cloud: Cloud, row: CapacityReservation, more: int) -> None:
    """Add slots: those of running instances that match an open reservation, and unused ones for the rest."""
    adopted = _adopt(tx, cloud, row, more) if row.match_criteria == "open" else 0
    missing = more - adopted
    quotas.launchable(tx, row.account_id, row.vcpus, missing, missing)
    reserved_slots.hold(tx, cloud, row, missing)
    quotas.use_vcpus(tx, row.account_id, row.vcpus * missing)
    row.instance_count += missing


def _change_criteria(tx: Transaction, cloud: Cloud, row: CapacityReservation, criteria: str) -> None:
    """Change which instances a reservation takes; one that is opened takes running ones that match, if it has slots."""
    if reserved_slots.used(tx, [row])[row.id]:
        raise WrongState(
            "capacity-reservation",
            f"The instance eligibility of the capacity reservation '{row.id}' can only be changed while it has no "
            "instances.",
        )
    row.match_criteria = criteria
    if criteria == "open":
        _drop(tx, row, _adopt(tx, cloud, row, row.instance_count))


def _adopt(tx: Transaction, cloud: Cloud, row: CapacityReservation, most: int) -> int:
    """Make slots of the room of running instances that match an open reservation, and tell how many."""
    matching = select(Instance).where(
        Instance.account_id == row.account_id,
        Instance.state.in_(("pending", "running")),
        Instance.instance_type == row.instance_type,
        Instance.zone == row.zone,
        Instance.reservation_preference == OPEN,
        Instance.capacity_reservation_id.is_(None),
        Instance.spot_request_id.is_(None),
        Instance.tenancy == "default",
    )
    adopted = 0
    for instance in tx.session.scalars(matching.order_by(Instance.launch_time, Instance.id)).all():
        if adopted == most:
            break
        taken = instance_needs.of(tx, instance)
        if instance.host_id is None or not reserved_slots.adopt(tx, cloud, row, instance.host_id, taken):
            continue
        if taken.devices:
            devices.adopt(tx, instance.id, row.id)
        instance.capacity_reservation_id = row.id
        quotas.use_vcpus(tx, row.account_id, row.vcpus - instance.vcpus)
        adopted += 1
    row.instance_count += adopted
    tx.session.flush()
    return adopted


def _inside(row: CapacityReservation) -> Select[Instance]:
    """Return the query of the instances in a reservation."""
    return select(Instance).where(Instance.account_id == row.account_id, Instance.capacity_reservation_id == row.id)


def _drop(tx: Transaction, row: CapacityReservation, most: int) -> int:
    """End unused slots, up to a number, and tell how many."""
    dropped = reserved_slots.drop(tx, row, most)
    quotas.use_vcpus(tx, row.account_id, -row.vcpus * dropped)
    row.instance_count -= dropped
    return dropped


def _expel(tx: Transaction, row: CapacityReservation, instances: Iterable[Instance]) -> None:
    """Let instances run on outside of a reservation, whose slots end."""
    for instance in instances:
        assert instance.host_id is not None  # it runs
        taken = instance_needs.of(tx, instance)
        reserved_slots.leave(tx, row, instance.host_id, taken)
        if taken.devices:
            devices.leave_reservation(tx, instance.id)
        instance.capacity_reservation_id = None
        quotas.use_vcpus(tx, row.account_id, instance.vcpus - row.vcpus)
        row.instance_count -= 1
    tx.session.flush()


def _end(tx: Transaction, row: CapacityReservation, state: str, now: datetime) -> None:
    """End a reservation; its number of instances stays to be shown."""
    count = row.instance_count
    _drop(tx, row, count)
    _expel(tx, row, tx.session.scalars(_inside(row)).all())
    row.instance_count, row.state, row.ended = count, state, now
    tx.session.flush()
    slot_usage.measure(tx, row.id, now)


def _described(
    tx: Transaction, caller: Caller, cloud: Cloud, rows: Sequence[CapacityReservation]
) -> list[DescribedCapacityReservation]:
    available, used = reserved_slots.available(tx, rows), reserved_slots.used(tx, rows)
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in rows])
    zones = zone_ids(cloud)
    noun = OF_TYPE["capacity-reservation"]
    return [
        DescribedCapacityReservation(
            row,
            noun.arn(cloud.partition, cloud.region, row.account_id, row.id),
            zones.get(row.zone, ""),
            available[row.id],
            used[row.id],
            tagged.get(row.id, ()),
        )
        for row in rows
    ]

"""Allocate, change, find and release Dedicated Hosts; for instances they are in `instances/instance_tenancies.py`.

An account gets a host on which nothing runs, whole. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/dedicated-hosts-overview.html.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, exists, select

from stead_controller.catalog import ids
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import DedicatedHost, Host, Instance
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    NoCapacity,
    NotFound,
    SteadError,
    Unsupported,
    WrongState,
)
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.need import Need
from stead_controller.placement.search import Search, Terms
from stead_controller.placement.tenancy import DEDICATED, HOST, Tenancy
from stead_controller.request import client_tokens, instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import NEVER, Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import quotas, tags
from stead_controller.resources.host_capacity import rooms, tenancies
from stead_controller.resources.instances import instance_event_windows, launch_choices
from stead_controller.resources.instances.instance_tenancies import supports, target

MOST: Final = 100
"""The most hosts of one request."""

_SWITCHES: Final = ("on", "off")
_BATCH: Final = 100
_RELEASED: Final = {"allocated": "released", "permanent-failure": "released-permanent-failure"}
_NOBODY: Final = Tenancy(DEDICATED)
_IN_USE: Final = exists().where(Host.id == DedicatedHost.host_id, Host.state == "up", Host.schedulable.is_(True))
_STATE: Final = case(
    (DedicatedHost.state != "allocated", DedicatedHost.state), (_IN_USE, "available"), else_="under-assessment"
)

FILTERS: Final[Mapping[str, Condition]] = {
    "auto-placement": text(case((DedicatedHost.auto_placement.is_(True), "on"), else_="off")),
    "availability-zone": text(DedicatedHost.zone),
    "client-token": text(DedicatedHost.client_token),
    "host-reservation-id": NEVER,
    "instance-type": text(DedicatedHost.instance_type),
    "state": text(_STATE),
}
"""All filters by name, without those about tags."""


@dataclass(frozen=True, slots=True)
class TypesRequest:
    """For which instances a host is: those of a type, or of all types of a family; None for what is not given."""

    instance_type: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class UpkeepRequest:
    """Whether guests of a failed host, and of one in maintenance, are to have another; None for what is not given."""

    recovery: str | None = None
    maintenance: str | None = None

    def check(self) -> None:
        """Raise InvalidParameter for what is neither on nor off, and Unsupported for what is on."""
        for name, value in (("hostRecovery", self.recovery), ("hostMaintenance", self.maintenance)):
            if value not in (None, *_SWITCHES):
                raise InvalidParameter(f"Value ({value}) for parameter {name} is invalid. Expecting on or off.")
            if value == "on":
                raise Unsupported(f"The {name} on is not supported: no guest is moved from a Dedicated Host.")


@dataclass(frozen=True, slots=True)
class DedicatedHostRequest:
    """The parameters of new hosts; None for those not in the request."""

    types: TypesRequest
    count: int | None
    zone: str | None
    zone_id: str | None
    auto_placement: str
    tags: Mapping[str, str]
    repeatable: Repeatable
    upkeep: UpkeepRequest = UpkeepRequest()


@dataclass(frozen=True, slots=True)
class DedicatedHostChange:
    """What to change of a host; None leaves it."""

    auto_placement: str | None
    types: TypesRequest
    upkeep: UpkeepRequest = UpkeepRequest()


@dataclass(frozen=True, slots=True)
class TypeCapacity:
    """How many instances of a type a host could have now, and how many if it were empty."""

    instance_type: str
    available: int
    total: int


@dataclass(frozen=True, slots=True)
class DescribedDedicatedHost:
    """A Dedicated Host with the facts that are not in its row; `host` is the machine, None when it has none."""

    row: DedicatedHost
    state: str
    zone_id: str
    host: Host | None
    capacity: Sequence[TypeCapacity]
    instances: Sequence[Instance]
    tags: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """What was done about one of several hosts; `error` says why not."""

    host_id: str
    error: SteadError | None = None


def allocate(tx: Transaction, caller: Caller, cloud: Cloud, request: DedicatedHostRequest, now: datetime) -> list[str]:
    """Give the caller hosts on which nothing runs, all or none, and return their ids; a repeated request gets the same.

    Raises InvalidParameter, InvalidCombination, MissingParameter, Unsupported, LimitExceeded, NoCapacity,
    IdempotencyMismatch.
    """

    def make() -> str:
        return _allocate_all(tx, caller, cloud, request, now)

    first = lookup.find(
        tx, caller, "dedicated-host", DedicatedHost, client_tokens.once(tx, caller, request.repeatable, now, make)
    )
    same = select(DedicatedHost.id).where(
        DedicatedHost.account_id == caller.account_id,
        DedicatedHost.allocation_id == first.allocation_id,
    )
    return list(tx.session.scalars(same.order_by(DedicatedHost.id)))


def modify(tx: Transaction, caller: Caller, host_ids: Sequence[str], asked: DedicatedHostChange) -> list[HostOutcome]:
    """Change hosts, each by itself.

    Raises MalformedId, MissingParameter, InvalidParameter, InvalidCombination, Unsupported.
    """
    lookup.check_form("dedicated-host", host_ids)
    if asked == DedicatedHostChange(None, TypesRequest()):
        raise MissingParameter("AutoPlacement")
    asked.upkeep.check()
    if asked.auto_placement is not None:
        _check_auto_placement(asked.auto_placement)
    if asked.types != TypesRequest():
        _kinds(tx, asked.types)
    return [_modify(tx, caller, host_id, asked) for host_id in dict.fromkeys(host_ids)]


def release(tx: Transaction, caller: Caller, host_ids: Sequence[str], now: datetime) -> list[HostOutcome]:
    """Give hosts back to the cloud, each that has no instances; raises MalformedId."""
    lookup.check_form("dedicated-host", host_ids)
    return [_release(tx, caller, host_id, now) for host_id in dict.fromkeys(host_ids)]


def fail(tx: Transaction, host_id: str, now: datetime) -> None:
    """End the Dedicated Host of a host that is removed."""
    query = select(DedicatedHost).where(DedicatedHost.host_id == host_id, DedicatedHost.state == "allocated")
    for row in tx.session.scalars(query).all():
        row.state, row.ended, row.host_id = "permanent-failure", now, None
        ledger.end(tx, _resource(row), now)


def forget(tx: Transaction, since: datetime) -> None:
    """Delete hosts that were released a while ago; a batch of them."""
    old = list(tx.session.scalars(select(DedicatedHost.id).where(DedicatedHost.ended <= since).limit(_BATCH)))
    tags.remove_all(tx, old)
    instance_event_windows.forget_dedicated_hosts(tx, old)
    tx.session.execute(delete(DedicatedHost).where(DedicatedHost.id.in_(old)))


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedDedicatedHost]:
    """List the caller's hosts, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "dedicated-host", DedicatedHost, asked, conditions=FILTERS)
    query = select(DedicatedHost.id, _STATE).where(DedicatedHost.id.in_([row.id for row in found]))
    states: dict[str, str] = dict(tx.session.execute(query).all())
    machines = {row.host_id for row in found if row.state == "allocated" and row.host_id is not None}
    hosts = {host.id: host for host in tx.session.scalars(select(Host).where(Host.id.in_(machines)))}
    inside: defaultdict[str, list[Instance]] = defaultdict(list)
    running = select(Instance).where(
        Instance.host_id.in_(machines), Instance.tenancy == HOST, Instance.capacity_held.is_(True)
    )
    for instance in tx.session.scalars(running.order_by(Instance.id)):
        inside[instance.host_id or ""].append(instance)
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in found])
    zones = zone_ids(cloud)
    everything = instance_types.everything(tx) if hosts else []
    described = []
    for row in found:
        host = hosts.get(row.host_id or "")
        capacity = [] if host is None else [_capacity(host, kind) for kind in everything if supports(row, kind)]
        there = [] if host is None else inside[host.id]
        described.append(
            DescribedDedicatedHost(
                row, states[row.id], zones.get(row.zone, ""), host, capacity, there, tagged.get(row.id, ())
            )
        )
    return described


def _capacity(host: Host, kind: InstanceType) -> TypeCapacity:
    memory = _need(kind).memory
    fits = kind.vcpus <= host.cpus
    free = min(host.cpus_free // kind.vcpus, host.memory_free // memory)
    total = min(host.cpus_offered // kind.vcpus, host.memory_offered // memory)
    return TypeCapacity(kind.name, max(0, free) if fits else 0, max(0, total) if fits else 0)


def _allocate_all(tx: Transaction, caller: Caller, cloud: Cloud, request: DedicatedHostRequest, now: datetime) -> str:
    """Allocate as many hosts as a request asks for, and return the id of one of them."""
    _check_auto_placement(request.auto_placement)
    request.upkeep.check()
    if request.count is None:
        raise MissingParameter("Quantity")
    if not 1 <= request.count <= MOST:
        raise InvalidParameter(f"Value ({request.count}) for parameter quantity is invalid. Expecting 1 to {MOST}.")
    _check_limit(tx, caller, cloud, request.count)
    zone = _zone(cloud, request)
    kinds = _kinds(tx, request.types)
    for kind in kinds[:1]:
        launch_choices.check_offered(tx, kind, zone)
    made: list[str] = []
    for _ in range(request.count):
        host_id = ids.new_id("dedicated-host")
        row = DedicatedHost(
            id=host_id,
            account_id=caller.account_id,
            allocation_id=made[0] if made else host_id,
            host_id=_take(tx, cloud, caller.account_id, host_id, kinds=kinds, zone=zone),
            zone=zone,
            instance_type=request.types.instance_type,
            instance_family=kinds[0].family,
            auto_placement=request.auto_placement == "on",
            client_token=request.repeatable.token,
            state="allocated",
            created=now,
        )
        tx.session.add(row)
        tx.session.flush()
        ledger.begin(tx, _resource(row), uses.of_dedicated_host(row.instance_family), now)
        made.append(host_id)
    tags.create_on_launch(
        tx, caller, [("dedicated-host", host_id) for host_id in made], {"dedicated-host": request.tags}
    )
    return made[0]


def _check_limit(tx: Transaction, caller: Caller, cloud: Cloud, more: int) -> None:
    """Raise LimitExceeded for more hosts than an account may have."""
    most = cloud.dedicated_hosts_per_account
    mine = DedicatedHost.account_id == caller.account_id, DedicatedHost.state == "allocated"
    if quotas.count(tx, most, DedicatedHost.id, *mine) + more > most:
        raise LimitExceeded(f"An account may have at most {most} Dedicated Hosts here.", code="HostLimitExceeded")


def _take(
    tx: Transaction, cloud: Cloud, account_id: str, dedicated_host_id: str, *, kinds: Sequence[InstanceType], zone: str
) -> str:
    """Take the smallest host with nothing on it that has room for one of these types, and return its id."""
    for kind in kinds:
        search = Search(_need(kind), zone, packs=True, terms=Terms(kind.name, tenancy=_NOBODY))
        tried: set[str] = set()
        while (chosen := rooms.best(tx, cloud, search, tried)) is not None:
            if tenancies.give(tx, chosen.host_id, account_id, dedicated_host_id):
                return chosen.host_id
            tried.add(chosen.host_id)
    raise NoCapacity(
        f"There is not enough capacity to fulfill your Dedicated Host request in the Availability Zone {zone}.",
        code="InsufficientHostCapacity",
    )


def _need(kind: InstanceType) -> Need:
    """Return what the smallest instance of a type takes of its host."""
    memory = memory_of(kind.memory, kind.vcpus, uefi=False, tpm=False, architecture=kind.architecture)
    return Need(kind.vcpus, memory, kind.architecture, devices=kind.devices)


def _zone(cloud: Cloud, request: DedicatedHostRequest) -> str:
    if request.zone is not None and request.zone_id is not None:
        raise InvalidCombination("The parameters AvailabilityZone and AvailabilityZoneId cannot be used together")
    given = request.zone or request.zone_id
    if given is None:
        raise MissingParameter("AvailabilityZone")
    zone = request.zone or next((name for name, known in zone_ids(cloud).items() if known == given), given)
    if zone not in cloud.zones:
        raise InvalidParameter(f"Invalid availability zone: [{given}]", code="InvalidAvailabilityZone")
    return zone


def _kinds(tx: Transaction, asked: TypesRequest) -> list[InstanceType]:
    """Return the types that a request names, the smallest first."""
    if asked.instance_type is not None and asked.family is not None:
        raise InvalidCombination("The parameters InstanceType and InstanceFamily cannot be used together.")
    if asked.instance_type is not None:
        kind = instance_types.find(tx, asked.instance_type)
        if kind is None:
            words = f"Invalid value '{asked.instance_type}' for InstanceType."
            raise InvalidParameter(words, code="InvalidInstanceType")
        if kind.whole_cores:
            raise Unsupported(f"No Dedicated Host is for the type {kind.name}, whose instances have cores alone.")
        return [kind]
    if asked.family is None:
        raise MissingParameter("InstanceType")
    kinds = [kind for kind in instance_types.everything(tx) if kind.family == asked.family and not kind.whole_cores]
    if not kinds:
        raise InvalidParameter(f"Invalid value '{asked.family}' for InstanceFamily.", code="InvalidInstanceFamily")
    return sorted(kinds, key=lambda kind: (kind.memory, kind.vcpus, kind.name))


def _check_auto_placement(value: str) -> None:
    if value not in _SWITCHES:
        raise InvalidParameter(
            f"Value ({value}) for parameter autoPlacement is invalid. Expecting on or off.", code="InvalidAutoPlacement"
        )


def _modify(tx: Transaction, caller: Caller, host_id: str, asked: DedicatedHostChange) -> HostOutcome:
    try:
        row = target(tx, caller, host_id)
        if asked.types != TypesRequest():
            _change_types(tx, row, asked.types)
    except (NotFound, WrongState, InvalidParameter) as error:
        return HostOutcome(host_id, error)
    if asked.auto_placement is not None:
        row.auto_placement = asked.auto_placement == "on"
    tx.session.flush()
    return HostOutcome(host_id)


def _change_types(tx: Transaction, row: DedicatedHost, asked: TypesRequest) -> None:
    """Make a host one for other types of its family; raises InvalidParameter if it has others of them."""
    kinds = _kinds(tx, asked)
    if kinds[0].family != row.instance_family:
        raise InvalidParameter(
            f"The Dedicated Host '{row.id}' is for the instance family {row.instance_family}.",
            code="InvalidHostConfiguration",
        )
    names = {kind.name for kind in kinds}
    there = select(Instance.id).where(
        Instance.host_id == row.host_id,
        Instance.tenancy == HOST,
        Instance.capacity_held.is_(True),
        Instance.instance_type.not_in(names),
    )
    other = tx.session.scalar(there.limit(1))
    if other is not None:
        raise InvalidParameter(
            f"The instance '{other}' on the Dedicated Host '{row.id}' is of another type.",
            code="InvalidHostConfiguration",
        )
    row.instance_type = asked.instance_type


def _release(tx: Transaction, caller: Caller, host_id: str, now: datetime) -> HostOutcome:
    try:
        row = _releasable(tx, caller, host_id)
    except (NotFound, WrongState) as error:
        return HostOutcome(host_id, error)
    if row.host_id is not None and not tenancies.take_back(tx, row.host_id, row.id):
        words = f"Dedicated host '{row.id}' cannot be released as it is occupied."
        return HostOutcome(host_id, WrongState("dedicated-host", words, code="InvalidHost.Occupied"))
    row.state, row.ended = _RELEASED[row.state], now
    ledger.end(tx, _resource(row), now)
    tx.session.flush()
    return HostOutcome(host_id)


def _releasable(tx: Transaction, caller: Caller, host_id: str) -> DedicatedHost:
    row = lookup.find(tx, caller, "dedicated-host", DedicatedHost, host_id)
    return row if row.state in _RELEASED else target(tx, caller, host_id)


def _resource(row: DedicatedHost) -> Resource:
    return Resource(row.id, row.account_id, row.zone)

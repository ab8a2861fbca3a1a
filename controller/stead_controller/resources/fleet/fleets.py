"""Create, find and delete fleets of type instant: instances of several types and subnets, launched in one request.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Fleet, FleetInstance, Instance
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, SteadError, WrongState
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.fleet.fleet_launch import Failure, Goal, Launcher, Pool
from stead_controller.resources.instances import spot_interruptions
from stead_controller.resources.instances.terminate_instances import terminate_instances

FLEET_TAG: Final = "aws:ec2:fleet-id"
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteFleets.html
MOST_DELETED: Final = 25
_SHOWN_AFTER_DELETION: Final = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """A fleet to be made: `config` is the JSON of its request, which is stored and given back unread."""

    on_demand: Goal
    spot: Goal
    config: str
    tags: Mapping[str, str]
    repeatable: Repeatable


@dataclass(frozen=True, slots=True)
class FleetPools:
    """What a fleet may launch, of instances on demand and of Spot Instances, by the same numbers."""

    on_demand: Sequence[Pool]
    spot: Sequence[Pool]


@dataclass(frozen=True, slots=True)
class FleetMember:
    """An instance of a fleet, and the number of the pool by which it was launched."""

    pool: int
    instance_id: str
    instance_type: str
    zone: str
    subnet_id: str
    state: str
    spot: bool


@dataclass(frozen=True, slots=True)
class DescribedFleet:
    """A fleet with its instances, what could not be launched, and its tags."""

    fleet: Fleet
    members: Sequence[FleetMember]
    failures: Sequence[Failure]
    tags: Sequence[tuple[str, str]]

    @property
    def is_fulfilled(self) -> bool:
        """Whether it got all that it asked for, of both markets."""
        fleet = self.fleet
        on_demand, wanted = fleet.fulfilled - fleet.spot_fulfilled, fleet.target - fleet.spot_target
        return on_demand >= wanted and fleet.spot_fulfilled >= fleet.spot_target

    @property
    def state(self) -> str:
        """EC2's word for its state."""
        if self.fleet.deleted is None:
            return "active"
        ended = all(member.state == "terminated" for member in self.members)
        return "deleted" if ended else "deleted_terminating"


@dataclass(frozen=True, slots=True)
class FleetDeletion:
    """What became of a fleet that was to be deleted: its states before and now, or why it is still there."""

    id: str
    before: str = ""
    now: str = ""
    error: SteadError | None = None


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, request: FleetRequest, pools: FleetPools, *, now: datetime
) -> DescribedFleet:
    """Launch a fleet, as far as its pools have room; a repeated request gets the fleet it made.

    Raises IdempotencyMismatch, InvalidParameter; what is wrong with a pool is one of its failures.
    """

    def make() -> str:
        return _make(tx, caller, cloud, request, pools, now=now)

    made = client_tokens.once(tx, caller, request.repeatable, now, make)
    (found,) = describe(tx, caller, [made])
    return found


def _make(
    tx: Transaction, caller: Caller, cloud: Cloud, request: FleetRequest, pools: FleetPools, *, now: datetime
) -> str:
    _forget(tx, caller, now)
    fleet_id = ids.new_id("fleet")
    tags_of_all = {FLEET_TAG: fleet_id}
    # Those on demand are first, and Spot Instances end for what of them has no room.
    on_demand = Launcher(tx, caller, cloud, request.on_demand, tags_of_all, now).fill(pools.on_demand)
    spot_interruptions.begin(tx, on_demand.ending, now)
    spot = Launcher(tx, caller, cloud, request.spot, tags_of_all, now).fill(pools.spot)
    failures = [*on_demand.failures, *spot.failures]
    fleet = Fleet(
        id=fleet_id,
        account_id=caller.account_id,
        created=now,
        client_token=request.repeatable.token,
        target=request.on_demand.target + request.spot.target,
        spot_target=request.spot.target,
        fulfilled=on_demand.fulfilled + spot.fulfilled,
        spot_fulfilled=spot.fulfilled,
        config=request.config,
        failures=[[one.pool, one.code, one.message, one.spot] for one in failures],
    )
    tx.session.add(fleet)
    tx.session.flush()
    tx.session.add_all(
        FleetInstance(fleet_id=fleet_id, instance_id=instance_id, pool=pool)
        for pool, instance_ids in (*on_demand.launched, *spot.launched)
        for instance_id in instance_ids
    )
    tx.session.flush()
    tags.create_on_launch(tx, caller, [("fleet", fleet_id)], {"fleet": request.tags})
    return fleet_id


def describe(tx: Transaction, caller: Caller, fleet_ids: Sequence[str]) -> list[DescribedFleet]:
    """List the caller's fleets of these ids, sorted; raises MalformedId, NotFound."""
    mine = Fleet.account_id == caller.account_id
    lookup.require(tx, "fleet", Fleet.id, fleet_ids, mine)
    found = lookup.rows(tx, Fleet, dict.fromkeys(fleet_ids))
    members = _members(tx, [fleet.id for fleet in found])
    tagged = tags.pairs_of(tx, caller.account_id, [fleet.id for fleet in found])
    return [
        DescribedFleet(
            fleet,
            members[fleet.id],
            [_failure(*stored) for stored in fleet.failures],
            tagged.get(fleet.id, ()),
        )
        for fleet in found
    ]


def _failure(pool: object, code: object, message: object, spot: object = False) -> Failure:
    """Read a stored failure; those that older releases have stored do not say `spot`."""
    return Failure(int(str(pool)), str(code), str(message), bool(spot))


def _members(tx: Transaction, fleet_ids: Sequence[str]) -> dict[str, list[FleetMember]]:
    found: dict[str, list[FleetMember]] = defaultdict(list)
    query = (
        select(
            FleetInstance.fleet_id,
            FleetInstance.pool,
            Instance.id,
            Instance.instance_type,
            Instance.zone,
            Instance.subnet_id,
            Instance.state,
            Instance.spot_request_id.is_not(None),
        )
        .join(Instance, Instance.id == FleetInstance.instance_id)
        .order_by(FleetInstance.pool, Instance.id)
    )
    for batch in lookup.batches(fleet_ids):
        for row in tx.session.execute(query.where(FleetInstance.fleet_id.in_(batch))):
            found[row[0]].append(FleetMember(*row[1:]))
    return found


def remove(tx: Transaction, caller: Caller, fleet_ids: Sequence[str], now: datetime) -> list[FleetDeletion]:
    """Delete fleets and terminate their instances, each by itself; raises InvalidParameter for too many."""
    if len(fleet_ids) > MOST_DELETED:
        raise InvalidParameter(f"At most {MOST_DELETED} fleets of type instant can be deleted in one request.")
    return [_remove(tx, caller, fleet_id, now) for fleet_id in dict.fromkeys(fleet_ids)]


def _remove(tx: Transaction, caller: Caller, fleet_id: str, now: datetime) -> FleetDeletion:
    try:
        (found,) = describe(tx, caller, [fleet_id])
        _check_deletable(found)
        there = [member.instance_id for member in found.members if member.state != "terminated"]
        if there:
            terminate_instances(tx, caller, there, now)
    except (MalformedId, NotFound, WrongState) as error:
        return FleetDeletion(fleet_id, error=error)
    found.fleet.deleted = now
    tx.session.flush()
    (gone,) = describe(tx, caller, [fleet_id])
    return FleetDeletion(fleet_id, "active", gone.state)


def _check_deletable(found: DescribedFleet) -> None:
    if found.fleet.deleted is not None:
        raise WrongState("fleet", f"The fleet '{found.fleet.id}' is {found.state}, and cannot be deleted.")


def _forget(tx: Transaction, caller: Caller, now: datetime) -> None:
    """Remove the caller's fleets that were deleted two days ago, until when EC2 shows them."""
    old = select(Fleet.id).where(Fleet.account_id == caller.account_id, Fleet.deleted < now - _SHOWN_AFTER_DELETION)
    gone = list(tx.session.scalars(old))
    tags.remove_all(tx, gone)
    for batch in lookup.batches(gone):
        tx.session.execute(delete(Fleet).where(Fleet.id.in_(batch)).execution_options(synchronize_session=False))

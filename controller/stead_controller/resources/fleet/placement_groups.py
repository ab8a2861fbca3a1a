"""Create, find and delete placement groups; what they say of instances is in `instances/instance_groups.py`.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-groups.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import String, cast, delete, func, select

from stead_controller.catalog import ids
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.db.tables import Instance, PlacementGroup
from stead_controller.errors import (
    AlreadyExists,
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, clauses, constant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_groups
from stead_controller.resources.instances.instance_groups import STRATEGIES

# "A maximum of 500 placement groups per account in each Region":
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-groups.html
MOST: Final = 500
_MOST_NAME: Final = 255
_PARTITIONS: Final = range(1, 8)
_PARTITIONS_BY_DEFAULT: Final = 2


@dataclass(frozen=True, slots=True)
class PlacementGroupRequest:
    """The parameters of a new group; None for those not in the request."""

    name: str | None
    strategy: str | None
    partition_count: int | None
    spread_level: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DescribedPlacementGroup:
    """A group with the facts that are not in its row."""

    group: PlacementGroup
    arn: str
    tags: Sequence[tuple[str, str]]


def conditions(caller: Caller, cloud: Cloud) -> dict[str, Condition]:
    """All filters by name, without those about tags."""
    return {
        "group-arn": text(_arn(caller, cloud, "") + PlacementGroup.name),
        "group-name": text(PlacementGroup.name),
        "partition-count": text(cast(PlacementGroup.partition_count, String)),
        "spread-level": text(PlacementGroup.spread_level),
        "state": constant("available"),
        "strategy": text(PlacementGroup.strategy),
    }


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, request: PlacementGroupRequest, now: datetime
) -> DescribedPlacementGroup:
    """Make a group.

    Raises MissingParameter without name or strategy, InvalidParameter, InvalidCombination for parameters of another
    strategy, AlreadyExists, LimitExceeded.
    """
    if not request.name:
        raise MissingParameter("GroupName")
    if len(request.name) > _MOST_NAME or not request.name.isascii() or not request.name.isprintable():
        raise InvalidParameter(
            f"Value ({request.name}) for parameter groupName is invalid. It has up to {_MOST_NAME} ASCII characters."
        )
    strategy, partitions, level = _shape(request)
    mine = PlacementGroup.account_id == caller.account_id
    if tx.session.scalar(select(PlacementGroup.id).where(mine, PlacementGroup.name == request.name)) is not None:
        raise AlreadyExists("placement-group", f"The placement group '{request.name}' already exists.")
    there = select(PlacementGroup.id).where(mine).limit(MOST).subquery()
    if tx.session.scalars(select(func.count()).select_from(there)).one() >= MOST:
        raise LimitExceeded(
            f"You have reached the limit of {MOST} placement groups", code="PlacementGroupLimitExceeded"
        )
    made = PlacementGroup(
        id=ids.new_id("placement-group"),
        account_id=caller.account_id,
        name=request.name,
        strategy=strategy,
        partition_count=partitions,
        spread_level=level,
        created=now,
    )
    tx.session.add(made)
    tags.create_on_launch(tx, caller, [("placement-group", made.id)], {"placement-group": request.tags})
    return _described(tx, caller, cloud, [made])[0]


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, names: Sequence[str]
) -> list[DescribedPlacementGroup]:
    """List the caller's groups, sorted by name; raises MalformedId, NotFound."""
    mine = PlacementGroup.account_id == caller.account_id
    lookup.require(tx, "placement-group", PlacementGroup.id, asked.ids, mine)
    for name in dict.fromkeys(names):
        instance_groups.find(tx, caller, name)
    known = conditions(caller, cloud)
    query = select(PlacementGroup).where(mine, *clauses(tx, caller, asked.filters, known, PlacementGroup.id))
    if names:
        query = query.where(PlacementGroup.name.in_(names))
    if asked.ids:
        query = query.where(PlacementGroup.id.in_(asked.ids))
    return _described(tx, caller, cloud, tx.session.scalars(query.order_by(PlacementGroup.name)).all())


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete a group; raises NotFound, InUse while it has instances that are not terminated."""
    group = instance_groups.find(tx, caller, name)
    members = select(Instance.id).where(
        Instance.account_id == group.account_id,
        Instance.placement_group_id == group.id,
        Instance.state != "terminated",
    )
    if tx.session.scalar(members.limit(1)) is not None:
        raise InUse(
            f"The placement group '{name}' is in use and may not be deleted.", code="InvalidPlacementGroup.InUse"
        )
    tags.remove_all(tx, [group.id])
    tx.session.execute(delete(PlacementGroup).where(PlacementGroup.id == group.id))


def _shape(request: PlacementGroupRequest) -> tuple[str, int | None, str | None]:
    """Return strategy, number of partitions and level of a request, with EC2's defaults."""
    strategy, partitions, level = request.strategy, request.partition_count, request.spread_level
    if not strategy:
        raise MissingParameter("Strategy")
    if strategy not in STRATEGIES:
        raise InvalidParameter(
            f"Value ({strategy}) for parameter strategy is invalid. Expecting one of: {', '.join(STRATEGIES)}."
        )
    if partitions is not None and strategy != "partition":
        raise InvalidCombination("The parameter partitionCount can only be used with the strategy partition.")
    if partitions is not None and partitions not in _PARTITIONS:
        raise InvalidParameter(f"Value ({partitions}) for parameter partitionCount is invalid. Expecting 1 to 7.")
    if level is not None and strategy != "spread":
        raise InvalidCombination("The parameter spreadLevel can only be used with the strategy spread.")
    if level not in (None, "host", "rack"):
        raise InvalidParameter(f"Value ({level}) for parameter spreadLevel is invalid. Expecting host or rack.")
    return (
        strategy,
        (partitions or _PARTITIONS_BY_DEFAULT) if strategy == "partition" else None,
        (level or "rack") if strategy == "spread" else None,
    )


def _described(
    tx: Transaction, caller: Caller, cloud: Cloud, groups: Sequence[PlacementGroup]
) -> list[DescribedPlacementGroup]:
    tagged = tags.pairs_of(tx, caller.account_id, [group.id for group in groups])
    return [
        DescribedPlacementGroup(group, _arn(caller, cloud, group.name), tagged.get(group.id, ())) for group in groups
    ]


def _arn(caller: Caller, cloud: Cloud, name: str) -> str:
    return OF_TYPE["placement-group"].arn(cloud.partition, cloud.region, caller.account_id, name)

"""The placement groups of instances: chosen at the launch, limited by their strategy, and what they say of each host.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-strategies.html. Only instances that hold room of a
host count: others are placed anew when they start.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, select

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Host, Instance, PlacementGroup
from stead_controller.errors import InUse, InvalidCombination, InvalidParameter, LimitExceeded, NotFound
from stead_controller.placement.group import Group, Member
from stead_controller.placement.search import Terms
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import rooms

STRATEGIES: Final = ("cluster", "partition", "spread")

# "a maximum of seven running instances per Availability Zone per group", where the group spreads over racks.
MOST_ON_RACKS: Final = 7


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """A placement group by its name or its id, and one of its partitions; None for what is not in the request."""

    name: str | None = None
    group_id: str | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class ChosenGroup:
    """The group of a launch, and the partition, if one was asked for."""

    group: PlacementGroup
    partition: int | None


class Neighbours:
    """The instances of a group that run in one zone, and those that a launch adds to them."""

    def __init__(self, chosen: ChosenGroup, members: list[Member]) -> None:
        """Store them."""
        self._chosen = chosen
        self._members = members

    def launchable(self, least: int, most: int) -> int:
        """Return how many more instances the group takes, up to `most`; raises LimitExceeded for less than `least`."""
        group = self._chosen.group
        if group.spread_level != "rack":
            return most
        left = MOST_ON_RACKS - len(self._members)
        if left < least:
            raise LimitExceeded(
                f"The placement group '{group.name}' has {len(self._members)} running instances in this Availability "
                f"Zone, and one that spreads over racks has at most {MOST_ON_RACKS} in each.",
                code="InstanceLimitExceeded",
            )
        return min(left, most)

    def partitions(self) -> list[int | None]:
        """Return the partitions to try for an instance, in order: the one asked for, or that of the fewest first."""
        group = self._chosen.group
        if group.partition_count is None or self._chosen.partition is not None:
            return [self._chosen.partition]
        counts = Counter(member.partition for member in self._members)
        return sorted(range(1, group.partition_count + 1), key=lambda number: (counts[number], number))

    def group(self, partition: int | None) -> Group:
        """Return what the group says of hosts for an instance in a partition of it."""
        group = self._chosen.group
        return Group(group.strategy, tuple(self._members), by_host=group.spread_level == "host", partition=partition)

    def add(self, tx: Transaction, host_id: str, partition: int | None) -> None:
        """Count one more instance."""
        rack = tx.session.scalars(select(rooms.RACK).where(Host.id == host_id)).one()
        self._members.append(Member(host_id, rack, partition))


def choose(tx: Transaction, caller: Caller, asked: GroupRequest, kind: InstanceType) -> ChosenGroup | None:
    """Find the group that a request names, None if it names none; `kind` is the type of its instances.

    Raises MalformedId, NotFound, InvalidCombination, InvalidParameter.
    """
    if asked.name and asked.group_id:
        raise InvalidCombination("The parameters GroupName and GroupId cannot be used together.")
    if not asked.name and not asked.group_id:
        if asked.partition is not None:
            raise InvalidCombination("The parameter PartitionNumber needs a placement group.")
        return None
    group = find(tx, caller, asked.name) if asked.name else _by_id(tx, caller, asked.group_id or "")
    check_partition(group, asked.partition)
    check_type(group, kind)
    return ChosenGroup(group, asked.partition)


def check_type(group: PlacementGroup, kind: InstanceType) -> None:
    """Raise InvalidCombination for a type whose instances cannot be in a group."""
    if group.strategy == "cluster" and kind.burstable:
        raise InvalidCombination(
            f"Cluster placement groups are not supported by the '{kind.name}' instance type. Specify a supported "
            "instance type or change the placement group strategy, and try again."
        )


def find(tx: Transaction, caller: Caller, name: str) -> PlacementGroup:
    """Return the caller's group of that name; raises NotFound."""
    query = select(PlacementGroup).where(PlacementGroup.account_id == caller.account_id, PlacementGroup.name == name)
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("placement-group", name)
    return found


def cluster_zone(tx: Transaction, chosen: ChosenGroup | None) -> str | None:
    """Return the zone in which the instances of a cluster run; None where any zone will do."""
    if chosen is None or chosen.group.strategy != "cluster":
        return None
    query = select(Instance.zone).where(*_running(chosen.group))
    return tx.session.scalar(query.limit(1))


def check_zone(tx: Transaction, chosen: ChosenGroup | None, zone: str) -> None:
    """Raise InUse for a cluster whose instances run in another zone."""
    used = cluster_zone(tx, chosen)
    if chosen is not None and used not in (None, zone):
        raise InUse(
            f"The placement group '{chosen.group.name}' is in use in another availability zone: {used}",
            code="InvalidPlacementGroup.InUse",
        )


def neighbours(tx: Transaction, chosen: ChosenGroup, zone: str) -> Neighbours:
    """Return where the instances of a group run in a zone."""
    query = (
        select(Host.id, rooms.RACK, Instance.partition_number)
        .join(Host, Host.id == Instance.host_id)
        .where(*_running(chosen.group), Instance.zone == zone)
    )
    return Neighbours(chosen, [Member(*row) for row in tx.session.execute(query)])


def terms(tx: Transaction, instance: Instance) -> list[Terms]:
    """Return what decides where a stopped instance may start besides the room that it needs: for each partition.

    The first that can be met is to be chosen. Raises LimitExceeded.
    """
    if instance.placement_group_id is None:
        return [Terms(instance.instance_type)]
    group = tx.session.get_one(PlacementGroup, instance.placement_group_id)
    found = neighbours(tx, ChosenGroup(group, instance.partition_number), instance.zone)
    found.launchable(1, 1)
    return [Terms(instance.instance_type, group=found.group(partition)) for partition in found.partitions()]


def _running(group: PlacementGroup) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on instances of a group that have room of a host."""
    return (
        Instance.account_id == group.account_id,
        Instance.placement_group_id == group.id,
        Instance.capacity_held.is_(True),
    )


def _by_id(tx: Transaction, caller: Caller, group_id: str) -> PlacementGroup:
    return lookup.find(tx, caller, "placement-group", PlacementGroup, group_id)


def check_partition(group: PlacementGroup, partition: int | None) -> None:
    """Raise InvalidCombination or InvalidParameter for a partition that a group has not."""
    if partition is None:
        return
    if group.partition_count is None:
        raise InvalidCombination("The parameter PartitionNumber can only be used with the strategy partition.")
    if not 1 <= partition <= group.partition_count:
        raise InvalidParameter(
            f"Value ({partition}) for parameter partitionNumber is invalid. Expecting 1 to {group.partition_count}."
        )

"""Launch instances of a group: over zones and their subnets, as many as there is room for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Instance, ScalingGroup, ScalingTag, Subnet
from stead_controller.errors import SteadError
from stead_controller.request import instance_types
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet import fleet_launch
from stead_controller.resources.fleet.fleet_launch import Goal, Pool
from stead_controller.resources.scaling.member import IN_SERVICE
from stead_controller.resources.scaling.termination import Distribution

TAG: Final = "aws:autoscaling:groupName"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is launched: `launch` is the group's JSON; in a subnet or, without one, in the zone's default subnet.

    `units` are as many as are missing; `spot` is whether a mixed instances policy is to launch Spot Instances.
    """

    launch: str
    zone: str | None
    subnet: str | None
    units: int = 1
    tags: Mapping[str, str] | None = None
    placement_group: str | None = None
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What an instance is launched by: a version of a launch template, or a launch configuration."""

    template_id: str | None = None
    template_name: str | None = None
    template_version: int | None = None
    configuration: str | None = None


@dataclass(frozen=True, slots=True)
class Ways:
    """The pools by which a group can launch, each with its origin, by the pools' numbers; there is one at least.

    A mixed instances policy has a `distribution` over instances on demand and Spot Instances.
    """

    pools: Sequence[Pool]
    origins: Mapping[int, Origin]
    by_priority: bool = False
    distribution: Distribution | None = None

    def best_first(self, tx: Transaction) -> list[str]:
        """Return the types by the allocation strategy, what it likes best first."""
        requests = [(pool, pool.request.instance_type) for pool in self.pools if pool.request is not None]
        if self.by_priority:
            return list(dict.fromkeys(kind for _, kind in requests))
        priced = []
        for pool, name in requests:
            kind = instance_types.find(tx, name)
            if kind is not None:
                priced.append((fleet_launch.price_of(kind) / pool.weight, pool.number, name))
        return list(dict.fromkeys(name for _, _, name in sorted(priced)))


type Read = Callable[[Transaction, Caller, Wanted], Ways]
"""Reads what a group has stored; raises SteadError."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A new instance, and how many units of the capacity it is."""

    id: str
    zone: str
    subnet: str
    instance_type: str
    spot: bool
    weight: int
    origin: Origin


@dataclass(slots=True)
class Launcher:
    """Launches for one group; `read` reads what it has stored.

    `on_demand` and `spot` are the units that there are already, of both markets. Instances go to the lifecycle state
    `target`.
    """

    tx: Transaction
    cloud: Cloud
    read: Read
    group: ScalingGroup
    now: datetime
    on_demand: int = 0
    spot: int = 0
    target: str = IN_SERVICE

    def launch(self, wanted: Mapping[str, int], *, only_there: bool) -> tuple[list[Launched], str | None]:
        """Launch so many units in each zone; and say why some were not.

        What has no room in its zone is launched in another one, unless it is wanted `only_there`.
        """
        made: list[Launched] = []
        refusal: str | None = None
        total = sum(wanted.values())
        full: set[str] = set()
        for zone, units in wanted.items():
            told = self._in_zone(zone, min(units, total - _weight(made)), made)
            if told is not None:
                refusal = told
                full.add(zone)
        for zone in (one for one in self.group.zones if one not in full and not only_there):
            refusal = self._in_zone(zone, total - _weight(made), made)
        return made, refusal if _weight(made) < total else None

    def _in_zone(self, zone: str, units: int, made: list[Launched]) -> str | None:
        """Launch in one subnet of a zone after the other what is still missing; return why not all could be."""
        refusal: str | None = f"The group has no subnet in the Availability Zone {zone}."
        before = _weight(made)
        for subnet in self._subnets(zone):
            missing = units - (_weight(made) - before)
            refusal = None
            for spot, share in self._shares(zone, subnet, missing):
                refusal = self._of_market(zone, subnet, share, made, spot=spot) or refusal
        return refusal

    def _subnets(self, zone: str) -> Sequence[str | None]:
        if not self.group.subnets:
            return (None,)
        there = select(Subnet.id).where(Subnet.account_id == self.group.account_id, Subnet.zone == zone)
        return list(self.tx.session.scalars(there.where(Subnet.id.in_(self.group.subnets)).order_by(Subnet.id)))

    def _shares(self, zone: str, subnet: str | None, units: int) -> Iterator[tuple[bool, int]]:
        """Yield how many units are to be of Spot Instances, and how many not."""
        if units <= 0:
            return
        try:
            distribution = self.read(self.tx, owner(self.cloud, self.group), self._wanted(zone, subnet, 1)).distribution
        except SteadError:
            distribution = None  # which is found again
        if distribution is None:
            yield False, units
            return
        all_units = self.on_demand + self.spot + units
        on_demand = max(0, min(units, distribution.on_demand(all_units) - self.on_demand))
        if on_demand:
            yield False, on_demand
        if units - on_demand:
            yield True, units - on_demand

    def _wanted(self, zone: str, subnet: str | None, units: int, *, spot: bool = False) -> Wanted:
        group = self.group
        of_group = ScalingTag.group_id == group.id
        tags = select(ScalingTag.key, ScalingTag.value).where(of_group, ScalingTag.propagate)
        return Wanted(
            launch=group.launching,
            zone=zone if subnet is None else None,
            subnet=subnet,
            units=units,
            tags={row.key: row.value for row in self.tx.session.execute(tags)},
            placement_group=group.placement_group,
            spot=spot,
        )

    def _of_market(self, zone: str, subnet: str | None, units: int, made: list[Launched], *, spot: bool) -> str | None:
        """Launch Spot Instances, or those on demand; return why not all could be."""
        caller = owner(self.cloud, self.group)
        try:
            ways = self.read(self.tx, caller, self._wanted(zone, subnet, units, spot=spot))
        except SteadError as error:
            return error.message
        goal = Goal(units, _coded, spot=spot, by_priority=ways.by_priority)
        launcher = fleet_launch.Launcher(self.tx, caller, self.cloud, goal, {TAG: self.group.name}, self.now)
        outcome = launcher.fill([self._aimed(pool) for pool in ways.pools])
        weights = {pool.number: int(pool.weight) for pool in ways.pools}
        for number, ids in outcome.launched:
            made += self._launched(ids, weights[number], ways.origins[number])
        if outcome.fulfilled >= units:
            return None
        return outcome.failures[0].message if outcome.failures else f"There is no room in {zone}."

    def _aimed(self, pool: Pool) -> Pool:
        if pool.request is None:
            return pool
        return replace(pool, request=replace(pool.request, target_lifecycle_state=self.target))

    def _launched(self, ids: Sequence[str], weight: int, origin: Origin) -> Iterator[Launched]:
        mine = Instance.account_id == self.group.account_id
        for one in self.tx.session.scalars(select(Instance).where(mine, Instance.id.in_(ids)).order_by(Instance.id)):
            spot = one.spot_request_id is not None
            if spot:
                self.spot += weight
            else:
                self.on_demand += weight
            yield Launched(one.id, one.zone, one.subnet_id, one.instance_type, spot, weight, origin)


def owner(cloud: Cloud, group: ScalingGroup) -> Caller:
    """Return in whose name a group acts: its account's. Who makes it needs the right to launch what it launches."""
    account_id = group.account_id
    return Caller(account_id, f"arn:{cloud.partition}:iam::{account_id}:root", account_id, "")


def _weight(made: Sequence[Launched]) -> int:
    return sum(one.weight for one in made)


def _coded(error: SteadError) -> tuple[str, str]:
    return error.code or "", error.message

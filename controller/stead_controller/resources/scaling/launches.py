"""Launch instances of a group: over zones and their subnets, as many as there is room for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Instance, ScalingGroup, ScalingTag, Subnet
from stead_controller.errors import NoCapacity, SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances

TAG: Final = "aws:autoscaling:groupName"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is launched: `launch` is the group's JSON; in a subnet or, without one, in the zone's default subnet."""

    launch: str
    zone: str | None
    subnet: str | None
    count: int
    tags: Mapping[str, str]
    placement_group: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What an instance is launched by: a version of a launch template, or a launch configuration."""

    template_id: str | None = None
    template_name: str | None = None
    template_version: int | None = None
    configuration: str | None = None


type Read = Callable[[Transaction, Caller, Wanted], tuple[LaunchRequest, Origin]]
"""Makes a launch of what a group has stored; raises SteadError."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A new instance."""

    id: str
    zone: str
    subnet: str
    instance_type: str
    spot: bool
    origin: Origin


@dataclass(frozen=True, slots=True)
class Launcher:
    """Launches for one group; `read` reads what it has stored."""

    tx: Transaction
    cloud: Cloud
    read: Read
    group: ScalingGroup
    now: datetime

    def launch(self, wanted: Mapping[str, int]) -> tuple[list[Launched], str | None]:
        """Launch so many in each zone, and elsewhere what has no room there; and say why some were not launched."""
        made: list[Launched] = []
        missing, refusal = 0, None
        full: set[str] = set()
        for zone, count in wanted.items():
            got, failure = self._in_zone(zone, count)
            made += got
            if failure is not None:
                full.add(zone)
                missing += count - len(got)
                refusal = failure
                if not isinstance(failure, NoCapacity):
                    return made, failure.message
        for zone in (one for one in self.group.zones if one not in full):
            if missing:
                got, failure = self._in_zone(zone, missing)
                made += got
                missing -= len(got)
                refusal = failure or refusal
        return made, refusal.message if missing and refusal is not None else None

    def _in_zone(self, zone: str, count: int) -> tuple[list[Launched], SteadError | None]:
        """Launch in one subnet of a zone after the other."""
        made: list[Launched] = []
        failure: SteadError | None = NoCapacity(f"The group has no subnet in the Availability Zone {zone}.")
        for subnet in self._subnets(zone):
            try:
                with undone_on(self.tx, SteadError):
                    made += self._run(zone, subnet, count - len(made))
                failure = None if len(made) == count else _too_few(zone)
            except SteadError as error:
                failure = error
            if failure is None or not isinstance(failure, NoCapacity):
                break
        return made, failure

    def _subnets(self, zone: str) -> Sequence[str | None]:
        if not self.group.subnets:
            return (None,)
        there = select(Subnet.id).where(Subnet.account_id == self.group.account_id, Subnet.zone == zone)
        return list(self.tx.session.scalars(there.where(Subnet.id.in_(self.group.subnets)).order_by(Subnet.id)))

    def _run(self, zone: str, subnet: str | None, count: int) -> Iterator[Launched]:
        group, caller = self.group, owner(self.cloud, self.group)
        of_group = ScalingTag.group_id == group.id
        tags = select(ScalingTag.key, ScalingTag.value).where(of_group, ScalingTag.propagate)
        wanted = Wanted(
            launch=group.launch,
            zone=zone if subnet is None else None,
            subnet=subnet,
            count=count,
            tags={row.key: row.value for row in self.tx.session.execute(tags)},
            placement_group=group.placement_group,
        )
        request, origin = self.read(self.tx, caller, wanted)
        request = replace(request, system_tags={**request.system_tags, TAG: group.name})
        made = run_instances(self.tx, caller, self.cloud, request, self.now)
        mine = Instance.account_id == group.account_id
        found = select(Instance).where(mine, Instance.reservation_id == made).order_by(Instance.launch_index)
        for one in self.tx.session.scalars(found):
            yield Launched(one.id, one.zone, one.subnet_id, one.instance_type, one.spot_request_id is not None, origin)


def owner(cloud: Cloud, group: ScalingGroup) -> Caller:
    """Return in whose name a group acts: its account's. Who makes it needs the right to launch what it launches."""
    account_id = group.account_id
    return Caller(account_id, f"arn:{cloud.partition}:iam::{account_id}:root", account_id, "")


def _too_few(zone: str) -> NoCapacity:
    return NoCapacity(f"We currently do not have sufficient capacity in the Availability Zone you requested ({zone}).")

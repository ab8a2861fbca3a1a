"""How near running instances are to each other: the zone, the rack and the host of each, as nodes of a tree.

Nodes are hashed with the account, as EC2's are, so that two accounts cannot find out that they share a host.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import Host, Instance, PlacementGroup
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.instances import instance_filters

_MOST: Final = 100  # ids, and names of groups


@dataclass(frozen=True, slots=True)
class DescribedTopology:
    """Where an instance is; `nodes` lead from its zone down to its host, and are none while it does not run."""

    instance_id: str
    instance_type: str
    group: str  # its placement group's name, or empty
    zone: str
    zone_id: str | None
    nodes: tuple[str, ...]


@cache
def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters of DescribeInstanceTopology by name."""
    of_instances = instance_filters.conditions(cloud)
    return MappingProxyType(
        {
            "availability-zone": of_instances["availability-zone"],
            "instance-type": of_instances["instance-type"],
            "zone-id": of_instances["availability-zone-id"],
        }
    )


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, groups: Sequence[str]
) -> list[DescribedTopology]:
    """Find where the caller's instances are, of these placement groups if any are named, sorted by id.

    Raises InvalidParameter, MalformedId and NotFound.
    """
    if max(len(asked.ids), len(groups)) > _MOST:
        raise InvalidParameter(f"At most {_MOST} instance ids and names of placement groups may be given")
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    members = _members(tx, caller, groups)
    ids = lookup.select_ids(tx, caller, Instance.id, asked, mine, *members, conditions=conditions(cloud))
    zones = zone_ids(cloud)
    of_instance = (Instance.id, Instance.instance_type, Instance.placement_group_name, Instance.zone, Instance.state)
    rows = select(*of_instance, Host.id.label("host"), Host.labels)
    rows = rows.outerjoin(Host, Host.id == Instance.host_id).order_by(Instance.id)
    return [
        DescribedTopology(
            row.id,
            row.instance_type,
            row.placement_group_name,
            row.zone,
            zones.get(row.zone),
            _nodes(caller.account_id, row.zone, row.host, row.labels) if row.state == "running" and row.host else (),
        )
        for batch in lookup.batches(ids)
        for row in tx.session.execute(rows.where(Instance.id.in_(batch)))
    ]


def _members(tx: Transaction, caller: Caller, names: Sequence[str]) -> list[ColumnElement[bool]]:
    """Return what holds of instances of these groups; raises NotFound."""
    if not names:
        return []
    named = select(PlacementGroup.name, PlacementGroup.id).where(
        PlacementGroup.account_id == caller.account_id, PlacementGroup.name.in_(names)
    )
    found = {row.name: row.id for row in tx.session.execute(named)}
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise NotFound("placement-group", missing)
    return [Instance.placement_group_id.in_(found.values())]


def _nodes(account_id: str, zone: str, host_id: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodes of a host; one without the label `rack` is a rack of its own."""
    path = (zone, labels.get("rack", host_id), host_id)
    return tuple(_node("/".join((account_id, *path[:depth]))) for depth in range(1, len(path) + 1))


def _node(path: str) -> str:
    return f"nn-0{hashlib.sha256(path.encode()).hexdigest()[:16]}"

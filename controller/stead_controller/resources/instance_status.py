"""The health of instances: a running guest is well as long as its host is heard of and its machine has not failed."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import case, select

from stead_controller.db.tables import Host, Instance
from stead_controller.errors import Unsupported
from stead_controller.resources import instance_filters, instance_types, lookup
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import NEVER, Condition, Selection, constant, shown_as, text
from stead_controller.resources.instance_states import STATE_CODES
from stead_controller.resources.transaction import Transaction
from stead_controller.resources.zones import zone_ids

_host_state = select(Host.state).where(Host.id == Instance.host_id).correlate(Instance).scalar_subquery()
# Of a guest on a lost host nothing is known; what does not run has no status.
_STATUS: Final = case(
    (Instance.state == "pending", "initializing"),
    (Instance.state != "running", "not-applicable"),
    (_host_state == "up", case((Instance.recovery_began.is_(None), "ok"), else_="initializing")),
    else_="insufficient-data",
)
_RUNNING_SYSTEM: Final = case((_STATUS == "ok", "ok"), else_="impaired")
_SYSTEM_STATUS: Final = case((Instance.state == "running", _RUNNING_SYSTEM), else_=_STATUS)
_ROWS: Final = select(
    Instance.id, Instance.state, Instance.zone, _STATUS.label("status"), _SYSTEM_STATUS.label("system")
)
_REACHABILITY: Final = {
    "ok": "passed",
    "impaired": "failed",
    "initializing": "initializing",
    "insufficient-data": "insufficient-data",
}


@cache
def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters of DescribeInstanceStatus by name."""
    of_instances = instance_filters.conditions(cloud)
    alike = ("availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name")
    events = ("code", "description", "instance-event-id", "not-after", "not-before", "not-before-deadline")
    return MappingProxyType(
        {name: of_instances[name] for name in alike}
        | {f"event.{name}": NEVER for name in events}
        | {
            "application-status.status": NEVER,
            "attached-ebs-status.status": text(_STATUS),
            "instance-status.reachability": shown_as(_STATUS, _REACHABILITY),
            "instance-status.status": text(_STATUS),
            "operator.managed": constant("false"),
            "operator.principal": NEVER,
            "system-status.reachability": shown_as(_SYSTEM_STATUS, _REACHABILITY),
            "system-status.status": text(_SYSTEM_STATUS),
        }
    )


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, *, only_running: bool
) -> list[dict[str, Any]]:
    """List the status of the caller's instances in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    running = [Instance.state == "running"] if only_running else []
    ids = lookup.select_ids(tx, caller, Instance.id, asked, mine, *running, conditions=conditions(cloud))
    zones = zone_ids(cloud)
    return [
        {
            "InstanceId": row.id,
            "AvailabilityZone": row.zone,
            "AvailabilityZoneId": zones.get(row.zone),
            "InstanceState": {"Code": STATE_CODES[row.state], "Name": row.state},
            "InstanceStatus": _summary(row.status),
            "SystemStatus": _summary(row.system),
            "AttachedEbsStatus": _summary(row.status),
            "Events": [],
            "Operator": {"Managed": False},
        }
        for batch in lookup.batches(ids)
        for row in tx.session.execute(_ROWS.where(Instance.id.in_(batch)).order_by(Instance.id))
    ]


def credit_specifications(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, str]]:
    """List how burstable instances spend CPU credits: all in the mode `standard`.

    Without ids EC2 lists those in the mode `unlimited`, which are none. Raises MalformedId, NotFound, Unsupported for
    an instance that is not burstable.
    """
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    if not asked.ids:
        return []
    known = instance_filters.conditions(cloud)
    ids = lookup.select_ids(tx, caller, Instance.id, asked, mine, conditions=known)
    types = {row.id: row.instance_type for row in lookup.rows(tx, Instance, ids)}
    for instance_id, name in types.items():
        kind = instance_types.find(name)
        if kind is None or not kind.burstable:
            raise Unsupported(
                f"The instance '{instance_id}' of type {name} has no CPU credits",
                code="InstanceCreditSpecification.NotSupported",
            )
    return [{"InstanceId": instance_id, "CpuCredits": "standard"} for instance_id in types]


def _summary(status: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"Status": status}
    if status in _REACHABILITY:
        shown["Details"] = [{"Name": "reachability", "Status": _REACHABILITY[status]}]
    return shown

"""The health of instances, by three checks: of the host, the guest and the attached volumes.

A running guest is healthy when it answers its host's ARP requests, and its guest agent answers if it has one, and it is
not paused; a full pool pauses it. The host is healthy while it reports, runs the guest, and the guest's QEMU answers;
the volumes are while they do the guest's requests, their disks are there, and it can reach all their home hosts and
these have space. The status of a guest on a lost host is unknown.
See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Final

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import Host, Instance, Volume
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import NEVER, Condition, Selection, constant, shown_as, text
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.instances import instance_events, instance_filters, volume_attachments

_host_state = select(Host.state).where(Host.id == Instance.host_id).correlate(Instance).scalar_subquery()
# The status of a guest on a lost host is unknown; an instance that is not running has none.
_STATUS: Final = case(
    (Instance.state == "pending", "initializing"),
    (Instance.state != "running", "not-applicable"),
    (_host_state == "up", case((Instance.recovery_began.is_(None), "ok"), else_="initializing")),
    else_="insufficient-data",
)
_is_served = and_(_STATUS == "ok", Instance.hung_since.is_(None), Instance.off_since.is_(None))
_RUNNING_SYSTEM: Final = case((_is_served, "ok"), else_="impaired")
SYSTEM_STATUS: Final = case((Instance.state == "running", _RUNNING_SYSTEM), else_=_STATUS)
_Home = aliased(Host)
_attached = and_(
    Volume.instance_id == Instance.id, Volume.attachment_state.in_(("attached", *volume_attachments.DETACHING))
)
_full_since = select(func.min(Volume.full_since)).where(_attached).correlate(Instance).scalar_subquery()
_stalled_since = select(func.min(Volume.stalled_since)).where(_attached).correlate(Instance).scalar_subquery()
_lost_since = select(func.min(Volume.lost_since)).where(_attached).correlate(Instance).scalar_subquery()
_away_since = (
    select(func.min(func.coalesce(_Home.last_seen, _Home.created), type_=Host.created.type))
    .join(Volume, Volume.host_id == _Home.id)
    .where(_attached, _Home.state == "down")
    .correlate(Instance)
    .scalar_subquery()
)
INSTANCE_STATUS: Final = case(
    (_STATUS != "ok", _STATUS),
    (or_(_full_since.is_not(None), Instance.off_since.is_not(None), Instance.answers == "no"), "impaired"),
    (Instance.answers == "starting", "initializing"),
    else_="ok",  # unknown for guests on hosts of an earlier release
)
_ebs_impaired = or_(*(each.is_not(None) for each in (_full_since, _stalled_since, _lost_since, _away_since)))
EBS_STATUS: Final = case((and_(_STATUS == "ok", _ebs_impaired), "impaired"), else_=_STATUS)
_ROWS: Final = select(
    Instance.id,
    Instance.has_events,
    Instance.state,
    Instance.zone,
    INSTANCE_STATUS.label("status"),
    SYSTEM_STATUS.label("system"),
    EBS_STATUS.label("ebs"),
    _full_since.label("full_since"),
    Instance.silent_since,
    Instance.hung_since,
    Instance.off_since,
    _lost_since.label("lost_since"),
    _stalled_since.label("stalled_since"),
    _away_since.label("away_since"),
)
_REACHABILITY: Final = {
    "ok": "passed",
    "impaired": "failed",
    "initializing": "initializing",
    "insufficient-data": "insufficient-data",
}


@dataclass(frozen=True, slots=True)
class StatusCheck:
    """The result of a check, in EC2's words; `reachability` is None if the instance is not running.

    `impaired_since` is known for some impairments only.
    """

    status: str
    reachability: str | None
    impaired_since: datetime | None


@dataclass(frozen=True, slots=True)
class DescribedStatus:
    """The status of an instance: of itself, of its host and of the volumes attached to it."""

    instance_id: str
    zone: str
    zone_id: str | None
    state: str
    instance: StatusCheck
    system: StatusCheck
    volumes: StatusCheck
    events: Sequence[instance_events.Event] = ()


@cache
def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters of DescribeInstanceStatus by name."""
    of_instances = instance_filters.conditions(cloud)
    alike = ("availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name")
    return MappingProxyType(
        {name: of_instances[name] for name in alike}
        | instance_events.FILTERS
        | {
            "event.not-after": NEVER,
            "application-status.status": NEVER,
            "attached-ebs-status.status": text(EBS_STATUS),
            "instance-status.reachability": shown_as(INSTANCE_STATUS, _REACHABILITY),
            "instance-status.status": text(INSTANCE_STATUS),
            "operator.managed": constant("false"),
            "operator.principal": NEVER,
            "system-status.reachability": shown_as(SYSTEM_STATUS, _REACHABILITY),
            "system-status.status": text(SYSTEM_STATUS),
        }
    )


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, *, only_running: bool
) -> list[DescribedStatus]:
    """Find the status of the caller's instances, sorted by id; raises MalformedId, NotFound."""
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    running = [Instance.state == "running"] if only_running else []
    ids = lookup.select_ids(tx, caller, Instance.id, asked, mine, *running, conditions=conditions(cloud))
    zones = zone_ids(cloud)
    found = [
        row
        for batch in lookup.batches(ids)
        for row in tx.session.execute(_ROWS.where(Instance.id.in_(batch)).order_by(Instance.id))
    ]
    events = instance_events.of_instances(tx, [row.id for row in found if row.has_events])
    return [
        DescribedStatus(
            row.id,
            row.zone,
            zones.get(row.zone),
            row.state,
            instance=_check(row.status, row.full_since, row.silent_since, row.off_since),
            system=_check(row.system, row.hung_since, row.off_since),
            volumes=_check(row.ebs, row.full_since, row.stalled_since, row.lost_since, row.away_since),
            events=events.get(row.id, ()),
        )
        for row in found
    ]


def _check(status: str, *since: datetime | None) -> StatusCheck:
    """Return the result of a check; an impairment with the earliest known start."""
    begins = [each for each in since if each is not None] if status == "impaired" else ()
    return StatusCheck(status, _REACHABILITY.get(status), min(begins, default=None))

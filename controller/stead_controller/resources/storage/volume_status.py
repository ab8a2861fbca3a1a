"""The health of volumes, and the attributes that have to do with it.

A volume is impaired while its pool is full: the guest that writes to it is paused and goes on when there is room. So it
is while a guest's requests to it fail or wait for long, while data of its snapshot is damaged that its host has not
fetched, and while its disk, which its home has had, is not there. The status of a volume whose home is down is unknown.
See https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-status.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import case, func, or_, select

from stead_controller.db.tables import Host, SnapshotDamage, Volume
from stead_controller.errors import WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import NEVER, Condition, Selection, constant, instant, text
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.storage.snapshot_damage import VOLUME_LACKS_DATA, volume_lacks_data
from stead_controller.resources.storage.volumes import of_instance

_EVENT_TYPE: Final = "stalled"
_EVENT: Final = "Stalled: the storage pool of the volume is full. Its instance is paused until there is room."
_STALL: Final = "Stalled: requests of the volume's instance fail or wait. They go on when its host reaches its data."
_DAMAGE_TYPE: Final = "potential-data-inconsistency"
_DAMAGE: Final = "Damaged: data of the volume's snapshot is damaged. Who reads it waits until it is restored."
_LOSS: Final = "Lost: the host of the volume has its disk no more. It is not replaced by an empty one."
_IO_ENABLED: Final = {"ok": "passed", "impaired": "failed", "insufficient-data": "insufficient-data"}

_at_home = select(Host.state).where(Host.id == Volume.host_id).correlate(Volume).scalar_subquery()
STATUS = case(
    (Volume.state.not_in(("available", "in-use")), "insufficient-data"),
    (or_(*(each.is_not(None) for each in (Volume.full_since, Volume.stalled_since, Volume.lost_since))), "impaired"),
    (VOLUME_LACKS_DATA, "impaired"),
    (_at_home == "down", "insufficient-data"),
    else_="ok",
)
"""The status of a volume in EC2's words."""

_io_enabled = case(_IO_ENABLED, value=STATUS)


@dataclass(frozen=True, slots=True)
class VolumeEvent:
    """What impairs a volume, and since when."""

    id: str
    kind: str
    description: str
    since: datetime


@dataclass(frozen=True, slots=True)
class DescribedVolumeStatus:
    """A volume's health; `status` and `io_enabled` are EC2's words."""

    volume: Volume
    zone_id: str | None
    status: str
    io_enabled: str
    events: Sequence[VolumeEvent]


@dataclass(frozen=True, slots=True)
class VolumeAttributes:
    """What DescribeVolumeAttribute shows of a volume."""

    volume_id: str
    auto_enable_io: bool


_damage_since = (
    select(func.min(SnapshotDamage.since))
    .where(SnapshotDamage.snapshot_id == Volume.snapshot_id)
    .correlate(Volume)
    .scalar_subquery()
)


def _of_event(full: Condition, stall: Condition, damage: Condition, loss: Condition) -> Condition:
    """Ask about the events of a full pool, of requests that are not done, of damaged data and of a lost disk."""

    def condition(asked: Filter) -> Any:
        return or_(
            Volume.full_since.is_not(None) & full(asked),
            Volume.stalled_since.is_not(None) & stall(asked),
            VOLUME_LACKS_DATA & damage(asked),
            Volume.lost_since.is_not(None) & loss(asked),
        )

    return condition


FILTERS: Final[dict[str, Condition]] = {
    "action.code": NEVER,
    "action.description": NEVER,
    "action.event-id": NEVER,
    "attachment-status.instance-id": of_instance,
    "attachment-status.io-performance": NEVER,
    "availability-zone": text(Volume.zone),
    "event.description": _of_event(constant(_EVENT), constant(_STALL), constant(_DAMAGE), constant(_LOSS)),
    "event.event-id": _of_event(
        text("e" + Volume.id), text("s" + Volume.id), text("d" + Volume.id), text("l" + Volume.id)
    ),
    "event.event-type": _of_event(*(constant(each) for each in (_EVENT_TYPE, _EVENT_TYPE, _DAMAGE_TYPE, _DAMAGE_TYPE))),
    "event.not-after": NEVER,
    "event.not-before": _of_event(
        instant(Volume.full_since), instant(Volume.stalled_since), instant(_damage_since), instant(Volume.lost_since)
    ),
    "operator.managed": constant("false"),
    "operator.principal": NEVER,
    "volume-status.details-name": constant("io-enabled"),
    "volume-status.details-status": text(_io_enabled),
    "volume-status.status": text(STATUS),
}


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedVolumeStatus]:
    """Find the status of the caller's volumes, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=FILTERS)
    zones = zone_ids(cloud)
    statuses: dict[str, str] = {}
    damaged: dict[str, datetime] = {}
    for batch in lookup.batches([volume.id for volume in found]):
        statuses.update(tx.session.execute(select(Volume.id, STATUS).where(Volume.id.in_(batch))).all())
        lacking = select(Volume.id, _damage_since).where(Volume.id.in_(batch), VOLUME_LACKS_DATA)
        damaged.update(tx.session.execute(lacking).all())
    return [
        DescribedVolumeStatus(
            volume,
            zone_id=zones.get(volume.zone),
            status=statuses[volume.id],
            io_enabled=_IO_ENABLED[statuses[volume.id]],
            events=_events(volume, damaged.get(volume.id)),
        )
        for volume in found
    ]


def _events(volume: Volume, damaged_since: datetime | None) -> list[VolumeEvent]:
    return [
        VolumeEvent(f"{letter}{volume.id}", kind, description, since)
        for letter, kind, description, since in (
            ("e", _EVENT_TYPE, _EVENT, volume.full_since),
            ("s", _EVENT_TYPE, _STALL, volume.stalled_since),
            ("d", _DAMAGE_TYPE, _DAMAGE, damaged_since),
            ("l", _DAMAGE_TYPE, _LOSS, volume.lost_since),
        )
        if since is not None
    ]


def find_attributes(tx: Transaction, caller: Caller, volume_id: str) -> VolumeAttributes:
    """Return the attributes of one of the caller's volumes; raises MalformedId, NotFound."""
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    return VolumeAttributes(volume.id, volume.auto_enable_io)


def set_auto_enable_io(tx: Transaction, caller: Caller, volume_id: str, value: bool) -> None:
    """Store whether I/O is enabled automatically, which it always is here; raises MalformedId, NotFound."""
    lookup.find(tx, caller, "volume", Volume, volume_id).auto_enable_io = value


def enable_io(tx: Transaction, caller: Caller, volume_id: str) -> None:
    """Accept a request to enable I/O, which is never disabled here; raises MalformedId, NotFound.

    Raises WrongState while the volume's pool is full, its disk lost, or data of its snapshot damaged.
    """
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    if volume.lost_since is not None:
        raise WrongState("volume", f"The disk of '{volume.id}' is not there.", code="IncorrectState")
    if volume.full_since is not None:
        raise WrongState(
            "volume",
            f"The storage pool of '{volume.id}' is full. I/O goes on by itself when there is room.",
            code="IncorrectState",
        )
    if volume_lacks_data(tx, volume.id):
        raise WrongState(
            "volume",
            f"Data of the snapshot '{volume.snapshot_id}' of '{volume.id}' is damaged. I/O goes on when it is back.",
            code="IncorrectState",
        )

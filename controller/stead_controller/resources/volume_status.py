"""The health of volumes, and the attributes that have to do with it.

A volume is impaired while its pool is full: the guest that writes to it is paused and goes on when there is room. What
becomes of one whose home is down nobody knows.
See https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-status.html.
"""

from typing import Any, Final

from sqlalchemy import case, select

from stead_controller.db.tables import Host, Volume
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.resources import lookup
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import NEVER, Condition, Selection, constant, instant, text
from stead_controller.resources.filters import Filter
from stead_controller.resources.transaction import Transaction
from stead_controller.resources.volumes import of_instance
from stead_controller.resources.zones import zone_ids

_EVENT_TYPE: Final = "stalled"
_EVENT: Final = "Stalled: the storage pool of the volume is full. Its instance is paused until there is room."
_IO_ENABLED: Final = {"ok": "passed", "impaired": "failed", "insufficient-data": "insufficient-data"}

_at_home = select(Host.state).where(Host.id == Volume.host_id).correlate(Volume).scalar_subquery()
_status = case(
    (Volume.state.not_in(("available", "in-use")), "insufficient-data"),
    (Volume.full_since.is_not(None), "impaired"),
    (_at_home == "down", "insufficient-data"),
    else_="ok",
)
_io_enabled = case(_IO_ENABLED, value=_status)


def _while_full(inner: Condition) -> Condition:
    """Ask about the event of a full pool."""

    def condition(asked: Filter) -> Any:
        return Volume.full_since.is_not(None) & inner(asked)

    return condition


FILTERS: Final[dict[str, Condition]] = {
    "action.code": NEVER,
    "action.description": NEVER,
    "action.event-id": NEVER,
    "attachment-status.instance-id": of_instance,
    "attachment-status.io-performance": NEVER,
    "availability-zone": text(Volume.zone),
    "event.description": _while_full(constant(_EVENT)),
    "event.event-id": _while_full(text("e" + Volume.id)),
    "event.event-type": _while_full(constant(_EVENT_TYPE)),
    "event.not-after": NEVER,
    "event.not-before": instant(Volume.full_since),
    "operator.managed": constant("false"),
    "operator.principal": NEVER,
    "volume-status.details-name": constant("io-enabled"),
    "volume-status.details-status": text(_io_enabled),
    "volume-status.status": text(_status),
}


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the status of the caller's volumes in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=FILTERS)
    zones = zone_ids(cloud)
    statuses: dict[str, str] = {}
    for batch in lookup.batches([volume.id for volume in found]):
        statuses.update(tx.session.execute(select(Volume.id, _status).where(Volume.id.in_(batch))).all())
    return [
        {
            "VolumeId": volume.id,
            "AvailabilityZone": volume.zone,
            "AvailabilityZoneId": zones.get(volume.zone),
            "VolumeStatus": {
                "Status": statuses[volume.id],
                "Details": [{"Name": "io-enabled", "Status": _IO_ENABLED[statuses[volume.id]]}],
            },
            "Actions": [],
            "Events": _events(volume),
            "Operator": {"Managed": False},
        }
        for volume in found
    ]


def _events(volume: Volume) -> list[dict[str, Any]]:
    if volume.full_since is None:
        return []
    return [
        {
            "EventId": f"e{volume.id}",
            "EventType": _EVENT_TYPE,
            "Description": _EVENT,
            "NotBefore": volume.full_since,
            "InstanceId": volume.instance_id,
        }
    ]


def describe_attribute(tx: Transaction, caller: Caller, volume_id: str, attribute: str) -> dict[str, Any]:
    """Show one attribute of a volume in EC2's shape; raises MalformedId, NotFound, InvalidParameter."""
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    match attribute:
        case "autoEnableIO":
            return {"VolumeId": volume.id, "AutoEnableIO": {"Value": volume.auto_enable_io}}
        case "productCodes":
            return {"VolumeId": volume.id, "ProductCodes": []}
    raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")


def set_auto_enable_io(tx: Transaction, caller: Caller, volume_id: str, value: bool) -> None:
    """Note whether I/O is to be enabled by itself, which it always is here; raises MalformedId, NotFound."""
    lookup.find(tx, caller, "volume", Volume, volume_id).auto_enable_io = value


def enable_io(tx: Transaction, caller: Caller, volume_id: str) -> None:
    """Take notice that I/O is wanted, which nobody disables here; raises MalformedId, NotFound.

    Raises WrongState while the volume's pool is full.
    """
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    if volume.full_since is not None:
        raise WrongState(
            "volume",
            f"The storage pool of '{volume.id}' is full. I/O goes on by itself when there is room.",
            code="IncorrectState",
        )

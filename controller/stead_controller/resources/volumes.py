"""Volumes as EC2 shows them; making, changing and attaching them comes with a later issue."""

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import Volume
from stead_controller.errors import InvalidParameter
from stead_controller.resources import lookup, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import (
    NEVER,
    Condition,
    Selection,
    among,
    constant,
    flag,
    instant,
    number,
    shown_as,
    text,
)
from stead_controller.resources.transaction import Transaction
from stead_controller.resources.zones import zone_ids

# A volume that is being made has no status yet.
_STATUS: Final = {
    "creating": "insufficient-data",
    "available": "ok",
    "in-use": "ok",
    "deleting": "insufficient-data",
    "error": "impaired",
}
_Attached: Final = aliased(Volume)
_IO_ENABLED: Final = {"ok": "passed", "impaired": "failed", "insufficient-data": "insufficient-data"}


# A query of its own, so that it goes by the instance's index and not by the account's.
_of_instance: Final = among(Volume.id, select(_Attached.id), text(_Attached.instance_id))


def conditions(cloud: Cloud) -> dict[str, Condition]:
    """All filters of DescribeVolumes by name, without those about tags."""
    return {
        "attachment.attach-time": instant(Volume.attach_time),
        "attachment.delete-on-termination": _attached(flag(Volume.delete_on_termination)),
        "attachment.device": text(Volume.device_name),
        "attachment.instance-id": _of_instance,
        "attachment.status": text(Volume.attachment_state),
        "availability-zone": text(Volume.zone),
        "availability-zone-id": shown_as(Volume.zone, zone_ids(cloud)),
        "create-time": instant(Volume.created),
        "encrypted": flag(Volume.encrypted),
        "fast-restored": constant("false"),
        "multi-attach-enabled": constant("false"),
        "operator.managed": constant("false"),
        "operator.principal": NEVER,
        "size": number(Volume.size),
        "snapshot-id": text(Volume.snapshot_id),
        "status": text(Volume.state),
        "volume-id": text(Volume.id),
        "volume-type": text(Volume.volume_type),
    }


STATUS_FILTERS: Final[dict[str, Condition]] = {
    "action.code": NEVER,
    "action.description": NEVER,
    "action.event-id": NEVER,
    "attachment-status.instance-id": _of_instance,
    "attachment-status.io-performance": NEVER,
    "availability-zone": text(Volume.zone),
    "event.description": NEVER,
    "event.event-id": NEVER,
    "event.event-type": NEVER,
    "event.not-after": NEVER,
    "event.not-before": NEVER,
    "operator.managed": constant("false"),
    "operator.principal": NEVER,
    "volume-status.details-name": constant("io-enabled"),
    "volume-status.details-status": shown_as(
        Volume.state, {state: _IO_ENABLED[status] for state, status in _STATUS.items()}
    ),
    "volume-status.status": shown_as(Volume.state, _STATUS),
}


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's volumes in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=conditions(cloud))
    tagged = tags.of(tx, caller.account_id, [volume.id for volume in found])
    zones = zone_ids(cloud)
    return [
        {
            "VolumeId": volume.id,
            "OwnerId": volume.account_id,
            "State": volume.state,
            "Size": volume.size,
            "VolumeType": volume.volume_type,
            "Iops": volume.iops,
            "Throughput": volume.throughput,
            "Encrypted": volume.encrypted,
            "SnapshotId": volume.snapshot_id or "",
            "AvailabilityZone": volume.zone,
            "AvailabilityZoneId": zones.get(volume.zone),
            "CreateTime": volume.created,
            "MultiAttachEnabled": False,
            "Operator": {"Managed": False},
            "Attachments": _attachments(volume),
            "Tags": tagged.get(volume.id),
        }
        for volume in found
    ]


def describe_status(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the status of the caller's volumes in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=STATUS_FILTERS)
    zones = zone_ids(cloud)
    return [
        {
            "VolumeId": volume.id,
            "AvailabilityZone": volume.zone,
            "AvailabilityZoneId": zones.get(volume.zone),
            "VolumeStatus": {
                "Status": _STATUS[volume.state],
                "Details": [{"Name": "io-enabled", "Status": _IO_ENABLED[_STATUS[volume.state]]}],
            },
            "Actions": [],
            "Events": [],
            "Operator": {"Managed": False},
        }
        for volume in found
    ]


def describe_attribute(tx: Transaction, caller: Caller, volume_id: str, attribute: str) -> dict[str, Any]:
    """Show one attribute of a volume in EC2's shape; raises MalformedId, NotFound, InvalidParameter."""
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    match attribute:
        case "autoEnableIO":
            return {"VolumeId": volume.id, "AutoEnableIO": {"Value": False}}
        case "productCodes":
            return {"VolumeId": volume.id, "ProductCodes": []}
    raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & Volume.instance_id.is_not(None)


def _attachments(volume: Volume) -> list[dict[str, Any]]:
    if volume.instance_id is None:
        return []
    return [
        {
            "VolumeId": volume.id,
            "InstanceId": volume.instance_id,
            "Device": volume.device_name,
            "State": volume.attachment_state,
            "AttachTime": volume.attach_time,
            "DeleteOnTermination": volume.delete_on_termination,
        }
    ]

"""Volumes as EC2 shows them."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import Volume
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import (
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
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags

_Attached: Final = aliased(Volume)

of_instance: Final = among(Volume.id, select(_Attached.id), text(_Attached.instance_id), owner=_Attached.account_id)
"""The condition on an attachment's instance: a query of its own goes by the instance's index, not by the account's."""


def conditions(cloud: Cloud) -> dict[str, Condition]:
    """All filters of DescribeVolumes by name, without those about tags."""
    return {
        "attachment.attach-time": instant(Volume.attach_time),
        "attachment.delete-on-termination": _attached(flag(Volume.delete_on_termination)),
        "attachment.device": text(Volume.device_name),
        "attachment.instance-id": of_instance,
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


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's volumes in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=conditions(cloud))
    tagged = tags.of(tx, caller.account_id, [volume.id for volume in found])
    return [shown(cloud, volume, tagged.get(volume.id)) for volume in found]


def show_made(tx: Transaction, caller: Caller, cloud: Cloud, volume_id: str, now: datetime) -> dict[str, Any]:
    """Show the caller's volume as CreateVolume answers: one that was made now is `creating`, as in EC2."""
    volume = tx.session.get_one(Volume, volume_id)
    found = shown(cloud, volume, tags.of(tx, caller.account_id, [volume_id]).get(volume_id))
    return found | ({"State": "creating"} if volume.created == now else {})


def shown(cloud: Cloud, volume: Volume, volume_tags: list[dict[str, str]] | None) -> dict[str, Any]:
    """Show a volume with its tags in EC2's shape."""
    return {
        "VolumeId": volume.id,
        "OwnerId": volume.account_id,
        "State": volume.state,
        "Size": volume.size,
        "VolumeType": volume.volume_type,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key_id,
        "SnapshotId": volume.snapshot_id or "",
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": zone_ids(cloud).get(volume.zone),
        "CreateTime": volume.created,
        "MultiAttachEnabled": False,
        "Operator": {"Managed": False},
        "Attachments": [attachment(volume)] if volume.instance_id is not None else [],
        "Tags": volume_tags,
    }


def attachment(volume: Volume) -> dict[str, Any]:
    """Show a volume's attachment in EC2's shape."""
    return {
        "VolumeId": volume.id,
        "InstanceId": volume.instance_id,
        "Device": volume.device_name,
        "State": volume.attachment_state,
        "AttachTime": volume.attach_time,
        "DeleteOnTermination": volume.delete_on_termination,
    }


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & Volume.instance_id.is_not(None)

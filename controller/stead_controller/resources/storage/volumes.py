"""Find volumes by ids and filters, with their details."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
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


type AttachedVolume = Volume
"""The row of a volume that is attached, which has its attachment, too."""


@dataclass(frozen=True, slots=True)
class DescribedVolume:
    """A volume with its details; `state` is EC2's word."""

    volume: Volume
    state: str
    zone_id: str | None
    tags: Sequence[tuple[str, str]]


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
        "snapshot-id": text(func.coalesce(Volume.origin_id, Volume.snapshot_id)),
        "status": text(Volume.state),
        "volume-id": text(Volume.id),
        "volume-type": text(Volume.volume_type),
    }


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedVolume]:
    """Find the caller's volumes with their details, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "volume", Volume, asked, conditions=conditions(cloud))
    tagged = tags.pairs_of(tx, caller.account_id, [volume.id for volume in found])
    zones = zone_ids(cloud)
    return [
        DescribedVolume(volume, volume.state, zones.get(volume.zone), tagged.get(volume.id, ())) for volume in found
    ]


def describe_made(tx: Transaction, caller: Caller, cloud: Cloud, volume_id: str, now: datetime) -> DescribedVolume:
    """Return the caller's volume as CreateVolume answers: one that was made now is `creating`, as in EC2."""
    volume = tx.session.get_one(Volume, volume_id)
    state = "creating" if volume.created == now else volume.state
    tagged = tags.pairs_of(tx, caller.account_id, [volume_id]).get(volume_id, ())
    return DescribedVolume(volume, state, zone_ids(cloud).get(volume.zone), tagged)


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & Volume.instance_id.is_not(None)

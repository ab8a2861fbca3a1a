"""The images that instances were launched from, also those that are deregistered, or no longer the caller's to use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType

from sqlalchemy import case, select

from stead_controller.db.tables import Image, Instance
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, constant, exists_where, text
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.images.image_attributes import ImageAttributes
from stead_controller.resources.instances import instance_filters

_ALIKE = ("availability-zone", "instance-id", "instance-state-name", "instance-type", "launch-time", "owner-id")


@dataclass(frozen=True, slots=True)
class DescribedImageOfInstance:
    """An instance, and the image that it was launched from; None where nothing is known of that but its id."""

    instance_id: str
    instance_type: str
    launched: datetime
    zone: str
    zone_id: str | None
    state: str
    owner: str
    tags: Sequence[tuple[str, str]]
    image_id: str
    image: ImageAttributes | None


@cache
def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters of DescribeInstanceImageMetadata by name, without those about the instance's own tags."""
    of_instances = instance_filters.conditions(cloud)
    alias = text(case((Image.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS)))
    return MappingProxyType(
        {name: of_instances[name] for name in _ALIKE}
        | {
            "image-allowed": constant("true"),
            "owner-alias": exists_where(select(Image.id).where(Image.id == Instance.image_id), alias),
            "zone-id": of_instances["availability-zone-id"],
        }
    )


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedImageOfInstance]:
    """Find the images of the caller's instances, sorted by the instances' ids; raises MalformedId, NotFound."""
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    ids = lookup.select_ids(tx, caller, Instance.id, asked, mine, conditions=conditions(cloud))
    known, zones = tags.pairs_of(tx, caller.account_id, ids), zone_ids(cloud)
    of_instance = (Instance.id, Instance.instance_type, Instance.launch_time, Instance.zone, Instance.state)
    rows = select(*of_instance, Instance.account_id, Instance.image_id, Image)
    rows = rows.outerjoin(Image, Image.id == Instance.image_id).order_by(Instance.id)
    return [
        DescribedImageOfInstance(
            row.id,
            row.instance_type,
            row.launch_time,
            row.zone,
            zones.get(row.zone),
            row.state,
            row.account_id,
            known.get(row.id, ()),
            row.image_id,
            row.Image,
        )
        for batch in lookup.batches(ids)
        for row in tx.session.execute(rows.where(Instance.id.in_(batch)))
    ]

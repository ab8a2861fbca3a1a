"""Summaries of instances for the native API and its watchers."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import Instance, Tag
from stead_controller.request.lookup import batches
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """The main facts of one instance."""

    instance_id: str
    state: str
    instance_type: str
    image_id: str
    private_address: str
    public_address: str
    vpc_id: str
    subnet_id: str
    launch_time: datetime
    state_reason: str
    tags: dict[str, str]
    spot: bool
    interruption: datetime | None


def summaries(tx: Transaction, account_id: str, instance_ids: Collection[str] = ()) -> list[InstanceSummary]:
    """Return the account's instances (all, or those of the ids that exist), oldest first."""
    found: list[Instance] = []
    tags: dict[str, dict[str, str]] = {}
    query = select(Instance).where(Instance.account_id == account_id)
    if instance_ids:
        for batch in batches(instance_ids):
            found.extend(tx.session.scalars(query.where(Instance.id.in_(batch))))
    else:
        found.extend(tx.session.scalars(query))
    for batch in batches(instance.id for instance in found):
        for tag in tx.session.scalars(select(Tag).where(Tag.resource_id.in_(batch))):
            tags.setdefault(tag.resource_id, {})[tag.key] = tag.value
    found.sort(key=lambda instance: (instance.launch_time, instance.launch_index, instance.id))
    return [_summary(instance, tags.get(instance.id, {})) for instance in found]


def of_reservation(tx: Transaction, account_id: str, reservation_id: str) -> list[InstanceSummary]:
    """Return the instances of one launch."""
    query = select(Instance.id).where(Instance.account_id == account_id, Instance.reservation_id == reservation_id)
    return summaries(tx, account_id, tx.session.scalars(query).all())


def _summary(instance: Instance, tags: dict[str, str]) -> InstanceSummary:
    return InstanceSummary(
        instance_id=instance.id,
        state=instance.state,
        instance_type=instance.instance_type,
        image_id=instance.image_id,
        private_address=instance.private_address or "",
        public_address=instance.public_address or "",
        vpc_id=instance.vpc_id,
        subnet_id=instance.subnet_id,
        launch_time=instance.launch_time,
        state_reason=instance.state_reason_message,
        tags=tags,
        spot=instance.spot_request_id is not None,
        interruption=instance.interruption,
    )

"""What an instance would be launched with again: its row, interfaces, volumes, tags and profile as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.tables import Instance, NetworkInterface, Volume
from stead_controller.errors import WrongState
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instances
from stead_controller.resources.instances.instances import DescribedInterface


@dataclass(frozen=True, slots=True)
class LaunchedWith:
    """An instance with its volumes by device, and its interfaces by index with whether each has an automatic address.

    `tags` are those of its user; `profile_arn` is that of its instance profile, `cpu_credits` the mode of
    a burstable one.
    """

    instance: Instance
    interfaces: Sequence[tuple[DescribedInterface, bool]]
    volumes: Sequence[Volume]
    tags: Sequence[tuple[str, str]]
    profile_arn: str | None
    cpu_credits: str | None


def describe(tx: Transaction, caller: Caller, cloud: Cloud, instance_id: str) -> LaunchedWith:
    """Return what an instance has; raises MalformedId, NotFound, WrongState for one that has ended."""
    row = lookup.find(tx, caller, "instance", Instance, instance_id)
    if row.state in ("shutting-down", "terminated"):
        raise WrongState("instance", f"The instance '{instance_id}' is not in a state from which its data can be had.")
    [reservation] = instances.reservations(tx, caller, cloud, [instance_id])
    [found] = reservation.instances
    mine = NetworkInterface.instance_id == instance_id
    public = set(tx.session.scalars(select(NetworkInterface.id).where(mine, NetworkInterface.associate_public_address)))
    kind = instance_types.find(tx, row.instance_type)
    disks = select(Volume).where(Volume.instance_id == instance_id).order_by(Volume.device_name)
    return LaunchedWith(
        row,
        [(interface, interface.row.id in public) for interface in found.interfaces],
        tx.session.scalars(disks).all(),
        [(key, value) for key, value in found.tags if not key.startswith("aws:")],
        found.profile[0] if found.profile else None,
        row.cpu_credits if kind is not None and kind.burstable else None,
    )

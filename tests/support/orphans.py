"""Rows that name what is not there, planted where no foreign key hinders it, beside others that are just as they should be."""

from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import (
    AccessKey,
    ElasticAddress,
    IamAttachedPolicy,
    IamInlinePolicy,
    IamMfaDevice,
    IamTag,
    IamUser,
    Instance,
    NetworkInterface,
    PublicAddress,
    Tag,
    UnclaimedResource,
    UsageMeter,
    Volume,
)
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW

GONE, USER, OTHER = "i-0123456789abcdef0", "AIDAGONE000000000000", "AIDAHERE000000000000"
KINDS = (
    "tag",
    "IAM tag",
    "inline policy",
    "attachment of a policy",
    "access key",
    "MFA device",
    "volume",
    "network interface",
    "public address",
)


def plant(tx: Transaction, world: rows.World) -> dict[str, str]:
    """Plant an orphan of each kind, and of each something that is none; return the names of what the orphans name."""
    account_id = world.one.caller.account_id
    user = IamUser(id=OTHER, account_id=account_id, name="here", name_lower="here", path="/", created=NOW)
    tx.session.add(user)
    tx.session.flush()
    guest = _guest(tx, world)
    _of_users(tx, account_id)
    for resource_id, kind in ((GONE, "instance"), (guest.id, "instance"), ("x-1", "of a later release")):
        tx.session.add(Tag(resource_id=resource_id, resource_type=kind, key="k", value="v", account_id=account_id))
    _attached(tx, world, guest)
    for address, allocation, columns in (
        ("198.18.0.50", "eipalloc-gone", {}),
        ("198.18.0.51", "eipalloc-here", {}),
        ("198.18.0.52", None, {"released": NOW}),
        ("198.18.0.53", "eipalloc-used", {"interface_id": _interface(tx, guest).id}),
    ):
        tx.session.add(PublicAddress(address=address, account_id=account_id, allocation_id=allocation, **columns))
    tx.session.add(ElasticAddress(id="eipalloc-here", account_id=account_id, address="198.18.0.51", created=NOW))
    tx.session.flush()
    return dict.fromkeys(KINDS[1:6], USER) | dict.fromkeys(("tag", *KINDS[6:8]), GONE) | {KINDS[8]: "eipalloc-gone"}


def _guest(tx: Transaction, world: rows.World) -> Instance:
    guest = rows.launch(tx, world, world.one)
    tx.session.flush()
    return guest


def _interface(tx: Transaction, guest: Instance) -> NetworkInterface:
    found = tx.session.scalars(select(NetworkInterface).where(NetworkInterface.instance_id == guest.id)).first()
    assert found is not None
    return found


def _of_users(tx: Transaction, account_id: str) -> None:
    for user_id in (USER, OTHER):
        tx.session.add(IamTag(resource_id=user_id, key_lower="k", key="K", value="v"))
        tx.session.add(IamInlinePolicy(principal_id=user_id, name="p", document="{}"))
        tx.session.add(
            IamAttachedPolicy(principal_id=user_id, policy_arn="arn:p", principal_type="user", account_id=account_id)
        )
    for user_id in (USER, OTHER, account_id):
        name = user_id.lower()
        tx.session.add(
            AccessKey(
                id=f"AKIA{user_id}", account_id=account_id, user_id=user_id, arn="", secret_sealed=b"", created=NOW
            )
        )
        device: dict[str, Any] = {"path": "/", "created": NOW, "seed_sealed": b"", "enabled": NOW}
        tx.session.add(
            IamMfaDevice(
                id=f"device-{name}", account_id=account_id, name=name, name_lower=name, user_id=user_id, **device
            )
        )


def _attached(tx: Transaction, world: rows.World, guest: Instance) -> None:
    """Volumes and interfaces that are attached to an instance that is gone: two are so, of two the host is at work."""
    unclaimed = "i-0123456789abcdef1"
    tx.session.add(
        UnclaimedResource(
            host_id=world.host_id, kind=desired.KIND_MACHINE, resource_id=unclaimed, vcpus=1, memory=1, disk=0, pool=""
        )
    )
    cases = ((GONE, "attached"), (GONE, "detaching"), (unclaimed, "attached"), (guest.id, "attached"))
    for number, (instance_id, state) in enumerate(cases):
        own = {"mac_address": f"02:00:00:00:00:0{number}", "private_address": f"172.31.9.{number}"}
        volume = rows.volume(guest, world, instance_id=instance_id, attachment_state=state, delete_on_termination=True)
        card = rows.network_interface(
            guest, instance_id=instance_id, attachment_state=state, device_index=7 + number, **own
        )
        tx.session.add_all([volume, card])
        tx.session.flush()
        if (instance_id, state) == (GONE, "attached"):
            tx.session.add(_meter(volume))
    tx.session.flush()


def _meter(volume: Volume) -> UsageMeter:
    return UsageMeter(
        resource_id=volume.id,
        usage="EBS:VolumeUsage.gp3",
        account_id=volume.account_id,
        operation="",
        zone=volume.zone,
        quantity=1,
        least=0,
        began=int(NOW.timestamp() * 1000),
    )

"""Permissions to create volumes from a snapshot: for single accounts, or public.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import Snapshot, SnapshotPermission
from stead_controller.errors import InvalidCombination, InvalidParameter, LimitExceeded, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import is_account
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import ebs_encryption, public_sharing, snapshots

SHARED_WITH: Final = 1000
_PERMISSION: Final = "createVolumePermission"
_EVERYBODY: Final = "all"


@dataclass(frozen=True, slots=True)
class Change:
    """Permissions to add and to remove: account ids, and the group `all`."""

    add_users: tuple[str, ...] = ()
    add_groups: tuple[str, ...] = ()
    remove_users: tuple[str, ...] = ()
    remove_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumePermissions:
    """Who besides its owner may create volumes from a snapshot: accounts, sorted, or everyone."""

    everybody: bool
    accounts: Sequence[str]


def modify(tx: Transaction, caller: Caller, cloud: Cloud, snapshot_id: str, change: Change) -> None:
    """Change who may make volumes of a snapshot.

    An encrypted one can be shared with accounts, unless it is under the key that accounts have at first. Raises
    MalformedId, NotFound, WrongState, InvalidParameter, LimitExceeded, Unsupported.
    """
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    if change.add_users or change.add_groups:
        snapshots.require_restored(snapshot)
    if not any((change.add_users, change.add_groups, change.remove_users, change.remove_groups)):
        raise InvalidCombination("No attributes specified.")
    for user in (*change.add_users, *change.remove_users):
        if not is_account(user):
            raise InvalidParameter(f"Invalid user [{user}]", code="InvalidUserID.Malformed")
    for group in (*change.add_groups, *change.remove_groups):
        if group != _EVERYBODY:
            raise InvalidParameter(f"Invalid group [{group}]: all", code="InvalidGroup.Malformed")
    if snapshot.encrypted and change.add_groups:
        raise Unsupported("Encrypted snapshots cannot be shared publicly.", code="OperationNotPermitted")
    if change.add_users and ebs_encryption.is_managed_key(cloud, snapshot.account_id, snapshot.kms_key_id):
        raise Unsupported("Encrypted snapshots with EBS default key cannot be shared.", code="OperationNotPermitted")
    if change.add_groups:
        public_sharing.check_snapshot(tx, snapshot.account_id)
        snapshot.public = True
    if change.remove_groups:
        snapshot.public = snapshot.public_blocked = False
    for user in change.add_users:
        insert_if_absent(tx.session, SnapshotPermission, {"snapshot_id": snapshot.id, "account_id": user})
    _remove(tx, snapshot, change.remove_users)
    count = select(func.count()).where(SnapshotPermission.snapshot_id == snapshot.id)
    if tx.session.scalars(count).one() > SHARED_WITH:
        raise LimitExceeded(
            f"A snapshot can be shared with at most {SHARED_WITH} accounts.", code="ResourceLimitExceeded"
        )


def permissions(tx: Transaction, snapshot: Snapshot) -> VolumePermissions:
    """Return who else may create volumes from a snapshot; also `all` if it was public before that was blocked."""
    users = select(SnapshotPermission.account_id).where(SnapshotPermission.snapshot_id == snapshot.id)
    accounts = tx.session.scalars(users.order_by(SnapshotPermission.account_id)).all()
    return VolumePermissions(snapshot.public or snapshot.public_blocked, accounts)


def reset(tx: Transaction, caller: Caller, snapshot_id: str, attribute: str) -> None:
    """Make a snapshot private again; raises MalformedId, NotFound, InvalidParameter."""
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    check_attribute(attribute)
    snapshot.public = snapshot.public_blocked = False
    tx.session.execute(delete(SnapshotPermission).where(SnapshotPermission.snapshot_id == snapshot.id))


def check_attribute(attribute: str) -> None:
    """Raise InvalidParameter for an attribute that cannot be changed."""
    if attribute != _PERMISSION:
        raise InvalidParameter(f"Value ({attribute}) for parameter attribute is invalid: {_PERMISSION}.")


def _remove(tx: Transaction, snapshot: Snapshot, users: Sequence[str]) -> None:
    if users:
        tx.session.execute(
            delete(SnapshotPermission).where(
                SnapshotPermission.snapshot_id == snapshot.id, SnapshotPermission.account_id.in_(users)
            )
        )

"""Snapshots, and their volume permissions, as EC2 shows them."""

from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS
from stead_controller.resources.storage.snapshot_attributes import VolumePermissions
from stead_controller.resources.storage.snapshots import DescribedSnapshot

# The members that CreateSnapshots shows of each snapshot.
_OF_SET: Final = (
    "SnapshotId",
    "VolumeId",
    "State",
    "Progress",
    "StartTime",
    "OwnerId",
    "Description",
    "VolumeSize",
    "Encrypted",
    "Tags",
)


def snapshot_view(found: DescribedSnapshot) -> Result:
    """Show a snapshot."""
    snapshot = found.snapshot
    return {
        "SnapshotId": snapshot.id,
        "VolumeId": snapshot.volume_id,
        "State": found.state,
        "StateMessage": snapshot.state_message or None,
        "Progress": f"{found.progress}%",
        "StartTime": snapshot.started,
        "CompletionTime": found.completed,
        "OwnerId": snapshot.account_id,
        "OwnerAlias": CLOUD_ALIAS if snapshot.account_id == CLOUD_ACCOUNT else None,
        "Description": snapshot.description,
        "VolumeSize": snapshot.volume_size,
        "Encrypted": snapshot.encrypted,
        "KmsKeyId": snapshot.kms_key_id,
        "StorageTier": snapshot.storage_tier,
        "RestoreExpiryTime": found.restored_until,
        "TransferType": "standard",
        "FullSnapshotSizeInBytes": found.stored_size,
        "Tags": tags_view(found.tags),
    }


def snapshot_of_set_view(found: DescribedSnapshot) -> Result:
    """Show one of the snapshots that CreateSnapshots starts."""
    shown = snapshot_view(found)
    return {member: shown[member] for member in _OF_SET}


def permissions_view(snapshot_id: str, permissions: VolumePermissions) -> Result:
    """Show who may create volumes from a snapshot."""
    everybody = [{"Group": "all"}] if permissions.everybody else []
    return {
        "SnapshotId": snapshot_id,
        "CreateVolumePermissions": [*everybody, *({"UserId": account} for account in permissions.accounts)],
    }


def product_codes_view(snapshot_id: str) -> Result:
    """Show that a snapshot has no product codes."""
    return {"SnapshotId": snapshot_id, "ProductCodes": []}

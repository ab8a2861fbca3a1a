"""The tiers of snapshots, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.storage.snapshot_tiers import TierStatus


def tier_status_view(found: TierStatus) -> Result:
    """Show a snapshot's tier, and how far the last change of it is."""
    snapshot, tier = found.snapshot, found.tier
    shown: Result = {
        "SnapshotId": snapshot.id,
        "VolumeId": snapshot.volume_id,
        "Status": snapshot.state,
        "OwnerId": snapshot.account_id,
        "Tags": tags_view(found.tags),
        "StorageTier": snapshot.storage_tier,
    }
    if tier is not None:
        shown |= {
            "LastTieringStartTime": tier.started,
            "LastTieringProgress": tier.progress,
            "LastTieringOperationStatus": f"{tier.operation}-{tier.status}",
            "LastTieringOperationStatusDetail": tier.detail or None,
            "ArchivalCompleteTime": tier.archived,
            "RestoreExpiryTime": tier.restore_expiry,
        }
    return shown

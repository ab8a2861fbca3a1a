"""Archiving snapshots, restoring them, and how far that is."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.storage.snapshot_tier_view import tier_status_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage import snapshot_tiers
from stead_controller.resources.storage.snapshot_tiers import RestoreRequest


@operation("ModifySnapshotTier")
def modify_snapshot_tier(call: Call, params: Params) -> Result:
    """Archive a snapshot."""
    tier = params.get("StorageTier", "archive")
    if tier != "archive":
        raise InvalidParameter(f"Value ({tier}) for parameter StorageTier is invalid: it must be archive.")
    begun = snapshot_tiers.archive(call.tx, call.caller, params["SnapshotId"], call.now)
    return {"SnapshotId": begun.snapshot_id, "TieringStartTime": begun.started}


@operation("RestoreSnapshotTier")
def restore_snapshot_tier(call: Call, params: Params) -> Result:
    """Restore an archived snapshot, for some days or for ever."""
    permanent = params.get("PermanentRestore", False)
    asked = RestoreRequest(params["SnapshotId"], params.get("TemporaryRestoreDays"), permanent=permanent)
    begun = snapshot_tiers.restore(call.tx, call.caller, asked, call.now)
    return {
        "SnapshotId": begun.snapshot_id,
        "RestoreStartTime": begun.started,
        "RestoreDuration": asked.days,
        "IsPermanentRestore": permanent,
    }


@operation("DescribeSnapshotTierStatus", writes=False)
def describe_snapshot_tier_status(call: Call, params: Params) -> Result:
    """List the caller's snapshots with their tiers."""
    asked, page = selection.paged(call, params, "DescribeSnapshotTierStatus", snapshot_tiers.FILTERS, ids="SnapshotIds")
    found = snapshot_tiers.describe(call.tx, call.caller, asked)
    return selection.answered("SnapshotTierStatuses", found, page, lambda one: (one.snapshot.id,), tier_status_view)

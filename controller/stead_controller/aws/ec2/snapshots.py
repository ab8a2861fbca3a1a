"""DescribeSnapshots."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import snapshots
from stead_controller.resources.snapshots import SnapshotSelection


@operation("DescribeSnapshots", writes=False)
def describe_snapshots(call: Call, params: Params) -> Result:
    """List the snapshots that the caller may see."""
    asked, page = selection.paged(call, params, "DescribeSnapshots", snapshots.FILTERS, ids="SnapshotIds")
    wanted = SnapshotSelection(asked, tuple(params.get("OwnerIds", ())), tuple(params.get("RestorableByUserIds", ())))
    return selection.answer("Snapshots", snapshots.describe(call.tx, call.caller, wanted), page, "SnapshotId")

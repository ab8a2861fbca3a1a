"""Modifications of volumes as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.storage.volume_modifications import DescribedModification


def modification_view(found: DescribedModification) -> Result:
    """Show a modification of a volume."""
    row = found.modification
    return {
        "VolumeId": row.volume_id,
        "ModificationState": found.state,
        "TargetSize": row.target_size,
        "TargetIops": row.target_iops,
        "TargetVolumeType": row.target_type,
        "TargetThroughput": row.target_throughput,
        "TargetMultiAttachEnabled": False,
        "OriginalSize": row.original_size,
        "OriginalIops": row.original_iops,
        "OriginalVolumeType": row.original_type,
        "OriginalThroughput": row.original_throughput,
        "OriginalMultiAttachEnabled": False,
        "Progress": 100 if found.state == "completed" else 0,
        "StartTime": row.started,
        "EndTime": found.ended,
        "Operator": {"Managed": False},
    }

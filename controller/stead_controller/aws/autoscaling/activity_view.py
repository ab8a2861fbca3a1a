"""Activities as Auto Scaling shows them."""

from typing import Any

from stead_controller.aws.call import Call
from stead_controller.resources.scaling import groups
from stead_controller.resources.scaling.activities import Activity


def activity_view(call: Call, row: Activity, *, is_deleted: bool = False) -> dict[str, Any]:
    """Show an activity; of a group that is not there any longer its state too."""
    return {
        "ActivityId": row.id,
        "AutoScalingGroupName": row.group_name,
        "Description": row.description,
        "Cause": row.cause,
        "StartTime": row.started,
        "EndTime": row.ended,
        "StatusCode": row.status,
        "StatusMessage": row.message,
        "Progress": row.progress,
        "Details": row.details,
        "AutoScalingGroupState": "Deleted" if is_deleted else None,
        "AutoScalingGroupARN": groups.arn_of(call.cloud, row.account_id, row.group_id, row.group_name),
    }

"""Replacements of root volumes as EC2 shows them."""

from datetime import datetime

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.instances.replace_root_volume_tasks import Task
from stead_controller.resources.tags import Tagged


def task_view(found: Tagged[Task]) -> Result:
    """Show a task; its times are texts in EC2's model."""
    task = found.row
    return {
        "ReplaceRootVolumeTaskId": task.id,
        "InstanceId": task.instance_id,
        "TaskState": task.state,
        "StartTime": _time(task.started),
        "CompleteTime": _time(task.completed) if task.completed is not None else None,
        "ImageId": task.image_id,
        "SnapshotId": task.snapshot_id,
        "DeleteReplacedRootVolume": task.delete_replaced,
        "Tags": tags_view(found.tags),
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

"""Imports and exports of images and snapshots as EC2 shows them."""

from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.images.image_tasks import EXPORT_IMAGE, IMPORT_IMAGE, IMPORT_SNAPSHOT, Task
from stead_controller.resources.tags import Tagged


def task_view(found: Tagged[Task]) -> Result:
    """Show a task as the list of its kind does."""
    return _OF_KIND[found.row.kind](found.row) | {"Tags": tags_view(found.tags)}


def begun_view(found: Tagged[Task]) -> Result:
    """Show a task as the operation that starts it does."""
    shown = task_view(found)
    if found.row.kind == IMPORT_IMAGE:
        del shown["BootMode"]  # a member of the list only
    elif found.row.kind == EXPORT_IMAGE:
        shown["DiskImageFormat"] = found.row.format.upper()
    return shown


def cancelled_view(task: Task) -> Result:
    """Show an import that was cancelled."""
    return {"ImportTaskId": task.id, "PreviousState": "active", "State": task.state}


def _import_image(task: Task) -> Result:
    return {
        "ImportTaskId": task.id,
        "Architecture": task.architecture,
        "Platform": "Linux",
        "Description": task.description or None,
        "Encrypted": task.encrypted,
        "KmsKeyId": task.kms_key_id,
        "ImageId": task.image_id,
        "Progress": _progress(task),
        "Status": task.state,
        "StatusMessage": task.status_message or None,
        "SnapshotDetails": [_disk_view(task)],
        "BootMode": task.boot_mode or None,
    }


def _import_snapshot(task: Task) -> Result:
    return {
        "ImportTaskId": task.id,
        "Description": task.description or None,
        "SnapshotTaskDetail": _disk_view(task) | {"Encrypted": task.encrypted, "KmsKeyId": task.kms_key_id},
    }


def _export_image(task: Task) -> Result:
    return {
        "ExportImageTaskId": task.id,
        "Description": task.description or None,
        "ImageId": task.image_id,
        "Progress": _progress(task),
        "Status": task.state,
        "StatusMessage": task.status_message or None,
        "S3ExportLocation": {"S3Bucket": task.bucket, "S3Prefix": task.location},
    }


def _disk_view(task: Task) -> Result:
    return {
        "Description": task.description or None,
        "Format": task.format.upper(),
        "Progress": _progress(task),
        "SnapshotId": task.snapshot_id,
        "Status": task.state,
        "StatusMessage": task.status_message or None,
        "UserBucket": {"S3Bucket": task.bucket, "S3Key": task.location},
    }


def _progress(task: Task) -> str | None:
    return str(task.progress) if task.state == "active" else None


_OF_KIND: Final = {IMPORT_IMAGE: _import_image, IMPORT_SNAPSHOT: _import_snapshot, EXPORT_IMAGE: _export_image}

"""ImportImage, ImportSnapshot, ExportImage, their Describe operations, and CancelImportTask."""

from collections.abc import Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.images.image_task_view import begun_view, cancelled_view, task_view
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.images import image_tasks
from stead_controller.resources.images.image_tasks import EXPORT_IMAGE, IMPORT_IMAGE, IMPORT_SNAPSHOT, NewTask, Place

_UNBUILT = ("LicenseSpecifications", "UsageOperation")


@operation("ImportImage")
def import_image(call: Call, params: Params) -> Result:
    """Import an image from a file."""
    _refuse_unbuilt(params)
    if params.get("Platform", "Linux").lower() != "linux":
        raise Unsupported("Only images of Linux are imported.")
    containers = params.get("DiskContainers", ())
    if not containers:
        raise MissingParameter("DiskContainers")
    if len(containers) > 1:
        raise Unsupported("An image is imported of exactly one disk; add others by RegisterImage.")
    (container,) = containers
    if container.get("SnapshotId"):
        raise Unsupported("Of a snapshot an image is made by RegisterImage.")
    asked = NewTask(
        IMPORT_IMAGE,
        _format(container),
        _place(container),
        params.get("Description", "") or container.get("Description", ""),
        params.get("BootMode", ""),
        architecture=params.get("Architecture", "x86_64"),
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyId"),
        tags=tags_on_create(params, IMPORT_IMAGE)[IMPORT_IMAGE],
    )
    return _begun(call, "ImportImage", params, asked)


@operation("ImportSnapshot")
def import_snapshot(call: Call, params: Params) -> Result:
    """Import a snapshot from a file."""
    _refuse_unbuilt(params)
    container = params.get("DiskContainer")
    if not container:
        raise MissingParameter("DiskContainer")
    asked = NewTask(
        IMPORT_SNAPSHOT,
        _format(container),
        _place(container),
        params.get("Description", "") or container.get("Description", ""),
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyId"),
        tags=tags_on_create(params, IMPORT_SNAPSHOT)[IMPORT_SNAPSHOT],
    )
    return _begun(call, "ImportSnapshot", params, asked)


@operation("ExportImage")
def export_image(call: Call, params: Params) -> Result:
    """Export an image to a file."""
    location = params["S3ExportLocation"]
    asked = NewTask(
        EXPORT_IMAGE,
        params["DiskImageFormat"],
        Place(location.get("S3Bucket", ""), location.get("S3Prefix", "")),
        params.get("Description", ""),
        image_id=params["ImageId"],
        tags=tags_on_create(params, EXPORT_IMAGE)[EXPORT_IMAGE],
    )
    return _begun(call, "ExportImage", params, asked)


@operation("DescribeImportImageTasks", writes=False)
def describe_import_image_tasks(call: Call, params: Params) -> Result:
    """List imports of images."""
    return _describe(call, params, IMPORT_IMAGE, "DescribeImportImageTasks", "ImportImageTasks", "ImportTaskId")


@operation("DescribeImportSnapshotTasks", writes=False)
def describe_import_snapshot_tasks(call: Call, params: Params) -> Result:
    """List imports of snapshots."""
    kind = IMPORT_SNAPSHOT
    return _describe(call, params, kind, "DescribeImportSnapshotTasks", "ImportSnapshotTasks", "ImportTaskId")


@operation("DescribeExportImageTasks", writes=False)
def describe_export_image_tasks(call: Call, params: Params) -> Result:
    """List exports."""
    kind = EXPORT_IMAGE
    return _describe(call, params, kind, "DescribeExportImageTasks", "ExportImageTasks", "ExportImageTaskId")


@operation("CancelImportTask")
def cancel_import_task(call: Call, params: Params) -> Result:
    """Cancel an import."""
    if "ImportTaskId" not in params:
        raise MissingParameter("ImportTaskId")
    return cancelled_view(image_tasks.cancel(call.tx, call.caller, params["ImportTaskId"], call.now))


def _describe(  # noqa: PLR0917 - three operations in one, distinguished by their names
    call: Call, params: Params, kind: str, name: str, member: str, key: str
) -> Result:
    asked, page = selection.paged(call, params, name, image_tasks.FILTERS, ids=f"{key}s", most=500)
    found = image_tasks.describe(call.tx, call.caller, kind, asked)
    return selection.answered(member, found, page, lambda one: (one.row.id,), task_view)


def _begun(call: Call, name: str, params: Params, asked: NewTask) -> Result:
    once = repeatable(name, params)
    task_id = image_tasks.begin(call.tx, call.caller, call.cloud, asked, repeatable=once, now=call.now)
    (begun,) = image_tasks.describe(call.tx, call.caller, asked.kind, Selection((task_id,)))
    return begun_view(begun)


def _refuse_unbuilt(params: Params) -> None:
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")


def _format(container: Mapping[str, Any]) -> str:
    """Return the format, which the request must name; it is never guessed."""
    if not container.get("Format"):
        raise MissingParameter("Format")
    return str(container["Format"])


def _place(container: Mapping[str, Any]) -> Place:
    bucket = container.get("UserBucket", {})
    return Place(bucket.get("S3Bucket", ""), bucket.get("S3Key", ""), container.get("Url", ""))

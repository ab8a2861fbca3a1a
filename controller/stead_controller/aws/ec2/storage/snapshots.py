"""Creating, copying, listing and deleting snapshots, and EC2's operations on them that are not implemented."""

from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.storage.snapshot_view import snapshot_of_set_view, snapshot_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.storage import create_snapshots, delete_snapshot, snapshots
from stead_controller.resources.storage.create_snapshots import CopyOf, OfInstance, OfVolume
from stead_controller.resources.storage.snapshots import SnapshotSelection

_KIND: Final = "snapshot"


@operation("CreateSnapshot")
def create_snapshot(call: Call, params: Params) -> Result:
    """Start a snapshot of a volume."""
    _in_the_region(params)
    asked = OfVolume(params["VolumeId"], params.get("Description", ""), tags_on_create(params, _KIND)[_KIND])
    return snapshot_view(create_snapshots.of_volume(call.tx, call.caller, asked, call.now))


@operation("CreateSnapshots")
def create_snapshots_of_instance(call: Call, params: Params) -> Result:
    """Start snapshots of an instance's volumes, all of the same point in time."""
    _in_the_region(params)
    copied = params.get("CopyTagsFromSource")
    if copied not in (None, "volume"):
        raise InvalidParameter(f"Value ({copied}) for parameter CopyTagsFromSource is invalid: volume.")
    asked: dict[str, Any] = params["InstanceSpecification"]
    made = create_snapshots.of_instance(
        call.tx,
        call.caller,
        OfInstance(
            instance_id=asked.get("InstanceId", ""),
            description=params.get("Description", ""),
            exclude_boot_volume=asked.get("ExcludeBootVolume", False),
            exclude_volume_ids=tuple(asked.get("ExcludeDataVolumeIds", ())),
            copy_tags=copied is not None,
            tags=tags_on_create(params, _KIND)[_KIND],
        ),
        call.now,
    )
    return {"Snapshots": [snapshot_of_set_view(one) for one in made]}


@operation("CopySnapshot")
def copy_snapshot(call: Call, params: Params) -> Result:
    """Copy a snapshot, within the region."""
    for name in ("DestinationOutpostArn", "DestinationAvailabilityZone", "CompletionDurationMinutes"):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    for name in ("SourceRegion", "DestinationRegion"):
        if params.get(name) not in (None, call.cloud.region):
            raise InvalidParameter(f"Invalid region: {params[name]}. This cloud has one region: {call.cloud.region}.")
    wanted = tags_on_create(params, _KIND)[_KIND]
    asked = CopyOf(
        params["SourceSnapshotId"],
        params.get("Description", ""),
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyId"),
        tags=wanted,
    )
    copied_id = create_snapshots.copy(call.tx, call.caller, call.cloud, asked, call.now)
    return {"SnapshotId": copied_id, "Tags": tags_view(sorted(wanted.items()))}


@operation("DescribeSnapshots", writes=False)
def describe_snapshots(call: Call, params: Params) -> Result:
    """List the snapshots that the caller may see."""
    asked, page = selection.paged(call, params, "DescribeSnapshots", snapshots.FILTERS, ids="SnapshotIds")
    wanted = SnapshotSelection(asked, tuple(params.get("OwnerIds", ())), tuple(params.get("RestorableByUserIds", ())))
    found = snapshots.describe(call.tx, call.caller, wanted)
    return selection.answered("Snapshots", found, page, lambda one: (one.snapshot.id,), snapshot_view)


@operation("DeleteSnapshot", makes_room=True)
def delete_one_snapshot(call: Call, params: Params) -> Result:
    """Delete a snapshot."""
    delete_snapshot.delete(call.tx, call.caller, params["SnapshotId"], call.now)
    return {}


def _in_the_region(params: Params) -> None:
    if params.get("OutpostArn") or params.get("Location") not in (None, "regional"):
        raise Unsupported("Snapshots are kept in the region: there are no Outposts and Local Zones.")

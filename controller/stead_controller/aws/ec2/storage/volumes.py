"""Volumes: create, delete, describe; their status and attributes."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.storage.volume_status_view import volume_status_view
from stead_controller.aws.ec2.storage.volume_view import attribute_view, volume_view
from stead_controller.catalog.volume_types import DEFAULT
from stead_controller.errors import InvalidCombination, MissingParameter, Unsupported
from stead_controller.resources.storage import volume_life, volume_status, volumes
from stead_controller.resources.storage.volume_life import CreateRequest

_ABSENT = {
    "OutpostArn": "Outposts",
    "VolumeInitializationRate": "Initialization rates",
    "Operator": "Operators",
}


@operation("CreateVolume")
def create_volume(call: Call, params: Params) -> Result:
    """Create a volume."""
    for name, what in _ABSENT.items():
        if params.get(name) is not None:
            raise Unsupported(f"{what} are not supported by this cloud ({name}).")
    request = CreateRequest(
        repeatable=describe.repeatable("CreateVolume", params),
        zone=params.get("AvailabilityZone"),
        zone_id=params.get("AvailabilityZoneId"),
        size=params.get("Size"),
        volume_type=params.get("VolumeType", DEFAULT),
        iops=params.get("Iops"),
        throughput=params.get("Throughput"),
        snapshot_id=params.get("SnapshotId"),
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyId"),
        multi_attach=params.get("MultiAttachEnabled", False),
        tags=tags_on_create(params, "volume"),
    )
    made = volume_life.create(call.tx, call.caller, call.cloud, request, call.now)
    return volume_view(volumes.describe_made(call.tx, call.caller, call.cloud, made, call.now))


@operation("DeleteVolume", makes_room=True)
def delete_volume(call: Call, params: Params) -> Result:
    """Delete a volume that is not attached."""
    volume_life.delete(call.tx, call.caller, params["VolumeId"], call.now)
    return {}


@operation("DescribeVolumes", writes=False)
def describe_volumes(call: Call, params: Params) -> Result:
    """List volumes."""
    asked, page = selection.paged(call, params, "DescribeVolumes", volumes.conditions(call.cloud), ids="VolumeIds")
    found = volumes.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("Volumes", found, page, lambda one: (one.volume.id,), volume_view)


@operation("DescribeVolumeStatus", writes=False)
def describe_volume_status(call: Call, params: Params) -> Result:
    """List the status of volumes."""
    asked, page = selection.paged(call, params, "DescribeVolumeStatus", volume_status.FILTERS, ids="VolumeIds")
    found = volume_status.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("VolumeStatuses", found, page, lambda one: (one.volume.id,), volume_status_view)


@operation("DescribeVolumeAttribute", writes=False)
def describe_volume_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a volume."""
    return attribute_view(volume_status.find_attributes(call.tx, call.caller, params["VolumeId"]), params["Attribute"])


@operation("ModifyVolumeAttribute")
def modify_volume_attribute(call: Call, params: Params) -> Result:
    """Change the only attribute of a volume that can be changed."""
    given = params.get("AutoEnableIO")
    if given is None:
        raise InvalidCombination("No attributes specified.")
    if "Value" not in given:
        raise MissingParameter("AutoEnableIO.Value")
    volume_status.set_auto_enable_io(call.tx, call.caller, params["VolumeId"], given["Value"])
    return {}


@operation("EnableVolumeIO")
def enable_volume_io(call: Call, params: Params) -> Result:
    """Enable I/O of a volume."""
    volume_status.enable_io(call.tx, call.caller, params["VolumeId"])
    return {}

"""DescribeVolumes, DescribeVolumeStatus and DescribeVolumeAttribute."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import volumes


@operation("DescribeVolumes", writes=False)
def describe_volumes(call: Call, params: Params) -> Result:
    """List volumes."""
    asked, page = selection.paged(call, params, "DescribeVolumes", volumes.conditions(call.cloud), ids="VolumeIds")
    return selection.answer("Volumes", volumes.describe(call.tx, call.caller, call.cloud, asked), page, "VolumeId")


@operation("DescribeVolumeStatus", writes=False)
def describe_volume_status(call: Call, params: Params) -> Result:
    """List what is known of volumes' health."""
    asked, page = selection.paged(call, params, "DescribeVolumeStatus", volumes.STATUS_FILTERS, ids="VolumeIds")
    statuses = volumes.describe_status(call.tx, call.caller, call.cloud, asked)
    return selection.answer("VolumeStatuses", statuses, page, "VolumeId")


@operation("DescribeVolumeAttribute", writes=False)
def describe_volume_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a volume."""
    return volumes.describe_attribute(call.tx, call.caller, params["VolumeId"], params["Attribute"])

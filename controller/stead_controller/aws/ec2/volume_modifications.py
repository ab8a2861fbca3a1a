"""DescribeVolumesModifications."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources import volume_modifications


@operation("DescribeVolumesModifications", writes=False)
def describe_volumes_modifications(call: Call, params: Params) -> Result:
    """List the latest modifications of volumes, of which there are none yet."""
    describe.page(call, params, "DescribeVolumesModifications", at_least=1, at_most=500)
    describe.filters(params, volume_modifications.FILTERS, tags=False)
    volume_modifications.require(call.tx, call.caller, params.get("VolumeIds", ()))
    return {"VolumesModifications": []}

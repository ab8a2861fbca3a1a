"""ModifyVolume and DescribeVolumesModifications."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.storage.volume_modification_view import modification_view
from stead_controller.request.conditions import Selection
from stead_controller.resources.storage import volume_modifications
from stead_controller.resources.storage.volume_modifications import ModifyRequest


@operation("ModifyVolume")
def modify_volume(call: Call, params: Params) -> Result:
    """Modify a volume's size, type or performance; it can only grow."""
    request = ModifyRequest(
        volume_id=params["VolumeId"],
        size=params.get("Size"),
        volume_type=params.get("VolumeType"),
        iops=params.get("Iops"),
        throughput=params.get("Throughput"),
        multi_attach=params.get("MultiAttachEnabled"),
    )
    begun = volume_modifications.modify(call.tx, call.caller, call.cloud, request, call.now)
    return {"VolumeModification": modification_view(begun)}


@operation("DescribeVolumesModifications", writes=False)
def describe_volumes_modifications(call: Call, params: Params) -> Result:
    """List the latest modifications of volumes."""
    page = describe.page(call, params, "DescribeVolumesModifications", at_least=1, at_most=500)
    known = describe.filters(params, volume_modifications.FILTERS, tags=False)
    asked = Selection(tuple(params.get("VolumeIds", ())), known, page.after, page.fetch)
    found = volume_modifications.describe(call.tx, call.caller, asked)
    return selection.answered(
        "VolumesModifications", found, page, lambda one: (one.modification.volume_id,), modification_view
    )

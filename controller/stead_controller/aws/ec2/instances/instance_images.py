"""DescribeInstanceImageMetadata."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.images.image_view import metadata_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.conditions import Selection
from stead_controller.resources.instances import instance_images
from stead_controller.resources.instances.instance_images import DescribedImageOfInstance
from stead_controller.resources.instances.instance_states import STATE_CODES


@operation("DescribeInstanceImageMetadata", writes=False)
def describe_instance_image_metadata(call: Call, params: Params) -> Result:
    """List the images that instances were launched from."""
    page = describe.page(call, params, "DescribeInstanceImageMetadata", at_least=1, default=1000)
    filters = describe.filters(params, instance_images.conditions(call.cloud))
    asked = Selection(tuple(params.get("InstanceIds", ())), filters, page.after, page.fetch)
    found = instance_images.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("InstanceImageMetadata", found, page, lambda one: (one.instance_id,), _view)


def _view(found: DescribedImageOfInstance) -> Result:
    return {
        "InstanceId": found.instance_id,
        "InstanceType": found.instance_type,
        "LaunchTime": found.launched,
        "AvailabilityZone": found.zone,
        "ZoneId": found.zone_id,
        "State": {"Code": STATE_CODES[found.state], "Name": found.state},
        "OwnerId": found.owner,
        "Tags": tags_view(found.tags) or None,
        "ImageMetadata": {"ImageId": found.image_id} if found.image is None else metadata_view(found.image),
        "Operator": {"Managed": False},
    }

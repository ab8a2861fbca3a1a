"""DescribeImages and DescribeImageAttribute."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import images
from stead_controller.resources.images import ImageSelection


@operation("DescribeImages", writes=False)
def describe_images(call: Call, params: Params) -> Result:
    """List the images that the caller may see."""
    asked, page = selection.paged(call, params, "DescribeImages", images.FILTERS, ids="ImageIds")
    wanted = ImageSelection(asked, tuple(params.get("Owners", ())), tuple(params.get("ExecutableUsers", ())))
    return selection.answer("Images", images.describe(call.tx, call.caller, wanted), page, "ImageId")


@operation("DescribeImageAttribute", writes=False)
def describe_image_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of an image."""
    return images.describe_attribute(call.tx, call.caller, params["ImageId"], params["Attribute"])

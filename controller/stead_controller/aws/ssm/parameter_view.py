"""Parameters as Systems Manager shows them."""

from stead_controller.aws.call import Result
from stead_controller.request.cloud import Cloud
from stead_controller.resources.images import image_parameters
from stead_controller.resources.images.image_parameters import ImageParameter


def parameter_view(cloud: Cloud, found: ImageParameter, asked: str) -> Result:
    """Show a parameter that was asked for by this name; public ones have no account in their ARN."""
    _, selector = image_parameters.split(asked)
    return {
        "Name": found.name,
        "Type": "String",
        "Value": found.image_id,
        "Version": found.version,
        "Selector": None if selector is None else f":{selector}",
        "LastModifiedDate": found.modified,
        "ARN": f"arn:{cloud.partition}:ssm:{cloud.region}::parameter{found.name}",
        "DataType": "aws:ec2:image",
    }

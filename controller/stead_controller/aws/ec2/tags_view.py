"""Tags as EC2 shows them."""

from collections.abc import Iterable

from stead_controller.aws.call import Result
from stead_controller.resources.tags import DescribedTag


def tags_view(pairs: Iterable[tuple[str, str]]) -> list[Result]:
    """Show the keys and values of a resource's tags."""
    return [{"Key": key, "Value": value} for key, value in pairs]


def described_tag_view(found: DescribedTag) -> Result:
    """Show a tag with its resource."""
    return {
        "ResourceId": found.resource_id,
        "ResourceType": found.resource_type,
        "Key": found.key,
        "Value": found.value,
    }

"""CreateTags, DeleteTags and DescribeTags."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.tags_view import described_tag_view
from stead_controller.request.conditions import Selection
from stead_controller.resources import tags
from stead_controller.resources.images import images
from stead_controller.resources.storage import snapshots
from stead_controller.resources.tags import TagToDelete

_SHARED: Final[tags.Shared] = {"image": images.ways, "snapshot": snapshots.ways}


@operation("CreateTags")
def create_tags(call: Call, params: Params) -> Result:
    """Set tags on resources of any type."""
    given = describe.tags_to_dict(params["Tags"])
    tags.create_tags(call.tx, call.caller, params["Resources"], given, call.now, shared=_SHARED)
    return {}


@operation("DeleteTags")
def delete_tags(call: Call, params: Params) -> Result:
    """Delete some or all tags of resources."""
    doomed = [TagToDelete(tag.get("Key", ""), tag.get("Value")) for tag in params.get("Tags", ())]
    tags.delete_tags(call.tx, call.caller, params["Resources"], doomed or None, call.now, shared=_SHARED)
    return {}


@operation("DescribeTags", writes=False)
def describe_tags(call: Call, params: Params) -> Result:
    """List the caller's tags."""
    page = describe.page(call, params, "DescribeTags")
    asked = Selection((), describe.filters(params, tags.FILTERS), page.after, page.fetch)
    found = tags.describe_tags(call.tx, call.caller, asked)
    return selection.answered("Tags", found, page, lambda tag: (tag.resource_id, tag.key), described_tag_view)

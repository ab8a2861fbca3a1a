"""TagResource, UntagResource and ListTagsForResource."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.metrics import resource_tags


def tags_given(params: Params) -> dict[str, str]:
    """Return the tags of a request."""
    return {tag["Key"]: tag["Value"] for tag in params.get("Tags", ())}


@operation("TagResource", service="cloudwatch")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of an alarm or a dashboard."""
    resource_tags.tag(call.tx, call.caller, call.cloud, params["ResourceARN"], tags_given(params))
    return {}


@operation("UntagResource", service="cloudwatch")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of an alarm or a dashboard."""
    resource_tags.untag(call.tx, call.caller, call.cloud, params["ResourceARN"], params["TagKeys"])
    return {}


@operation("ListTagsForResource", service="cloudwatch", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of an alarm or a dashboard."""
    found = resource_tags.tags_of(call.tx, call.caller, call.cloud, params["ResourceARN"])
    return {"Tags": describe.dict_to_tags(found)}

"""TagResource, UntagResource and ListTagsForResource."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.storage import lifecycle_policies


@operation("TagResource", service="dlm")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of a policy."""
    lifecycle_policies.tag(call.tx, call.caller, call.cloud, params["ResourceArn"], params["Tags"])
    return {}


@operation("UntagResource", service="dlm")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of a policy."""
    lifecycle_policies.untag(call.tx, call.caller, call.cloud, params["ResourceArn"], params["TagKeys"])
    return {}


@operation("ListTagsForResource", service="dlm", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of a policy."""
    return {"Tags": lifecycle_policies.tags_of(call.tx, call.caller, call.cloud, params["ResourceArn"])}

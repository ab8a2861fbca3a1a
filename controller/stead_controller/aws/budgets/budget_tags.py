"""Tags of budgets and of their actions, which are named by their ARNs."""

from stead_controller.aws import describe
from stead_controller.aws.budgets.budget_lookup import read_tags
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.budgets import tagged
from stead_controller.resources.budgets.tagged import Tagged


@operation("TagResource", service="budgets")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of a budget or an action."""
    tagged.tag(_find(call, params), read_tags(params["ResourceTags"]))
    return {}


@operation("UntagResource", service="budgets")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of a budget or an action."""
    tagged.untag(_find(call, params), params["ResourceTagKeys"])
    return {}


@operation("ListTagsForResource", service="budgets", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of a budget or an action."""
    return {"ResourceTags": describe.dict_to_tags(tagged.tags_of(_find(call, params)))}


def _find(call: Call, params: Params) -> Tagged:
    return tagged.find(call.tx, call.caller, call.cloud, params["ResourceARN"])

"""Tags of exports, which are named by their ARNs."""

from stead_controller.aws import describe
from stead_controller.aws.bcm_data_exports import export_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.data_exports import exports


@operation("TagResource", service="bcm-data-exports")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of an export."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ResourceArn"])
    exports.tag(row, export_view.read_tags(params["ResourceTags"]))
    return {}


@operation("UntagResource", service="bcm-data-exports")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of an export."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ResourceArn"])
    exports.untag(row, params["ResourceTagKeys"])
    return {}


@operation("ListTagsForResource", service="bcm-data-exports", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of an export."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ResourceArn"])
    asked = export_view.page(call, params, f"ListTagsForResource {row.id}")
    after = asked.after[0] if asked.after else ""
    found = [tag for tag in describe.dict_to_tags(exports.tags_of(row)) if tag["Key"] > after]
    shown, token = asked.cut(found, lambda tag: (tag["Key"],))
    return {"ResourceTags": list(shown), "NextToken": token}

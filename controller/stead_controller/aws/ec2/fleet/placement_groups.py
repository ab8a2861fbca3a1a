"""CreatePlacementGroup, DescribePlacementGroups and DeletePlacementGroup."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet.placement_group_view import placement_group_view
from stead_controller.resources.fleet import placement_groups
from stead_controller.resources.fleet.placement_groups import PlacementGroupRequest


@operation("CreatePlacementGroup")
def create_placement_group(call: Call, params: Params) -> Result:
    """Create a placement group."""
    request = PlacementGroupRequest(
        params.get("GroupName"),
        params.get("Strategy"),
        params.get("PartitionCount"),
        params.get("SpreadLevel"),
        tags_on_create(params, "placement-group")["placement-group"],
    )
    made = placement_groups.create(call.tx, call.caller, call.cloud, request, call.now)
    return {"PlacementGroup": placement_group_view(made)}


@operation("DescribePlacementGroups", writes=False)
def describe_placement_groups(call: Call, params: Params) -> Result:
    """List the caller's placement groups."""
    known = placement_groups.conditions(call.caller, call.cloud)
    asked = selection.everything(params, known, ids="GroupIds")
    found = placement_groups.describe(call.tx, call.caller, call.cloud, asked, params.get("GroupNames", ()))
    return {"PlacementGroups": [placement_group_view(one) for one in found]}


@operation("DeletePlacementGroup")
def delete_placement_group(call: Call, params: Params) -> Result:
    """Delete a placement group."""
    placement_groups.remove(call.tx, call.caller, params["GroupName"])
    return {}

"""DescribeScalingActivities."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling.activity_view import activity_view
from stead_controller.aws.autoscaling.groups import filters_given
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling import activities, groups

_MOST: Final = 100
_FILTERS: Final = ("Status",)


@operation("DescribeScalingActivities", service="autoscaling", writes=False)
def describe_activities(call: Call, params: Params) -> Result:
    """List what groups did, the latest first."""
    operation_name = "DescribeScalingActivities"
    page = describe.page(call, params, operation_name, size="MaxRecords", at_least=1, at_most=_MOST, default=_MOST)
    name, deleted = params.get("AutoScalingGroupName"), params.get("IncludeDeletedGroups", False)
    if name is not None and not deleted:
        groups.require(call.tx, call.caller, name)
    filters = filters_given(params)
    for given in filters:
        if given not in _FILTERS:
            raise InvalidParameter(f"The filter {given} is not one of {', '.join(_FILTERS)}.")
    found = activities.describe(
        call.tx,
        call.caller.account_id,
        group=name,
        ids=params.get("ActivityIds", ()),
        deleted=deleted,
        statuses=filters.get("Status", ()),
        after=page.after,
        limit=page.fetch or _MOST,
    )
    shown, token = page.cut(found, lambda one: (one.row.started.isoformat(), one.row.id))
    return {
        "Activities": [activity_view(call, one.row, is_deleted=one.is_deleted) for one in shown],
        "NextToken": token,
    }

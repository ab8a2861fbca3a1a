"""Notifications of groups: what they publish to which topics."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.scaling import group_notices, groups
from stead_controller.resources.scaling.group_notices import NotificationRequest

_GROUP: Final = "AutoScalingGroupName"
_MOST: Final = 100
_DEFAULT: Final = 50


@operation("PutNotificationConfiguration", service="autoscaling")
def put_notification_configuration(call: Call, params: Params) -> Result:
    """Have a group publish to a topic, instead of what it published to it before."""
    group = groups.find(call.tx, call.caller, params[_GROUP])
    asked = NotificationRequest(params["TopicARN"], params["NotificationTypes"])
    group_notices.put(call.tx, call.cloud, group, asked, call.now)
    return {}


@operation("DeleteNotificationConfiguration", service="autoscaling")
def delete_notification_configuration(call: Call, params: Params) -> Result:
    """Have a group publish to a topic no more."""
    group = groups.find(call.tx, call.caller, params[_GROUP])
    group_notices.remove(call.tx, group, params["TopicARN"])
    return {}


@operation("DescribeNotificationConfigurations", service="autoscaling", writes=False)
def describe_notification_configurations(call: Call, params: Params) -> Result:
    """List what groups publish."""
    page = describe.page(
        call,
        params,
        "DescribeNotificationConfigurations",
        size="MaxRecords",
        at_least=1,
        at_most=_MOST,
        default=_DEFAULT,
    )
    names = params.get("AutoScalingGroupNames", ())
    limit = page.fetch or _DEFAULT
    found = group_notices.page(call.tx, call.caller, names, after=page.after, limit=limit)
    shown, token = page.cut(found, lambda one: (one.group, one.topic, one.type))
    listed = [{_GROUP: one.group, "TopicARN": one.topic, "NotificationType": one.type} for one in shown]
    return {"NotificationConfigurations": listed, "NextToken": token}


@operation("DescribeAutoScalingNotificationTypes", service="autoscaling", writes=False)
def describe_auto_scaling_notification_types(call: Call, params: Params) -> Result:
    """List what groups can publish."""
    del call, params
    return {"AutoScalingNotificationTypes": list(group_notices.TYPES)}

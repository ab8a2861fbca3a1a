"""Instances of groups: found, ended, protected, attached, detached, in standby, and their health."""

from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling.activity_view import activity_view
from stead_controller.aws.autoscaling.group_view import instance_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.scaling import members
from stead_controller.resources.scaling.groups import ShownMember

_GROUP: Final = "AutoScalingGroupName"
_IDS: Final = "InstanceIds"
_SHRINK: Final = "ShouldDecrementDesiredCapacity"
_HEALTH: Final = {"Healthy": True, "Unhealthy": False}
_MOST: Final = 50


@operation("DescribeAutoScalingInstances", service="autoscaling", writes=False)
def describe_instances(call: Call, params: Params) -> Result:
    """List instances of all groups."""
    operation_name = "DescribeAutoScalingInstances"
    page = describe.page(call, params, operation_name, size="MaxRecords", at_least=1, at_most=_MOST, default=_MOST)
    after = page.after[0] if page.after else None
    asked = params.get(_IDS, ())
    found = members.describe(call.tx, call.caller, asked, after=after, limit=page.fetch or _MOST)
    shown, token = page.cut(found, lambda one: (one[0].instance_id,))
    return {
        "AutoScalingInstances": [_in_any_group(call, row, group) for row, group in shown],
        "NextToken": token,
    }


def _in_any_group(call: Call, row: ShownMember, group: str) -> dict[str, Any]:
    """Show an instance with its group; AWS writes its health in capitals here, and in groups not."""
    shown = instance_view(call, row)
    return {**shown, _GROUP: group, "HealthStatus": shown["HealthStatus"].upper()}


@operation("TerminateInstanceInAutoScalingGroup", service="autoscaling")
def terminate_instance(call: Call, params: Params) -> Result:
    """End an instance of a group."""
    for name in (_IDS, _GROUP):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported: one instance is ended by its InstanceId.")
    if not params.get("InstanceId"):
        raise MissingParameter("InstanceId")
    activity = members.terminate(
        call.tx, call.caller, call.cloud, params["InstanceId"], call.now, shrink=params[_SHRINK]
    )
    return {"Activity": activity_view(call, activity)}


@operation("SetInstanceHealth", service="autoscaling")
def set_health(call: Call, params: Params) -> Result:
    """Say whether an instance is healthy."""
    if params["HealthStatus"] not in _HEALTH:
        raise InvalidParameter(f"The HealthStatus {params['HealthStatus']} is not one of {', '.join(_HEALTH)}.")
    members.set_health(
        call.tx,
        call.caller,
        params["InstanceId"],
        healthy=_HEALTH[params["HealthStatus"]],
        respect_grace=params.get("ShouldRespectGracePeriod", True),
        now=call.now,
    )
    return {}


@operation("SetInstanceProtection", service="autoscaling")
def set_protection(call: Call, params: Params) -> Result:
    """Protect instances from scaling in, or no longer."""
    protected = params["ProtectedFromScaleIn"]
    members.protect(call.tx, call.caller, params[_GROUP], params[_IDS], protected=protected, now=call.now)
    return {}


@operation("AttachInstances", service="autoscaling")
def attach_instances(call: Call, params: Params) -> Result:
    """Make running instances members of a group."""
    members.attach(call.tx, call.caller, params[_GROUP], params.get(_IDS, ()), call.now)
    return {}


@operation("DetachInstances", service="autoscaling")
def detach_instances(call: Call, params: Params) -> Result:
    """Let instances go, which keep running."""
    done = members.detach(call.tx, call.caller, params[_GROUP], params.get(_IDS, ()), call.now, shrink=params[_SHRINK])
    return {"Activities": [activity_view(call, one) for one in done]}


@operation("EnterStandby", service="autoscaling")
def enter_standby(call: Call, params: Params) -> Result:
    """Take instances out of service for a while."""
    done = members.enter_standby(
        call.tx, call.caller, params[_GROUP], params.get(_IDS, ()), call.now, shrink=params[_SHRINK]
    )
    return {"Activities": [activity_view(call, one) for one in done]}


@operation("ExitStandby", service="autoscaling")
def exit_standby(call: Call, params: Params) -> Result:
    """Take instances into service again."""
    done = members.exit_standby(call.tx, call.caller, params[_GROUP], params.get(_IDS, ()), call.now)
    return {"Activities": [activity_view(call, one) for one in done]}

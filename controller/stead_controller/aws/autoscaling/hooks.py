"""Lifecycle hooks, and the actions of instances that wait for them."""

from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter
from stead_controller.resources.scaling import groups, lifecycle_hooks
from stead_controller.resources.scaling.hook_notices import LAUNCHING, TERMINATING
from stead_controller.resources.scaling.lifecycle_hooks import ActionName, HookRequest

_LONGEST_SECONDS: Final = 172_800
_HEARTBEATS: Final = 100


def hook_request(params: Params) -> HookRequest:
    """Read a hook; raises InvalidParameter."""
    transition = params.get("LifecycleTransition")
    if transition not in (None, LAUNCHING, TERMINATING):
        raise InvalidParameter(f"The LifecycleTransition {transition} is not one of {LAUNCHING}, {TERMINATING}.")
    return HookRequest(
        name=params["LifecycleHookName"],
        launching=None if transition is None else transition == LAUNCHING,
        heartbeat=params.get("HeartbeatTimeout"),
        default_result=params.get("DefaultResult"),
        details=params.get("NotificationMetadata"),
        topic=params.get("NotificationTargetARN"),
        role=params.get("RoleARN"),
    )


@operation("PutLifecycleHook", service="autoscaling")
def put_hook(call: Call, params: Params) -> Result:
    """Make or change a hook."""
    group = groups.find(call.tx, call.caller, params["AutoScalingGroupName"])
    lifecycle_hooks.put(call.tx, call.cloud, group, hook_request(params), call.now)
    return {}


@operation("DeleteLifecycleHook", service="autoscaling")
def delete_hook(call: Call, params: Params) -> Result:
    """Delete a hook."""
    group = groups.find(call.tx, call.caller, params["AutoScalingGroupName"])
    lifecycle_hooks.remove(call.tx, group, params["LifecycleHookName"], call.now)
    return {}


@operation("DescribeLifecycleHooks", service="autoscaling", writes=False)
def describe_hooks(call: Call, params: Params) -> Result:
    """List the hooks of a group."""
    name = params["AutoScalingGroupName"]
    group = groups.find(call.tx, call.caller, name)
    found = lifecycle_hooks.of_group(call.tx, group.id, params.get("LifecycleHookNames", ()))
    return {"LifecycleHooks": [_view(name, hook) for hook in found]}


@operation("CompleteLifecycleAction", service="autoscaling")
def complete_action(call: Call, params: Params) -> Result:
    """Let an instance go on."""
    group = groups.find(call.tx, call.caller, params["AutoScalingGroupName"])
    lifecycle_hooks.complete(call.tx, group, _named(params), params["LifecycleActionResult"], call.now)
    return {}


@operation("RecordLifecycleActionHeartbeat", service="autoscaling")
def record_heartbeat(call: Call, params: Params) -> Result:
    """Let an instance wait longer."""
    group = groups.find(call.tx, call.caller, params["AutoScalingGroupName"])
    lifecycle_hooks.beat(call.tx, group, _named(params), call.now)
    return {}


def _named(params: Params) -> ActionName:
    return ActionName(params["LifecycleHookName"], params.get("LifecycleActionToken"), params.get("InstanceId"))


def _view(group: str, hook: lifecycle_hooks.ShownHook) -> dict[str, Any]:
    return {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": group,
        "LifecycleTransition": LAUNCHING if hook.launching else TERMINATING,
        "NotificationTargetARN": hook.topic,
        "RoleARN": hook.role,
        "NotificationMetadata": hook.details,
        "HeartbeatTimeout": hook.heartbeat,
        "GlobalTimeout": min(_LONGEST_SECONDS, hook.heartbeat * _HEARTBEATS),
        "DefaultResult": hook.default_result,
    }

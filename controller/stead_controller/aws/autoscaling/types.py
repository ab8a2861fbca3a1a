"""What never changes: kinds of adjustments, hooks, processes and termination policies; and limits of the account."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.scaling import groups, launch_configurations
from stead_controller.resources.scaling.hook_notices import LAUNCHING, TERMINATING
from stead_controller.resources.scaling.step_adjustment import ADJUSTMENT_TYPES
from stead_controller.resources.scaling.termination import POLICIES


@operation("DescribeAccountLimits", service="autoscaling", writes=False)
def describe_account_limits(call: Call, params: Params) -> Result:
    """Say how many groups there can be, and how many there are."""
    del params
    return {
        "MaxNumberOfAutoScalingGroups": groups.MOST,
        "NumberOfAutoScalingGroups": groups.count(call.tx, call.caller),
        "MaxNumberOfLaunchConfigurations": launch_configurations.MOST,
        "NumberOfLaunchConfigurations": launch_configurations.count(call.tx, call.caller),
    }


@operation("DescribeAdjustmentTypes", service="autoscaling", writes=False)
def describe_adjustment_types(call: Call, params: Params) -> Result:
    """List how scaling policies change the capacity."""
    del call, params
    return {"AdjustmentTypes": [{"AdjustmentType": name} for name in ADJUSTMENT_TYPES]}


@operation("DescribeLifecycleHookTypes", service="autoscaling", writes=False)
def describe_lifecycle_hook_types(call: Call, params: Params) -> Result:
    """List when lifecycle hooks let instances wait."""
    del call, params
    return {"LifecycleHookTypes": [LAUNCHING, TERMINATING]}


@operation("DescribeScalingProcessTypes", service="autoscaling", writes=False)
def describe_scaling_process_types(call: Call, params: Params) -> Result:
    """List what can be suspended."""
    del call, params
    return {"Processes": [{"ProcessName": name} for name in sorted(groups.PROCESSES)]}


@operation("DescribeTerminationPolicyTypes", service="autoscaling", writes=False)
def describe_termination_policy_types(call: Call, params: Params) -> Result:
    """List by what instances are chosen to end."""
    del call, params
    return {"TerminationPolicyTypes": list(POLICIES)}

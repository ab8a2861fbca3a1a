"""Auto Scaling: groups by their names, with the launches that they make.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html. A group launches
and ends instances in its account's name: who makes it needs the rights for the launch oneself, also to pass its role.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.aws.authorization.rules.ec2_instances import launching
from stead_controller.aws.autoscaling import launch
from stead_controller.errors import SteadError
from stead_controller.resources.scaling import groups, launch_configurations, members
from stead_controller.resources.scaling.launches import Wanted

_NAME: Final = "AutoScalingGroupName"


def target(asked: Asked, name: str) -> Target:
    """Return a group of this name, which may not be there."""
    call = asked.call
    arn = groups.arn_of_name(call.tx, call.caller, call.cloud, name)
    return Target(arn, "autoscaling", name, tags=_tags(asked))


def groups_of(path: str) -> Part:
    """Check the groups that a parameter names."""

    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(path):
            yield Check(target(asked, name))

    return part


def _of_instances(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for instance_id in asked.values(path):
            name = members.group_of(asked.call.tx, asked.call.caller, instance_id)
            if name is not None:
                yield Check(target(asked, name))

    return part


def _sized(asked: Asked) -> Iterator[Check]:
    """Check a group that a request makes or changes, with its sizes."""
    sizes = {f"autoscaling:{name}": asked.params.get(name) for name in ("MinSize", "MaxSize")}
    context = {name: value for name, value in sizes.items() if value is not None}
    for name in asked.values(_NAME):
        yield Check(replace(target(asked, name), context=context))


def _launches(asked: Asked) -> Iterator[Check]:
    """Check what a group will launch, as RunInstances does."""
    try:
        stored = launch.stored(asked.call.tx, asked.call.caller, asked.params)
        if stored is None:
            return
        subnet, _, _ = asked.params.get("VPCZoneIdentifier", "").partition(",")
        zone = None if subnet else next(iter(asked.params.get("AvailabilityZones", ())), None)
        call = asked.call
        group = asked.params.get("PlacementGroup")
        wanted = Wanted(stored, zone, subnet or None, placement_group=group)
        launches = launch.launches(call.tx, call.caller, wanted)
    except SteadError:
        return  # the operation finds the error again, after the caller was authorized
    for params in launches:
        for check in launching(Asked("ec2", "RunInstances", call, params)):
            yield replace(check, action=check.action or "ec2:RunInstances")


def _refreshed(asked: Asked) -> Iterator[Check]:
    """Check what a group is to launch from a refresh on, where its instances are."""
    wanted = asked.params.get("DesiredConfiguration")
    found = [groups.look_up(asked.call.tx, asked.call.caller, name) for name in asked.values(_NAME)]
    for group in found:
        if wanted and group is not None:
            place = {"VPCZoneIdentifier": ",".join(group.subnets), "AvailabilityZones": group.zones}
            yield from _launches(replace(asked, params={**wanted, **place}))


def _configurations(asked: Asked) -> Iterator[Check]:
    call = asked.call
    for name in asked.values("LaunchConfigurationName"):
        yield Check(Target(launch_configurations.arn_of_name(call.tx, call.caller, call.cloud, name)))


def _passed(path: str) -> Part:
    """Check the roles with which hooks publish."""

    def part(asked: Asked) -> Iterator[Check]:
        for arn in asked.values(path):
            yield Check(Target(arn, context={"iam:PassedToService": "autoscaling.amazonaws.com"}), "iam:PassRole")

    return part


def _tagged(asked: Asked) -> Iterator[Check]:
    for name in asked.values("Tags.ResourceId"):
        yield Check(target(asked, name))


def _tags(asked: Asked) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("Tags") or () if "Key" in tag}


_GROUP: Final = groups_of(_NAME)

RULES: Final[dict[str, Rule]] = {
    "AttachInstances": rule(_GROUP),
    "CancelInstanceRefresh": rule(_GROUP),
    "CompleteLifecycleAction": rule(_GROUP),
    "CreateAutoScalingGroup": rule(_sized, _launches, _passed("LifecycleHookSpecificationList.RoleARN")),
    "CreateLaunchConfiguration": rule(_configurations),
    "CreateOrUpdateTags": rule(_tagged),
    "DeleteAutoScalingGroup": rule(_GROUP),
    "DeleteLaunchConfiguration": rule(_configurations),
    "DeleteLifecycleHook": rule(_GROUP),
    "DeleteTags": rule(_tagged),
    "DeleteWarmPool": rule(_GROUP),
    "DescribeAccountLimits": rule(),
    "DescribeAdjustmentTypes": rule(),
    "DescribeAutoScalingGroups": rule(),
    "DescribeAutoScalingInstances": rule(),
    "DescribeInstanceRefreshes": rule(),
    "DescribeLaunchConfigurations": rule(),
    "DescribeLifecycleHookTypes": rule(),
    "DescribeLifecycleHooks": rule(),
    "DescribeScalingActivities": rule(),
    "DescribeScalingProcessTypes": rule(),
    "DescribeTags": rule(),
    "DescribeTerminationPolicyTypes": rule(),
    "DescribeWarmPool": rule(),
    "DetachInstances": rule(_GROUP),
    "EnterStandby": rule(_GROUP),
    "ExitStandby": rule(_GROUP),
    "PutLifecycleHook": rule(_GROUP, _passed("RoleARN")),
    "PutWarmPool": rule(_GROUP),
    "RecordLifecycleActionHeartbeat": rule(_GROUP),
    "ResumeProcesses": rule(_GROUP),
    "RollbackInstanceRefresh": rule(_GROUP),
    "SetDesiredCapacity": rule(_GROUP),
    "SetInstanceHealth": rule(_of_instances("InstanceId")),
    "SetInstanceProtection": rule(_GROUP),
    "StartInstanceRefresh": rule(_GROUP, _refreshed),
    "SuspendProcesses": rule(_GROUP),
    "TerminateInstanceInAutoScalingGroup": rule(_of_instances("InstanceId")),
    "UpdateAutoScalingGroup": rule(_sized, _launches),
}

"""Auto Scaling's part of `base_requests.py`: groups with an instance and a hook, and good requests about them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.aws.protocol.models import load_service
from stead_controller.clock import now
from stead_controller.db.tables import LifecycleAction
from tests.api.conftest import Api
from tests.api.identity import document, trust

Named = dict[str, Any]
TOKEN: Final = "11111111-2222-3333-4444-555555555555"
_TEMPLATE: Final = {"LaunchTemplateName": "own", "Version": "1"}
_GROUP: Final[Named] = {
    "AutoScalingGroupName": "own",
    "LaunchTemplate": _TEMPLATE,
    "MinSize": 0,
    "MaxSize": 3,
    "AvailabilityZones": ["us-east-1a"],
}
_HOOK: Final = {"LifecycleHookName": "own", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}


def build(api: Api) -> Named:
    """Make a group with an instance in service, one in standby, and one that waits for a hook; and groups of none, one with a warm pool."""
    client = api.client(api.world.one, "autoscaling")
    waiting, standby = api.launch(number=71), api.launch(number=72)
    client.create_auto_scaling_group(
        **_GROUP, LifecycleHookSpecificationList=[_HOOK], Tags=[{"Key": "a", "Value": "b", "PropagateAtLaunch": True}]
    )
    client.create_auto_scaling_group(**_GROUP | {"AutoScalingGroupName": "empty"})
    client.create_auto_scaling_group(**_GROUP | {"AutoScalingGroupName": "warm"})
    client.put_warm_pool(AutoScalingGroupName="warm", MinSize=0)
    client.create_launch_configuration(**_CONFIGURATION | {"ImageId": api.world.image_id})
    client.attach_instances(AutoScalingGroupName="own", InstanceIds=[waiting, standby])
    client.enter_standby(AutoScalingGroupName="own", InstanceIds=[standby], ShouldDecrementDesiredCapacity=True)
    at = now() + timedelta(hours=1)

    def wait(tx: Any) -> None:
        given = {"heartbeat": 60, "default_result": "ABANDON", "result": None, "until": at, "latest": at}
        tx.session.add(LifecycleAction(token=TOKEN, instance_id=waiting, hook="own", **given))

    api.run(wait)
    client.put_scaling_policy(AutoScalingGroupName="own", PolicyName="own", **_POLICY)
    client.put_scheduled_update_group_action(AutoScalingGroupName="own", **_SCHEDULED)
    told = api.client(api.world.one, "sns").create_topic(Name="own")["TopicArn"]
    client.put_notification_configuration(AutoScalingGroupName="own", TopicARN=told, NotificationTypes=[_TOLD])
    iam = api.client(api.world.one, "iam")
    trusted = trust({"Service": "autoscaling.amazonaws.com"})
    teller = iam.create_role(RoleName="teller", AssumeRolePolicyDocument=trusted)["Role"]
    iam.put_role_policy(RoleName="teller", PolicyName="p", PolicyDocument=document("sns:Publish"))
    refresh = client.start_instance_refresh(
        AutoScalingGroupName="own", DesiredConfiguration={"LaunchTemplate": _TEMPLATE}
    )
    [activity] = [one for one in client.describe_scaling_activities()["Activities"] if waiting in one["Description"]]
    return {
        "scaling_instance": waiting,
        "standby_instance": standby,
        "free_instance": api.launch(number=73),
        "activity": activity["ActivityId"],
        "instance_refresh": refresh["InstanceRefreshId"],
        "topic": told,
        "teller": teller["Arn"],
    }


_CONFIGURATION: Final[Named] = {
    "LaunchConfigurationName": "own",
    "ImageId": "{own_image}",
    "InstanceType": "t3.nano",
}
_OF_INSTANCES: Final = ("SetInstanceProtection", "DetachInstances", "EnterStandby")
_OF_INSTANCE: Final = (
    "CompleteLifecycleAction",
    "RecordLifecycleActionHeartbeat",
    "SetInstanceHealth",
    "TerminateInstanceInAutoScalingGroup",
)
_NEXT_YEAR: Final = datetime(now().year + 1, 1, 1, tzinfo=UTC)
_SCHEDULED: Final[Named] = {"ScheduledActionName": "own", "StartTime": _NEXT_YEAR, "MinSize": 1}
_POLICY: Final = {"AdjustmentType": "PercentChangeInCapacity", "ScalingAdjustment": 1}
_TOLD: Final = "autoscaling:EC2_INSTANCE_LAUNCH"
_STEP: Final = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
_METRIC: Final = {"Namespace": "N", "MetricName": "m"}
_QUERY: Final[Named] = {"Id": "a", "MetricStat": {"Metric": _METRIC, "Stat": "Sum"}}
_TAG: Final = {"ResourceId": "own", "ResourceType": "auto-scaling-group", "Key": "a"}

BASES: Final[dict[str, Named]] = {
    "AttachInstances": {"AutoScalingGroupName": "own", "InstanceIds": ["{free_instance}"]},
    "BatchDeleteScheduledAction": {"ScheduledActionNames": ["own"]},
    "BatchPutScheduledUpdateGroupAction": {"ScheduledUpdateGroupActions": [_SCHEDULED]},
    "CompleteLifecycleAction": {"LifecycleActionToken": TOKEN, "LifecycleActionResult": "CONTINUE"},
    "CreateAutoScalingGroup": _GROUP | {"AutoScalingGroupName": "new"},
    "CreateOrUpdateTags": {"Tags": [_TAG]},
    "autoscaling:DeletePolicy": {"AutoScalingGroupName": "own", "PolicyName": "own"},
    "DeleteScheduledAction": {"ScheduledActionName": "own"},
    "CreateLaunchConfiguration": _CONFIGURATION | {"LaunchConfigurationName": "new"},
    "DeleteAutoScalingGroup": {"AutoScalingGroupName": "empty"},
    "DeleteWarmPool": {"AutoScalingGroupName": "warm"},
    "DescribeWarmPool": {"AutoScalingGroupName": "warm"},
    "PutWarmPool": {"AutoScalingGroupName": "warm"},
    "autoscaling:DeleteTags": {"Tags": [_TAG]},
    "DetachInstances": {"InstanceIds": ["{scaling_instance}"], "ShouldDecrementDesiredCapacity": True},
    "EnterStandby": {"InstanceIds": ["{scaling_instance}"], "ShouldDecrementDesiredCapacity": True},
    "ExitStandby": {"InstanceIds": ["{standby_instance}"]},
    "EnableMetricsCollection": {"Granularity": "1Minute"},
    "ExecutePolicy": {"AutoScalingGroupName": "own", "PolicyName": "own"},
    "PutLifecycleHook": _HOOK | {"NotificationTargetARN": "{topic}", "RoleARN": "{teller}"},
    "DeleteNotificationConfiguration": {"TopicARN": "{topic}"},
    "PutNotificationConfiguration": {"TopicARN": "{topic}", "NotificationTypes": [_TOLD]},
    "PutScalingPolicy": _POLICY,
    "PutScheduledUpdateGroupAction": _SCHEDULED,
    "RecordLifecycleActionHeartbeat": {"LifecycleActionToken": TOKEN},
    "SetDesiredCapacity": {"DesiredCapacity": 1},
    "StartInstanceRefresh": {"AutoScalingGroupName": "empty"},
    "SetInstanceHealth": {"InstanceId": "{scaling_instance}", "HealthStatus": "Healthy"},
    "TerminateInstanceInAutoScalingGroup": {
        "InstanceId": "{scaling_instance}",
        "ShouldDecrementDesiredCapacity": True,
    },
}

VALUES: Final[Named] = {
    "MaxInstanceLifetime": 86_400,
    "MinHealthyPercentage": 100,
    "MaxHealthyPercentage": 150,
    "LaunchConfigurationName": "own",
    "LaunchConfigurationNames": ["own"],
    "AutoScalingGroupName": "own",
    "AutoScalingGroupNames": ["own"],
    "ActivityIds": ["{activity}"],
    "LifecycleHookName": "own",
    "LifecycleHookNames": ["own"],
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "LifecycleActionToken": TOKEN,
    "HeartbeatTimeout": 60,
    "DefaultResult": "CONTINUE",
    "ScalingProcesses": ["Launch"],
    "ScheduledActionName": "own",
    "ScheduledActionNames": ["own"],
    "NotificationTypes": [_TOLD],
    "TopicARN": "{topic}",
    "NotificationTargetARN": "{topic}",
    "RoleARN": "{teller}",
    "Recurrence": "0 0 * * *",
    "PolicyTypes": ["SimpleScaling"],
    "AdjustmentType": "ChangeInCapacity",
    "TerminationPolicies": ["OldestInstance"],
    "HealthCheckType": "EC2",
    "VPCZoneIdentifier": "{subnet}",
    "InstanceRefreshIds": ["{instance_refresh}"],
    "ScaleInProtectedInstances": "Ignore",
    "StandbyInstances": "Ignore",
    "CheckpointPercentages": [100],
}

VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    **{(operation, "InstanceIds"): ["{scaling_instance}"] for operation in _OF_INSTANCES},
    **{(operation, "InstanceId"): "{scaling_instance}" for operation in _OF_INSTANCE},
    ("AttachInstances", "InstanceIds"): ["{free_instance}"],
    ("ExitStandby", "InstanceIds"): ["{standby_instance}"],
    ("DescribeScalingActivities", "Filters.Name"): "Status",
    **{(operation, "PolicyName"): "own" for operation in ("PutScalingPolicy", "ExecutePolicy")},
    ("DescribePolicies", "PolicyNames"): ["own"],
    **{(f"{verb}MetricsCollection", "Metrics"): ["GroupMinSize"] for verb in ("Enable", "Disable")},
    ("EnableMetricsCollection", "Granularity"): "1Minute",
    ("PutScheduledUpdateGroupAction", "Time"): _NEXT_YEAR,
    ("PutScheduledUpdateGroupAction", "StartTime"): _NEXT_YEAR,
    ("PutScheduledUpdateGroupAction", "TimeZone"): "Etc/UTC",
    ("DescribeAutoScalingGroups", "Filters.Name"): "tag-key",
    ("DescribeTags", "Filters.Name"): "key",
    ("CreateAutoScalingGroup", "LaunchTemplate.Version"): "1",
    ("StartInstanceRefresh", "AutoScalingGroupName"): "empty",
    **{(f"{verb}WarmPool", "AutoScalingGroupName"): "warm" for verb in ("Delete", "Describe", "Put")},
    ("PutWarmPool", "PoolState"): "Running",
    ("StartInstanceRefresh", "Strategy"): "Rolling",
    ("UpdateAutoScalingGroup", "LaunchTemplate.Version"): "1",
    ("UpdateAutoScalingGroup", "AvailabilityZones"): ["us-east-1a"],
    ("CreateAutoScalingGroup", "AvailabilityZones"): ["us-east-1a"],
}

_WAYS: Final = ("MixedInstancesPolicy", "LaunchConfigurationName")
_MIXED: Final = {"LaunchTemplate": {"LaunchTemplateSpecification": _TEMPLATE}}
COMPANIONS: Final[dict[str, Named]] = {
    "CreateAutoScalingGroup MixedInstancesPolicy": _MIXED,
    "UpdateAutoScalingGroup MixedInstancesPolicy": _MIXED,
    "CreateAutoScalingGroup MixedInstancesPolicy.LaunchTemplate.Overrides.LaunchTemplateSpecification": _TEMPLATE,
    "UpdateAutoScalingGroup MixedInstancesPolicy.LaunchTemplate.Overrides.LaunchTemplateSpecification": _TEMPLATE,
    "StartInstanceRefresh DesiredConfiguration.LaunchTemplate": _TEMPLATE,
    "StartInstanceRefresh DesiredConfiguration.MixedInstancesPolicy": _MIXED,
    "StartInstanceRefresh DesiredConfiguration.MixedInstancesPolicy.LaunchTemplate.Overrides"
    ".LaunchTemplateSpecification": _TEMPLATE,
    "CreateLaunchConfiguration BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    "CreateAutoScalingGroup LifecycleHookSpecificationList": _HOOK
    | {"NotificationTargetARN": "{topic}", "RoleARN": "{teller}"},
    "CreateOrUpdateTags Tags": _TAG,
    "autoscaling:DeleteTags Tags": _TAG,
    "InstanceMaintenancePolicy": {"MinHealthyPercentage": 90, "MaxHealthyPercentage": 110},
    "UpdateAutoScalingGroup LaunchTemplate": _TEMPLATE,
    "BatchPutScheduledUpdateGroupAction ScheduledUpdateGroupActions": _SCHEDULED,
    "PutScalingPolicy StepAdjustments": _STEP,
    "PutScalingPolicy TargetTrackingConfiguration": {"TargetValue": 1.0},
    "PutScalingPolicy TargetTrackingConfiguration.CustomizedMetricSpecification": {**_METRIC, "Statistic": "Sum"},
    "PutScalingPolicy TargetTrackingConfiguration.CustomizedMetricSpecification.Dimensions": {
        "Name": "a",
        "Value": "b",
    },
    "PutScalingPolicy TargetTrackingConfiguration.CustomizedMetricSpecification.Metrics": _QUERY,
    "DescribeAutoScalingGroups Filters": {"Name": "tag-key"},
    "DescribeScalingActivities Filters": {"Name": "Status"},
    "autoscaling:DescribeTags Filters": {"Name": "key"},
}

_OTHERS: Final = load_service("autoscaling").operation("CreateAutoScalingGroup").input_shape.members
# Members of base requests that go where another member comes.
INSTEAD: Final[dict[str, tuple[tuple[str, ...], dict[str, Named]]]] = {
    "PutScalingPolicy": (
        tuple(_POLICY),
        dict.fromkeys(("PolicyType", "MinAdjustmentMagnitude", "MinAdjustmentStep", "Cooldown", "Enabled"), _POLICY)
        | {"StepAdjustments": {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity"}}
        | {"TargetTrackingConfiguration": {"PolicyType": "TargetTrackingScaling"}},
    ),
    "CreateAutoScalingGroup": (
        ("LaunchTemplate",),
        {name: {"LaunchTemplate": _TEMPLATE} for name in _OTHERS if name not in _WAYS},
    ),
}

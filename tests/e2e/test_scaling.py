"""A group of real guests follows its load: a guest burns its processor, and another one comes."""

from typing import Any

import pytest

from tests.support.real_cloud import ONE_PROCESSOR, User
from tests.support.waiting import wait_for


@pytest.mark.timeout(600)  # two guests boot by emulation, one of them beside one that burns a processor
def test_a_busy_group_grows_by_its_processors(user: User) -> None:
    """Measured each ten seconds, one guest at all of its processor is too many for a target of forty percent."""
    data: Any = {"ImageId": user.image_id, "InstanceType": ONE_PROCESSOR, "KeyName": user.key_name}
    user.ec2.create_launch_template(LaunchTemplateName="busy", LaunchTemplateData=data)
    scaling, metrics = user.account.client("autoscaling"), user.account.client("cloudwatch")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="busy",
        LaunchTemplate={"LaunchTemplateName": "busy"},
        MinSize=1,
        MaxSize=2,
        AvailabilityZones=["us-east-1a"],
        DefaultInstanceWarmup=0,
    )

    def members() -> list[str]:
        [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["busy"])["AutoScalingGroups"]
        return [one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"]

    [first] = wait_for(members, "the first is in service", 120)
    metric = {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}
    alarms = scaling.put_scaling_policy(
        AutoScalingGroupName="busy",
        PolicyName="follow",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": 40.0},
    )["Alarms"]
    user.login(first).run("(while :; do :; done) >/dev/null 2>&1 </dev/null & true")

    def explain() -> str:
        shown = metrics.describe_alarms(AlarmNames=[one["AlarmName"] for one in alarms])["MetricAlarms"]
        return "; ".join(f"{one['AlarmName']}: {one['StateReason']}" for one in shown)

    wait_for(lambda: len(members()) == 2, "the group has grown", 240, explain=explain)
    told = [one["Cause"] for one in scaling.describe_scaling_activities(AutoScalingGroupName="busy")["Activities"]]
    assert "triggered policy follow changing the desired capacity from 1 to 2." in told[0]
    scaling.delete_auto_scaling_group(AutoScalingGroupName="busy", ForceDelete=True)
    assert not metrics.describe_alarms(AlarmNamePrefix="TargetTracking-busy")["MetricAlarms"]

    def is_gone() -> bool:
        return not scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["busy"])["AutoScalingGroups"]

    wait_for(is_gone, "the group and its guests are gone", 120)

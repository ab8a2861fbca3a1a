"""A group over the real store of metrics, through the aws command: it grows soon after the data that ask for it."""

import json
from datetime import timedelta

from stead_controller.clock import now
from tests.support.waiting import wait_for

GROUP = "follows"


def test_a_group_grows_by_a_metric_of_ones_own(account, image_id):
    def scaling(operation, *given):
        return account.aws("autoscaling", operation, "--auto-scaling-group-name", GROUP, *given)

    account.ec2.create_launch_template(
        LaunchTemplateName="own", LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro"}
    )
    zone = account.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    scaling("create-auto-scaling-group", "--launch-template", "LaunchTemplateName=own", "--min-size", "1",
            "--max-size", "3", "--availability-zones", zone, "--default-instance-warmup", "0")  # fmt: skip
    try:

        def in_service():
            [group] = account.aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"]
            return [one for one in group["Instances"] if one["LifecycleState"] == "InService"]

        wait_for(lambda: len(in_service()) == 1, "the first is in service", 60)
        tracked = {
            "CustomizedMetricSpecification": {"Namespace": "Own", "MetricName": "backlog", "Statistic": "Average"},
            "TargetValue": 10,
        }
        made = scaling("put-scaling-policy", "--policy-name", "follow", "--policy-type", "TargetTrackingScaling",
                       "--target-tracking-configuration", json.dumps(tracked))  # fmt: skip
        assert len(made["Alarms"]) == 2
        # Five minutes of data: the last three whole ones are among them, whenever the minute changes.
        data = [
            {"MetricName": "backlog", "Value": 25, "Timestamp": (now() - timedelta(seconds=60 * n)).isoformat()}
            for n in range(5)
        ]
        account.aws("cloudwatch", "put-metric-data", "--namespace", "Own", "--metric-data", json.dumps(data))

        def explain():
            return json.dumps([account.aws("cloudwatch", "describe-alarms"), scaling("describe-scaling-activities")])

        wait_for(lambda: len(in_service()) == 3, "the group has grown to three", 60, explain=explain)
        [policy] = scaling("describe-policies")["ScalingPolicies"]
        assert policy["PolicyARN"] == made["PolicyARN"]
        told = scaling("describe-scaling-activities")["Activities"][0]["Cause"]
        assert "triggered policy follow changing the desired capacity from 1 to 3." in told
        account.aws("autoscaling", "delete-policy", "--policy-name", made["PolicyARN"])
        assert account.aws("cloudwatch", "describe-alarms")["MetricAlarms"] == []
    finally:
        scaling("delete-auto-scaling-group", "--force-delete")

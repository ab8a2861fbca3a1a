"""A group through the aws command on hosts that are simulated: the controller's own loop does what it has to."""

import json

from tests.support.waiting import wait_for


def test_a_group_grows_heals_and_ends_through_the_aws_command(account, image_id):
    data = json.dumps({"ImageId": image_id, "InstanceType": "t3.micro"})
    account.aws("ec2", "create-launch-template", "--launch-template-name", "web", "--launch-template-data", data)
    zone = account.aws("ec2", "describe-availability-zones")["AvailabilityZones"][0]["ZoneName"]
    named = ("--auto-scaling-group-name", "web")

    def aws(command, *arguments):
        return account.aws("autoscaling", command, *arguments)

    def done(command, *arguments):
        result = account.aws_result("autoscaling", command, *arguments)
        assert result.returncode == 0, result.stderr

    done(
        "create-auto-scaling-group", *named, "--launch-template", "LaunchTemplateName=web", "--min-size", "0",
        "--max-size", "3", "--desired-capacity", "2", "--availability-zones", zone,
    )  # fmt: skip

    def in_service(count):
        """The instances in service, when there are so many and none besides."""
        shown = aws("describe-auto-scaling-groups", "--auto-scaling-group-names", "web", "--page-size", "1")
        [group] = shown["AutoScalingGroups"]
        found = [one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"]
        return found if len(found) == count == len(group["Instances"]) else None

    def explain():
        return json.dumps(aws("describe-scaling-activities", *named, "--max-items", "20"))

    first, _ = wait_for(lambda: in_service(2), "two are in service", 60, explain=explain)
    account.ec2.terminate_instances(InstanceIds=[first])
    found = wait_for(
        lambda: (them := in_service(2)) and first not in them and them, "another one is there", 60, explain=explain
    )
    shown = aws("describe-auto-scaling-instances", "--instance-ids", *found, "--page-size", "1")
    assert {one["AutoScalingGroupName"] for one in shown["AutoScalingInstances"]} == {"web"}
    done("set-desired-capacity", *named, "--desired-capacity", "0")
    wait_for(lambda: in_service(0) == [], "none is there", 60, explain=explain)
    told = aws("describe-scaling-activities", *named, "--page-size", "2")["Activities"]
    assert {one["StatusCode"] for one in told} == {"Successful"}
    assert len(told) == 6
    done("delete-auto-scaling-group", *named)
    assert aws("describe-auto-scaling-groups")["AutoScalingGroups"] == []

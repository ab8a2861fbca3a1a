"""A group through the aws command on hosts that are simulated: the controller's own loop does what it has to."""

import json

from tests.api.identity import document, trust
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


def test_a_warm_pool_fills_serves_and_ends_through_the_aws_command(account, image_id):
    data = json.dumps({"ImageId": image_id, "InstanceType": "t3.micro"})
    account.aws("ec2", "create-launch-template", "--launch-template-name", "pool", "--launch-template-data", data)
    account.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="pool",
        LaunchTemplate={"LaunchTemplateName": "pool"},
        MinSize=0,
        MaxSize=2,
        AvailabilityZones=[account.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]],
    )
    named = ("--auto-scaling-group-name", "pool")

    def done(command, *arguments):
        result = account.aws_result("autoscaling", command, *named, *arguments)
        assert result.returncode == 0, result.stderr

    def warm():
        shown = account.aws("autoscaling", "describe-warm-pool", *named)
        return {one["InstanceId"]: one["LifecycleState"] for one in shown["Instances"]}

    def serving():
        [group] = account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["pool"])[
            "AutoScalingGroups"
        ]
        return [one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"]

    done(
        "put-warm-pool", "--pool-state", "Stopped", "--min-size", "1", "--max-group-prepared-capacity", "1",
        "--instance-reuse-policy", "ReuseOnScaleIn=true",
    )  # fmt: skip
    ready = wait_for(
        lambda: (them := warm()) and set(them.values()) == {"Warmed:Stopped"} and [*them], "it is ready", 60
    )
    done("set-desired-capacity", "--desired-capacity", "1")
    wait_for(lambda: serving() == ready, "it serves", 60)
    done("delete-warm-pool", "--force-delete")
    wait_for(
        lambda: not account.aws("autoscaling", "describe-warm-pool", *named).get("WarmPoolConfiguration"), "it ends", 60
    )
    done("delete-auto-scaling-group", "--force-delete")


def test_a_hook_that_tells_a_topic_is_set_through_the_aws_command(account, image_id):
    data = json.dumps({"ImageId": image_id, "InstanceType": "t3.micro"})
    account.aws("ec2", "create-launch-template", "--launch-template-name", "told", "--launch-template-data", data)
    named, scaling = ("--auto-scaling-group-name", "told"), account.client("autoscaling")
    zone = account.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="told",
        LaunchTemplate={"LaunchTemplateName": "told"},
        MinSize=0,
        MaxSize=1,
        AvailabilityZones=[zone],
    )
    topic = account.aws("sns", "create-topic", "--name", "told")["TopicArn"]
    trusted = trust({"Service": "autoscaling.amazonaws.com"})
    made = account.aws("iam", "create-role", "--role-name", "told", "--assume-role-policy-document", trusted)
    hook = ("--lifecycle-hook-name", "up", "--lifecycle-transition", "autoscaling:EC2_INSTANCE_LAUNCHING", *named)
    told = ("--notification-target-arn", topic, "--role-arn", made["Role"]["Arn"])
    refused = account.aws_result("autoscaling", "put-lifecycle-hook", *hook, *told)
    assert refused.returncode != 0
    assert "Unable to publish test message to notification target" in refused.stderr, "its role may do nothing yet"
    policy = ("--role-name", "told", "--policy-name", "told", "--policy-document")
    account.aws("iam", "put-role-policy", *policy, document("sns:Publish", resource=topic))
    account.aws("autoscaling", "put-lifecycle-hook", *hook, *told)
    [shown] = account.aws("autoscaling", "describe-lifecycle-hooks", *named)["LifecycleHooks"]
    assert (shown["NotificationTargetARN"], shown["RoleARN"]) == (topic, made["Role"]["Arn"])
    scaling.delete_auto_scaling_group(AutoScalingGroupName="told")

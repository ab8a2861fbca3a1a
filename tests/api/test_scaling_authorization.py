"""Who may make and change groups: by the group's ARN, its tags and sizes, and with the rights for what it launches."""

import json

import pytest

from tests.api.identity import refused, who_may
from tests.support.scaling import NAME, Groups

TAGS = [{"Key": "team", "Value": "web", "PropagateAtLaunch": False}]


@pytest.fixture
def groups(api):
    return Groups(api)


@pytest.fixture
def user(api, groups):
    """A user's client, and what sets its only policy's statements."""
    iam = api.client(api.world.one, "iam")
    client = who_may(api, iam, "scaler", "autoscaling:DescribeTags")("autoscaling")

    def may(*statements):
        made = [{"Effect": "Allow", "Resource": "*", **one} for one in statements]
        document = json.dumps({"Version": "2012-10-17", "Statement": made})
        iam.put_user_policy(UserName="scaler", PolicyName="assume", PolicyDocument=document)

    return client, may


def test_who_makes_a_group_needs_the_rights_for_what_it_launches(api, groups, user):
    client, may = user
    groups.client = client
    may({"Action": "autoscaling:CreateAutoScalingGroup"})
    assert "ec2:RunInstances" in refused("AccessDenied", groups.create)
    tiny = {"StringEquals": {"ec2:InstanceType": "t3.micro"}}
    may({"Action": "autoscaling:*"}, {"Action": "ec2:RunInstances", "Condition": tiny})
    refused("AccessDenied", groups.create)
    may({"Action": "autoscaling:*"}, {"Action": "ec2:RunInstances"})
    groups.create()
    may({"Action": "autoscaling:*"})
    update = {"AutoScalingGroupName": NAME, "LaunchTemplate": {"LaunchTemplateName": "web"}}
    refused("AccessDenied", client.update_auto_scaling_group, **update)
    client.update_auto_scaling_group(AutoScalingGroupName=NAME, MaxSize=3)
    policy = {"LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateName": "web"}}}
    mixed = {"AutoScalingGroupName": NAME, "MixedInstancesPolicy": policy}
    refused("AccessDenied", client.update_auto_scaling_group, **mixed)
    client.create_launch_configuration(
        LaunchConfigurationName="lc", ImageId=api.world.image_id, InstanceType="stead.tiny"
    )
    configured = {"AutoScalingGroupName": NAME, "LaunchConfigurationName": "lc"}
    refused("AccessDenied", client.update_auto_scaling_group, **configured)


def test_a_group_that_passes_a_role_needs_the_right_to_pass_it(api, groups, user):
    client, may = user
    iam = api.client(api.world.one, "iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="powerful", AssumeRolePolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName="powerful")
    iam.add_role_to_instance_profile(InstanceProfileName="powerful", RoleName="powerful")
    data = {"ImageId": api.world.image_id, "IamInstanceProfile": {"Name": "powerful"}}
    api.ec2.create_launch_template(LaunchTemplateName="powerful", LaunchTemplateData=data)
    groups.client = client
    asked = {"LaunchTemplate": {"LaunchTemplateName": "powerful"}}
    may({"Action": ["autoscaling:*", "ec2:RunInstances"]})
    assert "iam:PassRole" in refused("AccessDenied", lambda: groups.create(**asked))
    may({"Action": ["autoscaling:*", "ec2:RunInstances", "iam:PassRole"]})
    groups.create(**asked)


def test_a_policy_names_groups_by_arn_tag_and_size(groups, user):
    client, may = user
    groups.create(Tags=TAGS, DesiredCapacity=1)
    groups.create(AutoScalingGroupName="other")
    [one] = groups.up()
    by_name = "arn:aws:autoscaling:us-east-1:111111111111:autoScalingGroup:*:autoScalingGroupName/web"
    set_desired = client.set_desired_capacity
    may({"Action": "autoscaling:*", "Resource": by_name})
    set_desired(AutoScalingGroupName=NAME, DesiredCapacity=2)
    refused("AccessDenied", set_desired, AutoScalingGroupName="other", DesiredCapacity=0)
    client.set_instance_health(InstanceId=one, HealthStatus="Healthy")
    may({"Action": "autoscaling:*", "Resource": by_name.replace("/web", "/other")})
    refused("AccessDenied", client.set_instance_health, InstanceId=one, HealthStatus="Healthy")
    ended = {"InstanceId": one, "ShouldDecrementDesiredCapacity": True}
    refused("AccessDenied", client.terminate_instance_in_auto_scaling_group, **ended)
    tag = {"ResourceId": NAME, "ResourceType": "auto-scaling-group", "Key": "a", "Value": "b"}
    refused("AccessDenied", client.create_or_update_tags, Tags=[tag])

    for key in ("aws:ResourceTag/team", "autoscaling:ResourceTag/team"):
        may({"Action": "autoscaling:*", "Condition": {"StringEquals": {key: "web"}}})
        set_desired(AutoScalingGroupName=NAME, DesiredCapacity=1)
        refused("AccessDenied", set_desired, AutoScalingGroupName="other", DesiredCapacity=0)

    may({"Action": "autoscaling:*", "Condition": {"NumericLessThanEquals": {"autoscaling:MaxSize": "3"}}})
    update = client.update_auto_scaling_group
    update(AutoScalingGroupName="other", MaxSize=3)
    refused("AccessDenied", update, AutoScalingGroupName="other", MaxSize=4)
    may({"Action": "autoscaling:*", "Condition": {"StringEquals": {"aws:RequestTag/team": "web"}}})
    refused("AccessDenied", client.create_or_update_tags, Tags=[tag])
    client.create_or_update_tags(Tags=[{**tag, "Key": "team", "Value": "web"}])


def test_a_policy_names_launch_configurations_by_arn(api, user):
    client, may = user
    named = "arn:aws:autoscaling:us-east-1:111111111111:launchConfiguration:*:launchConfigurationName/own"
    may({"Action": "autoscaling:*", "Resource": named})
    asked = {"ImageId": api.world.image_id, "InstanceType": "stead.tiny"}
    client.create_launch_configuration(LaunchConfigurationName="own", **asked)
    refused("AccessDenied", client.create_launch_configuration, LaunchConfigurationName="other", **asked)
    client.delete_launch_configuration(LaunchConfigurationName="own")

"""Launch configurations: how they are made, and what groups launch by them."""

import pytest

from tests.api.test_spot_instances import described
from tests.support.scaling import NAME, Groups

GROUP = {"LaunchTemplate": None, "LaunchConfigurationName": "small"}


@pytest.fixture
def groups(api):
    return Groups(api)


def make(api, groups, **changes):
    asked = {"LaunchConfigurationName": "small", "ImageId": api.world.image_id, "InstanceType": "stead.tiny"}
    groups.client.create_launch_configuration(**asked | changes)


def test_a_group_launches_by_a_configuration(api, groups):
    make(
        api,
        groups,
        UserData="eA==",
        SecurityGroups=[api.world.one.group_id],
        AssociatePublicIpAddress=True,
        InstanceMonitoring={"Enabled": False},
        MetadataOptions={"HttpTokens": "required"},
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3"}},
            {"DeviceName": "/dev/sdg", "NoDevice": True},
        ],
    )
    groups.create(**GROUP, DesiredCapacity=1)
    assert groups.shown()["LaunchConfigurationName"] == "small"
    assert "LaunchTemplate" not in groups.shown()
    [one] = groups.up()
    [member] = groups.shown()["Instances"]
    assert member["LaunchConfigurationName"] == "small"
    assert "LaunchTemplate" not in member
    instance = described(api, one)
    assert instance["InstanceType"] == "stead.tiny"
    assert instance["PublicIpAddress"]
    assert instance["Monitoring"]["State"] == "disabled"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [api.world.one.group_id]
    assert [one["DeviceName"] for one in instance["BlockDeviceMappings"]] == ["/dev/sda1", "/dev/sdf"]

    delete = groups.client.delete_launch_configuration
    api.refused("ResourceInUse", delete, LaunchConfigurationName="small")
    groups.call(groups.client.update_auto_scaling_group, LaunchTemplate={"LaunchTemplateName": "web"})
    assert "LaunchConfigurationName" not in groups.shown()
    delete(LaunchConfigurationName="small")
    assert "does not exist" in api.refused("ValidationError", delete, LaunchConfigurationName="small")


def test_a_configuration_is_shown_with_its_defaults(api, groups):
    make(api, groups)
    make(api, groups, LaunchConfigurationName="other", IamInstanceProfile="reader", EbsOptimized=True)
    pages = groups.client.get_paginator("describe_launch_configurations").paginate(PaginationConfig={"PageSize": 1})
    other, small = [one for page in pages for one in page["LaunchConfigurations"]]
    assert (other["IamInstanceProfile"], other["EbsOptimized"]) == ("reader", True)
    del small["CreatedTime"]
    arn = small.pop("LaunchConfigurationARN")
    assert arn.startswith("arn:aws:autoscaling:us-east-1:111111111111:launchConfiguration:")
    assert arn.endswith(":launchConfigurationName/small")
    assert small == {
        "LaunchConfigurationName": "small",
        "ImageId": api.world.image_id,
        "InstanceType": "stead.tiny",
        "KeyName": "",
        "SecurityGroups": [],
        "ClassicLinkVPCSecurityGroups": [],
        "UserData": "",
        "KernelId": "",
        "RamdiskId": "",
        "BlockDeviceMappings": [],
        "InstanceMonitoring": {"Enabled": True},
        "EbsOptimized": False,
    }
    theirs = api.client(api.world.other, "autoscaling")
    assert theirs.describe_launch_configurations()["LaunchConfigurations"] == []


def test_a_configuration_that_cannot_launch_is_refused(api, groups):
    create = groups.client.create_launch_configuration
    good = {"LaunchConfigurationName": "a", "ImageId": api.world.image_id, "InstanceType": "stead.tiny"}
    api.refused("UnsupportedOperation", create, **good, SpotPrice="0.01")
    api.refused("ValidationError", create, **good, MetadataOptions={"HttpTokens": "x"})
    api.refused("ValidationError", create, LaunchConfigurationName="a", InstanceType="stead.tiny")
    make(api, groups)
    assert "already exists" in api.refused("AlreadyExists", create, **{**good, "LaunchConfigurationName": "small"})
    absent = {**GROUP, "LaunchConfigurationName": "absent"}
    assert "absent does not exist" in api.refused("ValidationError", groups.create, **absent)
    both = {"LaunchConfigurationName": "small"}
    api.refused("ValidationError", groups.create, **both)
    make(api, groups, LaunchConfigurationName="image", ImageId="ami-00000000000000000")
    assert "ami-0" in api.refused("ValidationError", groups.create, **{**GROUP, "LaunchConfigurationName": "image"})
    assert groups.client.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"] == []

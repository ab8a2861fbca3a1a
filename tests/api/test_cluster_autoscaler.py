"""cluster-autoscaler's calls, with the parameters and in the order of its AWS provider (`aws_wrapper.go` and its callers).

See https://github.com/kubernetes/autoscaler/tree/master/cluster-autoscaler/cloudprovider/aws. It is not run here: it
needs a Kubernetes. What it reads of the answers is read here.
"""

import pytest

from tests.support.scaling import NAME, Groups

ENABLED, CLUSTER = "k8s.io/cluster-autoscaler/enabled", "k8s.io/cluster-autoscaler/mine"
TAGS = {ENABLED: "", CLUSTER: "owned"}


class Autoscaler:
    """What it asks, as its functions do."""

    def __init__(self, api):
        self.ec2 = api.ec2
        self.groups = api.client(api.world.one, "autoscaling")

    def generate_instance_types(self):
        """All types with what a node of them has, at its start."""
        found = {}
        for page in self.ec2.get_paginator("describe_instance_types").paginate():
            for one in page["InstanceTypes"]:
                memory, cpus = one["MemoryInfo"]["SizeInMiB"], one["VCpuInfo"]["DefaultVCpus"]
                found[one["InstanceType"]] = (cpus, memory, one["ProcessorInfo"]["SupportedArchitectures"])
        return found

    def discover(self, tags):
        """The groups that have all the tags; an empty value means any."""
        filters = [
            {"Name": f"tag:{key}", "Values": [value]} if value else {"Name": "tag-key", "Values": [key]}
            for key, value in tags.items()
        ]
        pages = self.groups.get_paginator("describe_auto_scaling_groups").paginate(Filters=filters, MaxRecords=100)
        return [one for page in pages for one in page["AutoScalingGroups"]]

    def refresh(self, names):
        """The groups of these names."""
        pages = self.groups.get_paginator("describe_auto_scaling_groups").paginate(
            AutoScalingGroupNames=names, MaxRecords=100
        )
        return [one for page in pages for one in page["AutoScalingGroups"]]

    def type_of_configuration(self, name):
        """The type that a launch configuration has."""
        asked = {"LaunchConfigurationNames": [name], "MaxRecords": 50}
        [found] = self.groups.describe_launch_configurations(**asked)["LaunchConfigurations"]
        return found["InstanceType"]

    def template(self, named):
        """The data of a launch template's version, by its name."""
        asked = {"LaunchTemplateName": named["LaunchTemplateName"], "Versions": [named["Version"]]}
        return self.ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def type_of_requirements(self, image_id, requirements):
        """The first type that fits requirements on an image."""
        images = self.ec2.describe_images(ImageIds=[image_id])["Images"]
        pages = self.ec2.get_paginator("get_instance_types_from_instance_requirements").paginate(
            ArchitectureTypes=[one["Architecture"] for one in images],
            VirtualizationTypes=[one["VirtualizationType"] for one in images],
            InstanceRequirements=requirements,
        )
        return next(one["InstanceType"] for page in pages for one in page["InstanceTypes"])

    def is_backed_off(self, group, since):
        """Whether the latest launches have failed since it asked for more."""
        asked = {"AutoScalingGroupName": group["AutoScalingGroupName"]}
        for one in self.groups.describe_scaling_activities(**asked)["Activities"]:
            if one["StartTime"] < since:
                return False
            if one["StatusCode"] == "Failed":
                return True
        return False


@pytest.fixture
def groups(api):
    return Groups(api)


@pytest.fixture
def scaler(api):
    return Autoscaler(api)


def tagged(**tags):
    return [{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in (TAGS | tags).items()]


def test_it_finds_the_groups_of_its_cluster(groups, scaler):
    node = "k8s.io/cluster-autoscaler/node-template/label/pool"
    groups.create(Tags=tagged(**{node: "web"}), DesiredCapacity=1)
    groups.create(AutoScalingGroupName="other", Tags=tagged(**{CLUSTER: "shared"}))
    groups.create(AutoScalingGroupName="bare")
    [instance_id] = groups.up()
    [found] = scaler.discover(TAGS)
    assert (found["AutoScalingGroupName"], found["MinSize"], found["MaxSize"]) == (NAME, 0, 4)
    assert found["DesiredCapacity"] == 1
    assert found["AvailabilityZones"] == ["us-east-1a"]
    assert {one["Key"]: one["Value"] for one in found["Tags"]}[node] == "web"
    [instance] = found["Instances"]
    assert (instance["InstanceId"], instance["LifecycleState"]) == (instance_id, "InService")
    assert (instance["AvailabilityZone"], instance["HealthStatus"]) == ("us-east-1a", "Healthy")
    assert [one["AutoScalingGroupName"] for one in scaler.discover({ENABLED: ""})] == ["other", NAME]
    assert [one["AutoScalingGroupName"] for one in scaler.refresh([NAME, "absent"])] == [NAME]
    described = scaler.groups.describe_auto_scaling_instances(InstanceIds=[instance_id])["AutoScalingInstances"]
    assert [(one["AutoScalingGroupName"], one["HealthStatus"]) for one in described] == [(NAME, "HEALTHY")]
    filters = [{"Name": "key", "Values": [ENABLED]}]
    tags = scaler.groups.describe_tags(Filters=filters, MaxRecords=100)["Tags"]
    assert sorted(one["ResourceId"] for one in tags) == ["other", NAME]


def test_it_finds_out_what_a_node_of_a_group_has(api, groups, scaler):
    types = scaler.generate_instance_types()
    groups.create()
    [group] = scaler.refresh([NAME])
    assert scaler.template(group["LaunchTemplate"])["InstanceType"] == "stead.tiny"
    assert types["stead.tiny"][2] == ["x86_64"]
    asked = {"ImageId": api.world.image_id, "InstanceType": "t3.nano"}
    scaler.groups.create_launch_configuration(LaunchConfigurationName="old", **asked)
    groups.create(AutoScalingGroupName="old", LaunchTemplate=None, LaunchConfigurationName="old")
    [group] = scaler.refresh(["old"])
    assert scaler.type_of_configuration(group["LaunchConfigurationName"]) == "t3.nano"
    assert types["t3.nano"][:2] == (2, 512)


def test_it_finds_out_what_a_node_of_mixed_groups_has(groups, scaler):
    template = {"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"}}
    overrides = [{"InstanceType": "t3.micro"}, {"InstanceType": "t3.small"}]
    mixed = {"LaunchTemplate": {**template, "Overrides": overrides}}
    groups.create(LaunchTemplate=None, MixedInstancesPolicy=mixed)
    needed = {"VCpuCount": {"Min": 1, "Max": 2}, "MemoryMiB": {"Min": 1024, "Max": 2048}}
    fitting = {"LaunchTemplate": {**template, "Overrides": [{"InstanceRequirements": needed}]}}
    groups.create(AutoScalingGroupName="fitting", LaunchTemplate=None, MixedInstancesPolicy=fitting)
    fitting, mixed = scaler.refresh([NAME, "fitting"])
    shown = mixed["MixedInstancesPolicy"]["LaunchTemplate"]
    assert [one["InstanceType"] for one in shown["Overrides"]] == ["t3.micro", "t3.small"]
    shown = fitting["MixedInstancesPolicy"]["LaunchTemplate"]
    image_id = scaler.template(shown["LaunchTemplateSpecification"])["ImageId"]
    requirements = shown["Overrides"][0]["InstanceRequirements"]
    found = scaler.type_of_requirements(image_id, requirements)
    cpus, memory, _ = scaler.generate_instance_types()[found]
    assert cpus <= 2
    assert 1024 <= memory <= 2048


def test_it_grows_and_shrinks_a_group(groups, scaler):
    groups.create(Tags=tagged())
    asked = {"AutoScalingGroupName": NAME, "HonorCooldown": False}
    since = groups.now
    scaler.groups.set_desired_capacity(**asked, DesiredCapacity=3)
    first, second, third = groups.up()
    [group] = scaler.refresh([NAME])
    assert not scaler.is_backed_off(group, since)
    ended = scaler.groups.terminate_instance_in_auto_scaling_group(
        InstanceId=second, ShouldDecrementDesiredCapacity=True
    )
    assert second in ended["Activity"]["Description"]
    [group] = scaler.refresh([NAME])
    assert group["DesiredCapacity"] == 2
    assert groups.states() == {first: "InService", second: "Terminating", third: "InService"}
    groups.become("terminated", second)
    groups.run()
    assert sorted(groups.states()) == sorted([first, third])
    # What was asked for and has not come is a placeholder, which it takes back.
    scaler.groups.set_desired_capacity(**asked, DesiredCapacity=3)
    scaler.groups.set_desired_capacity(**asked, DesiredCapacity=2)
    groups.run()
    assert sorted(groups.states()) == sorted([first, third])


def test_it_sees_that_launches_fail(groups, scaler):
    groups.create(Tags=tagged())
    since = groups.now
    scaler.groups.set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=1, HonorCooldown=False)
    groups.run()
    groups.become("terminated")
    [group] = scaler.refresh([NAME])
    assert scaler.is_backed_off(group, since)

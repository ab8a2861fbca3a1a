"""Fleets and templates that say what types must have, instead of naming them."""

from stead_controller.catalog import instance_types
from tests.api.test_authorization import User, statement
from tests.api.test_fleets import DENIED, REQUIRED, asked, described, failed, launched
from tests.api.test_launch_by_template import make


def price(name):
    """What it takes of a host, a vCPU counted as 4 GiB."""
    kind = instance_types.ALL[name]
    return kind.vcpus * 4 + kind.memory_mib / 1024


def test_types_are_chosen_by_requirements(api):
    """Of those that have what is required, what takes least of a host; whoever is forbidden it gets the next."""
    template = make(api)
    answer = api.ec2.create_fleet(**asked({"InstanceRequirements": REQUIRED}, {"InstanceType": "m5.24xlarge"}))
    assert answer["Errors"] == []
    [group] = answer["Instances"]
    assert group["InstanceType"] == "c7i.xlarge"
    assert group["LaunchTemplateAndOverrides"]["Overrides"] == {
        "InstanceType": "c7i.xlarge",
        "InstanceRequirements": REQUIRED,
    }
    of_template = {"LaunchTemplateId": template, "Version": "1"}
    assert described(api, answer["FleetId"])["LaunchTemplateConfigs"] == [
        {"LaunchTemplateSpecification": of_template, "Overrides": [{"InstanceRequirements": REQUIRED}]},
        {"LaunchTemplateSpecification": of_template, "Overrides": [{"InstanceType": "m5.24xlarge"}]},
    ]
    user = User(api)
    both = statement(["ec2:CreateFleet", "ec2:RunInstances"])
    user.may(both, statement("ec2:RunInstances", effect="Deny", StringEquals={"ec2:InstanceType": "c7i.xlarge"}))
    answer = user.client().create_fleet(**asked({"InstanceRequirements": REQUIRED}))
    assert failed(answer) == {"c7i.xlarge": DENIED}
    assert sum(launched(answer).values()) == 1


def test_of_many_types_the_twenty_cheapest_are_tried(api):
    make(api)
    little = {"VCpuCount": {"Min": 2}, "MemoryMiB": {"Min": 1024}}
    elsewhere = api.world.one.subnet_ids[1]  # where no host is
    answer = api.ec2.create_fleet(**asked({"InstanceRequirements": little, "SubnetId": elsewhere}))
    assert len(answer["Errors"]) == 20
    types = [one["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] for one in answer["Errors"]]
    known = api.ec2.get_instance_types_from_instance_requirements(
        ArchitectureTypes=["x86_64"], VirtualizationTypes=["hvm"], InstanceRequirements=little
    )["InstanceTypes"]
    assert [price(name) for name in types] == sorted(price(one["InstanceType"]) for one in known)[:20]


def test_what_nothing_has_is_a_failure(api):
    make(api)
    lacking = {"VCpuCount": {"Min": 4000}, "MemoryMiB": {"Min": 1}}
    absent = {"InstanceRequirements": REQUIRED, "ImageId": "ami-00000000000000000"}
    answer = api.ec2.create_fleet(**asked({"InstanceRequirements": lacking}, absent))
    assert answer["Instances"] == []
    assert [one["ErrorCode"] for one in answer["Errors"]] == ["InvalidParameterValue", "InvalidAMIID.NotFound"]
    assert answer["Errors"][0]["LaunchTemplateAndOverrides"]["Overrides"] == {"InstanceRequirements": lacking}


def test_a_template_with_requirements_is_for_fleets(api):
    data = {"ImageId": api.world.image_id, "InstanceRequirements": REQUIRED}
    api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    assert launched(api.ec2.create_fleet(**asked())) == {"c7i.xlarge": 1}
    assert launched(api.ec2.create_fleet(**asked({"InstanceType": "t3.nano"}))) == {"t3.nano": 1}
    other = {"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 1}, "AllowedInstanceTypes": ["m5.*"]}
    answer = api.ec2.create_fleet(**asked({"InstanceRequirements": other}))
    assert launched(answer) == {"m5.large": 1}
    call = api.ec2.run_instances
    of_template = {"LaunchTemplate": {"LaunchTemplateName": "web"}, "MinCount": 1, "MaxCount": 1}
    for more in ({}, {"InstanceType": "t3.nano"}):
        message = api.refused("InvalidParameterCombination", call, **of_template, **more)
        assert "InstanceRequirements" in message
    # Another version says in its own way which type there is to be.
    version = api.ec2.create_launch_template_version
    made = version(LaunchTemplateName="web", SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.nano"})
    assert "InstanceRequirements" not in made["LaunchTemplateVersion"]["LaunchTemplateData"]
    made = version(LaunchTemplateName="web", SourceVersion="2", LaunchTemplateData={"InstanceRequirements": other})
    assert made["LaunchTemplateVersion"]["LaunchTemplateData"] == data | {"InstanceRequirements": other}

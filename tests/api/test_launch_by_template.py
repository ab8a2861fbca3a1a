"""RunInstances by a launch template: what is launched, what a request replaces, and who may."""

import base64

import pytest

from tests.api.base_requests import filled
from tests.api.test_authorization import User, refused, statement
from tests.support import rows

ABSENT = "lt-00000000000000000"


def make(api, name="web", **data):
    base = {"ImageId": api.world.image_id, "InstanceType": "t3.nano"}
    made = api.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=base | data)
    assert "Warning" not in made
    return made["LaunchTemplate"]["LaunchTemplateId"]


def launch(client, name="web", **given):
    template = {"LaunchTemplateName": name} if isinstance(name, str) else name
    [instance] = client.run_instances(LaunchTemplate=template, **({"MinCount": 1, "MaxCount": 1} | given))["Instances"]
    return instance


def further_subnet(api):
    """A subnet in the zone that has hosts, which is not the default one."""
    place = {"VpcId": api.world.one.vpc_id, "AvailabilityZone": "us-east-1a"}
    return api.ec2.create_subnet(CidrBlock="172.31.200.0/24", **place)["Subnet"]["SubnetId"]


def attribute(api, instance, name):
    found = api.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute=name)
    return found[name[0].upper() + name[1:]]["Value"]


def tags_of(api, resource):
    found = api.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
    return {one["Key"]: one["Value"] for one in found}


def system_tags(template, version):
    return {"aws:ec2launchtemplate:id": template, "aws:ec2launchtemplate:version": str(version)}


def test_all_that_a_template_says_is_launched(api):
    subnet, group = further_subnet(api), api.world.one.group_id
    api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
    template = make(
        api,
        KeyName="me",
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
        EbsOptimized=True,
        Monitoring={"Enabled": True},
        DisableApiTermination=True,
        DisableApiStop=True,
        InstanceInitiatedShutdownBehavior="terminate",
        MaintenanceOptions={"AutoRecovery": "disabled"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3, "InstanceMetadataTags": "enabled"},
        PrivateDnsNameOptions={"HostnameType": "resource-name"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 9, "VolumeType": "gp2"}}],
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "Description": "first"}],
        TagSpecifications=[
            {"ResourceType": kind, "Tags": [{"Key": "kind", "Value": kind}]}
            for kind in ("instance", "volume", "network-interface")
        ],
    )
    instance = launch(api.ec2)
    assert (instance["ImageId"], instance["InstanceType"]) == (api.world.image_id, "t3.nano")
    assert (instance["KeyName"], instance["SubnetId"], instance["EbsOptimized"]) == ("me", subnet, True)
    assert instance["Monitoring"]["State"] == "pending"
    assert instance["MaintenanceOptions"]["AutoRecovery"] == "disabled"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    assert instance["PrivateDnsNameOptions"]["HostnameType"] == "resource-name"
    assert base64.b64decode(attribute(api, instance, "userData")) == b"#!/bin/sh\n"
    assert attribute(api, instance, "instanceInitiatedShutdownBehavior") == "terminate"
    assert attribute(api, instance, "disableApiTermination") is True
    assert attribute(api, instance, "disableApiStop") is True
    [interface] = instance["NetworkInterfaces"]
    assert (interface["Description"], interface["Groups"][0]["GroupId"]) == ("first", group)
    [volume] = api.ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], volume["VolumeType"]) == (9, "gp2")
    assert tags_of(api, instance["InstanceId"]) == {"kind": "instance"} | system_tags(template, 1)
    assert tags_of(api, volume["VolumeId"]) == {"kind": "volume"}
    assert tags_of(api, interface["NetworkInterfaceId"]) == {"kind": "network-interface"}


def test_which_version(api):
    template = make(api)
    for kind in ("t3.micro", "t3.small"):
        api.ec2.create_launch_template_version(
            LaunchTemplateName="web", SourceVersion="1", LaunchTemplateData={"InstanceType": kind}
        )
    api.ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")
    for version, kind, number in (
        ({}, "t3.micro", 2),
        ({"Version": "$Default"}, "t3.micro", 2),
        ({"Version": "$Latest"}, "t3.small", 3),
        ({"Version": "1"}, "t3.nano", 1),
    ):
        instance = launch(api.ec2, {"LaunchTemplateId": template} | version)
        assert instance["InstanceType"] == kind
        assert tags_of(api, instance["InstanceId"]) == system_tags(template, number)
    call = api.ec2.run_instances
    for code, named in (
        ("InvalidLaunchTemplateId.VersionNotFound", {"LaunchTemplateId": template, "Version": "4"}),
        ("InvalidParameterValue", {"LaunchTemplateId": template, "Version": "newest"}),
        ("InvalidLaunchTemplateId.NotFound", {"LaunchTemplateId": ABSENT}),
        ("InvalidLaunchTemplateId.Malformed", {"LaunchTemplateId": "lt-1"}),
        ("InvalidLaunchTemplateName.NotFoundException", {"LaunchTemplateName": "none"}),
        ("InvalidParameterCombination", {"LaunchTemplateId": template, "LaunchTemplateName": "web"}),
        ("MissingParameter", {"Version": "1"}),
    ):
        api.refused(code, call, LaunchTemplate=named, MinCount=1, MaxCount=1)
    there = {"LaunchTemplateId": template}
    image = {"ImageId": api.world.image_id}
    api.refused(
        "InvalidLaunchTemplateId.NotFound", api.other.run_instances, LaunchTemplate=there, MinCount=1, MaxCount=1
    )
    api.refused(
        "UnsupportedOperation", call, LaunchTemplate=there, MinCount=1, MaxCount=1, CpuOptions={"AmdSevSnp": "enabled"}
    )
    api.refused("UnsupportedOperation", call, LaunchTemplate=there, MinCount=1, MaxCount=1, AdditionalInfo="x", **image)


def test_a_template_without_an_image_needs_one_of_the_request(api):
    api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"InstanceType": "t3.nano"})
    named = {"LaunchTemplateName": "web"}
    api.refused("MissingParameter", api.ec2.run_instances, LaunchTemplate=named, MinCount=1, MaxCount=1)
    assert launch(api.ec2, ImageId=api.world.image_id)["InstanceType"] == "t3.nano"


def test_what_a_request_says_replaces_what_the_template_says(api):
    one, two = api.world.one.subnet_ids[0], further_subnet(api)
    make(
        api,
        EbsOptimized=True,
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}],
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": one, "Description": "of the template"}],
    )
    instance = launch(
        api.ec2,
        InstanceType="t3.micro",
        EbsOptimized=False,
        MetadataOptions={"HttpPutResponseHopLimit": 5},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 3}}],
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": two}],
    )
    assert (instance["InstanceType"], instance["EbsOptimized"], instance["SubnetId"]) == ("t3.micro", False, two)
    assert instance["NetworkInterfaces"][0]["Description"] == ""
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 5
    assert instance["MetadataOptions"]["HttpTokens"] == "optional"
    assert [one["DeviceName"] for one in instance["BlockDeviceMappings"]] == ["/dev/sda1", "/dev/sdg"]
    # Terraform's provider sends structures of empty strings, which say nothing.
    said = launch(api.ec2, Placement={"AvailabilityZone": "", "GroupName": ""}, KeyName="", SubnetId="")
    assert (said["SubnetId"], said["EbsOptimized"]) == (one, True)


def test_a_subnet_beside_a_templates_interfaces_is_refused(api):
    make(api, NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [api.world.one.group_id]}])
    make(api, "plain", SecurityGroupIds=[api.world.one.group_id])
    call = api.ec2.run_instances
    subnet = further_subnet(api)
    for name, given in (
        ("web", {"SubnetId": subnet}),
        ("web", {"SecurityGroupIds": [api.world.one.group_id]}),
        ("plain", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet}]}),
    ):
        template = {"LaunchTemplateName": name}
        api.refused("InvalidParameterCombination", call, LaunchTemplate=template, MinCount=1, MaxCount=1, **given)
    assert launch(api.ec2, "plain", SubnetId=subnet)["SubnetId"] == subnet


def test_tags_of_both_are_joined_and_the_requests_win(api):
    def specified(kind, **tags):
        return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    template = make(api, TagSpecifications=[specified("instance", a="t", b="t"), specified("volume", v="t")])
    instance = launch(api.ec2, TagSpecifications=[specified("instance", b="r", c="r")])
    found = tags_of(api, instance["InstanceId"])
    assert found == {"a": "t", "b": "r", "c": "r"} | system_tags(template, 1)
    [volume] = api.ec2.describe_volumes()["Volumes"]
    assert tags_of(api, volume["VolumeId"]) == {"v": "t"}
    for bad in ([specified("vpc", a="b")], [{"ResourceType": "instance"}], [specified("instance", a="b")] * 2):
        named = {"LaunchTemplate": {"LaunchTemplateName": "web"}, "MinCount": 1, "MaxCount": 1}
        api.refused("InvalidParameterValue", api.ec2.run_instances, TagSpecifications=bad, **named)


def test_tags_of_the_cloud_stay_and_do_not_count(api):
    template = make(api)
    instance = launch(api.ec2)["InstanceId"]
    fifty = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    api.ec2.create_tags(Resources=[instance], Tags=fifty)
    more = [{"Key": "more", "Value": "v"}]
    api.refused("TagLimitExceeded", api.ec2.create_tags, Resources=[instance], Tags=more)
    api.ec2.delete_tags(Resources=[instance])
    assert tags_of(api, instance) == system_tags(template, 1)
    own = [{"Key": "aws:ec2launchtemplate:id"}]
    api.refused("InvalidParameterValue", api.ec2.delete_tags, Resources=[instance], Tags=own)


def test_a_repeated_launch_is_the_same_whatever_became_of_the_default(api):
    make(api)
    first = launch(api.ec2, ClientToken="t")
    api.ec2.create_launch_template_version(
        LaunchTemplateName="web", SourceVersion="1", LaunchTemplateData={"KeyName": "x"}
    )
    api.ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")
    assert launch(api.ec2, ClientToken="t")["InstanceId"] == first["InstanceId"]
    named = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "1"}, "MinCount": 1, "MaxCount": 1}
    api.refused("IdempotentParameterMismatch", api.ec2.run_instances, ClientToken="t", **named)


def test_a_repeated_launch_is_the_same_when_its_template_is_gone(api):
    make(api)
    first = launch(api.ec2, ClientToken="t")
    fleet = {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"},
                "Overrides": [{"Priority": 1.0}],
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1},
        "ClientToken": "f",
    }
    made = api.ec2.create_fleet(**fleet)
    api.ec2.delete_launch_template(LaunchTemplateName="web")
    before = api.dump()
    assert launch(api.ec2, ClientToken="t")["InstanceId"] == first["InstanceId"]
    assert api.ec2.create_fleet(**fleet)["Instances"] == made["Instances"]
    assert api.dump() == before
    named = {"LaunchTemplate": {"LaunchTemplateName": "web"}, "MinCount": 1, "MaxCount": 2}
    api.refused("IdempotentParameterMismatch", api.ec2.run_instances, ClientToken="t", **named)
    absent = "InvalidLaunchTemplateName.NotFoundException"
    api.refused(absent, api.ec2.run_instances, ClientToken="new", **named)
    api.refused(absent, api.ec2.run_instances, **named)
    api.refused(absent, api.ec2.create_fleet, **fleet | {"ClientToken": "new"})


def test_a_dry_run_launches_nothing(api):
    make(api)
    named = {"LaunchTemplate": {"LaunchTemplateName": "web"}, "MinCount": 1, "MaxCount": 1}
    api.refused("DryRunOperation", api.ec2.run_instances, DryRun=True, **named)


@pytest.fixture
def user(api):
    return User(api)


def arn(api, kind, name):
    return f"arn:aws:ec2:us-east-1:{api.world.one.caller.account_id}:{kind}/{name}"


def test_who_may_only_launch_by_a_template_as_it_is(api, user):
    """As in https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html, launch templates."""
    subnet, group = api.world.one.subnet_ids[:2], api.world.one.group_id
    api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
    api.ec2.create_key_pair(KeyName="you", KeyType="ed25519")
    template = make(
        api,
        KeyName="me",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}],
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet[0], "Groups": [group]}],
    )
    make(api, "other")
    by_template = {
        "ArnLike": {"ec2:LaunchTemplate": arn(api, "launch-template", template)},
        "Bool": {"ec2:IsLaunchTemplateResource": "true"},
    }
    of_template = arn(api, "launch-template", template)
    user.may(statement("ec2:RunInstances", **by_template), statement("ec2:RunInstances", of_template))
    client = user.client()
    assert launch(client)["SubnetId"] == subnet[0]
    assert launch(client, InstanceType="t3.micro")["InstanceType"] == "t3.micro"
    image = api.world.image_id
    refused(client.run_instances, ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1)
    for named, given in (
        ("other", {}),
        ("web", {"ImageId": image}),
        ("web", {"KeyName": "you"}),
        ("web", {"BlockDeviceMappings": [{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 2}}]}),
        ("web", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet[1]}]}),
    ):
        template = {"LaunchTemplateName": named}
        refused(client.run_instances, LaunchTemplate=template, MinCount=1, MaxCount=1, **given)


@pytest.mark.parametrize(
    ("kind", "name", "override"),
    [
        ("image", "web", {"ImageId": "{image}"}),
        ("key-pair", "web", {"KeyName": "you"}),
        ("network-interface", "web", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "{subnet}"}]}),
        ("subnet", "web", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "{subnet}"}]}),
        ("security-group", "web", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "{subnet}"}]}),
        ("spot-instances-request", "plain", {"InstanceMarketOptions": {"MarketType": "spot"}}),
        ("subnet", "plain", {"SubnetId": "{subnet}"}),
        ("security-group", "plain", {"SecurityGroupIds": ["{group}"]}),
        ("security-group", "plain", {"SecurityGroups": ["default"]}),
        ("volume", "web", {"BlockDeviceMappings": [{"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": "{snapshot}"}}]}),
        ("snapshot", "web", {"BlockDeviceMappings": [{"DeviceName": "/dev/sdg", "Ebs": {"SnapshotId": "{snapshot}"}}]}),
    ],
)
def test_each_resource_says_whether_it_is_the_templates(api, user, kind, name, override):
    def snapshot(tx):
        row = rows.snapshot(api.world.one.caller.account_id)
        tx.session.add(row)
        return row.id

    for key in ("me", "you"):
        api.ec2.create_key_pair(KeyName=key, KeyType="ed25519")
    named = {
        "image": api.world.image_id,
        "subnet": api.world.one.subnet_ids[0],
        "group": api.world.one.group_id,
        "snapshot": api.run(snapshot),
    }
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": named["snapshot"]}}
    interfaces = [{"DeviceIndex": 0, "SubnetId": named["subnet"]}]
    make(api, KeyName="me", BlockDeviceMappings=[disk], NetworkInterfaces=interfaces)
    make(api, "plain")
    where = arn(api, kind, "*").replace(api.world.one.caller.account_id, "*")
    no_override = statement("ec2:RunInstances", where, effect="Deny", Bool={"ec2:IsLaunchTemplateResource": "false"})
    user.may(statement("ec2:RunInstances"), no_override)
    launch(user.client(), name)
    template = {"LaunchTemplateName": name}
    message = refused(
        user.client().run_instances, LaunchTemplate=template, MinCount=1, MaxCount=1, **filled(override, named)
    )
    assert f":{kind}/" in message
    user.may(statement("ec2:RunInstances"))
    launch(user.client(), name, **filled(override, named))


def test_a_launch_needs_what_its_template_names(api, user):
    subnet = further_subnet(api)
    template = make(
        api,
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    client = user.client()
    allowed = [statement("ec2:RunInstances"), statement("ec2:CreateTags")]
    user.may(*allowed)
    assert launch(client)["SubnetId"] == subnet
    for denied in (arn(api, "launch-template", template), arn(api, "subnet", subnet)):
        user.may(*allowed, statement("ec2:RunInstances", denied, effect="Deny"))
        message = refused(client.run_instances, LaunchTemplate={"LaunchTemplateName": "web"}, MinCount=1, MaxCount=1)
        assert denied in message
    user.may(allowed[0])
    message = refused(client.run_instances, LaunchTemplate={"LaunchTemplateName": "web"}, MinCount=1, MaxCount=1)
    assert "ec2:CreateTags" in message
    user.may(*allowed, statement("ec2:RunInstances", effect="Deny", StringEquals={"ec2:InstanceType": "t3.nano"}))
    refused(client.run_instances, LaunchTemplate={"LaunchTemplateName": "web"}, MinCount=1, MaxCount=1)
    assert launch(client, InstanceType="t3.micro")["InstanceType"] == "t3.micro"


def test_who_may_not_launch_is_told_nothing_of_templates(api, user):
    make(api)
    user.may(statement("ec2:DescribeLaunchTemplates"))
    client = user.client()
    for name in ("web", "none"):
        refused(client.run_instances, LaunchTemplate={"LaunchTemplateName": name}, MinCount=1, MaxCount=1)
    user.may(statement("ec2:RunInstances"))
    code = "InvalidLaunchTemplateName.NotFoundException"
    refused(client.run_instances, code, LaunchTemplate={"LaunchTemplateName": "none"}, MinCount=1, MaxCount=1)


def test_templates_are_governed_by_id_tag_and_name(api, user):
    template = make(api)
    api.ec2.create_tags(Resources=[template], Tags=[{"Key": "team", "Value": "a"}])
    make(api, "other")
    client = user.client()
    tagged = {"StringEquals": {"aws:ResourceTag/team": "a"}}
    user.may(statement(["ec2:ModifyLaunchTemplate", "ec2:CreateLaunchTemplateVersion"], **tagged))
    client.modify_launch_template(LaunchTemplateName="web", DefaultVersion="1")
    client.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData={"KeyName": "x"})
    refused(client.modify_launch_template, LaunchTemplateName="other", DefaultVersion="1")
    refused(client.delete_launch_template, LaunchTemplateName="web")
    user.may(statement("ec2:DeleteLaunchTemplate*", arn(api, "launch-template", template)))
    refused(client.delete_launch_template, LaunchTemplateName="other")
    refused(client.delete_launch_template_versions, LaunchTemplateName="other", Versions=["1"])
    client.delete_launch_template_versions(LaunchTemplateName="web", Versions=["2"])
    client.delete_launch_template(LaunchTemplateName="web")
    user.may(statement("ec2:CreateLaunchTemplate", StringEquals={"aws:RequestTag/team": "a"}))
    data = {"LaunchTemplateName": "new", "LaunchTemplateData": {"KeyName": "x"}}
    refused(client.create_launch_template, **data)
    specified = [{"ResourceType": "launch-template", "Tags": [{"Key": "team", "Value": "a"}]}]
    assert "ec2:CreateTags" in refused(client.create_launch_template, TagSpecifications=specified, **data)

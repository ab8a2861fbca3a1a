"""Public parameters that name images: through boto3's SSM client, in launches and in launch templates."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import Image
from tests.api.identity import refused
from tests.api.test_authorization import User, statement
from tests.support import rows

KIND = "/stead/image/micro/latest/x86_64"
DEBIAN = "/aws/service/debian/release/13/latest/amd64"
OWN = "/stead/image/name/ubuntu-24.04"


@pytest.fixture
def images(api):
    """Ids of images of the cloud, by what is particular about each."""
    theirs = api.world.other.caller.account_id
    wanted = {
        "old": {"name": "stead-micro-ba9876543210", "created": rows.NOW - timedelta(days=2)},
        "new": {"name": "stead-micro-0123456789ab", "created": rows.NOW - timedelta(days=1)},
        "debian": {"name": "stead-debian-0123456789ab"},
        "arm": {"name": "stead-debian-aaaaaaaaaaaa", "architecture": "arm64"},
        "own": {"name": "ubuntu-24.04"},
        "spaced": {"name": "with spaces"},
        "private": {"name": "stead-micro-aaaaaaaaaaaa", "public": False},
        "pending": {"name": "stead-micro-bbbbbbbbbbbb", "state": "pending"},
        "theirs": {"name": "stead-micro-cccccccccccc", "account_id": theirs},
    }

    def add(tx):
        made = {key: rows.image(**values) for key, values in wanted.items()}
        for image in made.values():
            tx.session.add_all([rows.image_snapshot(image), image])
            tx.session.flush()
            tx.session.add(rows.image_device(image))
        return {key: image.id for key, image in made.items()}

    return api.run(add)


@pytest.fixture
def ssm(api):
    return api.client(api.world.one, "ssm")


def test_a_parameter_names_the_newest_image(api, images, ssm):
    found = ssm.get_parameter(Name=KIND)["Parameter"]
    assert found == {
        "Name": KIND,
        "Type": "String",
        "Value": images["new"],
        "Version": int((rows.NOW - timedelta(days=1)).timestamp()),
        "LastModifiedDate": found["LastModifiedDate"],
        "ARN": f"arn:aws:ssm:us-east-1::parameter{KIND}",
        "DataType": "aws:ec2:image",
    }
    assert found["LastModifiedDate"] == rows.NOW - timedelta(days=1)
    assert ssm.get_parameter(Name=DEBIAN, WithDecryption=True)["Parameter"]["Value"] == images["debian"]
    assert ssm.get_parameter(Name=DEBIAN.replace("amd64", "arm64"))["Parameter"]["Value"] == images["arm"]
    assert ssm.get_parameter(Name=OWN)["Parameter"]["Value"] == images["own"]
    api.ec2.describe_images(ImageIds=[images["new"]])
    selected = ssm.get_parameter(Name=f"{KIND}:{found['Version']}")["Parameter"]
    assert (selected["Name"], selected["Selector"]) == (KIND, f":{found['Version']}")
    refused("ParameterVersionNotFound", ssm.get_parameter, Name=f"{KIND}:1")
    refused("ParameterVersionNotFound", ssm.get_parameter, Name=f"{KIND}:label")
    for absent in ("/stead/image/name/with spaces", "/stead/image/nothing/latest/x86_64", "/aws/service", "x"):
        refused("ParameterNotFound", ssm.get_parameter, Name=absent)


def test_some_parameters_and_the_names_of_none(images, ssm):
    found = ssm.get_parameters(Names=[OWN, "/none", KIND, OWN, f"{KIND}:1"])
    assert [one["Value"] for one in found["Parameters"]] == [images["own"], images["new"]]
    assert found["InvalidParameters"] == ["/none", f"{KIND}:1"]


def test_parameters_below_a_path(images, ssm):
    def below(path, **given):
        return [one["Name"] for one in ssm.get_parameters_by_path(Path=path, **given)["Parameters"]]

    assert below("/aws/service/debian/release/13/latest") == [DEBIAN, DEBIAN.replace("amd64", "arm64")]
    assert below("/aws/service/debian/release/13/latest/") == [DEBIAN, DEBIAN.replace("amd64", "arm64")]
    assert below("/aws/service") == []
    assert len(below("/aws/service", Recursive=True)) == 2
    assert below("/stead/image/mic", Recursive=True) == []
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True, MaxResults=1)
    everything = [one["Name"] for page in pages for one in page["Parameters"]]
    assert {KIND, DEBIAN, OWN} < set(everything)
    assert everything == sorted(set(everything))
    assert below("/", Recursive=True) == everything[:10]
    refused("ValidationException", ssm.get_parameters_by_path, Path="stead")
    refused("InvalidNextToken", ssm.get_parameters_by_path, Path="/", NextToken="x")
    filters = [{"Key": "Type", "Values": ["String"]}]
    refused("UnsupportedOperation", ssm.get_parameters_by_path, Path="/", ParameterFilters=filters)


def test_a_launch_by_an_alias(api, images):
    call = api.ec2.run_instances
    [instance] = call(ImageId=f"resolve:ssm:{KIND}", InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"]
    assert instance["ImageId"] == images["new"]
    found = api.ec2.describe_instances(Filters=[{"Name": "image-id", "Values": [images["new"]]}])["Reservations"]
    assert found[0]["Instances"][0]["InstanceId"] == instance["InstanceId"]
    for name in ("/none", f"{KIND}:1", ""):
        message = api.refused(
            "InvalidParameterValue", call, ImageId=f"resolve:ssm:{name}", InstanceType="t3.nano", MinCount=1, MaxCount=1
        )
        assert name in message


def test_a_template_with_an_alias_launches_what_is_newest_then(api, images):
    alias = f"resolve:ssm:{KIND}"
    made = api.ec2.create_launch_template(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": alias, "InstanceType": "t3.nano"}
    )
    assert "Warning" not in made

    def shown(**given):
        found = api.ec2.describe_launch_template_versions(LaunchTemplateName="web", **given)["LaunchTemplateVersions"]
        return [one["LaunchTemplateData"]["ImageId"] for one in found]

    assert shown() == shown(ResolveAlias=False) == [alias]
    assert shown(ResolveAlias=True) == [images["new"]]
    assert shown(Filters=[{"Name": "image-id", "Values": [alias]}]) == [alias]
    add = api.ec2.create_launch_template_version
    again = {"LaunchTemplateName": "web", "SourceVersion": "1", "LaunchTemplateData": {"InstanceType": "t3.micro"}}
    assert add(**again)["LaunchTemplateVersion"]["LaunchTemplateData"]["ImageId"] == alias
    resolved = add(**again, ResolveAlias=True)["LaunchTemplateVersion"]
    assert resolved["LaunchTemplateData"]["ImageId"] == images["new"]
    [stored] = shown(Versions=["3"])
    assert stored == alias

    def renew(tx):
        tx.session.get_one(Image, images["old"]).created = rows.NOW

    def launched():
        template = {"LaunchTemplateName": "web"}
        return api.ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"][0]["ImageId"]

    assert launched() == images["new"]
    api.run(renew)
    assert launched() == images["old"]
    warned = api.ec2.create_launch_template(
        LaunchTemplateName="none", LaunchTemplateData={"ImageId": "resolve:ssm:/none", "InstanceType": "t3.nano"}
    )
    assert [one["Code"] for one in warned["Warning"]["Errors"]] == ["InvalidParameterValue"]
    [version] = api.ec2.describe_launch_template_versions(LaunchTemplateName="none", ResolveAlias=True)[
        "LaunchTemplateVersions"
    ]
    assert version["LaunchTemplateData"]["ImageId"] == "resolve:ssm:/none"


def test_who_may_read_parameters_and_launch_by_them(api, images):
    user = User(api)
    ssm, ec2 = user.client("ssm"), user.client()
    arn = f"arn:aws:ssm:us-east-1::parameter{KIND}"
    user.may(statement("ssm:GetParameter", arn), statement("ec2:RunInstances"))
    assert ssm.get_parameter(Name=KIND)["Parameter"]["Value"] == images["new"]
    refused("AccessDeniedException", ssm.get_parameter, Name=OWN)
    refused("AccessDeniedException", ssm.get_parameters, Names=[KIND])
    refused("AccessDeniedException", ssm.get_parameters_by_path, Path="/stead")
    asked = {"ImageId": f"resolve:ssm:{KIND}", "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    message = refused("UnauthorizedOperation", ec2.run_instances, **asked)
    assert "ssm:GetParameters" in message
    assert arn in message
    user.may(statement("ssm:GetParameters", arn), statement("ec2:RunInstances"))
    ec2.run_instances(**asked)
    image = f"arn:aws:ec2:us-east-1::image/{images['new']}"
    user.may(statement(["ssm:*", "ec2:*"]), statement("ec2:RunInstances", image, effect="Deny"))
    assert image in refused("UnauthorizedOperation", ec2.run_instances, **asked)


def test_no_instance_is_managed_by_systems_manager(api, ssm):
    """As Cloud Custodian and Prowler ask."""
    asked = [{"Key": "InstanceIds", "Values": [api.launch(number=1)]}]
    older = [{"key": "InstanceIds", "valueSet": asked[0]["Values"]}]
    for filters in ({"Filters": asked}, {"InstanceInformationFilterList": older}):
        assert ssm.describe_instance_information(**filters, MaxResults=50)["InstanceInformationList"] == []
    api.refused(
        "UnsupportedOperation", ssm.send_command, DocumentName="AWS-RunShellScript", InstanceIds=asked[0]["Values"]
    )

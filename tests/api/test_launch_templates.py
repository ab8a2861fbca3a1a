"""Launch templates and their versions through boto3."""

import pytest

from tests.support import rows

ABSENT = "lt-00000000000000000"


def make(api, name="web", client=None, **data):
    data = data or {"InstanceType": "t3.nano"}
    client = client or api.ec2
    return client.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]


def add(api, name="web", source=None, **data):
    given = {"SourceVersion": source} if source else {}
    made = api.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data, **given)
    return made["LaunchTemplateVersion"]


def described(api, **asked):
    filters = [{"Name": name, "Values": values} for name, values in asked.pop("filters", {}).items()]
    return api.ec2.describe_launch_templates(Filters=filters, **asked)["LaunchTemplates"]


def versions(api, *names, **asked):
    """The numbers of the versions that are described."""
    filters = [{"Name": name, "Values": values} for name, values in asked.pop("filters", {}).items()]
    given = {"Versions": list(names)} if names else {}
    found = api.ec2.describe_launch_template_versions(Filters=filters, **given, **asked)["LaunchTemplateVersions"]
    return [one["VersionNumber"] for one in found]


def without_tokens(api):
    """All rows but those of ClientTokens, which boto3 makes up."""
    return {name: found for name, found in api.dump().items() if name != "client_tokens"}


def test_a_template_and_its_first_version(api):
    tags = [{"Key": "a", "Value": "b"}]
    answer = api.ec2.create_launch_template(
        LaunchTemplateName="web",
        VersionDescription="the first",
        LaunchTemplateData={"ImageId": api.world.image_id, "InstanceType": "t3.nano"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )
    assert "Warning" not in answer
    made = answer["LaunchTemplate"]
    assert made == {
        "LaunchTemplateId": made["LaunchTemplateId"],
        "LaunchTemplateName": "web",
        "CreateTime": made["CreateTime"],
        "CreatedBy": api.world.one.caller.arn,
        "DefaultVersionNumber": 1,
        "LatestVersionNumber": 1,
        "Tags": tags,
    }
    assert made["LaunchTemplateId"].startswith("lt-0")
    assert described(api) == [made]
    [version] = api.ec2.describe_launch_template_versions(LaunchTemplateName="web")["LaunchTemplateVersions"]
    assert version == {
        "LaunchTemplateId": made["LaunchTemplateId"],
        "LaunchTemplateName": "web",
        "VersionNumber": 1,
        "VersionDescription": "the first",
        "CreateTime": version["CreateTime"],
        "CreatedBy": api.world.one.caller.arn,
        "DefaultVersion": True,
        "LaunchTemplateData": {"ImageId": api.world.image_id, "InstanceType": "t3.nano"},
    }


def test_templates_are_found_by_what_they_are(api):
    ids = {name: make(api, name)["LaunchTemplateId"] for name in ("web", "db1", "db2")}
    api.ec2.create_tags(Resources=[ids["web"]], Tags=[{"Key": "k", "Value": "v"}])
    found = described(api)
    assert [one["LaunchTemplateId"] for one in found] == sorted(ids.values())

    def names(**asked):
        return sorted(one["LaunchTemplateName"] for one in described(api, **asked))

    assert names(filters={"launch-template-name": ["db*"]}) == ["db1", "db2"]
    assert names(filters={"tag:k": ["v"]}) == ["web"]
    assert names(filters={"tag-key": ["k"]}) == ["web"]
    assert names(filters={"create-time": ["20*"]}) == ["db1", "db2", "web"]
    assert names(filters={"create-time": ["1999*"]}) == []
    assert names(LaunchTemplateNames=["web", "db1"]) == ["db1", "web"]
    assert names(LaunchTemplateIds=[ids["db2"]]) == ["db2"]
    first = api.ec2.describe_launch_templates(MaxResults=2)
    rest = api.ec2.describe_launch_templates(MaxResults=2, NextToken=first["NextToken"])
    assert [*first["LaunchTemplates"], *rest["LaunchTemplates"]] == described(api)
    call = api.ec2.describe_launch_templates
    assert "does not exist" in api.refused("InvalidLaunchTemplateId.NotFound", call, LaunchTemplateIds=[ABSENT])
    api.refused("InvalidLaunchTemplateId.Malformed", call, LaunchTemplateIds=["lt-1"])
    api.refused("InvalidLaunchTemplateName.NotFoundException", call, LaunchTemplateNames=["web", "none"])
    said = api.refused("InvalidLaunchTemplateName.NotFoundException", call, LaunchTemplateNames=["web", "none", "nil"])
    assert "with template names none, nil, do not exist" in said
    api.refused("InvalidParameterCombination", call, LaunchTemplateNames=["web"], LaunchTemplateIds=[ids["web"]])
    api.refused("InvalidParameterValue", call, Filters=[{"Name": "colour", "Values": ["red"]}])
    api.refused("InvalidParameterValue", call, MaxResults=201)


def test_a_version_has_what_it_says_and_the_rest_of_its_source(api):
    make(
        api,
        InstanceType="t3.nano",
        KeyName="me",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-" + "0" * 17, "VolumeSize": 3}},
            {"DeviceName": "/dev/sdc", "NoDevice": ""},
        ],
    )
    assert add(api, ImageId=api.world.image_id)["LaunchTemplateData"] == {"ImageId": api.world.image_id}
    third = add(api, source="1", InstanceType="t3.micro")
    assert (third["VersionNumber"], third["DefaultVersion"]) == (3, False)
    assert third["LaunchTemplateData"] == {
        "InstanceType": "t3.micro",
        "KeyName": "me",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 3}},
            {"DeviceName": "/dev/sdc", "NoDevice": ""},
        ],
    }
    assert add(api, source="$Latest", KeyName="you")["LaunchTemplateData"]["InstanceType"] == "t3.micro"
    assert add(api, source="$Default", KeyName="you")["LaunchTemplateData"]["InstanceType"] == "t3.nano"
    [template] = described(api)
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (1, 5)
    create = api.ec2.create_launch_template_version
    given = {"LaunchTemplateName": "web", "LaunchTemplateData": {"KeyName": "x"}}
    message = api.refused("InvalidLaunchTemplateId.VersionNotFound", create, SourceVersion="9", **given)
    assert message == (
        f"Could not find the specified version 9 for the launch template with ID {template['LaunchTemplateId']}."
    )
    api.refused("InvalidParameterValue", create, SourceVersion="first", **given)
    api.refused("InvalidParameterValue", create, VersionDescription="x" * 256, **given)


def test_versions_are_found_by_what_they_are(api):
    first = make(api, "aaa", InstanceType="t3.nano", EbsOptimized=True)["LaunchTemplateId"]
    profile = f"arn:aws:iam::{api.world.one.caller.account_id}:instance-profile/p"
    add(api, "aaa", ImageId=api.world.image_id, EbsOptimized=False)
    add(api, "aaa", IamInstanceProfile={"Arn": profile})
    add(api, "aaa", MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled"})
    api.ec2.modify_launch_template(LaunchTemplateName="aaa", DefaultVersion="2")
    second = make(api, "bbb")["LaunchTemplateId"]
    of_first = {"LaunchTemplateId": first}
    assert versions(api, **of_first) == [4, 3, 2, 1]
    assert versions(api, "1", "$Latest", **of_first) == [4, 1]
    assert versions(api, "$Default", **of_first) == [2]
    assert versions(api, MinVersion="2", **of_first) == [4, 3, 2]
    assert versions(api, MaxVersion="2", **of_first) == [2, 1]
    assert versions(api, MinVersion="2", MaxVersion="$Latest", **of_first) == [4, 3, 2]
    for name, values, expected in (
        ("ebs-optimized", ["true"], [1]),
        ("ebs-optimized", ["false"], [2]),
        ("image-id", [api.world.image_id], [2]),
        ("instance-type", ["t3.*"], [1]),
        ("iam-instance-profile", [profile], [3]),
        ("http-tokens", ["required"], [4]),
        ("http-endpoint", ["enabled"], [4]),
        ("http-protocol-ipv4", ["enabled"], [4]),
        ("is-default-version", ["true"], [2]),
        ("is-default-version", ["false"], [4, 3, 1]),
        ("create-time", ["1999*"], []),
        ("create-time", ["20*"], [4, 3, 2, 1]),
        ("kernel-id", ["*"], []),
    ):
        assert versions(api, filters={name: values}, **of_first) == expected, name
    both = api.ec2.describe_launch_template_versions(Versions=["$Latest", "$Default"])["LaunchTemplateVersions"]
    found = [(one["LaunchTemplateId"], one["VersionNumber"]) for one in both]
    assert found == [(one, number) for one in sorted((first, second)) for number in ([4, 2] if one == first else [1])]
    assert versions(api, "$Default", filters={"is-default-version": ["false"]}) == []
    pages, token = [], {}
    while token is not None:
        page = api.ec2.describe_launch_template_versions(MaxResults=1, Versions=["$Latest", "$Default"], **token)
        pages += page["LaunchTemplateVersions"]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    assert pages == both
    call = api.ec2.describe_launch_template_versions
    api.refused("InvalidLaunchTemplateId.VersionNotFound", call, Versions=["1", "7"], **of_first)
    api.refused("InvalidParameterCombination", call, Versions=["1"], MinVersion="1", **of_first)
    api.refused("InvalidParameterCombination", call, Versions=["1"])
    api.refused("InvalidParameterCombination", call, Versions=["$Latest"], MinVersion="1")
    api.refused("MissingParameter", call)
    api.refused("InvalidParameterValue", call, MinVersion="x", **of_first)
    api.refused("InvalidLaunchTemplateId.NotFound", call, LaunchTemplateId=ABSENT)
    api.refused("InvalidParameterCombination", call, LaunchTemplateName="aaa", **of_first)


def test_versions_are_deleted_one_by_one_and_their_numbers_stay_taken(api):
    made = make(api)["LaunchTemplateId"]
    for number in range(3):
        add(api, KeyName=str(number))
    call = api.ec2.delete_launch_template_versions
    answer = call(LaunchTemplateId=made, Versions=["4", "1", "9"])
    of = {"LaunchTemplateId": made, "LaunchTemplateName": "web"}
    assert answer["SuccessfullyDeletedLaunchTemplateVersions"] == [of | {"VersionNumber": 4}]
    default, absent = answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert (default["VersionNumber"], default["ResponseError"]["Code"]) == (1, "unexpectedError")
    assert "default version" in default["ResponseError"]["Message"]
    assert (absent["VersionNumber"], absent["ResponseError"]["Code"]) == (9, "launchTemplateVersionDoesNotExist")
    [template] = described(api)
    assert template["LatestVersionNumber"] == 3
    assert versions(api, LaunchTemplateId=made) == [3, 2, 1]
    assert add(api, KeyName="x")["VersionNumber"] == 5
    api.refused("InvalidParameterValue", call, LaunchTemplateId=made, Versions=["$Latest"])
    api.refused("InvalidParameterValue", call, LaunchTemplateId=made, Versions=[str(n) for n in range(2, 203)])
    api.refused("InvalidLaunchTemplateId.NotFound", call, LaunchTemplateId=ABSENT, Versions=["1"])


def test_the_default_is_changed(api):
    make(api)
    add(api, KeyName="x")
    changed = api.ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")["LaunchTemplate"]
    assert (changed["DefaultVersionNumber"], changed["LatestVersionNumber"]) == (2, 2)
    assert described(api) == [changed]
    call = api.ec2.modify_launch_template
    api.refused("InvalidLaunchTemplateId.VersionNotFound", call, LaunchTemplateName="web", DefaultVersion="3")
    api.refused("MissingParameter", call, LaunchTemplateName="web")
    api.refused("MissingParameter", call, DefaultVersion="1")
    api.refused("InvalidLaunchTemplateName.NotFoundException", call, LaunchTemplateName="none", DefaultVersion="1")


def test_a_deleted_template_leaves_its_name_and_nothing_else(api):
    before = without_tokens(api)
    made = make(api)
    api.ec2.create_tags(Resources=[made["LaunchTemplateId"]], Tags=[{"Key": "k", "Value": "v"}])
    add(api, KeyName="x")
    theirs = make(api, client=api.other)
    deleted = api.ec2.delete_launch_template(LaunchTemplateName="web")["LaunchTemplate"]
    assert (deleted["LaunchTemplateId"], deleted["LatestVersionNumber"]) == (made["LaunchTemplateId"], 2)
    assert api.other.describe_launch_templates()["LaunchTemplates"] == [theirs]
    call = api.ec2.delete_launch_template
    api.refused("InvalidLaunchTemplateName.NotFoundException", call, LaunchTemplateName="web")
    api.refused("InvalidLaunchTemplateId.NotFound", call, LaunchTemplateId=theirs["LaunchTemplateId"])
    make(api)
    api.ec2.delete_launch_template(LaunchTemplateName="web")
    api.other.delete_launch_template(LaunchTemplateName="web")
    assert without_tokens(api) == before


@pytest.mark.parametrize("name", ["ab", "x" * 129, "a b c", "web!", "ünder"])
def test_names_are_of_some_characters(api, name):
    call = api.ec2.create_launch_template
    code = "InvalidLaunchTemplateName.MalformedException"
    api.refused(code, call, LaunchTemplateName=name, LaunchTemplateData={"KeyName": "x"})


@pytest.mark.parametrize("name", ["abc", "x" * 128, "a(b).c-d/e_f"])
def test_names_may_be_so(api, name):
    assert make(api, name)["LaunchTemplateName"] == name


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("InvalidParameterValue", {"UserData": "no base64!"}),
        ("InvalidParameterValue", {"UserData": "eHh4" * 6000}),
        ("InvalidParameterValue", {"MetadataOptions": {"HttpPutResponseHopLimit": 65}}),
        ("InvalidParameterValue", {"CreditSpecification": {"CpuCredits": "endless"}}),
        ("InvalidParameterValue", {"InstanceInitiatedShutdownBehavior": "hibernate"}),
        ("InvalidAMIID.Malformed", {"ImageId": "ami-1"}),
        ("InvalidSubnetID.Malformed", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-1"}]}),
        ("InvalidGroupId.Malformed", {"SecurityGroupIds": ["sg-1"]}),
        ("InvalidParameterValue", {"NetworkInterfaces": [{"Description": "x"}]}),
        ("InvalidParameterCombination", {"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroupIds": ["sg-1"]}),
        ("UnsupportedOperation", {"KernelId": "aki-1"}),
        ("UnsupportedOperation", {"RamDiskId": "ari-1"}),
        ("UnsupportedOperation", {"ElasticGpuSpecifications": [{"Type": "x"}]}),
        ("InvalidParameterValue", {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "x"}}}),
        ("UnsupportedOperation", {"CpuOptions": {"AmdSevSnp": "enabled"}}),
        ("UnsupportedOperation", {"Placement": {"HostResourceGroupArn": "arn:aws:x"}}),
        ("InvalidParameterValue", {"Placement": {"Tenancy": "shared"}}),
        ("InvalidParameterCombination", {"Placement": {"Tenancy": "dedicated", "Affinity": "host"}}),
        ("UnsupportedOperation", {"NetworkInterfaces": [{"DeviceIndex": 0, "InterfaceType": "efa"}]}),
        (
            "InvalidParameterCombination",
            {"InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}}, "InstanceType": "t3.nano"},
        ),
        (
            "InvalidParameterValue",
            {"InstanceRequirements": {"VCpuCount": {"Min": 3, "Max": 1}, "MemoryMiB": {"Min": 1}}},
        ),
        ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "a"}]}]}),
        ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:a"}]}]}),
    ],
)
def test_what_no_launch_could_have_is_refused_as_launches_refuse_it(api, code, data):
    make(api)
    call = api.ec2.create_launch_template
    message = api.refused(code, call, LaunchTemplateName="new", LaunchTemplateData=data)
    if code == "UnsupportedOperation" and "InterfaceType" not in str(data):
        assert next(iter(data)) in message
    call = api.ec2.create_launch_template_version
    api.refused(code, call, LaunchTemplateName="web", LaunchTemplateData=data)


def test_what_launches_accept_unread_templates_accept(api):
    data = {
        "HibernationOptions": {"Configured": False},
        "EnclaveOptions": {"Enabled": False},
        "CreditSpecification": {"CpuCredits": "standard"},
        "Placement": {"Tenancy": "default"},
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
    }
    make(api, **data)
    [version] = api.ec2.describe_launch_template_versions(Versions=["$Latest"])["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"] == data


def test_what_is_not_there_now_is_a_warning(api):
    snapshot = "snap-" + "0" * 17

    def add_image(tx):
        image = rows.image(name="arm", architecture="arm64")
        tx.session.add(image)
        return image.id

    arm = api.run(add_image)
    for codes, data in (
        (["InvalidAMIID.NotFound"], {"ImageId": "ami-" + "0" * 17}),
        (["InvalidParameterValue"], {"InstanceType": "x9.huge"}),
        (["InvalidParameterValue"], {"InstanceType": "x9.huge", "ImageId": api.world.image_id}),
        (["Unsupported"], {"InstanceType": "t4g.nano"}),
        (["Unsupported"], {"InstanceType": "t2.nano", "EbsOptimized": True}),
        (["InvalidParameterValue"], {"InstanceType": "t3.nano", "ImageId": arm}),
        (["InvalidKeyPair.NotFound"], {"KeyName": "nobodys"}),
        (["InvalidParameterValue"], {"IamInstanceProfile": {"Name": "nobodys"}}),
        (["InvalidGroup.NotFound"], {"SecurityGroupIds": ["sg-" + "0" * 17]}),
        (
            ["InvalidSubnetID.NotFound"],
            {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-" + "0" * 17}]},
        ),
        (
            ["InvalidNetworkInterfaceID.NotFound"],
            {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-" + "0" * 17}]},
        ),
        (
            ["InvalidSnapshot.NotFound"],
            {
                "ImageId": api.world.image_id,
                "InstanceType": "t3.nano",
                "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot}}],
            },
        ),
        (
            ["InvalidKeyPair.NotFound", "InvalidGroup.NotFound"],
            {"KeyName": "x", "SecurityGroupIds": ["sg-" + "0" * 17]},
        ),
        ([], {"ImageId": api.world.image_id, "InstanceType": "t3.nano", "EbsOptimized": True}),
    ):
        name = f"t{len(described(api))}-{data.get('KeyName', '')}"
        answer = api.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        errors = answer.get("Warning", {"Errors": []})["Errors"]
        assert [error["Code"] for error in errors] == codes
        again = api.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
        assert again.get("Warning", {"Errors": []})["Errors"] == errors


def test_a_repeated_request_makes_nothing_more(api):
    data = {"LaunchTemplateData": {"KeyName": "x"}}
    create, add_one = api.ec2.create_launch_template, api.ec2.create_launch_template_version
    first = create(LaunchTemplateName="web", ClientToken="a", **data)["LaunchTemplate"]
    assert create(LaunchTemplateName="web", ClientToken="a", **data)["LaunchTemplate"] == first
    api.refused("InvalidLaunchTemplateName.AlreadyExistsException", create, LaunchTemplateName="web", **data)
    mismatch = "IdempotentParameterMismatch"
    api.refused(mismatch, create, LaunchTemplateName="other", ClientToken="a", **data)
    second = add_one(LaunchTemplateName="web", ClientToken="b", **data)["LaunchTemplateVersion"]
    assert add_one(LaunchTemplateName="web", ClientToken="b", **data)["LaunchTemplateVersion"] == second
    assert versions(api, LaunchTemplateName="web") == [2, 1]
    change = api.ec2.modify_launch_template
    change(LaunchTemplateName="web", DefaultVersion="2", ClientToken="c")
    change(LaunchTemplateName="web", DefaultVersion="1")
    changed = change(LaunchTemplateName="web", DefaultVersion="2", ClientToken="c")["LaunchTemplate"]
    assert changed["DefaultVersionNumber"] == 1


def test_there_are_so_many_and_no_more(api, monkeypatch):
    monkeypatch.setattr("stead_controller.resources.fleet.launch_templates.MOST", 2)
    monkeypatch.setattr("stead_controller.resources.fleet.launch_template_versions.MOST", 2)
    make(api, "aaa")
    make(api, "bbb")
    data = {"LaunchTemplateData": {"KeyName": "x"}}
    limit = "ResourceLimitExceeded"
    api.refused(limit, api.ec2.create_launch_template, LaunchTemplateName="ccc", **data)
    make(api, "ccc", client=api.other)
    add(api, "aaa", KeyName="x")
    api.refused(limit, api.ec2.create_launch_template_version, LaunchTemplateName="aaa", **data)

"""Every Describe of the defaults, as boto3 sees it."""

import boto3
import pytest


def test_the_defaults_of_an_account(api):
    ec2, tenant = api.ec2, api.world.one
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert (vpc["VpcId"], vpc["IsDefault"], vpc["CidrBlock"]) == (tenant.vpc_id, True, "172.31.0.0/16")
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [tenant.vpc_id]}])["Subnets"]
    assert {subnet["SubnetId"] for subnet in subnets} == set(tenant.subnet_ids)
    assert {subnet["AvailableIpAddressCount"] for subnet in subnets} == {4091}
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert ec2.describe_instances()["Reservations"] == []
    (region,) = ec2.describe_regions()["Regions"]
    assert region["RegionName"] == "us-east-1"
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [(zone["ZoneName"], zone["ZoneId"]) for zone in zones] == [
        ("us-east-1a", "use1-az1"),
        ("us-east-1b", "use1-az2"),
    ]
    attributes = ec2.describe_account_attributes()["AccountAttributes"]
    values = {one["AttributeName"]: one["AttributeValues"][0]["AttributeValue"] for one in attributes}
    assert values["default-vpc"] == tenant.vpc_id
    assert values["supported-platforms"] == "VPC"
    assert ec2.describe_vpc_attribute(VpcId=tenant.vpc_id, Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"]


def test_an_instance_and_all_that_hangs_on_it(api):
    ec2 = api.ec2
    instance_id = api.launch(public_address="198.18.0.7", tags={"Name": "web"})
    (reservation,) = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["w*"]}])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["InstanceId"] == instance_id
    assert instance["PublicIpAddress"] == "198.18.0.7"
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
    assert volume["VolumeId"] == instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert volume["Attachments"][0]["State"] == "attached"
    (interface,) = ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}]
    )["NetworkInterfaces"]
    assert interface["NetworkInterfaceId"] == instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert interface["Association"]["PublicIp"] == "198.18.0.7"
    assert interface["Groups"] == instance["SecurityGroups"]
    (status,) = ec2.describe_volume_status(VolumeIds=[volume["VolumeId"]])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"
    (first, _) = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailableIpAddressCount"])
    assert (first["SubnetId"], first["AvailableIpAddressCount"]) == (instance["SubnetId"], 4090)


def test_pages_of_instances(api):
    ids = sorted(api.launch(number=number) for number in range(12))
    pages = list(api.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    seen = [
        [instance["InstanceId"] for reservation in page["Reservations"] for instance in reservation["Instances"]]
        for page in pages
    ]
    assert [len(page) for page in seen] == [5, 5, 2]
    assert sorted(instance_id for page in seen for instance_id in page) == ids
    token = api.ec2.describe_instances(MaxResults=5)["NextToken"]
    api.refused("InvalidNextToken", api.other.describe_instances, MaxResults=5, NextToken=token)
    api.refused("InvalidNextToken", api.ec2.describe_volumes, MaxResults=5, NextToken=token)
    api.refused("InvalidParameterCombination", api.ec2.describe_instances, MaxResults=5, InstanceIds=ids[:1])


def test_key_pairs(api):
    made = api.ec2.create_key_pair(
        KeyName="mine", TagSpecifications=[{"ResourceType": "key-pair", "Tags": [{"Key": "a", "Value": "b"}]}]
    )
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert made["Tags"] == [{"Key": "a", "Value": "b"}]
    (shown,) = api.ec2.describe_key_pairs(KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"]
    assert shown["KeyFingerprint"] == made["KeyFingerprint"]
    imported = api.other.import_key_pair(KeyName="copy", PublicKeyMaterial=shown["PublicKey"].encode())
    assert imported["KeyFingerprint"].count(":") == 15
    api.refused("InvalidKeyPair.Duplicate", api.ec2.create_key_pair, KeyName="mine")
    api.refused("InvalidKeyPair.NotFound", api.other.describe_key_pairs, KeyNames=["mine"])
    api.refused("InvalidKey.Format", api.ec2.import_key_pair, KeyName="x", PublicKeyMaterial=b"ssh-rsa nonsense")
    api.refused(
        "InvalidParameterValue",
        api.ec2.create_key_pair,
        KeyName="x",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    assert api.ec2.delete_key_pair(KeyName="mine")["Return"] is True
    assert api.ec2.delete_key_pair(KeyName="mine")["Return"] is True
    assert api.ec2.describe_key_pairs()["KeyPairs"] == []


def test_tags(api):
    instance_id = api.launch()
    tags = [{"Key": "Name", "Value": "<&>"}, {"Key": "empty", "Value": ""}]
    api.ec2.create_tags(Resources=[instance_id, api.world.one.vpc_id], Tags=tags)
    found = api.ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["instance"]}])["Tags"]
    assert found == [{**tag, "ResourceId": instance_id, "ResourceType": "instance"} for tag in tags]
    assert len(api.ec2.describe_tags(Filters=[{"Name": "tag:Name", "Values": ["<*"]}])["Tags"]) == 2
    api.refused("InvalidInstanceID.NotFound", api.other.create_tags, Resources=[instance_id], Tags=tags)
    api.refused("InvalidID", api.ec2.create_tags, Resources=[instance_id, "x"], Tags=tags)
    api.refused("InvalidParameterValue", api.ec2.create_tags, Resources=[instance_id], Tags=[{"Key": "aws:x"}])
    many = [{"Key": str(number), "Value": ""} for number in range(49)]
    api.refused("TagLimitExceeded", api.ec2.create_tags, Resources=[instance_id], Tags=many)
    api.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "empty", "Value": "no"}, {"Key": "Name"}])
    assert [tag["Key"] for tag in api.ec2.describe_tags()["Tags"] if tag["ResourceId"] == instance_id] == ["empty"]


def test_images(api):
    (image,) = api.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["micro*"]}])["Images"]
    assert image["ImageId"] == api.world.image_id
    assert api.ec2.describe_images(Owners=["self"])["Images"] == []
    assert image["Description"] == "a small image"
    api.refused("InvalidAMIID.NotFound", api.ec2.describe_images, ImageIds=["ami-00000000000000000"])
    api.refused("InvalidAMIID.Malformed", api.ec2.describe_images, ImageIds=["ami-1"])


MISSING = [
    ("describe_instances", "InstanceIds", "i", "InvalidInstanceID"),
    ("describe_vpcs", "VpcIds", "vpc", "InvalidVpcID"),
    ("describe_subnets", "SubnetIds", "subnet", "InvalidSubnetID"),
    ("describe_network_interfaces", "NetworkInterfaceIds", "eni", "InvalidNetworkInterfaceID"),
    ("describe_volumes", "VolumeIds", "vol", "InvalidVolume"),
    ("describe_volume_status", "VolumeIds", "vol", "InvalidVolume"),
    ("describe_images", "ImageIds", "ami", "InvalidAMIID"),
    ("describe_key_pairs", "KeyPairIds", "key", "InvalidKeyPair"),
    ("describe_addresses", "AllocationIds", "eipalloc", "InvalidAllocationID"),
]


@pytest.mark.parametrize(("operation", "parameter", "prefix", "code"), MISSING)
def test_absent_and_malformed_ids(api, operation, parameter, prefix, code):
    describe = getattr(api.ec2, operation)
    absent = f"{prefix}-00000000000000000"
    api.refused(f"{code}.NotFound", describe, **{parameter: [absent]})
    for malformed in ("nonsense", f"{prefix}-xyz", f"{absent}\n", "", f"{prefix}-0000000000000000G"):
        before = api.dump()
        with pytest.raises(api.ec2.exceptions.ClientError) as refusal:
            describe(**{parameter: [absent, malformed]})
        shown = refusal.value.response["Error"]["Code"]
        assert shown.endswith(".Malformed") or (prefix == "vol" and shown == "InvalidParameterValue"), shown
        assert api.dump() == before


def test_others_ids_are_answered_like_absent_ones(api):
    instance_id = api.launch(api.world.other)
    theirs = api.other
    (volume,) = theirs.describe_volumes()["Volumes"]
    (interface,) = theirs.describe_network_interfaces()["NetworkInterfaces"]
    for operation, parameter, found in [
        ("describe_instances", "InstanceIds", instance_id),
        ("describe_volumes", "VolumeIds", volume["VolumeId"]),
        ("describe_network_interfaces", "NetworkInterfaceIds", interface["NetworkInterfaceId"]),
        ("describe_vpcs", "VpcIds", api.world.other.vpc_id),
        ("describe_subnets", "SubnetIds", api.world.other.subnet_ids[0]),
    ]:
        describe = getattr(api.ec2, operation)
        absent = f"{found.rsplit('-', 1)[0]}-00000000000000000"
        with pytest.raises(api.ec2.exceptions.ClientError) as of_theirs:
            describe(**{parameter: [found]})
        with pytest.raises(api.ec2.exceptions.ClientError) as of_nothing:
            describe(**{parameter: [absent]})
        seen, expected = (one.value.response["Error"] for one in (of_theirs, of_nothing))
        assert seen["Code"] == expected["Code"]
        assert seen["Message"].replace(found, "X") == expected["Message"].replace(absent, "X")


def test_unknown_filters_are_refused(api):
    for operation in (
        "describe_instances",
        "describe_vpcs",
        "describe_subnets",
        "describe_volumes",
        "describe_images",
        "describe_key_pairs",
        "describe_regions",
        "describe_availability_zones",
        "describe_network_interfaces",
        "describe_addresses",
        "describe_tags",
    ):
        bad = [{"Name": "colour", "Values": ["red"]}]
        api.refused("InvalidParameterValue", getattr(api.ec2, operation), Filters=bad)


def test_a_boto3_resource_works_too(api):
    api.launch(tags={"Name": "web"})
    resource = boto3.resource(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{api.port}",
        aws_access_key_id=api.world.one.caller.access_key_id,
        aws_secret_access_key="a/secret+key",
    )
    (instance,) = resource.instances.filter(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    assert instance.vpc.is_default
    assert instance.subnet.availability_zone == "us-east-1a"
    assert [volume.size for volume in instance.volumes.all()] == [8]

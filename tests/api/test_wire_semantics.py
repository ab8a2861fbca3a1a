"""What EC2 says before it looks at any resource, and of what is not there: through boto3 and the AWS CLI."""

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from stead_proto.v1 import desired_pb2 as pb
from tests.api import base_requests
from tests.api.conftest import SECRET
from tests.api.test_instance_attributes import sent

ABSENT = "0123456789abcdef0"


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "terminate", "monitor", "unmonitor"])
def test_no_instances_are_an_invalid_combination(api, operation):
    said = api.refused("InvalidParameterCombination", getattr(api.ec2, f"{operation}_instances"), InstanceIds=[])
    assert said == "No instances specified"


ATTRIBUTES = {
    "image_attribute": ("describe modify", "ImageId", "own_image"),
    "instance_attribute": ("describe modify", "InstanceId", "stopped"),
    "network_interface_attribute": ("describe modify", "NetworkInterfaceId", "interface"),
    "private_dns_name_options": ("modify", "InstanceId", "stopped"),
    "snapshot_attribute": ("describe modify", "SnapshotId", "snapshot"),
    "subnet_attribute": ("modify", "SubnetId", "subnet"),
    "volume_attribute": ("describe modify", "VolumeId", "data_volume"),
    "vpc_attribute": ("describe modify", "VpcId", "vpc"),
}


def test_no_attributes_are_an_invalid_combination(api):
    named = base_requests.build(api)
    for noun, (verbs, member, resource) in ATTRIBUTES.items():
        for verb in verbs.split():
            unnamed = {"Attribute": ""} if verb == "describe" else {}  # boto3 wants it; EC2 takes it as absent
            call = getattr(api.ec2, f"{verb}_{noun}")
            said = api.refused("InvalidParameterCombination", call, **{member: named[resource]}, **unnamed)
            assert said == "No attributes specified.", (verb, noun)
    api.refused("MissingParameter", api.ec2.reset_instance_attribute, InstanceId=named["stopped"], Attribute="")
    api.refused("MissingParameter", api.ec2.describe_vpc_attribute, VpcId="", Attribute="enableDnsSupport")


@pytest.mark.parametrize(
    ("operation", "params", "words"),
    [
        ("describe_instances", {"InstanceIds": [f"i-{ABSENT}"]}, "The instance ID '{}' does not exist"),
        ("describe_images", {"ImageIds": [f"ami-{ABSENT}"]}, "The image id '[{}]' does not exist"),
        ("describe_vpcs", {"VpcIds": [f"vpc-{ABSENT}"]}, "The vpc ID '{}' does not exist"),
        ("describe_subnets", {"SubnetIds": [f"subnet-{ABSENT}"]}, "The subnet ID '{}' does not exist"),
        ("describe_volumes", {"VolumeIds": [f"vol-{ABSENT}"]}, "The volume '{}' does not exist."),
        ("describe_route_tables", {"RouteTableIds": [f"rtb-{ABSENT}"]}, "The routeTable ID '{}' does not exist"),
    ],
)
def test_absent_resources_get_ec2s_errors(api, operation, params, words):
    with pytest.raises(ClientError) as caught:
        getattr(api.ec2, operation)(**params)
    [[missing]] = params.values()
    assert caught.value.response["Error"]["Message"] == words.format(missing)


def test_missing_parameters_are_named_as_ec2_does(api):
    with pytest.raises(ClientError, match=r"MissingParameter.*The request must contain the parameter subnetId$"):
        api.ec2.create_nat_gateway(AvailabilityMode="zonal", ConnectivityType="private", SubnetId="")


@pytest.mark.parametrize(
    ("operation", "member", "name"),
    [
        ("describe_instances", "Reservations", "vpc-id"),
        ("describe_instances", "Reservations", "tag:Name"),
        ("describe_vpcs", "Vpcs", "tag-key"),
        ("describe_vpcs", "Vpcs", "is-default"),
        ("describe_subnets", "Subnets", "vpc-id"),
        ("describe_security_groups", "SecurityGroups", "group-name"),
        ("describe_security_groups", "SecurityGroups", "ip-permission.cidr"),
        ("describe_images", "Images", "name"),
        ("describe_volumes", "Volumes", "size"),
        ("describe_volumes", "Volumes", "attachment.instance-id"),
        ("describe_tags", "Tags", "resource-type"),
        ("describe_regions", "Regions", "region-name"),
        ("describe_instance_types", "InstanceTypes", "vcpu-info.default-vcpus"),
    ],
)
def test_a_filter_without_values_finds_nothing(api, operation, member, name):
    api.launch()
    describe = getattr(api.ec2, operation)
    assert describe(Filters=[{"Name": name, "Values": []}])[member] == []


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ({"ResourceType": "vpc"}, "Tag specification must have at least one tag"),
        ({"ResourceType": "vpc", "Tags": []}, "Tag specification must have at least one tag"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tag specification resource type must have a value"),
        (
            {"ResourceType": "", "Tags": [{"Key": "a", "Value": "b"}]},
            "Tag specification resource type must have a value",
        ),
    ],
)
def test_a_tag_specification_says_which_tags_of_what(api, specification, words):
    said = api.refused(
        "InvalidParameterValue", api.ec2.create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=[specification]
    )
    assert said == words


def monitoring(api, instance_id):
    [reservation] = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]["Monitoring"]["State"]


def test_monitoring_is_switched_on_and_off(api):
    one, two = api.launch(), api.launch(number=1)
    ids = [one, two]
    answer = api.ec2.monitor_instances(InstanceIds=[one, two, one])["InstanceMonitorings"]
    assert answer == [{"InstanceId": each, "Monitoring": {"State": "pending"}} for each in ids]
    assert [monitoring(api, each) for each in ids] == ["enabled", "enabled"]
    found = api.ec2.describe_instances(Filters=[{"Name": "monitoring-state", "Values": ["enabled"]}])
    assert len(found["Reservations"]) == 2
    answer = api.ec2.unmonitor_instances(InstanceIds=[one])["InstanceMonitorings"]
    assert answer == [{"InstanceId": one, "Monitoring": {"State": "disabling"}}]
    assert [monitoring(api, each) for each in ids] == ["disabled", "enabled"]
    told = [sent(api, pb.KIND_MACHINE, each).machine.metadata.monitoring for each in ids]
    assert told == [False, True], "hosts are told, since they measure"


def test_monitoring_of_what_is_gone_or_not_there_changes_nothing(api):
    running, gone = api.launch(), api.launch(number=1, state="terminated")
    api.refused("IncorrectInstanceState", api.ec2.monitor_instances, InstanceIds=[running, gone])
    api.refused("InvalidInstanceID.NotFound", api.ec2.monitor_instances, InstanceIds=[running, f"i-{ABSENT}"])
    api.refused("InvalidInstanceID.NotFound", api.other.monitor_instances, InstanceIds=[running])
    api.refused("DryRunOperation", api.ec2.monitor_instances, InstanceIds=[running], DryRun=True)
    for change in (api.ec2.monitor_instances, api.ec2.unmonitor_instances):
        api.refused("UnsupportedOperation", change, InstanceIds=[running], MetricCategoryIds=["mc-1"])


def test_a_launch_may_ask_for_monitoring(api):
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    [asked] = api.ec2.run_instances(**params, Monitoring={"Enabled": True})["Instances"]
    [plain] = api.ec2.run_instances(**params, Monitoring={"Enabled": False})["Instances"]
    assert (asked["Monitoring"]["State"], plain["Monitoring"]["State"]) == ("pending", "disabled")


def test_the_aws_cli_switches_monitoring(cloud, image_id, account):
    instance_id = account.ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1)[
        "Instances"
    ][0]["InstanceId"]
    try:
        [done] = account.aws("ec2", "monitor-instances", "--instance-ids", instance_id)["InstanceMonitorings"]
        assert done == {"InstanceId": instance_id, "Monitoring": {"State": "pending"}}
        [done] = account.aws("ec2", "unmonitor-instances", "--instance-ids", instance_id)["InstanceMonitorings"]
        assert done["Monitoring"] == {"State": "disabling"}
    finally:
        account.ec2.terminate_instances(InstanceIds=[instance_id])


def client(api, service="ec2", *, region="us-east-1", host="127.0.0.1"):
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://{host}:{api.port}",
        aws_access_key_id=api.world.one.caller.access_key_id,
        aws_secret_access_key=SECRET,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def test_the_regions_endpoint_is_the_one_that_was_asked(api):
    for host in ("127.0.0.1", "localhost"):
        [region] = client(api, host=host).describe_regions()["Regions"]
        assert region["Endpoint"] == f"{host}:{api.port}"


def test_another_region_is_refused_for_what_is_regional(api):
    with pytest.raises(ClientError, match=r"AuthFailure.*valid region: this cloud's is 'us-east-1'"):
        client(api, region="eu-west-1").describe_vpcs()
    with pytest.raises(ClientError, match=r"InvalidSignatureException.*valid region"):
        client(api, "service-quotas", region="eu-west-1").list_services()
    assert client(api, "iam", region="eu-west-1").list_users()["Users"] is not None
    assert client(api, "pricing", region="eu-west-1").describe_services()["Services"]
    assert client(api, "sts", region="eu-west-1").get_caller_identity()["Account"]
    api.app._any_region = True
    assert client(api, region="eu-west-1").describe_vpcs()["Vpcs"]

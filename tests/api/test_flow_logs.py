"""Flow logs through boto3."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import VpcResource
from stead_controller.resources.network.flow_log_format import DEFAULT


@pytest.fixture
def asked(api):
    return {
        "ResourceIds": [api.world.one.vpc_id],
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogGroupName": "/stead/flows",
    }


def test_a_flow_log_lives(api, asked):
    tags = [{"ResourceType": "vpc-flow-log", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = api.ec2.create_flow_logs(TagSpecifications=tags, **asked)
    (flow_log_id,) = made["FlowLogIds"]
    assert (flow_log_id[:3], made["Unsuccessful"]) == ("fl-", [])
    (shown,) = api.ec2.describe_flow_logs(FlowLogIds=[flow_log_id])["FlowLogs"]
    created = shown.pop("CreationTime")
    assert created.year >= 2026
    assert shown == {
        "FlowLogId": flow_log_id,
        "FlowLogStatus": "ACTIVE",
        "DeliverLogsStatus": "SUCCESS",
        "LogDestinationType": "cloud-watch-logs",
        "LogGroupName": "/stead/flows",
        "LogFormat": DEFAULT,
        "MaxAggregationInterval": 600,
        "ResourceId": api.world.one.vpc_id,
        "TrafficType": "ALL",
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    assert api.ec2.delete_flow_logs(FlowLogIds=[flow_log_id])["Unsuccessful"] == []
    api.refused("InvalidFlowLogId.NotFound", api.ec2.delete_flow_logs, FlowLogIds=[flow_log_id])
    assert api.ec2.describe_tags()["Tags"] == []


def test_subnets_and_interfaces(api, asked):
    subnets = asked | {"ResourceType": "Subnet", "ResourceIds": api.world.one.subnet_ids, "TrafficType": "REJECT"}
    assert len(api.ec2.create_flow_logs(**subnets, MaxAggregationInterval=60)["FlowLogIds"]) == 2
    api.launch()
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    one = asked | {"ResourceType": "NetworkInterface", "ResourceIds": [interface["NetworkInterfaceId"]]}
    api.ec2.create_flow_logs(**one, LogFormat="${srcaddr} ${vpc-id}")

    def by(name, value):
        found = api.ec2.describe_flow_logs(Filters=[{"Name": name, "Values": [value]}])["FlowLogs"]
        return {log["ResourceId"] for log in found}

    assert by("traffic-type", "REJECT") == set(api.world.one.subnet_ids)
    assert by("resource-id", "eni-*") == {interface["NetworkInterfaceId"]}
    assert len(by("log-group-name", "/stead/flows")) == len(by("log-destination-type", "cloud-watch-logs")) == 3
    assert by("deliver-log-status", "FAILED") == set()


def test_a_vpcs_flow_logs_go_with_it(api, asked):
    """Those of what it had as well, with their tags; hosts that know the VPC are sent that."""
    vpc_id = api.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet_id = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    tags = [{"ResourceType": "vpc-flow-log", "Tags": [{"Key": "a", "Value": "b"}]}]
    other = api.ec2.create_flow_logs(**asked)["FlowLogIds"]
    api.ec2.create_flow_logs(TagSpecifications=tags, **asked | {"ResourceIds": [vpc_id]})
    of_subnet = asked | {"ResourceType": "Subnet", "ResourceIds": [subnet_id]}
    (of_subnet_id,) = api.ec2.create_flow_logs(TagSpecifications=tags, **of_subnet)["FlowLogIds"]
    api.ec2.delete_subnet(SubnetId=subnet_id)
    assert api.ec2.describe_flow_logs(FlowLogIds=[of_subnet_id])["FlowLogs"]
    api.ec2.delete_vpc(VpcId=vpc_id)
    assert [log["FlowLogId"] for log in api.ec2.describe_flow_logs()["FlowLogs"]] == other
    assert api.ec2.describe_tags()["Tags"] == []
    stored = select(VpcResource.resource_id).where(VpcResource.vpc_id == vpc_id, VpcResource.body.is_not(None))
    assert api.run(lambda tx: tx.session.scalars(stored).all()) == []


def test_the_same_again_is_refused_for_its_resource(api, asked):
    api.ec2.create_flow_logs(**asked)
    again = api.ec2.create_flow_logs(**asked)
    assert again["FlowLogIds"] == []
    (refused,) = again["Unsuccessful"]
    assert (refused["ResourceId"], refused["Error"]["Code"]) == (api.world.one.vpc_id, "FlowLogAlreadyExists")
    assert api.ec2.create_flow_logs(**asked | {"TrafficType": "ACCEPT"})["FlowLogIds"]
    third = api.ec2.create_flow_logs(**asked | {"TrafficType": "REJECT"})
    assert third["Unsuccessful"][0]["Error"]["Code"] == "FlowLogsLimitExceeded"


def test_a_client_token_makes_one(api, asked):
    first = api.ec2.create_flow_logs(ClientToken="once", **asked)["FlowLogIds"]
    assert api.ec2.create_flow_logs(ClientToken="once", **asked)["FlowLogIds"] == first
    other = asked | {"TrafficType": "REJECT", "ClientToken": "once"}
    api.refused("IdempotentParameterMismatch", api.ec2.create_flow_logs, **other)


def test_a_log_groups_arn(api, asked):
    del asked["LogGroupName"]
    destination = "arn:aws:logs:us-east-1:111111111111:log-group:flows:*"
    api.ec2.create_flow_logs(LogDestination=destination, **asked)
    [shown] = api.ec2.describe_flow_logs()["FlowLogs"]
    # Terraform makes a log anew at each plan that does not show the destination it asked for.
    assert (shown["LogGroupName"], shown["LogDestination"]) == ("flows", destination.removesuffix(":*"))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("UnsupportedOperation", {"LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket"}),
        ("UnsupportedOperation", {"LogDestinationType": "kinesis-data-firehose"}),
        ("UnsupportedOperation", {"ResourceType": "TransitGateway"}),
        ("UnsupportedOperation", {"LogFormat": "${pkt-src-aws-service}"}),
        ("UnsupportedOperation", {"DestinationOptions": {"FileFormat": "parquet"}}),
        ("InvalidParameterValue", {"LogFormat": "${bogus}"}),
        ("InvalidParameterValue", {"MaxAggregationInterval": 61}),
        ("InvalidParameterValue", {"LogGroupName": "../../etc"}),
        ("InvalidParameterValue", {"LogGroupName": "a//b"}),
        ("InvalidParameterValue", {"LogGroupName": "a b"}),
        ("InvalidParameterValue", {"LogGroupName": "/"}),
        ("InvalidParameterValue", {"LogDestination": "arn:aws:logs:us-east-1:1:log-group:x"}),
        ("InvalidVpcID.NotFound", {"ResourceIds": ["vpc-00000000000000000"]}),
        ("InvalidVpcID.Malformed", {"ResourceIds": ["subnet-00000000000000000"]}),
    ],
)
def test_bad_flow_logs_change_nothing(api, asked, code, changes):
    api.refused(code, api.ec2.create_flow_logs, **asked | changes)


def test_what_must_be_said(api, asked):
    for name in ("TrafficType", "LogGroupName"):
        less = {key: value for key, value in asked.items() if key != name}
        api.refused("MissingParameter", api.ec2.create_flow_logs, **less)

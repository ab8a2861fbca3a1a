"""Gateway endpoints through boto3: made, changed, shown, deleted; their routes, prefix lists and services."""

import json
from dataclasses import replace
from typing import Any

import pytest

from stead_controller.db.tables import VpcResource
from stead_controller.resources.network import vpc_endpoint_services
from stead_proto.v1 import desired_pb2 as pb
from tests.api.conftest import Api
from tests.api.topology import with_network
from tests.support import rows
from tests.support.clients import FAST, Account

S3 = "com.amazonaws.us-east-1.s3"
POLICY = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*"}})


def create(api: Api, **changes: Any) -> dict[str, Any]:
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3}
    made: dict[str, Any] = api.ec2.create_vpc_endpoint(**params | changes)["VpcEndpoint"]
    return made


def show(api: Api, endpoint_id: str) -> dict[str, Any]:
    (found,) = api.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"]
    return dict(found)


def main_table(api: Api) -> str:
    (table,) = api.ec2.describe_route_tables()["RouteTables"]
    return str(table["RouteTableId"])


def prefix_list(api: Api) -> dict[str, Any]:
    (found,) = api.ec2.describe_prefix_lists()["PrefixLists"]
    return dict(found)


def routes_of(api: Api, table_id: str) -> list[dict[str, Any]]:
    (table,) = api.ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"]
    return [route for route in table["Routes"] if "DestinationPrefixListId" in route]


def test_an_endpoint_is_made_with_its_routes(api: Api) -> None:
    table = main_table(api)
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": "objects"}]}]
    made = create(api, RouteTableIds=[table], TagSpecifications=tags)
    assert made == {
        "VpcEndpointId": made["VpcEndpointId"],
        "VpcEndpointType": "Gateway",
        "VpcId": api.world.one.vpc_id,
        "ServiceName": S3,
        "ServiceRegion": "us-east-1",
        "State": "available",
        "PolicyDocument": made["PolicyDocument"],
        "RouteTableIds": [table],
        "SubnetIds": [],
        "Groups": [],
        "IpAddressType": "ipv4",
        "DnsOptions": {"DnsRecordIpType": "ipv4"},
        "PrivateDnsEnabled": False,
        "RequesterManaged": False,
        "NetworkInterfaceIds": [],
        "DnsEntries": [],
        "CreationTimestamp": made["CreationTimestamp"],
        "Tags": [{"Key": "Name", "Value": "objects"}],
        "OwnerId": api.world.one.caller.account_id,
    }
    (statement,) = json.loads(made["PolicyDocument"])["Statement"]
    assert statement == {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    assert show(api, made["VpcEndpointId"]) == made
    listed = prefix_list(api)
    (route,) = routes_of(api, table)
    assert route == {
        "DestinationPrefixListId": listed["PrefixListId"],
        "GatewayId": made["VpcEndpointId"],
        "Origin": "CreateRoute",
        "State": "active",
    }
    by_gateway = [{"Name": "route.gateway-id", "Values": [made["VpcEndpointId"]]}]
    (found,) = api.ec2.describe_route_tables(Filters=by_gateway)["RouteTables"]
    assert found["RouteTableId"] == table


def test_hosts_are_sent_it(api: Api) -> None:
    table = main_table(api)
    endpoint_id = create(api, RouteTableIds=[table])["VpcEndpointId"]
    sent = with_network(api, pb.KIND_VPC_ENDPOINT, endpoint_id).vpc_endpoint
    assert (sent.vpc_id, sent.service, list(sent.addresses)) == (api.world.one.vpc_id, "s3", ["198.18.0.1"])
    assert (list(sent.ports), sent.controller_port) == ([80, 443, 8773, 8774], 8777)
    assert list(sent.names) == ["s3.us-east-1.amazonaws.com"]
    routes = {one.destination: one for one in with_network(api, pb.KIND_ROUTE_TABLE, table).route_table.routes}
    assert routes["198.18.0.1/32"].vpc_endpoint_id == endpoint_id
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    routes = {one.destination: one for one in with_network(api, pb.KIND_ROUTE_TABLE, table).route_table.routes}
    assert "198.18.0.1/32" not in routes
    key = (api.world.one.vpc_id, pb.KIND_VPC_ENDPOINT, endpoint_id)
    assert api.run(lambda tx: tx.session.get_one(VpcResource, key).body) is None


def test_route_tables_are_added_and_removed(api: Api) -> None:
    first = main_table(api)
    second = api.ec2.create_route_table(VpcId=api.world.one.vpc_id)["RouteTable"]["RouteTableId"]
    endpoint_id = create(api, RouteTableIds=[first])["VpcEndpointId"]
    modify = api.ec2.modify_vpc_endpoint
    modify(VpcEndpointId=endpoint_id, AddRouteTableIds=[second, first], RemoveRouteTableIds=[first])
    assert sorted(show(api, endpoint_id)["RouteTableIds"]) == sorted([first, second])
    modify(VpcEndpointId=endpoint_id, RemoveRouteTableIds=[first])
    assert show(api, endpoint_id)["RouteTableIds"] == [second]
    assert routes_of(api, first) == []
    message = api.refused("InvalidParameter", modify, VpcEndpointId=endpoint_id, RemoveRouteTableIds=[first])
    assert first in message
    api.ec2.delete_route_table(RouteTableId=second)
    assert show(api, endpoint_id)["RouteTableIds"] == []


def test_a_route_table_has_one_endpoint_of_a_service(api: Api) -> None:
    table = main_table(api)
    create(api, RouteTableIds=[table])
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "RouteTableIds": [table]}
    message = api.refused("RouteAlreadyExists", api.ec2.create_vpc_endpoint, **params)
    listed = prefix_list(api)["PrefixListId"]
    assert message == f"route table {table} already has a route with destination-prefix-list-id {listed}"
    other = create(api)["VpcEndpointId"]  # another endpoint of the VPC, for other tables
    api.refused("RouteAlreadyExists", api.ec2.modify_vpc_endpoint, VpcEndpointId=other, AddRouteTableIds=[table])


def test_its_routes_are_the_endpoints_own(api: Api) -> None:
    table = main_table(api)
    endpoint_id = create(api, RouteTableIds=[table])["VpcEndpointId"]
    listed = prefix_list(api)["PrefixListId"]
    where = {"RouteTableId": table, "DestinationPrefixListId": listed}
    message = api.refused("InvalidParameterValue", api.ec2.delete_route, **where)
    assert message == f"cannot remove VPC endpoint route {listed} in route table {table}"
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    internet = gateway["InternetGatewayId"]
    api.refused("InvalidParameterValue", api.ec2.replace_route, GatewayId=internet, **where)
    other = {"RouteTableId": table, "DestinationCidrBlock": "10.0.0.0/8", "GatewayId": endpoint_id}
    api.refused("InvalidParameterValue", api.ec2.create_route, **other)


def test_policies(api: Api) -> None:
    endpoint_id = create(api, PolicyDocument=POLICY)["VpcEndpointId"]
    assert show(api, endpoint_id)["PolicyDocument"] == POLICY
    modify = api.ec2.modify_vpc_endpoint
    modify(VpcEndpointId=endpoint_id, ResetPolicy=True)
    assert json.loads(show(api, endpoint_id)["PolicyDocument"])["Statement"][0]["Action"] == "*"
    modify(VpcEndpointId=endpoint_id, PolicyDocument=POLICY)
    assert show(api, endpoint_id)["PolicyDocument"] == POLICY
    both = {"VpcEndpointId": endpoint_id, "PolicyDocument": POLICY, "ResetPolicy": True}
    api.refused("InvalidParameter", modify, **both)
    no_principal = POLICY.replace('"Principal": "*", ', "")
    for bad in ("{", no_principal, POLICY + " " * 20_480):
        api.refused("InvalidPolicyDocument", modify, VpcEndpointId=endpoint_id, PolicyDocument=bad)
        params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "PolicyDocument": bad}
        api.refused("InvalidPolicyDocument", api.ec2.create_vpc_endpoint, **params)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ip-address-type", "ipv4"),
        ("service-name", "*.s3"),
        ("service-region", "us-east-1"),
        ("vpc-endpoint-state", "available"),
        ("vpc-endpoint-type", "Gateway"),
        ("tag:Name", "objects"),
    ],
)
def test_filters(api: Api, name: str, value: str) -> None:
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": "objects"}]}]
    made = create(api, TagSpecifications=tags)
    ask = api.ec2.describe_vpc_endpoints
    assert ask(Filters=[{"Name": name, "Values": [value]}])["VpcEndpoints"] == [made]
    assert ask(Filters=[{"Name": name, "Values": ["x"]}])["VpcEndpoints"] == []
    own = [
        {"Name": "vpc-endpoint-id", "Values": [made["VpcEndpointId"]]},
        {"Name": "vpc-id", "Values": [made["VpcId"]]},
    ]
    assert ask(Filters=own)["VpcEndpoints"] == [made]


def test_pages(api: Api) -> None:
    made = sorted(create(api)["VpcEndpointId"] for _ in range(7))
    first = api.ec2.describe_vpc_endpoints(MaxResults=5)
    second = api.ec2.describe_vpc_endpoints(MaxResults=5, NextToken=first["NextToken"])
    assert [one["VpcEndpointId"] for one in first["VpcEndpoints"] + second["VpcEndpoints"]] == made
    assert "NextToken" not in second


def test_a_repeated_client_token_makes_nothing_more(api: Api) -> None:
    first = create(api, ClientToken="once")
    assert create(api, ClientToken="once")["VpcEndpointId"] == first["VpcEndpointId"]
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "ClientToken": "once", "PolicyDocument": POLICY}
    api.refused("IdempotentParameterMismatch", api.ec2.create_vpc_endpoint, **params)
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "DryRun": True}
    api.refused("DryRunOperation", api.ec2.create_vpc_endpoint, **params)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidServiceName", {"ServiceName": "com.amazonaws.us-east-1.dynamodb"}),
        ("InvalidVpcID.NotFound", {"VpcId": "vpc-00000000000000000"}),
        ("InvalidParameter", {"VpcEndpointType": "Gateway", "ServiceName": "com.amazonaws.us-east-1.ec2"}),
        ("InvalidParameterValue", {"VpcEndpointType": "Door"}),
        ("InvalidParameter", {"SubnetIds": ["subnet-00000000000000000"]}),
        ("InvalidParameter", {"SecurityGroupIds": ["sg-00000000000000000"]}),
        ("InvalidParameter", {"PrivateDnsEnabled": True}),
        ("InvalidParameter", {"DnsOptions": {"PrivateDnsOnlyForInboundResolverEndpoint": True}}),
        ("InvalidParameter", {"SubnetConfigurations": [{"SubnetId": "subnet-00000000000000000"}]}),
        ("InvalidRouteTableID.NotFound", {"RouteTableIds": ["rtb-00000000000000000"]}),
        ("UnsupportedOperation", {"IpAddressType": "dualstack"}),
        ("UnsupportedOperation", {"DnsOptions": {"DnsRecordIpType": "ipv6"}}),
        ("UnsupportedOperation", {"ServiceRegion": "eu-west-1"}),
        ("UnsupportedOperation", {"ServiceNetworkArn": "arn:aws:vpc-lattice:us-east-1:1:servicenetwork/sn-1"}),
        ("UnsupportedOperation", {"ResourceConfigurationArn": "arn:aws:vpc-lattice:us-east-1:1:resource/r-1"}),
    ],
)
def test_what_is_refused(api: Api, code: str, changes: dict[str, Any]) -> None:
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3}
    api.refused(code, api.ec2.create_vpc_endpoint, **params | changes)


def test_a_route_table_of_another_vpc_is_refused(api: Api) -> None:
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    (table,) = api.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "RouteTableIds": [table["RouteTableId"]]}
    assert "different networks" in api.refused("InvalidParameter", api.ec2.create_vpc_endpoint, **params)


def test_deletion(api: Api) -> None:
    table = main_table(api)
    made = create(api, RouteTableIds=[table])["VpcEndpointId"]
    absent = "vpce-00000000000000000"
    (left,) = api.ec2.delete_vpc_endpoints(VpcEndpointIds=[absent, made])["Unsuccessful"]
    assert (left["ResourceId"], left["Error"]["Code"]) == (absent, "InvalidVpcEndpointId.NotFound")
    assert absent in left["Error"]["Message"]
    (left,) = api.ec2.delete_vpc_endpoints(VpcEndpointIds=["vpce-x"])["Unsuccessful"]
    assert left["Error"]["Code"] == "InvalidVpcEndpointId.Malformed"
    assert routes_of(api, table) == []
    api.refused("InvalidVpcEndpointId.NotFound", api.ec2.describe_vpc_endpoints, VpcEndpointIds=[made])
    api.refused("InvalidVpcEndpointId.Malformed", api.ec2.describe_vpc_endpoints, VpcEndpointIds=["vpce-x"])
    assert api.ec2.describe_tags()["Tags"] == []


def test_anothers_endpoint_is_as_absent(api: Api) -> None:
    made = create(api)["VpcEndpointId"]
    (left,) = api.other.delete_vpc_endpoints(VpcEndpointIds=[made])["Unsuccessful"]
    assert (left["ResourceId"], left["Error"]["Code"]) == (made, "InvalidVpcEndpointId.NotFound")
    assert show(api, made)["VpcEndpointId"] == made


def test_a_vpc_with_an_endpoint_stays(api: Api) -> None:
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    made = create(api, VpcId=vpc)["VpcEndpointId"]
    api.refused("DependencyViolation", api.ec2.delete_vpc, VpcId=vpc)
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    api.ec2.delete_vpc(VpcId=vpc)


def test_the_quota(api: Api) -> None:
    for _ in range(20):
        create(api)
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3}
    api.refused("VpcEndpointLimitExceeded", api.ec2.create_vpc_endpoint, **params)


def test_services(api: Api) -> None:
    ask = api.ec2.describe_vpc_endpoint_services
    found = ask(Filters=[{"Name": "service-type", "Values": ["Gateway"]}])
    assert found["ServiceNames"] == [S3]
    (detail,) = found["ServiceDetails"]
    assert (detail["ServiceType"], detail["Owner"]) == ([{"ServiceType": "Gateway"}], "amazon")
    assert (detail["VpcEndpointPolicySupported"], detail["AcceptanceRequired"]) == (True, False)
    assert "PrivateDnsName" not in detail
    for name, value in (("service-name", S3), ("owner", "amazon")):
        assert S3 in ask(Filters=[{"Name": name, "Values": [value]}])["ServiceNames"]
        assert ask(Filters=[{"Name": name, "Values": ["x"]}])["ServiceNames"] == []
    assert ask(ServiceNames=[S3])["ServiceNames"] == [S3]
    assert ask(ServiceRegions=["eu-west-1"])["ServiceNames"] == []
    message = api.refused("InvalidServiceName", ask, ServiceNames=["com.amazonaws.us-east-1.x"])
    assert message == "The Vpc Endpoint Service 'com.amazonaws.us-east-1.x' does not exist"


def test_the_prefix_list_of_s3(api: Api) -> None:
    listed = prefix_list(api)
    assert (listed["PrefixListName"], listed["Cidrs"]) == (S3, ["198.18.0.1/32"])
    list_id = listed["PrefixListId"]
    (managed,) = api.ec2.describe_managed_prefix_lists(PrefixListIds=[list_id])["PrefixLists"]
    assert managed == {
        "PrefixListId": list_id,
        "AddressFamily": "IPv4",
        "State": "create-complete",
        "PrefixListArn": f"arn:aws:ec2:us-east-1:aws:prefix-list/{list_id}",
        "PrefixListName": S3,
        "Tags": [],
        "OwnerId": "AWS",
    }
    by_owner = [{"Name": "owner-id", "Values": ["AWS"]}]
    assert api.other.describe_managed_prefix_lists(Filters=by_owner)["PrefixLists"] == [managed]
    by_name = [{"Name": "prefix-list-name", "Values": [S3]}]
    assert api.ec2.describe_prefix_lists(Filters=by_name)["PrefixLists"] == [listed]
    by_name[0]["Values"] = ["x"]
    assert api.ec2.describe_prefix_lists(Filters=by_name)["PrefixLists"] == []
    entries = api.ec2.get_managed_prefix_list_entries(PrefixListId=list_id)["Entries"]
    assert [one["Cidr"] for one in entries] == ["198.18.0.1/32"]
    rename = {"PrefixListId": list_id, "PrefixListName": "mine"}
    api.refused("InvalidPrefixListID.NotFound", api.ec2.modify_managed_prefix_list, **rename)
    api.refused("InvalidPrefixListID.NotFound", api.ec2.delete_managed_prefix_list, PrefixListId=list_id)
    api.refused("InvalidPrefixListID.NotFound", api.ec2.get_managed_prefix_list_associations, PrefixListId=list_id)


def test_a_security_group_may_name_it(api: Api) -> None:
    list_id = prefix_list(api)["PrefixListId"]
    to_s3 = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "PrefixListIds": [{"PrefixListId": list_id}]}]
    api.ec2.authorize_security_group_egress(GroupId=api.world.one.group_id, IpPermissions=to_s3)
    sent = with_network(api, pb.KIND_SECURITY_GROUP, api.world.one.group_id).security_group
    (rule,) = [one for one in sent.rules if one.HasField("prefix_list")]
    assert list(rule.prefix_list.cidr_blocks) == ["198.18.0.1/32"]


def test_network_insights_know_the_way(api: Api) -> None:
    table = main_table(api)
    endpoint_id = create(api, RouteTableIds=[table])["VpcEndpointId"]
    instance_id = api.launch(number=1)
    path = api.ec2.create_network_insights_path(
        Source=instance_id, DestinationIp="198.18.0.1", Protocol="tcp", DestinationPort=443, ClientToken="p"
    )["NetworkInsightsPath"]["NetworkInsightsPathId"]
    begun = api.ec2.start_network_insights_analysis(NetworkInsightsPathId=path, ClientToken="a")
    ids = [begun["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]]
    (found,) = api.ec2.describe_network_insights_analyses(NetworkInsightsAnalysisIds=ids)["NetworkInsightsAnalyses"]
    assert found["NetworkPathFound"], found
    (route,) = [hop["RouteTableRoute"] for hop in found["ForwardPathComponents"] if "RouteTableRoute" in hop]
    assert (route["DestinationPrefixListId"], route["GatewayId"]) == (prefix_list(api)["PrefixListId"], endpoint_id)
    assert found["ForwardPathComponents"][-1]["Component"]["Id"] == endpoint_id


def test_other_settings_reach_hosts(api: Api) -> None:
    """The controller begins with another address and port: routes, lists and endpoints follow."""
    table = main_table(api)
    endpoint_id = create(api, RouteTableIds=[table])["VpcEndpointId"]
    cloud = replace(api.world.cloud, api_addresses=("198.18.0.1", "192.0.2.9"), endpoint_port=9777)
    api.run(vpc_endpoint_services.keep, cloud, rows.NOW)
    assert prefix_list(api)["Cidrs"] == ["192.0.2.9/32", "198.18.0.1/32"]
    sent = with_network(api, pb.KIND_VPC_ENDPOINT, endpoint_id).vpc_endpoint
    assert (list(sent.addresses), sent.controller_port) == (["192.0.2.9", "198.18.0.1"], 9777)
    routes = [one.destination for one in with_network(api, pb.KIND_ROUTE_TABLE, table).route_table.routes]
    assert "192.0.2.9/32" in routes
    before = api.dump()
    api.run(vpc_endpoint_services.keep, cloud, rows.NOW)
    assert api.dump() == before


def test_the_command_line(account: Account, image_id: str) -> None:
    """With an instance in the VPC, so that a host has the endpoint too."""
    (vpc,) = account.aws("ec2", "describe-vpcs")["Vpcs"]
    (table,) = account.aws("ec2", "describe-route-tables")["RouteTables"]
    (instance,) = account.ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1)[
        "Instances"
    ]
    account.ec2.get_waiter("instance_running").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig=FAST)
    place = ("--vpc-id", vpc["VpcId"], "--service-name", S3, "--route-table-ids", table["RouteTableId"])
    made = account.aws("ec2", "create-vpc-endpoint", *place)["VpcEndpoint"]
    named = ("--vpc-endpoint-ids", made["VpcEndpointId"])
    assert account.aws("ec2", "describe-vpc-endpoints", *named)["VpcEndpoints"] == [made]
    change = ("--vpc-endpoint-id", made["VpcEndpointId"], "--policy-document", POLICY)
    assert account.aws("ec2", "modify-vpc-endpoint", *change) == {"Return": True}
    assert S3 in account.aws("ec2", "describe-vpc-endpoint-services")["ServiceNames"]
    assert account.aws("ec2", "delete-vpc-endpoints", *named) == {"Unsuccessful": []}
    gone = account.aws_result("ec2", "describe-vpc-endpoints", *named)
    assert "InvalidVpcEndpointId.NotFound" in gone.stderr
    account.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    account.ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig=FAST)

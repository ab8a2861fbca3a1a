"""Route tables through boto3: routes, their targets and states, what tables apply to, and what hosts are sent."""

import pytest

from stead_controller.resources import quotas
from stead_proto.v1 import desired_pb2 as pb
from tests.api.topology import rows_of, with_network

ABSENT = "0" * 17


@pytest.fixture
def vpc_id(api):
    """A VPC with 10.0.0.0/16."""
    return api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


@pytest.fixture
def table_id(api, vpc_id):
    """A route table of the VPC beside its main one."""
    return api.ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]


@pytest.fixture
def gateway_id(api, vpc_id):
    """The internet gateway of the VPC."""
    gateway_id = api.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    api.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    return gateway_id


@pytest.fixture
def subnet_id(api, vpc_id):
    """A subnet of the VPC, 10.0.1.0/24."""
    return api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]


def show(api, table_id):
    return api.ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]


def find(api, name, value):
    found = api.ec2.describe_route_tables(Filters=[{"Name": name, "Values": [value]}])["RouteTables"]
    return {table["RouteTableId"] for table in found}


def main_of(api, vpc_id):
    (table,) = (
        table
        for table in api.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
        if any(one["Main"] for one in table["Associations"])
    )
    return table


def sent_routes(api, table_id):
    return {
        route.destination: route.WhichOneof("target")
        for route in with_network(api, pb.KIND_ROUTE_TABLE, table_id).route_table.routes
    }


def test_a_route_is_added_replaced_and_deleted(api, table_id, gateway_id):
    before = rows_of(api)
    api.ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
    route = show(api, table_id)["Routes"][1]
    assert route == {
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": gateway_id,
        "Origin": "CreateRoute",
        "State": "active",
    }
    assert sent_routes(api, table_id) == {"0.0.0.0/0": "internet_gateway"}
    again = {"RouteTableId": table_id, "DestinationCidrBlock": "0.0.0.0/0"}
    api.refused("RouteAlreadyExists", api.ec2.create_route, GatewayId=gateway_id, **again)
    api.ec2.replace_route(GatewayId=gateway_id, **again)
    api.ec2.delete_route(**again)
    assert sent_routes(api, table_id) == {}
    assert rows_of(api) == before
    api.refused("InvalidRoute.NotFound", api.ec2.delete_route, **again)
    api.refused("InvalidParameterValue", api.ec2.replace_route, GatewayId=gateway_id, **again)


def test_a_route_to_a_detached_gateway_is_a_blackhole(api, vpc_id, table_id, gateway_id):
    api.ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
    api.ec2.create_route(RouteTableId=table_id, DestinationIpv6CidrBlock="::/0", GatewayId=gateway_id)
    api.ec2.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    assert [route["State"] for route in show(api, table_id)["Routes"]] == ["active", "blackhole", "blackhole"]
    assert find(api, "route.state", "blackhole") == {table_id}
    assert sent_routes(api, table_id) == {"0.0.0.0/0": "blackhole", "::/0": "blackhole"}
    api.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    assert find(api, "route.state", "blackhole") == set()
    assert set(sent_routes(api, table_id).values()) == {"internet_gateway"}


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("MissingParameter", {"GatewayId": "igw"}),
        ("InvalidParameterCombination", {"DestinationCidrBlock": "0.0.0.0/0"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "0.0.0.0", "GatewayId": "igw"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "::/0", "GatewayId": "igw"}),
        ("InvalidParameterValue", {"DestinationIpv6CidrBlock": "0.0.0.0/0", "GatewayId": "igw"}),
        (
            "InvalidParameterCombination",
            {"DestinationCidrBlock": "0.0.0.0/0", "DestinationIpv6CidrBlock": "::/0", "GatewayId": "igw"},
        ),
        ("RouteAlreadyExists", {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "igw"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "10.0.1.0/24", "GatewayId": "igw"}),
        ("InvalidParameterValue", {"DestinationCidrBlock": "169.254.169.0/24", "GatewayId": "igw"}),
        ("InvalidParameterValue", {"DestinationIpv6CidrBlock": "fd00:ec2::254/128", "GatewayId": "igw"}),
        ("InvalidGatewayID.NotFound", {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": f"igw-{ABSENT}"}),
        ("InvalidInternetGatewayId.Malformed", {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "local"}),
        ("UnsupportedOperation", {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": f"vgw-{ABSENT}"}),
        ("UnsupportedOperation", {"DestinationCidrBlock": "0.0.0.0/0", "TransitGatewayId": f"tgw-{ABSENT}"}),
        ("NatGatewayNotFound", {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": f"nat-{ABSENT}"}),
        ("InvalidPrefixListID.NotFound", {"DestinationPrefixListId": f"pl-{ABSENT}", "GatewayId": "igw"}),
    ],
)
def test_a_route_that_cannot_be_is_refused(api, table_id, gateway_id, code, params):
    params = {name: gateway_id if value == "igw" else value for name, value in params.items()}
    api.refused(code, api.ec2.create_route, RouteTableId=table_id, **params)


def test_a_target_of_another_vpc_is_refused(api, table_id):
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    for name, target in (
        ("GatewayId", gateway["InternetGatewayId"]),
        ("InstanceId", api.launch()),
    ):
        params = {"RouteTableId": table_id, "DestinationCidrBlock": "0.0.0.0/0", name: target}
        assert "different networks" in api.refused("InvalidParameterValue", api.ec2.create_route, **params)


def test_a_route_through_an_instance_is_one_through_its_interface(api):
    instance_id = api.launch()
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    table_id = main_of(api, api.world.one.vpc_id)["RouteTableId"]
    api.ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="192.168.0.0/16", InstanceId=instance_id)
    route = show(api, table_id)["Routes"][-1]
    assert route["InstanceId"] == instance_id
    assert route["NetworkInterfaceId"] == interface["NetworkInterfaceId"]
    assert route["State"] == "active"
    assert find(api, "route.instance-id", instance_id) == {table_id}
    assert sent_routes(api, table_id)["192.168.0.0/16"] == "interface_id"


def test_inside_of_the_vpc_whole_subnets_are_routed_to_interfaces(api):
    instance_id = api.launch()
    table_id = main_of(api, api.world.one.vpc_id)["RouteTableId"]
    params = {"RouteTableId": table_id, "InstanceId": instance_id}
    api.refused("InvalidParameterValue", api.ec2.create_route, DestinationCidrBlock="172.31.16.0/24", **params)
    api.ec2.create_route(DestinationCidrBlock="172.31.16.0/20", **params)
    api.ec2.replace_route(DestinationCidrBlock="172.31.0.0/16", **params)
    local = show(api, table_id)["Routes"][0]
    assert (local["Origin"], local["InstanceId"]) == ("CreateRouteTable", instance_id)
    api.refused(
        "InvalidParameterValue", api.ec2.delete_route, RouteTableId=table_id, DestinationCidrBlock="172.31.0.0/16"
    )
    api.ec2.replace_route(RouteTableId=table_id, DestinationCidrBlock="172.31.0.0/16", LocalTarget=True)
    assert show(api, table_id)["Routes"][0]["GatewayId"] == "local"


def test_ipv6_by_an_egress_only_gateway(api, vpc_id, table_id):
    made = api.ec2.create_egress_only_internet_gateway(VpcId=vpc_id)["EgressOnlyInternetGateway"]
    gateway_id = made["EgressOnlyInternetGatewayId"]
    params = {"RouteTableId": table_id, "EgressOnlyInternetGatewayId": gateway_id}
    api.refused("InvalidParameterCombination", api.ec2.create_route, DestinationCidrBlock="0.0.0.0/0", **params)
    api.ec2.create_route(DestinationIpv6CidrBlock="::/0", **params)
    assert find(api, "route.egress-only-internet-gateway-id", gateway_id) == {table_id}
    assert sent_routes(api, table_id) == {"::/0": "egress_only_gateway"}
    assert api.ec2.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"] == [made]
    api.ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=gateway_id)
    assert show(api, table_id)["Routes"][-1]["State"] == "blackhole"
    assert sent_routes(api, table_id) == {"::/0": "blackhole"}


def test_prefix_lists_are_written_out_for_hosts(api, table_id, gateway_id):
    entries = [{"Cidr": "192.0.2.0/24"}, {"Cidr": "198.51.100.0/24"}]
    listed = api.ec2.create_managed_prefix_list(
        PrefixListName="n", AddressFamily="IPv4", MaxEntries=5, Entries=entries
    )["PrefixList"]["PrefixListId"]
    api.ec2.create_route(RouteTableId=table_id, DestinationPrefixListId=listed, GatewayId=gateway_id)
    assert show(api, table_id)["Routes"][-1]["DestinationPrefixListId"] == listed
    assert find(api, "route.destination-prefix-list-id", listed) == {table_id}
    assert set(sent_routes(api, table_id)) == {"192.0.2.0/24", "198.51.100.0/24"}
    api.ec2.modify_managed_prefix_list(PrefixListId=listed, CurrentVersion=1, AddEntries=[{"Cidr": "203.0.113.0/24"}])
    assert "203.0.113.0/24" in sent_routes(api, table_id)


def test_an_active_peering_is_a_target(api, vpc_id, table_id):
    other = {"VpcId": vpc_id, "PeerVpcId": api.world.one.vpc_id}
    peering_id = api.ec2.create_vpc_peering_connection(**other)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    params = {"RouteTableId": table_id, "DestinationCidrBlock": "172.31.0.0/16", "VpcPeeringConnectionId": peering_id}
    api.refused("InvalidVpcPeeringConnectionID.NotFound", api.ec2.create_route, **params)
    api.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    api.ec2.create_route(**params)
    assert sent_routes(api, table_id) == {"172.31.0.0/16": "peer_vpc_id"}
    api.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    assert show(api, table_id)["Routes"][-1]["State"] == "blackhole"
    assert sent_routes(api, table_id) == {"172.31.0.0/16": "blackhole"}


def test_a_nat_gateway_is_a_target_while_it_is_there(api):
    table_id = main_of(api, api.world.one.vpc_id)["RouteTableId"]
    made = api.ec2.create_nat_gateway(SubnetId=api.world.one.subnet_ids[0], ConnectivityType="private")["NatGateway"]
    params = {"RouteTableId": table_id, "NatGatewayId": made["NatGatewayId"]}
    api.ec2.create_route(DestinationCidrBlock="192.168.0.0/16", **params)
    assert sent_routes(api, table_id)["192.168.0.0/16"] == "interface_id"
    api.refused("UnsupportedOperation", api.ec2.create_route, DestinationIpv6CidrBlock="::/0", **params)
    api.ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    assert sent_routes(api, table_id)["192.168.0.0/16"] == "blackhole"


def test_what_a_table_applies_to(api, vpc_id, table_id, subnet_id):
    main = main_of(api, vpc_id)
    assert with_network(api, pb.KIND_SUBNET, subnet_id).subnet.route_table_id == main["RouteTableId"]
    associated = api.ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)["AssociationId"]
    again = api.ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)["AssociationId"]
    assert again == associated
    assert with_network(api, pb.KIND_SUBNET, subnet_id).subnet.route_table_id == table_id
    assert find(api, "association.subnet-id", subnet_id) == {table_id}
    assert find(api, "association.main", "false") == {table_id}
    other = {"RouteTableId": main["RouteTableId"], "SubnetId": subnet_id}
    api.refused("Resource.AlreadyAssociated", api.ec2.associate_route_table, **other)
    api.refused("DependencyViolation", api.ec2.delete_route_table, RouteTableId=table_id)
    strange = {"RouteTableId": table_id, "SubnetId": api.world.one.subnet_ids[0]}
    api.refused("InvalidParameterValue", api.ec2.associate_route_table, **strange)
    moved = api.ec2.replace_route_table_association(AssociationId=associated, RouteTableId=main["RouteTableId"])
    assert moved["NewAssociationId"] != associated
    api.refused("InvalidAssociationID.NotFound", api.ec2.disassociate_route_table, AssociationId=associated)
    api.ec2.disassociate_route_table(AssociationId=moved["NewAssociationId"])
    api.ec2.delete_route_table(RouteTableId=table_id)


def test_another_table_becomes_the_main_one(api, vpc_id, table_id, subnet_id):
    main = main_of(api, vpc_id)
    association_id = main["Associations"][0]["RouteTableAssociationId"]
    api.refused("InvalidParameterValue", api.ec2.disassociate_route_table, AssociationId=association_id)
    api.refused("DependencyViolation", api.ec2.delete_route_table, RouteTableId=main["RouteTableId"])
    api.ec2.replace_route_table_association(AssociationId=association_id, RouteTableId=table_id)
    assert main_of(api, vpc_id)["RouteTableId"] == table_id
    assert with_network(api, pb.KIND_SUBNET, subnet_id).subnet.route_table_id == table_id
    api.ec2.delete_route_table(RouteTableId=main["RouteTableId"])


def test_a_repeated_request_makes_one_table(api, vpc_id):
    first = api.ec2.create_route_table(VpcId=vpc_id, ClientToken="t")
    again = api.ec2.create_route_table(VpcId=vpc_id, ClientToken="t")
    assert first["RouteTable"] == again["RouteTable"]
    other = {"VpcId": api.world.one.vpc_id, "ClientToken": "t"}
    api.refused("IdempotentParameterMismatch", api.ec2.create_route_table, **other)


def test_quotas(api, vpc_id, table_id, gateway_id):
    api.run(quotas.set_value, quotas.EVERYONE, quotas.ROUTES_PER_TABLE, 1)
    api.run(quotas.set_value, quotas.EVERYONE, quotas.ROUTE_TABLES_PER_VPC, 2)
    api.ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
    further = {"RouteTableId": table_id, "DestinationCidrBlock": "192.168.0.0/16", "GatewayId": gateway_id}
    api.refused("RouteLimitExceeded", api.ec2.create_route, **further)
    api.refused("RouteTableLimitExceeded", api.ec2.create_route_table, VpcId=vpc_id)


def test_filters_by_local_routes(api, vpc_id, table_id):
    both = {table_id, main_of(api, vpc_id)["RouteTableId"]}
    assert find(api, "route.destination-cidr-block", "10.0.0.0/16") == both
    assert both < find(api, "route.gateway-id", "local")
    assert both < find(api, "route.origin", "CreateRouteTable")
    assert find(api, "route.transit-gateway-id", "*") == set()

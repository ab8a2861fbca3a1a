"""VPCs through boto3: made with all that belongs to one, changed, given more blocks, deleted when nothing is left."""

import ipaddress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from stead_controller.db.tables import EndedCidrBlock, VpcResource
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2 as pb
from tests.api.topology import rows_of, with_network


def create(api, cidr="10.0.0.0/16", **params):
    return api.ec2.create_vpc(CidrBlock=cidr, **params)["Vpc"]


def by_vpc(call, member, vpc_id):
    return call(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])[member]


def test_a_vpc_has_a_main_table_a_group_and_an_acl_from_its_beginning(api):
    vpc = create(
        api, "10.0.3.7/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "a"}]}]
    )
    assert vpc["CidrBlock"] == "10.0.0.0/16"
    assert vpc["Tags"] == [{"Key": "Name", "Value": "a"}]
    assert not vpc["IsDefault"]
    assert api.ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"] == [vpc]
    (table,) = by_vpc(api.ec2.describe_route_tables, "RouteTables", vpc["VpcId"])
    assert [one["Main"] for one in table["Associations"]] == [True]
    assert table["Routes"] == [
        {
            "DestinationCidrBlock": "10.0.0.0/16",
            "GatewayId": "local",
            "Origin": "CreateRouteTable",
            "State": "active",
        }
    ]
    (group,) = by_vpc(api.ec2.describe_security_groups, "SecurityGroups", vpc["VpcId"])
    assert group["GroupName"] == "default"
    (acl,) = by_vpc(api.ec2.describe_network_acls, "NetworkAcls", vpc["VpcId"])
    assert acl["IsDefault"]
    default = api.ec2.describe_vpcs(VpcIds=[api.world.one.vpc_id])["Vpcs"][0]
    assert vpc["DhcpOptionsId"] == default["DhcpOptionsId"]


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/15", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("127.0.0.0/16", "InvalidVpc.Range"),
        ("169.254.0.0/24", "InvalidVpc.Range"),
        ("224.0.0.0/24", "InvalidVpc.Range"),
        ("10.0.0.0", "InvalidParameterValue"),
        ("ten", "InvalidParameterValue"),
        ("fd00::/56", "InvalidParameterValue"),
    ],
)
def test_a_block_that_no_vpc_may_have_is_refused(api, cidr, code):
    api.refused(code, api.ec2.create_vpc, CidrBlock=cidr)


def test_what_is_not_here_is_refused(api):
    api.refused("MissingParameter", api.ec2.create_vpc)
    api.refused("UnsupportedOperation", api.ec2.create_vpc, Ipv4IpamPoolId="ipam-pool-1", Ipv4NetmaskLength=16)
    elsewhere = {"AmazonProvidedIpv6CidrBlock": True, "Ipv6CidrBlockNetworkBorderGroup": "us-west-2-lax-1"}
    api.refused("InvalidParameterValue", api.ec2.create_vpc, CidrBlock="10.0.0.0/16", **elsewhere)
    one = api.world.one.vpc_id
    api.refused("InvalidParameterValue", api.ec2.associate_vpc_cidr_block, VpcId=one, **elsewhere)
    api.refused("UnsupportedTenancy", api.ec2.create_vpc, CidrBlock="10.0.0.0/16", InstanceTenancy="host")
    api.refused("DryRunOperation", api.ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)


def test_an_account_has_at_most_five_vpcs(api):
    for number in range(4):
        create(api, f"10.{number}.0.0/16")
    api.refused("VpcLimitExceeded", api.ec2.create_vpc, CidrBlock="10.9.0.0/16")


def test_overlapping_vpcs_are_no_conflict(api):
    assert create(api)["CidrBlock"] == create(api)["CidrBlock"]


def test_a_vpc_is_deleted_when_nothing_depends_on_it(api):
    before = rows_of(api)
    vpc_id = create(api)["VpcId"]
    gateway_id = api.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    api.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    subnet_id = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    table_id = api.ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    group_id = api.ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc_id)["GroupId"]
    acl_id = api.ec2.create_network_acl(VpcId=vpc_id)["NetworkAcl"]["NetworkAclId"]
    egress_only = api.ec2.create_egress_only_internet_gateway(VpcId=vpc_id)["EgressOnlyInternetGateway"]
    for free in (
        lambda: api.ec2.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id),
        lambda: api.ec2.delete_subnet(SubnetId=subnet_id),
        lambda: api.ec2.delete_route_table(RouteTableId=table_id),
        lambda: api.ec2.delete_security_group(GroupId=group_id),
        lambda: api.ec2.delete_network_acl(NetworkAclId=acl_id),
        lambda: api.ec2.delete_egress_only_internet_gateway(
            EgressOnlyInternetGatewayId=egress_only["EgressOnlyInternetGatewayId"]
        ),
    ):
        assert "dependencies" in api.refused("DependencyViolation", api.ec2.delete_vpc, VpcId=vpc_id)
        free()
    api.ec2.create_tags(Resources=[vpc_id], Tags=[{"Key": "a", "Value": "b"}])
    api.ec2.delete_vpc(VpcId=vpc_id)
    api.ec2.delete_internet_gateway(InternetGatewayId=gateway_id)
    assert rows_of(api) == before
    api.refused("InvalidVpcID.NotFound", api.ec2.delete_vpc, VpcId=vpc_id)


def test_the_default_vpc_can_be_deleted_and_made_again(api):
    world = api.world.one
    api.refused("DefaultVpcAlreadyExists", api.ec2.create_default_vpc)
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    api.ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=world.vpc_id)
    for subnet_id in world.subnet_ids:
        api.ec2.delete_subnet(SubnetId=subnet_id)
    api.ec2.delete_vpc(VpcId=world.vpc_id)
    api.refused("DefaultVpcDoesNotExist", api.ec2.create_default_subnet, AvailabilityZone="us-east-1a")
    vpc = api.ec2.create_default_vpc()["Vpc"]
    assert (vpc["IsDefault"], vpc["CidrBlock"]) == (True, "172.31.0.0/16")
    api.refused("DefaultVpcAlreadyExists", api.ec2.create_default_vpc)
    assert len(by_vpc(api.ec2.describe_subnets, "Subnets", vpc["VpcId"])) == 2
    (table,) = by_vpc(api.ec2.describe_route_tables, "RouteTables", vpc["VpcId"])
    assert [(route["DestinationCidrBlock"], route["State"]) for route in table["Routes"]] == [
        ("172.31.0.0/16", "active"),
        ("0.0.0.0/0", "active"),
    ]


def test_attributes(api):
    vpc_id = create(api)["VpcId"]

    def shown(attribute):
        return api.ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)[attribute[0].upper() + attribute[1:]]

    assert shown("enableDnsSupport") == {"Value": True}
    assert shown("enableDnsHostnames") == {"Value": False}
    api.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    api.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableNetworkAddressUsageMetrics={"Value": True})
    assert shown("enableDnsHostnames") == {"Value": True}
    assert shown("enableNetworkAddressUsageMetrics") == {"Value": True}
    api.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": False})
    api.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={"Value": False})
    refused = {"VpcId": vpc_id, "EnableDnsHostnames": {"Value": True}}
    api.refused("InvalidParameterValue", api.ec2.modify_vpc_attribute, **refused)
    api.refused(
        "InvalidParameterCombination", api.ec2.modify_vpc_attribute, EnableDnsSupport={"Value": True}, **refused
    )
    api.refused("InvalidParameterCombination", api.ec2.modify_vpc_attribute, VpcId=vpc_id)


def test_a_dedicated_tenancy_can_only_be_given_up(api):
    vpc = create(api, InstanceTenancy="dedicated")
    assert vpc["InstanceTenancy"] == "dedicated"
    api.ec2.modify_vpc_tenancy(VpcId=vpc["VpcId"], InstanceTenancy="default")
    assert api.ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["InstanceTenancy"] == "default"
    api.refused("InvalidTenancy", api.ec2.modify_vpc_tenancy, VpcId=vpc["VpcId"], InstanceTenancy="default")


@pytest.mark.parametrize("name", ["cidr", "cidr-block", "cidrBlock"])
def test_a_vpc_is_found_by_its_first_block_as_clients_name_it(api, name):
    """Ansible's `ec2_vpc_net` asks for `cidr-block`."""
    vpc = create(api)
    created = {"Name": "vpc-id", "Values": [vpc["VpcId"]]}
    for block, found in ((vpc["CidrBlock"], [vpc["VpcId"]]), ("10.99.0.0/16", [])):
        shown = api.ec2.describe_vpcs(Filters=[created, {"Name": name, "Values": [block]}])["Vpcs"]
        assert [each["VpcId"] for each in shown] == found


def test_further_ipv4_blocks(api):
    vpc = create(api)
    vpc_id = vpc["VpcId"]
    made = api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, CidrBlock="10.2.0.0/16")["CidrBlockAssociation"]
    (shown,) = api.ec2.describe_vpcs(
        Filters=[{"Name": "cidr-block-association.cidr-block", "Values": ["10.2.0.0/16"]}]
    )["Vpcs"]
    assert [block["CidrBlock"] for block in shown["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "10.2.0.0/16"]
    (table,) = by_vpc(api.ec2.describe_route_tables, "RouteTables", vpc_id)
    assert [route["DestinationCidrBlock"] for route in table["Routes"]] == ["10.0.0.0/16", "10.2.0.0/16"]
    for cidr in ("10.2.1.0/24", "192.168.0.0/24", "198.19.0.0/24", "10.0.0.0/8"):
        api.refused("InvalidVpc.Range", api.ec2.associate_vpc_cidr_block, VpcId=vpc_id, CidrBlock=cidr)
    subnet = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.2.4.0/24")["Subnet"]
    association_id = made["AssociationId"]
    api.refused("OperationNotPermitted", api.ec2.disassociate_vpc_cidr_block, AssociationId=association_id)
    api.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    api.ec2.disassociate_vpc_cidr_block(AssociationId=association_id)
    primary = shown["CidrBlockAssociationSet"][0]["AssociationId"]
    api.refused("OperationNotPermitted", api.ec2.disassociate_vpc_cidr_block, AssociationId=primary)
    for number in range(3, 7):
        api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, CidrBlock=f"10.{number}.0.0/16")
    api.refused("CidrLimitExceeded", api.ec2.associate_vpc_cidr_block, VpcId=vpc_id, CidrBlock="10.9.0.0/16")


def test_ipv6_blocks_are_of_the_clouds_pool(api):
    vpc = create(api, AmazonProvidedIpv6CidrBlock=True)
    (block,) = vpc["Ipv6CidrBlockAssociationSet"]
    network = ipaddress.IPv6Network(block["Ipv6CidrBlock"])
    assert network.prefixlen == 56
    assert network.subnet_of(ipaddress.IPv6Network(api.world.cloud.ipv6_pool))
    assert (block["Ipv6Pool"], block["IpSource"], block["NetworkBorderGroup"]) == ("Amazon", "amazon", "us-east-1")
    (table,) = by_vpc(api.ec2.describe_route_tables, "RouteTables", vpc["VpcId"])
    assert table["Routes"][1]["DestinationIpv6CidrBlock"] == block["Ipv6CidrBlock"]
    found = api.ec2.describe_vpcs(Filters=[{"Name": "ipv6-cidr-block-association.state", "Values": ["associated"]}])
    assert [one["VpcId"] for one in found["Vpcs"]] == [vpc["VpcId"]]
    (acl,) = by_vpc(api.ec2.describe_network_acls, "NetworkAcls", vpc["VpcId"])
    assert {entry["RuleNumber"] for entry in acl["Entries"] if "Ipv6CidrBlock" in entry} == {101, 32768}
    api.ec2.disassociate_vpc_cidr_block(AssociationId=block["AssociationId"])
    (ended,) = api.ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"]
    assert ended == block | {"Ipv6CidrBlockState": {"State": "disassociated"}}
    api.refused("InvalidParameterCombination", api.ec2.associate_vpc_cidr_block, VpcId=vpc["VpcId"])


def test_hosts_are_sent_a_changed_vpc(api):
    vpc_id = api.world.one.vpc_id
    api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, CidrBlock="100.64.0.0/16")
    api.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={"Value": False})
    sent = with_network(api, pb.KIND_VPC, vpc_id).vpc
    assert list(sent.cidr_blocks) == ["172.31.0.0/16", "100.64.0.0/16"]
    assert not sent.dns_support


def test_hosts_are_sent_a_whole_vpc_while_they_have_it(api):
    vpc_id = create(api)["VpcId"]
    assert sent_kinds(api, vpc_id) == {
        pb.KIND_VPC,
        pb.KIND_SECURITY_GROUP,
        pb.KIND_ROUTE_TABLE,
        pb.KIND_NETWORK_ACL,
    }
    subnet_id = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    assert with_network(api, pb.KIND_SUBNET, subnet_id).subnet.cidr_block == "10.0.1.0/24"
    api.ec2.delete_subnet(SubnetId=subnet_id)
    api.ec2.delete_vpc(VpcId=vpc_id)
    assert sent_kinds(api, vpc_id) == set()


def sent_kinds(api, vpc_id):
    query = select(VpcResource.kind).where(VpcResource.vpc_id == vpc_id, VpcResource.body.is_not(None))
    return set(api.run(lambda tx: tx.session.scalars(query).all()))


def found_in(api, vpc_id, what, name, value):
    """Count the VPCs or subnets of a VPC that a filter finds."""
    filters = [{"Name": name, "Values": [value]}, {"Name": "vpc-id", "Values": [vpc_id]}]
    return len(getattr(api.ec2, f"describe_{what}")(Filters=filters)[what.capitalize()])


def test_a_block_that_was_taken_from_a_vpc_stays_described_for_a_while(api):
    vpc_id = create(api)["VpcId"]
    associate = api.ec2.associate_vpc_cidr_block
    ipv4 = associate(VpcId=vpc_id, CidrBlock="10.1.0.0/16")["CidrBlockAssociation"]
    ipv6 = associate(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    for one in (ipv4, ipv6):
        api.ec2.disassociate_vpc_cidr_block(AssociationId=one["AssociationId"])
    (vpc,) = api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    shown = [*vpc["CidrBlockAssociationSet"][1:], *vpc["Ipv6CidrBlockAssociationSet"]]
    assert [one["AssociationId"] for one in shown] == [one["AssociationId"] for one in (ipv4, ipv6)]
    assert shown[0]["CidrBlockState"] == shown[1]["Ipv6CidrBlockState"] == {"State": "disassociated"}
    for name, value in [
        ("cidr-block-association.association-id", ipv4["AssociationId"]),
        ("cidr-block-association.cidr-block", "10.1.0.0/16"),
        ("cidr-block-association.state", "disassociated"),
        ("ipv6-cidr-block-association.association-id", ipv6["AssociationId"]),
        ("ipv6-cidr-block-association.ipv6-cidr-block", ipv6["Ipv6CidrBlock"]),
        ("ipv6-cidr-block-association.state", "disassociated"),
    ]:
        assert found_in(api, vpc_id, "vpcs", name, value) == 1, name
    assert found_in(api, vpc_id, "vpcs", "cidr-block-association.cidr-block", ipv6["Ipv6CidrBlock"]) == 0
    associate(VpcId=vpc_id, CidrBlock="10.1.0.0/16")  # it is free again

    ended = api.run(lambda tx: tx.session.scalars(select(EndedCidrBlock.ended)).first())
    for later, number in ((timedelta(minutes=59), 2), (timedelta(minutes=61), 0)):
        api.run(clean_up, Settings(Path("/nowhere")), ended + later)
        assert len(api.run(lambda tx: tx.session.scalars(select(EndedCidrBlock.id)).all())) == number


def test_a_block_that_was_taken_from_a_subnet_stays_described_for_a_while(api):
    vpc_id = create(api)["VpcId"]
    ipv6 = api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    subnet = {"VpcId": vpc_id, "CidrBlock": "10.0.0.0/24", "Ipv6CidrBlock": ipv6["Ipv6CidrBlock"][:-3] + "/64"}
    made = api.ec2.create_subnet(**subnet)["Subnet"]
    first = made["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    end = api.ec2.disassociate_subnet_cidr_block

    def states():
        (shown,) = api.ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"]
        return [
            (one["AssociationId"], one["Ipv6CidrBlockState"]["State"]) for one in shown["Ipv6CidrBlockAssociationSet"]
        ]

    assert states() == [(first, "associated")]
    assert found_in(api, vpc_id, "subnets", "ipv6-cidr-block-association.state", "disassociated") == 0
    end(AssociationId=first)
    assert states() == [(first, "disassociated")]
    again = api.ec2.associate_subnet_cidr_block(SubnetId=made["SubnetId"], Ipv6CidrBlock=subnet["Ipv6CidrBlock"])
    second = again["Ipv6CidrBlockAssociation"]["AssociationId"]
    assert states() == [(second, "associated"), (first, "disassociated")]
    api.refused("InvalidSubnetCidrBlockAssociationID.NotFound", end, AssociationId=first)
    for name, value, number in [
        ("association-id", first, 1),
        ("association-id", second, 1),
        ("state", "disassociated", 1),
        ("state", "associating", 0),
        ("ipv6-cidr-block", subnet["Ipv6CidrBlock"], 1),
    ]:
        assert found_in(api, vpc_id, "subnets", f"ipv6-cidr-block-association.{name}", value) == number, (name, value)


def test_blocks_that_were_taken_away_go_with_their_vpc_and_subnet(api):
    vpc_id = create(api)["VpcId"]
    made = api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    subnet = {"VpcId": vpc_id, "CidrBlock": "10.0.0.0/24", "Ipv6CidrBlock": made["Ipv6CidrBlock"][:-3] + "/64"}
    shown = api.ec2.create_subnet(**subnet)["Subnet"]
    (association,) = shown["Ipv6CidrBlockAssociationSet"]
    api.ec2.disassociate_subnet_cidr_block(AssociationId=association["AssociationId"])
    api.ec2.disassociate_vpc_cidr_block(AssociationId=made["AssociationId"])
    left = [vpc_id, shown["SubnetId"]]
    query = select(EndedCidrBlock.resource_id).order_by(EndedCidrBlock.resource_id)
    assert api.run(lambda tx: tx.session.scalars(query).all()) == sorted(left)
    api.ec2.delete_subnet(SubnetId=shown["SubnetId"])
    assert api.run(lambda tx: tx.session.scalars(query).all()) == [vpc_id]
    api.ec2.delete_vpc(VpcId=vpc_id)
    assert api.run(lambda tx: tx.session.scalars(query).all()) == []

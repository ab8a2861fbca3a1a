"""Subnets through boto3: made within their VPC and beside each other, changed, deleted when they are empty."""

import ipaddress

import pytest

from tests.api.topology import rows_of


@pytest.fixture
def vpc_id(api):
    """A VPC with 10.0.0.0/16 and an IPv6 block."""
    return api.ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]


@pytest.fixture
def prefix(api, vpc_id):
    """What an IPv6 block of the VPC begins with, so that `00::/64` makes it a subnet's."""
    (vpc,) = api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    groups = ipaddress.IPv6Network(block).network_address.exploded.split(":")
    return f"{':'.join(groups[:3])}:{groups[3][:2]}"


def shown(block):
    """A block as answers have it, without needless zeros."""
    return str(ipaddress.IPv6Network(block))


def create(api, vpc_id, cidr="10.0.1.0/24", **params):
    return api.ec2.create_subnet(VpcId=vpc_id, CidrBlock=cidr, **params)["Subnet"]


def test_a_subnet_is_made_as_asked(api, vpc_id, prefix):
    subnet = create(
        api,
        vpc_id,
        "10.0.1.9/24",
        Ipv6CidrBlock=f"{prefix}07::/64",
        AvailabilityZoneId="use1-az2",
        TagSpecifications=[{"ResourceType": "subnet", "Tags": [{"Key": "Name", "Value": "s"}]}],
    )
    assert (subnet["CidrBlock"], subnet["AvailabilityZone"]) == ("10.0.1.0/24", "us-east-1b")
    assert subnet["AvailableIpAddressCount"] == 251
    assert not subnet["MapPublicIpOnLaunch"]
    assert subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == shown(f"{prefix}07::/64")
    assert subnet["Tags"] == [{"Key": "Name", "Value": "s"}]
    by_block = {"Name": "ipv6-cidr-block-association.ipv6-cidr-block", "Values": [shown(f"{prefix}07::/64")]}
    assert api.ec2.describe_subnets(Filters=[by_block])["Subnets"] == [subnet]
    by_state = {"Name": "ipv6-cidr-block-association.state", "Values": ["associated"]}
    assert [one["SubnetId"] for one in api.ec2.describe_subnets(Filters=[by_state])["Subnets"]] == [subnet["SubnetId"]]
    (acl,) = api.ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}])[
        "NetworkAcls"
    ]
    assert acl["VpcId"] == vpc_id


def test_a_subnet_as_terraform_asks_for_it(api, vpc_id):
    """Its provider sends each string that is not set as an empty one."""
    empty = dict.fromkeys(("AvailabilityZoneId", "Ipv6CidrBlock", "OutpostArn", "Ipv4IpamPoolId"), "")
    subnet = create(api, vpc_id, AvailabilityZone="us-east-1b", **empty)
    assert subnet["AvailabilityZone"] == "us-east-1b"
    other = create(api, vpc_id, "10.0.2.0/24", AvailabilityZone="", **empty | {"AvailabilityZoneId": "use1-az2"})
    assert other["AvailabilityZoneId"] == "use1-az2"


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/29", "InvalidSubnet.Range"),
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.0.0/15", "InvalidSubnet.Range"),
        ("10.0.1.0/24", "InvalidSubnet.Conflict"),
        ("10.0.1.128/25", "InvalidSubnet.Conflict"),
        ("10.0.0.0/16", "InvalidSubnet.Conflict"),
        ("10.0.1", "InvalidParameterValue"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(api, vpc_id, cidr, code):
    create(api, vpc_id)
    api.refused(code, api.ec2.create_subnet, VpcId=vpc_id, CidrBlock=cidr)


def test_an_ipv6_block_that_does_not_fit_is_refused(api, vpc_id, prefix):
    create(api, vpc_id, Ipv6CidrBlock=f"{prefix}00::/64")
    taken = {"VpcId": vpc_id, "CidrBlock": "10.0.2.0/24", "Ipv6CidrBlock": f"{prefix}00::/64"}
    message = api.refused("InvalidSubnet.Conflict", api.ec2.create_subnet, **taken)
    assert message == f"The IPv6 CIDR '{ipaddress.ip_network(taken['Ipv6CidrBlock'])}' conflicts with another subnet"
    for block, code in (
        (f"{prefix}00::/60", "InvalidSubnet.Range"),
        ("fd00::/64", "InvalidSubnet.Range"),
        ("10.0.0.0/24", "InvalidParameterValue"),
    ):
        params = {"VpcId": vpc_id, "CidrBlock": "10.0.2.0/24", "Ipv6CidrBlock": block}
        api.refused(code, api.ec2.create_subnet, **params)


def test_zones(api, vpc_id):
    cidr = {"VpcId": vpc_id, "CidrBlock": "10.0.1.0/24"}
    api.refused("InvalidParameterValue", api.ec2.create_subnet, AvailabilityZone="mars-1a", **cidr)
    api.refused("InvalidParameterValue", api.ec2.create_subnet, AvailabilityZoneId="mars-az1", **cidr)
    api.refused("MissingParameter", api.ec2.create_subnet, VpcId=vpc_id)


def test_a_subnet_with_interfaces_is_not_deleted(api):
    api.launch()
    first, second = api.world.one.subnet_ids
    assert "dependencies" in api.refused("DependencyViolation", api.ec2.delete_subnet, SubnetId=first)
    api.ec2.delete_subnet(SubnetId=second)
    assert [one["SubnetId"] for one in api.ec2.describe_subnets()["Subnets"]] == [first]
    assert api.ec2.describe_network_acls()["NetworkAcls"][0]["Associations"][0]["SubnetId"] == first


def test_a_deleted_subnet_takes_its_associations_with_it(api, vpc_id):
    subnet_id = create(api, vpc_id)["SubnetId"]
    before = rows_of(api)
    other_id = create(api, vpc_id, "10.0.2.0/24")["SubnetId"]
    (table,) = api.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    api.ec2.associate_route_table(SubnetId=other_id, RouteTableId=table["RouteTableId"])
    api.ec2.create_tags(Resources=[other_id], Tags=[{"Key": "a", "Value": "b"}])
    api.ec2.delete_subnet(SubnetId=other_id)
    assert rows_of(api) == before
    api.refused("InvalidSubnetID.NotFound", api.ec2.delete_subnet, SubnetId=other_id)
    assert api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]


def test_attributes(api, vpc_id, prefix):
    subnet_id = create(api, vpc_id)["SubnetId"]

    def shown():
        return api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]

    api.ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    assert shown()["MapPublicIpOnLaunch"]
    assign = {"SubnetId": subnet_id, "AssignIpv6AddressOnCreation": {"Value": True}}
    api.refused("InvalidParameterValue", api.ec2.modify_subnet_attribute, **assign)
    associated = api.ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=f"{prefix}00::/64")
    api.ec2.modify_subnet_attribute(**assign)
    assert shown()["AssignIpv6AddressOnCreation"]
    both = {"MapPublicIpOnLaunch": {"Value": True}, "EnableDns64": {"Value": True}}
    api.refused("InvalidParameterCombination", api.ec2.modify_subnet_attribute, SubnetId=subnet_id, **both)
    for refused in ("MapCustomerOwnedIpOnLaunch", "EnableDns64"):
        params = {"SubnetId": subnet_id, refused: {"Value": True}}
        assert refused in api.refused("UnsupportedOperation", api.ec2.modify_subnet_attribute, **params)
    api.ec2.modify_subnet_attribute(SubnetId=subnet_id, EnableDns64={"Value": False})
    association_id = associated["Ipv6CidrBlockAssociation"]["AssociationId"]
    message = api.refused(
        "InvalidCidrBlock.InUse", api.ec2.disassociate_subnet_cidr_block, AssociationId=association_id
    )
    assert message.endswith("because its subnet has assign-ipv6-address-on-creation set to true.")
    api.ec2.modify_subnet_attribute(**assign | {"AssignIpv6AddressOnCreation": {"Value": False}})
    api.ec2.disassociate_subnet_cidr_block(AssociationId=association_id)
    (ended,) = shown()["Ipv6CidrBlockAssociationSet"]
    assert ended["Ipv6CidrBlockState"] == {"State": "disassociated"}
    assert not shown()["AssignIpv6AddressOnCreation"]


def test_how_instances_will_be_named(api, vpc_id, prefix):
    subnet_id = create(api, vpc_id)["SubnetId"]
    modify = api.ec2.modify_subnet_attribute

    def options():
        (subnet,) = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
        return subnet["PrivateDnsNameOptionsOnLaunch"]

    ipv4, ipv6 = (f"EnableResourceNameDns{kind}Record" for kind in ("A", "AAAA"))
    assert options() == {"HostnameType": "ip-name", ipv4: False, ipv6: False}
    api.refused("InvalidParameterValue", modify, SubnetId=subnet_id, PrivateDnsHostnameTypeOnLaunch="other")
    api.refused("InvalidParameterValue", modify, SubnetId=subnet_id, **{f"{ipv6}OnLaunch": {"Value": True}})
    api.ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=f"{prefix}00::/64")
    modify(SubnetId=subnet_id, PrivateDnsHostnameTypeOnLaunch="resource-name")
    for member in (ipv4, ipv6):
        modify(SubnetId=subnet_id, **{f"{member}OnLaunch": {"Value": True}})
    assert options() == {"HostnameType": "resource-name", ipv4: True, ipv6: True}
    by_type = {"Name": "private-dns-name-options-on-launch.hostname-type", "Values": ["resource-name"]}
    assert [one["SubnetId"] for one in api.ec2.describe_subnets(Filters=[by_type])["Subnets"]] == [subnet_id]
    modify(SubnetId=subnet_id, **{f"{ipv4}OnLaunch": {"Value": False}})
    assert options() == {"HostnameType": "resource-name", ipv4: False, ipv6: True}


def test_an_ipv6_block_stays_while_an_interface_has_addresses_of_it(api, vpc_id, prefix):
    subnet = create(api, vpc_id, Ipv6CidrBlock=f"{prefix}00::/64")
    subnet_id = subnet["SubnetId"]
    api.ec2.modify_subnet_attribute(SubnetId=subnet_id, AssignIpv6AddressOnCreation={"Value": True})
    interface = api.ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]
    address = ipaddress.IPv6Address(interface["Ipv6Addresses"][0]["Ipv6Address"])
    assert address in ipaddress.IPv6Network(f"{prefix}00::/64")
    association_id = subnet["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    api.ec2.modify_subnet_attribute(SubnetId=subnet_id, AssignIpv6AddressOnCreation={"Value": False})
    api.refused("DependencyViolation", api.ec2.disassociate_subnet_cidr_block, AssociationId=association_id)
    api.ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
    api.ec2.disassociate_subnet_cidr_block(AssociationId=association_id)


def test_a_subnet_has_one_ipv6_block(api, vpc_id, prefix):
    subnet_id = create(api, vpc_id, Ipv6CidrBlock=f"{prefix}00::/64")["SubnetId"]
    api.refused(
        "SubnetCidrBlockLimitExceeded",
        api.ec2.associate_subnet_cidr_block,
        SubnetId=subnet_id,
        Ipv6CidrBlock=f"{prefix}01::/64",
    )


def test_the_default_subnet_of_a_zone_is_made_again(api):
    zone = {"AvailabilityZone": "us-east-1a"}
    api.refused("DefaultSubnetAlreadyExistsInAvailabilityZone", api.ec2.create_default_subnet, **zone)
    api.ec2.delete_subnet(SubnetId=api.world.one.subnet_ids[0])
    subnet = api.ec2.create_default_subnet(**zone)["Subnet"]
    assert (subnet["CidrBlock"], subnet["DefaultForAz"], subnet["MapPublicIpOnLaunch"]) == (
        "172.31.0.0/20",
        True,
        True,
    )


def test_pages(api, vpc_id):
    for number in range(6):
        create(api, vpc_id, f"10.0.{number}.0/24")
    pages = list(api.ec2.get_paginator("describe_subnets").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Subnets"]) for page in pages] == [5, 3]

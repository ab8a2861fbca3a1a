"""CIDR reservations of subnets through boto3: nobody gets an address of one without asking for it by name."""

import pytest

from tests.api.topology import rows_of


@pytest.fixture
def subnet_id(api):
    """A subnet of 10.0.1.0/28, whose free addresses are .4 to .14, with a /64."""
    vpc_id = api.ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    (vpc,) = api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    made = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/28", Ipv6CidrBlock=block)
    return made["Subnet"]["SubnetId"]


def reserve(api, subnet_id, cidr, kind="explicit", **params):
    made = api.ec2.create_subnet_cidr_reservation(SubnetId=subnet_id, Cidr=cidr, ReservationType=kind, **params)
    return made["SubnetCidrReservation"]


def block6(api, subnet_id):
    (subnet,) = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    return subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].removesuffix("/64")


def interface(api, subnet_id, **params):
    return api.ec2.create_network_interface(SubnetId=subnet_id, **params)["NetworkInterface"]


def test_addresses_of_a_reservation_are_given_by_name_only(api, subnet_id):
    interface(api, subnet_id, PrivateIpAddress="10.0.1.4")
    made = reserve(api, subnet_id, "10.0.1.5/29")  # .4, which is in use, is no hindrance
    assert made["Cidr"] == "10.0.1.0/29"
    reserve(api, subnet_id, "10.0.1.10/31", "prefix")
    given = [interface(api, subnet_id)["PrivateIpAddress"] for _ in range(5)]
    assert set(given) == {"10.0.1.8", "10.0.1.9", "10.0.1.12", "10.0.1.13", "10.0.1.14"}
    api.refused("InsufficientFreeAddressesInSubnet", api.ec2.create_network_interface, SubnetId=subnet_id)
    assert interface(api, subnet_id, PrivateIpAddress="10.0.1.6")["PrivateIpAddress"] == "10.0.1.6"
    assert interface(api, subnet_id, PrivateIpAddress="10.0.1.10")["PrivateIpAddress"] == "10.0.1.10"
    api.ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=made["SubnetCidrReservationId"])
    assert interface(api, subnet_id)["PrivateIpAddress"] in ("10.0.1.5", "10.0.1.7")


def test_ipv6_addresses_of_a_reservation_are_given_by_name_only(api, subnet_id):
    prefix = block6(api, subnet_id)
    reserve(api, subnet_id, f"{prefix[:-1]}8000:0:0:0/65")
    for number in range(1, 16):  # all but the last /69 of the other half
        reserve(api, subnet_id, f"{prefix[:-1]}{(number - 1) << 11:x}:0:0:0/69")
    given = [interface(api, subnet_id, Ipv6AddressCount=1)["Ipv6Addresses"][0]["Ipv6Address"] for _ in range(3)]
    assert all(address.startswith(f"{prefix[:-1]}7") for address in given), given
    reserve(api, subnet_id, f"{prefix[:-1]}7800:0:0:0/69")
    api.refused(
        "InsufficientFreeAddressesInSubnet", api.ec2.create_network_interface, SubnetId=subnet_id, Ipv6AddressCount=1
    )
    wanted = f"{prefix}8"
    found = interface(api, subnet_id, Ipv6Addresses=[{"Ipv6Address": wanted}])
    assert found["Ipv6Addresses"][0]["Ipv6Address"] == wanted


def test_reservations_are_listed_filtered_tagged_and_deleted(api, subnet_id):
    tag = {"Key": "Name", "Value": "mine"}
    specification = [{"ResourceType": "subnet-cidr-reservation", "Tags": [tag]}]
    one = reserve(api, subnet_id, "10.0.1.8/30", Description="of mine", TagSpecifications=specification)
    other = reserve(api, subnet_id, f"{block6(api, subnet_id)}/80", "prefix")
    assert (one["OwnerId"], one["Description"], one["Tags"]) == (api.world.one.caller.account_id, "of mine", [tag])
    listed = api.ec2.get_subnet_cidr_reservations(SubnetId=subnet_id)
    assert (listed["SubnetIpv4CidrReservations"], listed["SubnetIpv6CidrReservations"]) == ([one], [other])
    by_type = [{"Name": "reservationType", "Values": ["prefix"]}]
    listed = api.ec2.get_subnet_cidr_reservations(SubnetId=subnet_id, Filters=by_type)
    assert (listed["SubnetIpv4CidrReservations"], listed["SubnetIpv6CidrReservations"]) == ([], [other])
    first = api.ec2.get_subnet_cidr_reservations(SubnetId=subnet_id, MaxResults=5)
    assert "NextToken" not in first
    one_id = one["SubnetCidrReservationId"]
    api.ec2.create_tags(Resources=[one_id], Tags=[{"Key": "more", "Value": "1"}])
    gone = api.ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=one_id)["DeletedSubnetCidrReservation"]
    assert gone["Cidr"] == "10.0.1.8/30"
    assert len(gone["Tags"]) == 2
    assert not api.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [one_id]}])["Tags"]
    api.refused(
        "InvalidSubnetCidrReservationID.NotFound",
        api.ec2.delete_subnet_cidr_reservation,
        SubnetCidrReservationId=one_id,
    )


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.1.9/32", "InvalidParameterValue"),  # overlaps
        ("10.0.1.8/30", "Resource.AlreadyAssociated"),
        ("10.0.2.0/28", "InvalidParameterValue"),
        ("10.0.1.0/27", "InvalidParameterValue"),
        ("fd00::/80", "InvalidParameterValue"),
        ("10.0.1.300/32", "InvalidParameterValue"),
    ],
)
def test_blocks_that_cannot_be_reserved_change_nothing(api, subnet_id, cidr, code):
    reserve(api, subnet_id, "10.0.1.8/30")
    before = rows_of(api)
    api.refused(code, api.ec2.create_subnet_cidr_reservation, SubnetId=subnet_id, Cidr=cidr, ReservationType="explicit")
    assert rows_of(api) == before


def test_a_subnet_goes_with_its_reservations_but_its_ipv6_block_does_not(api, subnet_id):
    reserve(api, subnet_id, "10.0.1.8/30")
    reserve(api, subnet_id, f"{block6(api, subnet_id)}/80")
    (subnet,) = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    association_id = subnet["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    api.refused("DependencyViolation", api.ec2.disassociate_subnet_cidr_block, AssociationId=association_id)
    api.ec2.delete_subnet(SubnetId=subnet_id)
    api.refused("InvalidSubnetID.NotFound", api.ec2.get_subnet_cidr_reservations, SubnetId=subnet_id)


def test_other_types_are_refused(api, subnet_id):
    api.refused(
        "InvalidParameterValue",
        api.ec2.create_subnet_cidr_reservation,
        SubnetId=subnet_id,
        Cidr="10.0.1.8/30",
        ReservationType="other",
    )

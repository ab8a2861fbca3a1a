"""Subnets of IPv6 only through boto3: what is in them has IPv6 addresses and nothing of IPv4, and is asked for nothing."""

import ipaddress
from typing import Any

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Instance
from stead_controller.desired.messages import identity, mapping
from stead_controller.errors import InvalidParameter
from stead_controller.resources.network import interface_questions
from stead_proto.v1 import desired_pb2
from tests.api.conftest import Api
from tests.api.test_network_insights import ask
from tests.api.test_network_interfaces import create, sent, shown
from tests.api.test_run_instances import run
from tests.api.topology import rows_of


def ipv6_blocks(api: Api) -> list[str]:
    """Give the tenant's VPC an IPv6 block, and list its first /64 blocks."""
    vpc_id = api.world.one.vpc_id
    api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    (vpc,) = api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    whole = ipaddress.IPv6Network(vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
    return [str(block) for block, _ in zip(whole.subnets(new_prefix=64), range(3), strict=False)]


@pytest.fixture
def blocks(api: Api) -> list[str]:
    """The first /64 blocks of the tenant's VPC."""
    return ipv6_blocks(api)


def make_ipv6_only(api: Api, block: str, **params: Any) -> dict[str, Any]:
    asked = {"VpcId": api.world.one.vpc_id, "Ipv6CidrBlock": block, "Ipv6Native": True} | params
    return dict(api.ec2.create_subnet(**asked)["Subnet"])


@pytest.fixture
def subnet_id(api: Api, blocks: list[str]) -> str:
    """A subnet of IPv6 only."""
    return str(make_ipv6_only(api, blocks[0])["SubnetId"])


def test_a_subnet_is_shown_as_ec2_does(api: Api, blocks: list[str]) -> None:
    made = make_ipv6_only(api, blocks[0])
    assert "CidrBlock" not in made
    assert (made["Ipv6Native"], made["AvailableIpAddressCount"]) == (True, 0)
    assert (made["AssignIpv6AddressOnCreation"], made["MapPublicIpOnLaunch"]) == (True, False)
    assert made["PrivateDnsNameOptionsOnLaunch"] == {
        "HostnameType": "resource-name",
        "EnableResourceNameDnsARecord": False,
        "EnableResourceNameDnsAAAARecord": True,
    }
    for name, value in (("ipv6-native", "true"), ("available-ip-address-count", "0")):
        found = api.ec2.describe_subnets(Filters=[{"Name": name, "Values": [value]}])["Subnets"]
        assert found == [made]
    others = api.ec2.describe_subnets(Filters=[{"Name": "ipv6-native", "Values": ["false"]}])["Subnets"]
    assert {one["SubnetId"] for one in others} == set(api.world.one.subnet_ids)


def test_what_is_no_subnet_of_ipv6_only_is_refused(api: Api, blocks: list[str]) -> None:
    make_ipv6_only(api, blocks[0])
    before = rows_of(api)
    vpc = {"VpcId": api.world.one.vpc_id, "Ipv6Native": True}
    both = {"CidrBlock": "172.31.240.0/24", "Ipv6CidrBlock": blocks[1]}
    message = api.refused("InvalidParameterCombination", api.ec2.create_subnet, **vpc, **both)
    assert message.startswith("When specifying ipv4 parameters")
    message = api.refused("MissingParameter", api.ec2.create_subnet, **vpc)
    assert message == "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided."
    api.refused("InvalidSubnet.Conflict", api.ec2.create_subnet, **vpc, Ipv6CidrBlock=blocks[0])
    api.refused("InvalidSubnet.Range", api.ec2.create_subnet, **vpc, Ipv6CidrBlock="2001:db8:ffff::/64")
    api.refused("MissingParameter", api.ec2.create_subnet, VpcId=vpc["VpcId"], Ipv6CidrBlock=blocks[1])
    api.refused("UnsupportedOperation", api.ec2.create_default_subnet, AvailabilityZone="us-east-1a", Ipv6Native=True)
    assert rows_of(api) == before


def test_two_subnets_without_ipv4_and_one_with_it_are_beside_each_other(api: Api, blocks: list[str]) -> None:
    made = [make_ipv6_only(api, block)["SubnetId"] for block in blocks[:2]]
    with_ipv4 = api.ec2.create_subnet(VpcId=api.world.one.vpc_id, CidrBlock="172.31.240.0/24")["Subnet"]
    assert not with_ipv4["Ipv6Native"]
    for subnet_id in (*made, with_ipv4["SubnetId"]):
        api.ec2.delete_subnet(SubnetId=subnet_id)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("AssignIpv6AddressOnCreation", {"Value": False}),
        ("MapPublicIpOnLaunch", {"Value": True}),
        ("EnableResourceNameDnsARecordOnLaunch", {"Value": True}),
        ("PrivateDnsHostnameTypeOnLaunch", "ip-name"),
    ],
)
def test_attributes_of_ipv4_are_refused(api: Api, subnet_id: str, member: str, value: Any) -> None:
    before = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    message = api.refused(
        "InvalidParameterValue", api.ec2.modify_subnet_attribute, SubnetId=subnet_id, **{member: value}
    )
    assert "IPv6 only subnet" in message
    assert api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"] == before


def test_other_attributes_are_set(api: Api, subnet_id: str) -> None:
    for member, value in (
        ("AssignIpv6AddressOnCreation", {"Value": True}),
        ("MapPublicIpOnLaunch", {"Value": False}),
        ("EnableResourceNameDnsAAAARecordOnLaunch", {"Value": False}),
        ("PrivateDnsHostnameTypeOnLaunch", "resource-name"),
    ):
        api.ec2.modify_subnet_attribute(SubnetId=subnet_id, **{member: value})
    (subnet,) = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    assert not subnet["PrivateDnsNameOptionsOnLaunch"]["EnableResourceNameDnsAAAARecord"]


def test_its_block_stays(api: Api, subnet_id: str, blocks: list[str]) -> None:
    (subnet,) = api.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    association = subnet["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    message = api.refused("InvalidCidrBlock.InUse", api.ec2.disassociate_subnet_cidr_block, AssociationId=association)
    assert "assign-ipv6-address-on-creation" in message
    api.refused(
        "SubnetCidrBlockLimitExceeded",
        api.ec2.associate_subnet_cidr_block,
        SubnetId=subnet_id,
        Ipv6CidrBlock=blocks[1],
    )


def test_interfaces_have_ipv6_addresses_only(api: Api, subnet_id: str, blocks: list[str]) -> None:
    made = [create(api, SubnetId=subnet_id) for _ in range(2)]  # none has what must differ from the other's
    for one in made:
        assert (one["Ipv6Native"], one["PrivateIpAddresses"], len(one["Ipv6Addresses"])) == (True, [], 1)
        assert not {"PrivateIpAddress", "PrivateDnsName", "Association"} & one.keys()
        assert ipaddress.ip_address(one["Ipv6Address"]) in ipaddress.ip_network(blocks[0])
    chosen = str(ipaddress.ip_network(blocks[0])[77])
    named = create(api, SubnetId=subnet_id, Ipv6Addresses=[{"Ipv6Address": chosen}])
    assert named["Ipv6Address"] == chosen
    assert not create(api)["Ipv6Native"]
    several = create(api, SubnetId=subnet_id, Ipv6AddressCount=3)
    assert len(several["Ipv6Addresses"]) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"PrivateIpAddress": "172.31.0.77"},
        {"SecondaryPrivateIpAddressCount": 1},
        {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.77", "Primary": True}]},
        {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.77", "Primary": False}]},
        {"Ipv6AddressCount": 0},
    ],
)
def test_interfaces_with_ipv4_or_without_an_address_are_refused(
    api: Api, subnet_id: str, asked: dict[str, Any]
) -> None:
    before = rows_of(api)
    api.refused("InvalidParameterCombination", lambda: create(api, SubnetId=subnet_id, **asked))
    assert rows_of(api) == before


def test_addresses_of_an_interface_change_within_ipv6(api: Api, subnet_id: str) -> None:
    made = create(api, SubnetId=subnet_id)
    interface_id, first = made["NetworkInterfaceId"], made["Ipv6Address"]
    interface = {"NetworkInterfaceId": interface_id}
    assign, unassign = api.ec2.assign_private_ip_addresses, api.ec2.unassign_ipv6_addresses
    api.refused("InvalidParameterValue", assign, **interface, SecondaryPrivateIpAddressCount=1)
    api.refused("InvalidParameterValue", assign, **interface, PrivateIpAddresses=["172.31.0.77"])
    message = api.refused("InvalidParameterValue", unassign, **interface, Ipv6Addresses=[first])
    assert "last IPv6 address" in message
    (second,) = api.ec2.assign_ipv6_addresses(**interface, Ipv6AddressCount=1)["AssignedIpv6Addresses"]
    unassign(**interface, Ipv6Addresses=[first])
    assert shown(api, interface_id)["Ipv6Address"] == second


def test_no_public_ipv4_address_leads_there(api: Api, subnet_id: str) -> None:
    interface_id = create(api, SubnetId=subnet_id)["NetworkInterfaceId"]
    elastic = api.ec2.allocate_address()["AllocationId"]
    before = rows_of(api)
    message = api.refused(
        "InvalidParameterValue",
        api.ec2.associate_address,
        AllocationId=elastic,
        NetworkInterfaceId=interface_id,
    )
    assert "no private IPv4 address" in message
    api.refused(
        "InvalidParameterValue",
        api.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=interface_id,
        AssociatePublicIpAddress=True,
    )
    message = api.refused("InvalidParameterValue", api.ec2.create_nat_gateway, SubnetId=subnet_id, AllocationId=elastic)
    assert "IPv6 only subnet" in message
    endpoint = {"ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface", "SubnetIds": [subnet_id]}
    asked = {"VpcId": api.world.one.vpc_id} | endpoint
    message = api.refused("InvalidParameter", api.ec2.create_vpc_endpoint, **asked)
    assert "IPv6 only subnet" in message
    assert rows_of(api) == before


def test_instances_have_ipv6_addresses_and_names_by_id(api: Api, subnet_id: str) -> None:
    api.ec2.modify_vpc_attribute(VpcId=api.world.one.vpc_id, EnableDnsHostnames={"Value": True})
    launched = run(api, SubnetId=subnet_id, MinCount=2, MaxCount=2)["Instances"]
    for one in launched:
        (nic,) = one["NetworkInterfaces"]
        name = f"{one['InstanceId']}.ec2.internal"
        assert not {"PrivateIpAddress", "PublicIpAddress"} & (one.keys() | nic.keys())
        assert (one["PrivateDnsName"], nic["PrivateIpAddresses"]) == (name, [])
        assert one["Ipv6Address"] == nic["Ipv6Addresses"][0]["Ipv6Address"]
        for what, value in (("private-dns-name", name), ("ipv6-address", one["Ipv6Address"])):
            (found,) = api.ec2.describe_instances(Filters=[{"Name": what, "Values": [value]}])["Reservations"]
            assert [each["InstanceId"] for each in found["Instances"]] == [one["InstanceId"]]
    native = {"Name": "network-interface.ipv6-native", "Values": ["true"]}
    found = [each for one in api.ec2.describe_instances(Filters=[native])["Reservations"] for each in one["Instances"]]
    assert {one["InstanceId"] for one in found} == {one["InstanceId"] for one in launched}


def test_hosts_are_sent_nothing_of_ipv4(api: Api, subnet_id: str) -> None:
    api.ec2.modify_vpc_attribute(VpcId=api.world.one.vpc_id, EnableDnsHostnames={"Value": True})
    (one,) = run(api, SubnetId=subnet_id)["Instances"]
    (nic,) = one["NetworkInterfaces"]
    name, address = f"{one['InstanceId']}.ec2.internal", one["Ipv6Address"]
    interface = sent(api, desired_pb2.KIND_INTERFACE, nic["NetworkInterfaceId"])
    machine = sent(api, desired_pb2.KIND_MACHINE, one["InstanceId"])
    assert interface is not None
    assert machine is not None
    body, words = interface.interface, machine.machine.metadata
    assert (body.private_address, body.private_dns_name, list(body.ipv6_addresses)) == ("", "", [address])
    assert body.host_name == name
    assert (words.hostname, words.private_address) == (name, "")
    assert b'"privateIp" : null' in identity.document(machine.machine)
    where = api.run(mapping.draw, nic["NetworkInterfaceId"])
    assert (list(where.addresses), where.private_dns_name) == ([address], "")
    assert (where.resource_name, list(where.resource_name_addresses)) == (name, [address])
    assert api.run(interface_questions.look, one["InstanceId"], "fd00::1").from_address == address
    with pytest.raises(InvalidParameter, match="no IPv4 address"):
        api.run(interface_questions.look, one["InstanceId"], "172.31.0.5")


@pytest.mark.parametrize(
    "asked",
    [
        {"PrivateIpAddress": "172.31.0.77"},
        {"Ipv6AddressCount": 0},
        {"PrivateDnsNameOptions": {"HostnameType": "ip-name"}},
        {"PrivateDnsNameOptions": {"EnableResourceNameDnsARecord": True}},
    ],
)
def test_launches_with_ipv4_are_refused(api: Api, subnet_id: str, asked: dict[str, Any]) -> None:
    before = rows_of(api)
    of_names = "PrivateDnsNameOptions" in asked
    code = "InvalidParameterValue" if of_names else "InvalidParameterCombination"
    api.refused(code, lambda: run(api, SubnetId=subnet_id, **asked))
    assert rows_of(api) == before


def test_a_launch_with_a_public_address_is_refused(api: Api, subnet_id: str) -> None:
    nic = {"DeviceIndex": 0, "SubnetId": subnet_id, "AssociatePublicIpAddress": True}
    message = api.refused("InvalidParameterCombination", lambda: run(api, NetworkInterfaces=[nic]))
    assert "associatePublicIPAddress" in message


def test_an_instance_is_named_by_its_id_for_ever(api: Api, subnet_id: str) -> None:
    instance_id = run(api, SubnetId=subnet_id)["Instances"][0]["InstanceId"]
    modify = api.ec2.modify_private_dns_name_options
    for asked in ({"PrivateDnsHostnameType": "ip-name"}, {"EnableResourceNameDnsARecord": True}):
        assert "IPv6 only subnet" in api.refused("InvalidParameterValue", modify, InstanceId=instance_id, **asked)
    modify(InstanceId=instance_id, EnableResourceNameDnsAAAARecord=False)
    api.ec2.terminate_instances(InstanceIds=[instance_id])


def test_a_way_between_both_kinds_is_explained_by_ipv6(api: Api, subnet_id: str, blocks: list[str]) -> None:
    other = api.world.one.subnet_ids[0]
    api.ec2.associate_subnet_cidr_block(SubnetId=other, Ipv6CidrBlock=blocks[1])
    (dual,) = run(api, SubnetId=other, Ipv6AddressCount=1)["Instances"]
    (native,) = run(api, SubnetId=subnet_id)["Instances"]
    api.run(lambda tx: tx.session.execute(update(Instance).values(state="running")))
    for source, destination in ((native, dual), (dual, native)):
        found = ask(api, source["InstanceId"], destination["InstanceId"], DestinationPort=22)
        header = found["ForwardPathComponents"][0]["OutboundHeader"]
        assert found["NetworkPathFound"], found
        assert header["SourceAddresses"] == [f"{source['Ipv6Address']}/128"]

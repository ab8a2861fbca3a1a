"""IPv6 addresses of network interfaces through boto3: of a subnet that has a block, asked for or given by itself."""

import ipaddress
from typing import Any

import pytest

from stead_proto.v1 import desired_pb2
from tests.api.conftest import Api
from tests.api.test_network_interfaces import create, shown, told
from tests.api.test_run_instances import run


@pytest.fixture
def block(api: Api) -> ipaddress.IPv6Network:
    """The IPv6 block of the tenant's first subnet."""
    vpc_id, subnet_id = api.world.one.vpc_id, api.world.one.subnet_ids[0]
    api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    (vpc,) = api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    whole = ipaddress.IPv6Network(vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
    first = next(whole.subnets(new_prefix=64))
    api.ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=str(first))
    return first


def ipv6(interface: dict[str, Any]) -> list[str]:
    return [one["Ipv6Address"] for one in interface["Ipv6Addresses"]]


def test_addresses_are_assigned_and_unassigned(api: Api, block: ipaddress.IPv6Network) -> None:
    wanted = str(block[77])
    made = create(api, Ipv6Addresses=[{"Ipv6Address": wanted}])
    interface_id = made["NetworkInterfaceId"]
    assert ipv6(made) == [wanted]
    answer = api.ec2.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6AddressCount=2)
    assert all(ipaddress.ip_address(one) in block for one in answer["AssignedIpv6Addresses"])
    assert set(ipv6(shown(api, interface_id))) == {wanted, *answer["AssignedIpv6Addresses"]}
    (found,) = api.ec2.describe_network_interfaces(
        Filters=[{"Name": "ipv6-addresses.ipv6-address", "Values": [wanted]}]
    )["NetworkInterfaces"]
    assert found["NetworkInterfaceId"] == interface_id
    api.refused("InvalidIPAddress.InUse", lambda: create(api, Ipv6Addresses=[{"Ipv6Address": wanted}]))
    api.refused("InvalidParameterValue", lambda: create(api, Ipv6Addresses=[{"Ipv6Address": "fd00::77"}]))
    api.ec2.unassign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[wanted])
    assert set(ipv6(shown(api, interface_id))) == set(answer["AssignedIpv6Addresses"])
    api.refused(
        "InvalidParameterValue",
        api.ec2.unassign_ipv6_addresses,
        NetworkInterfaceId=interface_id,
        Ipv6Addresses=[wanted],
    )


def test_an_instance_has_them_from_its_launch(api: Api, block: ipaddress.IPv6Network) -> None:
    subnet_id = api.world.one.subnet_ids[0]
    (asked,) = run(api, SubnetId=subnet_id, Ipv6AddressCount=1)["Instances"]
    (address,) = ipv6(asked["NetworkInterfaces"][0])
    assert ipaddress.ip_address(address) in block
    resource = told(api, desired_pb2.KIND_INTERFACE, asked["NetworkInterfaces"][0]["NetworkInterfaceId"])
    assert resource is not None
    assert list(resource.interface.ipv6_addresses) == [address]
    found = api.ec2.describe_instances(Filters=[{"Name": "ipv6-address", "Values": [address]}])["Reservations"]
    assert found[0]["Instances"][0]["InstanceId"] == asked["InstanceId"]
    assert found[0]["Instances"][0]["Ipv6Address"] == address

    (without,) = run(api, SubnetId=subnet_id)["Instances"]
    assert ipv6(without["NetworkInterfaces"][0]) == []
    api.ec2.modify_subnet_attribute(SubnetId=subnet_id, AssignIpv6AddressOnCreation={"Value": True})
    (by_itself,) = run(api, SubnetId=subnet_id)["Instances"]
    assert len(ipv6(by_itself["NetworkInterfaces"][0])) == 1

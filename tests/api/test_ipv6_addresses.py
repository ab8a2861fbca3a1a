"""IPv6 addresses of network interfaces through boto3: of a subnet that has a block, asked for or given by itself."""

import ipaddress
from typing import Any

import pytest

from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.api.conftest import Api
from tests.api.test_network_interfaces import create, report, sent, shown
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
    resource = sent(api, desired_pb2.KIND_INTERFACE, asked["NetworkInterfaces"][0]["NetworkInterfaceId"])
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


def primary(interface: dict[str, Any]) -> list[str]:
    return [one["Ipv6Address"] for one in interface["Ipv6Addresses"] if one["IsPrimaryIpv6"]]


def test_the_first_address_becomes_the_primary_one_and_stays(api: Api, block: ipaddress.IPv6Network) -> None:
    first, second, third = (str(block[number]) for number in (90, 80, 70))
    wanted = [{"Ipv6Address": address} for address in (first, second)]
    interface_id = create(api, Ipv6Addresses=wanted)["NetworkInterfaceId"]
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, EnablePrimaryIpv6=False)
    assert primary(shown(api, interface_id)) == []
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, EnablePrimaryIpv6=True)
    api.ec2.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[third])
    before = shown(api, interface_id)
    assert (ipv6(before), primary(before), before["Ipv6Address"]) == ([first, second, third], [first], first)
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, EnablePrimaryIpv6=True)
    for refused in ([first], [second, first]):
        api.refused(
            "InvalidParameterValue",
            api.ec2.unassign_ipv6_addresses,
            NetworkInterfaceId=interface_id,
            Ipv6Addresses=refused,
        )
    api.refused(
        "InvalidParameterValue",
        api.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=interface_id,
        EnablePrimaryIpv6=False,
    )
    assert shown(api, interface_id) == before
    api.ec2.unassign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[second])
    assert primary(shown(api, interface_id)) == [first]


def test_a_later_address_becomes_the_primary_one_of_an_interface_without_any(
    api: Api, block: ipaddress.IPv6Network
) -> None:
    made = create(api, EnablePrimaryIpv6=True, Ipv6AddressCount=0)
    assert ipv6(made) == []
    interface_id, wanted = made["NetworkInterfaceId"], str(block[77])
    api.ec2.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[wanted])
    assert primary(shown(api, interface_id)) == [wanted]


def test_a_launch_asks_for_a_primary_address(api: Api, block: ipaddress.IPv6Network) -> None:
    subnet_id, wanted = api.world.one.subnet_ids[0], str(block[77])
    one = {"DeviceIndex": 0, "SubnetId": subnet_id, "Ipv6AddressCount": 1}
    for launched in (
        run(api, SubnetId=subnet_id, Ipv6Addresses=[{"Ipv6Address": wanted}], EnablePrimaryIpv6=True),
        run(api, NetworkInterfaces=[one | {"PrimaryIpv6": True}]),
    ):
        (instance,) = launched["Instances"]
        (interface,) = instance["NetworkInterfaces"]
        assert primary(interface) == ipv6(interface) == [instance["Ipv6Address"]]
        assert primary(shown(api, interface["NetworkInterfaceId"])) == ipv6(interface)
    (without,) = run(api, NetworkInterfaces=[one | {"PrimaryIpv6": False}])["Instances"]
    assert primary(without["NetworkInterfaces"][0]) == []
    refused = {"NetworkInterfaces": [one], "EnablePrimaryIpv6": True}
    api.refused("InvalidParameterCombination", lambda: run(api, **refused))
    free_id = create(api)["NetworkInterfaceId"]
    given = {"DeviceIndex": 0, "NetworkInterfaceId": free_id, "PrimaryIpv6": True}
    api.refused("InvalidParameterCombination", lambda: run(api, NetworkInterfaces=[given]))


def test_a_detached_interface_has_no_primary_address_any_more(api: Api, block: ipaddress.IPv6Network) -> None:
    instance_id, wanted = api.launch(), str(block[77])
    interface_id = create(api, Ipv6Addresses=[{"Ipv6Address": wanted}], EnablePrimaryIpv6=True)["NetworkInterfaceId"]
    attached = api.ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)
    report(api, desired_pb2.KIND_MACHINE, instance_id, pb.CONDITION_READY)
    (found,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    (_, second) = found["Instances"][0]["NetworkInterfaces"]
    assert primary(second) == primary(shown(api, interface_id)) == [wanted]
    api.ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])
    report(api, desired_pb2.KIND_INTERFACE, interface_id, pb.CONDITION_ABSENT)
    after = shown(api, interface_id)
    assert (after["Status"], ipv6(after), primary(after)) == ("available", [wanted], [])
    api.ec2.unassign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[wanted])


def test_a_subnet_without_ipv6_has_no_primary_address(api: Api) -> None:
    api.refused("InvalidParameterValue", lambda: create(api, EnablePrimaryIpv6=True))
    made = create(api)
    api.refused(
        "InvalidParameterValue",
        api.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=made["NetworkInterfaceId"],
        EnablePrimaryIpv6=True,
    )
    assert shown(api, made["NetworkInterfaceId"]) == made | {"TagSet": []}

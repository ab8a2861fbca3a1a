"""Host names of instances by id or by address, chosen by subnets, launches and changes, and what hosts make of them."""

from typing import Any

import pytest

from stead_controller.db.tables import Instance, VpcResource
from stead_proto.v1 import desired_pb2
from tests.api.conftest import Api
from tests.api.test_network_interfaces import sent

DEFAULTS = {"HostnameType": "ip-name", "EnableResourceNameDnsARecord": False, "EnableResourceNameDnsAAAARecord": False}


@pytest.fixture(autouse=True)
def _host_names(api: Api) -> None:
    """The VPC gives host names."""
    api.ec2.modify_vpc_attribute(VpcId=api.world.one.vpc_id, EnableDnsHostnames={"Value": True})


def launch(api: Api, **params: Any) -> str:
    asked = {"ImageId": api.world.image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1} | params
    made = api.ec2.run_instances(**asked)["Instances"][0]
    assert made["PrivateDnsNameOptions"] == shown(api, made["InstanceId"])["PrivateDnsNameOptions"]
    return str(made["InstanceId"])


def shown(api: Api, instance_id: str) -> Any:
    (one,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return one


def by_address(one: Any) -> str:
    return f"ip-{one['PrivateIpAddress'].replace('.', '-')}.ec2.internal"


def mapping(api: Api, one: Any) -> Any:
    """What all hosts of the VPC are sent of an instance's interface."""
    interface_id = one["NetworkInterfaces"][0]["NetworkInterfaceId"]
    key = (api.world.one.vpc_id, int(desired_pb2.KIND_MAPPING), interface_id)
    return desired_pb2.Resource.FromString(api.run(lambda tx: tx.session.get_one(VpcResource, key).body)).mapping


def host_names(api: Api, one: Any) -> tuple[str, str]:
    """The host name by metadata and the one by DHCP, as they are sent to the instance's host."""
    machine = sent(api, desired_pb2.KIND_MACHINE, one["InstanceId"])
    interface = sent(api, desired_pb2.KIND_INTERFACE, one["NetworkInterfaces"][0]["NetworkInterfaceId"])
    assert machine is not None
    assert interface is not None
    return machine.machine.metadata.hostname, interface.interface.host_name or interface.interface.private_dns_name


def found(api: Api, name: str, value: str) -> list[str]:
    answer = api.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])
    return [one["InstanceId"] for reservation in answer["Reservations"] for one in reservation["Instances"]]


def test_instances_are_named_by_their_addresses(api: Api) -> None:
    one = shown(api, launch(api))
    assert one["PrivateDnsNameOptions"] == DEFAULTS
    assert one["PrivateDnsName"] == by_address(one)
    assert host_names(api, one) == (by_address(one), by_address(one))
    assert (mapping(api, one).resource_name, list(mapping(api, one).resource_name_addresses)) == ("", [])


def test_a_launch_chooses(api: Api) -> None:
    other = launch(api)
    instance_id = launch(
        api, PrivateDnsNameOptions={"HostnameType": "resource-name", "EnableResourceNameDnsARecord": True}
    )
    one, name = shown(api, instance_id), f"{instance_id}.ec2.internal"
    expected = {"HostnameType": "resource-name", "EnableResourceNameDnsARecord": True}
    assert one["PrivateDnsNameOptions"] == DEFAULTS | expected
    assert one["PrivateDnsName"] == name
    assert one["NetworkInterfaces"][0]["PrivateDnsName"] == by_address(one)
    assert host_names(api, one) == (name, name)
    of_vpc = mapping(api, one)
    assert (of_vpc.private_dns_name, of_vpc.resource_name) == (by_address(one), name)
    assert list(of_vpc.resource_name_addresses) == [one["PrivateIpAddress"]]
    options = "private-dns-name-options"
    assert found(api, "private-dns-name", name) == found(api, f"{options}.hostname-type", "resource-name")
    assert found(api, "private-dns-name", name) == [instance_id]
    assert found(api, "private-dns-name", by_address(one)) == []
    assert found(api, f"{options}.enable-resource-name-dns-a-record", "false") == [other]
    assert found(api, f"{options}.enable-resource-name-dns-aaaa-record", "true") == []
    api.ec2.modify_vpc_attribute(VpcId=api.world.one.vpc_id, EnableDnsHostnames={"Value": False})
    assert shown(api, instance_id)["PrivateDnsName"] == ""
    assert found(api, "private-dns-name", name) == []


def test_a_subnet_chooses_what_a_launch_leaves_open(api: Api) -> None:
    subnet_id, prefix = api.world.one.subnet_ids[0], ipv6_prefix(api)
    api.ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=prefix)
    for attribute in (
        {"PrivateDnsHostnameTypeOnLaunch": "resource-name"},
        {"EnableResourceNameDnsARecordOnLaunch": {"Value": True}},
        {"EnableResourceNameDnsAAAARecordOnLaunch": {"Value": True}},
    ):
        api.ec2.modify_subnet_attribute(SubnetId=subnet_id, **attribute)
    first = shown(api, launch(api, SubnetId=subnet_id, Ipv6AddressCount=2))
    assert first["PrivateDnsNameOptions"] == {
        "HostnameType": "resource-name",
        "EnableResourceNameDnsARecord": True,
        "EnableResourceNameDnsAAAARecord": True,
    }
    addresses = [one["Ipv6Address"] for one in first["NetworkInterfaces"][0]["Ipv6Addresses"]]
    assert list(mapping(api, first).resource_name_addresses) == [first["PrivateIpAddress"], addresses[0]]
    against = {"EnableResourceNameDnsARecord": False, "HostnameType": "ip-name"}
    second = shown(api, launch(api, SubnetId=subnet_id, PrivateDnsNameOptions=against))
    assert second["PrivateDnsNameOptions"] == DEFAULTS | {"EnableResourceNameDnsAAAARecord": True}
    assert list(mapping(api, second).resource_name_addresses) == []
    api.ec2.assign_ipv6_addresses(
        NetworkInterfaceId=second["NetworkInterfaces"][0]["NetworkInterfaceId"], Ipv6AddressCount=1
    )
    (address,) = shown(api, second["InstanceId"])["NetworkInterfaces"][0]["Ipv6Addresses"]
    assert list(mapping(api, second).resource_name_addresses) == [address["Ipv6Address"]]


def ipv6_prefix(api: Api) -> str:
    """Give the VPC an IPv6 block, and a /64 of it."""
    block = api.ec2.associate_vpc_cidr_block(VpcId=api.world.one.vpc_id, AmazonProvidedIpv6CidrBlock=True)
    return str(block["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"]).replace("/56", "/64")


def test_only_the_primary_interface_has_the_instances_name(api: Api) -> None:
    asked = {"HostnameType": "resource-name", "EnableResourceNameDnsARecord": True}
    subnet_id = api.world.one.subnet_ids[0]
    interfaces = [{"DeviceIndex": index, "SubnetId": subnet_id} for index in (0, 1)]
    one = shown(api, launch(api, NetworkInterfaces=interfaces, PrivateDnsNameOptions=asked))
    second = one["NetworkInterfaces"][1]
    interface = sent(api, desired_pb2.KIND_INTERFACE, second["NetworkInterfaceId"])
    assert interface is not None
    assert interface.interface.host_name == ""
    assert mapping(api, {"NetworkInterfaces": [second]}).resource_name == ""
    assert mapping(api, one).resource_name == f"{one['InstanceId']}.ec2.internal"


def test_records_change_at_once_and_host_names_while_stopped(api: Api) -> None:
    instance_id = api.launch()
    modify, one = api.ec2.modify_private_dns_name_options, shown(api, instance_id)
    assert modify(InstanceId=instance_id, EnableResourceNameDnsARecord=True)["Return"]
    assert list(mapping(api, one).resource_name_addresses) == [one["PrivateIpAddress"]]
    by_id = {"InstanceId": instance_id, "PrivateDnsHostnameType": "resource-name"}
    api.refused("IncorrectInstanceState", modify, **by_id, EnableResourceNameDnsARecord=False)
    modify(InstanceId=instance_id, PrivateDnsHostnameType="ip-name", EnableResourceNameDnsAAAARecord=True)
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))
    modify(**by_id, EnableResourceNameDnsARecord=False)
    assert shown(api, instance_id)["PrivateDnsNameOptions"] == {
        "HostnameType": "resource-name",
        "EnableResourceNameDnsARecord": False,
        "EnableResourceNameDnsAAAARecord": True,
    }
    name = f"{instance_id}.ec2.internal"
    assert shown(api, instance_id)["PrivateDnsName"] == name
    assert host_names(api, one) == (name, name)
    assert list(mapping(api, one).resource_name_addresses) == []
    modify(InstanceId=instance_id, PrivateDnsHostnameType="ip-name")
    assert host_names(api, one) == (by_address(one), by_address(one))


def test_what_is_refused(api: Api) -> None:
    instance_id, ended = api.launch(), api.launch(number=1, state="terminated")
    modify = api.ec2.modify_private_dns_name_options
    api.refused("InvalidParameterCombination", modify, InstanceId=instance_id)
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, PrivateDnsHostnameType="other")
    api.refused(
        "InvalidInstanceID.NotFound", modify, InstanceId="i-00000000000000009", PrivateDnsHostnameType="ip-name"
    )
    api.refused("IncorrectInstanceState", modify, InstanceId=ended, EnableResourceNameDnsARecord=True)
    others = api.other.modify_private_dns_name_options
    api.refused("InvalidInstanceID.NotFound", others, InstanceId=instance_id, EnableResourceNameDnsARecord=True)
    asked = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
    api.refused(
        "InvalidParameterValue", api.ec2.run_instances, **asked, PrivateDnsNameOptions={"HostnameType": "other"}
    )

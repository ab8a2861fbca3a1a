"""Elastic IP addresses through boto3: allocated, associated, moved, released, and what is refused."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Instance, InternetGateway, PublicAddress, Vpc, VpcResource
from stead_controller.resources.network import address_pools, elastic_addresses
from stead_proto.v1 import desired_pb2
from tests.api.conftest import Api
from tests.api.test_network_interfaces import create, sent
from tests.support.rows import NOW


def instance(api: Api, instance_id: str) -> dict[str, Any]:
    (found,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return dict(found)


def only_address(api: Api) -> dict[str, Any]:
    (found,) = api.ec2.describe_addresses()["Addresses"]
    return dict(found)


def primary_of(api: Api, instance_id: str) -> str:
    return str(instance(api, instance_id)["NetworkInterfaces"][0]["NetworkInterfaceId"])


def sent_public_addresses(api: Api, instance_id: str) -> list[str]:
    resource = sent(api, desired_pb2.KIND_INTERFACE, primary_of(api, instance_id))
    return [one.public_address for one in resource.interface.public_addresses] if resource else []


def test_an_allocation_is_shown_and_tagged(api: Api) -> None:
    made = api.ec2.allocate_address(
        Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": "web"}]}]
    )
    shown = only_address(api)
    assert shown["PublicIp"] == made["PublicIp"]
    assert shown["AllocationId"] == made["AllocationId"]
    assert shown["Tags"] == [{"Key": "Name", "Value": "web"}]
    assert (shown["Domain"], shown["NetworkBorderGroup"]) == ("vpc", "us-east-1")
    for name, value in [("public-ip", made["PublicIp"]), ("allocation-id", made["AllocationId"]), ("tag:Name", "web")]:
        assert api.ec2.describe_addresses(Filters=[{"Name": name, "Values": [value]}])["Addresses"] == [shown]
    assert api.ec2.describe_addresses(PublicIps=[made["PublicIp"]])["Addresses"] == [shown]
    assert api.other.describe_addresses()["Addresses"] == []
    attributes = api.ec2.describe_addresses_attribute(AllocationIds=[made["AllocationId"]], Attribute="domain-name")
    assert attributes["Addresses"] == [{"PublicIp": made["PublicIp"], "AllocationId": made["AllocationId"]}]


def test_the_sixth_is_refused(api: Api) -> None:
    made = [api.ec2.allocate_address()["PublicIp"] for _ in range(5)]
    assert len(set(made)) == 5
    api.refused("AddressLimitExceeded", api.ec2.allocate_address)
    api.other.allocate_address()


def test_an_association_takes_the_place_of_the_automatic_address(api: Api) -> None:
    instance_id = api.launch(public_address="198.18.0.9")
    made = api.ec2.allocate_address()
    association = api.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance_id)["AssociationId"]
    shown = instance(api, instance_id)
    name = f"ec2-{made['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com"
    assert (shown["PublicIpAddress"], shown["PublicDnsName"]) == (made["PublicIp"], name)
    on_interface = shown["NetworkInterfaces"][0]["Association"]
    assert on_interface == {
        "PublicIp": made["PublicIp"],
        "PublicDnsName": name,
        "IpOwnerId": api.world.one.caller.account_id,
    }
    assert sent_public_addresses(api, instance_id) == [made["PublicIp"]]
    address = only_address(api)
    assert (address["AssociationId"], address["InstanceId"]) == (association, instance_id)
    assert address["PrivateIpAddress"] == shown["PrivateIpAddress"]
    resting = api.run(lambda tx: tx.session.get_one(PublicAddress, "198.18.0.9"))
    assert resting.released is not None
    again = api.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance_id)
    assert again["AssociationId"] == association

    api.ec2.disassociate_address(AssociationId=association)
    assert "PublicIpAddress" not in instance(api, instance_id)
    assert sent_public_addresses(api, instance_id) == []
    api.refused("InvalidAssociationID.NotFound", api.ec2.disassociate_address, AssociationId=association)
    api.ec2.release_address(AllocationId=made["AllocationId"])
    assert api.ec2.describe_addresses()["Addresses"] == []


def test_names_begin_and_end_with_the_vpcs_setting(api: Api) -> None:
    instance_id = api.launch()
    made = api.ec2.allocate_address()
    public = made["PublicIp"]
    api.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=instance_id)
    interface_id, vpc_id = primary_of(api, instance_id), api.world.one.vpc_id
    name = f"ec2-{public.replace('.', '-')}.compute-1.amazonaws.com"

    def names() -> tuple[str, str, str]:
        interface = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
        machine = sent(api, desired_pb2.KIND_MACHINE, instance_id)
        assert interface is not None
        assert machine is not None
        key = (vpc_id, int(desired_pb2.KIND_MAPPING), interface_id)
        body = api.run(lambda tx: tx.session.get_one(VpcResource, key).body)
        mapping = desired_pb2.Resource.FromString(body).mapping
        return interface.interface.public_dns_name, mapping.public_dns_name, machine.machine.metadata.public_hostname

    assert names() == (name, name, name)
    for member, params, expected in [
        ("EnableDnsSupport", False, ("", "", "")),
        ("EnableDnsSupport", True, (name, name, name)),
        ("EnableDnsHostnames", False, ("", "", "")),
        ("EnableDnsHostnames", True, (name, name, name)),
    ]:
        api.client(api.world.one).modify_vpc_attribute(VpcId=vpc_id, **{member: {"Value": params}})
        assert names() == expected
        assert instance(api, instance_id)["PublicDnsName"] == expected[0]
        found = api.ec2.describe_instances(Filters=[{"Name": "dns-name", "Values": [name]}])["Reservations"]
        assert bool(found) is bool(expected[0])


def test_an_address_moves_between_instances(api: Api) -> None:
    first, second = api.launch(), api.launch(number=1)
    made = api.ec2.allocate_address()
    api.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=first)
    api.refused(
        "Resource.AlreadyAssociated",
        api.ec2.associate_address,
        AllocationId=made["AllocationId"],
        InstanceId=second,
        AllowReassociation=False,
    )
    api.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=second)
    assert "PublicIpAddress" not in instance(api, first)
    assert instance(api, second)["PublicIpAddress"] == made["PublicIp"]
    assert (sent_public_addresses(api, first), sent_public_addresses(api, second)) == ([], [made["PublicIp"]])
    other = api.ec2.allocate_address()
    api.ec2.associate_address(AllocationId=other["AllocationId"], InstanceId=second)
    assert instance(api, second)["PublicIpAddress"] == other["PublicIp"]
    (left,) = api.ec2.describe_addresses(AllocationIds=[made["AllocationId"]])["Addresses"]
    assert "AssociationId" not in left


def test_what_cannot_be_associated(api: Api) -> None:
    instance_id = api.launch()
    eip = api.ec2.allocate_address()["AllocationId"]
    associate = api.ec2.associate_address
    api.refused("MissingParameter", associate, AllocationId=eip)
    api.refused("MissingParameter", associate, InstanceId=instance_id)
    api.refused("InvalidParameterCombination", associate, AllocationId=eip, PublicIp="198.18.0.5")
    api.refused("AuthFailure", associate, PublicIp="198.18.200.200", InstanceId=instance_id)
    api.refused(
        "InvalidParameterValue", associate, AllocationId=eip, InstanceId=instance_id, PrivateIpAddress="172.31.0.200"
    )
    spare = create(api)["NetworkInterfaceId"]
    api.ec2.attach_network_interface(NetworkInterfaceId=spare, InstanceId=instance_id, DeviceIndex=1)
    api.refused("InvalidInstanceID", associate, AllocationId=eip, InstanceId=instance_id)
    associate(AllocationId=eip, InstanceId=instance_id, NetworkInterfaceId=spare)
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "terminated"))
    api.refused("InvalidInstanceID", associate, AllocationId=eip, InstanceId=instance_id)


def test_a_vpc_without_a_gateway_has_no_public_addresses(api: Api) -> None:
    instance_id = api.launch()
    eip = api.ec2.allocate_address()["AllocationId"]
    api.run(detach_gateway, api.world.one.vpc_id)
    api.refused("Gateway.NotAttached", api.ec2.associate_address, AllocationId=eip, InstanceId=instance_id)


def detach_gateway(tx: Any, vpc_id: str) -> None:
    tx.session.execute(update(InternetGateway).where(InternetGateway.vpc_id == vpc_id).values(vpc_id=None))


def test_the_released_rests_but_its_account_may_have_it_back(api: Api) -> None:
    made = api.ec2.allocate_address(Address="198.18.7.7")
    address = made["PublicIp"]
    assert address == "198.18.7.7"
    api.refused("InvalidAddress.NotFound", api.other.allocate_address, Address=address)
    api.ec2.release_address(AllocationId=made["AllocationId"])
    api.refused("InvalidAddress.NotFound", api.other.allocate_address, Address=address)
    api.refused("AuthFailure", api.other.release_address, PublicIp=address)
    again = api.ec2.allocate_address(Address=address)
    assert again["PublicIp"] == address
    api.ec2.release_address(AllocationId=again["AllocationId"])
    cloud, other = api.world.cloud, api.world.other.caller
    later = NOW + timedelta(days=3650)
    api.run(address_pools.forget_rested, cloud, later)
    assert api.run(elastic_addresses.allocate, other, cloud, address, {}, later).address == address


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("InvalidAddress.NotFound", {"Address": "203.0.113.9"}),
        ("InvalidParameterValue", {"Address": "nonsense"}),
        ("InvalidParameterValue", {"Domain": "moon"}),
        ("InvalidParameterValue", {"NetworkBorderGroup": "eu-west-9"}),
        ("UnsupportedOperation", {"IpamPoolId": "ipam-pool-0"}),
    ],
)
def test_a_bad_allocation_is_refused(api: Api, code: str, params: dict[str, str]) -> None:
    api.refused(code, api.ec2.allocate_address, **params)


def test_absent_addresses_are_named(api: Api) -> None:
    api.refused("InvalidAddress.NotFound", api.ec2.describe_addresses, PublicIps=["198.18.200.200"])
    api.refused("InvalidAllocationID.NotFound", api.ec2.release_address, AllocationId="eipalloc-00000000000000000")
    api.refused("MissingParameter", api.ec2.release_address)


def test_an_address_of_a_vpc_is_named_by_ids_alone(api: Api) -> None:
    instance_id = api.launch()
    made = api.ec2.allocate_address()
    public = made["PublicIp"]
    value, combination = "InvalidParameterValue", "InvalidParameterCombination"
    message = api.refused(value, api.ec2.release_address, PublicIp=public)
    assert message == "You must specify an allocation id when releasing a VPC elastic IP address"
    message = api.refused(combination, api.ec2.associate_address, PublicIp=public, InstanceId=instance_id)
    assert message == "You must specify an allocation id when mapping an address to a VPC instance"
    message = api.refused(value, api.ec2.disassociate_address, PublicIp=public)
    assert message == "You must specify an association id when unmapping an address from a VPC instance"
    for call in (api.other.release_address, api.other.disassociate_address):
        api.refused("AuthFailure", call, PublicIp=public)
    for malformed in ("198.18.7", "eipalloc-0123", "::1"):
        message = api.refused(value, api.ec2.describe_addresses, PublicIps=[public, malformed])
        assert malformed in message
    api.refused("InvalidAddress.NotFound", api.ec2.describe_addresses, PublicIps=["198.18.200.200"])


def test_a_release_ends_an_association_in_a_default_vpc_only(api: Api) -> None:
    """See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html."""
    vpc_id, instance_id = api.world.one.vpc_id, api.launch()
    made = api.ec2.allocate_address()
    allocation = {"AllocationId": made["AllocationId"]}
    api.ec2.associate_address(InstanceId=instance_id, **allocation)
    api.run(lambda tx: setattr(tx.session.get_one(Vpc, vpc_id), "is_default", False))
    api.refused("InvalidIPAddress.InUse", api.ec2.release_address, **allocation)
    api.run(lambda tx: setattr(tx.session.get_one(Vpc, vpc_id), "is_default", True))
    assert sent_public_addresses(api, instance_id) == [made["PublicIp"]]
    api.ec2.release_address(**allocation)
    assert sent_public_addresses(api, instance_id) == []
    assert "PublicIpAddress" not in instance(api, instance_id)
    assert api.ec2.describe_addresses()["Addresses"] == []
    api.refused("InvalidAddress.NotFound", api.other.allocate_address, Address=made["PublicIp"])  # it rests

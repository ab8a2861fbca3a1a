"""Interfaces, Elastic IP addresses and NAT gateways of a whole cloud with simulated hosts, by the aws command."""

from typing import Any

import pytest

from tests.support.clients import Account
from tests.support.waiting import wait_for


def state(ec2: Any, instance_id: str) -> str:
    (reservation,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return str(reservation["Instances"][0]["State"]["Name"])


@pytest.fixture
def instance_id(account: Account, image_id: str):
    """A running instance of the account, terminated after the test."""
    ran = account.aws("ec2", "run-instances", "--image-id", image_id, "--instance-type", "stead.tiny", "--count", "1")
    ec2 = account.ec2
    made = ran["Instances"][0]["InstanceId"]
    wait_for(lambda: state(ec2, made) == "running", "the instance runs")
    yield made
    account.aws("ec2", "terminate-instances", "--instance-ids", made)
    wait_for(lambda: state(ec2, made) == "terminated", "the instance is terminated")


def subnet_of(account: Account, instance_id: str) -> str:
    (reservation,) = account.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]["SubnetId"]


def test_an_interface_is_attached_and_detached_live(account, instance_id):
    made = account.aws(
        "ec2", "create-network-interface", "--subnet-id", subnet_of(account, instance_id), "--description", "spare",
        "--secondary-private-ip-address-count", "1",
    )["NetworkInterface"]["NetworkInterfaceId"]  # fmt: skip
    assert account.aws("ec2", "wait", "network-interface-available", "--network-interface-ids", made) is None
    attachment = account.aws(
        "ec2", "attach-network-interface", "--network-interface-id", made, "--instance-id", instance_id,
        "--device-index", "1",
    )["AttachmentId"]  # fmt: skip

    ec2 = account.ec2

    def shown():
        return ec2.describe_network_interfaces(NetworkInterfaceIds=[made])["NetworkInterfaces"][0]

    wait_for(lambda: shown()["Attachment"]["Status"] == "attached", "the interface is attached")
    account.aws("ec2", "detach-network-interface", "--attachment-id", attachment)
    wait_for(lambda: shown()["Status"] == "available", "the interface is available")
    account.aws("ec2", "delete-network-interface", "--network-interface-id", made)
    refused = account.aws_result("ec2", "describe-network-interfaces", "--network-interface-ids", made)
    assert "InvalidNetworkInterfaceID.NotFound" in refused.stderr


def test_an_elastic_address_is_associated_and_released(account, instance_id):
    address = account.aws("ec2", "allocate-address", "--domain", "vpc")
    associate = ("associate-address", "--allocation-id", address["AllocationId"], "--instance-id", instance_id)
    association = account.aws("ec2", *associate)["AssociationId"]
    found = account.aws("ec2", "describe-addresses", "--filters", f"Name=instance-id,Values={instance_id}")
    assert [one["AssociationId"] for one in found["Addresses"]] == [association]
    account.aws("ec2", "disassociate-address", "--association-id", association)
    found = account.aws("ec2", "describe-addresses", "--allocation-ids", address["AllocationId"])
    assert "AssociationId" not in found["Addresses"][0]
    account.aws("ec2", *associate)  # which a release ends by itself: the VPC is the default one
    account.aws("ec2", "release-address", "--allocation-id", address["AllocationId"])
    assert account.aws("ec2", "describe-addresses")["Addresses"] == []


def test_a_nat_gateway_is_made_and_deleted(account, instance_id):
    address = account.aws("ec2", "allocate-address")["AllocationId"]
    subnet = subnet_of(account, instance_id)
    made = account.aws("ec2", "create-nat-gateway", "--subnet-id", subnet, "--allocation-id", address)
    gateway_id = made["NatGateway"]["NatGatewayId"]

    ec2 = account.ec2

    def gateway_state():
        return ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"][0]["State"]

    wait_for(lambda: gateway_state() == "available", "the gateway is available")
    account.aws("ec2", "delete-nat-gateway", "--nat-gateway-id", gateway_id)
    wait_for(lambda: gateway_state() == "deleted", "the gateway is deleted")
    account.aws("ec2", "release-address", "--allocation-id", address)
    assert account.aws("ec2", "describe-network-interfaces", "--filters", "Name=interface-type,Values=nat_gateway") == {
        "NetworkInterfaces": []
    }

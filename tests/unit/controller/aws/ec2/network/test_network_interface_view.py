"""Network interfaces as EC2 shows them: what they are attached to, and their addresses."""

import pytest

from stead_controller.aws.ec2.network.network_interface_view import network_interface_view
from stead_controller.db.tables import NetworkInterface, PublicAddress
from stead_controller.resources.network.network_interfaces import DescribedNetworkInterface, PrivateAddress


def shown(*addresses, ipv6=(), **columns):
    values = {"id": "eni-1", "account_id": "1", "requester_managed": False} | columns
    return network_interface_view(
        DescribedNetworkInterface(NetworkInterface(**values), "use1-az1", addresses, ipv6, [], [])
    )


@pytest.mark.parametrize(
    ("managed", "instance_id", "owner", "requester"),
    [(False, "i-1", "1", "1"), (True, None, "amazon-aws", "amazon-aws")],
)
def test_what_the_cloud_has_attached_is_no_instance_of_the_account(managed, instance_id, owner, requester):
    found = shown(attachment_id="eni-attach-1", instance_id="i-1", requester_managed=managed)
    assert (found["Attachment"]["InstanceId"], found["Attachment"]["InstanceOwnerId"]) == (instance_id, owner)
    assert (found["RequesterId"], found["RequesterManaged"]) == (requester, managed)


def test_an_interface_of_nothing_has_no_attachment():
    assert shown()["Attachment"] is None


def test_the_first_address_is_shown_twice():
    held = PublicAddress(address="198.18.0.5", account_id="1")
    elastic = PublicAddress(address="198.18.0.6", account_id="2", allocation_id="a-1", association_id="b-1")
    found = shown(
        PrivateAddress("10.0.0.4", "ip-10-0-0-4", primary=True, public=held, public_name="ec2-198-18-0-5"),
        PrivateAddress("10.0.0.5", "", primary=False, public=elastic, public_name=""),
        private_address="10.0.0.4",
    )
    automatic = {
        "PublicIp": "198.18.0.5",
        "PublicDnsName": "ec2-198-18-0-5",
        "IpOwnerId": "amazon",
        "AllocationId": None,
        "AssociationId": None,
    }
    assert (found["PublicDnsName"], found["Association"]) == ("ec2-198-18-0-5", automatic)
    assert (found["PrivateIpAddress"], found["PrivateDnsName"], found["Ipv6Native"]) == (
        "10.0.0.4",
        "ip-10-0-0-4",
        False,
    )
    first, second = found["PrivateIpAddresses"]
    assert (first["Primary"], first["Association"]) == (True, automatic)
    assert (second["Primary"], second["PrivateDnsName"]) == (False, None)
    assert second["Association"] == {
        "PublicIp": "198.18.0.6",
        "PublicDnsName": "",
        "IpOwnerId": "2",
        "AllocationId": "a-1",
        "AssociationId": "b-1",
    }


def test_an_interface_of_ipv6_alone():
    found = shown(ipv6=["fd12::5", "fd12::6"])
    assert (found["Ipv6Native"], found["Ipv6Address"]) == (True, "fd12::5")
    assert [one["Ipv6Address"] for one in found["Ipv6Addresses"]] == ["fd12::5", "fd12::6"]
    for member in ("PrivateIpAddress", "PrivateDnsName", "Association", "PublicDnsName"):
        assert found[member] is None

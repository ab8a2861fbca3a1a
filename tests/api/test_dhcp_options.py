"""Sets of DHCP options through boto3, and what hosts are sent of them."""

import pytest

from stead_proto.v1 import desired_pb2 as pb
from tests.api.topology import with_network

GOOD = [
    {"Key": "domain-name", "Values": ["corp.example example.org"]},
    {"Key": "domain-name-servers", "Values": ["10.0.0.5,10.0.0.6"]},
    {"Key": "ntp-servers", "Values": ["10.0.0.7", "fd00::7"]},
    {"Key": "netbios-name-servers", "Values": ["10.0.0.8"]},
    {"Key": "netbios-node-type", "Values": ["2"]},
    {"Key": "ipv6-address-preferred-lease-time", "Values": ["3600"]},
]


def create(api, configurations=GOOD):
    return api.ec2.create_dhcp_options(DhcpConfigurations=configurations)["DhcpOptions"]


def test_a_set_is_made_associated_and_deleted(api):
    made = create(api)
    assert made["DhcpConfigurations"][1] == {
        "Key": "domain-name-servers",
        "Values": [{"Value": "10.0.0.5"}, {"Value": "10.0.0.6"}],
    }
    options_id, vpc_id = made["DhcpOptionsId"], api.world.one.vpc_id
    assert api.ec2.describe_dhcp_options(DhcpOptionsIds=[options_id])["DhcpOptions"] == [made]
    api.ec2.associate_dhcp_options(DhcpOptionsId=options_id, VpcId=vpc_id)
    sent = with_network(api, pb.KIND_VPC, vpc_id).vpc
    assert sent.domain_name == "corp.example example.org"
    assert list(sent.dhcp_options.domain_name_servers) == ["10.0.0.5", "10.0.0.6"]
    assert list(sent.dhcp_options.ntp_servers) == ["10.0.0.7", "fd00::7"]
    assert (sent.dhcp_options.netbios_node_type, sent.dhcp_options.ipv6_preferred_lease_seconds) == (2, 3600)
    api.refused("DependencyViolation", api.ec2.delete_dhcp_options, DhcpOptionsId=options_id)
    api.ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc_id)
    assert api.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["DhcpOptionsId"] == "default"
    assert list(with_network(api, pb.KIND_VPC, vpc_id).vpc.dhcp_options.domain_name_servers) == []
    api.ec2.delete_dhcp_options(DhcpOptionsId=options_id)
    api.refused("InvalidDhcpOptionID.NotFound", api.ec2.delete_dhcp_options, DhcpOptionsId=options_id)


def test_an_account_begins_with_a_set(api):
    (first,) = api.ec2.describe_dhcp_options()["DhcpOptions"]
    assert {one["Key"]: one["Values"][0]["Value"] for one in first["DhcpConfigurations"]} == {
        "domain-name": "ec2.internal",
        "domain-name-servers": "AmazonProvidedDNS",
    }


def test_filters(api):
    made = create(api)["DhcpOptionsId"]
    for name, value in (("key", "ntp-servers"), ("value", "10.0.0.?"), ("dhcp-options-id", made)):
        found = api.ec2.describe_dhcp_options(Filters=[{"Name": name, "Values": [value]}])["DhcpOptions"]
        assert [one["DhcpOptionsId"] for one in found] == [made], name


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("colour", ["blue"]),
        ("domain-name", ["-bad-"]),
        ("domain-name", ["a.example\nserver=8.8.8.8"]),
        ("domain-name", ["a", "b"]),
        ("domain-name-servers", ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]),
        ("domain-name-servers", ["AmazonProvidedDNS", "10.0.0.1"]),
        ("domain-name-servers", ["ns.example"]),
        ("ntp-servers", ["fe80::1%eth0"]),
        ("ntp-servers", [""]),
        ("netbios-name-servers", ["fd00::1"]),
        ("netbios-node-type", ["3"]),
        ("ipv6-address-preferred-lease-time", ["139"]),
    ],
)
def test_bad_options_are_refused(api, key, values):
    bad = [{"Key": key, "Values": values}]
    api.refused("InvalidParameterValue", api.ec2.create_dhcp_options, DhcpConfigurations=bad)


def test_the_same_option_twice_and_none_are_refused(api):
    api.refused("InvalidParameterValue", api.ec2.create_dhcp_options, DhcpConfigurations=GOOD[:1] * 2)

"""Interface endpoints for buckets and for IAM through boto3: their names, and for whom those are."""

from dataclasses import replace
from typing import Any

import pytest

from stead_controller.resources.network import vpc_endpoint_access, vpc_endpoint_services
from stead_controller.resources.network.vpc_endpoint_access import Via
from tests.api.conftest import Api
from tests.api.test_interface_endpoints import create, here, ready, sent_names, show
from tests.api.test_network_interfaces import shown

S3 = "com.amazonaws.us-east-1.s3"
IAM = "com.amazonaws.iam"
PRIVATE = ["s3.us-east-1.amazonaws.com", "s3-control.us-east-1.amazonaws.com"]
ONLY_INBOUND = "PrivateDnsOnlyForInboundResolverEndpoint"


def of_buckets(api: Api, **changes: Any) -> dict[str, Any]:
    return create(api, here(api), ServiceName=S3, **changes)


def for_whom(value: bool) -> dict[str, Any]:
    return {"DnsOptions": {ONLY_INBOUND: value}}


def gateway(api: Api) -> str:
    made = api.ec2.create_vpc_endpoint(VpcId=api.world.one.vpc_id, ServiceName=S3)["VpcEndpoint"]
    return str(made["VpcEndpointId"])


def test_it_has_names_of_its_own(api: Api) -> None:
    made = of_buckets(api, PrivateDnsEnabled=False)
    endpoint_id, (interface_id,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    own, zonal = (one["DnsName"] for one in made["DnsEntries"])
    assert own.startswith(f"*.{endpoint_id}-")
    assert own.endswith(".s3.us-east-1.vpce.amazonaws.com")
    assert zonal == own.replace(".s3.", "-us-east-1a.s3.", 1)
    assert (made["PrivateDnsEnabled"], made["DnsOptions"]) == (False, {"DnsRecordIpType": "ipv4"})
    ready(api, made)
    address = shown(api, interface_id)["PrivateIpAddress"]
    below = {name.removeprefix("*."): ([address], False) for name in (own, zonal)}
    assert sent_names(api, endpoint_id) == below
    via = api.run(vpc_endpoint_access.admit, api.world.host_id, endpoint_id)
    assert (via.service, via.is_interface) == ("s3", True)


def test_private_names_inside_of_the_vpc(api: Api) -> None:
    made = of_buckets(api, **for_whom(False))
    assert [one["DnsName"] for one in made["DnsEntries"]][2:] == [
        name for private in PRIVATE for name in (private, f"*.{private}")
    ]
    assert made["DnsOptions"] == {"DnsRecordIpType": "ipv4", ONLY_INBOUND: False}
    ready(api, made)
    sent = sent_names(api, made["VpcEndpointId"])
    assert [name for name, (_, is_private) in sent.items() if is_private] == PRIVATE


def test_guests_of_a_vpc_with_a_gateway_endpoint_use_that(api: Api) -> None:
    """By default: an interface endpoint's private names are for resolvers outside of the VPC."""
    message = _refused(api)
    assert message == (
        f"To set {ONLY_INBOUND} to true, the VPC {api.world.one.vpc_id} must have a Gateway endpoint for the service."
    )
    gateway(api)
    made = of_buckets(api)
    endpoint_id, modify = made["VpcEndpointId"], api.ec2.modify_vpc_endpoint
    assert (made["PrivateDnsEnabled"], made["DnsOptions"][ONLY_INBOUND], len(made["DnsEntries"])) == (True, True, 6)
    ready(api, made)
    assert len(sent_names(api, endpoint_id)) == 2
    modify(VpcEndpointId=endpoint_id, **for_whom(False))
    assert show(api, endpoint_id)["DnsOptions"][ONLY_INBOUND] is False
    assert list(sent_names(api, endpoint_id))[2:] == PRIVATE
    modify(VpcEndpointId=endpoint_id, PrivateDnsEnabled=True)
    assert show(api, endpoint_id)["DnsOptions"][ONLY_INBOUND] is False  # as it was
    modify(VpcEndpointId=endpoint_id, PrivateDnsEnabled=False)
    assert ONLY_INBOUND not in show(api, endpoint_id)["DnsOptions"]
    before = show(api, endpoint_id)
    api.refused("InvalidParameter", modify, VpcEndpointId=endpoint_id, **for_whom(True))
    assert show(api, endpoint_id) == before
    modify(VpcEndpointId=endpoint_id, PrivateDnsEnabled=True)
    assert show(api, endpoint_id)["DnsOptions"][ONLY_INBOUND] is True


def _refused(api: Api, **changes: Any) -> str:
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3, "VpcEndpointType": "Interface"}
    return api.refused("InvalidParameter", api.ec2.create_vpc_endpoint, **params | changes)


def test_whom_names_are_for_is_a_matter_of_buckets_with_private_names(api: Api) -> None:
    gateway(api)
    assert "private DNS must be enabled" in _refused(api, PrivateDnsEnabled=False, **for_whom(True))
    message = _refused(api, ServiceName="com.amazonaws.us-east-1.ec2", **for_whom(True))
    assert message == f"{ONLY_INBOUND} is not supported for this service."
    message = _refused(api, VpcEndpointType="Gateway", **for_whom(True))
    assert message == f"DnsOptions {ONLY_INBOUND} is applicable only to Interface VPC Endpoints."
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    api.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    assert vpc in _refused(api, VpcId=vpc)  # the gateway endpoint of another VPC does not count


def test_the_service_has_two_types(api: Api) -> None:
    found = api.ec2.describe_vpc_endpoint_services(ServiceNames=[S3])
    assert found["ServiceNames"] == [S3]
    gateways, interfaces = found["ServiceDetails"]
    assert [one["ServiceType"][0]["ServiceType"] for one in (gateways, interfaces)] == ["Gateway", "Interface"]
    assert gateways["ServiceId"] != interfaces["ServiceId"]
    assert interfaces["BaseEndpointDnsNames"] == ["s3.us-east-1.vpce.amazonaws.com"]
    assert interfaces["PrivateDnsNames"] == [{"PrivateDnsName": name} for name in PRIVATE]
    pages = api.ec2.get_paginator("describe_vpc_endpoint_services").paginate(PaginationConfig={"PageSize": 6})
    listed = [[one["ServiceId"] for one in page["ServiceDetails"]] for page in pages]
    assert listed[0][-1] == gateways["ServiceId"], "the first page has only the first of the two"
    assert listed[1][0] == interfaces["ServiceId"]
    every = [one for page in listed for one in page]
    assert len(every) == len(set(every)) == 10


def test_iam_has_endpoints_in_one_region(api: Api) -> None:
    made = create(api, here(api), ServiceName=IAM)
    own, zonal, private = (one["DnsName"] for one in made["DnsEntries"])
    assert private == "iam.amazonaws.com"
    assert own.endswith(".iam.us-east-1.vpce.amazonaws.com")
    ready(api, made)
    assert set(sent_names(api, made["VpcEndpointId"])) == {own, zonal, private}
    via = api.run(vpc_endpoint_access.admit, api.world.host_id, made["VpcEndpointId"])
    assert via.service == "iam"
    message = _refused(api, ServiceName=IAM)
    assert "conflicting DNS domain for iam.amazonaws.com" in message
    names = [one.name(api.world.cloud) for one in vpc_endpoint_services.offered(api.world.cloud)]
    assert IAM in names
    elsewhere = replace(api.world.cloud, region="eu-west-1")
    names = [one.name(elsewhere) for one in vpc_endpoint_services.offered(elsewhere)]
    assert [name for name in names if not name.startswith("com.amazonaws.eu-west-1.")] == []


@pytest.mark.parametrize(
    ("service", "is_interface", "needs"), [("s3", True, True), ("s3", False, False), ("ec2", True, False)]
)
def test_which_endpoints_need_certificates_of_their_own(service: str, *, is_interface: bool, needs: bool) -> None:
    via = Via("vpce-0123456789abcdef0", "vpc-0123456789abcdef0", service, is_interface=is_interface)
    names = vpc_endpoint_services.names_apart(via, "us-east-1", ("us-east-1a",))
    assert bool(names) == needs
    assert all(via.endpoint_id in name for name in names)


@pytest.mark.parametrize(("region", "has_iam"), [("us-east-1", True), ("eu-west-1", False)])
def test_certificates_have_the_names(region: str, *, has_iam: bool) -> None:
    names = vpc_endpoint_services.host_names(region)
    assert len(names) == len(set(names))
    assert ("iam.amazonaws.com" in names) == has_iam
    for name in ("ec2", "*.ec2", "s3", "*.s3", "s3-control", "*.s3-control"):
        is_below_endpoints = name == "*.ec2"
        assert f"{name}.{region}.{'vpce.' if is_below_endpoints else ''}amazonaws.com" in names

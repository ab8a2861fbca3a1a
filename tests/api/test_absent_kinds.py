"""Kinds that nobody has here: an empty list for each, NotFound for an id, and nothing that makes one."""

import boto3
import botocore.config
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from stead_controller.aws import unbuilt
from stead_controller.aws.ec2.absent_kinds import kind_of
from stead_controller.aws.protocol.models import load_service
from tests.api.conftest import SECRET

VALUES = {"integer": 5, "long": 5, "boolean": True, "timestamp": 0}


def least(shape):
    """The least request of a shape, with what must be there."""
    return {key: value_of(shape.members[key]) for key in shape.required_members}


def value_of(shape):
    if shape.type_name == "structure":
        first = next(iter(shape.members))
        return least(shape) or {first: value_of(shape.members[first])}
    if shape.type_name == "list":
        return [value_of(shape.member)]
    if shape.type_name == "string" and not shape.enum:
        return "x" * max(1, shape.metadata.get("min", 1))
    return shape.enum[0] if getattr(shape, "enum", None) else VALUES[shape.type_name]


def test_each_is_empty_or_says_that_the_resource_is_not_there(api):
    model = load_service("ec2")
    for name in unbuilt.ABSENT:
        kind = kind_of(name)
        params = least(model.operation(name).input_shape)
        if "Filters" in params:
            params["Filters"] = [{"Name": "state", "Values": ["active"]}]
        describe = getattr(api.ec2, xform_name(name))
        if kind.member is None:
            with pytest.raises(ClientError) as caught:
                describe(**params)
            assert caught.value.response["Error"]["Code"] in kind.ids.values(), name
        else:
            assert describe(**params)[kind.member] == [], name


def test_an_id_is_not_found_and_several_are_not(api):
    said = api.refused("InvalidVpnGatewayID.NotFound", api.ec2.describe_vpn_gateways, VpnGatewayIds=["vgw-1"])
    assert said == "The vpnGateway ID 'vgw-1' does not exist"
    said = api.refused(
        "InvalidTransitGatewayID.NotFound", api.ec2.describe_transit_gateways, TransitGatewayIds=["tgw-1", "tgw-2"]
    )
    assert said == "The transitGateway IDs 'tgw-1, tgw-2' do not exist"


def test_what_a_reservation_has_not_is_empty(api):
    made = api.ec2.create_capacity_reservation(
        InstanceType="t3.nano", InstancePlatform="Linux/UNIX", InstanceCount=1, AvailabilityZone="us-east-1a"
    )
    mine = {"CapacityReservationIds": [made["CapacityReservation"]["CapacityReservationId"]]}
    assert api.ec2.describe_capacity_reservation_topology(**mine)["CapacityReservations"] == []


def test_filters_and_pages_are_checked_all_the_same(api):
    by_state = [{"Name": "state", "Values": ["available"]}]
    assert api.ec2.describe_customer_gateways(Filters=by_state)["CustomerGateways"] == []
    unknown = [{"Name": "colour", "Values": ["red"]}]
    api.refused("InvalidParameterValue", api.ec2.describe_customer_gateways, Filters=unknown)
    api.refused("InvalidNextToken", api.ec2.describe_transit_gateways, NextToken="x")
    api.refused("InvalidParameterValue", api.ec2.describe_transit_gateways, MaxResults=1001)


def test_what_would_not_be_true_is_refused(api):
    """Also without its parameters, since it is refused before they are read."""
    caller = api.world.one.caller
    ec2 = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{api.port}",
        aws_access_key_id=caller.access_key_id,
        aws_secret_access_key=SECRET,
        config=botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    for name in unbuilt.REFUSED:
        said = api.refused("UnsupportedOperation", getattr(ec2, xform_name(name)))
        assert said == f"The operation {name} is not supported by this cloud."


def test_what_would_make_one_is_refused(api):
    api.refused("UnsupportedOperation", api.ec2.create_customer_gateway, Type="ipsec.1")
    api.refused("UnsupportedOperation", api.ec2.create_transit_gateway)


def test_the_aws_cli_lists_none(account):
    assert account.aws("ec2", "describe-vpn-connections") == {"VpnConnections": []}
    assert account.aws("ec2", "describe-transit-gateways") == {"TransitGateways": []}

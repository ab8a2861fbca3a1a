"""VPCs as EC2 shows and filters them."""

import pytest

from stead_controller.errors import InvalidParameter, MalformedId, NotFound
from stead_controller.resources import vpcs
from stead_controller.resources.conditions import Selection
from stead_controller.resources.filters import Filter


def describe(run, caller, *filters, ids=()):
    return run(vpcs.describe, caller, Selection(tuple(ids), tuple(Filter(name, (value,)) for name, value in filters)))


def test_the_default_vpc(world, run):
    (vpc,) = describe(run, world.one.caller)
    assert vpc["VpcId"] == world.one.vpc_id
    assert vpc["CidrBlockAssociationSet"][0]["CidrBlockState"] == {"State": "associated"}
    assert run(vpcs.find_default, world.one.caller).id == world.one.vpc_id


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("cidr", "172.31.0.0/16", True),
        ("cidr", "172.31.0.0/17", False),
        ("cidr-block-association.state", "associated", True),
        ("is-default", "true", True),
        ("isDefault", "true", True),
        ("is-default", "false", False),
        ("owner-id", "111111111111", True),
        ("state", "available", True),
        ("state", "pending", False),
        ("ipv6-cidr-block-association.state", "*", False),
    ],
)
def test_filters(world, run, name, value, found):
    assert bool(describe(run, world.one.caller, (name, value))) is found


def test_attributes(world, run):
    for attribute, member, value in [
        ("enableDnsSupport", "EnableDnsSupport", True),
        ("enableDnsHostnames", "EnableDnsHostnames", False),
        ("enableNetworkAddressUsageMetrics", "EnableNetworkAddressUsageMetrics", False),
    ]:
        shown = run(vpcs.describe_attribute, world.one.caller, world.one.vpc_id, attribute)
        assert shown == {"VpcId": world.one.vpc_id, member: {"Value": value}}
    with pytest.raises(InvalidParameter):
        run(vpcs.describe_attribute, world.one.caller, world.one.vpc_id, "colour")
    with pytest.raises(NotFound):
        run(vpcs.describe_attribute, world.other.caller, world.one.vpc_id, "enableDnsSupport")
    with pytest.raises(MalformedId):
        run(vpcs.describe_attribute, world.one.caller, "vpc-1", "enableDnsSupport")

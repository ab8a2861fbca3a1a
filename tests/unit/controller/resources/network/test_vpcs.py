"""VPCs as filters find them, and their attributes."""

import pytest

from stead_controller.errors import InvalidParameter, MalformedId, NotFound
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.network import vpc_attributes, vpcs


def describe(run, caller, *filters, ids=()):
    return run(vpcs.describe, caller, Selection(tuple(ids), tuple(Filter(name, (value,)) for name, value in filters)))


def test_the_default_vpc(world, run):
    (vpc,) = describe(run, world.one.caller)
    assert vpc.vpc.id == world.one.vpc_id
    assert [(block.cidr_block, block.ipv6, block.state) for block in vpc.blocks] == [
        ("172.31.0.0/16", False, "associated")
    ]
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
    for attribute, value in [
        ("enableDnsSupport", True),
        ("enableDnsHostnames", True),
        ("enableNetworkAddressUsageMetrics", False),
    ]:
        assert run(vpc_attributes.find, world.one.caller, world.one.vpc_id, attribute) is value
    with pytest.raises(InvalidParameter):
        run(vpc_attributes.find, world.one.caller, world.one.vpc_id, "colour")
    with pytest.raises(NotFound):
        run(vpc_attributes.find, world.other.caller, world.one.vpc_id, "enableDnsSupport")
    with pytest.raises(MalformedId):
        run(vpc_attributes.find, world.one.caller, "vpc-1", "enableDnsSupport")

"""The cloud's one region and its zones."""

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.request.filters import Filter
from stead_controller.resources import regions
from tests.support.rows import CLOUD


def zones(*filters, names=(), ids=()):
    asked = [Filter(name, (value,)) for name, value in filters]
    return [zone.name for zone in regions.describe_zones(CLOUD, names, ids, asked)]


def test_the_region():
    (region,) = regions.describe_regions(CLOUD, "", ["us-east-1"], [])
    assert region == ("us-east-1", "127.0.0.1:8773")
    assert regions.describe_regions(CLOUD, "", [], [Filter("region-name", ("us-west-*",))]) == []
    with pytest.raises(InvalidParameter):
        regions.describe_regions(CLOUD, "", ["eu-west-1"], [])


def test_zones():
    both = ["us-east-1a", "us-east-1b"]
    assert zones() == both
    assert zones(names=["us-east-1b"]) == zones(ids=["use1-az2"]) == ["us-east-1b"]
    assert zones(names=["us-east-1b"], ids=["use1-az1"]) == []
    assert zones(("zone-id", "use1-az1")) == ["us-east-1a"]
    for name, value in [
        ("group-name", "us-east-1-zg-1"),
        ("opt-in-status", "opt-in-not-required"),
        ("region-name", "us-east-1"),
        ("state", "available"),
        ("zone-name", "us-east-1?"),
        ("zone-type", "availability-zone"),
    ]:
        assert zones((name, value)) == both, name
    assert zones(("zone-type", "local-zone")) == zones(("message", "*")) == []
    for asked in ({"names": ["us-east-1z"]}, {"ids": ["usw2-az1"]}):
        with pytest.raises(InvalidParameter):
            zones(**asked)


def test_account_attributes(world, run):
    found = run(regions.account_attributes, world.one.caller, ["default-vpc"])
    assert found == [("default-vpc", world.one.vpc_id)]
    with pytest.raises(InvalidParameter):
        run(regions.account_attributes, world.one.caller, ["colour"])

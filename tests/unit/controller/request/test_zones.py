"""Zone ids are AWS's for AWS's names, and something sensible for others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.request.cloud import Cloud
from stead_controller.request.zones import zone_ids


@pytest.mark.parametrize(
    ("region", "first"),
    [
        ("us-east-1", "use1-az1"),
        ("us-west-2", "usw2-az1"),
        ("eu-central-1", "euc1-az1"),
        ("ap-southeast-2", "apse2-az1"),
        ("ap-northeast-1", "apne1-az1"),
        ("us-gov-west-1", "usgw1-az1"),
        ("home", "home-az1"),
        ("Rack 7!", "rack7-az1"),
        ("eu-1", "eu1-az1"),
        ("!", "zone-az1"),
    ],
)
def test_the_region_in_short_and_a_number(region, first):
    cloud = Cloud(region, (f"{region}a", f"{region}b"), "aws", "http://x")
    assert zone_ids(cloud) == {f"{region}a": first, f"{region}b": first[:-1] + "2"}


@given(st.text(min_size=1, max_size=40))
def test_any_name_gives_an_id(region):
    (zone_id,) = zone_ids(Cloud(region, ("a",), "aws", "http://x")).values()
    assert re.fullmatch(r"[a-z0-9]+-az1", zone_id)

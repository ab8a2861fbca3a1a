"""Which market a launch is for, and what of Spot Instances is refused by name."""

from decimal import Decimal

import pytest

from stead_controller.aws.ec2.instances import market_options
from stead_controller.errors import InvalidCombination, InvalidParameter, SteadError, Unsupported

STAYS = ("hibernate", "stop")


def asked(**options):
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}


@pytest.mark.parametrize(
    ("params", "is_spot"),
    [
        ({}, False),
        ({"InstanceMarketOptions": {}}, False),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, True),
        (asked(), True),
        (asked(SpotInstanceType="one-time", InstanceInterruptionBehavior="terminate", MaxPrice="0.1"), True),
    ],
)
def test_a_launch_is_for_the_market_that_it_names(params, is_spot):
    assert market_options.is_spot(params) is is_spot


@pytest.mark.parametrize(
    ("params", "kind", "named"),
    [
        ({"InstanceMarketOptions": {"SpotOptions": {"MaxPrice": "1"}}}, InvalidCombination, "spotOptions"),
        ({"InstanceMarketOptions": {"MarketType": "capacity-block"}}, Unsupported, "capacity-block"),
        ({"InstanceMarketOptions": {"MarketType": "bazaar"}}, InvalidParameter, "bazaar"),
        (asked(SpotInstanceType="daily"), InvalidParameter, "daily"),
        (asked(SpotInstanceType="persistent"), InvalidCombination, "'persistent'"),
        *((asked(InstanceInterruptionBehavior=each), InvalidCombination, f"'{each}'") for each in STAYS),
        *(
            (asked(SpotInstanceType="persistent", InstanceInterruptionBehavior=each), Unsupported, each)
            for each in STAYS
        ),
        (asked(InstanceInterruptionBehavior="sing"), InvalidParameter, "sing"),
        (asked(ValidUntil="2030-01-01T00:00:00Z"), InvalidCombination, "validUntil"),
        (asked(BlockDurationMinutes=0), Unsupported, "BlockDurationMinutes"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(params, kind, named):
    with pytest.raises(SteadError, match=named) as refused:
        market_options.is_spot(params)
    assert type(refused.value) is kind


def test_the_most_that_an_instance_may_cost():
    given = ({}, {"InstanceMarketOptions": {"MarketType": "spot"}}, asked(MaxPrice=""), asked(MaxPrice="0.10"))
    assert [market_options.max_price(one) for one in given] == [None, None, None, Decimal("0.1")]


@pytest.mark.parametrize("price", ["cheap", "0", "-1", "NaN", "Infinity"])
def test_what_is_no_price_is_refused(price):
    with pytest.raises(InvalidParameter, match=price):
        market_options.max_price(asked(MaxPrice=price))

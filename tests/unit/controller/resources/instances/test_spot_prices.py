"""Spot prices are those of the price books, each since it changed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from stead_controller.db.tables import PriceBook
from stead_controller.errors import InvalidCombination, InvalidParameter
from stead_controller.request.filters import Filter
from stead_controller.resources.instances import spot_prices
from stead_controller.resources.instances.spot_prices import Asked

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
EPOCH = datetime.fromtimestamp(0, UTC)


def ago(days):
    return NOW - timedelta(days=days)


def book(price):
    return f'currency = "EUR"\n[[price]]\nusage = "SpotUsage:t3.micro"\nprice = "{price}"'


@pytest.fixture
def history(world, run):
    """Three changes of a price, one of them none, and a time after which t3.micro has no price."""
    for days, text in (
        (100, book("0.1")),
        (50, book("0.2")),
        (40, book("0.20")),
        (30, book("0.1234567")),
        (20, 'currency = "EUR"'),
    ):
        run(
            lambda tx, days=days, text=text: tx.session.add(PriceBook(valid_from=int(ago(days).timestamp()), text=text))
        )

    def ask(*filters, after=None, limit=None, **asked):
        wanted = Asked(**{"types": ("t3.micro",), "zone": world.cloud.zones[0], **asked}, filters=filters)
        return run(spot_prices.history, world.cloud, wanted, NOW, after=after, limit=limit)

    return ask


def test_a_price_of_the_region_counts_before_one_without(world, run):
    text = book("0.1") + "\n" + book("0.3").partition("\n")[2] + f'\nregion = "{world.cloud.region}"\n'
    run(lambda tx: tx.session.add(PriceBook(valid_from=int(ago(9).timestamp()), text=text)))
    wanted = Asked(types=("t3.micro",), zone=world.cloud.zones[0])
    assert short(run(spot_prices.history, world.cloud, wanted, NOW))[0] == ("0.300000", 9)


def short(found):
    return [(one.price, (NOW - one.since).days) for one in found]


CHANGES = [("0.1234567", 30), ("0.200000", 50), ("0.100000", 100)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, CHANGES),
        ({"begin": ago(60)}, CHANGES),
        ({"end": ago(45)}, CHANGES[1:]),
        ({"begin": ago(50)}, CHANGES[:2]),
        ({"begin": ago(45)}, CHANGES[:2]),
        ({"begin": ago(400)}, CHANGES),
        ({"begin": ago(60), "end": ago(45)}, CHANGES[1:]),
        ({"begin": ago(60), "end": ago(50)}, CHANGES[1:]),
        ({"begin": ago(60), "end": ago(51)}, CHANGES[2:]),
        ({"begin": ago(35), "end": ago(-9)}, [("0.1234567", 30), ("0.200000", 40)]),
        ({"begin": ago(20)}, []),
        ({"begin": ago(-1)}, []),
    ],
)
def test_each_price_is_told_since_when_it_is_valid(history, asked, found):
    assert short(history(**asked)) == found


def test_the_default_prices_are_valid_since_ever(world, run):
    found = run(spot_prices.history, world.cloud, Asked(types=("t3.micro", "t3.small")), NOW)
    assert [(one.instance_type, one.zone) for one in found] == [
        (name, zone) for name in ("t3.micro", "t3.small") for zone in world.cloud.zones
    ]
    assert {(one.price, one.since) for one in found if one.instance_type == "t3.micro"} == {("0.002240", EPOCH)}
    everything = run(spot_prices.history, world.cloud, Asked(), NOW)
    assert len(everything) > 100
    assert [one.place for one in everything] == sorted(one.place for one in everything)


@pytest.mark.parametrize(
    ("asked", "filters", "count"),
    [
        ({"products": ("Linux/UNIX",)}, (), 3),
        ({"products": ("Windows", "Linux/UNIX (Amazon VPC)")}, (), 3),
        ({"products": ("Windows",)}, (), 0),
        ({"types": ("t3.small",)}, (), 0),
        ({"zone": "elsewhere"}, (), 0),
        ({"zone": "", "zone_id": "use1-az1"}, (), 3),
        ({"zone": "", "zone_id": "use1-az9"}, (), 0),
        ({}, (Filter("product-description", ("Linux/UNIX (Amazon VPC)",)),), 3),
        ({}, (Filter("product-description", ("Windows",)),), 0),
        ({}, (Filter("spot-price", ("0.2*",)),), 1),
        ({}, (Filter("instance-type", ("t3.*",)), Filter("spot-price", ("0.1*",))), 2),
        ({"types": ()}, (Filter("instance-type", ("t3.nano",)),), 0),
        ({}, (Filter("availability-zone", ("us-east-1a",)), Filter("availability-zone-id", ("use1-az1",))), 3),
        ({}, (Filter("timestamp", ("2026-10-30T12:00:00Z",)),), 1),
        ({}, (Filter("timestamp", ("2026-10-30T12:00:00.000Z",)),), 1),
    ],
)  # fmt: skip
def test_what_is_asked_for(history, asked, filters, count):
    assert len(history(*filters, **asked)) == count


def test_pages(history):
    whole = history()
    assert history(limit=2) == whole[:2]
    assert history(after=whole[0].place) == whole[1:]


def test_a_time_that_ends_before_it_begins_and_two_names_of_a_zone_are_refused(history):
    with pytest.raises(InvalidParameter):
        history(begin=ago(1), end=ago(2))
    assert history(begin=ago(35), end=ago(35)) == history(begin=ago(35))[1:]
    with pytest.raises(InvalidCombination):
        history(zone_id="use1-az1")


def test_what_costs_more_than_it_may_is_refused(world, run):
    def check(maximum, now, kind="t3.micro"):
        run(spot_prices.check_maximum, world.cloud, kind, Decimal(maximum), now)

    for days, text in ((9, book("0.1")), (3, 'currency = "EUR"')):
        run(
            lambda tx, days=days, text=text: tx.session.add(PriceBook(valid_from=int(ago(days).timestamp()), text=text))
        )
    check("0.1", ago(5))
    check("0.01", ago(5), kind="t3.small")  # it has no price
    check("0.01", NOW)
    with pytest.raises(InvalidParameter, match=r"0\.09 .* 0\.100000") as refused:
        check("0.09", ago(5))
    assert refused.value.code == "SpotMaxPriceTooLow"

"""Price books: a whole name counts before the longest beginning; one error refuses all of it."""

from decimal import Decimal

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.metering.price_book import InstancePrices, default_text, parse
from stead_controller.metering.price_tiers import Tier, flat
from stead_controller.metering.uses import KINDS, NAMES

BOOK = """
currency = "EUR"
[[price]]
usage = "EBS:VolumeUsage*"
price = "0.1"
[[price]]
usage = "EBS:VolumeUsage.gp3"
price = "0.08"
[[price]]
usage = "EBS:VolumeUsage.s*"
price = "0.01"
"""


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        ("EBS:VolumeUsage.gp3", "0.08"),
        ("EBS:VolumeUsage.gp2", "0.1"),
        ("EBS:VolumeUsage", "0.1"),
        ("EBS:VolumeUsage.st1", "0.01"),
        ("EBS:VolumeP-IOPS.gp3", None),
    ],
)
def test_the_name_that_fits_best_counts(usage, price):
    assert parse(BOOK).find(usage) == (None if price is None else flat(Decimal(price)))


REGIONAL = (
    BOOK
    + """
[[price]]
usage = "EBS:VolumeUsage*"
region = "eu-central-1"
price = "0.2"
[[price]]
usage = "EBS:SnapshotUsage"
region = "eu-central-1"
tiers = [{ begin = "0", end = "1", price = "0" }, { begin = "1", end = "Inf", price = "5" }]
[[price]]
usage = "CW:*"
region = "eu-central-1"
price = "0.3"
"""
)


@pytest.mark.parametrize(
    ("region", "usage", "price"),
    [
        ("eu-central-1", "EBS:VolumeUsage.gp3", "0.2"),  # although the other one fits better
        ("eu-central-1", "EBS:VolumeUsage", "0.2"),
        ("eu-central-1", "CW:AlarmMonitorUsage", "0.3"),
        ("eu-central-1", "CW:Requests", None),
        ("eu-central-2", "EBS:VolumeUsage.gp3", "0.08"),
        ("eu-central-2", "EBS:SnapshotUsage", None),
        ("", "EBS:VolumeUsage.gp3", "0.08"),
    ],
)
def test_prices_of_the_region_count_before_those_without_one(region, usage, price):
    assert parse(REGIONAL).of(region).find(usage) == (None if price is None else flat(Decimal(price)))


def test_a_region_has_tiers_of_its_own():
    book = parse(REGIONAL)
    assert book.of("eu-central-1").tiered == ("EBS:SnapshotUsage",)
    assert book.of("eu-central-2").tiered == book.tiered == ()
    assert len(book.of("eu-central-1").find("EBS:SnapshotUsage")) == 2
    only = book.only_of("eu-central-1")
    assert (only.find("EBS:VolumeUsage"), only.find("EBS:VolumeP-IOPS.io2")) == (flat(Decimal("0.2")), None)
    assert book.only_of("eu-central-2").prices == {}


SIZES = """
currency = "EUR"
[[instances]]
vcpu = "1"
memory = "2"
[[instances]]
region = "eu-central-1"
vcpu = "3"
memory = "4"
spot = "0.5"
"""


def test_a_region_has_prices_of_its_own_for_instances():
    book = parse(SIZES)
    everywhere, there = InstancePrices(Decimal(1), Decimal(2)), InstancePrices(Decimal(3), Decimal(4), Decimal("0.5"))
    assert book.instances == book.of("eu-central-2").instances == everywhere
    assert book.of("eu-central-1").instances == book.only_of("eu-central-1").instances == there
    assert book.only_of("eu-central-2").instances is None
    assert (book.regions, parse(REGIONAL).regions) == ({"eu-central-1"}, {"eu-central-1"})
    alone = parse('currency = "EUR"\n[instances]\nregion = "eu-central-1"\nvcpu = "3"\nmemory = "4"\nspot = "0.5"')
    assert (alone.instances, alone.of("eu-central-1").instances) == (None, there)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("", "two prices of instances\\."),
        ('region = "eu-central-1"', "two prices of instances in eu-central-1"),
        ('region = "EU"', "region of instances 3 is"),
        ('disk = "1"', "instances 3 has disk"),
        ('region = "us-west-1"\nspot = "-1"', "spot of instances 3"),
    ],
)
def test_prices_of_instances_are_of_different_regions(second, words):
    with pytest.raises(InvalidParameter, match=words):
        parse(f'{SIZES}[[instances]]\nvcpu = "1"\nmemory = "1"\n{second}')


@pytest.mark.parametrize(
    "region", ["5", '""', '"EU-CENTRAL-1"', '"eu central"', '"-eu"', '["eu-central-1"]', f'"{"a" * 65}"']
)
def test_what_is_no_code_of_a_region_is_refused(region):
    with pytest.raises(InvalidParameter, match="region of price 1 is"):
        parse(f'currency = "EUR"\n[[price]]\nusage = "EBS:VolumeUsage"\nprice = "1"\nregion = {region}')


def test_two_prices_for_a_use_are_for_two_regions():
    one = '[[price]]\nusage = "EBS:VolumeUsage"\nprice = "1"\n'
    of_region = one + 'region = "eu-central-1"\n'
    assert parse(f'currency = "EUR"\n{one}{of_region}{of_region.replace("eu", "us")}').find("EBS:VolumeUsage")
    with pytest.raises(InvalidParameter, match="two prices for EBS:VolumeUsage in eu-central-1"):
        parse(f'currency = "EUR"\n{of_region}{of_region}')
    with pytest.raises(InvalidParameter, match="two prices for EBS:VolumeUsage\\."):
        parse(f'currency = "EUR"\n{one}{of_region}{one}')


def test_the_price_of_alarms_is_none_of_other_units_of_cloudwatch():
    book = parse('currency = "EUR"\n[[price]]\nusage = "CW:*"\nprice = "3"\n[[price]]\nusage = "CW:R*"\nprice = "4"')
    assert book.find("CW:AlarmMonitorUsage") == book.find("CW:CompositeAlarmMonitorUsage") == flat(Decimal(3))
    assert (book.find("CW:MetricMonitorUsage"), book.find("CW:GMD-Metrics")) == (None, None)
    assert book.find("CW:Requests") is None


def test_the_default_prices_are_right_and_name_each_kind():
    book = parse(default_text())
    assert book.instances is not None
    by_size = {"BoxUsage:", "SpotUsage:", "DedicatedUsage:", "UnusedBox:"}
    assert all(book.find(kind) is not None for kind in KINDS if kind not in by_size and kind != "DataTransfer-")
    assert all(book.find(name) is not None for name in NAMES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("currency = ", "no TOML"),
        ('prices = "x"', "has prices, which is not known"),
        ("[instances]\nvcpu='1'\nmemory='1'", "lacks currency"),
        ('currency = "euro"', "no code of ISO 4217"),
        ('currency = "EURO"', "no code of ISO 4217"),
        ('currency = "eur"', "no code of ISO 4217"),
        ('currency = "ÄÖÜ"', "no code of ISO 4217"),
        ("currency = 5", "no code of ISO 4217"),
        ('currency = "EUR"\nprice = 5', "price must be a list"),
        ('currency = "EUR"\nprice = [5]', "price 1 must be a table"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"', "price 1 must have either price or tiers"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1"\nper = 5', "price 1 has per"),
        ('currency = "EUR"\n[[price]]\nusage = "Box*:a"\nprice = "1"', "may end with"),
        ('currency = "EUR"\n[[price]]\nusage = 5\nprice = "1"', "may end with"),
        ('currency = "EUR"\n[[price]]\nusage = "Boxes:a"\nprice = "1"', "begins with none of BoxUsage:"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = 0.1', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "-1"', "not negative"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "NaN"', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "x"', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1000000000"', "less than 1000000000"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1e999999"', "less than 1000000000"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1e-25"', "24 places at most"),
        (BOOK + '[[price]]\nusage = "EBS:VolumeUsage*"\nprice = "1"', "two prices for EBS:VolumeUsage"),
        ('currency = "EUR"\ninstances = 5', "instances must be a table"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"', "instances lacks memory"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"\nmemory = "1"\ndisk = "1"', "instances has disk"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"\nmemory = "1"\nspot = "-1"', "spot of instances"),
        (f"# {'x' * (1 << 20)}", "longer than 1 MiB"),
    ],
)
def test_one_error_refuses_all_of_it(text, words):
    with pytest.raises(InvalidParameter, match=words):
        parse(text)


def tiered(tiers, usage="NatGateway-Hours"):
    return f'currency = "EUR"\n[[price]]\nusage = "{usage}"\ntiers = {tiers}'


def test_a_price_may_have_tiers():
    book = parse(
        tiered(
            '[{begin="0", end="1.5", price="0"}, {begin="1.5", end="9", price="2"}, {begin="9", end="Inf", price="1"}]'
        )
        + '\n[[price]]\nusage = "PublicIPv4:*"\ntiers = [{begin="0", end="Inf", price="4"}]'
    )
    assert book.find("NatGateway-Hours") == (
        Tier(Decimal(0), Decimal("1.5"), Decimal(0)),
        Tier(Decimal("1.5"), Decimal(9), Decimal(2)),
        Tier(Decimal(9), None, Decimal(1)),
    )
    assert book.tiered == ("NatGateway-Hours",)
    assert book.find("PublicIPv4:IdleAddress") == flat(Decimal(4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (tiered("[]"), "tiers of price 1 has none"),
        (tiered("5"), "must be a list"),
        (tiered("[5]"), "tier 1 of price 1 must be a table"),
        (tiered('[{begin="0", price="1"}]'), "tier 1 of price 1 lacks end"),
        (tiered('[{end="Inf", price="1"}]'), "tier 1 of price 1 lacks begin"),
        (tiered('[{begin="0", end="Inf"}]'), "tier 1 of price 1 lacks price"),
        (tiered('[{begin="0", end="Inf", price="1", unit="x"}]'), "tier 1 of price 1 has unit"),
        (tiered('[{begin="1", end="Inf", price="1"}]'), "begins at 1, not at 0"),
        (tiered('[{begin="0", end="5", price="1"}]'), "last tier of price 1 ends at 5"),
        (tiered('[{begin="0", end="0", price="1"}, {begin="0", end="Inf", price="1"}]'), "ends at 0, not after it"),
        (tiered('[{begin="0", end="5", price="1"}, {begin="6", end="Inf", price="1"}]'), "ends at 5.*begins at 6"),
        (tiered('[{begin="0", end="5", price="1"}, {begin="4", end="Inf", price="1"}]'), "ends at 5.*begins at 4"),
        (tiered('[{begin="0", end="Inf", price="1"}, {begin="4", end="Inf", price="1"}]'), "ends at Inf.*begins at 4"),
        (tiered('[{begin="0", end="-1", price="1"}]'), "end of tier 1 of price 1"),
        (tiered('[{begin="-1", end="Inf", price="1"}]'), "begin of tier 1 of price 1"),
        (tiered('[{begin="0", end="Inf", price="-1"}]'), "price of tier 1 of price 1"),
        (tiered('[{begin="0", end="inf", price="1"}]'), "end of tier 1 of price 1"),
        (tiered('[{begin="0", end="Inf", price="1"}]', "SpotUsage:*"), "Spot prices cannot have"),
        (tiered('[{begin="0", end="Inf", price="1"}]\nprice = "1"'), "either price or tiers"),
    ],
)
def test_tiers_with_a_gap_or_an_overlap_are_refused(text, words):
    with pytest.raises(InvalidParameter, match=words):
        parse(text)


ONE, OTHER = "1" * 12, "2" * 12
DISCOUNTS = f"""
currency = "EUR"
[[discount]]
account = "{ONE}"
percent = "5"
[[discount]]
account = "{ONE}"
usage = "BoxUsage:*"
percent = "10.5"
[[discount]]
account = "{ONE}"
usage = "BoxUsage:t3.micro"
percent = "100"
[[discount]]
account = "{OTHER}"
usage = "*"
percent = "0"
"""


@pytest.mark.parametrize(
    ("account", "usage", "percent"),
    [
        (ONE, "NatGateway-Hours", "5"),
        (ONE, "BoxUsage:t3.large", "10.5"),
        (ONE, "BoxUsage:t3.micro", "100"),
        (ONE, "BoxUsage:t3.micrO", "10.5"),
        (OTHER, "BoxUsage:t3.micro", "0"),
        ("3" * 12, "BoxUsage:t3.micro", "0"),
    ],
)
def test_the_discount_that_fits_best_counts(account, usage, percent):
    assert parse(DISCOUNTS).discount(account, usage) == Decimal(percent)


def test_a_discount_of_the_region_counts_before_those_without_one():
    region = "eu-central-1"
    text = (
        discounted(percent="5") + discounted(usage="EBS:VolumeUsage*", percent="20", region=region).partition("\n")[2]
    )
    book = parse(text)
    found = [
        book.of(where).discount(ONE, usage) for where in ("", region) for usage in ("EBS:VolumeUsage", "CW:Requests")
    ]
    assert found == [Decimal(5), Decimal(5), Decimal(20), Decimal(5)]
    assert book.of(region).discount("9" * 12, "EBS:VolumeUsage") == 0
    with pytest.raises(InvalidParameter, match=f"two discounts of account {ONE} for .* in {region}"):
        parse(text + discounted(usage="EBS:VolumeUsage*", percent="7", region=region).partition("\n")[2])
    with pytest.raises(InvalidParameter, match="region of discount 1 is"):
        parse(discounted(region="EU"))


def discounted(**members):
    given = {"account": ONE, "percent": "5"} | members
    written = "".join(f"{name} = {value!r}\n" for name, value in given.items() if value is not None)
    return f'currency = "EUR"\n[[discount]]\n{written}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('currency = "EUR"\ndiscount = 5', "discount must be a list"),
        ('currency = "EUR"\ndiscount = [5]', "discount 1 must be a table"),
        (discounted(account=None), "discount 1 lacks account"),
        (discounted(percent=None), "discount 1 lacks percent"),
        (discounted(until="x"), "discount 1 has until"),
        (discounted(account="1" * 11), "12 digits"),
        (discounted(account="1" * 13), "12 digits"),
        (discounted(account="x" * 12), "12 digits"),
        (discounted(account=5), "12 digits"),
        (discounted(usage="Box*:a"), "may end with"),
        (discounted(usage="Boxes:a"), "begins with none of"),
        (discounted(percent="-1"), "percent of discount 1"),
        (discounted(percent="100.1"), "100 at most"),
        (discounted(percent="0.00001"), "with 4 places"),
        (
            discounted() + "[[discount]]\naccount = '" + ONE + "'\nusage = '*'\npercent = '7'",
            "two discounts of account",
        ),
    ],
)
def test_discounts_that_are_not_clear_are_refused(text, words):
    with pytest.raises(InvalidParameter, match=words):
        parse(text)


def test_a_discount_may_have_four_places():
    assert parse(discounted(percent="7.1234")).discount(ONE, "NatGateway-Hours") == Decimal("7.1234")


def test_prices_may_be_large_and_small():
    book = parse(BOOK.replace('"0.1"', '"999999999"').replace('"0.01"', f'"0.{"0" * 23}1"'))
    assert book.find("EBS:VolumeUsage.gp2") == flat(Decimal(999999999))
    assert book.find("EBS:VolumeUsage.st1") == flat(Decimal(1).scaleb(-24))
    assert parse('currency = "EUR"'.ljust(1 << 20)).currency == "EUR"

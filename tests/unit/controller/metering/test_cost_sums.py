"""Cost Explorer's groups add up to the bill, whatever the grouping, the filter and the granularity."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.aws.ce import time_periods
from stead_controller.db.tables import PriceBook, UsageLine, UsageMeter, UsageTag
from stead_controller.errors import BadRequest, Unsupported
from stead_controller.metering import cost_sums, dimensions, price_book, priced_uses
from stead_controller.metering.cost_filter import Branch, Leaf
from stead_controller.metering.cost_sums import Group, Query, Sums
from stead_controller.metering.usage_sums import Question
from tests.support.examples import examples

MINE, OTHERS = "1" * 12, "2" * 12
BEGIN = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp())
END = int(datetime(2026, 11, 8, tzinfo=UTC).timestamp())
NOW = datetime(2026, 11, 6, 7, 8, 9, tzinfo=UTC)
USES = [
    ("BoxUsage:t3.micro", "RunInstances"),
    ("SpotUsage:t3.large", "RunInstances"),
    ("EBS:VolumeUsage.gp3", "CreateVolume-Gp3"),
    ("EBS:SnapshotUsage", "CreateSnapshot"),
    ("NatGateway-Hours", "NatGateway"),
    ("PublicIPv4:InUseAddress", "RunInstances"),
]
moments = st.integers(BEGIN - 90000, END)
parts_of_use = st.tuples(
    st.sampled_from(USES), st.sampled_from([MINE, OTHERS]), st.sampled_from(["i-1", "i-2"]),
    st.sampled_from(["us-east-1a", ""]), st.integers(1, 9), moments, st.integers(1, 900_000),
)  # fmt: skip
tags = st.tuples(st.sampled_from(["team", "env"]), st.sampled_from(["i-1", "i-2"]), st.sampled_from("xy"), moments)
group = st.sampled_from(
    [Group("TAG", "team"), Group("TAG", "env"), Group("COST_CATEGORY", "c")]
    + [Group("DIMENSION", name) for name in sorted(dimensions.KNOWN)]
)
leaf = st.sampled_from(
    [
        Leaf("DIMENSION", "SERVICE", frozenset({"EC2 - Other"})),
        Leaf("DIMENSION", "AZ", frozenset({"us-east-1a", "NoAZ"})),
        Leaf("TAG", "team", frozenset({"x"})),
        Leaf("TAG", "env", frozenset(), absent=True),
        Leaf("COST_CATEGORY", "c", frozenset({"v"})),
    ]
)
filters = st.one_of(
    st.none(), leaf, st.builds(lambda kind, *parts: Branch(kind, parts), st.sampled_from(["And", "Or"]), leaf, leaf)
)
BOOK = """
currency = "USD"
[instances]
vcpu = "0.3"
memory = "0.07"
[[price]]
usage = "EBS:VolumeUsage*"
tiers = [
    { begin = "0", end = "0.5", price = "0" }, { begin = "0.5", end = "2", price = "0.9" }, { begin = "2", end = "Inf", price = "0.7" },
]
[[price]]
usage = "NatGateway-Hours"
tiers = [{ begin = "0", end = "30", price = "3" }, { begin = "30", end = "Inf", price = "2" }]
"""


def fill(tx, used, tagged, price_from):
    for number, ((usage, operation), account, resource, zone, quantity, began, length) in enumerate(used):
        about = {"account_id": account, "usage": usage, "operation": operation, "zone": zone, "quantity": quantity}
        if number % 4:
            tx.session.add(UsageLine(**about, resource_id=resource, began=began, ended=began + length))
        else:
            tx.session.add(UsageMeter(**about, resource_id=f"{resource}-{number}", least=60, began=began))
    begins = {}
    for key, resource, value, began in tagged:
        begins.setdefault((key, resource), {})[began] = value
    for (key, resource), values in begins.items():
        for began, ended in pairwise([*sorted(values), END]):
            row = {"account_id": MINE, "key": key, "resource_id": resource, "began": began, "value": values[began]}
            tx.session.add(UsageTag(**row, ended=ended))
    tx.session.add(PriceBook(valid_from=price_from, text=BOOK))
    tx.session.flush()


def bill(tx, account):
    return sum(
        (each.line.cost for each in priced_uses.between(tx, (BEGIN, END), NOW, Question(account), "here")), Fraction(0)
    )


def test_a_bill_is_at_its_regions_prices(database, world):
    entry = '[[price]]\nusage = "NatGateway-Hours"\nprice = "{}"\n'
    text = 'currency = "USD"\n' + entry.format(2) + entry.format(7) + 'region = "there"\n'
    about = {"account_id": MINE, "usage": "NatGateway-Hours", "operation": "NatGateway", "zone": "", "quantity": 1}

    def look(tx):
        tx.session.add(UsageLine(**about, resource_id="nat-1", began=BEGIN, ended=BEGIN + 3600))
        tx.session.add(PriceBook(valid_from=1, text=text))
        tx.session.flush()
        by_query = [
            cost_sums.run(tx, Query(MINE, region, (BEGIN, END)), NOW)[0][()].costs["USD"]
            for region in ("here", "there")
        ]
        asked = (tx, (BEGIN, END), NOW, Question(MINE))
        by_bill = [next(priced_uses.between(*asked, region)).line.cost for region in ("here", "there")]
        own = price_book.parse(text.replace("7", "9"))
        return by_query, by_bill, next(priced_uses.between(*asked, "there", own)).line.cost

    assert database.run_blocking(look, dry_run=True) == ([2, 7], [2, 7], 9)


def together(found):
    sums = Sums()
    for of_part in found:
        for each in of_part.values():
            sums.add(each)
    return sums


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(15))
@given(
    st.tuples(st.lists(parts_of_use, max_size=8), st.lists(tags, max_size=5), moments),
    st.sampled_from(["HOURLY", "DAILY", "MONTHLY"]), st.lists(group, max_size=2, unique=True), filters,
)  # fmt: skip
def test_groups_add_up_to_the_bill_whatever_they_are(database, lived, granularity, groups, chosen):
    def live(tx):
        fill(tx, *lived)
        edges = time_periods.parts(BEGIN, END, granularity)
        query = Query(MINE, "us-east-1", edges, tuple(groups))
        found = together(cost_sums.run(tx, query, NOW))
        assert found.costs["USD"] == bill(tx, MINE)
        plain = together(cost_sums.run(tx, Query(MINE, "us-east-1", (BEGIN, END)), NOW))
        assert (found.quantities, found.normalized) == (plain.quantities, plain.normalized)
        if chosen is not None:
            parts = [
                together(cost_sums.run(tx, Query(MINE, "us-east-1", edges, tuple(groups), each), NOW))
                for each in (chosen, Branch("Not", (chosen,)))
            ]
            assert parts[0].costs["USD"] + parts[1].costs["USD"] == found.costs["USD"]

    database.run_blocking(live, dry_run=True)


def test_each_part_has_what_was_used_in_it_and_groups_their_values(run):
    def live(tx):
        tx.session.add(
            UsageLine(
                account_id=MINE, resource_id="i-1", usage="BoxUsage:t3.micro", operation="RunInstances",
                zone="us-east-1a", quantity=1, began=BEGIN + 86400 - 3600, ended=BEGIN + 86400 + 7200,
            )
        )  # fmt: skip
        tx.session.flush()
        groups = (Group("DIMENSION", "INSTANCE_TYPE"), Group("TAG", "team"))
        edges = tuple(range(BEGIN, BEGIN + 3 * 86400 + 1, 86400))
        return cost_sums.run(tx, Query(MINE, "us-east-1", edges, groups), NOW)

    first, second, third = run(live)
    which = ("t3.micro", "team$")
    assert (first[which].quantities, first[which].normalized) == ({"Hrs": 1}, Fraction(1, 2))
    assert second[which].costs == {"USD": 2 * Fraction("0.0056")}
    assert third == {}


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (Group("DIMENSION", "SERVICE"), {"Amazon Elastic Compute Cloud - Compute"}),
        (Group("DIMENSION", "AZ"), {"us-east-1a", "us-east-1b"}),
        (Group("DIMENSION", "RESOURCE_ID"), {"i-1", "i-2"}),
        (Group("TAG", "team"), {"team$x", "team$"}),
        (Group("COST_CATEGORY", "team"), {"team$"}),
    ],
    ids=lambda given: given.key if isinstance(given, Group) else "",  # a set has no order
)
def test_each_kind_of_group_tells_its_values_apart(run, group, values):
    def live(tx):
        used = [(USES[0], MINE, f"i-{one}", f"us-east-1{'ab'[one - 1]}", 1, BEGIN, 7200) for one in (1, 2)]
        fill(tx, [(USES[0], OTHERS, "i-1", "", 1, BEGIN, 3600), *used], [("team", "i-1", "x", BEGIN)], BEGIN - 1)
        [found] = cost_sums.run(tx, Query(MINE, "us-east-1", (BEGIN, BEGIN + 3600), (group,)), NOW)
        return found

    assert set(run(live)) == {(value,) for value in values}


def test_each_part_names_the_currency_in_force_when_it_begins(run):
    def live(tx):
        for begin, currency in ((BEGIN, "EUR"), (BEGIN + 86400 + 1, "CHF")):
            tx.session.add(PriceBook(valid_from=begin, text=BOOK.replace("USD", currency)))
        tx.session.flush()
        return cost_sums.currencies(tx, tuple(BEGIN + day * 86400 for day in (-1, 0, 1, 2, 3)))

    assert run(live) == ["USD", "EUR", "EUR", "CHF"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(1, 3), "0.3333333333"),
        (Fraction(-5, 2), "-2.5"),
        (Fraction(120), "120"),
        (Fraction(1, 2 * 10**10), "0"),
        (Fraction(3, 2 * 10**10), "0.0000000002"),
        (Fraction(10**30) + Fraction(1, 10**10), "1000000000000000000000000000000.0000000001"),
    ],
)
def test_amounts_are_rounded_once_and_at_the_end(amount, text):
    assert cost_sums.text_of(amount) == text
    assert abs(Fraction(Decimal(text)) - amount) <= Fraction(1, 2 * 10**10)


def test_units_are_told_where_there_is_one():
    sums = Sums()
    assert sums.amount("UnblendedCost", "EUR") == (0, "EUR")
    assert sums.amount("UsageQuantity", "EUR") == (0, "N/A")
    sums.quantities["Hrs"] += 2
    assert sums.amount("UsageQuantity", "EUR") == (2, "Hrs")
    sums.quantities["GB-Mo"] += 1
    assert sums.amount("UsageQuantity", "EUR") == (3, "N/A")
    sums.normalized += 4
    assert sums.amount("NormalizedUsageAmount", "EUR") == (4, "N/A")
    sums.costs["USD"] += 1
    assert sums.amount("BlendedCost", "EUR") == (1, "USD")
    sums.costs["EUR"] += 1
    with pytest.raises(BadRequest, match="EUR and USD") as refusal:
        sums.amount("BlendedCost", "EUR")
    assert refusal.value.code == "DataUnavailableException"


def test_no_more_tag_keys_than_can_be_told_apart(run):
    some = Branch("Or", tuple(Leaf("TAG", key, frozenset({"v"})) for key in "abcde"))
    with pytest.raises(Unsupported, match="4 tag keys"):
        run(cost_sums.run, Query(MINE, "r", (BEGIN, END), (), some), NOW)
    assert run(cost_sums.run, Query(MINE, "r", (BEGIN, END), (), Branch("Or", some.parts[:4])), NOW) == [{}]

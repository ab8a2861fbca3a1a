"""Tiers against a model that counts second by second of days: whatever was used, and however a bill is divided."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.db.tables import PriceBook, UsageLine, UsageMeter
from stead_controller.metering import months, price_tiers, priced_uses, tier_shares, usage_days
from stead_controller.metering.price_book import parse
from stead_controller.metering.usage_sums import Period, Question
from tests.support.examples import examples

DAY = 86400
BEGIN = int(datetime(2026, 10, 29, tzinfo=UTC).timestamp())
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
END = int(datetime(2026, 11, 6, tzinfo=UTC).timestamp())
NOW = datetime(2026, 11, 5, 6, 7, 8, tzinfo=UTC)
PRICES = {
    "NatGateway-Hours": [(0, 0), (10, 5), (50, 3), (200, 1)],
    "PublicIPv4:IdleAddress": [(0, 2), (24, 0)],
    "PublicIPv4:InUseAddress": [(0, 4)],
}
NEW_PRICES = {
    "NatGateway-Hours": [(0, 7), (60, 2)],
    "PublicIPv4:IdleAddress": [(0, 1)],
    "PublicIPv4:InUseAddress": [(0, 5)],
}
ACCOUNTS = ("1" * 12, "2" * 12)


def book(prices):
    text = 'currency = "USD"'
    for usage, steps in prices.items():
        ends = [*(f"{begin}" for begin, _ in steps[1:]), "Inf"]
        tiers = [
            f'{{begin="{begin}", end="{end}", price="{price}"}}'
            for (begin, price), end in zip(steps, ends, strict=True)
        ]
        text += f'\n[[price]]\nusage = "{usage}"\ntiers = [{", ".join(tiers)}]'
    return text


moments = st.integers(BEGIN, END)
lines = st.lists(
    st.tuples(
        st.sampled_from(ACCOUNTS), st.sampled_from([*PRICES]), st.sampled_from("ab"), st.integers(1, 4), moments, moments,
    ),
    max_size=7,
)  # fmt: skip


def step_cost(steps, units):
    """What so many units of a month cost, added up tier by tier."""
    ends = [*(begin for begin, _ in steps[1:]), None]
    return sum(
        (
            price * max(Fraction(0), (units if end is None else min(units, end)) - begin)
            for (begin, price), end in zip(steps, ends, strict=True)
        ),
        Fraction(0),
    )


def model(used, change):
    """The costs of each account, use, resource and day, by the definition: hours, tiers, and shares of a day."""
    pieces = sorted({*range(BEGIN, END + 1, DAY), change})
    found = defaultdict(Fraction)
    before = defaultdict(Fraction)
    for begin, end in pairwise(pieces):
        if begin == NOVEMBER:
            before.clear()
        hours = defaultdict(Fraction)
        for account, usage, resource, quantity, one, other in used:
            seconds = min(end, max(one, other)) - max(begin, min(one, other))
            if seconds > 0:
                hours[account, usage, resource] += Fraction(seconds * quantity, 3600)
        prices = NEW_PRICES if begin >= change else PRICES
        for account, usage in {key[:2] for key in hours}:
            total = sum(amount for key, amount in hours.items() if key[:2] == (account, usage))
            sofar = before[account, usage]
            cost = step_cost(prices[usage], sofar + total) - step_cost(prices[usage], sofar)
            before[account, usage] = sofar + total
            for key, amount in hours.items():
                if key[:2] == (account, usage):
                    found[(*key, begin // DAY)] += cost * amount / total
    return {key: cost for key, cost in found.items() if cost}


def fill(tx, used, change):
    for account, usage, resource, quantity, one, other in used:
        about = {"account_id": account, "usage": usage, "resource_id": resource, "quantity": quantity}
        tx.session.add(UsageLine(**about, operation="x", zone="", began=min(one, other), ended=max(one, other)))
    tx.session.add(PriceBook(valid_from=BEGIN - 40 * DAY, text=book(PRICES)))
    tx.session.add(PriceBook(valid_from=change, text=book(NEW_PRICES)))
    tx.session.flush()


def costs(tx, edges, asked, key):
    found = defaultdict(Fraction)
    for priced in priced_uses.between(tx, edges, NOW, asked, "here"):
        line = priced.line
        assert line.quantity > 0
        assert line.cost == line.quantity * Fraction(line.rate.price)
        found[key(priced)] += line.cost
    return {which: cost for which, cost in found.items() if cost}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(lines, st.sampled_from([NOVEMBER, NOVEMBER + 2 * DAY, NOVEMBER + DAY + 3601]), moments, st.booleans())
def test_costs_are_those_of_the_model_however_the_bill_is_divided(database, used, change, cut, counted):
    def live(tx):
        fill(tx, used, change)
        if counted:
            usage_days.add_lines(tx)
        expected = model(used, change)
        days = tuple(range(BEGIN, END + 1, DAY))
        by_day = costs(
            tx, days, Question(by_resource=True),
            lambda one: (*one.line.used[:2], one.line.used.resource_id, days[one.part] // DAY),
        )  # fmt: skip
        assert by_day == expected
        whole = costs(tx, (BEGIN, END), Question(), lambda one: one.line.used[:2])
        mine = costs(tx, (BEGIN, END), Question(ACCOUNTS[0]), lambda one: one.line.used[:2])
        hours = costs(tx, range(BEGIN, END + 1, 3600), Question(), lambda one: one.line.used[:2])
        halves = costs(tx, sorted({BEGIN, cut, END}), Question(), lambda one: one.line.used[:2])
        of_day = costs(tx, days, Question(), lambda one: (*one.line.used[:2], one.part))
        sums = defaultdict(Fraction)
        for (account, usage, _, _), cost in expected.items():
            sums[account, usage] += cost
        assert whole == hours == halves == sums
        shared = defaultdict(Fraction)
        for (account, usage, _, day), cost in expected.items():
            shared[account, usage, day - BEGIN // DAY] += cost
        assert of_day == shared
        assert mine == {which: cost for which, cost in sums.items() if which[0] == ACCOUNTS[0]}

    database.run_blocking(live, dry_run=True)


def test_a_bill_has_a_line_for_each_tier_and_a_later_part_goes_on_where_the_month_was(run):
    def live(tx):
        tx.session.add(
            UsageMeter(
                account_id=ACCOUNTS[0], usage="NatGateway-Hours", operation="x", resource_id="nat-1", zone="",
                quantity=1, least=0, began=NOVEMBER,
            )
        )  # fmt: skip
        tx.session.add(PriceBook(valid_from=BEGIN, text=book(PRICES)))
        tx.session.flush()
        return [
            [
                (one.line.rate.tier, one.line.rate.price, one.line.quantity, one.part)
                for one in priced_uses.between(tx, edges, NOW, Question(), "here")
            ]
            for edges in ((NOVEMBER, NOVEMBER + 3 * DAY), (NOVEMBER + 2 * DAY, NOVEMBER + 3 * DAY))
        ]

    whole, third = run(live)
    assert whole == [(0, 0, 10, 0), (1, 5, 40, 0), (2, 3, 22, 0)]
    assert third == [(1, 5, 2, 0), (2, 3, 22, 0)]


def test_nothing_is_asked_for_where_no_price_has_tiers(run, statements):
    books = [(Period(BEGIN, END), parse(book({"NatGateway-Hours": [(0, 1)]})))]

    def live(tx):
        statements.clear()
        found = tier_shares.read(tx, books, NOW, "", lambda usage, number: books[number][1].find(usage))
        return found, list(statements)

    assert run(live) == (None, [])


def test_other_prices_for_one_bill_have_tiers_too(run):
    def live(tx):
        fill(tx, [(ACCOUNTS[0], "NatGateway-Hours", "a", 1, NOVEMBER, NOVEMBER + DAY)], NOVEMBER + 7)
        edges = (NOVEMBER, NOVEMBER + DAY)
        return [one.line.cost for one in priced_uses.between(tx, edges, NOW, Question(), "here", parse(book(PRICES)))]

    assert run(live) == [0, 70]


@pytest.mark.parametrize("end", [NOVEMBER + DAY + 3601, NOVEMBER + 25 * DAY], ids=["with_a_book", "after_now"])
def test_what_is_read_once_is_what_is_read_twice(run, end):
    """A bill that ends in a day, when prices do, or that has uses of a time to come, after the clock was set back."""

    def live(tx):
        fill(tx, [(ACCOUNTS[0], "NatGateway-Hours", "a", 1, NOVEMBER, NOVEMBER + 20 * DAY)], NOVEMBER + DAY + 3601)
        return [
            costs(tx, (NOVEMBER, end), asked, lambda one: one.line.used[:2])
            for asked in (Question(), Question(by_resource=True))
        ]

    once, twice = run(live)
    assert once == twice
    assert once


@pytest.mark.parametrize("asked", [Question(), Question(by_resource=True)], ids=["all", "by_resource"])
def test_many_edges_are_asked_for_by_day(run, asked):
    """Forty accounts that pass a tier on other days: no line is lost or counted twice."""
    october = months.begin_of(BEGIN)
    used = [
        (f"{number:012d}", "NatGateway-Hours", "a", 1 + number % 9, october + number * 3600, NOVEMBER + 5 * DAY)
        for number in range(40)
    ]

    def live(tx):
        fill(tx, used, NOVEMBER)
        edges = (october, NOVEMBER, END)
        found = defaultdict(Fraction)
        for one in priced_uses.between(tx, edges, NOW, asked, "here"):
            found[one.line.used.account_id, one.part] += one.line.cost
        return found

    found = run(live)
    for account, usage, _, quantity, begin, _ in used:
        hours = Fraction(quantity * (NOVEMBER - begin), 3600)
        assert found[account, 0] == step_cost(PRICES[usage], hours)
        hours = Fraction(quantity * 5 * 24)
        assert found[account, 1] == step_cost(NEW_PRICES[usage], hours)


@pytest.mark.parametrize(
    ("before", "amount", "expected"),
    [
        (0, 10, [1, 0, 0]),
        (0, 20, ["1/2", "1/2", 0]),
        (10, 1, [0, 1, 0]),
        (9, 4, ["1/4", "3/4", 0]),
        (5, 40, ["1/8", "1/2", "3/8"]),
        (25, 10, [0, "1/2", "1/2"]),
        (30, 10, [0, 0, 1]),
        (31, 10, [0, 0, 1]),
    ],
)
def test_shares_of_tiers(before, amount, expected):
    found = price_tiers.shares((Fraction(10), Fraction(30)), before, amount)
    assert found == tuple(map(Fraction, expected))


def test_a_discount_is_of_its_account_only(run):
    used = [(account, "NatGateway-Hours", "a", 1, NOVEMBER, NOVEMBER + DAY) for account in ACCOUNTS]
    discounted = (
        book(PRICES) + f'\n[[discount]]\naccount = "{ACCOUNTS[1]}"\nusage = "NatGateway-Hours*"\npercent = "25"'
    )

    def live(tx):
        fill(tx, used, NOVEMBER + 7)
        edges = (NOVEMBER, NOVEMBER + DAY)
        return [
            (one.line.used.account_id, one.line.rate.contracted, one.line.cost, one.line.list_cost)
            for one in priced_uses.between(tx, edges, NOW, Question(), "here", parse(discounted))
        ]

    assert run(live) == [
        (ACCOUNTS[0], 0, 0, 0),
        (ACCOUNTS[0], 5, 70, 70),
        (ACCOUNTS[1], 0, 0, 0),
        (ACCOUNTS[1], Decimal("3.75"), Fraction("52.5"), 70),
    ]

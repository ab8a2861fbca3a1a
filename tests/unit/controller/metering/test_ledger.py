"""The ledger against a recount second by second: nothing is missed, nothing counts twice, lines never change."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from stead_controller.db.tables import UsageLine, UsageMeter
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.metering import ledger, price_books, usage_days, usage_sums
from stead_controller.metering.ledger import Resource, Use
from stead_controller.metering.usage_sums import Period, Question
from stead_controller.metering.uses import NAMES
from stead_controller.resources.instances import own_types
from tests.support.examples import examples
from tests.support.rows import NOW

START = 1_700_000_000
END = START + 4000
ONE, OTHER = Resource("i-1", "1" * 12, "a"), Resource("vol-2", "2" * 12, "b")
BOX = Use("BoxUsage:t", "RunInstances", least=60)
SMALL, LARGE = Use("EBS:VolumeUsage.gp3", "Create", 3), Use("EBS:VolumeUsage.gp3", "Create", 5)
MORE = Use("EBS:VolumeP-IOPS.gp3", "Create", 7)
CHOICES = [(), (BOX,), (SMALL,), (LARGE,), (SMALL, MORE), (LARGE, MORE)]


def at(moment):
    return datetime.fromtimestamp(moment, UTC)


class Recount:
    """What each use was, as its changes say: (resource, use, begin, end)."""

    def __init__(self):
        self.past, self.present = [], {}

    def change(self, resource, uses, moment):
        going_on = self.present.setdefault(resource, {})
        for use, began in list(going_on.items()):
            if use not in uses:
                del going_on[use]
                self.past.append((resource, use, began, max(moment, began + use.least)))
        for use in uses:
            going_on.setdefault(use, moment)

    def sums(self, period, now):
        found = {}
        open_ones = [
            (resource, use, began, max(min(period.end, now), began + use.least))
            for resource, uses in self.present.items()
            for use, began in uses.items()
            if began < min(period.end, now)
        ]
        for resource, use, began, ended in self.past + open_ones:
            seconds = min(ended, period.end) - max(began, period.begin)
            if seconds > 0:
                key = (resource.account_id, use.usage)
                found[key] = found.get(key, 0) + seconds * use.quantity
        return found


steps = st.lists(
    st.tuples(st.sampled_from([ONE, OTHER]), st.sampled_from(CHOICES), st.integers(-100, 900)), max_size=12
)
periods = st.tuples(st.integers(START - 500, END), st.integers(1, 3000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(25))
@given(steps, st.lists(periods, min_size=1, max_size=3))
def test_sums_are_those_of_a_recount_whatever_the_clock_does(database, steps, periods):
    recount, moment = Recount(), START

    def live(tx):
        nonlocal moment
        for resource, uses, passed in steps:
            moment = moment + passed
            ledger.change(tx, resource, uses, at(moment))
            recount.change(resource, set(uses), moment)
            if passed % 3 == 0:
                usage_days.add_lines(tx)
        for begin, length in periods:
            period = Period(begin, begin + length)
            for now in (moment, moment + 700):
                found = usage_sums.of_period(tx, period, at(now), Question())
                assert {(each.used.account_id, each.used.usage): each.amount for each in found} == recount.sums(
                    period, now
                )
        whole = Period(0, 1 << 40)
        singly = usage_sums.of_period(tx, whole, at(moment), Question(by_resource=True))
        together = usage_sums.of_period(tx, whole, at(moment), Question())
        assert sum(each.amount for each in singly) == sum(each.amount for each in together)
        own = usage_sums.of_period(tx, whole, at(moment), Question(ONE.account_id))
        assert own == [each for each in together if each.used.account_id == ONE.account_id]

    database.run_blocking(live, dry_run=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(25))
@given(st.integers(-50, 50), st.integers(0, 100), st.integers(0, 100), st.integers(1, 3))
def test_a_time_is_left_out_once_and_only_of_what_had_begun(database, since, length, passed, told):
    first, last = START + since, START + since + length

    def live(tx):
        ledger.begin(tx, OTHER, [SMALL, MORE], at(START))
        for _ in range(told):
            ledger.skip(tx, OTHER, at(first), at(last))
        ledger.end(tx, OTHER, at(max(START, last) + passed))
        found = usage_sums.of_period(tx, Period(0, 1 << 40), at(1 << 33), Question())
        seconds = max(START, last) + passed - START - (length if since >= 0 else 0)
        return {each.used.usage: each.amount for each in found}, seconds

    found, seconds = database.run_blocking(live, dry_run=True)
    assert found == ({use.usage: use.quantity * seconds for use in (SMALL, MORE)} if seconds else {})


def test_a_time_is_left_out_of_one_resource_and_of_what_had_begun(run):
    run(ledger.begin, ONE, [BOX], at(START))
    run(ledger.begin, OTHER, [SMALL], at(START))
    run(ledger.change, OTHER, [SMALL, MORE], at(START + 60))
    run(ledger.skip, OTHER, at(START + 50), at(START + 100))
    meters = run(lambda tx: tx.session.scalars(select(UsageMeter).order_by(UsageMeter.usage)).all())
    assert [(meter.usage, meter.began - START) for meter in meters] == [
        (BOX.usage, 0), (MORE.usage, 60), (SMALL.usage, 100),
    ]  # fmt: skip
    (line,) = run(lambda tx: tx.session.scalars(select(UsageLine)).all())
    assert (line.resource_id, line.began - START, line.ended - START) == (OTHER.id, 0, 50)


def test_one_use_is_added_or_ended_while_others_go_on(run):
    def uses():
        return run(lambda tx: sorted(tx.session.execute(select(UsageMeter.usage, UsageMeter.began)).all()))

    run(ledger.adjust, ONE, MORE, at(START), wanted=True)
    assert uses() == [], "it is not billed at the moment"
    run(ledger.begin, ONE, [BOX], at(START))
    run(ledger.adjust, ONE, MORE, at(START + 5), wanted=True)
    run(ledger.adjust, ONE, MORE, at(START + 6), wanted=True)
    assert uses() == [("BoxUsage:t", START), ("EBS:VolumeP-IOPS.gp3", START + 5)]
    run(ledger.adjust, ONE, MORE, at(START + 9), wanted=False)
    run(ledger.adjust, ONE, MORE, at(START + 10), wanted=False)
    assert uses() == [("BoxUsage:t", START)]
    lines = run(lambda tx: tx.session.execute(select(UsageLine.usage, UsageLine.began, UsageLine.ended)).all())
    assert [tuple(one) for one in lines] == [("EBS:VolumeP-IOPS.gp3", START + 5, START + 9)]


def test_no_least_time_counts_for_what_is_interrupted(run):
    run(ledger.begin, ONE, [BOX], at(START))
    run(ledger.interrupt, ONE, at(START + 5))
    (line,) = run(lambda tx: tx.session.scalars(select(UsageLine)).all())
    assert (line.began - START, line.ended - START) == (0, 5)


def test_a_line_is_written_when_a_use_ends_and_only_then(run):
    run(ledger.begin, ONE, [BOX], at(START))
    run(ledger.change, ONE, [BOX], at(START + 5))
    assert run(lambda tx: tx.session.scalars(select(UsageLine)).all()) == []
    run(ledger.end, ONE, at(START + 10))
    run(ledger.end, ONE, at(START + 900))
    (line,) = run(lambda tx: tx.session.scalars(select(UsageLine)).all())
    assert (line.account_id, line.resource_id, line.usage, line.operation, line.zone, line.quantity) == (
        ONE.account_id, ONE.id, BOX.usage, BOX.operation, "a", 1,
    )  # fmt: skip
    assert (line.began, line.ended) == (START, START + 60), "a minute at least"
    assert run(lambda tx: tx.session.scalars(select(UsageMeter)).all()) == []


def test_what_was_used_before_a_time_stays_when_more_is_used(run):
    """Hours that are over never change, whatever comes later."""
    run(ledger.begin, OTHER, [SMALL], at(START))
    first = Period(START, START + 3600)
    before = run(usage_sums.of_period, first, at(START + 3600), Question())
    for later, uses in ((3700, [LARGE]), (7300, [])):
        run(ledger.change, OTHER, uses, at(START + later))
        assert run(usage_sums.of_period, first, at(START + 99999), Question()) == before


BOOK = 'currency = "EUR"'


def test_a_price_book_counts_from_its_time_on(run):
    present = int(NOW.timestamp())
    assert run(price_books.add, BOOK, None, NOW).valid_from == present
    run(price_books.add, 'currency = "CHF"', present + 100, NOW)
    parts = run(price_books.within, Period(present - 50, present + 200))
    assert [(part.begin - present, part.end - present, book.currency) for part, book in parts] == [
        (-50, 0, "USD"), (0, 100, "EUR"), (100, 200, "CHF"),
    ]  # fmt: skip
    parts = run(price_books.within, Period(present + 100, present + 200))
    assert [book.currency for _, book in parts] == ["CHF"]


def test_the_current_book_is_the_last_one_that_is_valid(run):
    present = int(NOW.timestamp())
    run(price_books.add, 'currency = "CHF"', present + 100, NOW)
    run(price_books.add, BOOK, present + 50, NOW)
    found = [run(price_books.current, at(present + later)) for later in (0, 49, 50, 99, 100, 900)]
    assert [book.valid_from for book in found] == [0, 0, *[present + 50] * 2, *[present + 100] * 2]
    assert [found[2].text, found[4].text] == [BOOK, 'currency = "CHF"']
    assert 'currency = "USD"' in found[0].text


@pytest.mark.parametrize(
    ("text", "later", "error"),
    [(BOOK, -1, InvalidParameter), (BOOK, 0, AlreadyExists), ("x", 5, InvalidParameter)],
)
def test_a_book_for_the_past_or_the_time_of_another_or_with_an_error_is_refused(run, unchanged, text, later, error):
    run(price_books.add, BOOK, None, NOW)
    unchanged()
    with pytest.raises(error):
        run(price_books.add, text, int(NOW.timestamp()) + later, NOW)
    unchanged()


OWN = {
    "vcpus": 2,
    "memory_mib": 1024,
    "interfaces": 3,
    "addresses": 5,
    "network_mbps": {"baseline": 100, "burst": 200},
}


def priced(usage):
    return f'{BOOK}\n[[price]]\nusage = "{usage}"\nprice = "1"'


@pytest.mark.parametrize(
    "usage",
    [
        *sorted(NAMES),
        "BoxUsage:t3.micro",
        "BoxUsage:t3.*",
        "SpotUsage:*",
        "EBS:VolumeP-IOPS*",
        "BoxUsage:own.one",
        "UnusedBox:own.one",
        "HostUsage:own",
        "HostUsage:t*",
        "CPUCredits:t3",
    ],
)
def test_what_exists_can_have_a_price(run, usage):
    run(own_types.add, "own.one", OWN, NOW)
    run(price_books.add, priced(usage), None, NOW)


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ("BoxUsage:t3.mirco", "there is no instance type t3.mirco"),
        ("BoxUsage:own.one", "there is no instance type own.one"),
        ("SpotUsage:t33.*", "there is no instance type t33.*"),
        ("BoxUsage:", "there is no instance type ."),
        ("UnusedBox:zz9.large", "there is no instance type zz9.large"),
        ("CPUCredits:m5", "there is no instance family m5"),
        ("HostUsage:t9", "there is no instance family t9"),
        ("HostUsage:t3.micro", "there is no instance family t3.micro"),
        ("EBS:VolumeUsage.gp4", "which nothing uses; there are CW:AlarmMonitorUsage"),
        ("EBS:VolumeP-IOPS.gp2", "which nothing uses"),
        ("NatGateway-Hours2*", "which nothing uses"),
        ("PublicIPv4:", "which nothing uses"),
    ],
)
def test_a_price_of_what_does_not_exist_is_refused(run, unchanged, usage, words):
    unchanged()
    with pytest.raises(InvalidParameter) as refused:
        run(price_books.add, priced(usage), None, NOW)
    assert words in refused.value.message
    unchanged()


def discount(account, usage):
    return f'currency = "EUR"\n[[discount]]\naccount = "{account}"\nusage = "{usage}"\npercent = "5"'


def test_a_discount_of_what_does_not_exist_is_refused(world, run, unchanged):
    mine = world.one.caller.account_id
    unchanged()
    with pytest.raises(InvalidParameter, match="a discount of account 999999999999, which does not exist"):
        run(price_books.add, discount("9" * 12, "*"), None, NOW)
    with pytest.raises(InvalidParameter, match="a discount for BoxUsage:t9"):
        run(price_books.add, discount(mine, "BoxUsage:t9.huge"), None, NOW)
    unchanged()
    run(price_books.add, discount(mine, "BoxUsage:t3.*"), None, NOW)
    run(price_books.add, discount(mine, "*"), int(NOW.timestamp()) + 1, NOW)


def test_a_book_stays_when_a_type_that_it_names_goes(run):
    run(own_types.add, "own.one", OWN, NOW)
    run(price_books.add, priced("BoxUsage:own.one"), None, NOW)
    run(own_types.remove, "own.one")
    ((_, book),) = run(price_books.within, Period(int(NOW.timestamp()), int(NOW.timestamp()) + 5))
    assert [tier.price for tier in book.find("BoxUsage:own.one")] == [1]

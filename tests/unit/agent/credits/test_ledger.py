"""What burstable machines have and owe, by EC2's examples and for any life."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.credits.interface import Balance, Terms
from stead_agent.credits.ledger import (
    CREDIT,
    EASE_MINUTES,
    PER_NANOSECOND,
    THOUSANDTH,
    Ledger,
    after,
    allowance,
    expired,
    started,
    stopped,
    under,
)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VCPU_MINUTE = 60_000_000_000
T2_MICRO = Terms(vcpus=1, per_hour=6_000, most=144_000, at_start=30_000)
T3_NANO = Terms(vcpus=2, per_hour=6_000, most=144_000, saved_seconds=7 * 86_400)
T3_NANO_UNLIMITED = replace(T3_NANO, unlimited=True)
ODD = Terms(vcpus=8, per_hour=81_600, most=1_958_400, at_start=240_000)  # t2.2xlarge


def test_units_are_whole() -> None:
    assert THOUSANDTH * 1000 == CREDIT == PER_NANOSECOND * VCPU_MINUTE
    assert after(Ledger(), replace(ODD, per_hour=1), 1, 0).earned * HOUR == THOUSANDTH


def test_an_idle_machine_saves_a_day_of_earnings() -> None:
    """A t2.micro that idles for a day has 144 earned credits and 30 of its launch, as EC2's guide says."""
    ledger = after(started(Ledger(), T2_MICRO), T2_MICRO, HOUR, 0)
    assert ledger.shown == Balance(credits=36_000)
    ledger = after(ledger, T2_MICRO, DAY, 0)
    assert ledger.shown == Balance(credits=174_000)
    assert after(ledger, T2_MICRO, DAY, 0) == ledger


def test_credits_of_the_start_are_spent_first() -> None:
    ledger = after(started(Ledger(), T2_MICRO), T2_MICRO, HOUR, 10 * VCPU_MINUTE)
    assert (ledger.at_start, ledger.earned) == (20 * CREDIT, 6 * CREDIT)
    ledger = after(ledger, T2_MICRO, HOUR, 25 * VCPU_MINUTE)
    assert (ledger.at_start, ledger.earned) == (0, 7 * CREDIT)


def test_what_the_baseline_costs_is_what_is_earned() -> None:
    ledger = Ledger(earned=CREDIT, gained=CREDIT)
    assert after(ledger, T2_MICRO, HOUR, HOUR * 100_000).earned == CREDIT  # 10 % of a vCPU


def test_overspending_is_paid_first_in_the_mode_standard() -> None:
    ledger = after(Ledger(), T2_MICRO, HOUR, 7 * VCPU_MINUTE)
    assert (ledger.earned, ledger.surplus, ledger.shown.credits) == (-CREDIT, 0, 0)
    assert after(ledger, T2_MICRO, HOUR, 0).earned == 5 * CREDIT


def test_unlimited_owes_a_day_of_earnings_and_is_charged_for_more() -> None:
    ledger = after(Ledger(), T3_NANO_UNLIMITED, DAY, 288 * VCPU_MINUTE)
    assert ledger.shown == Balance(surplus=144_000, spent=288_000)
    ledger = after(ledger, T3_NANO_UNLIMITED, HOUR, 20 * VCPU_MINUTE)
    assert ledger.shown == Balance(surplus=144_000, spent=308_000, charged=14_000)
    ledger = after(ledger, T3_NANO_UNLIMITED, DAY, 0)  # all pays what is owed
    assert ledger.shown == Balance(spent=308_000, charged=14_000)
    assert after(ledger, T3_NANO_UNLIMITED, HOUR, 0).shown.credits == 6_000


def test_saved_credits_are_spent_before_surplus_ones() -> None:
    ledger = after(Ledger(earned=2 * CREDIT, gained=2 * CREDIT), T3_NANO_UNLIMITED, HOUR, 9 * VCPU_MINUTE)
    assert (ledger.earned, ledger.surplus) == (0, CREDIT)


def test_what_is_owed_is_charged_at_a_stop_and_by_the_mode_standard() -> None:
    owing = after(Ledger(), T3_NANO_UNLIMITED, HOUR, 10 * VCPU_MINUTE)
    for ended in (stopped(owing), under(owing, T3_NANO)):
        assert ended.shown == Balance(spent=10_000, charged=4_000)
    assert under(owing, T3_NANO_UNLIMITED) == owing


def test_saved_credits_survive_a_change_of_mode() -> None:
    ledger = after(Ledger(), T3_NANO, HOUR, 0)
    assert under(under(ledger, T3_NANO_UNLIMITED), T3_NANO) == ledger


def test_unlimited_has_no_credits_of_its_start() -> None:
    t2_unlimited = replace(T2_MICRO, unlimited=True)
    assert started(Ledger(), t2_unlimited) == Ledger()
    ledger = under(after(started(Ledger(), T2_MICRO), T2_MICRO, HOUR, 0), t2_unlimited)
    assert ledger.shown == Balance(credits=6_000)
    assert under(ledger, T2_MICRO).shown == Balance(credits=6_000)  # they do not come back


def test_overspending_is_owed_in_the_mode_unlimited() -> None:
    ledger = under(Ledger(earned=-CREDIT, spent=CREDIT), T3_NANO_UNLIMITED)
    assert (ledger.earned, ledger.surplus) == (0, CREDIT)


def test_credits_of_an_earlier_start_do_not_add_up() -> None:
    ledger = started(started(Ledger(), T2_MICRO), T2_MICRO)
    assert ledger.shown == Balance(credits=30_000)
    assert stopped(ledger).shown == Balance()


def test_a_smaller_type_saves_less() -> None:
    ledger = after(Ledger(), replace(T3_NANO, per_hour=12_000, most=288_000), DAY, 0)
    assert under(ledger, T3_NANO).shown == Balance(credits=144_000)


def test_credits_expire_and_debts_do_not() -> None:
    assert expired(Ledger(earned=CREDIT, gained=CREDIT)) == Ledger()
    assert expired(Ledger(earned=-CREDIT, spent=CREDIT)).earned == -CREDIT


@pytest.mark.parametrize(
    ("earned", "share"),
    [
        (0, 50),  # the baseline: 10 % of one of two vCPUs
        (CREDIT, 150),
        (EASE_MINUTES * CREDIT, 550),
        (2 * EASE_MINUTES * CREDIT, None),
        (-CREDIT // 4, 25),
        (-9 * CREDIT, 25),
    ],
)
def test_speed_falls_with_the_balance_to_the_baseline(earned: int, share: int | None) -> None:
    assert allowance(Ledger(earned=earned), T3_NANO) == share
    assert allowance(Ledger(earned=earned), T3_NANO_UNLIMITED) is None


def test_credits_of_the_start_are_for_speed_too() -> None:
    assert allowance(Ledger(at_start=CREDIT), T3_NANO) == 150


def test_a_busy_machine_gets_near_its_baseline_in_15_minutes_and_never_overspends() -> None:
    ledger = started(Ledger(), T2_MICRO)
    shares = []
    for _ in range(12 * 60):  # each 5 seconds of an hour
        share = allowance(ledger, T2_MICRO)
        shares.append(1000 if share is None else share)
        ledger = after(ledger, T2_MICRO, 5_000, shares[-1] * 5_000_000)
        assert ledger.balance >= 0
    limited = shares.index(next(each for each in shares if each < 1000))
    assert shares[0] == 1000
    assert shares[limited:] == sorted(shares[limited:], reverse=True)
    assert shares[limited + 12 * 15] < 150
    assert 100 <= shares[-1] < 110


def test_one_busy_vcpu_of_two_gets_all_that_is_earned() -> None:
    ledger, used = Ledger(), 0
    for _ in range(12 * 180):
        share = allowance(ledger, T3_NANO)
        assert share is not None
        ledger = after(ledger, T3_NANO, 5_000, share * 5_000_000)
        used = share
    assert used == pytest.approx(100, abs=3)  # of that one vCPU: the baseline of both


TERMS = st.sampled_from([T2_MICRO, T3_NANO, T3_NANO_UNLIMITED, ODD, replace(ODD, unlimited=True)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("after"), TERMS, st.integers(0, 3 * DAY), st.integers(0, 1000)),
        st.tuples(st.sampled_from(["under", "started", "stopped", "expired"]), TERMS, st.just(0), st.just(0)),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_nothing_is_made_or_lost_unseen(steps: list[tuple[str, Terms, int, int]]) -> None:
    ledger, used = Ledger(), 0
    for step, terms, milliseconds, busy in steps:
        before = ledger
        match step:
            case "after":
                ledger = under(ledger, terms)
                before = ledger
                nanoseconds = milliseconds * busy * terms.vcpus * 1000
                used += nanoseconds
                ledger = after(ledger, terms, milliseconds, nanoseconds)
                assert ledger.gained - before.gained <= terms.per_hour * milliseconds * THOUSANDTH // HOUR
            case "under":
                ledger = under(ledger, terms)
            case "started":
                ledger = started(ledger, terms)
            case "stopped":
                ledger = stopped(ledger)
            case _:
                ledger = expired(ledger)
        assert ledger.gained + ledger.charged - ledger.spent == ledger.balance - ledger.surplus
        assert ledger.spent == used * PER_NANOSECOND
        assert ledger.charged >= before.charged
        assert ledger.at_start >= 0
        assert ledger.surplus >= 0
        if step in {"after", "under", "started"}:
            assert ledger.earned <= terms.most * THOUSANDTH
            assert ledger.surplus <= (terms.most * THOUSANDTH if terms.unlimited else 0)
            assert not terms.unlimited or (ledger.earned >= 0 and ledger.at_start == 0)


@given(terms=TERMS, splits=st.lists(st.tuples(st.integers(0, MINUTE), st.integers(0, 10**11)), max_size=8))
def test_how_often_it_is_counted_changes_nothing_below_the_limits(terms: Terms, splits: list[tuple[int, int]]) -> None:
    """Only what would be lost beyond the limits depends on when it was looked at."""
    begin = started(Ledger(earned=100 * CREDIT, gained=100 * CREDIT), terms)
    by_parts = begin
    for milliseconds, nanoseconds in splits:
        by_parts = after(by_parts, terms, milliseconds, nanoseconds)
    whole = after(begin, terms, sum(each for each, _ in splits), sum(each for _, each in splits))
    assert by_parts == whole

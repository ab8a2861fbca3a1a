"""What counts as growth."""

import pytest

from tests.recovery.lives.lives import LIMITS, figure_of
from tests.recovery.lives.slope import Sample, grown, per_thousand


def samples(*values: float) -> list[Sample]:
    return [Sample(500 * number, {"rows of tags": value}) for number, value in enumerate(values)]


def test_what_grows_with_lives_grows_by_a_rate() -> None:
    assert per_thousand(samples(10, 15, 20, 25), "rows of tags") == 10


def test_one_high_sample_is_no_growth() -> None:
    assert per_thousand(samples(10, 10, 70, 10, 10), "rows of tags") == 0


def test_without_two_samples_nothing_is_known() -> None:
    assert per_thousand(samples(10), "rows of tags") == per_thousand([], "rows of tags") == 0
    assert per_thousand([Sample(7, {"rows": 1}), Sample(7, {"rows": 2})], "rows") == 0


def test_only_what_has_a_limit_is_judged_and_only_more_than_that() -> None:
    found = samples(10, 15, 20)
    assert grown(found, {"rows of ": 9.9}) == ["rows of tags grows by 10 in a thousand lives, 9.9 allowed"]
    assert grown(found, {"rows of ": 10}) == grown(found, {"files of ": 0}) == []


def test_what_gets_less_is_no_growth() -> None:
    assert grown(samples(30, 20, 10), {"rows of ": 0}) == []


@pytest.mark.parametrize(
    ("table", "each", "may"), [("usage_lines", 3, True), ("usage_lines", 5, False), ("tags", 1, False)]
)
def test_only_the_ledger_may_grow_and_by_few_lines_for_each_life(table: str, each: int, may: bool) -> None:
    found = [Sample(lives, {figure_of(table): each * lives}) for lives in (500, 1000, 1500)]
    assert bool(grown(found, LIMITS)) != may

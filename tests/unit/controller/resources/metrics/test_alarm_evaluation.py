"""From data points to a state: the tables of the user guide, M out of N, and percentiles of few samples."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.metrics.alarm_definition import COMPARISONS, MISSING, Definition
from stead_controller.resources.metrics.alarm_evaluation import MORE, STEP, Point, evaluate, window
from stead_controller.resources.metrics.alarm_states import STATES
from stead_controller.resources.metrics.measures import Measure, Metric, Query

NOW = datetime(2026, 11, 28, 20, 0, 7, tzinfo=UTC)
END = int(datetime(2026, 11, 28, 20, 0, 0, tzinfo=UTC).timestamp()) * 1000


OF_QUERIES = (Query("x", expression="1", period=60),)
BASE = Definition(Measure(Metric("N", "m"), "Average", 60), (), 3, None, 80.0, "GreaterThanThreshold")


def definition(periods: int = 3, to_alarm: int | None = None, missing: str | None = None, **more: Any) -> Definition:
    return replace(BASE, periods=periods, to_alarm=to_alarm, missing=missing, **more)


def points(drawn: str, samples: float | None = None) -> list[Point]:
    """`0` is within the threshold, `X` beyond it, `-` missing; the last is the newest."""
    marks = drawn.split()
    first = END - len(marks) * 60_000
    worth = {"0": 10.0, "X": 90.0}
    return [Point(first + n * 60_000, worth[mark], samples) for n, mark in enumerate(marks) if mark != "-"]


def state(alarm: Definition, drawn: str, before: str = "before") -> str:
    new = evaluate(alarm, points(drawn), before, window(alarm, NOW))
    return before if new is None else new.state


I, KEPT = "INSUFFICIENT_DATA", "before"  # noqa: E741 - as short as the table


@pytest.mark.parametrize(
    ("to_alarm", "drawn", "missing", "ignore", "breaching", "not_breaching"),
    [
        (3, "0 - X - X", "OK", "OK", "OK", "OK"),
        (3, "- - - - 0", "OK", "OK", "OK", "OK"),
        (3, "- - - - -", I, KEPT, "ALARM", "OK"),
        (3, "0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
        (3, "- - X - -", "ALARM", KEPT, "ALARM", "OK"),
        (2, "0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
        (2, "0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
        (2, "0 - X - -", "OK", "OK", "ALARM", "OK"),
        (2, "- - - - 0", "OK", "OK", "ALARM", "OK"),
        (2, "- - - X -", "ALARM", KEPT, "ALARM", "OK"),
        (3, "- - - - X", KEPT, KEPT, "ALARM", "OK"),
        (2, "X X 0 0 X", "OK", "OK", "OK", "OK"),
    ],
)
def test_the_tables_of_the_user_guide(  # noqa: PLR0917 - a row of the table
    to_alarm: int, drawn: str, missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    expected = (("missing", missing), ("ignore", ignore), ("breaching", breaching), ("notBreaching", not_breaching))
    for policy, found in expected:
        assert state(definition(3, to_alarm, policy), drawn) == found, policy
    assert state(definition(3, to_alarm), drawn) == missing
    assert state(definition(3, None if to_alarm == 3 else to_alarm), drawn) == missing


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        ("GreaterThanOrEqualToThreshold", "OK", "ALARM", "ALARM"),
        ("GreaterThanThreshold", "OK", "OK", "ALARM"),
        ("LessThanThreshold", "ALARM", "OK", "OK"),
        ("LessThanOrEqualToThreshold", "ALARM", "ALARM", "OK"),
    ],
)
def test_comparisons(comparison: str, below: str, at: str, above: str) -> None:
    alarm = definition(1, comparison=comparison)
    for value, expected in ((79.0, below), (80.0, at), (81.0, above)):
        new = evaluate(alarm, [Point(END - 60_000, value)], I, window(alarm, NOW))
        assert new is not None
        assert new.state == expected


@pytest.mark.parametrize(
    ("statistic", "samples", "is_judged"),
    [("p99", 1000, True), ("p99", 999, False), ("p10", 100, True), ("p10", 99, False), ("p50", 20, True), ("p50", 19, False), ("p100", 1, True)],
)  # fmt: skip
def test_percentiles_of_few_samples(statistic: str, samples: float, is_judged: bool) -> None:
    measure = Measure(Metric("N", "m"), statistic, 60)
    for low_samples, judged in (("ignore", is_judged), ("evaluate", True), (None, True)):
        alarm = definition(1, measure=measure, low_samples=low_samples)
        new = evaluate(alarm, points("X", samples), "OK", window(alarm, NOW))
        assert (new is not None) == judged


def test_what_has_no_percentile_or_no_counted_samples_is_judged() -> None:
    of_expression = definition(1, measure=None, queries=OF_QUERIES, low_samples="ignore")
    of_average = definition(1, low_samples="ignore")
    of_percentile = definition(1, measure=Measure(Metric("N", "m"), "p99", 60), low_samples="ignore")
    for alarm, samples in ((of_expression, 1.0), (of_average, 1.0), (of_percentile, None)):
        new = evaluate(alarm, points("X", samples), "OK", window(alarm, NOW))
        assert new is not None
        assert new.state == "ALARM"


def test_one_point_of_too_few_samples_is_enough_to_wait() -> None:
    alarm = definition(2, measure=Measure(Metric("N", "m"), "p99", 60), low_samples="ignore")
    both = [replace(one, samples=samples) for one, samples in zip(points("X X"), (1000, 999), strict=True)]
    assert evaluate(alarm, both, "OK", window(alarm, NOW)) is None


def test_a_window_ends_at_a_step_and_has_some_periods_more() -> None:
    span = window(definition(3), NOW)
    assert (span.end, span.start) == (END, END - (3 + MORE) * 60_000)
    assert span.end % (STEP * 1000) == 0


@pytest.mark.parametrize(
    ("alarm", "drawn", "number", "words", "least", "change", "more"),
    [
        (definition(3, 2), "0 X X", "2 out of the last 3", "were", "2 datapoints", "OK -> ALARM", ""),
        (definition(3, 2), "0 0 X", "2 out of the last 3", "were not", "2 datapoints", "ALARM -> OK", ""),
        (definition(3), "0 X X", "1 out of the last 3", "was not", "1 datapoint", "ALARM -> OK", ""),
        (
            definition(3, 2, "notBreaching"), "0 -", "1 out of the last 3", "was not", "2 datapoints", "ALARM -> OK",
            " 2 missing datapoints were filled in.",
        ),
        (definition(3, 2), "0 -", "1 out of the last 3", "was not", "2 datapoints", "ALARM -> OK", ""),
        (definition(1, None, "missing"), "X", "1 out of the last 1", "was", "1 datapoint", "OK -> ALARM", ""),
    ],
)  # fmt: skip
def test_reasons_count_what_decided(  # noqa: PLR0917 - a row of the table
    alarm: Definition, drawn: str, number: str, words: str, least: str, change: str, more: str
) -> None:
    new = evaluate(alarm, points(drawn), "before", window(alarm, NOW))
    assert new is not None
    assert re.sub(r" \[.*?\]", "", new.reason) == (
        f"Threshold Crossed: {number} datapoints {words} greater than the threshold (80.0) "
        f"(minimum {least} for {change} transition).{more}"
    )


@pytest.mark.parametrize(
    ("periods", "missing", "reason"),
    [
        (1, None, "Insufficient Data: 1 datapoint was unknown."),
        (2, "missing", "Insufficient Data: 2 datapoints were unknown."),
        (1, "notBreaching", "Threshold Crossed: no datapoints were received; 1 datapoint was missing and treated as [NonBreaching]."),
        (2, "breaching", "Threshold Crossed: no datapoints were received; 2 datapoints were missing and treated as [Breaching]."),
    ],
)  # fmt: skip
def test_reasons_without_data(periods: int, missing: str | None, reason: str) -> None:
    alarm = definition(periods, missing=missing)
    new = evaluate(alarm, [], "before", window(alarm, NOW))
    assert new is not None
    assert new.reason == reason


def test_a_reason_shows_the_newest_five() -> None:
    alarm = definition(7)
    new = evaluate(alarm, points("0 X X X X X X"), "before", window(alarm, NOW))
    assert new is not None
    assert new.reason.count("90.0 (28/11/26 ") == 5
    assert "10.0" not in new.reason


def test_the_data_of_a_reason() -> None:
    of_unit = replace(BASE, periods=2, measure=Measure(Metric("N", "m"), "Average", 60, "Percent"))
    new = evaluate(of_unit, points("0 X -"), "before", window(of_unit, NOW))
    assert new is not None
    assert json.loads(new.data or "") == {
        "version": "1.0",
        "queryDate": "2026-11-28T20:00:00.000+0000",
        "startDate": "2026-11-28T19:57:00.000+0000",
        "statistic": "Average",
        "unit": "Percent",
        "period": 60,
        "recentDatapoints": [10.0, 90.0],
        "threshold": 80.0,
        "evaluatedDatapoints": [
            {"timestamp": "2026-11-28T19:58:00.000+0000", "value": 90.0},
            {"timestamp": "2026-11-28T19:57:00.000+0000", "value": 10.0},
        ],
    }
    of_expression = definition(2, measure=None, queries=OF_QUERIES)
    new = evaluate(of_expression, [], "before", window(of_expression, NOW))
    assert new is not None
    told = json.loads(new.data or "")
    assert told["startDate"] == "2026-11-28T19:56:00.000+0000"
    assert not {"statistic", "unit"} & told.keys()


def test_reasons() -> None:
    alarm = definition(2, 1)
    new = evaluate(alarm, points("0 X"), "OK", window(alarm, NOW))
    assert new is not None
    assert new.reason == (
        "Threshold Crossed: 1 out of the last 2 datapoints [90.0 (28/11/26 19:59:00), 10.0 (28/11/26 19:58:00)] was "
        "greater than the threshold (80.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert new.data is not None
    assert '"recentDatapoints":[10.0,90.0]' in new.data
    nothing = evaluate(definition(2), [], "OK", window(alarm, NOW))
    assert nothing is not None
    assert nothing.reason == "Insufficient Data: 2 datapoints were unknown."
    treated = evaluate(definition(1, missing="breaching"), [], "OK", window(alarm, NOW))
    assert treated is not None
    assert "treated as [Breaching]" in treated.reason
    assert evaluate(definition(2), [], I, window(alarm, NOW)) is None


@given(
    st.lists(st.sampled_from("0X-"), min_size=5, max_size=5),
    st.integers(1, 3),
    st.sampled_from(MISSING),
    st.sampled_from(COMPARISONS),
    st.sampled_from(STATES),
)
def test_laws(marks: list[str], to_alarm: int, missing: str, comparison: str, before: str) -> None:
    alarm = definition(3, to_alarm, missing, comparison=comparison)
    drawn = " ".join(marks)
    found = state(alarm, drawn, before)
    assert found in STATES
    there = [mark for mark in marks if mark != "-"][-3:]
    worse = "X" if comparison.startswith("Greater") else "0"
    if there.count(worse) >= to_alarm:
        assert found == "ALARM"
    elif len(there) == 3:
        assert found == "OK"
    if found == "INSUFFICIENT_DATA":
        assert not there or before == "INSUFFICIENT_DATA"

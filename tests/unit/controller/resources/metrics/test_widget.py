"""What a metric widget says, and what is refused of it by name."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics import widget
from stead_controller.resources.metrics.widget import Look, parse

NOW = datetime(2026, 11, 28, 20, 0, 0, tzinfo=UTC)
ONE = ["N", "m", "a", "1"]


def parsed(*metrics: Any, **more: Any) -> widget.Widget:
    return parse(json.dumps({"metrics": list(metrics) or [ONE], **more}), NOW, "us-east-1")


def measured(*metrics: Any, **more: Any) -> list[tuple[str, str, tuple[tuple[str, str], ...], str, int]]:
    found = [query.measure for query in parsed(*metrics, **more).queries]
    return [
        (one.metric.namespace, one.metric.name, one.metric.dimensions, one.statistic, one.period)
        for one in found
        if one
    ]


def test_metrics_are_written_in_short() -> None:
    rows: list[Any] = [
        ["N", "m", "a", "1", "b", "2"],
        [".", "n", ".", ".", ".", "."],
        ["...", "3"],
        ["...", "4", {"stat": "p99", "period": 60}],
        ["N", "m", {"label": "x"}],
    ]
    assert measured(*rows) == [
        ("N", "m", (("a", "1"), ("b", "2")), "Average", 300),
        ("N", "n", (("a", "1"), ("b", "2")), "Average", 300),
        ("N", "n", (("a", "1"), ("b", "3")), "Average", 300),
        ("N", "n", (("a", "1"), ("b", "4")), "p99", 60),
        ("N", "m", (), "Average", 300),
    ]
    assert measured(ONE, stat="Sum", period=3600) == [("N", "m", (("a", "1"),), "Sum", 3600)]


def test_expressions_ids_and_looks() -> None:
    found = parsed(
        [*ONE, {"id": "m0", "visible": False, "color": "#123456", "yAxis": "right"}],
        ONE,
        [{"expression": "m0 * 2", "label": "twice", "id": "e", "period": 60}],
        [{"expression": "m1"}],
    )
    assert [query.id for query in found.queries] == ["m0", "m1", "e", "m2"]
    assert [query.returned for query in found.queries] == [False, True, True, True]
    assert [(query.expression, query.label, query.period) for query in found.queries[2:]] == [
        ("m0 * 2", "twice", 60),
        ("m1", None, None),
    ]
    assert found.looks["m0"] == Look("#123456", is_right=True)
    assert found.looks["e"] == Look(None, is_right=False)


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ({}, NOW - timedelta(hours=3), NOW),
        ({"start": "-P1D", "end": "-PT1H30M"}, NOW - timedelta(days=1), NOW - timedelta(minutes=90)),
        ({"start": "-P1WT5S", "end": "P0D"}, NOW - timedelta(days=7, seconds=5), NOW),
        ({"start": "2026-11-28T10:00:00Z", "end": "2026-11-28T12:00:00+01:00"},
         NOW - timedelta(hours=10), NOW - timedelta(hours=9)),
        ({"start": "2026-11-28T10:00:00"}, NOW - timedelta(hours=10), NOW),
    ],
)  # fmt: skip
def test_times(times: dict[str, str], start: datetime, end: datetime) -> None:
    assert parsed(**times).times == (start, end)


def test_a_picture_has_all_that_is_drawn() -> None:
    found = parsed(
        title="t", width=300, height=200, stacked=True, theme="dark", timezone="-0130", legend={"position": "right"},
        yAxis={"left": {"min": 0, "max": 10.5, "label": "l"}, "right": {}},
        annotations={"horizontal": [{"value": 7, "label": "most", "color": "#ff0000", "yAxis": "right"},
                                    {"value": 8}, {"value": 9, "visible": False}]},
    )  # fmt: skip
    start = int((NOW - timedelta(hours=3)).timestamp() * 1000)
    assert found.drawn([("m0", "label", [(start, 1.0)]), ("m0", "other", [])]) == {
        "title": "t", "width": 300, "height": 200, "stacked": True, "theme": "dark", "offset": -90, "legend": "right",
        "start": start, "end": start + 3 * 3_600_000,
        "axes": {"left": {"min": 0.0, "max": 10.5, "label": "l"}, "right": {"min": None, "max": None, "label": ""}},
        "lines": [{"value": 7.0, "label": "most", "color": "#ff0000", "right": True},
                  {"value": 8.0, "label": "", "color": "#d62728", "right": False}],
        "series": [{"label": "label", "color": "#1f77b4", "right": False, "points": [(start, 1.0)]},
                   {"label": "other", "color": "#ff7f0e", "right": False, "points": []}],
    }  # fmt: skip
    found.drawn([("m0", "label", [(0, 1.0)] * widget.MAX_POINTS)])
    with pytest.raises(InvalidParameter, match="data points"):
        found.drawn([("m0", "label", [(0, 1.0)] * (widget.MAX_POINTS + 1))])


def test_what_is_just_allowed() -> None:
    most = parsed(*[ONE] * 100, title="x" * 1024, width=2000, height=1, timezone="+0130")
    assert (len(most.queries), most.picture["width"], most.picture["height"], most.picture["offset"]) == (
        100,
        2000,
        1,
        90,
    )
    half = parsed(yAxis={"left": {"min": 1}, "right": {"max": 2}}).picture["axes"]
    assert (half["left"]["min"], half["left"]["max"], half["right"]["min"], half["right"]["max"]) == (1, None, None, 2)
    own = parsed([*ONE, {"color": "#123456"}]).drawn([("m0", "x", [])])
    assert own["series"][0]["color"] == "#123456"


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000, "{}", '{"metrics": []}', '{"metrics": {}}'])
def test_what_is_no_widget(text: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid MetricWidget: "):
        parse(text, NOW, "us-east-1")


@pytest.mark.parametrize(
    "row",
    [
        [], "N", 5, [{}], ["N", "m", "...", "x"], ["N", "m", {"color": 7}], ["N"], ["N", "m", "a"], [".", "m"], ["...", "x"], ["N", 1], ["N", "m", {}, "x"], ["N", "m", {"color": "red"}],
        ["N", "m", {"made": 1}], ["N", "m", {"region": "eu-1"}], ["N", "m", {"period": 0}], ["N", "m", {"period": True}],
        ["N", "m", {"visible": 1}], ["N", "m", {"yAxis": "up"}], ["N", "m", {"expression": "1"}], ["N", "m", {"stat": 1}],
    ],
)  # fmt: skip
def test_what_is_no_metric(row: Any) -> None:
    with pytest.raises(InvalidParameter):
        parsed(row)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("setPeriodToTimeRange", True), ("metrics", "ab"), ("metrics", {"a": 1}), ("end", "P"), ("yAxis", {"left": {"min": True}}),
        ("yAxis", {"left": {"min": 1, "max": 1}}), ("view", "pie"), ("liveData", False), ("region", "eu-1"), ("made", 1), ("width", 0), ("width", 2001), ("height", "x"),
        ("title", 1), ("title", "x" * 1025), ("stacked", "yes"), ("theme", "blue"), ("timezone", "CET"), ("timezone", "+0160"),
        ("start", "yesterday"), ("start", "P"), ("start", "PT0S"), ("end", "-PT4H"), ("legend", []), ("legend", {"position": "up"}),
        ("yAxis", {"left": {"min": 2, "max": 1}}), ("yAxis", {"top": {}}), ("yAxis", {"left": {"showUnits": True}}),
        ("yAxis", {"left": {"min": "1"}}), ("yAxis", {"left": {"min": 1e200}}), ("annotations", {"vertical": []}),
        ("annotations", {"horizontal": [{}]}), ("annotations", {"horizontal": [[]]}), ("annotations", {"horizontal": {}}),
        ("annotations", {"horizontal": [{"value": 1, "fill": "above"}]}), ("stat", 7), ("period", 1.5),
        ("metrics", [ONE] * 101),
    ],
)  # fmt: skip
def test_what_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameter, match=r"Invalid MetricWidget: .*"):
        parsed(**{name: value})

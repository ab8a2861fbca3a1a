"""Bodies of dashboards: what they must be, and what is remarked."""

import json
from typing import Any

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.dashboard_body import MAX_BYTES, MAX_METRICS, MAX_WIDGETS, check

METRIC = {"type": "metric", "properties": {"metrics": [["N", "m"]], "region": "us-east-1"}}
TEXT = {"type": "text", "properties": {"markdown": "x"}}


def widget(**properties: Any) -> dict[str, Any]:
    return {"type": "metric", "properties": {"region": "r", "metrics": [["N", "m"]], **properties}}


@pytest.mark.parametrize(
    "body",
    [
        {"widgets": []},
        {"widgets": [METRIC, TEXT], "start": "-PT6H", "periodOverride": "inherit"},
        {"widgets": [TEXT | {"x": 0, "y": 0, "width": 24, "height": 1000}], "start": "2026-01-01T00:00:00Z"},
        {"widgets": [{"type": "alarm", "properties": {"alarms": []}}, {"type": "log", "properties": {"query": "q"}}]},
        {"widgets": [{"type": "metric", "properties": {"annotations": {}, "region": "r"}}]},
        {"widgets": [TEXT] * MAX_WIDGETS, "start": "-PT1H", "end": "2026-01-01T00:00:00Z"},
        {"widgets": [widget(metrics=[["a", "b"]] * MAX_METRICS)]},
    ],
)
def test_what_is_good(body: Any) -> None:
    assert check(json.dumps(body)) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "{}", '{"widgets": {}}', '{"widgets": [1]}', '{"widgets": [{"type": "x", "properties": {}}]}',
        '{"widgets": [{"type": "text"}]}', '{"widgets": [{"type": "text", "properties": {}}]}',
        '{"widgets": [{"type": "alarm", "properties": {}}]}', '{"widgets": [{"type": "log", "properties": {}}]}',
        '{"widgets": [{"type": "metric", "properties": {"region": "r"}}]}',
        json.dumps({"widgets": [widget(metrics={})]}), json.dumps({"widgets": [widget(metrics=[[]])]}),
        json.dumps({"widgets": [widget(metrics=[["a"]] * (MAX_METRICS + 1))]}),
        json.dumps({"widgets": [TEXT] * (MAX_WIDGETS + 1)}), '{"widgets": []' + " " * MAX_BYTES + "}", "[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_a_dashboard(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check(text)
    assert caught.value.code == "DashboardInvalidInputError"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"widgets": [], "start": "yesterday"}, "/start"),
        ({"widgets": [], "start": 5}, "/start"),
        ({"widgets": [], "end": "2026-01-01T00:00:00Z"}, "/start"),
        ({"widgets": [], "periodOverride": "never"}, "/periodOverride"),
        ({"widgets": [TEXT, TEXT | {"x": 24, "y": 0}]}, "/widgets/1/x"),
        ({"widgets": [TEXT | {"x": 1, "y": -1}]}, "/widgets/0/y"),
        ({"widgets": [TEXT | {"x": 1}]}, "/widgets/0"),
        ({"widgets": [TEXT | {"width": 0}]}, "/widgets/0/width"),
        ({"widgets": [TEXT | {"height": 1001}]}, "/widgets/0/height"),
        ({"widgets": [TEXT | {"width": True}]}, "/widgets/0/width"),
        ({"widgets": [{"type": "metric", "properties": {"metrics": [["a"]]}}]}, "/widgets/0/properties/region"),
    ],
)
def test_what_is_remarked(body: Any, path: str) -> None:
    assert [one.path for one in check(json.dumps(body))] == [path]

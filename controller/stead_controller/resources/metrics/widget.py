"""A metric widget of GetMetricWidgetImage: from its JSON to queries, and from their series to a picture. Pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Metric-Widget-Structure.html. What is
not drawn is refused by its name.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.measures import Measure, Query, metric_of

MAX_METRICS: Final = 100
MAX_POINTS: Final = 100_000
"""Data points of one image."""

_MAX_PIXELS: Final = 2000
_KNOWN: Final = frozenset(
    [
        "annotations", "end", "height", "legend", "liveData", "metrics", "period", "region", "setPeriodToTimeRange",
        "stacked", "start", "stat", "theme", "timezone", "title", "view", "width", "yAxis",
    ]
)  # fmt: skip
_OPTIONS: Final = frozenset(["color", "expression", "id", "label", "period", "region", "stat", "visible", "yAxis"])
_COLOR: Final = re.compile(r"#[0-9A-Fa-f]{6}\Z")
_COLORS: Final = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip
_AGO: Final = re.compile(r"-?P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?\Z")
_ZONE: Final = re.compile(r"([+-])([01]\d)([0-5]\d)\Z")


@dataclass(frozen=True, slots=True)
class Look:
    """How the series of a query are drawn; without a color they get the next ones."""

    color: str | None
    is_right: bool


@dataclass(frozen=True, slots=True)
class Widget:
    """What is read, from when to when, and how it is drawn; `picture` is all but the series."""

    queries: tuple[Query, ...]
    looks: Mapping[str, Look]
    times: tuple[datetime, datetime]
    picture: Mapping[str, Any]

    def drawn(self, rows: Sequence[tuple[str, str, Sequence[tuple[int, float]]]]) -> dict[str, Any]:
        """Return the picture with these series: a query's id, a label, data points. Raises InvalidParameter."""
        if sum(len(points) for _, _, points in rows) > MAX_POINTS:
            raise _invalid(f"it would show more than {MAX_POINTS} data points: use a longer period")
        series = []
        for number, (query_id, label, points) in enumerate(rows):
            look = self.looks[query_id]
            color = look.color or _COLORS[number % len(_COLORS)]
            series.append({"label": label, "color": color, "right": look.is_right, "points": [*points]})
        return {**self.picture, "series": series}


def parse(text: str, now: datetime, region: str) -> Widget:
    """Read a widget; raises InvalidParameter."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("it is no JSON") from None
    if not isinstance(given, dict):
        raise _invalid("it is no JSON object")
    _refuse_unknown(given, _KNOWN)
    _refuse_other(given, "view", "timeSeries")
    _refuse_other(given, "liveData", True)
    _refuse_other(given, "setPeriodToTimeRange", False)
    _refuse_other(given, "region", region)
    start, end = (_moment(given, name, default, now) for name, default in (("start", "-PT3H"), ("end", "PT0H")))
    if start >= end:
        raise _invalid("start must be before end")
    queries, looks = _queries(given, region)
    axes = _part(given, "yAxis", {"left", "right"})
    picture = {
        "width": _integer(given, "width", 600, _MAX_PIXELS),
        "height": _integer(given, "height", 400, _MAX_PIXELS),
        "title": _text(given, "title", ""),
        "stacked": _choice(given, "stacked", (False, True)),
        "theme": _choice(given, "theme", ("light", "dark")),
        "legend": _choice(_part(given, "legend", {"position"}), "position", ("bottom", "right", "hidden")),
        "offset": _offset(_text(given, "timezone", "+0000")),
        "start": int(start.timestamp() * 1000),
        "end": int(end.timestamp() * 1000),
        "axes": {name: _axis(axes, name) for name in ("left", "right")},
        "lines": [*_lines(given)],
    }
    return Widget(queries, looks, (start, end), picture)


def _queries(given: Mapping[str, Any], region: str) -> tuple[tuple[Query, ...], dict[str, Look]]:
    rows = given.get("metrics")
    if not isinstance(rows, list) or not rows or len(rows) > MAX_METRICS:
        raise _invalid(f'it must have a list "metrics" of at most {MAX_METRICS}')
    stat, period = _text(given, "stat", "Average"), _integer(given, "period", 300)
    taken = {row[-1].get("id") for row in rows if isinstance(row, list) and row and isinstance(row[-1], dict)}
    free = (name for number in range(2 * MAX_METRICS) if (name := f"m{number}") not in taken)
    queries: list[Query] = []
    looks: dict[str, Look] = {}
    before: list[str] = []
    for row in rows:
        if not isinstance(row, list) or not row:
            raise _invalid("each of its metrics must be a list")
        options = row[-1] if isinstance(row[-1], dict) else {}
        fields = row[:-1] if isinstance(row[-1], dict) else row
        _refuse_unknown(options, _OPTIONS)
        _refuse_other(options, "region", region)
        name = _text(options, "id", "") or next(free)
        label = _text(options, "label", "") or None
        is_shown = _choice(options, "visible", (True, False))
        if "expression" in options:
            if fields:
                raise _invalid("an expression stands for itself in its list")
            own_period = _integer(options, "period", 0) if "period" in options else None
            query = Query(name, None, _text(options, "expression", ""), label, own_period, is_shown)
        else:
            before = _whole(fields, before)
            dimensions = list(zip(before[2::2], before[3::2], strict=True))
            metric = metric_of(before[0], before[1], dimensions)
            measure = Measure(metric, _text(options, "stat", stat), _integer(options, "period", period))
            query = Query(name, measure, None, label, None, is_shown)
        queries.append(query)
        looks[name] = Look(_color(options), _choice(options, "yAxis", ("left", "right")) == "right")
    return tuple(queries), looks


def _whole(fields: Sequence[Any], before: Sequence[str]) -> list[str]:
    """Return a metric's namespace, name and dimensions.

    `.` repeats what the metric before has there, `...` all that it has before the rest.
    """
    if not all(isinstance(one, str) for one in fields):
        raise _invalid("a metric is a list of texts, with an object of options at its end")
    given = list(fields)
    if given[:1] == ["..."]:
        given = [*before[: len(before) - len(given) + 1], *given[1:]]
    found = [before[at] if one == "." and at < len(before) else one for at, one in enumerate(given)]
    if len(found) < 2 or len(found) % 2 or "." in found or "..." in found:
        raise _invalid("a metric is a namespace, a name, and pairs of a dimension and its value")
    return found


def _lines(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the horizontal lines."""
    lines = _part(given, "annotations", {"horizontal"}).get("horizontal", [])
    if not isinstance(lines, list) or not all(isinstance(one, dict) for one in lines):
        raise _invalid("annotations must be a list of objects")
    for one in lines:
        _refuse_unknown(one, {"value", "label", "color", "yAxis", "visible"})
        value = _number(one, "value")
        if value is None:
            raise _invalid("a horizontal annotation needs a value")
        if _choice(one, "visible", (True, False)):
            is_right = _choice(one, "yAxis", ("left", "right")) == "right"
            yield {
                "value": value,
                "label": _text(one, "label", ""),
                "color": _color(one) or _COLORS[3],
                "right": is_right,
            }


def _axis(axes: Mapping[str, Any], name: str) -> dict[str, Any]:
    axis = _part(axes, name, {"label", "min", "max"})
    least, most = _number(axis, "min"), _number(axis, "max")
    if least is not None and most is not None and least >= most:
        raise _invalid("min of an axis must be less than its max")
    return {"label": _text(axis, "label", ""), "min": least, "max": most}


def _moment(given: Mapping[str, Any], name: str, default: str, now: datetime) -> datetime:
    text = _text(given, name, default)
    if (ago := _AGO.match(text)) is not None and any(ago.groups()):
        weeks, days, hours, minutes, seconds = (int(one or 0) for one in ago.groups())
        return now - timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(f"{name} must be a time as 2026-01-31T12:00:00Z or, before now, as -PT3H") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _offset(text: str) -> int:
    """Return the minutes of a time zone such as +0130."""
    found = _ZONE.match(text)
    if found is None:
        raise _invalid("timezone must be as +0130")
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes


def _part(given: Mapping[str, Any], name: str, known: Iterable[str]) -> Mapping[str, Any]:
    part = given.get(name, {})
    if not isinstance(part, dict):
        raise _invalid(f"{name} must be an object")
    _refuse_unknown(part, known)
    return part


def _text(given: Mapping[str, Any], name: str, default: str) -> str:
    text = given.get(name, default)
    if not isinstance(text, str) or len(text) > 1024:
        raise _invalid(f"{name} must be a text")
    return text


def _integer(given: Mapping[str, Any], name: str, default: int, most: int = 1 << 31) -> int:
    number = given.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise _invalid(f"{name} must be a whole number from 1 to {most}")
    return number


def _number(given: Mapping[str, Any], name: str) -> float | None:
    number = given.get(name)
    if number is None:
        return None
    if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) < 1e100:
        raise _invalid(f"{name} must be a number")
    return float(number)


def _choice[Kind](given: Mapping[str, Any], name: str, of: Sequence[Kind]) -> Kind:
    """Return one of several values, the first without any."""
    value = given.get(name, of[0])
    if not any(type(value) is type(one) and value == one for one in of):
        raise _invalid(f"{name} must be one of {', '.join(json.dumps(one) for one in of)}")
    found: Kind = value
    return found


def _color(given: Mapping[str, Any]) -> str | None:
    color = given.get("color")
    if color is not None and not (isinstance(color, str) and _COLOR.match(color)):
        raise _invalid("color must be as #1f77b4")
    return color


def _refuse_unknown(given: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise _invalid(f"the property {name[:100]} is not supported")


def _refuse_other(given: Mapping[str, Any], name: str, value: object) -> None:
    if given.get(name, value) != value:
        raise _invalid(f"the property {name} can only be {json.dumps(value)} in this cloud")


def _invalid(why: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid MetricWidget: {why}.")

"""Labels of series with what is put in for `${…}`. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stead_controller.errors import Unsupported
from stead_controller.resources.metrics.math.series import Series
from stead_controller.resources.metrics.measures import Measure

_PLACE: Final = re.compile(r"\$\{([^}]*)\}")
_PROPERTY: Final = re.compile(r"PROP\('([^']+)'\)\Z")
_OF_VALUES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "AVG": lambda values: math.fsum(values) / len(values),
    "DATAPOINT_COUNT": lambda values: float(len(values)),
    "FIRST": lambda values: values[0],
    "LAST": lambda values: values[-1],
    "MAX": max,
    "MIN": min,
    "SUM": math.fsum,
}


def check(label: str) -> None:
    """Raise Unsupported for a place that nothing is put in for."""
    for found in _PLACE.finditer(label):
        name = found[1].strip()
        if name not in _OF_VALUES and name != "LABEL" and not _PROPERTY.match(name):
            raise Unsupported(f"${{{name[:100]}}} in a label is not supported.")


def fill(label: str, own: str, series: Series, measure: Measure | None, place: tuple[str, str]) -> str:
    """Return a label; `own` is the series' own name, `place` the account and the region."""
    values = list(series.points.values())

    def put(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name == "LABEL":
            return own
        if name in _OF_VALUES:
            return f"{_OF_VALUES[name](values):g}" if values else "--"
        known = _PROPERTY.match(name)
        return _property(known[1] if known else "", measure, place)

    return _PLACE.sub(put, label)


def _property(name: str, measure: Measure | None, place: tuple[str, str]) -> str:
    if name == "AccountId":
        return place[0]
    if name == "Region":
        return place[1]
    if measure is None:
        return ""
    if name.startswith("Dim."):
        return measure.metric.dimension(name.removeprefix("Dim.")) or ""
    match name:
        case "MetricName":
            return measure.metric.name
        case "Namespace":
            return measure.metric.namespace
        case "Period":
            return str(measure.period)
        case "Stat":
            return measure.statistic
    return ""

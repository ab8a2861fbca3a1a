"""Questions as PromQL, and answers as points; only functions that each Prometheus-compatible engine has.

A period's data are those from its start to one millisecond before its end: a range selector leaves out its left end and
includes its right one, so it is evaluated at the period's last millisecond.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from stead_controller.metrics import samples
from stead_controller.metrics.datum import Filter, Wanted
from stead_controller.metrics.labels import NAME, dimension_label, id_of
from stead_controller.metrics.statistics import SIMPLE

_MOST_IDS: Final = 500
_MOST_POINTS: Final = 500_000

_OVER_TIME: Final = {
    "Sum": "sum_over_time",
    "Average": "avg_over_time",
    "Minimum": "min_over_time",
    "Maximum": "max_over_time",
    "SampleCount": "count_over_time",
}

type Answer = Sequence[Mapping[str, Any]]
"""The series of an engine's answer: labels in `metric`, pairs of seconds and text in `values`, or one in `value`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that one query answers, each with its place in the request."""

    statistic: str
    start: int
    end: int
    period: int
    unit: str | None
    members: tuple[tuple[int, str], ...]

    def only(self, ids: Container[str], *, without: bool = False) -> "Group":
        """Return the group of those members that are among `ids`, or `without` them."""
        return replace(self, members=tuple(one for one in self.members if (one[1] in ids) != without))

    @property
    def parameters(self) -> dict[str, str]:
        """The times of a range query: each period's last millisecond."""
        period = self.period * 1000
        return {"start": _seconds(self.start + period - 1), "end": _seconds(self.end - 1), "step": f"{self.period}s"}


def grouped(wanted: Sequence[Wanted]) -> list[Group]:
    """Put questions together that differ only by their metric."""
    found: dict[tuple[str, int, int, int, str | None], list[tuple[int, str]]] = defaultdict(list)
    for place, one in enumerate(wanted):
        found[one.statistic, one.start, one.end, one.period, one.unit].append((place, id_of(one.identity)))
    groups = []
    for (statistic, start, end, period, unit), members in found.items():
        most = max(1, min(_MOST_IDS, _MOST_POINTS // max(1, (end - start) // (period * 1000))))
        for first in range(0, len(members), most):
            chunk = tuple(members[first : first + most])
            groups.append(Group(statistic, start, end, period, unit, chunk))
    return groups


def sets_query(group: Group) -> tuple[str, str]:
    """Return the query of the metrics that have more than single values in the time, and when it is to be evaluated."""
    found = f"count_over_time({_selector(group, samples.COUNT)}[{group.end - group.start}ms])"
    return f"count by (id) ({found})", _seconds(group.end - 1)


def count_query(start: int, end: int) -> tuple[str, str]:
    """Return the query of how many metrics each account has with data in a time, but those of AWS's namespaces."""
    found = f'last_over_time({NAME}{{namespace!~"AWS/.*"}}[{end - start}ms])'
    return f"count by (account) (count by (account, id) ({found}))", _seconds(end - 1)


def plain_query(group: Group, share: float | None) -> str:
    """Return the query of a statistic of metrics that have single values alone: one series for each metric and unit.

    With a `share` that is a percentile.
    """
    selector = f"{_selector(group, samples.VALUE)}[{group.period}s]"
    if share is not None:
        return f"quantile_over_time({share!r}, {selector})"
    return f"{_OVER_TIME[group.statistic]}({selector})"


def simple_query(group: Group) -> str:
    """Return the query of a statistic of SIMPLE: one series for each metric and unit."""
    assert group.statistic in SIMPLE
    value, window = samples.VALUE, f"[{group.period}s]"
    if group.statistic == "Minimum":
        return _by_metric("min", f"min_over_time({_selector(group, value, samples.MINIMUM)}{window})")
    if group.statistic == "Maximum":
        return _by_metric("max", f"max_over_time({_selector(group, value, samples.MAXIMUM)}{window})")
    total = _by_metric("sum", f"sum_over_time({_selector(group, value, samples.SUM)}{window})")
    if group.statistic == "Sum":
        return total
    singles = f"count_over_time({_selector(group, value)}{window})"
    sets = f"sum_over_time({_selector(group, samples.COUNT)}{window})"
    count = _by_metric("sum", f"({singles} or {sets})")
    return count if group.statistic == "SampleCount" else f"{total} / {count}"


def raw_query(group: Group) -> tuple[str, str]:
    """Return the query of each single value, and the time, in seconds, at which it is to be evaluated."""
    selector = _selector(group, samples.VALUE, samples.SPREAD_VALUE, samples.SPREAD_WEIGHT)
    return f"{selector}[{group.end - group.start}ms]", _seconds(group.end - 1)


def find_query(wanted: Filter) -> str:
    """Return the selector of the metrics that a filter wants, one or more series of each."""
    terms = [f'account="{escape(wanted.account)}"', f'kind=~"{samples.VALUE}|{samples.COUNT}"']
    if wanted.namespace is not None:
        terms.append(f'namespace="{escape(wanted.namespace)}"')
    if wanted.name is not None:
        terms.append(f'metric="{escape(wanted.name)}"')
    for name, value in wanted.dimensions:
        label = dimension_label(name)
        terms.append(f'{label}!=""' if value is None else f'{label}="{escape(value)}"')
    return NAME + "{" + ",".join(terms) + "}"


def escape(text: str) -> str:
    """Return text as it stands between the quotes of a label's value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def encoded(parameters: Mapping[str, str]) -> bytes:
    """Return parameters as the body of a form."""
    return urlencode(parameters).encode("ascii")


def points_of(series: Mapping[str, Any], period: int) -> tuple[tuple[int, float], ...]:
    """Return the periods' starts, in milliseconds, and their values."""
    back = period * 1000 - 1
    return tuple((round(at * 1000) - back, float(text)) for at, text in series["values"])


def _by_metric(aggregate: str, expression: str) -> str:
    return f"{aggregate} by (id, unit) ({expression})"


def _selector(group: Group, *kinds: str) -> str:
    terms = [_among("id", sorted({each for _, each in group.members})), _among("kind", kinds)]
    if group.unit is not None:
        terms.append(f'unit="{escape(group.unit)}"')
    return NAME + "{" + ",".join(terms) + "}"


def _among(label: str, values: Iterable[str]) -> str:
    """Return a matcher of one of some values, none of which has a character that means something in a pattern."""
    found = list(values)
    return f'{label}="{found[0]}"' if len(found) == 1 else f'{label}=~"{"|".join(found)}"'


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"

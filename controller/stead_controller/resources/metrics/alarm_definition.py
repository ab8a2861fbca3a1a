"""What a metric alarm watches and when it is in alarm: the checks of PutMetricAlarm. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.metrics import statistics
from stead_controller.resources.metrics import alarm_math
from stead_controller.resources.metrics.measures import Measure, Metric, Query, check_ids, is_period

COMPARISONS: Final = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
)
MISSING: Final = ("breaching", "notBreaching", "ignore", "missing")
LOW_SAMPLES: Final = ("evaluate", "ignore")
MAX_QUERIES: Final = 20
MAX_METRICS: Final = 10
"""Metrics, apart from expressions, of one alarm."""

_PERIODS: Final = (10, 20, 30)
_DAY: Final = 86_400
_WEEK: Final = 7 * _DAY
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Definition:
    """What a metric alarm compares: one measure, or the one returned series of `queries`.

    It is in alarm if `to_alarm` of the last `periods` data points breach the threshold; None is all of them.
    """

    measure: Measure | None
    queries: tuple[Query, ...]
    periods: int
    to_alarm: int | None
    threshold: float
    comparison: str
    missing: str | None = None
    low_samples: str | None = None

    @property
    def period(self) -> int:
        """Seconds of a data point: for expressions, those of the longest measure."""
        if self.measure is not None:
            return self.measure.period
        return max(query.measure.period if query.measure else query.period or 1 for query in self.queries)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All the measures that it needs."""
        if self.measure is not None:
            return (self.measure,)
        return tuple(query.measure for query in self.queries if query.measure is not None)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All the metrics that it watches, each once."""
        return tuple(dict.fromkeys(measure.metric for measure in self.measures))

    def check(self) -> None:
        """Raise what PutMetricAlarm is refused with: InvalidParameter, InvalidCombination, MissingParameter."""
        if self.comparison not in COMPARISONS:
            raise Unsupported(f"Anomaly detection is not supported: the ComparisonOperator {self.comparison}.")
        if self.to_alarm is not None and self.to_alarm > self.periods:
            raise InvalidParameter("DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
        if self.missing is not None and self.missing not in MISSING:
            raise InvalidParameter(f"TreatMissingData must be one of {', '.join(MISSING)}.")
        if self.measure is not None:
            _check_measure(self.measure)
        else:
            _check_queries(self.queries)
        self._check_low_samples()
        total = self.period * self.periods
        if total > _WEEK:
            raise InvalidParameter("Metrics cannot be checked across more than 7 days (EvaluationPeriods * Period).")
        if self.period < _HOUR and total > _DAY:
            message = "Metrics of periods below an hour cannot be checked across more than a day"
            raise InvalidParameter(f"{message} (EvaluationPeriods * Period must be <= {_DAY}).")

    def _check_low_samples(self) -> None:
        if self.low_samples is None:
            return
        if self.low_samples not in LOW_SAMPLES:
            raise InvalidParameter(f"EvaluateLowSampleCountPercentile must be one of {', '.join(LOW_SAMPLES)}.")
        if self.measure is None or statistics.parse(self.measure.statistic).kind != "P":
            raise InvalidCombination("EvaluateLowSampleCountPercentile needs a percentile as ExtendedStatistic.")

    def text(self) -> str:
        """Return it as JSON, as it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read(text: str) -> Definition:
    """Return the definition of a stored text."""
    found = json.loads(text)
    queries = tuple(Query(**{**one, "measure": read_measure(one["measure"])}) for one in found["queries"])
    return Definition(**{**found, "measure": read_measure(found["measure"]), "queries": queries})


def read_measure(found: dict[str, Any] | None) -> Measure | None:
    """Return the measure of a part of a stored text."""
    if found is None:
        return None
    metric = found["metric"]
    dimensions = tuple((name, value) for name, value in metric["dimensions"])
    return Measure(**{**found, "metric": Metric(metric["namespace"], metric["name"], dimensions)})


def _check_measure(measure: Measure) -> None:
    measure.check_statistic()
    if not is_period(measure.period, _PERIODS):
        raise InvalidParameter("Period must be 10, 20, 30 or a multiple of 60.")


def _check_queries(queries: tuple[Query, ...]) -> None:
    if not queries:
        raise MissingParameter("Metrics")
    if len(queries) > MAX_QUERIES:
        raise InvalidParameter(f"Metrics may have at most {MAX_QUERIES} elements.")
    check_ids(queries)
    measures = [query.measure for query in queries if query.measure is not None]
    if not measures:
        raise InvalidParameter("Metrics must have a metric at least: an alarm cannot be of constants or a SEARCH.")
    if len(measures) > MAX_METRICS:
        raise InvalidParameter(f"An alarm may have at most {MAX_METRICS} metrics.")
    for measure in measures:
        _check_measure(measure)
    alarm_math.check(queries)
    if sum(query.returned for query in queries) != 1:
        raise InvalidParameter("Exactly one element of Metrics must return data.")

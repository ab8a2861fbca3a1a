"""What PutMetricData may bring: the checks of its data. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.metrics.datum import Datum
from stead_controller.resources.metrics.measures import Metric

MAX_DATA: Final = 1000
MAX_VALUES: Final = 150
"""Different values of one datum."""

_LARGEST: Final = 2.0**360
_PAST: Final = timedelta(days=14)
_AHEAD: Final = timedelta(hours=2)
_RESOLUTIONS: Final = (1, 60)
_RESERVED: Final = re.compile(r"AWS/", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class Given:
    """A datum of a request: a value, values with counts, or a set of count, sum, minimum and maximum."""

    metric: Metric
    at: datetime | None = None
    unit: str | None = None
    resolution: int | None = None
    value: float | None = None
    values: Sequence[float] | None = None
    counts: Sequence[float] | None = None
    statistics: tuple[float, float, float, float] | None = None


def data_of(account_id: str, namespace: str, given: Sequence[Given], now: datetime) -> list[Datum]:
    """Return what is to be stored; raises InvalidParameter, and BadRequest with CloudWatch's other codes."""
    if _RESERVED.match(namespace):
        raise _invalid("Namespace", "namespaces that begin with AWS/ are reserved")
    if not given:
        raise BadRequest("The parameter MetricData is required.", code="MissingParameter")
    if len(given) > MAX_DATA:
        raise _invalid("MetricData", f"a request may have at most {MAX_DATA} data")
    return [_datum(account_id, one, f"MetricData.member.{number}", now) for number, one in enumerate(given, 1)]


def _datum(account_id: str, given: Given, name: str, now: datetime) -> Datum:
    kinds = [given.value, given.values, given.statistics]
    if all(kind is None for kind in kinds):
        raise BadRequest(f"{name} must have Value, Values or StatisticValues.", code="MissingParameter")
    if sum(kind is not None for kind in kinds) > 1:
        message = f"The parameters Value, Values and StatisticValues of {name} are mutually exclusive."
        raise BadRequest(message, code="InvalidParameterCombination")
    for key, value in given.metric.dimensions:
        if not _PRINTABLE.match(key) or key.startswith(":") or not _PRINTABLE.match(value):
            raise _invalid(f"{name}.Dimensions", "names and values must be ASCII, and names begin without a colon")
    at = now if given.at is None else given.at
    if not now - _PAST <= at <= now + _AHEAD:
        raise _invalid(f"{name}.Timestamp", "it must be within two weeks past and two hours ahead")
    resolution = 60 if given.resolution is None else given.resolution
    if resolution not in _RESOLUTIONS:
        raise _invalid(f"{name}.StorageResolution", "it must be 1 or 60")
    identity, unit = given.metric.of(account_id), given.unit or "None"
    moment = int(at.timestamp()) * 1000
    if given.statistics is not None:
        return Datum(identity, moment, unit, resolution, *_set(given.statistics, name))
    pairs = _pairs(given, name)
    values = [value for value, _ in pairs]
    count = math.fsum(weight for _, weight in pairs)
    total = math.fsum(value * weight for value, weight in pairs)
    spread = pairs if count != 1 or len(pairs) > 1 else ()
    return Datum(identity, moment, unit, resolution, count, total, min(values), max(values), spread)


def _set(given: tuple[float, float, float, float], name: str) -> tuple[float, float, float, float]:
    count, total, minimum, maximum = given
    for one in given:
        _check_number(one, f"{name}.StatisticValues")
    if count <= 0:
        raise _invalid(f"{name}.StatisticValues.SampleCount", "it must be greater than 0")
    if minimum > maximum:
        raise _invalid(f"{name}.StatisticValues.Minimum", "it must not be greater than Maximum")
    return count, total, minimum, maximum


def _pairs(given: Given, name: str) -> tuple[tuple[float, float], ...]:
    if given.value is not None:
        if given.counts is not None:
            raise BadRequest(f"The parameter {name}.Counts needs Values.", code="InvalidParameterCombination")
        _check_number(given.value, f"{name}.Value")
        return ((given.value, 1.0),)
    values = list(given.values or ())
    counts = [1.0] * len(values) if given.counts is None else list(given.counts)
    if not values or len(values) > MAX_VALUES:
        raise _invalid(f"{name}.Values", f"there must be from 1 to {MAX_VALUES}")
    if len(counts) != len(values):
        message = f"The parameters {name}.Values and {name}.Counts must be of the same length."
        raise BadRequest(message, code="InvalidParameterValue")
    for value, weight in zip(values, counts, strict=True):
        _check_number(value, f"{name}.Values")
        _check_number(weight, f"{name}.Counts")
        if weight <= 0:
            raise _invalid(f"{name}.Counts", "each must be greater than 0")
    return tuple(zip(values, counts, strict=True))


def _check_number(value: float, name: str) -> None:
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise _invalid(name, "it must be a number from -2^360 to 2^360")


def _invalid(name: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"The value of the parameter {name} is invalid: {why}.", code="InvalidParameterValue")

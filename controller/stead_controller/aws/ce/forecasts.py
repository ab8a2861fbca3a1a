"""GetCostForecast and GetUsageForecast."""

from datetime import datetime
from itertools import pairwise
from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ce import cost_filter, time_periods, words
from stead_controller.errors import BadRequest, InvalidParameter
from stead_controller.metering import cost_sums, forecast, months
from stead_controller.metering.cost_filter import Filter
from stead_controller.metering.cost_sums import Sums

_DAY: Final = 86400
_DEFAULT_LEVEL: Final = 80
_COSTS: Final = {
    "UNBLENDED_COST": "UnblendedCost",
    "BLENDED_COST": "BlendedCost",
    "AMORTIZED_COST": "AmortizedCost",
    "NET_UNBLENDED_COST": "NetUnblendedCost",
    "NET_AMORTIZED_COST": "NetAmortizedCost",
}
_USES: Final = {"USAGE_QUANTITY": "UsageQuantity", "NORMALIZED_USAGE_AMOUNT": "NormalizedUsageAmount"}
_MOST_DAYS: Final = 93
_MOST_MONTHS: Final = 18


@operation("GetCostForecast", service="ce", writes=False)
def get_cost_forecast(call: Call, params: Params) -> Result:
    """Tell what days or months to come will cost, if each day costs what the last ones did."""
    return _answer(call, params, _COSTS)


@operation("GetUsageForecast", service="ce", writes=False)
def get_usage_forecast(call: Call, params: Params) -> Result:
    """Tell how much days or months to come will use, if each day uses what the last ones did."""
    return _answer(call, params, _USES)


def _answer(call: Call, params: Params, metrics: dict[str, str]) -> Result:
    metric = words.require(params["Metric"], "Metric", "metric")
    if metric not in metrics:
        raise InvalidParameter(f"The metric {metric} is invalid here; valid are {', '.join(metrics)}.")
    level = params.get("PredictionIntervalLevel", _DEFAULT_LEVEL)
    given = params.get("Filter")
    chosen = None if given is None else cost_filter.read(given)
    edges = _times(params, call.now)
    known, unit = _known(call, chosen, metrics[metric])
    shown = time_periods.Times(time_periods.DAILY, edges)
    results = []
    for part, (begin, end) in enumerate(pairwise(edges)):
        found = forecast.of_days(known, (end - begin) / _DAY, level)
        results.append(
            {
                "TimePeriod": shown.shown(part),
                "MeanValue": _text(found.mean),
                "PredictionIntervalLowerBound": _text(found.lower),
                "PredictionIntervalUpperBound": _text(found.upper),
            }
        )
    total = forecast.of_days(known, (edges[-1] - edges[0]) / _DAY, level)
    return {"Total": {"Amount": _text(total.mean), "Unit": unit}, "ForecastResultsByTime": results}


def _times(params: Params, now: datetime) -> tuple[int, ...]:
    """Read the time, which begins today or later; raises InvalidParameter."""
    granularity = words.require(params["Granularity"], "Granularity", "granularity")
    if granularity == time_periods.HOURLY:
        raise InvalidParameter("Forecasts are of days or months: Granularity must be DAILY or MONTHLY.")
    begin, end = time_periods.bounds(params["TimePeriod"])
    if begin < int(now.timestamp()) // _DAY * _DAY:
        raise InvalidParameter("Start date should be equal to or later than the current date.")
    most = _MOST_DAYS if granularity == time_periods.DAILY else _MOST_MONTHS
    if begin > months.LATEST - 2 * 366 * _DAY or end - begin > 32 * _MOST_MONTHS * _DAY:
        raise InvalidParameter("The time of a forecast can be 18 months long at most.")
    edges = time_periods.parts(begin, end, granularity)
    if len(edges) > most + 1 + (granularity == time_periods.MONTHLY):
        raise InvalidParameter(f"A forecast can have {most} parts of that granularity at most.")
    return edges


def _known(call: Call, chosen: Filter | None, metric: str) -> tuple[list[float], str]:
    """Return what the last days amount to, from the first on of which anything was used, and its unit."""
    days = cost_sums.known_days(call.tx, call.caller.account_id, call.cloud.region, chosen, call.now)
    if len(days) < forecast.LEAST_DAYS:
        raise BadRequest(
            "Insufficient amount of historical data to generate forecast.", code="DataUnavailableException"
        )
    units = {unit for day in days for unit in day.quantities}
    if metric == cost_sums.QUANTITY and len(units) > 1:
        raise BadRequest(
            f"What is used is measured in {' and '.join(sorted(units))}: filter by the type of usage.",
            code="UnresolvableUsageUnitException",
        )
    today = int(call.now.timestamp()) // _DAY * _DAY
    together = Sums()
    for day in days:
        together.add(day)
    unit = together.amount(metric, cost_sums.currencies(call.tx, (today - _DAY, today))[-1])[1]
    return [float(day.amount(metric, "")[0]) for day in days], unit


def _text(amount: float) -> str:
    return f"{amount:.10f}".rstrip("0").rstrip(".")

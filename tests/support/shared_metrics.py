"""Metrics of controllers that share an engine."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.waiting import wait_for


def shows_at_another(one: Any, other: Any) -> None:
    """Put a datum by a client of CloudWatch, and wait until another one, of another controller, reads it."""
    at, minute = datetime.now(UTC), timedelta(minutes=1)
    one.put_metric_data(Namespace="Rack", MetricData=[{"MetricName": "Doors", "Value": 7.0, "Timestamp": at}])
    asked = {"Namespace": "Rack", "MetricName": "Doors", "Period": 60, "Statistics": ["Sum"]}

    def read() -> list[float]:
        found = other.get_metric_statistics(**asked, StartTime=at - minute, EndTime=at + 2 * minute)
        return [point["Sum"] for point in found["Datapoints"]]

    assert wait_for(read, "the other controller shows it", 30) == [7.0]

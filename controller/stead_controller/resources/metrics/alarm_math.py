"""Expressions of alarms: what PutMetricAlarm refuses of them. Pure."""

from collections.abc import Sequence

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.math.evaluate import Plan, plan
from stead_controller.resources.metrics.measures import Query


def plan_of(queries: Sequence[Query]) -> Plan:
    """Return the expressions of queries in their order; raises InvalidParameter, Unsupported."""
    expressions = {query.id: query.expression for query in queries if query.expression is not None}
    return plan(expressions, [query.id for query in queries if query.measure is not None])


def check(queries: Sequence[Query]) -> None:
    """Raise InvalidParameter unless an alarm may be on these queries."""
    planned = plan_of(queries)
    if list(planned.searches()):
        raise InvalidParameter("SEARCH is not supported on metric alarms: an alarm is on one time series.")

"""What alarms publish to topics when their state changes: CloudWatch's JSON, in the transaction of the change.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from stead_controller.db.tables import Alarm, Topic
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarm_definition, alarm_history
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_history import Done
from stead_controller.resources.metrics.measures import Measure, Metric, Query
from stead_controller.resources.notifications import publishing
from stead_controller.resources.notifications.publishing import Message

_WORDS: Final = {
    "SampleCount": "SAMPLE_COUNT",
    "Average": "AVERAGE",
    "Sum": "SUM",
    "Minimum": "MINIMUM",
    "Maximum": "MAXIMUM",
}


def is_topic(arn: str) -> bool:
    """Tell whether an action is to publish to a topic."""
    return arn.split(":", 3)[2] == "sns"


def send(tx: Transaction, alarm: Alarm, arn: str, old_state: str, now: datetime) -> None:
    """Publish an alarm's new state to a topic of its account; history has it, and whether the topic was there."""
    _, partition, _, region, account_id, name = arn.split(":", 5)
    topic = tx.session.get(Topic, (account_id, name))
    done = Done(alarm.account_id, alarm.name, alarm.rule is not None, now)
    if topic is None:
        alarm_history.note_action(tx, done, arn, "Topic does not exist", now)
        return
    text = json.dumps(content(alarm, old_state, partition, region), separators=(",", ":"))
    subject = publishing.plain_subject(f'{alarm.state}: "{alarm.name}" in {region}')
    publishing.publish(tx, topic, Message({"default": text}, subject), now)
    alarm_history.note_action(tx, done, arn, "", now)


def content(alarm: Alarm, old_state: str, partition: str, region: str) -> dict[str, Any]:
    """Return what is published."""
    actions: Mapping[str, list[str]] = json.loads(alarm.actions)
    told: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": alarm.account_id,
        "AlarmConfigurationUpdatedTimestamp": _time(alarm.configured),
        "NewStateValue": alarm.state,
        "NewStateReason": alarm.reason,
        "StateChangeTime": _time(alarm.transitioned),
        "Region": region,
        "AlarmArn": f"arn:{partition}:cloudwatch:{region}:{alarm.account_id}:alarm:{alarm.name}",
        "OldStateValue": old_state,
        "OKActions": actions.get("OK", []),
        "AlarmActions": actions.get("ALARM", []),
        "InsufficientDataActions": actions.get("INSUFFICIENT_DATA", []),
    }
    if alarm.rule is not None:
        return told | {"AlarmRule": alarm.rule}
    return told | {"Trigger": _trigger(alarm_definition.read(alarm.definition))}


def _trigger(definition: Definition) -> dict[str, Any]:
    told: dict[str, Any] = {
        "EvaluationPeriods": definition.periods,
        "ComparisonOperator": definition.comparison,
        "Threshold": definition.threshold,
        "TreatMissingData": definition.missing or "missing",
        "EvaluateLowSampleCountPercentile": definition.low_samples or "",
    }
    if definition.to_alarm is not None:
        told["DatapointsToAlarm"] = definition.to_alarm
    measure = definition.measure
    if measure is not None:
        return _metric(measure.metric) | _statistic(measure) | {"Period": measure.period} | told
    return told | {"Metrics": [_query(one) for one in definition.queries]}


def _query(query: Query) -> dict[str, Any]:
    told: dict[str, Any] = {"Id": query.id, "Label": query.label, "ReturnData": query.returned}
    measure = query.measure
    if measure is None:
        return told | {"Expression": query.expression}
    stat = {"Metric": _metric(measure.metric), "Period": measure.period, "Stat": measure.statistic}
    return told | {"MetricStat": stat}


def _metric(metric: Metric) -> dict[str, Any]:
    dimensions = [{"value": value, "name": name} for name, value in metric.dimensions]
    return {"MetricName": metric.name, "Namespace": metric.namespace, "Dimensions": dimensions}


def _statistic(measure: Measure) -> dict[str, Any]:
    word = _WORDS.get(measure.statistic)
    if word is None:
        return {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": measure.statistic, "Unit": measure.unit}
    return {"StatisticType": "Statistic", "Statistic": word, "Unit": measure.unit}


def _time(at: datetime) -> str:
    """Return a time as CloudWatch writes it here: milliseconds, and a zone without a colon."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")

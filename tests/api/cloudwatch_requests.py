"""CloudWatch's part of `base_requests.py`: alarms and dashboards, and good requests about them."""

from datetime import timedelta
from typing import Any, Final

from stead_controller.clock import now
from tests.api.conftest import Api

Named = dict[str, Any]
NOW: Final = now()
ALARM: Final[Named] = {
    "AlarmName": "own",
    "Namespace": "AWS/EC2",
    "MetricName": "CPUUtilization",
    "Dimensions": [{"Name": "InstanceId", "Value": "{instance}"}],
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 80.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
_STATE: Final = {"AlarmName": "own", "StateValue": "OK", "StateReason": "r"}
_QUERY: Final[Named] = {
    "Id": "a",
    "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"},
}
_ACTION: Final = "arn:aws:automate:us-east-1:ec2:stop"
_ACTIONS: Final = ("OKActions", "AlarmActions", "InsufficientDataActions")
BODY: Final = '{"widgets": [{"type": "text", "properties": {"markdown": "hello"}}]}'


def build(api: Api) -> Named:
    """Make alarms of both kinds and a dashboard for the first tenant."""
    client = api.client(api.world.one, "cloudwatch")
    client.put_metric_alarm(**ALARM | {"Dimensions": []})
    client.put_metric_alarm(**ALARM | {"AlarmName": "free", "Dimensions": []})
    client.put_composite_alarm(AlarmName="above", AlarmRule="ALARM(own)")
    client.put_dashboard(DashboardName="own", DashboardBody=BODY)
    return {"alarm_arn": f"arn:aws:cloudwatch:us-east-1:{api.world.one.caller.account_id}:alarm:own"}


_TIMES: Final[Named] = {"StartTime": NOW - timedelta(hours=1), "EndTime": NOW}
BASES: Final[dict[str, Named]] = {
    "PutMetricData": {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1.0}]},
    "GetMetricData": {"MetricDataQueries": [_QUERY], **_TIMES},
    "GetMetricWidgetImage": {"MetricWidget": '{"metrics": [["N", "m"]], "width": 90, "height": 60}'},
    "GetMetricStatistics": {"Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"], **_TIMES},
    "PutMetricAlarm": ALARM,
    "PutCompositeAlarm": {"AlarmName": "above", "AlarmRule": "ALARM(own)"},
    "SetAlarmState": _STATE,
    "DescribeAlarmsForMetric": {"Namespace": "AWS/EC2", "MetricName": "CPUUtilization"},
    "DeleteAlarms": {"AlarmNames": ["free"]},
}

VALUES: Final[Named] = {
    "ResourceARN": "{alarm_arn}",
    "AlarmNames": ["own"],
    "DashboardName": "own",
    "DashboardNames": ["own"],
    "DashboardNamePrefix": "o",
    "DashboardBody": BODY,
    "ExtendedStatistic": "p99",
    "TreatMissingData": "missing",
    "EvaluateLowSampleCountPercentile": "evaluate",
    "DatapointsToAlarm": 1,
    "MaxRecords": 5,
}

VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    ("PutMetricData", "MetricData.Timestamp"): NOW,
    ("PutMetricData", "MetricData.StorageResolution"): 60,
    **{("GetMetricData", name): value for name, value in _TIMES.items()},
    ("GetMetricData", "MetricDataQueries.Id"): "a",
    ("GetMetricData", "MetricDataQueries.MetricStat.Period"): 60,
    ("GetMetricData", "MetricDataQueries.MetricStat.Stat"): "Sum",
    **{("GetMetricStatistics", name): value for name, value in _TIMES.items()},
    ("GetMetricStatistics", "Period"): 60,
    ("GetMetricStatistics", "ExtendedStatistics"): ["p99"],
    **{("PutMetricAlarm", name): [_ACTION] for name in _ACTIONS},
    ("PutMetricAlarm", "Metrics.Id"): "a",
    ("PutMetricAlarm", "Metrics.MetricStat.Period"): 60,
    ("PutMetricAlarm", "Metrics.MetricStat.Stat"): "Sum",
    ("PutMetricAlarm", "Period"): 60,
    ("GetMetricWidgetImage", "OutputFormat"): "png",
    ("SetAlarmState", "StateReasonData"): "{}",
    ("DescribeAlarms", "ChildrenOfAlarmName"): "above",
    ("DescribeAlarms", "ParentsOfAlarmName"): "own",
}

_SET: Final = {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}
COMPANIONS: Final[dict[str, Named]] = {
    "PutMetricData MetricData": {"MetricName": "m", "Value": 1.0},
    "PutMetricData MetricData.StatisticValues": _SET,
    "PutMetricData MetricData.Dimensions": {"Name": "a", "Value": "b"},
    "GetMetricData MetricDataQueries": _QUERY,
    "GetMetricData MetricDataQueries.MetricStat": _QUERY["MetricStat"],
    "GetMetricData MetricDataQueries.MetricStat.Metric": _QUERY["MetricStat"]["Metric"],
    "GetMetricData MetricDataQueries.MetricStat.Metric.Dimensions": {"Name": "a", "Value": "b"},
    "GetMetricStatistics Dimensions": {"Name": "a", "Value": "b"},
    "ListMetrics Dimensions": {"Name": "a"},
    "PutMetricAlarm Metrics": _QUERY,
    "PutMetricAlarm Metrics.MetricStat": _QUERY["MetricStat"],
    "PutMetricAlarm Metrics.MetricStat.Metric": _QUERY["MetricStat"]["Metric"],
    "PutMetricAlarm Metrics.MetricStat.Metric.Dimensions": {"Name": "a", "Value": "b"},
    "PutMetricAlarm Dimensions": {"Name": "a", "Value": "b"},
    "DescribeAlarmsForMetric Dimensions": {"Name": "a", "Value": "b"},
}

# Members of base requests that go where another member comes.
_OF_ONE_METRIC: Final = ("MetricName", "Namespace", "Dimensions", "Period", "Statistic")
_BESIDE: Final = (
    "AlarmDescription", "ActionsEnabled", "DatapointsToAlarm", "EvaluateLowSampleCountPercentile", "TreatMissingData",
    "Tags", "Unit", "ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria",
    "EvaluationInterval", "ActionConfiguration", *_ACTIONS,
)  # fmt: skip
_EXTENDED: Final = {name: ALARM[name] for name in _OF_ONE_METRIC if name != "Statistic"}
INSTEAD: Final[dict[str, tuple[tuple[str, ...], dict[str, Named]]]] = {
    "PutMetricAlarm": (
        _OF_ONE_METRIC,
        dict.fromkeys(_BESIDE, ALARM)
        | {"ExtendedStatistic": _EXTENDED}
        | {"EvaluateLowSampleCountPercentile": _EXTENDED | {"ExtendedStatistic": "p99"}},
    ),
}

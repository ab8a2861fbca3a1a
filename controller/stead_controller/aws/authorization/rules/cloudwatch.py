"""CloudWatch: alarms and dashboards by name or by ARN, data by their namespace.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html. An alarm that stops,
terminates, reboots or recovers an instance needs the right to do so oneself: here no service-linked role stands for it.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.resources.metrics import alarm_actions

_STATES: Final = ("OKActions", "AlarmActions", "InsufficientDataActions")


def _arn(asked: Asked, name: str) -> str:
    cloud = asked.call.cloud
    return f"arn:{cloud.partition}:cloudwatch:{cloud.region}:{asked.call.caller.account_id}:alarm:{name}"


def _alarms(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(path):
            arn = _arn(asked, name)
            yield Check(Target(arn, "cloudwatch", arn))

    return part


def _history(asked: Asked) -> Iterator[Check]:
    yield from _alarms("AlarmName")(asked) if asked.values("AlarmName") else _all_alarms(asked)


def _all_alarms(asked: Asked) -> Iterator[Check]:
    yield Check(Target(_arn(asked, "*")))


def _put_alarm(asked: Asked) -> Iterator[Check]:
    tags = _tags(asked)
    for name in asked.values("AlarmName"):
        arn = _arn(asked, name)
        actions = [action for state in _STATES for action in asked.values(state)]
        context = {"cloudwatch:AlarmActions": actions} if actions else {}
        yield Check(Target(arn, "cloudwatch", arn, context=context, tags=tags))
        if tags:
            yield Check(Target(arn, "cloudwatch", arn, tags=tags), "cloudwatch:TagResource")


def _acts_on_instances(asked: Asked) -> Iterator[Check]:
    account_id = asked.call.caller.account_id
    actions = [action for state in _STATES for action in asked.values(state)]
    verbs = {verb for action in actions if (verb := alarm_actions.verb_of(asked.call.cloud, account_id, action))}
    lists = [asked.params, *(one.get("MetricStat", {}).get("Metric", {}) for one in asked.params.get("Metrics", ()))]
    dimensions = [dimension for one in lists for dimension in one.get("Dimensions", ())]
    ids = {one.get("Value", "") for one in dimensions if one.get("Name") == "InstanceId"}
    for verb in sorted(verbs):
        for instance_id in sorted(ids):
            target = Target(asked.arn("instance", instance_id), "instance", instance_id)
            yield Check(target, f"ec2:{alarm_actions.VERBS[verb]}")


def _dashboards(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(path):
            arn = asked.arn("dashboard", name, service="cloudwatch", region="")
            yield Check(Target(arn, "cloudwatch", arn, tags=_tags(asked)))

    return part


def _by_arn(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("ResourceARN"):
        yield Check(Target(arn, "cloudwatch", arn, tags=_tags(asked)))


def _namespace(asked: Asked) -> Iterator[Check]:
    for namespace in asked.values("Namespace"):
        yield Check(Target("*", context={"cloudwatch:namespace": namespace}))


def _tags(asked: Asked) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("Tags") or () if "Key" in tag}
    return tags | dict.fromkeys(asked.params.get("TagKeys") or (), "")


RULES: Final[dict[str, Rule]] = {
    "DeleteAlarms": rule(_alarms("AlarmNames")),
    "DeleteDashboards": rule(_dashboards("DashboardNames")),
    "DescribeAlarmHistory": rule(_history),
    "DescribeAlarms": rule(_all_alarms),
    "DescribeAlarmsForMetric": rule(),
    "DisableAlarmActions": rule(_alarms("AlarmNames")),
    "EnableAlarmActions": rule(_alarms("AlarmNames")),
    "GetMetricData": rule(),
    "GetMetricStatistics": rule(),
    "GetDashboard": rule(_dashboards("DashboardName")),
    "GetMetricWidgetImage": rule(),
    "ListDashboards": rule(),
    "ListMetrics": rule(),
    "ListTagsForResource": rule(_by_arn),
    "PutCompositeAlarm": rule(_put_alarm, _acts_on_instances),
    "PutDashboard": rule(_dashboards("DashboardName")),
    "PutMetricAlarm": rule(_put_alarm, _acts_on_instances),
    "PutMetricData": rule(_namespace),
    "SetAlarmState": rule(_alarms("AlarmName")),
    "TagResource": rule(_by_arn),
    "UntagResource": rule(_by_arn),
}

"""Alarms through boto3: made, shown, changed by hand, deleted; their history; composite alarms."""

import json
from datetime import timedelta

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import AlarmAction, AlarmMetric
from stead_controller.resources.metrics import alarms
from tests.api.cloudwatch_requests import ALARM

PLAIN = ALARM | {"Dimensions": [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}]}
STOP = "arn:aws:automate:us-east-1:ec2:stop"
QUERIES = [
    {
        "Id": "m1",
        "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 300, "Stat": "p99"},
        "ReturnData": False,
    },
    {"Id": "e1", "Expression": "m1 * 2", "Label": "twice"},
]
MATH = {
    "AlarmName": "math",
    "Metrics": QUERIES,
    "EvaluationPeriods": 1,
    "Threshold": 1.5,
    "ComparisonOperator": "LessThanThreshold",
}

POLICY = (
    "arn:aws:autoscaling:us-east-1:111111111111:scalingPolicy:11111111-2222-3333-4444-555555555555"
    ":autoScalingGroupName/g:policyName/p:sns:q"
)


@pytest.fixture
def client(api):
    return api.client(api.world.one, "cloudwatch")


def put(client, **changes):
    asked = {name: value for name, value in (PLAIN | changes).items() if value is not None}
    client.put_metric_alarm(**asked)


def state(client, name):
    found = client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    [alarm] = found["MetricAlarms"] + found["CompositeAlarms"]
    return alarm["StateValue"]


def names(client, **asked):
    found = client.describe_alarms(**asked)
    return [one["AlarmName"] for one in found["MetricAlarms"] + found["CompositeAlarms"]]


def test_an_alarm_is_shown_as_it_was_made(client):
    put(
        client,
        AlarmDescription="d",
        TreatMissingData="breaching",
        DatapointsToAlarm=1,
        Unit="Percent",
        ActionsEnabled=False,
    )
    client.get_waiter("alarm_exists").wait(AlarmNames=["own"])
    [alarm] = client.describe_alarms()["MetricAlarms"]
    made = {alarm.pop(name) for name in ("AlarmConfigurationUpdatedTimestamp", "StateUpdatedTimestamp")}
    assert made == {alarm.pop("StateTransitionedTimestamp")}
    assert alarm == {
        **PLAIN,
        "Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}],
        "AlarmArn": "arn:aws:cloudwatch:us-east-1:111111111111:alarm:own",
        "AlarmDescription": "d",
        "TreatMissingData": "breaching",
        "DatapointsToAlarm": 1,
        "Unit": "Percent",
        "ActionsEnabled": False,
        "OKActions": [],
        "AlarmActions": [],
        "InsufficientDataActions": [],
        "StateValue": "INSUFFICIENT_DATA",
        "StateReason": "Unchecked: Initial alarm creation",
    }


def test_an_alarm_on_an_expression_is_shown_as_it_was_made(api, client):
    client.put_metric_alarm(**MATH)
    [alarm] = client.describe_alarms()["MetricAlarms"]
    assert "MetricName" not in alarm
    stat = QUERIES[0]["MetricStat"]
    assert alarm["Metrics"] == [
        {**QUERIES[0], "MetricStat": stat | {"Metric": stat["Metric"] | {"Dimensions": []}}},
        {**QUERIES[1], "ReturnData": True},
    ]
    assert api.run(lambda tx: tx.session.query(AlarmMetric).count()) == 1


def test_percentiles_and_low_samples(api, client):
    put(client, Statistic=None, ExtendedStatistic="p99.9", EvaluateLowSampleCountPercentile="ignore")
    [alarm] = client.describe_alarms()["MetricAlarms"]
    assert (alarm["ExtendedStatistic"], alarm["EvaluateLowSampleCountPercentile"]) == ("p99.9", "ignore")
    assert "Statistic" not in alarm
    for bad in (
        {"EvaluateLowSampleCountPercentile": "ignore"},
        {"Statistic": None, "ExtendedStatistic": "tm90", "EvaluateLowSampleCountPercentile": "ignore"},
        {"Statistic": None, "ExtendedStatistic": "p99", "EvaluateLowSampleCountPercentile": "x"},
        {"Statistic": None, "ExtendedStatistic": "p101"},
    ):
        api.refused("ValidationError", put, client=client, **bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"Period": 15},
        {"Period": 90},
        {"Period": 1},
        {"Period": None},
        {"EvaluationPeriods": None},
        {"Threshold": None},
        {"ComparisonOperator": None},
        {"Statistic": None},
        {"ExtendedStatistic": "p99"},
        {"Namespace": None},
        {"MetricName": None},
        {"DatapointsToAlarm": 3},
        {"TreatMissingData": "x"},
        {"EvaluationPeriods": 1441},
        {"Period": 86400, "EvaluationPeriods": 8},
        {"Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]},
        {"AlarmName": "a\nb"},
        {"AlarmActions": ["stop"]},
        {"AlarmActions": [STOP]},
        {"Metrics": QUERIES},
        {"Metrics": QUERIES, "MetricName": None},
        {"Tags": [{"Key": "aws:a", "Value": ""}]},
    ],
)
def test_what_is_no_alarm(api, client, bad):
    code = "InvalidParameterValue" if "Tags" in bad else "ValidationError"
    api.refused(code, put, client=client, **bad)


@pytest.mark.parametrize(
    "queries",
    [
        QUERIES[1:],
        [QUERIES[0]],
        [QUERIES[0] | {"ReturnData": True}, QUERIES[1]],
        [QUERIES[0], QUERIES[1] | {"Id": "m1"}],
        [QUERIES[0], QUERIES[1] | {"Id": "E1"}],
        [QUERIES[0] | {"Expression": "1"}, QUERIES[1]],
        [QUERIES[0], QUERIES[1], {"Id": "x", "ReturnData": False}],
        [QUERIES[0] | {"Period": 60}, QUERIES[1]],
        [*({**QUERIES[0], "Id": f"m{number}"} for number in range(11)), QUERIES[1]],
    ],
)
def test_what_are_no_expressions(api, client, queries):
    api.refused("ValidationError", client.put_metric_alarm, **MATH | {"Metrics": queries})


@pytest.mark.parametrize(
    "unbuilt",
    [
        {"AlarmActions": ["arn:aws:sns:us-east-1:222222222222:topic"]},
        {"AlarmActions": ["arn:aws:sns:eu-west-1:111111111111:topic"]},
        {"AlarmActions": ["arn:aws:sqs:us-east-1:111111111111:queue"]},
        {"AlarmActions": [POLICY.replace("111111111111", "222222222222")]},
        {"AlarmActions": [POLICY.replace("us-east-1", "eu-west-1")]},
        {"AlarmActions": [POLICY.replace("arn:aws:", "arn:aws-cn:")]},
        {"OKActions": ["arn:aws:automate:eu-west-1:ec2:stop"]},
        {"OKActions": ["arn:aws:automate:us-east-1:ec2:explode"]},
        {"OKActions": ["arn:aws:swf:us-east-1:222222222222:action/actions/AWS_EC2.InstanceId.Stop/1.0"]},
        {"ThresholdMetricId": "a"},
        {"ComparisonOperator": "GreaterThanUpperThreshold"},
        {"EvaluationWindow": {"WallClockWindow": {"Timezone": "UTC"}}},
    ],
)
def test_what_is_not_built_is_refused_by_name(api, client, unbuilt):
    said = api.refused("UnsupportedOperation", put, client=client, **unbuilt)
    assert "not supported" in said


def test_a_policy_of_ones_own_is_an_action_whatever_its_name_has(api, client):
    put(client, AlarmActions=[POLICY])
    [alarm] = client.describe_alarms()["MetricAlarms"]
    assert alarm["AlarmActions"] == [POLICY]
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="r")
    assert [one.arn for one in api.run(lambda tx: tx.session.query(AlarmAction).all())] == [POLICY]


def test_a_change_replaces_all_but_state_and_tags(client):
    put(client, AlarmDescription="d", Tags=[{"Key": "k", "Value": "v"}])
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="by hand", StateReasonData='{"a": 1}')
    put(client, Threshold=5.0, Tags=[{"Key": "other", "Value": "v"}])
    [alarm] = client.describe_alarms()["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"], alarm["StateReason"]) == (5.0, "ALARM", "by hand")
    assert alarm["StateReasonData"] == '{"a": 1}'
    assert "AlarmDescription" not in alarm
    tags = client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    assert tags == [{"Key": "k", "Value": "v"}]


def test_alarms_are_found_by_what_they_are(api, client):
    instance = [{"Name": "InstanceId", "Value": api.launch()}]
    for name in ("b1", "b2", "B3", "c"):
        put(client, AlarmName=name)
    put(client, AlarmName="acting", Dimensions=instance, AlarmActions=[STOP])
    client.put_composite_alarm(AlarmName="b9", AlarmRule="ALARM(b1) AND NOT OK(c)")
    client.set_alarm_state(AlarmName="b1", StateValue="OK", StateReason="r")
    assert names(client) == ["B3", "acting", "b1", "b2", "c"]
    assert names(client, AlarmTypes=["CompositeAlarm"]) == ["b9"]
    assert names(client, AlarmTypes=["LogAlarm"]) == []
    assert names(client, AlarmTypes=["CompositeAlarm", "MetricAlarm"], AlarmNamePrefix="b") == ["b1", "b2", "b9"]
    assert names(client, AlarmNames=["c", "absent", "b9"]) == ["c"]
    assert names(client, StateValue="OK") == ["b1"]
    assert names(client, ActionPrefix="arn:aws:automate") == ["acting"]
    assert names(client, ActionPrefix="arn:aws:sns") == []
    assert names(client, ChildrenOfAlarmName="b9") == ["b1", "c"]
    assert names(client, ParentsOfAlarmName="c") == ["b9"]
    assert names(client, ParentsOfAlarmName="b2") == []
    pages = client.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 2, 1]
    api.refused("ResourceNotFound", client.describe_alarms, ChildrenOfAlarmName="absent")
    api.refused("ValidationError", client.describe_alarms, AlarmNames=["c"], AlarmNamePrefix="c")
    api.refused("ValidationError", client.describe_alarms, ChildrenOfAlarmName="b9", StateValue="OK")
    api.refused("ValidationError", client.describe_alarms, ChildrenOfAlarmName="b9", ParentsOfAlarmName="c")
    api.refused("InvalidNextToken", client.describe_alarms, NextToken="x")
    assert names(api.client(api.world.other, "cloudwatch")) == []


def test_alarms_of_a_metric(api, client):
    put(client)
    put(client, AlarmName="p", Statistic=None, ExtendedStatistic="p50", Period=300, Unit="Percent")
    client.put_metric_alarm(**MATH)
    asked = {name: PLAIN[name] for name in ("Namespace", "MetricName", "Dimensions")}

    def found(**more):
        return [one["AlarmName"] for one in client.describe_alarms_for_metric(**asked | more)["MetricAlarms"]]

    assert found() == ["own", "p"]
    assert found(Statistic="Average") == ["own"]
    assert found(ExtendedStatistic="p50") == ["p"]
    assert found(Period=300) == ["p"]
    assert found(Unit="Percent") == ["p"]
    assert found(Dimensions=[]) == []
    assert found(MetricName="other") == []
    api.refused("ValidationError", client.describe_alarms_for_metric, **asked, Statistic="Sum", ExtendedStatistic="p1")
    theirs = api.client(api.world.other, "cloudwatch")
    assert theirs.describe_alarms_for_metric(**asked)["MetricAlarms"] == []


def test_a_state_set_by_hand_acts_once(api, client):
    instance = api.launch()
    put(client, Dimensions=[{"Name": "InstanceId", "Value": instance}], AlarmActions=[STOP], OKActions=[STOP])

    def left():
        return api.run(lambda tx: [(one.instance_id, one.arn) for one in tx.session.query(AlarmAction)])

    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="r")
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="again")
    assert left() == [(instance, STOP)]
    client.disable_alarm_actions(AlarmNames=["own", "absent"])
    client.set_alarm_state(AlarmName="own", StateValue="OK", StateReason="r")
    assert left() == [(instance, STOP)]
    client.enable_alarm_actions(AlarmNames=["own"])
    client.set_alarm_state(AlarmName="own", StateValue="INSUFFICIENT_DATA", StateReason="r")
    assert left() == [(instance, STOP)]
    client.set_alarm_state(AlarmName="own", StateValue="OK", StateReason="r")
    assert left() == [(instance, STOP)] * 2
    api.refused("ResourceNotFound", client.set_alarm_state, AlarmName="x", StateValue="OK", StateReason="r")
    api.refused(
        "InvalidFormat", client.set_alarm_state, AlarmName="own", StateValue="OK", StateReason="r", StateReasonData="{"
    )


def test_history_tells_what_happened(api, client):
    put(client)
    put(client, AlarmName="other")
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="hot", StateReasonData='{"a": 1}')
    client.set_alarm_state(AlarmName="own", StateValue="ALARM", StateReason="still hot")
    put(client, Threshold=1.0)
    client.delete_alarms(AlarmNames=["own"])
    items = client.describe_alarm_history(AlarmName="own", ScanBy="TimestampAscending")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in items] == [
        'Alarm "own" created',
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        'Alarm "own" updated',
        'Alarm "own" deleted',
    ]
    changed = json.loads(items[1]["HistoryData"])
    assert changed["newState"] == {"stateValue": "ALARM", "stateReason": "hot", "stateReasonData": {"a": 1}}
    assert changed["oldState"]["stateValue"] == "INSUFFICIENT_DATA"
    newest = client.describe_alarm_history(MaxRecords=1)
    assert newest["AlarmHistoryItems"][0]["HistorySummary"] == 'Alarm "own" deleted'
    pages = client.get_paginator("describe_alarm_history").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["AlarmHistoryItems"]) for page in pages] == [2, 2, 1]
    updates = client.describe_alarm_history(HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [one["AlarmName"] for one in updates] == ["own"]
    later = now() + timedelta(hours=1)
    assert client.describe_alarm_history(StartDate=later)["AlarmHistoryItems"] == []
    assert client.describe_alarm_history(EndDate=later - timedelta(hours=2))["AlarmHistoryItems"] == []
    assert client.describe_alarm_history(AlarmTypes=["CompositeAlarm"])["AlarmHistoryItems"] == []
    theirs = api.client(api.world.other, "cloudwatch")
    assert theirs.describe_alarm_history()["AlarmHistoryItems"] == []


def test_a_composite_alarm_follows_its_children(client):
    put(client)
    put(client, AlarmName="free")
    arn = "arn:aws:cloudwatch:us-east-1:111111111111:alarm:free"
    client.put_composite_alarm(AlarmName="both", AlarmRule=f"ALARM(own) AND ALARM('{arn}')".replace("'", '"'))
    client.put_composite_alarm(AlarmName="top", AlarmRule="NOT OK(both)")
    assert (state(client, "both"), state(client, "top")) == ("OK", "OK")
    for name in ("own", "free"):
        client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="r")
    assert (state(client, "both"), state(client, "top")) == ("ALARM", "ALARM")
    [alarm] = client.describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert json.loads(alarm["StateReasonData"])["triggeringAlarms"][0] == {"name": "own", "stateValue": "ALARM"}
    client.set_alarm_state(AlarmName="own", StateValue="OK", StateReason="r")
    assert (state(client, "both"), state(client, "top")) == ("OK", "OK")
    client.put_composite_alarm(AlarmName="both", AlarmRule="TRUE")
    assert (state(client, "both"), state(client, "top")) == ("ALARM", "ALARM")
    items = client.describe_alarm_history(AlarmName="top", AlarmTypes=["CompositeAlarm"])["AlarmHistoryItems"]
    assert len([one for one in items if one["HistoryItemType"] == "StateUpdate"]) == 4
    client.get_waiter("composite_alarm_exists").wait(AlarmNames=["top"], AlarmTypes=["CompositeAlarm"])


def test_what_is_no_composite_alarm(api, client):
    put(client)
    client.put_composite_alarm(AlarmName="a", AlarmRule="ALARM(own)")
    client.put_composite_alarm(AlarmName="b", AlarmRule="ALARM(a)")
    client.put_composite_alarm(AlarmName="c", AlarmRule="ALARM(b)")
    refused = client.put_composite_alarm
    for rule in (
        "ALARM(absent)",
        "ALARM(",
        "ALARM(c)",
        "ALARM(a)",
        'OK("arn:aws:cloudwatch:us-east-1:222222222222:alarm:own")',
    ):
        api.refused("ValidationError", refused, AlarmName="a", AlarmRule=rule)
    api.refused("ValidationError", refused, AlarmName="own", AlarmRule="TRUE")
    api.refused("ValidationError", put, client=client, AlarmName="a")
    api.refused("UnsupportedOperation", refused, AlarmName="x", AlarmRule="TRUE", AlarmActions=[STOP])
    api.refused("UnsupportedOperation", refused, AlarmName="x", AlarmRule="TRUE", ActionsSuppressor="own")


def test_alarms_are_deleted_all_or_none(api, client):
    put(client)
    put(client, AlarmName="free")
    client.put_composite_alarm(AlarmName="above", AlarmRule="ALARM(own)")
    assert "above" in api.refused("ValidationError", client.delete_alarms, AlarmNames=["free", "own"])
    api.refused("ResourceNotFound", client.delete_alarms, AlarmNames=["free", "absent"])
    api.refused("ResourceNotFound", api.client(api.world.other, "cloudwatch").delete_alarms, AlarmNames=["free"])
    client.delete_alarms(AlarmNames=["own", "above", "own"])
    assert names(client, AlarmTypes=["MetricAlarm", "CompositeAlarm"]) == ["free"]
    assert api.run(lambda tx: tx.session.query(AlarmMetric).count()) == 1


def test_an_account_has_so_many(api, client, monkeypatch):
    monkeypatch.setattr(alarms, "PER_ACCOUNT", 1)
    put(client)
    put(client, Threshold=1.0)
    api.refused("LimitExceeded", put, client=client, AlarmName="second")
    api.refused("LimitExceeded", client.put_composite_alarm, AlarmName="second", AlarmRule="TRUE")

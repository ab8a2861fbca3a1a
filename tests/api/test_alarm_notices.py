"""Alarms that publish to topics: CloudWatch's JSON, once for each change of state."""

import asyncio
import json

import pytest

from tests.api.cloudwatch_requests import ALARM
from tests.support.receivers import subscribe

TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"
STATES = ("OKActions", "AlarmActions", "InsufficientDataActions")


@pytest.fixture
def sns(api):
    client = api.client(api.world.one, "sns")
    client.create_topic(Name="alerts")
    return client


@pytest.fixture
def client(api):
    return api.client(api.world.one, "cloudwatch")


def put(client, **changes):
    asked = ALARM | {"Dimensions": [{"Name": "d", "Value": "v"}], "AlarmActions": [TOPIC]} | changes
    client.put_metric_alarm(**{name: value for name, value in asked.items() if value is not None})


def become(client, state, name="own"):
    client.set_alarm_state(AlarmName=name, StateValue=state, StateReason=f"it is {state}")


def came(sending, receiver):
    """The subjects and the texts of what arrived by now."""
    asyncio.run(sending.run())
    fields = [one.fields for one in receiver.arrived]
    return [(one["Subject"], json.loads(one["Message"])) for one in fields if one["Type"] == "Notification"]


def test_a_topic_is_told_of_each_change_once(client, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    put(client, OKActions=[TOPIC], AlarmDescription="d", TreatMissingData="breaching", DatapointsToAlarm=1)
    become(client, "ALARM")
    become(client, "ALARM")
    become(client, "INSUFFICIENT_DATA")
    become(client, "OK")
    (subject, told), (other, after) = came(sending, receiver)
    assert subject == 'ALARM: "own" in us-east-1'
    assert other == 'OK: "own" in us-east-1'
    assert (after["OldStateValue"], after["NewStateValue"]) == ("INSUFFICIENT_DATA", "OK")
    for name in ("AlarmConfigurationUpdatedTimestamp", "StateChangeTime"):
        assert told.pop(name).endswith("+0000")
    assert told == {
        "AlarmName": "own",
        "AlarmDescription": "d",
        "AWSAccountId": "111111111111",
        "NewStateValue": "ALARM",
        "NewStateReason": "it is ALARM",
        "Region": "us-east-1",
        "AlarmArn": "arn:aws:cloudwatch:us-east-1:111111111111:alarm:own",
        "OldStateValue": "INSUFFICIENT_DATA",
        "OKActions": [TOPIC],
        "AlarmActions": [TOPIC],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "CPUUtilization",
            "Namespace": "AWS/EC2",
            "Dimensions": [{"value": "v", "name": "d"}],
            "StatisticType": "Statistic",
            "Statistic": "AVERAGE",
            "Unit": None,
            "Period": 60,
            "EvaluationPeriods": 2,
            "DatapointsToAlarm": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 80.0,
            "TreatMissingData": "breaching",
            "EvaluateLowSampleCountPercentile": "",
        },
    }
    notes = client.describe_alarm_history(AlarmName="own", HistoryItemType="Action")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in notes] == [f"Successfully executed action {TOPIC}"] * 2


def test_other_triggers(client, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    few = {"EvaluateLowSampleCountPercentile": "ignore"}
    put(client, AlarmName="p", Statistic=None, ExtendedStatistic="p99", Unit="Percent", **few)
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    queries = [
        {"Id": "a", "MetricStat": stat, "ReturnData": False},
        {"Id": "e", "Expression": "a * 2", "Label": "twice"},
    ]
    of_one = ("Namespace", "MetricName", "Dimensions", "Statistic", "Period")
    put(client, AlarmName="math", Metrics=queries, **dict.fromkeys(of_one))
    client.put_composite_alarm(AlarmName="above", AlarmRule="ALARM(math)", AlarmActions=[TOPIC])
    become(client, "ALARM", "p")
    become(client, "ALARM", "math")
    (_, first), (_, second), (subject, third) = came(sending, receiver)
    trigger = first["Trigger"]
    assert (trigger["StatisticType"], trigger["ExtendedStatistic"]) == ("ExtendedStatistic", "p99")
    assert (trigger["Unit"], trigger["TreatMissingData"]) == ("Percent", "missing")
    assert trigger["EvaluateLowSampleCountPercentile"] == "ignore"
    assert "Statistic" not in trigger
    assert "DatapointsToAlarm" not in trigger
    metric = {"MetricName": "m", "Namespace": "N", "Dimensions": []}
    assert second["Trigger"]["Metrics"] == [
        {"Id": "a", "Label": None, "ReturnData": False, "MetricStat": stat | {"Metric": metric}},
        {"Id": "e", "Label": "twice", "ReturnData": True, "Expression": "a * 2"},
    ]
    assert "Period" not in second["Trigger"]
    assert subject == 'ALARM: "above" in us-east-1'
    assert third["AlarmRule"] == "ALARM(math)"
    assert "Trigger" not in third
    [note] = client.describe_alarm_history(AlarmName="above", AlarmTypes=["CompositeAlarm"], HistoryItemType="Action")[
        "AlarmHistoryItems"
    ]
    assert note["AlarmType"] == "CompositeAlarm"


def test_history_has_a_topic_that_is_not_there(client):
    put(client)
    become(client, "ALARM")
    [note] = client.describe_alarm_history(AlarmName="own", HistoryItemType="Action")["AlarmHistoryItems"]
    assert note["HistorySummary"] == f"Failed executed action {TOPIC}"
    assert json.loads(note["HistoryData"])["error"] == "Topic does not exist"


def test_disabled_actions_publish_nothing(client, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    put(client, ActionsEnabled=False)
    become(client, "ALARM")
    assert came(sending, receiver) == []


def test_any_name_makes_a_subject(client, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    name = "Größe " + "x" * 120
    put(client, AlarmName=name)
    become(client, "ALARM", name)
    [(subject, told)] = came(sending, receiver)
    assert subject == ('ALARM: "Gr??e ' + "x" * 120)[:99]
    assert told["AlarmName"] == name


def test_a_composite_alarm_does_nothing_but_publish(api, client):
    put(client)
    asked = {"AlarmName": "above", "AlarmRule": "ALARM(own)", "OKActions": ["arn:aws:automate:us-east-1:ec2:stop"]}
    assert "topics" in api.refused("UnsupportedOperation", client.put_composite_alarm, **asked)

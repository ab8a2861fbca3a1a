"""Which policies let whom put data and make alarms: the namespace, and the right to do oneself what an alarm does."""

import json

import pytest

from tests.api.cloudwatch_requests import ALARM
from tests.api.identity import refused, who_may

STOP = "arn:aws:automate:us-east-1:ec2:stop"
INSTANCE = "i-0123456789abcdef0"


@pytest.fixture
def meter(api):
    """A user's client of CloudWatch, a setter of what it may, and the client of its account's owner."""
    iam = api.client(api.world.one, "iam")
    client = who_may(api, iam, "meter", "cloudwatch:DescribeAlarms")("cloudwatch")

    def may(action, resource="*", **condition):
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        if condition:
            statement["Condition"] = condition
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName="meter", PolicyName="assume", PolicyDocument=json.dumps(policy))

    return client, may, api.client(api.world.one, "cloudwatch")


def test_a_policy_names_the_namespace_and_the_actions_of_alarms(meter):
    client, may, _ = meter
    datum = [{"MetricName": "m", "Value": 1.0}]
    may("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "Mine"})
    client.put_metric_data(Namespace="Mine", MetricData=datum)
    refused("AccessDenied", client.put_metric_data, Namespace="Theirs", MetricData=datum)

    stops = ALARM | {"AlarmActions": [STOP], "Dimensions": [{"Name": "InstanceId", "Value": INSTANCE}]}
    may("cloudwatch:PutMetricAlarm")
    client.put_metric_alarm(**ALARM)
    message = refused("AccessDenied", client.put_metric_alarm, **stops)
    assert "ec2:StopInstances on resource: arn:aws:ec2:us-east-1:" in message
    assert f":instance/{INSTANCE}" in message
    may(["cloudwatch:PutMetricAlarm", "ec2:StopInstances"])
    client.put_metric_alarm(**stops)
    unlike = {"cloudwatch:AlarmActions": [STOP]}
    may(["cloudwatch:PutMetricAlarm", "ec2:StopInstances"], **{"ForAllValues:StringNotEquals": unlike})
    refused("AccessDenied", client.put_metric_alarm, **stops)


def test_an_alarms_state_is_set_by_its_arn_and_its_tags(meter):
    client, may, owner = meter
    arns = {}
    for name, team in (("mine", "a"), ("theirs", "b")):
        owner.put_metric_alarm(**ALARM | {"AlarmName": name, "Tags": [{"Key": "team", "Value": team}]})
        [found] = owner.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        arns[name] = found["AlarmArn"]

    def state(name):
        return {"AlarmName": name, "StateValue": "OK", "StateReason": "on purpose"}

    for limit in ({"resource": arns["mine"]}, {"StringEquals": {"aws:ResourceTag/team": "a"}}):
        may(["cloudwatch:SetAlarmState", "cloudwatch:DisableAlarmActions"], **limit)
        client.set_alarm_state(**state("mine"))
        message = refused("AccessDenied", client.set_alarm_state, **state("theirs"))
        assert f"cloudwatch:SetAlarmState on resource: {arns['theirs']}" in message
        client.disable_alarm_actions(AlarmNames=["mine"])
        refused("AccessDenied", client.disable_alarm_actions, AlarmNames=["mine", "theirs"])
        refused("AccessDenied", client.describe_alarms)
    may("cloudwatch:DescribeAlarms", arns["mine"])
    refused("AccessDenied", client.describe_alarms, AlarmNames=["mine"])  # as on AWS it is a right to all alarms
    may("cloudwatch:DescribeAlarms", arns["mine"].replace("alarm:mine", "alarm:*"))
    assert [one["AlarmName"] for one in client.describe_alarms(AlarmNames=["mine"])["MetricAlarms"]] == ["mine"]


def test_tags_are_set_by_who_may_and_only_those_that_he_may(meter):
    client, may, owner = meter
    tagged = ALARM | {"AlarmName": "tagged", "Tags": [{"Key": "team", "Value": "a"}]}
    may("cloudwatch:PutMetricAlarm")
    assert "cloudwatch:TagResource" in refused("AccessDenied", client.put_metric_alarm, **tagged)
    may(["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"], StringEquals={"aws:RequestTag/team": "a"})
    client.put_metric_alarm(**tagged)
    refused("AccessDenied", client.put_metric_alarm, **tagged | {"Tags": [{"Key": "team", "Value": "b"}]})

    [alarm] = owner.describe_alarms(AlarmNames=["tagged"])["MetricAlarms"]
    owner.put_dashboard(DashboardName="board", DashboardBody='{"widgets": []}')
    board = owner.get_dashboard(DashboardName="board")["DashboardArn"]
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}}
    for arn, other in ((alarm["AlarmArn"], board), (board, alarm["AlarmArn"])):
        may(["cloudwatch:TagResource", "cloudwatch:UntagResource", "cloudwatch:ListTagsForResource"], arn, **only)
        client.tag_resource(ResourceARN=arn, Tags=[{"Key": "stage", "Value": "x"}])
        refused("AccessDenied", client.tag_resource, ResourceARN=arn, Tags=[{"Key": "team", "Value": "x"}])
        refused("AccessDenied", client.tag_resource, ResourceARN=other, Tags=[{"Key": "stage", "Value": "x"}])
        assert {"Key": "stage", "Value": "x"} in client.list_tags_for_resource(ResourceARN=arn)["Tags"]
        refused("AccessDenied", client.list_tags_for_resource, ResourceARN=other)
        refused("AccessDenied", client.untag_resource, ResourceARN=arn, TagKeys=["stage", "team"])
        client.untag_resource(ResourceARN=arn, TagKeys=["stage"])
        refused("AccessDenied", client.untag_resource, ResourceARN=other, TagKeys=["stage"])

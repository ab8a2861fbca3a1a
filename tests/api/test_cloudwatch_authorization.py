"""Which policies let whom put data and make alarms: the namespace, and the right to do oneself what an alarm does."""

import json

from tests.api.cloudwatch_requests import ALARM
from tests.api.identity import refused, who_may

STOP = "arn:aws:automate:us-east-1:ec2:stop"
INSTANCE = "i-0123456789abcdef0"


def test_a_policy_names_the_namespace_and_the_actions_of_alarms(api):
    iam = api.client(api.world.one, "iam")
    client = who_may(api, iam, "meter", "cloudwatch:DescribeAlarms")("cloudwatch")

    def may(action, **condition):
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        if condition:
            statement["Condition"] = condition
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName="meter", PolicyName="assume", PolicyDocument=json.dumps(policy))

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

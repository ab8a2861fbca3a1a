"""An alarm over the real store of metrics, through the aws command: it stops an instance soon after the datum.

How soon is tested in test_alarm_life.py, by a clock that no busy machine holds up.
"""

import json

import pytest

from tests.support.waiting import wait_for

STOP = "arn:aws:automate:us-east-1:ec2:stop"


@pytest.mark.story
def test_an_alarm_stops_an_instance_soon_after_the_datum(account, image_id):
    run = account.ec2.run_instances(ImageId=image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    instance = run["Instances"][0]["InstanceId"]
    account.ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    try:
        stop = STOP.replace("us-east-1", account.ec2.meta.region_name)
        account.aws(
            "cloudwatch", "put-metric-alarm", "--alarm-name", "busy", "--namespace", "Own", "--metric-name", "load",
            "--dimensions", f"Name=InstanceId,Value={instance}", "--statistic", "Maximum", "--period", "60",
            "--evaluation-periods", "1", "--threshold", "5", "--comparison-operator", "GreaterThanThreshold",
            "--alarm-actions", stop,
        )  # fmt: skip
        account.aws("cloudwatch", "wait", "alarm-exists", "--alarm-names", "busy")
        datum = {"MetricName": "load", "Value": 9.5, "Dimensions": [{"Name": "InstanceId", "Value": instance}]}
        account.aws("cloudwatch", "put-metric-data", "--namespace", "Own", "--metric-data", json.dumps([datum]))

        def is_stopped():
            found = account.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            return found["State"]["Name"] in ("stopping", "stopped")

        def explain():
            shown = account.aws("cloudwatch", "describe-alarms"), account.aws("cloudwatch", "list-metrics")
            history = account.aws("cloudwatch", "describe-alarm-history")
            return json.dumps([*shown, history])

        wait_for(is_stopped, "the alarm stops its instance", 15, explain=explain)
        shown = account.aws("cloudwatch", "describe-alarms", "--state-value", "ALARM")
        assert [one["AlarmName"] for one in shown["MetricAlarms"]] == ["busy"]
        listed = account.aws("cloudwatch", "list-metrics", "--namespace", "Own")
        assert [one["MetricName"] for one in listed["Metrics"]] == ["load"]
    finally:
        account.ec2.terminate_instances(InstanceIds=[instance])

"""Prometheus, unchanged, finds the machines of an account by `examples/prometheus/prometheus.yml`."""

import json
import urllib.error
import urllib.request

import pytest

from tests.support.clients import FAST
from tests.support.processes import ROOT, Child, free_ports
from tests.support.waiting import wait_for


@pytest.mark.client("prometheus")
def test_machines_come_and_go(account, image_id, client, tmp_path):
    text = (ROOT / "examples/prometheus/prometheus.yml").read_text()
    text = text.replace("http://127.0.0.1:8773", account.endpoint).replace(
        "refresh_interval: 30s", "refresh_interval: 1s"
    )
    (tmp_path / "prometheus.yml").write_text(text)
    [port] = free_ports(1)
    command = (
        client / "debian/usr/bin/prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    prometheus = Child("prometheus", command, tmp_path / "log", account.environment)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def found():
        prometheus.check()
        try:
            with opener.open(f"http://127.0.0.1:{port}/api/v1/targets?state=active", timeout=5) as answer:
                return [
                    target["discoveredLabels"] | target["labels"]
                    for target in json.load(answer)["data"]["activeTargets"]
                ]
        except (urllib.error.URLError, ConnectionError):
            return None  # it does not listen yet

    def run(**tags):
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        [made] = account.ec2.run_instances(
            ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": listed}],
        )["Instances"]  # fmt: skip
        return made

    web = run(monitored="yes", Name="web")
    other = run(Name="other")
    ids = [web["InstanceId"], other["InstanceId"]]
    try:
        account.ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)
        prometheus.start()
        [target] = wait_for(found, "Prometheus finds a machine", 60)
        assert target["__meta_ec2_instance_id"] == web["InstanceId"]
        assert target["instance"] == f"{web['PrivateIpAddress']}:9100"
        assert (target["machine"], target["kind"]) == ("web", f"{web['Placement']['AvailabilityZone']}/t3.nano")
    finally:
        account.ec2.terminate_instances(InstanceIds=ids)
        if prometheus.runs():
            wait_for(lambda: found() == [], "Prometheus finds it no more", 60)
        prometheus.stop()

"""Prometheus, unchanged, finds an account's machines by `examples/prometheus/prometheus.yml`, reads Stead's page, takes metrics."""

import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime

import pytest

from tests.support.clients import FAST
from tests.support.processes import ROOT, Child, free_ports
from tests.support.waiting import wait_for

_STEAD = """
  - job_name: stead
    scrape_interval: 1s
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


@pytest.fixture
def shown_cloud(own_cloud):
    """A cloud whose controller has a page for Prometheus, and sends it metrics; both ports: the shared one has none."""
    page, port = free_ports(2)
    cloud = own_cloud(
        hosts=1,
        options=(f"--prometheus-port={page}", f"--remote-write-url=http://127.0.0.1:{port}/api/v1/write"),
    )
    return cloud, page, port


@pytest.fixture
def prometheus(shown_cloud, client, tmp_path):
    """A Prometheus that is not started, and a reader of its API: None while it does not listen."""
    cloud, page, port = shown_cloud
    account = cloud.new_account()
    text = (ROOT / "examples/prometheus/prometheus.yml").read_text()
    text = text.replace("http://127.0.0.1:8773", account.endpoint).replace(
        "refresh_interval: 30s", "refresh_interval: 1s"
    )
    (tmp_path / "prometheus.yml").write_text(text + _STEAD.format(port=page))
    command = (
        client / "debian/usr/bin/prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
    )
    child = Child("prometheus", command, tmp_path / "log", account.environment)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read(path):
        child.check()
        try:
            with opener.open(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=60) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    yield account, child, read
    child.stop()


@pytest.mark.client("prometheus")
def test_machines_come_and_go_and_the_controller_shows_itself(shown_cloud, prometheus):
    cloud, *_ = shown_cloud
    account, child, read = prometheus
    image_id = cloud.add_image()

    def machines():
        data = read("targets?state=active&scrapePool=machines")
        found = None if data is None else data["activeTargets"]
        return found if found is None else [target["discoveredLabels"] | target["labels"] for target in found]

    def value(query):
        data = read(f"query?query={urllib.parse.quote(query)}")
        return [float(each["value"][1]) for each in data["result"]] if data else []

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
    account.ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)
    now = datetime.now(UTC)
    orders = {"MetricName": "Orders", "Dimensions": [{"Name": "Shop", "Value": "west"}], "Value": 17, "Timestamp": now}
    account.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=[orders])
    child.start()
    [target] = wait_for(machines, "Prometheus finds a machine", 60)
    assert target["__meta_ec2_instance_id"] == web["InstanceId"]
    assert target["instance"] == f"{web['PrivateIpAddress']}:9100"
    assert (target["machine"], target["kind"]) == ("web", f"{web['Placement']['AvailabilityZone']}/t3.nano")

    launches = 'stead_api_requests_total{service="ec2",operation="RunInstances",status="200"}'
    wait_for(lambda: value(launches) == [2], "both launches are counted", 60)
    assert value('stead_api_request_seconds_count{operation="RunInstances"}') == [2]
    assert value('stead_hosts{state="up"}') == [1]
    assert value("stead_hosts_connected") == [1]
    wait_for(lambda: value('stead_instances{state="running"}') == [2], "rows are counted again", 60)
    assert value("up{job='stead'}") == [1]

    copied = 'cloudwatch{namespace="Shop",metric="Orders",d_Shop="west",kind="value",unit="None"}'
    wait_for(lambda: value(copied) == [17], "what was put before it was there is sent", 90)
    assert value('stead_queue_length{queue="metrics_copies"}')[0] < 10

    account.ec2.terminate_instances(InstanceIds=ids)
    wait_for(lambda: machines() == [], "Prometheus finds it no more", 60)

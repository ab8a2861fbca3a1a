"""A cloud with buckets and metrics: a kill at any moment leaves nothing half, and what was backed up comes back."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.test_backups import PASSPHRASE, run
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
SERVERS = ("object-store/weed.pid", "metrics/victoria-metrics.pid")


@pytest.fixture
def cloud(own_cloud):
    """A cloud with a bucket of 48 MiB, and a metric; its servers end with the test."""
    made = own_cloud(hosts=0)
    yield made
    kill_servers(made)


def kill_servers(cloud):
    """Kill the object store and the engine of metrics, and wait until they have ended."""
    for name in SERVERS:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):  # it does not run
            process = int((cloud.settings.controller_dir / name).read_text().split()[0])
            os.kill(process, signal.SIGKILL)
            wait_for(lambda process=process: not Path(f"/proc/{process}/exe").exists(), "it has ended")


def killed_at(step, *arguments):
    """Run `stead-controller backup` and kill it as soon as it says that a step has begun."""
    command = [BIN / "stead-controller", "backup", *arguments, "--passphrase-file=-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        process.stdin.write(f"{PASSPHRASE}\n")
        process.stdin.close()
        for line in process.stdout:
            if json.loads(line).get("step") == step:
                process.kill()
                return
    raise AssertionError(f"it came to no {step}")


def test_buckets_and_metrics_come_back_whatever_was_killed_before(cloud):
    account = cloud.first_account
    s3, cloudwatch = account.client("s3", read_timeout=90), account.client("cloudwatch")
    body = secrets.token_bytes(48 << 20)
    s3.create_bucket(Bucket="of-a-backup")
    s3.put_object(Bucket="of-a-backup", Key="large", Body=body, Metadata={"who": "me"})
    datum = {"MetricName": "M", "Timestamp": NOW, "Value": 42.0}
    cloudwatch.put_metric_data(Namespace="Own", MetricData=[datum])
    state = cloud.settings.controller_dir
    on_disk = (state / "metrics" / "data" / "data" / "small").glob
    wait_for(lambda: list(on_disk("*/*/metadata.json")), "the metric is on the disk")
    folder, option = cloud.folder / "backups", f"--state-dir={state}"

    def metric():
        times = {"StartTime": NOW - timedelta(minutes=5), "EndTime": NOW + timedelta(minutes=5), "Period": 60}
        found = cloudwatch.get_metric_statistics(Namespace="Own", MetricName="M", Statistics=["Sum"], **times)
        return [one["Sum"] for one in found["Datapoints"]]

    first = run(cloud, "create", folder, option, "--passphrase-file=-")["backup"]
    assert set(first["stores"]) == {"object-store", "metrics"}
    s3.put_object(Bucket="of-a-backup", Key="second", Body=body[::-1])
    for step in ("database", "object-store", "metrics"):
        killed_at(step, "create", folder, option)
        assert s3.get_object(Bucket="of-a-backup", Key="second")["Body"].read() == body[::-1]
        assert run(cloud, "list", folder)["backups"] == [first]
    assert metric() == [42.0]
    assert run(cloud, "verify", folder, "--passphrase-file=-")["faults"] == []
    second = run(cloud, "create", folder, option, "--passphrase-file=-")["backup"]
    assert list(folder.glob("*.part")) == []
    plain = run(cloud, "create", folder, option, "--passphrase-file=-", "--without-buckets", "--without-metrics")
    assert plain["backup"]["stores"] == {}
    s3.put_object(Bucket="of-a-backup", Key="third", Body=b"later")

    cloud.controller.kill()
    kill_servers(cloud)
    shutil.rmtree(state)
    for step in ("object-store", "metrics"):
        killed_at(step, "restore", folder, second["id"], option)
        assert not state.exists()
    restored = run(cloud, "restore", folder, second["id"], option, "--passphrase-file=-")["restored"]
    assert (restored["missing"], restored["damaged"]) == ([], [])
    assert [path for path in state.rglob("*") if path.stat().st_mode & 0o077] == []
    cloud.start_controller()
    got = s3.get_object(Bucket="of-a-backup", Key="large")
    assert (got["Body"].read(), got["Metadata"]) == (body, {"who": "me"})
    assert s3.get_object(Bucket="of-a-backup", Key="second")["Body"].read() == body[::-1]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="of-a-backup")["Contents"]] == ["large", "second"]
    assert metric() == [42.0]

    require_pruned(cloud, folder)


def require_pruned(cloud, folder):
    """A damaged piece is found, and pieces go with the last backup that needs them; the newest has none."""
    pieces = [path for path in (folder / "pieces").rglob("*") if path.is_file()]
    largest = max(pieces, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    ids = [one["id"] for one in run(cloud, "list", folder)["backups"]]
    faults = run(cloud, "verify", folder, ids[1], "--passphrase-file=-")["faults"]
    assert [fault for fault in faults if fault.startswith("object-store/data/") and "is not whole" in fault]
    assert run(cloud, "verify", folder, ids[2], "--passphrase-file=-")["faults"] == []
    run(cloud, "prune", folder, "--keep=2")
    assert [path for path in (folder / "pieces").rglob("*") if path.is_file()]
    run(cloud, "prune", folder, "--keep=1")
    assert [path for path in (folder / "pieces").rglob("*") if path.is_file()] == []

"""The disk of the state directory is full: refusals in words, no answer without its record, and no program unnoted."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stead_cli import cloud as programs
from stead_cli import processes
from stead_cli.errors import CliError
from stead_cli.processes import Program
from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

_PIECE = 1 << 16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "stead-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def _fill(folder: Path) -> None:
    """Write until nothing more can be written, to the byte."""
    for size in (_PIECE, 1):
        with (folder / f"filler-{size}").open("ab", buffering=0) as file, contextlib.suppress(OSError):  # it is full
            while True:
                file.write(b"x" * size)


def _empty(folder: Path) -> None:
    for path in folder.glob("filler-*"):
        path.unlink()


class _Caller:
    """Someone who remembers the ids of the requests that were acknowledged."""

    def __init__(self, account: Account) -> None:
        self.ec2, self.iam = account.client("ec2"), account.client("iam")
        self.acknowledged: set[str] = set()

    def call(self, operation: Callable[..., Any], **params: Any) -> tuple[str, int]:
        """Call; return the error's code, empty for none, and the HTTP status."""
        try:
            answer = operation(**params)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        self.acknowledged.add(answer["ResponseMetadata"]["RequestId"])
        return "", 200


def _stead(cloud: Cloud, *arguments: str) -> str:
    """Return what the command line says, however it ends."""
    ports = {"HTTP": cloud.settings.http_port, "HTTPS": cloud.settings.https_port, "HOST": cloud.settings.host_port}
    environment = clean_environment(
        STEAD_STATE_DIR=str(cloud.settings.state_dir),
        **{f"STEAD_{name}_PORT": str(port) for name, port in ports.items()},
    )
    return subprocess.run(
        [BIN / "stead", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    ).stdout


def _recorded(cloud: Cloud) -> set[str]:
    found = set()
    for path in (cloud.settings.controller_dir / "audit").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # half a line of a call that was not answered
                found.add(json.loads(line).get("requestID"))
    return found


@pytest.fixture
def cloud(small_disk: Path) -> Iterator[Cloud]:
    made = Cloud(small_disk)
    made.start_controller()
    yield made
    made.controller.kill()


def test_what_is_answered_on_a_full_disk_is_recorded_and_changes_are_refused(cloud: Cloud, small_disk: Path) -> None:
    caller = _Caller(cloud.new_account())
    assert caller.call(caller.ec2.create_vpc, CidrBlock="10.0.0.0/16") == ("", 200)
    assert programs.controller_health(cloud.settings).detail == "ok"
    _fill(small_disk)
    assert "full" in programs.controller_health(cloud.settings).detail
    assert not json.loads(_stead(cloud, "status", "--output=json"))["well"]
    [check] = [each for each in json.loads(_stead(cloud, "doctor", "--output=json")) if each["name"] == "endpoint"]
    assert (check["status"], "df -h" in check["remedy"]) == ("warning", True)
    for operation, params in (
        (caller.ec2.create_vpc, {"CidrBlock": "10.1.0.0/16"}),
        (caller.iam.create_user, {"UserName": "ana"}),
    ):
        assert caller.call(operation, **params) == ("ServiceUnavailable", 503)
    for _ in range(40):
        assert caller.call(caller.ec2.describe_vpcs) == ("", 200), "the reserve has room for the records of reads"
    cloud.controller.kill()
    assert caller.acknowledged <= _recorded(cloud), "whoever was answered is in the trail, also after a kill"

    caller.acknowledged.clear()
    _empty(small_disk)
    cloud.start_controller()
    _fill(small_disk)
    cloud.controller.kill()
    cloud.start_controller()  # on a full disk, by what is reserved
    _fill(small_disk)  # and somebody else takes the rest of that
    results = [caller.call(caller.ec2.describe_vpcs) for _ in range(60)]
    assert results[-1] == ("ServiceUnavailable", 503), "no room for a record, no answer"
    assert set(results) <= {("", 200), ("ServiceUnavailable", 503)}
    cloud.controller.kill()
    assert caller.acknowledged <= _recorded(cloud)

    _empty(small_disk)
    cloud.start_controller()
    wait_for(lambda: programs.controller_health(cloud.settings).detail == "ok", "room is reserved again", 20)
    assert caller.call(caller.ec2.create_vpc, CidrBlock="10.2.0.0/16") == ("", 200)
    remaining = {vpc["CidrBlock"] for vpc in caller.ec2.describe_vpcs()["Vpcs"]}
    assert remaining == {"10.0.0.0/16", "10.2.0.0/16", "172.31.0.0/16"}
    wait_for(lambda: caller.acknowledged <= _recorded(cloud), "all is recorded", 10)


def test_deletions_are_let_through_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """TerminateInstances, DeleteVolume, DeleteSnapshot and DeregisterImage are how a user makes room."""
    cloud = Cloud(tmp_path / "cloud")
    cloud.settings.controller_dir.parent.mkdir()
    cloud.settings.controller_dir.symlink_to(small_disk)  # the hosts' disk is another
    try:
        cloud.start_controller()
        cloud.add_hosts(1)
        ec2, image_id = cloud.new_account().ec2, cloud.add_image()
        zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
        launched = ec2.run_instances(ImageId=image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"]
        volume_id = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id])
        snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id])
        mapping = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}
        made = ec2.register_image(Name="mine", RootDeviceName="/dev/sda1", BlockDeviceMappings=[mapping])["ImageId"]
        instance_id = launched[0]["InstanceId"]
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id])

        _fill(small_disk)
        with pytest.raises(ClientError, match="is full"):
            ec2.create_volume(AvailabilityZone=zone, Size=1)
        ec2.deregister_image(ImageId=made)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        ec2.delete_volume(VolumeId=volume_id)
        ec2.terminate_instances(InstanceIds=[instance_id])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id])
        # The disk of its root is removed by the host a moment later.
        wait_for(lambda: ec2.describe_volumes()["Volumes"] == [], "no volume is left")
        assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    finally:
        cloud.stop()


def test_room_that_comes_back_is_taken_without_a_restart(cloud: Cloud, small_disk: Path) -> None:
    caller = _Caller(cloud.new_account())
    _fill(small_disk)
    assert caller.call(caller.ec2.create_vpc, CidrBlock="10.1.0.0/16") == ("ServiceUnavailable", 503)
    _empty(small_disk)
    wait_for(lambda: programs.controller_health(cloud.settings).detail == "ok", "room is reserved again", 20)
    assert caller.call(caller.ec2.create_vpc, CidrBlock="10.1.0.0/16") == ("", 200)


def test_a_program_that_cannot_be_noted_does_not_run_on(small_disk: Path) -> None:
    state = small_disk / "state"
    state.mkdir()
    words = [sys.executable, "-c", f"import signal; '{state}'; signal.pause()"]
    program = Program("sleeper", words, state / "run" / "sleeper.pid", state / "log" / "sleeper.log")
    for file in (program.pid_file, program.log_file):
        file.parent.mkdir()
    _fill(small_disk)
    with pytest.raises(CliError, match=r"started and ended again: .*No space left on device"):
        processes.start(program)
    assert processes.find(program) is None
    living = [path for path in Path("/proc").glob("[0-9]*") if _words(path)[:3] == words]
    assert living == []


def _words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")
    except OSError:
        return []  # it has ended


def test_up_on_a_full_disk_says_so_in_words(small_disk: Path) -> None:
    _fill(small_disk)
    done = subprocess.run(
        [BIN / "stead", "up"],
        env=clean_environment(STEAD_STATE_DIR=str(small_disk / "state")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr


def test_a_parent_that_is_killed_on_a_full_disk_is_replaced(cloud: Cloud, small_disk: Path) -> None:
    caller = _Caller(cloud.new_account())
    _fill(small_disk)
    killed = cloud.controller.kill_parent()
    wait_for(lambda: cloud.controller.another_serves(killed) and cloud.answers(), "another one serves", 60)
    assert caller.call(caller.ec2.describe_vpcs) == ("", 200)
    assert caller.acknowledged <= _recorded(cloud)
    killed = cloud.controller.kill_serving()
    wait_for(lambda: cloud.controller.another_serves(killed) and cloud.answers(), "its parent can replace it", 60)

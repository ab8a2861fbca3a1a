"""`stead demo` as a newcomer runs it, and what stays of it."""

import json
import os
import subprocess

import boto3
import pytest

from tests.support.clients import FAST
from tests.support.processes import BIN
from tests.support.real_cloud import RealCloud, qemu_process_of
from tests.support.waiting import wait_for


def test_demo_proves_user_data_over_ssh_and_says_how_to_go_on(real_cloud: RealCloud) -> None:
    said = json.loads(real_cloud.stead_well("demo", "--output", "json"))
    try:
        assert [step["step"] for step in said["steps"]][-1] == "user data ran: proven over SSH"
        # Warm, on two idle cores without KVM, it is 15 s (by hand: tests/bench/launch.py). Here another test may run beside
        # it, so what counts is that no step waits for nothing, as one does that ends by its deadline.
        assert all(step["seconds"] < 100 for step in said["steps"]), said["steps"]
        assert said["seconds"] < 200
        done = subprocess.run(
            [*said["ssh"], "-o", "BatchMode=yes", "hostname"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.startswith("ip-"), done.stderr
    finally:
        ec2 = real_cloud.account.ec2
        ec2.terminate_instances(InstanceIds=[said["instance_id"]])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[said["instance_id"]], WaiterConfig=FAST)


def test_demo_for_a_terminal_shows_console_times_and_next_steps(real_cloud: RealCloud) -> None:
    done = real_cloud.stead("demo", "--terminate")
    assert done.returncode == 0, done.stderr + real_cloud.log_ends()
    assert "How long each step took" in done.stderr
    assert "stead-micro" in done.stderr  # the console
    assert "instance is terminated" in done.stderr


def test_env_is_all_that_boto3_needs(real_cloud: RealCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `eval "$(./stead env)"` exports wins over what the shell had for another cloud."""
    monkeypatch.setenv("AWS_PROFILE", "of-somebody")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-cloud")
    script = f"eval \"$('{BIN}/stead' env)\"; env -0"
    done = subprocess.run(
        ["bash", "-ec", script],
        env={**real_cloud.environment, "AWS_PROFILE": "of-somebody", "AWS_SESSION_TOKEN": "of-another-cloud"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    exported = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in exported.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    assert boto3.client("sts").get_caller_identity()["Account"] == real_cloud.account.account_id
    assert boto3.client("ec2").describe_regions()["Regions"][0]["RegionName"] == "us-east-1"


def test_env_of_another_account_has_keys_of_it(real_cloud: RealCloud) -> None:
    account = real_cloud.new_account()
    first, again = (real_cloud.stead_well("env", "--account", account.account_id) for _ in range(2))
    assert first == again
    command = f"eval \"$1\"; '{BIN}/aws' sts get-caller-identity --query Account --output text"
    done = subprocess.run(
        ["bash", "-ec", command, "-", first], env=real_cloud.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == account.account_id


def test_nothing_of_a_terminated_demo_runs(real_cloud: RealCloud) -> None:
    ids = [
        instance["InstanceId"]
        for reservation in real_cloud.account.ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    wait_for(lambda: not any(qemu_process_of(each) for each in ids), "no demo guest runs", 10)

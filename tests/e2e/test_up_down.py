"""`stead up`, `status`, `down` and `down --purge` on a cloud of its own."""

import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stead_cli import cloud as programs
from stead_cli import processes
from tests.support import box, leaks
from tests.support.clients import Account
from tests.support.real_cloud import RealCloud, User, qemu_process_of


def test_up_twice_down_up_again_and_purge(tmp_path: Path) -> None:
    box.run_in_another(_from_first_up_to_purge, tmp_path)


def _from_first_up_to_purge(folder: Path) -> None:
    """The life of a cloud on a machine that never had one, and has nothing of it afterwards."""
    before = leaks.take_inventory()
    cloud = RealCloud(bare=True)
    try:
        _up_is_idempotent(cloud)
        instance_id = _guest_and_objects_outlive_a_plain_down(cloud, folder)
    finally:
        cloud.purge()
    assert qemu_process_of(instance_id) is None
    cloud.purge()  # twice is once
    leaks.assert_nothing_beyond(before, "a purged cloud")


def _up_is_idempotent(cloud: RealCloud) -> None:
    assert cloud.stead("status").returncode == 1
    cloud.up()
    pids = [processes.find(program) for program in (cloud.controller, cloud.agent)]
    assert all(pids)
    cloud.up()
    assert [processes.find(program) for program in (cloud.controller, cloud.agent)] == pids
    assert json.loads(cloud.stead_well("status", "--output", "json"))["well"]
    assert [host.state for host in cloud.operator.list_hosts()] == ["up"]


def _guest_and_objects_outlive_a_plain_down(cloud: RealCloud, folder: Path) -> str:
    """Return the id of a guest that runs, after a down and an up again."""
    user = User(cloud, cloud.new_account(), folder)
    [instance_id] = user.run()
    boot = user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id")
    _pages_show_the_guest(cloud)
    s3 = user.account.client("s3", read_timeout=90)
    s3.create_bucket(Bucket="outlives")
    s3.put_object(Bucket="outlives", Key="k", Body=b"kept")
    store = programs.object_store_program(cloud.settings)
    assert processes.find(store) is not None
    cloud.stead_well("down")
    assert processes.find(store) is None
    assert [processes.find(program) for program in (cloud.controller, cloud.agent)] == [None, None]
    process = qemu_process_of(instance_id)
    assert process is not None
    cloud.up()
    assert qemu_process_of(instance_id) == process
    assert user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id") == boot
    assert s3.get_object(Bucket="outlives", Key="k")["Body"].read() == b"kept"
    _a_role_reads_objects_and_no_more(user.account)
    shown = json.loads(cloud.stead_well("status", "--output", "json"))["programs"]
    assert [(program["program"], program["runs"]) for program in shown][2:3] == [("object-store", True)]
    return instance_id


def _pages_show_the_guest(cloud: RealCloud) -> None:
    """Read the pages for Prometheus of the controller and of the agent."""
    ports = (cloud.settings.prometheus_port, cloud.settings.agent_prometheus_port)
    shown = [urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode() for port in ports]
    assert 'stead_instances{state="running"} 1.0\n' in shown[0]
    for line in (
        'stead_agent_guests{power="running"} 1.0',
        "stead_agent_controller_connected 1.0",
        'stead_agent_reconcile_seconds_bucket{kind="machine",le="+Inf"}',
    ):
        assert line in shown[1]


def _a_role_reads_objects_and_no_more(account: Account) -> None:
    iam = account.client("iam")
    whom = {"AWS": f"arn:aws:iam::{account.account_id}:root"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": whom}
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=_policy(trust))["Role"]
    reads = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::outlives/*"}
    iam.put_role_policy(RoleName="reader", PolicyName="reads", PolicyDocument=_policy(reads))
    # Root may not assume a role, a user may.
    iam.create_user(UserName="visitor")
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role["Arn"]}
    iam.put_user_policy(UserName="visitor", PolicyName="assumes", PolicyDocument=_policy(assume))
    key = iam.create_access_key(UserName="visitor")["AccessKey"]
    visitor = replace(account, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
    given = visitor.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="visit")["Credentials"]
    session = replace(
        account,
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        session_token=given["SessionToken"],
    ).client("s3")
    assert session.get_object(Bucket="outlives", Key="k")["Body"].read() == b"kept"
    for client, call, more in (
        (session, "put_object", {"Key": "k", "Body": b"changed"}),
        (session, "list_objects_v2", {}),
        (visitor.client("s3"), "get_object", {"Key": "k"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(client, call)(Bucket="outlives", **more)


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

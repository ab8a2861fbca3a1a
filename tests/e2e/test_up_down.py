"""`stead up`, `status`, `doctor --fix`, `down` and `down --purge` on a cloud of its own; in between its host reboots."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stead_cli import cloud as programs
from stead_cli import processes, ssh
from stead_cli.ssh import Login
from tests.support import box, emulator, leaks, trace_server
from tests.support.clients import Account
from tests.support.leaks import HostInventory
from tests.support.real_cloud import BOOT_SECONDS, RealCloud, User, qemu_process_of
from tests.support.trace_server import Received, TraceServer
from tests.support.waiting import wait_for

_MARK = "/var/tmp/user-data-ran"
_NOBODYS_VPC = "vpc-0123456789abcdef0"
_USER_DATA = f"#!/bin/sh\necho once >>{_MARK}; sync\n"


@pytest.mark.timeout(1200)  # a cloud from nothing to nothing, with a guest that boots twice, beside other tests
def test_up_twice_down_up_again_a_reboot_and_purge(tmp_path: Path) -> None:
    box.run_in_another(_live_or_try_again, tmp_path)


def _live_or_try_again(folder: Path) -> None:
    """The controller is away for a while, when nobody recovers a guest whose QEMU dies of itself at its second boot."""
    emulator.booted(lambda: _from_first_up_to_purge(folder))


def _from_first_up_to_purge(folder: Path) -> None:
    """The life of a cloud on a machine that never had one, and has nothing of it afterwards."""
    before = leaks.take_inventory()
    with trace_server.running() as traced:
        _live(RealCloud(bare=True, traces=traced.url), folder, before, traced)


def _live(cloud: RealCloud, folder: Path, before: HostInventory, traced: TraceServer) -> None:
    try:
        _up_is_idempotent(cloud)
        _orphans_go_and_what_does_not_run_is_started(cloud)
        user = User(cloud, cloud.new_account(), folder)
        instance_id = _guest_and_objects_outlive_a_plain_down(cloud, user)
        call = _the_launch_is_one_trace(traced, instance_id)
        _the_agent_logs_whose_request_it_was(cloud, call.about["aws.request_id"], instance_id)
        _the_agent_alone_repairs_a_rebooted_host(cloud, user, instance_id, before)
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


def _orphans_go_and_what_does_not_run_is_started(cloud: RealCloud) -> None:
    """`stead doctor --fix` after an agent was killed, and of a namespace that nobody wants."""
    assert [line for line in _fix(cloud) if not line.startswith("nothing was to be repaired")] == []
    agent = processes.find(cloud.agent)
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: processes.find(cloud.agent) is None, "the agent has ended")
    subprocess.run(["ip", "netns", "add", _NOBODYS_VPC], check=True)
    lines = _fix(cloud)
    assert "did not run, and was started" in lines
    assert not _has_nobodys_vpc(), "whoever was first, the agent at its start or the repair"
    subprocess.run(["ip", "netns", "add", _NOBODYS_VPC], check=True)
    assert f"removed vpc {_NOBODYS_VPC}" in _fix(cloud)
    assert not _has_nobodys_vpc()


def _fix(cloud: RealCloud) -> list[str]:
    """Fix it, and give what was said of it."""
    checks = json.loads(cloud.stead("doctor", "--fix", "--output", "json").stdout)
    return [line for one in checks if one["name"].startswith("fix") for line in one["detail"].splitlines()]


def _has_nobodys_vpc() -> bool:
    return Path("/run/netns", _NOBODYS_VPC).exists()


def _guest_and_objects_outlive_a_plain_down(cloud: RealCloud, user: User) -> str:
    """Return the id of a guest that runs, after a down and an up again."""
    [instance_id] = user.run(UserData=_USER_DATA)
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


def _the_launch_is_one_trace(traced: TraceServer, instance_id: str) -> Received:
    """From the API call to the report that the guest runs, by controller and agent, which have ended since."""
    [call] = traced.named("ec2.RunInstances")
    parts = traced.of(call.trace)
    by_id = {each.id: each for each in parts}
    assert (call.parent, call.failed, call.program) == ("", False, "stead-controller")
    [change] = [each for each in parts if each.name == "change machine"]
    assert (change.program, change.about["stead.id"], change.failed) == ("stead-agent", instance_id, False)
    [sent] = [each for each in parts if each.name == "send to host"]
    assert (change.parent, sent.parent) == (sent.id, call.id)
    [placed] = [each for each in parts if each.name == "placement"]
    assert by_id[by_id[placed.parent].parent] == call
    assert [by_id[each.parent].name for each in parts if each.name == "authorize"] == ["transaction"]
    for work, whose in (
        ("make disk", "change volume"),
        ("make network", "change interface"),
        ("start or stop guest", "change machine"),
    ):
        assert any(by_id[each.parent].name == whose for each in parts if each.name == work), work
    [running] = [each for each in parts if each.name == "store report" and each.parent == change.id]
    assert (running.about["stead.condition"], running.about["stead.id"]) == ("ready", instance_id)
    assert call.began <= placed.began <= sent.ended <= change.began <= change.ended <= running.ended
    assert not any(_MARK.encode() in body for body in traced.bodies), "user data is nobody else's"
    return call


def _the_agent_logs_whose_request_it_was(cloud: RealCloud, request: object, instance_id: str) -> None:
    lines = cloud.agent.log_file.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if str(request) in line]
    assert [line for line in found if "machine_started" in line and instance_id in line]
    assert [line for line in found if "volume_made" in line]


def _the_agent_alone_repairs_a_rebooted_host(
    cloud: RealCloud, user: User, instance_id: str, before: HostInventory
) -> None:
    """The host reboots while its controller is away: the agent brings guest and network back, from what it has on disk."""
    login = user.login(instance_id)
    wait_for(lambda: login.run(f"cat {_MARK} || true"), "user data has run", BOOT_SECONDS)
    first = _seen_inside(login)
    described = user.describe(instance_id)

    box.reboot()
    assert leaks.take_inventory().beyond(before) == []  # a reboot leaves no kernel object and no process
    processes.start(cloud.agent)
    _wait_for_answer(user, instance_id, login.address)
    again = _seen_inside(login)
    assert again.pop("boot") != first.pop("boot")
    assert again == first, f"{again} after, {first} before"
    assert again["address"] == again["reported address"] == described["PrivateIpAddress"]
    assert again["reported public address"] == described["PublicIpAddress"] == login.address
    assert again["reported id"] == instance_id
    assert again["user data"] == "once"
    assert processes.find(cloud.controller) is None

    process = qemu_process_of(instance_id)
    cloud.up()
    wait_for(lambda: user.state(instance_id) == "running", "it is seen running", 30)
    seen = user.describe(instance_id)
    for name in ("PrivateIpAddress", "PublicIpAddress", "LaunchTime"):
        assert seen[name] == described[name]
    assert qemu_process_of(instance_id) == process


def _wait_for_answer(user: User, instance_id: str, address: str) -> None:
    """Wait until SSH answers; raises EmulatorDiedError when that is in vain."""

    def answers() -> bool:
        emulator.check_words(user.cloud.emulator_log_end(instance_id))
        return ssh.answers(address)

    wait_for(answers, "the guest answers again", BOOT_SECONDS, explain=lambda: user.explain(instance_id))


def _seen_inside(login: Login) -> dict[str, str]:
    """What the guest says of itself, and what DHCP and metadata tell it now."""
    reported = {"id": "instance-id", "address": "local-ipv4", "public address": "public-ipv4"}
    questions = {
        "boot": "cat /proc/sys/kernel/random/boot_id",
        "address": "ip -4 -o addr show dev eth0",
        "user data": f"cat {_MARK}",
        "lease": "sudo udhcpc -i eth0 -n -q -f -s /bin/true 2>&1",
        **{f"reported {what}": f"imds get meta-data/{path}" for what, path in reported.items()},
    }
    script = "; echo ---; ".join(questions.values())
    output = login.run(f"IMDS_TOKEN=$(imds token) && export IMDS_TOKEN; {script}")
    seen = dict(zip(questions, (part.strip() for part in output.split("---")), strict=True))
    for what in ("address", "lease"):
        found = re.search(r"(?:inet|lease of) ([\d.]+)", seen[what])
        assert found, f"{what}: {seen[what]}"
        seen[what] = found[1]
    return seen


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

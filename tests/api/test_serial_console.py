"""Serial consoles: who may use them, the keys that are pushed, and sessions by an unchanged ssh, to simulated guests."""

import contextlib
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select

from stead_cli.errors import CliError
from stead_controller.db.tables import Instance, SerialConsoleKey
from stead_controller.request.questions import ConsoleUse, HostAnswer
from stead_controller.resources.instances import serial_console
from tests.api.base_requests import SSH_KEY
from tests.api.identity import refused
from tests.api.test_authorization import User, statement
from tests.support import rows
from tests.support.clients import FAST, Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for


@pytest.fixture
def in_use(api, monkeypatch):
    """The instances whose console somebody uses."""
    used = set()

    async def answer(question):
        assert isinstance(question, ConsoleUse)
        return HostAnswer(b"1" if question.instance_id in used else b"", rows.NOW)

    monkeypatch.setattr(api.app, "_ask", answer)
    return used


@pytest.fixture
def push(api, in_use):
    """Push a key to an instance's console."""
    connect = api.client(api.world.one, "ec2-instance-connect")

    def send(instance_id, **changes):
        return connect.send_serial_console_ssh_public_key(
            **{"InstanceId": instance_id, "SSHPublicKey": SSH_KEY} | changes
        )

    return send


def keys(api):
    return api.run(
        lambda tx: [(key.instance_id, key.public_key) for key in tx.session.scalars(select(SerialConsoleKey))]
    )


def test_an_account_allows_its_consoles_or_not(api):
    ec2 = api.ec2
    for call, enabled in (
        (ec2.get_serial_console_access_status, False),
        (ec2.disable_serial_console_access, False),
        (ec2.get_serial_console_access_status, False),
        (ec2.enable_serial_console_access, True),
        (ec2.enable_serial_console_access, True),
        (ec2.get_serial_console_access_status, True),
    ):
        assert call()["SerialConsoleAccessEnabled"] is enabled
    assert api.other.get_serial_console_access_status()["SerialConsoleAccessEnabled"] is False
    assert ec2.disable_serial_console_access()["SerialConsoleAccessEnabled"] is False
    assert ec2.get_serial_console_access_status()["SerialConsoleAccessEnabled"] is False


def test_a_pushed_key_opens_one_console_for_a_minute_while_that_is_allowed(api, push):
    instance_id, another = api.launch(number=1), api.launch(number=2)
    api.ec2.enable_serial_console_access()
    assert push(instance_id, SerialPort=0)["Success"] is True
    assert push(instance_id)["Success"] is True
    assert keys(api) == [(instance_id, SSH_KEY)]
    [expires] = api.run(lambda tx: list(tx.session.scalars(select(SerialConsoleKey.expires))))

    def opened(number=instance_id, key=SSH_KEY, seconds=-1):
        at = expires + timedelta(seconds=seconds)
        return api.run(lambda tx: serial_console.opened_by(tx, number, key, at))

    host_id = api.run(lambda tx: tx.session.get_one(Instance, instance_id).host_id)
    assert opened() == serial_console.Console(instance_id, host_id)
    assert opened(seconds=0) is None
    assert opened(another) is None
    assert opened("i-00000000000000000") is None
    assert opened(key=SSH_KEY.replace("HR4f", "HR4g")) is None
    assert opened(key="ecdsa-sha2-nistp256 AAAA") is None
    api.ec2.disable_serial_console_access()
    assert opened() is None
    api.ec2.enable_serial_console_access()
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))
    assert opened() is None
    later = expires + timedelta(seconds=1)
    pair = api.run(lambda tx: serial_console.check_key(tx, api.world.one.caller, another, SSH_KEY))
    api.run(lambda tx: serial_console.push_key(tx, *pair, later))
    assert keys(api) == [(another, SSH_KEY)], "what has expired is deleted"


def test_keys_that_are_refused(api, push, in_use):
    instance_id, stopped = api.launch(number=1), api.launch(number=2, state="stopped")
    theirs = api.launch(api.world.other, number=3)
    refused("SerialConsoleAccessDisabledException", push, instance_id=instance_id)
    api.ec2.enable_serial_console_access()
    for code, number, changes in (
        ("InvalidArgsException", instance_id, {"SSHPublicKey": "ssh-ed25519 " + "A" * 80}),
        ("InvalidArgsException", instance_id, {"SSHPublicKey": SSH_KEY + " " * 4096}),
        ("EC2InstanceNotFoundException", "i-00000000000000000", {}),
        ("EC2InstanceNotFoundException", theirs, {}),
        ("EC2InstanceStateInvalidException", stopped, {}),
    ):
        refused(code, push, instance_id=number, **changes)
    in_use.add(instance_id)
    message = refused("SerialConsoleSessionLimitExceededException", push, instance_id=instance_id)
    assert "1 active serial console session" in message
    assert keys(api) == []


def test_who_may_push_a_key_to_which_console(api, in_use):
    user = User(api)
    connect, ec2 = user.client("ec2-instance-connect"), user.client()
    own, another = api.launch(number=1), api.launch(number=2)
    refused("UnauthorizedOperation", ec2.enable_serial_console_access)
    arn = f"arn:aws:ec2:us-east-1:{api.world.one.caller.account_id}:instance/{own}"
    user.may(
        statement("ec2:EnableSerialConsoleAccess"),
        statement("ec2-instance-connect:SendSerialConsoleSSHPublicKey", arn),
    )
    ec2.enable_serial_console_access()
    assert connect.send_serial_console_ssh_public_key(InstanceId=own, SSHPublicKey=SSH_KEY)["Success"]
    send = connect.send_serial_console_ssh_public_key
    refused("AccessDeniedException", send, InstanceId=another, SSHPublicKey=SSH_KEY)
    refused(
        "AccessDeniedException", connect.send_ssh_public_key, InstanceId=own, InstanceOSUser="a", SSHPublicKey=SSH_KEY
    )


class Person:
    """Somebody with a key of their own, an account and a running instance."""

    def __init__(self, cloud: Cloud, account: Account, image_id: str, folder: Path) -> None:
        self.cloud, self.account, self.folder = cloud, account, folder
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
        launched = account.ec2.run_instances(ImageId=image_id, InstanceType="stead.tiny", MinCount=1, MaxCount=1)
        self.instance_id = launched["Instances"][0]["InstanceId"]
        account.ec2.get_waiter("instance_running").wait(InstanceIds=[self.instance_id], WaiterConfig=FAST)
        public = cloud.settings.controller_dir / "ca" / "serial-console-key.pub"
        port = cloud.settings.serial_console_port
        (folder / "known").write_text(f"[127.0.0.1]:{port} {public.read_text()}")

    def push(self) -> None:
        words = ("--instance-id", self.instance_id, "--ssh-public-key", f"file://{self.folder / 'key.pub'}")
        self.account.aws("ec2-instance-connect", "send-serial-console-ssh-public-key", *words)

    def words(self, user: str = "") -> list[str]:
        """The ssh command; the server's own key is checked."""
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder / 'known'}", "BatchMode=yes")
        return [
            "ssh", "-F", "none", "-tt", *(word for option in options for word in ("-o", option)), "-i",
            str(self.folder / "key"), "-p", str(self.cloud.settings.serial_console_port),
            f"{user or self.instance_id + '.port0'}@127.0.0.1",
        ]  # fmt: skip

    @contextlib.contextmanager
    def session(self) -> Iterator[Any]:
        """A session by ssh, to which lines are said and of which lines are read."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.words(), stdin=pipe, stdout=pipe, stderr=pipe) as session:
            try:
                yield session
            finally:
                session.kill()

    def refusal(self, user: str = "") -> str:
        done = subprocess.run(self.words(user), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert done.returncode != 0
        return (done.stdout + done.stderr).decode()


@pytest.fixture
def person(cloud: Cloud, account: Account, image_id: str, tmp_path: Path) -> Iterator[Person]:
    made = Person(cloud, account, image_id, tmp_path)
    yield made
    account.ec2.terminate_instances(InstanceIds=[made.instance_id])
    account.ec2.get_waiter("instance_terminated").wait(InstanceIds=[made.instance_id], WaiterConfig=FAST)


def test_an_unchanged_ssh_joins_a_serial_port(person: Person) -> None:
    assert "Permission denied" in person.refusal()
    with pytest.raises(AssertionError, match="SerialConsoleAccessDisabledException"):
        person.push()
    person.account.ec2.enable_serial_console_access()
    person.push()
    for user in (f"{person.instance_id}.port1", person.instance_id, "root", "i-00000000000000000.port0"):
        assert "Permission denied" in person.refusal(user), user
    with person.session() as session:
        assert f"serial port of {person.instance_id}" in session.stdout.readline().decode()
        session.stdin.write(b"hello\n")
        session.stdin.flush()
        assert session.stdout.readline().strip() == b"hello"
        with pytest.raises(AssertionError, match="SerialConsoleSessionLimitExceededException"):
            person.push()
        assert "Only 1 session is supported" in person.refusal()
        with pytest.raises(CliError, match="Only 1 session"):
            person.cloud.operator.console(person.instance_id, lambda: iter(()), lambda: None, lambda _: None)
    wait_for(lambda: _pushes(person), "the session has ended", 20)
    with person.session() as session:
        assert b"serial port of" in session.stdout.readline()
        person.account.ec2.stop_instances(InstanceIds=[person.instance_id], Force=True)
        assert session.wait(60) == 0, "it ends with the guest's machine"
        person.account.ec2.get_waiter("instance_stopped").wait(InstanceIds=[person.instance_id], WaiterConfig=FAST)
    assert "Permission denied" in person.refusal()


def _pushes(person: Person) -> bool:
    try:
        person.push()
    except AssertionError:
        return False
    return True


def test_an_operator_joins_any_serial_port(person: Person) -> None:
    heard: list[bytes] = []

    def typed() -> Iterator[bytes]:
        yield b""
        yield b"hello\n"
        wait_for(lambda: b"hello" in b"".join(heard), "it is echoed")

    begun: list[str] = []
    person.cloud.operator.console(person.instance_id, typed, lambda: begun.append("open"), heard.append)
    assert begun == ["open"]
    assert b"".join(heard).startswith(f"serial port of {person.instance_id}".encode())
    with pytest.raises(CliError, match="does not exist"):
        person.cloud.operator.console("i-00000000000000000", typed, lambda: None, heard.append)


def test_without_a_certificate_of_an_operator_nobody_joins_and_others_are_no_ssh(
    cloud: Cloud, account: Account
) -> None:
    """What is no SSH ends, and the next client is served."""
    done = subprocess.run(
        ["curl", "-s", "-m", "30", f"http://127.0.0.1:{cloud.settings.serial_console_port}/"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0 or b"SSH" in done.stdout
    with pytest.raises(ClientError):
        account.client("ec2-instance-connect").send_serial_console_ssh_public_key(
            InstanceId="i-00000000000000000", SSHPublicKey=SSH_KEY
        )

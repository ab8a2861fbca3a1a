"""A whole cloud on this machine, started by `stead up` as by a user: real agent, libvirt, guests of the micro image."""

import errno
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import libvirt
import libvirt_qemu

from stead_cli import cloud as programs
from stead_cli import processes, ssh
from stead_cli.operator import Operator
from stead_cli.processes import Program
from stead_cli.settings import Settings
from tests.support.clients import FAST, Account
from tests.support.connections import shared
from tests.support.emulator import HangWatch
from tests.support.prepared import prepare
from tests.support.processes import BIN, clean_environment, free_ports
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

SSH_USER = "debian"
# Under emulation a second processor raises the CPU time until the kernel runs from 5.2 to 7.5 s. `stead demo` uses two.
# Without CPU credits: guests of a type that spends them would be slowed down on a machine where a boot takes long.
ONE_PROCESSOR = "stead.small"
BOOT_SECONDS = 300.0  # a micro guest takes 5 s on an idle machine of two cores without KVM
# Run in a guest before a reboot: SSH is up before acpid, and a guest that misses the button is reset minutes later.
HEARS_THE_POWER_BUTTON = "until pidof acpid; do usleep 100000; done"
_CONSOLE_LINES = 30
_LOOKS_BY_API = 10  # one of so many looks whether SSH answers asks the API for the address again
_SOMEBODY = "198.51.100.7"  # on the internet
EMULATOR_LINES = 8


def some_pool() -> str:
    """Choose public addresses that are no other cloud's, most likely, and no rig's, which has its own in 198.19.0.0/16.

    A cloud's host has a route to its whole pool, which leads nowhere: a rig's guests could not be reached there.
    """
    return f"198.18.{secrets.randbelow(255) + 1}.0/24"


@dataclass
class RealCloud:
    """A cloud below its own folder, with its own ports and address pool."""

    state_dir: Path = field(default_factory=lambda: Path(f"/var/tmp/stead-e2e-{os.getpid()}-{secrets.token_hex(3)}"))
    public_pool: str = field(default_factory=some_pool)
    netns_dir: str = "/run/netns"
    pools: str = ""
    traces: str = ""  # URL of a server for traces
    database: str = ""  # URL of a database, if the state is to be there from the next command on
    bare: bool = False  # it builds the micro image and proves KVM by itself, which takes half a minute of a processor
    launcher: Path = BIN / "stead"  # another checkout's, perhaps
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        """Choose ports; start nothing."""
        http, https, hosts, enrolment, endpoints, consoles, prometheus, agent_prometheus = free_ports(8)
        self.settings = Settings(
            self.state_dir,
            http_port=http,
            https_port=https,
            host_port=hosts,
            enrolment_port=enrolment,
            endpoint_port=endpoints,
            serial_console_port=consoles,
            prometheus_port=prometheus,
            agent_prometheus_port=agent_prometheus,
            uplink="none",
            public_pool=self.public_pool,
            netns_dir=self.netns_dir,
            pools=self.pools,
            traces_endpoint=self.traces,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `stead` finds this cloud."""
        return clean_environment(
            STEAD_STATE_DIR=str(self.state_dir),
            STEAD_HTTP_PORT=str(self.settings.http_port),
            STEAD_HTTPS_PORT=str(self.settings.https_port),
            STEAD_HOST_PORT=str(self.settings.host_port),
            STEAD_ENROLMENT_PORT=str(self.settings.enrolment_port),
            STEAD_ENDPOINT_PORT=str(self.settings.endpoint_port),
            STEAD_SERIAL_CONSOLE_PORT=str(self.settings.serial_console_port),
            STEAD_PROMETHEUS_PORT=str(self.settings.prometheus_port),
            STEAD_AGENT_PROMETHEUS_PORT=str(self.settings.agent_prometheus_port),
            STEAD_PUBLIC_POOL=self.public_pool,
            STEAD_NETNS_DIR=self.netns_dir,
            STEAD_POOLS=self.pools,
            STEAD_TRACES_ENDPOINT=self.traces,
            **({"STEAD_DATABASE_URL": self.database} if self.database else {}),
        )

    def stead(self, *arguments: str, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
        """Run the command line, whatever its status."""
        return subprocess.run(
            [str(self.launcher), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def stead_well(self, *arguments: str, timeout: float = 240) -> str:
        """Run the command line and return its stdout; fail with its output and the logs' ends if it fails."""
        done = self.stead(*arguments, timeout=timeout)
        assert done.returncode == 0, f"stead {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}\n{self.log_ends()}"
        return done.stdout

    def prepare(self) -> None:
        """Place what this machine has found out before, unless the cloud is to find it out itself."""
        if not self.bare:
            prepare(self.settings.image_dir, self.settings.agent_dir)

    def up(self) -> dict[str, Any]:
        """Start the parts that do not run; return the JSON output of `up`."""
        self.prepare()
        said: dict[str, Any] = json.loads(self.stead_well("up", "--output", "json"))
        return said

    def purge(self) -> None:
        """Stop it and remove all that it made."""
        if self.state_dir.exists():
            self.stead_well("down", "--purge", "--yes")
        assert not self.state_dir.exists(), f"left: {sorted(self.state_dir.rglob('*'))[:20]}"

    def keep_logs(self, folder: Path) -> None:
        """Copy the logs that explain a failure."""
        if self.settings.log_dir.exists():
            shutil.copytree(self.settings.log_dir, folder / self.state_dir.name, dirs_exist_ok=True)

    def log_ends(self) -> str:
        """The ends of both logs."""
        return "\n".join(
            f"--- {program.name}\n{processes.last_lines(program.log_file, 25)}"
            for program in (self.controller, self.agent)
        )

    def emulator_log_end(self, instance_id: str) -> str:
        """The end of the log of a guest's QEMU."""
        return processes.last_lines(Path(f"/var/log/libvirt/qemu/{instance_id}.log"), EMULATOR_LINES)

    @property
    def controller(self) -> Program:
        """The controller as a program."""
        return programs.controller_program(self.settings)

    @property
    def agent(self) -> Program:
        """The agent as a program."""
        return programs.agent_program(self.settings)

    def kill(self, program: Program) -> None:
        """Kill a program by SIGKILL, and wait until it is gone."""
        kill(program)

    @property
    def operator(self) -> Operator:
        """A client of the operators' services."""
        return Operator(self.settings)

    @property
    def account(self) -> Account:
        """The first account, over HTTPS as `stead env` exports it."""
        content = json.loads((self.settings.controller_dir / "credentials.json").read_text(encoding="utf-8"))
        return self._account(content)

    def new_account(self) -> Account:
        """Another account, created by the command line."""
        name = f"test-{secrets.token_hex(6)}"
        return self._account(json.loads(self.stead_well("account", "create", name, "--output", "json")))

    def _account(self, content: dict[str, str]) -> Account:
        return Account(
            content["account_id"],
            content["access_key_id"],
            content["secret_access_key"],
            endpoint=self.settings.https_endpoint,
            ca_file=self.settings.ca_file,
        )


def kill(program: Program) -> None:
    """Kill a program by SIGKILL, with what would take its place, and wait until it is gone."""
    running = processes.hold(program)
    assert running is not None, f"{program.name} does not run:\n{processes.last_lines(program.log_file, 25)}"
    try:
        processes.kill(program, running)
    finally:
        running.close()
    wait_for(lambda: processes.find(program) is None, f"{program.name} is dead", 10)


class Explains(Protocol):
    """A cloud that can explain why something did not happen."""

    @property
    def operator(self) -> Operator:
        """A client of the operators' services."""

    def log_ends(self) -> str:
        """The ends of its logs."""

    def emulator_log_end(self, instance_id: str) -> str:
        """The end of the log of a guest's QEMU, on whichever host it is."""


@dataclass
class User:
    """A user with an account, a key pair and a security group that allows SSH from this host."""

    cloud: Explains
    account: Account
    folder: Path
    ec2: "EC2Client" = field(init=False)
    key_name: str = "mine"
    key_type: Literal["ed25519", "rsa"] = "ed25519"
    _numbers: Iterator[int] = field(default_factory=itertools.count)  # of shared connections

    def __post_init__(self) -> None:
        """Create the key pair; the group's rule is added when the first address is known."""
        self.ec2 = self.account.ec2
        material = self.ec2.create_key_pair(KeyName=self.key_name, KeyType=self.key_type)["KeyMaterial"]
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(material if material.endswith("\n") else material + "\n", encoding="ascii")

    @property
    def key_file(self) -> Path:
        """The private key."""
        return self.folder / f"{self.key_name}.pem"

    @property
    def image_id(self) -> str:
        """The newest micro image, found by the API."""
        found = self.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["stead-micro-*"]}])[
            "Images"
        ]
        return max(found, key=lambda image: image["CreationDate"])["ImageId"]

    def run(self, count: int = 1, *, wait: bool = True, **options: Any) -> list[str]:
        """Launch instances with the key pair, wait until they run (unless not `wait`), and return their ids."""
        request: dict[str, Any] = {
            "ImageId": self.image_id,
            "InstanceType": ONE_PROCESSOR,
            "KeyName": self.key_name,
            "MinCount": count,
            "MaxCount": count,
            **options,
        }
        made = [instance["InstanceId"] for instance in self.ec2.run_instances(**request)["Instances"]]
        if wait:
            self.wait("instance_running", made)
        return made

    def wait(self, waiter: str, instance_ids: Sequence[str]) -> None:
        """Wait with one of boto3's own waiters, such as `instance_running`."""
        get_waiter: Any = self.ec2.get_waiter
        try:
            get_waiter(waiter).wait(InstanceIds=list(instance_ids), WaiterConfig=FAST)
        except Exception as failure:  # the logs explain any failure
            raise AssertionError(f"{waiter}: {failure}\n{self.cloud.log_ends()}") from failure

    def describe(self, instance_id: str) -> "InstanceTypeDef":
        """One instance as DescribeInstances shows it."""
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def state(self, instance_id: str) -> str:
        """An instance's state name."""
        return self.describe(instance_id)["State"]["Name"]

    def login(self, instance_id: str, keys: list[str] | None = None) -> ssh.Login:
        """A working login: SSH is allowed in the group, the guest answers, its host keys are those on its console.

        `keys` are known already, of a guest that was resumed: it writes none again.
        """
        address = self._answering_address(instance_id)
        keys = keys or wait_for(
            lambda: ssh.host_keys(self.console(instance_id)),
            "host keys are on the console",
            60,
            poll=0.3,
            explain=lambda: self.explain(instance_id),
        )
        login = ssh.Login(address, SSH_USER, self.key_file, self.folder / f"known-{instance_id}")
        login.trust(keys)
        return login

    def connect(self, instance_id: str, key_file: Path | None = None, keys: list[str] | None = None) -> ssh.Login:
        """As `login`, for many commands: they share one connection, which ends with the guest's boot.

        `key_file` is for a guest that was launched with another key pair.
        """
        login = replace(self.login(instance_id, keys), key_file=key_file or self.key_file)
        return shared(login, self.folder / f"m{next(self._numbers)}")

    def _answering_address(self, instance_id: str) -> str:
        """Return the guest's public address when SSH answers there; allows this host in its group."""
        address: str | None = None
        opened, looks = "", itertools.count()

        def answering() -> str | None:
            nonlocal address, opened
            if next(looks) % _LOOKS_BY_API == 0 or not opened:
                address = self.describe(instance_id).get("PublicIpAddress")
            if address is None or (source := _way_to(address)) is None:
                return None
            if opened != address:
                self.open_ssh(instance_id, source)
                opened = address
            return address if ssh.answers(address) else None

        return self.when_booted(instance_id, answering, "SSH answers", poll=0.2)

    def when_booted[Found](
        self,
        instance_id: str,
        condition: Callable[[], Found | None],
        what: str,
        *,
        poll: float = 0.5,
        seconds: float = BOOT_SECONDS,
    ) -> Found:
        """Wait for something that a guest does at boot, and return the condition's result.

        Sometimes QEMU's emulation aborts by an assertion, or loses a guest's timer; in the latter case this kills QEMU.
        Stead recovers the instance, and it boots again.
        """
        watch = HangWatch(
            partial(self.console, instance_id), partial(_end_emulator, instance_id), partial(registers_of, instance_id)
        )

        def looked() -> Found | None:
            found = condition()
            if not found:
                watch.look()
            return found

        explain = partial(self.explain, instance_id)
        return wait_for(looked, f"{instance_id}: {what}", seconds, poll, explain=explain)

    def explain(self, instance_id: str) -> str:
        """What is known of a guest that did not behave as expected: states, the ends of its console and of the logs."""
        return "\n".join(
            (
                *(f"--- {what}\n{_answer(ask)}" for what, ask in self._questions(instance_id).items()),
                self.cloud.log_ends(),
            )
        )

    def _questions(self, instance_id: str) -> dict[str, Callable[[], str]]:
        def state() -> str:
            shown = self.describe(instance_id)
            return f"{shown['State']['Name']}: {shown.get('StateReason') or shown['StateTransitionReason']}"

        def status() -> str:
            [shown] = self.ec2.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)[
                "InstanceStatuses"
            ]
            return f"instance {shown['InstanceStatus']['Status']}, system {shown['SystemStatus']['Status']}"

        def console() -> str:
            return "\n".join(self.console(instance_id).splitlines()[-_CONSOLE_LINES:])

        return {
            f"state of {instance_id}": state,
            "its status checks": status,
            "the end of its console": console,
            "QEMU's last words": lambda: self.cloud.emulator_log_end(instance_id),
            "where its processors are": lambda: registers_of(instance_id),
            "what its host has in force for it": lambda: _look(self.cloud.operator, instance_id),
        }

    def open_ssh(self, instance_id: str, source: str) -> None:
        """Allow SSH from an address in the instance's first group."""
        group_id = self.describe(instance_id)["SecurityGroups"][0]["GroupId"]
        group = self.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
        wanted = f"{source}/32"
        known = [each["CidrIp"] for rule in group["IpPermissions"] for each in rule["IpRanges"]]
        if wanted not in known:
            self.ec2.authorize_security_group_ingress(
                GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=wanted
            )

    def console(self, instance_id: str) -> str:
        """The guest's current output on its serial console."""
        return self.ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """Terminate instances, without the half second of a processor that a guest's own shutdown takes, and wait for it."""
        if instance_ids:
            self.ec2.terminate_instances(InstanceIds=list(instance_ids), SkipOsShutdown=True)
            self.wait("instance_terminated", instance_ids)

    def terminate_all(self) -> None:
        """Terminate all instances of the account."""
        self.terminate(
            [
                instance["InstanceId"]
                for reservation in self.ec2.describe_instances()["Reservations"]
                for instance in reservation["Instances"]
                if instance["State"]["Name"] != "terminated"
            ]
        )


def qemu_process_of(instance_id: str) -> int | None:
    """The process id of a guest, or None when it has none."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it exited meanwhile
            if b"qemu-system" in words[0] and any(instance_id.encode() in word for word in words):
                return int(folder.name)
    return None


def registers_of(instance_id: str) -> str:
    """Where a guest's processors are, a line each; of a host's own libvirt where that of a rig runs it; empty without one."""
    process = qemu_process_of(instance_id)
    if process is None:
        return ""
    its_daemon = Path(f"/proc/{process}", "root", "run", "libvirt", "libvirt-sock")
    connection = libvirt.open(f"qemu+unix:///system?socket={its_daemon}")
    try:
        domain = next((each for each in connection.listAllDomains() if each.name() == instance_id), None)
        if domain is None:
            return ""
        flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        shown = libvirt_qemu.qemuMonitorCommand(domain, "info registers -a", flags)
        return "\n".join(line.strip() for line in shown.splitlines() if "HLT=" in line)
    finally:
        connection.close()


def _end_emulator(instance_id: str) -> None:
    process = qemu_process_of(instance_id)
    assert process is not None, f"{instance_id} is on no host"
    os.kill(process, signal.SIGKILL)


def _look(operator: Operator, instance_id: str) -> str:
    """What `stead net look` says of a guest's way to the internet."""
    found = operator.look(instance_id, _SOMEBODY)
    lines = [f"{'ok ' if each.ok else 'NOT'} {each.what} {each.id}: {each.detail}" for each in found.findings]
    return "\n".join((found.host_id, *lines))


def _answer(ask: Callable[[], str]) -> str:
    """Return the answer, or the error text: an error here must not hide the failure that is being explained."""
    try:
        return ask()
    except Exception as failure:  # of any kind: the first failure matters
        return f"cannot be told: {failure!r}"


def _way_to(address: str) -> str | None:
    """This host's source address towards a public address; None while there is no route yet."""
    try:
        return ssh.source_address(address)
    except OSError as error:
        if error.errno != errno.EHOSTUNREACH:
            raise
        return None

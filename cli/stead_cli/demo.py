"""`stead demo`: from nothing to a login on an instance, through the public EC2 API, each step with its time."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click
from rich.console import Console
from rich.table import Table

from stead_cli import aws, cloud, image_build, processes, settings, ssh
from stead_cli.errors import CliError
from stead_cli.output import output_option, say, say_heading, show_json
from stead_cli.settings import Settings
from stead_cli.ssh import Login
from stead_cli.steps import Steps
from stead_cli.up import bring_up
from stead_cli.waiting import wait_for
from stead_proto import tls

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

KEY_NAME: Final = "stead-demo"
USER: Final = "debian"  # both images have this user
_CONSOLE_LINES: Final = 12
_USER_DATA: Final = """#!/bin/sh
# The demo's user data: leaves a word that only this launch can know.
echo {nonce} >/var/tmp/stead-demo
echo "Hello from $(hostname), launched by Stead"
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the demo launches an image: an instance type that fits it, and how long its boot may take under emulation."""

    instance_type: str
    boot_seconds: float


CHOICES: Final = {"micro": Choice("t3.nano", 120), "debian": Choice("t3.small", 400)}


@dataclass(frozen=True, slots=True)
class Launched:
    """The demo instance and how to log in to it."""

    instance_id: str
    login: Login
    console: str


@click.command()
@click.option("--image", "kind", type=click.Choice(image_build.KINDS), default="micro", show_default=True)
@click.option("--keep/--terminate", default=True, show_default=True, help="Leave the instance running to play with.")
@output_option
def demo(kind: str, *, keep: bool, output: str) -> None:
    """Start the cloud if need be, launch an instance, log in to it, and say how to go on."""
    cloud.require_root("the demo")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    steps = Steps()
    say_heading("Stead demo: a virtual machine through the EC2 API, on this machine")
    with cloud.exclusively(chosen):
        up = bring_up(chosen, steps, (kind,))
    key = aws.first_access_key(chosen)
    ec2 = aws.ec2_client(chosen, key)
    with aws.refusals_explained():
        launched = _launch(chosen, ec2, steps, up.images[kind], CHOICES[kind])
        if not keep:
            _terminate(ec2, steps, launched.instance_id)
    if output == "json":
        show_json(
            {
                "instance_id": launched.instance_id,
                "public_address": launched.login.address,
                "ssh": launched.login.command,
                "seconds": round(steps.seconds, 2),
                "steps": [{"step": step.name, "seconds": round(step.seconds, 2)} for step in steps.done],
            }
        )
        return
    _show_console(launched.console)
    _show_times(steps)
    if keep:
        _show_next(launched, up.images[kind], CHOICES[kind])


def _launch(chosen: Settings, ec2: "EC2Client", steps: Steps, image_id: str, choice: Choice) -> Launched:
    """Do the demo's own steps, from key pair to the proof over SSH."""
    with steps.step(f"key pair {KEY_NAME}"):
        key_file = _have_key_pair(chosen, ec2)
    nonce = secrets.token_hex(16)
    with steps.step("RunInstances") as step:
        instance_id = _run_instance(ec2, image_id, choice.instance_type, nonce)
        step.note = instance_id
    ran = time.monotonic()
    with steps.step("instance is running (waiter)") as step:
        _wait_until(chosen, ec2, "instance_running", instance_id, 120)
        address = _public_address(ec2, instance_id)
        step.note = address
    with steps.step("security group lets this host in by SSH") as step:
        source = ssh.source_address(address)
        _allow_ssh(ec2, instance_id, source)
        step.note = source
    with steps.step("guest answers: its status checks pass (waiter)"):
        _wait_until(chosen, ec2, "instance_status_ok", instance_id, int(choice.boot_seconds))
    with steps.step("guest answers by SSH") as step:
        wait_for(
            lambda: ssh.answers(address),
            choice.boot_seconds,
            lambda: CliError(
                f"no SSH server answers at {address}", f"its console: aws ec2 get-console-output … {instance_id}"
            ),
            poll=0.1,
        )
        step.note = f"{time.monotonic() - ran:.1f} s after RunInstances"
    with steps.step("host key read from the serial console"):
        console = wait_for(
            lambda: _console_with_keys(ec2, instance_id),
            choice.boot_seconds,
            lambda: CliError(f"{instance_id} printed no SSH host keys on its console"),
            poll=0.3,
        )
        login = Login(address, USER, key_file, chosen.demo_dir / "known_hosts")
        login.trust(ssh.host_keys(console))
    with steps.step("user data ran: proven over SSH"):
        _prove(login, nonce, choice.boot_seconds)
        console = _console(ec2, instance_id)
    _give_to_sudo_user(chosen)
    return Launched(instance_id, login, console)


def _terminate(ec2: "EC2Client", steps: Steps, instance_id: str) -> None:
    """Terminate the demo instance and wait until it is terminated."""
    with steps.step("instance is terminated"):
        ec2.terminate_instances(InstanceIds=[instance_id])
        ec2.get_waiter("instance_terminated").wait(
            InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 90}
        )


def _have_key_pair(chosen: Settings, ec2: "EC2Client") -> Path:
    """Return the private key's file; create a new key pair when the file or the cloud's key pair is missing."""
    chosen.demo_dir.mkdir(mode=0o755, exist_ok=True)
    path = chosen.demo_dir / f"{KEY_NAME}.pem"
    filters = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [KEY_NAME]}])
    if filters["KeyPairs"] and path.exists():
        return path
    ec2.delete_key_pair(KeyName=KEY_NAME)
    material = ec2.create_key_pair(KeyName=KEY_NAME, KeyType="ed25519")["KeyMaterial"]
    tls.write_private(path, material.rstrip("\n").encode("ascii") + b"\n")
    return path


def _run_instance(ec2: "EC2Client", image_id: str, instance_type: str, nonce: str) -> str:
    """Launch one instance named stead-demo and return its id."""
    answer = ec2.run_instances(
        ImageId=image_id,
        InstanceType=instance_type,  # type: ignore[arg-type]  # one of 900 literals, checked by the cloud
        KeyName=KEY_NAME,
        MinCount=1,
        MaxCount=1,
        UserData=_USER_DATA.format(nonce=nonce),
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "stead-demo"}]}],
    )
    return answer["Instances"][0]["InstanceId"]


def _wait_until(
    chosen: Settings,
    ec2: "EC2Client",
    waiter: Literal["instance_running", "instance_status_ok"],
    instance_id: str,
    seconds: int,
) -> None:
    """Wait with the SDK's waiter; if it times out, the error has what the agent last reported of the instance."""
    from botocore.exceptions import WaiterError  # noqa: PLC0415 - half a second, only the demo needs it

    try:
        ec2.get_waiter(waiter).wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": seconds})
    except WaiterError as error:
        log = cloud.agent_program(chosen).log_file
        said = [line for line in processes.last_lines(log, 200).splitlines() if instance_id in line]
        message = "\n".join([f"{instance_id}: {error}; the agent says:", *said[-1:]])
        raise CliError(message, "more: ./stead doctor; ./stead logs agent") from error


def _public_address(ec2: "EC2Client", instance_id: str) -> str:
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    address = instance.get("PublicIpAddress")
    if not address:
        raise CliError(f"{instance_id} got no public address", "is the address pool used up? terminate other instances")
    return address


def _allow_ssh(ec2: "EC2Client", instance_id: str, source: str) -> None:
    """Open port 22 of the instance's first security group to one address; an existing rule is no error."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - half a second, only the demo needs it

    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    group_id = instance["SecurityGroups"][0]["GroupId"]
    try:
        ec2.authorize_security_group_ingress(
            GroupId=group_id,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": 22,
                    "ToPort": 22,
                    "IpRanges": [{"CidrIp": f"{source}/32", "Description": "stead demo"}],
                }
            ],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidPermission.Duplicate":
            raise


def _console(ec2: "EC2Client", instance_id: str) -> str:
    return ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")


def _console_with_keys(ec2: "EC2Client", instance_id: str) -> str | None:
    console = _console(ec2, instance_id)
    return console if ssh.host_keys(console) else None


def _prove(login: Login, nonce: str, timeout: float) -> None:
    """Read the word that user data wrote to a file; user data may still run when SSH is open."""

    def word() -> bool:
        return login.run("cat /var/tmp/stead-demo 2>/dev/null || true").strip() == nonce

    wait_for(
        word, timeout, lambda: CliError("the guest's user data did not run", "see /var/log in the guest"), poll=0.2
    )


def _give_to_sudo_user(chosen: Settings) -> None:
    """Let the user behind sudo use the key without sudo."""
    uid, gid = cloud.sudo_user()
    for name in (f"{KEY_NAME}.pem", "known_hosts"):
        if uid:
            os.chown(chosen.demo_dir / name, uid, gid, follow_symlinks=False)


def _show_console(console: str) -> None:
    say()
    say_heading("The end of its serial console (aws ec2 get-console-output):")
    for line in console.replace("\r", "").rstrip().splitlines()[-_CONSOLE_LINES:]:
        say(f"  | {line}")


def _show_times(steps: Steps) -> None:
    say()
    table = Table(title="How long each step took", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for step in steps.done:
        table.add_row(step.name, f"{step.seconds:.1f}")
    table.add_row("in all", f"{steps.seconds:.1f}", style="bold")
    Console(stderr=True).print(table)


def _show_next(launched: Launched, image_id: str, choice: Choice) -> None:
    """Print what a new user does next."""
    say()
    say_heading("Go on:")
    say(f"  {' '.join(launched.login.command)}")
    say('  eval "$(./stead env)"')
    say("  aws ec2 describe-instances --output table")
    say(f"  aws ec2 run-instances --image-id {image_id} --instance-type {choice.instance_type} --key-name {KEY_NAME}")
    say(f"  aws ec2 stop-instances --instance-ids {launched.instance_id}   # start-instances: a new public address")
    say(f"  aws ec2 terminate-instances --instance-ids {launched.instance_id}")
    say("  ./stead down                            # stop the cloud; guests stay, with --purge all goes")
    say("No aws here? As root: apt-get install awscli")

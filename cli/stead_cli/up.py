"""`stead up`: make the single-machine cloud run, whatever of it runs already."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from stead_cli import cloud, image_build, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, say, say_heading, show_json
from stead_cli.settings import Settings
from stead_cli.steps import Steps
from stead_proto.v1 import operator_pb2 as pb


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` left running."""

    host: pb.Host
    images: dict[str, str]


@click.command()
@click.option(
    "--image", "kinds", multiple=True, type=click.Choice(image_build.KINDS), help="Images to have; micro always."
)
@output_option
def up(kinds: tuple[str, ...], output: str) -> None:
    """Start the cloud on this machine, or what of it does not run."""
    cloud.require_root("starting the cloud")
    chosen = settings.load()
    say_heading("Starting Stead on this machine")
    steps = Steps()
    with cloud.exclusively(chosen):
        result = bring_up(chosen, steps, kinds)
    say()
    say(f"Stead is up: {chosen.https_endpoint}, region {chosen.region}, after {steps.seconds:.1f} s.")
    say('  eval "$(./stead env)"          then use aws, boto3, Terraform …')
    say("  sudo ./stead demo              launch an instance and log in to it")
    if output == "json":
        show_json({"endpoint": chosen.https_endpoint, "host_id": result.host.id, "images": result.images})


def bring_up(chosen: Settings, steps: Steps, kinds: tuple[str, ...]) -> Up:
    """Do the steps of `up`, and have the named images; micro always, since it is what KVM is proven with."""
    chosen.remember()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="micro") as builder:
        micro = builder.submit(image_build.build, chosen, "micro", _quietly)
        began = int(time.time())
        with steps.step("controller answers") as step:
            started = cloud.start_controller(chosen)
            step.note = "started" if started else "ran already"
        cloud.share_access(chosen)
        enrol(chosen, steps)
        with steps.step("micro image is built") as step:
            step.note = micro.result().name
    with steps.step("agent and libvirt run, host is up") as step:
        agent_started = cloud.start_agent(chosen)
        host = cloud.wait_for_host(chosen, since=began if started or agent_started else 0)
        step.note = f"{'started' if agent_started else 'ran already'}, guests run on {host.virtualization}"
    images = {"micro": _enter(chosen, steps, micro.result())}
    for kind in dict.fromkeys(kinds):
        if kind not in images:
            with steps.step(f"{kind} image is built") as step:
                built = image_build.build(chosen, kind, step.say)
                step.note = built.name
            images[kind] = _enter(chosen, steps, built)
    return Up(host, images)


def _enter(chosen: Settings, steps: Steps, built: image_build.BuiltImage) -> str:
    with steps.step(f"{built.kind} image is in the cloud") as step:
        size = built.path.stat().st_size
        sent = 0

        def show(count: int) -> None:
            nonlocal sent
            sent += count
            step.show(f"{bytes_text(sent)} of {bytes_text(size)}")

        step.note = image_id = image_build.enter(Operator(chosen), built, show)
        return image_id


def _quietly(line: str) -> None:
    """Drop the lines of the build that runs beside other steps; its errors carry them."""


def enrol(chosen: Settings, steps: Steps) -> None:
    """Get this machine's agent its certificate, unless it has one of this cloud's CA."""
    if is_enrolled(chosen):
        return
    with steps.step("host is enrolled"):
        token = Operator(chosen).create_token().token
        command: list[str | Path] = [
            cloud.BIN / "stead-agent",
            "enrol",
            f"--state-dir={chosen.agent_dir}",
            f"--controller=127.0.0.1:{chosen.enrolment_port}",
            f"--ca={chosen.ca_file}",
            "--token-file=-",
        ]
        done = subprocess.run(command, input=token, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CliError(f"this machine could not be enrolled: {done.stderr.strip()[-1000:]}")


def is_enrolled(chosen: Settings) -> bool:
    """Tell whether the agent has a certificate, and one of the CA that this controller has."""
    try:
        agent_ca = (chosen.agent_dir / "ca.pem").read_bytes()
    except FileNotFoundError:
        return False
    if agent_ca.strip() != chosen.ca_file.read_bytes().strip():
        hint = (
            f"its guests belong to that cloud; to give them up: sudo ./stead down --purge (state: {chosen.agent_dir})"
        )
        raise CliError("this machine's agent is enrolled with another cloud", hint)
    return (chosen.agent_dir / "identity.pem").exists()

"""`stead up`: make the single-machine cloud run, whatever of it runs already."""

import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from stead_cli import cloud, image_build, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, say_heading, show_json
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
        result = bring_up(chosen, steps, with_micro(*kinds))
    say()
    say(f"Stead is up: {chosen.https_endpoint}, region {chosen.region}, after {steps.seconds:.1f} s.")
    say('  eval "$(./stead env)"          then use aws, boto3, Terraform …')
    say("  sudo ./stead demo              launch an instance and log in to it")
    if output == "json":
        show_json({"endpoint": chosen.https_endpoint, "host_id": result.host.id, "images": result.images})


def with_micro(*kinds: str) -> tuple[str, ...]:
    """Put micro in front of the kinds of images, once: it is what KVM is proven with."""
    return tuple(dict.fromkeys(("micro", *kinds)))


def bring_up(chosen: Settings, steps: Steps, kinds: tuple[str, ...]) -> Up:
    """Do the steps of `up`; images are built while the controller starts, the agent proves KVM with micro."""
    chosen.remember()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="image") as builder:
        builds = [builder.submit(image_build.build, chosen, kind, _quietly) for kind in kinds]
        try:
            began = int(time.time())
            with steps.step("controller answers") as step:
                started = cloud.start_controller(chosen)
                step.note = "started" if started else "ran already"
            cloud.share_access(chosen)
            enrol(chosen, steps)
            with steps.step(f"{kinds[0]} image is built") as step:
                step.note = builds[0].result().name
            with steps.step("agent and libvirt run, host is up") as step:
                agent_started = cloud.start_agent(chosen)
                host = cloud.wait_for_host(chosen, since=began if started or agent_started else 0)
                step.note = f"{'started' if agent_started else 'ran already'}, guests run on {host.virtualization}"
            images = {kind: _enter(chosen, steps, kind, work) for kind, work in zip(kinds, builds, strict=True)}
        except BaseException:
            builder.shutdown(wait=False, cancel_futures=True)
            raise
    return Up(host, images)


def _enter(chosen: Settings, steps: Steps, kind: str, work: Future[image_build.BuiltImage]) -> str:
    with steps.step(f"{kind} image is in the cloud") as step:
        built = work.result()
        step.note = image_id = image_build.enter(Operator(chosen), built, lambda _count: None)
        return image_id


def _quietly(line: str) -> None:
    """Drop the lines of a build that runs beside other steps; its errors carry them."""


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

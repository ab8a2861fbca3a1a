"""`stead up`: start the single-machine cloud, or those parts of it that do not run."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from stead_cli import (
    block_store,
    cloud,
    enrolment,
    image_build,
    metrics_engine,
    object_store,
    processes,
    saved_key,
    services,
    settings,
    traces,
)
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, say, say_heading, show_json
from stead_cli.processes import Began, Program
from stead_cli.settings import Settings
from stead_cli.steps import Steps
from stead_cli.waiting import wait_for
from stead_proto import recovery
from stead_proto.v1 import operator_pb2 as pb

_AWAY_SECONDS: Final = 60.0  # a host is down when it was not heard for 20


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` left running."""

    controller: Began
    host: pb.Host | None  # this machine, unless it is none
    images: dict[str, str]


@click.command()
@click.option(
    "--image", "kinds", multiple=True, type=click.Choice(image_build.KINDS), help="Images to have; micro always."
)
@click.option("--no-host", is_flag=True, help="The controller alone: instances run on machines that `stead join` it.")
@output_option
def up(kinds: tuple[str, ...], *, no_host: bool, output: str) -> None:
    """Start the cloud on this machine, or what of it does not run, or runs as of another release."""
    cloud.require_root("starting the cloud")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    if chosen.controller_address:
        raise CliError(f"this machine is a host of the cloud at {chosen.controller_address}", "see: stead join --help")
    say_heading("Starting Stead on this machine")
    steps = Steps()
    with cloud.exclusively(chosen):
        result = bring_up(chosen, steps, kinds, is_host=not no_host)
    _show_next(chosen, steps.seconds)
    if output == "json":
        shown = {"endpoint": chosen.https_endpoint, "host_id": result.host and result.host.id, "images": result.images}
        show_json({**shown, "controller": result.controller.name.lower()})


def _show_next(chosen: Settings, seconds: float) -> None:
    """Print what a new user does next, and what must be done by hand where there is no systemd."""
    say()
    say(f"Stead is up: {chosen.https_endpoint}, region {chosen.region}, after {seconds:.1f} s.")
    say('  eval "$(./stead env)"     then use aws, boto3, Terraform …')
    say("  ./stead demo              launch an instance and log in to it")
    if not services.has_systemd():
        say("No systemd here, so nothing starts Stead at boot: let this machine run ./stead up then.")


def bring_up(
    chosen: Settings,
    steps: Steps,
    kinds: tuple[str, ...],
    *,
    is_host: bool = True,
    recovers: bool = False,
    master_key: bytes | None = None,
) -> Up:
    """Do the steps of `up`, and import the named images; micro always, since KVM is tested with it.

    With `recovers` the controller takes the place of one that was lost, of which this machine, if any, was a host;
    `master_key` is that one's, as it was saved.
    """

    def start_anew(program: Program) -> None:
        if master_key is not None:
            saved_key.put(chosen, master_key)
        recovery.begin(chosen.controller_dir)
        processes.start(program)

    if is_host and not recovers and enrolment.has_lost_its_controller(chosen):
        raise CliError(
            f"the controller's state is not in {chosen.controller_dir}, and this machine's agent has guests of it",
            "put a backup back: ./stead backup restore; without any: ./stead recover; to give up: ./stead down --purge",
        )
    cloud.require_database(chosen)
    block_store.require(chosen)
    object_store.require(chosen)
    metrics_engine.require(chosen)
    traces.require(chosen)
    chosen.remember()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="micro") as builder:
        micro = builder.submit(image_build.build, chosen, "micro", _quietly)
        began = round(time.time() * 1000)
        with steps.step("controller answers") as step:
            step.note = controller = cloud.start_controller(chosen, start_anew if recovers else processes.start)
        cloud.share_access(chosen)
        if is_host:
            enrol(chosen, steps, again=recovers)
        with steps.step("micro image is built") as step:
            step.note = micro.result().name
    host = _start_host(chosen, steps, controller, began) if is_host else None
    images = {"micro": enter_image(chosen, steps, micro.result())}
    for kind in dict.fromkeys(kinds):
        if kind not in images:
            with steps.step(f"{kind} image is built") as step:
                built = image_build.build(chosen, kind, step.say)
                step.note = built.name
            images[kind] = enter_image(chosen, steps, built)
    return Up(controller, host, images)


def _start_host(chosen: Settings, steps: Steps, controller: Began, began: int) -> pb.Host:
    """Start the agent, if it does not run, and wait until the controller sees the host; `began` is when `up` did."""
    with steps.step("agent and libvirt run, host is up") as step:
        asked = round(time.time() * 1000)
        agent = cloud.start_agent(chosen)
        # The agent that was replaced may already have reported to this controller.
        since = asked if agent == Began.REPLACED else began if {controller, agent} != {Began.RAN} else 0
        host = cloud.wait_for_host(chosen, since)
        step.note = f"{agent}, guests run on {host.virtualization}"
    return host


def enter_image(chosen: Settings, steps: Steps, built: image_build.BuiltImage) -> str:
    """Import a built image in a step of its own, unless the cloud has it; return its id."""
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
    """Drop the output of the build, which runs in parallel with other steps; its errors include it."""


def enrol(chosen: Settings, steps: Steps, *, again: bool = False) -> None:
    """Get this machine's agent its certificate, unless it has one of this cloud's CA that has not expired."""
    operator = Operator(chosen)
    known = None if again else enrolment.shut_out(chosen)
    if known is not None and known.host_id not in {host.id for host in operator.list_hosts()}:
        known = None  # it is a host of another cloud
    if known is None and not again and enrolment.is_enrolled(chosen):
        return
    with steps.step("host is enrolled again" if again or known else "host is enrolled"):
        token = operator.create_token().token if known is None else _token_of(operator, known)
        enrolment.enrol(chosen, token, _run_here, again=again or known is not None)
        if again or known:
            processes.stop(cloud.agent_program(chosen))  # it has the former certificate


def _token_of(operator: Operator, known: enrolment.ShutOut) -> str:
    """Make a token for the host that this machine is, once the controller has noticed that it is away."""
    wait_for(
        lambda: operator.show_host(known.host_id).state in ("down", "enrolled"),
        _AWAY_SECONDS,
        lambda: CliError(
            f"{known.host_id} is connected to the controller", "is it another machine now? stead host list"
        ),
    )
    return operator.create_token(host_id=known.host_id, any_authority=known.any_authority).token


def _run_here(command: list[str | Path], stdin: str) -> tuple[int, str]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr

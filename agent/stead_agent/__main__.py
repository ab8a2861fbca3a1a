"""`stead-agent`: run on a host, enrol it, check it, clean it; or simulate many."""

import asyncio
import dataclasses
import gc
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal

import click

from stead_agent import VERSION, hardware, logs
from stead_agent import enrol as enrolment
from stead_agent.settings import (
    DEFAULT_LIBVIRT_URI,
    DEFAULT_NETNS_DIR,
    DEFAULT_RUN_DIR,
    DEFAULT_STATE_DIR,
    DeviceSettingError,
    PoolSetting,
    PoolSettingError,
    Settings,
    parse_device,
)
from stead_proto.limits import EXPORT_PORTS

_log = logs.Log("stead_agent")

_PATH = click.Path(path_type=Path)
# Of allocations, for `gc.set_threshold`: what hundreds of simulated hosts remember is looked through seldom.
_RARELY = (50_000, 200, 100)
_state_dir_option = click.option(
    "--state-dir", type=_PATH, default=DEFAULT_STATE_DIR, show_default=True, help="Certificate, desired state, disks."
)
_netns_dir_option = click.option(
    "--netns-dir",
    type=_PATH,
    default=DEFAULT_NETNS_DIR,
    show_default=True,
    help="Names of the VPCs' network namespaces; each agent of a machine needs its own.",
)


def _read_pools(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[PoolSetting, ...]:
    try:
        return tuple(PoolSetting.parse(value) for value in values)
    except PoolSettingError as error:
        raise click.BadParameter(str(error)) from error


_pools_option = click.option(
    "--pool",
    "pools",
    multiple=True,
    callback=_read_pools,
    metavar="POOL",
    help="Another place for volumes: NAME:directory:/PATH, NAME:lvm:GROUP/THINPOOL or "
    "NAME:rbd:CEPHPOOL@CONF (/etc/ceph/ceph.conf; as client.stead); append :io1,io2 to keep it for "
    "volumes of these types. One named `default` takes the place of the state directory.",
)


def _read_devices(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(parse_device(value) for value in values)
    except DeviceSettingError as error:
        raise click.BadParameter(str(error)) from error


def _check_guest_ports(_context: click.Context, _option: click.Parameter, ports: tuple[int, ...]) -> tuple[int, ...]:
    if taken := next((port for port in ports if port in EXPORT_PORTS), None):
        raise click.BadParameter(f"{taken} is one of the ports at which hosts serve volumes, where no guest may come")
    return ports


_devices_option = click.option(
    "--device",
    "devices",
    multiple=True,
    callback=_read_devices,
    metavar="ADDRESS|VENDOR:DEVICE",
    help="PCI devices that guests may have; this host must be able to do without them. Default: none.",
)


def _read_threads(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return hardware.parse_threads(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_whole_cores_option = click.option(
    "--whole-cores",
    default="",
    callback=_read_threads,
    metavar="THREADS",
    help="Hardware threads, such as 2-7, of the cores that guests may have alone, and others never use. Default: none.",
)


@click.group(context_settings={"auto_envvar_prefix": "STEAD"})
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--log-file", type=_PATH, help="What standard error is appended to: put aside, as FILE.1 to FILE.3, at 16 MiB."
)
def main(log_format: Literal["text", "json"], log_level: str, log_file: Path | None) -> None:
    """Make this machine a host of a Stead cloud."""
    logs.configure(log_format, log_level, log_file)


@main.command()
@_state_dir_option
@click.option("--controller", required=True, metavar="HOST:PORT", help="The controller's port for enrolment.")
@click.option("--ca", type=click.File("rb"), required=True, help="The CA's certificate, PEM.")
@click.option("--token-file", type=click.File("r"), required=True, help="The one-time token; - is standard input.")
@click.option("--again", is_flag=True, help="This machine was a host, and keeps its id and all that it has.")
def enrol(state_dir: Path, controller: str, ca: Any, token_file: Any, *, again: bool) -> None:
    """Get this machine's certificate for a one-time token."""
    token = token_file.read().strip()
    try:
        host_id = asyncio.run(enrolment.enrol(controller, ca.read(), token, state_dir, again=again))
    except enrolment.EnrolmentError as error:
        raise click.ClickException(str(error)) from error
    click.echo(host_id)


@main.command()
@_state_dir_option
@click.option("--run-dir", type=_PATH, default=DEFAULT_RUN_DIR, show_default=True, help="Sockets and process ids.")
@_netns_dir_option
@click.option("--controller", "controllers", multiple=True, default=["127.0.0.1:8775"], show_default=True)
@click.option("--libvirt-uri", default=DEFAULT_LIBVIRT_URI, show_default=True)
@click.option("--uplink", default="auto", show_default=True, help="auto, none, or the name of a link.")
@click.option("--underlay-address", default="", help="Where other hosts reach this one; default: found.")
@click.option("--mtu", default=1500, show_default=True, help="Of guests' links.")
@click.option("--memory", default=0, help="Bytes that this host has to give; default: all that the machine has.")
@click.option("--proof-image", type=_PATH, help="A micro image, booted once to prove that KVM works.")
@click.option(
    "--guest-port",
    "host_ports",
    type=click.IntRange(1, 65535),
    multiple=True,
    callback=_check_guest_ports,
    help="TCP port of this host's address out of the public pool that guests may reach, such as the AWS APIs'.",
)
@click.option("--guest-address", default="", help="Another IPv4 address of this host at which they may.")
@click.option("--dns-upstream", "dns_upstreams", multiple=True, help="Resolver for names outside; default: the host's.")
@_pools_option
@_devices_option
@_whole_cores_option
@click.option("--prometheus-listen", default="127.0.0.1", show_default=True, help="Address of the page for Prometheus.")
@click.option("--prometheus-port", default=0, show_default=True, help="Its port; 0: there is none.")
@click.option(
    "--traces-endpoint", default="", help="URL of a server for traces, by OTLP over HTTP; default: no traces."
)
@click.option("--traces-ca-file", type=_PATH, help="PEM of the authority of that server's certificate.")
@click.option(
    "--traces-headers-file", type=_PATH, help="File of mode 0600: headers it wants, NAME: VALUE on each line."
)
def run(controllers: tuple[str, ...], dns_upstreams: tuple[str, ...], **options: Any) -> None:
    """Run the agent until a signal ends it; guests run on."""
    from stead_agent import real_host  # noqa: PLC0415 - heavy: only this command needs libvirt

    settings = Settings(controllers=controllers, dns_upstreams=dns_upstreams, **options)
    _until_signal(real_host.run(settings, VERSION))


@main.command()
@_state_dir_option
@click.option("--proof-image", type=_PATH, help="A micro image, booted once to prove that KVM works.")
@_pools_option
@_devices_option
@_whole_cores_option
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(
    state_dir: Path,
    *,
    proof_image: Path | None,
    pools: tuple[PoolSetting, ...],
    devices: tuple[str, ...],
    whole_cores: tuple[int, ...],
    output: str,
) -> None:
    """Tell what this machine can do as a host, and the remedies; status 1 when something must be done."""
    from stead_agent import doctor as look  # noqa: PLC0415 - heavy: only this command needs it

    found = look.checks(state_dir, proof_image, pools, devices, whole_cores)
    if output == "json":
        click.echo(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    else:
        for check in found:
            click.echo("\t".join(filter(None, (check.status, check.name, check.detail, check.remedy))))
    sys.exit(1 if any(check.status == "failed" for check in found) else 0)


@main.command()
@_state_dir_option
@click.option("--run-dir", type=_PATH, default=DEFAULT_RUN_DIR, show_default=True, help="Sockets and process ids.")
@_netns_dir_option
@click.option("--libvirt-uri", default=DEFAULT_LIBVIRT_URI, show_default=True)
@_pools_option
def purge(**options: Any) -> None:
    """Remove every guest, network and disk of this agent; it must not run. Bases go with the state."""
    from stead_agent import real_host  # noqa: PLC0415 - heavy: only this command needs libvirt

    try:
        real_host.purge(Settings(**options))
    except real_host.AgentRunsError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_state_dir_option
@click.option("--hosts", default=1, show_default=True, help="How many.")
@click.option("--controller", "controllers", multiple=True, default=["127.0.0.1:8775"], show_default=True)
@click.option("--enrolment", default="", metavar="HOST:PORT", help="The controller's port for enrolment.")
@click.option("--ca", type=click.File("rb"), help="The CA's certificate, PEM.")
@click.option("--token-file", type=click.File("r"), help="One token a line, for hosts without certificate.")
@click.option("--cpus", default=64, show_default=True, help="Of each host.")
@click.option("--memory", default=256 << 30, show_default=True, help="Bytes of each host.")
@_devices_option
@click.option("--whole-cores", default=0, help="Cores of two threads of each host that guests may have alone.")
@click.option("--keep", is_flag=True, help="Worlds and desired states are files that outlive the process.")
@click.option("--control", type=_PATH, help="Unix socket on which another process may simulate events.")
@click.option("--boot-seconds", default=0.0, show_default=True, help="Until a guest hears the power button.")
@click.option("--shut-down-seconds", default=0.0, show_default=True, help="From the power button to off.")
@click.option("--die-at", default=0, help="Kill the process at this step of its work, for tests of what comes after.")
def simulate(controllers: tuple[str, ...], ca: Any, token_file: Any, keep: bool, **options: Any) -> None:
    """Run simulated hosts, each with its own agent, in one process."""
    from stead_agent import heap  # noqa: PLC0415 - only this command needs it
    from stead_agent.fleet import Fleet, FleetPlan  # noqa: PLC0415 - only this command needs it
    from stead_agent.simulated.machines import Durations  # noqa: PLC0415 - only this command needs it

    heap.limit_size()
    gc.set_threshold(*_RARELY)
    ca_pem = ca.read() if ca is not None else b""
    tokens = token_file.read().split() if token_file is not None else []
    durations = Durations(boot=options.pop("boot_seconds"), shut_down=options.pop("shut_down_seconds"))
    plan = FleetPlan(controllers=controllers, version=VERSION, ca_pem=ca_pem, keep=keep, durations=durations, **options)

    async def enrol_and_run() -> None:
        fleet = Fleet(plan)
        await fleet.enrol(tokens)
        await fleet.run()

    _until_signal(enrol_and_run())


def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM or SIGINT, then end at once: what is half done is finished by the next start."""

    async def guarded() -> None:
        task = asyncio.create_task(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        await task

    status = 0
    try:
        asyncio.run(guarded())
    except asyncio.CancelledError:
        _log.info("agent_ended")
    except Exception as error:  # the program ends here; its exit status reports the failure to its parent
        _log.error("agent_failed", error=error)
        status = 1
    sys.stderr.flush()
    os._exit(status)  # threads may still wait for libvirt or the disk: they can be killed at any instruction


if __name__ == "__main__":
    main()

"""`stead doctor`: what this machine can do, what is missing, and the remedy for each."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from stead_cli import backup_timer, cloud, host, processes, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import output_option, show_json, show_rows
from stead_cli.processes import Began, Program
from stead_cli.settings import Settings
from stead_proto.v1 import operator_pb2 as pb

_SECONDS = 180.0  # the test of KVM boots a guest
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@click.option("--fix", is_flag=True, help="First start what does not run, and have all hosts repair themselves.")
@output_option
def doctor(output: str, *, fix: bool) -> None:
    """Check this machine and its cloud; ends with 1 when something that Stead needs is missing.

    With --fix hosts restore what others have changed of their networks, rules and servers, remove what has an id of
    Stead's and is wanted by nobody, and try again what failed. What may be somebody's data stays: `stead unclaimed`.
    Rows of the database that name what is not there any more are mended, in one transaction.
    """
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    fixed = [*_start(chosen), *_repair(chosen)] if fix else []
    rows = _row_checks(chosen, fix=fix)
    checks = [*fixed, *rows, *agent_checks(chosen), *_controller_checks(chosen), *_host_checks(chosen)]
    if output == "json":
        show_json(checks)
    else:
        _show(checks)
    raise SystemExit(1 if any(check["status"] == "failed" for check in checks) else 0)


def _start(chosen: Settings) -> list[dict[str, Any]]:
    """Start the programs of this machine's cloud that do not run; one that was never started is not begun here."""
    if not chosen.memory_file.exists():
        return []
    starts: tuple[tuple[Program, Callable[[], Began], Path], ...] = (
        (cloud.controller_program(chosen), partial(cloud.start_controller, chosen), chosen.controller_dir / "ca.pem"),
        (cloud.agent_program(chosen), partial(_start_agent, chosen), chosen.agent_dir / "identity.pem"),
    )
    done = []
    for program, start, needed in starts:
        if processes.find(program) is not None or not needed.exists():
            continue
        if os.geteuid() != 0:
            done.append(_check(f"fix {program.name}", "only root can start it", well=False))
            continue
        with cloud.exclusively(chosen):
            start()
        done.append(_check(f"fix {program.name}", "did not run, and was started", well=True))
    return done


def _start_agent(chosen: Settings) -> Began:
    """Start the agent, and wait until the controller has heard of it: it is asked for repairs next."""
    since = round(time.time() * 1000)
    began = cloud.start_agent(chosen)
    if cloud.controller_health(chosen).answers:
        cloud.wait_for_host(chosen, since)
    return began


def _repair(chosen: Settings) -> list[dict[str, Any]]:
    """Have all hosts repair themselves, and say what they did."""
    if not cloud.controller_health(chosen).answers:
        return []
    try:
        hosts = Operator(chosen).repair_hosts()
    except CliError as error:
        return [{"name": "fix hosts", "status": "warning", "detail": error.message, "remedy": error.hint}]
    return [_repaired(host) for host in hosts]


def _repaired(found: pb.RepairedHost) -> dict[str, Any]:
    """What one host did, and what it could not do."""
    done = found.repaired
    lines = [f"repaired {what}" for what in done.repairs] + [f"removed {what}" for what in done.removed]
    faults = [f"cannot be removed yet: {what}" for what in done.left] + [f"fails: {what}" for what in done.failing]
    if found.error:
        faults.append(found.error)
    elif not done.settled:
        faults.append("it is still at work: look again in a minute")
    return {
        "name": f"fix {found.hostname}",
        "status": "warning" if faults else "ok",
        "detail": "\n".join([*(lines or ["nothing was to be repaired"] * (not found.error)), *faults]),
        "remedy": "its log says more, on that host: stead logs agent" if faults else "",
    }


def _row_checks(chosen: Settings, *, fix: bool) -> list[dict[str, Any]]:
    """Say which rows name what is not there, and with `fix` mend them; nothing where the cloud does not answer."""
    if not cloud.controller_health(chosen).answers:
        return []
    try:
        rows = Operator(chosen).mend_rows(only_look=not fix)
    except CliError as error:
        return [{"name": "database", "status": "warning", "detail": error.message, "remedy": error.hint}]
    names = "named" if fix else "names"
    lines = [f"{each.kind} {each.id}: {names} {each.names}, which is not there{_done(each, fix=fix)}" for each in rows]
    is_well, nothing = fix or not rows, "nothing was to be repaired: " if fix else ""
    return [
        {
            "name": "fix database" if fix else "database",
            "status": "ok" if is_well else "warning",
            "detail": "\n".join(lines or [f"{nothing}no row names what is not there"]),
            "remedy": "" if is_well else "as root on the controller's machine: ./stead doctor --fix",
        }
    ]


def _done(row: pb.OrphanedRow, *, fix: bool) -> str:
    return f"; {row.done}" if fix else ""


def agent_checks(chosen: Settings) -> list[dict[str, Any]]:
    """Run the agent's checks of this machine, which only root can make."""
    if os.geteuid() != 0:
        detail = "only root can look into the kernel and libvirt"
        return [{"name": "host", "status": "warning", "detail": detail, "remedy": "as root: ./stead doctor"}]
    command = [str(cloud.BIN / "stead-agent"), "doctor", f"--state-dir={chosen.agent_dir}"]
    command += [f"--proof-image={chosen.image_dir / 'micro.qcow2'}", "--output=json"]
    command += [f"--pool={pool}" for pool in chosen.pools.split()]
    command += [f"--device={device}" for device in chosen.devices.split()]
    command += [f"--whole-cores={chosen.whole_cores}"] if chosen.whole_cores else []
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        checks: list[dict[str, Any]] = json.loads(done.stdout)
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise CliError(f"the agent's checks did not end: {error}", f"by hand: {' '.join(command)}") from error
    return checks


def _controller_checks(chosen: Settings) -> list[dict[str, Any]]:
    """Which parts of the cloud run here; a cloud that does not run is not a fault of the machine."""
    health = cloud.controller_health(chosen)
    checks = []
    for program in (cloud.controller_program(chosen), cloud.agent_program(chosen)):
        pid = processes.find(program)
        detail = f"process {pid}" if pid else "does not run"
        checks.append(_check(program.name, detail, well=pid is not None))
    pid = processes.find(cloud.object_store_program(chosen))
    detail = f"process {pid}" if pid else "starts when it is first used, and takes 110 MB of memory then"
    checks.append(_check("object store", detail, well=True))
    pid = processes.find(cloud.metrics_program(chosen))
    detail = (
        f"process {pid}" if pid else "starts with the first metrics of an instance, and takes 80 MB of memory at most"
    )
    checks.append(_check("metrics", detail, well=shutil.which("victoria-metrics") is not None))
    if checks[-1]["status"] != "ok":
        checks[-1]["remedy"] = "as root: apt-get install victoria-metrics"
    checks.append(_check("endpoint", f"{chosen.https_endpoint}: {health.detail}", well=health.is_well))
    if health.answers and not health.is_well:
        checks[-1]["remedy"] = f"make room: df -h {chosen.controller_dir}"
    if scheduled := backup_timer.shown(chosen):
        well = scheduled["last_result"] in ("", "success")
        detail = f"{scheduled['schedule']}; the last: {scheduled['last'] or 'none yet'}, {scheduled['last_result']}"
        checks.append(_check("backups", detail.rstrip(", "), well=well))
        if not well:
            checks[-1]["remedy"] = f"journalctl -u {chosen.unit('backup')}"
    return checks


def _host_checks(chosen: Settings) -> list[dict[str, Any]]:
    """The failures that hosts report, if the cloud answers."""
    if not cloud.controller_health(chosen).answers:
        return []
    try:
        rows = [host.row_of(found) for found in Operator(chosen).list_hosts()]
    except CliError as error:
        return [{"name": "hosts", "status": "warning", "detail": error.message, "remedy": error.hint}]
    remedy = "the agent tries again by itself; its log on that host says more: stead logs agent"
    checks = []
    for row in rows:
        lines = host.failings(row)
        found = {"status": "warning", "detail": "\n".join(lines), "remedy": remedy}
        well = {"status": "ok", "detail": f"{row['state']}, fails at nothing", "remedy": ""}
        checks.append({"name": f"host {row['hostname']}", **(found if lines else well)})
        if kept := host.unclaimed(row):
            checks.append(
                {
                    "name": f"unknown on {row['hostname']}",
                    "status": "warning",
                    "detail": "\n".join(kept),
                    "remedy": "adopt it or remove it: stead unclaimed list; or put a newer database back",
                }
            )
    return checks


def _check(name: str, detail: str, *, well: bool) -> dict[str, Any]:
    remedy = "" if well else "start the cloud: ./stead up"
    return {"name": name, "status": "ok" if well else "warning", "detail": detail, "remedy": remedy}


def _show(checks: list[dict[str, Any]]) -> None:
    console = Console()
    if not console.is_terminal:
        show_rows(checks, ("status", "name", "detail", "remedy"), "table")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("STATUS", "CHECK", "FOUND", "REMEDY"):
        table.add_column(column, overflow="fold")
    for check in checks:
        colour = _COLOURS.get(check["status"], "white")
        table.add_row(f"[{colour}]{check['status']}[/]", check["name"], check["detail"], check["remedy"])
    console.print(table)

"""`stead doctor`: what this machine can do, what is missing, and the remedy for each."""

import json
import os
import shutil
import subprocess
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from stead_cli import backup_timer, cloud, host, processes, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import output_option, show_json, show_rows
from stead_cli.settings import Settings

_SECONDS = 180.0  # the test of KVM boots a guest
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@output_option
def doctor(output: str) -> None:
    """Check this machine and its cloud; ends with 1 when something that Stead needs is missing."""
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    checks = [*agent_checks(chosen), *_controller_checks(chosen), *_host_checks(chosen)]
    if output == "json":
        show_json(checks)
    else:
        _show(checks)
    raise SystemExit(1 if any(check["status"] == "failed" for check in checks) else 0)


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

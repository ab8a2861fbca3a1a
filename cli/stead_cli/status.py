"""`stead status`: which parts of the cloud run on this machine, its hosts, and their failures."""

import os
from typing import Any, Final

import click

from stead_cli import cloud, host, processes, settings
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_json, show_rows
from stead_cli.processes import Program

_AWAY: Final = ("down", "enrolled")


@click.command()
@output_option
def status(output: str) -> None:
    """Show what runs; ends with 1 when something does not."""
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    health = cloud.controller_health(chosen)
    rows = [_row(program) for program in (cloud.controller_program(chosen), cloud.agent_program(chosen))]
    must_run = list(rows)
    may_see_store = os.access(chosen.controller_dir, os.X_OK)
    if may_see_store:
        rows += [_row(program) for program in cloud.started_by_controller(chosen)]
    hosts = [host.row_of(found) for found in Operator(chosen).list_hosts()] if health.answers else []
    well = (
        health.is_well and all(row["runs"] for row in must_run) and any(found["state"] not in _AWAY for found in hosts)
    )
    if output == "json":
        show_json({"well": well, "endpoint": chosen.https_endpoint, "programs": rows, "hosts": hosts})
    else:
        show_rows(rows, ("program", "runs", "pid", "log"), output)
        if may_see_store and not rows[-2]["runs"]:
            say("The object store starts when it is first used, and takes 110 MB of memory then.")
        say(f"endpoint {chosen.https_endpoint}: {'answers' if health.is_well else health.detail}")
        if hosts:
            host.show_hosts(hosts, output)
        if health.answers and not health.is_well:
            say(f"Make room: df -h {chosen.controller_dir}")
        elif not well:
            say("Not all of it runs; start it: ./stead up")
    raise SystemExit(0 if well else 1)


def _row(program: Program) -> dict[str, Any]:
    pid = processes.find(program)
    return {"program": program.name, "runs": pid is not None, "pid": pid, "log": str(program.log_file)}

"""`stead status`: what of the cloud runs on this machine, its hosts, and what those fail at."""

from typing import Any

import click

from stead_cli import cloud, host, processes, settings
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_json, show_rows


@click.command()
@output_option
def status(output: str) -> None:
    """Show what runs; ends with 1 when something does not."""
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    health = cloud.controller_health(chosen)
    rows: list[dict[str, Any]] = []
    for program in (cloud.controller_program(chosen), cloud.agent_program(chosen)):
        pid = processes.find(program)
        rows.append({"program": program.name, "runs": pid is not None, "pid": pid, "log": str(program.log_file)})
    hosts = [host.row_of(found) for found in Operator(chosen).list_hosts()] if health.answers else []
    well = health.answers and all(row["runs"] for row in rows) and any(found["state"] == "up" for found in hosts)
    if output == "json":
        show_json({"well": well, "endpoint": chosen.https_endpoint, "programs": rows, "hosts": hosts})
    else:
        show_rows(rows, ("program", "runs", "pid", "log"), output)
        say(f"endpoint {chosen.https_endpoint}: {'answers' if health.answers else health.detail}")
        if hosts:
            host.show_hosts(hosts, output)
        if not well:
            say("Not all of it runs; start it: sudo ./stead up")
    raise SystemExit(0 if well else 1)

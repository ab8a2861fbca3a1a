"""`stead rig`: a whole cloud of several hosts inside this machine, to try things and to test them."""

import os
from typing import Any, Final

import click

from stead_cli import aws, cloud, host, processes, rig_cloud, rig_plan
from stead_cli.errors import CliError
from stead_cli.output import output_option, say, say_heading, show_json, show_rows
from stead_cli.rig_cloud import Rig
from stead_cli.rig_plan import DEFAULT_DIR, MOST_HOSTS, MOST_ZONES, RigPlan
from stead_cli.steps import Steps

_COLUMNS: Final = ("part", "runs", "underlay", "internet", "host_id", "state", "instances", "virtualization")


@click.group()
def rig() -> None:
    """A cloud of several hosts inside this machine, which nothing leaves.

    Each host has namespaces, libvirt and an agent of its own, and an equal part of the machine's memory. `rig down`
    leaves nothing; after a reboot `rig up` brings everything back, guests included.

    The hosts are joined by an underlay (MTU 1600, so that guests have 1500), and have their uplinks in an "internet"
    that is as closed. Public addresses of instances (198.19.64.0/18) are reached from this machine and from `internet`,
    where 198.51.100.1, 203.0.113.1 and 2001:db8::1 are servers far away. State is in /var/lib/stead-rig
    (STEAD_RIG_DIR), so a rig and `stead up` go side by side; a second rig takes another --network.
    """


@rig.command()
@click.option("--hosts", type=click.IntRange(1, MOST_HOSTS), help="How many; default: 3, or as many as there are.")
@click.option("--zones", type=click.IntRange(1, MOST_ZONES), help="In which the hosts are in turn; default: one.")
@click.option("--mtu", type=int, help="Of the underlay; default: 1600, so that guests have 1500.")
@click.option("--network", help="What the rig's addresses are taken from; default: 198.19.0.0/16.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    help="A further place for volumes, of all hosts or, as NUMBER=POOL, of one; as stead-agent's. Or STEAD_POOLS.",
)
@output_option
def up(output: str, **choices: Any) -> None:
    """Make a rig, or what of it does not run; more hosts may be added at any time."""
    cloud.require_root("a rig")
    choices["pools"] = choices["pools"] or tuple(os.environ.get("STEAD_POOLS", "").split())
    plan = rig_plan.chosen(rig_plan.folder_of(), choices)
    if plan.cloud.memory_file.exists() and not plan.memory_file.exists():
        raise CliError(f"{plan.folder} is a cloud, not a rig", "choose another folder: STEAD_RIG_DIR")
    say_heading(f"Making a rig of {plan.hosts} hosts")
    steps = Steps()
    with cloud.exclusively(plan.cloud):
        made = rig_cloud.bring_up(plan, steps)
    say()
    say(f"The rig is up: {plan.cloud.https_endpoint}, after {steps.seconds:.1f} s.")
    say('  eval "$(./stead rig env)"      then use aws, boto3, Terraform …')
    say("  ./stead rig exec host-1 bash   look around in a host")
    if output == "json":
        show_json(
            {
                "endpoint": plan.cloud.https_endpoint,
                "hosts": {name: record.id for name, record in sorted(made.hosts.items())},
                "image_id": made.image_id,
                "seconds": round(steps.seconds, 2),
            }
        )


@rig.command()
def down() -> None:
    """End the rig with all its guests and remove every trace of it."""
    cloud.require_root("a rig")
    folder = rig_plan.folder_of()
    if not folder.exists():
        say(f"There is no rig in {folder}.")
        return
    # Without its record (`rig up` was killed at once), all hosts that could exist are ended.
    plan = rig_plan.remembered(folder) or RigPlan(folder, hosts=MOST_HOSTS)
    cloud_there = plan.cloud.memory_file.exists() and not plan.memory_file.exists()
    if cloud_there:
        raise CliError(f"{folder} is a cloud, not a rig", "./stead down")
    say_heading("Ending the rig")
    with cloud.exclusively(plan.cloud):
        rig_cloud.tear_down(plan, Steps())


@rig.command()
@output_option
def status(output: str) -> None:
    """Show what of the rig runs; ends with 1 when something does not."""
    plan = _existing()
    made = Rig(plan)
    health = cloud.controller_health(plan.cloud)
    records = made.host_records() if health.answers else {}
    rows: list[dict[str, Any]] = [
        {"part": "controller", "runs": health.answers, "underlay": str(plan.controller_address)},
        {"part": "internet", "runs": made.internet.runs, "internet": str(plan.gateway)},
    ]
    for each in made.hosts:
        known = host.row_of(records[each.name]) if each.name in records else {}
        runs = processes.find(each.agent) is not None
        underlay, uplink = plan.host_underlay_address(each.number), plan.host_uplink_address(each.number)
        rows.append({**known, "part": each.name, "runs": runs, "underlay": str(underlay), "internet": str(uplink)})
    well = all(row["runs"] for row in rows) and all(
        record.state == "up" for name, record in records.items() if name in rig_cloud.host_names(made)
    )
    if output == "json":
        show_json({"well": well, "endpoint": plan.cloud.https_endpoint, "parts": rows})
    else:
        show_rows(rows, _COLUMNS, output)
        say(f"endpoint {plan.cloud.https_endpoint}: {'answers' if health.answers else health.detail}")
        say(f"guests call it at http://{plan.api_address}:{plan.cloud.http_port}")
        say(f"public addresses {plan.public_pool}, mtu {plan.mtu}, guests' {plan.guest_mtu}, state {plan.folder}")
        if not well:
            say("Not all of it runs; start it: ./stead rig up")
    raise SystemExit(0 if well else 1)


@rig.command()
def env() -> None:
    """Print lines for: eval "$(./stead rig env)"; also `stead host`, `image` and `account` mean the rig then."""
    plan = _existing()
    key = aws.first_access_key(plan.cloud)
    for line in aws.shell_lines(plan.cloud, key):
        click.echo(line)
    click.echo(f"export STEAD_STATE_DIR={plan.folder}")
    if plan.folder != DEFAULT_DIR:
        click.echo(f"export STEAD_RIG_DIR={plan.folder}")


@rig.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("place")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(place: str, command: tuple[str, ...]) -> None:
    """Run a command in a PLACE of the rig: host-1 …, underlay, internet; ends as the command does."""
    cloud.require_root("entering a host of a rig")
    places = Rig(_existing()).places
    found = places.get(place) or places.get(f"host-{place}")
    if found is None:
        raise CliError(f"the rig has no {place}", f"it has: {', '.join(places)}")
    raise SystemExit(found.attach(command[1:] if command[0] == "--" else command))


def _existing() -> RigPlan:
    """The rig that is there; CliError when there is none."""
    folder = rig_plan.folder_of()
    plan = rig_plan.remembered(folder)
    if plan is None:
        raise CliError(f"there is no rig in {folder}", "make one: ./stead rig up --hosts 3")
    return plan

"""`stead host`: the machines on which instances run."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, json_or, output_option, say, show_json, show_rows
from stead_proto.v1 import operator_pb2 as pb


@click.group()
def host() -> None:
    """See, enrol, drain and forget hosts."""


def row_of(found: pb.Host) -> dict[str, Any]:
    """A host as a row of a table."""
    return {
        "host_id": found.id,
        "hostname": found.hostname,
        "state": found.state,
        "zone": found.zone,
        "schedulable": found.schedulable,
        "instances": found.instances,
        "vcpus": f"{found.cpus_reserved} of {found.cpus} cores",
        "memory": f"{bytes_text(found.memory_reserved)} of {bytes_text(found.memory)}",
        "disk": "; ".join(_disk(pool) for pool in found.pools),
        "virtualization": found.virtualization,
        "virtualization_reason": found.virtualization_reason,
        "firmware": _firmware(found),
        "simulated": found.simulated,
        "last_seen": _time(found.last_seen) if found.last_seen else None,
        "revision": found.revision,
        "revision_reached": found.revision_reached,
        "agent_version": found.agent_version,
        "pools": [
            {
                "name": pool.name,
                "backend": pool.backend,
                "total": pool.total,
                "free": pool.free,
                "promised": pool.promised,
                "volume_types": list(pool.volume_types),
                "is_default": pool.is_default,
            }
            for pool in found.pools
        ],
        "error_count": found.error_count,
        "errors": [
            {"kind": each.kind, "id": each.id, "since": _time(each.since), "error": each.error} for each in found.errors
        ],
    }


def _firmware(found: pb.Host) -> str:
    """Name what the host's guests may boot by, and whether they may have a TPM."""
    parts = {"BIOS": True, "UEFI": found.uefi, "TPM": found.tpm}
    return ", ".join(name for name, has in parts.items() if has)


def _disk(pool: pb.HostPool) -> str:
    """Describe a pool: bytes allocated, total and free; the default pool needs no name."""
    name = "" if pool.is_default else f"{pool.name} "
    return f"{name}{bytes_text(pool.promised)} of {bytes_text(pool.total)}, {bytes_text(pool.free)} free"


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


def failings(row: Mapping[str, Any]) -> list[str]:
    """Describe a host's failures, from its table row: a line each, the oldest first, and how many more there are."""
    lines = [f"{it['kind'].replace('_', ' ')} {it['id']} since {it['since']}: {it['error']}" for it in row["errors"]]
    more = row["error_count"] - len(row["errors"])
    return lines + ([f"and {more} more"] if more else [])


def show_hosts(rows: Sequence[Mapping[str, Any]], output: str, *, empty: str = "") -> None:
    """Print hosts, and their failures below."""
    show_rows(rows, COLUMNS, output, empty=empty)
    for row in rows if output != "json" else ():
        lines = failings(row)
        if lines:
            say(f"{row['hostname']} ({row['host_id']}) fails at this, and tries again by itself:")
        for line in lines:
            say(f"  {line}")


COLUMNS = (
    "host_id",
    "hostname",
    "state",
    "zone",
    "schedulable",
    "instances",
    "vcpus",
    "memory",
    "disk",
    "virtualization",
    "firmware",
)


@host.command("list")
@output_option
def list_hosts(output: str) -> None:
    """List the hosts with their room, and what they fail at."""
    rows = [row_of(found) for found in Operator(settings.load()).list_hosts()]
    show_hosts(rows, output, empty="no hosts; `stead host token` makes a token with which one can enrol")


@host.command()
@click.option("--zone", default="", help="Zone of the host; default: the first.")
@click.option("--valid-seconds", default=3600, show_default=True, help="How long the token may be used.")
@output_option
def token(zone: str, valid_seconds: int, output: str) -> None:
    """Make a one-time token with which a machine enrols as a host."""
    chosen = settings.load()
    made = Operator(chosen).create_token(zone, valid_seconds)
    expires = dt.datetime.fromtimestamp(made.expires, dt.UTC).isoformat()

    def lines() -> None:
        click.echo(made.token)
        say(f"On the new host, with {chosen.ca_file} copied there as ca.pem, before {expires}:")
        say(f"  stead-agent enrol --controller THIS-MACHINE:{chosen.enrolment_port} --ca ca.pem --token-file -")

    json_or(output, {"token": made.token, "expires": expires, "ca_pem": made.ca_pem.decode()}, lines)


@host.command()
@click.argument("host_id")
@click.option("--undo", is_flag=True, help="Allow new instances again.")
@output_option
def drain(host_id: str, *, undo: bool, output: str) -> None:
    """Start no new instances on a host; those it has stay."""
    changed = row_of(Operator(settings.load()).set_schedulable(host_id, schedulable=undo))
    show_rows([changed], COLUMNS, output) if output != "json" else show_json(changed)


@host.command()
@click.argument("host_id")
@click.option("--force", is_flag=True, help="Also with instances and volumes: they end with it.")
def remove(host_id: str, *, force: bool) -> None:
    """Forget a host.

    With --force you say that it is off for good. Volumes in a pool of Ceph that other hosts have, too, get a new home.
    """
    Operator(settings.load()).remove_host(host_id, force=force)
    say(f"{host_id} is forgotten")


@host.command()
@click.argument("host_id")
@click.argument("ids", nargs=-1, required=True)
def discard(host_id: str, ids: tuple[str, ...]) -> None:
    """Remove from a host what it has and the database does not know.

    After an older copy of the database was put back, `stead host list` names such instances, volumes and networks: they
    stay as they are. Guests end and disks are removed for good.
    """
    Operator(settings.load()).discard_unclaimed(host_id, ids)
    say(f"{host_id} removes {', '.join(ids)}")

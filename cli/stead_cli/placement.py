"""`stead placement`: which host instances get, and why."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, show_rows
from stead_proto.v1 import operator_pb2 as pb

_COLUMNS: Final = ("host_id", "hostname", "zone", "verdict", "free")
_REFUSED_COLUMNS: Final = ("last", "times", "instance_type", "zone", "needs", "why")


@click.group()
def placement() -> None:
    """See on which host an instance would be placed."""


@placement.command()
@click.argument("instance_type", default="")
@click.option("--refused", is_flag=True, help="Show the last launches and starts that found no host, and why.")
@click.option("--zone", default="", help="The zone of its subnet; default: the first, with --refused all.")
@click.option("--uefi", is_flag=True, help="Its image boots by UEFI.")
@click.option("--tpm", is_flag=True, help="Its image has a TPM.")
@click.option("--volume-gib", type=click.IntRange(min=0), default=0, help="The size of its largest volume.")
@click.option("--group", default="", metavar="pg-…", help="The id of its placement group.")
@click.option("--partition", type=click.IntRange(min=0), default=0, help="Of the group; default: that of the fewest.")
@output_option
def explain(instance_type: str, *, refused: bool, zone: str, output: str, **wants: Any) -> None:
    """Say of each host whether it could take an instance of INSTANCE_TYPE now, and if not, why.

    The first is the one that would be chosen. Nothing is reserved. With --refused, say instead of the last launches and
    starts that found no host (of INSTANCE_TYPE, if it is given) how many hosts of the zone each rule refused.
    """
    if refused:
        if any(wants.values()):
            raise click.UsageError("with --refused only INSTANCE_TYPE and --zone choose what is shown")
        return _show_refused(instance_type, zone, output)
    if not instance_type:
        raise click.UsageError("give an INSTANCE_TYPE, or --refused")
    asked = pb.ExplainPlacementRequest(
        instance_type=instance_type,
        zone=zone,
        uefi=wants["uefi"],
        tpm=wants["tpm"],
        volume_gib=wants["volume_gib"],
        placement_group_id=wants["group"],
        partition_number=wants["partition"],
    )
    found = Operator(settings.load()).explain_placement(asked)
    rows = [_row(host, chosen=number == 0) for number, host in enumerate(found)]
    return show_rows(
        rows, _COLUMNS, output, empty="no hosts; `stead host token` makes a token with which one can enrol"
    )


def _show_refused(instance_type: str, zone: str, output: str) -> None:
    found = Operator(settings.load()).refused_places(zone)
    rows = [_refused_row(one) for one in found if instance_type in ("", one.instance_type)]
    show_rows(rows, _REFUSED_COLUMNS, output, empty="none since the controller was started")


def _refused_row(found: pb.RefusedPlace) -> dict[str, Any]:
    needs = [f"{found.vcpus} vCPUs", bytes_text(found.memory)]
    if found.disk:
        needs.append(f"a disk of {bytes_text(found.disk)}")
    if found.group_strategy:
        needs.append(f"a {found.group_strategy} group")
    why = "; ".join(f"{one.hosts} of {found.hosts}: {one.reason}" for one in found.rules)
    return {
        "first": _time(found.first),
        "last": _time(found.last),
        "times": found.times,
        "instance_type": found.instance_type,
        "zone": found.zone,
        "needs": ", ".join(needs),
        "why": why or ("the zone has no hosts" if found.counted else "not counted: too many were refused"),
        "hosts": found.hosts if found.counted else None,
        "rules": [{"filter": one.filter, "hosts": one.hosts, "reason": one.reason} for one in found.rules],
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(found: pb.JudgedHost, *, chosen: bool) -> dict[str, Any]:
    reasons = "; ".join(one.reason for one in found.refusals)
    return {
        "host_id": found.host_id,
        "hostname": found.hostname,
        "zone": found.zone,
        "fits": not found.refusals,
        "verdict": f"no: {reasons}" if reasons else "chosen" if chosen else "fits",
        "free": f"{found.vcpus_free} vCPUs, {bytes_text(max(found.memory_free, 0))}",
        "vcpus_free": found.vcpus_free,
        "memory_free": found.memory_free,
        "refusals": [{"filter": one.filter, "reason": one.reason} for one in found.refusals],
    }

"""`stead placement`: which host instances get, and why."""

from typing import Any, Final

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, show_rows
from stead_proto.v1 import operator_pb2 as pb

_COLUMNS: Final = ("host_id", "hostname", "zone", "verdict", "free")


@click.group()
def placement() -> None:
    """See on which host an instance would be placed."""


@placement.command()
@click.argument("instance_type")
@click.option("--zone", default="", help="The zone of its subnet; default: the first.")
@click.option("--uefi", is_flag=True, help="Its image boots by UEFI.")
@click.option("--tpm", is_flag=True, help="Its image has a TPM.")
@click.option("--volume-gib", type=click.IntRange(min=0), default=0, help="The size of its largest volume.")
@click.option("--group", default="", metavar="pg-…", help="The id of its placement group.")
@click.option("--partition", type=click.IntRange(min=0), default=0, help="Of the group; default: that of the fewest.")
@output_option
def explain(
    instance_type: str, *, zone: str, uefi: bool, tpm: bool, volume_gib: int, group: str, partition: int, output: str
) -> None:
    """Say of each host whether it could take an instance of INSTANCE_TYPE now, and if not, why.

    The first is the one that would be chosen. Nothing is reserved.
    """
    asked = pb.ExplainPlacementRequest(
        instance_type=instance_type,
        zone=zone,
        uefi=uefi,
        tpm=tpm,
        volume_gib=volume_gib,
        placement_group_id=group,
        partition_number=partition,
    )
    found = Operator(settings.load()).explain_placement(asked)
    rows = [_row(host, chosen=number == 0) for number, host in enumerate(found)]
    show_rows(rows, _COLUMNS, output, empty="no hosts; `stead host token` makes a token with which one can enrol")


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

"""`stead type`: the instance types that accounts may launch."""

from collections.abc import Sequence
from typing import Final

import click

from stead_cli import settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import Row, output_option, say, show_rows
from stead_proto.v1 import operator_pb2 as pb

_COLUMNS: Final = (
    "name",
    "vcpus",
    "threads",
    "memory_mib",
    "network_mbps",
    "ebs_mbps",
    "ebs_iops",
    "store_gb",
    "devices",
    "whole",
    "own",
    "offered",
)
_PAIR: Final = "BASELINE[:MOST]"


@click.group()
def type() -> None:  # noqa: A001 - the name of the command
    """Show instance types, add and remove your own."""


@type.command("list")
@click.option("--own", is_flag=True, help="Only those that were added here.")
@output_option
def list_types(output: str, *, own: bool) -> None:
    """List instance types."""
    rows = [_row(found) for found in Operator(settings.load()).list_types() if found.own or not own]
    show_rows(rows, _COLUMNS, output)


@type.command("add")
@click.argument("name")
@click.option("--vcpus", type=click.IntRange(min=1), required=True)
@click.option("--threads-per-core", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--memory-mib", type=click.IntRange(min=1), required=True)
@click.option("--interfaces", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--addresses", type=click.IntRange(min=1), default=4, show_default=True, help="Of each interface.")
@click.option("--network-mbps", default="1000:5000", show_default=True, metavar=_PAIR)
@click.option("--ebs-mbps", default="", metavar=_PAIR, help="Of all volumes of an instance together; with --ebs-iops.")
@click.option("--ebs-iops", default="", metavar=_PAIR, help="The same, in operations of up to 256 KiB per second.")
@click.option("--instance-store", default="", metavar="COUNTxGB", help="Disks that end with the instance.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="VENDOR:DEVICE[=COUNT]",
    help="PCI devices of the host that each instance has alone; may be repeated.",
)
@click.option("--whole-cores", is_flag=True, help="Each instance has its cores alone, where hosts set some apart.")
@click.option("--huge-pages", is_flag=True, help="Its memory is made of pages of 2 MiB; with --whole-cores.")
@click.option("--baseline-percent", type=click.FloatRange(0, 100), default=0, help="Of each vCPU of a burstable type.")
@output_option
def add_type(
    name: str,
    *,
    vcpus: int,
    threads_per_core: int,
    memory_mib: int,
    interfaces: int,
    addresses: int,
    network_mbps: str,
    ebs_mbps: str,
    ebs_iops: str,
    instance_store: str,
    devices: Sequence[str],
    whole_cores: bool,
    huge_pages: bool,
    baseline_percent: float,
    output: str,
) -> None:
    """Add the type NAME, such as lab.big; every account may launch it at once.

    Hosts hold each instance to its network bandwidth, and those of a type with a baseline to their CPU credits.
    """
    network = _pair("--network-mbps", network_mbps, ":")
    mbps, iops = _pair("--ebs-mbps", ebs_mbps, ":"), _pair("--ebs-iops", ebs_iops, ":")
    count, size = _pair("--instance-store", instance_store, "x", both=True)
    new_type = pb.InstanceType(
        name=name,
        vcpus=vcpus,
        threads_per_core=threads_per_core,
        memory_mib=memory_mib,
        interfaces=interfaces,
        addresses=addresses,
        network_baseline_mbps=network[0],
        network_burst_mbps=network[1],
        ebs_baseline_mbps=mbps[0],
        ebs_max_mbps=mbps[1],
        ebs_baseline_iops=iops[0],
        ebs_max_iops=iops[1],
        store_count=count,
        store_gb=size,
        baseline_percent=baseline_percent,
        devices=dict(_device(text) for text in devices),
        whole_cores=whole_cores,
        huge_pages=huge_pages,
    )
    show_rows([_row(Operator(settings.load()).add_type(new_type))], _COLUMNS, output)


@type.command("remove")
@click.argument("name")
def remove_type(name: str) -> None:
    """Remove the type NAME, which no instance may have."""
    Operator(settings.load()).remove_type(name)
    say(f"there is no type {name} any longer")


def _device(text: str) -> tuple[str, int]:
    """Read a model of devices and how many of it, one if nothing is said."""
    model, found, number = text.lower().partition("=")
    try:
        count = int(number if found else "1")
    except ValueError:
        count = 0
    if not 0 < count < 1 << 31:
        raise CliError(f"--device must be VENDOR:DEVICE=COUNT, such as 10de:1eb8=1, not {text!r}")
    return model, count


def _pair(option: str, text: str, between: str, *, both: bool = False) -> tuple[int, int]:
    """Read two numbers; one alone stands for both unless `both` are needed, none for zeros."""
    if not text:
        return 0, 0
    first, found, second = text.partition(between)
    try:
        least, most = int(first), int(second if found or both else first)
    except ValueError:
        least = most = 0
    if not 0 < least < 1 << 31 or not 0 < most < 1 << 31:
        raise CliError(f"{option} must be numbers, such as 100{between}200, not {text!r}")
    return least, most


def _row(found: pb.InstanceType) -> Row:
    return {
        "name": found.name,
        "vcpus": found.vcpus,
        "threads": found.threads_per_core,
        "memory_mib": found.memory_mib,
        "interfaces": found.interfaces,
        "addresses": found.addresses,
        "network_mbps": _range(found.network_baseline_mbps, found.network_burst_mbps),
        "ebs_mbps": _range(found.ebs_baseline_mbps, found.ebs_max_mbps),
        "ebs_iops": _range(found.ebs_baseline_iops, found.ebs_max_iops),
        "store_gb": f"{found.store_count}x{found.store_gb}" if found.store_count else "",
        "baseline_percent": found.baseline_percent or None,
        "devices": ", ".join(f"{model}={count}" for model, count in sorted(found.devices.items())),
        "whole": " and ".join(_whole(found)),
        "own": found.own,
        "offered": found.offered,
    }


def _whole(found: pb.InstanceType) -> list[str]:
    """Name what an instance has alone of its host's processors and memory."""
    return ["cores"] * found.whole_cores + ["huge pages"] * found.huge_pages


def _range(baseline: int, most: int) -> str:
    return "" if not most else f"{baseline}:{most}" if baseline < most else str(most)
